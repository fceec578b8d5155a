//! Walks a parsed settings file and collects every fault on the way, instead of stopping at the first.
//!
//! Takes TOML values with their byte spans; hands on plain values. A key that is left out is answered with
//! its documented default, through the same code as one that is written. What would surprise: after a fault
//! the walk goes on with a stand-in value, which is never seen because settings with faults are not handed on.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, KeyDefault, Kind};
use super::substitute::{Surroundings, substitute};
use super::values::{ByteSize, Destination, Wrong};
use crate::diagnostic::{Diagnostic, SourceText, choices, suggest};
use crate::event::Span;

/// Where keys stand in the file, by their full dotted name.
pub(super) type Places = BTreeMap<String, Range<usize>>;

/// The walk: what it resolves against, and what it has found so far.
pub(super) struct Reader<'a> {
    pub(super) source: Arc<SourceText>,
    pub(super) surroundings: &'a Surroundings,
    pub(super) findings: Vec<Diagnostic>,
    pub(super) places: Places,
    /// Full names of the keys whose value is a stand-in.
    pub(super) faulty: Vec<String>,
}

/// One section of the file, present or not.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    /// Its name in the key table, with `*` for names of the user's choice.
    pub(super) keys: &'static str,
    /// Its full dotted name in this file.
    pub(super) path: String,
    pub(super) table: Option<&'a DeTable<'a>>,
    /// Whether something else than a table stands there: that is a fault, and not that its keys are missing.
    pub(super) mistyped: bool,
}

/// A value of the file, or a default.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: String,
    /// Where it stands; none for a default.
    pub(super) span: Option<Range<usize>>,
    /// Whether it came through a reference and must not be shown.
    pub(super) hidden: bool,
    pub(super) value: Value,
}

