//! Random scalar expressions over given terms, made by kind.
//!
//! Floats are never compared for equality nor with each other: engines that add in another order may
//! differ in the last digit, and a comparison would make a row of it.

use rand::RngExt;

use super::Rng;
use super::query::*;
use super::value::Value;

/// Something an expression may be made of.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub expr: Expr,
    pub kind: Kind,
    pub name: String,
}

pub(super) struct Maker<'a> {
    pub rng: &'a mut Rng,
    pub terms: &'a [Term],
}

/// A decimal literal of scale 2.
pub(super) fn decimal(number: i128) -> Value {
    Value::Decimal(number, 2)
}

/// A random constant.
pub(super) fn literal(rng: &mut Rng, kind: Kind) -> Value {
    match kind {
        Kind::Whole | Kind::Ordinal => Value::Whole(rng.random_range(0..12)),
        Kind::Decimal(_) => decimal(rng.random_range(0..9_000)),
        // No value of the data and no sum of quarters is this far from a round number.
        Kind::Float => Value::Float(f64::from(rng.random_range(-2i32..60)) + 0.137),
        Kind::Text => Value::Text(["c1", "s2", "NL", "none", "C0"][rng.random_range(0..5)].to_owned()),
        Kind::Truth => Value::Truth(rng.random_bool(0.5)),
        Kind::Time => Value::Time((1_795_000_000 + rng.random_range(0..100) * 1800) * 1_000_000),
    }
}

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl Maker<'_> {
    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn term(&mut self, kind: Kind) -> Option<Expr> {
        let fitting: Vec<&Term> = self.terms.iter().filter(|term| term.kind == kind).collect();
        (!fitting.is_empty()).then(|| fitting[self.rng.random_range(0..fitting.len())].expr.clone())
    }

    fn leaf(&mut self, kind: Kind) -> Expr {
        let constant = self.chance(0.15);
        match self.term(kind) {
            Some(term) if !constant => term,
            _ => match (literal(self.rng, kind), kind) {
                (Value::Decimal(number, _), Kind::Decimal(scale)) => {
                    Expr::Literal(Value::Decimal(number, scale))
                }
                (value, _) => Expr::Literal(value),
            },
        }
    }

    /// An expression of a kind with at most `depth` operators on top of each other.
    pub(super) fn of_kind(&mut self, kind: Kind, depth: usize) -> Expr {
        if kind == Kind::Truth {
            return self.truth(depth);
        }
        if depth == 0 || self.chance(0.25) || kind == Kind::Ordinal {
            return self.leaf(kind);
        }
        let below = depth - 1;
        match self.rng.random_range(0..10) {
            0 | 1 => {
                let when = boxed(self.truth(below));
                let then = boxed(self.of_kind(kind, below));
                let otherwise = self.chance(0.7).then(|| boxed(self.of_kind(kind, below)));
                Expr::Case { when, then, otherwise }
            }
            2 | 3 => Expr::Coalesce(vec![self.of_kind(kind, below), self.leaf(kind)]),
            _ => self.operation(kind, below),
        }
    }

    fn operation(&mut self, kind: Kind, below: usize) -> Expr {
        let choice = self.rng.random_range(0..8);
        let operator = if choice % 2 == 0 { Operator::Plus } else { Operator::Minus };
        let factor = Expr::Literal(Value::Whole(self.rng.random_range(2..5)));
        match kind {
            Kind::Whole => match choice {
                0..3 => self.binary(kind, operator, kind, below),
                3 => Expr::Binary(boxed(self.of_kind(kind, below)), Operator::Times, boxed(factor)),
                4 => Expr::Binary(boxed(self.of_kind(kind, below)), Operator::Modulo, boxed(factor)),
                5 => Expr::Divide(boxed(self.of_kind(kind, below)), boxed(self.leaf(kind))),
                6 => Expr::Function(Scalar::Absolute, boxed(self.of_kind(kind, below))),
                _ if self.chance(0.5) => Expr::Function(Scalar::Length, boxed(self.leaf(Kind::Text))),
                _ => Expr::Function(Scalar::Hour, boxed(self.leaf(Kind::Time))),
            },
            Kind::Decimal(_) => match choice {
                0..4 => self.binary(kind, operator, kind, below),
                4 => self.binary(kind, operator, Kind::Whole, below),
                5 => Expr::Function(Scalar::Absolute, boxed(self.of_kind(kind, below))),
                _ => Expr::Binary(boxed(self.of_kind(kind, below)), Operator::Times, boxed(factor)),
            },
            Kind::Float => match choice {
                0..3 => self.binary(kind, operator, kind, below),
                3 => self.binary(kind, operator, Kind::Decimal(2), below),
                4 => self.binary(kind, operator, Kind::Whole, below),
                5 => Expr::Function(Scalar::AsDouble, boxed(self.leaf(Kind::Decimal(2)))),
                6 => Expr::Function(Scalar::AsDouble, boxed(self.leaf(Kind::Whole))),
                _ => Expr::Binary(boxed(self.of_kind(kind, below)), Operator::Times, boxed(factor)),
            },
            Kind::Text => match choice {
                0..3 => self.binary(kind, Operator::Concat, kind, below),
                3..6 => Expr::Function(Scalar::Upper, boxed(self.of_kind(kind, below))),
                _ => Expr::Function(Scalar::AsText, boxed(self.leaf(Kind::Whole))),
            },
            Kind::Time => Expr::Function(Scalar::TruncateToHour, boxed(self.leaf(kind))),
            Kind::Truth | Kind::Ordinal => self.leaf(kind),
        }
    }

    fn binary(&mut self, left: Kind, operator: Operator, right: Kind, below: usize) -> Expr {
        Expr::Binary(boxed(self.of_kind(left, below)), operator, boxed(self.of_kind(right, below)))
    }

    /// A truth value.
    pub(super) fn truth(&mut self, depth: usize) -> Expr {
        if depth == 0 {
            return if self.chance(0.4) { self.leaf(Kind::Truth) } else { self.comparison(0) };
        }
        let below = depth - 1;
        match self.rng.random_range(0..12) {
            0..5 => self.comparison(below),
            5 => self.binary(Kind::Truth, Operator::And, Kind::Truth, below),
            6 => self.binary(Kind::Truth, Operator::Or, Kind::Truth, below),
            7 => Expr::Not(boxed(self.truth(below))),
            8 => {
                let kind =
                    [Kind::Whole, Kind::Text, Kind::Decimal(2), Kind::Float][self.rng.random_range(0..4)];
                Expr::IsNull { of: boxed(self.leaf(kind)), negated: self.chance(0.5) }
            }
            9 => {
                let kind = if self.chance(0.5) { Kind::Whole } else { Kind::Text };
                let values = (0..self.rng.random_range(1..5)).map(|_| literal(self.rng, kind)).collect();
                Expr::InValues { of: boxed(self.of_kind(kind, below)), values, negated: self.chance(0.3) }
            }
            10 => {
                let low = self.rng.random_range(-2..10);
                let high = Value::Whole(low + self.rng.random_range(0..8));
                Expr::Between(boxed(self.of_kind(Kind::Whole, below)), Value::Whole(low), high)
            }
            _ => self.leaf(Kind::Truth),
        }
    }

    fn comparison(&mut self, below: usize) -> Expr {
        let kinds = [Kind::Whole, Kind::Decimal(2), Kind::Float, Kind::Text, Kind::Time];
        let kind = kinds[self.rng.random_range(0..5)];
        let left = self.of_kind(kind, below);
        self.compared(left, kind, below)
    }

    /// A test of the terms themselves, as `QUALIFY` makes it; one of the first `calls` terms is in it, or
    /// the planner takes the clause for one without windows.
    pub(super) fn comparison_of_terms(&mut self, calls: usize) -> Expr {
        let mut tests: Option<Expr> = None;
        for _ in 0..self.rng.random_range(1..=3) {
            let among = if tests.is_none() { calls } else { self.terms.len() };
            let term = self.terms[self.rng.random_range(0..among)].clone();
            let test = match term.kind {
                Kind::Truth if self.chance(0.5) => term.expr,
                Kind::Truth => Expr::IsNull { of: boxed(term.expr), negated: self.chance(0.6) },
                kind => self.compared(term.expr, kind, 1),
            };
            let operator = if self.chance(0.4) { Operator::And } else { Operator::Or };
            tests = Some(match tests {
                Some(before) => Expr::Binary(boxed(before), operator, boxed(test)),
                None => test,
            });
        }
        tests.expect("one test at least")
    }

    fn compared(&mut self, left: Expr, kind: Kind, below: usize) -> Expr {
        use Operator::*;
        let ordered = [Less, LessOrEqual, Greater, GreaterOrEqual][self.rng.random_range(0..4)];
        let operator = match self.rng.random_range(0..4) {
            0 if kind != Kind::Float => [Equal, Unequal][self.rng.random_range(0..2)],
            _ => ordered,
        };
        let right = match kind {
            Kind::Float | Kind::Ordinal => Expr::Literal(literal(self.rng, kind)),
            Kind::Decimal(_) if self.chance(0.3) => Expr::Literal(Value::Whole(self.rng.random_range(0..90))),
            Kind::Decimal(_) if self.chance(0.2) => Expr::Literal(literal(self.rng, Kind::Float)),
            _ if self.chance(0.5) => self.leaf(kind),
            _ if self.chance(0.5) => Expr::Literal(literal(self.rng, kind)),
            _ => self.of_kind(kind, below.min(1)),
        };
        Expr::Binary(boxed(left), operator, boxed(right))
    }
}
