//! `run`: the deployed job.

mod reload;
mod switches;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::decision_settings::decision_settings;
use super::failure::{Exit, Failure};
use super::in_force::{InForce, Judging};
use super::job::open_sound_rules;
use super::service::{Identity, answer_order, job_failure, kafka_settings, start, stop_on_signal, unbound};
use super::terminal;
use crate::console::{ConnectionLimits, Console, Told};
use crate::diagnostic::{Severity, render_all};
use crate::event::{Clock, SystemClock};
use crate::pipeline::{Accept, Changed, Changes, Core, JobEvent, KnownSets, Observers, Peers, version_with};
use crate::settings::{Loaded, Purpose, Settings};

/// Run the job that a settings file describes, until SIGTERM or Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate run --config tollgate.toml
  TOLLGATE_LOG=debug tollgate run --config tollgate.toml --log-format json

A first SIGTERM or Ctrl-C finishes and commits what is under way; a second ends at once, and what was
not committed is answered again at the next start, under the same alert ids.")]
pub(super) struct Arguments {
    /// The settings file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
    /// Stable name of this process among those that share the job; needed where `instances` is more than 1.
    #[arg(long, value_name = "NAME", env = "TOLLGATE_INSTANCE")]
    instance: Option<String>,
    /// Start although something can't be restored; a refused start says which of these it needs.
    #[arg(long, value_enum, value_name = "WHAT")]
    accept: Vec<AcceptArgument>,
    /// Shape of the log on standard error.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AcceptArgument {
    /// Records that left a topic before they were answered.
    LostRecords,
    /// A topic has another count of partitions than at the last commit.
    PartitionCount,
    /// Windows reach further back than what is left of the events.
    IncompleteWindows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let loaded = load(arguments)?;
    eprint!("{}", render_all(&loaded.warnings, terminal::colour_of_errors()));
    log_to_stderr(arguments.log_format);
    let settings = &loaded.settings;
    let seen = reload::Look::at(settings);
    let set = open_sound_rules(&settings.job.rules, None, answer_order(settings))?;
    let findings = unbound(&loaded, &set);
    eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Failure::usage(format!(
            "{} does not fit the event contract",
            arguments.config.display()
        )));
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop))?;
    let clock = SystemClock::start();
    let identity = identity(arguments, settings)?;
    let observers = Observers::start(settings.job.grace.to_std());
    let console = console(settings, &observers)?;
    let decisions = decision_settings(settings).map_err(Failure::usage)?;
    let in_force = InForce::new(set, decisions);
    let core = run_with_changes((settings, seen), &in_force, &clock, &identity, observers, &stop)?;
    drop(console);
    let counts = core.counts();
    tracing::info!(
        rows_in = counts.rows_in,
        answered = counts.answered,
        dead_letters = counts.dead_letters,
        repeats = counts.repeats,
        waiting = counts.waiting,
        "stopped"
    );
    Ok(Exit::Fine)
}

/// The job, and beside it those who watch its rules folder and its audit topic.
fn run_with_changes(
    (settings, seen): (&Settings, reload::Look),
    in_force: &InForce,
    clock: &SystemClock,
    identity: &Identity,
    observers: Observers,
    stop: &AtomicBool,
) -> Result<Core, Failure> {
    let (changes, taken_up) = crossbeam_channel::bounded(CHANGES_WAITING_MAX);
    let (asked, ended) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    reload::asked_by_signal(Arc::clone(&asked))?;
    let kafka = kafka_settings(settings);
    let peers = peers(settings, identity);
    let follower = super::rules::audit_topic(settings).map(|topic| switches::Follower {
        peers: peers.clone(),
        kafka: &kafka,
        client_id: &settings.job.name,
        job: &settings.job.name,
        topic,
        in_force,
        changes: changes.clone(),
        ended: &ended,
    });
    let sets = follower.as_ref().map_or(Ok(KnownSets::default()), switches::Follower::catch_up)?;
    in_force.replacing(in_force.whole(), in_force.judging())();
    let job = start(
        settings,
        in_force,
        clock,
        identity,
        Some(observers),
        Some(Changes { receiver: taken_up, peers, sets }),
    )?;
    let stopped = in_force.stopped();
    let watch = reload::Watch { settings, in_force, seen, stopped, changes, asked: &asked, ended: &ended };
    std::thread::scope(|scope| {
        scope.spawn(|| watch.run());
        if let Some(follower) = &follower {
            scope.spawn(|| follower.run());
        }
        let Judging { set, decisions } = in_force.judging();
        tracing::info!(
            job = settings.job.name,
            rules = set.running().count(),
            ruleset = version_with(&set.version, decisions.as_ref()),
            "running"
        );
        let mut report = Report::default();
        let ran = job.run(stop, |event| {
            if let JobEvent::Changed(Changed::Switched(turn)) = &event {
                in_force.turn(turn.clone());
            }
            report.note(&event, clock);
        });
        ended.store(true, Ordering::Relaxed);
        ran.map_err(|error| job_failure(&error))
    })
}

