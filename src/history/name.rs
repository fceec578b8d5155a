//! What a segment's name says: offsets, rows, event times and checksum, so that a listing is an index.
//!
//! `{topic}/{generation}/{partition}/{from}-{to}.{rows}.{earliest}_{latest}_{floor}.{checksum}.parquet`,
//! times in microseconds, `none` where there are no rows. A carry-over ends in `.carried.parquet`. A name is believed only once the checksum holds
//! and the footer says the same.

use std::fmt;

use crate::event::{Offset, Partition};

/// A partition of one life of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Topic and partition.
    pub partition: Partition,
    /// Tells the topic from deleted ones of the same name.
    pub generation: u32,
}

/// A segment by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The first offset it covers.
    pub from: Offset,
    /// The offset behind the last one it covers.
    pub to: Offset,
    /// Rows in it: at most one an offset.
    pub rows: u64,
    /// Earliest and latest event time in microseconds; none without rows.
    pub times: Option<(i64, i64)>,
    /// All events of the partition below `from` are earlier than this, microseconds; `i64::MAX` where that
    /// is not known, `i64::MIN` where the job never reads any.
    pub floor: i64,
    /// The first 128 bits of the BLAKE3 hash of its bytes, in hexadecimal.
    pub checksum: String,
    /// Whether it is a carry-over: of the rows that it covers it holds only those that windows without a bound in
    /// time need, for whoever needs all rows from `floor` on, not before.
    pub carried: bool,
}

/// A segment as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub name: SegmentName,
    /// Its size.
    pub bytes: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition.topic, self.generation, self.partition.partition)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}.{}.", self.from.0, self.to.0, self.rows)?;
        match self.times {
            Some((earliest, latest)) => write!(f, "{earliest}_{latest}")?,
            None => f.write_str("none_none")?,
        }
        write!(f, "_{}.{}{}.parquet", self.floor, self.checksum, if self.carried { ".carried" } else { "" })
    }
}

impl SegmentName {
    /// Reads a name; none if it is not one, or says what can't be.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (offsets, rows, times, checksum, carried) = match parts.as_slice() {
            [offsets, rows, times, checksum, "parquet"] => (offsets, rows, times, checksum, false),
            [offsets, rows, times, checksum, "carried", "parquet"] => (offsets, rows, times, checksum, true),
            _ => return None,
        };
        let (from, to) = offsets.split_once('-')?;
        let [earliest, latest, floor] = *times.split('_').collect::<Vec<_>>().as_slice() else { return None };
        let times = match (earliest, latest) {
            ("none", "none") => None,
            _ => Some((earliest.parse().ok()?, latest.parse().ok()?)),
        };
        let name = Self {
            from: Offset(from.parse().ok()?),
            to: Offset(to.parse().ok()?),
            rows: rows.parse().ok()?,
            times,
            floor: floor.parse().ok()?,
            checksum: (*checksum).to_owned(),
            carried,
        };
        // Only the one spelling is a name: `+5` and `05` would make two names of one segment.
        (name.possible() && name.to_string() == text).then_some(name)
    }

    fn possible(&self) -> bool {
        let offsets = self.from.0 >= 0 && self.to > self.from;
        let rows = offsets && self.rows <= self.to.0.abs_diff(self.from.0);
        let times = match self.times {
            Some((earliest, latest)) => self.rows > 0 && earliest <= latest,
            None => self.rows == 0,
        };
        rows && times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_are_written_and_sort_by_offset() {
        let name = SegmentName {
            from: Offset(5),
            to: Offset(25),
            rows: 18,
            times: Some((-5, 1_763_806_502_123_000)),
            floor: i64::MIN,
            checksum: "00ff".into(),
            carried: false,
        };
        let carried = SegmentName { carried: true, ..name.clone() };
        let empty = SegmentName { from: Offset(100), to: Offset(101), rows: 0, times: None, ..name.clone() };
        for name in [&name, &empty, &carried] {
            assert_eq!(SegmentName::parse(&name.to_string()).as_ref(), Some(name));
        }
        assert!(name.to_string() < empty.to_string());
    }

    #[test]
    fn a_name_that_says_what_can_not_be_is_none() {
        let good = "00000000000000000005-00000000000000000025.18.1_2_0.00ff.parquet";
        assert!(SegmentName::parse(good).is_some());
        for bad in [
            good.replace("25.18", "05.18"),
            good.replace(".18.", ".21."),
            good.replace("1_2", "3_2"),
            good.replace("1_2", "none_none"),
            good.replace("00000000000000000005", "5"),
            good.replace(".parquet", ".parquet#1"),
            good.replace(".parquet", ".carry.parquet"),
            good.replace("1_2_0", "1_2"),
            "history.json".to_owned(),
        ] {
            assert!(SegmentName::parse(&bad).is_none(), "{bad}");
        }
    }
}
