//! Hits become alerts: stable ids, reasons, suppression, budgets.
//!
//! Takes [`RuleHits`] with the batch they were found in; hands on an [`AlertBatch`] of finished messages.
//! Keeps when each rule last alerted about each `@dedup` value, and what it sent and held back in the periods of
//! its `@budget`. A hit past the budget starts no period of `@dedup`, for nobody has been told of it alone. An alert's bytes depend on the event, its
//! coordinates and the rule alone, so the same input in the same order gives the same bytes.

mod agreement;
mod budget;
mod identity;
mod json;
mod message;
mod models;
mod place;
mod reason;
mod summary;
mod suppression;
mod values;
mod verdict;

use std::sync::Arc;

use crate::decode::DecodedBatch;
use crate::event::{Contract, Coordinates, EventTime};
use crate::graph::{QueryHits, RuleHits};
use crate::rules::{Action, Rule, Stand, Standings, Status};

pub use agreement::Agreement;
use budget::{Budgets, FoldedHit};
pub(crate) use json::key as text_value;
pub use json::value as json_value;
use message::Message;
pub(crate) use message::Source;
pub use models::{FEATURES_TOLD, ModelScore, score_name};
pub(crate) use place::source_of;
use place::{Place, in_order_of_rows};
pub use summary::AlertSummary;
pub(crate) use suppression::FORGOTTEN_AFTER;
use suppression::Suppression;
pub(crate) use values::event_id;
pub use values::points;
use values::{column, dedup_key};
pub use verdict::{Moment, Verdict};

/// What tells one deployment's alerts from another's.
#[derive(Debug, Clone, Default)]
pub struct AlertSettings {
    /// Name of the Kafka cluster, part of each alert's id.
    pub cluster: String,
    /// For each stream of the contract, the number that the settings raise when a topic is made anew under
    /// its old name; 0 where there is none.
    pub generations: Vec<u32>,
    /// Whether hits that `@dedup` or `@budget` hold back are told in full: decisions count them.
    pub tell_held_back: bool,
}

/// The alerts of one batch.
#[derive(Debug, Clone, Default)]
pub struct AlertBatch {
    /// Alerts in the order of their rows, then of their rules.
    pub alerts: Vec<Alert>,
    /// Hits that `@dedup` held back.
    pub suppressed: u64,
    /// Their rules, one entry a hit.
    pub suppressed_rules: Vec<usize>,
    /// Those hits in full, where the settings ask for it.
    pub held_back: Vec<HeldBack>,
    /// Summaries of periods that ended, in the order in which they leave.
    pub summaries: Vec<AlertSummary>,
    /// Rules of the hits that `@budget` held back, one entry a hit.
    pub over_budget_rules: Vec<usize>,
    /// Hits outside their rule's `@valid_from` to `@valid_until`.
    pub out_of_validity: u64,
    /// Hits of rules that are switched off.
    pub switched_off: u64,
}

/// A hit that `@dedup` or `@budget` held back.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// The id that its alert would have had.
    pub alert_id: String,
    /// Index of the rule among those it was evaluated with.
    pub rule: usize,
    /// Row in the batch.
    pub row: u32,
    /// The sentence.
    pub reason: String,
    /// Whether the event is older than the rule's `@max_age`.
    pub stale: bool,
    /// Points of the hit.
    pub points: u32,
    /// What the models that it asks said.
    pub models: Vec<ModelScore>,
}

/// One alert, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Hash of coordinates, rule and version.
    pub alert_id: String,
    /// Index of the rule among those it was evaluated with.
    pub rule: usize,
    /// Whether the rule is live or in shadow.
    pub status: Status,
    /// Whom it is about: the message's key.
    pub entity: String,
    /// The sentence.
    pub reason: String,
    /// Whether the event is older than the rule's `@max_age`, so that it must not block.
    pub stale: bool,
    /// Event time of the hit.
    pub event_time: EventTime,
    /// Row in the batch.
    pub row: u32,
    /// Where the event stands.
    pub coordinates: Coordinates,
    /// Points of the hit.
    pub points: u32,
    /// What the models that its rule asks said.
    pub models: Vec<ModelScore>,
    /// The message, `tollgate.alert/1`.
    pub value: Vec<u8>,
}

/// What is known of the time of each row of a batch; none of it where a slice is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowTimes<'a> {
    /// How long after its turn each row came, microseconds.
    pub late: &'a [i64],
    /// The watermark in force at each row, ascending, microseconds.
    pub watermarks: &'a [i64],
}

