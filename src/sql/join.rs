//! A join of a stream with a list: the stream's rows, with lookups for the list's columns.
//!
//! Takes DataFusion's join node; hands on a [`Relation`] over the stream's rows, filtered by whether the list
//! has the key where the join is INNER. Fails where the other side is a stream, or the key repeats.

use datafusion_common::{DFSchema, DataFusionError, Result, plan_err};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Expr, Join, JoinType};

use super::explain::fault;
use super::expression::substitute;
use super::ir::RowSetId;
use super::lookup::{self, Probe};
use super::lower::{GraphBuilder, Relation};

impl GraphBuilder<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Relation> {
        let left_is_list = lookup::reads_lists_only(self.catalog, &join.left);
        let right_is_list = lookup::reads_lists_only(self.catalog, &join.right);
        let (stream_plan, list_plan) = match (left_is_list, right_is_list) {
            (false, true) => (&join.left, &join.right),
            (true, false) => (&join.right, &join.left),
            _ => {
                return plan_err!(
                    "two streams can't be joined: nothing bounds how long to wait for the other side; use UNION ALL and windows"
                );
            }
        };
        let outer = match (join.join_type, left_is_list) {
            (JoinType::Inner, _) | (JoinType::LeftSemi, false) => Kept::Matching,
            (JoinType::Left, false) | (JoinType::Right, true) => Kept::All,
            (JoinType::LeftAnti, false) => Kept::Others,
            (kind, _) => {
                return plan_err!(
                    "a {kind} JOIN would wait for events that no list row has met yet; use INNER or LEFT JOIN from the stream to the list"
                );
            }
        };
        let input = self.lower(stream_plan)?;
        let condition = JoinCondition::split(join, stream_plan.schema(), list_plan.schema(), left_is_list)?;
        let mut table = lookup::run(self.catalog, list_plan, &mut Vec::new())?;
        for own in &condition.list_only {
            table = lookup::kept(&table, own, list_plan.schema())?;
        }
        if condition.keys.is_empty() {
            let message = "a list is joined by equality";
            return Err(fault(message, "write JOIN list ON list.key = stream.key", &condition.rest));
        }
        let (mut keys, mut columns) = (Vec::new(), Vec::new());
        for (stream, list) in &condition.keys {
            let values = lookup::evaluate(list, list_plan.schema(), &table.rows)?;
            let (key, values) = lookup::comparable(stream, stream_plan.schema(), values)?;
            keys.push(substitute(self.catalog, &key, &input)?);
            columns.push(values);
        }
        let inner: Vec<Expr> = condition.keys.iter().map(|(_, list)| list.clone()).collect();
        let probe = Probe::new(&table, keys, &columns, &lookup::names(&inner))?;
        let kept = outer;
        if !condition.rest.is_empty() && kept != Kept::Matching {
            let message = "the ON of a LEFT JOIN may compare keys and test columns of the list, nothing else";
            return Err(fault(message, "move this test to WHERE or CASE", &condition.rest));
        }
        let base = input.rows;
        let joined = match kept {
            Kept::All => input,
            Kept::Matching => self.filter(input, &probe.present())?,
            Kept::Others => return self.filter(input, &Expr::Not(Box::new(probe.present()))),
        };
        if join.join_type == JoinType::LeftSemi {
            return Ok(joined);
        }
        if let Some(ordinal) = probe.repeated() {
            return Err(repeated(ordinal, &inner));
        }
        let sides = Sides { stream: joined, base, probe: &probe, table: &table, list_first: left_is_list };
        self.joined(join, sides, conjunction(condition.rest))
    }

    /// The fields of a join: the stream's as they are, the list's as lookups.
    fn joined(&mut self, join: &Join, sides: Sides<'_>, rest: Option<Expr>) -> Result<Relation> {
        let Sides { stream, base, probe, table, list_first } = sides;
        let names = table.rows.schema();
        let mut list_fields = Vec::new();
        for (field, values) in names.fields().iter().zip(table.rows.columns()) {
            let value = probe.value(field.name(), values);
            // The probe's keys name columns of the rows before the join's own filter.
            let moved = base != stream.rows;
            list_fields.push(if moved { self.inherit(base, stream.rows, &value)? } else { value });
        }
        let fields: Vec<Expr> = if list_first {
            list_fields.into_iter().chain(stream.fields).collect()
        } else {
            stream.fields.into_iter().chain(list_fields).collect()
        };
        let relation = Relation { rows: stream.rows, fields, schema: join.schema.clone() };
        match rest {
            Some(rest) => {
                let predicate = substitute(self.catalog, &rest, &relation)?;
                self.filter(relation, &predicate)
            }
            None => Ok(relation),
        }
    }
}

fn repeated(ordinal: u32, keys: &[Expr]) -> DataFusionError {
    let row = ordinal + 1;
    let message = format!("row {row} of the list repeats a join key, so an event would become several");
    let help = format!("make {} unique in the list, or use IN or EXISTS", lookup::names(keys));
    fault(message, help, keys)
}

/// The two sides of a join, the stream's already filtered.
struct Sides<'a> {
    stream: Relation,
    /// The stream's rows before the join filtered them.
    base: RowSetId,
    probe: &'a Probe,
    table: &'a lookup::Table,
    list_first: bool,
}

/// Which rows of the stream a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    Matching,
    Others,
}

/// The parts of a join's condition.
#[derive(Default)]
struct JoinCondition {
    /// Stream's side and list's side of each equality.
    keys: Vec<(Expr, Expr)>,
    list_only: Vec<Expr>,
    rest: Vec<Expr>,
}

impl JoinCondition {
    fn split(join: &Join, stream: &DFSchema, list: &DFSchema, list_first: bool) -> Result<Self> {
        let mut condition = Self::default();
        for (left, right) in &join.on {
            let (left, right) = (left.clone(), right.clone());
            condition.keys.push(if list_first { (right, left) } else { (left, right) });
        }
        let within = |expression: &Expr, schema: &DFSchema| {
            expression.column_refs().iter().all(|column| schema.has_column(column))
        };
        for conjunct in join.filter.as_ref().map(split_conjunction).unwrap_or_default() {
            let sides = lookup::equality(conjunct);
            match sides {
                _ if within(conjunct, list) => condition.list_only.push(conjunct.clone()),
                Some((left, right)) if within(&left, stream) && within(&right, list) => {
                    condition.keys.push((left, right));
                }
                Some((left, right)) if within(&right, stream) && within(&left, list) => {
                    condition.keys.push((right, left));
                }
                _ => condition.rest.push(conjunct.clone()),
            }
        }
        Ok(condition)
    }
}
