//! `bench`: how long an alert takes, at a rate, on this machine and broker.
//!
//! The load is open: every event has its moment by the clock, whatever became of those before it, and its time runs from
//! that moment, so a stall is charged to every event that it delays. The job is the deployed one, in a process of its
//! own, so that its processor time is told apart from the load's and the listener's. With `--echo` two bare programs
//! take turns with it on the same broker: one that only passes records on, and one that only polls and parses them. They
//! say what is left to gain, of time and of processor time.

mod bare;
mod broker;
mod load;
mod report;
mod target;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::failure::{Exit, Failure};
use super::terminal::Format;
use crate::event::{Clock, Span, SystemClock};

use broker::Bench;
use load::Load;
use target::{Kind, Target};

/// Measure the time from an event to its alert, at a steady rate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate bench                                        1,000 events a second on a broker inside the process
  tollgate bench --brokers kafka:9092 --rate 10000 --seconds 60 --echo
  tollgate bench --brokers kafka:9092 --delivery exactly_once --fail-over p99=50ms
  tollgate bench --histogram job.hgrm                   for the plotters of HdrHistogram; .hlog writes its log

The events are card payments of about 150 bytes (--record-bytes pads them); the rules are the six of benches/peers/velocity and one
that a quarter of the events hit. Topics of a broker that is named get a prefix of their own and are deleted at the end.
Exactly-once needs --brokers: the broker inside the process has no transactions. Ends with 1 if --fail-over is passed.")]
pub(super) struct Arguments {
    /// Events a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds that are measured; with --echo, of each of the turns.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Seconds between the first alert and the first event that is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    warm_up: u32,
    /// Bytes of a record, if it is to be larger than it is by itself.
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    record_bytes: u32,
    /// Partitions of the input topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    partitions: u16,
    /// Brokers, separated by commas; left out, one inside this process.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// How often an alert may arrive.
    #[arg(long, value_enum, default_value = "at_least_once")]
    delivery: DeliveryArgument,
    /// The job's commit_interval: 10ms exactly-once, where alerts wait for it, and the settings' 50ms otherwise.
    #[arg(long, value_name = "SPAN")]
    commit_interval: Option<Span>,
    /// Only one event in so many may alert, and the echo passes on as many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    alert_every: u32,
    /// Measure a bare consumer and producer, and a bare consumer that parses, in turns with the job.
    #[arg(long)]
    echo: bool,
    /// Write the histogram of the job: .hgrm is a table of percentiles, .hlog HdrHistogram's log.
    #[arg(long, value_name = "FILE")]
    histogram: Option<PathBuf>,
    /// End with 1 if the job is slower: p50, p90, p99, p99.9 or max, as p99=20ms; may be repeated.
    #[arg(long, value_name = "LIMIT", value_parser = report::limit)]
    fail_over: Vec<report::Limit>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Be what is measured beside the job: which, brokers, topic to read, topic to write, commit interval, one in how many.
    #[arg(long, hide = true, num_args = 6)]
    serve: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum DeliveryArgument {
    /// Sooner; after a crash perhaps twice.
    AtLeastOnce,
    /// In transactions.
    ExactlyOnce,
}

impl DeliveryArgument {
    fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        }
    }
}

/// Turns of each target with --echo.
const TURNS: usize = 2;

/// What was measured of one target.
struct Measured {
    kind: Kind,
    /// Microseconds from an event's moment to its alert's arrival.
    latency: Histogram<u64>,
    seconds: f64,
    events: u64,
    processor_seconds: f64,
    memory_bytes: f64,
}

impl Arguments {
    fn commit_interval(&self) -> Span {
        let by_delivery = match self.delivery {
            DeliveryArgument::ExactlyOnce => Span(10_000),
            DeliveryArgument::AtLeastOnce => Span(50_000),
        };
        self.commit_interval.unwrap_or(by_delivery)
    }
}

