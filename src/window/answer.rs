//! Ranges to values to answers, for one row.
//!
//! Takes the rows of a key and the ranges of its frames, and writes one answer an output column. Ranges
//! that end at the newest row are nested, so one scan from the end back serves them all. An answer that
//! can't be computed is null and noted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::carry::{Carry, Folded, WordSet};
use super::column::{Column, Encoding};
use super::frame::Positions;
use super::intern::Interner;
use super::measure::{Kind, Measure, Moments, Rows, Selection, Value, number, whole};
use super::output::Answers;
use super::plan::{Answer, Cell, Due, Output, Plan, PlannedMeasure, Position, Side};
use super::spec::{FrameFunction, WindowError};

/// Everything an answer is read from.
pub(super) struct Seen<'a, R> {
    pub(super) plan: &'a Plan,
    pub(super) due: Due,
    pub(super) rows: &'a R,
    pub(super) ranges: &'a [Positions],
    pub(super) carry: Option<&'a Carry>,
    pub(super) interner: &'a Interner,
}

/// Where answers go.
pub(super) struct Target<'a> {
    pub(super) columns: &'a mut [Answers],
    pub(super) errors: &'a mut Vec<WindowError>,
    /// Row among the answers.
    pub(super) row: usize,
}

/// Computes the values of a measure over all its frames that are due, by scanning rows.
pub(super) fn scan<R: Rows>(
    seen: &Seen<'_, R>,
    planned: &PlannedMeasure,
    values: &mut [Value],
    set: &mut WordSet,
) {
    let measure = &planned.measure;
    let (column, selection) = (&measure.column, &measure.selection);
    match measure.kind {
        Kind::Count if selection.is_all() => {
            for cell in planned.cells.iter().filter(|cell| seen.due.takes(cell.phase, cell.asks)) {
                put(seen, measure, cell, Value::Count(seen.ranges[cell.frame].len() as i64), values);
            }
        }
        Kind::Count | Kind::SumFloat | Kind::SumWide => match selection.single() {
            Some(single) if column.encoding != Encoding::Wide => scan_words(seen, planned, single, values),
            _ => scan_any(seen, planned, values),
        },
        Kind::Distinct(_) => scan_distinct(seen, planned, values, set),
        Kind::SumWord | Kind::Moments | Kind::Min | Kind::Max => scan_any(seen, planned, values),
    }
}

fn scan_any<R: Rows>(seen: &Seen<'_, R>, planned: &PlannedMeasure, values: &mut [Value]) {
    let measure = &planned.measure;
    let add = |value: &mut Value, (start, end): (usize, usize)| {
        for index in (start..end).rev() {
            measure.add(value, seen.rows, index, seen.interner);
        }
    };
    nested(seen, planned, (measure.identity(), add, |value| value), values);
}

/// Counts and sums that read one flag word and one value word a row.
fn scan_words<R: Rows>(
    seen: &Seen<'_, R>,
    planned: &PlannedMeasure,
    (flags, mask): (usize, u64),
    values: &mut [Value],
) {
    let (rows, column) = (seen.rows, &planned.measure.column);
    let at = (flags, column.word);
    match planned.measure.kind {
        Kind::SumFloat if mask == 0 && column.encoding == Encoding::Float => {
            let add = |sum: &mut f64, range| {
                rows.each_newest_first(range, at, |_, word| *sum += f64::from_bits(word));
            };
            nested(seen, planned, (0.0, add, Value::Float), values);
        }
        Kind::SumFloat => {
            let add = |sum: &mut f64, range| {
                rows.each_newest_first(range, at, |flags, word| {
                    if flags & mask == mask {
                        *sum += number(column, word.into());
                    }
                });
            };
            nested(seen, planned, (0.0, add, Value::Float), values);
        }
        Kind::SumWide => {
            let add = |sum: &mut i128, range| {
                rows.each_newest_first(range, at, |flags, word| {
                    if flags & mask == mask {
                        *sum = sum.wrapping_add(whole(column.encoding, word.into()));
                    }
                });
            };
            nested(seen, planned, (0, add, Value::Wide), values);
        }
        _ => {
            let add = |count: &mut i64, range| {
                rows.each_newest_first(range, (flags, 0), |flags, _| {
                    *count += i64::from(flags & mask == mask);
                });
            };
            nested(seen, planned, (0, add, Value::Count), values);
        }
    }
}

