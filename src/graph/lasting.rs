//! Which rows windows without a bound in time still need when every bounded window has let them go.
//!
//! Takes the graphs of a rule set; hands on a [`Carrier`], which picks out of old rows those that are still needed:
//! for `ROWS` frames with a start and for `lag`, the last rows of each key. A frame without any start needs every
//! row, and so does a window whose rows, keys or arguments rest on another window's answers. Runs no window itself:
//! only the filters and keys before it. What would surprise: rows of one partition are picked without those of
//! others. The last rows of a key in all partitions are among the last ones in each.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion_common::Column;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::Expr;
use serde::{Deserialize, Serialize};

use super::run::{Data, Run};
use super::schedule::{Schedule, Step};
use super::{EngineError, EngineInput};
use crate::decode::DecodedBatch;
use crate::event::{Contract, Span};
use crate::sql::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, columns_read};
use crate::window::{Frame, Function, Ties};

/// Rows of one stream that are needed however old they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lasting {
    /// None: each window is bounded in time.
    #[default]
    Nothing,
    /// The last ones of each key, for each of these windows.
    Last(Vec<LastRows>),
    /// All.
    Everything,
}

/// The last rows of each key of a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastRows {
    /// Rows and keys of the window in the contract's own names, so that the same ones are equal in any rule set.
    pub of: String,
    /// How many of each key.
    pub rows: usize,
}

/// Picks the rows that are still needed.
pub struct Carrier {
    graphs: Vec<Kept>,
    /// One a stream.
    lasting: Vec<Lasting>,
    idle: Span,
}

/// What of one graph says which rows are needed.
struct Kept {
    graph: RuleGraph,
    steps: Vec<Step>,
    windows: Vec<Keyed>,
}

struct Keyed {
    rows: RowSetId,
    keys: Vec<ColumnId>,
    last: LastRows,
}

/// How far the rows of a key may be out of order before one that has been idle for just the limit may differ.
const IDLE_SLACK: Span = Span::seconds(86_400);

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Carrier({:?})", self.lasting)
    }
}

impl Carrier {
    /// What the windows of these graphs need; `idle` is how long a key without rows keeps them.
    pub fn of<'a>(
        graphs: impl IntoIterator<Item = &'a RuleGraph>,
        contract: &Contract,
        idle: Span,
    ) -> Result<Self, EngineError> {
        let mut lasting = vec![Lasting::Nothing; contract.streams.len()];
        let kept = graphs.into_iter().map(|graph| Kept::of(graph, contract, &mut lasting));
        Ok(Self { graphs: kept.collect::<Result<_, _>>()?, lasting, idle })
    }

    /// Which old rows of a stream are needed.
    pub fn lasting(&self, stream: usize) -> Lasting {
        self.lasting.get(stream).cloned().unwrap_or_default()
    }

    /// Picks from rows of one partition, all of which are older than `before`, microseconds.
    pub fn pick(&self, before: i64) -> Picking<'_> {
        Picking { carrier: self, before, seen: HashMap::new() }
    }
}

impl Kept {
    fn of(graph: &RuleGraph, contract: &Contract, lasting: &mut [Lasting]) -> Result<Self, EngineError> {
        let schedule = Schedule::of(graph, &[])?;
        let mut windows: BTreeMap<String, Keyed> = BTreeMap::new();
        for step in &schedule.steps {
            let Step::Window(step) = step else { continue };
            for column in &step.outputs {
                let definition = &graph.row_sets[step.rows.0].columns[column.0].definition;
                let Definition::Window(window) = definition else { continue };
                let count = match last_rows(window) {
                    None | Some(Ok(0)) => continue,
                    Some(count) if rests_on_answers(graph, step.rows, window) => count.and(Err(Unbounded)),
                    Some(count) => count,
                };
                let of = || window_text(graph, contract, step.rows, &window.key.partition_by);
                let last = count.map(|rows| LastRows { of: of(), rows });
                for stream in streams_of(graph, step.rows) {
                    let Some(known) = lasting.get_mut(stream) else { continue };
                    known.add(last.as_ref().ok());
                }
                if let Ok(last) = last {
                    let keyed = windows.entry(last.of.clone()).or_insert_with(|| Keyed {
                        rows: step.rows,
                        keys: window.key.partition_by.clone(),
                        last: last.clone(),
                    });
                    keyed.last.rows = keyed.last.rows.max(last.rows);
                }
            }
        }
        let windows: Vec<Keyed> = windows.into_values().collect();
        let needed = needed(graph, &windows);
        let is_needed = |step: &Step| match step {
            Step::Early { rows, .. } | Step::Rows { rows, .. } => needed.contains(&(*rows, None)),
            Step::Column { rows, column, .. } => needed.contains(&(*rows, Some(*column))),
            Step::Window(_) => false,
        };
        let steps = schedule.steps.into_iter().filter(is_needed).collect();
        Ok(Self { graph: graph.clone(), steps, windows })
    }
}

