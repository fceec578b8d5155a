//! From settings to a job that runs: what `run` and `demo` have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::failure::{Exit, Failure};
use super::job::{Evaluation, evaluation};
use crate::alert::AlertSettings;
use crate::decode::{DecodeLimits, FieldBinding, StreamBinding, TimeUnitText};
use crate::diagnostic::{Diagnostic, choices, suggest};
use crate::event::Clock;
use crate::pipeline::{CoreSettings, IDLE_KEYS_AFTER, Job, JobError, JobPolicy, StreamPolicy};
use crate::rules::{AnswerOrder, Emit, RuleSet};
use crate::settings::{self, Loaded, Settings, StreamSettings};
use crate::sink::{
    AlertFormat, Destination, FileSink, FileSinkSettings, KafkaSink, KafkaSinkSettings, Masking, RoutedSink,
    Sink, Topics,
};
use crate::source::kafka::{
    ConsumerSettings, KafkaSettings, KafkaSource, SourceError, Start, TopicBinding, cluster_id,
};
use crate::window::WindowSettings;

/// How long a shutdown waits for deliveries.
const GRACE: Duration = Duration::from_secs(20);

/// When rules are answered that do not say it themselves.
pub(super) fn answer_order(settings: &Settings) -> AnswerOrder {
    AnswerOrder::Default(match settings.job.emit {
        settings::Emit::OnArrival => Emit::OnArrival,
        settings::Emit::InOrder => Emit::InOrder,
    })
}

/// Streams that the settings bind and the contract lacks, and the reverse.
pub(super) fn unbound(loaded: &Loaded, set: &RuleSet) -> Vec<Diagnostic> {
    let contract = &set.catalog.contract;
    let names = || contract.streams.iter().map(|stream| stream.name.as_str());
    let unknown = loaded.settings.streams.keys().filter(|name| contract.stream(name).is_none());
    let mut findings: Vec<Diagnostic> = unknown
        .map(|name| {
            let help = match suggest(name, names()) {
                Some(near) => format!("did you mean [streams.{near}]?"),
                None => format!("streams of the contract are {}", choices(names())),
            };
            loaded
                .error_at(&format!("streams.{name}"), format!("the contract has no stream {name}"))
                .with_help(help)
        })
        .collect();
    for stream in contract.streams.iter().filter(|stream| !loaded.settings.streams.contains_key(&stream.name))
    {
        let message =
            format!("stream {} of the contract is bound to no topic: its rules see no events", stream.name);
        let finding = Diagnostic {
            severity: crate::diagnostic::Severity::Warning,
            ..loaded.error_at("streams", message)
        };
        findings.push(finding.with_help(format!("add [streams.{}] with topics = [\"…\"]", stream.name)));
    }
    findings
}

/// A job ready to run.
pub(super) fn start<'a>(
    settings: &Settings,
    set: &RuleSet,
    clock: &'a dyn Clock,
) -> Result<Job<'a>, Failure> {
    let kafka = kafka_settings(settings);
    let cluster = match &settings.kafka.cluster {
        Some(name) => name.clone(),
        None => cluster_id(&kafka).map_err(|error| source_failure(&error))?.unwrap_or_default(),
    };
    let streams = &set.catalog.contract.streams;
    let generations = streams.iter().map(|stream| stream_of(settings, &stream.name).generation).collect();
    let alerts = AlertSettings { cluster, generations };
    let Evaluation { core, on_arrival, in_order, .. } = evaluation(
        set,
        &bindings(settings, set),
        decode_limits(settings),
        core_settings(settings, set),
        &alerts,
    )?;
    let source = KafkaSource::start(consumer_settings(settings, set, kafka.clone()))
        .map_err(|error| source_failure(&error))?;
    let sink = sink(settings, kafka)?;
    let contract = &set.catalog.contract;
    let idle_after =
        contract.streams.iter().map(|stream| stream_of(settings, &stream.name).idle_after).collect();
    let policy = JobPolicy {
        commit_interval: settings.job.commit_interval,
        idle_after,
        masking: if settings.output.mask_dead_letters { Masking::Mask } else { Masking::Keep },
        grace: GRACE,
        ruleset: set.version.clone(),
        instance: settings.job.name.clone(),
    };
    Ok(Job { source, core, on_arrival, in_order, sink, policy, clock })
}

/// Sets `stop` on the first SIGINT or SIGTERM and ends the process on the second.
pub(super) fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::outside)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                for last in [false, true] {
                    signalled().await;
                    stop.store(true, Ordering::Relaxed);
                    if last {
                        std::process::exit(Exit::Fine as i32);
                    }
                }
            });
        })
        .map(|_| ())
        .map_err(Failure::outside)
}

async fn signalled() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// How a job's end is told to the shell.
pub(super) fn job_failure(error: &JobError) -> Failure {
    let exit = match error {
        JobError::Source(SourceError::PositionGone { .. }) => Exit::Refused,
        _ => Exit::Outside,
    };
    Failure { exit, message: error.to_string() }
}

fn source_failure(error: &SourceError) -> Failure {
    let exit = match error {
        SourceError::Refused { .. } | SourceError::Property { .. } => Exit::Usage,
        SourceError::PositionGone { .. } => Exit::Refused,
        _ => Exit::Outside,
    };
    Failure { exit, message: error.to_string() }
}

