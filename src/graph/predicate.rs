//! A filter: its conjuncts one after the other, each on the rows the ones before it left.
//!
//! Takes columns, hands on a mask. The cheap conjuncts come first, and once few rows are left the rest are
//! evaluated on those alone. A conjunct that fails has the whole predicate evaluated row by row instead,
//! so that `x <> 0 AND 1 / x > 2` is answered for each row as it is written.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, filter, prep_null_mask_filter};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;
use datafusion_expr::utils::split_conjunction;

use super::EngineError;
use super::evaluate::{Compiled, Failure};
use crate::sql::{ColumnId, RowSetId, RuleGraph};

/// Below one selected row in so many, the remaining conjuncts run on the selected rows alone.
const SPARSE: usize = 4;

/// A compiled filter.
#[derive(Debug)]
pub(super) struct Predicate {
    whole: Compiled,
    conjuncts: Vec<Compiled>,
}

impl Predicate {
    /// Compiles a predicate over the columns of a row set.
    pub(super) fn new(graph: &RuleGraph, rows: RowSetId, predicate: &Expr) -> Result<Self, EngineError> {
        let mut parts = split_conjunction(predicate);
        parts.sort_by_key(|part| weight(part));
        let conjuncts =
            parts.into_iter().map(|part| Compiled::new(graph, rows, part)).collect::<Result<_, _>>()?;
        Ok(Self { whole: Compiled::new(graph, rows, predicate)?, conjuncts })
    }

    /// Which rows pass, and which could not be judged; `column` gives a column of the row set.
    pub(super) fn select(
        &self,
        rows: usize,
        column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
    ) -> Result<(BooleanArray, Vec<Failure>), EngineError> {
        let mut selected: Option<BooleanArray> = None;
        for conjunct in &self.conjuncts {
            let inputs = conjunct.inputs.iter().map(|input| column(*input)).collect::<Result<Vec<_>, _>>()?;
            let left = selected.as_ref().map_or(rows, BooleanArray::true_count);
            let (mask, failures) = match &selected {
                _ if left == 0 => break,
                Some(mask) if left * SPARSE < rows => {
                    let few =
                        inputs.iter().map(|input| filter(input, mask)).collect::<Result<Vec<_>, _>>()?;
                    let (passed, failures) = conjunct.evaluate(&few, left)?;
                    (scattered(mask, &truths(&passed)), failures)
                }
                _ => {
                    let (passed, failures) = conjunct.evaluate(&inputs, rows)?;
                    (truths(&passed), failures)
                }
            };
            if !failures.is_empty() {
                return self.select_row_by_row(rows, column);
            }
            selected = Some(match &selected {
                Some(before) => and(before, &mask)?,
                None => mask,
            });
        }
        Ok((selected.unwrap_or_else(|| BooleanArray::from(vec![true; rows])), Vec::new()))
    }

    fn select_row_by_row(
        &self,
        rows: usize,
        column: impl Fn(ColumnId) -> Result<ArrayRef, EngineError>,
    ) -> Result<(BooleanArray, Vec<Failure>), EngineError> {
        let inputs = self.whole.inputs.iter().map(|input| column(*input)).collect::<Result<Vec<_>, _>>()?;
        let (passed, failures) = self.whole.evaluate(&inputs, rows)?;
        Ok((truths(&passed), failures))
    }
}

/// True where the predicate is true; null is not true.
fn truths(values: &ArrayRef) -> BooleanArray {
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
