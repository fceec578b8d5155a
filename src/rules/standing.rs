//! What operators have said of rules while the job runs: who switched which rule off, and why.
//!
//! A rule that is off keeps its windows filled, so that it is exact from the moment it is switched on again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Rules that are switched off, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    off: BTreeMap<String, Switch>,
}

/// A turn of a rule's switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The rule's id.
    pub rule: String,
    /// Whether it is on from here.
    pub on: bool,
    /// Who turned it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
}

impl Standings {
    /// Takes note of a turn; the latest one of a rule counts. Whether it changes anything.
    pub fn turn(&mut self, switch: Switch) -> bool {
        if switch.on {
            return self.off.remove(&switch.rule).is_some();
        }
        self.off.insert(switch.rule.clone(), switch).is_none()
    }

    /// Who switched a rule off, where it is off.
    pub fn off(&self, rule: &str) -> Option<&Switch> {
        self.off.get(rule)
    }

    /// Every rule that is off.
    pub fn all_off(&self) -> impl Iterator<Item = &Switch> {
        self.off.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_turn_of_a_rule_counts() {
        let turn = |rule: &str, on| Switch {
            rule: rule.to_owned(),
            on,
            by: "me".to_owned(),
            reason: String::new(),
            at: "2026-11-27T10:00:00Z".to_owned(),
        };
        let mut standings = Standings::default();
        assert!(!standings.turn(turn("a", true)), "it was on");
        assert!(standings.turn(turn("a", false)));
        assert!(!standings.turn(turn("a", false)), "it was off");
        assert!(standings.off("a").is_some() && standings.off("b").is_none());
        assert!(standings.turn(turn("a", true)));
        assert_eq!(standings, Standings::default());
    }
}
