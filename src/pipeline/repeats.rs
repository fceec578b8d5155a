//! Repeats of an event id within a set period: counted, and seen by no window and no rule.
//!
//! Takes decoded rows, hands on those that are new. Keeps a 128-bit fingerprint and the event time of every
//! id of the last period; two ids of one stream are taken for one with a probability of about 10⁻²⁰ for a
//! billion ids. Rows are judged one by one, so batches make no difference.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, ArrayRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::StreamPolicy;
use crate::decode::{DecodedBatch, StreamRows};
use crate::event::Contract;

/// Ids remembered for one stream; past it the oldest is forgotten.
const IDS_MAX: usize = 20_000_000;

/// The ids seen lately, stream by stream.
pub(super) struct Repeats {
    streams: Vec<Option<SeenIds>>,
}

/// The ids of one stream.
struct SeenIds {
    columns: Vec<usize>,
    converter: RowConverter,
    period: i64,
    times: HashMap<u128, i64, foldhash::fast::FixedState>,
    order: VecDeque<(i64, u128)>,
}

impl Repeats {
    /// Remembers ids of the streams that have a primary key and a period.
    pub(super) fn new(contract: &Contract, policies: &[StreamPolicy]) -> Self {
        let streams = contract.streams.iter().zip(policies).map(|(stream, policy)| {
            let types = stream
                .event_id
                .iter()
                .map(|column| SortField::new(stream.schema.field(*column).data_type().clone()));
            let wanted = !stream.event_id.is_empty() && policy.repeats.0 > 0;
            let converter = wanted.then(|| RowConverter::new(types.collect()).ok()).flatten()?;
            Some(SeenIds {
                columns: stream.event_id.clone(),
                converter,
                period: policy.repeats.0,
                times: HashMap::default(),
                order: VecDeque::new(),
            })
        });
        Self { streams: streams.collect() }
    }

    /// Numbers of the rows that are no repeats; none if all rows are new. Ids are forgotten a period behind the
    /// watermark: by the time of a single row, a partition that is read ahead would make the others forget.
    pub(super) fn kept(
        &mut self,
        batch: &DecodedBatch,
        watermark: i64,
    ) -> Result<Option<Vec<u32>>, ArrowError> {
        let mut repeated = Vec::new();
        for (seen, rows) in self.streams.iter_mut().zip(&batch.streams) {
            if let Some(seen) = seen {
                seen.forget(watermark);
                seen.judge(rows, &batch.rows.event_time, &mut repeated)?;
            }
        }
        if repeated.is_empty() {
            return Ok(None);
        }
        repeated.sort_unstable();
        let all = 0..u32::try_from(batch.rows.event_time.len()).unwrap_or(u32::MAX);
        Ok(Some(all.filter(|row| repeated.binary_search(row).is_err()).collect()))
    }
}

impl SeenIds {
    fn judge(&mut self, rows: &StreamRows, times: &[i64], repeated: &mut Vec<u32>) -> Result<(), ArrowError> {
        let columns: Option<Vec<ArrayRef>> =
            self.columns.iter().map(|column| rows.columns.get(*column)?.clone()).collect();
        let Some(columns) =
            columns.filter(|columns| columns.iter().all(|column| column.len() == rows.rows.len()))
        else {
            return Ok(());
        };
        let ids = self.converter.convert_columns(&columns)?;
        for (row, id) in rows.rows.iter().zip(ids.iter()) {
            if self.repeats(fingerprint(|hasher| hasher.write(id.as_ref())), times[*row as usize]) {
                repeated.push(*row);
            }
        }
        Ok(())
    }

    fn forget(&mut self, watermark: i64) {
        let oldest = watermark.saturating_sub(self.period);
        while let Some((at, id)) = self.order.front().copied() {
            if at >= oldest && self.times.len() < IDS_MAX {
                break;
            }
            self.order.pop_front();
            if self.times.get(&id) == Some(&at) {
                self.times.remove(&id);
            }
        }
    }

    fn repeats(&mut self, id: u128, time: i64) -> bool {
        match self.times.get(&id) {
            Some(first) if time.abs_diff(*first) <= self.period.unsigned_abs() => true,
            _ => {
                self.times.insert(id, time);
                self.order.push_back((time, id));
                false
            }
        }
    }
}

/// 128 bits that stand for what is written.
pub(super) fn fingerprint(write: impl Fn(&mut <FixedState as BuildHasher>::Hasher)) -> u128 {
    let half = |seed: u64| {
        let mut hasher = FixedState::with_seed(seed).build_hasher();
        write(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0x746f_6c6c) << 64 | half(0x6761_7465)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn an_id_is_known_for_a_period_behind_the_watermark_however_far_ahead_others_are() {
        let mut seen = SeenIds {
            columns: vec![0],
            converter: RowConverter::new(vec![SortField::new(DataType::Utf8)]).expect("a converter"),
            period: 60,
            times: HashMap::default(),
            order: VecDeque::new(),
        };
        assert!(!seen.repeats(1, 100));
        // Another partition is an hour ahead, and the watermark waits for this one.
        assert!(!seen.repeats(2, 3_700));
        seen.forget(110);
        assert!(seen.repeats(1, 130));
        assert!(!seen.repeats(1, 161), "past the period it is a new event");
        seen.forget(3_900);
        assert!(seen.times.is_empty());
    }
}
