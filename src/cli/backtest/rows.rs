//! One row an alert, as NDJSON or Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::collect::Collected;
use crate::alert::Alert;
use crate::backtest::{Amount, Case};
use crate::cli::failure::Failure;
use crate::event::EventTime;

/// One alert with what is known of its event.
struct Row<'a> {
    alert: &'a Alert,
    rule: &'a str,
    points: u32,
    event_id: String,
    entity: Option<&'a str>,
    value: Option<String>,
    fraud: Option<bool>,
    known_at: Option<i64>,
}

/// Writes the alerts on scored events, in the order in which they left.
pub(super) fn write(path: &Path, here: &Collected, case: &Case<'_>) -> Result<(), Failure> {
    let failed = |cause: &dyn std::fmt::Display| {
        Failure::outside(format!("{} can't be written: {cause}", path.display()))
    };
    let file = File::create(path).map_err(|cause| failed(&cause))?;
    let scored = here.alerts.iter().filter(|(event, _)| case.scored.get(*event as usize) == Some(&true));
    let rows = scored.filter_map(|(event, alert)| row(here, case, *event, alert));
    if path.extension().is_some_and(|ending| ending == "parquet") {
        return write_parquet(file, &rows.collect::<Vec<_>>()).map_err(|cause| failed(&cause));
    }
    let mut lines = BufWriter::new(file);
    for row in rows {
        writeln!(lines, "{}", row.json()).map_err(|cause| failed(&cause))?;
    }
    lines.flush().map_err(|cause| failed(&cause))
}

/// None for alerts of a rule's variants.
fn row<'a>(here: &'a Collected, case: &'a Case<'_>, event: u32, alert: &'a Alert) -> Option<Row<'a>> {
    let message: Value = serde_json::from_slice(&alert.value).unwrap_or_default();
    let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
    let rule_id = message["rule"]["id"].as_str().unwrap_or_default();
    let rule = here.ruled.iter().find(|ruled| ruled.rule.header.id == rule_id)?;
    let index = event as usize;
    let events = case.events;
    Some(Row {
        alert,
        rule: &rule.rule.header.id,
        points: alert.points,
        event_id: text("event_id"),
        entity: events.entity_text(event),
        value: events.value.get(index).map(|units| {
            let amount = Amount { units: *units, scale: events.value_scale };
            amount.to_string()
        }),
        fraud: events.fraud.get(index).copied(),
        known_at: events.known_at.get(index).copied().filter(|known_at| *known_at != i64::MAX),
    })
}

impl Row<'_> {
    fn json(&self) -> Value {
        json!({
            "alert_id": self.alert.alert_id, "rule": self.rule, "points": self.points,
            "event_id": self.event_id, "event_time": self.alert.event_time.to_string(),
            "entity": self.entity, "value": self.value, "fraud": self.fraud,
            "known_at": self.known_at.map(|known_at| EventTime(known_at).to_string()),
            "reason": self.alert.reason,
        })
    }
}

fn write_parquet(file: File, rows: &[Row<'_>]) -> Result<(), parquet::errors::ParquetError> {
    let texts = |text: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(text).collect::<StringArray>())
    };
    let times = |time: &dyn Fn(&Row<'_>) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(time).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("alert_id", texts(&|row| Some(row.alert.alert_id.clone()))),
        ("rule", texts(&|row| Some(row.rule.to_owned()))),
        ("points", Arc::new(rows.iter().map(|row| i64::from(row.points)).collect::<Int64Array>())),
        ("event_id", texts(&|row| Some(row.event_id.clone()))),
        ("event_time", times(&|row| Some(row.alert.event_time.0))),
        ("entity", texts(&|row| row.entity.map(str::to_owned))),
        ("value", texts(&|row| row.value.clone())),
        ("fraud", Arc::new(rows.iter().map(|row| row.fraud).collect::<BooleanArray>())),
        ("known_at", times(&|row| row.known_at)),
        ("reason", texts(&|row| Some(row.alert.reason.clone()))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
