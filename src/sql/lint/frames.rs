//! Frames that a rule leaves to the default of SQL.
//!
//! Where no frame is written the window reaches from the first event of its key, and where its end is not written it
//! ends at the current row. Both are rarely what a rule about minutes or days means, and the first keeps state for ever.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{
    Expr, Function, NamedWindowDefinition, NamedWindowExpr, Select, SetExpr, Spanned, Statement, Visit,
    Visitor, WindowSpec, WindowType,
};

use super::{Lint, Place};
use crate::diagnostic::SourceText;
use crate::sql::error::byte_range;
use crate::sql::plan::parse_statements;

/// Functions that have frames of their own.
const WITHOUT_FRAME: [&str; 2] = ["lag", "row_number"];

/// Windows of a rule whose frame, or the end of it, is not written.
pub fn implicit_frames(source: &Arc<SourceText>) -> Vec<Lint> {
    let Ok(statements) = parse_statements(source) else { return Vec::new() };
    let mut reader = Reader { source, windows: BTreeMap::new(), found: BTreeMap::new() };
    let mut named = NamedWindows(Vec::new());
    _ = statements.visit(&mut named);
    reader.windows = named.0.into_iter().map(|(name, place, spec)| (name, (place, spec))).collect();
    _ = statements.visit(&mut reader);
    reader.found.into_values().collect()
}

type Named = (String, datafusion_sql::sqlparser::tokenizer::Span, WindowSpec);

/// The windows of all `WINDOW` clauses.
struct NamedWindows(Vec<Named>);

impl Visitor for NamedWindows {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        if let Statement::Query(query) = statement {
            self.body(&query.body);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &datafusion_sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.body(&query.body);
        ControlFlow::Continue(())
    }
}

impl NamedWindows {
    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &Select) {
        for NamedWindowDefinition(name, definition) in &select.named_window {
            let spec = match definition {
                NamedWindowExpr::WindowSpec(spec) => spec.clone(),
                NamedWindowExpr::NamedWindow(_) => continue,
            };
            self.0.push((name.value.to_lowercase(), name.span, spec));
        }
    }
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    windows: BTreeMap<String, (datafusion_sql::sqlparser::tokenizer::Span, WindowSpec)>,
    /// By where they stand, each once.
    found: BTreeMap<usize, Lint>,
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression
            && let Some(over) = &function.over
            && !WITHOUT_FRAME.contains(&function.name.to_string().to_lowercase().as_str())
        {
            self.window(function, over);
        }
        ControlFlow::Continue(())
    }
}

impl Reader<'_> {
    fn window(&mut self, function: &Function, over: &WindowType) {
        let own = byte_range(self.source, function.name.span());
        match over {
            WindowType::NamedWindow(name) => {
                if let Some((place, spec)) = self.windows.get(&name.value.to_lowercase()).cloned() {
                    self.spec(&spec, byte_range(self.source, place));
                }
            }
            WindowType::WindowSpec(spec) => self.spec(spec, own),
        }
    }

    fn spec(&mut self, spec: &WindowSpec, place: Range<usize>) {
        let (message, help) = match &spec.window_frame {
            Some(frame) if frame.end_bound.is_some() => return,
            Some(frame) => {
                let units = frame.units;
                let start = &frame.start_bound;
                let message = "the end of the window's frame is not written: it ends at the current row";
                (message, format!("write {units} BETWEEN {start} AND CURRENT ROW"))
            }
            None => {
                let base = spec.window_name.as_ref().map(|name| name.value.to_lowercase());
                if let Some((place, base)) = base.and_then(|name| self.windows.get(&name)).cloned() {
                    return self.spec(&base, byte_range(self.source, place));
                }
                let message = "the window has no frame: it reaches from the first event of its key, and keeps \
                               that state for ever";
                let help = "write how far back it looks, such as RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND \
                            CURRENT ROW; UNBOUNDED PRECEDING if all of it is meant";
                (message, help.to_owned())
            }
        };
        let start = place.start;
        let message = message.to_owned();
        let lint = Lint { code: "implicit-frame", message, help, place: Place::Span(place) };
        self.found.entry(start).or_insert(lint);
    }
}
