//! The definition: each query by a loop over rows, each frame worked out from all rows.
//!
//! Shares nothing with either engine but the query as data.

use std::collections::BTreeSet;

use super::data::Data;
use super::query::*;
use super::scalar::{Env, Membership, evaluate};
use super::value::Value;

/// When rows are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// By event time, rows of equal time together.
    InOrder,
    /// As they come.
    OnArrival,
}

/// Rows in the order in which they are answered, with the watermark in force at each.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub order: Order,
    /// Indexes of events.
    pub events: Vec<usize>,
    pub watermarks: Vec<i64>,
}

/// A row on its way through a query.
#[derive(Clone, Debug)]
struct Row {
    /// Place in the sequence.
    place: usize,
    time: i64,
    values: Vec<Value>,
}

/// The rows that a query selects.
pub(super) fn answer(query: &Select, data: &Data, sequence: &Sequence) -> Vec<Vec<Value>> {
    answer_by(query, data, sequence, Membership::ThreeValued)
}

/// The same with a choice of what `IN (SELECT …)` answers.
pub(super) fn answer_by(
    query: &Select,
    data: &Data,
    sequence: &Sequence,
    membership: Membership,
) -> Vec<Vec<Value>> {
    let naive = Naive { data, sequence, membership };
    naive.select(query).into_iter().map(|row| row.values).collect()
}

struct Naive<'a> {
    data: &'a Data,
    sequence: &'a Sequence,
    membership: Membership,
}

impl Naive<'_> {
    fn value(&self, expr: &Expr, row: &Row, calls: &[Value]) -> Value {
        let (lists, membership) = (&self.data.lists, self.membership);
        evaluate(expr, &Env { values: &row.values, calls, lists, membership })
    }

    fn select(&self, select: &Select) -> Vec<Row> {
        let mut rows = self.source(&select.source);
        if let Some(join) = &select.join {
            rows = rows.into_iter().filter_map(|row| self.joined(join, row)).collect();
        }
        let passes =
            |test: &Expr, row: &Row, calls: &[Value]| self.value(test, row, calls) == Value::Truth(true);
        if let Some(filter) = &select.filter {
            rows.retain(|row| passes(filter, row, &[]));
        }
        let answers: Vec<Vec<Value>> =
            select.calls.iter().map(|call| self.call(call, &select.windows[call.window], &rows)).collect();
        let mut selected = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let calls: Vec<Value> = answers.iter().map(|answers| answers[index].clone()).collect();
            if select.qualify.as_ref().is_some_and(|qualify| !passes(qualify, row, &calls)) {
                continue;
            }
            let values = select.items.iter().map(|item| self.value(&item.expr, row, &calls)).collect();
            selected.push(Row { values, ..row.clone() });
        }
        selected
    }

    fn source(&self, source: &Source) -> Vec<Row> {
        match source {
            Source::Stream(stream) => {
                let all = self.sequence.events.iter().enumerate();
                let own = all.filter(|(_, event)| self.data.events[**event].stream == *stream);
                own.map(|(place, event)| {
                    let event = &self.data.events[*event];
                    Row { place, time: event.time, values: event.values.clone() }
                })
                .collect()
            }
            Source::Nested(inner) | Source::Common(inner) => self.select(inner),
            Source::Union(parts, _) => {
                let mut rows: Vec<Row> = parts.iter().flat_map(|part| self.select(part)).collect();
                rows.sort_by_key(|row| row.place);
                rows
            }
        }
    }

    fn joined(&self, join: &Join, mut row: Row) -> Option<Row> {
        let key = self.value(&join.key, &row, &[]);
        let list = &self.data.lists[join.list];
        let matches = |entry: &&Vec<Value>| {
            let large = join.at_least.is_none_or(
                |(column, least)| matches!(entry[column], Value::Whole(number) if number >= least),
            );
            large && !key.is_null() && entry[join.column] == key
        };
        match list.iter().find(matches) {
            Some(entry) => row.values.extend(entry.iter().cloned()),
            None if join.keep_all => row.values.extend((0..3).map(|_| Value::Null)),
            None => return None,
        }
        Some(row)
    }

    fn call(&self, call: &Call, window: &Window, rows: &[Row]) -> Vec<Value> {
        let value = |expr: &Expr, row: &Row| self.value(expr, row, &[]);
        let keys: Vec<Vec<Value>> =
            rows.iter().map(|row| window.partition_by.iter().map(|key| value(key, row)).collect()).collect();
        let arguments: Vec<Value> = rows
            .iter()
            .map(|row| call.argument.as_ref().map_or(Value::Whole(1), |argument| value(argument, row)))
            .collect();
        let counted: Vec<bool> = rows
            .iter()
            .map(|row| call.filter.as_ref().is_none_or(|test| value(test, row) == Value::Truth(true)))
            .collect();
        let frame = match call.function {
            Function::Lag(offset) => Frame::Rows { start: Some(offset), end: offset },
            Function::RowNumber => Frame::Rows { start: None, end: 0 },
            _ => window.frame,
        };
        (0..rows.len())
            .map(|row| {
                let mine: Vec<usize> = (0..rows.len()).filter(|other| keys[*other] == keys[row]).collect();
                let frame = self.frame(frame, rows, &mine, row);
                let values: Vec<&Value> =
                    frame.iter().filter(|other| counted[**other]).map(|other| &arguments[*other]).collect();
                compute(call, &values)
            })
            .collect()
    }

    /// The rows of a frame, in order of time.
    fn frame(&self, frame: Frame, rows: &[Row], mine: &[usize], row: usize) -> Vec<usize> {
        let time = rows[row].time;
        let watermark = self.sequence.watermarks[rows[row].place];
        let in_order = self.sequence.order == Order::InOrder;
        let by_position = matches!(frame, Frame::Rows { .. });
        // In order, peers see each other; on arrival, and by position, only what came before.
        let mut known: Vec<usize> =
            mine.iter().copied().filter(|other| (in_order && !by_position) || *other <= row).collect();
        known.sort_by_key(|other| (rows[*other].time, *other));
        match frame {
            Frame::Default => self.frame(Frame::Range { start: None, end: 0 }, rows, mine, row),
            Frame::Range { start, end } => {
                known.retain(|other| {
                    let then = rows[*other].time;
                    let inside = start.is_none_or(|start| then >= time - start) && then <= time - end;
                    match start {
                        // A late row finds what its watermark has let go of gone.
                        Some(start) => {
                            inside && then >= watermark.saturating_sub(start) || end == 0 && *other == row
                        }
                        // What the watermark has passed is folded, and can't be told apart again.
                        None => inside || then < watermark.saturating_sub(end),
                    }
                });
                known
            }
            Frame::Rows { start, end } => {
                let position = known.iter().position(|other| *other == row).expect("a row knows itself");
                let passed = known.iter().filter(|other| rows[**other].time < watermark).count();
                let inside = |place: usize| match start {
                    Some(start) => {
                        let near = place + end <= position && place + start >= position;
                        near && place + start >= passed || end == 0 && place == position
                    }
                    None => place + end <= position || place + end < passed,
                };
                (0..known.len()).filter(|place| inside(*place)).map(|place| known[place]).collect()
            }
        }
    }
}

