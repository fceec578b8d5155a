//! Runs the shared graph over a batch: every row set, column and window once, however many rules read it.
//!
//! Takes a [`DecodedBatch`], hands on [`RuleHits`]. Keeps one [`WindowState`] for each set of equal keys over
//! equal rows. A value that can't be computed costs the rules that read it that row and nothing else: it is
//! reported in [`RuleHits::errors`]. What would surprise: a batch whose evaluation fails is evaluated again
//! row by row, so the rows at fault are known and the others are answered.

mod evaluate;
mod identity;
mod predicate;
mod reach;
mod run;
mod schedule;

use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use crate::decode::DecodedBatch;
use crate::event::Contract;
use crate::sql::{Definition, RowSource, RuleGraph};
use crate::window::{Ties, Usage, WindowInputError, WindowSettings, WindowSpecError, WindowState};

pub use reach::Reach;
use schedule::{CompiledQuery, Step};

/// The rows that hit, query by query, in the order of the graph's queries.
#[derive(Debug, Default)]
pub struct RuleHits {
    /// One entry a query with at least one hit.
    pub hits: Vec<QueryHits>,
    /// Rows that a query could not be evaluated on.
    pub errors: Vec<RowError>,
}

/// The hits of one query in one batch.
#[derive(Debug, Clone)]
pub struct QueryHits {
    /// Index into [`RuleGraph::queries`].
    pub query: usize,
    /// Row numbers in the batch's [`Rows`](crate::decode::Rows), ascending; a row may hit more than once.
    pub rows: Vec<u32>,
    /// The selected columns, one value a hit.
    pub columns: Vec<ArrayRef>,
}

/// A row that one query could not be evaluated on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowError {
    /// Index into [`RuleGraph::queries`].
    pub query: usize,
    /// Row number in the batch.
    pub row: u32,
    /// What went wrong, without values of the row.
    pub message: String,
    /// Whether the evaluation panicked instead of failing.
    pub panicked: bool,
}

/// A batch and what is known of its time.
#[derive(Debug, Clone, Copy)]
pub struct EngineInput<'a> {
    /// The rows.
    pub batch: &'a DecodedBatch,
    /// Watermark in force at each row, microseconds.
    pub watermarks: &'a [i64],
    /// What rows of equal key and time see of each other.
    pub ties: Ties,
}

/// A graph that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An expression that planned and can't be compiled.
    #[error("expression `{expression}` can't be compiled: {cause}")]
    Expression {
        /// The expression.
        expression: String,
        /// Why.
        cause: String,
    },
    /// A window that can't be kept.
    #[error(transparent)]
    Window(#[from] WindowSpecError),
    /// A batch that does not fit the graph: a defect of the program, not of the input.
    #[error("a window did not take its rows: {0}")]
    Input(#[from] WindowInputError),
    /// Columns that don't fit together: a defect of the program, not of the input.
    #[error("columns of a batch don't fit together: {0}")]
    Columns(#[from] arrow::error::ArrowError),
}

/// A window state and what it is about, for `explain`, metrics and tests.
#[derive(Debug, Clone)]
pub struct WindowReport {
    /// Labels of the `PARTITION BY` columns.
    pub partition_by: Vec<String>,
    /// Labels of the answers it gives.
    pub answers: Vec<String>,
    /// Indexes of the queries that read it.
    pub queries: Vec<usize>,
    /// What it holds.
    pub usage: Usage,
}

/// The running graph.
pub struct Engine {
    graph: RuleGraph,
    steps: Vec<Step>,
    /// For each step, whether some window is filled from it.
    feeds: Vec<bool>,
    reach: Reach,
    states: Vec<WindowState>,
    /// What each state is, in words that hold in any graph.
    identities: Vec<String>,
    queries: Vec<CompiledQuery>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} queries, {} windows)", self.queries.len(), self.states.len())
    }
}

