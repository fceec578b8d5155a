//! Which windows of one graph are windows of another, so that a new rule set goes on with the states of the old.
//!
//! Takes what an engine keeps ([`Lineage`]) and the graph that follows; hands on the states that live on, each
//! with its windows as columns of the new graph. Ids differ from graph to graph, so definitions are compared,
//! from the streams upwards. What would surprise: a state is one buffer for all of its windows, so one that is
//! read no longer lives as long as any other of its state, and is grafted into the new graph; and a window that
//! is new starts a state of its own, so that it can be filled without touching those of others.

use datafusion_expr::Expr;

use super::schedule::{Step, WindowStep};
use crate::sql::{
    Column, ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, WindowKey, renamed,
};
use crate::window::Hints;

/// What an engine keeps, without the states themselves.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    graph: RuleGraph,
    states: Vec<KeptState>,
}

/// The windows of one state, in its own order.
#[derive(Debug, Clone)]
struct KeptState {
    state: usize,
    rows: RowSetId,
    members: Vec<ColumnId>,
    hints: Hints,
}

/// A state that lives on.
#[derive(Debug)]
pub(super) struct Inherited {
    /// Index of the earlier state.
    pub state: usize,
    pub rows: RowSetId,
    pub key: WindowKey,
    /// Its windows, in the order in which the state answers them.
    pub members: Vec<ColumnId>,
    /// What the state was made for.
    pub hints: Hints,
}

impl Lineage {
    pub(super) fn of(graph: &RuleGraph, steps: &[Step], hints: &[Hints]) -> Self {
        let kept = |step: &WindowStep| KeptState {
            state: step.state,
            rows: step.rows,
            members: step.outputs.clone(),
            hints: hints.get(step.state).cloned().unwrap_or_default(),
        };
        let windows = steps.iter().filter_map(|step| match step {
            Step::Window(step) => Some(kept(step)),
            _ => None,
        });
        Self { graph: graph.clone(), states: windows.collect() }
    }

    /// The states of which a query of the next graph still reads a window; the others' windows are added to it.
    pub(super) fn graft(&self, next: &mut RuleGraph) -> Vec<Inherited> {
        let mut translation = Translation {
            old: &self.graph,
            rows: Vec::new(),
            columns: self.graph.row_sets.iter().map(|rows| vec![None; rows.columns.len()]).collect(),
        };
        for rows in &self.graph.row_sets {
            let found = translation.source(&rows.source, next);
            let found =
                found.and_then(|source| next.row_sets.iter().position(|known| known.source == source));
            translation.rows.push(found.map(RowSetId));
        }
        let mut inherited = Vec::new();
        for kept in &self.states {
            let Some(rows) = translation.rows[kept.rows.0] else { continue };
            let lives = |member: &&ColumnId| translation.find(kept.rows, **member, next).is_some();
            if kept.members.iter().find(lives).is_none() {
                continue;
            }
            let members: Option<Vec<ColumnId>> =
                kept.members.iter().map(|member| translation.import(kept.rows, *member, next)).collect();
            let Some(members) = members else { continue };
            let key =
                members.first().and_then(|first| match &next.row_sets[rows.0].columns[first.0].definition {
                    Definition::Window(window) => Some(window.key.clone()),
                    _ => None,
                });
            let Some(key) = key else { continue };
            inherited.push(Inherited { state: kept.state, rows, key, members, hints: kept.hints.clone() });
        }
        inherited
    }
}

/// Ids of one graph as those of another.
struct Translation<'a> {
    old: &'a RuleGraph,
    rows: Vec<Option<RowSetId>>,
    /// Columns that are known to be in the other graph.
    columns: Vec<Vec<Option<ColumnId>>>,
}

