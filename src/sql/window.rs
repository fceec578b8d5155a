//! A window function of a plan as the window operator's [`Aggregate`].
//!
//! Takes DataFusion's `WindowFunction` with its coerced arguments and frame; hands on function, frame in
//! microseconds or rows, and arguments. An aggregate the operator does not know runs through DataFusion's
//! own `Accumulator` over the rows of each frame: exact, and slow.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{NullTreatment, WindowFunctionParams};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{
    AggregateUDF, Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use datafusion_physical_expr::{PhysicalExpr, expressions};

use super::catalog::Catalog;
use super::expression::substitute;
use super::ir::HashedAggregate;
use super::lower::Relation;
use crate::window::{Aggregate, Frame, FrameFunction, Function};

/// A window function with its expressions over the columns of a row set.
pub(super) struct Parts {
    pub definition: WindowFunctionDefinition,
    /// Arguments that are values of rows; constants are in `constants`.
    pub arguments: Vec<Expr>,
    pub constants: Vec<(usize, ScalarValue)>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<Expr>,
    pub filter: Option<Expr>,
    pub frame: WindowFrame,
    pub distinct: bool,
    pub ignore_nulls: bool,
}

/// Takes a window expression apart.
pub(super) fn parts(catalog: &Catalog, expression: &Expr, input: &Relation) -> Result<Parts> {
    let function = match expression {
        Expr::WindowFunction(function) => function,
        Expr::Alias(alias) => return parts(catalog, &alias.expr, input),
        other => return plan_err!("{other} is no window function"),
    };
    let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
        &function.params;
    let over = |expression: &Expr| substitute(catalog, expression, input);
    let mut parts = Parts {
        definition: function.fun.clone(),
        arguments: Vec::new(),
        constants: Vec::new(),
        partition_by: partition_by.iter().map(over).collect::<Result<_>>()?,
        order_by: order_by.iter().map(|sort| over(&sort.expr)).collect::<Result<_>>()?,
        filter: filter.as_deref().map(over).transpose()?,
        frame: window_frame.clone(),
        distinct: *distinct,
        ignore_nulls: *null_treatment == Some(NullTreatment::IgnoreNulls),
    };
    let counts_rows = parts.definition.name().eq_ignore_ascii_case("count") && !parts.distinct;
    for (index, argument) in args.iter().enumerate() {
        match over(argument)? {
            // What is aggregated is a value of each row even where it is the same for all.
            Expr::Literal(value, _) if index > 0 || counts_rows => parts.constants.push((index, value)),
            argument => parts.arguments.push(argument),
        }
    }
    Ok(parts)
}

/// What a window expression is ordered by, as it is written.
pub(super) fn order_by(expression: &Expr) -> Vec<Expr> {
    match expression {
        Expr::WindowFunction(function) => {
            function.params.order_by.iter().map(|sort| sort.expr.clone()).collect()
        }
        Expr::Alias(alias) => order_by(&alias.expr),
        _ => Vec::new(),
    }
}

