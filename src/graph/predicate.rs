//! A filter: its conjuncts one after the other, each on the rows the ones before it left.
//!
//! Takes columns, hands on a mask. The cheap conjuncts come first, and once few rows are left the rest are
//! evaluated on those alone. A conjunct that fails has the whole predicate evaluated row by row instead,
//! so that `x <> 0 AND 1 / x > 2` is answered for each row as it is written.
//!
//! A filter over the answers of windows comes in two parts: conjuncts that read no answer say which rows can
//! still pass, before the windows run; the rest are evaluated on those rows alone, since the windows answer
//! no others. Where an early conjunct fails, every row is answered and judged row by row.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, filter, prep_null_mask_filter};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;
use datafusion_expr::utils::split_conjunction;

use super::EngineError;
use super::evaluate::{Compiled, Failure};
use crate::sql::{ColumnId, RowSetId, RuleGraph, columns_read};

/// Below one selected row in so many, the remaining conjuncts run on the selected rows alone.
const SPARSE: usize = 4;

/// A compiled filter, or what an early part leaves of it.
#[derive(Debug)]
pub(super) struct Predicate {
    whole: Compiled,
    conjuncts: Vec<Compiled>,
}

/// The conjuncts of a filter that read no answer of a window over the filtered rows.
#[derive(Debug)]
pub(super) struct EarlyPart {
    conjuncts: Vec<Compiled>,
}

/// What the early part of a filter found.
#[derive(Debug, Clone)]
pub(super) enum Passed {
    /// The rows that can still pass.
    Rows(BooleanArray),
    /// It failed on some row: all rows can pass, and must be judged by the whole predicate.
    Undecided,
}

/// The conjuncts of a predicate that read only columns which are known early.
pub(super) fn early_conjuncts(predicate: &Expr, known: impl Fn(ColumnId) -> bool) -> Vec<&Expr> {
    let early = |part: &&Expr| columns_read(part).into_iter().all(&known);
    split_conjunction(predicate).into_iter().filter(early).collect()
}

impl EarlyPart {
    /// Compiles conjuncts over the columns of a row set.
    pub(super) fn new(graph: &RuleGraph, rows: RowSetId, early: Vec<&Expr>) -> Result<Self, EngineError> {
        Ok(Self { conjuncts: compiled(graph, rows, early)? })
    }

    /// Which rows can still pass; `column` gives a column of the row set.
    pub(super) fn select(
        &self,
        rows: usize,
        column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
    ) -> Result<Passed, EngineError> {
        let passed = narrow(&self.conjuncts, None, rows, column)?;
        Ok(passed.map_or(Passed::Undecided, Passed::Rows))
    }
}

impl Predicate {
    /// Compiles a predicate over the columns of a row set, less the conjuncts of its early part.
    pub(super) fn new(
        graph: &RuleGraph,
        rows: RowSetId,
        predicate: &Expr,
        early: &[&Expr],
    ) -> Result<Self, EngineError> {
        let mut parts = split_conjunction(predicate);
        parts.retain(|part| !early.contains(part));
        Ok(Self { whole: Compiled::new(graph, rows, predicate)?, conjuncts: compiled(graph, rows, parts)? })
    }

    /// Which rows pass, and which could not be judged; `early` is what the early part found, if there is
    /// one, and `column` gives a column of the row set.
    pub(super) fn select(
        &self,
        rows: usize,
        early: Option<&Passed>,
        column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
    ) -> Result<(BooleanArray, Vec<Failure>), EngineError> {
        let within = match early {
            None => None,
            Some(Passed::Rows(passed)) => Some(passed),
            Some(Passed::Undecided) => return self.select_row_by_row(rows, None, column),
        };
        match narrow(&self.conjuncts, within, rows, &column)? {
            Some(selected) => Ok((selected, Vec::new())),
            None => self.select_row_by_row(rows, within, column),
        }
    }

    fn select_row_by_row(
        &self,
        rows: usize,
        within: Option<&BooleanArray>,
        column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
    ) -> Result<(BooleanArray, Vec<Failure>), EngineError> {
        let inputs = self.whole.inputs.iter().map(|input| column(*input)).collect::<Result<Vec<_>, _>>()?;
        let Some(within) = within else {
            let (passed, failures) = self.whole.evaluate(&inputs, rows)?;
            return Ok((truths(&passed), failures));
        };
        let few = inputs.iter().map(|input| filter(input, within)).collect::<Result<Vec<_>, _>>()?;
        let (passed, mut failures) = self.whole.evaluate(&few, within.true_count())?;
        let places: Vec<usize> = within.values().set_indices().collect();
        failures.iter_mut().for_each(|failure| failure.row = places[failure.row]);
        Ok((scattered(within, &truths(&passed)), failures))
    }
}

/// Conjuncts in the order in which they are evaluated.
fn compiled(graph: &RuleGraph, rows: RowSetId, mut parts: Vec<&Expr>) -> Result<Vec<Compiled>, EngineError> {
    parts.sort_by_key(|part| weight(part));
    parts.into_iter().map(|part| Compiled::new(graph, rows, part)).collect()
}

/// The rows for which all conjuncts are true; none if one of them failed. Outside of `within`, where it is
/// given, nothing is evaluated.
fn narrow(
    conjuncts: &[Compiled],
    within: Option<&BooleanArray>,
    rows: usize,
    column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
) -> Result<Option<BooleanArray>, EngineError> {
    let mut selected: Option<BooleanArray> = within.cloned();
    for conjunct in conjuncts {
        let left = selected.as_ref().map_or(rows, BooleanArray::true_count);
        if left == 0 {
            break;
        }
        let inputs = conjunct.inputs.iter().map(|input| column(*input)).collect::<Result<Vec<_>, _>>()?;
        let (mask, failures) = match &selected {
            Some(mask) if left * SPARSE < rows || (within.is_some() && left < rows) => {
                let few = inputs.iter().map(|input| filter(input, mask)).collect::<Result<Vec<_>, _>>()?;
                let (passed, failures) = conjunct.evaluate(&few, left)?;
                (scattered(mask, &truths(&passed)), failures)
            }
            _ => {
                let (passed, failures) = conjunct.evaluate(&inputs, rows)?;
                (truths(&passed), failures)
            }
        };
        if !failures.is_empty() {
            return Ok(None);
        }
        selected = Some(match &selected {
            Some(before) => and(before, &mask)?,
            None => mask,
        });
    }
    Ok(Some(selected.unwrap_or_else(|| BooleanArray::from(vec![true; rows]))))
}

/// True where the predicate is true; null is not true.
pub(super) fn truths(values: &ArrayRef) -> BooleanArray {
    let mask = values.as_boolean();
    if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) }
}

/// The mask over all rows of a mask over the selected ones.
fn scattered(selected: &BooleanArray, passed: &BooleanArray) -> BooleanArray {
    let mut bits = BooleanBufferBuilder::new(selected.len());
    bits.append_n(selected.len(), false);
    for (row, passed) in selected.values().set_indices().zip(passed.values().iter()) {
        bits.set_bit(row, passed);
    }
    let buffer: BooleanBuffer = bits.finish();
    BooleanArray::new(buffer, None)
}

/// What a conjunct costs, roughly: comparisons 1, functions and patterns 16.
fn weight(expression: &Expr) -> usize {
    let mut weight = 0;
    let _ = expression.apply(|part| {
        weight += match part {
            Expr::ScalarFunction(_) | Expr::Like(_) | Expr::SimilarTo(_) | Expr::Case(_) => 16,
            Expr::Column(_) | Expr::Literal(..) => 0,
            _ => 1,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    weight
}