impl Translation<'_> {
    fn source(&self, source: &RowSource, next: &RuleGraph) -> Option<RowSource> {
        Some(match source {
            RowSource::Stream(stream) => RowSource::Stream(*stream),
            RowSource::Filter { input, predicate } => RowSource::Filter {
                input: self.rows[input.0]?,
                predicate: expression(predicate, |column| self.find(*input, column, next))?,
            },
            RowSource::Union(inputs) => {
                RowSource::Union(inputs.iter().map(|input| self.rows[input.0]).collect::<Option<_>>()?)
            }
        })
    }

    /// A column that the next graph has.
    fn find(&self, rows: RowSetId, column: ColumnId, next: &RuleGraph) -> Option<ColumnId> {
        if let Some(known) = self.columns[rows.0][column.0] {
            return Some(known);
        }
        let definition = self.definition(rows, column, |rows, column| self.find(rows, column, next))?;
        position(next, self.rows[rows.0]?, &definition)
    }

    /// The same, added with all that it reads where it is missing.
    fn import(&mut self, rows: RowSetId, column: ColumnId, next: &mut RuleGraph) -> Option<ColumnId> {
        if let Some(known) = self.columns[rows.0][column.0] {
            return Some(known);
        }
        for (rows, read) in self.reads(rows, column) {
            self.import(rows, read, next)?;
        }
        let definition = self.definition(rows, column, |rows, column| self.columns[rows.0][column.0])?;
        let own = self.rows[rows.0]?;
        let found = position(next, own, &definition).unwrap_or_else(|| {
            let columns = &mut next.row_sets[own.0].columns;
            columns.push(Column { definition, ..self.old.row_sets[rows.0].columns[column.0].clone() });
            ColumnId(columns.len() - 1)
        });
        self.columns[rows.0][column.0] = Some(found);
        Some(found)
    }

    /// Columns that a definition reads.
    fn reads(&self, rows: RowSetId, column: ColumnId) -> Vec<(RowSetId, ColumnId)> {
        let mut read = Vec::new();
        // The definition itself is thrown away: only what it asks for matters.
        let _ = self.definition(rows, column, |rows, column| {
            read.push((rows, column));
            Some(column)
        });
        read
    }

    /// The definition of an old column with its ids put through `translate`.
    fn definition(
        &self,
        rows: RowSetId,
        column: ColumnId,
        mut translate: impl FnMut(RowSetId, ColumnId) -> Option<ColumnId>,
    ) -> Option<Definition> {
        let row_set = &self.old.row_sets[rows.0];
        Some(match (&row_set.columns[column.0].definition, &row_set.source) {
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                Definition::Inherited(translate(*input, *parent)?)
            }
            (Definition::United(parts), RowSource::Union(inputs)) => {
                let parts = inputs.iter().zip(parts).map(|(input, part)| translate(*input, *part));
                Definition::United(parts.collect::<Option<_>>()?)
            }
            (Definition::Computed(own), _) => {
                Definition::Computed(expression(own, |column| translate(rows, column))?)
            }
            (Definition::Window(window), _) => {
                let mut all = |columns: &[ColumnId]| -> Option<Vec<ColumnId>> {
                    columns.iter().map(|column| translate(rows, *column)).collect()
                };
                let partition_by = all(&window.key.partition_by)?;
                let arguments = all(&window.arguments)?;
                let filter = match window.filter {
                    Some(filter) => Some(translate(rows, filter)?),
                    None => None,
                };
                let key = WindowKey { partition_by, level: window.key.level };
                Definition::Window(WindowColumn { key, function: window.function.clone(), arguments, filter })
            }
            (other, _) => other.clone(),
        })
    }
}

/// An expression with its columns put through `translate`; none where one of them has no counterpart.
fn expression(own: &Expr, mut translate: impl FnMut(ColumnId) -> Option<ColumnId>) -> Option<Expr> {
    let mut whole = true;
    let translated = renamed(own, |column| {
        translate(column).unwrap_or_else(|| {
            whole = false;
            column
        })
    });
    translated.ok().filter(|_| whole)
}

fn position(graph: &RuleGraph, rows: RowSetId, definition: &Definition) -> Option<ColumnId> {
    let known = &graph.row_sets[rows.0].columns;
    known.iter().position(|column| column.definition == *definition).map(ColumnId)
}
