//! Whether rules stay exact when the partitions of a topic are shared out among processes.
//!
//! A window is whole in one process if all rows of its key come through partitions that this process owns:
//! if the key holds the column that the topic is partitioned by, and all rows come from that one topic.

use std::collections::{BTreeSet, HashSet};

use datafusion_expr::Expr;

use super::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, columns_read};

/// A column of a stream: indexes into the contract.
type Root = (usize, usize);

/// Why a query's answers depend on how partitions are shared out; none if they don't. `topic_keys` has, for
/// each stream, the column that its one topic is partitioned by, or none.
pub fn not_keyed_by(graph: &RuleGraph, query: usize, topic_keys: &[Option<usize>]) -> Option<String> {
    let plan = graph.queries.get(query)?;
    let mut walk = Walk { graph, seen: HashSet::new(), windows: Vec::new() };
    walk.rows(plan.rows);
    for output in &plan.outputs {
        for column in columns_read(&output.expression) {
            walk.column(plan.rows, column);
        }
    }
    walk.windows.iter().find_map(|(rows, window)| fault(graph, *rows, window, topic_keys))
}

/// Whether a query selects the column that its topic is partitioned by under one of these names.
pub fn selects_topic_key<'a>(
    graph: &RuleGraph,
    query: usize,
    names: impl IntoIterator<Item = &'a String>,
    topic_keys: &[Option<usize>],
) -> bool {
    let Some(plan) = graph.queries.get(query) else { return false };
    names.into_iter().any(|name| {
        let output = plan.outputs.iter().find(|output| output.name == *name);
        let root = output.and_then(|output| root_of_expression(graph, plan.rows, &output.expression));
        root.is_some_and(|(stream, column)| topic_keys.get(stream) == Some(&Some(column)))
    })
}

fn fault(
    graph: &RuleGraph,
    rows: RowSetId,
    window: &WindowColumn,
    topic_keys: &[Option<usize>],
) -> Option<String> {
    let streams = streams_of(graph, rows);
    let (Some(stream), 1) = (streams.first(), streams.len()) else {
        return Some("one of its windows spans several streams".to_owned());
    };
    let Some(Some(key)) = topic_keys.get(*stream) else {
        return Some("its stream has no `topic_key`, or several topics".to_owned());
    };
    let mut keys = window.key.partition_by.iter();
    if keys.any(|column| root(graph, rows, *column) == Some((*stream, *key))) {
        return None;
    }
    let columns = &graph.row_sets[rows.0].columns;
    let labels: Vec<&str> =
        window.key.partition_by.iter().map(|column| columns[column.0].label.as_str()).collect();
    Some(format!("one of its windows is keyed by ({}), without the topic's key", labels.join(", ")))
}

fn streams_of(graph: &RuleGraph, rows: RowSetId) -> BTreeSet<usize> {
    match &graph.row_sets[rows.0].source {
        RowSource::Stream(stream) => BTreeSet::from([*stream]),
        RowSource::Filter { input, .. } => streams_of(graph, *input),
        RowSource::Union(inputs) => inputs.iter().flat_map(|input| streams_of(graph, *input)).collect(),
    }
}

/// The stream's column that a column is, unchanged.
fn root(graph: &RuleGraph, rows: RowSetId, column: ColumnId) -> Option<Root> {
    let row_set = &graph.row_sets[rows.0];
    match (&row_set.columns.get(column.0)?.definition, &row_set.source) {
        (Definition::Stream(index), RowSource::Stream(stream)) => Some((*stream, *index)),
        (Definition::Inherited(parent), RowSource::Filter { input, .. }) => root(graph, *input, *parent),
        (Definition::Computed(expression), _) => root_of_expression(graph, rows, expression),
        _ => None,
    }
}

fn root_of_expression(graph: &RuleGraph, rows: RowSetId, expression: &Expr) -> Option<Root> {
    match expression {
        Expr::Column(column) => root(graph, rows, ColumnId::parse(&column.name)?),
        Expr::Alias(alias) => root_of_expression(graph, rows, &alias.expr),
        _ => None,
    }
}

struct Walk<'a> {
    graph: &'a RuleGraph,
    seen: HashSet<(RowSetId, Option<ColumnId>)>,
    windows: Vec<(RowSetId, &'a WindowColumn)>,
}

impl Walk<'_> {
    fn rows(&mut self, rows: RowSetId) {
        if !self.seen.insert((rows, None)) {
            return;
        }
        let graph = self.graph;
        match &graph.row_sets[rows.0].source {
            RowSource::Stream(_) => {}
            RowSource::Filter { input, predicate } => {
                self.rows(*input);
                columns_read(predicate).into_iter().for_each(|column| self.column(*input, column));
            }
            RowSource::Union(inputs) => inputs.iter().for_each(|input| self.rows(*input)),
        }
    }

    fn column(&mut self, rows: RowSetId, column: ColumnId) {
        if !self.seen.insert((rows, Some(column))) {
            return;
        }
        let graph = self.graph;
        let row_set = &graph.row_sets[rows.0];
        match (&row_set.columns[column.0].definition, &row_set.source) {
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => self.column(*input, *parent),
            (Definition::United(parts), RowSource::Union(inputs)) => {
                inputs.iter().zip(parts).for_each(|(input, part)| self.column(*input, *part));
            }
            (Definition::Computed(expression), _) => {
                columns_read(expression).into_iter().for_each(|column| self.column(rows, column));
            }
            (Definition::Window(window), _) => {
                self.windows.push((rows, window));
                let read = window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
                read.for_each(|column| self.column(rows, *column));
            }
            _ => {}
        }
    }
}