impl Engine {
    /// Compiles what the graph's queries need; parts that no query reads are left out.
    pub fn new(graph: RuleGraph, settings: &WindowSettings) -> Result<Self, EngineError> {
        let schedule = schedule::Schedule::of(&graph)?;
        let reach = Reach::of(&graph, &schedule.steps);
        let identities = identity::identities(&graph, &schedule.steps, &schedule.windows);
        let states = schedule
            .windows
            .into_iter()
            .map(|(spec, hints)| WindowState::with_hints(spec, settings.clone(), hints))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            graph,
            steps: schedule.steps,
            feeds: schedule.feeds,
            reach,
            states,
            identities,
            queries: schedule.queries,
        })
    }

    /// Where each of the own states stands in an engine that ran before; none unless all of them are there.
    fn states_in(&self, before: &Self) -> Option<Vec<usize>> {
        let place = |own: &String| before.identities.iter().position(|other| other == own);
        self.identities.iter().map(place).collect()
    }

    /// Whether [`Self::take_over`] would leave no window empty.
    pub fn can_take_over(&self, before: &Self) -> bool {
        self.states_in(before).is_some()
    }

    /// Goes on with the windows of an engine that ran before, if it has every window of this one; whether it has.
    pub fn take_over(&mut self, before: &mut Self) -> bool {
        let Some(places) = self.states_in(before) else { return false };
        for (state, place) in self.states.iter_mut().zip(places) {
            std::mem::swap(state, &mut before.states[place]);
        }
        true
    }

    /// The queries that run.
    pub fn graph(&self) -> &RuleGraph {
        &self.graph
    }

    /// For each stream of the contract, which of its columns some query reads.
    pub fn columns_read(&self, contract: &Contract) -> Vec<Vec<bool>> {
        let mut used: Vec<Vec<bool>> =
            contract.streams.iter().map(|s| vec![false; s.schema.fields().len()]).collect();
        for step in &self.steps {
            if let Step::Column { rows, column, .. } = step {
                let row_set = &self.graph.row_sets[rows.0];
                if let (RowSource::Stream(stream), Definition::Stream(index)) =
                    (&row_set.source, &row_set.columns[column.0].definition)
                {
                    used[*stream][*index] = true;
                }
            }
        }
        used
    }

    /// Evaluates every query on a batch and moves the windows on.
    pub fn process(&mut self, input: &EngineInput<'_>) -> Result<RuleHits, EngineError> {
        let mut run = run::Run::new(&self.graph, input);
        for step in &self.steps {
            run.step(step, &mut self.states)?;
        }
        run.finish(&self.queries)
    }

    /// Moves the windows on over a batch and answers no query: afterwards every answer is what it would be
    /// had the batch been processed. Nothing is evaluated but what fills the windows, and rows that fail
    /// there count for the windows as they would in [`Self::process`].
    pub fn absorb(&mut self, input: &EngineInput<'_>) -> Result<(), EngineError> {
        let mut run = run::Run::new(&self.graph, input);
        for (step, feeds) in self.steps.iter().zip(&self.feeds) {
            match step {
                _ if *feeds => run.step(step, &mut self.states)?,
                Step::Window(window) => run.absorb(window, &mut self.states[window.state])?,
                _ => {}
            }
        }
        Ok(())
    }

    /// How far back the windows look: which rows before one must be known to answer it.
    pub fn longest_frame(&self) -> Reach {
        self.reach
    }

    /// Every window state, in the order in which they run.
    pub fn windows(&self) -> Vec<WindowReport> {
        let mut reports = BTreeMap::new();
        for step in &self.steps {
            if let Step::Window(window) = step {
                let columns = &self.graph.row_sets[window.rows.0].columns;
                let label = |column: &crate::sql::ColumnId| columns[column.0].label.clone();
                let report = WindowReport {
                    partition_by: window.keys.iter().map(label).collect(),
                    answers: window.outputs.iter().map(label).collect(),
                    queries: window.queries(),
                    usage: self.states[window.state].usage(),
                };
                reports.insert(window.state, report);
            }
        }
        reports.into_values().collect()
    }

    /// What all windows hold.
    pub fn usage(&self) -> Usage {
        self.states.iter().map(WindowState::usage).fold(Usage::default(), |sum, usage| sum + usage)
    }
}
