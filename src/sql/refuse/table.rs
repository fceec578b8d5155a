//! Names in `FROM`, joins, `IN`, `EXISTS` and `UNION` that can't stream, found in the parsed query.
//!
//! The same kind of findings as its parent's, about which tables a query puts together and how.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    JoinConstraint, JoinOperator, ObjectName, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned,
    TableFactor, visit_relations,
};

use super::Judge;
use crate::diagnostic::{choices, suggest};
use crate::sql::contract::{normal, object_name};

impl Judge<'_> {
    pub(super) fn set_operations(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation {
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                left,
                right,
            } => {
                self.set_operations(left);
                self.set_operations(right);
            }
            SetExpr::SetOperation { op, right, .. } => self.refuse(
                right.span(),
                &format!("{op} would have to remember every row ever seen"),
                "UNION ALL joins streams into one sequence",
            ),
            SetExpr::Values(_) => {
                self.refuse(body.span(), "VALUES is no stream", "put reference rows in rules/lists/NAME.csv");
            }
            _ => {}
        }
    }

    /// A common table that hides a stream, a view or a list would change what a view means.
    pub(super) fn common_table_names(&mut self) {
        for name in std::mem::take(&mut self.tables.names) {
            if self.catalog.knows(&normal(&name)) {
                self.refuse(
                    name.span,
                    &format!("WITH can't define {name}: a stream, view or list has that name"),
                    "give the common table a name of its own",
                );
            }
        }
    }

    /// A name in `FROM` has one part and is known.
    pub(super) fn table(&mut self, name: &ObjectName) {
        let table = object_name(name);
        let known = self.tables.contains(&table) || self.catalog.knows(&table);
        if known && name.0.len() > 1 {
            return self.refuse(
                name.span(),
                &format!("no stream, view or list is called {name}"),
                &format!("names have one part: write {table}"),
            );
        }
        if self.catalog.is_broken_view(&table) {
            let help = "its findings stand with its own file: mend the view first";
            return self.refuse(name.span(), &format!("view {table} can't be used, as it has errors"), help);
        }
        if known {
            return;
        }
        let mut names = self.catalog.table_names();
        names.extend(self.tables.known());
        let help = match suggest(&table, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("streams, views and lists are {}", choices(names)),
        };
        self.refuse(name.span(), &format!("no stream, view or list is called {table}"), &help);
    }

    /// Two streams side by side need a bound in time that a join does not give.
    pub(super) fn joins(&mut self, select: &Select) {
        let mut streams = 0;
        for from in &select.from {
            let first = (&from.relation, None);
            for (factor, join) in
                std::iter::once(first).chain(from.joins.iter().map(|join| (&join.relation, Some(join))))
            {
                let list = self.tables.only_lists(self.catalog, factor);
                streams += usize::from(!list);
                if !list && streams > 1 {
                    return self.refuse(
                        factor.span(),
                        "two streams can't be joined: nothing bounds how long to wait for the other side",
                        "join them with UNION ALL in a view and look for the sequence with windows: \
                         count(*) FILTER (WHERE kind = '…') OVER …; a list in rules/lists/ can be joined",
                    );
                }
                if let Some(join) = join {
                    self.join(&join.join_operator, factor, list);
                }
            }
        }
    }

    fn join(&mut self, operator: &JoinOperator, factor: &TableFactor, list: bool) {
        match operator {
            JoinOperator::FullOuter(_) => self.refuse(
                factor.span(),
                "a FULL JOIN would also give rows of the list that no event has met",
                "write INNER JOIN or LEFT JOIN from the stream to the list",
            ),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) if list => self.refuse(
                factor.span(),
                "a RIGHT JOIN would also give rows of the list that no event has met",
                "write INNER JOIN or LEFT JOIN from the stream to the list",
            ),
            JoinOperator::CrossJoin(_) => self.refuse(
                factor.span(),
                "a CROSS JOIN would make an event into as many as the list has rows",
                "write JOIN list ON list.key = stream.key",
            ),
            JoinOperator::Join(JoinConstraint::On(condition))
            | JoinOperator::Inner(JoinConstraint::On(condition))
            | JoinOperator::Left(JoinConstraint::On(condition))
            | JoinOperator::LeftOuter(JoinConstraint::On(condition)) => self.no_windows(
                condition,
                "a list is joined before windows are counted",
                "compute the window in a sub-select and join that",
            ),
            _ => {}
        }
    }

    /// `IN` and `EXISTS` look into lists.
    pub(super) fn looks_into(&mut self, query: &Query) {
        if self.tables.only_lists(self.catalog, query) {
            return;
        }
        let mut streams = Vec::new();
        let _: ControlFlow<()> = visit_relations(query, |relation| {
            let name = object_name(relation);
            if self.catalog.list(&name).is_none()
                && (self.catalog.knows(&name) || self.tables.contains(&name))
            {
                streams.push((relation.span(), name));
            }
            ControlFlow::Continue(())
        });
        if let Some((span, name)) = streams.into_iter().next() {
            self.refuse(
                span,
                &format!("IN and EXISTS look into lists, and {name} is a stream that never ends"),
                "bring both into one sequence with UNION ALL in a view, and count with a window: \
                 count(*) FILTER (WHERE kind = '…') OVER …",
            );
        }
    }
}
