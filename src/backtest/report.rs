//! The whole of a backtest: every rule, sets of rules, sweeps, another folder, the other order of answers.

use serde::Serialize;

use super::days::{Day, daily};
use super::overlap::{Marginal, Overlap, marginals, overlap};
use super::scores::CurvePoint;
use super::versions::{VersionReport, versions};
use super::{Case, Flags, Member, Quality, Scope, Scores, ThresholdReport, Variant, Wanted};
use crate::decision::Combination;
use crate::rules::{Points, Rule, Status};
use crate::score::Stability;

/// A rule and what it raised.
#[derive(Debug, Clone)]
pub struct Ruled {
    /// The rule.
    pub rule: Rule,
    /// What it raised on all events.
    pub flags: Flags,
    /// Whether it is one of those that decide together, and not only watched.
    pub counts: bool,
}

impl Ruled {
    /// The rule with what it raised within a scope.
    pub fn member<'a>(&'a self, flags: &'a Flags) -> Member<'a> {
        Member { id: &self.rule.header.id, points: &self.rule.header.score, flags }
    }
}

/// Rules whose figures are wanted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSet {
    /// Its name.
    pub name: String,
    /// Ids of its rules.
    pub rules: Vec<String>,
}

/// A rule with a constant at several values.
#[derive(Debug, Clone)]
pub struct SweptRule {
    /// The rule's id.
    pub rule: String,
    /// The column that the constant is compared with.
    pub constant: String,
    /// Each variant and what it raised.
    pub variants: Vec<(Variant, Flags)>,
}

/// Everything that a backtest found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `tollgate.backtest/1`.
    pub schema: &'static str,
    /// What was scored.
    pub scope: Scope,
    /// Entities looked at each day, for `card_precision_at_k`.
    pub k: u32,
    /// Card precision@k of a perfect score.
    pub card_precision_at_k_of_a_perfect_score: Option<f64>,
    /// One entry a rule, in the order of the folder.
    pub rules: Vec<RuleReport>,
    /// All rules that decide together; these with those that are only watched, where there are any; then the sets that
    /// were asked for.
    pub sets: Vec<SetReport>,
    /// Thresholds of the combined points of the first set that reach what was asked for.
    pub thresholds: Vec<ThresholdReport>,
    /// Events that two rules share.
    pub overlap: Overlap,
    /// Shadow versions beside their live rules.
    pub versions: Vec<VersionReport>,
    /// How far the inputs and scores of models have moved from their training periods.
    pub models: Vec<ModelReport>,
    /// One entry a swept constant.
    pub sweeps: Vec<SweepReport>,
    /// What another folder would have done.
    pub against: Option<Comparison>,
    /// What the other order of answers would have changed.
    pub other_order: Option<OrderChange>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Rows of the scored period that it was asked about.
    pub rows: u64,
    /// Values that were missing, by input.
    pub missing: Vec<(String, u64)>,
    /// Population stability index of each input and score; none where `not_compared` says why.
    pub moved: Option<Vec<Stability>>,
    /// Why it is not compared with its training period: without a baseline, or with few rows.
    pub not_compared: Option<String>,
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct RuleReport {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its version.
    pub version: String,
    /// Draft, shadow, live or off.
    pub status: Status,
    /// Points of a hit: a number, or text where a column says them.
    pub points: Points,
    /// Its figures; those of scores are of the points that a column says, else of one a hit.
    #[serde(flatten)]
    pub quality: Quality,
    /// What it adds to all other rules.
    pub marginal: Marginal,
    /// Hits on rows of streams that are not scored.
    pub hits_on_other_streams: u64,
}

/// Rules together.
#[derive(Debug, Clone, Serialize)]
pub struct SetReport {
    /// `all`, `with shadow` and the like, or the name it was asked for by.
    pub name: String,
    /// Ids of its rules.
    pub rules: Vec<String>,
    /// `points of the rules`, or `one a hit` where no rule of the set has any.
    pub scored_by: &'static str,
    /// Its figures; average precision and card precision@k are of the combined points.
    #[serde(flatten)]
    pub quality: Quality,
    /// Precision and recall at each threshold of the combined points.
    pub curve: Vec<CurvePoint>,
    /// Alerts by day.
    pub daily: Vec<Day>,
}

/// A constant at several values.
#[derive(Debug, Clone, Serialize)]
pub struct SweepReport {
    /// The rule.
    pub rule: String,
    /// The column that the constant is compared with.
    pub constant: String,
    /// One entry a value.
    pub points: Vec<SweepPoint>,
}

/// A rule with one value of a constant.
#[derive(Debug, Clone, Serialize)]
pub struct SweepPoint {
    /// The value.
    pub value: String,
    /// Whether it is the rule's own.
    pub current: bool,
    /// The variant's figures.
    #[serde(flatten)]
    pub quality: Quality,
}

