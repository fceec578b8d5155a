//! Where every row went.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decode::DeadLetter;
use crate::graph::RuleHits;
use crate::source::Fetched;

/// Rows since the start; `rows_in` = `answered` + `dead_letters` + `repeats` + `waiting`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that came in.
    pub rows_in: u64,
    /// Rows that every rule has judged.
    pub answered: u64,
    /// Records that could not be decoded.
    pub dead_letters: u64,
    /// Dead letters by kind.
    pub dead_letters_by_kind: BTreeMap<&'static str, u64>,
    /// Rows whose event id had come before.
    pub repeats: u64,
    /// Rows that wait for the watermark.
    pub waiting: u64,
    /// Answered rows that came too late for the promise of in-order answers.
    pub late: u64,
    /// Hits of all rules.
    pub hits: u64,
    /// Rows that one rule could not be evaluated on, counted for each rule.
    pub rule_errors: u64,
}

impl Counts {
    pub(super) fn add_fetched(&mut self, fetched: &Fetched) {
        self.rows_in += fetched.rows() as u64;
    }

    pub(super) fn add_dead_letters(&mut self, dead_letters: &[DeadLetter]) {
        self.dead_letters += dead_letters.len() as u64;
        for dead_letter in dead_letters {
            *self.dead_letters_by_kind.entry(dead_letter.kind).or_default() += 1;
        }
    }

    pub(super) fn add_hits(&mut self, hits: &RuleHits) {
        self.hits += hits.hits.iter().map(|found| found.rows.len() as u64).sum::<u64>();
        self.rule_errors += hits.errors.len() as u64;
    }

    /// Whether every row is accounted for.
    pub fn balanced(&self) -> bool {
        self.rows_in == self.answered + self.dead_letters + self.repeats + self.waiting
    }
}
