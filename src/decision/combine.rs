//! Points to a score, and a score to what is done.

use std::sync::Arc;

use serde::Serialize;

use super::weights::Weights;
use crate::rules::Action;

/// How the points of all hits become one score.
#[derive(Debug, Clone, PartialEq)]
pub enum Combination {
    /// Their sum, and no more than a cap.
    SumCap {
        /// The most that a score can be.
        cap: i64,
    },
    /// The largest of them.
    Max,
    /// As if each said with which chance, points of the cap, the event is a fraud, and none knew of the others:
    /// cap · (1 − Π (1 − points / cap)).
    NoisyOr {
        /// The most that a score can be.
        cap: i64,
    },
    /// The chance of a fraud by weights that were fitted: cap / (1 + exp(−(bias + Σ weight · points))).
    Logistic {
        /// What each rule's points weigh, and the cap.
        weights: Arc<Weights>,
    },
}

impl Default for Combination {
    fn default() -> Self {
        Self::SumCap { cap: 100 }
    }
}

impl Combination {
    /// The score of the points of hits, each with the id of its rule; what falls between two numbers is rounded.
    pub fn score<'a>(&self, hits: impl Iterator<Item = (&'a str, i64)>) -> i64 {
        match self {
            Self::SumCap { cap } => hits.fold(0_i64, |sum, (_, points)| sum.saturating_add(points)).min(*cap),
            Self::Max => hits.map(|(_, points)| points).max().unwrap_or(0),
            Self::NoisyOr { cap } => {
                let innocent: f64 = hits.map(|(_, points)| 1.0 - share(points, *cap)).product();
                of_cap(*cap, 1.0 - innocent)
            }
            Self::Logistic { weights } => of_cap(weights.cap, weights.chance(hits)),
        }
    }

    /// Its name in settings and decisions.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SumCap { .. } => "sum_cap",
            Self::Max => "max",
            Self::NoisyOr { .. } => "noisy_or",
            Self::Logistic { .. } => "logistic",
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "points stay far below 2^53")]
fn share(points: i64, cap: i64) -> f64 {
    (points as f64 / cap.max(1) as f64).clamp(0.0, 1.0)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "0 to a cap far below 2^53")]
fn of_cap(cap: i64, chance: f64) -> i64 {
    (cap as f64 * chance).round() as i64
}

/// What is to be done with an event; a later one is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Let it pass.
    Allow,
    /// Let it pass, and let a person look at it.
    Review,
    /// Ask the customer first.
    Challenge,
    /// Stop it.
    Block,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Review, Self::Challenge, Self::Block];

    /// What a rule's action comes to by itself.
    pub fn of(action: Action) -> Self {
        match action {
            Action::Allow | Action::Trust => Self::Allow,
            Action::Review => Self::Review,
            Action::Challenge => Self::Challenge,
            Action::Block => Self::Block,
        }
    }

    /// Its name in decisions and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Review => "review",
            Self::Challenge => "challenge",
            Self::Block => "block",
        }
    }
}

/// From which score on what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Thresholds {
    /// A person looks at it.
    pub review: i64,
    /// The customer is asked; none: no score does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<i64>,
    /// It is stopped.
    pub block: i64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { review: 50, challenge: None, block: 80 }
    }
}

impl Thresholds {
    /// What a score comes to.
    pub fn reached(&self, score: i64) -> Outcome {
        match score {
            score if score >= self.block => Outcome::Block,
            score if self.challenge.is_some_and(|challenge| score >= challenge) => Outcome::Challenge,
            score if score >= self.review => Outcome::Review,
            _ => Outcome::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(combination: &Combination, points: &[i64]) -> i64 {
        combination.score(points.iter().map(|points| ("a", *points)))
    }

    #[test]
    fn a_sum_stops_at_its_cap_and_no_hits_score_nothing() {
        for combination in
            [Combination::SumCap { cap: 100 }, Combination::Max, Combination::NoisyOr { cap: 100 }]
        {
            assert_eq!(score(&combination, &[]), 0);
        }
        assert_eq!(score(&Combination::SumCap { cap: 100 }, &[60, 70]), 100);
        assert_eq!(score(&Combination::Max, &[60, 70]), 70);
    }

    #[test]
    fn chances_that_know_nothing_of_each_other_add_up_to_less_than_their_sum() {
        let combination = Combination::NoisyOr { cap: 100 };
        assert_eq!(score(&combination, &[60, 70]), 88);
        assert_eq!(score(&combination, &[60]), 60);
        assert_eq!(score(&combination, &[200, 10]), 100);
    }

    #[test]
    fn weights_of_points_and_a_bias_give_the_logistic_of_their_sum() {
        let text = "schema = \"tollgate.weights/1\"\ncap = 1000\nbias = -2.0\n[weights]\na = 0.05\n";
        let weights = Arc::new(Weights::parse(text).unwrap());
        let combination = Combination::Logistic { weights };
        // 1 / (1 + e^2), 1 / (1 + e^-1), and a rule without a weight moves nothing.
        assert_eq!(score(&combination, &[]), 119);
        assert_eq!(score(&combination, &[60]), 731);
        assert_eq!(combination.score([("a", 60), ("new", 90)].into_iter()), 731);
    }

    #[test]
    fn a_score_comes_to_the_strictest_threshold_that_it_reaches() {
        let thresholds = Thresholds { review: 50, challenge: Some(65), block: 80 };
        let named: Vec<&str> =
            [49, 50, 64, 65, 79, 80].map(|score| thresholds.reached(score).name()).to_vec();
        assert_eq!(named, ["allow", "review", "review", "challenge", "challenge", "block"]);
        assert_eq!(Thresholds::default().reached(79), Outcome::Review);
    }
}
