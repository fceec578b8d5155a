//! One shard: some of the keys, and all that is needed to answer their rows without asking others.
//!
//! Takes the rows of a batch that belong to it, hands on their answers, or nothing where they are only
//! absorbed. Keeps keys, histories and long strings. Rows of equal time are answered together where the
//! batch says so: all are inserted before any frame by time is read.

use super::answer::{Seen, Target, scan, write};
use super::carry::WordSet;
use super::column::Records;
use super::frame::{self, Current, Positions};
use super::history::{Buffer, History};
use super::intern::{HASHER, Interner};
use super::key::{KeyTable, Keys};
use super::measure::Value;
use super::output::Answers;
use super::plan::{Answer, Due, Phase, Plan};
use super::spec::{Ties, Usage, WindowError, WindowInput, WindowInputError, WindowSettings};

/// Rows whose memory is asked for together, before the first of them is worked on.
const TOUCHED_ROWS: usize = 32;

#[derive(Debug)]
pub(super) struct Shard {
    keys: KeyTable,
    histories: Vec<History>,
    interner: Interner,
    records: Records,
    slots: Vec<u32>,
    scratch: Scratch,
    sweep_at: usize,
    history_bytes: usize,
    events: usize,
}

#[derive(Debug)]
struct Scratch {
    ranges: Vec<Positions>,
    values: Vec<Value>,
    set: WordSet,
    tied: Vec<usize>,
}

/// A batch as all shards see it.
pub(super) struct Batch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) settings: &'a WindowSettings,
    pub(super) input: &'a WindowInput<'a>,
    pub(super) keys: &'a Keys<'a>,
    pub(super) hashes: &'a [u64],
    /// Non-decreasing; equal for rows that are answered together.
    pub(super) watermarks: &'a [i64],
    /// What each row is asked for, as bits of the plan; none where every row is asked for everything.
    pub(super) asked: Option<&'a [u64]>,
}

/// Answers to the rows of one shard, in the order of those rows.
#[derive(Debug, Default)]
pub(super) struct ShardAnswers {
    pub(super) columns: Vec<Answers>,
    pub(super) errors: Vec<WindowError>,
}

