//! Shadow versions beside their live rules: how often both hit an event, and how often one of them alone.

use super::Answered;
use super::incarnation::Incarnation;
use crate::alert::AlertMaker;
use crate::rules::Emit;

impl Incarnation<'_> {
    /// Tells which versions there are.
    pub(super) fn observe_versions(&self) {
        let Some(observers) = &self.job.observers else { return };
        let versions =
            [&self.parts.on_arrival, &self.parts.in_order].into_iter().flat_map(AlertMaker::versions);
        observers.metrics.shadow_versions(
            versions.map(|(version, live)| (version.header.id.as_str(), live.header.id.as_str())),
        );
    }

    /// Tells how versions and their live rules judged the rows of a batch.
    pub(super) fn observe_agreement(&self, answered: &Answered) {
        let Some(observers) = &self.job.observers else { return };
        let maker = match answered.emit {
            Emit::OnArrival => &self.parts.on_arrival,
            Emit::InOrder => &self.parts.in_order,
        };
        let agreements = maker.agreements(&answered.batch, &answered.hits);
        for ((version, live), agreed) in maker.versions().zip(agreements) {
            let counts = [agreed.both, agreed.live_only, agreed.shadow_only];
            observers.metrics.shadow_agreement(&version.header.id, &live.header.id, counts);
        }
    }
}
