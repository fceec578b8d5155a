//! `demo`: broker, generator, job and a live view, all in this process.

mod audience;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::decision_settings::decision_settings;
use super::failure::{Exit, Failure};
use super::feed::Feed;
use super::in_force::InForce;
use super::job::open_sound_rules;
use super::service::{Identity, answer_order, job_failure, start, stop_on_signal};
use super::terminal;
use crate::diagnostic::render_all;
use crate::event::{Clock, EventTime, SystemClock};
use crate::generate::{Generator, GeneratorSettings, Pace, Rhythm, StreamKind};
use crate::pipeline::JobEvent;
use crate::settings::{Loaded, Purpose, Settings, Surroundings};
use crate::source::embedded::EmbeddedBroker;

use audience::Audience;

/// Watch payments, rules and alerts: an embedded broker, the generator and the job, with a live view.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate demo
  tollgate demo --seconds 20 --plain
  tollgate demo --rate 5000 --rules my-rules

Any Kafka client can join at the address that is shown. Ctrl-C stops cleanly with a summary.")]
pub(super) struct Arguments {
    /// The rules folder; its contract must hold the generator's streams.
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
    /// Events a second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End by itself after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Print lines instead of the live view.
    #[arg(long)]
    plain: bool,
}

/// What the threads of the demo tell each other.
#[derive(Default)]
pub(super) struct Shared {
    /// Ends the generator, and then everything.
    pub stop: Arc<AtomicBool>,
    /// Ends the job, once it has answered what was sent.
    pub stop_job: AtomicBool,
    /// Partitions are assigned: the generator may begin.
    pub ready: AtomicBool,
    /// Events sent.
    pub sent: AtomicU64,
    /// Records answered by the job.
    pub rows: AtomicU64,
    /// Records set aside.
    pub dead_letters: AtomicU64,
}

/// Partitions of each input topic of the embedded broker.
const PARTITIONS: i32 = 4;

/// Where decisions go.
const DECISIONS: &str = "tollgate.decisions";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let topics: Vec<(&str, i32)> = StreamKind::ALL
        .iter()
        .map(|stream| (stream.name(), PARTITIONS))
        .chain(
            ["tollgate.alerts", "tollgate.shadow", "tollgate.dead-letters", DECISIONS]
                .map(|topic| (topic, 1)),
        )
        .collect();
    let broker = EmbeddedBroker::start(&topics).map_err(Failure::outside)?;
    let address = broker.bootstrap_servers();
    let loaded = settings(arguments, &address)?;
    let set = open_sound_rules(&arguments.rules, None, answer_order(&loaded.settings))?;
    let decisions = decision_settings(&loaded.settings).map_err(Failure::usage)?;
    let in_force = InForce::new(set, decisions);
    let shared = Shared::default();
    stop_on_signal(Arc::clone(&shared.stop))?;
    let clock = SystemClock::start();
    let mut audience = Audience::join(&address, &clock)?;
    let title = format!(
        "{} rules, broker {address}, topics {}",
        in_force.set().running().count(),
        StreamKind::ALL.map(StreamKind::name).join(", ")
    );
    let mut view = view::View::open(arguments.plain, title);
    let done = std::thread::scope(|scope| {
        let job = scope.spawn(|| job(&loaded.settings, &in_force, &shared, &clock));
        let feed = scope.spawn(|| feed(arguments, &address, &shared, &clock));
        watch(arguments, &shared, &mut audience, &mut view, &clock);
        shared.stop.store(true, Ordering::Relaxed);
        let fed = feed.join();
        await_answers(&shared, &clock);
        shared.stop_job.store(true, Ordering::Relaxed);
        let ended = [fed, job.join()]
            .map(|thread| thread.unwrap_or_else(|_| Err(Failure::outside("a thread of the demo broke off"))));
        audience.listen(&clock);
        ended.into_iter().collect::<Result<Vec<()>, Failure>>()
    });
    view.close();
    done?;
    view.summary(&shared, &audience);
    Ok(Exit::Fine)
}

