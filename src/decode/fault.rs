//! Why one record can't be decoded: small while rows are read, a sentence once it is a dead letter.
//!
//! No sentence holds a value of the record: it names columns, types and byte positions only.

use arrow::datatypes::DataType;
use jiter::{JiterError, JiterErrorType, JsonErrorType};

use crate::event::{Span, Stream};

/// What is wrong with a record; `usize` fields are column indexes in the contract.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    Tombstone,
    Oversize { bytes: usize, limit: usize },
    InvalidUtf8 { position: usize },
    Malformed { what: String, position: usize },
    TooDeep { limit: usize, position: usize },
    NotObject { found: &'static str },
    Missing(usize),
    NotAnObjectOnPath(usize),
    Mistyped(usize, ValueFault),
    OutOfRange(usize, ValueFault),
    Future { limit: Span },
    Row(String),
    NoDecoder,
    Panic,
}

/// Reason of a record without a stream, for which there is no contract to name.
pub(super) const NO_DECODER: &str = "the record's topic is bound to a stream that has no decoder";

/// What is wrong with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueFault {
    /// A value of another kind: what was found.
    Found(&'static str),
    /// Text that does not read as the type.
    Unreadable,
    /// A number for a timestamp that has no unit.
    NumberWithoutUnit,
    /// Text for a timestamp that is bound as a number of units.
    TextWithUnit,
    /// A fraction or an exponent where a whole number belongs.
    NotWhole,
    /// A decimal that would lose digits.
    TooManyFractionDigits,
    /// Past the type's range.
    TooLarge,
    /// A time outside the years 1 to 9999.
    YearOutOfRange,
}

/// A value's fault is of the type, or of the range.
pub(super) fn of_value(column: usize, fault: ValueFault) -> Fault {
    match fault {
        ValueFault::TooManyFractionDigits | ValueFault::TooLarge | ValueFault::YearOutOfRange => {
            Fault::OutOfRange(column, fault)
        }
        _ => Fault::Mistyped(column, fault),
    }
}

#[cold]
pub(super) fn of_json(error: &JiterError) -> Fault {
    let position = error.index;
    match &error.error_type {
        JiterErrorType::JsonError(JsonErrorType::InvalidUnicodeCodePoint) => Fault::InvalidUtf8 { position },
        JiterErrorType::JsonError(kind) => Fault::Malformed { what: words_of(kind), position },
        JiterErrorType::WrongType { .. } => Fault::Malformed { what: "not valid JSON".into(), position },
    }
}

fn words_of(kind: &JsonErrorType) -> String {
    match kind {
        JsonErrorType::EofWhileParsingList
        | JsonErrorType::EofWhileParsingObject
        | JsonErrorType::EofWhileParsingString
        | JsonErrorType::EofWhileParsingValue => "cut JSON, it ends".into(),
        JsonErrorType::DuplicateKey(_) | JsonErrorType::InternalError(_) => "not valid JSON".into(),
        kind => format!("not valid JSON, {kind}"),
    }
}

impl Fault {
    /// The short fixed word for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Oversize { .. } => "oversize",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::Malformed { .. } | Self::Row(_) => "malformed",
            Self::TooDeep { .. } => "too_deep",
            Self::NotObject { .. } => "not_object",
            Self::Missing(_) => "missing",
            Self::NotAnObjectOnPath(_) | Self::Mistyped(..) => "mistyped",
            Self::OutOfRange(..) => "out_of_range",
            Self::Future { .. } => "future",
            Self::NoDecoder => "unbound",
            Self::Panic => "panic",
        }
    }

    /// The sentence a dead letter carries.
    pub(super) fn reason(&self, stream: &Stream) -> String {
        match self {
            Self::Tombstone => "the payload is null (a tombstone), an event was expected".into(),
            Self::Oversize { bytes, limit } => {
                format!(
                    "the record is larger than record_bytes_max: at least {bytes} bytes, {limit} are allowed"
                )
            }
            Self::InvalidUtf8 { position } => format!("the record is not UTF-8 text at byte {position}"),
            Self::Malformed { what, position } => format!("{what} at byte {position}"),
            Self::TooDeep { limit, position } => {
                format!("objects and arrays are nested deeper than {limit} levels at byte {position}")
            }
            Self::NotObject { found } => format!("the record is {found}, a JSON object was expected"),
            Self::Missing(column) => {
                format!(
                    "column `{}` is NOT NULL and the record has no value for it",
                    name_of(stream, *column)
                )
            }
            Self::NotAnObjectOnPath(column) => {
                format!(
                    "column `{}` is inside an object, and the record has another value there",
                    name_of(stream, *column)
                )
            }
            Self::Mistyped(column, fault) | Self::OutOfRange(column, fault) => {
                let expected =
                    stream.schema.fields().get(*column).map_or("?".into(), |f| type_name(f.data_type()));
                let name = name_of(stream, *column);
                format!("column `{name}` expects {expected}, {}", fault.words(&expected))
            }
            Self::Future { limit } => format!(
                "event time `{}` is more than {limit} past the record's own Kafka timestamp",
                name_of(stream, stream.event_time)
            ),
            Self::Row(reason) => reason.clone(),
            Self::NoDecoder => NO_DECODER.into(),
            Self::Panic => "decoding this record failed inside the program: please report it".into(),
        }
    }
}

impl ValueFault {
    fn words(self, expected: &str) -> String {
        match self {
            Self::Found(found) => format!("found {found}"),
            Self::Unreadable => "found text that does not read as one".into(),
            Self::NumberWithoutUnit => {
                "found a number: bind the column with unit = \"s\", \"ms\" or \"us\" to read epoch times"
                    .into()
            }
            Self::TextWithUnit => "bound as an epoch number, found other text".into(),
            Self::NotWhole => "found a number that is not written as a whole number".into(),
            Self::TooManyFractionDigits => format!("found more digits after the point than {expected} holds"),
            Self::TooLarge => "found a number past its range".into(),
            Self::YearOutOfRange => "found a time outside the years 0001 to 9999".into(),
        }
    }
}

fn name_of(stream: &Stream, column: usize) -> &str {
    stream.schema.fields().get(column).map_or("?", |field| field.name().as_str())
}

/// The type's name in SQL.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::UInt8 => "TINYINT UNSIGNED".into(),
        DataType::UInt16 => "SMALLINT UNSIGNED".into(),
        DataType::UInt32 => "INTEGER UNSIGNED".into(),
        DataType::UInt64 => "BIGINT UNSIGNED".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 => "VARCHAR".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(..) => "TIMESTAMP".into(),
        other => other.to_string(),
    }
}
