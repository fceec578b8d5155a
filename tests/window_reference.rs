//! Windows against their definition: a naive loop that works each frame out from all rows.
//!
//! Shares no code with the engine. `TOLLGATE_SEED` repeats a run, `TOLLGATE_ROUNDS` lengthens it.

mod definition;
mod random;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use rand::{RngExt, SeedableRng};
use tollgate::window::*;

use definition::*;
use random::*;

type Answered = (Vec<Vec<Cell>>, BTreeSet<(usize, usize)>);

/// Some rows of a case as input.
fn with_input<T>(case: &Case, rows: &[Row], work: impl FnOnce(&WindowInput<'_>) -> T) -> T {
    let (keys, arguments, filters) = input_columns(case, rows);
    let times: Vec<i64> = rows.iter().map(|row| row.time).collect();
    let watermarks: Vec<i64> = rows.iter().map(|row| row.watermark).collect();
    work(&WindowInput {
        times: &times,
        watermarks: &watermarks,
        keys: &keys,
        arguments: &arguments,
        filters: &filters,
        ties: case.ties,
    })
}

fn run(case: &Case, batch_of: &[usize], shards: usize) -> Answered {
    run_after(case, batch_of, shards, 0)
}

/// The same with all batches that start before a row absorbed; their answers are null.
fn run_after(case: &Case, batch_of: &[usize], shards: usize, first_answered: usize) -> Answered {
    let settings =
        WindowSettings { shards, parallel_rows_min: 8, idle: case.idle, ..WindowSettings::default() };
    let mut state = WindowState::new(case.spec.clone(), settings).unwrap();
    let mut answers = vec![Vec::new(); case.spec.aggregates.len()];
    let mut errors = BTreeSet::new();
    let mut start = 0;
    while start < case.rows.len() {
        let end = start + batch_of[start..].iter().take_while(|&&batch| batch == batch_of[start]).count();
        let rows = &case.rows[start..end];
        if start < first_answered {
            with_input(case, rows, |input| state.absorb(input)).unwrap();
            answers.iter_mut().for_each(|answers| answers.resize(end, None));
            start = end;
            continue;
        }
        let output = with_input(case, rows, |input| state.process(input)).unwrap();
        for (index, column) in output.columns.iter().enumerate() {
            assert_eq!(column.data_type(), &case.spec.aggregates[index].output);
            answers[index].extend((0..rows.len()).map(|row| read(column, row)));
        }
        errors.extend(output.errors.iter().map(|error| (start + error.row, error.aggregate)));
        start = end;
    }
    (answers, errors)
}

fn same(expected: &Cell, got: &Cell, tolerance: f64) -> bool {
    match (expected, got) {
        (Some(CellValue::Float(expected)), Some(CellValue::Float(got))) => {
            expected.to_bits() == got.to_bits()
                || (expected.is_nan() && got.is_nan())
                || (tolerance > 0.0 && (expected - got).abs() <= tolerance)
        }
        (expected, got) => expected == got,
    }
}

/// How far apart two ways of adding the same floats may be.
fn tolerance(case: &Case, aggregate: &Aggregate) -> f64 {
    let squares = match aggregate.function {
        Function::Sum | Function::Avg => false,
        Function::VarSamp | Function::VarPop | Function::StddevSamp | Function::StddevPop => true,
        _ => return 0.0,
    };
    let argument = aggregate.arguments[0];
    let scale = if let DataType::Decimal128(_, scale) = case.spec.arguments[argument] { scale } else { 0 };
    let sizes =
        case.rows.iter().filter_map(|row| row.arguments[argument].as_ref()).map(|v| v.number(scale).abs());
    let largest = sizes.filter(|size| size.is_finite()).fold(1.0, f64::max);
    let size = if squares { largest * largest } else { largest };
    let root = matches!(aggregate.function, Function::StddevSamp | Function::StddevPop);
    let tolerance = size * case.rows.len() as f64 * 1e-14;
    if root { tolerance.sqrt() } else { tolerance }
}

fn check(case: &Case, seed: u64, rng: &mut Rng) {
    let rows = case.rows.len();
    let whole = split(case, usize::MAX);
    let expected: Vec<Vec<Result<Cell, ()>>> = case
        .spec
        .aggregates
        .iter()
        .map(|aggregate| (0..rows).map(|row| expect(case, row, aggregate, &whole)).collect())
        .collect();
    let mut exact: Option<Answered> = None;
    for (rows_max, shards) in [(usize::MAX, 1), (1, 1), (rng.random_range(2..90), 3)] {
        let batch_of = split(case, rows_max);
        let (answers, errors) = run(case, &batch_of, shards);
        for (index, aggregate) in case.spec.aggregates.iter().enumerate() {
            let tolerance = tolerance(case, aggregate);
            for row in 0..rows {
                let failed = errors.contains(&(row, index));
                let (expected, got) = (&expected[index][row], &answers[index][row]);
                let good = match expected {
                    Ok(expected) => !failed && same(expected, got, tolerance),
                    Err(()) => failed && got.is_none(),
                };
                assert!(
                    good,
                    "seed {seed}, batches of {rows_max}, {shards} shards, row {row} of {rows}, ties {:?}, idle {:?}\n\
                     {aggregate:?}\nexpected {expected:?}, got {got:?} (error: {failed})\nrow: {:?}",
                    case.ties, case.idle, case.rows[row],
                );
            }
        }
        let (first, _) = exact.get_or_insert_with(|| (answers.clone(), errors.clone()));
        for (first, answers) in first.iter().zip(&answers) {
            for (first, answer) in first.iter().zip(answers) {
                assert!(
                    same(first, answer, 0.0),
                    "seed {seed}: {first:?} and {answer:?} by batches or shards"
                );
            }
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_answer_is_what_the_naive_loop_finds() {
    let seed =
        from_environment("TOLLGATE_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let rounds = from_environment("TOLLGATE_ROUNDS").unwrap_or(60);
    println!("TOLLGATE_SEED={seed} TOLLGATE_ROUNDS={rounds}");
    for round in 0..rounds {
        let mut rng = Rng::seed_from_u64(seed + round);
        let case = random_case(&mut rng);
        check(&case, seed + round, &mut rng);
    }
}

/// From the first answered row on, all is as if the absorbed ones had been answered too, bit for bit.
#[test]
fn rows_absorbed_count_for_later_answers_as_rows_answered_do() {
    let seed =
        from_environment("TOLLGATE_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let rounds = from_environment("TOLLGATE_ROUNDS").unwrap_or(60);
    println!("TOLLGATE_SEED={seed} TOLLGATE_ROUNDS={rounds}");
    for round in 0..rounds {
        let mut rng = Rng::seed_from_u64(seed + round);
        let case = random_case(&mut rng);
        let batch_of = split(&case, [1, 7, 60][rng.random_range(0..3)]);
        let shards = rng.random_range(1..=3);
        let wanted = rng.random_range(0..=case.rows.len());
        let (all, all_errors) = run(&case, &batch_of, shards);
        let (rest, rest_errors) = run_after(&case, &batch_of, shards, wanted);
        let first = (wanted..case.rows.len())
            .find(|&row| row == 0 || batch_of[row] != batch_of[row - 1])
            .unwrap_or(case.rows.len());
        for (index, (all, rest)) in all.iter().zip(&rest).enumerate() {
            for row in first..case.rows.len() {
                assert!(
                    same(&all[row], &rest[row], 0.0),
                    "seed {}, row {row}, rows before {first} absorbed: {:?} answered, {:?} after absorbing\n{:?}",
                    seed + round,
                    all[row],
                    rest[row],
                    case.spec.aggregates[index]
                );
            }
        }
        let after: BTreeSet<_> = all_errors.into_iter().filter(|(row, _)| *row >= first).collect();
        assert_eq!(after, rest_errors, "seed {}", seed + round);
    }
}

/// An aggregate asked for within a selection has the answer that it has for every row, and null elsewhere.
#[test]
fn what_is_asked_for_some_rows_only_is_answered_there_as_everywhere() {
    let seed =
        from_environment("TOLLGATE_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    println!("TOLLGATE_SEED={seed}");
    for round in 0..from_environment("TOLLGATE_ROUNDS").unwrap_or(60) {
        let mut rng = Rng::seed_from_u64(seed + round);
        let case = random_case(&mut rng);
        let batch_of = split(&case, [1, 7, 60][rng.random_range(0..3)]);
        let shards = rng.random_range(1..=3);
        let count = rng.random_range(1..4);
        let asked: Vec<Asked> =
            (0..case.spec.aggregates.len())
                .map(|_| {
                    if rng.random_bool(0.3) {
                        Asked::Always
                    } else {
                        Asked::Within(rng.random_range(0..count))
                    }
                })
                .collect();
        let share = [0.0, 0.05, 0.5, 1.0][rng.random_range(0..4)];
        let selections: Vec<Vec<bool>> =
            (0..count).map(|_| case.rows.iter().map(|_| rng.random_bool(share)).collect()).collect();
        let (all, all_errors) = run(&case, &batch_of, shards);
        let settings = WindowSettings { shards, parallel_rows_min: 8, idle: case.idle, ..Default::default() };
        let never_null = (0..case.spec.arguments.len())
            .map(|argument| case.rows.iter().all(|row| row.arguments[argument].is_some()));
        let hints = Hints { asked: asked.clone(), never_null: never_null.collect() };
        let mut state = WindowState::with_hints(case.spec.clone(), settings, hints).unwrap();
        let wanted = |row: usize, aggregate: usize| match asked[aggregate] {
            Asked::Always => true,
            Asked::Within(selection) => selections[selection][row],
        };
        let mut errors = BTreeSet::new();
        let mut start = 0;
        while start < case.rows.len() {
            let end = start + batch_of[start..].iter().take_while(|&&batch| batch == batch_of[start]).count();
            let rows = &case.rows[start..end];
            let masks: Vec<BooleanBuffer> =
                selections.iter().map(|rows| BooleanBuffer::from(&rows[start..end])).collect();
            let output = with_input(&case, rows, |input| state.process_selected(input, &masks)).unwrap();
            for (index, column) in output.columns.iter().enumerate() {
                for row in 0..rows.len() {
                    let expected = if wanted(start + row, index) { &all[index][start + row] } else { &None };
                    let got = read(column, row);
                    assert!(
                        same(expected, &got, 0.0),
                        "seed {}, row {}: {expected:?}, got {got:?}\n{:?} asked {:?}",
                        seed + round,
                        start + row,
                        case.spec.aggregates[index],
                        asked[index]
                    );
                }
            }
            errors.extend(output.errors.iter().map(|error| (start + error.row, error.aggregate)));
            start = end;
        }
        let expected: BTreeSet<_> =
            all_errors.into_iter().filter(|(row, index)| wanted(*row, *index)).collect();
        assert_eq!(expected, errors, "seed {}", seed + round);
    }
}

// ---- named cases -------------------------------------------------------------------------------

fn aggregate(function: Function, arguments: &[usize], frame: Frame, output: DataType) -> Aggregate {
    Aggregate { function, arguments: arguments.to_vec(), filter: None, frame, output }
}

/// Answers of one aggregate over one float argument and no keys, one batch.
fn answer_floats(aggregate: Aggregate, rows: &[(i64, f64)], watermarks: &[i64], ties: Ties) -> Vec<Cell> {
    let spec = WindowSpec {
        keys: vec![],
        arguments: vec![DataType::Float64],
        filters: 0,
        aggregates: vec![aggregate],
    };
    let mut state = WindowState::new(spec, WindowSettings::default()).unwrap();
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let values: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>());
    let input =
        WindowInput { times: &times, watermarks, keys: &[], arguments: &[values], filters: &[], ties };
    let output = state.process(&input).unwrap();
    (0..rows.len()).map(|row| read(&output.columns[0], row)).collect()
}

fn numbers(cells: &[Cell]) -> Vec<Option<f64>> {
    cells.iter().map(|cell| cell.as_ref().map(|value| value.number(0))).collect()
}

const LAST_TEN: Frame = Frame::Range { start: Some(10), end: 0 };

#[test]
fn a_float_sum_holds_nothing_of_what_has_left() {
    let sum = aggregate(Function::Sum, &[0], LAST_TEN, DataType::Float64);
    let rows = [(0, 1e16), (5, 1.0), (11, 2.0), (30, f64::NAN), (35, f64::INFINITY), (60, 4.0)];
    let answers = numbers(&answer_floats(sum, &rows, &[i64::MIN; 6], Ties::ByArrival));
    assert_eq!(answers[2], Some(3.0));
    assert!(answers[4].unwrap().is_nan());
    assert_eq!(answers[5], Some(4.0));
}

#[test]
fn rows_of_equal_time_see_each_other_only_together() {
    let count = || aggregate(Function::Count, &[], LAST_TEN, DataType::Int64);
    let rows = [(0, 0.0), (5, 0.0), (5, 0.0), (15, 0.0)];
    let marks = [0, 5, 5, 15];
    let by_arrival = numbers(&answer_floats(count(), &rows, &marks, Ties::ByArrival));
    let together = numbers(&answer_floats(count(), &rows, &marks, Ties::Together));
    assert_eq!(by_arrival, [1.0, 2.0, 3.0, 3.0].map(Some));
    assert_eq!(together, [1.0, 3.0, 3.0, 3.0].map(Some));
}

#[test]
fn a_late_row_sees_what_is_held_and_a_too_late_one_only_itself() {
    let count = aggregate(Function::Count, &[], LAST_TEN, DataType::Int64);
    let rows = [(0, 0.0), (12, 0.0), (20, 0.0), (11, 0.0), (5, 0.0), (20, 0.0)];
    let marks = [0, 12, 20, 20, 20, 20];
    let answers = numbers(&answer_floats(count, &rows, &marks, Ties::ByArrival));
    assert_eq!(answers, [1.0, 1.0, 2.0, 1.0, 1.0, 4.0].map(Some));
}

#[test]
fn an_empty_batch_gives_empty_columns() {
    let count = aggregate(Function::Count, &[], LAST_TEN, DataType::Int64);
    assert!(answer_floats(count, &[], &[], Ties::ByArrival).is_empty());
}

#[test]
fn what_no_row_can_see_is_not_kept() {
    let spec = WindowSpec {
        keys: vec![DataType::Int64],
        arguments: vec![DataType::Utf8],
        filters: 0,
        aggregates: vec![aggregate(Function::CountDistinct, &[0], LAST_TEN, DataType::Int64)],
    };
    let mut state = WindowState::new(spec, WindowSettings::default()).unwrap();
    let mut send = |time: i64, key: i64, rows: usize| {
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![key; rows]));
        let texts: Vec<String> = (0..rows).map(|row| format!("a long merchant name {row}")).collect();
        let arguments: ArrayRef = Arc::new(StringArray::from(texts));
        let times = vec![time; rows];
        let (keys, arguments) = ([keys], [arguments]);
        let input = WindowInput {
            times: &times,
            watermarks: &times,
            keys: &keys,
            arguments: &arguments,
            filters: &[],
            ties: Ties::ByArrival,
        };
        state.process(&input).unwrap();
        state.usage()
    };
    let full = send(0, 1, 1000);
    assert_eq!((full.keys, full.events), (1, 1000));
    let swept = send(100, 2, 1);
    assert_eq!((swept.keys, swept.events), (1, 1));
    assert!(swept.bytes < full.bytes, "{swept:?} after {full:?}");
}

#[test]
fn a_spec_that_cannot_be_answered_is_refused_with_the_reason() {
    let refuse = |aggregate: Aggregate| {
        let arguments = vec![DataType::Utf8];
        let spec = WindowSpec { keys: vec![], arguments, filters: 0, aggregates: vec![aggregate] };
        WindowState::new(spec, WindowSettings::default()).unwrap_err().to_string()
    };
    assert_eq!(
        refuse(aggregate(Function::Sum, &[0], LAST_TEN, DataType::Int64)),
        "window aggregate 0: sum over Utf8 can't give Int64: cast the argument"
    );
    let ahead = Frame::Range { start: Some(10), end: -5 };
    assert_eq!(
        refuse(aggregate(Function::Count, &[], ahead, DataType::Int64)),
        "window aggregate 0: a frame can't reach past the current row: the future is not known"
    );
}

/// One hot key, thousands of rows: the tree has several levels and rows come and go.
#[test]
fn a_hot_key_with_late_rows_is_answered_exactly() {
    let mut rng = Rng::seed_from_u64(11);
    let range = |start, end| Frame::Range { start: Some(start), end };
    let aggregates = vec![
        aggregate(Function::Sum, &[0], range(900, 0), DataType::Float64),
        aggregate(Function::Max, &[0], range(2500, 0), DataType::Float64),
        aggregate(Function::Min, &[0], range(2500, 300), DataType::Float64),
        aggregate(Function::CountDistinct, &[1], range(2500, 0), DataType::Int64),
        aggregate(Function::CountDistinct, &[1], range(40, 0), DataType::Int64),
        aggregate(Function::CountDistinct, &[1], range(2000, 100), DataType::Int64),
        aggregate(Function::VarPop, &[0], range(1500, 0), DataType::Float64),
    ];
    let arguments = vec![DataType::Float64, DataType::Utf8];
    let spec = WindowSpec { keys: vec![], arguments, filters: 0, aggregates };
    let mut highest = 0;
    let rows = (0..4000).map(|index| {
        let late = if rng.random_bool(0.1) { rng.random_range(0..400) } else { 0 };
        let jump = if index == 3000 { 2450 } else { 0 };
        highest = highest.max(index + jump);
        Row {
            time: index + if index >= 3000 { 2450 } else { 0 } - late,
            watermark: highest - 100,
            key: vec![],
            arguments: vec![
                Some(CellValue::Float(f64::from(rng.random_range(-400i32..400)) * 0.25)),
                Some(CellValue::Text(format!("merchant {}", rng.random_range(0..300)))),
            ],
            filters: vec![],
        }
    });
    let case = Case { rows: rows.collect(), spec, ties: Ties::ByArrival, idle: None };
    let (answers, _) = run(&case, &split(&case, 700), 1);
    let whole = split(&case, usize::MAX);
    for row in (0..case.rows.len()).step_by(97) {
        for (index, aggregate) in case.spec.aggregates.iter().enumerate() {
            let expected = expect(&case, row, aggregate, &whole).unwrap();
            let tolerance = tolerance(&case, aggregate);
            let got = &answers[index][row];
            assert!(same(&expected, got, tolerance), "row {row}, {aggregate:?}: {expected:?}, got {got:?}");
        }
    }
}
