//! What each key allows alone and the settings as a whole do not, and what this version can't do yet.
//!
//! Takes whole settings; adds findings at the keys concerned. A key that already has a fault is left out of
//! every comparison: its value is a stand-in.

use std::collections::BTreeMap;

use super::reader::Reader;
use super::{Delivery, Destination, Method, OutputSettings, Purpose, Settings};

/// Reports all contradictions, and for a run all that is missing for it.
pub(super) fn check(reader: &mut Reader<'_>, settings: &Settings, purpose: Purpose) {
    bindings(reader, settings);
    outputs(reader, settings);
    limits(reader, settings);
    thresholds(reader, settings);
    if purpose == Purpose::Run {
        needed_to_run(reader, settings);
    }
}

/// Adds a finding at the first of the keys, unless one of them is faulty by itself.
fn report(reader: &mut Reader<'_>, keys: &[&str], message: String, help: &str) {
    let concerns = |faulty: &String, key: &&str| {
        key.strip_prefix(faulty.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if keys.iter().any(|key| reader.faulty.iter().any(|faulty| concerns(faulty, key))) {
        return;
    }
    let Some(first) = keys.first() else { return };
    let finding = reader.error_at(first, message).with_help(help).with_code("contradiction");
    reader.findings.push(finding);
}

/// A topic feeds one stream: its records are told apart by nothing else.
fn bindings(reader: &mut Reader<'_>, settings: &Settings) {
    let mut bound: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, stream) in &settings.streams {
        for topic in &stream.topics {
            let Some(first) = bound.insert(topic, name) else { continue };
            let message = if first == name {
                format!("the topic `{topic}` is listed twice")
            } else {
                format!("the topic `{topic}` already carries the stream `{first}`")
            };
            let key = format!("streams.{name}.topics");
            report(reader, &[&key], message, "list each topic once, under one stream");
        }
        for (column, field) in &stream.fields {
            if field.unit.is_some() && field.minor_units.is_some() {
                let key = format!("streams.{name}.fields.{column}");
                let message = format!("the column `{column}` has both `unit` and `minor_units`");
                report(
                    reader,
                    &[&key],
                    message,
                    "`unit` is for times and `minor_units` for amounts: leave one out",
                );
            }
        }
    }
}

/// An output that is read back in would feed the job its own alerts, and two kinds of event in one place
/// could not be told apart.
fn outputs(reader: &mut Reader<'_>, settings: &Settings) {
    let all = settings.output.places();
    for (index, (key, destination)) in all.iter().enumerate() {
        if let Some((other, _)) = all.iter().take(index).find(|(_, other)| other == destination) {
            let message = format!("`{key}` and `{other}` both go to `{destination}`");
            report(reader, &[key, other], message, "give each its own topic or file");
        }
        let Destination::Topic(topic) = destination else { continue };
        let reads = settings.streams.iter().find(|(_, stream)| stream.topics.contains(topic));
        if let Some((stream, _)) = reads {
            let message = format!("`{key}` writes to the topic `{topic}`, which the stream `{stream}` reads");
            report(reader, &[key], message, "write to a topic that the job doesn't read");
        }
    }
}

impl OutputSettings {
    /// Every output that is on, by its key.
    fn places(&self) -> Vec<(&'static str, &Destination)> {
        let asked_for =
            [("output.decisions", self.decisions.as_ref()), ("output.audit", self.audit.as_ref())];
        let always = [
            ("output.alerts", &self.alerts),
            ("output.shadow", &self.shadow),
            ("output.dead_letters", &self.dead_letters),
        ];
        always
            .into_iter()
            .chain(asked_for.into_iter().filter_map(|(key, place)| Some((key, place?))))
            .collect()
    }
}

/// A stricter outcome needs no smaller score, and a score that no sum can reach would never be.
fn thresholds(reader: &mut Reader<'_>, settings: &Settings) {
    let decisions = &settings.decisions;
    let named = [
        ("decisions.review", Some(decisions.review)),
        ("decisions.challenge", decisions.challenge),
        ("decisions.block", Some(decisions.block)),
    ];
    let set: Vec<(&str, i64)> = named.into_iter().filter_map(|(key, score)| Some((key, score?))).collect();
    for pair in set.windows(2) {
        let [(milder, low), (stricter, high)] = pair else { continue };
        if low > high {
            let message = format!(
                "`{milder}` ({low}) is more than `{stricter}` ({high}), so it would never be reached"
            );
            report(reader, &[milder, stricter], message, "let what is stricter need no smaller score");
        }
    }
    if decisions.method == Method::Logistic && decisions.weights.is_none() {
        let message = "`decisions.method = \"logistic\"` needs `decisions.weights`".to_owned();
        let help = "name the file that `tollgate backtest --fit FILE` wrote, or take another method";
        report(reader, &["decisions.method"], message, help);
    }
    let capped = matches!(decisions.method, Method::SumCap | Method::NoisyOr);
    if capped && decisions.block > decisions.cap {
        let message = format!(
            "`decisions.block` ({}) is more than `decisions.cap` ({})",
            decisions.block, decisions.cap
        );
        report(
            reader,
            &["decisions.block", "decisions.cap"],
            message,
            "no sum would reach it: raise the cap",
        );
    }
}

fn limits(reader: &mut Reader<'_>, settings: &Settings) {
    let limits = &settings.limits;
    let record = ("limits.record_bytes_max", limits.record_bytes_max);
    let batch = ("limits.batch_bytes_max", limits.batch_bytes_max);
    let memory = ("limits.memory", limits.memory);
    for (small, large, help) in [
        (record, batch, "a batch must have room for the largest record"),
        (batch, memory, "leave memory for windows beside the batch"),
    ] {
        if small.1 > large.1 {
            let message = format!("`{}` ({}) is more than `{}` ({})", small.0, small.1, large.0, large.1);
            report(reader, &[small.0, large.0], message, help);
        }
    }
}

fn needed_to_run(reader: &mut Reader<'_>, settings: &Settings) {
    if settings.kafka.brokers.is_empty() {
        let message = "`kafka.brokers` is missing, and a job that runs needs it".to_owned();
        report(reader, &["kafka.brokers"], message, "write `brokers = [\"host:9092\"]` under `[kafka]`");
    }
    if settings.streams.is_empty() {
        let help = "write `[streams.NAME]` with `topics = [\"…\"]` for each stream of the event contract";
        report(reader, &["streams"], "no stream is bound to a topic".to_owned(), help);
    }
    let files = settings.output.places();
    if settings.job.delivery == Delivery::ExactlyOnce
        && let Some((key, _)) = files.iter().find(|(_, place)| !matches!(place, Destination::Topic(_)))
    {
        let message = format!("`exactly_once` needs topics, and `{key}` is a file: no transaction covers it");
        let help = "give the output a topic, or write delivery = \"at_least_once\"";
        report(reader, &["job.delivery", key], message, help);
    }
}
