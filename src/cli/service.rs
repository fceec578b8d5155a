//! From settings to a job that runs: what `run` and `demo` have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::decision_settings::weight_faults;
use super::failure::{Exit, Failure};
use super::in_force::{InForce, Judging};
use super::label_columns::{label_columns, label_faults};
use crate::alert::AlertSettings;
use crate::decode::{DecodeLimits, FieldBinding, StreamBinding, TimeUnitText, Unused};
use crate::diagnostic::{Diagnostic, choices, suggest};
use crate::event::{Clock, SystemClock};
use crate::history::{self, History, WriterSettings};
use crate::pipeline::{
    Accept, Changes, CoreSettings, IDLE_KEYS_AFTER, Job, JobError, JobPolicy, Kept, NextParts, Observers,
    Parts, RecoveryPolicy, RuleBudget, StreamPolicy, WarmUp,
};
use crate::rules::{AnswerOrder, Emit, RuleSet};
use crate::settings::{self, ByteSize, Loaded, Settings, StreamSettings};
use crate::sink::{
    AlertFormat, Destination, FileSink, FileSinkSettings, KafkaSink, KafkaSinkSettings, Masking, PRODUCERS,
    RefusedMessages, RoutedSink, Sink, SinkError, Topics, TransactionEnds, TransactionSettings,
    TransactionSink,
};
use crate::source::kafka::{ConsumerSettings, KafkaSettings, SourceError, Start, TopicBinding, cluster_id};
use crate::sql::{not_keyed_by, selects_topic_key};
use crate::window::WindowSettings;

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
    findings.extend(label_faults(loaded, set));
    findings.extend(weight_faults(loaded, set));
    findings
}

/// Rules whose answers depend on how partitions are shared out, where they are.
pub(super) fn check_shared_out(settings: &Settings, set: &RuleSet) -> Result<(), Failure> {
    if settings.job.instances.get() == 1 {
        return Ok(());
    }
    let topic_key = |stream: &crate::event::Stream| {
        let settings = settings.streams.get(&stream.name).filter(|settings| settings.topics.len() == 1)?;
        stream.schema.index_of(settings.topic_key.as_ref()?).ok()
    };
    let keys: Vec<Option<usize>> =
        set.catalog.contract.streams.iter().map(|stream| topic_key(stream)).collect();
    let mut faults = String::new();
    for compiled in [&set.on_arrival, &set.in_order] {
        for (query, rule) in compiled.rules.iter().enumerate() {
            let dedup = rule.header.dedup.as_ref().map(|dedup| &dedup.columns);
            let fault = not_keyed_by(&compiled.graph, query, &keys).or_else(|| {
                let apart =
                    dedup.is_some_and(|names| !selects_topic_key(&compiled.graph, query, names, &keys));
                apart.then(|| "its `@dedup` is about values that several processes may see".to_owned())
            });
            if let Some(fault) = fault {
                faults += &format!("\n  {}: {fault}", rule.header.id);
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "`instances` is {}, and these rules are exact only where one process owns every partition:{faults}\n\
         key their windows by the `topic_key` of the stream, read a topic that is partitioned by their key, or run \
         them in a job of their own with `instances` = 1",
        settings.job.instances
    )))
}

/// Which process this is, and what it may go on without.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    /// Stable name among the processes of the job; none: a member of the group without a name.
    pub instance: Option<String>,
    /// What a person has accepted for this start.
    pub accept: Vec<Accept>,
}

impl Identity {
    /// What this process is called in headers, in the audit and in its group, where it has a name of its own.
    pub(super) fn told(&self, job: &str) -> String {
        self.instance.as_ref().map_or_else(|| job.to_owned(), |instance| format!("{job}-{instance}"))
    }
}

/// A job ready to run.
pub(super) fn start<'a>(
    settings: &'a Settings,
    in_force: &'a InForce,
    clock: &'a dyn Clock,
    identity: &Identity,
    observers: Option<Observers>,
    changes: Option<Changes>,
) -> Result<Job<'a>, Failure> {
    let set = in_force.set();
    check_shared_out(settings, &set)?;
    let kafka = kafka_settings(settings);
    let cluster = cluster(settings, &kafka)?;
    let name = &settings.job.name;
    let member = identity.instance.is_some().then(|| identity.told(name));
    let policy = policy(settings, &set, identity, identity.told(name))?;
    let alerts = in_force.alerts(|| AlertSettings {
        cluster: cluster.clone(),
        generations: policy.recovery.generations.clone(),
        tell_held_back: settings.output.decisions.is_some(),
    });
    let parts = move || {
        let Judging { set, decisions } = in_force.judging();
        let mut parts = parts(settings, &set, alerts)?.deciding(decisions);
        parts.set_standings(in_force.standings());
        Ok(parts)
    };
    // Whatever is wrong with the rules or the sink shows before the group is joined.
    parts().map_err(|error| job_failure(&error))?;
    let consumer =
        ConsumerSettings { instance: member.clone(), ..consumer_settings(settings, &set, kafka.clone()) };
    let plan = SinkPlan::of(settings, kafka)?;
    let transactions = (settings.job.delivery == settings::Delivery::ExactlyOnce)
        .then(|| member.unwrap_or_else(|| name.clone()));
    let refused = RefusedMessages::default();
    let ends = TransactionEnds::default();
    let sink = move || plan.make(transactions.as_deref(), &refused, &ends);
    let history = kept(settings, &cluster)?;
    Ok(Job {
        parts: Box::new(parts),
        consumer,
        sink: Box::new(sink),
        history,
        observers,
        changes,
        policy,
        clock,
    })
}

