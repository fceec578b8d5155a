//! `@budget`: what leaves past it, for any cut into batches, any order of answers, and over restarts.
//!
//! The reference counts by hand: it reads the events and knows neither batches nor watermarks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use tollgate::alert::{AlertMaker, AlertSettings};
use tollgate::decode::{DecodeLimits, Decoders, StreamBinding};
use tollgate::event::{EventTime, Partition, Span};
use tollgate::pipeline::{Core, CoreSettings, Restored, StepOutcome, StreamPolicy, columns_read, engines};
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use tollgate::source::{Fetched, RawBatch, RawRecord, SourcePartition};

use crate::scratch::Scratch;

const SCHEMA: &str = "CREATE TABLE payments (tx VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, \
                      card VARCHAR NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (tx));";

const RULE: &str = "-- @id: large\n-- @title: Large\n-- @status: live\n-- @severity: low\n-- @score: 1\n\
                    -- @reason: \"{amount}\"\n-- @owner: us\n-- @entity: card\n";

const LATENESS: Span = Span::seconds(20);

/// The folder of one rule; `header` is added to its header.
fn folder(header: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write(
        "rules/large.sql",
        &format!("{RULE}{header}SELECT tx, card, amount FROM payments WHERE amount > 10"),
    );
    scratch
}

/// One event: its second of the day, card and amount.
type Event = (i64, u32, i64);

/// A minute of quiet, then a flood with a late event here and there, then quiet again.
fn flood() -> Vec<Event> {
    let mut events: Vec<Event> = vec![(5, 0, 50), (30, 1, 5), (61, 1, 60)];
    events.extend((0..40).map(|n| (70 + n, u32::try_from(n % 7).unwrap_or(0), 20 + n % 3)));
    events.extend([
        (95, 9, 99),
        (125, 1, 30),
        (119, 8, 31),
        (130, 2, 2),
        (200, 3, 40),
        (100, 5, 77),
        (260, 4, 3),
    ]);
    events
}

fn second(second: i64) -> EventTime {
    EventTime(second * 1_000_000)
}

