//! What the planner says, in the words of SQL.
//!
//! Takes an error of DataFusion, which speaks of Arrow types, physical names and its own bugs; hands on what is
//! wrong and what to write instead. An error that is not known here keeps its own first line.

use std::fmt;

use datafusion_common::{Column, DataFusionError, SchemaError};
use datafusion_expr::Expr;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::error::parser_span;
use super::functions::FUNCTION_NOTES;
use crate::diagnostic::{choices, suggest};

/// Most columns that a help lists.
const COLUMNS_MAX: usize = 40;

const TYPES: &str = "types are BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, DECIMAL(p, s), VARCHAR, DATE and \
                     TIMESTAMP";

/// An error in plain words.
#[derive(Debug, Default)]
pub(super) struct Explained {
    pub message: String,
    pub help: Option<String>,
    /// Where, if the error itself knows.
    pub place: Option<Span>,
    pub unknown_column: bool,
}

/// An error of ours that knows its place.
#[derive(Debug)]
struct Fault {
    message: String,
    help: String,
    place: Option<Span>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

impl std::error::Error for Fault {}

/// An error about some expressions: its place is that of their columns.
pub(super) fn fault<'a>(
    message: impl Into<String>,
    help: impl Into<String>,
    about: impl IntoIterator<Item = &'a Expr>,
) -> DataFusionError {
    let mut place: Option<Span> = None;
    for column in about.into_iter().flat_map(Expr::column_refs) {
        if let Some(span) = column.spans().first() {
            let span = parser_span(span);
            place = Some(place.map_or(span, |known| known.union(&span)));
        }
    }
    DataFusionError::External(Box::new(Fault { message: message.into(), help: help.into(), place }))
}

/// What an error means.
pub(super) fn explain(error: &DataFusionError) -> Explained {
    match error.find_root() {
        DataFusionError::SchemaError(cause, _) => schema(cause),
        DataFusionError::External(cause) => match cause.downcast_ref::<Fault>() {
            Some(fault) => {
                let help = Some(fault.help.clone()).filter(|help| !help.is_empty());
                Explained { message: fault.message.clone(), help, place: fault.place, unknown_column: false }
            }
            None => text(&cause.to_string()),
        },
        root => text(&root.strip_backtrace()),
    }
}

fn said(message: impl Into<String>, help: impl Into<String>) -> Explained {
    Explained { message: message.into(), help: Some(help.into()), ..Explained::default() }
}

fn schema(error: &SchemaError) -> Explained {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = |column: &Column| match (&field.relation, &column.relation) {
                (Some(_), Some(relation)) => format!("{}.{}", relation.table(), column.name),
                _ => column.name.clone(),
            };
            let names: Vec<String> =
                valid_fields.iter().map(name).filter(|name| !name.contains(' ')).collect();
            let wanted = name(field);
            let wanted = if field.relation.is_some() { field.flat_name() } else { wanted };
            let help = match suggest(&wanted, names.iter().map(String::as_str)) {
                Some(near) => Some(format!("did you mean {near}?")),
                None if names.is_empty() => None,
                None => Some(format!(
                    "columns are {}",
                    choices(names.iter().map(String::as_str).take(COLUMNS_MAX))
                )),
            };
            Explained {
                message: format!("no column is called {wanted}"),
                help,
                place: None,
                unknown_column: true,
            }
        }
        SchemaError::AmbiguousReference { field } if field.relation.is_some() => two_columns(&field.name),
        SchemaError::AmbiguousReference { field } => said(
            format!("{} is a column of several tables here", field.name),
            format!("write which one: table.{}", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => two_columns(name),
    }
}

/// Two selected columns of one name.
pub(super) fn two_columns(name: &str) -> Explained {
    said(format!("two columns are called {name}"), "give one of them another name with AS")
}

