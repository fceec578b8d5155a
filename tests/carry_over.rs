//! A history that keeps no more than windows need gives a restart the same answers as one that keeps everything.
//!
//! One core reads all rows; another is made anew from the history at several places, after what is old was let go of.
//! Windows without a bound in time are where they could differ: their rows are older than all that is kept whole.

mod late;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tollgate::decode::{DecodeLimits, DecodedBatch, Decoders, StreamBinding};
use tollgate::event::{Contract, ManualClock, Offset, Partition, Span};
use tollgate::graph::Lasting;
use tollgate::history::{History, Identity, Old, Plan, Wanted, Writer, WriterSettings};
use tollgate::pipeline::{Core, CoreSettings, Filled, StepOutcome, StreamPolicy, engines_after};
use tollgate::rules::CompiledRules;
use tollgate::settings::{HistoryPlace, HistorySettings};
use tollgate::source::{Fetched, Partitions, RawBatch, RawRecord, SourcePartition};

use crate::support::{Order, World, time};

/// Frames of rows and of time, over plain, filtered, computed and united rows.
const QUERIES: [&str; 7] = [
    "SELECT tx, lag(n, 2) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments",
    "SELECT tx, min(n) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)",
    "SELECT tx, lag(tx) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments WHERE n > 6",
    "SELECT tx, sum(n) FILTER (WHERE ok) OVER w AS k FROM payments WINDOW w AS (PARTITION BY n % 3, merchant ORDER BY event_time ROWS 3 PRECEDING)",
    "SELECT tx, lag(event_time) OVER (ORDER BY event_time) AS k FROM payments WHERE merchant = 'm1'",
    "SELECT id, lag(id) OVER (PARTITION BY card ORDER BY event_time) AS k FROM (
       SELECT tx AS id, card, event_time FROM payments WHERE ok UNION ALL SELECT login, card, event_time FROM logins)",
    "SELECT tx, count(*) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING)",
];

const ROWS: usize = 3_000;

/// A row of one of three partitions: two of payments, one of logins.
#[derive(Clone)]
struct Row {
    partition: u32,
    offset: i64,
    json: String,
}

/// Cards that come often and cards that come hardly ever, some rows late and some too late.
fn rows(seed: u64) -> Vec<Row> {
    rows_late_by(seed, [0, 0, 0, 3, 9, 200])
}

