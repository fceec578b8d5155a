//! The events of the input through the engine: what each rule raises under each order of answers.

use std::sync::Arc;

use super::Arguments;
use super::prepare::{Prepared, of_order, other_order};
use crate::alert::{Alert, AlertMaker, AlertSettings, Moment, Verdict, points};
use crate::backtest::{EventColumns, EventTable, Events, Flags, Labels, NO_EVENT, Ruled, SweptRule};
use crate::cli::events::{Events as Source, Rows};
use crate::cli::failure::Failure;
use crate::cli::service::stream_policies;
use crate::decode::{DecodeLimits, DecodedBatch, Decoders, StreamBinding};
use crate::event::{Contract, EventTime};
use crate::graph::QueryHits;
use crate::pipeline::{
    Answered, Core, CoreSettings, Counts, StepOutcome, StreamPolicy, columns_read, engines, looks_back,
};
use crate::rules::{CompiledRules, Emit, Rule, RuleSet};

/// What a run over the input gave.
pub(super) struct Collected {
    /// The scored stream's events.
    pub events: Events,
    /// The rules, under the order that is reported.
    pub ruled: Vec<Ruled>,
    /// Variants of rules.
    pub swept: Vec<SweptRule>,
    /// The rules under the other order, where that was run.
    pub other: Option<Vec<Ruled>>,
    /// Finished alerts with the index of their event, where they were asked for.
    pub alerts: Vec<(u32, Alert)>,
    /// Where every row went.
    pub counts: Counts,
    /// What a reader must know before he trusts it.
    pub notes: Vec<String>,
}

/// Judges the hits of one order.
struct Judge {
    emit: Emit,
    maker: AlertMaker,
    flags: Vec<Flags>,
}

/// A hit.
struct Raised {
    query: usize,
    row: u32,
    alerts: bool,
    /// Its points, where a column says them.
    points: Option<u32>,
}

/// A hit of the other order: the place of its record, and whether it alerts.
type Placed = (u32, i64, bool);

/// Everything that takes answers.
struct Collector {
    table: EventTable,
    reported: Judge,
    other: Option<(Judge, Vec<Vec<Placed>>)>,
    messages: Option<(AlertMaker, Bounds)>,
    alerts: Vec<(u32, Alert)>,
}

/// Runs the events once; rules of both orders see them side by side.
pub(super) fn collect(
    prepared: &Prepared,
    columns: &EventColumns,
    labels: Option<Labels>,
    source: &mut Source,
    arguments: &Arguments,
) -> Result<Collected, Failure> {
    let contract = prepared.set.catalog.contract.clone();
    let emit = arguments.emit();
    let (mut core, used) = core(prepared, columns, labels.is_some(), source, arguments)?;
    if let (Source::Kept(kept), Some(from), false) = (&mut *source, arguments.from, arguments.skip_known) {
        let sets = [Some(&prepared.set), prepared.other.as_ref()];
        let rules = sets.into_iter().flatten().flat_map(RuleSet::running);
        kept.since = from.0.saturating_sub(looks_back(&core, rules).0);
    }
    let rows = Rows::open(source, &mut core, &contract, &used, arguments.batch_rows)?;
    let maker = |rules: &CompiledRules| {
        AlertMaker::new(AlertSettings::default(), contract.clone(), Arc::from(rules.rules.as_slice()))
    };
    let judge = |set: &RuleSet, emit| {
        let rules = of_order(set, emit);
        Judge { emit, maker: maker(rules), flags: vec![Flags::default(); rules.rules.len()] }
    };
    let mut collector = Collector {
        table: EventTable::new(columns.clone(), labels),
        reported: judge(&prepared.set, emit),
        other: prepared.other.as_ref().map(|set| {
            let judge = judge(set, other_order(emit));
            let placed = vec![Vec::new(); judge.flags.len()];
            (judge, placed)
        }),
        messages: arguments
            .output
            .is_some()
            .then(|| (maker(of_order(&prepared.set, emit)), Bounds::of(arguments))),
        alerts: Vec::new(),
    };
    let notes = rows.notes();
    let counts = feed(rows, core, &mut collector, &Period::of(prepared, arguments))?;
    Ok(Collected { notes, ..collector.finish(prepared, counts, arguments) })
}

