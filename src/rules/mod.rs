//! Rule files: a folder of SQL becomes a [`RuleSet`] that a job can run.
//!
//! Takes a folder (`schema.sql`, rules and views in any sub-folder, `lists/`, `models/`); hands on the rules that are
//! sound, compiled into graphs, and every finding of every file. A broken rule is left out and reported; it
//! never stops the others. What would surprise: a rule's version is a hash of what changes its answers
//! (query, action, score, reason, dedup, budget, views, models), so a new title or owner is no new version.

mod entry;
mod folder;
mod header;
mod headers;
mod limit;
mod lint;
mod lock;
mod points;
mod reason;
mod standing;
mod version;

pub use folder::{FolderError, RuleFiles, fingerprint};
pub use header::{Action, Emit, Header, RuleSeverity, Status};
pub use limit::{Budget, Dedup};
pub use lint::LINTS;
pub use lock::{LOCK_FILE, Lock};
pub use points::{POINTS_MAX, Points};
pub use reason::{Reason, ReasonPart};
pub use standing::{Stand, Standings, Switch};
pub use version::differences;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceText};
use crate::graph::Engine;
use crate::sql::{Catalog, Query, RuleGraph, compile, first_word};
use crate::window::WindowSettings;

/// One sound rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What its header says.
    pub header: Header,
    /// Hash of what changes its answers, 12 hex digits.
    pub version: String,
    /// Its file.
    pub source: Arc<SourceText>,
    /// Names of the columns it selects, in order.
    pub columns: Vec<String>,
}

/// Whether a name stands in a text of SQL as a word of its own, in whatever case.
pub fn mentions(text: &str, name: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let name = name.to_lowercase();
    words.any(|word| word.to_lowercase() == name)
}

/// The rules that run under one order of answers, and their graph.
#[derive(Debug, Clone, Default)]
pub struct CompiledRules {
    /// Rules, indexed as the graph's queries.
    pub rules: Vec<Rule>,
    /// Their shared graph.
    pub graph: RuleGraph,
}

/// When the rules of a set are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerOrder {
    /// As each header says, and so where one says nothing.
    Default(Emit),
    /// So, whatever the headers say.
    Forced(Emit),
}

impl AnswerOrder {
    fn of(self, header: &Header) -> Emit {
        match self {
            Self::Default(emit) => header.emit.unwrap_or(emit),
            Self::Forced(emit) => emit,
        }
    }
}

/// All rules of a folder, compiled.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// Streams, views, lists, functions.
    pub catalog: Arc<Catalog>,
    /// Rules answered as their rows arrive.
    pub on_arrival: CompiledRules,
    /// Rules answered in order of event time.
    pub in_order: CompiledRules,
    /// Sound rules that do not run: drafts and those switched off.
    pub resting: Vec<Rule>,
    /// Hash of all that changes what the rules that run answer, 12 hex digits.
    pub version: String,
    /// What was found in the files, in the order of their names.
    pub diagnostics: Vec<Diagnostic>,
}

impl RuleSet {
    /// Compiles all files.
    ///
    /// # Errors
    /// The findings in the contract, without which nothing can be compiled.
    pub fn compile(files: RuleFiles, order: AnswerOrder) -> Result<Self, Vec<Diagnostic>> {
        Self::compile_chosen(files, order, Header::runs)
    }

    /// Compiles all files; `chosen` says which rules run, so that a backtest can run drafts as well.
    ///
    /// # Errors
    /// The findings in the contract, without which nothing can be compiled.
    pub fn compile_chosen(
        files: RuleFiles,
        order: AnswerOrder,
        chosen: impl Fn(&Header) -> bool,
    ) -> Result<Self, Vec<Diagnostic>> {
        let read = headers::read_all(&files, order);
        let (catalog, mut diagnostics) = Catalog::build(files.catalog)?;
        diagnostics.splice(0..0, files.diagnostics);
        let headers = read.sound;
        diagnostics.extend(read.findings);
        diagnostics.extend(queries_of(&catalog, &read.broken));
        let mut set = Self {
            on_arrival: CompiledRules::default(),
            in_order: CompiledRules::default(),
            resting: Vec::new(),
            version: String::new(),
            diagnostics,
            catalog: Arc::new(catalog),
        };
        for wanted in [Emit::OnArrival, Emit::InOrder] {
            let runs =
                |header: &&(Header, Arc<SourceText>)| chosen(&header.0) && order.of(&header.0) == wanted;
            let compiled = set.compile_rules(headers.iter().filter(runs), &files.view_texts);
            match wanted {
                Emit::OnArrival => set.on_arrival = compiled,
                Emit::InOrder => set.in_order = compiled,
            }
        }
        set.resting =
            set.compile_rules(headers.iter().filter(|header| !chosen(&header.0)), &files.view_texts).rules;
        set.version = set.version_now();
        set.diagnostics.sort_by(|a, b| {
            (&a.source.file, a.span.as_ref().map(|s| s.start))
                .cmp(&(&b.source.file, b.span.as_ref().map(|s| s.start)))
        });
        Ok(set)
    }

