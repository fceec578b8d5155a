//! The order in which the graph's parts are computed, with their expressions compiled.
//!
//! Takes a [`RuleGraph`]; hands on steps in which each comes after what it reads, and the window states they
//! need. Windows of equal keys over equal rows become one state and one step.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow::datatypes::DataType;
use datafusion_expr::Expr;

use super::EngineError;
use super::evaluate::Compiled;
use super::inherit::Part;
use super::lineage::Inherited;
use super::predicate::{EarlyPart, Predicate, early_conjuncts};
use super::scores::CompiledQuery;
use crate::sql::{
    ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, WindowKey, columns_read,
};
use crate::window::{Aggregate, Asked, Hints, WindowSpec};

/// One part of the graph to compute.
#[derive(Debug)]
pub(super) enum Step {
    /// Which rows can still pass a filter, before the windows it reads have answered.
    Early {
        /// The filtered row set.
        rows: RowSetId,
        /// The row set that is filtered.
        input: RowSetId,
        /// What is known of the filter.
        part: EarlyPart,
    },
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
    /// Filtered row sets by selection: what is asked for within a selection is read only for rows that can
    /// pass one of its filters; none where it is read for every row.
    pub selections: Vec<Option<Vec<RowSetId>>>,
}

impl WindowStep {
    pub(super) fn queries(&self) -> Vec<usize> {
        let mut queries: Vec<usize> = self.readers.iter().flatten().copied().collect();
        queries.sort_unstable();
        queries.dedup();
        queries
    }
}

/// What is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    Early(RowSetId),
    Rows(RowSetId),
    Column(RowSetId, ColumnId),
    Window(RowSetId, WindowKey, Part),
}

/// Steps in order, and the states they use.
pub(super) struct Schedule {
    pub steps: Vec<Step>,
    /// For each step, whether some window reads what it makes, directly or through other steps.
    pub feeds: Vec<bool>,
    /// Of each state, what it keeps and what is known of its use.
    pub windows: Vec<(WindowSpec, Hints)>,
    /// Of each state, the index of the earlier state that it goes on from.
    pub origins: Vec<Option<usize>>,
    /// For each step, whether a state that goes on from nothing is filled from it.
    pub fills: Vec<bool>,
    pub queries: Vec<CompiledQuery>,
}

impl Schedule {
    /// Plans a graph into which `inherited` states have been grafted.
    pub(super) fn of(graph: &RuleGraph, inherited: &[Inherited]) -> Result<Self, EngineError> {
        let mut planner = Planner::new(graph);
        for (query, plan) in graph.queries.iter().enumerate() {
            planner.mark(&Node::Rows(plan.rows), query);
            for output in &plan.outputs {
                for column in columns_read(&output.expression) {
                    planner.mark(&Node::Column(plan.rows, column), query);
                }
            }
        }
        planner.inherit(inherited);
        let mut schedule = Self {
            steps: Vec::new(),
            feeds: Vec::new(),
            windows: Vec::new(),
            origins: Vec::new(),
            fills: Vec::new(),
            queries: Vec::new(),
        };
        planner.select();
        let feeding = [planner.feeding(|_| true), planner.feeding(|origin| origin.is_none())];
        let mut done = HashSet::new();
        let mut nodes: Vec<Node> = planner.readers.keys().cloned().collect();
        nodes.sort_unstable();
        for node in &nodes {
            planner.visit(node, (&feeding, &mut done), &mut schedule)?;
        }
        schedule.queries = (0..graph.queries.len())
            .map(|query| CompiledQuery::of(graph, query))
            .collect::<Result<_, _>>()?;
        Ok(schedule)
    }
}

/// The windows of one state.
pub(super) type Group = (RowSetId, WindowKey, Part);

