//! What a window state is asked to keep: keys, arguments, filters, aggregates and their frames.
//!
//! Plain data, checked when a state is made from it ([`super::WindowState::new`]). A frame is two
//! distances back from the current row; there is no way to write one that looks ahead.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;

/// One state: all windows with the same `PARTITION BY` over the same rows.
#[derive(Clone, Debug, Default)]
pub struct WindowSpec {
    /// Types of the key columns; none means that all rows share one key.
    pub keys: Vec<DataType>,
    /// Types of the argument columns, which aggregates name by index.
    pub arguments: Vec<DataType>,
    /// How many filter columns come with each batch.
    pub filters: usize,
    /// What to answer for each row, in the order of the output columns.
    pub aggregates: Vec<Aggregate>,
}

/// One output column: a function over a frame.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// What is computed.
    pub function: Function,
    /// Indexes into [`WindowSpec::arguments`]; empty for `count(*)` and `row_number`.
    pub arguments: Vec<usize>,
    /// Index of the filter column; rows whose filter is false or null are not in the frame.
    pub filter: Option<usize>,
    /// Which rows of the key; `lag` and `row_number` have frames of their own and don't read it.
    pub frame: Frame,
    /// Type of the output column.
    pub output: DataType,
}

/// A window function.
#[derive(Clone, Debug)]
pub enum Function {
    /// Rows whose arguments are all not null; all rows where there is no argument. `Int64`.
    Count,
    /// Different values that are not null. `Int64`.
    CountDistinct,
    /// Sum: wrapping for 64-bit integers, exact for decimals, null if there is nothing to add.
    Sum,
    /// Mean: `Float64`, or a decimal truncated toward zero as DataFusion does.
    Avg,
    /// Least value; floats in total order.
    Min,
    /// Greatest value; floats in total order, so NaN is the greatest.
    Max,
    /// Sample standard deviation, null for fewer than two values.
    StddevSamp,
    /// Population standard deviation.
    StddevPop,
    /// Sample variance, null for fewer than two values.
    VarSamp,
    /// Population variance.
    VarPop,
    /// Whether all values are true.
    BoolAnd,
    /// Whether any value is true.
    BoolOr,
    /// Value of the frame's first row.
    FirstValue {
        /// Whether rows with a null argument are passed over.
        ignore_nulls: bool,
    },
    /// Value of the frame's last row.
    LastValue {
        /// Whether rows with a null argument are passed over.
        ignore_nulls: bool,
    },
    /// Value of the frame's n-th row.
    NthValue {
        /// From 1; negative counts from the frame's end.
        n: i64,
        /// Whether rows with a null argument are passed over.
        ignore_nulls: bool,
    },
    /// Value of the row that stands `offset` rows before the current one in the key's order.
    Lag {
        /// How many rows back; 0 is the current row.
        offset: usize,
        /// The answer where there is no such row: an array of length 1 and of the output type.
        default: Option<ArrayRef>,
    },
    /// Number of the row in its key, from 1.
    RowNumber,
    /// Any other function: gets all rows of the frame for each row, so its cost is the frame's
    /// length, and an `UNBOUNDED PRECEDING` frame keeps all rows of the key for ever.
    Custom(Arc<dyn FrameFunction>),
}

/// A function that is computed from all rows of a frame.
pub trait FrameFunction: Send + Sync + fmt::Debug {
    /// The answer for a frame, as an array of length 1 and of the aggregate's output type.
    ///
    /// Takes one array an argument: the frame's rows in time order, without those that the filter
    /// left out. An error touches only the row that was asked for, and its answer is null.
    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef, String>;
}

/// Which rows of the key a row sees, as distances back from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// By event time.
    Range {
        /// Microseconds before the row's time; none for `UNBOUNDED PRECEDING`.
        start: Option<i64>,
        /// Microseconds before the row's time; 0 for `CURRENT ROW`.
        end: i64,
    },
    /// By position in the key's order of (event time, arrival).
    Rows {
        /// Rows before the current one; none for `UNBOUNDED PRECEDING`.
        start: Option<usize>,
        /// Rows before the current one; 0 for `CURRENT ROW`.
        end: usize,
    },
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |micros: &i64| crate::event::Span(*micros);
        match self {
            Self::Range { start: None, end: 0 } => f.write_str("from the beginning"),
            Self::Range { start: None, end } => write!(f, "from the beginning to {} ago", span(end)),
            Self::Range { start: Some(start), end: 0 } => write!(f, "the last {}", span(start)),
            Self::Range { start: Some(start), end } => write!(f, "from {} to {} ago", span(start), span(end)),
            Self::Rows { start: None, .. } => f.write_str("rows from the beginning"),
            Self::Rows { start: Some(start), end } => write!(f, "rows {start} to {end} before"),
        }
    }
}

