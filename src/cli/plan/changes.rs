//! Which rules, views, lists and models differ between two folders, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::cli::failure::Failure;
use crate::rules::{Rule, RuleFiles, RuleSet, mentions};

/// Lines of a difference that are told.
const LINES_MAX: usize = 60;

/// What differs in the files.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<RuleChange>,
    /// Views, lists, models and the contract: `view x changed`.
    pub files: Vec<FileChange>,
    pub unchanged: usize,
}

/// One rule that differs.
#[derive(Debug, Serialize)]
pub(super) struct RuleChange {
    pub rule: String,
    /// Keys of the header, and `query`, `views or models`.
    pub parts: Vec<String>,
    /// Version before and after: equal where no answer changes.
    pub versions: (String, String),
    /// Lines with `-`, `+` or a space before them.
    pub diff: Vec<String>,
}

/// One view, list, model or contract that differs.
#[derive(Debug, Serialize)]
pub(super) struct FileChange {
    pub kind: &'static str,
    pub name: String,
    pub change: &'static str,
    /// Rules that name it, or name a view that does.
    pub rules: Vec<String>,
}

/// Compares two folders.
pub(super) fn changes(old: (&Path, &RuleSet), new: (&Path, &RuleSet)) -> Result<Changes, Failure> {
    let rules = |set: &RuleSet| -> BTreeMap<String, Rule> {
        let all = set.running().chain(&set.resting);
        all.map(|rule| (rule.header.id.clone(), rule.clone())).collect()
    };
    let (before, after) = (rules(old.1), rules(new.1));
    let only = |one: &BTreeMap<String, Rule>, other: &BTreeMap<String, Rule>| -> Vec<String> {
        one.keys().filter(|id| !other.contains_key(*id)).cloned().collect()
    };
    let both = after.iter().filter_map(|(id, rule)| Some((before.get(id)?, rule)));
    let changed: Vec<RuleChange> =
        both.clone().filter_map(|(before, after)| rule_change(before, after)).collect();
    Ok(Changes {
        added: only(&after, &before),
        removed: only(&before, &after),
        unchanged: both.count() - changed.len(),
        changed,
        files: file_changes(old.0, new.0, &after)?,
    })
}

fn rule_change(before: &Rule, after: &Rule) -> Option<RuleChange> {
    let (old, new) = (keys(&before.source.text), keys(&after.source.text));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut parts: Vec<String> =
        names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    let (query_before, query_after) = (query(&before.source.text), query(&after.source.text));
    if words(&query_before) != words(&query_after) {
        parts.push("query".to_owned());
    }
    if parts.is_empty() && before.version != after.version {
        parts.push("views or models".to_owned());
    }
    let diff = diff(&normal(&before.source.text), &normal(&after.source.text));
    (!parts.is_empty()).then(|| RuleChange {
        rule: after.header.id.clone(),
        parts,
        versions: (before.version.clone(), after.version.clone()),
        diff,
    })
}

/// Keys of a header with their values.
fn keys(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let (key, value) = line.trim().strip_prefix("--")?.trim().strip_prefix('@')?.split_once(':')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

fn query(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with("--")).collect()
}

fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().flat_map(|line| line.split_whitespace()).collect()
}

/// Header lines and the query, without comments, empty lines and white space at the end.
fn normal(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    let comment =
        |line: &str| line.trim_start().strip_prefix("--").is_some_and(|rest| !rest.trim().starts_with('@'));
    lines.filter(|line| !line.is_empty() && !comment(line)).collect()
}

/// The longest common lines kept, the others with a sign; only two lines of context.
fn diff(old: &[String], new: &[String]) -> Vec<String> {
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] =
                if one == other { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines: Vec<(char, &str)> = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', &old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', &old[i]));
            i += 1;
        } else {
            lines.push(('+', &new[j]));
            j += 1;
        }
    }
    let near = |index: usize| {
        let around = index.saturating_sub(2)..(index + 3).min(lines.len());
        lines[around].iter().any(|(sign, _)| *sign != ' ')
    };
    let shown = lines.iter().enumerate().filter(|(index, _)| near(*index)).take(LINES_MAX);
    shown.map(|(_, (sign, line))| format!("{sign} {line}")).collect()
}

/// Content of everything that is no rule, by kind and name.
type Contents = BTreeMap<(&'static str, String), Vec<u8>>;

fn file_changes(old: &Path, new: &Path, rules: &BTreeMap<String, Rule>) -> Result<Vec<FileChange>, Failure> {
    let (before, after) = (contents(old)?, contents(new)?);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let views: Vec<(String, String)> = after
        .iter()
        .filter(|((kind, _), _)| *kind == "view")
        .map(|((_, name), text)| (name.clone(), String::from_utf8_lossy(text).into_owned()))
        .collect();
    let change = |key: (&'static str, String)| {
        let change = match (before.get(&key), after.get(&key)) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            (one, other) if one != other => "changed",
            _ => return None,
        };
        let (kind, name) = key;
        let touched =
            rules.values().filter(|rule| kind == "contract" || reads(&rule.source.text, &name, &views, 0));
        Some(FileChange { kind, change, rules: touched.map(|rule| rule.header.id.clone()).collect(), name })
    };
    Ok(names.into_iter().filter_map(change).collect())
}

/// Whether a text names something, itself or through views; views of views end at some depth.
fn reads(text: &str, name: &str, views: &[(String, String)], depth: usize) -> bool {
    mentions(text, name)
        || (depth < 16
            && views.iter().any(|(view, own)| {
                view != name && mentions(text, view) && reads(own, name, views, depth + 1)
            }))
}

fn contents(folder: &Path) -> Result<Contents, Failure> {
    let files = RuleFiles::open(folder, None).map_err(Failure::usage)?;
    let mut all = Contents::new();
    if let Some(contract) = &files.catalog.contract {
        all.insert(("contract", "schema.sql".to_owned()), contract.text.clone().into_bytes());
    }
    all.extend(files.view_texts.into_iter().map(|(name, text)| (("view", name), text.into_bytes())));
    for (kind, below) in [("list", "lists"), ("model", "models")] {
        let Ok(entries) = std::fs::read_dir(folder.join(below)) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()) {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let bytes = std::fs::read(&path)
                .map_err(|cause| Failure::outside(format!("{} can't be read: {cause}", path.display())))?;
            all.insert((kind, name), bytes);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_changed_and_two_lines_around_it() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            diff(&lines("a b c d e f"), &lines("a b c X e f")),
            ["  b", "  c", "- d", "+ X", "  e", "  f"]
        );
        assert_eq!(diff(&lines("a b"), &lines("a b")), [] as [String; 0]);
    }

    #[test]
    fn a_list_is_read_through_views() {
        let views = [("v".to_owned(), "select x from l".to_owned())];
        assert!(reads("select * from v", "l", &views, 0) && !reads("select * from w", "l", &views, 0));
    }
}