/// What one rule hits in one of two runs alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its id; `all` for all rules that count together.
    pub rule: String,
    /// `same version`, `changed`, `added` or `removed`.
    pub state: &'static str,
    /// Events that hit now and did not there.
    pub gained: u64,
    /// Frauds among them; none without labels.
    pub gained_frauds: Option<u64>,
    /// Events that hit there and no longer do.
    pub lost: u64,
    /// Frauds among them; none without labels.
    pub lost_frauds: Option<u64>,
    /// Alerts there.
    pub alerts_there: u64,
    /// Alerts here.
    pub alerts_here: u64,
}

/// Another folder of rules on the same events.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Where it stands.
    pub folder: String,
    /// The figures of all of its rules that count together.
    pub quality: Quality,
    /// All rules that count together first, then each.
    pub changes: Vec<Changed>,
}

/// The other order of answers on the same events.
#[derive(Debug, Clone, Serialize)]
pub struct OrderChange {
    /// The order of the report.
    pub reported: crate::rules::Emit,
    /// The order that it is compared with.
    pub other: crate::rules::Emit,
    /// Rows too late to be answered in order.
    pub late: u64,
    /// `gained`: events that hit in the other order only; `lost`: those that hit in the reported one only.
    pub changes: Vec<Changed>,
}

impl Report {
    /// Puts the figures of rules, sets and sweeps together.
    pub fn new(
        case: &Case<'_>,
        ruled: &[Ruled],
        (sets, wanted): (&[NamedSet], &[Wanted]),
        swept: &[SweptRule],
    ) -> Self {
        let scoped: Vec<Flags> = ruled.iter().map(|ruled| ruled.flags.within(&case.scored)).collect();
        let all: Vec<&Flags> = scoped.iter().collect();
        let ids: Vec<String> = ruled.iter().map(|ruled| ruled.rule.header.id.clone()).collect();
        let rules = ruled.iter().zip(&scoped).zip(marginals(case, &all));
        let set = |named: &NamedSet| set_report(case, named, ruled, &scoped);
        let sets: Vec<SetReport> = together_by_default(ruled).iter().chain(sets).map(set).collect();
        let days = case.scope.days;
        let rules: Vec<RuleReport> =
            rules.map(|((ruled, flags), marginal)| rule_report(case, ruled, flags, marginal)).collect();
        Self {
            schema: "tollgate.backtest/1",
            scope: case.scope.clone(),
            k: case.settings.k,
            card_precision_at_k_of_a_perfect_score: Scores::perfect(case).precision_at_k(case),
            versions: versions(case, ruled, (&rules, &scoped)),
            rules,
            thresholds: wanted.iter().map(|wanted| wanted.report(&sets[0].curve, days)).collect(),
            sets,
            overlap: overlap(case, ids, &all),
            models: Vec::new(),
            sweeps: swept.iter().map(|swept| sweep_report(case, ruled, swept)).collect(),
            against: None,
            other_order: None,
        }
    }

    /// Sets that say more than the rules do: not all together, where that is one rule with the same figures.
    pub fn sets_to_show(&self) -> impl Iterator<Item = &SetReport> {
        let alone = self.rules.first().filter(|_| self.rules.len() == 1);
        let same = move |(index, set): &(usize, &SetReport)| {
            *index == 0 && alone.is_some_and(|rule| rule.quality == set.quality)
        };
        self.sets.iter().enumerate().filter(move |set| !same(set)).map(|(_, set)| set)
    }
}

/// The rules that count, and these with the others, where there are others.
fn together_by_default(ruled: &[Ruled]) -> Vec<NamedSet> {
    let ids = |chosen: &dyn Fn(&&Ruled) -> bool| {
        ruled.iter().filter(chosen).map(|ruled| ruled.rule.header.id.clone()).collect()
    };
    let mut sets = vec![NamedSet { name: "all".to_owned(), rules: ids(&|ruled| ruled.counts) }];
    let watched =
        |status: Status| ruled.iter().any(|ruled| !ruled.counts && ruled.rule.header.status == status);
    let name = match (watched(Status::Shadow), watched(Status::Draft)) {
        (false, false) => return sets,
        (true, false) => "with shadow",
        (false, true) => "with drafts",
        (true, true) => "with shadow and drafts",
    };
    sets.push(NamedSet { name: name.to_owned(), rules: ids(&|_| true) });
    sets
}

fn rule_report(case: &Case<'_>, ruled: &Ruled, flags: &Flags, marginal: Marginal) -> RuleReport {
    let header = &ruled.rule.header;
    RuleReport {
        id: header.id.clone(),
        title: header.title.clone(),
        version: ruled.rule.version.clone(),
        status: header.status,
        points: header.score.clone(),
        quality: Quality::of(case, flags, &own_scores(&header.score, flags)),
        marginal,
        hits_on_other_streams: ruled.flags.elsewhere,
    }
}

/// Scores of one rule's hits: the points that a column says, whatever caps them beside others', else one a hit.
fn own_scores(points: &Points, flags: &Flags) -> Scores {
    match points.fixed() {
        Some(_) => Scores::of_hits(flags),
        None => Scores::combined(&[Member { id: "", points, flags }], &Combination::Max),
    }
}

