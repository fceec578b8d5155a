//! The input files of a replay, read side by side in order of event time.
//!
//! Each file is a partition. The next batch comes from the file whose last row is the oldest, so that several
//! files, or several streams, meet the rules in the order of their events, batch by batch.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;

use crate::cli::failure::Failure;
use crate::cli::job::stream_named;
use crate::cli::terminal;
use crate::event::{Contract, Partition};
use crate::pipeline::StepOutcome;
use crate::source::{Fetched, FileSettings, FileSource, Partitions, SourcePartition};

/// What comes next.
pub(in crate::cli) enum Event {
    /// Rows of one file.
    Batch(Fetched),
    /// A file has ended.
    Ended(u32),
}

struct Input {
    source: FileSource,
    /// Event time of the last row read; the least possible before the first.
    reached: i64,
    ended: bool,
}

/// All input files.
pub(in crate::cli) struct Inputs {
    inputs: Vec<Input>,
    partitions: Partitions,
    latest: usize,
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
            inputs.push(Input { source, reached: i64::MIN, ended: false });
            let partition = Partition { topic: path.display().to_string().into(), partition: 0 };
            partitions.push(SourcePartition { partition, stream });
        }
        Ok(Self { inputs, partitions: Arc::new(partitions), latest: 0, rows_read: 0 })
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

    /// The next batch of the file that is furthest behind.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<Event>, Failure> {
        let open = self.inputs.iter().enumerate().filter(|(_, input)| !input.ended);
        let Some((index, _)) = open.min_by_key(|(_, input)| input.reached) else { return Ok(None) };
        self.latest = index;
        let partition = u32::try_from(index).unwrap_or(u32::MAX);
        Ok(Some(match self.inputs[index].source.next().map_err(Failure::outside)? {
            Some(fetched) => Event::Batch(self.renumbered(fetched, partition)),
            None => {
                self.inputs[index].ended = true;
                Event::Ended(partition)
            }
        }))
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

    /// Takes note of how far the file of the last batch has come.
    pub(in crate::cli) fn note(&mut self, outcome: &StepOutcome) {
        if self.inputs.len() < 2 {
            return;
        }
        let latest = u32::try_from(self.latest).unwrap_or(u32::MAX);
        let times = outcome.answered.iter().flat_map(|answered| {
            let rows = &answered.batch.rows;
            rows.event_time
                .iter()
                .zip(&rows.partition)
                .filter(|(_, partition)| **partition == latest)
                .map(|(time, _)| *time)
        });
        // Rows that wait are not seen here; counting batches as well keeps any file from starving.
        let seen = times.max().unwrap_or(i64::MIN);
        let input = &mut self.inputs[self.latest];
        input.reached = input.reached.max(seen);
    }
}
