//! One batch through the steps.
//!
//! Holds the rows and columns of each row set while the batch is worked on, and the rows that failed for
//! each query; hands on [`RuleHits`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{FilterBuilder, interleave};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::evaluate::{Compiled, Failure};
use super::predicate::Passed;
use super::schedule::{Step, WindowStep};
use super::scores::{self, CompiledQuery};
use super::{Asked, EngineError, EngineInput, QueryHits, RowError, RuleHits};
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph};
use crate::window::{WindowInput, WindowInputError, WindowState};

/// Rows and columns of one row set for this batch.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Row numbers in the batch.
    pub rows: Vec<u32>,
    pub columns: Vec<Option<ArrayRef>>,
    /// For a filtered row set, which rows of its input passed.
    pub mask: Option<BooleanArray>,
    /// For a filtered row set, which rows of its input can pass, once that is known.
    early: Option<Passed>,
    /// For a union, which input and which row of it each row is.
    pub origin: Vec<(usize, usize)>,
}

/// The work on one batch.
pub(super) struct Run<'a> {
    graph: &'a RuleGraph,
    input: &'a EngineInput<'a>,
    data: Vec<Data>,
    /// For each query, rows that failed and why.
    failed: BTreeMap<(usize, u32), (String, bool)>,
    /// Whether every window answers every row, for those who look at rows that no rule hits.
    all_answers: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(graph: &'a RuleGraph, input: &'a EngineInput<'a>, all_answers: bool) -> Self {
        let empty = |row_set: &crate::sql::RowSet| Data {
            columns: vec![None; row_set.columns.len()],
            ..Data::default()
        };
        Self {
            graph,
            input,
            data: graph.row_sets.iter().map(empty).collect(),
            failed: BTreeMap::new(),
            all_answers,
        }
    }

    pub(super) fn step(&mut self, step: &Step, states: &mut [WindowState]) -> Result<(), EngineError> {
        match step {
            Step::Early { rows, .. } if self.all_answers => self.data[rows.0].early = Some(Passed::Undecided),
            Step::Early { rows, input, part } => {
                let count = self.data[input.0].rows.len();
                let passed = part.select(count, |column| self.column(*input, column))?;
                self.data[rows.0].early = Some(passed);
            }
            Step::Rows { rows, predicate, queries } => match &self.graph.row_sets[rows.0].source {
                RowSource::Stream(stream) => {
                    self.data[rows.0].rows =
                        self.input.batch.streams.get(*stream).map(|s| s.rows.clone()).unwrap_or_default();
                }
                RowSource::Filter { input, .. } => {
                    let Some(predicate) = predicate else { return Ok(()) };
                    let (parent, early) = (&self.data[input.0], self.data[rows.0].early.as_ref());
                    let (mask, failures) =
                        predicate.select(parent.rows.len(), early, |column| self.column(*input, column))?;
                    let passed = mask.values().set_indices().map(|index| parent.rows[index]).collect();
                    self.note(*input, failures, queries);
                    self.data[rows.0].rows = passed;
                    self.data[rows.0].mask = Some(mask);
                }
                RowSource::Union(inputs) => self.unite(*rows, inputs),
            },
            Step::Column { rows, .. } if self.data[rows.0].rows.is_empty() => {}
            Step::Column { rows, column, expression, queries } => {
                let values = self.compute(*rows, *column, expression.as_ref(), queries)?;
                self.data[rows.0].columns[column.0] = Some(values);
            }
            Step::Window(window) => self.window(window, &mut states[window.state])?,
        }
        Ok(())
    }

    /// Rows of all inputs in order of arrival; for one row in several inputs, in the order of the inputs.
    fn unite(&mut self, rows: RowSetId, inputs: &[RowSetId]) {
        let mut all: Vec<(u32, usize, usize)> = Vec::new();
        for (input, id) in inputs.iter().enumerate() {
            all.extend(self.data[id.0].rows.iter().enumerate().map(|(index, row)| (*row, input, index)));
        }
        all.sort_unstable();
        let data = &mut self.data[rows.0];
        data.rows = all.iter().map(|(row, _, _)| *row).collect();
        data.origin = all.into_iter().map(|(_, input, index)| (input, index)).collect();
    }

    fn compute(
        &mut self,
        rows: RowSetId,
        column: ColumnId,
        expression: Option<&Compiled>,
        queries: &[usize],
    ) -> Result<ArrayRef, EngineError> {
        let row_set = &self.graph.row_sets[rows.0];
        let known = &row_set.columns[column.0];
        match (&known.definition, &row_set.source, expression) {
            (Definition::Stream(index), RowSource::Stream(stream), _) => {
                let values = self.input.batch.streams[*stream].columns[*index].clone();
                values.ok_or_else(|| missing(&known.label))
            }
            (Definition::Inherited(parent), RowSource::Filter { input, .. }, _) => {
                let values = self.column(*input, *parent)?;
                let Some(mask) = &self.data[rows.0].mask else { return Err(missing(&known.label)) };
                Ok(FilterBuilder::new(mask).build().filter(&values)?)
            }
            (Definition::United(parts), RowSource::Union(inputs), _) => {
                let parts = inputs.iter().zip(parts).map(|(input, part)| self.column(*input, *part));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                Ok(interleave(&parts, &self.data[rows.0].origin)?)
            }
            (_, _, Some(expression)) => {
                let (values, failures) = self.evaluate(rows, expression)?;
                self.note(rows, failures, queries);
                Ok(values)
            }
            _ => Err(missing(&known.label)),
        }
    }

    fn window(&mut self, window: &WindowStep, state: &mut WindowState) -> Result<(), EngineError> {
        if self.data[window.rows.0].rows.is_empty() {
            return Ok(());
        }
        let selections = self.selections(window);
        let Some(output) = self.feed(window, |input| state.process_selected(input, &selections))? else {
            return self.start_anew(window, state);
        };
        for error in output.errors {
            let failure = Failure { row: error.row, message: error.message, panicked: false };
            self.note(window.rows, vec![failure], &window.readers[error.aggregate]);
        }
        for (column, values) in window.outputs.iter().zip(output.columns) {
            self.data[window.rows.0].columns[column.0] = Some(values);
        }
        Ok(())
    }

    /// The rows of each selection of a window: those that can pass one of its filters. A filter whose early
    /// part is not computed, as where rows are absorbed, is not going to be read.
    fn selections(&self, window: &WindowStep) -> Vec<BooleanBuffer> {
        let rows = self.data[window.rows.0].rows.len();
        let union = |filters: &Option<Vec<RowSetId>>| {
            let Some(filters) = filters else { return BooleanBuffer::new_set(rows) };
            let mut union = BooleanBuffer::new_unset(rows);
            for filter in filters {
                match &self.data[filter.0].early {
                    Some(Passed::Rows(passed)) => union = &union | passed.values(),
                    Some(Passed::Undecided) => return BooleanBuffer::new_set(rows),
                    None => {}
                }
            }
            union
        };
        window.selections.iter().map(union).collect()
    }

    /// Moves a window's state on without an answer.
    pub(super) fn absorb(&mut self, window: &WindowStep, state: &mut WindowState) -> Result<(), EngineError> {
        if self.moves_on(window, state)? { Ok(()) } else { self.start_anew(window, state) }
    }

    /// Whether a state took the rows of its window: not if it panicked.
    fn moves_on(&self, window: &WindowStep, state: &mut WindowState) -> Result<bool, EngineError> {
        let nothing = self.data[window.rows.0].rows.is_empty();
        Ok(nothing || self.feed(window, |input| state.absorb(input))?.is_some())
    }

    /// Moves the states of windows on that feed no other, side by side where that pays: a batch of history has few rows
    /// a shard, and threads that wait for each other window by window are idle for a third of the time.
    pub(super) fn absorb_each(
        &mut self,
        windows: &[&WindowStep],
        states: &mut [WindowState],
    ) -> Result<(), EngineError> {
        let rows = self.input.batch.rows.event_time.len();
        if !windows.iter().any(|window| states[window.state].is_parallel(rows)) {
            return windows.iter().try_for_each(|window| self.absorb(window, &mut states[window.state]));
        }
        let mut states: Vec<Option<&mut WindowState>> = states.iter_mut().map(Some).collect();
        let work = windows.iter().filter_map(|window| Some((*window, states[window.state].take()?)));
        let work: Vec<(&WindowStep, &mut WindowState)> = work.collect();
        let this = &*self;
        let done: Vec<Result<Option<_>, EngineError>> = work
            .into_par_iter()
            .map(|(window, state)| Ok((!this.moves_on(window, state)?).then_some((window, state))))
            .collect();
        for panicked in done {
            if let Some((window, state)) = panicked? {
                self.start_anew(window, state)?;
            }
        }
        Ok(())
    }

    /// Gives the rows of a window to its state; none if that panicked.
    fn feed<T>(
        &self,
        window: &WindowStep,
        feed: impl FnOnce(&WindowInput<'_>) -> Result<T, WindowInputError>,
    ) -> Result<Option<T>, EngineError> {
        let rows = &self.data[window.rows.0].rows;
        // Counting is not enough: a union may take some rows twice and others not at all.
        let all = rows.iter().copied().eq(0..self.input.batch.rows.event_time.len() as u32);
        let gather =
            |values: &'a [i64]| -> Vec<i64> { rows.iter().map(|row| values[*row as usize]).collect() };
        let (times, watermarks) = (&self.input.batch.rows.event_time, self.input.watermarks);
        let gathered = (!all).then(|| (gather(times), gather(watermarks)));
        let (times, watermarks) = gathered.as_ref().map_or((times.as_slice(), watermarks), |(t, w)| (t, w));
        let columns = |ids: &[ColumnId]| {
            ids.iter().map(|id| self.column(window.rows, *id)).collect::<Result<Vec<_>, _>>()
        };
        let (keys, arguments, filters) =
            (columns(&window.keys)?, columns(&window.arguments)?, columns(&window.filters)?);
        let filters: Vec<BooleanArray> = filters.iter().map(|filter| filter.as_boolean().clone()).collect();
        let input = WindowInput {
            times,
            watermarks,
            keys: &keys,
            arguments: &arguments,
            filters: &filters,
            ties: self.input.ties,
        };
        match catch_unwind(AssertUnwindSafe(|| feed(&input))) {
            Ok(fed) => Ok(Some(fed?)),
            Err(_) => Ok(None),
        }
    }

    /// After a panic a state can't be trusted: it starts empty, and the rows it met are set aside.
    fn start_anew(&mut self, window: &WindowStep, state: &mut WindowState) -> Result<(), EngineError> {
        tracing::error!("a window panicked: its state starts empty, and the rows of the batch are set aside");
        *state = state.emptied()?;
        let rows = self.data[window.rows.0].rows.len();
        let failure = |row| Failure { row, message: "a window panicked".to_owned(), panicked: true };
        self.note(window.rows, (0..rows).map(failure).collect(), &window.queries());
        for column in &window.outputs {
            let data_type = &self.graph.row_sets[window.rows.0].columns[column.0].data_type;
            self.data[window.rows.0].columns[column.0] = Some(new_null_array(data_type, rows));
        }
        Ok(())
    }

    fn evaluate(
        &self,
        rows: RowSetId,
        expression: &Compiled,
    ) -> Result<(ArrayRef, Vec<Failure>), EngineError> {
        let inputs =
            expression.inputs.iter().map(|input| self.column(rows, *input)).collect::<Result<Vec<_>, _>>()?;
        expression.evaluate(&inputs, self.data[rows.0].rows.len())
    }

    fn column(&self, rows: RowSetId, column: ColumnId) -> Result<ArrayRef, EngineError> {
        let (data, known) = (&self.data[rows.0], &self.graph.row_sets[rows.0].columns[column.0]);
        match &data.columns[column.0] {
            Some(values) => Ok(Arc::clone(values)),
            // Nothing is computed over no rows.
            None if data.rows.is_empty() => Ok(new_empty_array(&known.data_type)),
            None => Err(missing(&known.label)),
        }
    }

    /// Notes rows of a row set that failed, for every query that reads what failed.
    fn note(&mut self, rows: RowSetId, failures: Vec<Failure>, queries: &[usize]) {
        for failure in failures {
            let row = self.data[rows.0].rows[failure.row];
            for query in queries {
                self.failed
                    .entry((*query, row))
                    .or_insert_with(|| (failure.message.clone(), failure.panicked));
            }
        }
    }

    /// Evaluates what each query selects of its hits; rows that failed are no hits.
    pub(super) fn finish(mut self, queries: &[CompiledQuery]) -> Result<(RuleHits, Vec<Data>), EngineError> {
        let mut hits = Vec::new();
        for (index, query) in queries.iter().enumerate() {
            if self.data[query.rows.0].rows.is_empty() {
                continue;
            }
            let mut columns = Vec::with_capacity(query.outputs.len());
            for output in &query.outputs {
                let (values, failures) = self.evaluate(query.rows, output)?;
                self.note(query.rows, failures, &[index]);
                columns.push(values);
            }
            let rows = self.data[query.rows.0].rows.clone();
            let found = QueryHits { query: index, rows, columns, scores: Vec::new() };
            let mut found = self.without_failed(found)?;
            if !found.rows.is_empty() {
                for score in &query.scores {
                    found.scores.extend(scores::evaluate(score, &self.data, &found.rows)?);
                }
                hits.push(found);
            }
        }
        let said = |(index, query): (usize, &CompiledQuery)| -> Vec<Asked> {
            query.scores.iter().filter_map(|score| scores::said(index, score, &self.data)).collect()
        };
        let asked = queries.iter().enumerate().flat_map(said).collect();
        let error = |((query, row), (message, panicked))| RowError { query, row, message, panicked };
        Ok((RuleHits { hits, errors: self.failed.into_iter().map(error).collect(), asked }, self.data))
    }

    fn without_failed(&self, hits: QueryHits) -> Result<QueryHits, EngineError> {
        let query = hits.query;
        if self.failed.range((query, 0)..=(query, u32::MAX)).next().is_none() {
            return Ok(hits);
        }
        let kept: BooleanArray =
            hits.rows.iter().map(|row| Some(!self.failed.contains_key(&(query, *row)))).collect();
        let filter = FilterBuilder::new(&kept).build();
        let columns = hits.columns.iter().map(|column| filter.filter(column)).collect::<Result<_, _>>()?;
        let rows = hits
            .rows
            .iter()
            .zip(kept.values().iter())
            .filter(|(_, kept)| *kept)
            .map(|(row, _)| *row)
            .collect();
        Ok(QueryHits { query, rows, columns, scores: Vec::new() })
    }
}

fn missing(label: &str) -> EngineError {
    EngineError::Columns(arrow::error::ArrowError::InvalidArgumentError(format!(
        "column {label} is not there"
    )))
}