fn set_report(case: &Case<'_>, named: &NamedSet, ruled: &[Ruled], scoped: &[Flags]) -> SetReport {
    let members: Vec<Member<'_>> =
        members(ruled, scoped).filter(|member| named.rules.iter().any(|id| id == member.id)).collect();
    let (flags, scores, scored_by) = together(case, &members);
    SetReport {
        name: named.name.clone(),
        rules: named.rules.clone(),
        scored_by,
        quality: Quality::of(case, &flags, &scores),
        curve: scores.curve(case),
        daily: daily(case, &flags),
    }
}

/// Rules with what they raised within a scope.
fn members<'a>(ruled: &'a [Ruled], scoped: &'a [Flags]) -> impl Iterator<Item = Member<'a>> {
    ruled.iter().zip(scoped).map(|(ruled, flags)| ruled.member(flags))
}

/// Flags and scores of several rules; where no rule has points, each hit counts one.
fn together(case: &Case<'_>, members: &[Member<'_>]) -> (Flags, Scores, &'static str) {
    let flags = Flags::united(members.iter().map(|member| member.flags));
    let combination = &case.settings.combination;
    if members.iter().all(|member| member.points.fixed() == Some(0)) {
        let one = Points::Fixed(1);
        let ones: Vec<Member<'_>> = members.iter().map(|member| Member { points: &one, ..*member }).collect();
        return (flags, Scores::combined(&ones, combination), "one a hit");
    }
    (flags, Scores::combined(members, combination), "points of the rules")
}

fn sweep_report(case: &Case<'_>, ruled: &[Ruled], swept: &SweptRule) -> SweepReport {
    let own = ruled.iter().map(|ruled| &ruled.rule.header).find(|header| header.id == swept.rule);
    let points = own.map_or(&Points::Fixed(1), |header| &header.score);
    let point = |(variant, flags): &(Variant, Flags)| {
        let flags = flags.within(&case.scored);
        SweepPoint {
            value: variant.value.clone(),
            current: variant.current,
            quality: Quality::of(case, &flags, &own_scores(points, &flags)),
        }
    };
    SweepReport {
        rule: swept.rule.clone(),
        constant: swept.constant.clone(),
        points: swept.variants.iter().map(point).collect(),
    }
}

impl Comparison {
    /// Compares with another folder's rules on the same events.
    pub fn new(case: &Case<'_>, folder: String, here: &[Ruled], there: &[Ruled]) -> Self {
        let scoped: Vec<Flags> = there.iter().map(|ruled| ruled.flags.within(&case.scored)).collect();
        let counting = there.iter().zip(&scoped).filter(|(ruled, _)| ruled.counts);
        let members: Vec<Member<'_>> = counting.map(|(ruled, flags)| ruled.member(flags)).collect();
        let (flags, scores, _) = together(case, &members);
        Self { folder, quality: Quality::of(case, &flags, &scores), changes: compare(case, here, there) }
    }
}

/// What hits here and not there, and the other way round: all rules that count together first, then each rule.
pub fn compare(case: &Case<'_>, here: &[Ruled], there: &[Ruled]) -> Vec<Changed> {
    let united =
        |all: &[Ruled]| Flags::united(all.iter().filter(|ruled| ruled.counts).map(|ruled| &ruled.flags));
    let mut changes = vec![changed(case, "all", &united(here), &united(there), "")];
    let find = |all: &'_ [Ruled], id: &str| all.iter().position(|ruled| ruled.rule.header.id == id);
    let none = Flags::default();
    for own in here {
        let id = own.rule.header.id.as_str();
        let other = find(there, id).map(|index| &there[index]);
        let state = match other {
            None => "added",
            Some(other) if other.rule.version == own.rule.version => "same version",
            Some(_) => "changed",
        };
        changes.push(changed(case, id, &own.flags, other.map_or(&none, |other| &other.flags), state));
    }
    for other in there {
        let id = other.rule.header.id.as_str();
        if find(here, id).is_none() {
            changes.push(changed(case, id, &none, &other.flags, "removed"));
        }
    }
    changes
}

fn changed(case: &Case<'_>, rule: &str, here: &Flags, there: &Flags, state: &'static str) -> Changed {
    let (here, there) = (here.within(&case.scored), there.within(&case.scored));
    let only = |one: &Flags, other: &Flags| -> Vec<u32> {
        one.hits.iter().copied().filter(|event| other.hits.binary_search(event).is_err()).collect()
    };
    let frauds = |events: &[u32]| {
        let count = events.iter().filter(|event| case.events.is_fraud(**event)).count() as u64;
        case.labelled().then_some(count)
    };
    let (gained, lost) = (only(&here, &there), only(&there, &here));
    Changed {
        rule: rule.to_owned(),
        state,
        gained: gained.len() as u64,
        gained_frauds: frauds(&gained),
        lost: lost.len() as u64,
        lost_frauds: frauds(&lost),
        alerts_there: there.alerts.len() as u64,
        alerts_here: here.alerts.len() as u64,
    }
}
