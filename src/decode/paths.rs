//! The fields that are read, as a tree of names built once for a stream.
//!
//! Looking a name up begins with a guess: records of one producer name their fields in one order, so
//! the field expected at a position is compared first, whether it is one we read or one we skip.

use super::error::DecodeError;
use crate::event::Stream;

/// Names longer than this, or standing further back in their object, are looked up without a guess.
const GUESSED_NAME_BYTES_MAX: usize = 64;
const GUESSED_FIELDS_MAX: usize = 256;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing that is read.
    Skipped,
    /// A value: index into [`Paths::leaves`].
    Leaf(usize),
    /// An object that holds values: index of its own node.
    Branch(usize),
}

/// A tree of field names; node 0 is the record itself.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// For each leaf, the columns (indexes among the columns read) that its value goes to.
    pub(super) leaves: Vec<Vec<usize>>,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(String, Target)>,
    /// Columns read anywhere below this node.
    below: Vec<usize>,
    guesses: Vec<Guess>,
}

#[derive(Debug)]
struct Guess {
    name: String,
    target: Target,
}

impl Paths {
    /// `columns` has, for each column read, its index in the contract and its path.
    pub(super) fn new(stream: &Stream, columns: &[(usize, Vec<String>)]) -> Result<Self, DecodeError> {
        let mut paths = Self { nodes: vec![Node::default()], leaves: Vec::new() };
        for (column, (contract_index, path)) in columns.iter().enumerate() {
            paths.insert(column, path).ok_or_else(|| DecodeError::PathConflict {
                stream: stream.name.clone(),
                column: stream.schema.field(*contract_index).name().clone(),
                path: path.join("."),
            })?;
        }
        Ok(paths)
    }

    fn insert(&mut self, column: usize, path: &[String]) -> Option<()> {
        let (last, outer) = path.split_last()?;
        let mut node = 0;
        for name in outer {
            self.nodes[node].below.push(column);
            node = match self.child(node, name) {
                Some(Target::Branch(branch)) => branch,
                Some(_) => return None,
                None => {
                    self.nodes.push(Node::default());
                    let branch = self.nodes.len() - 1;
                    self.nodes[node].children.push((name.clone(), Target::Branch(branch)));
                    branch
                }
            };
        }
        self.nodes[node].below.push(column);
        match self.child(node, last) {
            Some(Target::Leaf(leaf)) => self.leaves[leaf].push(column),
            Some(_) => return None,
            None => {
                self.leaves.push(vec![column]);
                let leaf = Target::Leaf(self.leaves.len() - 1);
                self.nodes[node].children.push((last.clone(), leaf));
            }
        }
        Some(())
    }

    fn child(&self, node: usize, name: &str) -> Option<Target> {
        self.nodes[node].children.iter().find(|(child, _)| child == name).map(|(_, target)| *target)
    }

    /// Columns read anywhere below a node.
    pub(super) fn columns_below(&self, node: usize) -> &[usize] {
        &self.nodes[node].below
    }

    /// What the field of that name is, which stands at that position of the node's object.
    #[inline]
    pub(super) fn find(&mut self, node: usize, position: usize, name: &str) -> Target {
        if let Some(guess) = self.nodes[node].guesses.get(position)
            && guess.name == name
        {
            return guess.target;
        }
        self.find_unguessed(node, position, name)
    }

    fn find_unguessed(&mut self, node: usize, position: usize, name: &str) -> Target {
        let target = self.child(node, name).unwrap_or(Target::Skipped);
        let guesses = &mut self.nodes[node].guesses;
        if name.len() > GUESSED_NAME_BYTES_MAX {
            return target;
        }
        if let Some(guess) = guesses.get_mut(position) {
            guess.name.clear();
            guess.name.push_str(name);
            guess.target = target;
        } else if position == guesses.len() && position < GUESSED_FIELDS_MAX {
            guesses.push(Guess { name: name.to_owned(), target });
        }
        target
    }
}
