//! `[labels]` of the settings against the event contract.

use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::diagnostic::{Diagnostic, choices, suggest};
use crate::event::{Contract, Stream};
use crate::labels::{LabelColumns, says_fraud};
use crate::rules::RuleSet;
use crate::settings::{LabelSettings, Loaded, Settings};

/// The rows that are labels; none where the settings name none, or what the contract lacks.
pub(super) fn label_columns(settings: &Settings, set: &RuleSet) -> Option<LabelColumns> {
    let own = settings.labels.as_ref()?;
    let (stream, known) = set.catalog.contract.stream(&own.stream)?;
    let column = |name: &str| known.schema.index_of(name).ok();
    let event_id = own.event_id.iter().map(|name| column(name)).collect::<Option<_>>()?;
    let fraud = column(&own.fraud)?;
    Some(LabelColumns { stream, event_id, fraud, remember: own.remember })
}

/// What `[labels]` names and the contract does not have.
pub(super) fn label_faults(loaded: &Loaded, set: &RuleSet) -> Vec<Diagnostic> {
    let Some(own) = &loaded.settings.labels else { return Vec::new() };
    let contract = &set.catalog.contract;
    let names = || contract.streams.iter().map(|stream| stream.name.as_str());
    let Some((_, stream)) = contract.stream(&own.stream) else {
        let near = suggest(&own.stream, names()).map(|near| format!("did you mean {near}?"));
        let help = near.unwrap_or_else(|| format!("streams of the contract are {}", choices(names())));
        let message = format!("the contract has no stream {}", own.stream);
        return vec![loaded.error_at("labels.stream", message).with_help(help)];
    };
    let mut faults = Vec::new();
    let ids = own.event_id.iter().map(|name| ("labels.event_id", name));
    for (key, name) in ids.chain([("labels.fraud", &own.fraud)]) {
        match stream.schema.field_with_name(name) {
            Err(_) => faults.push(unknown_column(loaded, stream, key, name)),
            Ok(field) if key == "labels.fraud" && !says_fraud(field.data_type()) => {
                let message = format!("{name} of {} can't say whether an event was fraud", stream.name);
                let help = "name a BOOLEAN column, or one of whole numbers: 0 where it was not";
                faults.push(loaded.error_at(key, message).with_help(help));
            }
            Ok(_) => {}
        }
    }
    if faults.is_empty() {
        faults.extend(other_key(loaded, own, (contract, stream)));
    }
    faults
}

/// Where no event of the contract has an id of as many parts as labels name. One text may be all of it, as alerts say it.
fn other_key(
    loaded: &Loaded,
    own: &LabelSettings,
    (contract, labels): (&Contract, &Stream),
) -> Option<Diagnostic> {
    let events =
        || contract.streams.iter().filter(|stream| stream.name != labels.name && !stream.event_id.is_empty());
    let [first, more @ ..] = own.event_id.as_slice() else { return None };
    let text = labels.schema.field_with_name(first).is_ok_and(|field| is_text(field.data_type()));
    let fits = |stream: &Arc<Stream>| stream.event_id.len() == own.event_id.len() || text && more.is_empty();
    let other = events().next().filter(|_| !events().any(fits))?;
    let key: Vec<&str> =
        other.event_id.iter().map(|column| other.schema.field(*column).name().as_str()).collect();
    let message = format!(
        "a label names an event by {} of its columns, and an event of {} has the PRIMARY KEY ({})",
        own.event_id.len(),
        other.name,
        key.join(", ")
    );
    let columns: Vec<String> = key.iter().map(|name| format!("\"{name}\"")).collect();
    let help = format!(
        "name the columns of {} for each of them, in this order: event_id = [{}] where they are called so too",
        labels.name,
        columns.join(", ")
    );
    Some(loaded.error_at("labels.event_id", message).with_help(help))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn unknown_column(loaded: &Loaded, stream: &Stream, key: &str, name: &str) -> Diagnostic {
    let names = || stream.schema.fields().iter().map(|field| field.name().as_str());
    let near = suggest(name, names()).map(|near| format!("did you mean {near}?"));
    let help = near.unwrap_or_else(|| format!("it has {}", choices(names())));
    loaded.error_at(key, format!("stream {} has no column {name}", stream.name)).with_help(help)
}
