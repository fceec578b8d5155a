//! Shadow versions beside their live rules.

use super::Metrics;

/// Every way in which both may have judged an event that one of them hit.
const AGREEMENTS: [&str; 3] = ["both", "live_only", "shadow_only"];

impl Metrics {
    /// These shadow versions are in force, each with its live rule. They start at zero, and the series of those that are
    /// gone end.
    pub fn shadow_versions<'a>(&self, versions: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let family = &self.series().shadow_agreement;
        let versions: Vec<_> =
            versions.into_iter().map(|(rule, live)| [rule.to_owned(), live.to_owned()]).collect();
        let mut remembered = self.remembered();
        for [rule, live] in remembered.versions.iter().filter(|known| !versions.contains(known)) {
            AGREEMENTS.iter().for_each(|which| family.remove(&[rule, live, which]));
        }
        for [rule, live] in &versions {
            AGREEMENTS.iter().for_each(|which| drop(family.of(&[rule, live, which])));
        }
        remembered.versions = versions;
    }

    /// So many events that a shadow version or its live rule hit: both, the live rule alone, the version alone.
    pub fn shadow_agreement(&self, rule: &str, live: &str, counts: [u64; 3]) {
        for (which, count) in AGREEMENTS.iter().zip(counts).filter(|(_, count)| *count > 0) {
            self.series().shadow_agreement.of(&[rule, live, which]).inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::event::ManualClock;
    use crate::metrics::{Build, Metrics};

    #[test]
    fn versions_start_at_zero_and_their_series_end_with_them() {
        let metrics = Metrics::new(&Build::this(), &ManualClock::default());
        let served = || {
            let text = metrics.render(Duration::ZERO);
            let samples = text.lines().filter(|line| line.starts_with("tollgate_shadow_agreement_total"));
            samples.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        let sample = |rule: &str, which: &str, count: u64| {
            format!(
                "tollgate_shadow_agreement_total{{rule=\"{rule}\",shadow_of=\"a\",agreement=\"{which}\"}} {count}"
            )
        };
        let of = |rule: &str, [both, live_only, shadow_only]: [u64; 3]| {
            [("both", both), ("live_only", live_only), ("shadow_only", shadow_only)]
                .map(|(which, count)| sample(rule, which, count))
        };
        metrics.shadow_versions([("a2", "a"), ("a3", "a")]);
        metrics.shadow_agreement("a2", "a", [5, 0, 1]);
        assert_eq!(served(), of("a2", [5, 0, 1]).into_iter().chain(of("a3", [0; 3])).collect());
        metrics.shadow_versions([("a2", "a")]);
        metrics.shadow_agreement("a2", "a", [1, 2, 0]);
        assert_eq!(served(), of("a2", [6, 2, 1]).into_iter().collect());
    }
}
