//! The events that a running job keeps, read again beside it.
//!
//! Takes its settings; hands on rows in the order of their arrival, up to the last that was kept when this began. No
//! broker is asked and nothing is changed. What would surprise: a partition that has no more rows no longer holds the
//! watermark, as an idle one does in the job; one that was quiet for a while does hold it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{Exit, Failure};
use super::history::{failure, loaded_in, unusable};
use super::label_columns::{label_columns, label_faults};
use crate::backtest::{Label, Labels};
use crate::decode::DecodedBatch;
use crate::event::{Contract, EventTime, Offset};
use crate::graph::Lasting;
use crate::history::{Beside, History, Place, Plan, Wanted};
use crate::labels::said;
use crate::pipeline::Core;
use crate::rules::RuleSet;
use crate::settings::{Loaded, Settings};
use crate::source::SourcePartition;

/// Microseconds.
pub(super) const HOUR: i64 = 3_600_000_000;

/// What a job keeps.
pub(super) struct Kept {
    config: PathBuf,
    loaded: Loaded,
    /// Event time from which on rows are needed, microseconds.
    pub since: i64,
    history: History,
    partitions: Vec<KeptPartition>,
}

struct KeptPartition {
    stream: String,
    place: Place,
    /// Behind the last row that was kept when this began.
    until: Offset,
    latest: i64,
}

impl Kept {
    /// Opens the history that a settings file names.
    pub(super) fn open(config: &Path) -> Result<Self, Failure> {
        let loaded = loaded_in(config)?;
        let settings = &loaded.settings;
        let place = settings.history.as_ref().map(|history| &history.place).ok_or_else(|| {
            Failure::usage(format!(
                "{} names no history: set `url` under `[history]`, or give events as files by --input",
                config.display()
            ))
        })?;
        let history = History::inspect(place).map_err(|error| failure(&error))?;
        let mut partitions = Vec::new();
        for (place, segments) in history.list().map_err(|error| failure(&error))? {
            let of_job = settings.streams.iter().find(|(_, stream)| {
                let topics = stream.topics.iter();
                stream.generation == place.generation
                    && topics.into_iter().any(|topic| **topic == *place.partition.topic)
            });
            let until = segments.iter().map(|segment| segment.name.to).max();
            let latest = segments.iter().filter_map(|segment| Some(segment.name.times?.1)).max();
            if let (Some((stream, _)), Some(until), Some(latest)) = (of_job, until, latest) {
                partitions.push(KeptPartition { stream: stream.clone(), place, until, latest });
            }
        }
        if partitions.is_empty() {
            return Err(Failure::usage(format!(
                "the history of {} holds no events of the job's topics yet",
                config.display()
            )));
        }
        Ok(Self { config: config.to_owned(), loaded, since: i64::MIN, history, partitions })
    }

    /// The job's settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    /// The latest event time, microseconds. Labels come long after what they are about, and say nothing here.
    pub(super) fn latest(&self) -> i64 {
        let labels = self.settings().labels.as_ref().map(|labels| &labels.stream);
        let events = self.partitions.iter().filter(|own| Some(&own.stream) != labels);
        events.map(|own| own.latest).max().unwrap_or(i64::MIN)
    }

    /// The rows as a core reads them.
    pub(super) fn rows(
        &self,
        core: &Core,
        contract: &Contract,
        used: &[Vec<bool>],
    ) -> Result<KeptRows, Failure> {
        let carrier = core.carrier(contract).map_err(Failure::outside)?;
        let rows = self.read(contract, used, |stream| {
            let lasting = carrier.lasting(stream);
            let since = if lasting == Lasting::Everything { i64::MIN } else { self.since };
            Some((lasting, since))
        })?;
        self.refuse_unusable(&rows)?;
        Ok(rows)
    }

    /// What the rows of the labels' stream say; none where the job has no such stream, or keeps none of its rows yet.
    pub(super) fn labels(&self, set: &RuleSet) -> Result<Option<Labels>, Failure> {
        let faults = label_faults(&self.loaded, set);
        if !faults.is_empty() {
            return Err(unusable(&self.config, &faults));
        }
        let Some(columns) = label_columns(self.settings(), set) else { return Ok(None) };
        let contract = &set.catalog.contract;
        let all = contract.streams.iter().map(|stream| vec![true; stream.schema.fields().len()]);
        let of_labels = |stream| (stream == columns.stream).then_some((Lasting::Nothing, i64::MIN));
        let mut rows = self.read(contract, &all.collect::<Vec<_>>(), of_labels)?;
        let mut labels = Labels::default();
        while let Some(next) = rows.next()? {
            let Next::Rows(batch) = next else { continue };
            said(&columns, &batch, |id, fraud, known_at| labels.add(id, Label { fraud, known_at }));
        }
        Ok(Some(labels).filter(|labels| !labels.is_empty()))
    }

