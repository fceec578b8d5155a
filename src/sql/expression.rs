//! Expressions of a plan, rewritten over the columns of a row set.
//!
//! Takes an expression that names fields of a plan node, hands on one that names columns `#0`, `#1`, … of
//! the row set behind the node. Aliases fall away; sub-queries on lists become lookups.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result, plan_err};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::{Expr, LogicalPlan};

use super::catalog::Catalog;
use super::explain::fault;
use super::ir::ColumnId;
use super::lookup::{self, Probe};
use super::lower::Relation;

/// A reference to a column of the row set.
pub(super) fn reference(column: ColumnId) -> Expr {
    Expr::Column(Column::new_unqualified(column.name()))
}

/// The column that an expression is, if it is nothing but that.
pub(super) fn as_column(expression: &Expr) -> Option<ColumnId> {
    match expression {
        Expr::Column(column) => ColumnId::parse(&column.name),
        _ => None,
    }
}

/// Columns of the row set that an expression reads, in order.
pub(crate) fn columns_read(expression: &Expr) -> BTreeSet<ColumnId> {
    expression.column_refs().into_iter().filter_map(|column| ColumnId::parse(&column.name)).collect()
}

/// The expression with its columns renamed.
pub(crate) fn renamed(expression: &Expr, mut rename: impl FnMut(ColumnId) -> ColumnId) -> Result<Expr> {
    let replaced = expression.clone().transform_up(|part| match as_column(&part) {
        Some(column) => Ok(Transformed::yes(reference(rename(column)))),
        None => Ok(Transformed::no(part)),
    })?;
    Ok(replaced.data)
}

/// An expression over fields of `input`'s plan as one over the columns of its row set.
pub(super) fn substitute(catalog: &Catalog, expression: &Expr, input: &Relation) -> Result<Expr> {
    let replaced = expression.clone().transform_down(|part| match unaliased(part) {
        Expr::Column(column) => {
            let field = input.schema.index_of_column(&column)?;
            Ok(Transformed::new(input.fields[field].clone(), true, TreeNodeRecursion::Jump))
        }
        Expr::Literal(value, Some(_)) => Ok(Transformed::yes(Expr::Literal(value, None))),
        Expr::InSubquery(subquery) => {
            let probe = in_list(catalog, &subquery, input)?;
            Ok(Transformed::new(probe, true, TreeNodeRecursion::Jump))
        }
        Expr::Exists(subquery) => {
            let probe = exists(catalog, &subquery, input)?;
            Ok(Transformed::new(probe, true, TreeNodeRecursion::Jump))
        }
        Expr::ScalarSubquery(_) => plan_err!(
            "a sub-query can't stand where one value is expected; write a JOIN with the list, or IN or EXISTS"
        ),
        Expr::AggregateFunction(aggregate) => {
            plan_err!("{}() without OVER would have to wait for the end of the stream", aggregate.func.name())
        }
        // An alias may have fallen away, so the part counts as changed.
        other => Ok(Transformed::yes(other)),
    })?;
    Ok(replaced.data)
}

fn unaliased(mut expression: Expr) -> Expr {
    while let Expr::Alias(alias) = expression {
        expression = *alias.expr;
    }
    expression
}

fn in_list(catalog: &Catalog, subquery: &InSubquery, input: &Relation) -> Result<Expr> {
    let plan = subquery.subquery.subquery.as_ref();
    let mut outer = Vec::new();
    let table = lookup::run(catalog, plan, &mut outer)?;
    if !outer.is_empty() {
        let message = "IN can't refer to the query around it";
        return Err(fault(
            message,
            "write EXISTS (SELECT 1 FROM list WHERE list.key = stream.key AND …)",
            &outer,
        ));
    }
    let values = Arc::clone(table.rows.column(0));
    let (key, values) = lookup::comparable(&subquery.expr, &input.schema, values)?;
    let key = substitute(catalog, &key, input)?;
    let probe = Probe::new(&table, vec![key], &[values], "first")?;
    Ok(negated_if(subquery.negated, probe.member()))
}

fn exists(catalog: &Catalog, subquery: &Exists, input: &Relation) -> Result<Expr> {
    let plan = below_projection(subquery.subquery.subquery.as_ref());
    let mut conjuncts = Vec::new();
    let table = lookup::run(catalog, plan, &mut conjuncts)?;
    if conjuncts.is_empty() {
        return Ok(negated_if(subquery.negated, lookup::truth(Some(table.rows.num_rows() > 0))));
    }
    let (mut keys, mut columns) = (Vec::new(), Vec::new());
    let mut values = Vec::new();
    for conjunct in &conjuncts {
        let Some((outer, inner)) = correlated(conjunct) else {
            let message = "EXISTS can refer to the query around it only by equality";
            return Err(fault(
                message,
                "write list.key = stream.key, and test the list's own columns freely",
                [conjunct],
            ));
        };
        let column = lookup::evaluate(&inner, plan.schema(), &table.rows)?;
        let (outer, column) = lookup::comparable(&outer, &input.schema, column)?;
        keys.push(substitute(catalog, &outer, input)?);
        columns.push(column);
        values.push(inner);
    }
    let probe = Probe::new(&table, keys, &columns, &lookup::names(&values))?;
    Ok(negated_if(subquery.negated, probe.present()))
}

/// What `EXISTS (SELECT anything FROM …)` looks at: the rows, not what is selected of them.
fn below_projection(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) => below_projection(&projection.input),
        LogicalPlan::SubqueryAlias(alias) if matches!(*alias.input, LogicalPlan::Projection(_)) => {
            below_projection(&alias.input)
        }
        other => other,
    }
}

/// `outer = inner` with the outer side as an expression of the outer query.
fn correlated(conjunct: &Expr) -> Option<(Expr, Expr)> {
    let (left, right) = lookup::equality(conjunct)?;
    let (outer, inner) = if left.contains_outer() { (left, right) } else { (right, left) };
    if inner.contains_outer() || !outer.column_refs().is_empty() {
        return None;
    }
    let outer = outer.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    });
    outer.ok().map(|outer| (outer.data, inner))
}

fn negated_if(negated: bool, expression: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expression)) } else { expression }
}