impl ShardAnswers {
    /// Answers of a number of rows, all null as yet.
    pub(super) fn empty(plan: &Plan, rows: usize) -> Self {
        let columns = plan.outputs.iter().map(|output| match output.answer {
            Answer::Custom { .. } => Answers::of_arrays(&output.data_type, rows),
            _ => Answers::new(&output.data_type, rows),
        });
        Self { columns: columns.collect(), errors: Vec::new() }
    }
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            keys: KeyTable::default(),
            histories: Vec::new(),
            interner: Interner::default(),
            records: Records::default(),
            slots: Vec::new(),
            scratch: Scratch {
                ranges: Vec::new(),
                values: Vec::new(),
                set: WordSet::with_hasher(HASHER),
                tied: Vec::new(),
            },
            sweep_at: 0,
            history_bytes: 0,
            events: 0,
        }
    }

    /// Answers the given rows of a batch.
    pub(super) fn process(
        &mut self,
        batch: &Batch<'_>,
        rows: &[u32],
    ) -> Result<ShardAnswers, WindowInputError> {
        self.read(batch, rows)?;
        let mut answers = ShardAnswers::empty(batch.plan, rows.len());
        self.scratch.values.resize(batch.plan.cells, Value::Count(0));
        match batch.input.ties {
            Ties::ByArrival => {
                for index in 0..rows.len() {
                    let position = self.insert_answered(batch, rows, index, &mut answers);
                    self.answer(batch, rows, index, position, Phase::Ties, &mut answers);
                }
            }
            Ties::Together => self.process_ties(batch, rows, &mut answers),
        }
        for error in &mut answers.errors {
            error.row = rows[error.row] as usize;
        }
        self.sweep(batch, rows.len());
        Ok(answers)
    }

    /// Takes the given rows of a batch in and answers none of them.
    ///
    /// Keys know nothing of each other, so the rows of one are taken together, in their order: most keys are not in cache
    /// when a row of theirs comes, and this fetches them once a batch instead of once a row.
    pub(super) fn absorb(&mut self, batch: &Batch<'_>, rows: &[u32]) -> Result<(), WindowInputError> {
        let by_key = |&row: &u32| batch.hashes[row as usize] & !u64::from(u32::MAX) | u64::from(row);
        let mut by_key: Vec<u64> = rows.iter().map(by_key).collect();
        by_key.sort_unstable();
        let rows: Vec<u32> = by_key.into_iter().map(|word| word as u32).collect();
        self.read(batch, &rows)?;
        for index in 0..rows.len() {
            self.insert(batch, &rows, index);
        }
        self.sweep(batch, rows.len());
        Ok(())
    }

    /// Finds the slots of all rows and puts their records together.
    fn read(&mut self, batch: &Batch<'_>, rows: &[u32]) -> Result<(), WindowInputError> {
        let layout = &batch.plan.layout;
        self.records.begin(layout, batch.input.times, rows);
        for (&flag, filter) in layout.filters.iter().zip(batch.input.filters) {
            self.records.put_filter(layout, flag, filter, rows);
        }
        for column in &layout.columns {
            let array = &batch.input.arguments[column.source];
            self.records.put_column(layout, column, array, rows, &mut self.interner)?;
        }
        self.slots.clear();
        for &row in rows {
            let row = row as usize;
            let slot = batch.keys.with(row, |key| self.keys.slot(batch.hashes[row], key));
            self.slots.push(slot);
        }
        self.histories.resize_with(self.keys.slots(), History::default);
        Ok(())
    }

    fn process_ties(&mut self, batch: &Batch<'_>, rows: &[u32], answers: &mut ShardAnswers) {
        let mut index = 0;
        while index < rows.len() {
            let time = batch.input.times[rows[index] as usize];
            let tied =
                rows[index..].iter().take_while(|&&row| batch.input.times[row as usize] == time).count();
            let mut positions = std::mem::take(&mut self.scratch.tied);
            positions.clear();
            let insert = |index| self.insert_answered(batch, rows, index, answers);
            positions.extend((index..index + tied).map(insert));
            for (index, &position) in (index..).zip(&positions) {
                self.answer(batch, rows, index, position, Phase::Ties, answers);
            }
            self.scratch.tied = positions;
            index += tied;
        }
    }

    /// Inserts a row and answers what is answered at insertion.
    fn insert_answered(
        &mut self,
        batch: &Batch<'_>,
        rows: &[u32],
        index: usize,
        answers: &mut ShardAnswers,
    ) -> usize {
        let position = self.insert(batch, rows, index);
        if batch.plan.carries {
            self.answer(batch, rows, index, position, Phase::Insertion, answers);
        }
        position
    }

    /// Inserts a row, and says at which position.
    fn insert(&mut self, batch: &Batch<'_>, rows: &[u32], index: usize) -> usize {
        let plan = batch.plan;
        let stride = plan.layout.stride();
        if index.is_multiple_of(TOUCHED_ROWS) {
            self.touch(plan, index..rows.len().min(index + TOUCHED_ROWS));
        }
        let record = &self.records.words[index * stride..(index + 1) * stride];
        let watermark = batch.watermarks[rows[index] as usize];
        let history = &mut self.histories[self.slots[index] as usize];
        let bytes = history.bytes();
        let gone = history.advance(plan, watermark, batch.settings.idle, &mut self.interner);
        let position = history.insert(plan, record, watermark, batch.settings.idle, &mut self.interner);
        self.history_bytes = self.history_bytes + history.bytes() - bytes;
        self.events = self.events + 1 - gone;
        position
    }

    /// Reads a little of what the next rows will need. The keys of neighbouring rows have nothing to do
    /// with each other, so most rows start with memory that is not in cache; asked for one row after the
    /// other each waits for the last, asked for together they arrive together.
    fn touch(&self, plan: &Plan, rows: std::ops::Range<usize>) {
        let stride = plan.layout.stride();
        let history = |index: usize| &self.histories[self.slots[index] as usize];
        let nearest = rows.clone().fold(0, |sum, index| sum ^ history(index).last.cast_unsigned());
        let near = rows.clone().fold(nearest, |sum, index| sum ^ history(index).touch_near());
        let far = rows.fold(near, |sum, index| {
            let record = &self.records.words[index * stride..(index + 1) * stride];
            sum ^ history(index).touch_far(plan, record)
        });
        std::hint::black_box(far);
    }

    fn answer(
        &mut self,
        batch: &Batch<'_>,
        rows: &[u32],
        index: usize,
        position: usize,
        phase: Phase,
        answers: &mut ShardAnswers,
    ) {
        let plan = batch.plan;
        let row = rows[index] as usize;
        let due = Due { phase, asked: batch.asked.map_or(u64::MAX, |asked| asked[row]) };
        if plan.asks[phase as usize] & due.asked == 0 {
            return;
        }
        let current = Current { time: batch.input.times[row], watermark: batch.watermarks[row], position };
        let History { buffer, carry, .. } = &mut self.histories[self.slots[index] as usize];
        let Scratch { ranges, values, set, .. } = &mut self.scratch;
        let (interner, all) = (&self.interner, carry.as_deref());
        let carry = all.filter(|carry| current.time >= carry.horizon);
        let mut target = Target { columns: &mut answers.columns, errors: &mut answers.errors, row: index };
        match buffer {
            Buffer::Small(small) => {
                let rows = &small.rows(&plan.layout);
                frame::find(plan, due, rows, &current, all, ranges);
                let seen = Seen { plan, due, rows, ranges, carry, interner };
                for measure in plan.measures.iter().filter(|measure| measure.asks & due.asked != 0) {
                    scan(&seen, measure, values, set);
                }
                write(&seen, values, &mut target);
            }
            Buffer::Dense(dense) => {
                let (rows, mut indexes, guesses) = dense.parts();
                frame::find_dense(plan, due, (rows, guesses), &current, all, ranges);
                let seen = Seen { plan, due, rows, ranges, carry, interner };
                for (at, measure) in plan.measures.iter().enumerate() {
                    if measure.asks & due.asked != 0 {
                        indexes.measure(&seen, at, values, set);
                    }
                }
                write(&seen, values, &mut target);
            }
        }
    }

    /// Looks at a few keys and forgets those that no later row can see.
    fn sweep(&mut self, batch: &Batch<'_>, rows: usize) {
        let Some(&watermark) = batch.watermarks.last() else { return };
        let slots = self.histories.len();
        let looks = (16 + rows * batch.settings.sweep_keys_per_row).min(slots);
        for _ in 0..looks {
            self.sweep_at = if self.sweep_at + 1 < slots { self.sweep_at + 1 } else { 0 };
            let slot = self.sweep_at;
            if self.histories[slot].is_over(batch.plan, watermark, batch.settings.idle)
                && self.keys.occupied(slot)
            {
                let history = std::mem::take(&mut self.histories[slot]);
                self.history_bytes -= history.bytes();
                self.events -= history.len();
                history.clear(batch.plan, &mut self.interner);
                self.keys.remove(slot as u32);
            }
        }
    }

    /// What the shard holds.
    pub(super) fn usage(&self) -> Usage {
        let scratch =
            self.records.words.capacity() * size_of::<u64>() + self.slots.capacity() * size_of::<u32>();
        let histories = self.histories.capacity() * size_of::<History>() + self.history_bytes;
        Usage {
            keys: self.keys.len(),
            events: self.events,
            bytes: self.keys.bytes() + histories + self.interner.bytes() + scratch,
        }
    }
}
