//! Random rule queries: the engine's answers against DataFusion's batch answers and a naive loop.
//!
//! A round makes random events (ties, late rows, nulls), lists and four queries. Each query is compiled
//! alone and run in order of event time, in random batches and 1 to 3 shards; then all four are compiled
//! into one graph, which runs in order and on arrival, and once more with the first rows only absorbed. Every hit and every selected value of each run is
//! compared with a naive loop that works each frame out from all rows; where SQL determines the answer, the
//! loop is compared with DataFusion's batch answer to the same text (default optimizer), types included.
//! Floats agree within 1e-9 of the larger value (of 1 where both are smaller); all else agrees exactly.
//!
//! `TOLLGATE_SEED` and `TOLLGATE_QUERIES` choose the run. A finding prints the seed of its round, which
//! repeats it: `TOLLGATE_SEED=<round seed> TOLLGATE_QUERIES=4`. The long run by hand,
//! an hour or so on two cores:
//!
//! ```text
//! TOLLGATE_SEED=1 TOLLGATE_QUERIES=100000 cargo test --test integration random_queries -- --nocapture
//! ```
//!
//! DataFusion is not asked where rows of one key and time are told apart by their order (`ROWS`, `lag`,
//! `row_number`, `first_value` and the like over ties): SQL leaves that open, the loop does not. It is asked
//! with each window written out inline where it does not plan what the author wrote: a named window
//! repeated in `QUALIFY`, `w AS (base …)`, `OVER (base …)` (which it plans without the base's parts).
//!
//! What DataFusion 55.2 gets wrong; there the engine must equal the loop:
//!
//! | deviation | what DataFusion does | named case in `differential::named` |
//! |---|---|---|
//! | `SlidingTruth` | `bool_and`, `bool_or` over a frame whose start moves: not implemented | `bool_or_over_a_sliding_frame_…` |
//! | `KeyPulledOut` | a debug build of it panics while it plans two windows of one computed key | `two_windows_of_one_computed_key_…` |
//! | `JoinOrder` | takes a join with a constant in the window's key for sorted, and its own check refuses the plan | `a_union_keyed_by_its_branch_…` |
//! | `MembershipBesideOr` | `x NOT IN (SELECT …) OR y` takes unknown for true; accepted only if its answer is the loop's under that reading | `not_in_beside_or_…` |
//! | `LookupOutsideWhere` | `IN (SELECT …)`, `EXISTS` in `SELECT` or `FILTER`: not implemented | `a_list_is_looked_into_wherever_…` |
//! | `SpreadDrift` | sliding variances subtract from running floats, so that equal values spread a little; accepted within 1e-4 | `equal_values_do_not_spread_…` |
//! | `EqualTwins` | panics where simplification makes two windows equal | `two_windows_that_simplify_to_one_…` |

mod absorb;
mod answer;
mod data;
mod deviation;
mod engine;
mod expression;
mod generate;
mod naive;
mod named;
mod oracle;
mod query;
mod scalar;
mod text;
mod value;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use rand::{RngExt, SeedableRng};
use tollgate::sql::Catalog;

use answer::{Answer, difference, difference_within};
use data::{Data, World};
use deviation::Deviation;
use naive::{Order, Sequence};
use oracle::Oracle;
use query::{Form, Select, Source};
use scalar::Membership;
use value::Closeness;

type Rng = rand_chacha::ChaCha8Rng;

/// Queries over one set of data, compiled alone and together.
const QUERIES_PER_ROUND: usize = 4;
const FINDINGS_SHOWN: usize = 10;
const WORKER: &str = "differential worker";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_queries_give_the_answers_of_datafusion_and_of_a_naive_loop() {
    let (seed, queries) = (setting("TOLLGATE_SEED", 20_261_122), setting("TOLLGATE_QUERIES", 2000));
    println!("TOLLGATE_SEED={seed} TOLLGATE_QUERIES={queries}");
    let outcome = all_rounds(seed, queries.div_ceil(QUERIES_PER_ROUND as u64));
    for (what, count) in &outcome.counts {
        println!("{count:>7} {what}");
    }
    for finding in outcome.findings.iter().take(FINDINGS_SHOWN) {
        println!("\n{finding}");
    }
    assert!(outcome.findings.is_empty(), "{} findings, TOLLGATE_SEED={seed}", outcome.findings.len());
}

