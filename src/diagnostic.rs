//! What is wrong in a file that a person wrote, and where: the settings and the rules report alike.
//!
//! Takes a [`SourceText`] and byte spans into it; hands on [`Diagnostic`]s, which print as one line, as a
//! drawing with carets, or as JSON. Keeps nothing and cannot fail: a span outside the text is moved inside.
//! What would surprise: a diagnostic shares the text it points into, so that it can be drawn anywhere
//! later, and a text with secrets in it must be masked before it becomes a [`SourceText`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ariadne::{CharSet, Config, Label, Report, ReportKind, Source};
use serde::Serialize;
use serde::ser::SerializeStruct;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used as it is.
    Error,
    /// The file can be used; something in it is probably not meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A file's name and text, shared by everything that points into it.
#[derive(PartialEq, Eq)]
pub struct SourceText {
    /// The file's name as it is shown.
    pub file: String,
    /// The whole text.
    pub text: String,
}

impl SourceText {
    /// A text that diagnostics can point into.
    pub fn new(file: impl fmt::Display, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { file: file.to_string(), text: text.into() })
    }
}

impl fmt::Debug for SourceText {
    /// The name alone: a text may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({})", self.file)
    }
}

/// One finding in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file the finding is in.
    pub source: Arc<SourceText>,
    /// Byte range in the text; none where the finding is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong: lower case, no full stop, complete without the drawing.
    pub message: String,
    /// What stands under the carets; "here" where it is empty.
    pub label: String,
    /// What to write instead, or the valid choices.
    pub help: Option<String>,
    /// A stable name of the kind of finding, for programs.
    pub code: Option<&'static str>,
}

/// Whether a drawing carries terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Escape sequences for a terminal.
    On,
    /// Plain text: for files, pipes and `NO_COLOR`.
    Off,
}

/// A place in a text as people count it, both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Diagnostic {
    /// An error at a byte range of a text.
    pub fn error(source: &Arc<SourceText>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            source: Arc::clone(source),
            span: Some(span),
            message: message.into(),
            label: String::new(),
            help: None,
            code: None,
        }
    }

    /// A warning at a byte range of a text.
    pub fn warning(source: &Arc<SourceText>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(source, span, message) }
    }

    /// An error about a file as a whole: it is missing, or cannot be read.
    pub fn file_error(file: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(&SourceText::new(file, ""), 0..0, message) }
    }

    /// The same finding with words under the carets.
    #[must_use]
    pub fn with_label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// The same finding with advice.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same finding with a stable name of its kind.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Where the finding starts; none for a finding about a whole file.
    pub fn line_column(&self) -> Option<LineColumn> {
        self.span.as_ref().map(|span| line_column(&self.source.text, span.start))
    }

    /// The finding with its line and carets under the words, ending in a line break.
    pub fn render(&self, colour: Colour) -> String {
        let Some(span) = &self.span else { return self.render_without_text() };
        let shown: String = self.source.text.chars().map(printable_in_a_line).collect();
        let span = caret_range(&self.source.text, span);
        let kind = match self.severity {
            Severity::Error => ReportKind::Error,
            Severity::Warning => ReportKind::Warning,
        };
        let file = self.source.file.as_str();
        let config = Config::new().with_color(colour == Colour::On).with_char_set(CharSet::Unicode);
        // Without words under them no carets are drawn.
        let words = if self.label.is_empty() { "here" } else { &self.label };
        let label = Label::new((file, span.clone())).with_message(printable(words));
        let mut report = Report::build(kind, (file, span))
            .with_config(config)
            .with_message(printable(&self.message))
            .with_label(label);
        if let Some(help) = &self.help {
            report = report.with_help(printable(help));
        }
        let mut drawn = Vec::new();
        match report.finish().write((file, Source::from(shown)), &mut drawn) {
            Ok(()) => String::from_utf8_lossy(&drawn)
                .lines()
                .map(|line| line.trim_end().to_owned() + "\n")
                .collect(),
            Err(_) => self.render_without_text(),
        }
    }

    fn render_without_text(&self) -> String {
        let help = self.help.as_ref().map(|help| format!("\n  help: {}", printable(help)));
        format!("{self}{}\n", help.unwrap_or_default())
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: error: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.file)?;
        if let Some(LineColumn { line, column }) = self.line_column() {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}: {}", self.severity, printable(&self.message))
    }
}

impl std::error::Error for Diagnostic {}

impl Serialize for Diagnostic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.span.as_ref().map(|span| line_column(&self.source.text, span.end.max(span.start)));
        let start = self.line_column();
        let mut fields = serializer.serialize_struct("Diagnostic", 9)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("file", &self.source.file)?;
        fields.serialize_field("line", &start.map(|at| at.line))?;
        fields.serialize_field("column", &start.map(|at| at.column))?;
        fields.serialize_field("end_line", &end.map(|at| at.line))?;
        fields.serialize_field("end_column", &end.map(|at| at.column))?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("help", &self.help)?;
        fields.end()
    }
}

/// All findings drawn one after another, with a blank line between two.
pub fn render_all(diagnostics: &[Diagnostic], colour: Colour) -> String {
    diagnostics.iter().map(|finding| finding.render(colour)).collect::<Vec<_>>().join("\n")
}

