//! Keyed sliding windows, exact for every row: the heart of the engine. Knows no SQL and no Kafka.
//!
//! Takes a [`WindowInput`], Arrow columns in order of arrival, and hands on a [`WindowOutput`] with one
//! value a row for each aggregate of its [`WindowSpec`]. Keeps, for each key, one time-ordered buffer
//! that serves all windows of the spec. Fails only on input that does not have the spec's shape; what
//! one row can't answer is a [`WindowError`] of that row.
//!
//! What a row sees, exactly. Let `t` be its event time and `m` the watermark in force:
//! - `RANGE start..end`: rows of its key that arrived before it, with `t - start <= time <= t - end` and
//!   `time >= m - start`. So a row that is not older than the watermark is exact, and a late one is
//!   answered against what is still held, whatever else shares the state and whenever memory is freed.
//! - `RANGE UNBOUNDED PRECEDING..end`: rows with `time <= t - end`, and those with `time < m - end`,
//!   which are folded into one accumulator.
//! - `ROWS start..end`, `lag`: rows by position in (time, arrival) order; held are all rows with
//!   `time >= m` and the `start` rows before those.
//! - `ROWS UNBOUNDED PRECEDING..end`, `row_number`: rows up to `end` positions before it, and those
//!   before the last `end` rows older than `m`, which are folded.
//! - A row sees itself wherever the frame ends at the current row, however late it is.
//! - The last three kinds know only rows that are not older than the key's horizon: `m` less
//!   [`WindowSettings::idle`], taken at the key's first row and again at each row that finds all earlier
//!   ones older than that. A row older than the horizon sees itself, and is not remembered.
//!
//! The surprising decision: nothing is ever subtracted from a float. Sums over any range are put
//! together from parts, so they hold only what is in the frame.

mod answer;
mod carry;
mod check;
mod column;
mod dense;
mod distinct;
mod frame;
mod history;
mod intern;
mod key;
mod measure;
mod output;
mod plan;
mod prefix;
mod rows;
mod shard;
mod small;
mod spec;
mod tree;

pub use spec::{
    Aggregate, Asked, Frame, FrameFunction, Function, Hints, Ties, Usage, WindowError, WindowInput,
    WindowInputError, WindowOutput, WindowSettings, WindowSpec, WindowSpecError,
};

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use rayon::prelude::*;

use key::KeyReader;
use plan::Plan;
use shard::{Batch, Shard, ShardAnswers};

/// The state of all windows over the same rows with the same keys.
#[derive(Debug)]
pub struct WindowState {
    spec: WindowSpec,
    settings: WindowSettings,
    hints: Hints,
    plan: Plan,
    reader: KeyReader,
    shards: Vec<Shard>,
    /// Highest watermark so far.
    watermark: i64,
}

impl WindowState {
    /// An empty state, or the reason why the spec can't be kept.
    pub fn new(spec: WindowSpec, settings: WindowSettings) -> Result<Self, WindowSpecError> {
        Self::with_hints(spec, settings, Hints::default())
    }

    /// The same, with what is known of how it will be used.
    pub fn with_hints(
        spec: WindowSpec,
        settings: WindowSettings,
        hints: Hints,
    ) -> Result<Self, WindowSpecError> {
        let plan = Plan::new(&spec, &hints)?;
        let reader = KeyReader::new(&spec.keys)?;
        let shards = (0..settings.shards.max(1)).map(|_| Shard::new()).collect();
        Ok(Self { spec, settings, hints, plan, reader, shards, watermark: i64::MIN })
    }

    /// An empty state of the same kind.
    pub fn emptied(&self) -> Result<Self, WindowSpecError> {
        Self::with_hints(self.spec.clone(), self.settings.clone(), self.hints.clone())
    }

    /// Adds a batch of rows and answers each of them.
    pub fn process(&mut self, input: &WindowInput<'_>) -> Result<WindowOutput, WindowInputError> {
        self.answer(input, None)
    }

    /// Adds a batch of rows and answers each aggregate for the rows that it is asked for; its other answers
    /// are null. A selection has one bit a row of the batch; one that is not there has no row.
    pub fn process_selected(
        &mut self,
        input: &WindowInput<'_>,
        selections: &[BooleanBuffer],
    ) -> Result<WindowOutput, WindowInputError> {
        let rows = input.times.len();
        let mut asked = vec![plan::ALWAYS; rows];
        for (index, selection) in selections.iter().enumerate() {
            if selection.len() != rows {
                let message = format!("a selection of {} rows for {rows}", selection.len());
                return Err(WindowInputError::Shape(message));
            }
            let bit = plan::ask_bit(Asked::Within(index));
            selection.set_indices().for_each(|row| asked[row] |= bit);
        }
        self.answer(input, Some(&asked))
    }

    fn answer(
        &mut self,
        input: &WindowInput<'_>,
        asked: Option<&[u64]>,
    ) -> Result<WindowOutput, WindowInputError> {
        let parts = self.run(input, asked, Shard::process)?;
        let answers = united(&self.plan, parts, input.times.len());
        let columns: Result<Vec<_>, _> = answers.columns.into_iter().map(output::Answers::finish).collect();
        let columns = columns.map_err(|error| WindowInputError::Arrow(error.to_string()))?;
        let mut errors = answers.errors;
        errors.sort_unstable();
        Ok(WindowOutput { columns, errors })
    }

    /// Adds a batch of rows and answers none of them: the state is afterwards what [`Self::process`] would
    /// have left, for a part of the work.
    pub fn absorb(&mut self, input: &WindowInput<'_>) -> Result<(), WindowInputError> {
        self.run(input, None, Shard::absorb).map(drop)
    }

