//! `@budget`: past so many alerts of a rule in a period of event time, the rest are one summary.
//!
//! Takes hits that `@dedup` let through, with the watermark at their row; says which leave as they are, and hands on
//! [`Folded`] hits once the watermark has passed their period. Periods tumble: each hit belongs to exactly one, the
//! one that its own time is in, so a summary is about hits that no other summary tells of, and what it says does not
//! depend on the order in which they were judged. With a period that slides, each hit would have another one, and no
//! moment would close them.
//! What would surprise: a hit that comes after its period was closed alerts for itself, for its summary is gone.

use std::collections::BTreeMap;

use crate::event::{Coordinates, EventTime};
use crate::rules::Budget;

/// Most periods open at a time; past it, hits of further periods leave as they are.
const PERIODS_MAX: usize = 100_000;

/// Most entities that one summary counts one by one; hits of further ones are counted together.
const ENTITIES_MAX: usize = 10_000;

/// Examples that a summary gives: the earliest hits.
const EXAMPLES_MAX: usize = 10;

/// One hit that leaves in a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoldedHit {
    pub alert_id: String,
    pub event_id: String,
    pub entity: String,
    pub event_time: EventTime,
    pub coordinates: Coordinates,
}

/// The hits of one rule and period that leave in a summary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub count: u64,
    pub last: Option<EventTime>,
    /// Hits of each entity.
    pub entities: BTreeMap<String, u64>,
    /// Hits of entities that were too many to be counted one by one.
    pub of_other_entities: u64,
    /// The earliest hits, in the order of event time and alert id.
    pub examples: BTreeMap<(EventTime, String), FoldedHit>,
}

/// A period that the watermark has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passed {
    pub rule: usize,
    /// The first event time that is no longer in it.
    pub until: EventTime,
    /// Alerts that left as they are.
    pub alerts: u64,
    pub folded: Folded,
}

#[derive(Debug, Default)]
struct Period {
    alerts: u64,
    folded: Folded,
}

/// The periods that are open, by their end and rule.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    open: BTreeMap<(EventTime, usize), Period>,
}

/// The first event time after the period that a time is in.
fn until(budget: &Budget, at: EventTime) -> EventTime {
    let period = budget.period.0.max(1);
    EventTime(at.0.div_euclid(period).saturating_add(1).saturating_mul(period))
}

impl Budgets {
    /// Whether a hit leaves as it is; `watermark` is the one at its row.
    pub(super) fn admits(&mut self, rule: usize, budget: &Budget, at: EventTime, watermark: i64) -> bool {
        let until = until(budget, at);
        let full = self.open.len() >= PERIODS_MAX && !self.open.contains_key(&(until, rule));
        if until.0 <= watermark || full {
            return true;
        }
        let period = self.open.entry((until, rule)).or_default();
        let admitted = period.alerts < u64::from(budget.alerts);
        period.alerts += u64::from(admitted);
        admitted
    }

    /// Takes a hit that is over the budget into the summary of its period.
    pub(super) fn fold(&mut self, rule: usize, budget: &Budget, hit: FoldedHit) {
        let until = until(budget, hit.event_time);
        if self.open.len() >= PERIODS_MAX && !self.open.contains_key(&(until, rule)) {
            return;
        }
        self.open.entry((until, rule)).or_default().folded.take(hit);
    }

    /// Periods of rules that have a new number, under it; the others stay.
    pub(super) fn renumbered(&mut self, number: impl Fn(usize) -> Option<usize>) -> Self {
        let mut renumbered = Self::default();
        for ((until, rule), period) in std::mem::take(&mut self.open) {
            match number(rule) {
                Some(rule) => drop(renumbered.open.insert((until, rule), period)),
                None => drop(self.open.insert((until, rule), period)),
            }
        }
        renumbered
    }

    /// Takes an alert that was sent before a restart.
    pub(super) fn sent(&mut self, rule: usize, budget: &Budget, at: EventTime) {
        if self.open.len() < PERIODS_MAX {
            self.open.entry((until(budget, at), rule)).or_default().alerts += 1;
        }
    }

    /// The end of the next period that will have to be told of.
    pub(super) fn next_end(&self) -> Option<EventTime> {
        self.open.first_key_value().map(|((until, _), _)| *until)
    }

    /// Closes the periods that the watermark has passed; hands on those with something to tell, the earliest first.
    pub(super) fn close(&mut self, watermark: i64) -> Vec<Passed> {
        let mut passed = Vec::new();
        while let Some(entry) = self.open.first_entry() {
            if entry.key().0.0 > watermark {
                break;
            }
            let ((until, rule), Period { alerts, folded }) = entry.remove_entry();
            if folded.count > 0 {
                passed.push(Passed { rule, until, alerts, folded });
            }
        }
        passed
    }
}