/// The same, each row by one of these seconds behind those before it.
fn rows_late_by(seed: u64, late: [i64; 6]) -> Vec<Row> {
    let mut state = seed;
    let mut below = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let mut next = [0; 3];
    let mut row = |number: usize| {
        let partition = [0, 0, 1, 1, 2][usize::try_from(below(5)).unwrap()];
        let at = i64::try_from(number * 2).unwrap() - late[usize::try_from(below(6)).unwrap()];
        let card = if below(40) == 0 { 100 + below(60) } else { below(12) };
        let at = time(1_000 + at);
        let json = if partition == 2 {
            format!(r#"{{"login": "l{number}", "event_time": "{at}", "card": "c{card}"}}"#)
        } else {
            let (n, merchant, ok) = (below(10), below(4), below(2) == 0);
            format!(
                r#"{{"tx": "t{number}", "event_time": "{at}", "card": "c{card}", "merchant": "m{merchant}", "n": {n}, "ok": {ok}}}"#
            )
        };
        let offset = next[partition as usize];
        next[partition as usize] += 1;
        Row { partition, offset, json }
    };
    (0..ROWS).map(&mut row).collect()
}

fn table() -> Partitions {
    let entry = |topic: &str, partition, stream| SourcePartition {
        partition: Partition { topic: topic.into(), partition },
        stream,
    };
    Arc::new(vec![entry("pay", 0, 0), entry("pay", 1, 0), entry("log", 0, 1)])
}

fn fetched(rows: &[Row]) -> Fetched {
    let mut batch = RawBatch { partitions: table(), ..RawBatch::default() };
    for row in rows {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(row.json.as_bytes());
        let payload = Some(start..batch.bytes.len());
        batch.records.push(RawRecord {
            partition: row.partition,
            offset: row.offset,
            payload,
            ..RawRecord::default()
        });
    }
    Fetched::Records(batch)
}

/// Cores of the same queries.
struct Made {
    rules: [CompiledRules; 2],
    contract: Contract,
}

impl Made {
    fn of(queries: &[&str], order: Order) -> Self {
        let (catalog, compiled) = World::default().compile(queries);
        assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
        let rules = CompiledRules { rules: Vec::new(), graph: compiled.graph };
        let none = CompiledRules::default();
        let rules = if order == Order::OnArrival { [rules, none] } else { [none, rules] };
        Self { rules, contract: catalog.contract.clone() }
    }

    fn core(&self) -> Core {
        let policy = StreamPolicy { lateness: Span::seconds(5), repeats: Span(0) };
        let settings = CoreSettings::uniform(&self.contract, policy);
        let [arrival, ordered] = &self.rules;
        let engines = engines_after(arrival, ordered, &settings.windows, None).expect("the graph runs");
        let [arrival, ordered] = engines;
        let bindings = vec![StreamBinding::default(); self.contract.streams.len()];
        let decoders =
            Decoders::of_contract(&self.contract, &bindings, &self.used(), DecodeLimits::default());
        let mut core = Core::new(&self.contract, decoders.expect("decoders"), arrival, ordered, settings);
        (0..3).for_each(|partition| core.watermarks().expect(partition));
        core
    }

    /// All columns, as where a history is kept.
    fn used(&self) -> Vec<Vec<bool>> {
        self.contract.streams.iter().map(|stream| vec![true; stream.schema.fields().len()]).collect()
    }
}

/// A job that keeps a history.
struct Kept {
    made: Made,
    folder: TempDir,
    settings: WriterSettings,
    history: History,
    core: Core,
    writer: Writer,
    /// The next offset of each partition.
    next: BTreeMap<Partition, Offset>,
    rows: usize,
}

impl Kept {
    fn new(made: Made) -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings = HistorySettings {
            place: HistoryPlace::Folder(folder.path().to_owned()),
            keep: Span(0),
            flush_interval: Span::seconds(10),
            segment_rows: std::num::NonZeroUsize::new(64).unwrap(),
        };
        let identity = Identity { cluster: "main".into(), job: "fraud".into() };
        let history = History::open(&settings, &identity).expect("a history");
        let core = made.core();
        let settings = WriterSettings::of(&settings);
        let writer = writer(&history, &made.contract, settings.clone(), 0);
        Self { made, folder, settings, history, core, writer, next: BTreeMap::new(), rows: 0 }
    }

    fn take(&mut self, rows: &[Row]) -> StepOutcome {
        let decoded = self.core.decode(fetched(rows)).expect("rows");
        let mut read: BTreeMap<Partition, std::ops::Range<Offset>> = BTreeMap::new();
        for row in rows {
            let partition = table()[row.partition as usize].partition.clone();
            let range = read.entry(partition).or_insert(Offset(row.offset)..Offset(row.offset));
            range.end = Offset(row.offset + 1);
        }
        self.next.extend(read.iter().map(|(partition, range)| (partition.clone(), range.end)));
        self.writer.append(&decoded, &read.into_iter().collect::<Vec<_>>());
        self.rows += rows.len();
        self.core.answer(decoded).expect("the engine goes on")
    }

    /// Event time from which on bounded windows need every row.
    fn needed_from(&mut self) -> i64 {
        let longest = self.core.reach().longest.0;
        self.core.watermarks().current().saturating_sub(longest)
    }

    /// Lets go of what nothing needs.
    fn prune(&mut self) {
        self.look();
        assert_eq!(self.writer.status().last_failure, None);
    }

    /// The same, whether or not it fails.
    fn look(&mut self) {
        self.writer.flush(Duration::from_secs(60)).expect("all is written");
        let carrier = self.core.carrier(&self.made.contract).expect("a carrier");
        let old = Old { before: self.needed_from(), read: self.next.clone(), carrier: Arc::new(carrier) };
        self.writer.prune(old);
        self.writer.flush(Duration::from_secs(60)).expect("all is written");
    }

    fn plans(&mut self) -> Vec<Plan> {
        let carrier = self.core.carrier(&self.made.contract).expect("a carrier");
        let since = self.needed_from();
        let plan = |(index, entry): (usize, &SourcePartition)| {
            let lasting = carrier.lasting(entry.stream);
            let wanted = Wanted {
                partition: entry.partition.clone(),
                stream: entry.stream,
                generation: 1,
                until: self.next[&table()[index].partition],
                since: if lasting == Lasting::Everything { i64::MIN } else { since },
                lasting,
            };
            self.history.plan(&self.made.contract, &wanted).expect("a plan")
        };
        table().iter().enumerate().map(plan).collect()
    }

    fn load(&self, plans: Vec<Plan>) -> Vec<DecodedBatch> {
        let loaded = self.history.load(plans, &self.made.contract, &self.made.used(), table());
        loaded.expect("a loader").map(|batch| batch.expect("a batch")).collect()
    }

    /// Puts a core in the place of this one that knows only what the history holds.
    fn restart(&mut self) {
        self.writer.flush(Duration::from_secs(60)).expect("all is written");
        let plans = self.plans();
        assert!(plans.iter().all(|plan| plan.complete && plan.unusable.is_empty()), "{plans:?}");
        let reaches: Vec<_> = plans.iter().filter_map(|plan| plan.reaches).collect();
        assert_eq!(reaches, table().iter().map(|entry| self.next[&entry.partition]).collect::<Vec<_>>());
        let standing = self.core.standing([(0, 0), (1, 0), (2, 1)]);
        let mut next = self.made.core();
        next.begin_filling(&standing);
        for batch in self.load(plans) {
            next.absorb(batch).expect("the engine goes on");
        }
        next.catch_up(standing).expect("it catches up");
        self.core.succeed(next, Filled::Rows).expect("the same rows wait");
    }

    /// What a restart does that finds all rows in the topic.
    fn read_again(&mut self, rows: &[Row]) {
        self.writer = writer(&self.history, &self.made.contract, self.settings.clone(), 0);
        table().iter().for_each(|own| self.writer.start_at(&own.partition, Offset(0), i64::MIN));
        self.core = self.made.core();
        rows.chunks(50).for_each(|rows| drop(self.take(rows)));
    }

    /// Goes on as a core does that has read all rows before these.
    fn goes_on_as_if(&mut self, before: &[Row], rows: &[Row]) {
        let mut whole = self.made.core();
        before.chunks(50).for_each(|rows| drop(whole.step(fetched(rows)).expect("the engine goes on")));
        for rows in rows.chunks(50) {
            let expected = hits(&whole.step(fetched(rows)).expect("the engine goes on"));
            assert_eq!(hits(&self.take(rows)), expected);
        }
    }

    /// Rows and files that the history holds.
    fn held(&self) -> (u64, usize) {
        let places = self.history.list().expect("a listing");
        let rows = places.iter().flat_map(|(_, segments)| segments).map(|segment| segment.name.rows).sum();
        (rows, places.iter().map(|(_, segments)| segments.len()).sum())
    }
}

