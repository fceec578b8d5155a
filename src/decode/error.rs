//! What can be wrong with a binding or with the columns of a file, found before the first record.

/// A contract, binding or file that can't be decoded at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A binding names a column that the stream doesn't have.
    #[error(
        "[streams.{stream}.fields] binds `{column}`, which is no column of the stream{hint} (its columns: {valid})"
    )]
    UnknownColumn {
        /// Stream of the contract.
        stream: String,
        /// Name in the settings.
        column: String,
        /// The nearest column, as a sentence's end.
        hint: String,
        /// All columns.
        valid: String,
    },
    /// A path that can't be split into names.
    #[error("path `{path}` of column `{column}` in [streams.{stream}.fields] can't be read: {fault}")]
    Path {
        /// Stream of the contract.
        stream: String,
        /// Bound column.
        column: String,
        /// Path in the settings.
        path: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// One path is bound as a value and as an object that holds values.
    #[error(
        "column `{column}` in [streams.{stream}.fields] is read from `{path}`, where another column needs an object and not a value (or the other way round): bind each column to a value"
    )]
    PathConflict {
        /// Stream of the contract.
        stream: String,
        /// Column at whose path the conflict was found.
        column: String,
        /// That path.
        path: String,
    },
    /// A unit that doesn't fit the column's type.
    #[error("`{key}` of column `{column}` in [streams.{stream}.fields] {fault}")]
    Unit {
        /// Stream of the contract.
        stream: String,
        /// Bound column.
        column: String,
        /// `unit` or `minor_units`.
        key: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// A type that records can't be decoded into.
    #[error(
        "column `{column}` of stream `{stream}` has type {column_type}, which records are not decoded into: use BOOLEAN, an integer type, REAL, DOUBLE, DECIMAL(p, s) with p up to 38, VARCHAR, DATE or TIMESTAMP"
    )]
    Type {
        /// Stream of the contract.
        stream: String,
        /// Column of the contract.
        column: String,
        /// Its type.
        column_type: String,
    },
    /// The stream's own description does not hold together.
    #[error("stream `{stream}` can't be decoded: {fault}")]
    Stream {
        /// Stream of the contract.
        stream: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A file lacks columns or has some of a type that can't be cast.
    #[error(
        "the columns don't fit stream `{stream}` of the contract: {faults} (columns of the file: {columns})"
    )]
    Columns {
        /// Stream of the contract.
        stream: String,
        /// All faults, joined by `; `.
        faults: String,
        /// All columns of the file.
        columns: String,
    },
}
