//! What one life of a job, or of anything else that answers rules, evaluates with.
//!
//! Takes a compiled [`RuleSet`]; hands on [`Parts`]: a core without state and the makers of alerts for its two
//! graphs. Fails where an expression can't be compiled or a binding names what is not there.

use std::sync::Arc;

use super::silent::answered_by_all;
use super::succession::{Before, Filled, SuccessionError};
use super::{Answered, Core, CoreSettings, Restored, StepOutcome, StreamPolicy, columns_read, engines_after};
use crate::alert::{AlertBatch, AlertMaker, AlertSettings, AlertSummary, FORGOTTEN_AFTER};
use crate::decision::{Decision, DecisionSettings, Evidence, decide};
use crate::decode::{DecodeError, DecodeLimits, Decoders, StreamBinding};
use crate::event::{Contract, EventTime, Span};
use crate::graph::EngineError;
use crate::rules::{Emit, Rule, RuleSet, Standings, Status};
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
    /// Version of what judges rows; see [`version_with`].
    pub ruleset: String,
    /// How events are decided; none: no decisions are made.
    decisions: Option<DecisionSettings>,
    /// Rules that do not stand as their files say.
    standings: Standings,
    /// Decoders of what these rules and those before read, where they follow others.
    pub(super) widened: Option<Decoders>,
    /// Summaries of rules that are gone, not yet told.
    last_words: Vec<AlertSummary>,
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
        Self::after(set, bindings, limits, (settings, alerts), None)
    }

    /// The same; with what others keep, they are to follow those.
    pub fn after(
        set: &RuleSet,
        bindings: &[StreamBinding],
        limits: DecodeLimits,
        (settings, alerts): (CoreSettings, &AlertSettings),
        before: Option<&Before>,
    ) -> Result<Self, PartsError> {
        let contract = &set.catalog.contract;
        let [arrival, ordered] = engines_after(&set.on_arrival, &set.in_order, &settings.windows, before)?;
        let mut used = columns_read(contract, [&arrival, &ordered]);
        if let Some(labels) = &settings.labels {
            for column in labels.event_id.iter().chain([&labels.fraud]) {
                used[labels.stream][*column] = true;
            }
        }
        let decoders = Decoders::of_contract(contract, bindings, &used, limits)?;
        let both = before.map(|before| either(&used, &before.used));
        let widened =
            both.map(|used| Decoders::of_contract(contract, bindings, &used, limits)).transpose()?;
        let maker = |rules: &[Rule]| AlertMaker::new(alerts.clone(), contract.clone(), Arc::from(rules));
        Ok(Self {
            core: Core::new(contract, decoders, arrival, ordered, settings),
            on_arrival: maker(&set.on_arrival.rules),
            in_order: maker(&set.in_order.rules),
            contract: contract.clone(),
            used,
            ruleset: set.version.clone(),
            decisions: None,
            standings: Standings::default(),
            widened,
            last_words: Vec::new(),
        })
    }

    /// The same for events that stand under the contract's own names, as in files, of no cluster.
    pub fn of_files(set: &RuleSet, settings: CoreSettings) -> Result<Self, PartsError> {
        let bindings = vec![StreamBinding::default(); set.catalog.contract.streams.len()];
        Self::of(set, &bindings, DecodeLimits::default(), settings, &AlertSettings::default())
    }

    /// Has events decided so.
    pub fn deciding(self, decisions: Option<DecisionSettings>) -> Self {
        Self { ruleset: version_with(&self.ruleset, decisions.as_ref()), decisions, ..self }
    }

    /// What these parts keep, for those that follow.
    pub(super) fn before(&self) -> Before {
        self.core.before(&self.used)
    }

    /// Has parts of another rule set take the place of these between two batches. `complete_from` is the event time
    /// from which on their new windows hold everything, where they could not be filled.
    pub(super) fn succeed(
        &mut self,
        next: Self,
        filled: Filled,
        complete_from: Option<i64>,
    ) -> Result<(), SuccessionError> {
        let to_fill = [Emit::OnArrival, Emit::InOrder].map(|emit| next.core.rules_to_fill(emit));
        let Self { core, on_arrival, in_order, used, ruleset, decisions, .. } = next;
        self.core.succeed(core, filled)?;
        let standings = self.standings.clone();
        let makers = [(on_arrival, &mut self.on_arrival), (in_order, &mut self.in_order)];
        for ((mut next, own), to_fill) in makers.into_iter().zip(to_fill) {
            next.set_standings(&standings);
            self.last_words.extend(next.take_over(own));
            for (rule, span) in to_fill.into_iter().enumerate() {
                if let (Some(span), Some(from)) = (span, complete_from) {
                    next.raise_exact_since(rule, EventTime(from.saturating_add(span.0)));
                }
            }
            *own = next;
        }
        self.used = used;
        self.ruleset = ruleset;
        self.decisions = decisions;
        Ok(())
    }

    /// Takes note of how rules stand.
    pub fn set_standings(&mut self, standings: Standings) {
        self.on_arrival.set_standings(&standings);
        self.in_order.set_standings(&standings);
        self.standings = standings;
    }

    /// How rules stand.
    pub(super) fn standings(&self) -> &Standings {
        &self.standings
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
        let mut summaries = std::mem::take(&mut self.last_words);
        summaries.extend(self.on_arrival.close(watermark));
        summaries.extend(self.in_order.close(watermark));
        summaries
    }

    /// Whether rows answered in this order are decided then: on arrival, unless all live rules are answered in order.
    /// Rules in shadow have no say in it either.
    pub(super) fn decides(&self, emit: Emit) -> bool {
        // By their files: a switch must not move decisions from one order to the other.
        let live = |maker: &AlertMaker| maker.rules().iter().any(|rule| rule.header.status == Status::Live);
        let in_order = live(&self.in_order) && !live(&self.on_arrival);
        // Without a graph of its own no row is answered on arrival.
        let only_in_order = self.on_arrival.rules().is_empty() && !self.in_order.rules().is_empty();
        (emit == Emit::InOrder) == (in_order || only_in_order)
    }

    /// Decides the events of answered rows whose alerts were made; none where nothing is decided then.
    pub(super) fn decide(&self, answered: &Answered, made: &AlertBatch) -> Vec<Decision> {
        let Some(settings) = self.decisions.as_ref().filter(|_| self.decides(answered.emit)) else {
            return Vec::new();
        };
        let maker = match answered.emit {
            Emit::OnArrival => &self.on_arrival,
            Emit::InOrder => &self.in_order,
        };
        let labels = self.core.settings().labels.as_ref().map(|columns| columns.stream);
        decide(
            settings,
            maker,
            Evidence {
                batch: &answered.batch,
                made,
                errors: &answered.hits.errors,
                asked: &answered.hits.asked,
                labels,
            },
        )
    }

    /// The maker of alerts for an order of answers.
    pub fn maker(&mut self, emit: Emit) -> &mut AlertMaker {
        match emit {
            Emit::OnArrival => &mut self.on_arrival,
            Emit::InOrder => &mut self.in_order,
        }
    }

    /// How long an alert matters to `@dedup` and `@budget` of any rule: which hits of an open period were held back by
    /// the one or the other is known where what the first remembers is known from the period's beginning.
    pub(super) fn longest_memory(&self) -> Span {
        longest_memory(self.rules())
    }

    /// How far before a row the rows are that its alerts depend on.
    pub fn looks_back(&self) -> Span {
        looks_back(&self.core, self.rules())
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        [&self.on_arrival, &self.in_order].into_iter().flat_map(|maker| maker.rules().iter())
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

/// How far before a row the rows are that alerts of these rules depend on: windows bounded in time, suppression,
/// repeats, lateness.
pub fn looks_back<'a>(core: &Core, rules: impl Iterator<Item = &'a Rule>) -> Span {
    let streams = &core.settings().streams;
    let longest =
        |of: fn(&StreamPolicy) -> Span| streams.iter().map(|stream| of(stream).0).max().unwrap_or_default();
    let span = core.reach().longest.0.saturating_add(longest_memory(rules).0);
    let span = span.max(longest(|stream| stream.repeats));
    Span(span.saturating_add(longest(|stream| stream.lateness)))
}

fn longest_memory<'a>(rules: impl Iterator<Item = &'a Rule>) -> Span {
    let span = |rule: &Rule| {
        let dedup = rule.header.dedup.as_ref().map_or(0, |dedup| dedup.period.0);
        let budget = rule.header.budget.as_ref().map_or(0, |budget| budget.period.0);
        dedup.saturating_mul(FORGOTTEN_AFTER).saturating_add(budget)
    };
    Span(rules.map(span).max().unwrap_or_default())
}

/// Version of what judges rows: the rule set's, and behind a `+` that of the weights that decisions rest on.
pub fn version_with(ruleset: &str, decisions: Option<&DecisionSettings>) -> String {
    match decisions.and_then(DecisionSettings::weights_version) {
        Some(weights) => format!("{ruleset}+{weights}"),
        None => ruleset.to_owned(),
    }
}

fn either(one: &[Vec<bool>], other: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let columns = |(a, b): (&Vec<bool>, &Vec<bool>)| a.iter().zip(b).map(|(a, b)| *a || *b).collect();
    one.iter().zip(other).map(columns).collect()
}
