//! `test --new`: a file to start from, empty or with a case cut out of real events.
//!
//! The case that is cut out has the event that hits and, of the time its windows reach back to, the events with the
//! same entity. It is run before it is written; where the rule does not hit on those alone, because a window is not
//! keyed by the entity, that is said in the file.

use std::path::Path;

use arrow::array::Array;
use serde_json::{Map, Value};

use super::{Arguments, compile, draw, test_of};
use crate::alert::json_value;
use crate::cli::failure::{Exit, Failure};
use crate::cli::job::parts_failure;
use crate::cli::replay::input::Inputs;
use crate::decode::DecodedBatch;
use crate::event::EventTime;
use crate::pipeline::{Answered, CoreSettings, Parts, StreamPolicy};
use crate::rules::{RuleSet, mentions};

/// Events of a case that is cut out, at most: the newest stay.
const EVENTS_MAX: usize = 500;

const BATCH_ROWS: u32 = 8192;

/// Writes the file.
pub(super) fn write(rule: &Path, arguments: &Arguments) -> Result<Exit, Failure> {
    let path = test_of(rule);
    if path.exists() {
        return Err(Failure::usage(format!("{} is there already: add cases to it by hand", path.display())));
    }
    let set = compile(rule, arguments, &[]).map_err(|findings| {
        draw(&findings);
        Failure::findings(format!("{} can't be used", rule.display()))
    })?;
    let text = match arguments.from.is_empty() {
        true => blank(&set),
        false => cut(&set, arguments)?,
    };
    std::fs::write(&path, text)
        .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", path.display())))?;
    eprintln!("wrote {}: mend it, then `tollgate test {}`", path.display(), path.display());
    Ok(Exit::Fine)
}

/// Column and value of an event, as TOML.
fn pair(name: &str, value: &Value) -> Option<String> {
    // What JSON escapes in a text, TOML reads alike.
    let value = Some(value).filter(|value| !value.is_null())?;
    Some(format!("{name} = {value}"))
}

/// A file with one event that does not hit yet.
fn blank(set: &RuleSet) -> String {
    let Some(rule) = set.running().next() else { return String::new() };
    let contract = &set.catalog.contract;
    let reads = |name: &str| mentions(&rule.source.text, name);
    let stream = contract.streams.iter().find(|stream| reads(&stream.name)).or(contract.streams.first());
    let Some(stream) = stream else { return String::new() };
    let columns: Vec<&str> = stream
        .schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(index, field)| {
            reads(field.name()) && *index != stream.event_time && !stream.event_id.contains(index)
        })
        .map(|(_, field)| field.name().as_str())
        .collect();
    format!(
        "# Cases of {id}; `tollgate test` runs them. Columns that an event leaves out come from `defaults`, then from the\n\
         # contract. An event without `hit = true` must not hit.\n\
         stream = \"{stream}\"\n\n\
         [defaults]\n{defaults}\n\
         [[case]]\n\
         name = \"an event that must not hit\"\n\
         events = [\n  {{ at = \"0s\" }},\n]\n\n\
         # [[case]]\n\
         # name = \"what must hit\"\n\
         # events = [\n\
         #   {{ at = \"0s\", times = 3, every = \"1m\" }},\n\
         #   {{ at = \"9m59s\", hit = true, reason = \"…\", values = {{ … }} }},\n\
         # ]\n",
        id = rule.header.id,
        stream = stream.name,
        defaults = columns.iter().fold(String::new(), |text, column| text + &format!("# {column} = …\n")),
    )
}

/// One row of the events, as a case needs it.
struct Row {
    at: i64,
    stream: String,
    columns: Map<String, Value>,
}

/// The event that hits: where it is, when, and whom it is about.
struct Target {
    partition: u32,
    offset: i64,
    at: i64,
    entity: Option<(String, Value)>,
    values: Map<String, Value>,
}

fn cut(set: &RuleSet, arguments: &Arguments) -> Result<String, Failure> {
    let target = find(set, arguments)?.ok_or_else(|| {
        let which = arguments
            .event
            .as_ref()
            .map_or_else(|| "no event".to_owned(), |id| format!("event {id} does not or"));
        Failure::usage(format!("{which} hits the rule in these files: name others with --from"))
    })?;
    let rows = window(set, arguments, &target)?;
    Ok(written(set, &target, &rows))
}

/// The rule without state, and the files from their beginning.
fn opened(set: &RuleSet, arguments: &Arguments) -> Result<(Parts, Inputs), Failure> {
    let contract = &set.catalog.contract;
    let settings = CoreSettings::uniform(contract, StreamPolicy::default());
    let mut parts = Parts::of_files(set, settings).map_err(parts_failure)?;
    let inputs = Inputs::open(contract, &arguments.from, BATCH_ROWS, &parts.used)?;
    for partition in inputs.partitions() {
        parts.core.watermarks().expect(partition);
    }
    Ok((parts, inputs))
}

