//! `explain`: what a rule becomes: its rows, windows and keys, and what it shares with which rules.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::job::open_rules;
use super::terminal::Format;
use crate::graph::Engine;
use crate::rules::{AnswerOrder, CompiledRules, Emit, RuleSet};
use crate::sql::{Column, ColumnId, Definition, RowSetId, RowSource, columns_read};
use crate::window::{Frame, Function, WindowSettings};

/// Show what a rule becomes: operators, windows, keys, what is shared with which rules, slow paths.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate explain card-testing
  tollgate explain card-testing --rules my-rules --format json")]
pub(super) struct Arguments {
    /// The rule's id.
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
    let found = [&set.on_arrival, &set.in_order].into_iter().find_map(|compiled| {
        Some((compiled, compiled.rules.iter().position(|rule| rule.header.id == arguments.rule)?))
    });
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

    /// An expression with the labels of its columns.
    fn words(&self, rows: RowSetId, expression: &str) -> String {
        let mut words = String::new();
        let mut rest = expression;
        while let Some(at) = rest.find('#') {
            let digits = rest[at + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at - 1);
            let name = &rest[at..at + 1 + digits];
            words.push_str(&rest[..at]);
            match ColumnId::parse(name) {
                Some(column) => words.push_str(&self.column(rows, column).label),
                None => words.push_str(name),
            }
            rest = &rest[at + 1 + digits..];
        }
        words + rest
    }

    fn rows(&self, rows: RowSetId, lines: &mut Vec<String>) {
        match &self.compiled.graph.row_sets[rows.0].source {
            RowSource::Stream(stream) => {
                lines.push(format!("stream {}", self.set.catalog.contract.streams[*stream].name));
            }
            RowSource::Filter { input, predicate } => {
                self.rows(*input, lines);
                lines.push(format!("filter {}", self.words(*input, &predicate.human_display().to_string())));
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
        for (rows, column) in self.reached(query) {
            let Definition::Window(window) = &self.column(rows, column).definition else { continue };
            let aggregate = &window.function.aggregate;
            let label = |column: &ColumnId| self.column(rows, *column).label.clone();
            let others = (0..self.compiled.rules.len())
                .filter(|other| *other != query && self.reached(*other).contains(&(rows, column)));
            let filter = window.filter.map(|column| self.column(rows, column));
            let filter = filter.map_or_else(String::new, |column| match &column.definition {
                Definition::Computed(expression) => {
                    format!(" FILTER (WHERE {})", self.words(rows, &expression.human_display().to_string()))
                }
                _ => format!(" FILTER (WHERE {})", column.label),
            });
            lines.push(WindowLine {
                function: {
                    let arguments = window.arguments.iter().map(label).collect::<Vec<_>>();
                    function_words(&aggregate.function, &arguments) + &filter
                },
                over: if window.key.partition_by.is_empty() {
                    "all rows".to_owned()
                } else {
                    window.key.partition_by.iter().map(label).collect::<Vec<_>>().join(", ")
                },
                frame: frame_words(&aggregate.frame),
                shared_with: others.map(|other| self.compiled.rules[other].header.id.clone()).collect(),
                slow: matches!(aggregate.function, Function::Custom(_)),
            });
        }
        lines
    }

    /// Every column a query reads, however far down.
    fn reached(&self, query: usize) -> Vec<(RowSetId, ColumnId)> {
        let plan = &self.compiled.graph.queries[query];
        let mut open: Vec<(RowSetId, ColumnId)> = plan
            .outputs
            .iter()
            .flat_map(|output| columns_read(&output.expression))
            .map(|column| (plan.rows, column))
            .collect();
        let mut rows = vec![plan.rows];
        while let Some(own) = rows.pop() {
            match &self.compiled.graph.row_sets[own.0].source {
                RowSource::Stream(_) => {}
                RowSource::Filter { input, predicate } => {
                    rows.push(*input);
                    open.extend(columns_read(predicate).into_iter().map(|column| (*input, column)));
                }
                RowSource::Union(inputs) => rows.extend(inputs),
            }
        }
        let mut reached = Vec::new();
        while let Some((rows, column)) = open.pop() {
            if reached.contains(&(rows, column)) {
                continue;
            }
            reached.push((rows, column));
            let source = &self.compiled.graph.row_sets[rows.0].source;
            match (&self.column(rows, column).definition, source) {
                (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                    open.push((*input, *parent));
                }
                (Definition::United(parts), RowSource::Union(inputs)) => {
                    open.extend(inputs.iter().copied().zip(parts.iter().copied()));
                }
                (Definition::Computed(expression), _) => {
                    open.extend(columns_read(expression).into_iter().map(|c| (rows, c)));
                }
                (Definition::Window(window), _) => {
                    let inputs =
                        window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
                    open.extend(inputs.map(|column| (rows, *column)));
                }
                _ => {}
            }
        }
        reached.sort_unstable();
        reached
    }
}

fn function_words(function: &Function, arguments: &[String]) -> String {
    let name = format!("{function:?}");
    let name = name.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    let arguments = if arguments.is_empty() { "*".to_owned() } else { arguments.join(", ") };
    match function {
        Function::CountDistinct => format!("count(DISTINCT {arguments})"),
        Function::Custom(own) => format!("{own:?}({arguments})"),
        Function::Lag { offset, .. } => format!("lag({arguments}, {offset})"),
        Function::RowNumber => "row_number()".to_owned(),
        _ => format!("{}({arguments})", snake(&name)),
    }
}

fn snake(name: &str) -> String {
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn frame_words(frame: &Frame) -> String {
    let span = |micros: &i64| crate::event::Span(*micros).to_string();
    match frame {
        Frame::Range { start: None, end: 0 } => "from the beginning".to_owned(),
        Frame::Range { start: None, end } => format!("from the beginning to {} ago", span(end)),
        Frame::Range { start: Some(start), end: 0 } => format!("the last {}", span(start)),
        Frame::Range { start: Some(start), end } => format!("from {} to {} ago", span(start), span(end)),
        Frame::Rows { start: None, .. } => "rows from the beginning".to_owned(),
        Frame::Rows { start: Some(start), end } => format!("rows {start} to {end} before"),
    }
}
