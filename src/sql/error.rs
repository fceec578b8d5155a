//! From the parser's and the planner's errors to findings with a place in the file.
//!
//! Takes errors of sqlparser and DataFusion and the text they speak of; hands on [`Diagnostic`]s. Where the
//! planner names no place, the words it quotes are looked for in the text.

use std::ops::Range;
use std::sync::Arc;

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::parser::ParserError;
use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use super::explain;
use crate::diagnostic::{Diagnostic, SourceText, line_column, suggest};

/// Byte range of a span of the parser; the first word of the text where the parser has none.
pub(super) fn byte_range(source: &SourceText, span: Span) -> Range<usize> {
    if span.start.line == 0 {
        return first_word(&source.text);
    }
    let start = byte_at(&source.text, span.start);
    let end = byte_at(&source.text, span.end).max(start + 1);
    start..end.min(source.text.len().max(start))
}

/// The place of a word that stands behind a span, as the parser would give it.
pub(super) fn word_behind(source: &SourceText, after: Span, word: &str) -> Option<Span> {
    let start = if after.start.line == 0 { 0 } else { byte_at(&source.text, after.start) };
    let code = code_only(&source.text).to_lowercase();
    let found = start + whole_word(code.get(start..)?, &word.to_lowercase())?;
    let place = |byte: usize| {
        let at = line_column(&source.text, byte);
        Location { line: at.line as u64, column: at.column as u64 }
    };
    Some(Span { start: place(found), end: place(found + word.len()) })
}

/// Where a word stands that is no part of a longer one; both in lower case.
fn whole_word(code: &str, word: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

fn byte_at(text: &str, location: Location) -> usize {
    let line_index = usize::try_from(location.line.saturating_sub(1)).unwrap_or(0);
    let column_index = usize::try_from(location.column.saturating_sub(1)).unwrap_or(0);
    let mut line_start = 0;
    for line in text.split_inclusive('\n').take(line_index) {
        line_start += line.len();
    }
    let line = text.get(line_start..).unwrap_or_default();
    line_start + line.char_indices().nth(column_index).map_or(line.len(), |(byte, _)| byte)
}

/// The first word that is not a comment: where a finding about a whole query points.
pub(crate) fn first_word(text: &str) -> Range<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.trim_start();
        if !code.is_empty() && !code.starts_with("--") {
            start += line.len() - code.len();
            let word = code.find(|c: char| c.is_whitespace()).unwrap_or(code.len());
            return start..start + word;
        }
        start += line.len();
    }
    0..0
}

/// A finding for text that is not SQL.
pub(super) fn from_parser(source: &Arc<SourceText>, error: &ParserError) -> Diagnostic {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the query is nested too deeply".to_owned(),
    };
    let (message, location) = split_location(&text);
    if message.to_lowercase().contains("unterminated string literal") {
        // The tokenizer tells where it gave up, which is the end of the file.
        let opened = open_quote(&source.text).unwrap_or(0..0);
        return Diagnostic::error(source, opened, "a text begins here and never ends")
            .with_help("close it with a single quote; a quote within a text is written twice: 'it''s'")
            .with_code("syntax");
    }
    let span = match location {
        Some(location) => word_at(&source.text, byte_at(&source.text, location)),
        None if message.contains("EOF") => source.text.trim_end().len()..source.text.len(),
        None => first_word(&source.text),
    };
    let message = lower_first(message.strip_prefix("sql parser error: ").unwrap_or(message));
    let message = message.replace("EOF", "the end of the file");
    let message = message.replace("expected: ", "expected ").replace("found: ", "found ");
    let finding = Diagnostic::error(source, span.clone(), message).with_code("syntax");
    match keyword_meant(&source.text, &span) {
        Some(keyword) => finding.with_help(format!("did you mean {keyword}?")),
        None => finding,
    }
}

/// Where the text begins that is never closed, up to the end of its line: the last single quote that opens one.
fn open_quote(text: &str) -> Option<Range<usize>> {
    let mut opened = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let comment = line.find("--").filter(|_| opened.is_none()).unwrap_or(line.len());
        for (at, _) in line[..comment].match_indices('\'') {
            opened = if opened.is_none() { Some(start + at..start + line.trim_end().len()) } else { None };
        }
        start += line.len();
    }
    opened
}

