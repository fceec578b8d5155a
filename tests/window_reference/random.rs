//! Random cases: keys, arguments, filters, aggregates, rows, ties and lateness.

use arrow::array::*;
use arrow::datatypes::DataType;
use rand::RngExt;
use std::sync::Arc;
use tollgate::window::*;

use super::definition::*;

pub(super) fn random_type(rng: &mut Rng) -> DataType {
    use arrow::datatypes::TimeUnit;
    let types = [
        DataType::Int64,
        DataType::Int32,
        DataType::UInt64,
        DataType::Float64,
        DataType::Float32,
        DataType::Decimal128(12, 2),
        DataType::Decimal128(30, 3),
        DataType::Boolean,
        DataType::Utf8,
        DataType::Utf8View,
        DataType::LargeUtf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ];
    types[rng.random_range(0..types.len())].clone()
}

pub(super) fn random_cell(rng: &mut Rng, data_type: &DataType, nulls: f64) -> Cell {
    if rng.random_bool(nulls) {
        return None;
    }
    let few = rng.random_bool(0.7);
    Some(match data_type {
        DataType::Float32 | DataType::Float64 => CellValue::Float(match rng.random_range(0..200) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            4 => 2f64.powi(54),
            _ => f64::from(rng.random_range(-40i32..40)) * 0.25,
        }),
        DataType::Decimal128(30, _) => CellValue::Whole(
            rng.random_range(-5i128..5) * if few { 1 } else { 1_000_000_000_000_000_000_000 }
                + rng.random_range(0i128..3),
        ),
        DataType::Boolean => CellValue::Whole(i128::from(rng.random_bool(0.8))),
        DataType::UInt64 => {
            CellValue::Whole(if few { rng.random_range(0..9) } else { i128::from(rng.random::<u64>()) })
        }
        DataType::Int64 => {
            CellValue::Whole(if few { rng.random_range(-9..9) } else { i128::from(rng.random::<i64>()) })
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Binary => {
            let number = rng.random_range(0..12);
            CellValue::Text(if few { format!("m{number}") } else { format!("a long merchant name {number}") })
        }
        _ => CellValue::Whole(rng.random_range(-30..30)),
    })
}

pub(super) fn random_frame(rng: &mut Rng) -> Frame {
    let lengths = [0i64, 1, 5, 20, 60, 200, 1000, 100_000];
    let mut length = || lengths[rng.random_range(0..lengths.len())];
    let (start, end) = (length(), length());
    let end = if rng.random_bool(0.6) { 0 } else { end };
    let start = if rng.random_bool(0.15) { None } else { Some(start) };
    if rng.random_bool(0.7) {
        return Frame::Range { start, end };
    }
    Frame::Rows { start: start.map(|start| start as usize % 150), end: end as usize % 70 }
}

pub(super) fn random_aggregate(rng: &mut Rng, spec: &WindowSpec) -> Aggregate {
    use DataType as T;
    let argument = rng.random_range(0..spec.arguments.len());
    let data_type = spec.arguments[argument].clone();
    let ignore_nulls = rng.random_bool(0.5);
    let mut arguments = vec![argument];
    let mut chosen = rng.random_range(0..20);
    let float = matches!(data_type, T::Float32 | T::Float64);
    let decimal = matches!(data_type, T::Decimal128(_, _));
    let integer = data_type.is_integer();
    if !(float || decimal || integer) && (3..=8).contains(&chosen) {
        chosen = if data_type == T::Boolean { 9 + chosen % 2 } else { 2 };
    }
    if data_type != T::Boolean && (9..=10).contains(&chosen) {
        chosen = 11;
    }
    if float && chosen == 19 {
        chosen = 12;
    }
    let (function, output) = match chosen {
        0 => {
            arguments.clear();
            (Function::Count, T::Int64)
        }
        1 => (Function::Count, T::Int64),
        2 => (Function::CountDistinct, T::Int64),
        3 | 4 => (
            Function::Sum,
            match &data_type {
                T::UInt64 => T::UInt64,
                T::Decimal128(_, scale) => T::Decimal128(38, *scale),
                _ if float => T::Float64,
                _ => T::Int64,
            },
        ),
        5 => (
            Function::Avg,
            match &data_type {
                T::Decimal128(precision, scale) => T::Decimal128((precision + 4).min(38), scale + 4),
                _ => T::Float64,
            },
        ),
        6 => (Function::StddevSamp, T::Float64),
        7 => (if ignore_nulls { Function::VarSamp } else { Function::StddevPop }, T::Float64),
        8 => (Function::VarPop, T::Float64),
        9 => (Function::BoolAnd, T::Boolean),
        10 => (Function::BoolOr, T::Boolean),
        11 => (Function::Min, data_type),
        12 => (Function::Max, data_type),
        13 => (Function::FirstValue { ignore_nulls }, data_type),
        14 => (Function::LastValue { ignore_nulls }, data_type),
        15 => {
            let n = [1, 2, 5, 70, -1, -3][rng.random_range(0..6)];
            (Function::NthValue { n, ignore_nulls }, data_type)
        }
        16 | 17 => {
            let default = ignore_nulls.then(|| column(&data_type, &[&random_cell(rng, &data_type, 0.1)]));
            (Function::Lag { offset: rng.random_range(0..5), default }, data_type)
        }
        18 => {
            arguments.clear();
            (Function::RowNumber, T::Int64)
        }
        _ if matches!(data_type, T::Utf8 | T::Utf8View | T::LargeUtf8 | T::Int64 | T::Int32) => {
            (Function::Custom(Arc::new(Join)), T::Utf8)
        }
        _ => (Function::CountDistinct, T::Int64),
    };
    let filter = (spec.filters > 0
        && !matches!(function, Function::Lag { .. } | Function::RowNumber)
        && rng.random_bool(0.4))
    .then(|| rng.random_range(0..spec.filters));
    Aggregate { function, arguments, filter, frame: random_frame(rng), output }
}

