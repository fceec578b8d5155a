//! A spec made ready: columns laid out, equal measures and frames merged, outputs wired to them.
//!
//! Takes a [`WindowSpec`], hands on a [`Plan`] that all shards share. Refuses here, once, what could
//! not be answered later. `lag(x, n)` is the first value of the frame `ROWS n PRECEDING AND n
//! PRECEDING`; `row_number` is `count(*)` over `ROWS UNBOUNDED PRECEDING`.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::check::{Checked, frame_of};
use super::column::{Column, Encoding, Flag, Layout, encoding, scale};
use super::measure::{Kind, Measure, Selection};
use super::output::Constant;
use super::spec::{Aggregate, Asked, Frame, FrameFunction, Function, Hints, WindowSpec, WindowSpecError};

/// The bit of what is answered for every row.
pub(super) const ALWAYS: u64 = 1;

/// Everything about a state that its shards share.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    pub(super) measures: Vec<PlannedMeasure>,
    pub(super) frames: Vec<PlannedFrame>,
    pub(super) outputs: Vec<Output>,
    /// Bits of all answers of each phase.
    pub(super) asks: [u64; 2],
    /// How many (measure, frame) pairs there are.
    pub(super) cells: usize,
    pub(super) retention: Retention,
    /// Whether keys keep something beyond their held rows.
    pub(super) carries: bool,
    /// Distinct counts, by index into `measures`.
    pub(super) distincts: Vec<usize>,
}

/// What of a plan is answered now: one phase, and what the row is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) phase: Phase,
    /// Bits of the selections that the row is in.
    pub(super) asked: u64,
}

impl Due {
    #[inline]
    pub(super) fn takes(self, phase: Phase, asks: u64) -> bool {
        self.phase == phase && self.asked & asks != 0
    }
}

/// The bit of a selection; those past the last bit are answered for every row.
pub(super) fn ask_bit(asked: Asked) -> u64 {
    match asked {
        Asked::Within(selection) if selection < 63 => 2 << selection,
        _ => ALWAYS,
    }
}

/// A measure and the frames it is asked over.
#[derive(Debug)]
pub(super) struct PlannedMeasure {
    pub(super) measure: Measure,
    pub(super) cells: Vec<Cell>,
    /// Bits of all that is made from it.
    pub(super) asks: u64,
}

/// One measure over one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Index into the values of a row's answer.
    pub(super) value: usize,
    pub(super) frame: usize,
    pub(super) phase: Phase,
    /// Bits of all answers that are made from it.
    pub(super) asks: u64,
    /// Index into the folded values of the frame, where it has no start.
    pub(super) fold: Option<usize>,
}

/// When a frame is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// As soon as the row is in: frames by position.
    Insertion,
    /// When all rows of equal time are in: frames by time.
    Ties,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedFrame {
    pub(super) frame: Frame,
    pub(super) phase: Phase,
    /// Bits of all answers over it.
    pub(super) asks: u64,
    /// Index among the folds of a key, for a frame without a start.
    pub(super) fold: Option<usize>,
    /// Measures folded, by index into `measures`.
    pub(super) folded: Vec<usize>,
    /// Rows kept from the frame's start or end, for first, last and n-th values.
    pub(super) edges: Vec<EdgePlan>,
}

impl PlannedFrame {
    /// Whether the current row is in the frame.
    pub(super) fn ends_at_current(&self) -> bool {
        matches!(self.frame, Frame::Range { end: 0, .. } | Frame::Rows { end: 0, .. })
    }
}

/// Which rows of what was folded are kept as they are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EdgePlan {
    pub(super) column: Column,
    pub(super) selection: Selection,
    pub(super) side: Side,
    pub(super) rows_max: usize,
}

/// The end of a frame that is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    End,
}

/// What a key must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retention {
    /// Rows not older than the watermark by more than this, in microseconds; none holds all.
    pub(super) time: Option<i64>,
    /// And this many rows before the watermark.
    pub(super) rows: usize,
}

/// One output column.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) data_type: DataType,
    pub(super) phase: Phase,
    pub(super) asks: u64,
    pub(super) answer: Answer,
}