/// Scans from the newest row back, once for all frames that end there. Takes the value of no rows, how
/// a row is added to it, and what it is as a value.
#[inline]
fn nested<R: Rows, T: Copy>(
    seen: &Seen<'_, R>,
    planned: &PlannedMeasure,
    (identity, add, finish): (T, impl Fn(&mut T, (usize, usize)), impl Fn(T) -> Value),
    values: &mut [Value],
) {
    let newest = seen.rows.len();
    let (mut shared, mut scanned_from) = (identity, newest);
    for cell in planned.cells.iter().filter(|cell| seen.due.takes(cell.phase, cell.asks)) {
        let range = seen.ranges[cell.frame];
        let mut own = identity;
        let value = if range.end == newest && range.start <= scanned_from {
            add(&mut shared, (range.start, scanned_from));
            scanned_from = range.start;
            shared
        } else {
            add(&mut own, (range.start, range.end));
            own
        };
        put(seen, &planned.measure, cell, finish(value), values);
    }
}

fn scan_distinct<R: Rows>(
    seen: &Seen<'_, R>,
    planned: &PlannedMeasure,
    values: &mut [Value],
    set: &mut WordSet,
) {
    let Kind::Distinct(last) = planned.measure.kind else { return };
    let newest = seen.rows.len();
    let (mut shared, mut scanned_from) = (0, newest);
    for cell in planned.cells.iter().filter(|cell| seen.due.takes(cell.phase, cell.asks)) {
        let range = seen.ranges[cell.frame];
        let follows = range.end == newest && range.start <= scanned_from && cell.fold.is_none();
        let count = if follows {
            let add = |flags: u64, _| shared += i64::from(flags & last.bit != 0);
            seen.rows.each_newest_first((range.start, scanned_from), (last.word, 0), add);
            scanned_from = range.start;
            shared
        } else {
            count_distinct(seen, &planned.measure, cell, set)
        };
        values[cell.value] = Value::Count(count);
    }
}

fn put<R: Rows>(seen: &Seen<'_, R>, measure: &Measure, cell: &Cell, mut value: Value, values: &mut [Value]) {
    add_folded(seen, measure, cell, &mut value);
    values[cell.value] = value;
}

/// Puts what was folded before a value.
pub(super) fn add_folded<R: Rows>(seen: &Seen<'_, R>, measure: &Measure, cell: &Cell, value: &mut Value) {
    let Some(Folded::Value(folded)) = folded(seen, cell) else { return };
    let mut merged = *folded;
    measure.merge(&mut merged, value, seen.interner);
    *value = merged;
}

fn folded<'a, R: Rows>(seen: &Seen<'a, R>, cell: &Cell) -> Option<&'a Folded> {
    let fold = seen.plan.frames[cell.frame].fold?;
    seen.carry?.folds[fold].values.get(cell.fold?)
}

/// Counts the different values of a range by looking at each of its rows.
pub(super) fn count_distinct<R: Rows>(
    seen: &Seen<'_, R>,
    measure: &Measure,
    cell: &Cell,
    set: &mut WordSet,
) -> i64 {
    let known = match folded(seen, cell) {
        Some(Folded::Set(known)) => Some(known),
        _ => None,
    };
    let range = seen.ranges[cell.frame];
    set.clear();
    for index in range.start..range.end {
        if measure.selection.takes(seen.rows, index) {
            let word = seen.rows.word(index, measure.column.word);
            if known.is_none_or(|known| !known.contains(&word)) {
                set.insert(word);
            }
        }
    }
    (known.map_or(0, WordSet::len) + set.len()) as i64
}

/// Writes the answers of all outputs that are due.
pub(super) fn write<R: Rows>(seen: &Seen<'_, R>, values: &[Value], target: &mut Target<'_>) {
    for (index, output) in seen.plan.outputs.iter().enumerate() {
        if !seen.due.takes(output.phase, output.asks) {
            continue;
        }
        if let Err(message) = write_one(seen, values, index, output, target) {
            target.errors.push(WindowError { row: target.row, aggregate: index, message });
        }
    }
}

