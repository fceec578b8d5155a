//! A query's selection, compiled, what models said, and what they were given for the rows that hit, so that an alert can
//! say what moved them.
//!
//! Takes the calls of `predict` that a query's conditions, columns and selection make; hands on, with the query's hits,
//! the values that each model got. Evaluated for hits alone. What would surprise: a call may stand over another row
//! set than the query's; a row is found there by its number in the batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;

use super::evaluate::Compiled;
use super::run::Data;
use super::{Asked, Engine, EngineError, HitScores};
use crate::score::Model;
use crate::sql::{
    Column, ColumnId, Definition, ModelCall, RowSetId, RuleGraph, as_model_call, model_calls,
    query_expressions,
};

/// A query's selected columns, and the models that it asks.
#[derive(Debug)]
pub(super) struct CompiledQuery {
    pub rows: RowSetId,
    pub outputs: Vec<Compiled>,
    pub scores: Vec<CompiledScore>,
}

impl CompiledQuery {
    pub(super) fn of(graph: &RuleGraph, query: usize) -> Result<Self, EngineError> {
        let plan = &graph.queries[query];
        let compile = |output: &crate::sql::Output| Compiled::new(graph, plan.rows, &output.expression);
        let outputs = plan.outputs.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { rows: plan.rows, outputs, scores: scores_of(graph, query)? })
    }
}

impl Engine {
    /// Every model that a query asks, each once.
    pub fn models(&self) -> Vec<Arc<Model>> {
        let mut models: Vec<Arc<Model>> = Vec::new();
        for score in self.queries.iter().flat_map(|query| &query.scores) {
            if models.iter().all(|known| !Arc::ptr_eq(known, &score.model)) {
                models.push(Arc::clone(&score.model));
            }
        }
        models
    }
}

/// A call of a model that a query makes.
#[derive(Debug)]
pub(super) struct CompiledScore {
    rows: RowSetId,
    model: Arc<Model>,
    class: usize,
    names: Vec<String>,
    arguments: Vec<Compiled>,
    /// Where its answers stand; none where it is part of a larger expression.
    column: Option<ColumnId>,
}

/// Every model call of a query, each once.
fn scores_of(graph: &RuleGraph, query: usize) -> Result<Vec<CompiledScore>, EngineError> {
    let mut known = Vec::new();
    let mut scores = Vec::new();
    for (rows, expression) in query_expressions(graph, query) {
        for call in model_calls(expression) {
            let same = (rows, call.model.version.clone(), call.class, call.arguments.to_vec());
            if known.contains(&same) {
                continue;
            }
            known.push(same);
            let compile = |argument| Compiled::new(graph, rows, argument);
            let name = |(index, argument)| {
                let own = call.model.feature_names.get(index).cloned();
                own.unwrap_or_else(|| graph.words(rows, argument))
            };
            scores.push(CompiledScore {
                rows,
                model: Arc::clone(call.model),
                class: call.class,
                column: column_of(graph, rows, &call),
                names: call.arguments.iter().enumerate().map(name).collect(),
                arguments: call.arguments.iter().map(compile).collect::<Result<_, _>>()?,
            });
        }
    }
    Ok(scores)
}

/// The column that is nothing but a call.
fn column_of(graph: &RuleGraph, rows: RowSetId, call: &ModelCall<'_>) -> Option<ColumnId> {
    let is_it = |column: &Column| match &column.definition {
        Definition::Computed(expression) => as_model_call(expression).is_some_and(|own| {
            Arc::ptr_eq(own.model, call.model) && own.class == call.class && own.arguments == call.arguments
        }),
        _ => false,
    };
    graph.row_sets[rows.0].columns.iter().position(is_it).map(ColumnId)
}

/// What a model said of all rows that a query asked it about; none where it was asked about none, or in passing.
pub(super) fn said(query: usize, score: &CompiledScore, data: &[Data]) -> Option<Asked> {
    let own = &data[score.rows.0];
    let scores = own.columns[score.column?.0].clone().filter(|scores| !scores.is_empty())?;
    let (model, class) = (Arc::clone(&score.model), score.class);
    Some(Asked { query, model, class, rows: own.rows.clone(), scores })
}

/// What a model was given for each of the rows that hit; none where a row is not to be found.
pub(super) fn evaluate(
    score: &CompiledScore,
    data: &[Data],
    rows: &[u32],
) -> Result<Option<HitScores>, EngineError> {
    let own = &data[score.rows.0];
    let places: Option<UInt32Array> = rows
        .iter()
        .map(|row| own.rows.binary_search(row).ok().and_then(|place| u32::try_from(place).ok()))
        .collect::<Option<Vec<u32>>>()
        .map(UInt32Array::from);
    let Some(places) = places else { return Ok(None) };
    let mut features: Vec<ArrayRef> = Vec::with_capacity(score.arguments.len());
    for argument in &score.arguments {
        let mut inputs = Vec::with_capacity(argument.inputs.len());
        for input in &argument.inputs {
            let Some(values) = own.columns[input.0].as_ref() else { return Ok(None) };
            inputs.push(take(values.as_ref(), &places, None)?);
        }
        let (values, _) = argument.evaluate(&inputs, places.len())?;
        features.push(values);
    }
    let scores = score.column.and_then(|column| own.columns[column.0].as_ref());
    let scores = scores.map(|scores| take(scores.as_ref(), &places, None)).transpose()?;
    let (model, names) = (Arc::clone(&score.model), score.names.clone());
    Ok(Some(HitScores { model, class: score.class, names, features, scores }))
}