/// Makes alerts of hits.
#[derive(Debug)]
pub struct AlertMaker {
    settings: AlertSettings,
    contract: Contract,
    rules: Arc<[Rule]>,
    suppression: Suppression,
    budgets: Budgets,
    /// For each rule, from when on its windows hold everything.
    exact_since: Vec<Option<EventTime>>,
    /// For each rule, how its switch stands.
    stands: Vec<Stand>,
    /// Each shadow version and its live rule.
    versions: Vec<(usize, usize)>,
}

impl AlertMaker {
    /// A maker for the rules of one graph, in the graph's order.
    pub fn new(settings: AlertSettings, contract: Contract, rules: Arc<[Rule]>) -> Self {
        let (stands, exact_since) = (vec![Stand::On; rules.len()], vec![None; rules.len()]);
        let (suppression, budgets) = (Suppression::default(), Budgets::default());
        let versions = agreement::versions(&rules);
        Self { settings, contract, rules, suppression, budgets, exact_since, stands, versions }
    }

    /// The rules whose hits it takes.
    pub fn rules(&self) -> &Arc<[Rule]> {
        &self.rules
    }

    /// Takes note of how rules stand: hits of those that are off are no alerts.
    pub fn set_standings(&mut self, standings: &Standings) {
        self.stands = self.rules.iter().map(|rule| standings.of(&rule.header.id)).collect();
    }

    /// Whether a rule is live or in shadow now, where it makes alerts.
    pub fn status(&self, rule: usize) -> Status {
        match self.stands[rule] {
            Stand::Shadow => Status::Shadow,
            Stand::On | Stand::Off | Stand::Stopped => self.rules[rule].header.status,
        }
    }

    /// Alerts about earlier events say that their windows may lack events: they hold all from this time on.
    pub fn set_exact_since(&mut self, exact_since: Option<EventTime>) {
        self.exact_since.fill(exact_since);
    }

    /// The same for one rule, whose windows may lack more events than those of others.
    pub fn raise_exact_since(&mut self, rule: usize, exact_since: EventTime) {
        if let Some(known) = self.exact_since.get_mut(rule) {
            *known = (*known).max(Some(exact_since));
        }
    }

    /// Goes on for a maker of a rule set that was in force before: rules that are still the same go on with what
    /// `@dedup` and `@budget` remember of them, and a new version begins without. Where windows of a rule lack events
    /// they still do, and those of a new one may. Hands on what `@budget` held back of rules that are gone.
    pub fn take_over(&mut self, before: &mut Self) -> Vec<AlertSummary> {
        let all = before.exact_since.iter().copied().max().flatten();
        for (own, known) in self.rules.iter().zip(&mut self.exact_since) {
            let same = before.rules.iter().position(|old| old.header.id == own.header.id);
            *known = same.map_or(all, |same| before.exact_since[same]);
        }
        let place = |old: &Rule| {
            self.rules.iter().position(|own| own.header.id == old.header.id && own.version == old.version)
        };
        let places: Vec<Option<usize>> = before.rules.iter().map(place).collect();
        let place = |index: usize| places.get(index).copied().flatten();
        self.suppression = std::mem::take(&mut before.suppression).renumbered(place);
        self.budgets = before.budgets.renumbered(place);
        before.close(EventTime(i64::MAX))
    }

    /// Takes note of the watermark: what `@dedup` remembers from long before it can be forgotten.
    pub fn passed(&mut self, watermark: EventTime) {
        self.suppression.passed(watermark);
    }

    /// Closes the periods of `@budget` that end at the watermark or before, once all rows below it were judged;
    /// hands on what was held back in them.
    pub fn close(&mut self, watermark: EventTime) -> Vec<AlertSummary> {
        let passed = self.budgets.close(watermark.0);
        passed.iter().filter_map(|passed| self.summary(passed, u32::MAX)).collect()
    }

    fn summary(&self, passed: &budget::Passed, before_row: u32) -> Option<AlertSummary> {
        let rule = self.rules.get(passed.rule)?;
        let budget = rule.header.budget.as_ref()?;
        summary::summary((rule, self.status(passed.rule)), budget, &self.settings.cluster, passed, before_row)
    }

    /// Takes hits that were judged before a restart: those whose alert was sent start their `@dedup` period
    /// again and are spent of the budget. Of the others, those within such a period were held back by it, and the
    /// rest by the budget.
    pub fn remember(&mut self, batch: &DecodedBatch, hits: &RuleHits, sent: impl Fn(&str) -> bool) {
        let rules = Arc::clone(&self.rules);
        for (index, hit, place) in in_order_of_rows(batch, hits, RowTimes::default()) {
            let found = &hits.hits[index];
            let rule = &rules[found.query];
            let header = &rule.header;
            let at = place.event_time();
            let plain = header.dedup.is_none() && header.budget.is_none();
            if plain || self.is_off(found.query) || !header.judges(at) {
                continue;
            }
            let (coordinates, stream) = place.source();
            let sent = sent(&self.alert_id(&coordinates, stream, rule, place.ordinal));
            if let Some(budget) = &header.budget {
                if sent {
                    self.budgets.sent(found.query, budget, at);
                } else if !self.deduplicated(found, hit, at) {
                    let folded = self.folded(rule, found, &place);
                    self.budgets.fold(found.query, budget, folded);
                    continue;
                }
            }
            if let Some(dedup) = &header.dedup {
                self.suppression.remember(found.query, dedup_key(rule, found, hit), at, dedup.period, sent);
            }
        }
    }

