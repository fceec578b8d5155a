//! `IS NULL` and `IS NOT NULL` of columns that the contract says are never null.
//!
//! Read from the text, since such tests are gone from the graph: the simplifier answers them. Only queries without
//! joins are looked at, for a column of a list that is joined may be null whatever the stream says.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{Expr, Ident, Select, SetExpr, Spanned, TableFactor, Visit, Visitor};

use super::{Lint, Place};
use crate::diagnostic::SourceText;
use crate::event::{Contract, Stream};
use crate::sql::error::byte_range;
use crate::sql::plan::parse_statements;

/// Tests for null of a rule that have one answer for every event.
pub fn needless_null_tests(contract: &Contract, source: &Arc<SourceText>) -> Vec<Lint> {
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

    fn pre_visit_query(&mut self, query: &datafusion_sql::sqlparser::ast::Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = &*query.body
            && let Some(never_null) = self.never_null(select)
            && let Some(condition) = &select.selection
        {
            _ = datafusion_sql::sqlparser::ast::visit_expressions(condition, |part| {
                self.test(part, &never_null);
                ControlFlow::<()>::Continue(())
            });
        }
        ControlFlow::Continue(())
    }
}

impl Reader<'_> {
    /// Columns that are never null in the one stream that a SELECT reads.
    fn never_null(&self, select: &Select) -> Option<Vec<String>> {
        let stream = stream_of(self.contract, select)?;
        let required = stream.schema.fields().iter().filter(|field| !field.is_nullable());
        Some(required.map(|field| field.name().clone()).collect())
    }

    fn test(&mut self, part: &Expr, never_null: &[String]) {
        let (tested, is_null) = match part {
            Expr::IsNull(tested) => (tested, true),
            Expr::IsNotNull(tested) => (tested, false),
            _ => return,
        };
        let name = match &**tested {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(name) => name,
                None => return,
            },
            _ => return,
        };
        if !never_null.contains(&plain(name)) {
            return;
        }
        let place = Place::Span(byte_range(self.source, tested.span()));
        let help = format!("leave it out: {name} is NOT NULL in schema.sql");
        let (code, answer) = if is_null { ("never-true", "never") } else { ("always-true", "always") };
        self.found.push(Lint { code, message: format!("{part} is {answer} true"), help, place });
    }
}

/// The one stream that a SELECT reads, if it reads one and nothing else.
pub(super) fn stream_of<'a>(contract: &'a Contract, select: &Select) -> Option<&'a Stream> {
    let [table] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &table.relation else { return None };
    if !table.joins.is_empty() {
        return None;
    }
    let name = name.0.last()?.to_string().to_lowercase();
    Some(contract.stream(&name)?.1)
}

/// A name as the contract has it.
pub(super) fn plain(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}
