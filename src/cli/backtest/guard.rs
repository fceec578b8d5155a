//! What would make figures worth less than they look, refused or said: before the events are read where that can be.

use crate::backtest::Ruled;
use crate::decision::Combination;

/// Warns of rules whose points the cap makes equal.
pub(super) fn warn_of_cap(ruled: &[Ruled], combination: &Combination) {
    let (Combination::SumCap { cap } | Combination::NoisyOr { cap }) = combination else { return };
    for ruled in ruled {
        let most = ruled.flags.points.iter().map(|(_, points)| i64::from(*points)).max();
        if let Some(most) = most.filter(|most| most > cap) {
            let id = &ruled.rule.header.id;
            eprintln!(
                "warning: {id} gives up to {most} points and no score is above {cap}, so thresholds can't tell its \
                 highest events apart: give it fewer points, or raise --cap and the job's `[decisions] cap`"
            );
        }
    }
}
