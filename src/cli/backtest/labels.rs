//! A file of labels: whether each event was a fraud, and when that became known.
//!
//! Read by the same readers as events, so that any of their formats will do and what can't be read is said
//! in the same words. A file that only lists frauds needs no column `fraud`.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::alert::text_value;
use crate::backtest::{Label, Labels};
use crate::cli::failure::Failure;
use crate::decode::{DecodeLimits, DecodedBatch, Decoders, StreamBinding};
use crate::diagnostic::{Colour, SourceText, render_all};
use crate::event::{Contract, Span};
use crate::source::{FileSettings, FileSource};
use crate::sql::parse_contract;

/// Names of the columns that a file may have: the event's id, and when its label became known. `event_time`
/// stands for the event's own time, after which the label became known with the delay of the settings.
const LAYOUTS: [(&str, &str); 4] =
    [("id", "known_at"), ("event_id", "known_at"), ("event_id", "event_time"), ("id", "event_time")];

/// How a file says whether an event is a fraud, strictest first. A file without such a column lists frauds only; what
/// it calls `is_fraud` must then not be there, or genuine events would be taken for frauds.
const TRUTHS: [&str; 4] = [
    "is_fraud BOOLEAN NOT NULL",
    "is_fraud BIGINT NOT NULL",
    "fraud BOOLEAN, is_fraud VARCHAR",
    "fraud BIGINT, is_fraud VARCHAR",
];

/// Reads a file of labels; the first layout that fits all of its rows is its own.
pub(super) fn read(file: &Path, delay: Span) -> Result<Labels, Failure> {
    let mut first_fault = None;
    for (id, time) in LAYOUTS {
        for truth in TRUTHS {
            match read_as(file, (id, time), truth, delay)? {
                Ok(labels) => return Ok(labels),
                Err(fault) => _ = first_fault.get_or_insert(fault),
            }
        }
    }
    Err(Failure::usage(format!(
        "{} is no file of labels: {}; it needs the columns id (or event_id), known_at, and fraud or is_fraud (true and false, or 1 and 0)",
        file.display(),
        first_fault.unwrap_or_default()
    )))
}

/// The labels, or why the layout does not fit.
fn read_as(
    file: &Path,
    (id, time): (&str, &str),
    truth: &str,
    delay: Span,
) -> Result<Result<Labels, String>, Failure> {
    let text = format!(
        "-- @event_time: {time}\nCREATE TABLE labels ({id} VARCHAR NOT NULL, {time} TIMESTAMP NOT NULL, {truth})"
    );
    let contract = parse_contract(&SourceText::new("labels", text))
        .map_err(|findings| Failure::usage(render_all(&findings, Colour::Off)))?;
    let mut decoders = decoders(&contract)?;
    let files = [file.to_owned()];
    let mut source = FileSource::open(&files, 0, FileSettings::default()).map_err(Failure::usage)?;
    let misfit = source.schemas().find_map(|(_, schema)| decoders.check_columns(0, schema).err());
    if let Some(misfit) = misfit {
        return Ok(Err(misfit.to_string()));
    }
    let delay = if time == "event_time" { delay } else { Span(0) };
    let mut labels = Labels::default();
    while let Some(fetched) = source.next().map_err(Failure::outside)? {
        let batch = decoders.decode(fetched);
        if let Some(fault) = batch.dead_letters.first() {
            return Ok(Err(format!("{}: {}", fault.coordinates, fault.reason)));
        }
        if named_otherwise(&batch) {
            return Ok(Err(
                "its column is_fraud holds neither true and false nor 1 and 0 in every row".to_owned()
            ));
        }
        add_all(&mut labels, &batch, delay)?;
    }
    Ok(Ok(labels))
}

fn decoders(contract: &Contract) -> Result<Decoders, Failure> {
    let used =
        contract.streams.iter().map(|stream| vec![true; stream.schema.fields().len()]).collect::<Vec<_>>();
    let bindings = [StreamBinding::default()];
    Decoders::of_contract(contract, &bindings, &used, DecodeLimits::default()).map_err(Failure::usage)
}

/// Whether a row has an `is_fraud` although it was read as a file without.
fn named_otherwise(batch: &DecodedBatch) -> bool {
    let columns = batch.streams.first().map(|own| own.columns.as_slice()).unwrap_or_default();
    columns.get(3).and_then(Option::as_ref).is_some_and(|column| column.null_count() < column.len())
}

fn add_all(labels: &mut Labels, batch: &DecodedBatch, delay: Span) -> Result<(), Failure> {
    let columns = batch.streams.first().map(|own| own.columns.as_slice()).unwrap_or_default();
    let [Some(ids), _, Some(frauds), ..] = columns else { return Ok(()) };
    let frauds = cast(frauds, &DataType::Boolean).map_err(Failure::outside)?;
    let frauds = frauds.as_boolean();
    for (row, time) in batch.rows.event_time.iter().enumerate() {
        let fraud = frauds.is_null(row) || frauds.value(row);
        labels.add(text_value(ids, row), Label { fraud, known_at: time.saturating_add(delay.0) });
    }
    Ok(())
}
