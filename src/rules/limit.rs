//! What a header says of how often a rule may alert: `@dedup` and `@budget`.

use crate::event::Span;

/// One alert for each value of some columns within a period of event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// Columns that the query selects.
    pub columns: Vec<String>,
    /// How long further hits are suppressed.
    pub period: Span,
}

/// So many alerts of a rule in each period of event time; the rest are summarised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Alerts that leave as they are.
    pub alerts: u32,
    /// Length of a period; periods begin at its multiples since 1970.
    pub period: Span,
    /// As it is written.
    pub text: String,
}

/// `card_id, merchant_id 30m`.
pub(super) fn dedup(text: &str) -> Option<Dedup> {
    let (columns, period) = text.rsplit_once(char::is_whitespace)?;
    let columns: Vec<String> = columns.split(',').map(|column| column.trim().to_owned()).collect();
    let named = columns.iter().all(|column| !column.is_empty() && !column.contains(char::is_whitespace));
    named.then_some(Dedup { columns, period: length(period)? })
}

/// A length of time in which something can happen.
pub(super) fn length(text: &str) -> Option<Span> {
    text.parse().ok().filter(|length| *length > Span(0))
}

/// `200/h`.
pub(super) fn budget(text: &str) -> Option<Budget> {
    let (count, period) = text.split_once('/')?;
    let period = match period.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Budget { alerts: count.trim().parse().ok()?, period: Span::seconds(period), text: text.to_owned() })
}
