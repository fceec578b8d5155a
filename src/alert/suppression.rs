//! `@dedup`: one alert for each value within a period of event time.
//!
//! A value's period starts with the alert that was sent, not with the hits it held back, so a matter that
//! goes on alerts again once a period. Values past their period are forgotten a few at a time.

use std::collections::{HashMap, VecDeque};

use crate::event::{EventTime, Span};

/// Most values remembered; past it the oldest is forgotten, which can only mean one alert too many.
const VALUES_MAX: usize = 1_000_000;

/// An alert is forgotten so many periods after it; the next one then says that it held nothing back.
pub(crate) const FORGOTTEN_AFTER: i64 = 2;

type Key = (usize, Vec<String>);

#[derive(Debug)]
struct Sent {
    at: EventTime,
    period: Span,
    held_back: u64,
}

/// When each rule last alerted about each value.
#[derive(Debug, Default)]
pub(super) struct Suppression {
    sent: HashMap<Key, Sent>,
    order: VecDeque<(EventTime, Key)>,
    /// The watermark: how far all partitions have come. The time of a single row would not do, for the
    /// partitions of a topic may be read far apart.
    passed: Option<EventTime>,
}

impl Suppression {
    /// Takes note that all partitions have come so far, and that rows from before have been judged.
    pub(super) fn passed(&mut self, watermark: EventTime) {
        self.passed = self.passed.max(Some(watermark));
    }

    /// Whether a hit is held back, as [`Self::admit`] would say, without taking note of it.
    pub(super) fn holds(&self, rule: usize, value: Vec<String>, at: EventTime, period: Span) -> bool {
        let sent = self.sent.get(&(rule, value));
        sent.is_some_and(|sent| at.0.saturating_sub(sent.at.0) < period.0)
    }

    /// Whether a hit alerts: how many were held back since the last alert, or none if this one is as well.
    pub(super) fn admit(
        &mut self,
        rule: usize,
        value: Vec<String>,
        at: EventTime,
        period: Span,
    ) -> Option<u64> {
        self.forget();
        let key = (rule, value);
        if let Some(sent) = self.sent.get_mut(&key)
            && at.0.saturating_sub(sent.at.0) < period.0
        {
            sent.held_back += 1;
            return None;
        }
        self.order.push_back((at, key.clone()));
        let before = self.sent.insert(key, Sent { at, period, held_back: 0 });
        // What is about to be forgotten is not counted, so that it makes no difference when that happens.
        let recent = before.filter(|sent| at.0.saturating_sub(sent.at.0) <= FORGOTTEN_AFTER * sent.period.0);
        Some(recent.map_or(0, |sent| sent.held_back))
    }

    /// What is remembered, with the rules' new numbers; rules without one are forgotten.
    pub(super) fn renumbered(self, number: impl Fn(usize) -> Option<usize>) -> Self {
        let renumber = |(rule, value): Key| Some((number(rule)?, value));
        Self {
            sent: self.sent.into_iter().filter_map(|(key, sent)| Some((renumber(key)?, sent))).collect(),
            order: self.order.into_iter().filter_map(|(at, key)| Some((at, renumber(key)?))).collect(),
            passed: self.passed,
        }
    }

    /// Takes a hit that was judged before a restart, and whether its alert was sent.
    pub(super) fn remember(
        &mut self,
        rule: usize,
        value: Vec<String>,
        at: EventTime,
        period: Span,
        sent: bool,
    ) {
        self.forget();
        let key = (rule, value);
        if sent {
            self.order.push_back((at, key.clone()));
            self.sent.insert(key, Sent { at, period, held_back: 0 });
        } else if let Some(known) = self.sent.get_mut(&key) {
            known.held_back += 1;
        }
    }

    /// Looks at the two oldest alerts; those long past can't matter to rows that come in turn.
    fn forget(&mut self) {
        for _ in 0..2 {
            let Some((at, key)) = self.order.front() else { return };
            let current = self.sent.get(key).filter(|sent| sent.at == *at);
            let past = |sent: &Sent| {
                let span = FORGOTTEN_AFTER.saturating_mul(sent.period.0);
                self.passed.is_some_and(|now| now.0.saturating_sub(sent.at.0) > span)
            };
            let over = current.is_none_or(past);
            if !over && self.sent.len() <= VALUES_MAX {
                return;
            }
            if current.is_some() {
                self.sent.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matter_that_goes_on_alerts_once_a_period_and_says_what_it_held_back() {
        let mut suppression = Suppression::default();
        let mut admit = |seconds: i64| {
            suppression.admit(0, vec!["card".to_owned()], EventTime(seconds * 1_000_000), Span::seconds(60))
        };
        assert_eq!(
            [admit(0), admit(10), admit(59), admit(60), admit(61)],
            [Some(0), None, None, Some(2), None]
        );
    }

    #[test]
    fn what_was_held_back_two_periods_ago_is_no_longer_told() {
        let mut suppression = Suppression::default();
        let mut admit = |card: &str, seconds: i64| {
            suppression.admit(0, vec![card.to_owned()], EventTime(seconds * 1_000_000), Span::seconds(60))
        };
        // Whether the entry is still there depends on the alerts of others; what is said does not.
        assert_eq!([admit("a", 0), admit("b", 1), admit("b", 2)], [Some(0), Some(0), None]);
        assert_eq!([admit("a", 119), admit("b", 122)], [Some(0), Some(0)]);
        assert_eq!([admit("b", 123), admit("b", 242)], [None, Some(1)]);
    }

    #[test]
    fn a_partition_that_is_read_ahead_makes_no_other_forget() {
        let (second, period) = (|seconds: i64| EventTime(seconds * 1_000_000), Span::seconds(60));
        let mut suppression = Suppression::default();
        let admit = |suppression: &mut Suppression, card: &str, seconds: i64| {
            suppression.admit(0, vec![card.to_owned()], second(seconds), period)
        };
        assert_eq!(admit(&mut suppression, "slow", 0), Some(0));
        assert_eq!(admit(&mut suppression, "slow", 1), None);
        for ahead in 0..10 {
            admit(&mut suppression, "fast", 10_000 + ahead * 100);
        }
        assert_eq!(admit(&mut suppression, "slow", 100), Some(1));
        suppression.passed(second(20_000));
        for later in 0..10 {
            admit(&mut suppression, "fast", 20_000 + later * 100);
        }
        assert!(!suppression.sent.contains_key(&(0, vec!["slow".to_owned()])));
    }

    #[test]
    fn after_a_restart_suppression_goes_on_from_what_was_sent() {
        let key = || vec!["card".to_owned()];
        let (second, period) = (|seconds: i64| EventTime(seconds * 1_000_000), Span::seconds(60));
        let mut suppression = Suppression::default();
        suppression.remember(0, key(), second(0), period, false);
        suppression.remember(0, key(), second(10), period, true);
        suppression.remember(0, key(), second(20), period, false);
        assert_eq!(suppression.admit(0, key(), second(69), period), None);
        assert_eq!(suppression.admit(0, key(), second(70), period), Some(2));
    }

    #[test]
    fn values_and_rules_do_not_suppress_each_other() {
        let mut suppression = Suppression::default();
        let at = EventTime(0);
        assert_eq!(suppression.admit(0, vec!["a".to_owned()], at, Span::seconds(60)), Some(0));
        assert_eq!(suppression.admit(0, vec!["b".to_owned()], at, Span::seconds(60)), Some(0));
        assert_eq!(suppression.admit(1, vec!["a".to_owned()], at, Span::seconds(60)), Some(0));
    }
}
