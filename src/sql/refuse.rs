//! What can't be answered one event at a time, found in the parsed query, with its place and a way out.
//!
//! Takes the query as it was written; hands on every finding. These checks come before planning since the
//! parsed text knows where each word stands and the plan does not.

mod prediction;
mod table;
mod window;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArguments, GroupByExpr, Ident, NamedWindowExpr, Query, Select,
    SelectItem, Spanned, TableFactor, Visit, Visitor, WindowType, visit_expressions,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::catalog::Catalog;
use super::contract::{normal, object_name};
use super::error::{byte_range, word_behind};
use super::tables::{CommonTables, is_plain};
use crate::diagnostic::{Diagnostic, SourceText, suggest};

/// Functions that read a clock or a dice: a replay would answer differently.
const UNREPEATABLE: [&str; 12] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "today",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
    "version",
];

/// Window functions that need rows which have not come yet, or ranks that change as they come.
const FORWARD: [(&str, &str); 6] = [
    ("lead", "it reads rows that have not arrived; lag() reads those that have"),
    ("ntile", "it needs the number of rows of the whole partition; count(*) OVER … counts those so far"),
    ("percent_rank", "it needs the number of rows of the whole partition"),
    ("cume_dist", "it needs the number of rows of the whole partition"),
    ("rank", "over event time it is row_number() or count(*) OVER …: use one of those"),
    ("dense_rank", "over event time it is row_number() or count(DISTINCT …) OVER …: use one of those"),
];

/// Deepest nesting of an expression, for the sake of the stacks of those who walk it.
const DEPTH_MAX: usize = 200;

/// Every part of a query that can't stream.
pub(super) fn refuse(
    catalog: &Catalog,
    source: &Arc<SourceText>,
    query: &Query,
) -> Result<(), Vec<Diagnostic>> {
    let tables = CommonTables::of(query);
    let mut judge = Judge {
        catalog,
        source,
        tables,
        selects: Vec::new(),
        scalar_subqueries: 0,
        depth: 0,
        findings: Vec::new(),
    };
    judge.common_table_names();
    let _ = query.visit(&mut judge);
    if judge.findings.is_empty() { Ok(()) } else { Err(judge.findings) }
}

struct Judge<'a> {
    catalog: &'a Catalog,
    source: &'a Arc<SourceText>,
    tables: CommonTables,
    /// For each select around the place at hand, whether it has a GROUP BY.
    selects: Vec<bool>,
    /// Sub-queries for one value around the place at hand: refused whole, their parts need no word.
    scalar_subqueries: usize,
    /// Expressions around the place at hand.
    depth: usize,
    findings: Vec<Diagnostic>,
}

