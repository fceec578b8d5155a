//! Frames and orders of windows that can't stream, found in the parsed query.
//!
//! The same kind of findings as its parent's, about what stands between the brackets of
//! `OVER (…)` and `WINDOW w AS (…)`.

use datafusion_sql::sqlparser::ast::{
    Expr, OrderByExpr, Spanned, Value, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::Judge;

impl Judge<'_> {
    /// The parts of a window that can be judged without knowing the window it names.
    pub(super) fn window_parts(&mut self, spec: &WindowSpec) {
        if spec.order_by.len() > 1 {
            self.refuse(
                spec.order_by[1].span(),
                "a window is ordered by event time alone",
                "leave this out: rows of equal time are taken in their order of arrival",
            );
        }
        if let Some(OrderByExpr { expr, options, .. }) = spec.order_by.first()
            && options.asc == Some(false)
        {
            self.refuse(expr.span(), "ORDER BY … DESC turns the window towards the future", "leave DESC out");
        }
        if let Some(frame) = &spec.window_frame {
            self.frame(spec, frame);
        }
    }

    fn frame(&mut self, spec: &WindowSpec, frame: &WindowFrame) {
        let before = spec.order_by.last().map_or_else(Span::empty, Spanned::span);
        if frame.units == WindowFrameUnits::Groups {
            self.refuse(
                self.word(before, "GROUPS"),
                "GROUPS frames are not supported",
                "use RANGE with an interval, or ROWS with a count",
            );
        }
        for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
            match bound {
                WindowFrameBound::Following(length) => self.refuse(
                    length.as_ref().map_or_else(|| self.word(before, "FOLLOWING"), |length| length.span()),
                    "FOLLOWING takes in rows that have not arrived: the future is not known",
                    "end the frame at CURRENT ROW, or before it with INTERVAL '…' PRECEDING",
                ),
                WindowFrameBound::Preceding(Some(length)) if without_unit(length) => self.refuse(
                    length.span(),
                    &format!("{length} does not say of what"),
                    "write the unit into the quotes: INTERVAL '10 minutes'",
                ),
                WindowFrameBound::Preceding(Some(length)) if calendar(length) => self.refuse(
                    length.span(),
                    "months and years differ in length, so a window can't be measured in them",
                    "count days instead, such as INTERVAL '30 days'",
                ),
                WindowFrameBound::Preceding(Some(length))
                    if frame.units == WindowFrameUnits::Range && is_number(length) =>
                {
                    self.refuse(
                        length.span(),
                        &format!("a RANGE frame over event time is measured in INTERVALs, not in {length}"),
                        "write INTERVAL '10 minutes' PRECEDING; ROWS counts rows",
                    );
                }
                WindowFrameBound::Preceding(Some(length))
                    if frame.units == WindowFrameUnits::Rows && !is_number(length) =>
                {
                    self.refuse(
                        length.span(),
                        &format!("a ROWS frame counts rows, and {length} is no whole number"),
                        "write ROWS 10 PRECEDING, or RANGE with an INTERVAL",
                    );
                }
                WindowFrameBound::Preceding(_) | WindowFrameBound::CurrentRow => {}
            }
        }
    }
}

fn without_unit(length: &Expr) -> bool {
    let Expr::Interval(interval) = length else { return false };
    interval.leading_field.is_none() && !interval.value.to_string().chars().any(char::is_alphabetic)
}

fn calendar(length: &Expr) -> bool {
    let text = length.to_string().to_lowercase();
    ["month", "mon ", "mons", "year", "decade", "centur", "quarter"].iter().any(|unit| text.contains(unit))
}

fn is_number(length: &Expr) -> bool {
    matches!(length, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}
