//! What is to be run: the rules of a folder, variants of some of them, and the columns that are scored.

use std::path::Path;

use super::Arguments;
use crate::backtest::{EventColumns, Ruled, Sweep, Variant};
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal;
use crate::diagnostic::{choices, render_all, suggest};
use crate::event::{Contract, Stream};
use crate::rules::{AnswerOrder, CompiledRules, Emit, Header, RuleFiles, RuleSet, Status};

/// Rules compiled for the order of the report, and for the other one where that is compared.
pub(super) struct Prepared {
    /// Under the order that is reported.
    pub set: RuleSet,
    /// Under the other order.
    pub other: Option<RuleSet>,
    /// Variants, each with the index of its sweep.
    pub variants: Vec<(usize, Variant)>,
    /// Whether the rules were asked for by name, whatever their status.
    named: bool,
}

impl Prepared {
    /// Opens a folder or a rule file and compiles what runs of it.
    pub(super) fn open(path: &Path, arguments: &Arguments, sweeps: &[Sweep]) -> Result<Self, Failure> {
        let choice = Choice { only: &arguments.only, one_file: path.is_file(), drafts: arguments.drafts };
        let emit = arguments.emit();
        let variants = variants_of(path, arguments, sweeps)?;
        let set = compiled(path, arguments, emit, &choice, &variants)?;
        eprint!("{}", render_all(&set.diagnostics, terminal::colour_of_errors()));
        if set.has_errors() {
            let message = "the rules above can't be used; mend them, or set `-- @status: off`".to_owned();
            return Err(Failure { exit: Exit::Findings, message });
        }
        // Compared with a folder that lacks rules of --only, they are new.
        if path == arguments.rules || choice.only.is_empty() {
            choice.all_found(&set)?;
            if set.running().next().is_none() {
                return Err(Failure::usage(
                    "no rule runs: each is a draft or off; --drafts runs drafts as well",
                ));
            }
        }
        let other = if arguments.one_order || path != arguments.rules {
            None
        } else {
            Some(compiled(path, arguments, other_order(emit), &choice, &[])?)
        };
        Ok(Self { set, other, variants, named: choice.one_file || !choice.only.is_empty() })
    }

    /// Ids of the rules that run, without variants.
    pub(super) fn running(&self) -> impl Iterator<Item = &str> {
        let ids = self.set.running().map(|rule| rule.header.id.as_str());
        ids.filter(|id| self.variants.iter().all(|(_, variant)| variant.id != *id))
    }

    /// Tells which rules decide together: live ones, as in a job, and those that were asked for by name. Where there is
    /// none, all do.
    pub(super) fn tell_counting(&self, ruled: &mut [Ruled]) {
        let counts = |ruled: &Ruled| self.named || ruled.rule.header.status == Status::Live;
        let none = !ruled.iter().any(counts);
        ruled.iter_mut().for_each(|ruled| ruled.counts = none || counts(ruled));
    }
}

/// The other of the two orders.
pub(super) fn other_order(emit: Emit) -> Emit {
    match emit {
        Emit::OnArrival => Emit::InOrder,
        Emit::InOrder => Emit::OnArrival,
    }
}

/// The rules of a set that run under an order.
pub(super) fn of_order(set: &RuleSet, emit: Emit) -> &CompiledRules {
    match emit {
        Emit::OnArrival => &set.on_arrival,
        Emit::InOrder => &set.in_order,
    }
}

/// Which rules of a folder run.
struct Choice<'a> {
    only: &'a [String],
    one_file: bool,
    drafts: bool,
}

impl Choice<'_> {
    fn takes(&self, header: &Header) -> bool {
        if !self.only.is_empty() {
            return self.only.contains(&header.id);
        }
        self.one_file || header.runs() || (self.drafts && header.status == Status::Draft)
    }

    fn all_found(&self, set: &RuleSet) -> Result<(), Failure> {
        let ids: Vec<&str> = set.running().chain(&set.resting).map(|rule| rule.header.id.as_str()).collect();
        let missing = self.only.iter().find(|wanted| !ids.contains(&wanted.as_str()));
        missing.map_or(Ok(()), |wanted| Err(no_rule(wanted, &ids)))
    }
}

/// A rule that is not there, and those that are.
pub(super) fn no_rule(wanted: &str, ids: &[&str]) -> Failure {
    let ids = || ids.iter().copied();
    let near = suggest(wanted, ids()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Failure::usage(format!("there is no rule {wanted}: there are {}{near}", choices(ids())))
}

fn compiled(
    path: &Path,
    arguments: &Arguments,
    emit: Emit,
    choice: &Choice<'_>,
    variants: &[(usize, Variant)],
) -> Result<RuleSet, Failure> {
    let mut files = RuleFiles::open(path, arguments.schema.as_deref()).map_err(Failure::usage)?;
    files.rules.extend(variants.iter().map(|(_, variant)| variant.source.clone()));
    let is_variant = |header: &Header| variants.iter().any(|(_, variant)| variant.id == header.id);
    let chosen = |header: &Header| is_variant(header) || choice.takes(header);
    RuleSet::compile_chosen(files, AnswerOrder::Forced(emit), chosen).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::findings("the event contract can't be used")
    })
}

