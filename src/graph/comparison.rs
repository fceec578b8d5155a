//! A comparison of a column with a literal: the same kernel of arrow, without what an expression costs around it.
//!
//! Most conditions on a row itself are such comparisons, and where events come in ones and twos the batch, the value made
//! from the literal and the search for zeros with a sign cost more than the comparison.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

/// `column < literal` and the like, of one type.
#[derive(Debug)]
pub(super) struct WithLiteral {
    column: usize,
    kernel: Kernel,
    literal: Scalar<ArrayRef>,
}

impl WithLiteral {
    /// The comparison that an expression is; none where it is something else, or where the library does more than
    /// compare: for null, for zeros of floats (`-0.0 = 0.0`) and for types with parts.
    pub(super) fn of(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let binary = expression.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (binary.left(), binary.right());
        let (column, literal, operator) =
            match (left.downcast_ref::<Column>(), right.downcast_ref::<Column>()) {
                (Some(column), None) => (column, right.downcast_ref::<Literal>()?, *binary.op()),
                (None, Some(column)) => (column, left.downcast_ref::<Literal>()?, binary.op().swap()?),
                _ => return None,
            };
        let value = literal.value();
        let of_type = schema.field(column.index()).data_type();
        let zero = matches!(value, ScalarValue::Float64(Some(0.0)) | ScalarValue::Float32(Some(0.0)));
        let plain = match of_type {
            // Its zero is no pattern.
            DataType::Float16 => false,
            DataType::Utf8 | DataType::Utf8View => true,
            of_type => of_type.is_primitive(),
        };
        if value.is_null() || value.data_type() != *of_type || zero || !plain {
            return None;
        }
        let kernel: Kernel = match operator {
            Operator::Eq => cmp::eq,
            Operator::NotEq => cmp::neq,
            Operator::Lt => cmp::lt,
            Operator::LtEq => cmp::lt_eq,
            Operator::Gt => cmp::gt,
            Operator::GtEq => cmp::gt_eq,
            _ => return None,
        };
        Some(Self { column: column.index(), kernel, literal: value.to_scalar().ok()? })
    }

    /// True, false or null for each row; fails for a column of another type.
    pub(super) fn evaluate(&self, columns: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
        let column: &dyn Array = &*columns[self.column];
        Ok(Arc::new((self.kernel)(&column, &self.literal)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Field;
    use arrow::record_batch::RecordBatch;

    use super::*;

    const OPERATORS: [Operator; 6] =
        [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

    /// Both ways round, by the library and here; how often it was compared here.
    fn agree(values: &ArrayRef, literals: &[ScalarValue]) -> usize {
        let schema = Arc::new(Schema::new(vec![Field::new("value", values.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(values)]).expect("a batch");
        let column = || Arc::new(Column::new("value", 0)) as Arc<dyn PhysicalExpr>;
        let mut compared = 0;
        for literal in literals {
            let literal = || Arc::new(Literal::new(literal.clone())) as Arc<dyn PhysicalExpr>;
            for operator in OPERATORS {
                for (left, right) in [(column(), literal()), (literal(), column())] {
                    let whole: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(left, operator, right));
                    let Some(own) = WithLiteral::of(&whole, &schema) else { continue };
                    let expected = whole.evaluate(&batch).and_then(|value| value.into_array(values.len()));
                    let found = own.evaluate(&[Arc::clone(values)]).expect("same types");
                    assert_eq!(&found, &expected.expect("same types"), "{whole}");
                    compared += 1;
                }
            }
        }
        compared
    }

    #[test]
    fn a_column_against_a_literal_is_what_the_library_says_of_it() {
        let whole = [None, Some(-1), Some(0), Some(7), Some(i64::MAX)];
        let numbers: ArrayRef = Arc::new(Int64Array::from(whole.to_vec()));
        assert_eq!(agree(&numbers, &[0_i64, 7].map(ScalarValue::from)), 24);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(whole.to_vec()));
        assert_eq!(agree(&times, &[ScalarValue::TimestampMicrosecond(Some(7), None)]), 12);
        let decimals = Decimal128Array::from(vec![None, Some(-1), Some(0), Some(700)]);
        let decimals: ArrayRef = Arc::new(decimals.with_precision_and_scale(12, 2).expect("fits"));
        assert_eq!(agree(&decimals, &[ScalarValue::Decimal128(Some(700), 12, 2)]), 12);
        let floats = [f64::NAN, -f64::NAN, -0.0, 0.0, 0.5, -0.5, f64::INFINITY, f64::NEG_INFINITY];
        let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
        assert_eq!(agree(&floats, &[0.5, f64::NAN, f64::INFINITY].map(ScalarValue::from)), 36);
        let texts = [None, Some(""), Some("ab"), Some("a longer text than a view holds")];
        let texts: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
        assert_eq!(agree(&texts, &[ScalarValue::Utf8View(Some("ab".to_owned()))]), 12);
    }

    #[test]
    fn nulls_zeros_and_other_types_are_left_to_the_library() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, 1.0]));
        let literals = [ScalarValue::from(0.0), ScalarValue::from(-0.0), ScalarValue::Float64(None)];
        assert_eq!(agree(&floats, &literals), 0);
        assert_eq!(agree(&floats, &[ScalarValue::from(1_i64)]), 0);
    }
}
