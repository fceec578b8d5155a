//! How cost grows: with rules, with the length of a window, with keys, with the rows of one key; and what a start takes.
//!
//! One table, least of three runs each. Times are of the processor, as the kernel counts them for this thread, so that a
//! busy machine changes them little. `TOLLGATE_BENCH_KEYS_MAX` goes beyond a million keys; ten million take 2 GB.

mod workload;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::DataType;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tollgate::event::{Clock, SystemClock};
use tollgate::graph::{Engine, EngineInput};
use tollgate::window::*;
use workload::{decoded, many, parts, payments, windows};

const MINUTE: i64 = 60_000_000;
const RUNS: usize = 3;

/// Nanoseconds that this thread has been running, where the system tells it.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

/// Nanoseconds an event, the least of some runs.
fn least(events: usize, mut run: impl FnMut() -> u64) -> f64 {
    (0..RUNS).map(|_| run()).min().unwrap_or_default() as f64 / events as f64
}

fn rules() {
    const ROWS: usize = 20_000;
    let mut first = None;
    for count in [10, 100, 1000] {
        let set = many(count);
        let batches = decoded(&set, payments(ROWS, 1024));
        let nanos = least(ROWS, || {
            let mut engine = Engine::new(set.on_arrival.graph.clone(), &windows(1)).expect("rules that run");
            let began = spent();
            for batch in &batches {
                let input = EngineInput { batch, watermarks: &batch.rows.event_time, ties: Ties::ByArrival };
                engine.process(&input).expect("rows that fit");
            }
            spent() - began
        });
        let ratio = nanos / *first.get_or_insert(nanos);
        println!("{count:>9} rules over 60 windows: {nanos:.0} ns an event, {ratio:.2} times 10 rules");
    }
}

fn spec(minutes: i64) -> WindowSpec {
    let frame = Frame::Range { start: Some(minutes * MINUTE), end: 0 };
    let one = |function, arguments, output| Aggregate { function, arguments, filter: None, frame, output };
    WindowSpec {
        keys: vec![DataType::Int64],
        arguments: vec![DataType::Float64],
        filters: 0,
        aggregates: vec![
            one(Function::Count, vec![], DataType::Int64),
            one(Function::Sum, vec![0], DataType::Float64),
        ],
    }
}

/// Rows of random keys, `step` microseconds apart; one in `hot_one_in` is of key -1.
fn batch(
    random: &mut ChaCha8Rng,
    first: usize,
    (rows, step): (usize, i64),
    keys: i64,
    hot: bool,
) -> (Vec<i64>, [ArrayRef; 2]) {
    const HOT_ONE_IN: usize = 16;
    let times = (first..first + rows).map(|row| row as i64 * step).collect();
    let key = |row: usize, random: &mut ChaCha8Rng| {
        if hot && row.is_multiple_of(HOT_ONE_IN) { -1 } else { random.random_range(0..keys) }
    };
    let keys: Int64Array = (first..first + rows).map(|row| Some(key(row, random))).collect();
    let amounts: Float64Array =
        (0..rows).map(|_| Some(f64::from(random.random_range(1..100_000)) * 0.01)).collect();
    (times, [Arc::new(keys), Arc::new(amounts)])
}

/// Feeds a state; nanoseconds of each batch.
fn feed(
    state: &mut WindowState,
    rows: std::ops::Range<usize>,
    (batch_rows, step): (usize, i64),
    keys: i64,
    hot: bool,
) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut took = Vec::new();
    for first in rows.step_by(batch_rows) {
        let (times, [key, amount]) = batch(&mut random, first, (batch_rows, step), keys, hot);
        let (keys, arguments) = ([key], [amount]);
        let input = WindowInput {
            times: &times,
            watermarks: &times,
            keys: &keys,
            arguments: &arguments,
            filters: &[],
            ties: Ties::ByArrival,
        };
        let began = spent();
        state.process(&input).expect("rows that fit");
        took.push(spent() - began);
    }
    took
}

fn state(minutes: i64) -> WindowState {
    WindowState::new(spec(minutes), WindowSettings::default()).expect("a good spec")
}

fn lengths() {
    const ROWS: usize = 2_000_000;
    let mut first = None;
    for (name, minutes) in
        [("1 minute", 1), ("1 hour", 60), ("1 day", 1440), ("7 days", 10_080), ("30 days", 43_200)]
    {
        // Forty days, a row each 1.7 seconds: the longest window lets rows go as well.
        let nanos =
            least(ROWS, || feed(&mut state(minutes), 0..ROWS, (1024, 1_728_000), 20_000, false).iter().sum());
        let ratio = nanos / *first.get_or_insert(nanos);
        println!("{name:>9} windows, 20,000 keys: {nanos:.0} ns an event, {ratio:.2} times 1 minute");
    }
}

fn keys() {
    let most =
        std::env::var("TOLLGATE_BENCH_KEYS_MAX").ok().and_then(|most| most.parse().ok()).unwrap_or(1_000_000);
    let mut first = None;
    for keys in [10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|keys| *keys <= most) {
        let rows = 2_000_000.max(keys as usize * 3 / 2);
        let mut usage = Usage::default();
        let nanos = least(rows, || {
            let mut state = state(1440);
            let took = feed(&mut state, 0..rows, (1024, 1_000), keys, false).iter().sum();
            usage = state.usage();
            took
        });
        let allowed = 70 * usage.events + 120 * usage.keys;
        let ratio = nanos / *first.get_or_insert(nanos);
        println!(
            "{keys:>9} keys: {nanos:.0} ns an event, {ratio:.2} times 10,000 keys; {} events, {} MB of {} MB allowed",
            usage.events,
            usage.bytes / 1_000_000,
            allowed / 1_000_000
        );
    }
}

fn hot_key() {
    for hot in [false, true] {
        let mut state = state(1440);
        // The hot key has a million rows in its window at the end of the first part.
        let rows = if hot { 16_000_000 } else { 2_000_000 };
        feed(&mut state, 0..rows, (1024, 100), 100_000, hot);
        let mut took = feed(&mut state, rows..rows + 640_000, (64, 100), 100_000, hot);
        took.sort_unstable();
        let of = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        let name = if hot { "one key of 1,000,000 rows" } else { "no such key" };
        println!(
            "{name:>26}: a batch of 64 rows takes {:.1} us, p99 {:.1}, p99.9 {:.1}",
            of(0.5),
            of(0.99),
            of(0.999)
        );
    }
}

fn start() {
    let clock = SystemClock::start();
    let (began, used) = (clock.elapsed(), spent());
    let set = many(100);
    let mut parts = parts(&set, 1);
    let first = payments(1, 1).remove(0);
    parts.core.step(tollgate::source::Fetched::Records(first)).expect("a row that fits");
    println!(
        "start with 100 rules, to the first event answered: {:.0} ms, {:.0} ms of the processor",
        (clock.elapsed() - began).as_secs_f64() * 1e3,
        (spent() - used) as f64 / 1e6
    );
}

fn main() {
    start();
    rules();
    lengths();
    keys();
    hot_key();
}