fn compute(call: &Call, all: &[&Value]) -> Value {
    use Function::*;
    let present: Vec<&Value> = all.iter().copied().filter(|value| !value.is_null()).collect();
    let seen = if call.ignore_nulls { &present } else { all };
    let whole = |count: usize| Value::Whole(count as i128);
    let at = |place: usize| seen.get(place).map_or(Value::Null, |value| (*value).clone());
    match call.function {
        CountRows | RowNumber => whole(all.len()),
        Count => whole(present.len()),
        CountDistinct => whole(present.iter().map(|value| value.to_string()).collect::<BTreeSet<_>>().len()),
        First => at(0),
        Last => seen.last().map_or(Value::Null, |value| (*value).clone()),
        Nth(n) => at(n as usize - 1),
        Lag(_) => match all.first() {
            Some(value) => (*value).clone(),
            None => call.lag_default.clone().unwrap_or(Value::Null),
        },
        _ if present.is_empty() => Value::Null,
        Sum => sum(&present),
        SumDistinct => {
            let different: BTreeSet<i128> = present.iter().map(|value| value.at_scale(0)).collect();
            Value::Whole(different.iter().sum())
        }
        Avg => average(&present),
        Min => (*present.iter().min_by(|a, b| a.order(b)).unwrap()).clone(),
        Max => (*present.iter().max_by(|a, b| a.order(b)).unwrap()).clone(),
        VarSamp => variance(&present, 1).map_or(Value::Null, Value::Float),
        VarPop => variance(&present, 0).map_or(Value::Null, Value::Float),
        StddevSamp => variance(&present, 1).map_or(Value::Null, |variance| Value::Float(variance.sqrt())),
        StddevPop => variance(&present, 0).map_or(Value::Null, |variance| Value::Float(variance.sqrt())),
        BoolAnd => Value::Truth(present.iter().all(|value| **value == Value::Truth(true))),
        BoolOr => Value::Truth(present.iter().any(|value| **value == Value::Truth(true))),
        Median => median(&present),
    }
}

fn sum(values: &[&Value]) -> Value {
    let scale = values.iter().map(|value| value.scale()).max().unwrap_or(0);
    match values[0] {
        Value::Whole(_) => Value::Whole(values.iter().map(|value| value.at_scale(0)).sum()),
        Value::Decimal(..) => Value::Decimal(values.iter().map(|value| value.at_scale(scale)).sum(), scale),
        _ => Value::Float(values.iter().map(|value| value.float()).sum()),
    }
}

/// A decimal's average has four digits more and is cut off; others are floats.
fn average(values: &[&Value]) -> Value {
    match sum(values) {
        Value::Decimal(sum, scale) => Value::Decimal(sum * 10_000 / values.len() as i128, scale + 4),
        sum => Value::Float(sum.float() / values.len() as f64),
    }
}

fn variance(values: &[&Value], less: usize) -> Option<f64> {
    if values.len() <= less {
        return None;
    }
    let numbers: Vec<f64> = values.iter().map(|value| value.float()).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
    Some(squares / (numbers.len() - less) as f64)
}

fn median(values: &[&Value]) -> Value {
    let mut numbers: Vec<f64> = values.iter().map(|value| value.float()).collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 {
        return Value::Float(numbers[middle]);
    }
    Value::Float((numbers[middle - 1] + numbers[middle]) / 2.0)
}
