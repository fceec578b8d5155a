//! Points to a score, and a score to what is done.

use serde::Serialize;

use crate::rules::Action;

/// How the points of all hits become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Their sum, and no more than a cap.
    SumCap {
        /// The most that a score can be.
        cap: i64,
    },
    /// The largest of them.
    Max,
}

impl Default for Combination {
    fn default() -> Self {
        Self::SumCap { cap: 100 }
    }
}

impl Combination {
    /// The score; 0 without hits.
    pub fn score(self, points: impl Iterator<Item = i64>) -> i64 {
        match self {
            Self::SumCap { cap } => points.fold(0_i64, i64::saturating_add).min(cap),
            Self::Max => points.max().unwrap_or(0),
        }
    }

    /// Its name in settings and decisions.
    pub fn name(self) -> &'static str {
        match self {
            Self::SumCap { .. } => "sum_cap",
            Self::Max => "max",
        }
    }
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

    #[test]
    fn a_sum_stops_at_its_cap_and_no_hits_score_nothing() {
        assert_eq!(Combination::SumCap { cap: 100 }.score([60, 70].into_iter()), 100);
        assert_eq!(Combination::SumCap { cap: 100 }.score([].into_iter()), 0);
        assert_eq!(Combination::Max.score([60, 70].into_iter()), 70);
        assert_eq!(Combination::Max.score([].into_iter()), 0);
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
