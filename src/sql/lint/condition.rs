//! The condition of a query as facts: conjuncts over columns that have one name in the whole graph.
//!
//! A column of a filtered row set is the column of its input, so every conjunct of every filter between the stream and
//! the hits is about the same row. Two queries ask the same where their facts are equal.

use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::possible::Possible;
use crate::sql::expression::as_column;
use crate::sql::{ColumnId, Definition, QueryPlan, RowSetId, RowSource, RuleGraph};
use crate::window::{Frame, Function};

/// A column where it is defined.
pub(super) type Origin = (RowSetId, ColumnId);

/// What one conjunct says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Says {
    /// The term has one of these values, and so is not null.
    Possible(Expr, Box<Possible>),
    /// The term is null.
    Null(Expr),
    /// The term is not null.
    NotNull(Expr),
    /// It is never true.
    Never,
    /// Something that is only compared as a whole.
    Other,
}

/// One conjunct.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    /// As it is written, its columns named by [`Origin`].
    pub whole: Expr,
    /// As people read it.
    pub text: String,
    /// The first column that it reads, by the name that the query gives it.
    pub column: Option<String>,
    pub says: Says,
}

/// All that holds of the rows that hit.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// The stream or union that the rows come from.
    pub root: RowSetId,
    pub facts: Vec<Fact>,
}

impl Condition {
    /// The condition of a query.
    pub(super) fn of(graph: &RuleGraph, query: &QueryPlan) -> Self {
        let names = Names { graph, query };
        let mut rows = query.rows;
        let mut facts = Vec::new();
        while let RowSource::Filter { input, predicate } = &graph.row_sets[rows.0].source {
            facts.extend(split_conjunction(predicate).into_iter().map(|part| names.fact(*input, part)));
            rows = *input;
        }
        facts.reverse();
        Self { root: rows, facts }
    }

    /// What all facts but one say of a term together with what it is by itself.
    pub(super) fn known(&self, graph: &RuleGraph, term: &Expr, but: Option<usize>) -> Possible {
        let own = domain(graph, term).unwrap_or_default();
        let others = self.facts.iter().enumerate().filter(|(index, _)| Some(*index) != but);
        others.fold(own, |known, (_, fact)| match &fact.says {
            Says::Possible(other, possible) if other == term => known.and(possible),
            _ => known,
        })
    }
}

/// Names of columns, for comparisons and for people.
pub(super) struct Names<'a> {
    pub graph: &'a RuleGraph,
    pub query: &'a QueryPlan,
}

impl Names<'_> {
    fn fact(&self, rows: RowSetId, conjunct: &Expr) -> Fact {
        let whole = named(self.graph, rows, conjunct);
        let says = says(&whole);
        let column = whole.column_refs().into_iter().filter_map(|column| origin_of(&column.name)).min();
        Fact { text: self.text(&whole), column: column.map(|origin| self.label(origin)), says, whole }
    }

    /// The name of a column as the query gives it, else as some query does.
    pub(super) fn label(&self, origin: Origin) -> String {
        let own = self.query.outputs.iter().find(|output| {
            as_column(&output.expression)
                .is_some_and(|column| resolved(self.graph, self.query.rows, column) == origin)
        });
        match own {
            Some(output) => output.name.clone(),
            None => self.graph.row_sets[origin.0.0].columns[origin.1.0].label.clone(),
        }
    }

    /// An expression over named columns as people read it.
    pub(super) fn text(&self, expression: &Expr) -> String {
        let shown = expression.clone().transform_up(|part| {
            Ok(match &part {
                Expr::Column(column) => match origin_of(&column.name) {
                    Some(origin) => Transformed::yes(Expr::Column(
                        datafusion_common::Column::new_unqualified(self.label(origin)),
                    )),
                    None => Transformed::no(part),
                },
                _ => Transformed::no(part),
            })
        });
        shown.map_or_else(|_| expression.to_string(), |shown| shown.data.human_display().to_string())
    }
}

/// The column that a column of a filtered row set is where it is defined.
pub(super) fn resolved(graph: &RuleGraph, rows: RowSetId, column: ColumnId) -> Origin {
    let row_set = &graph.row_sets[rows.0];
    match (&row_set.columns[column.0].definition, &row_set.source) {
        (Definition::Inherited(parent), RowSource::Filter { input, .. }) => resolved(graph, *input, *parent),
        _ => (rows, column),
    }
}

/// An expression over a row set, its columns named by where they are defined.
pub(super) fn named(graph: &RuleGraph, rows: RowSetId, expression: &Expr) -> Expr {
    let renamed = expression.clone().transform_up(|part| match as_column(&part) {
        Some(column) => {
            let (rows, column) = resolved(graph, rows, column);
            let name = format!("{}.{}", rows.0, column.0);
            Ok(Transformed::yes(Expr::Column(datafusion_common::Column::new_unqualified(name))))
        }
        None => Ok(Transformed::no(part)),
    });
    renamed.map_or_else(|_| expression.clone(), |renamed| renamed.data)
}

