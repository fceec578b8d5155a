//! The input files of a replay, read side by side in order of event time.
//!
//! Each file is a partition. Rows of several files, or several streams, meet the rules row by row in order of event
//! time, those of equal time in the order of the files; a file that is not in order of time keeps its own. So answers do
//! not depend on how many rows are read at once.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;

use crate::cli::failure::Failure;
use crate::cli::job::stream_named;
use crate::cli::terminal;
use crate::decode::DecodedBatch;
use crate::event::{Contract, Partition};
use crate::graph::EngineError;
use crate::pipeline::{Core, Pending, StepOutcome, side_by_side};
use crate::source::{Fetched, FileSettings, FileSource, Partitions, SourcePartition};

/// What comes next.
pub(in crate::cli) enum Event {
    /// Rows of one file, which are the next to be answered only where it is the only one.
    Read(u32, Fetched),
    /// There are rows of each file that has not ended.
    Ready,
    /// A file has ended, and all of its rows have had their turn.
    Ended(u32),
}

struct Input {
    source: FileSource,
    ended: bool,
}

/// All input files.
pub(in crate::cli) struct Inputs {
    inputs: Vec<Input>,
    /// Decoded rows of each file that have not had their turn, where there are several.
    pending: Vec<Pending>,
    partitions: Partitions,
    rows_read: u64,
}

impl Inputs {
    /// Opens `FILE`s and `STREAM=FILE`s; Parquet files read the columns that are used and no others.
    pub(in crate::cli) fn open(
        contract: &Contract,
        names: &[String],
        batch_rows: u32,
        used: &[Vec<bool>],
    ) -> Result<Self, Failure> {
        let mut inputs = Vec::new();
        let mut partitions = Vec::new();
        for name in names {
            let split = name
                .split_once('=')
                .filter(|(_, file)| !std::path::Path::new(name).exists() && !file.is_empty());
            let (stream, path) = split.map_or((None, name.as_str()), |(stream, file)| (Some(stream), file));
            let path = PathBuf::from(path);
            let stream = stream_named(contract, stream, &path)?;
            let fields = contract.streams[stream].schema.fields();
            let projection =
                fields.iter().zip(&used[stream]).filter(|(field, used)| **used || !field.is_nullable());
            let settings = FileSettings {
                batch_rows: batch_rows as usize,
                projection: Some(projection.map(|(field, _)| field.name().clone()).collect()),
                ..FileSettings::default()
            };
            let source =
                FileSource::open(std::slice::from_ref(&path), stream, settings).map_err(Failure::usage)?;
            inputs.push(Input { source, ended: false });
            let partition = Partition { topic: path.display().to_string().into(), partition: 0 };
            partitions.push(SourcePartition { partition, stream });
        }
        let pending = inputs.iter().map(|_| Pending::default()).collect();
        Ok(Self { inputs, pending, partitions: Arc::new(partitions), rows_read: 0 })
    }

    /// The partitions that are to come.
    pub(in crate::cli) fn partitions(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.inputs.len()).unwrap_or(u32::MAX)
    }

    /// A bar over all rows, or over all bytes where rows are not known beforehand.
    pub(in crate::cli) fn progress(&self) -> ProgressBar {
        match self.rows_total() {
            Some(rows) => terminal::progress(rows, "rows"),
            None => {
                terminal::progress(self.inputs.iter().map(|input| input.source.bytes_total()).sum(), "bytes")
            }
        }
    }

    fn rows_total(&self) -> Option<u64> {
        self.inputs.iter().map(|input| input.source.rows_total()).sum()
    }

    /// Where the bar stands.
    pub(in crate::cli) fn position(&self) -> u64 {
        match self.rows_total() {
            Some(_) => self.rows_read,
            None => self.inputs.iter().map(|input| input.source.bytes_read()).sum(),
        }
    }

    /// What comes next; none at the end of all files.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<Event>, Failure> {
        let mut inputs = self.inputs.iter_mut().zip(&self.pending);
        let Some(index) = inputs.position(|(input, pending)| !input.ended && pending.is_empty()) else {
            return Ok(self.pending.iter().any(|pending| !pending.is_empty()).then_some(Event::Ready));
        };
        let partition = u32::try_from(index).unwrap_or(u32::MAX);
        Ok(Some(match self.inputs[index].source.next().map_err(Failure::outside)? {
            Some(fetched) => Event::Read(partition, self.renumbered(fetched, partition)),
            None => {
                self.inputs[index].ended = true;
                Event::Ended(partition)
            }
        }))
    }

    /// The rows that are to be answered next; none where others must be read first.
    pub(in crate::cli) fn decoded(
        &mut self,
        core: &mut Core,
        event: Event,
    ) -> Result<Option<DecodedBatch>, EngineError> {
        let decoded = match event {
            Event::Read(partition, fetched) => {
                let decoded = core.decode_alone(fetched);
                if self.inputs.len() > 1 && !decoded.rows.event_time.is_empty() {
                    self.pending[partition as usize] = Pending::new(decoded);
                    return Ok(None);
                }
                // A file alone waits for no other, and nor do dead letters without rows.
                decoded
            }
            Event::Ready => side_by_side(&mut self.pending)?,
            Event::Ended(_) => return Ok(None),
        };
        core.drop_repeats(decoded).map(Some)
    }

    /// Takes an event through the core.
    pub(in crate::cli) fn step(&mut self, core: &mut Core, event: Event) -> Result<StepOutcome, Failure> {
        if let Event::Ended(partition) = event {
            core.watermarks().release(partition);
            return core.release_waiting().map_err(Failure::outside);
        }
        let answered =
            self.decoded(core, event).and_then(|decoded| decoded.map(|rows| core.answer(rows)).transpose());
        Ok(answered.map_err(Failure::outside)?.unwrap_or_default())
    }

    /// The batch with its file's place among all files.
    fn renumbered(&mut self, mut fetched: Fetched, partition: u32) -> Fetched {
        self.rows_read += fetched.rows() as u64;
        match &mut fetched {
            Fetched::Records(batch) => {
                batch.partitions = Arc::clone(&self.partitions);
                for record in &mut batch.records {
                    record.partition = partition;
                }
            }
            Fetched::Columns(batch) => {
                batch.partitions = Arc::clone(&self.partitions);
                batch.partition = partition;
            }
        }
        fetched
    }
}
