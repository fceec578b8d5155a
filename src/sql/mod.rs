//! Rules become one shared graph: SQL text to logical plan to [`RuleGraph`].
//!
//! Takes the texts of queries and a [`Catalog`] of what they may name; hands on a [`RuleGraph`] in which
//! equal rows, columns and windows of all queries are one, and every finding as a
//! [`Diagnostic`]. Keeps nothing. A query that is refused never harms the others.
//! What would surprise: DataFusion plans and type-checks, but its optimizer never runs (only
//! `SimplifyExpressions`): batch rewrites move predicates below windows and so split state that rules share.

mod asked;
mod catalog;
mod constants;
mod contract;
mod culprit;
mod error;
mod explain;
mod expression;
mod functions;
mod ir;
mod join;
mod keying;
mod limits;
mod lint;
mod list;
mod lookup;
mod lower;
mod plan;
mod predict;
mod refuse;
mod rewrite;
mod tables;
mod view;
mod window;
mod words;

pub use catalog::{Catalog, CatalogSources};
pub use constants::{Constant, compared_constants};
pub use contract::parse_contract;
pub(crate) use error::first_word;
pub(crate) use expression::{columns_read, renamed};
pub use functions::FUNCTION_NOTES;
pub use ir::{
    Column, ColumnId, Definition, HashedAggregate, Output, QueryPlan, RowSet, RowSetId, RowSource, RuleGraph,
    WindowColumn, WindowKey,
};
pub use keying::{not_keyed_by, selects_topic_key};
pub use lint::{Lint, Place, implicit_frames, implied, needless_null_tests, odd_comparisons, query_lints};
pub use list::{List, ListError};
pub(crate) use plan::parse_statements;
pub use predict::{ModelCall, as_model_call, model_calls, query_expressions};

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceText};

/// One query to compile: a rule's id and the text of its file.
#[derive(Debug, Clone)]
pub struct Query {
    /// The rule's id, for the graph's list of who reads what.
    pub id: String,
    /// The whole file; comments, headers among them, are skipped by the parser.
    pub source: Arc<SourceText>,
}

/// What compiling gives: the graph of every query that can stream, and what is wrong with the others.
#[derive(Debug)]
pub struct Compiled {
    /// Operators of all accepted queries, shared.
    pub graph: RuleGraph,
    /// Findings, in the order of the queries and of their text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Stack of the thread that compiles: the planner walks expressions by recursion, a few KiB a level.
const STACK_BYTES: usize = 64 << 20;

/// Runs work that recurses deeply on a stack made for it; on the caller's where no thread can be had.
fn on_large_stack<T: Send>(mut work: impl FnMut() -> T + Send) -> T {
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, &mut work);
        thread.ok().map(std::thread::ScopedJoinHandle::join)
    });
    match ended {
        Some(Ok(done)) => done,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => work(),
    }
}

/// Compiles all queries into one graph; a query with an error is left out and reported.
pub fn compile(catalog: &Catalog, queries: &[Query]) -> Compiled {
    on_large_stack(|| compile_all(catalog, queries))
}

fn compile_all(catalog: &Catalog, queries: &[Query]) -> Compiled {
    let mut builder = lower::GraphBuilder::new(catalog);
    let mut diagnostics = Vec::new();
    for query in queries {
        match plan::plan(catalog, query) {
            Ok(plan) => {
                if let Err(finding) = builder.add(query, &plan) {
                    diagnostics.push(finding);
                }
            }
            Err(findings) => diagnostics.extend(findings),
        }
    }
    Compiled { graph: builder.finish(), diagnostics }
}
