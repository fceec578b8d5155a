//! A case through the engine, every way, and what came of it against what was expected.

use serde_json::{Map, Value};

use super::events::{partitions, records, streams_of};
use super::{Case, Expected, Mismatch, Moment, Observed, Verdict, Way, What};
use crate::alert::json_value;
use crate::graph::EngineError;
use crate::pipeline::{CoreSettings, Parts, PartsError, Restored, StepOutcome, StreamPolicy};
use crate::rules::RuleSet;
use crate::source::Partitions;

/// Restarts that are tried in one case.
const RESTARTS_MAX: usize = 16;

/// A case that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The rules can't be set up.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The engine gave up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs a case with the one rule of a set.
pub fn run(set: &RuleSet, case: &Case, policy: StreamPolicy) -> Result<Verdict, RunError> {
    let trial = Trial { set, case, policy, partitions: partitions(&set.catalog.contract) };
    let observed = trial.go(Way::Straight)?;
    let count = case.moments.len();
    let step = count.div_ceil(RESTARTS_MAX).max(1);
    let restarts = (1..count).step_by(step).map(Way::Restart);
    let mut astray = Vec::new();
    for way in [Way::EventByEvent, Way::TwoShards].into_iter().chain(restarts) {
        let other = trial.go(way)?;
        if let Some(index) = (0..count).find(|index| other[*index] != observed[*index]) {
            astray.push((way, index, other[index].clone()));
        }
    }
    let compared = case.moments.iter().zip(&observed).enumerate();
    let mismatches =
        compared.flat_map(|(index, (moment, seen))| compare(index, &moment.expected, seen)).collect();
    Ok(Verdict { observed, mismatches, astray })
}

struct Trial<'a> {
    set: &'a RuleSet,
    case: &'a Case,
    policy: StreamPolicy,
    partitions: Partitions,
}

/// What came of the moments so far, and which alerts have left.
struct Seen {
    observed: Vec<Observed>,
    sent: Vec<String>,
}

impl Trial<'_> {
    fn go(&self, way: Way) -> Result<Vec<Observed>, RunError> {
        let moments = &self.case.moments;
        let mut seen = Seen { observed: vec![Observed::default(); moments.len()], sent: Vec::new() };
        let mut parts = self.parts(if way == Way::TwoShards { 2 } else { 1 })?;
        match way {
            Way::Straight | Way::TwoShards => {
                self.feed(&mut parts, 0..moments.len(), usize::MAX, &mut seen)?;
            }
            Way::EventByEvent => self.feed(&mut parts, 0..moments.len(), 1, &mut seen)?,
            Way::Restart(after) => {
                self.feed(&mut parts, 0..after, usize::MAX, &mut seen)?;
                parts = self.restarted(parts, after, &seen.sent)?;
                self.feed(&mut parts, after..moments.len(), usize::MAX, &mut seen)?;
            }
        }
        let rest = parts.core.finish()?;
        collect(&mut parts, &rest, &mut seen);
        Ok(seen.observed)
    }

    fn parts(&self, shards: usize) -> Result<Parts, RunError> {
        let contract = &self.set.catalog.contract;
        let mut settings = CoreSettings::uniform(contract, self.policy);
        settings.windows.shards = shards;
        let mut parts = Parts::of_files(self.set, settings)?;
        for stream in streams_of(&self.case.moments) {
            parts.core.watermarks().expect(index(stream));
        }
        Ok(parts)
    }

    /// Another process after the first moments: what a commit would say, and the rows read again.
    fn restarted(&self, mut before: Parts, after: usize, sent: &[String]) -> Result<Parts, RunError> {
        let watermark = before.core.watermarks().current();
        let restored: Vec<Restored> = streams_of(&self.case.moments)
            .into_iter()
            .map(|stream| Restored {
                partition: index(stream),
                stream,
                answered_below: watermark,
                latest: before.core.watermarks().latest(index(stream), stream),
            })
            .collect();
        let mut parts = self.parts(1)?;
        let rows = [records(&self.case.moments[..after], 0, &self.partitions)];
        parts.rebuild(rows, &restored, |alert_id| sent.iter().any(|known| known == alert_id))?;
        Ok(parts)
    }

    fn feed(
        &self,
        parts: &mut Parts,
        range: std::ops::Range<usize>,
        batch_rows_max: usize,
        seen: &mut Seen,
    ) -> Result<(), RunError> {
        let moments = &self.case.moments;
        let mut next = range.start;
        while next < range.end {
            let outcome = if moments[next].what == What::Clock {
                parts.core.watermarks().pass(moments[next].at.0);
                next += 1;
                parts.core.release_waiting()?
            } else {
                let is_event = |moment: &&Moment| moment.what != What::Clock;
                let rows = moments[next..range.end].iter().take_while(is_event).take(batch_rows_max).count();
                let batch = records(&moments[next..next + rows], next, &self.partitions);
                next += rows;
                parts.core.step(batch)?
            };
            collect(parts, &outcome, seen);
        }
        Ok(())
    }
}

