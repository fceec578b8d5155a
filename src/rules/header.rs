//! The header of a rule file: `-- @key: value` lines before the query.
//!
//! Takes a file's text, hands on a [`Header`] or every finding, each at its line. Unknown keys are errors
//! with the nearest valid one, since a misspelt `@dedup` would silently alert too often.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{Entry, entry};
use super::limit::{Budget, Dedup, budget, dedup, length};
use super::points::Points;
use super::reason::Reason;
use crate::diagnostic::{Diagnostic, SourceText, choices, suggest};
use crate::event::{EventTime, Span};

const REQUIRED: [&str; 7] = ["id", "title", "status", "severity", "score", "reason", "owner"];
const OPTIONAL: [&str; 13] = [
    "action",
    "shadow_of",
    "entity",
    "dedup",
    "budget",
    "max_age",
    "typology",
    "tags",
    "false_positives",
    "runbook",
    "valid_from",
    "valid_until",
    "emit",
];

/// Where a rule stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Compiled and checked, not run.
    Draft,
    /// Run beside the live rules; its hits go to the shadow output.
    Shadow,
    /// Run; its hits are alerts.
    Live,
    /// Not run.
    Off,
}

impl Status {
    const ALL: [Self; 4] = [Self::Draft, Self::Shadow, Self::Live, Self::Off];

    /// The status as a header writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Shadow => "shadow",
            Self::Live => "live",
            Self::Off => "off",
        }
    }
}

/// How bad a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSeverity {
    /// Worth a look when there is time.
    Low,
    /// Worth a look.
    Medium,
    /// Worth a look now.
    High,
    /// Act first.
    Critical,
}

/// What a hit asks for; a later one outranks an earlier one, and `trust` ends the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it pass; the points count.
    Allow,
    /// A person looks at it.
    Review,
    /// Ask the customer.
    Challenge,
    /// Stop it.
    Block,
    /// Let it pass whatever else hits.
    Trust,
}

/// When rows are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// As they arrive.
    OnArrival,
    /// In order of event time, once the watermark has passed them.
    InOrder,
}

/// What a rule says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Name that never changes; history follows it.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Where it stands in its life.
    pub status: Status,
    /// How bad a hit is.
    pub severity: RuleSeverity,
    /// Points of a hit.
    pub score: Points,
    /// Sentence with the hit's values in it.
    pub reason: Reason,
    /// Team that answers for it.
    pub owner: String,
    /// What a hit asks for.
    pub action: Action,
    /// Id of the live rule that this one is a shadow version of.
    pub shadow_of: Option<String>,
    /// Column that names whom an alert is about.
    pub entity: Option<String>,
    /// How often the same matter alerts.
    pub dedup: Option<Dedup>,
    /// `200/h`: alerts per period of event time.
    pub budget: Option<Budget>,
    /// Events older than this alert but never block.
    pub max_age: Option<Span>,
    /// Kind of fraud.
    pub typology: Option<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// What else looks like this.
    pub false_positives: Option<String>,
    /// Where to read on.
    pub runbook: Option<String>,
    /// First event time that is judged.
    pub valid_from: Option<EventTime>,
    /// First event time that is no longer judged.
    pub valid_until: Option<EventTime>,
    /// When rows are answered; none for the job's setting.
    pub emit: Option<Emit>,
    /// Where each key's value stands in the file, for findings about it.
    places: HashMap<&'static str, Range<usize>>,
}

/// The id that a file's header says, whatever else is wrong with the file.
pub(super) fn id_of(source: &Arc<SourceText>) -> Option<String> {
    Reader::of(source).id()
}