/// What a text of the planner means.
fn text(whole: &str) -> Explained {
    let line = plain(whole);
    let between = |before: &str, after: &str| piece(whole, before, after);
    if let Some(call) = between("given name and argument types '", "'. ") {
        return arguments(&call);
    }
    if line.starts_with("Projections require unique") {
        let name =
            between("at position 0 and \"", "\"").or_else(|| between("and \"", "\"")).unwrap_or_default();
        return two_columns(name.rsplit('.').next().unwrap_or_default());
    }
    if let Some(kind) = between("non-boolean predicate", "\n")
        .or_else(|| whole.split_once("non-boolean predicate").map(|(_, rest)| rest.to_owned()))
    {
        let kind = kind.rsplit_once("returning ").map(|(_, kind)| sql(kind)).unwrap_or_default();
        return not_a_condition(&kind);
    }
    if let Some(kind) = between("cannot automatically convert ", " to Boolean")
        .or_else(|| between("Cannot automatically convert ", " to Boolean"))
    {
        return not_a_condition(&sql(&kind));
    }
    if let Some(explained) = values(whole, &line).or_else(|| operands(whole, &line)) {
        return explained;
    }
    let line = sql(&line);
    match line.split_once("; ") {
        Some((message, help)) => said(message, help),
        None => Explained { message: line, ..Explained::default() },
    }
}

/// The piece of a text between two others.
fn piece(whole: &str, before: &str, after: &str) -> Option<String> {
    Some(whole.split_once(before)?.1.split_once(after)?.0.to_owned())
}

/// A value, a pattern or a type that can't be read.
fn values(whole: &str, line: &str) -> Option<Explained> {
    let between = |before: &str, after: &str| piece(whole, before, after);
    if let (Some(value), Some(kind)) =
        (between("Cannot cast string '", "' to value"), between("to value of ", " type"))
    {
        let kind = sql(&kind);
        let number = ["DECIMAL", "BIGINT", "INTEGER", "DOUBLE"].iter().any(|number| kind.starts_with(number));
        let kind = if number { "a number" } else { kind.as_str() };
        let help = "write a value of the type of the other side";
        return Some(said(format!("'{value}' can't be read as {kind}"), help));
    }
    if let Some(value) = between("Invalid input syntax for type interval: \"", "\"") {
        let help = "write a number and a unit, such as INTERVAL '10 minutes'";
        return Some(said(format!("'{value}' can't be read as an INTERVAL"), help));
    }
    if let Some(value) = between("Error parsing timestamp from '", "'") {
        let help = "write '2026-11-22 10:15:00'";
        return Some(said(format!("'{value}' can't be read as a TIMESTAMP"), help));
    }
    if let Some(kind) = line.strip_prefix("Unsupported SQL type ") {
        return Some(said(format!("no type is called {kind}"), TYPES));
    }
    if whole.contains("regex parse error") {
        let cause = whole.lines().rev().find_map(|line| line.split_once("error: "));
        let message = format!("the pattern can't be read: {}", cause.map_or("", |(_, cause)| cause));
        return Some(said(message, "a literal ( or [ is written \\( or \\["));
    }
    None
}

/// Operands that don't go together.
fn operands(whole: &str, line: &str) -> Option<Explained> {
    let between = |before: &str, after: &str| piece(whole, before, after);
    if let Some(sides) = line.strip_prefix("Cannot infer common argument type for comparison operation ") {
        let help = "CAST one side to the type of the other";
        return Some(said(format!("{} can't be compared", sql(sides)), help));
    }
    if let Some(sides) = between("Cannot coerce arithmetic expression ", " to valid types") {
        return Some(said(format!("{} can't be computed", sql(&sides)), "CAST one side to a number"));
    }
    let logical = "Cannot infer common argument type for logical boolean operation ";
    if let Some(sides) = line.strip_prefix(logical) {
        let sides = sql(sides);
        let mut kinds = sides.split(" AND ").flat_map(|side| side.split(" OR "));
        return Some(not_a_condition(kinds.find(|kind| *kind != "BOOLEAN").unwrap_or("something else")));
    }
    if let Some((_, kind)) = line.split_once("requires a boolean expression, got ") {
        return Some(not_a_condition(&sql(kind)));
    }
    if let Some(kinds) = between("common type to coerce ", " in LIKE") {
        let message = format!("LIKE compares texts, and these are {}", sql(&kinds));
        return Some(said(message, "CAST the value to VARCHAR"));
    }
    if whole.contains("subquery should only return one column") {
        let message = "IN compares with one column, and this sub-query selects several";
        return Some(said(message, "select the column of the key"));
    }
    None
}

