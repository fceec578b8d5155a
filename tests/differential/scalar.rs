//! Scalar expressions by hand, with SQL's three truth values.

use std::cmp::Ordering;

use super::query::*;
use super::value::Value;

const HOUR: i64 = 3_600_000_000;

/// What an expression reads.
pub(super) struct Env<'a> {
    pub values: &'a [Value],
    pub calls: &'a [Value],
    pub lists: &'a [Vec<Vec<Value>>],
    pub membership: Membership,
}

/// What `x IN (SELECT …)` answers where a null is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Unknown, as SQL has it.
    ThreeValued,
    /// Not a member, as DataFusion has it beside an `OR`.
    TwoValued,
}

/// The value of an expression on one row.
pub(super) fn evaluate(expr: &Expr, env: &Env<'_>) -> Value {
    match expr {
        Expr::Field(field) => env.values[*field].clone(),
        Expr::Call(call) | Expr::CallAlias(call) => env.calls[*call].clone(),
        Expr::Literal(value) => value.clone(),
        Expr::Binary(left, operator, right) => {
            let (left, right) = (evaluate(left, env), evaluate(right, env));
            match operator {
                Operator::And | Operator::Or => logic(&left, *operator, &right),
                _ if left.is_null() || right.is_null() => Value::Null,
                _ => binary(&left, *operator, &right),
            }
        }
        Expr::Divide(left, right) => match (evaluate(left, env), evaluate(right, env)) {
            (Value::Whole(left), Value::Whole(right)) if right != 0 => Value::Whole(left / right),
            _ => Value::Null,
        },
        Expr::Not(of) => match evaluate(of, env) {
            Value::Truth(truth) => Value::Truth(!truth),
            _ => Value::Null,
        },
        Expr::IsNull { of, negated } => Value::Truth(evaluate(of, env).is_null() != *negated),
        Expr::Case { when, then, otherwise } => match (evaluate(when, env), otherwise) {
            (Value::Truth(true), _) => evaluate(then, env),
            (_, Some(otherwise)) => evaluate(otherwise, env),
            _ => Value::Null,
        },
        Expr::Coalesce(parts) => {
            let mut values = parts.iter().map(|part| evaluate(part, env));
            values.find(|value| !value.is_null()).unwrap_or(Value::Null)
        }
        Expr::InValues { of, values, negated } => member(&evaluate(of, env), values.iter(), *negated),
        Expr::Between(of, low, high) => match evaluate(of, env) {
            Value::Null => Value::Null,
            value => Value::Truth(value.order(low).is_ge() && value.order(high).is_le()),
        },
        Expr::Function(function, of) => match evaluate(of, env) {
            Value::Null => Value::Null,
            value => scalar(*function, value),
        },
        Expr::Lookup(lookup) => looked_up(lookup, env),
    }
}

fn logic(left: &Value, operator: Operator, right: &Value) -> Value {
    let decisive = Value::Truth(operator == Operator::Or);
    if *left == decisive || *right == decisive {
        return decisive;
    }
    if left.is_null() || right.is_null() { Value::Null } else { Value::Truth(operator == Operator::And) }
}

fn binary(left: &Value, operator: Operator, right: &Value) -> Value {
    let order = || left.order(right);
    match operator {
        Operator::Concat => match (left, right) {
            (Value::Text(left), Value::Text(right)) => Value::Text(format!("{left}{right}")),
            _ => panic!("{left} || {right}"),
        },
        Operator::Equal => Value::Truth(order() == Ordering::Equal),
        Operator::Unequal => Value::Truth(order() != Ordering::Equal),
        Operator::Less => Value::Truth(order().is_lt()),
        Operator::LessOrEqual => Value::Truth(order().is_le()),
        Operator::Greater => Value::Truth(order().is_gt()),
        Operator::GreaterOrEqual => Value::Truth(order().is_ge()),
        _ => arithmetic(left, operator, right),
    }
}

fn arithmetic(left: &Value, operator: Operator, right: &Value) -> Value {
    if matches!(left, Value::Float(_)) || matches!(right, Value::Float(_)) {
        let (left, right) = (left.float(), right.float());
        return Value::Float(match operator {
            Operator::Plus => left + right,
            Operator::Minus => left - right,
            Operator::Times => left * right,
            other => panic!("{other:?} of floats"),
        });
    }
    let scale = left.scale().max(right.scale());
    let (a, b) = (left.at_scale(scale), right.at_scale(scale));
    let (number, scale) = match operator {
        Operator::Plus => (a + b, scale),
        Operator::Minus => (a - b, scale),
        Operator::Times => {
            (left.at_scale(left.scale()) * right.at_scale(right.scale()), left.scale() + right.scale())
        }
        Operator::Modulo => (a % b, scale),
        other => panic!("{other:?} is no arithmetic"),
    };
    match (left, right) {
        (Value::Whole(_), Value::Whole(_)) => Value::Whole(number),
        _ => Value::Decimal(number, scale),
    }
}

fn scalar(function: Scalar, value: Value) -> Value {
    match (function, value) {
        (Scalar::Absolute, Value::Whole(number)) => Value::Whole(number.abs()),
        (Scalar::Absolute, Value::Decimal(number, scale)) => Value::Decimal(number.abs(), scale),
        (Scalar::Length, Value::Text(text)) => Value::Whole(text.chars().count() as i128),
        (Scalar::Upper, Value::Text(text)) => Value::Text(text.to_uppercase()),
        (Scalar::Hour, Value::Time(micros)) => Value::Whole(i128::from(micros.div_euclid(HOUR) % 24)),
        (Scalar::TruncateToHour, Value::Time(micros)) => Value::Time(micros - micros.rem_euclid(HOUR)),
        (Scalar::AsDouble, value) => Value::Float(value.float()),
        (Scalar::AsText, Value::Whole(number)) => Value::Text(number.to_string()),
        (function, value) => panic!("{function:?} of {value}"),
    }
}

/// `value IN (…)`: unknown if it is not found and either side holds a null.
fn member<'a>(value: &Value, values: impl Iterator<Item = &'a Value>, negated: bool) -> Value {
    let mut unknown = value.is_null();
    let mut empty = true;
    for candidate in values {
        empty = false;
        if candidate.is_null() {
            unknown = true;
        } else if !value.is_null() && value.order(candidate).is_eq() {
            return Value::Truth(!negated);
        }
    }
    if unknown && !empty { Value::Null } else { Value::Truth(negated) }
}

fn looked_up(lookup: &Lookup, env: &Env<'_>) -> Value {
    let key = evaluate(&lookup.key, env);
    let large = |row: &&Vec<Value>| {
        lookup
            .at_least
            .is_none_or(|(column, least)| matches!(row[column], Value::Whole(number) if number >= least))
    };
    let column = env.lists[lookup.list].iter().filter(large).map(|row| &row[lookup.column]);
    if lookup.exists {
        let mut column = column;
        let found = !key.is_null() && column.any(|value| !value.is_null() && value.order(&key).is_eq());
        return Value::Truth(found != lookup.negated);
    }
    match (member(&key, column, lookup.negated), env.membership) {
        (Value::Null, Membership::TwoValued) => Value::Truth(lookup.negated),
        (answer, _) => answer,
    }
}
