//! The sentence of an alert: words with the hit's values in them.
//!
//! `{column}` stands for a selected column's value, `{column:.2}` for a number with two digits after the
//! point, `{{` and `}}` for braces.

/// A reason with its columns found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The sentence as it stands in the header.
    pub template: String,
    /// Its parts in order.
    pub parts: Vec<ReasonPart>,
}

/// A piece of a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReasonPart {
    /// Words.
    Text(String),
    /// The value of a column.
    Column {
        /// The column's name.
        name: String,
        /// Digits after the point, where the sentence sets them.
        digits: Option<usize>,
    },
}

impl Reason {
    /// Reads a sentence; the error says what is wrong with its braces.
    pub fn parse(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut words = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            words.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(doubled) = after.strip_prefix(brace) {
                words.push_str(brace);
                rest = doubled;
                continue;
            }
            if brace == "}" {
                return Err("has a } without a {".to_owned());
            }
            let Some((inner, after)) = after.split_once('}') else {
                return Err("has a { without a }".to_owned());
            };
            if !words.is_empty() {
                parts.push(ReasonPart::Text(std::mem::take(&mut words)));
            }
            parts.push(column(inner)?);
            rest = after;
        }
        words.push_str(rest);
        if !words.is_empty() {
            parts.push(ReasonPart::Text(words));
        }
        Ok(Self { template: template.to_owned(), parts })
    }

    /// Names of the columns it needs.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            ReasonPart::Column { name, .. } => Some(name.as_str()),
            ReasonPart::Text(_) => None,
        })
    }
}

fn column(inner: &str) -> Result<ReasonPart, String> {
    let (name, digits) = match inner.split_once(":.") {
        Some((name, digits)) => {
            let digits = digits.trim().parse().ok().filter(|digits| *digits <= 12);
            (
                name,
                Some(digits.ok_or_else(|| format!("has {{{inner}}}: after `:.` comes a number of digits"))?),
            )
        }
        None => (inner, None),
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("has {{{inner}}}, which is no column name"));
    }
    Ok(ReasonPart::Column { name: name.to_owned(), digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_words_and_columns() {
        let reason = Reason::parse("{n} payments, {speed:.1} km/h {{x}}").unwrap();
        assert_eq!(reason.columns().collect::<Vec<_>>(), ["n", "speed"]);
        assert_eq!(reason.parts.last(), Some(&ReasonPart::Text(" km/h {x}".to_owned())));
    }

    #[test]
    fn braces_that_do_not_close_are_refused() {
        for template in ["{n", "n}", "{}", "{a b}", "{n:.x}"] {
            assert!(Reason::parse(template).is_err(), "{template}");
        }
    }
}
