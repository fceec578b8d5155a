//! Rules that cost more than they may go into shadow, are stopped if they still do there, and never take the job with
//! them.
//!
//! Takes what the engines have measured; turns the switch of a rule that is past its budget, tells operators in the
//! log and on the audit topic, where every other instance hears of it, and a restart too. `tollgate rules on ID` turns
//! it back. A rule that is stopped makes no more alerts; whoever prepares changes takes it out of the rules in force, so
//! that it costs nothing and its windows go. What would surprise: which rule is in quarantine depends on the speed of the
//! machine, so alerts from there on are not the same on another run; what left before stays what it was.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::Changed;
use super::incarnation::Incarnation;
use super::job::{JobError, JobEvent};
use crate::event::EventTime;
use crate::graph::Costs;
use crate::rules::{Emit, Rule, Stand, Status, Switch};

/// What a rule may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleBudget {
    /// Mean time an event; none: no limit.
    pub time: Option<Duration>,
    /// Bytes of window state; none: no limit.
    pub memory: Option<usize>,
}

/// How long rules are measured before they are judged.
const JUDGED_EVERY: Duration = Duration::from_secs(10);

/// Rows that must have been measured before rules are judged: what the first batches cost says little.
const ROWS_MIN: u64 = 1_000;

/// Judgements in a row that find a rule past its budget in shadow, or switched off, before it is stopped: a busy moment
/// of the machine is no reason.
const STRIKES: u32 = 3;

/// Who turns the switch.
const BY: &str = "tollgate";

/// What rules cost since they were last judged.
#[derive(Default)]
pub(super) struct Measured {
    since: Option<Duration>,
    costs: [Costs; 2],
    /// How often in a row rules that are not live were past their budget, by id and version.
    strikes: BTreeMap<(String, String), u32>,
}

impl Measured {
    /// Adds what was measured of the rules of one order.
    pub(super) fn add(&mut self, emit: Emit, costs: &Costs) {
        self.costs[usize::from(emit == Emit::InOrder)].add(costs);
    }

    /// Forgets it: other rules are in force.
    pub(super) fn forget(&mut self) {
        *self = Self { strikes: std::mem::take(&mut self.strikes), ..Self::default() };
    }

    /// Takes note of how a rule that is not live was judged, none where too little was measured; whether it is to stop.
    fn strike(&mut self, rule: &Rule, past: Option<bool>) -> bool {
        let name = (rule.header.id.clone(), rule.version.clone());
        match past {
            Some(true) => {
                let strikes = self.strikes.entry(name.clone()).or_default();
                *strikes += 1;
                if *strikes < STRIKES {
                    return false;
                }
            }
            Some(false) => {}
            None => return false,
        }
        // Who turns it back has as long again.
        self.strikes.remove(&name);
        past == Some(true)
    }

    /// The costs of both orders when it is time to judge; none of an order of which too few rows were measured yet.
    fn ready(&mut self, now: Duration) -> Option<[Option<Costs>; 2]> {
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < JUDGED_EVERY {
            return None;
        }
        self.since = Some(now);
        let enough = |costs: &mut Costs| (costs.measured_rows >= ROWS_MIN).then(|| std::mem::take(costs));
        Some(self.costs.each_mut().map(enough))
    }
}

impl RuleBudget {
    /// Why a rule is past its budget; none where it is not.
    fn exceeded(&self, nanos_a_row: Option<f64>, bytes: usize) -> Option<String> {
        let slow = self.time.zip(nanos_a_row).filter(|(most, nanos)| *nanos > most.as_nanos() as f64);
        if let Some((most, nanos)) = slow {
            let micros = nanos / 1_000.0;
            return Some(format!(
                "it took {micros:.1} µs an event, and `limits.rule_time` allows {:.1}",
                most.as_nanos() as f64 / 1_000.0
            ));
        }
        let most = self.memory.filter(|most| bytes > *most)?;
        Some(format!("its windows hold {bytes} bytes, and `limits.rule_memory` allows {most}"))
    }
}