impl Visitor for Judge<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(order_by) = &query.order_by {
            self.refuse(
                order_by.span(),
                "a stream has no end, so its rows can't be sorted with ORDER BY",
                "leave ORDER BY out: alerts leave in the order of the events; inside OVER (…) it is welcome",
            );
        }
        if let Some(limit) = &query.limit_clause {
            let help = "leave it out; to alert at most so often, write `-- @dedup: column 30m` or `-- @budget: 200/h`";
            self.refuse(limit.span(), "a stream has no end, so LIMIT and OFFSET mean nothing in it", help);
        }
        if let Some(fetch) = &query.fetch {
            let span = fetch.quantity.as_ref().map_or_else(Span::empty, Spanned::span);
            self.refuse(span, "a stream has no end, so FETCH means nothing in it", "leave it out");
        }
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            self.refuse(
                with.span(),
                "a recursive query has no bound on its work for one event",
                "write WITH without RECURSIVE",
            );
        }
        self.set_operations(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.selects.push(grouped(&select.group_by));
        match &select.distinct {
            Some(Distinct::Distinct) if self.tables.only_lists(self.catalog, select) => {}
            Some(Distinct::Distinct | Distinct::On(_)) => self.refuse(
                self.word(select.select_token.0.span, "DISTINCT"),
                "DISTINCT would have to remember every row ever seen",
                "leave it out; a repeat of an event's id never reaches a rule, and `-- @dedup: column 30m` limits alerts",
            ),
            Some(Distinct::All) | None => {}
        }
        if grouped(&select.group_by) {
            self.refuse(
                self.word_or(select.group_by.span(), select.from.last().map(Spanned::span), "GROUP"),
                "GROUP BY would have to wait for the end of the stream",
                "write aggregate(…) OVER (PARTITION BY … ORDER BY event_time RANGE BETWEEN INTERVAL '…' PRECEDING AND CURRENT ROW)",
            );
        }
        if let Some(having) = &select.having {
            self.refuse(
                having.span(),
                "HAVING filters groups, and a stream has none",
                "use QUALIFY, which filters on window functions",
            );
        }
        if let Some(into) = &select.into {
            self.refuse(into.span(), "a rule can't write tables", "leave INTO out: hits become alerts");
        }
        for window in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
                self.window_parts(spec);
            }
        }
        self.joins(select);
        if let Some(condition) = &select.selection {
            self.no_windows(
                condition,
                "WHERE is tested before windows are counted",
                "move the test to QUALIFY",
            );
        }
        self.window_names_in_where(select);
        self.qualify(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.selects.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if !is_plain(factor) {
            self.refuse(
                factor.span(),
                "this can't stand in FROM of a rule",
                "FROM takes a stream, a view, a sub-select, or a list that is joined",
            );
        } else if let TableFactor::Table { name, .. } = factor {
            self.table(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth == DEPTH_MAX {
            self.refuse(
                expression.span(),
                &format!("this is nested {DEPTH_MAX} deep"),
                "write IN (…) instead of many OR, or put the values into rules/lists/NAME.csv",
            );
        }
        match expression {
            Expr::Function(function) => self.function(function),
            Expr::Subquery(query) => {
                if self.scalar_subqueries == 0 {
                    self.refuse(
                        query.span(),
                        "a sub-query can't stand where one value is expected",
                        "join the list, or write IN or EXISTS; of a stream, a window function gives the value",
                    );
                }
                self.scalar_subqueries += 1;
            }
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => self.looks_into(subquery),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        if let Expr::Subquery(_) = expression {
            self.scalar_subqueries -= 1;
        }
        ControlFlow::Continue(())
    }
}

impl Judge<'_> {
    fn refuse(&mut self, span: Span, message: &str, help: &str) {
        if self.scalar_subqueries > 0 {
            return;
        }
        let span = byte_range(self.source, span);
        self.findings.push(Diagnostic::error(self.source, span, message).with_help(help).with_code("stream"));
    }

    /// The place of a word of the text that stands behind a span.
    fn word(&self, after: Span, word: &str) -> Span {
        word_behind(self.source, after, word).unwrap_or(after)
    }

    /// A span that is known, or else the place of a word behind another span.
    fn word_or(&self, known: Span, after: Option<Span>, word: &str) -> Span {
        let unknown = known.start.line == 0;
        if unknown { after.map_or(known, |after| self.word(after, word)) } else { known }
    }

    fn no_windows(&mut self, condition: &Expr, reason: &str, help: &str) {
        for (name, span) in window_calls(condition) {
            self.refuse(span, &format!("{name}(…) OVER can't stand here: {reason}"), help);
        }
    }

    /// A name in `WHERE` of a window that is selected: it is known only after `WHERE` is tested.
    fn window_names_in_where(&mut self, select: &Select) {
        let counted = |name: &Ident| {
            select.projection.iter().any(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    normal(alias) == normal(name) && !window_calls(expr).is_empty()
                }
                _ => false,
            })
        };
        let mut names = Vec::new();
        let _: ControlFlow<()> = visit_expressions(&select.selection, |part| {
            match part {
                Expr::Identifier(name) if counted(name) => names.push(name.clone()),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for name in names {
            if self.table_with_column(select, &normal(&name)).is_none() {
                let message =
                    format!("{name} is a window function, and WHERE is tested before windows are counted");
                self.refuse(name.span, &message, "move the test to QUALIFY");
            }
        }
    }

    /// A name in `QUALIFY` that is both a column and a selected value means the column: seldom what was meant.
    fn qualify(&mut self, select: &Select) {
        let Some(condition) = &select.qualify else { return };
        let aliases: Vec<&Ident> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if !names_itself(expr, alias) => Some(alias),
                _ => None,
            })
            .collect();
        let mut twice = Vec::new();
        let _: ControlFlow<()> = visit_expressions(condition, |part| {
            if let Expr::Identifier(name) = part
                && aliases.iter().any(|alias| normal(alias) == normal(name))
            {
                twice.push(name.clone());
            }
            ControlFlow::Continue(())
        });
        for name in twice {
            if let Some(table) = self.table_with_column(select, &normal(&name)) {
                self.refuse(
                    name.span,
                    &format!("{name} is both a column of {table} and the name of a selected value"),
                    "give the selected value another name",
                );
            }
        }
    }

    /// The table of `FROM` that has a column, as far as the catalog alone knows.
    fn table_with_column(&self, select: &Select, column: &str) -> Option<String> {
        let factors = select.from.iter().flat_map(|from| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        });
        factors
            .filter_map(|factor| match factor {
                TableFactor::Table { name, .. } => Some(object_name(name)),
                _ => None,
            })
            .find(|table| self.catalog.columns_of(table).iter().any(|own| own == column))
    }

    fn function(&mut self, function: &Function) {
        let name = object_name(&function.name);
        let span = function.name.span();
        if UNREPEATABLE.contains(&name.as_str()) {
            let help =
                "use the event-time column: the same input then gives the same alerts, whenever it runs";
            self.refuse(
                span,
                &format!("{name}() is different on each run, so a replay would not repeat the alerts"),
                help,
            );
            return;
        }
        if let Some((_, help)) = FORWARD.iter().find(|(forward, _)| *forward == name) {
            self.refuse(span, &format!("{name}() can't be answered while the stream runs"), help);
            return;
        }
        if !self.catalog.has_function(&name) {
            let help = match suggest(&name, self.catalog.function_names()) {
                Some(near) => format!("did you mean {near}()?"),
                None => {
                    "rules have the functions of DataFusion, distance_km() and ip_in_network()".to_owned()
                }
            };
            self.refuse(span, &format!("no function is called {name}"), &help);
            return;
        }
        if name == super::predict::PREDICT {
            self.prediction(function);
        }
        match &function.over {
            None if self.catalog.aggregates(&name) && self.selects.last() == Some(&true) => {}
            None if self.catalog.aggregates(&name) => self.refuse(
                span,
                &format!("{name}() without OVER would have to wait for the end of the stream"),
                "add OVER (PARTITION BY … ORDER BY event_time RANGE BETWEEN INTERVAL '…' PRECEDING AND CURRENT ROW)",
            ),
            Some(WindowType::WindowSpec(spec)) => self.window_parts(spec),
            Some(WindowType::NamedWindow(_)) | None => {}
        }
        if function.over.is_some() {
            for (inner, span) in window_calls(&function.args) {
                self.refuse(
                    span,
                    &format!("{inner}(…) OVER can't stand inside another window function"),
                    "compute the inner one in a sub-select or WITH, and the outer one over it",
                );
            }
        }
        if let FunctionArguments::List(list) = &function.args
            && !list.clauses.is_empty()
            && function.over.is_some()
        {
            self.refuse(
                span,
                &format!("{name}(…) can't take an ORDER BY, LIMIT or other clause inside its brackets"),
                "the window's own ORDER BY sets the order",
            );
        }
    }
}

/// Name and place of each window function in a part of a query, those of sub-queries left out.
fn window_calls(part: &impl Visit) -> Vec<(String, Span)> {
    #[derive(Default)]
    struct Calls {
        found: Vec<(String, Span)>,
        subqueries: usize,
    }
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.subqueries += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.subqueries -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if function.over.is_some() && self.subqueries == 0 => {
                    self.found.push((object_name(&function.name), function.name.span()));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls::default();
    let _ = part.visit(&mut calls);
    calls.found
}

/// `amount AS amount`, which is no new name.
fn names_itself(expression: &Expr, alias: &Ident) -> bool {
    let own = match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    own.is_some_and(|own| normal(own) == normal(alias))
}

fn grouped(group_by: &GroupByExpr) -> bool {
    match group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, _) => !expressions.is_empty(),
    }
}
