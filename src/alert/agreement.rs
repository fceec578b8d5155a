//! How a shadow version and the live rule that it is a version of judged the same things.

use serde::Serialize;

use super::AlertMaker;
use crate::decode::DecodedBatch;
use crate::event::EventTime;
use crate::graph::RuleHits;
use crate::rules::Rule;

/// What both flagged, and what one of them alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// What both flagged.
    pub both: u64,
    /// What the live rule alone flagged: promoting the version would lose it.
    pub live_only: u64,
    /// What the version alone flagged: promoting it would gain it.
    pub shadow_only: u64,
}

impl Agreement {
    /// Of things in ascending order; one that stands there twice counts once.
    pub fn of<T: Ord>(live: impl IntoIterator<Item = T>, shadow: impl IntoIterator<Item = T>) -> Self {
        let (mut live, mut shadow) = (live.into_iter().peekable(), shadow.into_iter().peekable());
        let mut all = Self::default();
        loop {
            let (first, count) = match (live.peek(), shadow.peek()) {
                (None, None) => return all,
                (Some(a), Some(b)) if a == b => (live.next(), &mut all.both),
                (a, b) if b.is_none() || a.is_some() && a < b => (live.next(), &mut all.live_only),
                _ => (shadow.next(), &mut all.shadow_only),
            };
            *count += 1;
            if let Some(first) = first {
                while live.next_if_eq(&first).is_some() {}
                while shadow.next_if_eq(&first).is_some() {}
            }
        }
    }
}

/// Of rules that are evaluated together, each shadow version and its live rule, by their indexes.
pub(super) fn versions(rules: &[Rule]) -> Vec<(usize, usize)> {
    let live = |id: &str| rules.iter().position(|rule| rule.header.id == id);
    let all = rules.iter().enumerate();
    all.filter_map(|(index, rule)| Some((index, live(rule.header.shadow_of.as_deref()?)?))).collect()
}

impl AlertMaker {
    /// Each shadow version and the live rule that it is a version of.
    pub fn versions(&self) -> impl Iterator<Item = (&Rule, &Rule)> {
        self.versions.iter().map(|(version, live)| (&self.rules[*version], &self.rules[*live]))
    }

    /// How each of them judged the rows of a batch, in the same order. Those of which one is switched off have nothing
    /// to say.
    pub fn agreements(&self, batch: &DecodedBatch, hits: &RuleHits) -> Vec<Agreement> {
        let rows = |rule: usize| {
            let found = hits.hits.iter().find(|found| found.query == rule);
            let rows = found.map_or(&[][..], |found| &found.rows);
            let at = |row: &u32| EventTime(batch.rows.event_time[*row as usize]);
            rows.iter().filter(move |row| self.rules[rule].header.judges(at(row)))
        };
        let agreement = |(version, live): &(usize, usize)| match self.is_off(*version) || self.is_off(*live) {
            true => Agreement::default(),
            false => Agreement::of(rows(*live), rows(*version)),
        };
        self.versions.iter().map(agreement).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_flag_counts_once_and_what_one_flags_is_told_apart() {
        let agreement = |live: &[u32], shadow: &[u32]| {
            let Agreement { both, live_only, shadow_only } = Agreement::of(live, shadow);
            (both, live_only, shadow_only)
        };
        assert_eq!(agreement(&[1, 2, 2, 5], &[2, 3, 3, 5, 5, 9]), (2, 1, 2));
        assert_eq!((agreement(&[], &[7]), agreement(&[7], &[])), ((0, 0, 1), (0, 1, 0)));
        assert_eq!(agreement(&[], &[]), (0, 0, 0));
    }
}
