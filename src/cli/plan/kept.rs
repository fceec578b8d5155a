//! The events that a running job keeps, read again beside it.
//!
//! Takes its settings; hands on rows in the order of their arrival, up to the last that was kept when the plan began. No
//! broker is asked and nothing is changed. What would surprise: a partition that has no more rows no longer holds the
//! watermark, as an idle one does in the job; one that was quiet for a while does hold it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::cli::failure::Failure;
use crate::cli::history::{failure, settings_in};
use crate::decode::DecodedBatch;
use crate::event::{EventTime, Offset};
use crate::graph::Lasting;
use crate::history::{Beside, History, Place, Plan, Wanted};
use crate::pipeline::Parts;
use crate::settings::Settings;
use crate::source::SourcePartition;

/// What a job keeps.
pub(super) struct Kept {
    pub settings: Settings,
    /// Event time from which on rows are needed, microseconds.
    pub since: i64,
    history: History,
    partitions: Vec<KeptPartition>,
}

struct KeptPartition {
    stream: String,
    place: Place,
    /// Behind the last row that was kept when the plan began.
    until: Offset,
    latest: i64,
}

impl Kept {
    /// Opens the history that a settings file names.
    pub(super) fn open(config: &Path) -> Result<Self, Failure> {
        let settings = settings_in(config)?;
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
        Ok(Self { settings, since: i64::MIN, history, partitions })
    }

    /// The latest event time, microseconds.
    pub(super) fn latest(&self) -> i64 {
        self.partitions.iter().map(|own| own.latest).max().unwrap_or(i64::MIN)
    }

    /// The rows as a rule set reads them.
    pub(super) fn rows(&self, parts: &Parts) -> Result<KeptRows, Failure> {
        let contract = &parts.contract;
        let own = self.partitions.iter();
        let partitions: Vec<(&KeptPartition, usize)> =
            own.filter_map(|own| Some((own, contract.stream(&own.stream)?.0))).collect();
        let entry = |(own, stream): &(&KeptPartition, usize)| SourcePartition {
            partition: own.place.partition.clone(),
            stream: *stream,
        };
        let carrier = parts.core.carrier(contract).map_err(Failure::outside)?;
        let wanted = |(own, stream): &(&KeptPartition, usize)| {
            let lasting = carrier.lasting(*stream);
            Wanted {
                partition: own.place.partition.clone(),
                stream: *stream,
                generation: own.place.generation,
                until: own.until,
                since: if lasting == Lasting::Everything { i64::MIN } else { self.since },
                lasting,
            }
        };
        let table = Arc::new(partitions.iter().map(entry).collect());
        let wanted = partitions.iter().map(wanted).collect();
        let rows =
            self.history.beside(wanted, contract, &parts.used, table).map_err(|error| failure(&error))?;
        let last = partitions.iter().map(|(own, _)| {
            let newest = self.history.newest(&own.place.partition, own.place.generation, own.until);
            newest.map(|newest| newest.map(|(offset, _)| offset))
        });
        let last = last.collect::<Result<_, _>>().map_err(|error| failure(&error))?;
        Ok(KeptRows { rows, last, ended: VecDeque::new() })
    }
}

/// Rows on their way.
pub(super) struct KeptRows {
    rows: Beside,
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

    /// What a reader must know before he trusts the answers.
    pub(super) fn notes(&self) -> Vec<String> {
        let plans = || self.rows.plans().iter();
        let unusable = plans().flat_map(|plan| {
            plan.unusable.iter().map(|(name, why)| format!("{}/{name} is left out: {why}", plan.place))
        });
        let mut notes: Vec<String> = unusable.collect();
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