impl Folded {
    fn take(&mut self, hit: FoldedHit) {
        self.count += 1;
        self.last = self.last.max(Some(hit.event_time));
        if let Some(hits) = self.entities.get_mut(&hit.entity) {
            *hits += 1;
        } else if self.entities.len() < ENTITIES_MAX {
            self.entities.insert(hit.entity.clone(), 1);
        } else {
            self.of_other_entities += 1;
        }
        self.examples.insert((hit.event_time, hit.alert_id.clone()), hit);
        if self.examples.len() > EXAMPLES_MAX {
            self.examples.pop_last();
        }
    }

    /// The hit with the least time and alert id.
    pub(super) fn first(&self) -> Option<&FoldedHit> {
        self.examples.first_key_value().map(|(_, hit)| hit)
    }

    /// The entities with most hits, at most so many, and of equal ones those whose names come first.
    pub(super) fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut entities: Vec<(&str, u64)> =
            self.entities.iter().map(|(entity, hits)| (entity.as_str(), *hits)).collect();
        entities.sort_by(|(one, hits), (other, more)| more.cmp(hits).then_with(|| one.cmp(other)));
        entities.truncate(most);
        entities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Offset, Partition, Span};

    fn budget() -> Budget {
        Budget { alerts: 2, period: Span::seconds(60), text: "2/m".to_owned() }
    }

    fn second(second: i64) -> EventTime {
        EventTime(second * 1_000_000)
    }

    fn hit(entity: &str, at: i64) -> FoldedHit {
        FoldedHit {
            alert_id: format!("{at:032x}"),
            event_id: format!("t{at}"),
            entity: entity.to_owned(),
            event_time: second(at),
            coordinates: Coordinates {
                partition: Partition { topic: "t".into(), partition: 0 },
                offset: Offset(at),
            },
        }
    }

    #[test]
    fn the_first_alerts_of_each_period_leave_as_they_are() {
        let mut budgets = Budgets::default();
        let mut admits = |at: i64| budgets.admits(0, &budget(), second(at), i64::MIN);
        assert_eq!(
            [admits(0), admits(59), admits(30), admits(60), admits(119)],
            [true, true, false, true, true]
        );
        assert_eq!([admits(119), admits(120), admits(-1)], [false, true, true]);
    }

    #[test]
    fn rules_do_not_spend_each_others_budgets() {
        let mut budgets = Budgets::default();
        let mut admits = |rule: usize| budgets.admits(rule, &budget(), second(0), i64::MIN);
        assert_eq!([admits(0), admits(0), admits(0), admits(1)], [true, true, false, true]);
    }

    #[test]
    fn a_period_is_told_of_once_the_watermark_reaches_its_end_and_only_where_something_was_folded() {
        let mut budgets = Budgets::default();
        budgets.admits(0, &budget(), second(10), i64::MIN);
        budgets.admits(1, &budget(), second(10), i64::MIN);
        budgets.fold(0, &budget(), hit("b", 20));
        budgets.fold(0, &budget(), hit("a", 15));
        budgets.fold(0, &budget(), hit("b", 25));
        assert_eq!(budgets.close(59_999_999), []);
        let passed = budgets.close(60_000_000);
        assert_eq!(passed.len(), 1, "{passed:?}");
        let told = &passed[0];
        assert_eq!((told.rule, told.until, told.alerts, told.folded.count), (0, second(60), 1, 3));
        assert_eq!(told.folded.first().map(|hit| hit.event_time), Some(second(15)));
        assert_eq!((told.folded.last, told.folded.top(1)), (Some(second(25)), vec![("b", 2)]));
        assert_eq!((budgets.close(i64::MAX), budgets.next_end()), (vec![], None));
    }

    #[test]
    fn what_a_summary_says_does_not_depend_on_the_order_of_its_hits() {
        let folded = |order: &[i64]| {
            let mut budgets = Budgets::default();
            order.iter().for_each(|at| budgets.fold(0, &budget(), hit(&format!("e{}", at % 3), *at)));
            budgets.close(i64::MAX)
        };
        let (up, down): (Vec<i64>, Vec<i64>) = ((0..40).collect(), (0..40).rev().collect());
        assert_eq!(folded(&up), folded(&down));
        assert_eq!(folded(&up)[0].folded.examples.len(), EXAMPLES_MAX);
    }

    #[test]
    fn a_hit_after_its_period_was_closed_alerts_for_itself() {
        let mut budgets = Budgets::default();
        assert!((0..9).all(|_| budgets.admits(0, &budget(), second(59), 60_000_000)));
        assert_eq!(budgets.next_end(), None);
    }

    #[test]
    fn what_was_sent_before_a_restart_is_spent() {
        let mut budgets = Budgets::default();
        budgets.sent(0, &budget(), second(1));
        budgets.sent(0, &budget(), second(2));
        assert!(!budgets.admits(0, &budget(), second(3), i64::MIN));
    }
}
