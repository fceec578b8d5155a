//! `.test.toml` as cases, or all its faults at once.
//!
//! Takes the text, the contract and the compiled rule; hands on the cases with what an event leaves out filled in: a
//! column that must not be null gets a value of its own, an event id a number. Fails with findings that point at the
//! words.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::{Case, Expected, Moment, What};
use crate::diagnostic::{Diagnostic, SourceText, choices, suggest};
use crate::event::{EventTime, Span, Stream};
use crate::rules::{Rule, mentions};
use crate::sql::{Catalog, List};

type Table = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    /// Stream of events that name none.
    stream: Option<Spanned<String>>,
    /// Event time of `at = "0s"`.
    start: Option<Spanned<toml::Value>>,
    #[serde(default)]
    defaults: Table,
    #[serde(default, rename = "case")]
    cases: Vec<CaseText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: Spanned<String>,
    stream: Option<Spanned<String>>,
    #[serde(default)]
    defaults: Table,
    #[serde(default)]
    lists: Table,
    events: Vec<Spanned<Table>>,
}

/// Keys of an event that are no columns.
const KEYS: [&str; 10] =
    ["at", "stream", "times", "every", "clock", "null", "hit", "alert", "values", "reason"];

/// Repetitions of one entry.
const TIMES_MAX: i64 = 10_000;

/// Reads the cases of a rule.
pub fn read(source: &Arc<SourceText>, catalog: &Catalog, rule: &Rule) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let text: FileText = toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
        let finding = Diagnostic::error(source, span, message).with_code("test");
        vec![finding.with_help("a test file has `stream`, `start`, `defaults` and `[[case]]`s; a case has `name`, `stream`, `defaults`, `lists` and `events`")]
    })?;
    let mut reader = Reader { source, catalog, rule, findings: Vec::new() };
    let start = text.start.as_ref().map_or(DEFAULT_START, |start| reader.time(start, 0));
    if text.cases.is_empty() {
        reader.fault(0..0, "there is no case in this file", "write one: [[case]] with a name and events");
    }
    let mut cases: Vec<Case> = Vec::new();
    for case in &text.cases {
        if cases.iter().any(|other| other.name == *case.name.get_ref()) {
            reader.fault(case.name.span(), "two cases have this name", "say what is special about each");
        }
        cases.push(reader.case(&text, case, start));
    }
    if reader.findings.is_empty() { Ok(cases) } else { Err(reader.findings) }
}

