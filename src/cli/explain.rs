//! `explain`: what a rule becomes: its rows, windows and keys, and what it shares with which rules.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::job::open_rules;
use super::terminal::Format;
use crate::graph::Engine;
use crate::rules::{AnswerOrder, CompiledRules, Emit, Rule, RuleSet};
use crate::sql::{Column, ColumnId, Definition, RowSetId, RowSource};
use crate::window::{Function, WindowSettings};

/// Show what a rule becomes: operators, windows, keys, what is shared with which rules, slow paths.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate explain card-testing
  tollgate explain rules/card-testing.sql
  tollgate explain card-testing --rules my-rules --format json")]
pub(super) struct Arguments {
    /// The rule's id, or its file as `check` names it.
    rule: String,
    /// The rules folder.
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let set =
        open_rules(&arguments.rules, arguments.schema.as_deref(), AnswerOrder::Default(Emit::OnArrival))?;
    let asked = |rule: &Rule| {
        rule.header.id == arguments.rule || Path::new(&rule.source.file) == Path::new(&arguments.rule)
    };
    let found = [&set.on_arrival, &set.in_order]
        .into_iter()
        .find_map(|compiled| Some((compiled, compiled.rules.iter().position(asked)?)));
    let Some((compiled, query)) = found else { return Err(unknown(&set, &arguments.rule)) };
    let explanation = Explanation::of(&set, compiled, query)?;
    match arguments.format {
        Format::Json => println!("{:#}", explanation.json()),
        Format::Table => print!("{}", explanation.text()),
    }
    Ok(Exit::Fine)
}

fn unknown(set: &RuleSet, id: &str) -> Failure {
    let ids: Vec<&str> = set.running().map(|rule| rule.header.id.as_str()).collect();
    let near = crate::diagnostic::suggest(id, ids.iter().copied())
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    Failure::usage(format!("no running rule has the id {id}{near} Rules: {}", ids.join(", ")))
}

/// One window function of the rule.
struct WindowLine {
    function: String,
    over: String,
    frame: String,
    shared_with: Vec<String>,
    slow: bool,
}

struct Explanation {
    rule: String,
    title: String,
    version: String,
    emit: &'static str,
    /// From the stream to the hits.
    rows: Vec<String>,
    windows: Vec<WindowLine>,
    /// For each state the rule reads: its keys, answers, and the other rules that read it.
    states: Vec<(String, usize, Vec<String>)>,
    outputs: Vec<String>,
}

impl Explanation {
    fn of(set: &RuleSet, compiled: &CompiledRules, query: usize) -> Result<Self, Failure> {
        let rule = &compiled.rules[query];
        let plan = &compiled.graph.queries[query];
        let engine =
            Engine::new(compiled.graph.clone(), &WindowSettings::default()).map_err(Failure::findings)?;
        let reader = GraphReader { set, compiled };
        let mut rows = Vec::new();
        reader.rows(plan.rows, &mut rows);
        let others = |queries: &[usize]| -> Vec<String> {
            queries
                .iter()
                .filter(|other| **other != query)
                .map(|other| compiled.rules[*other].header.id.clone())
                .collect()
        };
        let states = engine.windows().into_iter().filter(|window| window.queries.contains(&query));
        Ok(Self {
            rule: rule.header.id.clone(),
            title: rule.header.title.clone(),
            version: rule.version.clone(),
            emit: if std::ptr::eq(compiled, &raw const set.on_arrival) { "on_arrival" } else { "in_order" },
            rows,
            windows: reader.windows(query),
            states: states
                .map(|state| (state.partition_by.join(", "), state.answers.len(), others(&state.queries)))
                .collect(),
            outputs: plan
                .outputs
                .iter()
                .map(|output| format!("{} {}", output.name, output.data_type))
                .collect(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} ({}), version {}, answered {}\n\nrows\n",
            self.rule, self.title, self.version, self.emit
        );
        for (depth, line) in self.rows.iter().enumerate() {
            let _ = writeln!(text, "{:indent$}{line}", "", indent = 2 + 2 * depth);
        }
        text.push_str("\nwindows\n");
        for window in &self.windows {
            let _ = writeln!(text, "  {} over {} {}", window.function, window.over, window.frame);
            if window.slow {
                text.push_str("      slow path: computed from all rows of its frame for each event\n");
            }
            if !window.shared_with.is_empty() {
                let _ = writeln!(text, "      the same window in {}", window.shared_with.join(", "));
            }
        }
        text.push_str("\nstate\n");
        for (keys, answers, others) in &self.states {
            let shared = if others.is_empty() {
                "this rule alone".to_owned()
            } else {
                format!("shared with {}", others.join(", "))
            };
            let _ = writeln!(
                text,
                "  by {}: {answers} answers, {shared}",
                if keys.is_empty() { "nothing (one key)" } else { keys }
            );
        }
        let _ = writeln!(text, "\nselects\n  {}", self.outputs.join("\n  "));
        text
    }

    fn json(&self) -> Value {
        json!({
            "rule": self.rule, "title": self.title, "version": self.version, "emit": self.emit, "rows": self.rows,
            "windows": self.windows.iter().map(|window| json!({
                "function": window.function, "over": window.over, "frame": window.frame,
                "shared_with": window.shared_with, "slow": window.slow,
            })).collect::<Vec<_>>(),
            "state": self.states.iter().map(|(keys, answers, others)| json!({
                "partition_by": keys, "answers": answers, "shared_with": others,
            })).collect::<Vec<_>>(),
            "selects": self.outputs,
        })
    }
}

/// Turns parts of the graph back into words.
struct GraphReader<'a> {
    set: &'a RuleSet,
    compiled: &'a CompiledRules,
}

impl GraphReader<'_> {
    fn column(&self, rows: RowSetId, column: ColumnId) -> &Column {
        &self.compiled.graph.row_sets[rows.0].columns[column.0]
    }

    fn rows(&self, rows: RowSetId, lines: &mut Vec<String>) {
        match &self.compiled.graph.row_sets[rows.0].source {
            RowSource::Stream(stream) => {
                lines.push(format!("stream {}", self.set.catalog.contract.streams[*stream].name));
            }
            RowSource::Filter { input, predicate } => {
                self.rows(*input, lines);
                lines.push(format!("filter {}", self.compiled.graph.words(*input, predicate)));
            }
            RowSource::Union(inputs) => {
                for input in inputs {
                    self.rows(*input, lines);
                }
                lines.push("all of these in order of arrival".to_owned());
            }
        }
    }

    fn windows(&self, query: usize) -> Vec<WindowLine> {
        let mut lines = Vec::new();
        for (rows, column) in self.compiled.graph.reached(query) {
            let Definition::Window(window) = &self.column(rows, column).definition else { continue };
            let aggregate = &window.function.aggregate;
            let label = |column: &ColumnId| self.column(rows, *column).label.clone();
            let others = (0..self.compiled.rules.len()).filter(|other| {
                *other != query && self.compiled.graph.reached(*other).contains(&(rows, column))
            });
            lines.push(WindowLine {
                function: self.compiled.graph.window_words(rows, window),
                over: if window.key.partition_by.is_empty() {
                    "all rows".to_owned()
                } else {
                    window.key.partition_by.iter().map(label).collect::<Vec<_>>().join(", ")
                },
                frame: aggregate.frame.to_string(),
                shared_with: others.map(|other| self.compiled.rules[other].header.id.clone()).collect(),
                slow: matches!(aggregate.function, Function::Custom(_)),
            });
        }
        lines
    }
}
