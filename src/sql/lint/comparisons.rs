//! Comparisons that are seldom meant: of anything with NULL, and of a text with a number.
//!
//! Read from the text, where they still stand as they were written: the planner turns the number into a text, and what
//! is compared with NULL is gone from the graph. Only columns of the one stream that a SELECT reads are judged.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Spanned, UnaryOperator, Value, Visit, Visitor, visit_expressions,
};

use super::nulls::{plain, stream_of};
use super::{Lint, Place};
use crate::diagnostic::SourceText;
use crate::event::{Contract, Stream};
use crate::sql::error::byte_range;
use crate::sql::plan::parse_statements;

/// Comparisons of a rule that are seldom meant.
pub fn odd_comparisons(contract: &Contract, source: &Arc<SourceText>) -> Vec<Lint> {
    let Ok(statements) = parse_statements(source) else { return Vec::new() };
    let mut reader = Reader { contract, source, found: Vec::new() };
    _ = statements.visit(&mut reader);
    reader.found
}

struct Reader<'a> {
    contract: &'a Contract,
    source: &'a Arc<SourceText>,
    found: Vec<Lint>,
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let datafusion_sql::sqlparser::ast::SetExpr::Select(select) = &*query.body {
            let stream = stream_of(self.contract, select);
            for condition in select.selection.iter().chain(&select.qualify) {
                _ = visit_expressions(condition, |part| {
                    self.comparison(part, stream);
                    ControlFlow::<()>::Continue(())
                });
            }
        }
        ControlFlow::Continue(())
    }
}

impl Reader<'_> {
    fn comparison(&mut self, part: &Expr, stream: Option<&Stream>) {
        let Expr::BinaryOp { left, op, right } = part else { return };
        if !compares(op) {
            return;
        }
        for (side, other) in [(left, right), (right, left)] {
            if is_null(other) {
                let test = if *op == BinaryOperator::NotEq { "IS NOT NULL" } else { "IS NULL" };
                let message =
                    format!("{part} is never true: nothing equals NULL, and nothing differs from it");
                let help = format!("write {side} {test}");
                return self.note("never-true", message, help, part);
            }
            let Some(text) = stream.and_then(|stream| text_column(stream, side)) else { continue };
            if is_number(other) {
                let message = format!(
                    "{text} is text and {other} a number: they are compared letter by letter, so '10' < '9'"
                );
                let help = format!("write '{other}' if texts are meant, or CAST({text} AS DOUBLE)");
                return self.note("text-with-number", message, help, part);
            }
        }
    }

    fn note(&mut self, code: &'static str, message: String, help: String, part: &Expr) {
        let place = Place::Span(byte_range(self.source, part.span()));
        self.found.push(Lint { code, message, help, place });
    }
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_null(part: &Expr) -> bool {
    matches!(part, Expr::Value(value) if value.value == Value::Null)
}

fn is_number(part: &Expr) -> bool {
    match part {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_number(expr),
        _ => false,
    }
}

/// The name of a column of the stream that holds text.
fn text_column(stream: &Stream, part: &Expr) -> Option<String> {
    let name = match part {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    let name = plain(name);
    let field = stream.schema.field_with_name(&name).ok()?;
    matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View).then_some(name)
}