impl Incarnation<'_> {
    /// Turns the switches of rules that cost more than they may.
    pub(super) fn quarantine(&mut self, watch: &mut impl FnMut(JobEvent<'_>)) -> Result<(), JobError> {
        let Some(costs) = self.measured.ready(self.job.clock.elapsed()) else { return Ok(()) };
        for (rule, to, reason) in self.guilty(&costs) {
            let what = if to == Stand::Stopped {
                tracing::error!(
                    rule,
                    reason,
                    "this rule still costs more than it may and is not evaluated any more: `tollgate rules on` turns it back"
                );
                "rule_stopped"
            } else {
                tracing::error!(
                    rule,
                    reason,
                    "this rule costs more than it may and goes into shadow: `tollgate rules on` turns it back"
                );
                "rule_quarantined"
            };
            let at = EventTime(self.job.clock.now_micros()).to_string();
            let turn = Switch { rule: rule.clone(), to, by: BY.to_owned(), reason: reason.clone(), at };
            self.turn(turn.clone());
            self.audit_about(what, Some(&rule), json!({"rule": rule, "by": BY, "reason": reason}))?;
            watch(JobEvent::Changed(&Changed::Switched(turn)));
        }
        Ok(())
    }

    /// Rules past their budgets, how they are to stand, and why.
    fn guilty(&mut self, costs: &[Option<Costs>; 2]) -> Vec<(String, Stand, String)> {
        let budget = self.job.policy.rule_budget;
        let mut guilty = Vec::new();
        for (emit, engine) in self.parts.core.engines() {
            let (maker, costs) = match emit {
                Emit::OnArrival => (&self.parts.on_arrival, &costs[0]),
                Emit::InOrder => (&self.parts.in_order, &costs[1]),
            };
            let bytes = engine.bytes_by_query();
            for (index, rule) in maker.rules().iter().enumerate() {
                let nanos = costs.as_ref().and_then(|costs| costs.nanos_a_row(index));
                let why = budget.exceeded(nanos, bytes.get(index).copied().unwrap_or_default());
                let stand = self.parts.standings().of(&rule.header.id);
                let live = stand != Stand::Off && maker.status(index) == Status::Live;
                let measured = nanos.is_some() || budget.time.is_none();
                let past =
                    if live { Some(false) } else { Some(why.is_some()).filter(|past| *past || measured) };
                let stop = self.measured.strike(rule, past);
                let to = if live { Stand::Shadow } else { Stand::Stopped };
                let turns = stand != Stand::Stopped && (live || stop);
                guilty.extend(why.filter(|_| turns).map(|reason| (rule.header.id.clone(), to, reason)));
            }
        }
        guilty
    }

    /// Turns the switch of one rule here.
    fn turn(&mut self, turn: Switch) {
        self.flush_rules();
        let mut standings = self.parts.standings().clone();
        standings.turn(turn);
        self.parts.set_standings(standings);
        self.observe_rule_set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceText;
    use crate::rules::Header;

    #[test]
    fn a_rule_is_past_its_budget_by_time_or_by_memory_and_is_told_which() {
        let budget = RuleBudget { time: Some(Duration::from_micros(50)), memory: Some(1_000) };
        assert_eq!(budget.exceeded(Some(50_000.0), 1_000), None, "the limit itself is allowed");
        assert_eq!(budget.exceeded(None, 10), None, "what was not measured is not judged");
        let slow = budget.exceeded(Some(61_234.0), 0).expect("too slow");
        assert_eq!(slow, "it took 61.2 µs an event, and `limits.rule_time` allows 50.0");
        let large = budget.exceeded(Some(1.0), 1_001).expect("too large");
        assert_eq!(large, "its windows hold 1001 bytes, and `limits.rule_memory` allows 1000");
        assert_eq!(RuleBudget::default().exceeded(Some(1e12), usize::MAX), None, "no limit");
    }

    #[test]
    fn a_rule_is_stopped_after_three_judgements_in_a_row_and_one_that_finds_it_cheap_begins_anew() {
        let source = SourceText::new(
            "a.sql",
            "-- @id: a\n-- @title: a\n-- @status: shadow\n-- @severity: low\n-- @score: 1\n-- @reason: r\n-- @owner: o\nSELECT",
        );
        let header = Header::read(&source).expect("a header");
        let rule = Rule { header, version: "1".to_owned(), source, columns: Vec::new() };
        let mut measured = Measured::default();
        let mut strike = |past| measured.strike(&rule, past);
        assert!(!strike(Some(true)) && !strike(Some(true)) && !strike(Some(false)));
        assert!(!strike(Some(true)) && !strike(Some(true)));
        assert!(!strike(None), "what was not measured says nothing");
        measured.forget();
        let next = Rule { version: "2".to_owned(), ..rule.clone() };
        assert!(!measured.strike(&next, Some(true)), "another version is another rule");
        assert!(measured.strike(&rule, Some(true)), "a change of other rules is no acquittal");
        assert!(!measured.strike(&rule, Some(true)), "it was turned back, and has as long again");
    }

    #[test]
    fn rules_are_judged_every_ten_seconds_and_their_time_once_a_thousand_rows_were_measured() {
        let mut measured = Measured::default();
        let rows = |measured_rows| Costs { rows: measured_rows, measured_rows, spent: vec![Duration::ZERO] };
        let at = Duration::from_secs;
        assert!(measured.ready(at(0)).is_none());
        measured.add(Emit::OnArrival, &rows(999));
        assert_eq!(measured.ready(at(30)), Some([None, None]), "too few rows");
        measured.add(Emit::OnArrival, &rows(1));
        assert!(measured.ready(at(39)).is_none(), "too soon");
        assert_eq!(measured.ready(at(40)), Some([Some(rows(1_000)), None]));
        assert_eq!(measured.ready(at(50)), Some([None, None]), "they were judged");
    }
}