    /// Alerts of one batch's hits.
    pub fn make(&mut self, batch: &DecodedBatch, hits: &RuleHits, times: RowTimes<'_>) -> AlertBatch {
        self.make_of(batch, hits, times, |_| true)
    }

    /// The same; hits of other rows than those `wanted` are judged, and nothing is told of them.
    pub fn make_of(
        &mut self,
        batch: &DecodedBatch,
        hits: &RuleHits,
        times: RowTimes<'_>,
        wanted: impl Fn(u32) -> bool,
    ) -> AlertBatch {
        let mut made = AlertBatch::default();
        for (index, hit, place) in in_order_of_rows(batch, hits, times) {
            self.close_within(times.watermarks, place.watermark, &mut made);
            if wanted(place.row) {
                self.alert(&hits.hits[index], &place, &mut made);
            } else {
                self.judge(&hits.hits[index], hit, place.moment());
            }
        }
        if let Some(watermark) = times.watermarks.last() {
            self.close_within(times.watermarks, *watermark, &mut made);
        }
        made
    }

    /// Closes periods that ended at a row of the batch; each is told of before the alerts of that row.
    fn close_within(&mut self, watermarks: &[i64], watermark: i64, made: &mut AlertBatch) {
        if self.budgets.next_end().is_none_or(|end| end.0 > watermark) {
            return;
        }
        for passed in self.budgets.close(watermark) {
            let row = watermarks.partition_point(|at| *at < passed.until.0);
            made.summaries.extend(self.summary(&passed, u32::try_from(row).unwrap_or(u32::MAX)));
        }
    }

    fn alert(&mut self, found: &QueryHits, place: &Place<'_>, made: &mut AlertBatch) {
        match self.judge(found, place.hit, place.moment()) {
            Verdict::OutOfValidity => made.out_of_validity += 1,
            Verdict::SwitchedOff => made.switched_off += 1,
            Verdict::Suppressed => {
                made.suppressed += 1;
                made.suppressed_rules.push(found.query);
                if self.settings.tell_held_back {
                    made.held_back.push(self.held_back(found, place));
                }
            }
            Verdict::OverBudget => {
                made.over_budget_rules.push(found.query);
                if self.settings.tell_held_back {
                    made.held_back.push(self.held_back(found, place));
                }
                let rules = Arc::clone(&self.rules);
                let rule = &rules[found.query];
                let folded = self.folded(rule, found, place);
                if let Some(budget) = &rule.header.budget {
                    self.budgets.fold(found.query, budget, folded);
                }
            }
            Verdict::Alert { suppressed_before } => {
                let rule = &self.rules[found.query];
                made.alerts.push(self.finished(rule, found, place, suppressed_before));
            }
        }
    }

