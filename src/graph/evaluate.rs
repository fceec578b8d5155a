//! One compiled expression, evaluated so that a bad row costs that row only.
//!
//! Takes columns, hands on values and the rows that failed. A batch that fails or panics is evaluated again
//! row by row; a failed row's value is null.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::EngineError;
use super::comparison::WithLiteral;
use crate::sql::{ColumnId, RowSetId, RuleGraph, columns_read};

/// An expression and the columns it reads.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Columns of the row set, in the order of `schema`.
    pub inputs: Vec<ColumnId>,
    /// Whether the expression is nothing but its one input.
    pub plain: bool,
    schema: SchemaRef,
    expression: Arc<dyn PhysicalExpr>,
    /// The same where it only compares.
    comparison: Option<WithLiteral>,
    data_type: DataType,
}

/// A row that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Index in the evaluated rows.
    pub row: usize,
    pub message: String,
    pub panicked: bool,
}

impl Compiled {
    /// Compiles an expression over the columns of a row set.
    pub(super) fn new(graph: &RuleGraph, rows: RowSetId, expression: &Expr) -> Result<Self, EngineError> {
        let inputs: Vec<ColumnId> = columns_read(expression).into_iter().collect();
        let columns = &graph.row_sets[rows.0].columns;
        let field = |column: &ColumnId| Field::new(column.name(), columns[column.0].data_type.clone(), true);
        let schema = Arc::new(Schema::new(inputs.iter().map(field).collect::<Vec<_>>()));
        let compiled = DFSchema::try_from(Arc::clone(&schema)).and_then(|named| {
            create_physical_expr(
                expression,
                &named,
                &ExecutionProps::new(),
                &PhysicalPlanningContext::default(),
            )
        });
        let typed = compiled.and_then(|expression| Ok((expression.data_type(&schema)?, expression)));
        let failed = |cause: datafusion_common::DataFusionError| EngineError::Expression {
            expression: expression.to_string(),
            cause: cause.strip_backtrace(),
        };
        let (data_type, physical) = typed.map_err(failed)?;
        let plain = matches!(expression, Expr::Column(_));
        let comparison = WithLiteral::of(&physical, &schema);
        Ok(Self { inputs, plain, schema, expression: physical, comparison, data_type })
    }

    /// Values over `rows` rows of the given input columns, and the rows that failed.
    pub(super) fn evaluate(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(ArrayRef, Vec<Failure>), EngineError> {
        if self.plain {
            return Ok((Arc::clone(&columns[0]), Vec::new()));
        }
        if let Some(comparison) = &self.comparison {
            return Ok((comparison.evaluate(columns)?, Vec::new()));
        }
        match self.attempt(columns, rows) {
            Ok(values) => Ok((values, Vec::new())),
            Err(_) => self.row_by_row(columns, rows),
        }
    }

    fn row_by_row(&self, columns: &[ArrayRef], rows: usize) -> Result<(ArrayRef, Vec<Failure>), EngineError> {
        let mut values = Vec::with_capacity(rows);
        let mut failures = Vec::new();
        for row in 0..rows {
            let one: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
            values.push(self.attempt(&one, 1).unwrap_or_else(|(message, panicked)| {
                failures.push(Failure { row, message, panicked });
                new_null_array(&self.data_type, 1)
            }));
        }
        let parts: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok((concat(&parts)?, failures))
    }

    fn attempt(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef, (String, bool)> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.to_vec(), &options)
            .map_err(|failure| (failure.to_string(), false))?;
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.expression.evaluate(&batch)?.into_array(rows)));
        match evaluated {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(failure)) => Err((kind_of_failure(&failure), false)),
            Err(_) => Err(("the evaluation panicked".to_owned(), true)),
        }
    }
}

/// What kind of failure it was; the library's own text may quote values of the row, so it is not kept.
fn kind_of_failure(failure: &datafusion_common::DataFusionError) -> String {
    use arrow::error::ArrowError;
    use datafusion_common::DataFusionError;
    match failure.find_root() {
        DataFusionError::ArrowError(cause, _) => match cause.as_ref() {
            ArrowError::DivideByZero => "division by zero",
            ArrowError::ArithmeticOverflow(_) => "a number out of the range of its type",
            ArrowError::CastError(_) => "a value that can't be cast",
            ArrowError::ParseError(_) => "a text that can't be read as the type asked for",
            _ => "a value that an expression can't take",
        },
        _ => "a value that a function can't take",
    }
    .to_owned()
}