fn variants_of(
    path: &Path,
    arguments: &Arguments,
    sweeps: &[Sweep],
) -> Result<Vec<(usize, Variant)>, Failure> {
    let mut variants = Vec::new();
    if sweeps.is_empty() {
        return Ok(variants);
    }
    let files = RuleFiles::open(path, arguments.schema.as_deref()).map_err(Failure::usage)?;
    let headers: Vec<_> =
        files.rules.iter().filter_map(|source| Some((Header::read(source).ok()?.id, source))).collect();
    for (number, sweep) in sweeps.iter().enumerate() {
        let Some((_, source)) = headers.iter().find(|(id, _)| *id == sweep.rule) else {
            let ids: Vec<&str> = headers.iter().map(|(id, _)| id.as_str()).collect();
            return Err(no_rule(&sweep.rule, &ids));
        };
        let made = sweep.variants(source, number).map_err(Failure::usage)?;
        variants.extend(made.into_iter().map(|variant| (number, variant)));
    }
    Ok(variants)
}

/// The scored stream and its columns; it is not that of the labels.
pub(super) fn event_columns(
    contract: &Contract,
    arguments: &Arguments,
    labels: Option<usize>,
) -> Result<EventColumns, Failure> {
    let named = [&arguments.label_column, &arguments.entity_column, &arguments.value_column];
    let stream = match &arguments.stream {
        Some(name) => contract.stream(name).map(|(index, _)| index).ok_or_else(|| {
            let names = contract.streams.iter().map(|stream| stream.name.as_str());
            Failure::usage(format!("the contract has no stream {name}: it has {}", choices(names)))
        })?,
        None => scored_stream(contract, &named, labels)?,
    };
    let own = &contract.streams[stream];
    let column = |name: &Option<String>| name.as_deref().map(|name| column_named(own, name)).transpose();
    let columns = EventColumns {
        stream,
        label: column(&arguments.label_column)?,
        entity: column(&arguments.entity_column)?,
        value: column(&arguments.value_column)?,
        event_id: own.event_id.clone(),
        label_delay: arguments.label_delay.0,
    };
    let fits = |index: Option<usize>, truth: bool| {
        index.is_none_or(|index| {
            let data_type = own.schema.field(index).data_type();
            data_type.is_numeric() || (truth && *data_type == arrow::datatypes::DataType::Boolean)
        })
    };
    if !fits(columns.label, true) {
        return Err(Failure::usage("--label-column takes a BOOLEAN column, or a number that is 0 or 1"));
    }
    if !fits(columns.value, false) {
        return Err(Failure::usage("--value-column takes a column of numbers"));
    }
    if arguments.labels.is_some() && own.event_id.is_empty() {
        let message =
            format!("labels are found by event id, and {} has no PRIMARY KEY in schema.sql", own.name);
        return Err(Failure::usage(message));
    }
    Ok(columns)
}

/// The only stream, or the only one that has all columns that were named.
fn scored_stream(
    contract: &Contract,
    named: &[&Option<String>],
    labels: Option<usize>,
) -> Result<usize, Failure> {
    let streams = || contract.streams.iter().enumerate().filter(|(index, _)| Some(*index) != labels);
    if let [(only, _)] = streams().collect::<Vec<_>>()[..] {
        return Ok(only);
    }
    let named: Vec<&str> = named.iter().filter_map(|name| name.as_deref()).collect();
    let has = |stream: &Stream| named.iter().all(|name| stream.schema.index_of(name).is_ok());
    let fitting: Vec<usize> = streams().filter(|(_, stream)| has(stream)).map(|(index, _)| index).collect();
    match fitting[..] {
        [only] if !named.is_empty() => Ok(only),
        _ => {
            let names = choices(streams().map(|(_, stream)| stream.name.as_str()));
            Err(Failure::usage(format!("which stream is scored? name one of {names} with --stream")))
        }
    }
}

fn column_named(stream: &Stream, name: &str) -> Result<usize, Failure> {
    stream.schema.index_of(name).map_err(|_| {
        let columns = || stream.schema.fields().iter().map(|field| field.name().as_str());
        let near = suggest(name, columns()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Failure::usage(format!("{} has no column {name}: it has {}{near}", stream.name, choices(columns())))
    })
}
