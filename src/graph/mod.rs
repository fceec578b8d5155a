//! Runs the shared graph over a batch: every row set, column and window once, however many rules read it.
//!
//! Takes a [`DecodedBatch`], hands on [`RuleHits`]. Keeps one [`WindowState`] for each set of equal keys over
//! equal rows. A value that can't be computed costs the rules that read it that row and nothing else: it is
//! reported in [`RuleHits::errors`]. What would surprise: a batch whose evaluation fails is evaluated again
//! row by row, so the rows at fault are known and the others are answered.

mod comparison;
mod cost;
mod evaluate;
mod inherit;
mod lasting;
mod lineage;
mod predicate;
mod reach;
mod run;
mod schedule;
mod scores;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::decode::DecodedBatch;
use crate::event::{Contract, Span};
use crate::score::Model;
use crate::sql::{Definition, RowSource, RuleGraph};
use crate::window::{Hints, Ties, Usage, WindowInputError, WindowSettings, WindowSpecError, WindowState};

pub use cost::Costs;
pub use lasting::{Carrier, LastRows, Lasting, Picking};
pub use lineage::Lineage;
pub use reach::Reach;
use schedule::{Step, WindowStep};
use scores::CompiledQuery;
pub use trace::{Comparison, Condition, KeyRow, QueryTrace, Traced, WindowTrace};

/// The rows that hit, query by query, in the order of the graph's queries.
#[derive(Debug, Default)]
pub struct RuleHits {
    /// One entry a query with at least one hit.
    pub hits: Vec<QueryHits>,
    /// Rows that a query could not be evaluated on.
    pub errors: Vec<RowError>,
    /// What models said of rows, hit or not.
    pub asked: Vec<Asked>,
}

/// What one model said of every row that a query asked it about.
#[derive(Debug)]
pub struct Asked {
    /// Index into [`RuleGraph::queries`].
    pub query: usize,
    /// The model.
    pub model: Arc<Model>,
    /// The class that it was asked for.
    pub class: usize,
    /// Row numbers in the batch, ascending.
    pub rows: Vec<u32>,
    /// One value a row.
    pub scores: ArrayRef,
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
    /// What each model that the query asks was given.
    pub scores: Vec<HitScores>,
}

/// What one model was given for the hits of a query.
#[derive(Debug, Clone)]
pub struct HitScores {
    /// The model.
    pub model: Arc<Model>,
    /// The class that is asked for.
    pub class: usize,
    /// Names of the features: the model's own, or what the rule writes.
    pub names: Vec<String>,
    /// One array a feature, one value a hit.
    pub features: Vec<ArrayRef>,
    /// What it said, one value a hit; none where that is part of a larger expression.
    pub scores: Option<ArrayRef>,
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
    /// Whether it is to go on from a state of the engine before.
    pub inherited: bool,
}

/// The running graph.
pub struct Engine {
    graph: RuleGraph,
    steps: Vec<Step>,
    /// For each step, whether some window is filled from it.
    feeds: Vec<bool>,
    /// For each step, whether a window that goes on from none of before is filled from it.
    fills: Vec<bool>,
    reach: Reach,
    states: Vec<WindowState>,
    /// What each state was made for.
    hints: Vec<Hints>,
    /// The state of the engine before that each goes on from.
    origins: Vec<Option<usize>>,
    queries: Vec<CompiledQuery>,
    /// What batches left behind, where somebody wants to look at it.
    traced: Option<Vec<Traced>>,
    /// Measures what queries cost, where somebody asks.
    meter: Option<cost::Meter>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} queries, {} windows)", self.queries.len(), self.states.len())
    }
}

impl Engine {
    /// Compiles what the graph's queries need; parts that no query reads are left out.
    pub fn new(graph: RuleGraph, settings: &WindowSettings) -> Result<Self, EngineError> {
        Self::succeeding(graph, &Lineage::default(), settings)
    }