impl Lasting {
    /// Adds the rows that one more window needs; none where it needs all.
    fn add(&mut self, last: Option<&LastRows>) {
        let Some(last) = last else {
            *self = Self::Everything;
            return;
        };
        match self {
            Self::Everything => {}
            Self::Nothing => *self = Self::Last(vec![last.clone()]),
            Self::Last(known) => match known.iter_mut().find(|known| known.of == last.of) {
                Some(known) => known.rows = known.rows.max(last.rows),
                None => known.push(last.clone()),
            },
        }
    }
}

/// No count of rows is enough.
struct Unbounded;

/// How many rows before one its answer rests on however old they are; none where the frame is bounded in time.
fn last_rows(window: &WindowColumn) -> Option<Result<usize, Unbounded>> {
    let aggregate = &window.function.aggregate;
    match (&aggregate.function, aggregate.frame) {
        (Function::RowNumber, _) => Some(Err(Unbounded)),
        (Function::Lag { offset, .. }, _) => Some(Ok(*offset)),
        (_, Frame::Rows { start, .. }) => Some(start.ok_or(Unbounded)),
        (_, Frame::Range { start: Some(_), .. }) => None,
        (_, Frame::Range { start: None, .. }) => Some(Err(Unbounded)),
    }
}

/// Whether other windows' answers say which rows a window has, or what it reads of them.
fn rests_on_answers(graph: &RuleGraph, rows: RowSetId, window: &WindowColumn) -> bool {
    let answer = |rows: RowSetId, column: &ColumnId| graph.row_sets[rows.0].columns[column.0].level > 0;
    let mut columns = window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
    columns.any(|column| answer(rows, column))
        || sources(graph, rows).into_iter().any(|rows| match &graph.row_sets[rows.0].source {
            RowSource::Filter { input, predicate } => {
                columns_read(predicate).iter().any(|column| answer(*input, column))
            }
            _ => false,
        })
}

/// A row set and all that its rows come from.
fn sources(graph: &RuleGraph, rows: RowSetId) -> Vec<RowSetId> {
    let (mut found, mut open) = (Vec::new(), vec![rows]);
    while let Some(rows) = open.pop() {
        found.push(rows);
        match &graph.row_sets[rows.0].source {
            RowSource::Stream(_) => {}
            RowSource::Filter { input, .. } => open.push(*input),
            RowSource::Union(inputs) => open.extend(inputs),
        }
    }
    found
}

fn streams_of(graph: &RuleGraph, rows: RowSetId) -> Vec<usize> {
    let stream = |rows: RowSetId| match &graph.row_sets[rows.0].source {
        RowSource::Stream(stream) => Some(*stream),
        _ => None,
    };
    sources(graph, rows).into_iter().filter_map(stream).collect()
}

/// Row sets and columns that must be computed to know the rows and keys of windows.
fn needed(graph: &RuleGraph, windows: &[Keyed]) -> HashSet<(RowSetId, Option<ColumnId>)> {
    let mut needed = HashSet::new();
    let own = |window: &Keyed| -> Vec<(RowSetId, Option<ColumnId>)> {
        let keys = window.keys.iter().map(|key| (window.rows, Some(*key)));
        keys.chain([(window.rows, None)]).collect()
    };
    let mut open: Vec<_> = windows.iter().flat_map(own).collect();
    while let Some((rows, column)) = open.pop() {
        if !needed.insert((rows, column)) {
            continue;
        }
        let row_set = &graph.row_sets[rows.0];
        match (column.map(|column| &row_set.columns[column.0].definition), &row_set.source) {
            (None, RowSource::Filter { input, predicate }) => {
                open.push((*input, None));
                open.extend(columns_read(predicate).into_iter().map(|column| (*input, Some(column))));
            }
            (None, RowSource::Union(inputs)) => open.extend(inputs.iter().map(|input| (*input, None))),
            (Some(Definition::Inherited(parent)), RowSource::Filter { input, .. }) => {
                open.push((*input, Some(*parent)));
            }
            (Some(Definition::United(parts)), RowSource::Union(inputs)) => {
                open.extend(inputs.iter().zip(parts).map(|(input, part)| (*input, Some(*part))));
            }
            (Some(Definition::Computed(expression)), _) => {
                open.extend(columns_read(expression).into_iter().map(|column| (rows, Some(column))));
            }
            _ => {}
        }
    }
    needed
}

fn window_text(graph: &RuleGraph, contract: &Contract, rows: RowSetId, keys: &[ColumnId]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| column_text(graph, contract, rows, *key)).collect();
    format!("{} by {}", rows_text(graph, contract, rows), keys.join(", "))
}

fn rows_text(graph: &RuleGraph, contract: &Contract, rows: RowSetId) -> String {
    match &graph.row_sets[rows.0].source {
        RowSource::Stream(stream) => {
            contract.streams.get(*stream).map(|stream| stream.name.clone()).unwrap_or_default()
        }
        RowSource::Filter { input, predicate } => {
            let predicate = expression_text(graph, contract, *input, predicate);
            format!("{} where {predicate}", rows_text(graph, contract, *input))
        }
        RowSource::Union(inputs) => {
            let inputs: Vec<String> = inputs.iter().map(|input| rows_text(graph, contract, *input)).collect();
            format!("({})", inputs.join(" and "))
        }
    }
}

