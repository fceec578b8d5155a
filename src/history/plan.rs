//! Which segments recovery can use for one partition, each proven before it is planned with.
//!
//! Takes what is wanted, hands on a [`Plan`]: disjoint ranges of offsets, ascending. Segments may overlap
//! (an interrupted merge, two instances): each offset is taken from one of them. Planning starts from names,
//! proves the segments it chose, and plans again without those that fail. A carry-over stands for all that is older,
//! where it holds what is wanted of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rayon::prelude::*;

use super::History;
use super::contract::origins;
use super::error::HistoryError;
use super::name::{Place, Segment, SegmentName};
use super::segment::check;
use crate::event::{Contract, Offset, Partition};
use crate::graph::Lasting;

/// What recovery asks the history for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Topic and partition.
    pub partition: Partition,
    /// Index of its stream in the contract.
    pub stream: usize,
    /// The topic's generation.
    pub generation: u32,
    /// Only rows below this offset.
    pub until: Offset,
    /// Only rows of this event time or later are needed, microseconds; `i64::MIN`: all.
    pub since: i64,
    /// And those that are needed however old they are.
    pub lasting: Lasting,
}

/// What the history can give for one partition.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The partition and its topic's generation.
    pub place: Place,
    /// Index of its stream in the contract.
    pub stream: usize,
    /// What is loaded, ascending and without overlap; segments with nothing since the wanted time are left out.
    pub segments: Vec<Planned>,
    /// The first offset of the contiguous coverage; none where the history has nothing to give.
    pub starts: Option<Offset>,
    /// The first offset that must be read from the topic: the end of the contiguous coverage.
    pub reaches: Option<Offset>,
    /// Whether nothing that is needed lies before `starts`. If not, all that is needed must be read from
    /// the topic, and the plan serves only where the topic no longer reaches back.
    pub complete: bool,
    /// Event time, microseconds, before which rows that are needed however old they are may be missing: nothing had
    /// asked for them when they were let go. None where none are.
    pub whole_from: Option<i64>,
    /// Rows that loading gives, at most.
    pub rows: u64,
    /// One more than the latest `_arrival` of the segments that were looked at.
    pub next_arrival: i64,
    /// Segments that can't be used, and why; they cost time only.
    pub unusable: Vec<(SegmentName, String)>,
}

/// A segment, and the offsets that are taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The segment.
    pub name: SegmentName,
    /// Offsets that no other segment of the plan gives.
    pub offsets: Range<Offset>,
}

/// Coverage without a gap, ascending.
#[derive(Debug, Default)]
pub(super) struct Run {
    segments: Vec<Planned>,
    complete: bool,
}

/// Plans with the segments that `choose` takes.
pub(super) fn plan(
    history: &History,
    contract: &Contract,
    wanted: &Wanted,
    choose: fn(&[SegmentName], &Wanted) -> Run,
) -> Result<Plan, HistoryError> {
    let place = Place { partition: wanted.partition.clone(), generation: wanted.generation };
    let mut names: Vec<SegmentName> = history
        .segments(&wanted.partition, wanted.generation)?
        .into_iter()
        .map(|segment: Segment| segment.name)
        .collect();
    let mut proven: BTreeMap<SegmentName, Proof> = BTreeMap::new();
    let mut unusable = Vec::new();
    let run = loop {
        let run = choose(&names, wanted);
        let unproven = run.segments.iter().filter(|planned| !proven.contains_key(&planned.name));
        let unproven: Vec<SegmentName> = unproven.map(|planned| planned.name.clone()).collect();
        if unproven.is_empty() {
            break run;
        }
        let results = unproven.into_par_iter().map(|name| {
            let proof = prove(history, contract, wanted, &place, &name);
            (name, proof)
        });
        for (name, proof) in results.collect::<Vec<_>>() {
            match proof? {
                Ok(proof) => drop(proven.insert(name, proof)),
                Err(reason) => {
                    names.retain(|other| *other != name);
                    unusable.push((name, reason));
                }
            }
        }
    };
    let reaches = run.segments.last().map(|last| last.offsets.end);
    let starts = run.segments.first().map(|first| first.offsets.start);
    let whole_from = run.segments.iter().filter_map(|planned| proven.get(&planned.name)?.whole_from).max();
    let needed = |planned: &Planned| {
        let lasting = wanted.lasting != Lasting::Nothing;
        planned.name.times.is_some_and(|(_, latest)| lasting || latest >= wanted.since)
    };
    let segments: Vec<Planned> = run.segments.into_iter().filter(needed).collect();
    Ok(Plan {
        place,
        stream: wanted.stream,
        rows: segments.iter().map(|planned| planned.name.rows).sum(),
        segments,
        starts,
        reaches,
        complete: run.complete,
        whole_from,
        next_arrival: proven.values().map(|proof| proof.arrival.saturating_add(1)).max().unwrap_or(0),
        unusable,
    })
}

