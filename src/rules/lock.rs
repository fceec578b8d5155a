//! `rules.lock`: which version of each rule was accepted.
//!
//! A version is a hash of what changes a rule's answers, so a lock that is kept beside the rules shows in a review
//! what a change really touches: an edit of a view may change ten rules, one of a title none. Takes the text of the
//! lock and the compiled rules; hands on findings. Ids are for good, for history and alerts go by them, so one that
//! is gone is told as well.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::{Rule, RuleSet};
use crate::diagnostic::{Diagnostic, Severity, SourceText};

/// Name of the file in the rules folder.
pub const LOCK_FILE: &str = "rules.lock";

/// Id to version of every rule, draft or not, as it was accepted.
#[derive(Debug)]
pub struct Lock {
    source: Arc<SourceText>,
    versions: BTreeMap<String, Spanned<String>>,
}

impl Lock {
    /// Where the lock of a rules folder stands.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(LOCK_FILE)
    }

    /// Reads the lock of a folder; none where there is no such file.
    ///
    /// # Errors
    /// A file that can't be read or is no lock.
    pub fn open(folder: &Path) -> Result<Option<Self>, Diagnostic> {
        let path = Self::path(folder);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                return Err(Diagnostic::file_error(
                    path.display(),
                    format!("the file can't be read: {cause}"),
                ));
            }
        };
        let source = SourceText::new(path.display(), text);
        let versions = toml::from_str(&source.text).map_err(|error| {
            let message = format!("this is no lock: {}", error.message().lines().next().unwrap_or_default());
            Diagnostic::error(&source, error.span().unwrap_or(0..0), message)
                .with_help("write it anew with `tollgate check --write-lock`")
                .with_code("lock")
        })?;
        Ok(Some(Self { source, versions }))
    }

    /// Ids of all rules that were accepted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(String::as_str)
    }

    /// The text of the lock for the rules as they are.
    pub fn text_of(set: &RuleSet) -> String {
        let versions: BTreeMap<&str, &str> =
            all(set).map(|rule| (rule.header.id.as_str(), rule.version.as_str())).collect();
        let mut text = String::from(
            "# Rule id = version. Written by `tollgate check --write-lock`; a change here is a change of answers.\n",
        );
        for (id, version) in versions {
            let _ = writeln!(text, "{id} = \"{version}\"");
        }
        text
    }

    /// Where the rules are no longer what the lock says.
    pub fn compare(&self, set: &RuleSet, severity: Severity) -> Vec<Diagnostic> {
        let finding = |source: &Arc<SourceText>, span, message: String, help: &str| Diagnostic {
            severity,
            ..Diagnostic::error(source, span, message).with_help(help).with_code("lock")
        };
        let rules: BTreeMap<&str, &Rule> = all(set).map(|rule| (rule.header.id.as_str(), rule)).collect();
        let mut findings = Vec::new();
        for (id, rule) in &rules {
            let start = rule.source.text.find("@id").map_or(0..0, |at| at..at + 3);
            match self.versions.get(*id).map(Spanned::get_ref) {
                Some(version) if *version == rule.version => {}
                Some(version) => findings.push(finding(
                    &rule.source,
                    start,
                    format!(
                        "rule {id} answers otherwise than its version {version} in {LOCK_FILE}: it is {} now",
                        rule.version
                    ),
                    "test and backtest it, then accept it with `tollgate check --write-lock`",
                )),
                None => findings.push(finding(
                    &rule.source,
                    start,
                    format!("rule {id} is not in {LOCK_FILE}"),
                    "accept it with `tollgate check --write-lock`",
                )),
            }
        }
        for (id, version) in self.versions.iter().filter(|(id, _)| !rules.contains_key(id.as_str())) {
            findings.push(finding(
                &self.source,
                version.span(),
                format!("rule {id} is in {LOCK_FILE} and in no rule file"),
                "an id is for good: bring the rule back, with `-- @status: off` to silence it, or take it out with `tollgate check --write-lock`",
            ));
        }
        findings
    }
}

/// Every sound rule of a set.
fn all(set: &RuleSet) -> impl Iterator<Item = &Rule> {
    set.running().chain(&set.resting)
}
