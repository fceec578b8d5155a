//! The story of a batch, from records to answers.
//!
//! Takes what a source fetched; hands on [`Answered`] batches with their hits, and dead letters. Keeps the
//! watermark, the ids seen lately, the rows that wait for their turn, and the two graphs (rules answered on
//! arrival, rules answered in order). Every row that comes in is answered, a dead letter, a repeat, or
//! waiting: [`Counts`] adds up after each step.
//! What would surprise: a row too late to be answered in order is answered at once, alone, between the
//! batches that are in order.

mod agreement;
mod already;
mod change;
mod commit;
mod counts;
mod delivered;
mod filling;
mod first_read;
mod incarnation;
mod job;
mod labelled;
mod latencies;
mod messages;
mod model_watch;
mod observe;
mod parts;
mod quarantine;
mod recover;
mod refusal;
mod reload;
mod reorder;
mod repeats;
mod retrace;
mod returning;
mod select;
mod side_by_side;
mod silent;
mod sources;
mod succession;
mod versions;
mod watermark;
mod witness;

pub use agreement::{KnownInstances, KnownSets, Peers};
pub use change::{Change, Changed, Changes};
pub use counts::Counts;
pub use job::{Job, JobError, JobEvent, JobPolicy, Kept};
pub use observe::Observers;
pub use parts::{Parts, PartsError, looks_back, version_with};
pub use quarantine::RuleBudget;
pub use refusal::{Accept, RecoveryPolicy, Refusal, WarmUp};
pub use reload::{NextParts, Wanted};
pub use retrace::{Retrace, Retraced};
pub use side_by_side::{Pending, side_by_side};
pub use silent::Restored;
pub use succession::{Before, Filled, Standing, SuccessionError};
pub use watermark::Watermarks;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::decode::{DeadLetter, DecodedBatch, Decoders, Stage};
use crate::event::{Contract, Coordinates, Offset, Span};
use crate::graph::{Carrier, Engine, EngineError, EngineInput, Lineage, Reach, RuleHits};
use crate::labels::LabelColumns;
use crate::rules::{CompiledRules, Emit};
use crate::source::Fetched;
use crate::sql::RuleGraph;
use crate::window::{Ties, WindowSettings};

use reorder::Reorder;
use repeats::Repeats;

/// How the rows of one stream are taken.
#[derive(Debug, Clone, Copy)]
pub struct StreamPolicy {
    /// How far behind its partition's latest event time a row may come and still be answered in order.
    pub lateness: Span,
    /// For how long of event time the repeat of an event id is dropped; zero keeps repeats.
    pub repeats: Span,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self { lateness: Span::seconds(5), repeats: Span::seconds(3600) }
    }
}

/// How a [`Core`] works.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// One a stream of the contract.
    pub streams: Vec<StreamPolicy>,
    /// How window states are run.
    pub windows: WindowSettings,
    /// Rows that may wait for their turn; past it the oldest are answered early.
    pub waiting_rows_max: usize,
    /// Which rows say what became known of others; none: none do.
    pub labels: Option<LabelColumns>,
}

/// How long a key without events keeps what no window's length bounds (`ROWS` and `UNBOUNDED PRECEDING`
/// frames, `lag`): longer than a year, so that a yearly habit is still known.
pub const IDLE_KEYS_AFTER: Span = Span::seconds(400 * 86_400);

impl CoreSettings {
    /// The same policy for every stream.
    pub fn uniform(contract: &Contract, policy: StreamPolicy) -> Self {
        let streams = vec![policy; contract.streams.len()];
        let windows = WindowSettings { idle: Some(IDLE_KEYS_AFTER.0), ..WindowSettings::default() };
        Self { streams, windows, waiting_rows_max: 5_000_000, labels: None }
    }
}

/// Rows that were answered together, and what hit.
#[derive(Debug)]
pub struct Answered {
    /// Which of the two graphs answered.
    pub emit: Emit,
    /// The rows.
    pub batch: DecodedBatch,
    /// Hits by rule, rows as numbered in `batch`.
    pub hits: RuleHits,
    /// For each row, how far it came behind its partition's latest event time, microseconds; 0 if it did not.
    pub late: Vec<i64>,
    /// The watermark in force at each row, ascending, microseconds.
    pub watermarks: Vec<i64>,
}

impl Answered {
    /// What alerts must know of the time of its rows.
    pub fn times(&self) -> crate::alert::RowTimes<'_> {
        crate::alert::RowTimes { late: &self.late, watermarks: &self.watermarks }
    }
}

/// What one step gave.
#[derive(Debug, Default)]
pub struct StepOutcome {
    /// Answered rows, in the order in which their alerts leave.
    pub answered: Vec<Answered>,
    /// Records set aside.
    pub dead_letters: Vec<DeadLetter>,
}

