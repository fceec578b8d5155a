//! How far the inputs and scores of models have moved, for metrics.

use std::collections::BTreeMap;

use super::incarnation::Incarnation;
use crate::metrics::{Metrics, ModelUse};
use crate::rules::Emit;

/// Inputs of a model that metrics name; a model may have thousands.
const INPUTS_TOLD: usize = 200;

impl Incarnation<'_> {
    pub(super) fn observe_models(&mut self, metrics: &Metrics) {
        let mut models = BTreeMap::new();
        for emit in [Emit::OnArrival, Emit::InOrder] {
            let of_engine = self.parts.core.engine_mut(emit).into_iter().flat_map(|engine| engine.models());
            models.extend(of_engine.map(|model| (model.name.clone(), model)));
        }
        let told: Vec<_> = models
            .values()
            .map(|model| (model, model.names(), model.missing(), model.stability().unwrap_or_default()))
            .collect();
        let uses = told.iter().map(|(model, names, (rows, missing), moved)| {
            // Scores stand last, and are told whatever the number of inputs.
            let kept = |at: &usize| *at < INPUTS_TOLD || *at >= model.features;
            ModelUse {
                model: &model.name,
                rows: *rows,
                missing: names
                    .iter()
                    .map(String::as_str)
                    .zip(missing.iter().copied())
                    .take(INPUTS_TOLD)
                    .collect(),
                moved: moved
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| kept(at))
                    .map(|(_, moved)| (moved.name.as_str(), moved.index))
                    .collect(),
            }
        });
        metrics.models(&uses.collect::<Vec<_>>());
    }
}