    /// The same for a graph that follows another: windows that both have are to go on with what they hold, and
    /// the others are to be filled. Until [`Self::take_over`] every state is empty, and [`Self::fill`] fills
    /// those that are new.
    pub fn succeeding(
        mut graph: RuleGraph,
        before: &Lineage,
        settings: &WindowSettings,
    ) -> Result<Self, EngineError> {
        let inherited = before.graft(&mut graph);
        let schedule = schedule::Schedule::of(&graph, &inherited)?;
        let reach = Reach::of(&graph, &schedule.steps);
        let hints = schedule.windows.iter().map(|(_, hints)| hints.clone()).collect();
        let states = schedule
            .windows
            .into_iter()
            .map(|(spec, hints)| WindowState::with_hints(spec, settings.clone(), hints))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            graph,
            steps: schedule.steps,
            feeds: schedule.feeds,
            fills: schedule.fills,
            reach,
            states,
            hints,
            origins: schedule.origins,
            queries: schedule.queries,
            traced: None,
            meter: None,
        })
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
        let mut run = run::Run::new(&self.graph, input, self.traced.is_some());
        let rows = input.batch.rows.event_time.len();
        let mut timed = self.meter.as_mut().and_then(|meter| Some((meter.begin(rows)?, meter)));
        for (index, step) in self.steps.iter().enumerate() {
            run.step(step, &mut self.states)?;
            if let Some((from, meter)) = &mut timed {
                meter.step(index, from);
            }
        }
        let (hits, data) = run.finish(&self.queries)?;
        if let Some((from, meter)) = timed {
            meter.hits(&hits, from);
        }
        if let Some(traced) = self.traced.as_mut().filter(|_| !input.batch.rows.event_time.is_empty()) {
            traced.push(Traced::of(data));
        }
        Ok(hits)
    }

    /// Moves the windows on over a batch and answers no query: afterwards every answer is what it would be
    /// had the batch been processed. Nothing is evaluated but what fills the windows, and rows that fail
    /// there count for the windows as they would in [`Self::process`].
    pub fn absorb(&mut self, input: &EngineInput<'_>) -> Result<(), EngineError> {
        let mut run = run::Run::new(&self.graph, input, false);
        let mut last = Vec::new();
        for (step, feeds) in self.steps.iter().zip(&self.feeds) {
            match step {
                _ if *feeds => run.step(step, &mut self.states)?,
                Step::Window(window) => last.push(window),
                _ => {}
            }
        }
        run.absorb_each(&last, &mut self.states)
    }

    /// What this engine keeps, for the one that follows it.
    pub fn lineage(&self) -> Lineage {
        Lineage::of(&self.graph, &self.steps, &self.hints)
    }

    /// Takes the states of windows that the engine before has too; it must be the one whose lineage this one was
    /// made with.
    pub fn take_over(&mut self, before: &mut Self) {
        for (state, origin) in self.states.iter_mut().zip(&self.origins) {
            if let Some(origin) = origin.and_then(|origin| before.states.get_mut(origin)) {
                std::mem::swap(state, origin);
            }
        }
    }

    /// Moves the windows on that go on from none of before, and no other that is not needed for it.
    pub fn fill(&mut self, input: &EngineInput<'_>) -> Result<(), EngineError> {
        let mut run = run::Run::new(&self.graph, input, false);
        for (step, fills) in self.steps.iter().zip(&self.fills) {
            match step {
                _ if *fills => run.step(step, &mut self.states)?,
                Step::Window(window) if self.origins[window.state].is_none() => {
                    run.absorb(window, &mut self.states[window.state])?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How far back the windows look that go on from none of before; none where there is no such window.
    pub fn reach_to_fill(&self) -> Option<Reach> {
        self.origins
            .iter()
            .any(Option::is_none)
            .then(|| Reach::of_chosen(&self.graph, &self.steps, |step, _| self.origins[step.state].is_none()))
    }

    /// For each query, how far back it looks if any window it reads goes on from none of before.
    pub fn queries_to_fill(&self) -> Vec<Option<Span>> {
        let windows = || {
            self.steps.iter().filter_map(|step| match step {
                Step::Window(step) => Some(step),
                _ => None,
            })
        };
        let new = |query: usize| {
            windows().any(|step| self.origins[step.state].is_none() && step.queries().contains(&query))
        };
        let reads =
            |query: usize| move |step: &WindowStep, place: usize| step.readers[place].contains(&query);
        let reach = |query| Reach::of_chosen(&self.graph, &self.steps, reads(query)).longest;
        (0..self.queries.len()).map(|query| new(query).then(|| reach(query))).collect()
    }

    /// The streams whose rows a query judges.
    pub fn streams_of(&self, query: usize) -> Vec<usize> {
        let mut open = vec![self.graph.queries[query].rows];
        let mut streams = Vec::new();
        while let Some(rows) = open.pop() {
            match &self.graph.row_sets[rows.0].source {
                RowSource::Stream(stream) => streams.push(*stream),
                RowSource::Filter { input, .. } => open.push(*input),
                RowSource::Union(inputs) => open.extend(inputs),
            }
        }
        streams.sort_unstable();
        streams.dedup();
        streams
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
                    inherited: self.origins[window.state].is_some(),
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
