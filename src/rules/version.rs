//! Versions: hashes of what changes a rule's answers.
//!
//! The query is hashed as its tokens, so that comments and white space make no new version.

use datafusion_sql::sqlparser::ast::visit_relations;
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};
use sha2::{Digest, Sha256};

use super::{Emit, Header, Rule};
use crate::diagnostic::SourceText;
use crate::sql::parse_statements;

/// Version of one rule; `views` are name and text of every view of the folder, `models` name and hash.
pub(super) fn of_rule(
    header: &Header,
    source: &SourceText,
    views: &[(String, String)],
    models: &[(String, String)],
) -> String {
    let mut digest = Sha256::new();
    let mut add = |part: &str| {
        digest.update(part.len().to_le_bytes());
        digest.update(part.as_bytes());
    };
    add(&tokens(&source.text));
    add(&format!(
        "{:?} {} {:?} {:?} {:?}",
        header.action,
        header.score,
        header.reason,
        header.dedup,
        header.budget.as_ref().map(|budget| &budget.text)
    ));
    let used = used_views(&source.text, views);
    for (name, text) in &used {
        add(name);
        add(&tokens(text));
    }
    let texts: Vec<&str> = std::iter::once(&*source.text).chain(used.iter().map(|(_, text)| *text)).collect();
    for (name, hash) in models.iter().filter(|(name, _)| texts.iter().any(|text| predicts(text, name))) {
        add(name);
        add(hash);
    }
    hex(&digest.finalize())
}

/// Whether a text calls `predict` and holds the model's name, or `name#class`, in quotes.
fn predicts(text: &str, model: &str) -> bool {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let calls =
        |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("predict"));
    let names = |token: &Token| match token {
        Token::SingleQuotedString(text) => {
            text.split('#').next().is_some_and(|name| name.eq_ignore_ascii_case(model))
        }
        _ => false,
    };
    tokens.iter().any(calls) && tokens.iter().any(names)
}

/// Version of a set of rules and the order in which each is answered: sets of one version answer alike, so it follows
/// beside the rules' versions what else a header says of whom and when they judge and where their alerts go, and the
/// lists, as name and hash. Models stand in the rules' versions.
pub(super) fn of_set<'a>(
    rules: impl Iterator<Item = (&'a Rule, Emit)>,
    lists: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let line = |(rule, emit): (&Rule, Emit)| {
        let Header { id, status, entity, max_age, valid_from, valid_until, .. } = &rule.header;
        let more = (status, emit, entity, max_age, valid_from, valid_until);
        format!("{id} {} {more:?}\n", rule.version)
    };
    let mut lines: Vec<String> = rules.map(line).collect();
    lines.extend(lists.map(|(name, hash)| format!("list {name} {hash}\n")));
    lines.sort_unstable();
    hex(&Sha256::digest(lines.concat()))
}

/// What differs between two forms of a rule that makes the versions of their sets differ, each with its order of answers.
/// Where the rule's version differs and nothing in its file does, a view or a model that it reads does.
pub fn differences((old, old_emit): (&Rule, Emit), (new, new_emit): (&Rule, Emit)) -> Vec<&'static str> {
    let (from, to) = (&old.header, &new.header);
    let budget = |header: &Header| header.budget.as_ref().map(|budget| budget.text.clone());
    let of_version = [
        ("query", tokens(&old.source.text) != tokens(&new.source.text)),
        ("action", from.action != to.action),
        ("score", from.score != to.score),
        ("reason", from.reason != to.reason),
        ("dedup", from.dedup != to.dedup),
        ("budget", budget(from) != budget(to)),
    ];
    let beside = [
        ("status", from.status != to.status),
        ("emit", old_emit != new_emit),
        ("entity", from.entity != to.entity),
        ("max_age", from.max_age != to.max_age),
        ("valid_from", from.valid_from != to.valid_from),
        ("valid_until", from.valid_until != to.valid_until),
    ];
    let elsewhere = old.version != new.version && !of_version.iter().any(|(_, differs)| *differs);
    let all = of_version.into_iter().chain(beside).chain([("view or model", elsewhere)]);
    all.filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}

fn tokens(text: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::SemiColon));
    words.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The views that a text names, and those that these name, in the order of their names.
fn used_views<'a>(text: &str, views: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
    let mut used: Vec<(&str, &str)> = Vec::new();
    let mut texts = vec![text];
    while let Some(text) = texts.pop() {
        for relation in relations(text) {
            if let Some((name, text)) = views.iter().find(|(name, _)| *name == relation)
                && !used.iter().any(|(known, _)| known == name)
            {
                used.push((name, text));
                texts.push(text);
            }
        }
    }
    used.sort_unstable();
    used
}

fn relations(text: &str) -> Vec<String> {
    let statements = parse_statements(&SourceText::new("", text)).unwrap_or_default();
    let mut names = Vec::new();
    let _ = visit_relations(&statements, |relation| {
        names.extend(relation.0.last().map(|part| part.to_string().trim_matches('"').to_lowercase()));
        std::ops::ControlFlow::<()>::Continue(())
    });
    names
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