/// How far the rebuilding of windows has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows taken from the history.
    pub absorbed: u64,
    /// Rows that the history is to give.
    pub to_absorb: u64,
    /// Records read again from topics.
    pub replayed: u64,
    /// Records that are to be read again, counted by offsets.
    pub to_replay: u64,
    /// How long it took; zero while it goes on.
    pub took: std::time::Duration,
}

/// Everything between a source and a sink.
pub struct Core {
    decoders: Decoders,
    repeats: Repeats,
    watermarks: Watermarks,
    on_arrival: Engine,
    in_order: Option<Ordered>,
    settings: CoreSettings,
    counts: Counts,
    /// What becomes of rows.
    work: Work,
}

/// What a core does with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// It answers them.
    Answer,
    /// They only move the windows on: they were answered before.
    Absorb,
    /// They only move those windows on that go on from none of a core before.
    Fill,
}

/// The rules answered in order, and the rows that wait for them.
struct Ordered {
    engine: Engine,
    reorder: Reorder,
}

impl Core {
    /// A core for compiled rules; `decoders` read the columns that [`columns_read`] names.
    pub fn new(
        contract: &Contract,
        decoders: Decoders,
        on_arrival: Engine,
        in_order: Engine,
        settings: CoreSettings,
    ) -> Self {
        let ordered = (!in_order.graph().queries.is_empty())
            .then(|| Ordered { engine: in_order, reorder: Reorder::new(settings.waiting_rows_max) });
        Self {
            decoders,
            repeats: Repeats::new(contract, &settings.streams),
            watermarks: Watermarks::new(&settings.streams),
            on_arrival,
            in_order: ordered,
            settings,
            counts: Counts::default(),
            work: Work::Answer,
        }
    }

    /// One step: decode, drop repeats, set the time, answer.
    pub fn step(&mut self, fetched: Fetched) -> Result<StepOutcome, EngineError> {
        let decoded = self.decode(fetched)?;
        self.answer(decoded)
    }

    /// The first half of a step: decode, drop repeats. What it hands on belongs to [`Self::answer`].
    pub fn decode(&mut self, fetched: Fetched) -> Result<DecodedBatch, EngineError> {
        let decoded = self.decode_alone(fetched);
        self.drop_repeats(decoded)
    }

    /// Decodes and no more, for rows that are put in order first. What it hands on belongs to [`Self::drop_repeats`].
    pub fn decode_alone(&mut self, fetched: Fetched) -> DecodedBatch {
        self.counts.add_fetched(&fetched);
        self.decoders.decode(fetched)
    }

    /// The rest of the first half of a step, for rows that were decoded alone.
    pub fn drop_repeats(&mut self, decoded: DecodedBatch) -> Result<DecodedBatch, EngineError> {
        self.counts.add_dead_letters(&decoded.dead_letters);
        let Some(kept) = self.repeats.kept(&decoded, self.watermarks.current())? else { return Ok(decoded) };
        self.counts.repeats += (decoded.rows.event_time.len() - kept.len()) as u64;
        let order: Vec<(usize, u32)> = kept.into_iter().map(|row| (0, row)).collect();
        let mut fresh = select::select(&[&decoded], &order)?;
        fresh.dead_letters = decoded.dead_letters;
        Ok(fresh)
    }

    /// The second half of a step: set the time, answer.
    pub fn answer(&mut self, mut batch: DecodedBatch) -> Result<StepOutcome, EngineError> {
        let mut outcome =
            StepOutcome { dead_letters: std::mem::take(&mut batch.dead_letters), ..StepOutcome::default() };
        let times = self.watermarks.advance(&batch.rows);
        if let Some(mut ordered) = self.in_order.take() {
            let answered = self.answer_in_order(&mut ordered, &batch, &times, &mut outcome);
            self.in_order = Some(ordered);
            answered?;
        }
        self.answer_on_arrival(batch, times, &mut outcome)?;
        Ok(outcome)
    }

    fn answer_on_arrival(
        &mut self,
        batch: DecodedBatch,
        times: watermark::RowTimes,
        outcome: &mut StepOutcome,
    ) -> Result<(), EngineError> {
        let alone = self.in_order.is_none();
        if self.on_arrival.graph().queries.is_empty() && !alone {
            return Ok(());
        }
        let input = EngineInput { batch: &batch, watermarks: &times.watermarks, ties: Ties::ByArrival };
        let hits = run(&mut self.on_arrival, &input, self.work)?;
        self.counts.add_hits(&hits);
        if alone {
            self.counts.answered += batch.rows.event_time.len() as u64;
            self.counts.late += times.too_late.iter().filter(|late| **late).count() as u64;
        }
        let answered =
            Answered { emit: Emit::OnArrival, batch, hits, late: times.late, watermarks: times.watermarks };
        finish_batch(answered, self.on_arrival.graph(), outcome);
        Ok(())
    }

