//! What a model is given and what it says, beside the spread of both in its training period.
//!
//! Takes the columns and predictions of each batch; hands on, for each input and score, the population stability index:
//! Σ (share − expected) · ln(share / expected) over the bins of the [`Baseline`], missing values being a bin of their
//! own (Siddiqi, *Credit Risk Scorecards*; below 0.1 little has moved, above 0.25 much has). Keeps counts: of every
//! missing value, and of one row in sixteen for the bins, of the last ten to twenty thousand such rows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, Float64Array};
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "tollgate.baseline/1";

/// One row in so many is counted.
const ROWS_A_SAMPLE: u64 = 16;

/// Rows that are counted before the ones before them are forgotten.
const ROWS_KEPT: u64 = 10_000;

/// Rows that are enough against a baseline without end. Where nothing has moved, the index of `n` rows against `m` is about
/// (1/n + 1/m) times a chi-squared value of as many degrees of freedom as there are bins, less one (Yurdakul, *Statistical
/// Properties of Population Stability Index*). With ten bins and the missing values, that value is above 29.6 once in a
/// thousand times, and so the index above 0.1 with 29.6 / 0.1 rows.
const ROWS_LEAST: u64 = 296;

/// Values that a baseline is made of, at most.
const VALUES_MAX: usize = 200_000;

/// Bins that hold as many values each, where there are as many different ones.
const BINS: usize = 10;

/// An empty bin counts as so large a share: its logarithm has to be a number.
const SHARE_MIN: f64 = 1e-4;

/// How the values of an input or a score were spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Name of the input; `score`, with `#` and its number where there are several.
    pub name: String,
    /// Where a bin ends, its end included; the last bin has none.
    pub edges: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<u64>,
    /// Values that were missing.
    pub missing: u64,
}

/// The spread of everything that a model was given and said in its training period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    schema: String,
    /// Version of the model.
    pub version: String,
    /// Rows that were counted.
    pub rows: u64,
    /// Inputs in order, then scores.
    pub spreads: Vec<Spread>,
}

/// How far an input or a score has moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stability {
    /// Its name in the baseline.
    pub name: String,
    /// Population stability index.
    pub index: f64,
}

/// Counts of one model.
#[derive(Debug, Default)]
pub(super) struct Watch {
    rows: AtomicU64,
    missing: Vec<AtomicU64>,
    paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bins, and how many rows fell into each: the current ones and those before. Empty without a baseline.
    current: Counted,
    before: Counted,
    /// Values by input and score, while a baseline is made.
    collected: Option<Vec<Vec<f64>>>,
}