/// What the cluster is called in ids: by the settings, or by itself.
pub(super) fn cluster(settings: &Settings, kafka: &KafkaSettings) -> Result<String, Failure> {
    match &settings.kafka.cluster {
        Some(name) => Ok(name.clone()),
        None => Ok(cluster_id(kafka).map_err(|error| source_failure(&error))?.unwrap_or_default()),
    }
}

/// The job's history, where the settings have one.
fn kept(settings: &Settings, cluster: &str) -> Result<Option<Kept>, Failure> {
    let Some(wanted) = &settings.history else { return Ok(None) };
    let identity = history::Identity { cluster: cluster.to_owned(), job: settings.job.name.clone() };
    let history = History::open(wanted, &identity).map_err(|error| super::history::failure(&error))?;
    Ok(Some(Kept {
        history,
        writer: WriterSettings::of(wanted),
        keep: wanted.keep,
        clock: Arc::new(SystemClock::start()),
    }))
}

/// A core without state, and all that goes with it.
pub(super) fn parts(settings: &Settings, set: &RuleSet, alerts: &AlertSettings) -> Result<Parts, JobError> {
    let bindings = bindings(settings, set);
    let made = Parts::of(set, &bindings, decode_limits(settings), core_settings(settings, set), alerts);
    made.map_err(|error| JobError::Rules(error.to_string()))
}

/// What makes the same, to follow other parts.
pub(super) fn next_parts(settings: &Settings, judging: Judging, alerts: AlertSettings) -> NextParts {
    let settings = settings.clone();
    Arc::new(move |before| {
        let Judging { set, decisions } = judging.clone();
        let (bindings, core) = (bindings(&settings, &set), core_settings(&settings, &set));
        let made = Parts::after(&set, &bindings, decode_limits(&settings), (core, &alerts), Some(before));
        made.map(|parts| parts.deciding(decisions)).map_err(|error| JobError::Rules(error.to_string()))
    })
}

/// What a job does by itself.
pub(super) fn policy(
    settings: &Settings,
    set: &RuleSet,
    identity: &Identity,
    instance: String,
) -> Result<JobPolicy, Failure> {
    let streams = || set.catalog.contract.streams.iter().map(|stream| stream_of(settings, &stream.name));
    let warm_up = |stream: StreamSettings| match stream.warm_up {
        settings::WarmUp::LongestWindow => WarmUp::LongestWindow,
        settings::WarmUp::None => WarmUp::Nothing,
        settings::WarmUp::Span(span) => WarmUp::For(span),
    };
    let mut recovery = RecoveryPolicy {
        generations: streams().map(|stream| stream.generation).collect(),
        warm_up: streams().map(warm_up).collect(),
        future: settings.limits.future,
        accept: identity.accept.clone(),
        ..RecoveryPolicy::default()
    };
    for output in [&settings.output.alerts, &settings.output.shadow] {
        match output {
            settings::Destination::Topic(topic) => recovery.alert_topics.push(topic.clone()),
            settings::Destination::Ndjson(path) => recovery.alert_files.push(path.clone()),
            settings::Destination::Parquet(_) => {}
        }
    }
    Ok(JobPolicy {
        commit_interval: settings.job.commit_interval,
        idle_after: streams().map(|stream| stream.idle_after).collect(),
        masking: if settings.output.mask_dead_letters { Masking::Mask } else { Masking::Keep },
        grace: settings.job.grace.to_std(),
        audit: settings.output.audit.is_some(),
        instance,
        memory_max: settings.limits.memory.bytes(),
        rule_budget: RuleBudget {
            time: Some(settings.limits.rule_time.to_std()).filter(|time| !time.is_zero()),
            memory: settings.limits.rule_memory.map(ByteSize::bytes),
        },
        recovery,
    })
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
        JobError::Source(SourceError::PositionGone { .. } | SourceError::Fenced { .. })
        | JobError::Sink(SinkError::Fenced { .. })
        | JobError::Memory { .. }
        | JobError::Refused(_) => Exit::Refused,
        JobError::History(fault) => return super::history::failure(fault),
        JobError::Rules(_) => Exit::Findings,
        _ => Exit::Outside,
    };
    Failure { exit, message: error.to_string() }
}

