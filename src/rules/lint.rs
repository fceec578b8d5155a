//! What is probably not meant in the rules and models of a folder: warnings of `check` and `plan`.
//!
//! Takes a compiled [`RuleSet`]; hands on warnings, each at its file and line. They stop nothing. What would surprise: a
//! rule counts as redundant only where another one with the same entity and `@dedup`, the same status and no
//! weaker action, score or severity hits whenever it does; a stricter rule that blocks where a wider one reviews is meant.

use std::ops::Range;
use std::path::Path;

use super::{CompiledRules, Points, Rule, RuleSet};
use crate::diagnostic::{Diagnostic, Severity};
use crate::score::{EarlyStop, Model};
use crate::sql::{
    Lint, Place, compared_constants, first_word, implicit_frames, implied, needless_null_tests,
    odd_comparisons, query_lints,
};

/// Every kind of lint, and what it finds.
pub const LINTS: &[(&str, &str)] = &[
    ("no-test", "a rule without a test file beside it"),
    ("implicit-frame", "a window whose frame, or the end of it, is not written"),
    ("never-true", "a condition that no event can meet"),
    ("always-true", "a condition that every event meets"),
    ("redundant-rule", "a rule that hits only where another one does"),
    ("unguarded-division", "a division that may be by zero"),
    ("text-with-number", "a text that is compared with a number"),
    ("early-stopping", "a model that holds more trees than its early stopping chose"),
];

impl RuleSet {
    /// What is probably not meant in the rules that run, by file and place.
    pub fn lints(&self) -> Vec<Diagnostic> {
        let mut findings = self.model_lints();
        findings.extend(self.running().filter_map(no_test));
        for compiled in [&self.on_arrival, &self.in_order] {
            findings.extend(compiled.rules.iter().flat_map(|rule| self.text_lints(rule)));
            findings.extend(graph_lints(compiled));
            findings.extend(redundant(compiled));
        }
        // Where the text says which condition is never true, the graph need not say that there is one.
        let said: Vec<(String, Option<Range<usize>>)> = findings
            .iter()
            .filter(|finding| finding.code == Some("never-true"))
            .map(|finding| (finding.source.file.clone(), finding.span.clone()))
            .collect();
        findings.retain(|finding| {
            let elsewhere = |(file, span): &(String, Option<Range<usize>>)| {
                *file == finding.source.file && *span != finding.span
            };
            let whole = finding.span == Some(first_word(&finding.source.text));
            finding.code != Some("never-true") || !whole || !said.iter().any(elsewhere)
        });
        let place = |finding: &Diagnostic| {
            (finding.source.file.clone(), finding.span.as_ref().map(|span| span.start), finding.code)
        };
        findings.sort_by_key(place);
        findings
    }

    /// What is probably not meant in the models, whether a rule calls them or not.
    pub fn model_lints(&self) -> Vec<Diagnostic> {
        self.catalog.known_models().filter_map(|model| early_stopping(model)).collect()
    }

    fn text_lints(&self, rule: &Rule) -> Vec<Diagnostic> {
        let found = implicit_frames(&rule.source).into_iter();
        let found = found.chain(needless_null_tests(&self.catalog.contract, &rule.source));
        let found = found.chain(odd_comparisons(&self.catalog.contract, &rule.source));
        found.map(|lint| finding(rule, lint)).collect()
    }
}

/// The library's two ways to predict differ for such a file, and nothing in it says which one is meant.
fn early_stopping(model: &Model) -> Option<Diagnostic> {
    let EarlyStop { rounds, chosen } = model.early_stop?;
    let message = format!(
        "model {} answers with all of its {rounds} rounds of trees, and its early stopping chose the first {chosen}",
        model.name
    );
    let help = format!(
        "`Booster.predict` takes all of them too, the scikit-learn wrapper the chosen ones: for those save \
         `booster[:{chosen}]`, and for all of them save it after `booster.set_attr(best_iteration=None)`"
    );
    let finding = Diagnostic::file_error(model.file.display(), message).with_help(help);
    Some(Diagnostic { severity: Severity::Warning, ..finding }.with_code("early-stopping"))
}

fn no_test(rule: &Rule) -> Option<Diagnostic> {
    let tests = Path::new(&rule.source.file).with_extension("test.toml");
    if tests.is_file() {
        return None;
    }
    let file = &rule.source.file;
    let error = Diagnostic::file_error(file, format!("no test says when {} hits", rule.header.id));
    let help = format!("`tollgate test --new {file}` writes {} to start from", tests.display());
    Some(Diagnostic { severity: Severity::Warning, ..error }.with_help(help).with_code("no-test"))
}

fn graph_lints(compiled: &CompiledRules) -> Vec<Diagnostic> {
    let each = compiled.rules.iter().zip(&compiled.graph.queries);
    each.flat_map(|(rule, query)| {
        query_lints(&compiled.graph, query).into_iter().map(|lint| finding(rule, lint))
    })
    .collect()
}

/// Rules that hit only where another one does that says no less.
fn redundant(compiled: &CompiledRules) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (index, rule) in compiled.rules.iter().enumerate() {
        let others = compiled.rules.iter().enumerate().filter(|(other, _)| *other != index);
        let covering = others.into_iter().find(|(other, wide)| {
            let queries = &compiled.graph.queries;
            let covers =
                says_no_less(wide, rule) && implied(&compiled.graph, &queries[index], &queries[*other]);
            // Of two rules that ask the same, the later one is redundant.
            let mutual = covers
                && says_no_less(rule, wide)
                && implied(&compiled.graph, &queries[*other], &queries[index]);
            covers && (!mutual || *other < index)
        });
        if let Some((_, wide)) = covering {
            let id = &wide.header.id;
            let message = format!("{} hits only where {id} hits", rule.header.id);
            let help = format!(
                "{id} ({}) asks for less and does no less: remove one of them, or change a threshold",
                wide.source.file
            );
            findings.push(finding(rule, Lint { code: "redundant-rule", message, help, place: Place::Rule }));
        }
    }
    findings
}

fn says_no_less(wide: &Rule, narrow: &Rule) -> bool {
    let (wide, narrow) = (&wide.header, &narrow.header);
    wide.status == narrow.status
        && wide.action >= narrow.action
        && says_no_fewer_points(&wide.score, &narrow.score)
        && wide.severity >= narrow.severity
        && wide.entity_column() == narrow.entity_column()
        && wide.dedup == narrow.dedup
        && (wide.budget.is_none() || wide.budget == narrow.budget)
        && wide.valid_from <= narrow.valid_from
        && (wide.valid_until.is_none() || wide.valid_until == narrow.valid_until)
}

fn says_no_fewer_points(wide: &Points, narrow: &Points) -> bool {
    match (wide.fixed(), narrow.fixed()) {
        (Some(wide), Some(narrow)) => wide >= narrow,
        _ => wide == narrow,
    }
}

fn finding(rule: &Rule, lint: Lint) -> Diagnostic {
    let place = match &lint.place {
        Place::Span(span) => span.clone(),
        Place::Column(column) => comparison(rule, column).unwrap_or_else(|| first_word(&rule.source.text)),
        Place::Rule => first_word(&rule.source.text),
    };
    Diagnostic::warning(&rule.source, place, lint.message).with_help(lint.help).with_code(lint.code)
}

/// Where a column is compared with a number; the last place, for `QUALIFY` stands at the end.
fn comparison(rule: &Rule, column: &str) -> Option<Range<usize>> {
    let constants = compared_constants(&rule.source);
    constants
        .into_iter()
        .rev()
        .find(|constant| constant.column == column.to_lowercase())
        .map(|found| found.span)
}
