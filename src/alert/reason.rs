//! The sentence of one hit.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::json::key;
use crate::rules::{Reason, ReasonPart};

/// The reason with the values of one hit in it; null reads as `unknown`.
pub(super) fn sentence<'a>(reason: &Reason, column: impl Fn(&str) -> &'a ArrayRef, hit: usize) -> String {
    let mut sentence = String::with_capacity(reason.template.len() + 16);
    for part in &reason.parts {
        match part {
            ReasonPart::Text(text) => sentence.push_str(text),
            ReasonPart::Column { name, digits } => {
                let values = column(name);
                if values.is_null(hit) {
                    sentence.push_str("unknown");
                } else {
                    sentence.push_str(&shown(values, hit, *digits));
                }
            }
        }
    }
    sentence
}

/// A value for people: as many digits as asked for, and at most two of a float otherwise.
fn shown(values: &ArrayRef, hit: usize, digits: Option<usize>) -> String {
    let float = matches!(values.data_type(), DataType::Float32 | DataType::Float64);
    if digits.is_none() && !float {
        return key(values, hit);
    }
    let number = cast(&values.slice(hit, 1), &DataType::Float64).ok();
    let number = number
        .as_ref()
        .and_then(|array| array.as_any().downcast_ref::<arrow::array::PrimitiveArray<Float64Type>>());
    match number {
        Some(number) if number.is_valid(0) => {
            let (value, fixed) = (number.value(0), digits.unwrap_or(2));
            let text = format!("{value:.fixed$}");
            if digits.is_none() && text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
        _ => key(values, hit),
    }
}
