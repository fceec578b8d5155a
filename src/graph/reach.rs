//! How far back the windows of a graph look.
//!
//! Takes the scheduled steps, each after what it reads; hands on one [`Reach`]. What would surprise: lengths
//! add up. A window over the answers of another sees rows whose answers look further back, and so does a
//! window over rows that another window's answer let through.

use std::collections::HashMap;

use super::schedule::{Step, WindowStep};
use crate::event::Span;
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, columns_read};
use crate::window::{Frame, Function};

/// How far before a row the rows are that its answers depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Longest distance in event time, over all frames that have one; what lateness adds is not in it.
    pub longest: Span,
    /// Whether some frame has no bound in time: `ROWS`, `UNBOUNDED PRECEDING`, `lag`, `row_number`.
    pub unbounded: bool,
}

/// Microseconds that a row set (without a column) or one of its columns looks back.
type Distances = HashMap<(RowSetId, Option<ColumnId>), i64>;

impl Reach {
    /// The reach of all windows that are scheduled.
    pub(super) fn of(graph: &RuleGraph, steps: &[Step]) -> Self {
        Self::of_chosen(graph, steps, |_, _| true)
    }

    /// The reach of the windows that `chosen` takes, by their step and the place of their answer in it.
    pub(super) fn of_chosen(
        graph: &RuleGraph,
        steps: &[Step],
        chosen: impl Fn(&WindowStep, usize) -> bool,
    ) -> Self {
        let mut distances = Distances::new();
        let mut reach = Self::default();
        for step in steps {
            match step {
                Step::Early { .. } => {}
                Step::Rows { rows, .. } => {
                    let distance = of_rows(graph, *rows, &distances);
                    distances.insert((*rows, None), distance);
                }
                Step::Column { rows, column, .. } => {
                    let distance = of_column(graph, *rows, *column, &distances);
                    distances.insert((*rows, Some(*column)), distance);
                }
                Step::Window(step) => {
                    for (place, column) in step.outputs.iter().enumerate() {
                        let definition = &graph.row_sets[step.rows.0].columns[column.0].definition;
                        let Definition::Window(window) = definition else { continue };
                        let length = length(window);
                        let before = of_inputs(step.rows, window, &distances);
                        let distance = before.saturating_add(length.unwrap_or(0));
                        if chosen(step, place) {
                            reach.unbounded |= length.is_none();
                            reach.longest = reach.longest.max(Span(distance));
                        }
                        distances.insert((step.rows, Some(*column)), distance);
                    }
                }
            }
        }
        reach
    }
}

/// Length of a window's frame in microseconds; none where it has no bound in time.
fn length(window: &WindowColumn) -> Option<i64> {
    let aggregate = &window.function.aggregate;
    match (&aggregate.function, aggregate.frame) {
        (Function::Lag { .. } | Function::RowNumber, _) | (_, Frame::Rows { .. }) => None,
        (_, Frame::Range { start, .. }) => start,
    }
}

fn of_rows(graph: &RuleGraph, rows: RowSetId, distances: &Distances) -> i64 {
    match &graph.row_sets[rows.0].source {
        RowSource::Stream(_) => 0,
        RowSource::Filter { input, predicate } => {
            let columns = columns_read(predicate).into_iter().map(|column| (*input, Some(column)));
            farthest(columns.chain([(*input, None)]), distances)
        }
        RowSource::Union(inputs) => farthest(inputs.iter().map(|input| (*input, None)), distances),
    }
}

fn of_column(graph: &RuleGraph, rows: RowSetId, column: ColumnId, distances: &Distances) -> i64 {
    let row_set = &graph.row_sets[rows.0];
    match (&row_set.columns[column.0].definition, &row_set.source) {
        (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
            farthest([(*input, Some(*parent))], distances)
        }
        (Definition::United(parts), RowSource::Union(inputs)) => {
            farthest(inputs.iter().zip(parts).map(|(input, part)| (*input, Some(*part))), distances)
        }
        (Definition::Computed(expression), _) => {
            farthest(columns_read(expression).into_iter().map(|read| (rows, Some(read))), distances)
        }
        _ => 0,
    }
}

fn of_inputs(rows: RowSetId, window: &WindowColumn, distances: &Distances) -> i64 {
    let columns = window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
    farthest(columns.map(|column| (rows, Some(*column))).chain([(rows, None)]), distances)
}

fn farthest(parts: impl IntoIterator<Item = (RowSetId, Option<ColumnId>)>, distances: &Distances) -> i64 {
    parts.into_iter().map(|part| distances.get(&part).copied().unwrap_or(0)).max().unwrap_or(0)
}
