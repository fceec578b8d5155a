//! Weights of rules, fitted to labelled events: logistic regression.
//!
//! Minimises Σ log-loss + ½ Σ w², where w weighs a rule's points as a share of the most that it gave, and the bias is
//! not held down: the objective of scikit-learn's `LogisticRegression` with its defaults. Newton's method; events
//! with equal points of equal rules are one term, so that its size is that of what rules say and not of the events.

use std::collections::BTreeMap;

use super::{Case, Member};

/// Steps of Newton's method at most; it takes ten.
const STEPS_MAX: usize = 100;

/// A step this short is the last.
const STEP_MIN: f64 = 1e-11;

/// Rules that can be fitted together: the time of a step grows with their cube.
const MEMBERS_MAX: usize = 1_000;

/// Weights, and how they came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Log-odds of an event that nothing hits.
    pub bias: f64,
    /// What a point of each rule adds; a rule that hits nothing has none.
    pub weights: BTreeMap<String, f64>,
    /// Events that they were fitted on.
    pub events: u64,
    /// Frauds among them.
    pub frauds: u64,
}

/// Why weights can't be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Nothing says which events were frauds.
    #[error("weights are fitted to labels: give --label-column or --labels")]
    NoLabels,
    /// There is nothing to tell apart.
    #[error(
        "weights need frauds and genuine events in the period, and there are {frauds} frauds among {events}"
    )]
    OneKind {
        /// Scored events.
        events: u64,
        /// Frauds among them.
        frauds: u64,
    },
    /// The rules say nothing.
    #[error("no rule gives points to any event of the period")]
    NoPoints,
    /// Too many to be fitted.
    #[error("{MEMBERS_MAX} rules at most can be fitted together, and these are {0}: choose some with --only")]
    TooMany(usize),
}

/// Events with equal points.
struct Pattern {
    /// Rules, by their number, with their share of the most that each gave.
    shares: Vec<(usize, f64)>,
    events: f64,
    frauds: f64,
}