fn kafka_settings(settings: &Settings) -> KafkaSettings {
    let properties =
        settings.kafka.properties.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    KafkaSettings { brokers: settings.kafka.brokers.clone(), properties: properties.collect() }
}

fn stream_of(settings: &Settings, name: &str) -> StreamSettings {
    settings.streams.get(name).cloned().unwrap_or_else(|| StreamSettings {
        topics: Vec::new(),
        topic_key: None,
        format: settings::WireFormat::Json,
        generation: 0,
        start: settings::Start::Latest,
        warm_up: settings::WarmUp::None,
        lateness: crate::event::Span::default(),
        repeats: crate::event::Span::default(),
        idle_after: crate::event::Span::seconds(10),
        fields: BTreeMap::new(),
    })
}

fn bindings(settings: &Settings, set: &RuleSet) -> Vec<StreamBinding> {
    let unit = |unit| match unit {
        settings::TimeUnit::Iso => TimeUnitText::Iso,
        settings::TimeUnit::Seconds => TimeUnitText::S,
        settings::TimeUnit::Milliseconds => TimeUnitText::Ms,
        settings::TimeUnit::Microseconds => TimeUnitText::Us,
    };
    let binding = |name: &str| StreamBinding {
        fields: stream_of(settings, name)
            .fields
            .into_iter()
            .map(|(column, field)| {
                let field = FieldBinding {
                    path: field.path,
                    unit: field.unit.map(unit),
                    minor_units: field.minor_units,
                };
                (column, field)
            })
            .collect(),
        ..StreamBinding::default()
    };
    set.catalog.contract.streams.iter().map(|stream| binding(&stream.name)).collect()
}

fn decode_limits(settings: &Settings) -> DecodeLimits {
    DecodeLimits {
        future: settings.limits.future,
        record_bytes_max: settings.limits.record_bytes_max.bytes(),
        ..DecodeLimits::default()
    }
}

fn core_settings(settings: &Settings, set: &RuleSet) -> CoreSettings {
    let policy = |name: &str| {
        let stream = stream_of(settings, name);
        StreamPolicy { lateness: stream.lateness, repeats: stream.repeats }
    };
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let shards = settings.limits.threads.map_or_else(cores, std::num::NonZeroUsize::get);
    CoreSettings {
        streams: set.catalog.contract.streams.iter().map(|stream| policy(&stream.name)).collect(),
        windows: WindowSettings { shards, idle: Some(IDLE_KEYS_AFTER.0), ..WindowSettings::default() },
        waiting_rows_max: 5_000_000,
    }
}

fn consumer_settings(settings: &Settings, set: &RuleSet, kafka: KafkaSettings) -> ConsumerSettings {
    let mut topics = BTreeMap::new();
    for (name, stream) in &settings.streams {
        let Some((index, _)) = set.catalog.contract.stream(name) else { continue };
        let start = match stream.start {
            settings::Start::Earliest => Start::Earliest,
            settings::Start::Latest => Start::Latest,
            settings::Start::At(time) => Start::At(time),
        };
        topics
            .extend(stream.topics.iter().map(|topic| (topic.clone(), TopicBinding { stream: index, start })));
    }
    ConsumerSettings {
        batch_rows_max: settings.limits.batch_rows_max.get(),
        batch_bytes_max: settings.limits.batch_bytes_max.bytes(),
        ..ConsumerSettings::new(kafka, settings.job.name.clone(), topics)
    }
}

/// Topics for the outputs that are topics, files for the others.
fn sink(settings: &Settings, kafka: KafkaSettings) -> Result<Sink, Failure> {
    let output = &settings.output;
    let outputs = [
        (Destination::Alerts, &output.alerts),
        (Destination::Shadow, &output.shadow),
        (Destination::DeadLetters, &output.dead_letters),
    ];
    let mut topics = Topics::default();
    let mut files =
        FileSinkSettings { folder: PathBuf::from("."), alerts: AlertFormat::Ndjson, paths: Vec::new() };
    let mut to_files = Vec::new();
    for (destination, place) in outputs {
        match place {
            settings::Destination::Topic(topic) => topic.clone_into(match destination {
                Destination::Shadow => &mut topics.shadow,
                Destination::DeadLetters => &mut topics.dead_letters,
                _ => &mut topics.alerts,
            }),
            settings::Destination::Ndjson(path) => {
                files.paths.push((destination, path.clone()));
                to_files.push(destination);
            }
            settings::Destination::Parquet(path) if destination == Destination::Alerts => {
                files.folder = path.parent().map(PathBuf::from).unwrap_or_default();
                files.alerts = AlertFormat::Parquet;
                to_files.push(destination);
            }
            settings::Destination::Parquet(path) => {
                return Err(Failure::usage(format!(
                    "only alerts can be written as Parquet: give {destination} a topic or a file that ends in .ndjson instead of {}",
                    path.display()
                )));
            }
        }
    }
    let linger_ms = 0;
    let to_kafka = KafkaSinkSettings { kafka, client_id: settings.job.name.clone(), topics, linger_ms };
    let failed = |error: crate::sink::SinkError| Failure::outside(error);
    Ok(match to_files.len() {
        0 => KafkaSink::start(to_kafka).map_err(failed)?.into(),
        count if count == outputs.len() => FileSink::start(files).map_err(failed)?.into(),
        _ => {
            let kafka = KafkaSink::start(to_kafka).map_err(failed)?;
            RoutedSink::new(kafka, FileSink::start(files).map_err(failed)?, to_files).into()
        }
    })
}