/// How an output is made from values (by index) or rows.
#[derive(Debug)]
pub(super) enum Answer {
    Count {
        value: usize,
    },
    Sum {
        sum: usize,
        count: usize,
        column: Column,
    },
    Average {
        sum: usize,
        count: usize,
        column: Column,
    },
    Spread {
        moments: usize,
        sample: bool,
        root: bool,
    },
    AllTrue {
        trues: usize,
        count: usize,
    },
    AnyTrue {
        trues: usize,
        count: usize,
    },
    Best {
        value: usize,
        column: Column,
    },
    Position(Position),
    Custom {
        frame: usize,
        columns: Vec<Column>,
        types: Vec<DataType>,
        selection: Selection,
        function: Arc<dyn FrameFunction>,
    },
}

/// The value of one row of the frame.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) frame: usize,
    pub(super) column: Column,
    pub(super) selection: Selection,
    pub(super) side: Side,
    /// From 0.
    pub(super) nth: usize,
    /// Index into the frame's edges, where it has no start.
    pub(super) edge: Option<usize>,
    pub(super) default: Option<Constant>,
}

impl Plan {
    pub(super) fn new(spec: &WindowSpec, hints: &Hints) -> Result<Self, WindowSpecError> {
        let mut planner = Planner { spec, hints, plan: Self::default(), next_flag: 0, asks: ALWAYS };
        planner.plan.retention.time = Some(0);
        for source in 0..spec.arguments.len() {
            let encoding = encoding(&spec.arguments[source])?;
            planner.add_column(source, encoding, None);
        }
        planner.plan.layout.filters = (0..spec.filters).map(|_| planner.take_flag()).collect();
        for (index, aggregate) in spec.aggregates.iter().enumerate() {
            planner.asks = ask_bit(hints.asked.get(index).copied().unwrap_or_default());
            let output = planner.output(index, aggregate)?;
            planner.plan.outputs.push(output);
        }
        let mut plan = planner.plan;
        plan.finish();
        Ok(plan)
    }

    fn finish(&mut self) {
        for output in &self.outputs {
            self.asks[output.phase as usize] |= output.asks;
        }
        // Scans read a value word beside the flags, so there is always one.
        self.layout.words = self.layout.words.max(1);
        self.carries =
            self.frames.iter().any(|frame| frame.phase == Phase::Insertion || frame.fold.is_some());
        let frames = &self.frames;
        for planned in &mut self.measures {
            // Longer frames continue the scan of shorter ones.
            planned.cells.sort_by_key(|cell| match frames[cell.frame].frame {
                Frame::Range { start: Some(start), end } => (0, end, start),
                Frame::Rows { start: Some(start), end } => (1, end as i64, start as i64),
                _ => (2, 0, 0),
            });
        }
    }
}

struct Planner<'a> {
    spec: &'a WindowSpec,
    hints: &'a Hints,
    plan: Plan,
    next_flag: usize,
    /// Bit of the aggregate that is being planned.
    asks: u64,
}

