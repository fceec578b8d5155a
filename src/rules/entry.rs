//! One line of a rule file's header: `-- @key: value`.

use std::ops::Range;

/// Key and value, each with its place in the file.
pub(super) struct Entry<'a> {
    pub key: &'a str,
    pub key_span: Range<usize>,
    pub value: &'a str,
    pub span: Range<usize>,
}

/// The key and value of a header line, with their places.
pub(super) fn entry(line: &str, line_start: usize) -> Option<Entry<'_>> {
    let at = line.find('@')?;
    if line.get(..at)?.trim() != "--" {
        return None;
    }
    let rest = line.get(at + 1..)?;
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (key, after) = rest.split_at(length);
    let value = after.strip_prefix(':')?;
    let text = value.trim();
    let value_start = line_start + at + 1 + length + 1 + (value.len() - value.trim_start().len());
    let key_span = line_start + at..line_start + at + 1 + length;
    Some(Entry { key, key_span, value: text, span: value_start..value_start + text.len() })
}
