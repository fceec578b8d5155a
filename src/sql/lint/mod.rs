//! What is probably not meant in rules that can run: conditions that never or always hold, rules that another makes
//! redundant, divisions that may fail, frames left to the default, texts compared with numbers.
//!
//! Takes the compiled graph, or the text of a rule; hands on [`Lint`]s. Says only what is certain from the rule and
//! the contract, and knows no data: a condition that no event happens to meet is not found.

mod comparisons;
mod condition;
mod division;
mod frames;
mod nulls;
mod possible;

pub use comparisons::odd_comparisons;
pub use frames::implicit_frames;
pub use nulls::needless_null_tests;

use super::{QueryPlan, RuleGraph};
use condition::{Condition, Says};
use datafusion_expr::Expr;

/// One thing that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// A stable name of its kind.
    pub code: &'static str,
    /// What is odd: lower case, no full stop.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Where it stands.
    pub place: Place,
}

/// Where a lint points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The comparison of a column, by its name in the query.
    Column(String),
    /// A byte range of the rule's text.
    Span(std::ops::Range<usize>),
    /// The rule as a whole.
    Rule,
}

/// Conditions of one query that never or always hold, and its divisions that may fail.
pub fn query_lints(graph: &RuleGraph, query: &QueryPlan) -> Vec<Lint> {
    let condition = Condition::of(graph, query);
    let mut lints = match never(graph, &condition) {
        Some(never) => vec![never],
        None => always(graph, &condition),
    };
    lints.extend(division::divisions(graph, query, &condition));
    lints
}

/// Whether every row that hits `narrow` surely hits `wide` as well; not where `narrow` never hits at all.
pub fn implied(graph: &RuleGraph, narrow: &QueryPlan, wide: &QueryPlan) -> bool {
    let (narrow, wide) = (Condition::of(graph, narrow), Condition::of(graph, wide));
    let follows = |fact: &condition::Fact| {
        let as_it_is = narrow.facts.iter().any(|own| own.whole == fact.whole);
        as_it_is
            || match &fact.says {
                Says::Possible(term, possible) => {
                    let compared = narrow.facts.iter().any(|own| speaks_of(own, term));
                    compared && narrow.known(graph, term, None).within(possible)
                }
                Says::NotNull(term) => narrow.facts.iter().any(|own| speaks_of(own, term)),
                _ => false,
            }
    };
    narrow.root == wide.root && wide.facts.iter().all(follows) && never(graph, &narrow).is_none()
}

/// Whether a fact holds only where the term is not null, and says something of its value.
fn speaks_of(fact: &condition::Fact, term: &Expr) -> bool {
    matches!(&fact.says, Says::Possible(own, _) if own == term)
}

fn place(fact: &condition::Fact) -> Place {
    fact.column.clone().map_or(Place::Rule, Place::Column)
}

fn never(graph: &RuleGraph, condition: &Condition) -> Option<Lint> {
    for (index, fact) in condition.facts.iter().enumerate() {
        let before = &condition.facts[..index];
        let message = match &fact.says {
            Says::Never => "the condition is never true: the rule never hits".to_owned(),
            Says::Null(term) => {
                let other = condition.facts.iter().find(|other| speaks_of(other, term))?;
                format!("{} and {} are never true together: the rule never hits", fact.text, other.text)
            }
            Says::Possible(term, _) if condition.known(graph, term, None).is_empty() => {
                let others: Vec<&str> = before
                    .iter()
                    .chain(&condition.facts[index + 1..])
                    .filter(|other| speaks_of(other, term))
                    .map(|other| other.text.as_str())
                    .collect();
                if others.is_empty() {
                    format!("{} is never true: no frame can give this number; the rule never hits", fact.text)
                } else {
                    let all = others.join(", ");
                    format!("{} is never true together with {all}: the rule never hits", fact.text)
                }
            }
            _ => continue,
        };
        let help = "compare with what can be, or set `-- @status: off`".to_owned();
        return Some(Lint { code: "never-true", message, help, place: place(fact) });
    }
    None
}

fn always(graph: &RuleGraph, condition: &Condition) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (index, fact) in condition.facts.iter().enumerate() {
        let Says::Possible(term, possible) = &fact.says else { continue };
        // Of two equal conditions the first one stays.
        let later = condition.facts[index + 1..].iter().any(|other| other.says == fact.says);
        if later || !condition.known(graph, term, Some(index)).within(possible) {
            continue;
        }
        let others: Vec<&str> = condition
            .facts
            .iter()
            .enumerate()
            .filter(|(other, own)| *other != index && speaks_of(own, term))
            .map(|(_, own)| own.text.as_str())
            .collect();
        let message = if others.is_empty() {
            format!("{} is always true", fact.text)
        } else {
            format!("{} is always true where {}", fact.text, others.join(" and "))
        };
        let help = "leave it out, or compare with another value".to_owned();
        lints.push(Lint { code: "always-true", message, help, place: place(fact) });
    }
    lints
}

#[cfg(test)]
mod tests;