fn all_rounds(seed: u64, rounds: u64) -> Outcome {
    quiet_workers();
    let next = AtomicU64::new(0);
    let all = Mutex::new(Outcome::default());
    let work = || {
        let (world, oracle) = (World::new(), Oracle::new());
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return;
            }
            let seed = seed.wrapping_add(round);
            let outcome = catch_unwind(AssertUnwindSafe(|| Round::new(&world, &oracle, seed).run()));
            let outcome = outcome.unwrap_or_else(|panic| Outcome {
                findings: vec![format!("round seed {seed}: {}", oracle::said(&*panic))],
                ..Outcome::default()
            });
            all.lock().unwrap().add(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let worker = std::thread::Builder::new().name(WORKER.to_owned()).stack_size(64 << 20);
            worker.spawn_scoped(scope, work).expect("a thread");
        }
    });
    all.into_inner().unwrap()
}

/// Panics of workers are caught and reported as findings or deviations, not printed.
fn quiet_workers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some(WORKER) {
                before(panic);
            }
        }));
    });
}

#[derive(Default)]
struct Outcome {
    findings: Vec<String>,
    counts: BTreeMap<String, usize>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }
}

/// One set of data and the queries over it.
struct Round<'a> {
    world: &'a World,
    oracle: &'a Oracle,
    seed: u64,
    rng: Rng,
    unique_times: bool,
    data: Data,
    catalog: Catalog,
    queries: Vec<Select>,
    outcome: Outcome,
}

impl<'a> Round<'a> {
    fn new(world: &'a World, oracle: &'a Oracle, seed: u64) -> Self {
        let mut rng = Rng::seed_from_u64(seed);
        let unique_times = rng.random_bool(0.6);
        let data = data::random(&mut rng, world, unique_times);
        let queries = (0..QUERIES_PER_ROUND).map(|_| generate::query(&mut rng, world)).collect();
        let catalog = world.catalog(&data);
        Self { world, oracle, seed, rng, unique_times, data, catalog, queries, outcome: Outcome::default() }
    }

    fn run(mut self) -> Outcome {
        self.oracle.load(self.world, &self.data);
        let in_order = in_order(&self.data);
        let queries = self.queries.clone();
        for query in &queries {
            self.outcome.count("queries");
            if let Some(expected) = self.alone(query, &in_order) {
                self.against_datafusion(query, &expected, &in_order);
            }
        }
        let late = on_arrival(&mut self.rng, &self.data);
        self.together(&in_order);
        self.together(&late);
        self.outcome
    }

    fn written(&self, query: &Select) -> String {
        text::text(query, &data::names(), Form::Written)
    }

    fn find(&mut self, query: &str, what: &str, how: &str) {
        self.outcome.findings.push(format!("round seed {}: {what}\n{query}\n{how}", self.seed));
    }

    /// The engine with one query against the loop, whose answer is handed on with the engine's.
    fn alone(&mut self, query: &Select, sequence: &Sequence) -> Option<(Vec<Vec<value::Value>>, Answer)> {
        let text = self.written(query);
        let expected = naive::answer(query, &self.data, sequence);
        let graph = engine::compiled(&self.catalog, std::slice::from_ref(&text));
        let found = graph
            .and_then(|graph| engine::run(&mut self.rng, self.world, &self.data, &graph, sequence))
            .map(|mut answers| answers.remove(0));
        match found {
            Ok(found) => {
                if let Some(how) = difference(["engine", "loop"], &found.rows, &expected, keys(query)) {
                    self.find(&text, "engine and naive loop differ", &how);
                }
                Some((expected, found))
            }
            Err(failure) => {
                self.find(&text, "the engine failed", &failure);
                None
            }
        }
    }

