//! What one life of a job, or of anything else that answers rules, evaluates with.
//!
//! Takes a compiled [`RuleSet`]; hands on [`Parts`]: a core without state and the makers of alerts for its two
//! graphs. Fails where an expression can't be compiled or a binding names what is not there.

use std::sync::Arc;

use super::silent::answered_by_all;
use super::{Core, CoreSettings, Restored, StepOutcome, columns_read, engines};
use crate::alert::{AlertMaker, AlertSettings, AlertSummary};
use crate::decode::{DecodeError, DecodeLimits, Decoders, StreamBinding, Unused};
use crate::event::{Contract, EventTime};
use crate::graph::EngineError;
use crate::rules::{Emit, Rule, RuleSet, Standings};
use crate::source::Fetched;

/// Core and makers of alerts that belong together.
pub struct Parts {
    /// Decoding and answering.
    pub core: Core,
    /// Alerts of rules answered on arrival.
    pub on_arrival: AlertMaker,
    /// Alerts of rules answered in order.
    pub in_order: AlertMaker,
    /// The event contract.
    pub contract: Contract,
    /// For each stream, the columns that rules read.
    pub used: Vec<Vec<bool>>,
    /// Version of the rule set.
    pub ruleset: String,
    /// Rules that are switched off.
    standings: Standings,
    /// Whether rows carry every column of the contract, not only those that rules read.
    all_columns: bool,
}

/// Rules that compile and can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// A graph can't be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A binding of the settings is wrong.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Parts {
    /// Sets up decoding, evaluation and alerts of a rule set.
    pub fn of(
        set: &RuleSet,
        bindings: &[StreamBinding],
        limits: DecodeLimits,
        settings: CoreSettings,
        alerts: &AlertSettings,
    ) -> Result<Self, PartsError> {
        let contract = &set.catalog.contract;
        let [arrival, ordered] = engines(&set.on_arrival, &set.in_order, &settings.windows)?;
        let used = columns_read(contract, [&arrival, &ordered]);
        let decoders = Decoders::of_contract(contract, bindings, &used, limits)?;
        let maker = |rules: &[Rule]| AlertMaker::new(alerts.clone(), contract.clone(), Arc::from(rules));
        Ok(Self {
            core: Core::new(contract, decoders, arrival, ordered, settings),
            on_arrival: maker(&set.on_arrival.rules),
            in_order: maker(&set.in_order.rules),
            contract: contract.clone(),
            used,
            ruleset: set.version.clone(),
            standings: Standings::default(),
            all_columns: bindings.iter().all(|binding| binding.unused == Unused::Keep),
        })
    }

    /// Goes on for parts of another rule set at the border of two batches; gives those back where a window would be
    /// empty that has to be filled.
    pub(super) fn take_over(&mut self, mut before: Self) -> Result<(), Box<Self>> {
        if !self.core.take_over(&mut before.core, self.all_columns && before.all_columns) {
            return Err(Box::new(before));
        }
        self.set_standings(before.standings);
        self.on_arrival.take_over(before.on_arrival);
        self.in_order.take_over(before.in_order);
        Ok(())
    }

    /// Takes note of which rules are switched off.
    pub fn set_standings(&mut self, standings: Standings) {
        self.on_arrival.set_standings(&standings);
        self.in_order.set_standings(&standings);
        self.standings = standings;
    }

    /// Lets suppression forget what lies behind the watermark, once the rows up to there have been judged.
    pub(super) fn judged(&mut self) {
        let watermark = EventTime(self.core.watermarks().current());
        self.on_arrival.passed(watermark);
        self.in_order.passed(watermark);
    }

    /// What `@budget` held back in periods that have ended. After each step, and so before each commit, all of it is
    /// told: a restart from the commit knows that nothing from before its watermark is left.
    pub(super) fn summaries(&mut self) -> Vec<AlertSummary> {
        let watermark = EventTime(self.core.watermarks().current());
        let mut summaries = self.on_arrival.close(watermark);
        summaries.extend(self.in_order.close(watermark));
        summaries
    }

    /// Whether rows answered in this order are decided then: on arrival, unless no rule is answered so.
    pub(super) fn decides(&self, emit: Emit) -> bool {
        let none_on_arrival = self.on_arrival.rules().is_empty() && !self.in_order.rules().is_empty();
        (emit == Emit::InOrder) == none_on_arrival
    }

    /// The maker of alerts for an order of answers.
    pub fn maker(&mut self, emit: Emit) -> &mut AlertMaker {
        match emit {
            Emit::OnArrival => &mut self.on_arrival,
            Emit::InOrder => &mut self.in_order,
        }
    }

    /// Lets suppression see which hits of before were sent and which were held back.
    pub(super) fn remember(&mut self, outcome: &StepOutcome, sent: impl Fn(&str) -> bool) {
        for answered in &outcome.answered {
            self.maker(answered.emit).remember(&answered.batch, &answered.hits, &sent);
        }
        self.judged();
    }

    /// Takes rows that were answered before, as a start does: windows, time and suppression become what they were.
    pub fn rebuild(
        &mut self,
        rows: impl IntoIterator<Item = Fetched>,
        restored: &[Restored],
        sent: impl Fn(&str) -> bool,
    ) -> Result<(), EngineError> {
        self.core.watermarks().hold_below(answered_by_all(restored));
        for fetched in rows {
            let decoded = self.core.decode(fetched)?;
            let outcome = self.core.rehearse(decoded)?;
            self.remember(&outcome, &sent);
        }
        let outcome = self.core.restore(restored)?;
        self.remember(&outcome, &sent);
        Ok(())
    }
}
