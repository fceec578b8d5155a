//! How a schedule takes states of an earlier graph into account.
//!
//! Takes the states that live on; puts their windows into groups of their own, which keep the order that the
//! state was made with, and says for which rows each is asked now.

use super::lineage::Inherited;
use super::schedule::{Group, Node, Planner};
use crate::sql::{ColumnId, RowSetId, WindowKey};
use crate::window::Asked;

/// Which of the states of one key over one row set: those that go on from before come first.
pub(super) type Part = usize;

/// The part of windows that go on from nothing.
const NEW: Part = usize::MAX;

impl<'a> Planner<'a> {
    /// The state that a window belongs to.
    pub(super) fn group(&self, rows: RowSetId, column: ColumnId, key: &WindowKey) -> Group {
        (rows, key.clone(), self.parts.get(&(rows, column)).copied().unwrap_or(NEW))
    }

    /// Takes the windows of earlier states out of the groups of new ones. What no query reads any more is
    /// still computed where its state lives on, for a state takes all of its columns or none.
    pub(super) fn inherit(&mut self, inherited: &'a [Inherited]) {
        for (part, state) in inherited.iter().enumerate() {
            let new = (state.rows, state.key.clone(), NEW);
            if let Some(members) = self.groups.get_mut(&new) {
                members.retain(|member| !state.members.contains(member));
                if members.is_empty() {
                    self.groups.remove(&new);
                }
            }
            let own = (state.rows, state.key.clone(), part);
            self.groups.insert(own.clone(), state.members.clone());
            self.inherited.insert(own, state);
            for member in &state.members {
                self.parts.insert((state.rows, *member), part);
            }
        }
        for state in inherited {
            state.members.iter().for_each(|member| self.mark_unread(&Node::Column(state.rows, *member)));
        }
    }

    /// Notes that a node and all that it reads are computed, though perhaps no query needs them.
    fn mark_unread(&mut self, node: &Node) {
        if self.readers.contains_key(node) {
            return;
        }
        self.readers.insert(node.clone(), Vec::new());
        for read in self.reads(node) {
            match read {
                Node::Window(..) => self.reads(&read).iter().for_each(|input| self.mark_unread(input)),
                read => self.mark_unread(&read),
            }
        }
    }

    /// The earlier state that the state of a group goes on from.
    pub(super) fn origin(&self, group: &Group) -> Option<usize> {
        self.inherited.get(group).map(|state| state.state)
    }

    /// The selections that an earlier state was made for, as those who read it now want them.
    pub(super) fn inherited_selections(
        &self,
        rows: RowSetId,
        members: &[ColumnId],
        asked: &[Asked],
    ) -> Vec<Option<Vec<RowSetId>>> {
        let count = asked.iter().filter_map(|asked| match asked {
            Asked::Within(index) => Some(index + 1),
            Asked::Always => None,
        });
        let mut selections = vec![Some(Vec::new()); count.max().unwrap_or(0)];
        for (member, asked) in members.iter().zip(asked) {
            let Asked::Within(index) = asked else { continue };
            let read =
                self.readers.get(&Node::Column(rows, *member)).is_some_and(|queries| !queries.is_empty());
            match (&mut selections[*index], self.filters(rows, *member)) {
                _ if !read => {}
                (Some(known), Some(filters)) => known.extend(filters),
                (selection, _) => *selection = None,
            }
        }
        selections
    }
}
