//! Which values a term can have where a condition on it is true.
//!
//! A range, perhaps a list of the only values, and values left out. Where two values can't be compared (or a literal is
//! null) nothing is claimed: emptiness and containment are said only where they are certain.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
struct Bound {
    value: ScalarValue,
    inclusive: bool,
}

/// Values that a term can have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Possible {
    low: Option<Bound>,
    high: Option<Bound>,
    /// The only values, where there is a list of them.
    only: Option<Vec<ScalarValue>>,
    /// Values left out.
    not: Vec<ScalarValue>,
}

/// Whole numbers in one type, so that ends of ranges can be moved by one.
fn plain(value: &ScalarValue) -> ScalarValue {
    if value.data_type().is_integer() {
        value.cast_to(&DataType::Int64).unwrap_or_else(|_| value.clone())
    } else {
        value.clone()
    }
}

fn order(one: &ScalarValue, other: &ScalarValue) -> Option<Ordering> {
    if one.data_type() == other.data_type() {
        return one.partial_cmp(other);
    }
    let numbers = [one, other].map(|value| match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) if value.data_type().is_numeric() => number,
        _ => None,
    });
    match numbers {
        [Some(one), Some(other)] => one.partial_cmp(&other),
        _ => None,
    }
}

impl Possible {
    /// Values for which `term operator value` is true; none where nothing is known of the comparison.
    pub(super) fn compared(operator: Operator, value: &ScalarValue) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        let value = plain(value);
        let end = |value: ScalarValue, inclusive| Some(Bound { value, inclusive });
        let next = |step: i64| match value {
            ScalarValue::Int64(Some(whole)) => {
                whole.checked_add(step).map(|whole| ScalarValue::Int64(Some(whole)))
            }
            _ => None,
        };
        let beyond = |step: i64| match next(step) {
            Some(whole) => end(whole, true),
            None => end(value.clone(), false),
        };
        Some(match operator {
            Operator::Gt => Self { low: beyond(1), ..Self::default() },
            Operator::GtEq => Self { low: end(value, true), ..Self::default() },
            Operator::Lt => Self { high: beyond(-1), ..Self::default() },
            Operator::LtEq => Self { high: end(value, true), ..Self::default() },
            Operator::Eq => Self::one_of(&[value]),
            Operator::NotEq => Self { not: vec![value], ..Self::default() },
            _ => return None,
        })
    }

    /// These values only.
    pub(super) fn one_of(values: &[ScalarValue]) -> Self {
        Self { only: Some(values.iter().map(plain).collect()), ..Self::default() }
    }

    /// Any but these values.
    pub(super) fn none_of(values: &[ScalarValue]) -> Self {
        Self { not: values.iter().map(plain).collect(), ..Self::default() }
    }

    /// Whole numbers from one to another, where there is another.
    pub(super) fn whole(from: i64, to: Option<i64>) -> Self {
        let end = |value| Bound { value: ScalarValue::Int64(Some(value)), inclusive: true };
        Self { low: Some(end(from)), high: to.map(end), ..Self::default() }
    }

    /// The values that are in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let only = match (&self.only, &other.only) {
            (Some(own), Some(others)) => {
                let in_both = own.iter().filter(|value| {
                    others
                        .iter()
                        .any(|other| order(value, other).is_none_or(|order| order == Ordering::Equal))
                });
                Some(in_both.cloned().collect())
            }
            (own, others) => own.clone().or_else(|| others.clone()),
        };
        Self {
            low: narrower(self.low.as_ref(), other.low.as_ref(), Ordering::Greater),
            high: narrower(self.high.as_ref(), other.high.as_ref(), Ordering::Less),
            only,
            not: self.not.iter().chain(&other.not).cloned().collect(),
        }
    }

    /// Whether no value is left.
    pub(super) fn is_empty(&self) -> bool {
        if let Some(only) = &self.only {
            return only.iter().all(|value| self.bounds_hold(value) == Some(false));
        }
        let (Some(low), Some(high)) = (&self.low, &self.high) else { return false };
        match order(&low.value, &high.value) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => {
                !(low.inclusive && high.inclusive) || self.left_out(&low.value) == Some(true)
            }
            _ => false,
        }
    }

    /// Whether every value of this one is surely in the other.
    pub(super) fn within(&self, other: &Self) -> bool {
        if let Some(only) = &self.only {
            let possible = only.iter().filter(|value| self.bounds_hold(value) != Some(false));
            return possible.into_iter().all(|value| other.holds(value) == Some(true));
        }
        let low = other.low.as_ref().is_none_or(|wide| inside(self.low.as_ref(), wide, Ordering::Greater));
        let high = other.high.as_ref().is_none_or(|wide| inside(self.high.as_ref(), wide, Ordering::Less));
        other.only.is_none()
            && low
            && high
            && other.not.iter().all(|value| self.bounds_hold(value) == Some(false))
    }

    /// Whether a value is one of them; none where that can't be told.
    fn holds(&self, value: &ScalarValue) -> Option<bool> {
        let listed = match &self.only {
            None => true,
            Some(only) => {
                let orders = only.iter().map(|own| order(own, value)).collect::<Option<Vec<_>>>()?;
                orders.contains(&Ordering::Equal)
            }
        };
        Some(self.bounds_hold(value)? && listed)
    }

    fn bounds_hold(&self, value: &ScalarValue) -> Option<bool> {
        let beyond = |bound: &Option<Bound>, wanted: Ordering| match bound {
            None => Some(true),
            Some(bound) => order(value, &bound.value)
                .map(|order| order == wanted || (bound.inclusive && order == Ordering::Equal)),
        };
        let (low, high) = (beyond(&self.low, Ordering::Greater)?, beyond(&self.high, Ordering::Less)?);
        Some(low && high && !self.left_out(value)?)
    }

    fn left_out(&self, value: &ScalarValue) -> Option<bool> {
        let orders = self.not.iter().map(|own| order(own, value)).collect::<Option<Vec<_>>>()?;
        Some(orders.contains(&Ordering::Equal))
    }
}

