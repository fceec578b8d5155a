//! What was said of rules while the job runs: who switched which rule off or into shadow, and why.
//!
//! A rule that is off keeps its windows filled, so that it is exact from the moment it is switched on again. One that
//! was stopped is not evaluated at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Rules that do not stand as their files say, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    turned: BTreeMap<String, Switch>,
}

/// A turn of a rule's switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The rule's id.
    pub rule: String,
    /// How it stands from here.
    pub to: Stand,
    /// Who turned it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
}

/// How a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// As its file says.
    On,
    /// It alerts in shadow, whatever its file says: the job found it to cost more than it may.
    Shadow,
    /// It makes no alerts.
    Off,
    /// It is not evaluated and holds no windows: in shadow it still cost more than it may. Only [`Stand::On`] ends it.
    Stopped,
}

impl Standings {
    /// Takes note of a turn; the latest one of a rule counts. Whether it changes anything.
    pub fn turn(&mut self, switch: Switch) -> bool {
        let before = self.turned.get(&switch.rule).map_or(Stand::On, |known| known.to);
        let changes = before != switch.to && (before != Stand::Stopped || switch.to == Stand::On);
        match switch.to {
            Stand::On => drop(self.turned.remove(&switch.rule)),
            _ if changes => drop(self.turned.insert(switch.rule.clone(), switch)),
            _ => {}
        }
        changes
    }

    /// How a rule stands.
    pub fn of(&self, rule: &str) -> Stand {
        self.turned.get(rule).map_or(Stand::On, |known| known.to)
    }

    /// Who turned a rule's switch, where it does not stand as its file says.
    pub fn turned(&self, rule: &str) -> Option<&Switch> {
        self.turned.get(rule)
    }

    /// Rules that are not to be evaluated.
    pub fn stopped(&self) -> BTreeSet<String> {
        let stopped = self.turned.values().filter(|turned| turned.to == Stand::Stopped);
        stopped.map(|turned| turned.rule.clone()).collect()
    }

    /// Every rule that does not stand as its file says.
    pub fn all_turned(&self) -> impl Iterator<Item = &Switch> {
        self.turned.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_turn_of_a_rule_counts() {
        let turn = |rule: &str, to| Switch {
            rule: rule.to_owned(),
            to,
            by: "me".to_owned(),
            reason: String::new(),
            at: "2026-11-27T10:00:00Z".to_owned(),
        };
        let mut standings = Standings::default();
        assert!(!standings.turn(turn("a", Stand::On)), "it was on");
        assert!(standings.turn(turn("a", Stand::Off)));
        assert!(!standings.turn(turn("a", Stand::Off)), "it was off");
        assert_eq!((standings.of("a"), standings.of("b")), (Stand::Off, Stand::On));
        assert!(standings.turn(turn("a", Stand::Shadow)));
        assert_eq!(standings.turned("a").map(|turned| turned.to), Some(Stand::Shadow));
        assert!(standings.turn(turn("a", Stand::Stopped)));
        assert!(!standings.turn(turn("a", Stand::Off)), "it costs nothing as it is");
        assert_eq!(standings.stopped().into_iter().collect::<Vec<_>>(), ["a"]);
        assert!(standings.turn(turn("a", Stand::On)));
        assert_eq!(standings, Standings::default());
    }
}
