//! From the file's text to [`Settings`], or to all that is wrong with it.
//!
//! Order: parse what can be parsed, mask secrets in the text that findings will show, walk all sections,
//! then compare keys with each other. Where the text itself is broken, findings that may only follow from
//! that (something is missing, something contradicts) are left out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::keys::SECTIONS;
use super::mask::{self, AsParsed};
use super::reader::{Places, Reader, Section, error_at};
use super::substitute::Surroundings;
use super::{Settings, contradictions, history, kafka, sections};
use crate::diagnostic::{Diagnostic, Severity, SourceText, line_column};

/// Settings that hold together, and what is worth saying about them.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Findings that do not stop the job, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    source: Arc<SourceText>,
    places: Places,
}

/// What the settings are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run the job: brokers and streams must be there, and this version must be able to do it all.
    Run,
    /// To read rules or files with: what only a running job needs may be left out.
    Inspect,
}

impl Settings {
    /// Reads a settings file; its references are resolved against this process's environment.
    pub fn load(path: &Path, purpose: Purpose) -> Result<Loaded, Vec<Diagnostic>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let help = "name the settings file with --config; relative paths start at the current folder";
            let message = format!("the settings cannot be read: {error}");
            vec![Diagnostic::file_error(path.display(), message).with_help(help)]
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(path.display(), &text, &Surroundings::of_this_process(folder), purpose)
    }

    /// Reads settings from text; `file` is the name that findings show.
    pub fn parse(
        file: impl fmt::Display,
        text: &str,
        surroundings: &Surroundings,
        purpose: Purpose,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        let parsed = if syntax_errors.is_empty() { AsParsed::Whole } else { AsParsed::Broken };
        let shown = mask::mask_secrets(text, document.get_ref(), parsed);
        let source = SourceText::new(file, shown);
        let syntax: Vec<_> = syntax_errors.iter().map(|error| syntax_finding(&source, error)).collect();
        let mut reader = Reader {
            source: Arc::clone(&source),
            surroundings,
            findings: Vec::new(),
            places: Places::new(),
            faulty: Vec::new(),
        };
        let settings = walk(&mut reader, &document);
        if syntax.is_empty() {
            contradictions::check(&mut reader, &settings, purpose);
        }
        let Reader { mut findings, places, .. } = reader;
        findings.retain(|finding| stands_alone(finding, &syntax));
        findings.extend(syntax);
        findings.sort_by_key(|finding| finding.span.as_ref().map_or(0, |span| span.start));
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        Ok(Loaded { settings, warnings: findings, source, places })
    }
}

impl Loaded {
    /// An error at a key (its full dotted name, such as `streams.payments.topic_key`), for what only later
    /// stages can see: a stream that the contract doesn't have, a folder that isn't there.
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        error_at(&self.source, &self.places, key, message)
    }
}

fn walk<'a>(reader: &mut Reader<'a>, document: &'a Spanned<DeTable<'a>>) -> Settings {
    let root = Section { keys: "", path: String::new(), table: Some(document.get_ref()), mistyped: false };
    for key in document.get_ref().keys().filter(|key| !SECTIONS.contains(&&**key.get_ref())) {
        reader.unknown_key("", key.get_ref(), key.span(), &SECTIONS);
    }
    let job = sections::job(reader, &root);
    let kafka = kafka::read(reader, &root);
    let streams = sections::streams(reader, &root);
    let output = sections::output(reader, &root);
    let decisions = sections::decisions(reader, &root);
    let labels = sections::labels(reader, &root);
    let limits = sections::limits(reader, &root);
    let history = history::history(reader, &root);
    let http = sections::http(reader, &root);
    Settings { job, kafka, streams, output, decisions, labels, limits, history, http }
}

fn syntax_finding(source: &Arc<SourceText>, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or_default();
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Diagnostic::error(source, span, format!("this is not TOML: {message}")).with_code("syntax")
}

/// Whether a finding holds whatever the broken lines were meant to say.
fn stands_alone(finding: &Diagnostic, syntax: &[Diagnostic]) -> bool {
    let line = |finding: &Diagnostic| {
        finding.span.as_ref().map(|span| line_column(&finding.source.text, span.start).line)
    };
    let follows = !syntax.is_empty() && finding.code == Some("missing-key");
    !follows && !syntax.iter().any(|broken| line(broken) == line(finding))
}