/// Fits weights of rules to the scored events of a case.
///
/// # Errors
/// Where labels, frauds, genuine events or points are missing.
pub fn fit(case: &Case<'_>, members: &[Member<'_>]) -> Result<Fit, FitError> {
    let (events, frauds) = (case.scope.scored, case.scope.frauds.ok_or(FitError::NoLabels)?);
    if frauds == 0 || frauds == events {
        return Err(FitError::OneKind { events, frauds });
    }
    if members.len() > MEMBERS_MAX {
        return Err(FitError::TooMany(members.len()));
    }
    let most = |member: &Member<'_>| member.events().map(|(_, points)| points).max().filter(|most| *most > 0);
    let known: Vec<(Member<'_>, u32)> =
        members.iter().filter_map(|member| Some((*member, most(member)?))).collect();
    if known.is_empty() {
        return Err(FitError::NoPoints);
    }
    let solution = minimum(&patterns(case, &known, (events, frauds)), known.len());
    let weights = known.iter().zip(&solution[1..]);
    let weights = weights.map(|((member, most), weight)| (member.id.to_owned(), weight / f64::from(*most)));
    Ok(Fit { bias: solution[0], weights: weights.collect(), events, frauds })
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn patterns(case: &Case<'_>, known: &[(Member<'_>, u32)], (events, frauds): (u64, u64)) -> Vec<Pattern> {
    let own = |(number, (member, _)): (usize, &(Member<'_>, u32))| {
        member.events().map(move |(event, points)| (event, number, points)).collect::<Vec<_>>()
    };
    let mut all: Vec<(u32, usize, u32)> = known.iter().enumerate().flat_map(own).collect();
    all.retain(|(_, _, points)| *points > 0);
    all.sort_unstable();
    let mut counts: BTreeMap<Vec<(usize, u32)>, (u64, u64)> = BTreeMap::new();
    let (mut hit, mut hit_frauds) = (0, 0);
    for of_event in all.chunk_by(|a, b| a.0 == b.0) {
        let fraud = u64::from(case.events.is_fraud(of_event[0].0));
        let count = counts
            .entry(of_event.iter().map(|(_, number, points)| (*number, *points)).collect())
            .or_default();
        *count = (count.0 + 1, count.1 + fraud);
        (hit, hit_frauds) = (hit + 1, hit_frauds + fraud);
    }
    counts.insert(Vec::new(), (events - hit, frauds - hit_frauds));
    let share = |(number, points): (usize, u32)| (number, f64::from(points) / f64::from(known[number].1));
    let pattern = |(points, (events, frauds)): (Vec<(usize, u32)>, (u64, u64))| Pattern {
        shares: points.into_iter().map(share).collect(),
        events: events as f64,
        frauds: frauds as f64,
    };
    counts.into_iter().map(pattern).collect()
}

/// Bias and weights with the smallest loss.
fn minimum(patterns: &[Pattern], rules: usize) -> Vec<f64> {
    let all = |of: fn(&Pattern) -> f64| patterns.iter().map(of).sum::<f64>();
    let (events, frauds) = (all(|pattern| pattern.events), all(|pattern| pattern.frauds));
    let mut at = vec![0.0; rules + 1];
    at[0] = (frauds / (events - frauds)).ln();
    let mut loss = loss_at(patterns, &at);
    for _ in 0..STEPS_MAX {
        let mut step = step_at(patterns, &at);
        let next = loop {
            let next: Vec<f64> = at.iter().zip(&step).map(|(at, step)| at - step).collect();
            let reached = loss_at(patterns, &next);
            let long = step.iter().any(|step| step.abs() > STEP_MIN);
            if reached <= loss || !long {
                loss = reached;
                break next;
            }
            step.iter_mut().for_each(|step| *step /= 2.0);
        };
        at = next;
        if step.iter().all(|step| step.abs() <= STEP_MIN) {
            break;
        }
    }
    at
}

fn log_odds(pattern: &Pattern, at: &[f64]) -> f64 {
    at[0] + pattern.shares.iter().map(|(number, share)| at[number + 1] * share).sum::<f64>()
}

fn loss_at(patterns: &[Pattern], at: &[f64]) -> f64 {
    let loss = |pattern: &Pattern| {
        let odds = log_odds(pattern, at);
        // log(1 + e^odds), without overflow.
        let all = odds.max(0.0) + (-odds.abs()).exp().ln_1p();
        pattern.events * all - pattern.frauds * odds
    };
    let held = at[1..].iter().map(|weight| weight * weight).sum::<f64>() / 2.0;
    patterns.iter().map(loss).sum::<f64>() + held
}

/// Newton's step: the solution of Hessian · step = gradient.
fn step_at(patterns: &[Pattern], at: &[f64]) -> Vec<f64> {
    let size = at.len();
    let mut gradient = at.to_vec();
    gradient[0] = 0.0;
    let mut hessian = vec![vec![0.0; size]; size];
    for (row, values) in hessian.iter_mut().enumerate().skip(1) {
        values[row] = 1.0;
    }
    for pattern in patterns {
        let chance = 1.0 / (1.0 + (-log_odds(pattern, at)).exp());
        let off = pattern.events * chance - pattern.frauds;
        let bend = pattern.events * chance * (1.0 - chance);
        let shares = || {
            std::iter::once((0, 1.0)).chain(pattern.shares.iter().map(|(number, share)| (number + 1, *share)))
        };
        for (row, share) in shares() {
            gradient[row] += off * share;
            for (column, other) in shares().filter(|(column, _)| *column <= row) {
                hessian[row][column] += bend * share * other;
            }
        }
    }
    solve(hessian, gradient)
}

/// Solves a symmetric positive definite system, whose lower half is given, by Cholesky's decomposition.
fn solve(mut lower: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let product: f64 = (0..column).map(|k| lower[row][k] * lower[column][k]).sum();
            let rest = lower[row][column] - product;
            lower[row][column] =
                if row == column { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / lower[column][column] };
        }
    }
    for row in 0..size {
        let product: f64 = (0..row).map(|k| lower[row][k] * right[k]).sum();
        right[row] = (right[row] - product) / lower[row][row];
    }
    for row in (0..size).rev() {
        let product: f64 = (row + 1..size).map(|k| lower[k][row] * right[k]).sum();
        right[row] = (right[row] - product) / lower[row][row];
    }
    right
}