/// 2026-01-05T12:00:00Z, a Monday.
const DEFAULT_START: i64 = 1_767_614_400_000_000;

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    catalog: &'a Catalog,
    rule: &'a Rule,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let finding = Diagnostic::error(self.source, span, message).with_help(help).with_code("test");
        self.findings.push(finding);
    }

    fn case(&mut self, file: &FileText, case: &CaseText, start: i64) -> Case {
        let lists = case.lists.iter().filter_map(|(name, rows)| self.list(name, rows)).collect();
        let default = case.stream.as_ref().or(file.stream.as_ref());
        let mut moments = Vec::new();
        for event in &case.events {
            self.event(file, case, (event, default), start, &mut moments);
        }
        if case.events.is_empty() {
            self.fault(case.name.span(), "this case has no events", "write events = [{ at = \"0s\", … }]");
        }
        Case { name: case.name.get_ref().clone(), span: case.name.span(), lists, moments }
    }

    /// One entry of `events`, as often as it says.
    fn event(
        &mut self,
        file: &FileText,
        case: &CaseText,
        (event, default): (&Spanned<Table>, Option<&Spanned<String>>),
        start: i64,
        moments: &mut Vec<Moment>,
    ) {
        let keys = event.get_ref();
        let span = event.span();
        let at = match keys.get("at") {
            Some(at) => self.time(at, start),
            None => {
                self.fault(
                    span.clone(),
                    "an event needs a time",
                    "write at = \"0s\": how long after the start of the case",
                );
                return;
            }
        };
        if self.truth(keys.get("clock")) == Some(true) {
            self.only(keys, &["at", "clock"], "where the clock is moved on, nothing but its time is said");
            let (what, expected) = (What::Clock, Expected::default());
            moments.push(Moment { span, at: EventTime(at), what, expected });
            return;
        }
        let name = keys.get("stream");
        if let Some(other) = name.filter(|name| name.get_ref().as_str().is_none()) {
            self.fault(other.span(), "`stream` is the name of a stream", "write stream = \"…\"");
            return;
        }
        let named = name.and_then(|name| Some((name.get_ref().as_str()?.to_owned(), name.span())));
        let named = named.or_else(|| default.map(|name| (name.get_ref().clone(), name.span())));
        let Some(stream) = self.stream(named, span.clone()) else { return };
        let layers: Vec<&Table> = vec![&file.defaults, &case.defaults, keys];
        let mut columns = self.columns(stream, &layers);
        self.nulls(stream, keys, &mut columns);
        let times = self.number(keys.get("times"), 1, "a whole number from 1 to 10000").clamp(1, TIMES_MAX);
        let every = keys.get("every").map_or(0, |every| self.span(every));
        let expected = self.expected(keys);
        for turn in 0..times {
            let at = at.saturating_add(turn.saturating_mul(every));
            let record = self.record(stream, at, moments.len(), &columns, turn + 1);
            let what = What::Event { stream, record };
            moments.push(Moment { span: span.clone(), at: EventTime(at), what, expected: expected.clone() });
        }
    }

    fn only(&mut self, keys: &Table, known: &[&str], help: &str) {
        let other = keys.keys().find(|key| !known.contains(&key.get_ref().as_str()));
        if let Some(other) = other {
            self.fault(other.span(), format!("`{}` has no meaning here", other.get_ref()), help);
        }
    }

    /// The index of a stream: of that name, or the only one, or the one that the rule reads.
    fn stream(&mut self, named: Option<(String, Range<usize>)>, event: Range<usize>) -> Option<usize> {
        let streams = &self.catalog.contract.streams;
        let names = || streams.iter().map(|stream| stream.name.as_str());
        match named {
            Some((name, span)) => {
                let found = streams.iter().position(|stream| stream.name == name);
                if found.is_none() {
                    let near = suggest(&name, names()).map(|near| format!("did you mean {near}? "));
                    let help = format!("{}streams are {}", near.unwrap_or_default(), choices(names()));
                    self.fault(span, format!("the contract has no stream {name}"), help);
                }
                found
            }
            None if streams.len() == 1 => Some(0),
            None => {
                let mut read = names().enumerate().filter(|(_, name)| mentions(&self.rule.source.text, name));
                match (read.next(), read.next()) {
                    (Some((index, _)), None) => Some(index),
                    _ => {
                        let help = format!(
                            "write stream = \"…\" at the top of the file, in the case or in the event: {}",
                            choices(names())
                        );
                        self.fault(event, "this event could belong to several streams", help);
                        None
                    }
                }
            }
        }
    }

    /// What an event says of its columns, the nearest layer first; unknown ones are faults, but for defaults, which
    /// may be about another stream.
    fn columns(&mut self, stream: usize, layers: &[&Table]) -> BTreeMap<String, toml::Value> {
        let contract = &self.catalog.contract;
        let fields = contract.streams[stream].schema.fields();
        let mut columns = BTreeMap::new();
        let last = layers.len() - 1;
        for (layer, table) in layers.iter().enumerate() {
            for (key, value) in *table {
                let name = key.get_ref();
                let known = |stream: &Arc<Stream>| stream.schema.index_of(name).is_ok();
                if fields.iter().any(|field| field.name() == name) {
                    if layer < last || !KEYS.contains(&name.as_str()) {
                        columns.insert(name.clone(), value.get_ref().clone());
                    }
                } else if !(layer == last && KEYS.contains(&name.as_str()))
                    && (layer == last || !contract.streams.iter().any(known))
                {
                    let valid = fields.iter().map(|field| field.name().as_str()).chain(KEYS);
                    let near = suggest(name, valid).map(|near| format!("did you mean `{near}`? "));
                    let names = choices(fields.iter().map(|field| field.name().as_str()));
                    let help = format!(
                        "{}columns of {} are {names}",
                        near.unwrap_or_default(),
                        contract.streams[stream].name
                    );
                    self.fault(key.span(), format!("no column is called `{name}`"), help);
                }
            }
        }
        columns
    }

    /// Columns that are null in spite of the defaults.
    fn nulls(&mut self, stream: usize, keys: &Table, columns: &mut BTreeMap<String, toml::Value>) {
        let Some(named) = keys.get("null") else { return };
        let stream = Arc::clone(&self.catalog.contract.streams[stream]);
        let nullable =
            |name: &&str| stream.schema.field_with_name(name).is_ok_and(|field| field.is_nullable());
        let names = named.get_ref().as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<&str> = names.iter().filter_map(toml::Value::as_str).filter(nullable).collect();
        if texts.is_empty() || texts.len() != names.len() {
            let all = stream.schema.fields().iter().filter(|field| field.is_nullable());
            let help = format!("these may be null: {}", choices(all.map(|field| field.name().as_str())));
            self.fault(named.span(), "`null` lists columns that may be null, such as [\"ip\"]", help);
        }
        columns.retain(|name, _| !texts.contains(&name.as_str()));
    }

    /// The record of an event: what was said, and stand-ins for what must not be null.
    fn record(
        &self,
        stream: usize,
        at: i64,
        number: usize,
        columns: &BTreeMap<String, toml::Value>,
        turn: i64,
    ) -> Map<String, Value> {
        let stream = &self.catalog.contract.streams[stream];
        let mut record = Map::new();
        for (index, field) in stream.schema.fields().iter().enumerate() {
            let given = columns.get(field.name()).map(|value| plain(value, turn));
            let value = match given {
                Some(value) => value,
                None if index == stream.event_time => json!(EventTime(at).to_string()),
                None if stream.event_id.contains(&index) => json!(format!("e{}", number + 1)),
                None if field.is_nullable() => continue,
                None => stand_in(field, at),
            };
            record.insert(field.name().clone(), value);
        }
        record
    }

    fn expected(&mut self, keys: &Table) -> Expected {
        let hit = self.truth(keys.get("hit"));
        let alert = self.truth(keys.get("alert"));
        let reason = keys.get("reason").and_then(|reason| {
            let text = reason.get_ref().as_str().map(str::to_owned);
            if text.is_none() {
                self.fault(reason.span(), "`reason` is the alert's sentence", "write it in quotes");
            }
            text
        });
        let mut values = Vec::new();
        if let Some(table) = keys.get("values") {
            match table.get_ref().as_table() {
                Some(columns) => {
                    for (name, value) in columns {
                        if !self.rule.columns.contains(name) {
                            let help = format!(
                                "it selects {}",
                                choices(self.rule.columns.iter().map(String::as_str))
                            );
                            self.fault(table.span(), format!("the rule selects no column `{name}`"), help);
                        }
                        values.push((name.clone(), plain(value, 1)));
                    }
                }
                None => self.fault(
                    table.span(),
                    "`values` is a table of selected columns",
                    "write values = { n = 3 }",
                ),
            }
        }
        let wants = alert.is_some() || reason.is_some() || !values.is_empty();
        if wants && hit == Some(false) {
            let span = keys.get("hit").map_or(0..0, Spanned::span);
            self.fault(
                span,
                "an event that must not hit gives no values, reason or alert",
                "leave them out, or write hit = true",
            );
        }
        Expected { hit: hit.unwrap_or(wants), alert, values, reason }
    }

    fn truth(&mut self, value: Option<&Spanned<toml::Value>>) -> Option<bool> {
        let value = value?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.fault(value.span(), "this is true or false", "write it without quotes");
        }
        truth
    }

    fn number(&mut self, value: Option<&Spanned<toml::Value>>, default: i64, wanted: &str) -> i64 {
        let Some(value) = value else { return default };
        match value.get_ref().as_integer() {
            Some(number) if (1..=TIMES_MAX).contains(&number) => number,
            _ => {
                self.fault(value.span(), format!("this must be {wanted}"), "");
                default
            }
        }
    }

    fn span(&mut self, value: &Spanned<toml::Value>) -> i64 {
        let read = value.get_ref().as_str().and_then(compound);
        read.unwrap_or_else(|| {
            self.fault(
                value.span(),
                "this is no length of time",
                "write \"30s\", \"9m59s\", \"24h\" or \"7d\"",
            );
            0
        })
    }

    /// A time of the case: a length of time after its start, or a date and time.
    fn time(&mut self, value: &Spanned<toml::Value>, start: i64) -> i64 {
        let text = match value.get_ref() {
            toml::Value::Datetime(time) => time.to_string(),
            toml::Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let absolute = chrono::DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_micros());
        let relative = compound(&text).map(|span| start.saturating_add(span));
        absolute.or(relative).unwrap_or_else(|| {
            self.fault(
                value.span(),
                "this is no time",
                "write how long after the start, such as \"9m59s\", or a time such as 2026-11-22T10:00:00Z",
            );
            start
        })
    }

    fn list(&mut self, name: &Spanned<String>, rows: &Spanned<toml::Value>) -> Option<List> {
        let Some(list) = self.catalog.list(name.get_ref()) else {
            let names = self.catalog.list_names();
            let help = match names.is_empty() {
                true => "the rules folder has no lists".to_owned(),
                false => format!("lists are {}", choices(names.iter().map(String::as_str))),
            };
            self.fault(name.span(), format!("there is no list `{}`", name.get_ref()), help);
            return None;
        };
        let schema = list.rows.schema();
        let row = |value: &toml::Value| match value {
            toml::Value::Table(row) => {
                Some(row.iter().map(|(name, value)| (name.clone(), plain(value, 1))).collect())
            }
            value if !value.is_array() => {
                Some(Map::from_iter([(schema.field(0).name().clone(), plain(value, 1))]))
            }
            _ => None,
        };
        let given: Option<Vec<Map<String, Value>>> =
            rows.get_ref().as_array().and_then(|rows| rows.iter().map(row).collect());
        let Some(given) = given else {
            self.fault(
                rows.span(),
                "rows of a list are tables, or values of its first column",
                "write lists.blocked = [{ device_id = \"d1\" }]",
            );
            return None;
        };
        let unknown = given.iter().flat_map(Map::keys).find(|name| schema.index_of(name).is_err());
        if let Some(unknown) = unknown {
            let help =
                format!("it has {}", choices(schema.fields().iter().map(|field| field.name().as_str())));
            self.fault(rows.span(), format!("the list has no column `{unknown}`"), help);
            return None;
        }
        match list.with_rows(&given) {
            Ok(list) => Some(list),
            Err(cause) => {
                self.fault(
                    rows.span(),
                    format!("these rows don't fit the list: {cause}"),
                    "write values of the columns' types",
                );
                None
            }
        }
    }
}

/// `9m59s`: the sum of its parts.
fn compound(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let end = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |digits| unit + digits);
        let part: Span = rest[..end].trim().parse().ok()?;
        total = total.checked_add(part.0)?;
        rest = &rest[end..];
    }
    Some(total)
}

/// A value as JSON; `{i}` in texts is the number of the repetition.
fn plain(value: &toml::Value, turn: i64) -> Value {
    match value {
        toml::Value::String(text) => json!(text.replace("{i}", &turn.to_string())),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(truth) => json!(truth),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(values) => values.iter().map(|value| plain(value, turn)).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), plain(value, turn))).collect()
        }
    }
}

/// A value for a column that must have one and that a case does not care about.
fn stand_in(field: &Field, at: i64) -> Value {
    match field.data_type() {
        DataType::Boolean => json!(false),
        DataType::Timestamp(..) => json!(EventTime(at).to_string()),
        DataType::Date32 | DataType::Date64 => json!(EventTime(at).to_string().get(..10)),
        kind if kind.is_numeric() => json!(0),
        _ => json!(format!("{}-0", field.name())),
    }
}