/// The keyword that the word at a place, or the one before it, was probably meant to be.
fn keyword_meant(text: &str, span: &Range<usize>) -> Option<&'static str> {
    const KEYWORDS: [&str; 11] = [
        "SELECT",
        "FROM",
        "WHERE",
        "WINDOW",
        "QUALIFY",
        "PARTITION",
        "ORDER",
        "BETWEEN",
        "PRECEDING",
        "INTERVAL",
        "UNION",
    ];
    let at = text.get(span.clone()).unwrap_or_default();
    let before =
        text.get(..span.start).unwrap_or_default().split_whitespace().next_back().unwrap_or_default();
    [at, before].into_iter().filter(|word| word.len() > 2).find_map(|word| {
        let meant = suggest(word, KEYWORDS)?;
        (!meant.eq_ignore_ascii_case(word)).then(|| KEYWORDS.into_iter().find(|own| *own == meant))?
    })
}

/// Splits `… at Line: 3, Column: 5` into the message and the place.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let mut numbers = place.split(", Column: ").map(|n| n.trim().parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(line), Some(column)) => (message, Some(Location { line, column })),
        _ => (text, None),
    }
}

fn word_at(text: &str, start: usize) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    start..start + word.max(usize::from(!rest.is_empty()))
}

/// A finding for a query that parses and can't be planned; `culprit` is the part without which it could.
pub(super) fn from_planner(
    source: &Arc<SourceText>,
    error: &DataFusionError,
    culprit: Option<Range<usize>>,
) -> Diagnostic {
    let explained = explain::explain(error);
    let span = diagnosed_span(source, error)
        .or_else(|| explained.place.map(|span| byte_range(source, span)))
        .or(culprit)
        .or_else(|| quoted_word(&source.text, &explained.message))
        .unwrap_or_else(|| first_word(&source.text));
    let quoted = source.text.get(span.clone()).is_some_and(|text| text.starts_with('"'));
    let help = match explained.help {
        Some(near) if quoted && near.starts_with("did you mean") => {
            Some(format!("{near} (quotes keep capitals apart; text stands in single quotes)"))
        }
        _ if quoted && explained.unknown_column => Some("text stands in single quotes: 'abc'".to_owned()),
        help => help,
    };
    let finding = Diagnostic::error(source, span, lower_first(&explained.message)).with_code("plan");
    match help {
        Some(help) => finding.with_help(help),
        None => finding,
    }
}

/// Whether the error itself says where it is.
pub(super) fn is_placed(error: &DataFusionError) -> bool {
    error.diagnostic().is_some_and(|found| found.span.is_some()) || explain::explain(error).place.is_some()
}

fn diagnosed_span(source: &SourceText, error: &DataFusionError) -> Option<Range<usize>> {
    Some(byte_range(source, parser_span(error.diagnostic()?.span?)))
}

/// A span of the planner as one of the parser.
pub(super) fn parser_span(span: datafusion_common::Span) -> Span {
    let place = |at: datafusion_common::Location| Location { line: at.line, column: at.column };
    Span { start: place(span.start), end: place(span.end) }
}

/// The first word in quotes in a message, as it stands in the text.
fn quoted_word(text: &str, message: &str) -> Option<Range<usize>> {
    let quoted = message.split(['\'', '"', '`']).skip(1).step_by(2);
    let named = message.split_whitespace().map(|word| word.trim_matches(['.', ',', ':', '(', ')']));
    let code = code_only(text);
    quoted.chain(named.filter(|word| word.contains('_') || word.contains('.'))).find_map(|word| {
        let word = word.rsplit('.').next().filter(|word| !word.is_empty())?;
        let start = whole_word(&code.to_lowercase(), &word.to_lowercase())?;
        Some(start..start + word.len())
    })
}

/// The text with its comment lines blanked, so that a search finds code.
fn code_only(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| if line.trim_start().starts_with("--") { blank(line) } else { line.to_owned() })
        .collect()
}

fn blank(line: &str) -> String {
    line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) if !characters.as_str().starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}