fn index(stream: usize) -> u32 {
    u32::try_from(stream).unwrap_or(u32::MAX)
}

/// Takes note of what a step gave.
fn collect(parts: &mut Parts, outcome: &StepOutcome, seen: &mut Seen) {
    for letter in &outcome.dead_letters {
        if let Some(observed) = at(&mut seen.observed, letter.coordinates.offset.0) {
            observed.dead_letter = Some(letter.reason.clone());
        }
    }
    for answered in &outcome.answered {
        let maker = parts.maker(answered.emit);
        let rules = std::sync::Arc::clone(maker.rules());
        for found in &answered.hits.hits {
            for (hit, row) in found.rows.iter().enumerate() {
                let names = &rules[found.query].columns;
                let value = |(name, values): (&String, _)| (name.clone(), json_value(values, hit));
                let values: Map<String, Value> = names.iter().zip(&found.columns).map(value).collect();
                if let Some(observed) = at(&mut seen.observed, answered.batch.rows.offset[*row as usize]) {
                    observed.hits.push(values);
                }
            }
        }
        for error in &answered.hits.errors {
            if let Some(observed) = at(&mut seen.observed, answered.batch.rows.offset[error.row as usize]) {
                observed.dead_letter = Some(format!("the rule fails: {}", error.message));
            }
        }
        for alert in maker.make(&answered.batch, &answered.hits, answered.times()).alerts {
            if let Some(observed) = at(&mut seen.observed, alert.coordinates.offset.0) {
                observed.reasons.push(alert.reason);
            }
            seen.sent.push(alert.alert_id);
        }
    }
}

fn at(observed: &mut [Observed], offset: i64) -> Option<&mut Observed> {
    observed.get_mut(usize::try_from(offset).ok()?)
}

/// What is not as expected.
fn compare(moment: usize, expected: &Expected, seen: &Observed) -> Vec<Mismatch> {
    let mismatch = |message: String| Mismatch { moment, message };
    if let Some(reason) = &seen.dead_letter {
        return vec![mismatch(reason.clone())];
    }
    if expected.hit == seen.hits.is_empty() {
        let message = match expected.hit {
            true => "must hit, and does not".to_owned(),
            false => format!("must not hit, and does: {}", shown(&seen.hits[0])),
        };
        return vec![mismatch(message)];
    }
    let mut found = Vec::new();
    for (column, value) in &expected.values {
        let given: Vec<&Value> = seen.hits.iter().filter_map(|hit| hit.get(column)).collect();
        if !given.iter().any(|given| same(given, value)) {
            let given: Vec<String> = given.iter().map(|given| given.to_string()).collect();
            found.push(mismatch(format!("`{column}` must be {value}, and is {}", given.join(", "))));
        }
    }
    let alerts = !seen.reasons.is_empty();
    match expected.alert {
        Some(true) if !alerts => found.push(mismatch("must alert, and @dedup holds it back".to_owned())),
        Some(false) if alerts => found.push(mismatch("must be held back by @dedup, and alerts".to_owned())),
        _ => {}
    }
    if let Some(reason) = &expected.reason
        && !seen.reasons.contains(reason)
    {
        let said = match seen.reasons.first() {
            Some(said) => format!("\"{said}\""),
            None => "nothing, for @dedup holds the alert back".to_owned(),
        };
        found.push(mismatch(format!("the reason must be \"{reason}\", and is {said}")));
    }
    found
}

/// Whether a value is the one that was written: `3`, `3.0`, `"3"` and `"3.00"` are one number, for decimals are text in
/// alerts. Digits are compared, not floats: a decimal may have more of them than a float holds.
fn same(given: &Value, written: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Number(number) => digits(&number.to_string()),
        Value::String(text) => digits(text),
        _ => None,
    };
    given == written || matches!((number(given), number(written)), (Some(a), Some(b)) if a == b)
}

/// A number without the zeros that say nothing; none for a text that is no plain number.
fn digits(text: &str) -> Option<String> {
    let (sign, plain) = text.strip_prefix('-').map_or(("", text), |plain| ("-", plain));
    let (whole, part) = plain.split_once('.').unwrap_or((plain, ""));
    if whole.is_empty() || !whole.chars().chain(part.chars()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let sign = if whole.is_empty() && part.is_empty() { "" } else { sign };
    Some(format!("{sign}{whole}.{part}"))
}

fn shown(values: &Map<String, Value>) -> String {
    values.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::same;

    #[test]
    fn numbers_are_compared_by_their_digits_however_many_and_however_written() {
        for (given, written) in [
            ("3", json!(3)),
            ("3.00", json!(3.0)),
            ("-0.50", json!("-.5".replace("-.", "-0."))),
            ("0.00", json!("-0")),
        ] {
            assert!(same(&json!(given), &written), "{given} {written}");
        }
        assert!(!same(&json!("12345678901234567.89"), &json!("12345678901234567.90")));
        assert!(!same(&json!("c-7"), &json!("c-07")));
    }
}