pub(super) struct Planner<'a> {
    graph: &'a RuleGraph,
    /// Queries that need a node, ascending.
    pub(super) readers: HashMap<Node, Vec<usize>>,
    /// Needed windows by the state they share.
    pub(super) groups: BTreeMap<Group, Vec<ColumnId>>,
    /// Groups whose state goes on from an earlier one.
    pub(super) inherited: BTreeMap<Group, &'a Inherited>,
    /// The part that a window belongs to where it is not that of all new ones.
    pub(super) parts: HashMap<(RowSetId, ColumnId), Part>,
    /// Windows that are read only for rows that can pass one of these filters.
    selective: HashMap<(RowSetId, ColumnId), BTreeSet<RowSetId>>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a RuleGraph) -> Self {
        Self {
            graph,
            readers: HashMap::new(),
            groups: BTreeMap::new(),
            inherited: BTreeMap::new(),
            parts: HashMap::new(),
            selective: HashMap::new(),
        }
    }

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
            let (group, own) = (self.group(*rows, *column, &window.key), *column);
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

    /// The conjuncts of a filter that can be judged before the windows over its input answer; none where
    /// there is no such window.
    fn early(&self, rows: RowSetId) -> Vec<&'a Expr> {
        let RowSource::Filter { input, predicate } = &self.graph.row_sets[rows.0].source else {
            return Vec::new();
        };
        if !self.groups.keys().any(|(over, ..)| over == input) {
            return Vec::new();
        }
        early_conjuncts(predicate, |column| self.is_known_early(*input, column))
    }

    /// Whether a column needs no answer of a window over its own row set.
    fn is_known_early(&self, rows: RowSetId, column: ColumnId) -> bool {
        match self.definition(rows, column) {
            Definition::Window(_) => false,
            Definition::Computed(expression) => {
                columns_read(expression).into_iter().all(|read| self.is_known_early(rows, read))
            }
            Definition::Stream(_) | Definition::Inherited(_) | Definition::United(_) => true,
        }
    }

    /// Whether a column comes from the stream as one that no row goes without. What is computed may fail,
    /// and is null then.
    fn is_never_null(&self, rows: RowSetId, column: ColumnId) -> bool {
        let row_set = &self.graph.row_sets[rows.0];
        match (self.definition(rows, column), &row_set.source) {
            (Definition::Stream(_), _) => !row_set.columns[column.0].nullable,
            (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                self.is_never_null(*input, *parent)
            }
            (Definition::United(parts), RowSource::Union(inputs)) => {
                inputs.iter().zip(parts).all(|(input, part)| self.is_never_null(*input, *part))
            }
            _ => false,
        }
    }

    /// Finds the windows that are read only behind filters with an early part.
    fn select(&mut self) {
        let mut selective: HashMap<_, Option<BTreeSet<RowSetId>>> = HashMap::new();
        let mut note = |rows: RowSetId, column: ColumnId, filter: Option<RowSetId>| {
            let known = selective.entry((rows, column)).or_insert_with(|| Some(BTreeSet::new()));
            match (known, filter) {
                (Some(filters), Some(filter)) => {
                    filters.insert(filter);
                }
                (known, _) => *known = None,
            }
        };
        let windows = self.groups.keys().map(|(rows, key, part)| Node::Window(*rows, key.clone(), *part));
        for node in windows.chain(self.readers.keys().cloned()) {
            let behind = match &node {
                Node::Rows(rows) => Some(*rows),
                Node::Column(rows, column) => {
                    matches!(self.definition(*rows, *column), Definition::Inherited(_)).then_some(*rows)
                }
                Node::Early(_) | Node::Window(..) => None,
            };
            let behind = behind.filter(|rows| !self.early(*rows).is_empty());
            for read in self.reads(&node) {
                if let Node::Column(rows, column) = read {
                    note(rows, column, behind);
                }
            }
        }
        for plan in &self.graph.queries {
            for output in &plan.outputs {
                columns_read(&output.expression).into_iter().for_each(|read| note(plan.rows, read, None));
            }
        }
        let selective = selective.into_iter().filter_map(|(window, filters)| Some((window, filters?)));
        self.selective = selective.collect();
    }

    /// The filters that a window is read behind; none where it is read for every row.
    pub(super) fn filters(&self, rows: RowSetId, column: ColumnId) -> Option<Vec<RowSetId>> {
        self.selective.get(&(rows, column)).map(|filters| filters.iter().copied().collect())
    }

    fn definition(&self, rows: RowSetId, column: ColumnId) -> &'a Definition {
        &self.graph.row_sets[rows.0].columns[column.0].definition
    }

    fn window(&self, rows: RowSetId, column: ColumnId) -> Option<&WindowColumn> {
        match self.definition(rows, column) {
            Definition::Window(window) => Some(window),
            _ => None,
        }
    }

    /// What a node is computed from.
    pub(super) fn reads(&self, node: &Node) -> Vec<Node> {
        match node {
            Node::Early(rows) => match &self.graph.row_sets[rows.0].source {
                RowSource::Filter { input, .. } => {
                    let columns = self.early(*rows).into_iter().flat_map(columns_read);
                    let columns = columns.map(|column| Node::Column(*input, column));
                    std::iter::once(Node::Rows(*input)).chain(columns).collect()
                }
                _ => Vec::new(),
            },
            Node::Rows(rows) => match &self.graph.row_sets[rows.0].source {
                RowSource::Stream(_) => Vec::new(),
                RowSource::Filter { input, predicate } => {
                    let columns =
                        columns_read(predicate).into_iter().map(|column| Node::Column(*input, column));
                    let early = (!self.early(*rows).is_empty()).then_some(Node::Early(*rows));
                    early.into_iter().chain([Node::Rows(*input)]).chain(columns).collect()
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
                    (Definition::Window(window), _) => {
                        let (rows, key, part) = self.group(*rows, *column, &window.key);
                        vec![Node::Window(rows, key, part)]
                    }
                    (definition, _) => {
                        own.chain(inputs(definition).into_iter().map(|c| Node::Column(*rows, c))).collect()
                    }
                }
            }
            Node::Window(rows, key, part) => {
                let members =
                    self.groups.get(&(*rows, key.clone(), *part)).map(Vec::as_slice).unwrap_or_default();
                let columns = members.iter().flat_map(|member| inputs(self.definition(*rows, *member)));
                std::iter::once(Node::Rows(*rows))
                    .chain(columns.map(|column| Node::Column(*rows, column)))
                    .collect()
            }
        }
    }

    /// What says which rows the answers of a window are asked for. Its state does not need it.
    fn asks(&self, node: &Node) -> Vec<Node> {
        let Node::Window(rows, key, part) = node else { return Vec::new() };
        let members = self.groups.get(&(*rows, key.clone(), *part)).map(Vec::as_slice).unwrap_or_default();
        let filters = members.iter().filter_map(|member| self.filters(*rows, *member)).flatten();
        filters.map(Node::Early).collect()
    }

    /// What windows are filled from, and all that is computed for it. A window is in it only where
    /// another one stands over its answers. `wanted` says which windows, by the state they go on from.
    fn feeding(&self, wanted: impl Fn(Option<usize>) -> bool) -> HashSet<Node> {
        let windows = self.groups.keys().filter(|group| wanted(self.origin(group)));
        let windows = windows.map(|(rows, key, part)| Node::Window(*rows, key.clone(), *part));
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
        (feeding, done): (&[HashSet<Node>; 2], &mut HashSet<Node>),
        schedule: &mut Schedule,
    ) -> Result<(), EngineError> {
        if !done.insert(node.clone()) {
            return Ok(());
        }
        for input in self.reads(node).into_iter().chain(self.asks(node)) {
            self.visit(&input, (feeding, done), schedule)?;
        }
        if let Some(step) = self.step(node, schedule)? {
            schedule.steps.push(step);
            schedule.feeds.push(feeding[0].contains(node));
            schedule.fills.push(feeding[1].contains(node));
        }
        Ok(())
    }

    fn step(&self, node: &Node, schedule: &mut Schedule) -> Result<Option<Step>, EngineError> {
        let queries = self.readers.get(node).cloned().unwrap_or_default();
        Ok(match node {
            Node::Early(rows) => match &self.graph.row_sets[rows.0].source {
                RowSource::Filter { input, .. } => {
                    let part = EarlyPart::new(self.graph, *input, self.early(*rows))?;
                    Some(Step::Early { rows: *rows, input: *input, part })
                }
                _ => None,
            },
            Node::Rows(rows) => {
                let predicate = match &self.graph.row_sets[rows.0].source {
                    RowSource::Filter { input, predicate } => {
                        Some(Predicate::new(self.graph, *input, predicate, &self.early(*rows))?)
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
            Node::Window(rows, key, part) => {
                Some(Step::Window(self.window_step(&(*rows, key.clone(), *part), schedule)))
            }
        })
    }

    /// One state for all windows of a key, its arguments and filters each held once.
    fn window_step(&self, group: &Group, schedule: &mut Schedule) -> WindowStep {
        let (rows, key) = (group.0, &group.1);
        let members = self.groups.get(group).cloned().unwrap_or_default();
        let mut step = WindowStep {
            rows,
            state: schedule.windows.len(),
            keys: key.partition_by.clone(),
            arguments: Vec::new(),
            filters: Vec::new(),
            outputs: members.clone(),
            readers: Vec::new(),
            selections: Vec::new(),
        };
        let (mut aggregates, mut asked) = (Vec::new(), Vec::new());
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
            asked.push(match self.filters(rows, member) {
                Some(filters) => Asked::Within(place(&mut step.selections, Some(filters))),
                None => Asked::Always,
            });
            step.readers.push(self.readers.get(&Node::Column(rows, member)).cloned().unwrap_or_default());
        }
        let data_type = |column: &ColumnId| -> DataType {
            self.graph.row_sets[rows.0].columns[column.0].data_type.clone()
        };
        let spec = WindowSpec {
            keys: step.keys.iter().map(data_type).collect(),
            arguments: step.arguments.iter().map(data_type).collect(),
            filters: step.filters.len(),
            aggregates,
        };
        let never_null = step.arguments.iter().map(|column| self.is_never_null(rows, *column)).collect();
        let mut hints = Hints { asked, never_null };
        if let Some(state) = self.inherited.get(group) {
            hints = state.hints.clone();
            step.selections = self.inherited_selections(rows, &state.members, &hints.asked);
        }
        schedule.windows.push((spec, hints));
        schedule.origins.push(self.origin(group));
        step
    }
}

/// The position of a thing in a list, where it is put if it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, thing: T) -> usize {
    list.iter().position(|known| *known == thing).unwrap_or_else(|| {
        list.push(thing);
        list.len() - 1
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