    fn against_datafusion(
        &mut self,
        query: &Select,
        (expected, found): &(Vec<Vec<value::Value>>, Answer),
        sequence: &Sequence,
    ) {
        if query.depends_on_order_of_ties() && (!self.unique_times || has_union(query)) {
            self.outcome.count("not asked of DataFusion: the order of ties");
            return;
        }
        let form = if query.needs_inline() { Form::Inline } else { Form::Written };
        let text = text::text(query, &data::names(), form);
        let batch = match self.oracle.answer(&text) {
            Ok(batch) => batch,
            Err(failure) => match deviation::of_failure(query, &failure) {
                Some(deviation) => return self.outcome.count(format!("deviation {deviation:?}")),
                None => return self.find(&text, "DataFusion failed", &failure),
            },
        };
        let Some(how) = difference(["DataFusion", "loop"], &batch.rows, expected, keys(query)) else {
            if !batch.rows.is_empty() && batch.types != found.types {
                let how = format!("DataFusion {:?}\nengine {:?}", batch.types, found.types);
                self.find(&text, "types differ", &how);
            }
            return self.outcome.count("equal to DataFusion");
        };
        let two_valued = || naive::answer_by(query, &self.data, sequence, Membership::TwoValued);
        if deviation::membership_beside_or(query)
            && difference(["", ""], &batch.rows, &two_valued(), keys(query)).is_none()
        {
            return self.outcome.count(format!("deviation {:?}", Deviation::MembershipBesideOr));
        }
        let drifted = || {
            let sides = [batch.rows.as_slice(), expected.as_slice()];
            difference_within(Closeness::Drifted, ["", ""], sides, keys(query)).is_none()
        };
        if deviation::spread_drifts(query) && drifted() {
            return self.outcome.count(format!("deviation {:?}", Deviation::SpreadDrift));
        }
        self.find(&text, "DataFusion and naive loop differ", &how);
    }

    /// All queries in one graph, which shares their windows.
    fn together(&mut self, sequence: &Sequence) {
        let texts: Vec<String> = self.queries.iter().map(|query| self.written(query)).collect();
        let found = engine::compiled(&self.catalog, &texts)
            .and_then(|graph| engine::run(&mut self.rng, self.world, &self.data, &graph, sequence));
        let what = format!("all queries together, {:?}", sequence.order);
        if let Ok(graph) = engine::compiled(&self.catalog, &texts)
            && let Some(how) = absorb::difference(&mut self.rng, self.world, &self.data, &graph, sequence)
        {
            let what = format!("absorbing changed answers, {:?}", sequence.order);
            self.find(&texts.join(";\n\n"), &what, &how);
        }
        match found {
            Ok(found) => {
                for (query, found) in self.queries.clone().iter().zip(&found) {
                    let expected = naive::answer(query, &self.data, sequence);
                    if let Some(how) = difference(["engine", "loop"], &found.rows, &expected, keys(query)) {
                        self.find(&self.written(query), &what, &how);
                    }
                }
            }
            Err(failure) => self.find(&texts.join(";\n\n"), &what, &failure),
        }
    }
}

/// Rows by event time, those of equal time as they came.
fn in_order(data: &Data) -> Sequence {
    let mut events: Vec<usize> = (0..data.events.len()).collect();
    events.sort_by_key(|event| data.events[*event].time);
    let watermarks = events.iter().map(|event| data.events[*event].time).collect();
    Sequence { order: Order::InOrder, events, watermarks }
}

/// Rows as they came, with a watermark some way behind the latest of them.
fn on_arrival(rng: &mut Rng, data: &Data) -> Sequence {
    let behind = [0, 30, 3600, 200_000][rng.random_range(0..4)] * 1_000_000;
    let mut latest = i64::MIN;
    let mut watermark = |time: i64| {
        latest = latest.max(time);
        latest - behind
    };
    let watermarks = data.events.iter().map(|event| watermark(event.time)).collect();
    Sequence { order: Order::OnArrival, events: (0..data.events.len()).collect(), watermarks }
}

fn has_union(query: &Select) -> bool {
    query.all().iter().any(|select| matches!(select.source, Source::Union(..)))
}

/// How many first columns name a row: id and time, and the branch where a row may come twice.
fn keys(query: &Select) -> usize {
    if query.items.get(2).is_some_and(|item| item.name == "branch") { 3 } else { 2 }
}