/// For which rows of a batch an aggregate is answered; the state is the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Asked {
    /// For all.
    #[default]
    Always,
    /// For those in a selection, by its index among those that come with the batch; the others are null.
    Within(usize),
}

/// What is known of how a state is used, which saves work and changes no answer that is read.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// What each aggregate is asked for; those past the end are answered for every row.
    pub asked: Vec<Asked>,
    /// Whether each argument column is free of nulls in every batch; those past the end may have some.
    pub never_null: Vec<bool>,
}

/// How a state is run; none of it changes an answer but `idle`.
#[derive(Clone, Debug)]
pub struct WindowSettings {
    /// Independent parts that rows are hashed to by key.
    pub shards: usize,
    /// Batches of fewer rows stay on the calling thread.
    pub parallel_rows_min: usize,
    /// Keys looked at for being empty, for each row of a batch.
    pub sweep_keys_per_row: usize,
    /// Microseconds that a key may be behind the watermark before its `ROWS` and
    /// `UNBOUNDED PRECEDING` state is forgotten; none keeps it for ever.
    pub idle: Option<i64>,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self { shards: 1, parallel_rows_min: 2048, sweep_keys_per_row: 2, idle: None }
    }
}

impl WindowSettings {
    /// Whether a batch of so many rows is worked on by several threads.
    pub(crate) fn is_parallel(&self, rows: usize) -> bool {
        self.shards > 1 && rows >= self.parallel_rows_min
    }
}

/// A batch of rows in order of arrival; all columns have the length of `times`.
#[derive(Clone, Copy, Debug)]
pub struct WindowInput<'a> {
    /// Event time of each row, microseconds.
    pub times: &'a [i64],
    /// Watermark in force at each row, lateness included; `i64::MIN` for none. Where one is lower
    /// than one before it, the one before it counts. In order, pass the row's own time.
    pub watermarks: &'a [i64],
    /// Key columns, of the types in [`WindowSpec::keys`].
    pub keys: &'a [ArrayRef],
    /// Argument columns, of the types in [`WindowSpec::arguments`].
    pub arguments: &'a [ArrayRef],
    /// Filter columns; null counts as false.
    pub filters: &'a [BooleanArray],
    /// What rows of equal key and time see of each other.
    pub ties: Ties,
}

/// What rows of equal key and time see of each other in `RANGE` frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// A row sees what arrived before it, and itself.
    ByArrival,
    /// The batch is sorted by time, and rows of equal key and time see each other, as in batch SQL.
    /// Rows of equal time must be in one batch; they share the watermark of the first of them.
    Together,
}

/// Answers to a batch.
#[derive(Clone, Debug, Default)]
pub struct WindowOutput {
    /// One column an aggregate, of its output type, with one value a row.
    pub columns: Vec<ArrayRef>,
    /// Rows whose answer could not be computed (it is null), by row and then by aggregate.
    pub errors: Vec<WindowError>,
}

/// One answer that could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowError {
    /// Row in the batch.
    pub row: usize,
    /// Index into [`WindowSpec::aggregates`].
    pub aggregate: usize,
    /// What went wrong.
    pub message: String,
}

/// What a state holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys.
    pub keys: usize,
    /// Buffered rows.
    pub events: usize,
    /// Memory in bytes: tables, buffers, long strings, accumulators.
    pub bytes: usize,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// A window that can't be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowSpecError {
    /// The function does not take such an argument or give such an output.
    #[error(
        "window aggregate {aggregate}: {function} over {argument} can't give {output}: cast the argument"
    )]
    Types {
        /// Index into [`WindowSpec::aggregates`].
        aggregate: usize,
        /// Name of the function.
        function: String,
        /// Types of the arguments.
        argument: String,
        /// The asked output type.
        output: String,
    },
    /// Anything else about one aggregate.
    #[error("window aggregate {aggregate}: {reason}")]
    Aggregate {
        /// Index into [`WindowSpec::aggregates`].
        aggregate: usize,
        /// What is wrong.
        reason: String,
    },
    /// A key or argument type that has no place in a buffer.
    #[error("window column of type {column}: {reason}")]
    Column {
        /// The type.
        column: String,
        /// What is wrong.
        reason: String,
    },
}

/// A batch that does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowInputError {
    /// Wrong number of columns, or a column of wrong length or type.
    #[error("window input: {0}")]
    Shape(String),
    /// Key or argument columns that Arrow can't put into rows, or answers it can't put into columns.
    #[error("window input: {0}")]
    Arrow(String),
}
