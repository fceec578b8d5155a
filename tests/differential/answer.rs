//! The rows a query gave, and the first place where two sets of them differ.

use std::fmt::Write;

use arrow::datatypes::DataType;

use super::value::{Closeness, Value};

/// All hits of one query, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub rows: Vec<Vec<Value>>,
    /// Types of the columns, where there was a hit.
    pub types: Vec<DataType>,
}

/// What differs between two answers, in words; none if nothing does. The first `keys` columns name a row.
pub(super) fn difference(
    names: [&str; 2],
    left: &[Vec<Value>],
    right: &[Vec<Value>],
    keys: usize,
) -> Option<String> {
    difference_within(Closeness::Exact, names, [left, right], keys)
}

/// The same with a choice of how near floats must be.
pub(super) fn difference_within(
    closeness: Closeness,
    names: [&str; 2],
    [left, right]: [&[Vec<Value>]; 2],
    keys: usize,
) -> Option<String> {
    let sorted = |rows: &[Vec<Value>]| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row[..keys].iter().map(ToString::to_string).collect::<Vec<_>>());
        rows
    };
    let (left, right) = (sorted(left), sorted(right));
    let key = |row: &Vec<Value>| row[..keys].to_vec();
    let mut text = String::new();
    for (a, b) in left.iter().zip(&right) {
        if key(a) != key(b) {
            break;
        }
        for (column, (x, y)) in a.iter().zip(b).enumerate() {
            if !x.agrees(y, closeness) {
                let _ = write!(
                    text,
                    "row {}, column {}: {} {x}, {} {y}",
                    shown(&a[..keys]),
                    column + 1,
                    names[0],
                    names[1]
                );
                return Some(text);
            }
        }
    }
    let missing = |from: &[Vec<Value>], within: &[Vec<Value>]| -> Vec<String> {
        let known: Vec<_> = within.iter().map(key).collect();
        let gone = from.iter().filter(|row| !known.contains(&key(row)));
        gone.take(3).map(|row| shown(row)).collect()
    };
    let (only_left, only_right) = (missing(&left, &right), missing(&right, &left));
    if only_left.is_empty() && only_right.is_empty() && left.len() == right.len() {
        return None;
    }
    let _ = write!(
        text,
        "{} has {} rows, {} has {}; only {}: {only_left:?}; only {}: {only_right:?}",
        names[0],
        left.len(),
        names[1],
        right.len(),
        names[0],
        names[1]
    );
    Some(text)
}

fn shown(row: &[Value]) -> String {
    row.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