    /// Rows of the streams for which `wanted` says what is needed, and from which event time on.
    fn read(
        &self,
        contract: &Contract,
        used: &[Vec<bool>],
        wanted: impl Fn(usize) -> Option<(Lasting, i64)>,
    ) -> Result<KeptRows, Failure> {
        let (mut unknown, mut table, mut asked, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for own in &self.partitions {
            let Some((stream, _)) = contract.stream(&own.stream) else {
                unknown.push(own.stream.clone());
                continue;
            };
            let Some((lasting, since)) = wanted(stream) else { continue };
            let (partition, generation) = (own.place.partition.clone(), own.place.generation);
            let newest = self.history.newest(&partition, generation, own.until);
            last.push(newest.map_err(|error| failure(&error))?.map(|(offset, _)| offset));
            table.push(SourcePartition { partition: partition.clone(), stream });
            asked.push(Wanted { partition, stream, generation, until: own.until, since, lasting });
        }
        unknown.dedup();
        let rows = self.history.beside(asked, contract, used, Arc::new(table));
        let rows = rows.map_err(|error| failure(&error))?;
        Ok(KeptRows { rows, unknown, last, ended: VecDeque::new() })
    }

    /// Where no row can be read, why.
    fn refuse_unusable(&self, rows: &KeptRows) -> Result<(), Failure> {
        let Some(why) = rows.left_out().next().filter(|_| rows.total() == 0) else { return Ok(()) };
        let message = format!(
            "the history of {} has no events that can be used: {why}; take the rules' `schema.sql` from the job, or look \
             at the files with `tollgate history verify`",
            self.config.display()
        );
        Err(Failure { exit: Exit::Refused, message })
    }
}

/// Rows on their way.
pub(super) struct KeptRows {
    rows: Beside,
    /// Streams that the contract does not have.
    unknown: Vec<String>,
    /// For each partition, its last row.
    last: Vec<Option<Offset>>,
    /// Partitions that have ended, not yet told.
    ended: VecDeque<u32>,
}

/// What comes next.
pub(super) enum Next {
    Rows(DecodedBatch),
    /// A partition has ended.
    Ended(u32),
}

impl KeptRows {
    /// The partitions that have rows to come.
    pub(super) fn partitions(&self) -> impl Iterator<Item = u32> {
        (0..).zip(self.rows.plans()).filter(|(_, plan)| plan.rows > 0).map(|(index, _)| index)
    }

    /// How many rows there are, at most.
    pub(super) fn total(&self) -> u64 {
        self.rows.plans().iter().map(|plan| plan.rows).sum()
    }

    /// What is kept and can't be used, and why.
    fn left_out(&self) -> impl Iterator<Item = String> {
        let streams = self.unknown.iter().map(|stream| {
            format!("rows of {stream} are left out: the rules' contract has no stream of this name")
        });
        let segments = self.rows.plans().iter().flat_map(|plan| {
            plan.unusable.iter().map(|(name, why)| format!("{}/{name} is left out: {why}", plan.place))
        });
        streams.chain(segments)
    }

    /// What a reader must know before he trusts the answers.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.left_out().collect();
        let plans = || self.rows.plans().iter();
        let incomplete: Vec<&Plan> = plans().filter(|plan| !plan.complete).collect();
        if !incomplete.is_empty() {
            let names: Vec<String> = incomplete.iter().map(|plan| plan.place.partition.to_string()).collect();
            notes.push(format!(
                "the history does not hold all rows of {} that windows look back to{}: early answers may lack events (`[history] keep` keeps more)",
                names.join(", "),
                incomplete.iter().filter_map(|plan| begins(plan)).max().unwrap_or_default()
            ));
        }
        notes
    }

    /// Rows of all partitions, or that one of them has ended.
    pub(super) fn next(&mut self) -> Result<Option<Next>, Failure> {
        if let Some(partition) = self.ended.pop_front() {
            return Ok(Some(Next::Ended(partition)));
        }
        let Some(batch) = self.rows.next().transpose().map_err(|error| failure(&error))? else {
            return Ok(None);
        };
        for (partition, offset) in batch.rows.partition.iter().zip(&batch.rows.offset) {
            if self.last[*partition as usize] == Some(Offset(*offset)) {
                self.ended.push_back(*partition);
            }
        }
        Ok(Some(Next::Rows(batch)))
    }
}

/// Where the rows of a partition begin.
fn begins(plan: &Plan) -> Option<String> {
    let first =
        plan.segments.iter().filter_map(|segment| segment.name.times).map(|(first, _)| first).min()?;
    Some(format!(", from {} on", EventTime(first)))
}
