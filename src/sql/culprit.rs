//! Which part of a query makes it fail, where the planner does not say.
//!
//! Takes a query out of which one part after the other is taken, until it can be planned: that part is at
//! fault. Costs a planning for each part, in broken queries only. Where two parts are at fault, none is found.

use std::ops::{ControlFlow, Range};

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, Spanned, Value, VisitMut, VisitorMut,
    WindowFrame, WindowFrameBound, WindowType, visit_expressions_mut,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::error::byte_range;
use crate::diagnostic::SourceText;

/// Parts tried; a query with more is reported as a whole.
const PARTS_MAX: usize = 200;

/// The place of the part without which `sound` holds.
pub(super) fn find(
    source: &SourceText,
    query: &Query,
    mut sound: impl FnMut(Query) -> bool,
) -> Option<Range<usize>> {
    for kind in [Kind::Frame, Kind::Value, Kind::Condition] {
        for target in 0..PARTS_MAX {
            let mut without = query.clone();
            let mut cut = Cut { kind, target, seen: 0, cut: None };
            let _ = VisitMut::visit(&mut without, &mut cut);
            let Some((span, text)) = cut.cut else { break };
            let place = byte_range(source, span);
            if is_there(source, &place, &text) && sound(without) {
                return Some(place);
            }
        }
    }
    None
}

/// Whether the part's text stands at its place: a part of a view has its place in another file.
fn is_there(source: &SourceText, place: &Range<usize>, text: &str) -> bool {
    let there = source.text.get(place.start..).unwrap_or_default().trim_start_matches(['\'', '"', '(', '-']);
    let word: String = there.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    !word.is_empty() && text.to_lowercase().contains(&word.to_lowercase())
}

/// What is cut out of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Frames of windows.
    Frame,
    /// Selected values.
    Value,
    /// Parts of WHERE and QUALIFY that AND joins.
    Condition,
}

/// Cuts out one part, the `target`-th of its kind.
struct Cut {
    kind: Kind,
    target: usize,
    seen: usize,
    cut: Option<(Span, String)>,
}

impl VisitorMut for Cut {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        match self.kind {
            Kind::Frame => self.frames(select),
            Kind::Value => select.projection.iter_mut().for_each(|item| self.value(item)),
            Kind::Condition => {
                select.selection.iter_mut().chain(&mut select.qualify).for_each(|all| self.conditions(all));
            }
        }
        if self.cut.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Cut {
    fn is_next(&mut self) -> bool {
        self.seen += 1;
        self.seen == self.target + 1
    }

    fn frames(&mut self, select: &mut Select) {
        let mut cut = None;
        let _: ControlFlow<()> = visit_expressions_mut(select, |expression| {
            if let Expr::Function(function) = expression
                && let Some(WindowType::WindowSpec(spec)) = &mut function.over
                && let Some(frame) = spec.window_frame.take_if(|_| self.is_next())
            {
                cut = bounds(&frame);
            }
            ControlFlow::Continue(())
        });
        if cut.is_some() {
            self.cut = cut;
        }
    }

    fn value(&mut self, item: &mut SelectItem) {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) => {
                (expr.clone(), Ident::new(expr.to_string()))
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
            _ => return,
        };
        if self.is_next() {
            self.cut = Some((expr.span(), expr.to_string()));
            *item = SelectItem::ExprWithAlias { expr: Expr::value(Value::Null), alias };
        }
    }

    fn conditions(&mut self, condition: &mut Expr) {
        match condition {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions(left);
                self.conditions(right);
            }
            Expr::Nested(inner) => self.conditions(inner),
            _ if self.is_next() => {
                self.cut = Some((condition.span(), condition.to_string()));
                *condition = Expr::value(Value::Boolean(true));
            }
            _ => {}
        }
    }
}

/// The place of a frame: from the length of its first bound to that of its last.
fn bounds(frame: &WindowFrame) -> Option<(Span, String)> {
    let lengths =
        std::iter::once(&frame.start_bound).chain(&frame.end_bound).filter_map(|bound| match bound {
            WindowFrameBound::Preceding(Some(length)) => Some((length.span(), length.to_string())),
            _ => None,
        });
    lengths.reduce(|(first, text), (last, _)| (first.union(&last), text))
}
