//! The definition of every window function, worked out from all rows of a case.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use rand_chacha::ChaCha8Rng;
use tollgate::window::*;

pub(super) type Rng = ChaCha8Rng;

#[derive(Clone, Debug)]
pub(super) enum CellValue {
    Whole(i128),
    Float(f64),
    Text(String),
}

impl PartialEq for CellValue {
    fn eq(&self, other: &Self) -> bool {
        self.order(other).is_eq()
    }
}

impl CellValue {
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.total_cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            _ => panic!("values of two types"),
        }
    }

    pub(super) fn number(&self, scale: i8) -> f64 {
        match self {
            Self::Whole(value) => *value as f64 / 10f64.powi(i32::from(scale)),
            Self::Float(value) => *value,
            Self::Text(_) => panic!("not a number"),
        }
    }

    pub(super) fn whole(&self) -> i128 {
        match self {
            Self::Whole(value) => *value,
            _ => panic!("not a whole number"),
        }
    }
}

pub(super) type Cell = Option<CellValue>;

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) watermark: i64,
    pub(super) key: Vec<Cell>,
    pub(super) arguments: Vec<Cell>,
    pub(super) filters: Vec<Option<bool>>,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) spec: WindowSpec,
    pub(super) rows: Vec<Row>,
    pub(super) ties: Ties,
    pub(super) idle: Option<i64>,
}

/// Joins all values of a frame: the slow path for functions the engine doesn't know.
#[derive(Debug)]
pub(super) struct Join;

impl FrameFunction for Join {
    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
        let texts = cast(&arguments[0], &DataType::Utf8).map_err(|error| error.to_string())?;
        let texts: Vec<&str> = texts.as_string::<i32>().iter().map(|text| text.unwrap_or("-")).collect();
        if texts.len() == 13 {
            return Err("thirteen".to_owned());
        }
        Ok(Arc::new(StringArray::from(vec![texts.join("|")])))
    }
}

// ---- the definition ----------------------------------------------------------------------------

/// Expected answer; none where the function reports an error.
pub(super) fn expect(
    case: &Case,
    index: usize,
    aggregate: &Aggregate,
    batch_of: &[usize],
) -> Result<Cell, ()> {
    let row = &case.rows[index];
    let frame = match &aggregate.function {
        Function::Lag { offset, .. } => Frame::Rows { start: Some(*offset), end: *offset },
        Function::RowNumber => Frame::Rows { start: None, end: 0 },
        _ => aggregate.frame,
    };
    let last_seen = match (frame, case.ties) {
        (Frame::Range { .. }, Ties::Together) => (index..case.rows.len())
            .take_while(|&other| batch_of[other] == batch_of[index] && case.rows[other].time == row.time)
            .last()
            .unwrap(),
        _ => index,
    };
    let mine: Vec<usize> = (0..=last_seen).filter(|&other| case.rows[other].key == row.key).collect();
    let remembered = remembered_from(case, &mine);
    let forgotten = row.time < remembered;
    let known = |&other: &usize| if forgotten { other == index } else { case.rows[other].time >= remembered };
    let mut ordered: Vec<usize> = mine.iter().copied().filter(known).collect();
    ordered.sort_by_key(|&other| (case.rows[other].time, other));
    let time_of = |other: usize| case.rows[other].time;
    let (t, m) = (row.time, row.watermark);
    let frame_rows: Vec<usize> = match frame {
        Frame::Range { start: Some(start), end } => {
            let mut all = mine.clone();
            all.sort_by_key(|&other| (time_of(other), other));
            all.retain(|&other| {
                let r = time_of(other);
                let inside = r >= t - start && r <= t - end && r >= m.saturating_sub(start);
                inside || (end == 0 && other == index)
            });
            all
        }
        Frame::Range { start: None, end } => {
            ordered.retain(|&other| time_of(other) <= t - end || time_of(other) < m.saturating_sub(end));
            if forgotten && end > 0 {
                ordered.clear();
            }
            ordered
        }
        Frame::Rows { start, end } => {
            let position = ordered.iter().position(|&other| other == index).unwrap();
            let passed = ordered.iter().filter(|&&other| time_of(other) < m).count();
            let mut taken = Vec::new();
            for (place, &other) in ordered.iter().enumerate() {
                let up_to_end = place + end <= position;
                let inside = match start {
                    Some(start) => up_to_end && place + start >= position && place + start >= passed,
                    None => up_to_end || (place + end < passed && !forgotten),
                };
                if inside || (start.is_some() && end == 0 && other == index) {
                    taken.push(other);
                }
            }
            taken
        }
    };
    compute(case, aggregate, &frame_rows)
}

