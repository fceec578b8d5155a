//! Rewrites a parsed query before it is planned: named windows written out, views put in place.
//!
//! DataFusion plans neither a named window in `QUALIFY` nor `w2 AS (w1 …)`, and `OVER (w ROWS …)` it plans
//! without the partition and order of `w`, silently wrong. So every `OVER` is given its whole specification.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, NamedWindowDefinition, NamedWindowExpr, ObjectName, Query, Select,
    SelectItem, SetExpr, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut, WindowSpec, WindowType,
    visit_expressions, visit_expressions_mut,
};

use super::catalog::Catalog;
use super::contract::{normal, object_name};
use super::error::byte_range;
use crate::diagnostic::{Diagnostic, SourceText, choices, suggest};

/// The query with nothing left to look up but streams and lists.
pub(super) fn rewrite(
    catalog: &Catalog,
    source: &Arc<SourceText>,
    mut query: Query,
) -> Result<Query, Vec<Diagnostic>> {
    name_outputs(&mut query.body);
    let mut rewriter = Rewriter { catalog, source, findings: Vec::new() };
    let _ = query.visit(&mut rewriter);
    if rewriter.findings.is_empty() { Ok(query) } else { Err(rewriter.findings) }
}

struct Rewriter<'a> {
    catalog: &'a Catalog,
    source: &'a Arc<SourceText>,
    findings: Vec<Diagnostic>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor {
            let table = object_name(name);
            if let Some(view) = self.catalog.view(&table) {
                let alias = alias.take().unwrap_or_else(|| plain_alias(&table));
                *factor = TableFactor::Derived {
                    lateral: false,
                    subquery: Box::new(view.clone()),
                    alias: Some(alias),
                    sample: None,
                };
            }
        }
        ControlFlow::Continue(())
    }

    /// Inner selects come first, so a name still open here is a name of this select.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let definitions = std::mem::take(&mut select.named_window);
        let named = self.resolve_all(&definitions);
        let mut findings = Vec::new();
        let _: ControlFlow<()> = visit_expressions_mut(select, |expression| {
            if let Expr::Function(function) = expression
                && let Some(over) = &mut function.over
            {
                match written_out(over, &named) {
                    Ok(spec) if spec.order_by.is_empty() => {
                        findings.push(self.no_order(&function.name, over));
                    }
                    Ok(spec) => *over = WindowType::WindowSpec(spec),
                    Err(unknown) => findings.push(self.unknown_window(&unknown, &named)),
                }
            }
            ControlFlow::Continue(())
        });
        self.findings.extend(findings);
        self.windows_for_qualify(select);
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    /// Each named window with its whole specification, in the order of the clause.
    fn resolve_all(&mut self, definitions: &[NamedWindowDefinition]) -> HashMap<String, WindowSpec> {
        let mut named = HashMap::new();
        for NamedWindowDefinition(name, definition) in definitions {
            let over = match definition {
                NamedWindowExpr::NamedWindow(other) => WindowType::NamedWindow(other.clone()),
                NamedWindowExpr::WindowSpec(spec) => WindowType::WindowSpec(spec.clone()),
            };
            match written_out(&over, &named) {
                Ok(spec) => {
                    if named.insert(normal(name), spec).is_some() {
                        let message = format!("window {name} is defined twice");
                        let span = byte_range(self.source, name.span);
                        self.findings.push(Diagnostic::error(self.source, span, message).with_code("window"));
                    }
                }
                Err(unknown) => self.findings.push(self.unknown_window(&unknown, &named)),
            }
        }
        named
    }

    /// DataFusion plans `QUALIFY` only where it can see a window function in it; one of the selected ones is
    /// put there in a way that tests nothing.
    fn windows_for_qualify(&mut self, select: &mut Select) {
        let Some(condition) = select.qualify.take() else { return };
        let selected = select.projection.iter().find_map(|item| match item {
            SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                first_window(expression)
            }
            _ => None,
        });
        if first_window(&condition).is_none() && selected.is_none() {
            let span = byte_range(self.source, condition.span());
            let message = "QUALIFY filters on window functions, and this query has none";
            self.findings.push(
                Diagnostic::error(self.source, span, message)
                    .with_help("write WHERE, which filters on columns")
                    .with_code("window"),
            );
        }
        let known = |window: Expr| {
            let (null, not_null) =
                (Expr::IsNull(Box::new(window.clone())), Expr::IsNotNull(Box::new(window)));
            Expr::Nested(Box::new(binary(null, BinaryOperator::Or, not_null)))
        };
        select.qualify = Some(match selected {
            Some(window) => binary(Expr::Nested(Box::new(condition)), BinaryOperator::And, known(window)),
            None => condition,
        });
    }

    fn no_order(&self, function: &ObjectName, over: &WindowType) -> Diagnostic {
        let span = match over {
            WindowType::NamedWindow(name) => name.span,
            WindowType::WindowSpec(_) => function.span(),
        };
        Diagnostic::error(
            self.source,
            byte_range(self.source, span),
            "a window without ORDER BY takes in the future",
        )
        .with_help("write ORDER BY event_time after PARTITION BY")
        .with_code("window")
    }

    fn unknown_window(&self, name: &Ident, named: &HashMap<String, WindowSpec>) -> Diagnostic {
        let mut names: Vec<&str> = named.keys().map(String::as_str).collect();
        names.sort_unstable();
        let help = match suggest(&normal(name), names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => {
                "define it below: WINDOW name AS (PARTITION BY … ORDER BY event_time RANGE BETWEEN … PRECEDING AND CURRENT ROW)"
                    .to_owned()
            }
            None => format!("windows defined before this place: {}", choices(names)),
        };
        let message = format!("no window is called {name}");
        Diagnostic::error(self.source, byte_range(self.source, name.span), message)
            .with_help(help)
            .with_code("window")
    }
}

/// A window with the parts it takes from the window it names; the name where that is unknown.
fn written_out(over: &WindowType, named: &HashMap<String, WindowSpec>) -> Result<WindowSpec, Ident> {
    let spec = match over {
        WindowType::NamedWindow(name) => {
            return named.get(&normal(name)).cloned().ok_or_else(|| name.clone());
        }
        WindowType::WindowSpec(spec) => spec,
    };
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = named.get(&normal(name)).ok_or_else(|| name.clone())?;
    let either = |own: &[_], inherited: &[_]| if own.is_empty() { inherited.to_vec() } else { own.to_vec() };
    Ok(WindowSpec {
        window_name: None,
        partition_by: if spec.partition_by.is_empty() {
            base.partition_by.clone()
        } else {
            spec.partition_by.clone()
        },
        order_by: either(&spec.order_by, &base.order_by),
        window_frame: spec.window_frame.clone().or_else(|| base.window_frame.clone()),
    })
}

/// Selected values without a name are called as they are written, not as the planner would print them.
fn name_outputs(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) = item
                    && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                {
                    let alias = Ident::with_quote('"', expr.to_string());
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_outputs(left);
            name_outputs(right);
        }
        SetExpr::Query(query) => name_outputs(&mut query.body),
        _ => {}
    }
}

fn first_window(expression: &Expr) -> Option<Expr> {
    let found = visit_expressions(expression, |part| match part {
        Expr::Function(function) if function.over.is_some() => ControlFlow::Break(part.clone()),
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn plain_alias(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}