/// The operator's form of a window function; argument and filter indexes are those of [`Parts`].
pub(super) fn aggregate(parts: &Parts, schema: &DFSchema, output: &DataType) -> Result<HashedAggregate> {
    let name = parts.definition.name().to_lowercase();
    let types =
        parts.arguments.iter().map(|argument| argument.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let known = known(parts, &name, &types)?;
    let function = match known {
        Some(function) => function,
        None => slow(parts, &types, output)?,
    };
    let frame = match &function {
        Function::Lag { offset, .. } => Frame::Rows { start: Some(*offset), end: 0 },
        Function::RowNumber => Frame::Rows { start: None, end: 0 },
        _ => frame(&parts.frame)?,
    };
    let constants: Vec<String> =
        parts.constants.iter().map(|(index, value)| format!("{index}={value:?}")).collect();
    let description = format!(
        "{name} distinct={} ignore_nulls={} {} {frame:?} {output}",
        parts.distinct,
        parts.ignore_nulls,
        constants.join(" ")
    );
    let aggregate = Aggregate {
        function,
        arguments: (0..parts.arguments.len()).collect(),
        filter: parts.filter.as_ref().map(|_| 0),
        frame,
        output: output.clone(),
    };
    Ok(HashedAggregate { aggregate, description })
}

/// The function by which the operator keeps running state; none where only an accumulator will do.
fn known(parts: &Parts, name: &str, types: &[DataType]) -> Result<Option<Function>> {
    let ignore_nulls = parts.ignore_nulls;
    let plain = matches!(types, [data_type] if buffered(data_type));
    let numeric = plain && types.iter().all(|t| t.is_numeric() || matches!(t, DataType::Decimal128(..)));
    Ok(Some(match (name, parts.distinct) {
        ("count", false) if types.is_empty() && parts.constants.iter().all(|(_, value)| !value.is_null()) => {
            Function::Count
        }
        ("count", false) if plain => Function::Count,
        ("count", true) if plain => Function::CountDistinct,
        ("sum", false) if numeric => Function::Sum,
        ("avg" | "mean", false) if numeric => Function::Avg,
        ("min", _) if plain => Function::Min,
        ("max", _) if plain => Function::Max,
        ("stddev" | "stddev_samp", false) if numeric => Function::StddevSamp,
        ("stddev_pop", false) if numeric => Function::StddevPop,
        ("var" | "var_samp" | "var_sample", false) if numeric => Function::VarSamp,
        ("var_pop" | "var_population", false) if numeric => Function::VarPop,
        ("bool_and", _) if plain => Function::BoolAnd,
        ("bool_or", _) if plain => Function::BoolOr,
        ("first_value", false) if plain => Function::FirstValue { ignore_nulls },
        ("last_value", false) if plain => Function::LastValue { ignore_nulls },
        ("nth_value", false) if plain => {
            let n = whole(parts.constants.first())?.unwrap_or(1);
            if n == 0 {
                return plan_err!(
                    "nth_value() counts from 1; write nth_value(x, 1) for the first row, -1 for the last"
                );
            }
            Function::NthValue { n, ignore_nulls }
        }
        ("lag", false) if plain => lag(parts, &types[0])?,
        ("row_number", false) => Function::RowNumber,
        _ => return Ok(None),
    }))
}

fn lag(parts: &Parts, data_type: &DataType) -> Result<Function> {
    if parts.ignore_nulls {
        return plan_err!(
            "lag() with IGNORE NULLS is not supported; last_value(x) IGNORE NULLS over a frame that ends before the row answers the same"
        );
    }
    let constant = |position: usize| parts.constants.iter().find(|(index, _)| *index == position);
    let offset = whole(constant(1))?.unwrap_or(1);
    let Ok(offset) = usize::try_from(offset) else {
        return plan_err!(
            "lag() reads rows before this one; its second argument is how many rows back, 0 or more"
        );
    };
    let default = match constant(2) {
        Some((_, value)) if !value.is_null() => Some(value.cast_to(data_type)?.to_array()?),
        _ => None,
    };
    Ok(Function::Lag { offset, default })
}

fn whole(constant: Option<&(usize, ScalarValue)>) -> Result<Option<i64>> {
    let Some((_, value)) = constant else { return Ok(None) };
    match value.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(number) => Ok(number),
        other => plan_err!("{other} is no whole number"),
    }
}

/// Types whose values the operator holds itself.
fn buffered(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Boolean
        )
        || matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
        || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary)
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    match frame.units {
        WindowFrameUnits::Range => {
            let end = match &frame.end_bound {
                WindowFrameBound::CurrentRow => 0,
                bound => match micros(bound)? {
                    Some(micros) => micros,
                    None => return plan_err!("a frame can't end at UNBOUNDED PRECEDING"),
                },
            };
            let start = match &frame.start_bound {
                WindowFrameBound::CurrentRow => Some(0),
                bound => micros(bound)?,
            };
            if start.is_some_and(|start| start < end) {
                return plan_err!("the frame starts after it ends; write the longer PRECEDING first");
            }
            Ok(Frame::Range { start, end })
        }
        WindowFrameUnits::Rows => {
            let end = match &frame.end_bound {
                WindowFrameBound::CurrentRow => 0,
                bound => match rows(bound)? {
                    Some(rows) => rows,
                    None => return plan_err!("a frame can't end at UNBOUNDED PRECEDING"),
                },
            };
            let start = match &frame.start_bound {
                WindowFrameBound::CurrentRow => Some(0),
                bound => rows(bound)?,
            };
            if start.is_some_and(|start| start < end) {
                return plan_err!("the frame starts after it ends; write the longer PRECEDING first");
            }
            Ok(Frame::Rows { start, end })
        }
        WindowFrameUnits::Groups => {
            plan_err!("GROUPS frames are not supported; use RANGE with an interval, or ROWS with a count")
        }
    }
}