/// The first hit, or that of the event asked for.
fn find(set: &RuleSet, arguments: &Arguments) -> Result<Option<Target>, Failure> {
    let Some(rule) = set.running().next() else { return Ok(None) };
    let entity = rule.header.entity.clone();
    let entity = entity.or_else(|| rule.header.dedup.as_ref()?.columns.first().cloned());
    let (mut parts, mut inputs) = opened(set, arguments)?;
    loop {
        let event = inputs.next()?;
        let ended = event.is_none();
        let outcome = match event {
            Some(event) => inputs.step(&mut parts.core, event)?,
            None => parts.core.finish().map_err(Failure::outside)?,
        };
        let wanted = |answered: &Answered, row| {
            let id = arguments.event.as_ref();
            id.is_none_or(|id| event_id(set, &answered.batch, row).is_some_and(|own| own == *id))
        };
        for answered in &outcome.answered {
            for found in &answered.hits.hits {
                let Some(hit) = found.rows.iter().position(|row| wanted(answered, *row)) else { continue };
                let (rows, row) = (&answered.batch.rows, found.rows[hit] as usize);
                let value = |(name, column): (&String, _)| (name.clone(), json_value(column, hit));
                let values: Map<String, Value> = rule.columns.iter().zip(&found.columns).map(value).collect();
                return Ok(Some(Target {
                    partition: rows.partition[row],
                    offset: rows.offset[row],
                    at: rows.event_time[row],
                    entity: entity.as_ref().and_then(|name| Some((name.clone(), values.get(name)?.clone()))),
                    values,
                }));
            }
        }
        if ended {
            return Ok(None);
        }
    }
}

/// The value of an event's first id column.
fn event_id(set: &RuleSet, batch: &DecodedBatch, row: u32) -> Option<String> {
    let source = &batch.rows.partitions[batch.rows.partition[row as usize] as usize];
    let stream = &set.catalog.contract.streams[source.stream];
    let rows = &batch.streams[source.stream];
    let index = rows.rows.binary_search(&row).ok()?;
    let column = rows.columns[*stream.event_id.first()?].as_ref()?;
    match json_value(column, index) {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Events before the target that its windows may see, and the target.
fn window(set: &RuleSet, arguments: &Arguments, target: &Target) -> Result<Vec<Row>, Failure> {
    let mut kept: std::collections::VecDeque<Row> = std::collections::VecDeque::new();
    let contract = &set.catalog.contract;
    let (mut parts, mut inputs) = opened(set, arguments)?;
    let reach = parts.core.reach();
    let since = if reach.unbounded { i64::MIN } else { target.at.saturating_sub(reach.longest.0) };
    while let Some(event) = inputs.next()? {
        let decoded = inputs.decoded(&mut parts.core, event).map_err(Failure::outside)?.unwrap_or_default();
        for row in 0..decoded.rows.event_time.len() {
            let (at, partition) = (decoded.rows.event_time[row], decoded.rows.partition[row]);
            let here = partition == target.partition && decoded.rows.offset[row] == target.offset;
            if at >= since && (at <= target.at || here) {
                let stream = decoded.rows.partitions[partition as usize].stream;
                let index = u32::try_from(row).ok();
                let Some(index) = index.and_then(|row| decoded.streams[stream].rows.binary_search(&row).ok())
                else {
                    continue;
                };
                let fields = contract.streams[stream].schema.fields().iter();
                let columns: Map<String, Value> = fields
                    .zip(&decoded.streams[stream].columns)
                    .filter_map(|(field, column)| {
                        let column = column.as_ref().filter(|column| !column.is_null(index))?;
                        Some((field.name().clone(), json_value(column, index)))
                    })
                    .collect();
                let about =
                    |(name, value): &(String, Value)| columns.get(name).is_none_or(|own| own == value);
                if here || target.entity.as_ref().is_none_or(about) {
                    if kept.len() == EVENTS_MAX {
                        kept.pop_front();
                    }
                    kept.push_back(Row { at, stream: contract.streams[stream].name.clone(), columns });
                }
            }
            if here {
                return Ok(kept.into());
            }
        }
    }
    Ok(kept.into())
}

fn written(set: &RuleSet, target: &Target, rows: &[Row]) -> String {
    let Some(rule) = set.running().next() else { return String::new() };
    let start = rows.iter().map(|row| row.at).min().unwrap_or(target.at);
    let mut events = String::new();
    for (index, row) in rows.iter().enumerate() {
        let last = index + 1 == rows.len();
        let mut cells =
            vec![format!("at = \"{}\"", since(row.at - start)), format!("stream = \"{}\"", row.stream)];
        let stream = set.catalog.contract.streams.iter().find(|stream| stream.name == row.stream);
        let time = stream.map(|stream| stream.schema.field(stream.event_time).name().as_str());
        cells.extend(
            row.columns
                .iter()
                .filter(|(name, _)| Some(name.as_str()) != time)
                .filter_map(|(name, value)| pair(name, value)),
        );
        if last {
            let own = |name: &str| row.columns.contains_key(name);
            let values: Vec<String> = target
                .values
                .iter()
                .filter(|(name, _)| !own(name))
                .filter_map(|(name, value)| pair(name, value))
                .collect();
            cells.push("hit = true".to_owned());
            if !values.is_empty() {
                cells.push(format!("values = {{ {} }}", values.join(", ")));
            }
        }
        events += &format!("  {{ {} }},\n", cells.join(", "));
    }
    let who = target.entity.as_ref().map_or_else(String::new, |(name, value)| format!(", {name} {value}"));
    format!(
        "# Cut out of real events: the event of {at}{who}, and those that its windows may have seen. Check that\n\
         # nothing in it must stay secret. Events before the last that hit as well need `hit = true`.\n\
         start = \"{start}\"\n\n[[case]]\nname = \"{id} hits as it did at {at}\"\nevents = [\n{events}]\n",
        at = EventTime(target.at),
        start = EventTime(start),
        id = rule.header.id,
    )
}

/// `9m59s`, from microseconds.
fn since(micros: i64) -> String {
    let mut rest = micros.max(0);
    let mut text = String::new();
    for (unit, size) in [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)]
    {
        if rest >= size {
            text += &format!("{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
