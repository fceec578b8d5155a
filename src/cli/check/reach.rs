//! How far back windows reach, from the rules' graphs.

use crate::event::Span;
use crate::rules::RuleSet;
use crate::sql::{Definition, RuleGraph};
use crate::window::Frame;

/// How far back the rules look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// The longest bounded reach, windows over windows added up.
    pub longest: Span,
    /// Whether any frame has no bound in time.
    pub unbounded: bool,
}

/// How far back the windows of all rules that run reach.
pub(super) fn reach(set: &RuleSet) -> Reach {
    let mut all = Reach::default();
    for graph in [&set.on_arrival.graph, &set.in_order.graph] {
        let of_graph = of_graph(graph);
        all.longest = all.longest.max(of_graph.longest);
        all.unbounded |= of_graph.unbounded;
    }
    all
}

fn of_graph(graph: &RuleGraph) -> Reach {
    let mut reach = Reach::default();
    // The longest frame of each level: what a window over windows reads reaches back by both.
    let mut levels: Vec<i64> = Vec::new();
    for column in graph.row_sets.iter().flat_map(|rows| &rows.columns) {
        let Definition::Window(window) = &column.definition else { continue };
        match window.function.aggregate.frame {
            Frame::Range { start: Some(start), .. } => {
                let level = window.key.level;
                if levels.len() <= level {
                    levels.resize(level + 1, 0);
                }
                levels[level] = levels[level].max(start);
            }
            Frame::Range { start: None, .. } | Frame::Rows { .. } => reach.unbounded = true,
        }
    }
    reach.longest = Span(levels.iter().sum());
    reach
}