fn write_one<R: Rows>(
    seen: &Seen<'_, R>,
    values: &[Value],
    index: usize,
    output: &Output,
    target: &mut Target<'_>,
) -> Result<(), String> {
    let row = target.row;
    let column = &mut target.columns[index];
    match &output.answer {
        Answer::Count { value } => column.set_word(row, count(values, *value).cast_unsigned()),
        Answer::Sum { sum, count: rows, column: argument } if count(values, *rows) > 0 => {
            write_sum(values[*sum], output, argument, column, row);
        }
        Answer::Average { sum, count: rows, column: argument } if count(values, *rows) > 0 => {
            write_average(values[*sum], count(values, *rows), argument, output, column, row)?;
        }
        Answer::Spread { moments, sample, root } => {
            if let Value::Moments(moments) = values[*moments]
                && let Some(spread) = spread(&moments, *sample)
            {
                column.set_word(row, if *root { spread.sqrt() } else { spread }.to_bits());
            }
        }
        Answer::AllTrue { trues, count: rows } if count(values, *rows) > 0 => {
            column.set_word(row, u64::from(count(values, *trues) == count(values, *rows)));
        }
        Answer::AnyTrue { trues, count: rows } if count(values, *rows) > 0 => {
            column.set_word(row, u64::from(count(values, *trues) > 0));
        }
        Answer::Best { value, column: argument } => {
            if let Value::Best(Some(best)) = values[*value] {
                column.set_value(row, argument, best, seen.interner);
            }
        }
        Answer::Position(position) => write_position(seen, position, column, row),
        Answer::Custom { frame, columns, types, selection, function } => {
            let custom = Custom { frame: *frame, columns, types, selection };
            let array = custom.evaluate(seen, function.as_ref(), &output.data_type)?;
            column.set_array(row, array);
        }
        _ => {}
    }
    Ok(())
}

#[inline]
fn count(values: &[Value], index: usize) -> i64 {
    match values[index] {
        Value::Count(count) => count,
        Value::Word(sum) => sum.cast_signed(),
        _ => 0,
    }
}

fn write_sum(sum: Value, output: &Output, argument: &Column, column: &mut Answers, row: usize) {
    match (sum, &output.data_type) {
        (Value::Word(sum), _) => column.set_word(row, sum),
        (Value::Wide(sum), DataType::Float64) => column.set_word(row, scaled(sum, argument.scale).to_bits()),
        (Value::Wide(sum), _) => column.set_wide(row, sum),
        (Value::Float(sum), _) => column.set_word(row, sum.to_bits()),
        _ => {}
    }
}

fn scaled(value: i128, scale: i8) -> f64 {
    let value = value as f64;
    if scale == 0 { value } else { value / 10f64.powi(i32::from(scale)) }
}

fn write_average(
    sum: Value,
    count: i64,
    argument: &Column,
    output: &Output,
    column: &mut Answers,
    row: usize,
) -> Result<(), String> {
    match (sum, &output.data_type) {
        (Value::Wide(sum), DataType::Decimal128(precision, scale)) => {
            // As DataFusion's DecimalAverager: scale up, divide toward zero, check the precision.
            let factor = 10i128.checked_pow(u32::from(scale.abs_diff(argument.scale)));
            let average =
                factor.and_then(|factor| sum.checked_mul(factor)).map(|sum| sum / i128::from(count));
            let limit = 10u128.checked_pow(u32::from(*precision)).unwrap_or(u128::MAX);
            match average.filter(|average| average.unsigned_abs() < limit) {
                Some(average) => column.set_wide(row, average),
                None => return Err(format!("the average of a window does not fit {}", output.data_type)),
            }
        }
        (Value::Wide(sum), _) => {
            column.set_word(row, (scaled(sum, argument.scale) / count as f64).to_bits());
        }
        (Value::Float(sum), _) => column.set_word(row, (sum / count as f64).to_bits()),
        _ => {}
    }
    Ok(())
}

fn spread(moments: &Moments, sample: bool) -> Option<f64> {
    let divisor = if sample { moments.count - 1.0 } else { moments.count };
    (divisor > 0.0).then(|| moments.squares / divisor)
}

