//! Window answers of two rule sets: which are there in both, and so keep their state, and which are not.
//!
//! Answers are equal where their definitions are: function, frame, arguments, filter and keys, over the same rows. The
//! definition is written out down to columns of streams, since numbers of columns differ from graph to graph.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::Expr;
use serde::Serialize;

use crate::event::Contract;
use crate::rules::{CompiledRules, RuleSet};
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph};

/// Window answers by name.
#[derive(Debug, Serialize)]
pub(super) struct WindowChange {
    /// In both: their state can be taken over.
    pub reused: usize,
    /// New: filled from the history.
    pub built: Vec<String>,
    /// No longer there.
    pub dropped: Vec<String>,
}

/// Compares the window answers of two sets.
pub(super) fn window_change(old: &RuleSet, new: &RuleSet) -> WindowChange {
    let (before, after) = (windows(old), windows(new));
    let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| -> Vec<String> {
        one.iter().filter(|(key, _)| !other.contains_key(*key)).map(|(_, name)| name.clone()).collect()
    };
    WindowChange {
        reused: after.keys().filter(|key| before.contains_key(*key)).count(),
        built: only(&after, &before),
        dropped: only(&before, &after),
    }
}

/// Each window answer that a rule reads: its definition written out, and a name for people.
fn windows(set: &RuleSet) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (order, compiled) in [("on arrival", &set.on_arrival), ("in order", &set.in_order)] {
        let writer = Writer { graph: &compiled.graph, contract: &set.catalog.contract };
        for (rows, column) in read(compiled) {
            let label = &compiled.graph.row_sets[rows.0].columns[column.0].label;
            let Definition::Window(window) = &compiled.graph.row_sets[rows.0].columns[column.0].definition
            else {
                continue;
            };
            let keys: Vec<String> =
                window.key.partition_by.iter().map(|key| writer.column(rows, *key)).collect();
            let name = format!(
                "{label} by {}",
                if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
            );
            all.insert(format!("{order}: {}", writer.column(rows, column)), name);
        }
    }
    all
}

/// Window columns that some rule needs; a graph may hold parts that nothing reads.
fn read(compiled: &CompiledRules) -> BTreeSet<(RowSetId, ColumnId)> {
    let graph = &compiled.graph;
    let mut seen = BTreeSet::new();
    let mut open: Vec<(RowSetId, ColumnId)> = Vec::new();
    let mut rows: Vec<RowSetId> = Vec::new();
    let of = |rows: RowSetId, expression: &Expr| -> Vec<(RowSetId, ColumnId)> {
        crate::sql::columns_read(expression).into_iter().map(|column| (rows, column)).collect()
    };
    for query in &graph.queries {
        rows.push(query.rows);
        open.extend(query.outputs.iter().flat_map(|output| of(query.rows, &output.expression)));
    }
    while let Some(id) = rows.pop() {
        match &graph.row_sets[id.0].source {
            RowSource::Stream(_) => {}
            RowSource::Filter { input, predicate } => {
                open.extend(of(*input, predicate));
                rows.push(*input);
            }
            RowSource::Union(inputs) => rows.extend(inputs),
        }
    }
    while let Some((rows, column)) = open.pop() {
        if !seen.insert((rows, column)) {
            continue;
        }
        let row_set = &graph.row_sets[rows.0];
        match (&row_set.columns[column.0].definition, &row_set.source) {
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => open.push((*input, *parent)),
            (Definition::United(parts), RowSource::Union(inputs)) => {
                open.extend(inputs.iter().copied().zip(parts.iter().copied()));
            }
            (Definition::Computed(expression), _) => open.extend(of(rows, expression)),
            (Definition::Window(window), _) => {
                let inputs = window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
                open.extend(inputs.map(|input| (rows, *input)));
            }
            _ => {}
        }
    }
    seen
}

/// Writes definitions out.
struct Writer<'a> {
    graph: &'a RuleGraph,
    contract: &'a Contract,
}

impl Writer<'_> {
    fn rows(&self, rows: RowSetId) -> String {
        match &self.graph.row_sets[rows.0].source {
            RowSource::Stream(stream) => {
                self.contract.streams.get(*stream).map(|stream| stream.name.clone()).unwrap_or_default()
            }
            RowSource::Filter { input, predicate } => {
                format!("({} where {})", self.rows(*input), self.expression(*input, predicate))
            }
            RowSource::Union(inputs) => {
                let inputs: Vec<String> = inputs.iter().map(|input| self.rows(*input)).collect();
                format!("({})", inputs.join(" and "))
            }
        }
    }

    fn column(&self, rows: RowSetId, column: ColumnId) -> String {
        let row_set = &self.graph.row_sets[rows.0];
        let own = &row_set.columns[column.0];
        match (&own.definition, &row_set.source) {
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => self.column(*input, *parent),
            (Definition::United(parts), RowSource::Union(inputs)) => {
                let parts = inputs.iter().zip(parts).map(|(input, part)| self.column(*input, *part));
                parts.collect::<Vec<_>>().join("|")
            }
            (Definition::Computed(expression), _) => self.expression(rows, expression),
            (Definition::Window(window), _) => {
                let all = |columns: &mut dyn Iterator<Item = &ColumnId>| {
                    columns.map(|column| self.column(rows, *column)).collect::<Vec<_>>().join(", ")
                };
                format!(
                    "{}({}) filter ({}) by ({}) over {}",
                    window.function.description,
                    all(&mut window.arguments.iter()),
                    all(&mut window.filter.iter()),
                    all(&mut window.key.partition_by.iter()),
                    self.rows(rows)
                )
            }
            _ => own.label.clone(),
        }
    }

    fn expression(&self, rows: RowSetId, expression: &Expr) -> String {
        let written = expression.clone().transform_up(|part| {
            Ok(match &part {
                Expr::Column(column) => match ColumnId::parse(&column.name) {
                    Some(id) => Transformed::yes(Expr::Column(datafusion_common::Column::new_unqualified(
                        self.column(rows, id),
                    ))),
                    None => Transformed::no(part),
                },
                _ => Transformed::no(part),
            })
        });
        written.map_or_else(|_| expression.to_string(), |written| written.data.to_string())
    }
}
