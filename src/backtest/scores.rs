//! Scores of events, and what depends on their order: the curve, average precision, card precision@k.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::Flags;
use super::case::Case;
use crate::decision::Combination;
use crate::rules::Points;

/// A rule among those whose points are combined.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The rule's id.
    pub id: &'a str,
    /// What each of its hits has.
    pub points: &'a Points,
    /// What it raised.
    pub flags: &'a Flags,
}

impl Member<'_> {
    /// Points of each event that it hits.
    pub(super) fn events(&self) -> impl Iterator<Item = (u32, u32)> {
        let fixed = self.points.fixed();
        let hits: &[u32] = if fixed.is_some() { &self.flags.hits } else { &[] };
        let said: &[(u32, u32)] = if fixed.is_some() { &[] } else { &self.flags.points };
        hits.iter().map(move |event| (*event, fixed.unwrap_or_default())).chain(said.iter().copied())
    }
}

/// Points of the events that have any; ascending, each event once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scores {
    points: Vec<(u32, u32)>,
}

/// One threshold: events with at least so many points are flagged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Points.
    pub threshold: u32,
    /// Events with as many or more.
    pub flagged: u64,
    /// Frauds among them.
    pub frauds: u64,
    /// Share of frauds among the flagged.
    pub precision: f64,
    /// Share of all frauds that is flagged; none where there is no fraud.
    pub recall: Option<f64>,
}

impl Scores {
    /// One point a hit.
    pub fn of_hits(flags: &Flags) -> Self {
        Self { points: flags.hits.iter().map(|event| (*event, 1)).collect() }
    }

    /// Points of several rules' hits, combined. An event whose score is no more than that of one without hits has none.
    pub fn combined(members: &[Member<'_>], combination: &Combination) -> Self {
        let events = |(member, own): (usize, &Member<'_>)| {
            own.events().map(move |(event, points)| (event, member, points)).collect::<Vec<_>>()
        };
        let mut all: Vec<(u32, usize, u32)> = members.iter().enumerate().flat_map(events).collect();
        all.sort_unstable();
        let unhit = combination.score(std::iter::empty());
        let score = |hits: &[(u32, usize, u32)]| {
            let score = combination
                .score(hits.iter().map(|(_, member, points)| (members[*member].id, i64::from(*points))));
            (score > unhit).then(|| (hits[0].0, u32::try_from(score).unwrap_or(u32::MAX)))
        };
        Self { points: all.chunk_by(|a, b| a.0 == b.0).filter_map(score).collect() }
    }

    /// Points equal to the label: what no score can beat.
    pub(super) fn perfect(case: &Case<'_>) -> Self {
        let frauds = case.scored_events().filter(|event| case.events.is_fraud(*event));
        Self { points: frauds.map(|event| (event, 1)).collect() }
    }

    /// Precision and recall at each threshold, the highest first; the last flags everything.
    pub fn curve(&self, case: &Case<'_>) -> Vec<CurvePoint> {
        let Some(frauds_all) = case.scope.frauds else { return Vec::new() };
        let mut by_points: BTreeMap<Reverse<u32>, (u64, u64)> = BTreeMap::new();
        for (event, points) in &self.points {
            let count = by_points.entry(Reverse(*points)).or_default();
            count.0 += 1;
            count.1 += u64::from(case.events.is_fraud(*event));
        }
        let (scored, frauds): (u64, u64) =
            by_points.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        if case.scope.scored > scored {
            by_points.insert(Reverse(0), (case.scope.scored - scored, frauds_all - frauds));
        }
        let mut sum = (0, 0);
        let point = |(Reverse(threshold), (count, of_fraud)): (Reverse<u32>, (u64, u64))| {
            sum = (sum.0 + count, sum.1 + of_fraud);
            CurvePoint {
                threshold,
                flagged: sum.0,
                frauds: sum.1,
                precision: super::share(sum.1, sum.0).unwrap_or(0.0),
                recall: super::share(sum.1, frauds_all),
            }
        };
        by_points.into_iter().map(point).collect()
    }

    /// The sum, over thresholds from the highest, of the recall gained times the precision there.
    pub fn average_precision(&self, case: &Case<'_>) -> Option<f64> {
        let mut before = 0.0;
        let mut sum = 0.0;
        for point in self.curve(case) {
            let recall = point.recall?;
            sum += (recall - before) * point.precision;
            before = recall;
        }
        case.labelled().then_some(sum)
    }

    /// Area under the ROC curve: the chance that a fraud has more points than a genuine event, a tie counted half.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn auc_roc(&self, case: &Case<'_>) -> Option<f64> {
        let (mut before, mut area) = ((0, 0), 0.0);
        for point in self.curve(case) {
            let (frauds, genuine) = (point.frauds, point.flagged - point.frauds);
            area += (genuine - before.1) as f64 * (before.0 + frauds) as f64 / 2.0;
            before = (frauds, genuine);
        }
        let pairs = before.0 as f64 * before.1 as f64;
        (pairs > 0.0).then_some(area / pairs)
    }

    /// Card precision@k: each day an entity's score is the highest of its events, and the k highest are
    /// looked at; the share of k that has a fraud that day, in the mean over days with events. An entity
    /// found so is left out on later days. One without points is never looked at; of equal scores, the one
    /// that reached it first comes first, and then the one whose text sorts first.
    pub fn precision_at_k(&self, case: &Case<'_>) -> Option<f64> {
        let events = case.events;
        if !case.labelled() || events.entity.is_empty() || case.days.is_empty() {
            return None;
        }
        let mut best: BTreeMap<i64, HashMap<u32, (Reverse<u32>, i64)>> = BTreeMap::new();
        for (event, points) in &self.points {
            let own = (Reverse(*points), events.time[*event as usize]);
            let day = best.entry(case.day(*event)).or_default();
            let known = day.entry(events.entity[*event as usize]).or_insert(own);
            *known = own.min(*known);
        }
        let k = case.settings.k as usize;
        let mut found_before: HashSet<u32> = HashSet::new();
        let mut found_all = 0;
        for (day, entities) in best {
            let waiting = entities.into_iter().filter(|(entity, _)| !found_before.contains(entity));
            let mut ranked: Vec<_> = waiting
                .map(|(entity, (points, time))| (points, time, &events.entities[entity as usize], entity))
                .collect();
            ranked.sort_unstable();
            let looked_at = ranked.iter().take(k).map(|(_, _, _, entity)| *entity);
            let found: Vec<u32> =
                looked_at.filter(|entity| case.compromised.contains(&(day, *entity))).collect();
            found_all += found.len() as u64;
            found_before.extend(found);
        }
        super::share(found_all, u64::from(case.settings.k) * case.days.len() as u64)
    }
}