fn batch(events: &[Event], first: usize) -> Fetched {
    let mut batch = RawBatch {
        partitions: Arc::new(vec![SourcePartition {
            partition: Partition { topic: "payments".into(), partition: 0 },
            stream: 0,
        }]),
        ..RawBatch::default()
    };
    for (number, (at, card, amount)) in events.iter().enumerate() {
        let (number, time) = (number + first, second(*at));
        let text =
            format!(r#"{{"tx":"t{number}","event_time":"{time}","card":"c{card}","amount":{amount}}}"#);
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(text.as_bytes());
        batch.records.push(RawRecord {
            payload: Some(start..batch.bytes.len()),
            offset: i64::try_from(number).expect("small"),
            ..RawRecord::default()
        });
    }
    Fetched::Records(batch)
}

/// A job without a broker: a core, a maker, and all that it sent.
struct Job {
    core: Core,
    maker: AlertMaker,
    sent: Vec<String>,
    counted: [u64; 4],
}

impl Job {
    fn new(folder: &Scratch, emit: Emit) -> Self {
        let files = RuleFiles::open(&folder.path("rules"), None).expect("a folder");
        let set = RuleSet::compile(files, AnswerOrder::Forced(emit)).expect("a contract");
        assert!(!set.has_errors(), "{:?}", set.diagnostics);
        let contract = set.catalog.contract.clone();
        let policy = StreamPolicy { lateness: LATENESS, repeats: Span::seconds(0) };
        let settings = CoreSettings::uniform(&contract, policy);
        let engines = engines(&set.on_arrival, &set.in_order, &settings.windows).expect("engines");
        let used = columns_read(&contract, [&engines[0], &engines[1]]);
        let bindings = [StreamBinding::default()];
        let decoders =
            Decoders::of_contract(&contract, &bindings, &used, DecodeLimits::default()).expect("decoders");
        let [arrival, ordered] = engines;
        let core = Core::new(&contract, decoders, arrival, ordered, settings);
        let rules = if emit == Emit::InOrder { set.in_order.rules } else { set.on_arrival.rules };
        let maker = AlertMaker::new(AlertSettings::default(), contract, Arc::from(rules));
        Self { core, maker, sent: Vec::new(), counted: [0; 4] }
    }

    fn step(&mut self, events: &[Event], first: usize) {
        let outcome = self.core.step(batch(events, first)).expect("a step");
        self.publish(&outcome);
    }

    /// What the pipeline does with a step.
    fn publish(&mut self, outcome: &StepOutcome) {
        let watermark = EventTime(self.core.watermarks().current());
        for answered in &outcome.answered {
            let made = self.maker.make(&answered.batch, &answered.hits, answered.times());
            let mut summaries = made.summaries.iter().peekable();
            for alert in &made.alerts {
                while let Some(summary) = summaries.next_if(|summary| summary.before_row <= alert.row) {
                    self.sent.push(text(&summary.value));
                }
                self.sent.push(text(&alert.value));
            }
            self.sent.extend(summaries.map(|summary| text(&summary.value)));
            let hits: usize = answered.hits.hits.iter().map(|found| found.rows.len()).sum();
            let parts = [hits, made.alerts.len(), made.suppressed_rules.len(), made.over_budget_rules.len()];
            for (total, part) in self.counted.iter_mut().zip(parts) {
                *total += part as u64;
            }
        }
        self.maker.passed(watermark);
        self.sent.extend(self.maker.close(watermark).iter().map(|summary| text(&summary.value)));
    }

    /// Answers what still waits, and lets time go on to its end.
    fn end(mut self) -> Self {
        let outcome = self.core.finish().expect("an end");
        self.publish(&outcome);
        self.sent.extend(self.maker.close(EventTime(i64::MAX)).iter().map(|summary| text(&summary.value)));
        self
    }

    /// A new process that goes on from the commit after `rows` events, as recovery does it.
    fn restarted(&mut self, folder: &Scratch, emit: Emit, events: &[Event], rows: usize) -> Self {
        let mut next = Self::new(folder, emit);
        let watermark = self.core.watermarks().current();
        let latest = events[..rows].iter().map(|event| second(event.0).0).max();
        let restored = Restored { partition: 0, stream: 0, answered_below: watermark, latest };
        next.core.watermarks().expect(0);
        let sent: HashSet<String> = self.sent.iter().map(|text| of(text, "alert_id")).collect();
        let decoded = next.core.decode(batch(&events[..rows], 0)).expect("decoded");
        let rehearsed = next.core.rehearse(decoded).expect("rehearsed");
        let rest = next.core.restore(&[restored]).expect("restored");
        for answered in rehearsed.answered.iter().chain(&rest.answered) {
            next.maker.remember(&answered.batch, &answered.hits, |id| sent.contains(id));
        }
        next.maker.passed(EventTime(watermark));
        drop(next.maker.close(EventTime(watermark)));
        next.sent = std::mem::take(&mut self.sent);
        next
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn of(text: &str, key: &str) -> String {
    parsed(text)[key].as_str().unwrap_or_default().to_owned()
}

fn is_summary(text: &str) -> bool {
    of(text, "schema") == "tollgate.alert_summary/1"
}

fn run(folder: &Scratch, emit: Emit, events: &[Event], batch_rows: usize) -> Job {
    let mut job = Job::new(folder, emit);
    for (number, events) in events.chunks(batch_rows).enumerate() {
        job.step(events, number * batch_rows);
    }
    job.end()
}

/// How many hits each minute has, and how many of them alert and are folded under a budget a minute, where no
/// event comes after its minute was closed.
fn by_hand(events: &[Event], budget: u64) -> BTreeMap<i64, (u64, u64)> {
    let mut minutes: BTreeMap<i64, u64> = BTreeMap::new();
    for (at, _, amount) in events {
        if *amount > 10 {
            *minutes.entry(at / 60).or_default() += 1;
        }
    }
    minutes
        .into_iter()
        .map(|(minute, hits)| (minute, (hits.min(budget), hits.saturating_sub(budget))))
        .collect()
}

#[test]
fn past_its_budget_a_rule_sends_one_summary_a_period_that_counts_every_other_hit() {
    let folder = folder("-- @budget: 4/m\n");
    // The event that comes a minute and a half late is past its period, and alerts for itself.
    let events: Vec<Event> = flood().into_iter().filter(|event| event.0 != 100 || event.1 != 5).collect();
    let job = run(&folder, Emit::OnArrival, &events, 7);
    let mut found: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for text in &job.sent {
        let value = parsed(text);
        let at = value["event_time"].as_str().or(value["period"]["from"].as_str()).expect("a time");
        let minute = chrono::DateTime::parse_from_rfc3339(at).expect("a time").timestamp() / 60;
        let entry = found.entry(minute).or_default();
        if is_summary(text) {
            assert_eq!(value["alerts_sent"], 4, "{value:#}");
            entry.1 += value["hits"].as_u64().expect("a count");
        } else {
            entry.0 += 1;
        }
    }
    assert_eq!(found, by_hand(&events, 4));
    let [hits, alerts, suppressed, over_budget] = job.counted;
    assert_eq!((hits, suppressed), (alerts + over_budget, 0));
}

#[test]
fn a_summary_names_the_entities_with_most_hits_and_the_earliest_hits() {
    let folder = folder("-- @budget: 2/m\n");
    let events = [(61, 1, 50), (62, 1, 50), (65, 2, 50), (63, 3, 50), (70, 2, 50), (150, 1, 1)];
    let job = run(&folder, Emit::OnArrival, &events, 100);
    let summary = job.sent.iter().find(|text| is_summary(text)).map(|text| parsed(text)).expect("a summary");
    assert_eq!(
        summary["period"],
        serde_json::json!({"from": "1970-01-01T00:01:00Z", "until": "1970-01-01T00:02:00Z"})
    );
    assert_eq!(summary["entities"]["type"], "card");
    assert_eq!(
        summary["entities"]["top"],
        serde_json::json!([{"id": "c2", "hits": 2}, {"id": "c3", "hits": 1}])
    );
    let examples = summary["examples"].as_array().expect("examples");
    let events: Vec<&str> = examples.iter().filter_map(|hit| hit["event_id"].as_str()).collect();
    assert_eq!(events, ["t3", "t2", "t4"]);
    assert_eq!(
        (&summary["first_event_time"], &summary["last_event_time"]),
        (&Value::from("1970-01-01T00:01:03Z"), &Value::from("1970-01-01T00:01:10Z"))
    );
}

#[test]
fn the_same_bytes_leave_in_the_same_order_for_any_cut_into_batches() {
    for (header, emit) in cases() {
        let folder = folder(header);
        let one_by_one = run(&folder, emit, &flood(), 1).sent;
        assert!(one_by_one.iter().any(|text| is_summary(text)), "{header} {emit:?}");
        for batch_rows in [2, 3, 5, 8, 13, 100] {
            assert_eq!(
                run(&folder, emit, &flood(), batch_rows).sent,
                one_by_one,
                "{header} {emit:?} {batch_rows}"
            );
        }
    }
}

#[test]
fn a_restart_after_any_event_sends_the_same_bytes() {
    for (header, emit) in cases() {
        let folder = folder(header);
        let events = flood();
        let straight = run(&folder, emit, &events, 1).sent;
        for rows in 1..events.len() {
            let mut before = Job::new(&folder, emit);
            before.step(&events[..rows], 0);
            let mut after = before.restarted(&folder, emit, &events, rows);
            after.step(&events[rows..], rows);
            assert_eq!(after.end().sent, straight, "{header} {emit:?}: restart after {rows} events");
        }
    }
}

fn cases() -> [(&'static str, Emit); 4] {
    let (plain, with_dedup) = ("-- @budget: 4/m\n", "-- @budget: 3/m\n-- @dedup: card 15s\n");
    [
        (plain, Emit::OnArrival),
        (plain, Emit::InOrder),
        (with_dedup, Emit::OnArrival),
        (with_dedup, Emit::InOrder),
    ]
}

#[test]
fn whom_only_a_summary_counted_alerts_when_there_is_budget_again() {
    let folder = folder("-- @budget: 1/m\n-- @dedup: card 1h\n");
    let events = [(61, 1, 50), (62, 2, 50), (63, 1, 50), (121, 2, 50), (122, 1, 50), (300, 1, 1)];
    let job = run(&folder, Emit::OnArrival, &events, 100);
    let alerts: Vec<String> =
        job.sent.iter().filter(|text| !is_summary(text)).map(|text| of(text, "event_id")).collect();
    assert_eq!(alerts, ["t0", "t3"]);
    assert_eq!(job.counted, [5, 2, 2, 1]);
}

#[test]
fn a_budget_of_none_tells_of_everything_in_summaries() {
    let folder = folder("-- @budget: 0/h\n");
    let job = run(&folder, Emit::InOrder, &flood(), 9);
    assert!(job.sent.iter().all(|text| is_summary(text)));
    let told: u64 = job.sent.iter().filter_map(|text| parsed(text)["hits"].as_u64()).sum();
    assert_eq!(told, job.counted[0]);
}