pub(super) fn source_failure(error: &SourceError) -> Failure {
    let exit = match error {
        SourceError::Refused { .. } | SourceError::Property { .. } => Exit::Usage,
        SourceError::PositionGone { .. } => Exit::Refused,
        _ => Exit::Outside,
    };
    Failure { exit, message: error.to_string() }
}

pub(super) fn kafka_settings(settings: &Settings) -> KafkaSettings {
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
        unused: if settings.history.is_some() { Unused::Keep } else { Unused::Skip },
        keep_keys: settings.output.decisions.is_some(),
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

/// How the rows of each stream of the contract are taken.
pub(super) fn stream_policies(settings: &Settings, set: &RuleSet) -> Vec<StreamPolicy> {
    let policy = |name: &str| {
        let stream = stream_of(settings, name);
        StreamPolicy { lateness: stream.lateness, repeats: stream.repeats }
    };
    set.catalog.contract.streams.iter().map(|stream| policy(&stream.name)).collect()
}

fn core_settings(settings: &Settings, set: &RuleSet) -> CoreSettings {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let shards = settings.limits.threads.map_or_else(cores, std::num::NonZeroUsize::get);
    CoreSettings {
        streams: stream_policies(settings, set),
        windows: WindowSettings { shards, idle: Some(IDLE_KEYS_AFTER.0), ..WindowSettings::default() },
        waiting_rows_max: 5_000_000,
        labels: label_columns(settings, set),
    }
}

/// Which topics are read, and how.
pub(super) fn consumer_settings(
    settings: &Settings,
    set: &RuleSet,
    kafka: KafkaSettings,
) -> ConsumerSettings {
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
struct SinkPlan {
    kafka: KafkaSinkSettings,
    files: FileSinkSettings,
    to_files: Vec<Destination>,
    outputs: usize,
}

impl SinkPlan {
    fn of(settings: &Settings, kafka: KafkaSettings) -> Result<Self, Failure> {
        let output = &settings.output;
        let asked_for = [
            (Destination::Decisions, output.decisions.as_ref()),
            (Destination::Audit, output.audit.as_ref()),
        ];
        let mut outputs = vec![
            (Destination::Alerts, &output.alerts),
            (Destination::Shadow, &output.shadow),
            (Destination::DeadLetters, &output.dead_letters),
        ];
        outputs.extend(asked_for.into_iter().filter_map(|(destination, place)| Some((destination, place?))));
        let count = outputs.len();
        let mut topics = Topics::default();
        let mut files =
            FileSinkSettings { folder: PathBuf::from("."), alerts: AlertFormat::Ndjson, paths: Vec::new() };
        let mut to_files = Vec::new();
        for (destination, place) in outputs {
            match place {
                settings::Destination::Topic(topic) => topic.clone_into(match destination {
                    Destination::Alerts => &mut topics.alerts,
                    Destination::Shadow => &mut topics.shadow,
                    Destination::DeadLetters => &mut topics.dead_letters,
                    Destination::Decisions => &mut topics.decisions,
                    Destination::Audit => &mut topics.audit,
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
        let kafka = KafkaSinkSettings { kafka, client_id: settings.job.name.clone(), topics, linger_ms: 0 };
        Ok(Self { kafka, files, to_files, outputs: count })
    }

    /// The sink; with a name for its transactional ids, the one that delivers exactly once.
    fn make(
        &self,
        transactions: Option<&str>,
        refused: &RefusedMessages,
        ends: &TransactionEnds,
    ) -> Result<Sink, SinkError> {
        let kafka = self.kafka.clone();
        if let Some(id) = transactions {
            let settings = TransactionSettings {
                // A job reads in the group of its name.
                group: kafka.client_id.clone(),
                kafka,
                id: id.to_owned(),
                producers: PRODUCERS,
                refused: RefusedMessages::clone(refused),
                ends: ends.clone(),
            };
            return Ok(TransactionSink::start(settings)?.into());
        }
        Ok(match self.to_files.len() {
            0 => KafkaSink::start(kafka)?.into(),
            count if count == self.outputs => FileSink::start(self.files.clone())?.into(),
            _ => {
                let files = FileSink::start(self.files.clone())?;
                RoutedSink::new(KafkaSink::start(kafka)?, files, self.to_files.clone()).into()
            }
        })
    }
}