/// What is known of a segment that can be used.
#[derive(Debug, Clone, Copy)]
struct Proof {
    /// Its latest arrival.
    arrival: i64,
    whole_from: Option<i64>,
}

/// Reads a segment; why it can't be used, if so.
fn prove(
    history: &History,
    contract: &Contract,
    wanted: &Wanted,
    place: &Place,
    name: &SegmentName,
) -> Result<Result<Proof, String>, HistoryError> {
    let Some(bytes) = history.objects.get(&history.location(place, name))? else {
        return Ok(Err("it is gone".to_owned()));
    };
    let Some(stream) = contract.streams.get(wanted.stream) else {
        return Ok(Err(format!("the contract has no stream {}", wanted.stream)));
    };
    Ok(check(&bytes, &history.identity, place, name).and_then(|checked| {
        let event_time = stream.schema.field(stream.event_time).name();
        if checked.event_time != *event_time {
            return Err(format!(
                "its event time is `{}`, and `{event_time}` in the contract",
                checked.event_time
            ));
        }
        origins(checked.metadata.schema(), stream)?;
        let needs = match &wanted.lasting {
            Lasting::Last(needs) if name.carried => needs.as_slice(),
            _ => &[],
        };
        let mut whole_from = None;
        for need in needs {
            let held = checked.carried.iter().find(|held| held.serves(need));
            let held = held.ok_or_else(|| {
                format!("it does not hold the last {} rows of {}, which a rule asks for", need.rows, need.of)
            })?;
            whole_from = whole_from.max(held.since);
        }
        Ok(Proof { arrival: checked.arrival_latest, whole_from })
    }))
}

/// The run that ends nearest to the wanted offset, among those that reach far enough back if any does.
pub(super) fn nearest_run(names: &[SegmentName], wanted: &Wanted) -> Run {
    let mut until = wanted.until;
    let mut nearest: Option<Run> = None;
    loop {
        let run = run_until(names, until, wanted);
        let Some(start) = run.segments.first().map(|first| first.offsets.start) else {
            return nearest.unwrap_or_default();
        };
        if run.complete {
            return run;
        }
        nearest.get_or_insert(run);
        until = start;
    }
}

/// Every run down to the wanted time, as one: complete only where nothing is missing between them.
pub(super) fn all_runs(names: &[SegmentName], wanted: &Wanted) -> Run {
    let mut all = run_until(names, wanted.until, wanted);
    let mut reached = all.complete;
    while let (false, Some(start)) = (reached, all.segments.first().map(|first| first.offsets.start)) {
        let earlier = run_until(names, start, wanted);
        reached = earlier.complete || earlier.segments.is_empty();
        all.segments.splice(0..0, earlier.segments);
    }
    all
}

/// Walks back from the segment that reaches furthest below `until`, to the carry-over where there is no more.
fn run_until(names: &[SegmentName], until: Offset, wanted: &Wanted) -> Run {
    let below = names.iter().filter(|name| name.from < until && !name.carried);
    let mut next = below.max_by_key(|name| (name.to.min(until), std::cmp::Reverse(name.from)));
    let mut run = Run::default();
    let mut end = until;
    let mut seen = BTreeSet::new();
    while let Some(name) = next {
        seen.insert(name);
        run.segments.push(Planned { name: name.clone(), offsets: name.from..name.to.min(end) });
        end = name.from;
        let enough = name.floor <= wanted.since && wanted.lasting == Lasting::Nothing;
        if name.from.0 == 0 || name.floor == i64::MIN || enough && name.floor != i64::MAX {
            run.complete = true;
            break;
        }
        let touching = names
            .iter()
            .filter(|name| name.from < end && name.to >= end && !name.carried && !seen.contains(name));
        next = touching.min_by_key(|name| name.from);
    }
    let reaching = if run.segments.is_empty() { Offset(0) } else { end };
    let carried = names.iter().filter(|name| {
        let (below, since) = (name.from < end && name.to <= wanted.until, name.floor <= wanted.since);
        name.carried && below && since && name.to >= reaching
    });
    let carried = carried.filter(|_| !run.complete && wanted.lasting != Lasting::Everything);
    if let Some(name) = carried.max_by_key(|name| name.to) {
        run.segments.push(Planned { name: name.clone(), offsets: name.from..name.to.min(end) });
        run.complete = true;
    }
    run.segments.reverse();
    run
}
