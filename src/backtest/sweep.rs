//! A rule with one of its constants at several values.
//!
//! Takes `RULE:COLUMN=from..to/step`; hands on one variant of the rule's text a value, under an id of its own,
//! so that all variants compile into the graph of the rules and share its windows.

use std::sync::Arc;

use crate::diagnostic::{SourceText, choices};
use crate::sql::{Constant, compared_constants};

/// Most values of one sweep.
const VALUES_MAX: usize = 200;

/// What is swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Id of the rule.
    pub rule: String,
    /// Column that the constant is compared with.
    pub column: String,
    /// Which of several comparisons with that column, from 1; none where there must be one only.
    pub ordinal: Option<usize>,
    /// The values, as texts of numbers.
    pub values: Vec<String>,
}

/// One value of a sweep.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Id that the variant runs under.
    pub id: String,
    /// The value.
    pub value: String,
    /// Whether it is the rule's own.
    pub current: bool,
    /// The rule's file with id and value replaced.
    pub source: Arc<SourceText>,
}

/// A sweep that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SweepError(pub String);

impl std::str::FromStr for Sweep {
    type Err = SweepError;

    /// `velocity:n_10m=3..12`, `outlier:factor=2..6/0.5`, `r:amount#2=10..90/10` for the second comparison.
    fn from_str(text: &str) -> Result<Self, SweepError> {
        let shape = || {
            SweepError(format!(
                "`{text}` is no sweep: write RULE:COLUMN=FROM..TO/STEP, such as card-velocity:n_10m=3..12/1"
            ))
        };
        let (name, range) = text.split_once('=').ok_or_else(shape)?;
        let (rule, column) = name.split_once(':').ok_or_else(shape)?;
        let (column, ordinal) = match column.split_once('#') {
            Some((column, ordinal)) => (column, Some(ordinal.parse().map_err(|_| shape())?)),
            None => (column, None),
        };
        let (from, rest) = range.split_once("..").ok_or_else(shape)?;
        let (to, step) = rest.split_once('/').unwrap_or((rest, "1"));
        let places = [from, to, step].map(|number| number.split_once('.').map_or(0, |(_, part)| part.len()));
        let places = places.into_iter().max().unwrap_or(0);
        let units = |number: &str| fixed(number, places).ok_or_else(shape);
        let (from, to, step) = (units(from)?, units(to)?, units(step)?);
        if step <= 0 || to < from || rule.is_empty() || column.is_empty() || ordinal == Some(0) {
            return Err(shape());
        }
        let count = usize::try_from((to - from) / step).unwrap_or(usize::MAX).saturating_add(1);
        if count > VALUES_MAX {
            return Err(SweepError(format!(
                "`{text}` has {count} values, more than {VALUES_MAX}: take a longer step"
            )));
        }
        let mut values = Vec::with_capacity(count);
        let mut value = from;
        while value <= to {
            values.push(written(value, places));
            value += step;
        }
        Ok(Self { rule: rule.to_owned(), column: column.to_owned(), ordinal, values })
    }
}

/// A number as a whole count of 10^-`places`.
fn fixed(number: &str, places: usize) -> Option<i64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part:0<places$}");
    let body = digits.strip_prefix('-').unwrap_or(&digits);
    let plain = !body.is_empty() && body.len() <= 15 && body.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn written(units: i64, places: usize) -> String {
    let one = 10_u64.pow(u32::try_from(places).unwrap_or(0));
    let (sign, size) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
    if places == 0 {
        return format!("{sign}{size}");
    }
    format!("{sign}{}.{:0places$}", size / one, size % one)
}

impl Sweep {
    /// The rule's text at each value; `number` tells this sweep's variants from another's.
    ///
    /// # Errors
    /// The rule compares no number with that column.
    pub fn variants(&self, source: &SourceText, number: usize) -> Result<Vec<Variant>, SweepError> {
        let constants = compared_constants(source);
        let of_column: Vec<&Constant> =
            constants.iter().filter(|constant| constant.column == self.column.to_lowercase()).collect();
        let clear = self.ordinal.is_some() || of_column.len() < 2;
        let Some(constant) = of_column.get(self.ordinal.unwrap_or(1) - 1).filter(|_| clear) else {
            return Err(self.no_constant(&constants, of_column.len()));
        };
        let (id_span, old) = id_of(&source.text)
            .ok_or_else(|| SweepError(format!("rule {} has no line `-- @id:`", self.rule)))?;
        let variant = |(index, value): (usize, &String)| {
            let id = format!("sweep-{number}-{index}");
            let mut text = source.text.clone();
            text.replace_range(constant.span.clone(), value);
            // The header stands before the query, so its place is still the same.
            text.replace_range(id_span.clone(), &id);
            Variant {
                id,
                value: value.clone(),
                current: same_number(value, &constant.text),
                source: SourceText::new(format!("{} ({old} at {value})", source.file), text),
            }
        };
        Ok(self.values.iter().enumerate().map(variant).collect())
    }

    fn no_constant(&self, constants: &[Constant], found: usize) -> SweepError {
        if found > 0 {
            return SweepError(format!(
                "rule {0} compares {1} with {found} numbers: write {1}#1 to {1}#{found} for the one that is meant",
                self.rule, self.column
            ));
        }
        let mut names: Vec<&str> = constants.iter().map(|constant| constant.column.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            return SweepError(format!(
                "rule {} compares no column with a number in WHERE or QUALIFY, so nothing of it can be swept; \
                 give the value a name in SELECT and compare that",
                self.rule
            ));
        }
        SweepError(format!(
            "rule {} compares no number with {}; it does with {}",
            self.rule,
            self.column,
            choices(names)
        ))
    }
}

fn same_number(a: &str, b: &str) -> bool {
    matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a.total_cmp(&b).is_eq())
}

/// Where the value of `-- @id:` stands, and the value.
fn id_of(text: &str) -> Option<(std::ops::Range<usize>, &str)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let body = line.trim_start().strip_prefix("--").map(str::trim_start);
        if let Some(value) = body.and_then(|body| body.strip_prefix("@id:")) {
            let value = value.trim();
            let at = start + line.rfind(value)?;
            return Some((at..at + value.len(), value));
        }
        start += line.len();
    }
    None
}
