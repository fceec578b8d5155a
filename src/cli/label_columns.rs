//! `[labels]` of the settings against the event contract.

use crate::diagnostic::{Diagnostic, choices, suggest};
use crate::event::Stream;
use crate::labels::{LabelColumns, says_fraud};
use crate::rules::RuleSet;
use crate::settings::{Loaded, Settings};

/// The rows that are labels; none where the settings name none, or what the contract lacks.
pub(super) fn label_columns(settings: &Settings, set: &RuleSet) -> Option<LabelColumns> {
    let own = settings.labels.as_ref()?;
    let (stream, known) = set.catalog.contract.stream(&own.stream)?;
    let column = |name: &str| known.schema.index_of(name).ok();
    let (event_id, fraud) = (column(&own.event_id)?, column(&own.fraud)?);
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
    for (key, name) in [("labels.event_id", &own.event_id), ("labels.fraud", &own.fraud)] {
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
    faults
}

fn unknown_column(loaded: &Loaded, stream: &Stream, key: &str, name: &str) -> Diagnostic {
    let names = || stream.schema.fields().iter().map(|field| field.name().as_str());
    let near = suggest(name, names()).map(|near| format!("did you mean {near}?"));
    let help = near.unwrap_or_else(|| format!("it has {}", choices(names())));
    loaded.error_at(key, format!("stream {} has no column {name}", stream.name)).with_help(help)
}