    fn answer_in_order(
        &mut self,
        ordered: &mut Ordered,
        batch: &DecodedBatch,
        times: &watermark::RowTimes,
        outcome: &mut StepOutcome,
    ) -> Result<(), EngineError> {
        let mut waiting = Vec::with_capacity(times.late.len());
        let mut row = 0;
        while row < times.late.len() {
            let late_end =
                (row..times.late.len()).find(|next| !times.too_late[*next]).unwrap_or(times.late.len());
            if late_end == row {
                waiting.push(u32::try_from(row).unwrap_or(u32::MAX));
                row += 1;
                continue;
            }
            // A late row sees what was released before it: everything below the watermark at its place.
            ordered.reorder.hold(batch, &waiting, &times.late)?;
            waiting.clear();
            self.release(ordered, times.watermarks[row], outcome)?;
            let rows: Vec<u32> = (row..late_end).filter_map(|row| u32::try_from(row).ok()).collect();
            self.answer_late(ordered, batch, &rows, times, outcome)?;
            row = late_end;
        }
        ordered.reorder.hold(batch, &waiting, &times.late)?;
        self.release(ordered, self.watermarks.current(), outcome)
    }

    /// Answers rows whose turn has passed, one after the other, against what is held.
    fn answer_late(
        &mut self,
        ordered: &mut Ordered,
        batch: &DecodedBatch,
        rows: &[u32],
        times: &watermark::RowTimes,
        outcome: &mut StepOutcome,
    ) -> Result<(), EngineError> {
        let order: Vec<(usize, u32)> = rows.iter().map(|row| (0, *row)).collect();
        let batch = select::select(&[batch], &order)?;
        let released = ordered.reorder.released();
        let watermarks = vec![released; rows.len()];
        let late = rows.iter().map(|row| times.late[*row as usize]).collect();
        self.counts.late += rows.len() as u64;
        let input = EngineInput { batch: &batch, watermarks: &watermarks, ties: Ties::ByArrival };
        let hits = run(&mut ordered.engine, &input, self.work)?;
        let answered = Answered { emit: Emit::InOrder, batch, hits, late, watermarks };
        self.finish_ordered(answered, ordered.engine.graph(), outcome);
        Ok(())
    }

    fn release(
        &mut self,
        ordered: &mut Ordered,
        watermark: i64,
        outcome: &mut StepOutcome,
    ) -> Result<(), EngineError> {
        let Some((batch, late)) = ordered.reorder.release(watermark)? else { return Ok(()) };
        let input = EngineInput { batch: &batch, watermarks: &batch.rows.event_time, ties: Ties::Together };
        let hits = run(&mut ordered.engine, &input, self.work)?;
        let watermarks = batch.rows.event_time.clone();
        let answered = Answered { emit: Emit::InOrder, batch, hits, late, watermarks };
        self.finish_ordered(answered, ordered.engine.graph(), outcome);
        Ok(())
    }

    fn finish_ordered(&mut self, answered: Answered, graph: &RuleGraph, outcome: &mut StepOutcome) {
        self.counts.answered += answered.batch.rows.event_time.len() as u64;
        self.counts.add_hits(&answered.hits);
        finish_batch(answered, graph, outcome);
    }

    /// Answers every row that still waits: the input has ended.
    pub fn finish(&mut self) -> Result<StepOutcome, EngineError> {
        let mut outcome = StepOutcome::default();
        if let Some(mut ordered) = self.in_order.take() {
            let released = self.release(&mut ordered, i64::MAX, &mut outcome);
            self.in_order = Some(ordered);
            released?;
        }
        Ok(outcome)
    }

    /// Answers rows that the watermark has passed since, after partitions were closed or found idle.
    pub fn release_waiting(&mut self) -> Result<StepOutcome, EngineError> {
        self.answer(DecodedBatch::default())
    }

    /// The partitions' times, to be told which partitions there are and which have gone quiet.
    pub fn watermarks(&mut self) -> &mut Watermarks {
        &mut self.watermarks
    }

