//! Moments of a case as the records that a topic would have brought.

use std::sync::Arc;

use super::{Moment, What};
use crate::event::{Contract, Partition, Stream};
use crate::source::{Fetched, Partitions, RawBatch, RawRecord, SourcePartition};

/// A partition for each stream of the contract; their indexes are those of the streams.
pub(super) fn partitions(contract: &Contract) -> Partitions {
    let entry = |(stream, named): (usize, &Arc<Stream>)| SourcePartition {
        partition: Partition { topic: named.name.as_str().into(), partition: 0 },
        stream,
    };
    Arc::new(contract.streams.iter().enumerate().map(entry).collect())
}

/// Streams that a case has events of.
pub(super) fn streams_of(moments: &[Moment]) -> Vec<usize> {
    let of = |moment: &Moment| match moment.what {
        What::Event { stream, .. } => Some(stream),
        What::Clock => None,
    };
    let mut streams: Vec<usize> = moments.iter().filter_map(of).collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}

/// Records of moments that are all events; an offset is the index of its moment in the case.
pub(super) fn records(moments: &[Moment], first: usize, partitions: &Partitions) -> Fetched {
    let mut batch = RawBatch { partitions: Arc::clone(partitions), ..RawBatch::default() };
    for (index, moment) in moments.iter().enumerate() {
        let What::Event { stream, record } = &moment.what else { continue };
        let start = batch.bytes.len();
        batch.bytes.extend(serde_json::to_vec(record).unwrap_or_default());
        batch.records.push(RawRecord {
            partition: u32::try_from(*stream).unwrap_or(u32::MAX),
            offset: (first + index) as i64,
            payload: Some(start..batch.bytes.len()),
            ..RawRecord::default()
        });
    }
    Fetched::Records(batch)
}
