//! What the verbs that evaluate rules have in common: a rules folder becomes a running core.

use std::path::Path;

use super::failure::{Exit, Failure};
use super::terminal;
use crate::diagnostic::render_all;
use crate::event::Contract;
use crate::pipeline::PartsError;
use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

/// When rows are answered, as the command line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum EmitArgument {
    /// Each row as it arrives.
    OnArrival,
    /// In order of event time, rows of equal time together: the answer of batch SQL.
    InOrder,
}

/// When rules are answered: as they say themselves, unless the command line does.
pub(super) fn order_of(emit: Option<EmitArgument>) -> AnswerOrder {
    match emit {
        None => AnswerOrder::Default(Emit::OnArrival),
        Some(EmitArgument::OnArrival) => AnswerOrder::Forced(Emit::OnArrival),
        Some(EmitArgument::InOrder) => AnswerOrder::Forced(Emit::InOrder),
    }
}

/// Reads and compiles a rules folder, or a rule file, which then runs whatever its status.
pub(super) fn open_rules(path: &Path, schema: Option<&Path>, order: AnswerOrder) -> Result<RuleSet, Failure> {
    let files = RuleFiles::open(path, schema).map_err(Failure::usage)?;
    let alone = path.is_file();
    RuleSet::compile_chosen(files, order, |header| alone || header.runs()).map_err(|findings| {
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

/// How rules that can't be set up are told to the shell.
pub(super) fn parts_failure(error: PartsError) -> Failure {
    match error {
        PartsError::Engine(error) => Failure::findings(error),
        PartsError::Decode(error) => Failure::usage(error),
    }
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