    fn version_now(&self) -> String {
        let answered = |emit| move |rule| (rule, emit);
        let on_arrival = self.on_arrival.rules.iter().map(answered(Emit::OnArrival));
        let in_order = self.in_order.rules.iter().map(answered(Emit::InOrder));
        version::of_set(on_arrival.chain(in_order), self.catalog.list_versions())
    }

    /// The same set with some of its rules resting.
    #[must_use]
    pub fn without(&self, ids: &BTreeSet<String>) -> Self {
        let mut set = self.clone();
        for compiled in [&mut set.on_arrival, &mut set.in_order] {
            let (resting, rules): (Vec<Rule>, Vec<Rule>) = std::mem::take(&mut compiled.rules)
                .into_iter()
                .partition(|rule| ids.contains(&rule.header.id));
            if !resting.is_empty() {
                // Anew, so that nothing of the graph is left that only they read.
                let query =
                    |rule: &Rule| Query { id: rule.header.id.clone(), source: Arc::clone(&rule.source) };
                compiled.graph = compile(&set.catalog, &rules.iter().map(query).collect::<Vec<_>>()).graph;
            }
            compiled.rules = rules;
            set.resting.extend(resting);
        }
        set.version = set.version_now();
        set
    }

    fn compile_rules<'a>(
        &mut self,
        headers: impl Iterator<Item = &'a (Header, Arc<SourceText>)>,
        views: &[(String, String)],
    ) -> CompiledRules {
        let headers: Vec<_> = headers.collect();
        let queries: Vec<Query> = headers
            .iter()
            .map(|(header, source)| Query { id: header.id.clone(), source: Arc::clone(source) })
            .collect();
        let mut compiled = compile(&self.catalog, &queries);
        self.diagnostics.append(&mut compiled.diagnostics);
        self.leave_out_what_cannot_run(&mut compiled.graph, &queries);
        let models = self.catalog.model_versions();
        let mut rules = Vec::new();
        let mut sound = Vec::new();
        for plan in compiled.graph.queries {
            let Some((header, source)) = headers.iter().find(|(header, _)| header.id == plan.id) else {
                continue;
            };
            let columns: Vec<String> = plan.outputs.iter().map(|output| output.name.clone()).collect();
            let mut findings = header.check_columns(source, &columns);
            findings.extend(points::check_points(header, source, &plan.outputs));
            if findings.is_empty() {
                let version = version::of_rule(header, source, views, &models);
                rules.push(Rule { header: header.clone(), version, source: Arc::clone(source), columns });
                sound.push(plan);
            }
            self.diagnostics.extend(findings);
        }
        CompiledRules { rules, graph: RuleGraph { row_sets: compiled.graph.row_sets, queries: sound } }
    }

    /// Drops queries that plan and can't be run, such as one with a parameter, and reports them.
    fn leave_out_what_cannot_run(&mut self, graph: &mut RuleGraph, queries: &[Query]) {
        let settings = WindowSettings::default();
        if Engine::new(graph.clone(), &settings).is_ok() {
            return;
        }
        for plan in std::mem::take(&mut graph.queries) {
            let alone = RuleGraph { row_sets: graph.row_sets.clone(), queries: vec![plan.clone()] };
            match (Engine::new(alone, &settings), queries.iter().find(|query| query.id == plan.id)) {
                (Err(cause), Some(query)) => {
                    let message = format!("the query plans, but it can't be run: {cause}");
                    let place = first_word(&query.source.text);
                    self.diagnostics.push(Diagnostic::error(&query.source, place, message).with_code("plan"));
                }
                _ => graph.queries.push(plan),
            }
        }
    }

    /// Every rule that runs.
    pub fn running(&self) -> impl Iterator<Item = &Rule> {
        self.on_arrival.rules.iter().chain(&self.in_order.rules)
    }

    /// The same with the order in which each is answered, by id.
    pub fn answered(&self) -> BTreeMap<&str, (&Rule, Emit)> {
        let orders = [(&self.on_arrival, Emit::OnArrival), (&self.in_order, Emit::InOrder)];
        let all = orders.into_iter().flat_map(|(set, emit)| set.rules.iter().map(move |rule| (rule, emit)));
        all.map(|(rule, emit)| (&*rule.header.id, (rule, emit))).collect()
    }

    /// Whether any file holds an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|finding| finding.severity == crate::diagnostic::Severity::Error)
    }
}

/// What is wrong with the queries of files whose headers can't be used: all is said in one go.
fn queries_of(catalog: &Catalog, files: &[Arc<SourceText>]) -> Vec<Diagnostic> {
    let query = |source: &Arc<SourceText>| Query { id: source.file.clone(), source: Arc::clone(source) };
    compile(catalog, &files.iter().map(query).collect::<Vec<_>>()).diagnostics
}
