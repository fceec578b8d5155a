//! How long and how deep a query may be, judged on its words before it is parsed.
//!
//! The parser tries several readings of `NOT`, `CASE` and brackets, so its work doubles with each level of
//! them where a word deep inside is wrong; and trees are walked by recursion, on stacks that end.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

/// Operators in one file; more make a tree too deep to walk.
const OPERATORS_MAX: usize = 2_000;

/// Deepest nesting, where a bracket counts 1, `NOT` 2 and `CASE` 3: a second of parsing at worst.
const NESTING_MAX: usize = 30;

/// Where the words of a file pass a limit, and which.
pub(super) fn passed(tokens: &[TokenWithSpan]) -> Option<(Span, String)> {
    let (mut operators, mut brackets, mut cases, mut nots) = (0_usize, 0_usize, 0_usize, 0_usize);
    for TokenWithSpan { token, span } in tokens {
        let keyword = match token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match (token, keyword) {
            (_, Keyword::NOT) => nots += 1,
            (Token::LParen, _) => brackets += 1,
            (Token::RParen, _) => brackets = brackets.saturating_sub(1),
            (_, Keyword::CASE) => cases += 1,
            (_, Keyword::END) => cases = cases.saturating_sub(1),
            _ => {}
        }
        if !matches!((token, keyword), (Token::LParen, _) | (_, Keyword::NOT | Keyword::CASE | Keyword::WHEN))
        {
            nots = 0;
        }
        operators += usize::from(is_operator(token, keyword));
        if brackets + 2 * nots + 3 * cases > NESTING_MAX {
            return Some((*span, "the query is nested too deeply".to_owned()));
        }
        if operators > OPERATORS_MAX {
            return Some((*span, format!("the file has more than {OPERATORS_MAX} operators")));
        }
    }
    None
}

/// Whether a word makes an expression one level deeper.
fn is_operator(token: &Token, keyword: Keyword) -> bool {
    let sign = matches!(
        token,
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat
    );
    sign || matches!(keyword, Keyword::AND | Keyword::OR | Keyword::UNION)
}
