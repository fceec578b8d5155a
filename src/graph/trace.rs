//! What one row met on its way through a query: each condition with what it compared, and each window's answer.
//!
//! Takes what a batch left behind ([`Traced`], kept only where it was asked for) and the row's number; hands on a
//! [`QueryTrace`], and for a window the rows of a batch that have the same key. What would surprise: while traces
//! are kept every window answers every row, so that a row that did not hit can be looked at too; answers are the
//! same.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar};
use arrow::compute::and;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::kernels::numeric::sub;
use arrow::datatypes::DataType;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::evaluate::Compiled;
use super::predicate::truths;
use super::run::Data;
use super::{Engine, EngineError};
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, columns_read};
use crate::window::Frame;

/// A row of a row set.
type Place = (RowSetId, usize);

/// Rows and columns that one batch left behind.
#[derive(Debug)]
pub struct Traced {
    data: Vec<Data>,
}

/// One row on its way through a query.
#[derive(Debug, Default)]
pub struct QueryTrace {
    /// Whether it passed every filter.
    pub hit: bool,
    /// What it was asked, in the order from the stream to the query; ends at the filter that it did not pass.
    pub conditions: Vec<Condition>,
    /// Windows that answered about it.
    pub windows: Vec<WindowTrace>,
    /// What else its conditions read: label, how it is computed where it is, and the value.
    pub columns: Vec<(String, Option<String>, ArrayRef)>,
}

/// One part of a filter.
#[derive(Debug)]
pub struct Condition {
    /// As the rule says it.
    pub text: String,
    /// What it came to; none for null, or where it could not be evaluated.
    pub truth: Option<bool>,
    /// Both sides, where it compares.
    pub comparison: Option<Comparison>,
    /// Its parts, where it joins some by `OR`, `AND` or `NOT`.
    pub parts: Vec<Condition>,
}

/// Two sides of a condition; arrays hold one value.
#[derive(Debug)]
pub struct Comparison {
    /// The left side as the rule says it.
    pub left_text: String,
    /// Its value.
    pub left: ArrayRef,
    /// The comparison.
    pub operator: &'static str,
    /// The right side as the rule says it.
    pub right_text: String,
    /// Its value.
    pub right: ArrayRef,
    /// Left less right, where both are numbers or times.
    pub margin: Option<ArrayRef>,
}

/// A window's answer about one row.
#[derive(Debug)]
pub struct WindowTrace {
    rows: RowSetId,
    column: ColumnId,
    /// What the rule calls it.
    pub label: String,
    /// The function with its arguments and filter.
    pub function: String,
    /// The key: label and value of each column.
    pub key: Vec<(String, ArrayRef)>,
    /// Labels of the arguments.
    pub arguments: Vec<String>,
    /// Which rows of the key it sees.
    pub frame: Frame,
    /// For `lag`, how many rows before.
    pub lag: Option<usize>,
    /// The answer.
    pub answer: ArrayRef,
}

/// A row of the same key as another, and what a window's function reads of it.
#[derive(Debug)]
pub struct KeyRow {
    /// Row number in the batch.
    pub row: u32,
    /// One value an argument.
    pub arguments: Vec<ArrayRef>,
}

impl Traced {
    pub(super) fn of(data: Vec<Data>) -> Self {
        Self { data }
    }

    fn value(&self, rows: RowSetId, column: ColumnId, index: usize) -> Option<ArrayRef> {
        Some(self.data[rows.0].columns[column.0].as_ref()?.slice(index, 1))
    }

    /// The place of a row of an input among the rows of a row set over it.
    fn follow(&self, input: Place, rows: RowSetId, source: &RowSource) -> Option<usize> {
        let (from, index) = input;
        match source {
            RowSource::Stream(_) => None,
            RowSource::Filter { .. } => {
                let mask = self.data[rows.0].mask.as_ref()?;
                mask.value(index).then(|| mask.values().slice(0, index).count_set_bits())
            }
            RowSource::Union(inputs) => {
                let number = inputs.iter().position(|input| *input == from)?;
                self.data[rows.0].origin.iter().position(|origin| *origin == (number, index))
            }
        }
    }
}

impl Engine {
    /// From here on keeps what each batch leaves behind, until it is taken.
    pub fn keep_traces(&mut self) {
        self.traced = Some(Vec::new());
    }

