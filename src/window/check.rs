//! Whether an aggregate can be kept: its indexes, its frame, its types.
//!
//! Takes one [`Aggregate`] of a spec, hands on what the planner may rely on, or the reason against it.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::column::{Column, Encoding, Flag, Layout};
use super::measure::Kind;
use super::output::Constant;
use super::spec::{Aggregate, Frame, Function, WindowSpec, WindowSpecError};

/// The frame that an aggregate really has.
pub(super) fn frame_of(aggregate: &Aggregate) -> Frame {
    match aggregate.function {
        Function::Lag { offset, .. } => Frame::Rows { start: Some(offset), end: offset },
        Function::RowNumber => Frame::Rows { start: None, end: 0 },
        _ => aggregate.frame,
    }
}

/// An aggregate whose indexes, frame and types are known to be good.
pub(super) struct Checked<'a> {
    index: usize,
    pub(super) aggregate: &'a Aggregate,
    pub(super) columns: Vec<Column>,
    pub(super) filter: Option<Flag>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(
        spec: &WindowSpec,
        layout: &Layout,
        index: usize,
        aggregate: &'a Aggregate,
    ) -> Result<Self, WindowSpecError> {
        let error = |reason: String| WindowSpecError::Aggregate { aggregate: index, reason };
        let mut columns = Vec::new();
        for argument in &aggregate.arguments {
            let column = layout.columns.get(*argument).filter(|_| *argument < spec.arguments.len());
            columns.push(*column.ok_or_else(|| error(format!("there is no argument column {argument}")))?);
        }
        let filter = match aggregate.filter {
            None => None,
            Some(filter) => {
                let flag = layout.filters.get(filter);
                Some(*flag.ok_or_else(|| error(format!("there is no filter column {filter}")))?)
            }
        };
        if let Frame::Range { start, end } = aggregate.frame
            && (end < 0 || start.is_some_and(|start| start < 0))
        {
            return Err(error(
                "a frame can't reach past the current row: the future is not known".to_owned(),
            ));
        }
        if matches!(aggregate.function, Function::NthValue { n: 0, .. }) {
            return Err(error("nth_value counts from 1".to_owned()));
        }
        let checked = Self { index, aggregate, columns, filter };
        if checked.types_fit(spec) {
            return Ok(checked);
        }
        let names: Vec<String> =
            checked.columns.iter().map(|column| spec.arguments[column.source].to_string()).collect();
        Err(WindowSpecError::Types {
            aggregate: index,
            function: function_name(&aggregate.function).to_owned(),
            argument: names.join(", "),
            output: aggregate.output.to_string(),
        })
    }

    /// A default of `lag`, ready to be written.
    pub(super) fn constant(&self, default: &ArrayRef) -> Result<Constant, WindowSpecError> {
        let output = &self.aggregate.output;
        let fits = default.len() == 1 && default.data_type() == output;
        fits.then(|| Constant::new(default)).flatten().ok_or_else(|| WindowSpecError::Aggregate {
            aggregate: self.index,
            reason: format!("the default of lag must be one value of type {output}"),
        })
    }

    fn types_fit(&self, spec: &WindowSpec) -> bool {
        let output = &self.aggregate.output;
        match (&self.aggregate.function, self.columns.as_slice()) {
            (Function::Count, _) => *output == DataType::Int64,
            (Function::RowNumber, []) => matches!(output, DataType::Int64 | DataType::UInt64),
            (Function::Custom(_), _) => true,
            (function, [column]) => fits(function, column, &spec.arguments[column.source], output),
            _ => false,
        }
    }

    pub(super) fn sum_kind(&self) -> Kind {
        let column = self.columns.first();
        match &self.aggregate.output {
            _ if column.is_some_and(|column| column.encoding == Encoding::Float) => Kind::SumFloat,
            DataType::Int64 | DataType::UInt64 => Kind::SumWord,
            _ => Kind::SumWide,
        }
    }
}

fn fits(function: &Function, column: &Column, argument: &DataType, output: &DataType) -> bool {
    use DataType as T;
    let decimal = matches!(argument, T::Decimal128(_, _));
    let integer = argument.is_integer();
    let float = matches!(argument, T::Float32 | T::Float64);
    match function {
        Function::CountDistinct => *output == T::Int64,
        Function::Sum => match output {
            T::Int64 | T::UInt64 => integer,
            T::Float64 => integer || float,
            T::Decimal128(_, scale) => decimal && *scale == column.scale,
            _ => false,
        },
        Function::Avg => match output {
            T::Float64 => integer || float || decimal,
            T::Decimal128(_, scale) => decimal && *scale >= column.scale,
            _ => false,
        },
        Function::StddevSamp | Function::StddevPop | Function::VarSamp | Function::VarPop => {
            *output == T::Float64 && (integer || float || decimal)
        }
        Function::BoolAnd | Function::BoolOr => *argument == T::Boolean && *output == T::Boolean,
        _ => argument == output,
    }
}

fn function_name(function: &Function) -> &'static str {
    match function {
        Function::Count => "count",
        Function::CountDistinct => "count distinct",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
        Function::StddevSamp => "stddev_samp",
        Function::StddevPop => "stddev_pop",
        Function::VarSamp => "var_samp",
        Function::VarPop => "var_pop",
        Function::BoolAnd => "bool_and",
        Function::BoolOr => "bool_or",
        Function::FirstValue { .. } => "first_value",
        Function::LastValue { .. } => "last_value",
        Function::NthValue { .. } => "nth_value",
        Function::Lag { .. } => "lag",
        Function::RowNumber => "row_number",
        Function::Custom(_) => "custom function",
    }
}