    /// Has every shard work on its rows of a batch.
    fn run<T: Send>(
        &mut self,
        input: &WindowInput<'_>,
        asked: Option<&[u64]>,
        work: fn(&mut Shard, &Batch<'_>, &[u32]) -> Result<T, WindowInputError>,
    ) -> Result<Vec<Part<T>>, WindowInputError> {
        self.check(input)?;
        let watermarks = self.watermarks(input);
        let keys = self.reader.read(input.keys)?;
        let hashes: Vec<u64> = (0..input.times.len()).map(|row| keys.hash(row)).collect();
        let batch = Batch {
            plan: &self.plan,
            settings: &self.settings,
            input,
            keys: &keys,
            hashes: &hashes,
            watermarks: &watermarks,
            asked,
        };
        let parts = each_shard(&mut self.shards, &batch, work)?;
        self.watermark = watermarks.last().copied().unwrap_or(self.watermark);
        Ok(parts)
    }

    /// Whether it uses several threads for a batch of so many rows.
    pub(crate) fn is_parallel(&self, rows: usize) -> bool {
        self.settings.is_parallel(rows)
    }

    /// What the state holds at the moment.
    pub fn usage(&self) -> Usage {
        self.shards.iter().map(Shard::usage).fold(Usage::default(), std::ops::Add::add)
    }

    /// The spec the state was made from.
    pub fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    fn check(&self, input: &WindowInput<'_>) -> Result<(), WindowInputError> {
        let rows = input.times.len();
        if u32::try_from(rows).is_err() {
            return Err(WindowInputError::Shape(format!(
                "{rows} rows in a batch: send fewer than 4 billion"
            )));
        }
        check_columns("key", self.spec.keys.iter(), input.keys.iter().map(AsRef::as_ref), rows)?;
        let arguments = input.arguments.iter().map(AsRef::as_ref);
        check_columns("argument", self.spec.arguments.iter(), arguments, rows)?;
        for (index, (argument, never_null)) in input.arguments.iter().zip(&self.hints.never_null).enumerate()
        {
            if *never_null && argument.null_count() > 0 {
                let message = format!("argument column {index} has a null where none can be");
                return Err(WindowInputError::Shape(message));
            }
        }
        let filters = std::iter::repeat_n(&DataType::Boolean, self.spec.filters);
        check_columns("filter", filters, input.filters.iter().map(|filter| filter as &dyn Array), rows)?;
        if input.watermarks.len() == rows {
            return Ok(());
        }
        Err(WindowInputError::Shape(format!("{} watermarks for {rows} rows", input.watermarks.len())))
    }

    /// The watermark of each row: never lower than before, and one for all rows answered together.
    fn watermarks(&self, input: &WindowInput<'_>) -> Vec<i64> {
        let mut highest = self.watermark;
        let mut watermarks: Vec<i64> = Vec::with_capacity(input.times.len());
        for (row, watermark) in input.watermarks.iter().enumerate() {
            let tied = input.ties == Ties::Together && row > 0 && input.times[row] == input.times[row - 1];
            if !tied {
                highest = highest.max(*watermark);
            }
            watermarks.push(highest);
        }
        watermarks
    }
}

fn check_columns<'a>(
    what: &str,
    expected: impl ExactSizeIterator<Item = &'a DataType>,
    given: impl ExactSizeIterator<Item = &'a dyn Array>,
    rows: usize,
) -> Result<(), WindowInputError> {
    if given.len() != expected.len() {
        let message = format!("{} {what} columns where the spec has {}", given.len(), expected.len());
        return Err(WindowInputError::Shape(message));
    }
    for (index, (expected, given)) in expected.zip(given).enumerate() {
        let (data_type, length) = (given.data_type(), given.len());
        if data_type != expected || length != rows {
            return Err(WindowInputError::Shape(format!(
                "{what} column {index} has {length} rows of type {data_type} where {rows} of type {expected} belong"
            )));
        }
    }
    Ok(())
}

/// The rows of a batch that one shard worked on, and what came of it.
type Part<T> = (Vec<u32>, T);

/// Gives each shard its rows.
fn each_shard<T: Send>(
    shards: &mut [Shard],
    batch: &Batch<'_>,
    work: fn(&mut Shard, &Batch<'_>, &[u32]) -> Result<T, WindowInputError>,
) -> Result<Vec<Part<T>>, WindowInputError> {
    let count = batch.input.times.len() as u32;
    if let [shard] = shards {
        let rows: Vec<u32> = (0..count).collect();
        let done = work(shard, batch, &rows)?;
        return Ok(vec![(rows, done)]);
    }
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); shards.len()];
    for (row, hash) in (0..count).zip(batch.hashes) {
        // Bits that the shards' own tables make little use of.
        rows[(hash >> 24 & 0xffff) as usize % shards.len()].push(row);
    }
    let one = |(shard, rows): (&mut Shard, Vec<u32>)| work(shard, batch, &rows).map(|done| (rows, done));
    if batch.settings.is_parallel(count as usize) {
        let parts: Vec<_> = shards.par_iter_mut().zip(rows).map(one).collect();
        return parts.into_iter().collect();
    }
    let parts: Vec<_> = shards.iter_mut().zip(rows).map(one).collect();
    parts.into_iter().collect()
}

/// The answers of all shards, back in the order of the rows.
fn united(plan: &Plan, mut parts: Vec<Part<ShardAnswers>>, rows: usize) -> ShardAnswers {
    if parts.len() == 1
        && let Some((_, answers)) = parts.pop()
    {
        return answers;
    }
    let mut all = ShardAnswers::empty(plan, rows);
    for (rows, part) in parts {
        for (column, answers) in all.columns.iter_mut().zip(&part.columns) {
            column.scatter(answers, &rows);
        }
        all.errors.extend(part.errors);
    }
    all
}