    /// Rows in and where they went.
    pub fn counts(&self) -> Cow<'_, Counts> {
        let waiting = self.in_order.as_ref().map_or(0, |ordered| ordered.reorder.waiting());
        Cow::Owned(Counts { waiting, ..self.counts.clone() })
    }

    /// The two graphs.
    pub fn engines(&self) -> impl Iterator<Item = (Emit, &Engine)> {
        let ordered = self.in_order.as_ref().map(|ordered| (Emit::InOrder, &ordered.engine));
        std::iter::once((Emit::OnArrival, &self.on_arrival)).chain(ordered)
    }

    /// One of the two graphs; none where no rule is answered in this order.
    pub fn engine_of(&self, emit: Emit) -> Option<&Engine> {
        self.engines().find_map(|(own, engine)| (own == emit).then_some(engine))
    }

    /// The same, to be changed.
    pub fn engine_mut(&mut self, emit: Emit) -> Option<&mut Engine> {
        match emit {
            Emit::OnArrival => Some(&mut self.on_arrival),
            Emit::InOrder => self.in_order.as_mut().map(|ordered| &mut ordered.engine),
        }
    }

    /// How far back the windows of all rules look.
    pub fn reach(&self) -> Reach {
        let either = |one: Reach, other: Reach| Reach {
            longest: one.longest.max(other.longest),
            unbounded: one.unbounded || other.unbounded,
        };
        self.engines().map(|(_, engine)| engine.longest_frame()).fold(Reach::default(), either)
    }

    /// Picks what windows without a bound in time need of rows that no other window does.
    pub fn carrier(&self, contract: &Contract) -> Result<Carrier, EngineError> {
        let idle = self.settings.windows.idle.map_or(Span(i64::MAX), Span);
        Carrier::of(self.engines().map(|(_, engine)| engine.graph()), contract, idle)
    }

    /// For each partition of the source, the lowest offset that still waits: commits must stay below it.
    pub fn waiting_from(&self, partition: u32) -> Option<Offset> {
        self.in_order.as_ref().and_then(|ordered| ordered.reorder.waiting_from(partition))
    }

    /// How the core was set up.
    pub fn settings(&self) -> &CoreSettings {
        &self.settings
    }
}

/// For each stream, the columns that decoders must read: those of rules, and the event ids.
pub fn columns_read(contract: &Contract, engines: [&Engine; 2]) -> Vec<Vec<bool>> {
    let [first, second] = engines.map(|engine| engine.columns_read(contract));
    let either = |(first, second): (Vec<bool>, Vec<bool>)| {
        first.into_iter().zip(second).map(|(a, b)| a || b).collect()
    };
    let mut used: Vec<Vec<bool>> = first.into_iter().zip(second).map(either).collect();
    for (stream, used) in contract.streams.iter().zip(&mut used) {
        for column in stream.event_id.iter().chain([&stream.event_time]) {
            used[*column] = true;
        }
    }
    used
}

/// Engines for the two orders of answers.
pub fn engines(
    on_arrival: &CompiledRules,
    in_order: &CompiledRules,
    windows: &WindowSettings,
) -> Result<[Engine; 2], EngineError> {
    engines_after(on_arrival, in_order, windows, None)
}

/// The same; with those before, they are to go on with windows of theirs.
pub fn engines_after(
    on_arrival: &CompiledRules,
    in_order: &CompiledRules,
    windows: &WindowSettings,
    before: Option<&Before>,
) -> Result<[Engine; 2], EngineError> {
    let none = Lineage::default();
    let [arrival, ordered] = before.map_or([&none, &none], |before| before.lineages.each_ref());
    Ok([
        Engine::succeeding(on_arrival.graph.clone(), arrival, windows)?,
        Engine::succeeding(in_order.graph.clone(), ordered, windows)?,
    ])
}

/// Answers rows, or only moves the windows on.
fn run(engine: &mut Engine, input: &EngineInput<'_>, work: Work) -> Result<RuleHits, EngineError> {
    match work {
        Work::Answer => return engine.process(input),
        Work::Absorb => engine.absorb(input)?,
        Work::Fill => engine.fill(input)?,
    }
    Ok(RuleHits::default())
}

/// Sets aside the records that made a rule panic, each once; the other rules have answered them.
fn finish_batch(answered: Answered, graph: &RuleGraph, outcome: &mut StepOutcome) {
    let mut set_aside = HashSet::new();
    let panics = answered.hits.errors.iter().filter(|error| error.panicked);
    for error in panics.filter(|error| set_aside.insert(error.row)) {
        let rule = graph.queries.get(error.query).map(|query| query.id.clone());
        outcome.dead_letters.push(panicked(&answered.batch, error.row, rule, &error.message));
    }
    if !answered.batch.rows.event_time.is_empty() {
        outcome.answered.push(answered);
    }
}

fn panicked(batch: &DecodedBatch, row: u32, rule: Option<String>, message: &str) -> DeadLetter {
    let row = row as usize;
    let rows = &batch.rows;
    let partition = rows.partitions[rows.partition[row] as usize].partition.clone();
    DeadLetter {
        coordinates: Coordinates { partition, offset: Offset(rows.offset[row]) },
        timestamp: Some(rows.timestamp[row]).filter(|timestamp| *timestamp != i64::MIN),
        stage: Stage::Evaluate,
        reason: message.to_owned(),
        kind: "panic",
        rule,
        payload: None,
        key: None,
    }
}
