//! A query as data: what the texts are written from and the naive loop walks.

use super::value::Value;

/// The type of an expression, as far as queries are made by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    /// `row_number`: shown and compared, never calculated with.
    Ordinal,
    Decimal(i8),
    Float,
    Text,
    Truth,
    Time,
}

/// A scalar expression over the rows of a select's `FROM`.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    /// A field of `FROM`.
    Field(usize),
    /// An answer of a window call of this select.
    Call(usize),
    /// The same, by the alias of the item that selects it.
    CallAlias(usize),
    Literal(Value),
    Binary(Box<Expr>, Operator, Box<Expr>),
    /// `left / nullif(right, 0)`
    Divide(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull {
        of: Box<Expr>,
        negated: bool,
    },
    Case {
        when: Box<Expr>,
        then: Box<Expr>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    /// `x IN (literal, …)`
    InValues {
        of: Box<Expr>,
        values: Vec<Value>,
        negated: bool,
    },
    Between(Box<Expr>, Value, Value),
    Function(Scalar, Box<Expr>),
    Lookup(Lookup),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    Modulo,
    Concat,
    And,
    Or,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Absolute,
    Length,
    Upper,
    Hour,
    TruncateToHour,
    AsDouble,
    AsText,
}

/// `IN (SELECT …)` or `EXISTS (… equality …)` on a list.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub list: usize,
    /// Column of the list that is compared with `key`.
    pub column: usize,
    pub key: Box<Expr>,
    /// Least value of a whole-number column of the list.
    pub at_least: Option<(usize, i128)>,
    pub exists: bool,
    pub negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    CountRows,
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
    StddevSamp,
    StddevPop,
    VarSamp,
    VarPop,
    BoolAnd,
    BoolOr,
    First,
    Last,
    Nth(i64),
    Lag(usize),
    RowNumber,
    /// Any other aggregate, which takes the slow path.
    Median,
    SumDistinct,
}

/// Frame bounds back from the current row: microseconds, or rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// None written: everything up to the current row and its peers.
    Default,
    Range {
        start: Option<i64>,
        end: i64,
    },
    Rows {
        start: Option<usize>,
        end: usize,
    },
}

/// How a window is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Inline,
    Named,
    /// `w AS (base RANGE …)`
    NamedFromBase,
    /// `OVER (base RANGE …)`
    InlineFromBase,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub partition_by: Vec<Expr>,
    pub frame: Frame,
    pub style: Style,
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub function: Function,
    pub argument: Option<Expr>,
    pub argument_kind: Option<Kind>,
    pub lag_default: Option<Value>,
    pub ignore_nulls: bool,
    pub filter: Option<Expr>,
    pub window: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Join {
    pub list: usize,
    pub key: Expr,
    pub column: usize,
    pub at_least: Option<(usize, i128)>,
    pub keep_all: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    Stream(usize),
    /// In `FROM (…)`.
    Nested(Box<Select>),
    /// As a common table expression.
    Common(Box<Select>),
    Union(Vec<Select>, UnionPlace),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnionPlace {
    Nested,
    Common,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub expr: Expr,
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) struct Select {
    pub source: Source,
    /// Names of the fields of `source` and then of the joined list.
    pub fields: Vec<Field>,
    pub join: Option<Join>,
    pub filter: Option<Expr>,
    pub windows: Vec<Window>,
    pub calls: Vec<Call>,
    /// The first is the row id, the second the event time.
    pub items: Vec<Item>,
    pub qualify: Option<Expr>,
    /// Index of the field that is the event time.
    pub time: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub kind: Kind,
    pub of_list: bool,
}

/// A list and a stream as the text needs them.
#[derive(Clone, Debug)]
pub(super) struct Names<'a> {
    pub streams: Vec<&'a str>,
    pub lists: Vec<(&'a str, Vec<&'a str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As an author writes it.
    Written,
    /// Each window inline, for what DataFusion does not plan.
    Inline,
}

impl Select {
    /// Every select in the query, this one first.
    pub(super) fn all(&self) -> Vec<&Select> {
        let inner: Vec<&Select> = match &self.source {
            Source::Stream(_) => Vec::new(),
            Source::Nested(inner) | Source::Common(inner) => inner.all(),
            Source::Union(parts, _) => parts.iter().flat_map(Select::all).collect(),
        };
        std::iter::once(self).chain(inner).collect()
    }

    pub(super) fn calls_everywhere(&self) -> Vec<(&Call, &Window)> {
        let mut calls = Vec::new();
        for select in self.all() {
            calls.extend(select.calls.iter().map(|call| (call, &select.windows[call.window])));
        }
        calls
    }

    /// Whether SQL leaves an answer open where rows of one key have equal times.
    pub(super) fn depends_on_order_of_ties(&self) -> bool {
        use Function::*;
        self.calls_everywhere().iter().any(|(call, window)| {
            matches!(window.frame, Frame::Rows { .. })
                || matches!(call.function, First | Last | Nth(_) | Lag(_) | RowNumber)
        })
    }

    /// Whether DataFusion needs the windows inline: it does not plan `w AS (base …)`, nor a named window
    /// repeated in `QUALIFY`; `OVER (base …)` it plans without the parts of the base.
    pub(super) fn needs_inline(&self) -> bool {
        self.all().iter().any(|select| {
            let from_base = |w: &Window| matches!(w.style, Style::NamedFromBase | Style::InlineFromBase);
            let repeated = |call: usize| select.windows[select.calls[call].window].style == Style::Named;
            let mut repeats = false;
            if let Some(qualify) = &select.qualify {
                qualify.visit(&mut |part| {
                    if let Expr::Call(call) = part {
                        repeats |= repeated(*call);
                    }
                });
            }
            repeats || select.windows.iter().any(from_base)
        })
    }
}

impl Expr {
    pub(super) fn visit(&self, see: &mut impl FnMut(&Expr)) {
        see(self);
        match self {
            Self::Field(_) | Self::Call(_) | Self::CallAlias(_) | Self::Literal(_) => {}
            Self::Binary(left, _, right) | Self::Divide(left, right) => {
                left.visit(see);
                right.visit(see);
            }
            Self::Not(of)
            | Self::IsNull { of, .. }
            | Self::InValues { of, .. }
            | Self::Between(of, ..)
            | Self::Function(_, of) => of.visit(see),
            Self::Case { when, then, otherwise } => {
                when.visit(see);
                then.visit(see);
                if let Some(otherwise) = otherwise {
                    otherwise.visit(see);
                }
            }
            Self::Coalesce(parts) => parts.iter().for_each(|part| part.visit(see)),
            Self::Lookup(lookup) => lookup.key.visit(see),
        }
    }
}

impl Function {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CountRows | Self::Count | Self::CountDistinct => "count",
            Self::Sum | Self::SumDistinct => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::StddevSamp => "stddev_samp",
            Self::StddevPop => "stddev_pop",
            Self::VarSamp => "var_samp",
            Self::VarPop => "var_pop",
            Self::BoolAnd => "bool_and",
            Self::BoolOr => "bool_or",
            Self::First => "first_value",
            Self::Last => "last_value",
            Self::Nth(_) => "nth_value",
            Self::Lag(_) => "lag",
            Self::RowNumber => "row_number",
            Self::Median => "median",
        }
    }
}