impl Header {
    /// Reads the header of one file.
    pub fn read(source: &Arc<SourceText>) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader::of(source);
        let header = reader.header();
        if let Some(header) = &header {
            reader.check_validity(header);
        }
        match header {
            Some(header) if reader.findings.is_empty() => Ok(header),
            _ => Err(reader.findings),
        }
    }

    /// Whether the job evaluates the rule.
    pub fn runs(&self) -> bool {
        matches!(self.status, Status::Live | Status::Shadow)
    }

    /// Whether the rule judges events of this time.
    pub fn judges(&self, time: EventTime) -> bool {
        self.valid_from.is_none_or(|from| from <= time) && self.valid_until.is_none_or(|until| time < until)
    }

    /// Column that names whom an alert is about: `@entity`, or the first column of `@dedup`.
    pub fn entity_column(&self) -> Option<&str> {
        let of_dedup = || self.dedup.as_ref().and_then(|dedup| dedup.columns.first());
        self.entity.as_ref().or_else(of_dedup).map(String::as_str)
    }

    pub(super) fn place(&self, key: &str) -> Range<usize> {
        self.places.get(key).cloned().unwrap_or(0..0)
    }

    /// Findings about columns that the header names and the query does not select.
    pub(super) fn check_columns(&self, source: &Arc<SourceText>, columns: &[String]) -> Vec<Diagnostic> {
        let reason = self.reason.columns().map(|column| ("reason", column));
        let score = self.score.column().into_iter().map(|column| ("score", column));
        let entity = self.entity.iter().map(|column| ("entity", column.as_str()));
        let dedup =
            self.dedup.iter().flat_map(|dedup| &dedup.columns).map(|column| ("dedup", column.as_str()));
        let unknown = reason
            .chain(score)
            .chain(entity)
            .chain(dedup)
            .filter(|(_, column)| !columns.iter().any(|own| own == column));
        unknown
            .map(|(key, column)| {
                let place = self.place(key);
                let found = source.text.get(place.clone()).and_then(|value| value.find(column));
                let span =
                    found.map_or(place.clone(), |at| place.start + at..place.start + at + column.len());
                let help = match suggest(column, columns.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!(
                        "the query selects {}; select {column} as well",
                        choices(columns.iter().map(String::as_str))
                    ),
                };
                Diagnostic::error(
                    source,
                    span,
                    format!("@{key} names {column}, which the query does not select"),
                )
                .with_help(help)
                .with_code("header")
            })
            .collect()
    }
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    values: HashMap<&'static str, Entry<'a>>,
    findings: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn of(source: &'a Arc<SourceText>) -> Self {
        let mut reader = Self { source, values: HashMap::new(), findings: Vec::new() };
        reader.collect();
        reader
    }

    fn error(&mut self, span: Range<usize>, message: String, help: String) {
        self.findings.push(Diagnostic::error(self.source, span, message).with_help(help).with_code("header"));
    }

    /// Gathers the `-- @key: value` lines that stand before the query.
    fn collect(&mut self) {
        let (mut start, mut below, mut misplaced) = (0, false, Vec::new());
        for line in self.source.text.split_inclusive('\n') {
            let line_start = start;
            start += line.len();
            let code = line.trim();
            below |= !code.is_empty() && !code.starts_with("--");
            match entry(line, line_start) {
                Some(entry) if below => misplaced.extend(self.too_low(&entry)),
                Some(entry) => self.put(entry),
                None if below => {}
                None => self.almost_an_entry(line, line_start),
            }
        }
        for key in REQUIRED {
            if !self.values.contains_key(key) && !misplaced.contains(&key) {
                self.error(
                    0..0,
                    format!("the header lacks @{key}"),
                    format!("add a line `-- @{key}: …` before the query"),
                );
            }
        }
    }

    /// A comment below may hold any words; one that sets a key of the header would be thought to do so.
    fn too_low(&mut self, entry: &Entry<'a>) -> Option<&'static str> {
        let key = REQUIRED.into_iter().chain(OPTIONAL).find(|key| *key == entry.key)?;
        self.error(
            entry.key_span.clone(),
            format!("@{key} sets nothing here: the header ends where the query begins"),
            "move the line above the query".to_owned(),
        );
        Some(key)
    }

    /// `-- @score 35` sets nothing: a comment that starts like a header line is taken for a slip.
    fn almost_an_entry(&mut self, line: &str, line_start: usize) {
        let Some(at) = line.find('@').filter(|at| line[..*at].trim() == "--") else { return };
        let text = line.trim_end();
        self.error(
            line_start + at..line_start + text.len(),
            "a comment that starts with @ is a header line, and this one sets nothing".to_owned(),
            "write `-- @key: value`".to_owned(),
        );
    }

    fn put(&mut self, entry: Entry<'a>) {
        let keys = || REQUIRED.into_iter().chain(OPTIONAL);
        let Some(key) = keys().find(|key| *key == entry.key) else {
            let help = match suggest(entry.key, keys()) {
                Some(near) => format!("did you mean @{near}?"),
                None => format!("valid keys are {}", choices(keys())),
            };
            return self.error(entry.key_span, format!("unknown header key @{}", entry.key), help);
        };
        if entry.value.is_empty() {
            return self.error(
                entry.key_span,
                format!("@{key} has no value"),
                format!("write `-- @{key}: …`"),
            );
        }
        if self.values.contains_key(key) {
            return self.error(
                entry.key_span,
                format!("@{key} is given twice"),
                "keep one of the lines".to_owned(),
            );
        }
        self.values.insert(key, entry);
    }

    fn header(&mut self) -> Option<Header> {
        let id = self.id();
        let shadow_of = self.parsed("shadow_of", ID_FORM, id_form);
        let status = self.one_of("status", &Status::ALL.map(|status| (status.name(), status)));
        let severity = self.one_of(
            "severity",
            &[
                ("low", RuleSeverity::Low),
                ("medium", RuleSeverity::Medium),
                ("high", RuleSeverity::High),
                ("critical", RuleSeverity::Critical),
            ],
        );
        let action = self.one_of(
            "action",
            &[
                ("allow", Action::Allow),
                ("review", Action::Review),
                ("challenge", Action::Challenge),
                ("block", Action::Block),
                ("trust", Action::Trust),
            ],
        );
        let emit = self.one_of("emit", &[("on_arrival", Emit::OnArrival), ("in_order", Emit::InOrder)]);
        let score = self.parsed(
            "score",
            "a whole number of points from 0 to 1000, or a column: {points}, {risk} * 100",
            Points::parse,
        );
        let reason = self.reason();
        let dedup = self.parsed(
            "dedup",
            "columns and a period above 0, such as `card_id 30m` or `card_id, merchant_id 1h`",
            dedup,
        );
        let budget = self.parsed("budget", "a number of alerts a period, such as `200/h`", budget);
        let max_age = self.parsed("max_age", "a length of time above 0, such as `10m`", length);
        let valid_from = self.parsed("valid_from", "a time, such as 2026-12-01T00:00:00Z", time);
        let valid_until = self.parsed("valid_until", "a time, such as 2027-01-01T00:00:00Z", time);
        let text = |key: &str| self.values.get(key).map(|entry| unquoted(entry.value).to_owned());
        Some(Header {
            id: id?,
            title: text("title")?,
            status: status?,
            severity: severity?,
            score: score?,
            reason: reason?,
            owner: text("owner")?,
            action: action.unwrap_or(Action::Review),
            shadow_of,
            entity: text("entity"),
            dedup,
            budget,
            max_age,
            typology: text("typology"),
            tags: text("tags").map(|tags| words(&tags)).unwrap_or_default(),
            false_positives: text("false_positives"),
            runbook: text("runbook"),
            valid_from,
            valid_until,
            emit,
            places: self.values.iter().map(|(key, entry)| (*key, entry.span.clone())).collect(),
        })
    }

    fn id(&mut self) -> Option<String> {
        self.parsed("id", ID_FORM, id_form)
    }

    fn reason(&mut self) -> Option<Reason> {
        let entry = self.values.get("reason")?;
        let (value, span) = (unquoted(entry.value), entry.span.clone());
        match Reason::parse(value) {
            Ok(reason) => Some(reason),
            Err(message) => {
                self.error(
                    span,
                    format!("@reason {message}"),
                    "write columns in braces: \"{n_10m} payments within 10 minutes\"".to_owned(),
                );
                None
            }
        }
    }

    fn check_validity(&mut self, header: &Header) {
        if let (Some(from), Some(until)) = (header.valid_from, header.valid_until)
            && until <= from
        {
            self.error(
                header.place("valid_until"),
                "@valid_until is not after @valid_from, so the rule never judges".to_owned(),
                format!("write a time after {from}, or leave one of them out"),
            );
        }
    }

    fn one_of<T: Copy>(&mut self, key: &'static str, values: &[(&'static str, T)]) -> Option<T> {
        let entry = self.values.get(key)?;
        let word = unquoted(entry.value).to_lowercase();
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let names = || values.iter().map(|(name, _)| *name);
        let (span, near) = (entry.span.clone(), suggest(&word, names()));
        let help = near
            .map_or_else(|| format!("write {}", choices(names())), |near| format!("did you mean {near}?"));
        self.error(span, format!("@{key} can't be `{word}`"), help);
        None
    }

    fn parsed<T>(&mut self, key: &'static str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let entry = self.values.get(key)?;
        let (value, span) = (unquoted(entry.value), entry.span.clone());
        let parsed = parse(value);
        if parsed.is_none() {
            self.error(span, format!("@{key} can't be `{value}`"), format!("write {form}"));
        }
        parsed
    }
}

const ID_FORM: &str = "small letters, digits, - and _, starting with a letter, such as card-testing";

fn id_form(text: &str) -> Option<String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    (first && rest && text.len() <= 100).then(|| text.to_owned())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}

/// Words separated by commas.
fn words(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn time(text: &str) -> Option<EventTime> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| EventTime(time.timestamp_micros()))
}