/// Earliest time that frames without a bound in time still know of.
pub(super) fn remembered_from(case: &Case, mine: &[usize]) -> i64 {
    let Some(idle) = case.idle else { return i64::MIN };
    let mut from = i64::MIN;
    let mut last = i64::MIN;
    for (place, &index) in mine.iter().enumerate() {
        let horizon = case.rows[index].watermark.saturating_sub(idle);
        if place == 0 || last < horizon {
            from = horizon;
        }
        last = last.max(case.rows[index].time);
    }
    from
}

pub(super) fn compute(case: &Case, aggregate: &Aggregate, frame_rows: &[usize]) -> Result<Cell, ()> {
    let taken: Vec<&Row> = frame_rows
        .iter()
        .map(|&index| &case.rows[index])
        .filter(|row| aggregate.filter.is_none_or(|filter| row.filters[filter] == Some(true)))
        .collect();
    let cells: Vec<&Cell> =
        aggregate.arguments.first().map_or(vec![], |&a| taken.iter().map(|row| &row.arguments[a]).collect());
    let values: Vec<&CellValue> = cells.iter().filter_map(|cell| cell.as_ref()).collect();
    let scale = aggregate.arguments.first().map_or(0, |&a| match &case.spec.arguments[a] {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    });
    let pick = |ignore_nulls: bool| -> Vec<Cell> {
        cells.iter().filter(|cell| !ignore_nulls || cell.is_some()).map(|cell| (*cell).clone()).collect()
    };
    let nothing = values.is_empty();
    Ok(match &aggregate.function {
        Function::Count if aggregate.arguments.is_empty() => Some(CellValue::Whole(taken.len() as i128)),
        Function::RowNumber => Some(CellValue::Whole(frame_rows.len() as i128)),
        Function::Count => {
            let full = |row: &&&Row| aggregate.arguments.iter().all(|&a| row.arguments[a].is_some());
            Some(CellValue::Whole(taken.iter().filter(full).count() as i128))
        }
        Function::CountDistinct => {
            let different: BTreeSet<String> = values.iter().map(|value| format!("{value:?}")).collect();
            Some(CellValue::Whole(different.len() as i128))
        }
        Function::Sum | Function::Avg | Function::BoolAnd | Function::BoolOr if nothing => None,
        Function::Sum => Some(match &aggregate.output {
            DataType::Float64 => CellValue::Float(values.iter().map(|value| value.number(scale)).sum()),
            DataType::Int64 => {
                CellValue::Whole(i128::from(values.iter().map(|v| v.whole()).sum::<i128>() as i64))
            }
            DataType::UInt64 => {
                CellValue::Whole(i128::from(values.iter().map(|v| v.whole()).sum::<i128>() as u64))
            }
            _ => CellValue::Whole(values.iter().map(|value| value.whole()).sum()),
        }),
        Function::Avg => match &aggregate.output {
            DataType::Decimal128(precision, to) => {
                let sum: i128 = values.iter().map(|value| value.whole()).sum();
                let average =
                    sum.checked_mul(10i128.pow((to - scale) as u32)).ok_or(())? / values.len() as i128;
                if average.unsigned_abs() >= 10u128.pow(u32::from(*precision)) {
                    return Err(());
                }
                Some(CellValue::Whole(average))
            }
            _ => {
                let sum: f64 = values.iter().map(|value| value.number(scale)).sum();
                Some(CellValue::Float(sum / values.len() as f64))
            }
        },
        Function::Min => values.iter().min_by(|a, b| a.order(b)).map(|value| (*value).clone()),
        Function::Max => values.iter().max_by(|a, b| a.order(b)).map(|value| (*value).clone()),
        Function::VarSamp => spread(&values, scale, 1).map(CellValue::Float),
        Function::VarPop => spread(&values, scale, 0).map(CellValue::Float),
        Function::StddevSamp => spread(&values, scale, 1).map(|v| CellValue::Float(v.sqrt())),
        Function::StddevPop => spread(&values, scale, 0).map(|v| CellValue::Float(v.sqrt())),
        Function::BoolAnd => {
            Some(CellValue::Whole(i128::from(values.iter().all(|value| value.whole() == 1))))
        }
        Function::BoolOr => Some(CellValue::Whole(i128::from(values.iter().any(|value| value.whole() == 1)))),
        Function::FirstValue { ignore_nulls } => pick(*ignore_nulls).first().cloned().flatten(),
        Function::LastValue { ignore_nulls } => pick(*ignore_nulls).last().cloned().flatten(),
        Function::NthValue { n, ignore_nulls } => {
            let cells = pick(*ignore_nulls);
            let place =
                if *n > 0 { *n as usize - 1 } else { cells.len().wrapping_sub(n.unsigned_abs() as usize) };
            cells.get(place).cloned().flatten()
        }
        Function::Lag { default, .. } => match cells.first() {
            Some(cell) => (*cell).clone(),
            None => default.as_ref().and_then(|default| read(default, 0)),
        },
        Function::Custom(_) => {
            if cells.len() == 13 {
                return Err(());
            }
            let texts = cells.iter().map(|cell| match cell {
                Some(CellValue::Whole(value)) => value.to_string(),
                Some(CellValue::Text(text)) => text.clone(),
                _ => "-".to_owned(),
            });
            Some(CellValue::Text(texts.collect::<Vec<_>>().join("|")))
        }
    })
}