fn writer(history: &History, contract: &Contract, settings: WriterSettings, next_arrival: i64) -> Writer {
    let clock = Arc::new(ManualClock::default());
    history.writer(contract, &[1, 1], settings, next_arrival, clock).expect("a writer")
}

/// Every hit: query, where its row stands, and what was selected.
fn hits(outcome: &StepOutcome) -> Vec<String> {
    let mut all = Vec::new();
    for answered in &outcome.answered {
        for found in &answered.hits.hits {
            for (hit, row) in found.rows.iter().enumerate() {
                let values = found.columns.iter().map(|column| tollgate::alert::json_value(column, hit));
                let values: Vec<String> = values.map(|value| value.to_string()).collect();
                let (rows, row) = (&answered.batch.rows, *row as usize);
                let place = (rows.partition[row], rows.offset[row]);
                all.push(format!("{} at {place:?}: {}", found.query, values.join(" ")));
            }
        }
    }
    all.sort_unstable();
    all
}

/// Files that are carried over, below the history's folder.
fn carried(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(carried(&path)),
            false if path.to_string_lossy().ends_with(".carried.parquet") => found.push(path),
            false => {}
        }
    }
    found
}

#[test]
fn a_restart_from_a_history_that_was_let_go_of_answers_as_if_there_had_been_none() {
    for order in [Order::OnArrival, Order::InOrder] {
        for seed in 0..3 {
            let mut whole = Made::of(&QUERIES, order).core();
            let mut kept = Kept::new(Made::of(&QUERIES, order));
            for (number, rows) in rows(seed).chunks(50).enumerate() {
                let expected = hits(&whole.step(fetched(rows)).expect("the engine goes on"));
                assert_eq!(hits(&kept.take(rows)), expected, "{order:?}, seed {seed}, chunk {number}");
                if number % 4 == 3 {
                    kept.prune();
                }
                if number % 7 == 6 {
                    kept.restart();
                }
            }
            assert_eq!(carried(kept.folder.path()).len(), 3, "one carry-over a partition");
            let (rows, files) = kept.held();
            assert!(rows < 1_200 && files < 25, "{rows} rows in {files} files are held of {}", kept.rows);
            assert_eq!(kept.history.verify().expect("it is read").findings, []);
        }
    }
}

