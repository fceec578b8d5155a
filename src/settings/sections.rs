//! The sections but `[kafka]`, each read into the type that the rest of the job takes.
//!
//! Each function reads its keys in the order of the key table. Keys without effect in this version are
//! checked for their type and dropped.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use super::reader::{Reader, Section, join};
use super::values::{self, ByteSize, Destination, WarmUp, Wrong};
use super::{
    Decide, DecisionSettings, Delivery, Emit, FieldSettings, HttpSettings, JobSettings, LabelSettings,
    LimitSettings, Method, OutputSettings, StreamSettings, TimeUnit, WireFormat,
};
use crate::event::Span;

pub(super) const ANY_SPAN: RangeInclusive<Span> = Span(0)..=Span(366 * 86_400_000_000);
const COMMIT_INTERVALS: RangeInclusive<Span> = Span(0)..=Span::seconds(60);
/// A shutdown that waits for nothing would answer everything again; one that waits for long is killed by whoever
/// asked for it.
const GRACES: RangeInclusive<Span> = Span::seconds(1)..=Span::seconds(600);
/// Shorter than this, a partition would count as idle between two ordinary fetches.
const IDLE_AFTER: RangeInclusive<Span> = Span(100_000)..=Span(366 * 86_400_000_000);

pub(super) fn job<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> JobSettings {
    let section = reader.open(root, "job", "job");
    let deliveries = [("at_least_once", Delivery::AtLeastOnce), ("exactly_once", Delivery::ExactlyOnce)];
    let emits = [("on_arrival", Emit::OnArrival), ("in_order", Emit::InOrder)];
    JobSettings {
        name: reader.text(&section, "name", |text| values::name(text, "job")).unwrap_or_default(),
        rules: reader.path(&section, "rules").unwrap_or_default(),
        delivery: reader.choice(&section, "delivery", &deliveries).unwrap_or_default(),
        commit_interval: reader.duration(&section, "commit_interval", COMMIT_INTERVALS),
        emit: reader.choice(&section, "emit", &emits).unwrap_or_default(),
        instances: whole(reader, &section, "instances", 1..=10_000).unwrap_or(NonZeroUsize::MIN),
        grace: reader.duration(&section, "grace", GRACES),
    }
}

pub(super) fn streams<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> BTreeMap<String, StreamSettings> {
    let Some(value) = root.table.and_then(|table| table.get("streams")) else { return BTreeMap::new() };
    let Some(table) = reader.table("streams", value) else { return BTreeMap::new() };
    let all = Section { keys: "streams", path: "streams".to_owned(), table: Some(table), mistyped: false };
    table.keys().map(|name| (name.get_ref().to_string(), stream(reader, &all, name.get_ref()))).collect()
}

fn stream<'a>(reader: &mut Reader<'a>, streams: &Section<'a>, name: &str) -> StreamSettings {
    let section = reader.open(streams, name, "streams.*");
    let start = |text: &str| {
        text.parse().map_err(|()| {
            Wrong::expected("\"earliest\", \"latest\" or a time")
                .help("write a time with its zone, such as \"2026-11-22T00:00:00Z\"")
        })
    };
    let warm_up = |text: &str| {
        text.parse().map_err(|()| Wrong::expected("\"longest_window\", \"none\" or a length of time"))
    };
    StreamSettings {
        topics: reader.texts(&section, "topics", values::topic),
        topic_key: reader.text(&section, "topic_key", column),
        format: reader.choice(&section, "format", &[("json", WireFormat::Json)]).unwrap_or_default(),
        generation: reader
            .integer(&section, "generation", 0..=i64::from(u32::MAX))
            .and_then(|generation| u32::try_from(generation).ok())
            .unwrap_or_default(),
        start: reader.text(&section, "start", start).unwrap_or(values::Start::Latest),
        warm_up: reader.text(&section, "warm_up", warm_up).unwrap_or(WarmUp::None),
        lateness: reader.duration(&section, "lateness", ANY_SPAN),
        repeats: reader.duration(&section, "repeats", ANY_SPAN),
        idle_after: reader.duration(&section, "idle_after", IDLE_AFTER),
        fields: fields(reader, &section),
    }
}

fn fields<'a>(reader: &mut Reader<'a>, stream: &Section<'a>) -> BTreeMap<String, FieldSettings> {
    let path = join(&stream.path, "fields");
    let Some(value) = stream.table.and_then(|table| table.get("fields")) else { return BTreeMap::new() };
    let Some(table) = reader.table(&path, value) else { return BTreeMap::new() };
    let all = Section { keys: "streams.*.fields", path, table: Some(table), mistyped: false };
    table.keys().map(|name| (name.get_ref().to_string(), field(reader, &all, name.get_ref()))).collect()
}