/// Line and column of a byte position; a position past the end is the end.
pub fn line_column(text: &str, byte: usize) -> LineColumn {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    LineColumn { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// The candidate that a mistyped word was probably meant to be, if one is near enough.
///
/// Near is at most one slip (a letter more, less, other or swapped) for each three letters, capitals
/// aside; a word that is one of a candidate's parts between `.` or `_` counts as near too.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_max = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let slips = strsim::damerau_levenshtein(&word, &lower);
            if slips <= slips_max {
                return Some((slips, candidate));
            }
            let a_part = word.len() >= 3 && lower.split(['.', '_']).any(|part| part == word);
            a_part.then_some((slips_max + 1, candidate))
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Names for a message: "`a`, `b`, `c`".
pub fn choices<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The span in characters, inside the text, never empty where the text is not, and on lines that exist.
fn caret_range(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end).max(start);
    let last = text.chars().count();
    let start_chars = text[..start].chars().count();
    let end_chars = start_chars + text[start..end].trim_end().chars().count();
    if end_chars > start_chars {
        return start_chars..end_chars;
    }
    let start_chars = start_chars.min(last.saturating_sub(1));
    start_chars..(start_chars + 1).min(last)
}

/// Characters that would move a terminal's cursor, or that the drawing would take for a line break.
fn printable_in_a_line(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| printable_in_a_line(c) == c) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(printable_in_a_line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Arc<SourceText> {
        SourceText::new("rules/a.sql", "SELECT *\nFROM transaktions\n")
    }

    #[test]
    fn the_short_form_is_one_line_with_file_line_and_column() {
        let finding = Diagnostic::error(&text(), 14..26, "no stream is called `transaktions`");
        assert_eq!(finding.to_string(), "rules/a.sql:2:6: error: no stream is called `transaktions`");
        let finding = Diagnostic::file_error("rules", "no such folder");
        assert_eq!(finding.to_string(), "rules: error: no such folder");
    }

    #[test]
    fn the_drawing_has_the_line_the_carets_and_the_advice() {
        let finding = Diagnostic::error(&text(), 14..26, "no stream is called `transaktions`")
            .with_label("not in the contract")
            .with_help("did you mean `transactions`?");
        let drawn = finding.render(Colour::Off);
        for part in [
            "Error: no stream",
            "rules/a.sql:2:6",
            "2 │ FROM transaktions",
            "──────┬─────",
            "not in the contract",
            "did you mean",
        ] {
            assert!(drawn.contains(part), "{part} is missing in\n{drawn}");
        }
        assert!(!drawn.contains('\u{1b}'), "{drawn}");
        assert!(finding.render(Colour::On).contains('\u{1b}'));
    }

    #[test]
    fn the_words_are_pointed_at_where_the_finding_has_no_label() {
        let drawn = Diagnostic::error(&text(), 7..12, "m").render(Colour::Off);
        assert!(drawn.contains("here"), "{drawn}");
    }

    #[test]
    fn any_span_can_be_drawn() {
        for body in ["", "x", "é\r\nü\u{2028}\u{b}\tz\n", "\n\n"] {
            let source = SourceText::new("f", body);
            for start in 0..12 {
                for end in 0..12 {
                    let drawn = Diagnostic::warning(&source, start..end, "m").render(Colour::Off);
                    assert!(drawn.contains("Warning"), "{body:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn line_numbers_of_the_drawing_agree_with_the_short_form() {
        let source = SourceText::new("f", "a\r\nb\u{2028}\u{85}\u{c}c\nfault");
        let at = source.text.find("fault").expect("in the text");
        let finding = Diagnostic::error(&source, at..at + 5, "m");
        assert_eq!(finding.to_string(), "f:3:1: error: m");
        assert!(finding.render(Colour::Off).contains("f:3:1"), "{}", finding.render(Colour::Off));
    }

    #[test]
    fn a_terminal_cannot_be_driven_from_a_file() {
        let source = SourceText::new("f", "x \u{1b}[2J y");
        let drawn = Diagnostic::error(&source, 0..1, "bad \u{1b}[2J").render(Colour::Off);
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_column("é = ü", 6), LineColumn { line: 1, column: 5 });
        assert_eq!(line_column("a\n", 99), LineColumn { line: 2, column: 1 });
    }

    #[test]
    fn json_has_severity_place_and_advice() {
        let finding = Diagnostic::error(&text(), 14..26, "m").with_help("h").with_code("unknown-stream");
        let json = serde_json::to_value(&finding).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({"severity": "error", "code": "unknown-stream", "file": "rules/a.sql", "line": 2,
                "column": 6, "end_line": 2, "end_column": 18, "message": "m", "help": "h"})
        );
    }

    #[test]
    fn a_suggestion_is_near_the_word_or_absent() {
        let keys = ["commit_interval", "delivery", "rules", "name", "card_id"];
        assert_eq!(suggest("commit_intervall", keys), Some("commit_interval"));
        assert_eq!(suggest("Rules", keys), Some("rules"));
        assert_eq!(suggest("nmae", keys), Some("name"));
        assert_eq!(suggest("card", keys), Some("card_id"));
        assert_eq!(suggest("partitions", keys), None);
    }
}