#[test]
fn cards_that_come_hardly_ever_are_answered_as_a_naive_loop_answers_them() {
    let mut kept = Kept::new(Made::of(&[QUERIES[0], QUERIES[2], QUERIES[6]], Order::OnArrival));
    // By card: each `n`, and the last payment of more than 6.
    let mut seen: BTreeMap<String, (Vec<i64>, serde_json::Value)> = BTreeMap::new();
    let (mut naive, mut answered) = (Vec::new(), Vec::new());
    for rows in rows_late_by(23, [0; 6]).chunks(40) {
        for row in rows.iter().filter(|row| row.partition < 2) {
            let event: serde_json::Value = serde_json::from_str(&row.json).unwrap();
            let (all, last) = seen.entry(event["card"].to_string()).or_default();
            all.push(event["n"].as_i64().unwrap());
            let earlier = all.len().checked_sub(3).map_or(serde_json::Value::Null, |at| all[at].into());
            let place = (row.partition, row.offset);
            naive.push(format!("0 at {place:?}: {} {earlier}", event["tx"]));
            if all.last() > Some(&6) {
                naive.push(format!(
                    "1 at {place:?}: {} {}",
                    event["tx"],
                    std::mem::replace(last, event["tx"].clone())
                ));
            }
        }
        answered.extend(hits(&kept.take(rows)).into_iter().filter(|hit| !hit.starts_with('2')));
        kept.prune();
        kept.restart();
    }
    assert_eq!(carried(kept.folder.path()).len(), 2, "none of logins");
    naive.sort_unstable();
    answered.sort_unstable();
    assert_eq!(answered, naive);
}