/// A bound in microseconds before the current row; none for UNBOUNDED. A day is 24 hours.
fn micros(bound: &WindowFrameBound) -> Result<Option<i64>> {
    let WindowFrameBound::Preceding(value) = bound else {
        return plan_err!("FOLLOWING takes in rows that have not arrived; end the frame at CURRENT ROW");
    };
    let micros = match value {
        value if value.is_null() => return Ok(None),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i128::from(interval.days) * 86_400_000_000 + i128::from(interval.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i128::from(interval.days) * 86_400_000_000 + i128::from(interval.milliseconds) * 1_000
        }
        ScalarValue::IntervalMonthDayNano(_) | ScalarValue::IntervalYearMonth(_) => {
            return plan_err!(
                "months and years differ in length, so a window can't be measured in them; count days instead"
            );
        }
        other => {
            return plan_err!(
                "a RANGE frame over event time is measured in INTERVALs, not in {other}; write INTERVAL '10 minutes' PRECEDING"
            );
        }
    };
    match i64::try_from(micros) {
        Ok(micros) if micros >= 0 => Ok(Some(micros)),
        _ => plan_err!(
            "a frame's interval can't be negative or longer than 292,000 years; PRECEDING already means before"
        ),
    }
}

fn rows(bound: &WindowFrameBound) -> Result<Option<usize>> {
    let WindowFrameBound::Preceding(value) = bound else {
        return plan_err!("FOLLOWING takes in rows that have not arrived; end the frame at CURRENT ROW");
    };
    if value.is_null() {
        return Ok(None);
    }
    match value.cast_to(&DataType::UInt64)? {
        ScalarValue::UInt64(Some(rows)) => Ok(usize::try_from(rows).ok()),
        other => plan_err!("a ROWS frame counts rows, not {other}"),
    }
}

/// An aggregate through DataFusion's accumulator.
fn slow(parts: &Parts, types: &[DataType], output: &DataType) -> Result<Function> {
    let WindowFunctionDefinition::AggregateUDF(function) = &parts.definition else {
        return plan_err!(
            "{}() can't be answered while the stream runs; the README lists the window functions that can",
            parts.definition.name()
        );
    };
    let fields: Vec<Field> =
        types.iter().enumerate().map(|(index, t)| Field::new(format!("a{index}"), t.clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut rows = 0;
    let mut arguments: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for position in 0..parts.arguments.len() + parts.constants.len() {
        arguments.push(match parts.constants.iter().find(|(index, _)| *index == position) {
            Some((_, value)) => expressions::lit(value.clone()),
            None => {
                rows += 1;
                Arc::new(expressions::Column::new(&format!("a{}", rows - 1), rows - 1))
            }
        });
    }
    let accumulated = Accumulated {
        function: Arc::clone(function),
        distinct: parts.distinct,
        ignore_nulls: parts.ignore_nulls,
        schema,
        arguments,
        output: Arc::new(Field::new("value", output.clone(), true)),
    };
    accumulated.evaluate_rows(&types.iter().map(arrow::array::new_empty_array).collect::<Vec<_>>())?;
    Ok(Function::Custom(Arc::new(accumulated)))
}

/// A DataFusion aggregate, run over the rows of one frame at a time.
struct Accumulated {
    function: Arc<AggregateUDF>,
    distinct: bool,
    ignore_nulls: bool,
    schema: Arc<Schema>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    output: FieldRef,
}

impl fmt::Debug for Accumulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())
    }
}

impl Accumulated {
    fn evaluate_rows(&self, rows: &[ArrayRef]) -> Result<ArrayRef> {
        let fields = self
            .arguments
            .iter()
            .map(|argument| argument.return_field(&self.schema))
            .collect::<Result<Vec<_>>>()?;
        let mut accumulator = self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.output),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: self.distinct,
            exprs: &self.arguments,
            expr_fields: &fields,
        })?;
        let count = rows.first().map_or(0, arrow::array::Array::len);
        let batch = arrow::record_batch::RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            rows.to_vec(),
            &arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(count)),
        )?;
        let values = self
            .arguments
            .iter()
            .map(|argument| argument.evaluate(&batch)?.into_array(count))
            .collect::<Result<Vec<_>>>()?;
        accumulator.update_batch(&values)?;
        accumulator.evaluate()?.to_array()
    }
}

impl FrameFunction for Accumulated {
    fn evaluate(&self, arguments: &[ArrayRef]) -> std::result::Result<ArrayRef, String> {
        self.evaluate_rows(arguments).map_err(|failure| failure.strip_backtrace())
    }
}
