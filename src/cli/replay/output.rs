//! Where the hits of a replay go: NDJSON for any number of rules, Parquet or CSV for one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use crate::alert::json_value;
use crate::cli::failure::Failure;
use crate::decode::DeadLetter;
use crate::graph::QueryHits;
use crate::pipeline::{Answered, StepOutcome};
use crate::rules::{CompiledRules, Emit, RuleSet};

enum Rows {
    Lines(Box<dyn Write>),
    Parquet(Box<ArrowWriter<File>>),
    Csv(Box<arrow::csv::Writer<BufWriter<File>>>),
}

/// Writes hits and dead letters, and counts hits.
pub(super) struct Output {
    rows: Rows,
    dead_letters: Option<BufWriter<File>>,
    on_arrival: Vec<RuleOutput>,
    in_order: Vec<RuleOutput>,
}

/// One rule's id, columns and count.
struct RuleOutput {
    id: String,
    columns: Vec<String>,
    schema: Arc<Schema>,
    hits: u64,
}

impl Output {
    /// Opens the output; a name that ends in `.parquet` or `.csv` takes the columns of the only rule, and the last part of
    /// any other name says NDJSON or nothing.
    pub(super) fn create(set: &RuleSet, name: &str, dead_letters: Option<&Path>) -> Result<Self, Failure> {
        let (on_arrival, in_order) = (rule_outputs(&set.on_arrival), rule_outputs(&set.in_order));
        let create = |path: &Path| {
            File::create(path)
                .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", path.display())))
        };
        let path = Path::new(name);
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        let only_rule = || {
            let all: Vec<&RuleOutput> = on_arrival.iter().chain(&in_order).collect();
            match all[..] {
                [rule] => Ok(rule),
                _ => Err(Failure::usage(format!(
                    "a Parquet or CSV output takes one rule, and {} run: name one rule file, or write .ndjson",
                    all.len()
                ))),
            }
        };
        let rows = match ending.as_deref() {
            _ if name == "-" => Rows::Lines(Box::new(BufWriter::new(std::io::stdout()))),
            Some("parquet") => {
                let schema = Arc::clone(&only_rule()?.schema);
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(create(path)?, schema, Some(properties));
                Rows::Parquet(Box::new(writer.map_err(Failure::outside)?))
            }
            Some("csv") => {
                let schema = Arc::clone(&only_rule()?.schema);
                let mut writer = arrow::csv::Writer::new(BufWriter::with_capacity(1 << 20, create(path)?));
                // The line of names stands there without hits too.
                writer.write(&RecordBatch::new_empty(schema)).map_err(Failure::outside)?;
                Rows::Csv(Box::new(writer))
            }
            None | Some("ndjson" | "jsonl" | "json") => {
                Rows::Lines(Box::new(BufWriter::with_capacity(1 << 20, create(path)?)))
            }
            Some(ending) => {
                return Err(Failure::usage(format!(
                    "--output writes hits to a .ndjson, .csv or .parquet file, and not to one that ends in .{ending}"
                )));
            }
        };
        let dead_letters = dead_letters.map(create).transpose()?.map(BufWriter::new);
        Ok(Self { rows, dead_letters, on_arrival, in_order })
    }

    /// Writes what one step gave.
    pub(super) fn write(&mut self, outcome: &StepOutcome) -> Result<(), Failure> {
        for answered in &outcome.answered {
            self.write_hits(answered)?;
        }
        if let Some(file) = &mut self.dead_letters {
            for dead_letter in &outcome.dead_letters {
                writeln!(file, "{}", dead_letter_line(dead_letter)).map_err(Failure::outside)?;
            }
        }
        Ok(())
    }

    fn write_hits(&mut self, answered: &Answered) -> Result<(), Failure> {
        let rules = match answered.emit {
            Emit::OnArrival => &mut self.on_arrival,
            Emit::InOrder => &mut self.in_order,
        };
        for found in &answered.hits.hits {
            rules[found.query].hits += found.rows.len() as u64;
        }
        if let Rows::Lines(lines) = &mut self.rows {
            return write_lines(lines, rules, &answered.hits.hits);
        }
        for found in &answered.hits.hits {
            let schema = Arc::clone(&rules[found.query].schema);
            let batch = RecordBatch::try_new(schema, found.columns.clone()).map_err(Failure::outside)?;
            match &mut self.rows {
                Rows::Parquet(writer) => writer.write(&batch).map_err(Failure::outside)?,
                Rows::Csv(writer) => writer.write(&batch).map_err(Failure::outside)?,
                Rows::Lines(_) => {}
            }
        }
        Ok(())
    }

    /// Closes the output; hits by rule.
    pub(super) fn finish(self) -> Result<Vec<(String, u64)>, Failure> {
        match self.rows {
            Rows::Lines(mut lines) => lines.flush().map_err(Failure::outside)?,
            Rows::Parquet(writer) => {
                writer.close().map_err(Failure::outside)?;
            }
            Rows::Csv(writer) => writer.into_inner().flush().map_err(Failure::outside)?,
        }
        if let Some(mut file) = self.dead_letters {
            file.flush().map_err(Failure::outside)?;
        }
        Ok(self.on_arrival.into_iter().chain(self.in_order).map(|rule| (rule.id, rule.hits)).collect())
    }
}

/// Hits in the order of their rows, then of the rules.
fn write_lines(lines: &mut dyn Write, rules: &[RuleOutput], hits: &[QueryHits]) -> Result<(), Failure> {
    let mut order: Vec<(u32, usize, usize)> = Vec::new();
    for (index, found) in hits.iter().enumerate() {
        order.extend(found.rows.iter().enumerate().map(|(hit, row)| (*row, index, hit)));
    }
    order.sort_unstable();
    for (_, index, hit) in order {
        let found = &hits[index];
        let rule = &rules[found.query];
        let row: Map<String, Value> = rule
            .columns
            .iter()
            .zip(&found.columns)
            .map(|(name, values)| (name.clone(), json_value(values, hit)))
            .collect();
        writeln!(lines, "{}", json!({"rule": rule.id, "row": row})).map_err(Failure::outside)?;
    }
    Ok(())
}

fn rule_outputs(compiled: &CompiledRules) -> Vec<RuleOutput> {
    let of = |(rule, plan): (&crate::rules::Rule, &crate::sql::QueryPlan)| RuleOutput {
        id: rule.header.id.clone(),
        columns: rule.columns.clone(),
        schema: Arc::new(Schema::new(
            plan.outputs
                .iter()
                .map(|output| Field::new(&output.name, output.data_type.clone(), true))
                .collect::<Vec<_>>(),
        )),
        hits: 0,
    };
    compiled.rules.iter().zip(&compiled.graph.queries).map(of).collect()
}

fn dead_letter_line(dead_letter: &DeadLetter) -> Value {
    json!({
        "topic": &*dead_letter.coordinates.partition.topic,
        "partition": dead_letter.coordinates.partition.partition,
        "offset": dead_letter.coordinates.offset.0,
        "kind": dead_letter.kind,
        "reason": dead_letter.reason,
        "rule": dead_letter.rule,
        "payload": dead_letter.payload.as_deref().map(String::from_utf8_lossy),
    })
}
