//! The history: decoded events of each partition in Parquet segments, so that a restart need not read the
//! topics back.
//!
//! Takes [`DecodedBatch`](crate::decode::DecodedBatch)es and the offsets that each step read; hands them on
//! again, in the order of their arrival, to fill windows after a restart. Keeps one object a segment below
//! one root, on a local disk or in an object store, and `history.json`, which says whose history it is.
//! It is a cache of the topic, and never the truth: a segment whose name, checksum or footer does not hold
//! is reported and left out, a segment that can't be written is a gap, and either costs the time to read
//! those offsets from the topic. Only a history of another cluster or job is refused
//! ([`HistoryError::Foreign`]).
//!
//! What surprises: a segment may hold fewer rows than it covers offsets, because dead letters, repeats and
//! control records have none; and segments may overlap, because a merge writes the new one before it deletes
//! the old ones. Where windows without a bound in time need rows that no other does, those are written on into a
//! carry-over before their segments are deleted: it covers their offsets and holds nothing else of them. A segment's columns are the contract's, and `_offset`, `_timestamp` (Kafka's, UTC) and
//! `_arrival` (order of arrival over all partitions of a process).

mod beside;
mod carry;
mod contract;
mod error;
mod load;
mod merge;
mod name;
mod plan;
mod recorder;
mod sample;
mod segment;
mod split;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::event::{Contract, Offset, Partition};
use crate::settings::{HistoryPlace, HistorySettings};

use self::store::{Create, Created, Objects};

pub use self::beside::Beside;
pub use self::carry::Old;
pub use self::contract::{ARRIVAL_COLUMN, OFFSET_COLUMN, TIMESTAMP_COLUMN};
pub use self::error::HistoryError;
pub use self::load::Loader;
pub use self::name::{Place, Segment, SegmentName};
pub use self::plan::{Plan, Planned, Wanted};
pub use self::verify::{Finding, Verified};
pub use self::writer::{Writer, WriterSettings, WriterStatus};

/// The object that says whose history it is.
const MARKER: &str = "history.json";

/// Whose history it is: another job's, or another cluster's, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster whose offsets the segments name.
    pub cluster: String,
    /// The job that reads and writes them.
    pub job: String,
}

/// What `history.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// A history that is open. Cheap to clone; its calls block, and must not be made inside an async runtime.
#[derive(Debug, Clone)]
pub struct History {
    objects: Objects,
    identity: Identity,
}

impl History {
    /// Opens the history of a job, and makes it on first use.
    pub fn open(settings: &HistorySettings, identity: &Identity) -> Result<Self, HistoryError> {
        Self::claim(Objects::open(&settings.place, Create::Folder)?, identity)
    }

    /// Opens whatever history there is, to look at it.
    pub fn inspect(place: &HistoryPlace) -> Result<Self, HistoryError> {
        let objects = Objects::open(place, Create::Nothing)?;
        let Some(bytes) = objects.get(&objects.at([MARKER]))? else {
            return Err(HistoryError::Absent { place: place.to_string() });
        };
        let nobody = Identity { cluster: String::new(), job: String::new() };
        let identity = marker(&objects, &bytes, &nobody)?.identity;
        Ok(Self { objects, identity })
    }

    /// A history below `root` of an object store that is open already.
    pub fn on(store: Arc<dyn ObjectStore>, root: Path, identity: &Identity) -> Result<Self, HistoryError> {
        let shown = format!("{store}/{root}");
        Self::claim(Objects::on(store, root, None, shown)?, identity)
    }

    fn claim(objects: Objects, identity: &Identity) -> Result<Self, HistoryError> {
        let location = objects.at([MARKER]);
        let mut found = objects.get(&location)?;
        if found.is_none() {
            let marker = Marker { format: segment::FORMAT, identity: identity.clone() };
            let text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
            if objects.put_new(&location, Bytes::from(text))? == Created::Before {
                found = objects.get(&location)?;
            }
        }
        let history = Self { objects, identity: identity.clone() };
        match found {
            Some(bytes) => {
                let marker = marker(&history.objects, &bytes, identity)?;
                if marker.identity != *identity {
                    let Identity { cluster, job } = marker.identity;
                    let found = format!("belongs to job `{job}` on cluster `{cluster}`");
                    return Err(foreign(&history.objects, found, identity));
                }
                Ok(history)
            }
            None => Ok(history),
        }
    }

