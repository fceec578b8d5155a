//! Hides literal secrets in the text that findings show.
//!
//! Takes the file's text and what was parsed of it; hands on a text of the same length in bytes, so that
//! spans still fit. A secret written as a reference (`${file:…}`) stays, since it gives nothing away. Where
//! the text is broken and a value's span can't be trusted, the rest of a secret key's line is hidden.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kafka::names_a_secret;

/// The text with the values of secret keys replaced by stars.
pub(super) fn mask_secrets(text: &str, document: &DeTable<'_>, whole: AsParsed) -> String {
    let mut spans = Vec::new();
    collect(document, "", &mut spans);
    if whole == AsParsed::Broken {
        spans.extend(lines_of_secrets(text));
    }
    let mut masked = text.to_owned();
    for span in spans {
        let hidden = text.get(span.clone()).map(stars).unwrap_or_default();
        if hidden.len() == span.len() {
            masked.replace_range(span, &hidden);
        }
    }
    masked
}

/// Whether the whole text could be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsParsed {
    Whole,
    Broken,
}

/// Spans of the values whose key names a secret; the client's properties are judged by their full name.
fn collect(table: &DeTable<'_>, section: &str, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let path = format!("{section}.{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &path, spans),
            _ if is_secret(&path) && !is_reference(value) => spans.push(value.span()),
            _ => {}
        }
    }
}

fn is_secret(path: &str) -> bool {
    match path.strip_prefix(".kafka.properties.") {
        Some(property) => names_a_secret(property),
        None => !path.ends_with("topic_key") && names_a_secret(path.rsplit('.').next().unwrap_or(path)),
    }
}

fn is_reference(value: &Spanned<DeValue<'_>>) -> bool {
    let text = value.get_ref().as_str().unwrap_or_default();
    text.starts_with("${") && text.ends_with('}')
}

/// What follows the `=` on lines whose key names a secret.
fn lines_of_secrets(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut spans = Vec::new();
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        if let Some((key, value)) = content.split_once('=')
            && is_secret(key.trim())
            && !value.trim().trim_matches(['"', '\'']).starts_with("${")
        {
            spans.push(start + key.len() + 1..start + content.len());
        }
        start += line.len();
    }
    spans
}

/// As many stars as the text has bytes; quotes and line breaks stay, so that lines keep their places.
fn stars(text: &str) -> String {
    let star = |c: char| {
        if matches!(c, '"' | '\'' | '\n' | '\r' | ' ') { c.to_string() } else { "*".repeat(c.len_utf8()) }
    };
    text.chars().map(star).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let (document, errors) = DeTable::parse_recoverable(text);
        let parsed = if errors.is_empty() { AsParsed::Whole } else { AsParsed::Broken };
        mask_secrets(text, document.get_ref(), parsed)
    }

    #[test]
    fn literal_secrets_become_stars_of_the_same_length() {
        let text = "[kafka.properties]\n\"sasl.password\" = \"hünter\"\n'ssl.key.pem' = '''a\nb'''\nacks = 1";
        let expected =
            "[kafka.properties]\n\"sasl.password\" = \"*******\"\n'ssl.key.pem' = '''*\n*'''\nacks = 1";
        assert_eq!(masked(text), expected);
        assert_eq!(masked("kafka = { password = 5 }"), "kafka = { password = * }");
    }

    #[test]
    fn references_and_columns_called_key_stay() {
        let text =
            "[kafka.properties]\n\"sasl.password\" = \"${file:/p}\"\n[streams.a]\ntopic_key = \"card\"";
        assert_eq!(masked(text), text);
    }

    #[test]
    fn a_broken_line_hides_its_secret_too() {
        let text = "[kafka.properties]\n\"sasl.password\" = \"hunter2\nnext = = 1\n";
        assert!(!masked(text).contains("hunter2"), "{}", masked(text));
        assert_eq!(masked(text).len(), text.len());
    }
}