impl Planner<'_> {
    fn take_flag(&mut self) -> Flag {
        let flag = Flag { word: self.next_flag / 64, bit: 1 << (self.next_flag % 64) };
        self.next_flag += 1;
        self.plan.layout.flags = self.next_flag.div_ceil(64);
        flag
    }

    fn add_column(&mut self, source: usize, encoding: Encoding, valid: Option<Flag>) -> Column {
        let valid = valid.unwrap_or_else(|| self.take_flag());
        let layout = &mut self.plan.layout;
        let word = layout.words;
        layout.words += if encoding == Encoding::Wide { 2 } else { 1 };
        if encoding == Encoding::Bytes {
            layout.interned.push(word);
        }
        let scale = scale(&self.spec.arguments[source]);
        let column = Column { source, word, valid, encoding, scale };
        layout.columns.push(column);
        column
    }

    /// A column of one word that is equal for equal values.
    fn one_word(&mut self, column: Column) -> Column {
        if column.encoding != Encoding::Wide {
            return column;
        }
        let same = |other: &&Column| other.source == column.source && other.encoding == Encoding::Bytes;
        match self.plan.layout.columns.iter().find(same) {
            Some(found) => *found,
            None => self.add_column(column.source, Encoding::Bytes, Some(column.valid)),
        }
    }

    /// The flag that a column's rows without a null have; none where all rows have it.
    fn null_flag(&self, column: &Column) -> Option<Flag> {
        let never = self.hints.never_null.get(column.source).copied().unwrap_or_default();
        (!never).then_some(column.valid)
    }

    fn frame(&mut self, frame: Frame) -> usize {
        if let Some(found) = self.plan.frames.iter().position(|planned| planned.frame == frame) {
            self.plan.frames[found].asks |= self.asks;
            return found;
        }
        let phase = if matches!(frame, Frame::Rows { .. }) { Phase::Insertion } else { Phase::Ties };
        let unbounded = matches!(frame, Frame::Range { start: None, .. } | Frame::Rows { start: None, .. });
        let folds = self.plan.frames.iter().filter(|planned| planned.fold.is_some()).count();
        let fold = unbounded.then_some(folds);
        let retention = &mut self.plan.retention;
        match frame {
            Frame::Range { start, end } => {
                retention.time = retention.time.map(|time| time.max(start.unwrap_or(end)));
            }
            Frame::Rows { start, end } => retention.rows = retention.rows.max(start.unwrap_or(end)),
        }
        let asks = self.asks;
        let planned = PlannedFrame { frame, phase, asks, fold, folded: Vec::new(), edges: Vec::new() };
        self.plan.frames.push(planned);
        self.plan.frames.len() - 1
    }

    /// Index of the value of a measure over a frame.
    fn value(&mut self, kind: Kind, column: Column, selection: &Selection, frame: usize) -> usize {
        let measures = &mut self.plan.measures;
        let same = |planned: &PlannedMeasure| {
            let other = &planned.measure;
            let kinds = std::mem::discriminant(&other.kind) == std::mem::discriminant(&kind);
            kinds && (other.column == column || kind == Kind::Count) && other.selection == *selection
        };
        let index = match measures.iter().position(same) {
            Some(found) => found,
            None => {
                let plain = kind != Kind::Count
                    && (selection.is_all() || *selection == Selection::new([column.valid]));
                let measure = Measure { kind, column, selection: selection.clone(), plain };
                measures.push(PlannedMeasure { measure, cells: Vec::new(), asks: 0 });
                if matches!(kind, Kind::Distinct(_)) {
                    self.plan.distincts.push(measures.len() - 1);
                }
                measures.len() - 1
            }
        };
        measures[index].asks |= self.asks;
        let cells = &mut measures[index].cells;
        if let Some(cell) = cells.iter_mut().find(|cell| cell.frame == frame) {
            cell.asks |= self.asks;
            return cell.value;
        }
        let value = self.plan.cells;
        self.plan.cells += 1;
        let planned = &mut self.plan.frames[frame];
        let fold = planned.fold.map(|_| planned.folded.len());
        if fold.is_some() {
            planned.folded.push(index);
        }
        cells.push(Cell { value, frame, phase: planned.phase, asks: self.asks, fold });
        value
    }

    fn output(&mut self, index: usize, aggregate: &Aggregate) -> Result<Output, WindowSpecError> {
        let checked = Checked::new(self.spec, &self.plan.layout, index, aggregate)?;
        let answer = self.answer(&checked)?;
        let phase = match frame_of(aggregate) {
            Frame::Rows { .. } => Phase::Insertion,
            Frame::Range { .. } => Phase::Ties,
        };
        Ok(Output { data_type: aggregate.output.clone(), phase, asks: self.asks, answer })
    }

    fn answer(&mut self, checked: &Checked<'_>) -> Result<Answer, WindowSpecError> {
        let function = &checked.aggregate.function;
        if let Function::Custom(custom) = function {
            return Ok(self.custom(checked, custom));
        }
        let frame = self.frame(frame_of(checked.aggregate));
        let any = Column { source: 0, word: 0, valid: Flag::default(), encoding: Encoding::Signed, scale: 0 };
        let column = checked.columns.first().copied().unwrap_or(any);
        let filter = checked.filter;
        let nullable = checked.columns.iter().filter_map(|column| self.null_flag(column));
        let valid = Selection::new(nullable.chain(filter));
        let count = |planner: &mut Self| planner.value(Kind::Count, any, &valid, frame);
        Ok(match function {
            Function::Count => Answer::Count { value: count(self) },
            Function::RowNumber => {
                Answer::Count { value: self.value(Kind::Count, any, &Selection::default(), frame) }
            }
            Function::CountDistinct => {
                let column = self.one_word(column);
                let known = self.plan.distincts.iter().map(|&known| &self.plan.measures[known].measure);
                let mut same = known.filter(|known| known.column == column && known.selection == valid);
                let kind = match same.next().map(|known| known.kind) {
                    Some(kind) => kind,
                    None => Kind::Distinct(self.take_flag()),
                };
                Answer::Count { value: self.value(kind, column, &valid, frame) }
            }
            Function::Sum => {
                let sum = self.value(checked.sum_kind(), column, &valid, frame);
                Answer::Sum { sum, count: count(self), column }
            }
            Function::Avg => {
                let kind = if column.encoding == Encoding::Float { Kind::SumFloat } else { Kind::SumWide };
                let sum = self.value(kind, column, &valid, frame);
                Answer::Average { sum, count: count(self), column }
            }
            Function::StddevSamp | Function::StddevPop | Function::VarSamp | Function::VarPop => {
                Answer::Spread {
                    moments: self.value(Kind::Moments, column, &valid, frame),
                    sample: matches!(function, Function::StddevSamp | Function::VarSamp),
                    root: matches!(function, Function::StddevSamp | Function::StddevPop),
                }
            }
            Function::BoolAnd => {
                let trues = self.value(Kind::SumWord, column, &valid, frame);
                Answer::AllTrue { trues, count: count(self) }
            }
            Function::BoolOr => {
                let trues = self.value(Kind::SumWord, column, &valid, frame);
                Answer::AnyTrue { trues, count: count(self) }
            }
            Function::Min => Answer::Best { value: self.value(Kind::Min, column, &valid, frame), column },
            Function::Max => Answer::Best { value: self.value(Kind::Max, column, &valid, frame), column },
            _ => return self.position(checked, frame, column),
        })
    }

    fn position(
        &mut self,
        checked: &Checked<'_>,
        frame: usize,
        column: Column,
    ) -> Result<Answer, WindowSpecError> {
        let (function, filter) = (&checked.aggregate.function, checked.filter);
        let (side, nth, ignore_nulls) = match function {
            Function::LastValue { ignore_nulls } => (Side::End, 0, *ignore_nulls),
            Function::NthValue { n, ignore_nulls } if *n < 0 => {
                (Side::End, usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX), *ignore_nulls)
            }
            Function::NthValue { n, ignore_nulls } => {
                (Side::Start, usize::try_from(n - 1).unwrap_or(usize::MAX), *ignore_nulls)
            }
            Function::FirstValue { ignore_nulls } => (Side::Start, 0, *ignore_nulls),
            _ => (Side::Start, 0, false),
        };
        let not_null = if ignore_nulls { self.null_flag(&column) } else { None };
        let selection = Selection::new(filter.into_iter().chain(not_null));
        let planned = &mut self.plan.frames[frame];
        let edge = planned.fold.map(|_| {
            let edge =
                EdgePlan { column, selection: selection.clone(), side, rows_max: nth.saturating_add(1) };
            planned.edges.push(edge);
            planned.edges.len() - 1
        });
        let default = match function {
            Function::Lag { default: Some(default), .. } => Some(checked.constant(default)?),
            _ => None,
        };
        Ok(Answer::Position(Position { frame, column, selection, side, nth, edge, default }))
    }

    fn custom(&mut self, checked: &Checked<'_>, function: &Arc<dyn FrameFunction>) -> Answer {
        let frame = self.frame(frame_of(checked.aggregate));
        if self.plan.frames[frame].fold.is_some() {
            self.plan.retention = Retention { time: None, rows: usize::MAX };
        }
        let types = checked.columns.iter().map(|column| self.spec.arguments[column.source].clone()).collect();
        Answer::Custom {
            frame,
            columns: checked.columns.clone(),
            types,
            selection: Selection::new(checked.filter),
            function: Arc::clone(function),
        }
    }
}