impl Measured {
    fn nothing(kind: Kind) -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3).map_err(Failure::outside)?;
        Ok(Self { kind, latency, seconds: 0.0, events: 0, processor_seconds: 0.0, memory_bytes: 0.0 })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let [which, brokers, from, to, interval, every] = arguments.serve.as_slice() {
        let every = every.parse().map_err(Failure::usage)?;
        return bare::Bare { brokers, from, to, every }.serve(which, interval).map(|()| Exit::Fine);
    }
    if arguments.delivery == DeliveryArgument::ExactlyOnce && arguments.brokers.is_none() {
        return Err(Failure::usage("exactly_once needs a broker with transactions: name one with --brokers"));
    }
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    super::service::stop_on_signal(std::sync::Arc::clone(&stop))?;
    let clock = SystemClock::start();
    let bench = Bench::open(arguments)?;
    let kinds: &[Kind] = if arguments.echo { &[Kind::Job, Kind::Echo, Kind::Consumer] } else { &[Kind::Job] };
    let mut measured: Vec<Measured> =
        kinds.iter().map(|kind| Measured::nothing(*kind)).collect::<Result<_, _>>()?;
    let targets: Vec<Target> =
        kinds.iter().map(|kind| Target::start(*kind, &bench, arguments)).collect::<Result<_, _>>()?;
    let turns = if arguments.echo { TURNS } else { 1 };
    for turn in 0..turns {
        for (target, measured) in targets.iter().zip(&mut measured) {
            eprintln!("measuring the {}, turn {} of {turns}", target.kind.name(), turn + 1);
            measure(arguments, &bench, target, (&clock, &stop), measured)?;
            if stop.load(Ordering::Relaxed) {
                return Err(Failure::outside("stopped before everything was measured"));
            }
        }
    }
    drop(targets);
    bench.close();
    if let Some(file) = &arguments.histogram {
        report::write_histogram(file, &measured[0])?;
    }
    report::print(arguments, &measured)?;
    report::verdict(arguments, &measured[0])
}

/// One turn of a target: load until its alerts come, warm it up, measure, let it drain.
fn measure(
    arguments: &Arguments,
    bench: &Bench,
    target: &Target,
    (clock, stop): (&SystemClock, &AtomicBool),
    measured: &mut Measured,
) -> Result<(), Failure> {
    const FIRST_WAIT: Duration = Duration::from_secs(90);
    const DRAIN_QUIET: Duration = Duration::from_secs(1);
    const DRAIN_MOST: Duration = Duration::from_secs(20);
    let listener = bench.listen(target.kind)?;
    let load = Load::start(arguments, bench, target.kind, clock)?;
    let (ended, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let feed = scope.spawn(|| load.run(clock, &ended, &sent));
        let mut first = None;
        let mut before = (0.0, 0.0, 0);
        let mut until = Duration::MAX;
        let mut last = clock.elapsed();
        let outcome = loop {
            let now = clock.elapsed();
            if stop.load(Ordering::Relaxed) || feed.is_finished() && until == Duration::MAX {
                break Ok(());
            }
            if first.is_none() && now.saturating_sub(load.origin) > FIRST_WAIT {
                break Err(Failure::outside(format!(
                    "no alert within {} s: {}",
                    FIRST_WAIT.as_secs(),
                    target.last_words()
                )));
            }
            if now >= until {
                ended.store(true, Ordering::Relaxed);
                if now.saturating_sub(last) > DRAIN_QUIET || now.saturating_sub(until) > DRAIN_MOST {
                    break Ok(());
                }
            }
            let Some(event) = listener.next()? else { continue };
            let arrived = clock.elapsed();
            last = arrived;
            let due = load.due(event);
            let from =
                *first.get_or_insert_with(|| arrived + Duration::from_secs(u64::from(arguments.warm_up)));
            if until == Duration::MAX && arrived >= from {
                before = target.used(sent.load(Ordering::Relaxed));
                until = arrived + Duration::from_secs(u64::from(arguments.seconds));
            }
            if until != Duration::MAX && due >= from && due < until {
                let micros = u64::try_from(arrived.saturating_sub(due).as_micros()).unwrap_or(u64::MAX);
                measured.latency.saturating_record(micros);
            }
            if arrived < until {
                let after = target.used(sent.load(Ordering::Relaxed));
                measured.memory_bytes = measured.memory_bytes.max(after.1);
                if until != Duration::MAX {
                    load.note(after, before, arrived.saturating_sub(from));
                }
            }
        };
        ended.store(true, Ordering::Relaxed);
        let fed = feed.join().unwrap_or_else(|_| Err(Failure::outside("the load broke off")));
        let (processor, events, span) = load.noted();
        measured.processor_seconds += processor;
        measured.events += events;
        measured.seconds += span.as_secs_f64();
        outcome.and(fed)
    })
}
