//! Calls of models become columns: each is computed once for all rules, and what it said is there for every row that was
//! asked about, whether a rule hits it or not.
//!
//! Takes a predicate or a selected expression; hands on the predicate as filters one after the other, and the calls that
//! can be columns. What would surprise: a call inside `CASE` stays where it is, and so does one that `AND` or `OR` may
//! spare and whose features might fail: a column would be computed, or fail, for rows that the query does not ask about.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Expr, Operator};

use super::predict::{as_model_call, model_calls};

/// A predicate as filters, each over the rows that the one before let through: what is written before any model is asked
/// or can't fail; then each other conjunct by itself. One where no model is asked.
pub(super) fn stages(predicate: &Expr) -> Vec<Expr> {
    let parts = split_conjunction(predicate);
    let Some(first) = parts.iter().position(|part| asks(part)) else { return vec![predicate.clone()] };
    let before = |(at, part): &(usize, &Expr)| *at < first || !asks(part) && never_fails(part);
    let (before, rest): (Vec<_>, Vec<_>) = parts.into_iter().enumerate().partition(before);
    let before = conjunction(before.into_iter().map(|(_, part)| part.clone()));
    before.into_iter().chain(rest.into_iter().map(|(_, part)| part.clone())).collect()
}

/// The innermost call that can be a column; `is_number` says whether a part of the expression is one, or a truth.
pub(super) fn first_call(expression: &Expr, is_number: impl Fn(&Expr) -> bool) -> Option<Expr> {
    let mut found = None;
    search(expression, Asks::Surely, &is_number, &mut found);
    found
}

/// Whether every row needs a part of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Surely,
    Perhaps,
}

fn search(part: &Expr, asks: Asks, is_number: &impl Fn(&Expr) -> bool, found: &mut Option<Expr>) {
    match part {
        Expr::Case(_) => return,
        Expr::ScalarFunction(function) if function.func.short_circuits() => return,
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            search(&binary.left, asks, is_number, found);
            search(&binary.right, Asks::Perhaps, is_number, found);
            return;
        }
        _ => {}
    }
    let _ = part.apply_children(|child| {
        search(child, asks, is_number, found);
        Ok(TreeNodeRecursion::Continue)
    });
    if found.is_none()
        && let Some(call) = as_model_call(part)
    {
        let sound = |feature: &Expr| match feature {
            Expr::Column(_) | Expr::Literal(..) => true,
            Expr::Cast(cast) => matches!(*cast.expr, Expr::Column(_)) && is_number(&cast.expr),
            _ => false,
        };
        if asks == Asks::Surely || call.arguments.iter().all(sound) {
            *found = Some(part.clone());
        }
    }
}

fn asks(part: &Expr) -> bool {
    !model_calls(part).is_empty()
}

/// Whether an expression is made of comparisons of columns and constants alone.
fn never_fails(part: &Expr) -> bool {
    let fails = |part: &Expr| match part {
        Expr::Column(_) | Expr::Literal(..) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) => false,
        Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::Between(_) | Expr::InList(_) => false,
        Expr::BinaryExpr(binary) => !matches!(
            binary.op,
            Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        ),
        _ => true,
    };
    !part.exists(|part| Ok(fails(part))).unwrap_or(true)
}
