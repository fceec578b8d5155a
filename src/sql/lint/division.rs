//! Divisions of whole numbers and decimals whose divisor may be zero: each such event is a rule error.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable, Operator};

use super::condition::{Condition, Names, named};
use super::possible::Possible;
use super::{Lint, Place};
use crate::sql::{QueryPlan, RowSetId, RowSource, RuleGraph};

/// Divisions in the condition and in what is selected that nothing keeps from a zero.
pub(super) fn divisions(graph: &RuleGraph, query: &QueryPlan, condition: &Condition) -> Vec<Lint> {
    let mut expressions: Vec<(RowSetId, &Expr)> =
        query.outputs.iter().map(|output| (query.rows, &output.expression)).collect();
    let mut rows = query.rows;
    while let RowSource::Filter { input, predicate } = &graph.row_sets[rows.0].source {
        expressions.push((*input, predicate));
        rows = *input;
    }
    let names = Names { graph, query };
    let mut lints: Vec<Lint> = Vec::new();
    for (rows, expression) in expressions {
        for divisor in open_divisors(graph, rows, expression) {
            let divisor = named(graph, rows, &divisor);
            let zero = Possible::one_of(&[ScalarValue::Int64(Some(0))]);
            if condition.known(graph, &divisor, None).and(&zero).is_empty() {
                continue;
            }
            let text = names.text(&divisor);
            let message =
                format!("a division by {text} fails where it is zero: the event costs a rule error");
            let help = format!("add AND {text} <> 0, or divide by nullif({text}, 0)");
            let lint = Lint { code: "unguarded-division", message, help, place: Place::Column(text) };
            if !lints.contains(&lint) {
                lints.push(lint);
            }
        }
    }
    lints
}

/// Divisors that are neither a literal nor made safe where they stand.
fn open_divisors(graph: &RuleGraph, rows: RowSetId, expression: &Expr) -> Vec<Expr> {
    let Ok(schema) = DFSchema::try_from(graph.row_sets[rows.0].schema()) else { return Vec::new() };
    let mut divisors = Vec::new();
    let walked = expression.apply(|part| {
        match part {
            // What a CASE or an OR guards is its own affair.
            Expr::Case(_) => return Ok(TreeNodeRecursion::Jump),
            Expr::BinaryExpr(binary) if binary.op == Operator::Or => return Ok(TreeNodeRecursion::Jump),
            Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Divide | Operator::Modulo) => {
                let exact = part.get_type(&schema).is_ok_and(|made| !made.is_floating());
                let bare = bare(&binary.right);
                if exact && matches!(bare, Expr::Column(_)) {
                    divisors.push(bare.clone());
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_or_else(|_| Vec::new(), |_| divisors)
}

/// The expression below casts.
fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Cast(cast) = expression {
        expression = &cast.expr;
    }
    expression
}