/// The column that such a name stands for.
pub(super) fn origin_of(name: &str) -> Option<Origin> {
    let (rows, column) = name.split_once('.')?;
    Some((RowSetId(rows.parse().ok()?), ColumnId(column.parse().ok()?)))
}

fn says(conjunct: &Expr) -> Says {
    let truth = |term: &Expr, value| possible(term, Possible::one_of(&[ScalarValue::Boolean(Some(value))]));
    match conjunct {
        Expr::Literal(ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null, _) => Says::Never,
        Expr::Column(_) => truth(conjunct, true),
        Expr::IsTrue(term) => truth(term, true),
        Expr::IsFalse(term) => truth(term, false),
        Expr::Not(term) if matches!(**term, Expr::Column(_)) => truth(term, false),
        Expr::IsNull(term) => Says::Null((**term).clone()),
        Expr::IsNotNull(term) => Says::NotNull((**term).clone()),
        Expr::BinaryExpr(binary) if binary.op == Operator::Or => either(binary),
        Expr::BinaryExpr(binary) => compared(binary),
        Expr::InList(list) => {
            let values = list.list.iter().map(literal).collect::<Option<Vec<_>>>();
            match values.filter(|values| literal(&list.expr).is_none() && !values.is_empty()) {
                Some(values) if list.negated => possible(&list.expr, Possible::none_of(&values)),
                Some(values) => possible(&list.expr, Possible::one_of(&values)),
                None => Says::Other,
            }
        }
        Expr::Between(between) if !between.negated => {
            let end = |operator, value| Possible::compared(operator, &literal(value)?);
            let ends = end(Operator::GtEq, &between.low).zip(end(Operator::LtEq, &between.high));
            match ends.filter(|_| literal(&between.expr).is_none()) {
                Some((low, high)) => possible(&between.expr, low.and(&high)),
                None => Says::Other,
            }
        }
        _ => Says::Other,
    }
}

fn possible(term: &Expr, values: Possible) -> Says {
    Says::Possible(term.clone(), Box::new(values))
}

fn compared(binary: &BinaryExpr) -> Says {
    let (term, operator, value) = match (literal(&binary.left), literal(&binary.right)) {
        (None, Some(value)) => (&binary.left, Some(binary.op), value),
        (Some(value), None) => (&binary.right, binary.op.swap(), value),
        _ => return Says::Other,
    };
    match operator.and_then(|operator| Possible::compared(operator, &value)) {
        Some(values) => possible(term, values),
        None => Says::Other,
    }
}

/// `x = 1 OR x = 2`, as short lists are planned.
fn either(binary: &BinaryExpr) -> Says {
    let mut values = Vec::new();
    let mut term = None;
    let whole = Expr::BinaryExpr(binary.clone());
    for part in datafusion_expr::utils::split_binary(&whole, Operator::Or) {
        let Expr::BinaryExpr(part) = part else { return Says::Other };
        let Some(value) = literal(&part.right).filter(|value| part.op == Operator::Eq && !value.is_null())
        else {
            return Says::Other;
        };
        if term.get_or_insert(&part.left) != &&part.left {
            return Says::Other;
        }
        values.push(value);
    }
    term.map_or(Says::Other, |term| possible(term, Possible::one_of(&values)))
}

fn literal(expression: &Expr) -> Option<ScalarValue> {
    match expression {
        Expr::Literal(value, _) if !value.is_null() => Some(value.clone()),
        _ => None,
    }
}

/// The values that a count can have by itself: rows of a `ROWS` frame are bounded, and a frame that ends at the
/// current row holds it.
fn domain(graph: &RuleGraph, term: &Expr) -> Option<Possible> {
    let Expr::Column(column) = term else { return None };
    let (rows, column) = origin_of(&column.name)?;
    let Definition::Window(window) = &graph.row_sets.get(rows.0)?.columns.get(column.0)?.definition else {
        return None;
    };
    let aggregate = &window.function.aggregate;
    if !matches!(aggregate.function, Function::Count | Function::CountDistinct) {
        return None;
    }
    let (ends_here, most) = match aggregate.frame {
        Frame::Range { end, .. } => (end == 0, None),
        Frame::Rows { start, end } => (end == 0, start.map(|start| (start + 1).saturating_sub(end))),
    };
    let holds_itself = ends_here && window.arguments.is_empty() && window.filter.is_none();
    Some(Possible::whole(i64::from(holds_itself), most.and_then(|most| i64::try_from(most).ok())))
}