fn field<'a>(reader: &mut Reader<'a>, fields: &Section<'a>, name: &str) -> FieldSettings {
    let section = reader.open(fields, name, "streams.*.fields.*");
    let units = [
        ("iso", TimeUnit::Iso),
        ("s", TimeUnit::Seconds),
        ("ms", TimeUnit::Milliseconds),
        ("us", TimeUnit::Microseconds),
    ];
    let dotted = |text: &str| {
        let complete = text.split('.').all(|part| !part.is_empty());
        let wrong = || Wrong::expected("a dotted path").help("write \"amount\" or \"payment.amount\"");
        if complete { Ok(text.to_owned()) } else { Err(wrong()) }
    };
    FieldSettings {
        path: reader.text(&section, "path", dotted),
        unit: reader.choice(&section, "unit", &units),
        minor_units: reader
            .integer(&section, "minor_units", 0..=18)
            .and_then(|digits| u8::try_from(digits).ok()),
    }
}

pub(super) fn output<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> OutputSettings {
    let section = reader.open(root, "output", "output");
    let alerts = reader.destination(&section, "alerts");
    let shadow = reader.destination(&section, "shadow");
    let dead_letters = reader.destination(&section, "dead_letters");
    let mask_dead_letters = reader.boolean(&section, "mask_dead_letters");
    let decisions = reader.destination(&section, "decisions");
    let decide = reader.choice(&section, "decide", &[("all", Decide::All), ("touched", Decide::Touched)]);
    let audit = reader.destination(&section, "audit");
    let or_nowhere = |place: Option<Destination>| place.unwrap_or(Destination::Topic(String::new()));
    OutputSettings {
        alerts: or_nowhere(alerts),
        shadow: or_nowhere(shadow),
        dead_letters: or_nowhere(dead_letters),
        mask_dead_letters,
        decisions,
        decide: decide.unwrap_or_default(),
        audit,
    }
}

/// The largest score that settings may name.
const SCORE_MAX: i64 = 1_000_000;

pub(super) fn decisions<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> DecisionSettings {
    let section = reader.open(root, "decisions", "decisions");
    let mut score = |name, least| reader.integer(&section, name, least..=SCORE_MAX);
    let (cap, review, challenge, block) =
        (score("cap", 1), score("review", 0), score("challenge", 0), score("block", 0));
    let methods = [
        ("sum_cap", Method::SumCap),
        ("max", Method::Max),
        ("noisy_or", Method::NoisyOr),
        ("logistic", Method::Logistic),
    ];
    let weights = reader.path(&section, "weights");
    DecisionSettings {
        method: reader.choice(&section, "method", &methods).unwrap_or_default(),
        weights,
        cap: cap.unwrap_or_default(),
        review: review.unwrap_or_default(),
        challenge,
        block: block.unwrap_or_default(),
    }
}

pub(super) fn labels<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> Option<LabelSettings> {
    let section = reader.open(root, "labels", "labels");
    let remember = reader.duration(&section, "remember", ANY_SPAN);
    let event_id = reader.text_or_list(&section, "event_id", column);
    let fraud = reader.text(&section, "fraud", column);
    let stream = reader.text(&section, "stream", column)?;
    Some(LabelSettings { stream, event_id, fraud: fraud.unwrap_or_default(), remember })
}

pub(super) fn limits<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> LimitSettings {
    let section = reader.open(root, "limits", "limits");
    LimitSettings {
        memory: reader.size(&section, "memory"),
        rule_time: reader.duration(&section, "rule_time", ANY_SPAN),
        rule_memory: reader.size_if_set(&section, "rule_memory"),
        future: reader.duration(&section, "future", ANY_SPAN),
        batch_rows_max: whole(reader, &section, "batch_rows_max", 1..=1_000_000).unwrap_or(NonZeroUsize::MIN),
        batch_bytes_max: reader.size(&section, "batch_bytes_max"),
        record_bytes_max: reader.size(&section, "record_bytes_max"),
        threads: whole(reader, &section, "threads", 1..=1024),
    }
}

pub(super) fn http<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> HttpSettings {
    let section = reader.open(root, "http", "http");
    HttpSettings { listen: reader.text(&section, "listen", values::listen).flatten() }
}

pub(super) fn whole<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    name: &str,
    bounds: RangeInclusive<i64>,
) -> Option<NonZeroUsize> {
    let number = reader.integer(section, name, bounds)?;
    usize::try_from(number).ok().and_then(NonZeroUsize::new)
}

fn column(text: &str) -> Result<String, Wrong> {
    if text.is_empty() { Err(Wrong::expected("a column's name")) } else { Ok(text.to_owned()) }
}

impl Default for LimitSettings {
    /// The limits that hold where the file says nothing.
    fn default() -> Self {
        Self {
            memory: ByteSize(4 << 30),
            rule_time: Span(1_000),
            rule_memory: None,
            future: Span::seconds(300),
            batch_rows_max: NonZeroUsize::new(8192).unwrap_or(NonZeroUsize::MIN),
            batch_bytes_max: ByteSize(16 << 20),
            record_bytes_max: ByteSize(1 << 20),
            threads: None,
        }
    }
}