#[derive(Debug, Default)]
struct Counted {
    rows: u64,
    /// By input and score: bins, and missing values last.
    bins: Vec<Vec<u64>>,
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|cause| cause.to_string())?;
        if read.schema != SCHEMA {
            return Err(format!("its schema is `{}`, and this version reads {SCHEMA}", read.schema));
        }
        for spread in &read.spreads {
            let ascending = spread.edges.is_sorted_by(|a, b| a < b);
            if !ascending || spread.counts.len() != spread.edges.len() + 1 {
                return Err(format!("the bins of {} are not ascending, or have other counts", spread.name));
            }
        }
        Ok(read)
    }

    /// Rows that have to be counted before an index above 0.1 is a move and not chance; none where the baseline itself is
    /// of too few.
    fn rows_needed(&self) -> Option<u64> {
        // 1 / least = 1 / n + 1 / m: the smaller a baseline, the more rows have to make up for it.
        let rows = self.rows.min(1 << 40);
        let more = rows.checked_sub(ROWS_LEAST).filter(|more| *more > 0)?;
        Some((ROWS_LEAST * rows).div_ceil(more))
    }

    /// The file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Spread {
    /// Bins of about as many values each; NaN is a missing value.
    fn of(name: String, values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS)
            .filter_map(|bin| sorted.get((bin * sorted.len() / BINS).checked_sub(1)?).copied())
            .collect();
        edges.dedup();
        // Nothing is above the largest value, so it ends no bin but the last.
        edges.pop_if(|edge| sorted.last().is_some_and(|most| *edge >= *most));
        let mut spread = Self {
            name,
            counts: vec![0; edges.len() + 1],
            edges,
            missing: (values.len() - sorted.len()) as u64,
        };
        for value in sorted {
            let bin = spread.bin(value);
            spread.counts[bin] += 1;
        }
        spread
    }

    fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }

    fn index(&self, counts: &[u64]) -> f64 {
        let expected = || self.counts.iter().chain([&self.missing]);
        let (all, all_expected) = (counts.iter().sum::<u64>(), expected().sum::<u64>());
        let moved = counts.iter().zip(expected()).map(|(count, expected)| {
            let (share, expected) = (share(*count, all), share(*expected, all_expected));
            (share - expected) * (share / expected).ln()
        });
        moved.sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn share(count: u64, all: u64) -> f64 {
    (count as f64 / all.max(1) as f64).max(SHARE_MIN)
}

impl Watch {
    pub(super) fn new(features: usize) -> Self {
        Self { missing: (0..features).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// From here on values are kept, until [`Self::spread`].
    pub(super) fn collect(&self) {
        self.state().collected = Some(Vec::new());
    }

    /// Takes note of a batch: its columns, and what was said of a class.
    pub(super) fn note(
        &self,
        columns: &[&Float64Array],
        score: (usize, &[f64]),
        baseline: Option<&Baseline>,
    ) {
        let rows = columns.first().map_or(0, |column| column.len());
        if self.paused.load(Ordering::Relaxed) || rows == 0 {
            return;
        }
        for (column, missing) in columns.iter().zip(&self.missing) {
            missing.fetch_add(missing_of(column), Ordering::Relaxed);
        }
        let before = self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let first = usize::try_from((ROWS_A_SAMPLE - before % ROWS_A_SAMPLE) % ROWS_A_SAMPLE).unwrap_or(0);
        let mut state = self.state();
        if first >= rows || (baseline.is_none() && state.collected.is_none()) {
            return;
        }
        let sampled = || (first..rows).step_by(usize::try_from(ROWS_A_SAMPLE).unwrap_or(1));
        let place = columns.len() + score.0;
        for (input, column) in columns.iter().enumerate() {
            let value = |row: usize| if column.is_null(row) { f64::NAN } else { column.value(row) };
            state.note(input, baseline, sampled().map(value));
        }
        state.note(place, baseline, sampled().map(|row| score.1[row]));
        state.rotate(sampled().count() as u64);
    }

    /// How far everything has moved; with too few rows, why that can't be said.
    pub(super) fn stability(&self, baseline: &Baseline) -> Result<Vec<Stability>, String> {
        let state = self.state();
        let needed = baseline.rows_needed().ok_or_else(|| {
            let (rows, needed) = (baseline.rows * ROWS_A_SAMPLE, ROWS_LEAST * ROWS_A_SAMPLE);
            format!("its baseline is of about {rows} rows, and more than {needed} are needed to tell a move from chance")
        })?;
        if state.current.rows + state.before.rows < needed {
            let (rows, needed) = (self.rows.load(Ordering::Relaxed), needed * ROWS_A_SAMPLE);
            return Err(format!(
                "it was asked about {rows} rows, and {needed} are needed to tell a move from chance"
            ));
        }
        let sum = |input: usize, bins: usize| -> Vec<u64> {
            let of =
                |counted: &Counted, bin: usize| counted.bins.get(input).and_then(|all| all.get(bin)).copied();
            (0..bins)
                .map(|bin| of(&state.current, bin).unwrap_or(0) + of(&state.before, bin).unwrap_or(0))
                .collect()
        };
        let moved = baseline.spreads.iter().enumerate().filter_map(|(input, spread)| {
            let counts = sum(input, spread.counts.len() + 1);
            // A class that no rule asks about.
            let some = counts.iter().any(|count| *count > 0);
            some.then(|| Stability { name: spread.name.clone(), index: spread.index(&counts) })
        });
        Ok(moved.collect())
    }

    /// Rows that the model was asked about, and missing values of each input among them.
    pub(super) fn missing(&self) -> (u64, Vec<u64>) {
        let missing = self.missing.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        (self.rows.load(Ordering::Relaxed), missing)
    }

    /// The spread of what was collected; none where nothing was.
    pub(super) fn spread(&self, version: &str, names: &[String]) -> Option<Baseline> {
        let collected = self.state().collected.take()?;
        let rows = collected.first().map_or(0, Vec::len) as u64;
        let spreads = names
            .iter()
            .enumerate()
            .map(|(place, name)| Spread::of(name.clone(), collected.get(place).map_or(&[], Vec::as_slice)));
        let spreads = spreads.collect();
        (rows > 0).then(|| Baseline { schema: SCHEMA.to_owned(), version: version.to_owned(), rows, spreads })
    }
}

/// Values that a model takes as missing: null, and NaN as well.
fn missing_of(column: &Float64Array) -> u64 {
    let not_a_number = column.values().iter().enumerate().filter(|(_, value)| value.is_nan());
    let among_valid = not_a_number.filter(|(row, _)| column.is_valid(*row)).count();
    (column.null_count() + among_valid) as u64
}

impl State {
    fn note(&mut self, place: usize, baseline: Option<&Baseline>, values: impl Iterator<Item = f64>) {
        if let Some(collected) = &mut self.collected {
            collected.resize_with(collected.len().max(place + 1), Vec::new);
            let room = VALUES_MAX - collected[place].len();
            collected[place].extend(values.take(room));
            return;
        }
        let Some(spread) = baseline.and_then(|baseline| baseline.spreads.get(place)) else { return };
        let bins = &mut self.current.bins;
        bins.resize_with(bins.len().max(place + 1), Vec::new);
        bins[place].resize(spread.counts.len() + 1, 0);
        for value in values {
            let bin = if value.is_nan() { spread.counts.len() } else { spread.bin(value) };
            bins[place][bin] += 1;
        }
    }

    fn rotate(&mut self, rows: u64) {
        self.current.rows += rows;
        if self.current.rows >= ROWS_KEPT {
            self.before = std::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn column(values: impl Iterator<Item = Option<f64>>) -> Float64Array {
        values.collect()
    }

    /// Notes rows of one input and its score, which is the input's half.
    fn noted(watch: &Watch, values: &[Option<f64>], baseline: Option<&Baseline>) {
        for part in values.chunks(1000) {
            let column = column(part.iter().copied());
            let scores: Vec<f64> = part.iter().map(|value| value.unwrap_or(0.0) / 2.0).collect();
            watch.note(&[&column], (0, &scores), baseline);
        }
    }

    fn every_sixteenth(value: impl Fn(u32) -> Option<f64>) -> Vec<Option<f64>> {
        (0..160_000).map(|row| value(row / 16)).collect()
    }

    #[test]
    fn what_is_as_in_training_has_not_moved_and_what_is_not_has_by_the_formula() {
        let training = every_sixteenth(|row| (row % 20 != 0).then(|| f64::from(row % 1000)));
        let watch = Watch::new(1);
        watch.collect();
        noted(&watch, &training, None);
        let names = ["amount".to_owned(), "score".to_owned()];
        let baseline = watch.spread("v1", &names).unwrap();
        assert_eq!((baseline.rows, baseline.spreads[0].missing), (10_000, 500));
        assert_eq!(Baseline::parse(baseline.text().as_bytes()), Ok(baseline.clone()));
        let live = Watch::new(1);
        noted(&live, &training[..4_800], Some(&baseline));
        let few = live.stability(&baseline).unwrap_err();
        assert_eq!(few, "it was asked about 4800 rows, and 4896 are needed to tell a move from chance");
        noted(&live, &training[4_800..7_000], Some(&baseline));
        noted(&live, &training, Some(&baseline));
        assert!(live.stability(&baseline).unwrap().iter().all(|moved| moved.index < 0.01));
        assert_eq!(live.missing(), (167_000, vec![8_352]));
        // Twice as many rows are missing, all others are in the lowest bin.
        let shifted = every_sixteenth(|row| (row % 10 != 0).then_some(1.0));
        noted(&live, &shifted, Some(&baseline));
        noted(&live, &shifted, Some(&baseline));
        let first = &baseline.spreads[0];
        let expected: f64 = first
            .counts
            .iter()
            .chain([&first.missing])
            .enumerate()
            .map(|(bin, count)| {
                let was = *count as f64 / 10_000.0;
                let is: f64 = match bin {
                    0 => 0.9,
                    10 => 0.1,
                    _ => 1e-4,
                };
                (is - was) * (is / was).ln()
            })
            .sum();
        let moved = live.stability(&baseline).unwrap();
        assert!((moved[0].index - expected).abs() < 1e-3, "{} is not {expected}", moved[0].index);
    }

    #[test]
    fn what_has_not_moved_is_called_so_999_times_in_1000_once_enough_rows_are_counted() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut values = |rows: u64| -> Vec<f64> {
            let value = |missing: bool, value: f64| if missing { f64::NAN } else { value };
            (0..rows).map(|_| value(random.random_bool(0.05), random.random())).collect()
        };
        for rows in [600, 4_000] {
            let mut above = 0;
            let of = |spread| Baseline {
                schema: SCHEMA.to_owned(),
                version: String::new(),
                rows,
                spreads: vec![spread],
            };
            for _ in 0..300 {
                let baseline = of(Spread::of("x".to_owned(), &values(rows)));
                let spread = &baseline.spreads[0];
                let mut counts = vec![0; 11];
                for value in values(baseline.rows_needed().unwrap()) {
                    counts[if value.is_nan() { 10 } else { spread.bin(value) }] += 1;
                }
                above += usize::from(spread.index(&counts) > 0.1);
            }
            assert!(above <= 2, "{above} of 300 with a baseline of {rows} rows");
        }
        let small =
            Baseline { schema: SCHEMA.to_owned(), version: String::new(), rows: 296, spreads: Vec::new() };
        let said = Watch::new(1).stability(&small).unwrap_err();
        assert_eq!(
            said,
            "its baseline is of about 4736 rows, and more than 4736 are needed to tell a move from chance"
        );
    }

    #[test]
    fn few_different_values_have_as_many_bins_and_a_pause_counts_nothing() {
        let spread = Spread::of("flag".to_owned(), &[0.0, 1.0, 0.0, 1.0, 1.0, f64::NAN]);
        assert_eq!((spread.edges, spread.counts, spread.missing), (vec![0.0], vec![2, 3], 1));
        let watch = Watch::new(1);
        watch.pause(true);
        noted(&watch, &[Some(1.0); 100], None);
        assert_eq!(watch.missing(), (0, vec![0]));
        watch.pause(false);
        noted(&watch, &[Some(f64::NAN), None, Some(1.0)], None);
        assert_eq!(watch.missing(), (3, vec![2]), "NaN is missing to a model, as null is");
        assert!(Baseline::parse(b"{}").is_err());
    }
}