fn column_text(graph: &RuleGraph, contract: &Contract, rows: RowSetId, column: ColumnId) -> String {
    let row_set = &graph.row_sets[rows.0];
    match (&row_set.columns[column.0].definition, &row_set.source) {
        (Definition::Stream(index), RowSource::Stream(stream)) => {
            let field = contract.streams.get(*stream).map(|stream| stream.schema.field(*index).name());
            format!("{:?}", field.map_or("", String::as_str))
        }
        (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
            column_text(graph, contract, *input, *parent)
        }
        (Definition::United(parts), RowSource::Union(inputs)) => {
            let part = |(input, part): (&RowSetId, &ColumnId)| column_text(graph, contract, *input, *part);
            let parts: Vec<String> = inputs.iter().zip(parts).map(part).collect();
            format!("({})", parts.join(" or "))
        }
        (Definition::Computed(expression), _) => expression_text(graph, contract, rows, expression),
        (definition, _) => format!("{definition:?}"),
    }
}

fn expression_text(graph: &RuleGraph, contract: &Contract, rows: RowSetId, expression: &Expr) -> String {
    let named = expression.clone().transform_up(|part| {
        let column = match &part {
            Expr::Column(column) => ColumnId::parse(&column.name),
            _ => None,
        };
        Ok(match column {
            Some(column) => {
                let text = column_text(graph, contract, rows, column);
                Transformed::yes(Expr::Column(Column::new_unqualified(text)))
            }
            None => Transformed::no(part),
        })
    });
    // Nothing in it fails; a text that names columns by number would only be taken for another window's.
    named.map_or_else(|_| expression.to_string(), |named| format!("({})", named.data))
}

/// Rows picked so far, from the newest on.
pub struct Picking<'a> {
    carrier: &'a Carrier,
    before: i64,
    /// By graph and window.
    seen: HashMap<(usize, usize), LastTimes>,
}

/// By key, the times of its last rows, descending, at most as many as are needed.
type LastTimes = HashMap<Box<[u8]>, Vec<i64>>;

impl Picking<'_> {
    /// Which rows of a batch are needed, those of batches before this one being newer. Rows that arrived later but are
    /// of an earlier time may be picked beside those that are needed.
    pub fn needed(&mut self, batch: &DecodedBatch) -> Result<BooleanBuffer, EngineError> {
        let mut picked = BooleanBufferBuilder::new(batch.rows.event_time.len());
        picked.append_n(batch.rows.event_time.len(), false);
        for (index, kept) in self.carrier.graphs.iter().enumerate() {
            if kept.windows.is_empty() {
                continue;
            }
            let times = &batch.rows.event_time;
            let input = EngineInput { batch, watermarks: times, ties: Ties::ByArrival };
            let mut run = Run::new(&kept.graph, &input, false);
            for step in &kept.steps {
                run.step(step, &mut [])?;
            }
            let (_, data) = run.finish(&[])?;
            for (number, window) in kept.windows.iter().enumerate() {
                let data = &data[window.rows.0];
                let keys = keys(data, window)?;
                let seen = self.seen.entry((index, number)).or_default();
                let idle = self.carrier.idle.0.saturating_add(IDLE_SLACK.0);
                for (place, row) in data.rows.iter().enumerate().rev() {
                    let key = keys.as_ref().map(|keys| keys.row(place));
                    let key: &[u8] = key.as_ref().map(Row::as_ref).unwrap_or_default();
                    let time = times[*row as usize];
                    if is_last(seen, key, time, (window.last.rows, self.before.saturating_sub(idle))) {
                        picked.set_bit(*row as usize, true);
                    }
                }
            }
        }
        Ok(picked.finish())
    }
}

/// Whether a row is one of the last of its key, or may be; a key that was idle for too long has forgotten it. Between
/// two rows only the engine knows whether it was: the watermark of other partitions tells.
fn is_last(seen: &mut LastTimes, key: &[u8], time: i64, (rows, forgotten): (usize, i64)) -> bool {
    let known = seen.get_mut(key);
    let least = known.as_ref().and_then(|times| times.last().copied());
    if rows == 0 || known.is_none() && time < forgotten {
        return false;
    }
    let Some(times) = known else {
        seen.insert(key.into(), vec![time]);
        return true;
    };
    if times.len() == rows && least.is_none_or(|least| time <= least) {
        return false;
    }
    times.truncate(rows - 1);
    times.insert(times.partition_point(|other| *other >= time), time);
    true
}

/// The keys of a window's rows as bytes; none where all rows have the same.
fn keys(data: &Data, window: &Keyed) -> Result<Option<Rows>, EngineError> {
    if window.keys.is_empty() || data.rows.is_empty() {
        return Ok(None);
    }
    let columns: Option<Vec<ArrayRef>> =
        window.keys.iter().map(|key| data.columns.get(key.0)?.clone()).collect();
    let columns = columns.unwrap_or_default();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    Ok(Some(RowConverter::new(fields.collect())?.convert_columns(&columns)?))
}