pub(super) fn spread(values: &[&CellValue], scale: i8, less: usize) -> Option<f64> {
    if values.len() <= less {
        return None;
    }
    let numbers: Vec<f64> = values.iter().map(|value| value.number(scale)).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    Some(numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (numbers.len() - less) as f64)
}

// ---- columns -----------------------------------------------------------------------------------

pub(super) fn read(array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let array = cast(array, &DataType::Float64).unwrap();
            CellValue::Float(array.as_primitive::<arrow::datatypes::Float64Type>().value(row))
        }
        DataType::Decimal128(_, _) => {
            CellValue::Whole(array.as_primitive::<arrow::datatypes::Decimal128Type>().value(row))
        }
        DataType::Boolean => CellValue::Whole(i128::from(array.as_boolean().value(row))),
        DataType::UInt64 => {
            CellValue::Whole(i128::from(array.as_primitive::<arrow::datatypes::UInt64Type>().value(row)))
        }
        DataType::Binary => {
            CellValue::Text(String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into_owned())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let array = cast(array, &DataType::Utf8).unwrap();
            CellValue::Text(array.as_string::<i32>().value(row).to_owned())
        }
        _ => {
            let array = cast(array, &DataType::Int64).unwrap();
            CellValue::Whole(i128::from(array.as_primitive::<arrow::datatypes::Int64Type>().value(row)))
        }
    })
}

pub(super) fn column(data_type: &DataType, cells: &[&Cell]) -> ArrayRef {
    let wholes = || cells.iter().map(|cell| cell.as_ref().map(CellValue::whole));
    let texts = || -> Vec<Option<&str>> {
        cells
            .iter()
            .map(|cell| match cell {
                Some(CellValue::Text(text)) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    };
    match data_type {
        DataType::Float32 | DataType::Float64 => {
            let numbers: Float64Array =
                cells.iter().map(|cell| cell.as_ref().map(|value| value.number(0))).collect();
            cast(&numbers, data_type).unwrap()
        }
        DataType::Decimal128(_, _) => {
            Arc::new(wholes().collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        DataType::Boolean => Arc::new(wholes().map(|value| value.map(|v| v == 1)).collect::<BooleanArray>()),
        DataType::UInt64 => Arc::new(wholes().map(|value| value.map(|v| v as u64)).collect::<UInt64Array>()),
        DataType::Binary => {
            let bytes: Vec<Option<&[u8]>> = texts().into_iter().map(|text| text.map(str::as_bytes)).collect();
            Arc::new(BinaryArray::from(bytes))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            cast(&StringArray::from(texts()), data_type).unwrap()
        }
        _ => {
            let longs: Int64Array = wholes().map(|value| value.map(|v| v as i64)).collect();
            let base = if matches!(data_type, DataType::Date32) { DataType::Int32 } else { DataType::Int64 };
            cast(&cast(&longs, &base).unwrap(), data_type).unwrap()
        }
    }
}

// ---- random cases ------------------------------------------------------------------------------