/// A TOML value without its spans; times are their text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(String),
    Boolean(bool),
    List(Vec<Found>),
    Table,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<'a> Reader<'a> {
    /// Opens a section of the parent table and checks that all its keys are known.
    pub(super) fn open(&mut self, parent: &Section<'a>, name: &str, keys: &'static str) -> Section<'a> {
        let path = join(&parent.path, name);
        let entry = parent.table.and_then(|table| table.get_key_value(name));
        let table = entry.and_then(|(key, value)| {
            self.places.insert(path.clone(), key.span());
            self.table(&path, value)
        });
        let section = Section { keys, path, table, mistyped: entry.is_some() && table.is_none() };
        self.check_keys(&section);
        section
    }

    /// The value's table, or a fault.
    pub(super) fn table(&mut self, path: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        if let Some(found) = self.convert(path, value) {
            let example = format!("write it as a section: [{path}]");
            self.wrong(&found, &Wrong::expected("a section").help(example));
        }
        None
    }

    /// Reports keys that the section doesn't have.
    fn check_keys(&mut self, section: &Section<'a>) {
        for key in section.table.iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            let path = join(&section.path, name);
            self.places.entry(path.clone()).or_insert_with(|| key.span());
            if !keys::of_section(section.keys).any(|known| known.name == name) {
                let valid: Vec<_> = keys::of_section(section.keys).map(|key| key.name).collect();
                self.unknown_key(&section.path, name, key.span(), &valid);
            }
        }
    }

    /// Reports a key that nothing knows, with the valid ones and the one that was probably meant.
    pub(super) fn unknown_key(&mut self, section: &str, name: &str, span: Range<usize>, valid: &[&str]) {
        let place =
            if section.is_empty() { "the settings file".to_owned() } else { format!("`[{section}]`") };
        let elsewhere = keys::KEYS.iter().find(|key| key.name == name).map(|key| key.section);
        let meant = match (suggest(name, valid.iter().copied()), elsewhere) {
            (Some(near), _) => format!("did you mean `{near}`? "),
            (None, Some(other)) => format!("`{name}` belongs in `[{other}]`; "),
            (None, None) => String::new(),
        };
        let finding =
            Diagnostic::error(&self.source, span, format!("{place} has no key `{}`", name.escape_debug()))
                .with_label("not a key")
                .with_help(format!("{meant}valid keys: {}", choices(valid.iter().copied())));
        self.findings.push(finding.with_code("unknown-key"));
    }

    /// The value of a key, or its default; none where it is left out without one, or faulty.
    pub(super) fn find(&mut self, section: &Section<'a>, name: &str) -> Option<Found> {
        let path = join(&section.path, name);
        if let Some(value) = section.table.and_then(|table| table.get(name)) {
            return self.convert(&path, value);
        }
        let key = keys::of_section(section.keys).find(|key| key.name == name)?;
        match key.default {
            KeyDefault::Unset => None,
            KeyDefault::Required if section.mistyped => None,
            KeyDefault::Is(text) => self.default_value(&path, text),
            KeyDefault::Required => {
                self.missing(&section.path, key);
                None
            }
        }
    }

    fn default_value(&mut self, path: &str, text: &str) -> Option<Found> {
        let value = DeValue::parse(text).ok()?;
        let found = self.convert(path, &value)?;
        Some(Found { span: None, ..found })
    }

    fn missing(&mut self, section: &str, key: &Key) {
        let message = format!("`{}` is missing", join(section, key.name));
        let help = format!("write `{} = …` under `[{section}]`: {}", key.name, key.meaning);
        let finding = self.error_at(section, message).with_help(help);
        self.findings.push(finding.with_code("missing-key"));
    }

    /// An error at a key or section of the file, or about the whole file where that isn't written.
    pub(super) fn error_at(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        error_at(&self.source, &self.places, path, message)
    }

    /// Reports a value that is not what its key takes.
    pub(super) fn wrong(&mut self, found: &Found, wrong: &Wrong) {
        let message = format!("`{}` must be {}, not {}", found.path, wrong.expected, found.shown());
        let span = found.span.clone().unwrap_or_default();
        let mut finding = Diagnostic::error(&self.source, span, message).with_code("wrong-value");
        finding.help.clone_from(&wrong.help);
        self.faulty.push(found.path.clone());
        self.findings.push(finding);
    }

    /// Text as some type of its own.
    pub(super) fn text<T>(
        &mut self,
        section: &Section<'a>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let found = self.find(section, name)?;
        self.parse(&found, parse)
    }

    /// A found text as some type of its own.
    pub(super) fn parse<T>(
        &mut self,
        found: &Found,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let result = match &found.value {
            Value::Text(text) => parse(text),
            // What the key wants is what it says to a text that it can't take either.
            _ => parse("").map_or_else(Err, |_| Err(Wrong::expected("text"))),
        };
        result.map_err(|wrong| self.wrong(found, &wrong)).ok()
    }

    /// One of the words that the key table lists, as what the word stands for.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &Section<'a>,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let kind = keys::of_section(section.keys).find(|key| key.name == name).map(|key| key.kind);
        self.text(section, name, |text| {
            let known = words.iter().find(|(word, _)| *word == text);
            known.map(|(_, value)| *value).ok_or_else(|| {
                let meant = suggest(text, words.iter().map(|(word, _)| *word));
                let wrong = Wrong::expected(kind.map(Kind::describe).unwrap_or_default());
                match meant {
                    Some(near) => wrong.help(format!("did you mean \"{near}\"?")),
                    None => wrong,
                }
            })
        })
    }

    /// A length of time within bounds.
    pub(super) fn duration(
        &mut self,
        section: &Section<'a>,
        name: &str,
        bounds: RangeInclusive<Span>,
    ) -> Span {
        let read = |text: &str| {
            let span: Span = text.parse().map_err(|_| {
                Wrong::expected("a length of time").help(
                    "write a whole number and a unit in quotes: \"250ms\", \"5s\", \"10m\", \"24h\" or \"7d\"",
                )
            })?;
            let (least, most) = (bounds.start(), bounds.end());
            let range = Wrong::expected(format!("from \"{least}\" to \"{most}\""));
            if bounds.contains(&span) { Ok(span) } else { Err(range) }
        };
        self.text(section, name, read).unwrap_or_default()
    }

    /// A size of at least one byte.
    pub(super) fn size(&mut self, section: &Section<'a>, name: &str) -> ByteSize {
        self.size_if_set(section, name).unwrap_or(ByteSize(1))
    }

    /// A number of bytes that may be left out.
    pub(super) fn size_if_set(&mut self, section: &Section<'a>, name: &str) -> Option<ByteSize> {
        let read = |text: &str| match text.parse() {
            Ok(ByteSize(0)) => Err(Wrong::expected("more than nothing")),
            Ok(size) => Ok(size),
            Err(_) => Err(Wrong::expected("a size")
                .help("write a whole number and a unit in quotes: \"512KiB\", \"16MiB\" or \"4GiB\"")),
        };
        self.text(section, name, read)
    }

    /// A path; a relative one starts at the settings file's folder.
    pub(super) fn path(&mut self, section: &Section<'a>, name: &str) -> Option<PathBuf> {
        let folder = self.surroundings.folder.clone();
        self.text(section, name, |text| {
            if text.is_empty() { Err(Wrong::expected("a path")) } else { Ok(folder.join(text)) }
        })
    }

    /// A topic or a file.
    pub(super) fn destination(&mut self, section: &Section<'a>, name: &str) -> Option<Destination> {
        let folder = self.surroundings.folder.clone();
        self.text(section, name, |text| Destination::parse(text, &folder))
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &mut self,
        section: &Section<'a>,
        name: &str,
        bounds: RangeInclusive<i64>,
    ) -> Option<i64> {
        let found = self.find(section, name)?;
        match &found.value {
            Value::Integer(number) if bounds.contains(number) => Some(*number),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                self.wrong(&found, &Wrong::expected(format!("a whole number from {least} to {most}")));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, section: &Section<'a>, name: &str) -> bool {
        let Some(found) = self.find(section, name) else { return false };
        if let Value::Boolean(value) = found.value {
            return value;
        }
        self.wrong(&found, &Wrong::expected("`true` or `false`").help("write it without quotes"));
        false
    }

    /// A list of texts, each as some type of its own; an empty list is a fault.
    pub(super) fn texts<T>(
        &mut self,
        section: &Section<'a>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(found) = self.find(section, name) else { return Vec::new() };
        match &found.value {
            Value::List(entries) if !entries.is_empty() => {
                entries.iter().filter_map(|entry| self.parse(entry, &parse)).collect()
            }
            _ => {
                let wrong =
                    Wrong::expected("a list of at least one text").help(format!("write {name} = [\"…\"]"));
                self.wrong(&found, &wrong);
                Vec::new()
            }
        }
    }

    /// A text, or a list of texts.
    pub(super) fn text_or_list<T>(
        &mut self,
        section: &Section<'a>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        match self.find(section, name).filter(|found| matches!(found.value, Value::Text(_))) {
            Some(text) => self.parse(&text, parse).into_iter().collect(),
            None => self.texts(section, name, parse),
        }
    }

    /// A TOML value with its references replaced; none where one can't be.
    pub(super) fn convert(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Found> {
        let mut hidden = false;
        let converted = match value.get_ref() {
            DeValue::String(text) => match substitute(text, self.surroundings) {
                Ok(substituted) => {
                    hidden = substituted.replaced;
                    Value::Text(substituted.text)
                }
                Err(unresolved) => {
                    self.faulty.push(path.to_owned());
                    let finding = Diagnostic::error(&self.source, value.span(), unresolved.message);
                    self.findings.push(finding.with_help(unresolved.help).with_code("unresolved-reference"));
                    return None;
                }
            },
            DeValue::Integer(number) => integer(number.as_str(), number.radix()),
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(entries) => {
                let all: Vec<_> = entries.iter().map(|entry| self.convert(path, entry)).collect();
                Value::List(all.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(_) => Value::Table,
        };
        Some(Found { path: path.to_owned(), span: Some(value.span()), hidden, value: converted })
    }
}

impl Found {
    /// The value in a message; what came through a reference is never printed.
    fn shown(&self) -> String {
        match &self.value {
            _ if self.hidden => "what it refers to".to_owned(),
            Value::Text(text) => format!("`{}`", text.escape_debug()),
            Value::Integer(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Boolean(value) => format!("`{value}`"),
            Value::List(entries) if entries.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table => "a section".to_owned(),
        }
    }
}

/// A whole number; one past 64 bits stays as its text, which no key takes.
fn integer(digits: &str, radix: u32) -> Value {
    let plain = digits.replace('_', "");
    i64::from_str_radix(&plain, radix).map_or(Value::Float(plain), Value::Integer)
}

/// An error at a key of the file or, where it isn't written, at the nearest section around it.
pub(super) fn error_at(
    source: &Arc<SourceText>,
    places: &Places,
    path: &str,
    message: impl Into<String>,
) -> Diagnostic {
    let mut name = path;
    loop {
        if let Some(span) = places.get(name) {
            return Diagnostic::error(source, span.clone(), message);
        }
        match name.rsplit_once('.') {
            Some((parent, _)) => name = parent,
            None => return Diagnostic { span: None, ..Diagnostic::error(source, 0..0, message) },
        }
    }
}

pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
