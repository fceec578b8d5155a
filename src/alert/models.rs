//! What models said of a hit, and what moved them: for alerts, and shorter for decisions.

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use serde_json::{Map, Value, json};

use crate::graph::{HitScores, QueryHits};
use crate::score::Model;

/// Features that an alert names, those that moved the model most; the rest are added up.
pub const FEATURES_TOLD: usize = 8;

/// What a model said of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelScore {
    /// Its name; with `#` and the number of the class where it tells several apart.
    pub name: String,
    /// Hash of its file.
    pub version: String,
    /// Its prediction.
    pub score: f64,
}

/// What the models of a rule said of one hit; the first where a rule asks one model about several things.
pub(super) fn scores(found: &QueryHits, hit: usize) -> Vec<ModelScore> {
    scored(found, hit).into_iter().map(|(score, ..)| score).collect()
}

/// The same, and as alerts say it with what moved each model; none where the rule asks none.
pub(super) fn told(found: &QueryHits, hit: usize) -> (Vec<ModelScore>, Option<Value>) {
    let mut models = Map::new();
    let mut scores = Vec::new();
    for (scored, asked, row) in scored(found, hit) {
        let mut said = json!({"version": scored.version, "score": scored.score});
        if let Some(reasons) = reasons(asked, &row)
            && let (Value::Object(said), Value::Object(reasons)) = (&mut said, reasons)
        {
            said.extend(reasons);
        }
        models.insert(scored.name.clone(), said);
        scores.push(scored);
    }
    (scores, (!models.is_empty()).then_some(Value::Object(models)))
}

/// Each model once, with what it was given.
fn scored(found: &QueryHits, hit: usize) -> Vec<(ModelScore, &HitScores, Vec<f64>)> {
    let mut scores: Vec<(ModelScore, &HitScores, Vec<f64>)> = Vec::new();
    for asked in &found.scores {
        let name = score_name(&asked.model, asked.class);
        if scores.iter().all(|(known, ..)| known.name != name) {
            let row = row(asked, hit);
            let (version, score) = (asked.model.version.clone(), score(asked, hit, &row));
            scores.push((ModelScore { name, version, score }, asked, row));
        }
    }
    scores
}

/// A row of features; NaN where one is missing.
fn row(asked: &HitScores, hit: usize) -> Vec<f64> {
    let value = |values: &arrow::array::ArrayRef| match values.as_primitive_opt::<Float64Type>() {
        Some(numbers) if numbers.is_valid(hit) => numbers.value(hit),
        _ => f64::NAN,
    };
    asked.features.iter().map(value).collect()
}

/// The name that a model's score goes by; with `#` and the number of the class where it tells several apart.
pub fn score_name(model: &Model, class: usize) -> String {
    match model.classes {
        1 => model.name.clone(),
        _ => format!("{}#{class}", model.name),
    }
}

/// What the model said; asked again where its answer is only part of what the rule computes.
fn score(asked: &HitScores, hit: usize, row: &[f64]) -> f64 {
    let said = asked.scores.as_ref().and_then(|scores| scores.as_primitive_opt::<Float64Type>());
    if let Some(said) = said.filter(|said| said.is_valid(hit)) {
        return said.value(hit);
    }
    let columns: Vec<Float64Array> = row.iter().map(|value| Float64Array::from(vec![*value])).collect();
    let predicted = asked.model.predict(&columns.iter().collect::<Vec<_>>());
    // The model was asked about this row before; one that fails now fails there too, and the rule's event is set aside.
    predicted.ok().and_then(|values| values.get(asked.class).copied()).unwrap_or(f64::NAN)
}

/// Contributions to the sum before the objective's transform, the largest first; none where the model's file does not
/// say how its training rows were spread.
fn reasons(asked: &HitScores, row: &[f64]) -> Option<Value> {
    let found = asked.model.contributions(row, asked.class)?;
    let mut order: Vec<usize> = (0..found.features.len()).collect();
    order.sort_by(|a, b| found.features[*b].abs().total_cmp(&found.features[*a].abs()).then(a.cmp(b)));
    order.retain(|feature| found.features[*feature] != 0.0);
    let rest = order.split_off(order.len().min(FEATURES_TOLD));
    let told = |feature: &usize| {
        let value = row[*feature];
        let value = if value.is_nan() { Value::Null } else { json!(value) };
        json!({"feature": asked.names[*feature], "value": value, "contribution": found.features[*feature]})
    };
    let other: f64 = rest.iter().map(|feature| found.features[*feature]).sum();
    Some(
        json!({"bias": found.bias, "contributions": order.iter().map(told).collect::<Vec<_>>(), "other": other}),
    )
}
