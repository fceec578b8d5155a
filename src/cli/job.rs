//! What the verbs that evaluate rules have in common: a rules folder becomes a running core.

use std::path::Path;
use std::sync::Arc;

use super::failure::{Exit, Failure};
use super::terminal;
use crate::alert::{AlertMaker, AlertSettings};
use crate::decode::{DecodeLimits, Decoders, StreamBinding};
use crate::diagnostic::render_all;
use crate::event::Contract;
use crate::pipeline::{Core, CoreSettings, columns_read, engines};
use crate::rules::{AnswerOrder, Rule, RuleFiles, RuleSet};

/// Reads and compiles a rules folder or a rule file.
pub(super) fn open_rules(path: &Path, schema: Option<&Path>, order: AnswerOrder) -> Result<RuleSet, Failure> {
    let files = RuleFiles::open(path, schema).map_err(Failure::usage)?;
    RuleSet::compile(files, order).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::findings("the event contract can't be used")
    })
}

/// Compiles rules and stops if there is any error in them.
pub(super) fn open_sound_rules(
    path: &Path,
    schema: Option<&Path>,
    order: AnswerOrder,
) -> Result<RuleSet, Failure> {
    let set = open_rules(path, schema, order)?;
    eprint!("{}", render_all(&set.diagnostics, terminal::colour_of_errors()));
    if set.has_errors() {
        return Err(Failure {
            exit: Exit::Findings,
            message: "the rules above can't be used; mend them, or set `-- @status: off`".to_owned(),
        });
    }
    Ok(set)
}

/// A core and makers of alerts for its two graphs.
pub(super) struct Evaluation {
    pub core: Core,
    pub on_arrival: AlertMaker,
    pub in_order: AlertMaker,
    /// For each stream, the columns that are read.
    pub used: Vec<Vec<bool>>,
}

/// Sets up decoding and evaluation of a rule set.
pub(super) fn evaluation(
    set: &RuleSet,
    bindings: &[StreamBinding],
    limits: DecodeLimits,
    settings: CoreSettings,
    alerts: &AlertSettings,
) -> Result<Evaluation, Failure> {
    let contract = &set.catalog.contract;
    let [arrival, ordered] =
        engines(&set.on_arrival, &set.in_order, &settings.windows).map_err(Failure::findings)?;
    let used = columns_read(contract, [&arrival, &ordered]);
    let decoders = Decoders::of_contract(contract, bindings, &used, limits).map_err(Failure::usage)?;
    let maker = |rules: &[Rule]| AlertMaker::new(alerts.clone(), contract.clone(), Arc::from(rules));
    Ok(Evaluation {
        core: Core::new(contract, decoders, arrival, ordered, settings),
        on_arrival: maker(&set.on_arrival.rules),
        in_order: maker(&set.in_order.rules),
        used,
    })
}

/// The stream of a name, or the only one; the error lists the choices.
pub(super) fn stream_named(contract: &Contract, name: Option<&str>, file: &Path) -> Result<usize, Failure> {
    let names = || contract.streams.iter().map(|stream| stream.name.as_str());
    if let Some(name) = name {
        let found = contract.stream(name).map(|(index, _)| index);
        return found.ok_or_else(|| {
            let near = crate::diagnostic::suggest(name, names())
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            Failure::usage(format!(
                "the contract has no stream {name}: it has {}{near}",
                crate::diagnostic::choices(names())
            ))
        });
    }
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if contract.streams.len() == 1 {
        return Ok(0);
    }
    let by_name = contract
        .streams
        .iter()
        .position(|stream| stem == stream.name || stem.starts_with(&format!("{}-", stream.name)));
    by_name.ok_or_else(|| {
        Failure::usage(format!(
            "{} could belong to any of the streams {}: write --input STREAM={}",
            file.display(),
            crate::diagnostic::choices(names()),
            file.display()
        ))
    })
}