    /// Whose history it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The segments of one partition by their names, which are not proven yet, ascending by offset.
    pub fn segments(&self, partition: &Partition, generation: u32) -> Result<Vec<Segment>, HistoryError> {
        let place = Place { partition: partition.clone(), generation };
        let listed = self.objects.list(&self.folder(&place))?;
        let segment = |object: &object_store::ObjectMeta| {
            let name = SegmentName::parse(object.location.filename()?)?;
            Some(Segment { name, bytes: object.size })
        };
        let mut segments: Vec<Segment> = listed.iter().filter_map(segment).collect();
        segments.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(segments)
    }

    /// Offset and Kafka timestamp (microseconds) of the newest record below an offset; none where there is none.
    pub fn newest(
        &self,
        partition: &Partition,
        generation: u32,
        below: Offset,
    ) -> Result<Option<(Offset, i64)>, HistoryError> {
        sample::newest(self, partition, generation, below)
    }

    /// What recovery can use for one partition; reads and proves each segment that it plans with.
    pub fn plan(&self, contract: &Contract, wanted: &Wanted) -> Result<Plan, HistoryError> {
        plan::plan(self, contract, wanted, plan::nearest_run)
    }

    /// The same with all that there is, whatever is missing in between: then it is not complete.
    fn plan_with_gaps(&self, contract: &Contract, wanted: &Wanted) -> Result<Plan, HistoryError> {
        plan::plan(self, contract, wanted, plan::all_runs)
    }

    /// Rows of several partitions in the order of their arrival, read ahead by a thread of its own; only the
    /// columns `used` (one entry a stream, then a column). `partitions` must list every planned partition.
    pub fn load(
        &self,
        plans: Vec<Plan>,
        contract: &Contract,
        used: &[Vec<bool>],
        partitions: crate::source::Partitions,
    ) -> Result<Loader, HistoryError> {
        load::start(self, plans, contract, used, partitions)
    }

    /// The same rows while the job goes on to change its history, with whatever is missing left out; `wanted` is one a
    /// partition of `partitions`, in their order.
    pub fn beside(
        &self,
        wanted: Vec<Wanted>,
        contract: &Contract,
        used: &[Vec<bool>],
        partitions: crate::source::Partitions,
    ) -> Result<Beside, HistoryError> {
        Beside::start(self, wanted, contract, used, partitions)
    }

    /// Starts writing behind; `generations` has one entry a stream, and `next_arrival` must be more than any
    /// `_arrival` in the history ([`Plan::next_arrival`]).
    pub fn writer(
        &self,
        contract: &Contract,
        generations: &[u32],
        settings: WriterSettings,
        next_arrival: i64,
        clock: Arc<dyn crate::event::Clock>,
    ) -> Result<Writer, HistoryError> {
        let flush_interval = settings.flush_interval;
        let recorder = recorder::Recorder::new(self.clone(), contract, generations, settings, next_arrival)?;
        Writer::start(recorder, flush_interval, clock)
    }

    /// All segments by their names, partition by partition.
    pub fn list(&self) -> Result<Vec<(Place, Vec<Segment>)>, HistoryError> {
        verify::list(self).map(|listing| listing.places.into_iter().collect())
    }

    /// Reads everything and reports whatever does not hold.
    pub fn verify(&self) -> Result<Verified, HistoryError> {
        verify::verify(self)
    }

    fn folder(&self, place: &Place) -> Path {
        let (generation, partition) = (place.generation.to_string(), place.partition.partition.to_string());
        self.objects.at([&*place.partition.topic, &generation, &partition])
    }

    fn location(&self, place: &Place, name: &SegmentName) -> Path {
        self.folder(place).join(name.to_string())
    }
}

fn marker(objects: &Objects, bytes: &Bytes, wanted: &Identity) -> Result<Marker, HistoryError> {
    match serde_json::from_slice::<Marker>(bytes) {
        Ok(marker) if marker.format == segment::FORMAT => Ok(marker),
        Ok(marker) => {
            let found =
                format!("has the format {}, and this version reads {}", marker.format, segment::FORMAT);
            Err(foreign(objects, found, wanted))
        }
        Err(error) => {
            let found = format!("has a `{MARKER}` that can't be read ({error})");
            Err(foreign(objects, found, wanted))
        }
    }
}

fn foreign(objects: &Objects, found: String, wanted: &Identity) -> HistoryError {
    let Identity { cluster, job } = wanted.clone();
    HistoryError::Foreign { place: objects.to_string(), found, cluster, job }
}
