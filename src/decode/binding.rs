//! How a stream's columns stand in the records of its topics.
//!
//! Takes the tables `[streams.X]` and `[streams.X.fields]` of the settings, hands on column paths
//! split into names. A column without an entry is read from the top-level field of its own name.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::DecodeError;
use crate::event::Stream;

/// What becomes of columns that no rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unused {
    /// They are stepped over.
    #[default]
    Skip,
    /// They are read for whoever keeps events; what can't be read of them is null and harms nothing.
    Keep,
}

/// The format of a stream's records, and where its columns stand in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamBinding {
    /// Format of the payload.
    #[serde(default)]
    pub format: Format,
    /// Columns whose field is not simply the top-level field of the column's name.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldBinding>,
    /// What becomes of columns that no rule reads.
    #[serde(skip)]
    pub unused: Unused,
    /// Whether the keys of records are kept beside their rows.
    #[serde(skip)]
    pub keep_keys: bool,
}

/// Format of a record's payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a record.
    #[default]
    Json,
}

/// Where one column stands in a record, and in what unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldBinding {
    /// Names from the outermost object inwards, joined by dots: `payment.amountMinor`. A name that
    /// has a dot is quoted (`"a.b".c`) or its dot escaped (`a\.b.c`).
    #[serde(default)]
    pub path: Option<String>,
    /// Unit of a `TIMESTAMP` column; ISO 8601 text where there is none.
    #[serde(default)]
    pub unit: Option<TimeUnitText>,
    /// For a `DECIMAL` column: the field is a whole number of 10^-n units (2: cents).
    #[serde(default)]
    pub minor_units: Option<u8>,
}

/// How a point in time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnitText {
    /// ISO 8601 / RFC 3339 text.
    Iso,
    /// Seconds since 1970-01-01T00:00:00Z, fractions allowed.
    S,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Ms,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Us,
}

impl TimeUnitText {
    /// Decimal places between this unit and microseconds; none for text.
    pub(super) fn epoch_places(self) -> Option<i64> {
        match self {
            Self::Iso => None,
            Self::S => Some(6),
            Self::Ms => Some(3),
            Self::Us => Some(0),
        }
    }
}

/// Refuses bindings of columns that the stream doesn't have, naming the nearest one that it has.
pub(super) fn check_columns_known(stream: &Stream, binding: &StreamBinding) -> Result<(), DecodeError> {
    let columns: Vec<&str> = stream.schema.fields().iter().map(|field| field.name().as_str()).collect();
    for name in binding.fields.keys() {
        if !columns.contains(&name.as_str()) {
            return Err(DecodeError::UnknownColumn {
                stream: stream.name.clone(),
                column: name.clone(),
                hint: did_you_mean(name, &columns),
                valid: columns.join(", "),
            });
        }
    }
    Ok(())
}

/// `; did you mean …?` for the nearest of the choices, or nothing where none is near.
pub(super) fn did_you_mean(word: &str, choices: &[&str]) -> String {
    let lower = word.to_lowercase();
    let nearest = choices
        .iter()
        .map(|choice| (strsim::jaro_winkler(&lower, &choice.to_lowercase()), choice))
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match nearest {
        Some((likeness, choice)) if likeness > 0.75 => format!("; did you mean `{choice}`?"),
        _ => String::new(),
    }
}

/// Splits a path at its dots; quotes and backslashes keep a dot inside a name.
pub(super) fn parse_path(path: &str) -> Result<Vec<String>, &'static str> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut was_quoted = false;
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => name.push(letters.next().ok_or("a backslash at its end escapes nothing")?),
            '"' if quoted => quoted = false,
            '"' if name.is_empty() && !was_quoted => (quoted, was_quoted) = (true, true),
            '"' => return Err("a quote stands inside a name: escape it with a backslash"),
            '.' if !quoted => {
                close_name(&mut names, &mut name, was_quoted)?;
                was_quoted = false;
            }
            _ if was_quoted && !quoted => return Err("a closing quote is followed by more than a dot"),
            letter => name.push(letter),
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    close_name(&mut names, &mut name, was_quoted)?;
    Ok(names)
}

fn close_name(names: &mut Vec<String>, name: &mut String, was_quoted: bool) -> Result<(), &'static str> {
    if name.is_empty() && !was_quoted {
        return Err("a name is empty: write `outer.inner`");
    }
    names.push(std::mem::take(name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_separate_names_unless_quoted_or_escaped() {
        assert_eq!(parse_path("payment.amountMinor"), Ok(vec!["payment".into(), "amountMinor".into()]));
        assert_eq!(parse_path(r#""a.b".c"#), Ok(vec!["a.b".into(), "c".into()]));
        assert_eq!(parse_path(r"a\.b.c"), Ok(vec!["a.b".into(), "c".into()]));
        assert_eq!(parse_path(r#"say \"x\""#), Ok(vec![r#"say "x""#.into()]));
        assert_eq!(parse_path(r#""".x"#), Ok(vec![String::new(), "x".into()]));
    }

    #[test]
    fn paths_with_empty_names_or_open_quotes_are_refused() {
        for path in ["", ".", "a..b", "a.", ".a", "\"a", "a\"b\"", "\"a\"b", "a\\"] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn settings_read_as_they_are_documented_and_refuse_unknown_keys() {
        let binding: StreamBinding = toml::from_str(
            "format = \"json\"\n[fields]\namount = { path = \"payment.amountMinor\", minor_units = 2 }\nevent_time = { path = \"createdAt\", unit = \"ms\" }",
        )
        .expect("documented settings");
        assert_eq!(binding.fields["amount"].minor_units, Some(2));
        assert_eq!(binding.fields["event_time"].unit, Some(TimeUnitText::Ms));
        assert!(toml::from_str::<StreamBinding>("[fields]\namount = { pth = \"x\" }").is_err());
        assert!(toml::from_str::<StreamBinding>("format = \"xml\"").is_err());
    }
}