pub(super) fn random_case(rng: &mut Rng) -> Case {
    let key_sets: [&[DataType]; 6] = [
        &[],
        &[DataType::Utf8],
        &[DataType::Int64],
        &[DataType::Int32],
        &[DataType::Utf8, DataType::Int32],
        &[DataType::LargeUtf8],
    ];
    let keys = key_sets[rng.random_range(0..key_sets.len())].to_vec();
    let arguments: Vec<DataType> = (0..rng.random_range(1..5)).map(|_| random_type(rng)).collect();
    let filters = if rng.random_bool(0.05) { 70 } else { rng.random_range(0..3) };
    let mut spec = WindowSpec { keys, arguments, filters, aggregates: vec![] };
    for _ in 0..rng.random_range(1..9) {
        let aggregate = random_aggregate(rng, &spec);
        spec.aggregates.push(aggregate);
    }
    let ties = if rng.random_bool(0.4) { Ties::Together } else { Ties::ByArrival };
    let idle = rng.random_bool(0.3).then(|| [0, 30, 500][rng.random_range(0..3)]);
    let rows = random_rows(rng, &spec, ties);
    Case { spec, rows, ties, idle }
}

pub(super) fn random_rows(rng: &mut Rng, spec: &WindowSpec, ties: Ties) -> Vec<Row> {
    let count = [1, 20, 150, 400, 700][rng.random_range(0..5)];
    let key_count = if rng.random_bool(0.5) { 2 } else { 30 };
    let nulls = [0.0, 0.1, 0.9][rng.random_range(0..3)];
    let lateness = [0, 0, 10, 300][rng.random_range(0..4)];
    let late = [0.0, 0.05, 0.5][rng.random_range(0..3)];
    let step = [0, 1, 3, 40][rng.random_range(0..4)];
    let mut now = rng.random_range(-1000i64..1000);
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..count {
        now += if rng.random_bool(0.01) { 2000 } else { rng.random_range(0..=step) };
        let back = if rng.random_bool(late) { rng.random_range(0..=lateness * 3 + 20) } else { 0 };
        let key = rng.random_range(0..key_count);
        let key = spec.keys.iter().map(|data_type| match (key, data_type) {
            (0, _) => None,
            (key, DataType::Utf8 | DataType::LargeUtf8) => Some(CellValue::Text(if key % 2 == 0 {
                format!("k{key}")
            } else {
                format!("a key that is long {key}")
            })),
            (key, _) => Some(CellValue::Whole(key)),
        });
        rows.push(Row {
            time: now - back,
            watermark: i64::MIN,
            key: key.collect(),
            arguments: spec.arguments.iter().map(|data_type| random_cell(rng, data_type, nulls)).collect(),
            filters: (0..spec.filters)
                .map(|_| (!rng.random_bool(nulls / 2.0)).then(|| rng.random_bool(0.6)))
                .collect(),
        });
    }
    if ties == Ties::Together {
        rows.sort_by_key(|row| row.time);
        rows.iter_mut().for_each(|row| row.watermark = row.time - lateness);
        return rows;
    }
    let mut highest = i64::MIN;
    for row in &mut rows {
        row.watermark = highest.saturating_sub(lateness);
        highest = highest.max(row.time);
        if lateness == 10 {
            row.watermark = highest - lateness;
        }
    }
    rows
}

// ---- comparing ---------------------------------------------------------------------------------

/// Batches of about `rows_max` rows, as the index of the batch of each row.
pub(super) fn split(case: &Case, rows_max: usize) -> Vec<usize> {
    let mut batch = 0;
    let mut length = 0;
    let mut batches = Vec::new();
    for (index, row) in case.rows.iter().enumerate() {
        let tied = case.ties == Ties::Together && index > 0 && case.rows[index - 1].time == row.time;
        if length >= rows_max && !tied {
            batch += 1;
            length = 0;
        }
        length += 1;
        batches.push(batch);
    }
    batches
}

pub(super) fn input_columns(case: &Case, rows: &[Row]) -> (Vec<ArrayRef>, Vec<ArrayRef>, Vec<BooleanArray>) {
    let keys = case.spec.keys.iter().enumerate();
    let keys = keys.map(|(k, t)| column(t, &rows.iter().map(|row| &row.key[k]).collect::<Vec<_>>()));
    let arguments = case.spec.arguments.iter().enumerate();
    let arguments =
        arguments.map(|(a, t)| column(t, &rows.iter().map(|row| &row.arguments[a]).collect::<Vec<_>>()));
    let filters = (0..case.spec.filters).map(|f| rows.iter().map(|row| row.filters[f]).collect());
    (keys.collect(), arguments.collect(), filters.collect())
}