#[test]
fn a_frame_without_a_start_keeps_every_row_of_its_streams_and_of_no_other() {
    let unbounded = "SELECT login, count(*) OVER (PARTITION BY card ORDER BY event_time) AS k FROM logins";
    let nested = "SELECT tx, lag(k) OVER (PARTITION BY card ORDER BY event_time) AS m FROM (SELECT tx, card, event_time,
        count(*) OVER (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING) AS k FROM payments)";
    for (query, stream) in [(unbounded, 1), (nested, 0)] {
        let mut whole = Made::of(&[QUERIES[6], query], Order::OnArrival).core();
        let mut kept = Kept::new(Made::of(&[QUERIES[6], query], Order::OnArrival));
        let mut own = 0;
        for (number, rows) in rows(7).chunks(50).enumerate() {
            let expected = hits(&whole.step(fetched(rows)).expect("the engine goes on"));
            assert_eq!(hits(&kept.take(rows)), expected, "chunk {number}");
            own += rows.iter().filter(|row| table()[row.partition as usize].stream == stream).count() as u64;
            if number % 10 == 9 {
                kept.prune();
                kept.restart();
            }
        }
        let (rows, _) = kept.held();
        assert!(rows >= own && rows < own + 400, "{rows} rows are held, {own} of them for ever");
        assert_eq!(carried(kept.folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_carry_over_that_is_damaged_is_left_out_and_the_plan_says_that_older_rows_are_missing() {
    let mut kept = Kept::new(Made::of(&QUERIES, Order::OnArrival));
    let all = rows(11);
    all.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.prune();
    assert!(kept.plans().iter().all(|plan| plan.complete));
    for path in carried(kept.folder.path()) {
        let mut bytes = std::fs::read(&path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
    }
    let plans = kept.plans();
    assert!(plans.iter().all(|plan| !plan.complete && plan.unusable.len() == 1), "{plans:?}");
    // Those offsets are read from the topic, and what is left of the history is right.
    assert!(plans.iter().all(|plan| plan.starts.is_some_and(|starts| starts.0 > 0)));
    let loaded: usize = kept.load(plans).iter().map(|batch| batch.rows.event_time.len()).sum();
    assert!(loaded > 0 && loaded < all.len());
    assert_eq!(kept.history.verify().expect("it is read").findings.len(), 3);
}

#[test]
fn a_process_that_died_between_the_carry_over_and_what_it_replaces_leaves_nothing_twice() {
    let mut kept = Kept::new(Made::of(&QUERIES, Order::OnArrival));
    let all = rows(13);
    let (first, rest) = all.split_at(2_000);
    first.chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.writer.flush(Duration::from_secs(60)).expect("all is written");
    let files = |folder: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let segments = walk(folder);
        segments.into_iter().map(|path| (path.clone(), std::fs::read(&path).expect("a file"))).collect()
    };
    let before = files(kept.folder.path());
    kept.prune();
    assert_eq!(carried(kept.folder.path()).len(), 3);
    // Half of what was deleted is there again.
    let gone: Vec<_> = before.iter().filter(|(path, _)| !path.exists()).collect();
    assert!(gone.len() > 10);
    for (path, bytes) in gone.iter().skip(gone.len() / 2) {
        std::fs::write(path, bytes).expect("a file");
    }
    let mut whole = Made::of(&QUERIES, Order::OnArrival).core();
    first.chunks(50).for_each(|rows| drop(whole.step(fetched(rows)).expect("the engine goes on")));
    kept.restart();
    for rows in rest.chunks(50) {
        let expected = hits(&whole.step(fetched(rows)).expect("the engine goes on"));
        assert_eq!(hits(&kept.take(rows)), expected);
    }
    // The next look takes away what the carry-over stands for.
    kept.prune();
    assert!(gone.iter().all(|(path, _)| !path.exists()));
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| walk(folder))).collect()
}

#[test]
fn a_window_that_nothing_was_carried_over_for_is_whole_only_from_then_on() {
    let longer = "SELECT tx, lag(n, 9) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments";
    let mut kept = Kept::new(Made::of(&QUERIES, Order::OnArrival));
    rows(17).chunks(50).for_each(|rows| drop(kept.take(rows)));
    kept.prune();
    let floor = kept.plans()[0].segments[0].name.floor;
    // The same windows in another order, under other numbers: nothing changes.
    let mut others = QUERIES;
    others.reverse();
    let needs = |core: &Core| {
        let carrier = core.carrier(&kept.made.contract).expect("a carrier");
        [0, 1].map(|stream| match carrier.lasting(stream) {
            Lasting::Last(rows) => rows.into_iter().collect::<BTreeSet<_>>(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(needs(&Made::of(&others, Order::OnArrival).core()), needs(&kept.core));
    // A window over the same rows that looks further back asks for what is not there.
    let mut queries = QUERIES.to_vec();
    queries.push(longer);
    let next = Made::of(&queries, Order::OnArrival);
    let standing = kept.core.standing([(0, 0), (1, 0), (2, 1)]);
    let mut core = next.core();
    core.begin_filling(&standing);
    core.catch_up(standing).expect("it catches up");
    kept.core = core;
    let plans = kept.plans();
    assert!(!plans[0].complete && plans[2].complete, "only payments are asked for");
    let (_, reason) = &plans[0].unusable[0];
    assert!(reason.contains("it does not hold the last 9 rows of payments by \"card\""), "{reason}");
    // Once the history knows of it, it says from when on.
    kept.prune();
    let plans = kept.plans();
    assert!(plans.iter().all(|plan| plan.complete), "{plans:?}");
    assert_eq!((plans[0].whole_from, plans[2].whole_from), (Some(floor), None));
}
