//! What a window state is, in words that hold in any graph, so that a changed rule set can go on with it.
//!
//! Row sets and columns are numbered within one graph. Here each is named by what it is made of, down to the streams:
//! two states of two graphs with equal names have taken the same rows and answer the same questions of them.

use std::collections::HashMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::schedule::{Step, WindowStep};
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, canonical};
use crate::window::{Hints, WindowSpec};

/// For each state, its name.
pub(super) fn identities(graph: &RuleGraph, steps: &[Step], windows: &[(WindowSpec, Hints)]) -> Vec<String> {
    let mut names = Names { graph, rows: HashMap::new(), columns: HashMap::new() };
    let mut identities = vec![String::new(); windows.len()];
    for step in steps {
        if let Step::Window(window) = step {
            let (spec, hints) = &windows[window.state];
            let text = format!("{} {:?} {:?} {hints:?}", names.window(window), spec.keys, spec.arguments);
            identities[window.state] = hashed(&text);
        }
    }
    identities
}

struct Names<'a> {
    graph: &'a RuleGraph,
    rows: HashMap<RowSetId, String>,
    columns: HashMap<(RowSetId, ColumnId), String>,
}

impl Names<'_> {
    fn window(&mut self, window: &WindowStep) -> String {
        let mut text = self.rows(window.rows);
        for (what, columns) in [("by", &window.keys), ("of", &window.arguments), ("where", &window.filters)] {
            let _ = write!(text, " {what}");
            for column in columns {
                let _ = write!(text, " {}", self.column(window.rows, *column));
            }
        }
        for output in &window.outputs {
            let _ = write!(text, " answers {}", self.column(window.rows, *output));
        }
        text
    }

    fn rows(&mut self, rows: RowSetId) -> String {
        if let Some(known) = self.rows.get(&rows) {
            return known.clone();
        }
        let text = match &self.graph.row_sets[rows.0].source {
            RowSource::Stream(stream) => format!("stream {stream}"),
            RowSource::Filter { input, predicate } => {
                let (input, predicate) = (*input, predicate.clone());
                format!("filter of {} by {}", self.rows(input), self.expression(input, &predicate))
            }
            RowSource::Union(inputs) => {
                let inputs = inputs.clone();
                format!(
                    "union of {}",
                    inputs.into_iter().map(|input| self.rows(input)).collect::<Vec<_>>().join(", ")
                )
            }
        };
        let name = hashed(&text);
        self.rows.insert(rows, name.clone());
        name
    }

    fn column(&mut self, rows: RowSetId, column: ColumnId) -> String {
        if let Some(known) = self.columns.get(&(rows, column)) {
            return known.clone();
        }
        let row_set = &self.graph.row_sets[rows.0];
        let text = match (row_set.columns[column.0].definition.clone(), row_set.source.clone()) {
            (Definition::Stream(index), _) => format!("column {index}"),
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                format!("inherited {}", self.column(input, parent))
            }
            (Definition::United(parts), RowSource::Union(inputs)) => {
                let part = |(input, part)| self.column(input, part);
                format!("united {}", inputs.into_iter().zip(parts).map(part).collect::<Vec<_>>().join(", "))
            }
            // Not made by the compiler: named by itself, so that it is equal to nothing else.
            (Definition::Inherited(_) | Definition::United(_), _) => format!("odd {rows:?} {column:?}"),
            (Definition::Computed(expression), _) => {
                format!("computed {}", self.expression(rows, &expression))
            }
            (Definition::Window(window), _) => {
                let read = window.arguments.iter().chain(&window.filter).chain(&window.key.partition_by);
                let read: Vec<ColumnId> = read.copied().collect();
                let read: Vec<String> = read.into_iter().map(|column| self.column(rows, column)).collect();
                format!("{} level {} over {}", window.function.description, window.key.level, read.join(", "))
            }
        };
        let name = hashed(&format!("{} of {}", text, self.rows(rows)));
        self.columns.insert((rows, column), name.clone());
        name
    }

    fn expression(&mut self, rows: RowSetId, expression: &datafusion_expr::Expr) -> String {
        canonical(expression, |column| self.column(rows, column))
    }
}

fn hashed(text: &str) -> String {
    Sha256::digest(text).iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
