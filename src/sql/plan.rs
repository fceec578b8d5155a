//! One query: text to statement to analysed logical plan.
//!
//! Takes a [`Query`], hands on DataFusion's plan after the analyzer (types coerced) and
//! `SimplifyExpressions`, or every finding. The rest of the optimizer is left out on purpose.

use std::sync::Arc;

use datafusion_common::DataFusionError;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, Spanned, Statement};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Tokenizer;

use super::catalog::Catalog;
use super::{Query, culprit, error, limits, lower, refuse, rewrite};
use crate::diagnostic::{Diagnostic, SourceText};
use datafusion_expr::planner::ContextProvider;

/// Parses a file into statements.
pub(crate) fn parse_statements(source: &Arc<SourceText>) -> Result<Vec<Statement>, Diagnostic> {
    let refused = |failure: &ParserError| error::from_parser(source, failure);
    let tokens = Tokenizer::new(&GenericDialect {}, &source.text).tokenize_with_location();
    let tokens = tokens.map_err(|failure| refused(&failure.into()))?;
    if let Some((span, message)) = limits::passed(&tokens) {
        return Err(Diagnostic::error(source, error::byte_range(source, span), message)
            .with_help("write IN (…) instead of many OR, put values into rules/lists/NAME.csv, or use WITH")
            .with_code("limit"));
    }
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    parser.parse_statements().map_err(|failure| refused(&failure))
}

/// A plan, and the query it was made from.
pub(super) struct Planned {
    pub plan: LogicalPlan,
    /// Its windows written out, its views in place.
    pub query: ast::Query,
}

/// Plans one rule's query.
pub(super) fn plan(catalog: &Catalog, query: &Query) -> Result<Planned, Vec<Diagnostic>> {
    let source = &query.source;
    let statement = only_query(source).map_err(|finding| vec![finding])?;
    refuse::refuse(catalog, source, &statement)?;
    let rewritten = rewrite::rewrite(catalog, source, statement)?;
    let plan = plan_query(catalog, source, &rewritten).map_err(|finding| vec![finding])?;
    Ok(Planned { plan, query: rewritten })
}

/// The one `SELECT` of a rule file.
fn only_query(source: &Arc<SourceText>) -> Result<ast::Query, Diagnostic> {
    let mut statements = parse_statements(source)?;
    if statements.len() > 1 {
        let span = error::byte_range(source, statements[1].span());
        return Err(Diagnostic::error(
            source,
            span,
            "a rule is one query, and this file holds several statements",
        )
        .with_help("put each query in a file of its own, and CREATE VIEW in a file of views")
        .with_code("statement"));
    }
    match statements.pop() {
        Some(Statement::Query(query)) => Ok(*query),
        Some(other) => {
            let span = error::byte_range(source, other.span());
            Err(Diagnostic::error(source, span, "a rule is one SELECT: it can't define or change tables")
                .with_help("write SELECT … FROM a stream; CREATE TABLE belongs in schema.sql")
                .with_code("statement"))
        }
        None => Err(Diagnostic::file_error(&source.file, "the file holds no query")
            .with_help("write SELECT … FROM a stream below the header")
            .with_code("statement")),
    }
}

/// Plans a query whose windows are written out and whose views are in place.
pub(super) fn plan_query(
    catalog: &Catalog,
    source: &Arc<SourceText>,
    query: &ast::Query,
) -> Result<LogicalPlan, Diagnostic> {
    planned(catalog, query.clone()).map_err(|failure| refusal(catalog, source, query, &failure))
}

/// The finding for a query that can't be planned or lowered, at the part that is at fault.
pub(super) fn refusal(
    catalog: &Catalog,
    source: &Arc<SourceText>,
    query: &ast::Query,
    failure: &DataFusionError,
) -> Diagnostic {
    let sound = |query: ast::Query| match planned(catalog, query) {
        Ok(plan) => lower::lowers(catalog, &plan),
        // What was cut out held the only window.
        Err(failure) => failure.to_string().contains("QUALIFY clause requires window functions"),
    };
    let culprit = if error::is_placed(failure) { None } else { culprit::find(source, query, sound) };
    error::from_planner(source, failure, culprit)
}

fn planned(catalog: &Catalog, query: ast::Query) -> Result<LogicalPlan, DataFusionError> {
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(catalog, options);
    let plan = planner.sql_statement_to_plan(Statement::Query(Box::new(query)))?;
    let plan = Analyzer::new().execute_and_check(plan, catalog.options(), |_, _| {})?;
    let context = OptimizerContext::new_with_config_options(Arc::new(catalog.options().clone()))
        .without_query_execution_start_time()
        .with_skip_failing_rules(false)
        .with_max_passes(3);
    Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]).optimize(plan, &context, |_, _| {})
}