    /// Whether a hit alerts, without the cost of its message: hits must be judged in the order of their rows.
    pub fn judge(&mut self, found: &QueryHits, hit: usize, moment: Moment) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let rule = &rules[found.query];
        let at = moment.event_time;
        if self.is_off(found.query) {
            return Verdict::SwitchedOff;
        }
        if !rule.header.judges(at) {
            return Verdict::OutOfValidity;
        }
        if let Some(budget) = &rule.header.budget
            && !self.deduplicated(found, hit, at)
            && !self.budgets.admits(found.query, budget, at, moment.watermark.0)
        {
            return Verdict::OverBudget;
        }
        let Some(dedup) = &rule.header.dedup else { return Verdict::Alert { suppressed_before: 0 } };
        let key = dedup_key(rule, found, hit);
        match self.suppression.admit(found.query, key, at, dedup.period) {
            Some(suppressed_before) => Verdict::Alert { suppressed_before },
            None => Verdict::Suppressed,
        }
    }

    fn held_back(&self, found: &QueryHits, place: &Place<'_>) -> HeldBack {
        let rule = &self.rules[found.query];
        let (coordinates, stream) = place.source();
        HeldBack {
            alert_id: self.alert_id(&coordinates, stream, rule, place.ordinal),
            rule: found.query,
            row: place.row,
            reason: reason::sentence(&rule.header.reason, |name| column(rule, found, name), place.hit),
            stale: place.stale(rule),
            points: points(rule, found, place.hit),
            models: models::scores(found, place.hit),
        }
    }

    fn deduplicated(&self, found: &QueryHits, hit: usize, at: EventTime) -> bool {
        let rule = &self.rules[found.query];
        rule.header.dedup.as_ref().is_some_and(|dedup| {
            self.suppression.holds(found.query, dedup_key(rule, found, hit), at, dedup.period)
        })
    }

    fn folded(&self, rule: &Rule, found: &QueryHits, place: &Place<'_>) -> FoldedHit {
        let (coordinates, stream) = place.source();
        let event_id = self.event_id(place.batch, place.row);
        let entity = match rule.header.entity_column() {
            Some(name) => json::key(column(rule, found, name), place.hit),
            None => event_id.clone(),
        };
        let alert_id = self.alert_id(&coordinates, stream, rule, place.ordinal);
        FoldedHit { alert_id, event_id, entity, event_time: place.event_time(), coordinates }
    }

    fn finished(&self, rule: &Rule, found: &QueryHits, place: &Place<'_>, suppressed_before: u64) -> Alert {
        let header = &rule.header;
        let (coordinates, stream) = place.source();
        let event_time = place.event_time();
        let event_id = self.event_id(place.batch, place.row);
        let stale = place.stale(rule);
        let (entity_type, entity) = match header.entity_column() {
            Some(name) => (name, json::key(column(rule, found, name), place.hit)),
            None => ("event", event_id.clone()),
        };
        let reason = reason::sentence(&header.reason, |name| column(rule, found, name), place.hit);
        let points = points(rule, found, place.hit);
        let (scores, told) = models::told(found, place.hit);
        let alert_id = self.alert_id(&coordinates, stream, rule, place.ordinal);
        let value = Message {
            schema: "tollgate.alert/1",
            alert_id: &alert_id,
            event_id: &event_id,
            entity: message::Entity { kind: entity_type, id: &entity },
            event_time: event_time.to_string(),
            rule: identity::of_rule(rule, self.status(found.query)),
            action: effective(header.action, stale),
            score: points,
            reason: &reason,
            values: message::Values { names: &rule.columns, columns: &found.columns, hit: place.hit },
            late_ms: place.late / 1_000,
            exact_since: self.exact_since[found.query]
                .filter(|since| event_time < *since)
                .map(|since| since.to_string()),
            suppressed_before,
            source: Source::of(&self.settings.cluster, &coordinates),
            past_max_age: stale,
            models: told,
        }
        .bytes();
        Alert {
            alert_id,
            stale,
            rule: found.query,
            status: self.status(found.query),
            entity,
            reason,
            event_time,
            row: place.row,
            coordinates,
            points,
            models: scores,
            value,
        }
    }

    /// The `PRIMARY KEY` of the event, its parts joined by `/`; its coordinates where it has none.
    pub(crate) fn event_id(&self, batch: &DecodedBatch, row: u32) -> String {
        let source = &batch.rows.partitions[batch.rows.partition[row as usize] as usize];
        let stream = &self.contract.streams[source.stream];
        let rows = &batch.streams[source.stream];
        let index = rows.rows.binary_search(&row).ok();
        let part = |column: &usize| Some(json::key(rows.columns[*column].as_ref()?, index?));
        match stream.event_id.iter().map(part).collect::<Option<Vec<_>>>() {
            Some(parts) if !parts.is_empty() => event_id(&parts),
            _ => source_of(batch, row).0.to_string(),
        }
    }

    fn alert_id(&self, coordinates: &Coordinates, stream: usize, rule: &Rule, ordinal: usize) -> String {
        self.settings.id_of(coordinates, stream, &[&rule.header.id, &rule.version, &ordinal.to_string()])
    }

    /// From which event time on the windows of a rule hold everything; none where they always did.
    pub(crate) fn exact_since(&self, rule: usize) -> Option<EventTime> {
        self.exact_since.get(rule).copied().flatten()
    }

    /// Whether a rule makes alerts about events of this time: it is switched on, and within its validity.
    pub(crate) fn judges(&self, rule: usize, at: EventTime) -> bool {
        !self.is_off(rule) && self.rules[rule].header.judges(at)
    }

    fn is_off(&self, rule: usize) -> bool {
        matches!(self.stands[rule], Stand::Off | Stand::Stopped)
    }

    /// What tells its alerts from those of another deployment.
    pub(crate) fn settings(&self) -> &AlertSettings {
        &self.settings
    }
}

/// What a hit asks for: an event past `@max_age` can no longer be stopped.
pub(crate) fn effective(action: Action, stale: bool) -> Action {
    match action {
        Action::Challenge | Action::Block if stale => Action::Review,
        action => action,
    }
}