/// A core for both orders, which also reads the columns that are scored.
fn core(
    prepared: &Prepared,
    columns: &EventColumns,
    by_id: bool,
    source: &Source,
    arguments: &Arguments,
) -> Result<(Core, Vec<Vec<bool>>), Failure> {
    let contract: &Contract = &prepared.set.catalog.contract;
    let policy = StreamPolicy { lateness: arguments.lateness, repeats: arguments.repeats };
    let mut settings = CoreSettings::uniform(contract, policy);
    if let Source::Kept(kept) = source {
        settings.streams = stream_policies(kept.settings(), &prepared.set);
    }
    settings.windows.shards = arguments.threads();
    let none = CompiledRules::default();
    let of = |emit: Emit| {
        let set = if emit == arguments.emit() { Some(&prepared.set) } else { prepared.other.as_ref() };
        set.map_or(&none, |set| of_order(set, emit))
    };
    let [arrival, ordered] =
        engines(of(Emit::OnArrival), of(Emit::InOrder), &settings.windows).map_err(Failure::findings)?;
    let mut used = columns_read(contract, [&arrival, &ordered]);
    let ids = columns.event_id.iter().copied().filter(|_| by_id);
    for column in [columns.label, columns.entity, columns.value].into_iter().flatten().chain(ids) {
        used[columns.stream][column] = true;
    }
    let bindings = vec![StreamBinding::default(); contract.streams.len()];
    let decoders =
        Decoders::of_contract(contract, &bindings, &used, DecodeLimits::default()).map_err(Failure::usage)?;
    Ok((Core::new(contract, decoders, arrival, ordered, settings), used))
}

fn feed(
    mut rows: Rows,
    mut core: Core,
    collector: &mut Collector,
    period: &Period<'_>,
) -> Result<Counts, Failure> {
    let bar = rows.progress();
    while let Some(step) = rows.next()? {
        let outcome = rows.answer(&mut core, step)?;
        collector.take(&outcome)?;
        period.passed(&outcome);
        bar.set_position(rows.position());
    }
    collector.take(&core.finish().map_err(Failure::outside)?)?;
    bar.finish_and_clear();
    let mut counts = core.counts().into_owned();
    counts.rows_in += rows.uncounted();
    Ok(counts)
}

/// The event times that are scored.
#[derive(Clone, Copy)]
struct Bounds {
    from: i64,
    until: i64,
}

impl Bounds {
    fn of(arguments: &Arguments) -> Self {
        let bound = |time: Option<EventTime>, none| time.map_or(none, |time| time.0);
        Self { from: bound(arguments.from, i64::MIN), until: bound(arguments.until, i64::MAX) }
    }

    fn hold(self, time: i64) -> bool {
        self.from <= time && time < self.until
    }
}

/// What of the events is scored, for models: what they are given before only fills windows.
struct Period<'a> {
    set: &'a RuleSet,
    bounds: Bounds,
}

impl<'a> Period<'a> {
    fn of(prepared: &'a Prepared, arguments: &Arguments) -> Self {
        let period = Self { set: &prepared.set, bounds: Bounds::of(arguments) };
        period.at(i64::MIN);
        period
    }

    /// Batches are within or without as a whole, by the time of the one before.
    fn passed(&self, outcome: &StepOutcome) {
        let times =
            outcome.answered.iter().filter_map(|answered| answered.batch.rows.event_time.iter().max());
        if let Some(time) = times.max() {
            self.at(*time);
        }
    }

    fn at(&self, time: i64) {
        let within = self.bounds.hold(time);
        self.set.catalog.known_models().for_each(|model| model.pause(!within));
    }
}

impl Collector {
    fn take(&mut self, outcome: &StepOutcome) -> Result<(), Failure> {
        for answered in &outcome.answered {
            if answered.emit == self.reported.emit {
                self.take_reported(answered)?;
            } else if let Some((judge, placed)) = &mut self.other {
                judge.take(answered, |raised| {
                    let (partition, offset) = place(&answered.batch, raised.row);
                    placed[raised.query].push((partition, offset, raised.alerts));
                });
            }
        }
        Ok(())
    }

