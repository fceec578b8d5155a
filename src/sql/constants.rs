//! Numbers that a rule compares its columns with: what a threshold sweep can move.

use std::ops::Range;

use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::error::byte_range;
use crate::diagnostic::SourceText;

/// A number that stands beside a comparison with a column in a `WHERE` or `QUALIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// The column, in small letters and without its table.
    pub column: String,
    /// The number as written, its sign among it.
    pub text: String,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// All such numbers of a file, in the order of the text; none where it can't be cut into words.
pub fn compared_constants(source: &SourceText) -> Vec<Constant> {
    let tokens =
        Tokenizer::new(&GenericDialect {}, &source.text).tokenize_with_location().unwrap_or_default();
    let words: Vec<&TokenWithSpan> =
        tokens.iter().filter(|word| !matches!(word.token, Token::Whitespace(_))).collect();
    let mut inside = false;
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if let Token::Word(name) = &word.token {
            match name.keyword {
                Keyword::WHERE | Keyword::QUALIFY | Keyword::HAVING => inside = true,
                Keyword::SELECT | Keyword::FROM | Keyword::WINDOW | Keyword::GROUP => inside = false,
                _ => {}
            }
        }
        if inside && is_comparison(&word.token) {
            let at = |place: Option<usize>| place.and_then(|place| words.get(place)).copied();
            let after = number_after(source, at(Some(index + 1)), at(Some(index + 2)));
            let before = number_before(source, at(index.checked_sub(1)), at(index.checked_sub(2)));
            let left = at(index.checked_sub(1)).and_then(column);
            let right = at(Some(index + 1)).and_then(column);
            found.extend(left.zip(after).or(right.zip(before)).map(|(column, (text, span))| Constant {
                column,
                text,
                span,
            }));
        }
    }
    found
}

fn is_comparison(token: &Token) -> bool {
    matches!(token, Token::Lt | Token::Gt | Token::LtEq | Token::GtEq | Token::Eq | Token::Neq)
}

fn column(word: &TokenWithSpan) -> Option<String> {
    match &word.token {
        Token::Word(name) => Some(name.value.to_lowercase()),
        _ => None,
    }
}

fn number_after(
    source: &SourceText,
    first: Option<&TokenWithSpan>,
    second: Option<&TokenWithSpan>,
) -> Option<(String, Range<usize>)> {
    let first = first?;
    let (text, end) = match (&first.token, second.map(|word| &word.token)) {
        (Token::Number(text, _), _) => (text.clone(), first),
        (Token::Minus, Some(Token::Number(text, _))) => (format!("-{text}"), second?),
        _ => return None,
    };
    let span = byte_range(source, first.span).start..byte_range(source, end.span).end;
    Some((text, span))
}

fn number_before(
    source: &SourceText,
    last: Option<&TokenWithSpan>,
    before: Option<&TokenWithSpan>,
) -> Option<(String, Range<usize>)> {
    let last = last?;
    let Token::Number(text, _) = &last.token else { return None };
    // `a - 5 < b`: the number is part of a sum, and moving it would be something else.
    let alone = before.is_none_or(|word| matches!(&word.token, Token::Word(_) | Token::LParen));
    alone.then(|| (text.clone(), byte_range(source, last.span)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constants(text: &str) -> Vec<(String, String, String)> {
        let source = SourceText::new("r.sql", text);
        let found = compared_constants(&source);
        let shown = |constant: Constant| (constant.column, constant.text, text[constant.span].to_owned());
        found.into_iter().map(shown).collect()
    }

    fn plain(text: &str) -> Vec<(String, String)> {
        constants(text).into_iter().map(|(column, text, _)| (column, text)).collect()
    }

    #[test]
    fn numbers_compared_in_where_filter_and_qualify_are_found_with_their_places() {
        let text = "-- a > 1\nSELECT a, count(*) FILTER (WHERE b < 5.50) OVER w AS n_10m\nFROM t\nWHERE t.Amount >= 20\n\
                    WINDOW w AS (PARTITION BY c)\nQUALIFY n_10m >= 8 AND 3 < m AND x > -2";
        let wanted = [("b", "5.50"), ("amount", "20"), ("n_10m", "8"), ("m", "3"), ("x", "-2")];
        let found = constants(text);
        let short: Vec<(&str, &str)> =
            found.iter().map(|(column, text, _)| (column.as_str(), text.as_str())).collect();
        assert_eq!(short, wanted);
        assert!(found.iter().all(|(_, text, there)| text == there), "{found:?}");
    }

    #[test]
    fn a_factor_after_a_comparison_counts_and_a_sum_before_it_does_not() {
        assert_eq!(
            plain("SELECT 1 FROM t WHERE amount > 5.0 * m"),
            [("amount".to_owned(), "5.0".to_owned())]
        );
        assert_eq!(plain("SELECT 1 FROM t WHERE a - 5 < b"), []);
        assert_eq!(plain("SELECT a > 5 FROM t"), []);
        assert_eq!(plain("SELECT 'WHERE a > 5' FROM t"), []);
    }
}
