//! The shared graph as data: row sets, their columns, and which of them each query reads.
//!
//! A row set is a sequence of rows (a stream, a filtered row set, a union); a column of it is read from
//! the stream, computed from other columns, or answered by a window. Projections, views, sub-queries and
//! aliases leave no trace: an expression names the columns of its row set as `#0`, `#1`, …, so equal work
//! is equal data whatever it was called, and is stored once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::Expr;

use crate::window::Aggregate;

/// Index of a row set in [`RuleGraph::row_sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowSetId(pub usize);

/// Index of a column in [`RowSet::columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub usize);

/// Where the rows of a row set come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowSource {
    /// All rows of a stream; its index in the contract.
    Stream(usize),
    /// The rows of another row set for which a predicate over its columns is true.
    Filter {
        /// The row set that is filtered.
        input: RowSetId,
        /// Predicate over the columns of `input`.
        predicate: Expr,
    },
    /// The rows of several row sets in order of arrival.
    Union(Vec<RowSetId>),
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Definition {
    /// A column of the stream; its index in the contract.
    Stream(usize),
    /// The same column of the filtered row set.
    Inherited(ColumnId),
    /// One column of each input of a union, in the union's order.
    United(Vec<ColumnId>),
    /// An expression over columns of the same row set.
    Computed(Expr),
    /// An answer of a window over this row set.
    Window(WindowColumn),
}

/// One window function over a row set, its parts named by column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowColumn {
    /// The state it reads.
    pub key: WindowKey,
    /// Function, frame and output type; its argument and filter indexes point into the two lists below.
    pub function: HashedAggregate,
    /// Columns of the arguments.
    pub arguments: Vec<ColumnId>,
    /// Column of the `FILTER (WHERE …)` predicate.
    pub filter: Option<ColumnId>,
}

/// What makes two windows of one row set share a state: equal keys, and an equal distance from the stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowKey {
    /// Columns of `PARTITION BY`.
    pub partition_by: Vec<ColumnId>,
    /// 0 for windows over plain columns, 1 for windows over answers of those, and so on.
    pub level: usize,
}

/// An [`Aggregate`] compared by its description, since user functions have no equality of their own.
#[derive(Debug, Clone)]
pub struct HashedAggregate {
    /// What the window operator runs.
    pub aggregate: Aggregate,
    /// Canonical text of function, frame and type.
    pub description: String,
}

impl PartialEq for HashedAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.description == other.description
    }
}

impl Eq for HashedAggregate {}

impl std::hash::Hash for HashedAggregate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.description.hash(state);
    }
}

/// A column of a row set.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What its values are.
    pub definition: Definition,
    /// Their type.
    pub data_type: DataType,
    /// Whether a value may be null.
    pub nullable: bool,
    /// Whether it is the event time of its row.
    pub event_time: bool,
    /// How many windows stand between the stream and it.
    pub level: usize,
    /// A name for people: the first one a query gave it.
    pub label: String,
}

/// A sequence of rows and all that is known of them.
#[derive(Debug, Clone)]
pub struct RowSet {
    /// Where its rows come from.
    pub source: RowSource,
    /// Its columns, each defined by columns before it or by columns of its source.
    pub columns: Vec<Column>,
}

impl RowSet {
    /// The schema that expressions over this row set are compiled against: fields `#0`, `#1`, ….
    pub fn schema(&self) -> SchemaRef {
        let field = |(index, column): (usize, &Column)| {
            Field::new(ColumnId(index).name(), column.data_type.clone(), column.nullable)
        };
        Arc::new(Schema::new(self.columns.iter().enumerate().map(field).collect::<Vec<_>>()))
    }
}

impl ColumnId {
    /// The name expressions use for the column.
    pub fn name(self) -> String {
        format!("#{}", self.0)
    }

    /// The column that a name in an expression stands for.
    pub fn parse(name: &str) -> Option<Self> {
        name.strip_prefix('#')?.parse().ok().map(ColumnId)
    }
}

/// One column that a query selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name in the query.
    pub name: String,
    /// Its values, over the columns of the query's row set.
    pub expression: Expr,
    /// Their type.
    pub data_type: DataType,
}

/// What one query reads from the graph.
#[derive(Debug, Clone)]
pub struct QueryPlan {
    /// The rule's id.
    pub id: String,
    /// The rows that hit.
    pub rows: RowSetId,
    /// What is selected of them.
    pub outputs: Vec<Output>,
}

/// All operators of all queries.
#[derive(Debug, Clone, Default)]
pub struct RuleGraph {
    /// Row sets; one reads only row sets before it.
    pub row_sets: Vec<RowSet>,
    /// The queries that were accepted.
    pub queries: Vec<QueryPlan>,
}