fn write_position<R: Rows>(seen: &Seen<'_, R>, position: &Position, column: &mut Answers, row: usize) {
    let (valid, value) = match find_position(seen, position) {
        Some(found) => found,
        None => match &position.default {
            Some(default) => {
                column.set_constant(row, default);
                return;
            }
            None => return,
        },
    };
    if valid {
        column.set_value(row, &position.column, value, seen.interner);
    }
}

/// Whether the value of the row is not null, and the value; none where the frame has no such row.
fn find_position<R: Rows>(seen: &Seen<'_, R>, position: &Position) -> Option<(bool, u128)> {
    let range = seen.ranges[position.frame];
    let edges = position.edge.and_then(|edge| {
        let fold = seen.plan.frames[position.frame].fold?;
        seen.carry?.folds[fold].edges.get(edge)
    });
    let folded = edges.map_or(0, std::collections::VecDeque::len);
    let read = |index: usize| {
        let flag = position.column.valid;
        (seen.rows.flags(index, flag.word) & flag.bit != 0, seen.rows.value(index, &position.column))
    };
    match position.side {
        Side::Start => {
            if let Some(row) = edges.and_then(|edges| edges.get(position.nth)) {
                return Some((row.valid, row.value));
            }
            nth(seen.rows, range.start..range.end, &position.selection, position.nth - folded).map(read).ok()
        }
        Side::End => {
            match nth(seen.rows, (range.start..range.end).rev(), &position.selection, position.nth) {
                Ok(index) => Some(read(index)),
                Err(missing) => {
                    let index = folded.checked_sub(missing + 1)?;
                    edges?.get(index).map(|row| (row.valid, row.value))
                }
            }
        }
    }
}

/// The n-th selected position, or how many more it would have taken.
fn nth<R: Rows>(
    rows: &R,
    mut positions: impl ExactSizeIterator<Item = usize>,
    selection: &Selection,
    nth: usize,
) -> Result<usize, usize> {
    if selection.is_all() {
        let length = positions.len();
        return positions.nth(nth).ok_or(nth.wrapping_sub(length));
    }
    let mut missing = nth;
    for index in positions {
        if !selection.takes(rows, index) {
            continue;
        }
        if missing == 0 {
            return Ok(index);
        }
        missing -= 1;
    }
    Err(missing)
}

struct Custom<'a> {
    frame: usize,
    columns: &'a [Column],
    types: &'a [DataType],
    selection: &'a Selection,
}

impl Custom<'_> {
    fn evaluate<R: Rows>(
        &self,
        seen: &Seen<'_, R>,
        function: &dyn FrameFunction,
        output: &DataType,
    ) -> Result<ArrayRef, String> {
        let range = seen.ranges[self.frame];
        let unbounded = seen.plan.frames[self.frame].fold.is_some();
        let start = match seen.carry {
            Some(carry) if unbounded => carry.floor.min(range.end),
            _ => range.start,
        };
        let taken: Vec<usize> =
            (start..range.end).filter(|&index| self.selection.takes(seen.rows, index)).collect();
        let mut arguments = Vec::with_capacity(self.columns.len());
        for (column, data_type) in self.columns.iter().zip(self.types) {
            arguments.push(gather(seen, &taken, column, data_type)?);
        }
        let answer = catch_unwind(AssertUnwindSafe(|| function.evaluate(&arguments)))
            .unwrap_or_else(|_| Err("the function panicked".to_owned()))?;
        if answer.len() == 1 && answer.data_type() == output {
            return Ok(answer);
        }
        let (length, found) = (answer.len(), answer.data_type());
        Err(format!("the function gave {length} values of type {found}, not 1 of type {output}"))
    }
}

fn gather<R: Rows>(
    seen: &Seen<'_, R>,
    taken: &[usize],
    column: &Column,
    data_type: &DataType,
) -> Result<ArrayRef, String> {
    let mut answers = Answers::new(data_type, taken.len());
    for (row, &index) in taken.iter().enumerate() {
        if seen.rows.flags(index, column.valid.word) & column.valid.bit != 0 {
            answers.set_value(row, column, seen.rows.value(index, column), seen.interner);
        }
    }
    answers.finish().map_err(|error| error.to_string())
}