    fn take_reported(&mut self, answered: &Answered) -> Result<(), Failure> {
        let events = self.table.push(&answered.batch).map_err(Failure::outside)?;
        let mut all: Vec<Raised> = Vec::new();
        self.reported.take(answered, |raised| all.push(raised));
        for raised in all {
            let (flags, event) = (&mut self.reported.flags[raised.query], events[raised.row as usize]);
            note(flags, event, raised.alerts);
            flags.points.extend(raised.points.filter(|_| event != NO_EVENT).map(|points| (event, points)));
        }
        if let Some((messages, bounds)) = &mut self.messages {
            // What moved a model costs a thousand predictions: it is worked out only for what is written.
            let scored = |row: u32| {
                let row = row as usize;
                events[row] != NO_EVENT && bounds.hold(answered.batch.rows.event_time[row])
            };
            let made = messages.make_of(&answered.batch, &answered.hits, answered.times(), scored);
            self.alerts.extend(made.alerts.into_iter().map(|alert| (events[alert.row as usize], alert)));
        }
        Ok(())
    }

    fn finish(self, prepared: &Prepared, counts: Counts, arguments: &Arguments) -> Collected {
        let other = self.other.map(|(mut judge, placed)| {
            for (flags, placed) in judge.flags.iter_mut().zip(placed) {
                for (partition, offset, alerts) in placed {
                    note(flags, self.table.event_at(partition, offset).unwrap_or(NO_EVENT), alerts);
                }
            }
            let mut ruled = judge.ruled();
            prepared.tell_counting(&mut ruled);
            ruled
        });
        let (mut ruled, variants): (Vec<Ruled>, Vec<Ruled>) =
            self.reported.ruled().into_iter().partition(|ruled| {
                prepared.variants.iter().all(|(_, variant)| variant.id != ruled.rule.header.id)
            });
        ruled.sort_by(|a, b| a.rule.source.file.cmp(&b.rule.source.file));
        prepared.tell_counting(&mut ruled);
        let swept = arguments.sweep.iter().enumerate().map(|(number, sweep)| SweptRule {
            rule: sweep.rule.clone(),
            constant: sweep.column.clone(),
            variants: prepared
                .variants
                .iter()
                .filter(|(own, _)| *own == number)
                .filter_map(|(_, variant)| {
                    let raised = variants.iter().find(|ruled| ruled.rule.header.id == variant.id)?;
                    Some((variant.clone(), raised.flags.clone()))
                })
                .collect(),
        });
        let swept = if prepared.variants.is_empty() { Vec::new() } else { swept.collect() };
        let (events, notes) = (self.table.finish(), Vec::new());
        Collected { events, ruled, swept, other, alerts: self.alerts, counts, notes }
    }
}

impl Judge {
    /// Hands on each hit with whether it alerts, rule by rule in the order of rows.
    fn take(&mut self, answered: &Answered, mut each: impl FnMut(Raised)) {
        for found in &answered.hits.hits {
            self.take_hits(answered, found, &mut each);
        }
        if let Some(watermark) = answered.watermarks.last() {
            // Nothing is folded here, so there is nothing to tell.
            drop(self.maker.close(EventTime(*watermark)));
        }
    }

    fn take_hits(&mut self, answered: &Answered, found: &QueryHits, each: &mut impl FnMut(Raised)) {
        let rules = Arc::clone(self.maker.rules());
        let rule = &rules[found.query];
        let said = rule.header.score.column().is_some();
        for (hit, row) in found.rows.iter().enumerate() {
            let index = *row as usize;
            let moment = Moment {
                event_time: EventTime(answered.batch.rows.event_time[index]),
                watermark: EventTime(answered.watermarks[index]),
            };
            let alerts = match self.maker.judge(found, hit, moment) {
                Verdict::Alert { .. } => true,
                Verdict::Suppressed | Verdict::OverBudget => false,
                Verdict::OutOfValidity | Verdict::SwitchedOff => continue,
            };
            let points = said.then(|| points(rule, found, hit));
            each(Raised { query: found.query, row: *row, alerts, points });
        }
    }

    fn ruled(self) -> Vec<Ruled> {
        let rules: &[Rule] = self.maker.rules();
        let ruled = rules.iter().zip(self.flags).map(|(rule, mut flags)| {
            flags.settle();
            Ruled { rule: rule.clone(), flags, counts: false }
        });
        ruled.collect()
    }
}

fn place(batch: &DecodedBatch, row: u32) -> (u32, i64) {
    (batch.rows.partition[row as usize], batch.rows.offset[row as usize])
}

fn note(flags: &mut Flags, event: u32, alerts: bool) {
    if event == NO_EVENT {
        flags.elsewhere += 1;
        return;
    }
    flags.hits.push(event);
    if alerts {
        flags.alerts.push(event);
    } else {
        flags.suppressed += 1;
    }
}
