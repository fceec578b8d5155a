//! The order in which the graph's parts are computed, with their expressions compiled.
//!
//! Takes a [`RuleGraph`]; hands on steps in which each comes after what it reads, and the window states they
//! need. Windows of equal keys over equal rows become one state and one step.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::datatypes::DataType;

use super::EngineError;
use super::evaluate::Compiled;
use super::predicate::Predicate;
use crate::sql::{
    ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, WindowKey, columns_read,
};
use crate::window::{Aggregate, WindowSpec};

/// One part of the graph to compute.
#[derive(Debug)]
pub(super) enum Step {
    /// The rows of a row set.
    Rows {
        /// Which.
        rows: RowSetId,
        /// For a filtered row set, what filters it.
        predicate: Option<Predicate>,
        /// Queries that read them.
        queries: Vec<usize>,
    },
    /// A column that is not a window's.
    Column {
        /// Its row set.
        rows: RowSetId,
        /// Which.
        column: ColumnId,
        /// For a computed column, its expression.
        expression: Option<Compiled>,
        /// Queries that read it.
        queries: Vec<usize>,
    },
    /// All windows of one state.
    Window(WindowStep),
}

/// The windows of one state: where its inputs stand and where its answers go.
#[derive(Debug)]
pub(super) struct WindowStep {
    pub rows: RowSetId,
    /// Index of the state.
    pub state: usize,
    pub keys: Vec<ColumnId>,
    pub arguments: Vec<ColumnId>,
    pub filters: Vec<ColumnId>,
    /// One an aggregate of the state.
    pub outputs: Vec<ColumnId>,
    /// Queries that read each output.
    pub readers: Vec<Vec<usize>>,
}

impl WindowStep {
    pub(super) fn queries(&self) -> Vec<usize> {
        let mut queries: Vec<usize> = self.readers.iter().flatten().copied().collect();
        queries.sort_unstable();
        queries.dedup();
        queries
    }
}

/// A query's selected columns.
#[derive(Debug)]
pub(super) struct CompiledQuery {
    pub rows: RowSetId,
    pub outputs: Vec<Compiled>,
}

/// What is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Rows(RowSetId),
    Column(RowSetId, ColumnId),
    Window(RowSetId, WindowKey),
}

/// Steps in order, and the states they use.
pub(super) struct Schedule {
    pub steps: Vec<Step>,
    /// For each step, whether some window reads what it makes, directly or through other steps.
    pub feeds: Vec<bool>,
    pub windows: Vec<WindowSpec>,
    pub queries: Vec<CompiledQuery>,
}

impl Schedule {
    pub(super) fn of(graph: &RuleGraph) -> Result<Self, EngineError> {
        let mut planner = Planner { graph, readers: HashMap::new(), groups: BTreeMap::new() };
        for (query, plan) in graph.queries.iter().enumerate() {
            planner.mark(&Node::Rows(plan.rows), query);
            for output in &plan.outputs {
                for column in columns_read(&output.expression) {
                    planner.mark(&Node::Column(plan.rows, column), query);
                }
            }
        }
        let mut schedule =
            Self { steps: Vec::new(), feeds: Vec::new(), windows: Vec::new(), queries: Vec::new() };
        let feeding = planner.feeding();
        let mut done = HashSet::new();
        let mut nodes: Vec<Node> = planner.readers.keys().cloned().collect();
        nodes.sort_unstable();
        for node in &nodes {
            planner.visit(node, (&feeding, &mut done), &mut schedule)?;
        }
        for plan in &graph.queries {
            let compile = |output: &crate::sql::Output| Compiled::new(graph, plan.rows, &output.expression);
            let outputs = plan.outputs.iter().map(compile).collect::<Result<_, _>>()?;
            schedule.queries.push(CompiledQuery { rows: plan.rows, outputs });
        }
        Ok(schedule)
    }
}

struct Planner<'a> {
    graph: &'a RuleGraph,
    /// Queries that need a node, ascending.
    readers: HashMap<Node, Vec<usize>>,
    /// Needed windows by the state they share.
    groups: BTreeMap<(RowSetId, WindowKey), Vec<ColumnId>>,
}

