//! Whether a rule reads labels before they were known.
//!
//! A label is known some time after its event, so a rule may read the label column only through windows that
//! end that long before the row. Takes the graph, hands on how old the youngest label is that decides a hit.

use std::collections::HashSet;

use crate::event::Span;
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, columns_read};
use crate::window::{Frame, Function};

/// A rule that reads labels too early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAhead {
    /// Id of the rule.
    pub rule: String,
    /// Age of the youngest label that decides its hits.
    pub youngest: Span,
}

/// The walk over what one query reads.
struct Walk<'a> {
    graph: &'a RuleGraph,
    stream: usize,
    label: usize,
    seen: HashSet<(RowSetId, ColumnId, i64)>,
    youngest: Option<i64>,
}

/// Queries whose hits depend on labels that are younger than `delay`, or of the very event.
pub fn look_ahead(graph: &RuleGraph, (stream, label): (usize, usize), delay: Span) -> Vec<LookAhead> {
    let early = graph.queries.iter().filter_map(|query| {
        let mut walk = Walk { graph, stream, label, seen: HashSet::new(), youngest: None };
        walk.rows(query.rows, 0);
        let youngest = walk.youngest.filter(|age| *age < delay.0.max(1))?;
        Some(LookAhead { rule: query.id.clone(), youngest: Span(youngest) })
    });
    early.collect()
}

impl Walk<'_> {
    /// What decides which rows a row set has.
    fn rows(&mut self, rows: RowSetId, age: i64) {
        match &self.graph.row_sets[rows.0].source {
            RowSource::Stream(_) => {}
            RowSource::Filter { input, predicate } => {
                for column in columns_read(predicate) {
                    self.column(*input, column, age);
                }
                self.rows(*input, age);
            }
            RowSource::Union(inputs) => inputs.iter().for_each(|input| self.rows(*input, age)),
        }
    }

    fn column(&mut self, rows: RowSetId, column: ColumnId, age: i64) {
        if !self.seen.insert((rows, column, age)) {
            return;
        }
        let row_set = &self.graph.row_sets[rows.0];
        match (&row_set.columns[column.0].definition, &row_set.source) {
            (Definition::Stream(index), RowSource::Stream(stream))
                if (*stream, *index) == (self.stream, self.label) =>
            {
                self.youngest = Some(self.youngest.map_or(age, |youngest| youngest.min(age)));
            }
            (Definition::Inherited(column), RowSource::Filter { input, .. }) => {
                self.column(*input, *column, age);
            }
            (Definition::United(columns), RowSource::Union(inputs)) => {
                for (input, column) in inputs.iter().zip(columns) {
                    self.column(*input, *column, age);
                }
            }
            (Definition::Computed(expression), _) => {
                for column in columns_read(expression) {
                    self.column(rows, column, age);
                }
            }
            (Definition::Window(window), _) => self.window(rows, window, age),
            _ => {}
        }
    }

    /// The key is the row's own; arguments and filter are of rows that the frame ends at.
    fn window(&mut self, rows: RowSetId, window: &WindowColumn, age: i64) {
        for key in &window.key.partition_by {
            self.column(rows, *key, age);
        }
        let aggregate = &window.function.aggregate;
        let behind = match (&aggregate.function, aggregate.frame) {
            (Function::Lag { offset, .. }, _) => i64::from(*offset > 0),
            (_, Frame::Range { end, .. }) => end,
            (_, Frame::Rows { end, .. }) => i64::from(end > 0),
        };
        for column in window.arguments.iter().chain(&window.filter) {
            self.column(rows, *column, age.saturating_add(behind));
        }
    }
}
