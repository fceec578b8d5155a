//! What rules share and what each adds.

use serde::Serialize;

use super::Flags;
use super::case::Case;
use super::events::Amount;

/// Events that both of two rules hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// Ids, in the order of rows and columns.
    pub rules: Vec<String>,
    /// Events that hit both; on the diagonal a rule's own.
    pub events: Vec<Vec<u64>>,
    /// Frauds among them.
    pub frauds: Vec<Vec<u64>>,
}

/// What a rule adds to all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Marginal {
    /// Events that it alone hits.
    pub hits: u64,
    /// Frauds that it alone hits.
    pub frauds: u64,
    /// False positives that it alone raises.
    pub false_positives: u64,
    /// Value of the frauds that it alone hits.
    pub value_caught: Option<Amount>,
}

/// Counts pairs; `flags` are within the scope.
pub(super) fn overlap(case: &Case<'_>, ids: Vec<String>, flags: &[&Flags]) -> Overlap {
    let mut events = vec![vec![0; flags.len()]; flags.len()];
    let mut frauds = events.clone();
    for (row, first) in flags.iter().enumerate() {
        for (column, second) in flags.iter().enumerate().skip(row) {
            let (both, of_fraud) = shared(case, &first.hits, &second.hits);
            (events[row][column], events[column][row]) = (both, both);
            (frauds[row][column], frauds[column][row]) = (of_fraud, of_fraud);
        }
    }
    Overlap { rules: ids, events, frauds }
}

/// Members of two ascending lists that are in both, and the frauds among them.
fn shared(case: &Case<'_>, first: &[u32], second: &[u32]) -> (u64, u64) {
    let (mut both, mut frauds) = (0, 0);
    let mut rest = second;
    for event in first {
        let skip = rest.partition_point(|other| other < event);
        rest = &rest[skip..];
        if rest.first() == Some(event) {
            both += 1;
            frauds += u64::from(case.events.is_fraud(*event));
        }
    }
    (both, frauds)
}

/// What each rule adds; `flags` are within the scope.
pub(super) fn marginals(case: &Case<'_>, flags: &[&Flags]) -> Vec<Marginal> {
    let mut rules_hitting = vec![0_u32; case.events.len()];
    for event in flags.iter().flat_map(|flags| &flags.hits) {
        rules_hitting[*event as usize] += 1;
    }
    let of = |flags: &&Flags| {
        let alone: Vec<u32> =
            flags.hits.iter().copied().filter(|event| rules_hitting[*event as usize] == 1).collect();
        let frauds: Vec<u32> = alone.iter().copied().filter(|event| case.events.is_fraud(*event)).collect();
        Marginal {
            hits: alone.len() as u64,
            frauds: frauds.len() as u64,
            false_positives: (alone.len() - frauds.len()) as u64,
            value_caught: value_of(case, &frauds),
        }
    };
    flags.iter().map(of).collect()
}

/// Sum of the events' values; none without a value column.
pub(super) fn value_of(case: &Case<'_>, events: &[u32]) -> Option<Amount> {
    let values = &case.events.value;
    (!values.is_empty()).then(|| Amount {
        units: events.iter().map(|event| values[*event as usize]).sum(),
        scale: case.events.value_scale,
    })
}
