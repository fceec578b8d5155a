//! What a rule's header names of a hit: columns, the key of `@dedup`, points.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::json;
use crate::graph::QueryHits;
use crate::rules::Rule;

pub(super) fn dedup_key(rule: &Rule, found: &QueryHits, hit: usize) -> Vec<String> {
    let columns = rule.header.dedup.iter().flat_map(|dedup| &dedup.columns);
    columns.map(|name| json::key(column(rule, found, name), hit)).collect()
}

/// How an event of a `PRIMARY KEY` with these parts is called.
pub(crate) fn event_id(parts: &[String]) -> String {
    parts.join("/")
}

/// A selected column by name; [`Rule`]s are only made when the names their headers use are selected.
pub(super) fn column<'a>(rule: &Rule, found: &'a QueryHits, name: &str) -> &'a ArrayRef {
    let index = rule.columns.iter().position(|own| own == name).unwrap_or(0);
    &found.columns[index]
}

/// The points of a hit.
pub fn points(rule: &Rule, found: &QueryHits, hit: usize) -> u32 {
    let value = rule.header.score.column().and_then(|name| {
        let value = cast(&column(rule, found, name).slice(hit, 1), &DataType::Float64).ok()?;
        let value = value.as_primitive_opt::<Float64Type>()?;
        value.is_valid(0).then(|| value.value(0))
    });
    rule.header.score.of(value)
}
