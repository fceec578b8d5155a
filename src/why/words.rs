//! How far a value is from its threshold, in words.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, DurationMicrosecondType, TimeUnit};

use crate::alert::text_value;
use crate::event::Span;

/// A difference with its sign: a number as it is, a length of time in units; none for null.
pub(super) fn difference(value: &ArrayRef) -> Option<String> {
    if value.is_null(0) {
        return None;
    }
    if let DataType::Duration(TimeUnit::Microsecond) = value.data_type() {
        let micros = value.as_primitive::<DurationMicrosecondType>().value(0);
        let sign = if micros < 0 { '-' } else { '+' };
        return Some(format!("{sign}{}", Span(micros.saturating_abs())));
    }
    let text = text_value(value, 0);
    Some(if text.starts_with('-') { text } else { format!("+{text}") })
}
