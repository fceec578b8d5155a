//! Queries through Tollgate: compiled, then fed in batches.

use rand::RngExt;
use tollgate::diagnostic::{Colour, SourceText, render_all};
use tollgate::graph::{Engine, EngineInput};
use tollgate::sql::{Catalog, Query, RuleGraph, compile};
use tollgate::window::{Ties, WindowSettings};

use super::Rng;
use super::answer::Answer;
use super::data::{Data, World};
use super::naive::{Order, Sequence};
use super::value::read;

/// One graph of all texts, or what is wrong with them.
pub(super) fn compiled(catalog: &Catalog, texts: &[String]) -> Result<RuleGraph, String> {
    let queries: Vec<Query> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Query {
            id: format!("q{index}"),
            source: SourceText::new("rule.sql", text.as_str()),
        })
        .collect();
    let compiled = compile(catalog, &queries);
    if compiled.graph.queries.len() == texts.len() {
        return Ok(compiled.graph);
    }
    Err(render_all(&compiled.diagnostics, Colour::Off))
}

/// Answers of a graph, a query at a time.
pub(super) fn run(
    rng: &mut Rng,
    world: &World,
    data: &Data,
    graph: &RuleGraph,
    sequence: &Sequence,
) -> Result<Vec<Answer>, String> {
    let (shards, size_max) = (rng.random_range(1..=3), [1, 7, 40, 1000][rng.random_range(0..4)]);
    let mut size = || rng.random_range(1..=size_max);
    run_in_batches(world, data, graph, sequence, (shards, &mut size))
}

/// The same with so many shards, and batches of the sizes asked for.
pub(super) fn run_in_batches(
    world: &World,
    data: &Data,
    graph: &RuleGraph,
    sequence: &Sequence,
    (shards, size): (usize, &mut dyn FnMut() -> usize),
) -> Result<Vec<Answer>, String> {
    let settings = WindowSettings { shards, parallel_rows_min: 16, ..WindowSettings::default() };
    let mut engine = Engine::new(graph.clone(), &settings).map_err(|error| error.to_string())?;
    let contract =
        tollgate::sql::parse_contract(&SourceText::new("schema.sql", super::data::CONTRACT)).unwrap();
    let used = engine.columns_read(&contract);
    let ties = match sequence.order {
        Order::InOrder => Ties::Together,
        Order::OnArrival => Ties::ByArrival,
    };
    let mut answers: Vec<Answer> = graph.queries.iter().map(|_| Answer::default()).collect();
    let mut from = 0;
    while from < sequence.events.len() {
        let to = batch_end(data, sequence, from, size());
        let rows = &sequence.events[from..to];
        let batch = world.batch(data, rows, &used);
        let input = EngineInput { batch: &batch, watermarks: &sequence.watermarks[from..to], ties };
        let found = engine.process(&input).map_err(|error| error.to_string())?;
        if let Some(error) = found.errors.first() {
            return Err(format!("query {} failed on a row: {}", error.query, error.message));
        }
        for hits in &found.hits {
            for (hit, row) in hits.rows.iter().enumerate() {
                let event = &data.events[rows[*row as usize]];
                let values: Vec<_> = hits.columns.iter().map(|column| read(column, hit)).collect();
                if values[0] != event.values[0] {
                    return Err(format!("a hit of row {} selects row id {}", event.values[0], values[0]));
                }
                answers[hits.query].rows.push(values);
            }
            answers[hits.query].types =
                hits.columns.iter().map(|column| column.data_type().clone()).collect();
        }
        from = to;
    }
    Ok(answers)
}

/// The end of a batch of about `size` rows; in order, rows of equal time stay together.
pub(super) fn batch_end(data: &Data, sequence: &Sequence, from: usize, size: usize) -> usize {
    let count = sequence.events.len();
    let mut to = (from + size).min(count);
    let time = |place: usize| data.events[sequence.events[place]].time;
    while sequence.order == Order::InOrder && to < count && time(to) == time(to - 1) {
        to += 1;
    }
    to
}