fn not_a_condition(kind: &str) -> Explained {
    said(
        format!("a condition is true or false, and this is {kind}"),
        "compare it with something, such as amount > 100",
    )
}

/// `name(types)` that no form of the function takes.
fn arguments(call: &str) -> Explained {
    let (name, types) = call.split_once('(').unwrap_or((call, ")"));
    let types = types.strip_suffix(')').unwrap_or(types);
    let message = match types {
        "" => format!("{name}() can't be called without arguments"),
        types => format!("{name}() can't take ({})", sql(types)),
    };
    let own = FUNCTION_NOTES.iter().find(|(form, _)| form.starts_with(&format!("{name}(")));
    match own {
        Some((form, note)) => said(message, format!("{form}: {note}")),
        None => {
            said(message, "check the number and the types of its arguments; CAST(x AS type) changes a type")
        }
    }
}

/// The first line of a text without the chain's prefixes and without words about bugs.
fn plain(whole: &str) -> String {
    let mut message = whole;
    let prefixes = [
        "Error during planning: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
        "Internal error: ",
        "Parser error: ",
        "Cast error: ",
        "type_coercion\ncaused by\n",
    ];
    while let Some(rest) = prefixes.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest;
    }
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(". This issue was likely caused by").next().unwrap_or_default();
    line.trim_end_matches('.').to_owned()
}

/// A text with the types of Arrow called as SQL calls them, and literals as they are written.
fn sql(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let inner = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = after;
        match (word, inner) {
            ("Decimal128" | "Decimal256" | "Decimal64" | "Decimal32", _) => out.push_str("DECIMAL"),
            ("Timestamp", Some((_, behind))) => {
                out.push_str("TIMESTAMP");
                rest = behind;
            }
            ("Interval" | "Duration", Some((_, behind))) => {
                out.push_str("INTERVAL");
                rest = behind;
            }
            ("Int64" | "Int32" | "Float64" | "Boolean", Some((literal, behind))) => {
                out.push_str(literal);
                rest = behind;
            }
            ("Utf8", Some((literal, behind))) => {
                out.push_str(&literal.replace('"', "'"));
                rest = behind;
            }
            ("outer_ref", Some((column, behind))) => {
                out.push_str(column);
                rest = behind;
            }
            _ => out.push_str(type_name(word).unwrap_or(word)),
        }
    }
    out.push_str(rest);
    out
}

fn type_name(word: &str) -> Option<&'static str> {
    Some(match word {
        "Utf8" | "LargeUtf8" | "Utf8View" => "VARCHAR",
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INTEGER",
        "Int64" => "BIGINT",
        "UInt64" | "UInt32" | "UInt16" | "UInt8" => "unsigned BIGINT",
        "Float32" => "REAL",
        "Float64" => "DOUBLE",
        "Boolean" => "BOOLEAN",
        "Date32" => "DATE",
        "Timestamp" => "TIMESTAMP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_literals_are_written_as_in_sql() {
        assert_eq!(
            sql("Decimal128(18, 2) > Int64(5) and Utf8(\"x\") or Timestamp(µs) of Utf8"),
            "DECIMAL(18, 2) > 5 and 'x' or TIMESTAMP of VARCHAR"
        );
    }
}