/// The other instances of the job, where it has some and an audit topic to speak through.
fn peers(settings: &Settings, identity: &Identity) -> Option<Arc<Peers>> {
    if settings.job.instances.get() == 1 {
        return None;
    }
    if super::rules::audit_topic(settings).is_none() {
        tracing::warn!(
            "without an audit topic under [output], each instance takes changed rules up by itself"
        );
        return None;
    }
    Some(Arc::new(Peers::new(identity.told(&settings.job.name))))
}

/// Changes that may wait for the job to take them up; then whoever prepares them waits.
const CHANGES_WAITING_MAX: usize = 16;

/// What this process is called, and what it may go on without.
fn identity(arguments: &Arguments, settings: &Settings) -> Result<Identity, Failure> {
    if settings.job.instances.get() > 1 && arguments.instance.is_none() {
        return Err(Failure::usage(
            "`instances` is more than 1, so each process needs a name of its own that it keeps over restarts: \
             give it with --instance NAME or in TOLLGATE_INSTANCE",
        ));
    }
    let accept = arguments.accept.iter().map(|accept| match accept {
        AcceptArgument::LostRecords => Accept::LostRecords,
        AcceptArgument::PartitionCount => Accept::PartitionCount,
        AcceptArgument::IncompleteWindows => Accept::IncompleteWindows,
    });
    let instance = arguments.instance.clone().unwrap_or_else(|| "0".to_owned());
    Ok(Identity { instance: Some(instance), accept: accept.collect() })
}

/// Metrics and health over HTTP, unless the settings turn them off.
fn console(settings: &Settings, observers: &Observers) -> Result<Option<Console>, Failure> {
    let Some(listen) = settings.http.listen else { return Ok(None) };
    let Observers { metrics, health, clock } = observers.clone();
    let told = Told { metrics, health, clock };
    let console = Console::start(listen, told, ConnectionLimits::default()).map_err(Failure::outside)?;
    tracing::info!(address = %console.address(), "metrics and health are served");
    Ok(Some(console))
}

fn load(arguments: &Arguments) -> Result<Loaded, Failure> {
    Settings::load(&arguments.config, Purpose::Run).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::usage(format!("{} can't be used", arguments.config.display()))
    })
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TOLLGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            log.with_ansi(terminal::colour_of_errors() == crate::diagnostic::Colour::On).init();
        }
        LogFormat::Json => log.json().init(),
    }
}

/// A line in the log once a minute, and one for each change.
#[derive(Default)]
struct Report {
    rows: u64,
    alerts: u64,
    dead_letters: u64,
    last: Duration,
}

impl Report {
    fn note(&mut self, event: &JobEvent<'_>, clock: &SystemClock) {
        match event {
            JobEvent::Assigned(partitions) => {
                tracing::info!(partitions = partitions.len(), "partitions assigned");
            }
            JobEvent::Recovering(_) => {}
            JobEvent::Changed(Changed::Reloaded { version, filled, pause }) => tracing::info!(
                ruleset = version,
                windows_filled = filled,
                pause_ms = pause.as_millis() as u64,
                "changed rules are in force"
            ),
            JobEvent::Changed(Changed::Refused { .. }) => {}
            JobEvent::Changed(Changed::Switched(switch)) => tracing::warn!(
                rule = switch.rule,
                to = ?switch.to,
                by = switch.by,
                reason = switch.reason,
                "a rule was switched"
            ),
            JobEvent::Recovered(progress) => tracing::info!(
                from_history = progress.absorbed,
                from_topics = progress.replayed,
                seconds = progress.took.as_secs_f64(),
                "windows are filled: answering"
            ),
            JobEvent::Restarting(cause) => {
                tracing::warn!(%cause, "starting again from the committed offsets");
            }
            JobEvent::Fault(fault) => tracing::warn!(%fault, "a fault that the job gets over"),
            JobEvent::Step { rows, alerts, dead_letters } => {
                self.rows += *rows as u64;
                self.alerts += alerts.len() as u64;
                self.dead_letters += *dead_letters as u64;
                let now = clock.elapsed();
                if now.saturating_sub(self.last) >= Duration::from_secs(60) {
                    tracing::info!(
                        rows = self.rows,
                        alerts = self.alerts,
                        dead_letters = self.dead_letters,
                        "the last minute"
                    );
                    *self = Self { last: now, ..Self::default() };
                }
            }
        }
    }
}
