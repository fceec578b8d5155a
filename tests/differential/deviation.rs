//! Where DataFusion 55.2 is known to go another way: recognised by cause, counted, never guessed.

use super::query::*;

/// A defect of DataFusion's own; the table in `tests/differential.rs` says what each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deviation {
    SlidingTruth,
    KeyPulledOut,
    JoinOrder,
    MembershipBesideOr,
    LookupOutsideWhere,
    SpreadDrift,
    EqualTwins,
}

/// What explains that DataFusion could not answer a query.
pub(super) fn of_failure(query: &Select, failure: &str) -> Option<Deviation> {
    let truth = |call: &Call| matches!(call.function, Function::BoolAnd | Function::BoolOr);
    let sliding_truth = query.calls_everywhere().iter().any(|(call, window)| truth(call) && slides(window));
    let joins = query.all().iter().any(|select| select.join.is_some());
    let said = |words: &str| failure.contains(words);
    match () {
        () if sliding_truth && said("`retract_batch` is not implemented: bool_") => {
            Some(Deviation::SlidingTruth)
        }
        () if said("panicked: internal error: entered unreachable code") => Some(Deviation::EqualTwins),
        () if said("all window expressions shall have the same sort keys") => Some(Deviation::KeyPulledOut),
        () if joins && said("SanityCheckPlan") && said("HashJoinExec") => Some(Deviation::JoinOrder),
        () if outside_where(query)
            && (said("expression InSubquery(") || said("expression Exists(") || said("No field named")) =>
        {
            Some(Deviation::LookupOutsideWhere)
        }
        () => None,
    }
}

/// Whether the start of a frame moves, so that rows leave it.
fn slides(window: &Window) -> bool {
    matches!(window.frame, Frame::Range { start: Some(_), .. } | Frame::Rows { start: Some(_), .. })
}

/// Whether a variance or standard deviation loses rows on its way.
pub(super) fn spread_drifts(query: &Select) -> bool {
    use Function::{StddevPop, StddevSamp, VarPop, VarSamp};
    let spread = |call: &Call| matches!(call.function, StddevSamp | StddevPop | VarSamp | VarPop);
    query.calls_everywhere().iter().any(|(call, window)| spread(call) && slides(window))
}

/// Whether a `NOT IN (SELECT …)` stands beside an `OR`.
pub(super) fn membership_beside_or(query: &Select) -> bool {
    query.all().iter().any(|select| {
        let Some(Expr::Binary(left, Operator::Or, _)) = &select.filter else { return false };
        matches!(left.as_ref(), Expr::Lookup(lookup) if lookup.negated && !lookup.exists)
    })
}

/// Whether a sub-query on a list is selected, filters an aggregate or stands in `QUALIFY`.
fn outside_where(query: &Select) -> bool {
    query.all().iter().any(|select| {
        let items = select.items.iter().map(|item| &item.expr);
        let filters = select.calls.iter().filter_map(|call| call.filter.as_ref());
        items.chain(filters).any(|expr| {
            let mut found = false;
            expr.visit(&mut |part| found |= matches!(part, Expr::Lookup(_)));
            found
        })
    })
}