    /// What the batches since the last call left behind, in the order in which they were processed.
    pub fn take_traces(&mut self) -> Vec<Traced> {
        self.traced.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// One row of a batch on its way through a query, along the branch of its unions that leads it farthest; none
    /// where the query does not read the row's stream.
    pub fn trace(&self, traced: &Traced, query: usize, row: u32) -> Result<Option<QueryTrace>, EngineError> {
        let mut best: Option<(usize, Vec<Place>, Option<RowSetId>)> = None;
        for branch in self.branches(self.graph.queries[query].rows) {
            let Ok(index) = traced.data[branch[0].0].rows.binary_search(&row) else { continue };
            let mut places = vec![(branch[0], index)];
            let mut failed = None;
            for next in &branch[1..] {
                let source = &self.graph.row_sets[next.0].source;
                let Some(at) = places.last().and_then(|last| traced.follow(*last, *next, source)) else {
                    failed = Some(*next);
                    break;
                };
                places.push((*next, at));
            }
            let left = branch.len() - places.len();
            if best.as_ref().is_none_or(|(known, ..)| left < *known) {
                best = Some((left, places, failed));
            }
        }
        let Some((_, places, failed)) = best else { return Ok(None) };
        self.along(traced, query, &places, failed).map(Some)
    }

    /// Every way from a stream to a row set.
    fn branches(&self, rows: RowSetId) -> Vec<Vec<RowSetId>> {
        let inputs = match &self.graph.row_sets[rows.0].source {
            RowSource::Stream(_) => return vec![vec![rows]],
            RowSource::Filter { input, .. } => std::slice::from_ref(input),
            RowSource::Union(inputs) => inputs,
        };
        let mut branches: Vec<Vec<RowSetId>> =
            inputs.iter().flat_map(|input| self.branches(*input)).collect();
        branches.iter_mut().for_each(|branch| branch.push(rows));
        branches
    }

    fn along(
        &self,
        traced: &Traced,
        query: usize,
        places: &[Place],
        failed: Option<RowSetId>,
    ) -> Result<QueryTrace, EngineError> {
        let mut trace = QueryTrace { hit: failed.is_none(), ..QueryTrace::default() };
        let mut read: Vec<(RowSetId, ColumnId)> = Vec::new();
        for filtered in places.iter().map(|(rows, _)| *rows).chain(failed) {
            let RowSource::Filter { input, predicate } = &self.graph.row_sets[filtered.0].source else {
                continue;
            };
            let Some((_, index)) = places.iter().find(|(rows, _)| rows == input) else { continue };
            for part in split_conjunction(predicate) {
                trace.conditions.push(self.condition(traced, (*input, *index), part)?);
                read.extend(columns_read(part).into_iter().map(|column| (*input, column)));
            }
        }
        for (rows, column) in read {
            self.columns(traced, places, (rows, column), &mut trace);
        }
        for (rows, column) in self.graph.reached(query) {
            trace.windows.extend(self.window_trace(traced, places, (rows, column)));
        }
        Ok(trace)
    }

    /// A column that a condition read: where it comes from a window, the windows tell.
    fn columns(
        &self,
        traced: &Traced,
        places: &[Place],
        (rows, column): (RowSetId, ColumnId),
        trace: &mut QueryTrace,
    ) {
        let known = &self.graph.row_sets[rows.0].columns[column.0];
        let Some((_, index)) = places.iter().find(|(own, _)| *own == rows) else { return };
        let Some(value) = traced.value(rows, column, *index) else { return };
        let defined = match &known.definition {
            Definition::Window(_) => return,
            Definition::Computed(expression) => {
                for input in columns_read(expression) {
                    self.columns(traced, places, (rows, input), trace);
                }
                Some(self.graph.words(rows, expression))
            }
            _ => None,
        };
        if trace.columns.iter().all(|(label, ..)| *label != known.label) {
            let defined = defined.filter(|defined| *defined != known.label);
            trace.columns.push((known.label.clone(), defined, value));
        }
    }

    fn window_trace(
        &self,
        traced: &Traced,
        places: &[Place],
        (rows, column): (RowSetId, ColumnId),
    ) -> Option<WindowTrace> {
        let known = &self.graph.row_sets[rows.0].columns[column.0];
        let Definition::Window(window) = &known.definition else { return None };
        let (_, index) = places.iter().find(|(own, _)| *own == rows)?;
        let label = |column: &ColumnId| self.graph.row_sets[rows.0].columns[column.0].label.clone();
        let key = |column: &ColumnId| Some((label(column), traced.value(rows, *column, *index)?));
        let lag = match window.function.aggregate.function {
            crate::window::Function::Lag { offset, .. } => Some(offset),
            _ => None,
        };
        Some(WindowTrace {
            rows,
            column,
            label: known.label.clone(),
            function: self.graph.window_words(rows, window),
            key: window.key.partition_by.iter().filter_map(key).collect(),
            arguments: window.arguments.iter().map(label).collect(),
            frame: window.function.aggregate.frame,
            lag,
            answer: traced.value(rows, column, *index)?,
        })
    }

    /// The rows of a batch that have the key of a window's answer and pass its filter.
    pub fn rows_of_key(&self, traced: &Traced, window: &WindowTrace) -> Result<Vec<KeyRow>, EngineError> {
        let data = &traced.data[window.rows.0];
        let Definition::Window(own) = &self.graph.row_sets[window.rows.0].columns[window.column.0].definition
        else {
            return Ok(Vec::new());
        };
        if data.rows.is_empty() {
            return Ok(Vec::new());
        }
        let column = |column: &ColumnId| data.columns[column.0].as_ref();
        let mut same = BooleanArray::from(vec![true; data.rows.len()]);
        for (key, (_, wanted)) in own.key.partition_by.iter().zip(&window.key) {
            let Some(values) = column(key) else { return Ok(Vec::new()) };
            same = and(&same, &not_distinct(values, &Scalar::new(wanted.clone()))?)?;
        }
        if let Some(filter) = own.filter.as_ref().and_then(column) {
            same = and(&same, &truths(filter))?;
        }
        let row = |index: usize| KeyRow {
            row: data.rows[index],
            arguments: own.arguments.iter().filter_map(|c| Some(column(c)?.slice(index, 1))).collect(),
        };
        Ok(same.values().set_indices().map(row).collect())
    }

    fn condition(&self, traced: &Traced, at: Place, expression: &Expr) -> Result<Condition, EngineError> {
        let truth = self.evaluated(traced, at, expression)?.and_then(|value| {
            let value = value.as_boolean_opt()?;
            value.is_valid(0).then(|| value.value(0))
        });
        let (mut comparison, mut parts) = (None, Vec::new());
        match expression {
            Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::Or | Operator::And), .. }) => {
                for part in split(expression, *op) {
                    parts.push(self.condition(traced, at, part)?);
                }
            }
            Expr::Not(inner) => parts.push(self.condition(traced, at, inner)?),
            Expr::BinaryExpr(binary) => comparison = self.comparison(traced, at, binary)?,
            _ => {}
        }
        Ok(Condition { text: self.graph.words(at.0, expression), truth, comparison, parts })
    }

    fn comparison(
        &self,
        traced: &Traced,
        at: Place,
        binary: &BinaryExpr,
    ) -> Result<Option<Comparison>, EngineError> {
        let operator = match binary.op {
            Operator::Eq => "=",
            Operator::NotEq => "<>",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            _ => return Ok(None),
        };
        let sides = (self.evaluated(traced, at, &binary.left)?, self.evaluated(traced, at, &binary.right)?);
        let (Some(left), Some(right)) = sides else { return Ok(None) };
        let measured = left.data_type().is_numeric() || matches!(left.data_type(), DataType::Timestamp(..));
        let margin = measured.then(|| sub(&left, &right).ok()).flatten();
        let (left_text, right_text) =
            (self.graph.words(at.0, &binary.left), self.graph.words(at.0, &binary.right));
        Ok(Some(Comparison { left_text, left, operator, right_text, right, margin }))
    }

    /// The value of an expression for one row; none where it fails.
    fn evaluated(
        &self,
        traced: &Traced,
        (rows, index): Place,
        expression: &Expr,
    ) -> Result<Option<ArrayRef>, EngineError> {
        let compiled = Compiled::new(&self.graph, rows, expression)?;
        let inputs: Option<Vec<ArrayRef>> =
            compiled.inputs.iter().map(|column| traced.value(rows, *column, index)).collect();
        let Some(inputs) = inputs else { return Ok(None) };
        let (value, failures) = compiled.evaluate(&inputs, 1)?;
        Ok(failures.is_empty().then_some(value))
    }
}

/// The parts that an operator joins.
fn split(expression: &Expr, operator: Operator) -> Vec<&Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == operator => {
            let mut parts = split(left, operator);
            parts.extend(split(right, operator));
            parts
        }
        _ => vec![expression],
    }
}