/// The bound that lets fewer values through; `further` is the order of a narrower one to a wider one.
fn narrower(one: Option<&Bound>, other: Option<&Bound>, further: Ordering) -> Option<Bound> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other).cloned() };
    let narrow = match order(&one.value, &other.value) {
        Some(Ordering::Equal) if one.inclusive => other,
        Some(order) if order == further.reverse() => other,
        _ => one,
    };
    Some(narrow.clone())
}

fn inside(narrow: Option<&Bound>, wide: &Bound, further: Ordering) -> bool {
    let Some(narrow) = narrow else { return false };
    match order(&narrow.value, &wide.value) {
        Some(Ordering::Equal) => wide.inclusive || !narrow.inclusive,
        Some(order) => order == further,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(value: i64) -> ScalarValue {
        ScalarValue::Int64(Some(value))
    }

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8(Some(value.to_owned()))
    }

    fn is(operator: Operator, value: i64) -> Possible {
        Possible::compared(operator, &whole(value)).expect("a comparison")
    }

    #[test]
    fn ranges_that_do_not_meet_are_empty_and_ends_that_touch_are_not() {
        assert!(is(Operator::Gt, 5).and(&is(Operator::Lt, 5)).is_empty());
        assert!(is(Operator::Gt, 5).and(&is(Operator::Lt, 6)).is_empty(), "no whole number is between");
        assert!(!is(Operator::GtEq, 5).and(&is(Operator::LtEq, 5)).is_empty());
        assert!(is(Operator::GtEq, 5).and(&is(Operator::LtEq, 5)).and(&is(Operator::NotEq, 5)).is_empty());
        assert!(!is(Operator::Gt, 5).is_empty());
    }

    #[test]
    fn lists_are_narrowed_by_lists_and_ranges() {
        let listed = Possible::one_of(&[text("a"), text("b")]);
        assert!(listed.and(&Possible::one_of(&[text("c")])).is_empty());
        assert!(!listed.and(&Possible::one_of(&[text("b")])).is_empty());
        assert!(listed.and(&Possible::none_of(&[text("a"), text("b")])).is_empty());
        assert!(Possible::one_of(&[whole(3)]).and(&is(Operator::Gt, 3)).is_empty());
    }

    #[test]
    fn a_narrower_condition_lies_within_a_wider_one_and_not_the_other_way_round() {
        let (narrow, wide) = (is(Operator::GtEq, 8), is(Operator::Gt, 5));
        assert!(narrow.within(&wide) && !wide.within(&narrow) && wide.within(&is(Operator::GtEq, 6)));
        assert!(Possible::one_of(&[whole(9)]).within(&narrow));
        assert!(!Possible::one_of(&[whole(7), whole(9)]).within(&narrow));
        assert!(narrow.within(&is(Operator::NotEq, 7)) && !narrow.within(&is(Operator::NotEq, 8)));
        assert!(!narrow.within(&Possible::one_of(&[whole(9)])));
    }

    #[test]
    fn decimals_of_different_scale_are_compared_by_value_and_text_with_numbers_not_at_all() {
        let decimal = |units, scale| ScalarValue::Decimal128(Some(units), 12, scale);
        let more = Possible::compared(Operator::Gt, &decimal(500, 2)).expect("a comparison");
        let less = Possible::compared(Operator::Lt, &decimal(50, 1)).expect("a comparison");
        assert!(more.and(&less).is_empty());
        let odd = Possible::one_of(&[text("a")]).and(&is(Operator::Gt, 5));
        assert!(!odd.is_empty() && !odd.within(&is(Operator::Gt, 5)));
    }
}
