//! What was measured, as a table, as JSON, and in HdrHistogram's own formats.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde_json::{Value, json};

use super::{Arguments, Exit, Failure, Format, Measured};
use crate::event::Span;

/// Percentiles that are told.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Below so many alerts a high percentile says little.
const ALERTS_LEAST: u64 = 10_000;

/// A time that must not be passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    name: String,
    most: Span,
}

/// `p99=20ms`.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let wrong =
        || format!("`{text}` is no limit: write p50, p90, p99, p99.9 or max, and a time, as p99=20ms");
    let (name, most) = text.split_once('=').ok_or_else(wrong)?;
    let known = name == "max" || PERCENTILES.iter().any(|(known, _)| *known == name);
    let most: Span = most.parse().map_err(|_| wrong())?;
    if known { Ok(Limit { name: name.to_owned(), most }) } else { Err(wrong()) }
}

/// Microseconds of a percentile, or of the slowest.
fn micros(measured: &Measured, name: &str) -> u64 {
    let percentile = PERCENTILES.iter().find(|(known, _)| *known == name);
    percentile
        .map_or(measured.latency.max(), |(_, percentile)| measured.latency.value_at_percentile(*percentile))
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// Prints everything.
pub(super) fn print(arguments: &Arguments, all: &[Measured]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if arguments.format == Format::Json {
        let document = json!({
            "schema": "tollgate.bench/1", "rate": arguments.rate, "delivery": arguments.delivery.name(),
            "commit_interval": arguments.commit_interval().to_string(), "partitions": arguments.partitions,
            "broker": arguments.brokers.as_deref().unwrap_or("embedded"),
            "targets": all.iter().map(document).collect::<Vec<_>>(),
        });
        return writeln!(out, "{document:#}").map_err(Failure::outside);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "",
        "events/s",
        "alerts",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "CPU µs/event",
        "CPU",
        "peak MB",
    ]);
    for measured in all {
        let figures = figures(measured);
        let mut row = vec![measured.kind.name().to_owned()];
        row.push(format!("{:.0}", figures.events_a_second));
        row.push(measured.latency.len().to_string());
        row.extend(PERCENTILES.iter().map(|(name, _)| format!("{:.2}", millis(micros(measured, name)))));
        row.push(format!("{:.2}", millis(measured.latency.max())));
        row.push(format!("{:.1}", figures.processor_micros_an_event));
        row.push(format!("{:.0} %", figures.processor_share * 100.0));
        row.push(format!("{:.0}", measured.memory_bytes / 1e6));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}").map_err(Failure::outside)?;
    if all.iter().any(|measured| measured.latency.len() < ALERTS_LEAST) {
        eprintln!("fewer than {ALERTS_LEAST} alerts: p99.9 rests on a handful; raise --seconds or --rate");
    }
    Ok(())
}

struct Figures {
    events_a_second: f64,
    processor_micros_an_event: f64,
    processor_share: f64,
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn figures(measured: &Measured) -> Figures {
    let seconds = measured.seconds.max(1e-9);
    Figures {
        events_a_second: measured.events as f64 / seconds,
        processor_micros_an_event: measured.processor_seconds * 1e6 / (measured.events.max(1) as f64),
        processor_share: measured.processor_seconds / seconds,
    }
}

fn document(measured: &Measured) -> Value {
    let figures = figures(measured);
    let mut latency: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|(name, _)| ((*name).to_owned(), json!(millis(micros(measured, name)))))
        .collect();
    latency.insert("max".to_owned(), json!(millis(measured.latency.max())));
    json!({
        "target": measured.kind.name(), "events_per_second": figures.events_a_second, "alerts": measured.latency.len(),
        "latency_ms": latency, "cpu_microseconds_per_event": figures.processor_micros_an_event,
        "cpu_share": figures.processor_share, "peak_memory_bytes": measured.memory_bytes, "seconds": measured.seconds,
    })
}

/// Whether the job was as fast as was asked for.
pub(super) fn verdict(arguments: &Arguments, job: &Measured) -> Result<Exit, Failure> {
    if job.latency.is_empty() {
        return Err(Failure::outside("no alert was measured: raise --seconds or --rate"));
    }
    let mut exit = Exit::Fine;
    for Limit { name, most } in &arguments.fail_over {
        let given = micros(job, name);
        if i64::try_from(given).unwrap_or(i64::MAX) > most.0 {
            eprintln!("{name} is {:.2} ms, more than {most}", millis(given));
            exit = Exit::Findings;
        }
    }
    Ok(exit)
}

/// Writes the job's histogram, in milliseconds: `.hlog` as a log of one interval, anything else as percentiles.
pub(super) fn write_histogram(file: &Path, measured: &Measured) -> Result<(), Failure> {
    let failed = |cause: &dyn std::fmt::Display| {
        Failure::outside(format!("{} can't be written: {cause}", file.display()))
    };
    if file.extension().is_none_or(|ending| ending != "hlog") {
        return std::fs::write(file, percentiles(measured)).map_err(|cause| failed(&cause));
    }
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(1000.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|cause| failed(&cause))?;
    let span = Duration::from_secs_f64(measured.seconds);
    log.write_histogram(&measured.latency, Duration::ZERO, span, None)
        .map_err(|cause| failed(&format!("{cause:?}")))?;
    std::fs::write(file, bytes).map_err(|cause| failed(&cause))
}

/// The table of percentiles that HdrHistogram's plotters read.
#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn percentiles(measured: &Measured) -> String {
    let histogram = &measured.latency;
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for value in histogram.iter_quantiles(5) {
        let quantile = value.quantile_iterated_to();
        let _ = write!(
            text,
            "{:12.3} {quantile:14.12} {:10}",
            millis(value.value_iterated_to()),
            histogram.count_between(0, value.value_iterated_to())
        );
        let _ =
            if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        histogram.mean() / 1000.0,
        histogram.stdev() / 1000.0
    );
    let _ = writeln!(
        text,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        millis(histogram.max()),
        histogram.len()
    );
    let _ = writeln!(
        text,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        histogram.distinct_values() as f64
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_a_percentile_and_a_time() {
        assert_eq!(limit("p99=20ms"), Ok(Limit { name: "p99".to_owned(), most: Span(20_000) }));
        for wrong in ["p99", "p98=20ms", "p99=20", "=1s"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