/// The settings a user would write for this broker.
fn settings(arguments: &Arguments, address: &str) -> Result<Loaded, Failure> {
    let mut text = format!(
        "[job]\nname = \"tollgate-demo\"\nrules = {:?}\ndelivery = \"at_least_once\"\n[kafka]\nbrokers = [\"{address}\"]\n\
         [output]\ndecisions = \"{DECISIONS}\"\n",
        arguments.rules
    );
    for stream in StreamKind::ALL {
        text += &format!(
            "[streams.{name}]\ntopics = [\"{name}\"]\nstart = \"earliest\"\nidle_after = \"2s\"\n",
            name = stream.name()
        );
    }
    let here = std::env::current_dir().map_err(Failure::outside)?;
    Settings::parse("the demo's settings", &text, &Surroundings::bare(here), Purpose::Run).map_err(
        |findings| {
            eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
            Failure::usage("the demo can't be set up")
        },
    )
}

fn job(settings: &Settings, in_force: &InForce, shared: &Shared, clock: &SystemClock) -> Result<(), Failure> {
    let identity = Identity::default();
    let job = start(settings, in_force, clock, &identity, None, None)
        .inspect_err(|_| shared.stop.store(true, Ordering::Relaxed))?;
    let ran = job.run(&shared.stop_job, |event| match event {
        JobEvent::Assigned(partitions) if !partitions.is_empty() => {
            shared.ready.store(true, Ordering::Release);
        }
        JobEvent::Step { rows, dead_letters, .. } => {
            shared.rows.fetch_add(rows as u64, Ordering::Relaxed);
            shared.dead_letters.fetch_add(dead_letters as u64, Ordering::Relaxed);
        }
        JobEvent::Assigned(_)
        | JobEvent::Recovering(_)
        | JobEvent::Recovered(_)
        | JobEvent::Changed(_)
        | JobEvent::Fault(_)
        | JobEvent::Restarting(_) => {}
    });
    shared.stop.store(true, Ordering::Relaxed);
    shared.stop_job.store(true, Ordering::Relaxed);
    ran.map(|_| ()).map_err(|error| job_failure(&error))
}

/// Feeds the topics at the rate, once the job reads them.
fn feed(arguments: &Arguments, address: &str, shared: &Shared, clock: &SystemClock) -> Result<(), Failure> {
    while !shared.ready.load(Ordering::Acquire) {
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut feed = Feed::start(address, clock).inspect_err(|_| shared.stop.store(true, Ordering::Relaxed))?;
    let settings = GeneratorSettings {
        seed: arguments.seed,
        events_per_second: arguments.rate,
        rhythm: Rhythm::Steady,
        ..GeneratorSettings::starting_at(EventTime(clock.now_micros() / 1_000 * 1_000))
    };
    let fed = (|| {
        let mut generator = Generator::new(&settings).map_err(Failure::usage)?;
        feed.keep_pace(Pace::new(&settings, 1.0));
        let Some(mut event) = generator.next() else { return Ok(()) };
        while !shared.stop.load(Ordering::Relaxed) {
            let sent = feed.send(&event, &shared.stop)?;
            shared.sent.fetch_add(u64::from(sent), Ordering::Relaxed);
            generator.next_into(&mut event);
        }
        feed.finish()
    })();
    fed.inspect_err(|_| shared.stop.store(true, Ordering::Relaxed))
}

/// Gives the job a few seconds to answer what was sent before the end.
fn await_answers(shared: &Shared, clock: &SystemClock) {
    let until = clock.elapsed() + Duration::from_secs(5);
    let behind = || shared.rows.load(Ordering::Relaxed) < shared.sent.load(Ordering::Relaxed);
    while behind() && !shared.stop_job.load(Ordering::Relaxed) && clock.elapsed() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads alerts and redraws until the demo ends.
fn watch(
    arguments: &Arguments,
    shared: &Shared,
    audience: &mut Audience,
    view: &mut view::View,
    clock: &SystemClock,
) {
    let ends = arguments.seconds.map(Duration::from_secs);
    let mut began = None;
    while !shared.stop.load(Ordering::Relaxed) {
        audience.listen(clock);
        let ready = shared.ready.load(Ordering::Acquire);
        if ready && began.is_none() {
            began = Some(clock.elapsed());
        }
        let running = began.map(|began| clock.elapsed().saturating_sub(began));
        view.draw(shared, audience, running.unwrap_or_default());
        if running.zip(ends).is_some_and(|(running, ends)| running >= ends) {
            break;
        }
    }
}