impl Planner<'_> {
    /// Notes that a query needs a node and all that the node reads.
    fn mark(&mut self, node: &Node, query: usize) {
        let readers = self.readers.entry(node.clone()).or_default();
        if readers.last() == Some(&query) {
            return;
        }
        readers.push(query);
        if let Node::Column(rows, column) = node
            && let Definition::Window(window) = self.definition(*rows, *column)
        {
            let (group, own) = ((*rows, window.key.clone()), *column);
            let members = self.groups.entry(group).or_default();
            if !members.contains(&own) {
                members.push(own);
            }
            // Only this window's own inputs: other windows of the state may have other readers.
            for input in inputs(&self.definition(*rows, own).clone()) {
                self.mark(&Node::Column(*rows, input), query);
            }
            self.mark(&Node::Rows(*rows), query);
            return;
        }
        for input in self.reads(node) {
            self.mark(&input, query);
        }
    }

    fn definition(&self, rows: RowSetId, column: ColumnId) -> &Definition {
        &self.graph.row_sets[rows.0].columns[column.0].definition
    }

    fn window(&self, rows: RowSetId, column: ColumnId) -> Option<&WindowColumn> {
        match self.definition(rows, column) {
            Definition::Window(window) => Some(window),
            _ => None,
        }
    }

    /// What a node is computed from.
    fn reads(&self, node: &Node) -> Vec<Node> {
        match node {
            Node::Rows(rows) => match &self.graph.row_sets[rows.0].source {
                RowSource::Stream(_) => Vec::new(),
                RowSource::Filter { input, predicate } => {
                    let columns =
                        columns_read(predicate).into_iter().map(|column| Node::Column(*input, column));
                    std::iter::once(Node::Rows(*input)).chain(columns).collect()
                }
                RowSource::Union(inputs) => inputs.iter().map(|input| Node::Rows(*input)).collect(),
            },
            Node::Column(rows, column) => {
                let own = std::iter::once(Node::Rows(*rows));
                match (self.definition(*rows, *column), &self.graph.row_sets[rows.0].source) {
                    (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                        own.chain([Node::Column(*input, *parent)]).collect()
                    }
                    (Definition::United(parts), RowSource::Union(inputs)) => own
                        .chain(inputs.iter().zip(parts).map(|(input, part)| Node::Column(*input, *part)))
                        .collect(),
                    (Definition::Window(window), _) => vec![Node::Window(*rows, window.key.clone())],
                    (definition, _) => {
                        own.chain(inputs(definition).into_iter().map(|c| Node::Column(*rows, c))).collect()
                    }
                }
            }
            Node::Window(rows, key) => {
                let members = self.groups.get(&(*rows, key.clone())).map(Vec::as_slice).unwrap_or_default();
                let columns = members.iter().flat_map(|member| inputs(self.definition(*rows, *member)));
                std::iter::once(Node::Rows(*rows))
                    .chain(columns.map(|column| Node::Column(*rows, column)))
                    .collect()
            }
        }
    }

    /// What windows are filled from, and all that is computed for it. A window is in it only where
    /// another one stands over its answers.
    fn feeding(&self) -> HashSet<Node> {
        let windows = self.groups.keys().map(|(rows, key)| Node::Window(*rows, key.clone()));
        let mut open: Vec<Node> = windows.flat_map(|window| self.reads(&window)).collect();
        let mut feeding = HashSet::new();
        while let Some(node) = open.pop() {
            if feeding.insert(node.clone()) {
                open.extend(self.reads(&node));
            }
        }
        feeding
    }

    /// Adds a node's step after the steps of what it reads.
    fn visit(
        &self,
        node: &Node,
        (feeding, done): (&HashSet<Node>, &mut HashSet<Node>),
        schedule: &mut Schedule,
    ) -> Result<(), EngineError> {
        if !done.insert(node.clone()) {
            return Ok(());
        }
        for input in self.reads(node) {
            self.visit(&input, (feeding, done), schedule)?;
        }
        if let Some(step) = self.step(node, schedule)? {
            schedule.steps.push(step);
            schedule.feeds.push(feeding.contains(node));
        }
        Ok(())
    }

    fn step(&self, node: &Node, schedule: &mut Schedule) -> Result<Option<Step>, EngineError> {
        let queries = self.readers.get(node).cloned().unwrap_or_default();
        Ok(match node {
            Node::Rows(rows) => {
                let predicate = match &self.graph.row_sets[rows.0].source {
                    RowSource::Filter { input, predicate } => {
                        Some(Predicate::new(self.graph, *input, predicate)?)
                    }
                    _ => None,
                };
                Some(Step::Rows { rows: *rows, predicate, queries })
            }
            Node::Column(rows, column) => match self.definition(*rows, *column) {
                Definition::Window(_) => None,
                Definition::Computed(expression) => {
                    let expression = Some(Compiled::new(self.graph, *rows, expression)?);
                    Some(Step::Column { rows: *rows, column: *column, expression, queries })
                }
                _ => Some(Step::Column { rows: *rows, column: *column, expression: None, queries }),
            },
            Node::Window(rows, key) => Some(Step::Window(self.window_step(*rows, key, schedule))),
        })
    }

    /// One state for all windows of a key, its arguments and filters each held once.
    fn window_step(&self, rows: RowSetId, key: &WindowKey, schedule: &mut Schedule) -> WindowStep {
        let members = self.groups.get(&(rows, key.clone())).cloned().unwrap_or_default();
        let mut step = WindowStep {
            rows,
            state: schedule.windows.len(),
            keys: key.partition_by.clone(),
            arguments: Vec::new(),
            filters: Vec::new(),
            outputs: members.clone(),
            readers: Vec::new(),
        };
        let mut aggregates = Vec::new();
        for member in members {
            let Some(window) = self.window(rows, member) else { continue };
            let own = &window.function.aggregate;
            aggregates.push(Aggregate {
                arguments: window
                    .arguments
                    .iter()
                    .map(|column| place(&mut step.arguments, *column))
                    .collect(),
                filter: window.filter.map(|column| place(&mut step.filters, column)),
                ..own.clone()
            });
            step.readers.push(self.readers.get(&Node::Column(rows, member)).cloned().unwrap_or_default());
        }
        let data_type = |column: &ColumnId| -> DataType {
            self.graph.row_sets[rows.0].columns[column.0].data_type.clone()
        };
        schedule.windows.push(WindowSpec {
            keys: step.keys.iter().map(data_type).collect(),
            arguments: step.arguments.iter().map(data_type).collect(),
            filters: step.filters.len(),
            aggregates,
        });
        step
    }
}

/// The position of a column in a list, where it is put if it is not there.
fn place(columns: &mut Vec<ColumnId>, column: ColumnId) -> usize {
    columns.iter().position(|known| *known == column).unwrap_or_else(|| {
        columns.push(column);
        columns.len() - 1
    })
}

/// Columns of the same row set that a definition reads.
fn inputs(definition: &Definition) -> Vec<ColumnId> {
    match definition {
        Definition::Stream(_) | Definition::Inherited(_) | Definition::United(_) => Vec::new(),
        Definition::Computed(expression) => columns_read(expression).into_iter().collect(),
        Definition::Window(window) => {
            window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter).copied().collect()
        }
    }
}
