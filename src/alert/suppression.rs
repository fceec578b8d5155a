//! `@dedup`: one alert for each value within a period of event time.
//!
//! A value's period starts with the alert that was sent, not with the hits it held back, so a matter that
//! goes on alerts again once a period. Values past their period are forgotten a few at a time.

use std::collections::{HashMap, VecDeque};

use crate::event::{EventTime, Span};

/// Most values remembered; past it the oldest is forgotten, which can only mean one alert too many.
const VALUES_MAX: usize = 1_000_000;

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
}

impl Suppression {
    /// Whether a hit alerts: how many were held back since the last alert, or none if this one is as well.
    pub(super) fn admit(
        &mut self,
        rule: usize,
        value: Vec<String>,
        at: EventTime,
        period: Span,
    ) -> Option<u64> {
        self.forget(at);
        let key = (rule, value);
        if let Some(sent) = self.sent.get_mut(&key)
            && at.0.saturating_sub(sent.at.0) < period.0
        {
            sent.held_back += 1;
            return None;
        }
        self.order.push_back((at, key.clone()));
        let before = self.sent.insert(key, Sent { at, period, held_back: 0 });
        Some(before.map_or(0, |sent| sent.held_back))
    }

    /// Looks at the two oldest alerts; those past twice their period can't matter to rows that come in turn.
    fn forget(&mut self, now: EventTime) {
        for _ in 0..2 {
            let Some((at, key)) = self.order.front() else { return };
            let current = self.sent.get(key).filter(|sent| sent.at == *at);
            let over = current.is_none_or(|sent| now.0.saturating_sub(sent.at.0) > 2 * sent.period.0);
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
    fn values_and_rules_do_not_suppress_each_other() {
        let mut suppression = Suppression::default();
        let at = EventTime(0);
        assert_eq!(suppression.admit(0, vec!["a".to_owned()], at, Span::seconds(60)), Some(0));
        assert_eq!(suppression.admit(0, vec!["b".to_owned()], at, Span::seconds(60)), Some(0));
        assert_eq!(suppression.admit(1, vec!["a".to_owned()], at, Span::seconds(60)), Some(0));
    }
}
