//! The tables that a parsed query names: which of them are lists, and what `WITH` adds.
//!
//! Keeps the query of each common table expression by name. A name may hide nothing, so one map serves the
//! whole query whatever is nested in it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{Ident, Query, TableFactor, Visit, Visitor, visit_relations};

use super::catalog::Catalog;
use super::contract::{normal, object_name};

/// Common tables and views nested deeper than this are taken for streams.
const DEPTH_MAX: usize = 16;

/// The common table expressions of a query, however deep they stand.
#[derive(Default)]
pub(super) struct CommonTables {
    queries: HashMap<String, Query>,
    /// Each name where it is defined, in the order of the text.
    pub names: Vec<Ident>,
}

impl CommonTables {
    pub(super) fn of(query: &Query) -> Self {
        let mut tables = Self::default();
        let _ = query.visit(&mut tables);
        tables
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.queries.contains_key(name)
    }

    /// The names that `WITH` defines.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.queries.keys().map(String::as_str)
    }

    /// Whether everything that a part of the query reads is a list.
    pub(super) fn only_lists(&self, catalog: &Catalog, part: &impl Visit) -> bool {
        self.reads(catalog, part, 0) == Reads::Lists
    }

    fn reads(&self, catalog: &Catalog, part: &impl Visit, depth: usize) -> Reads {
        let mut reads = Reads::Nothing;
        let found = visit_relations(part, |relation| {
            let name = object_name(relation);
            let below =
                |query: &Query| depth < DEPTH_MAX && self.reads(catalog, query, depth + 1) == Reads::Lists;
            let list = match (self.queries.get(&name), catalog.view(&name)) {
                (Some(query), _) | (None, Some(query)) => below(query),
                (None, None) => catalog.list(&name).is_some(),
            };
            reads = Reads::Lists;
            if list { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if found.is_break() { Reads::Streams } else { reads }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    Lists,
    Streams,
}

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.push(table.alias.name.clone());
            self.queries.insert(normal(&table.alias.name), (*table.query).clone());
        }
        ControlFlow::Continue(())
    }
}

/// Whether a factor of `FROM` is a table, a view or a sub-select.
pub(super) fn is_plain(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { args: None, sample: None, version: None, json_path: None, .. }
        | TableFactor::NestedJoin { .. } => true,
        TableFactor::Derived { lateral, sample, .. } => !lateral && sample.is_none(),
        _ => false,
    }
}
