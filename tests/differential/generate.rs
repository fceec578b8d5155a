//! Random queries: every construct that rules may use, over the contract of `data`.

use rand::RngExt;

use super::Rng;
use super::data::{LISTS, World};
use super::expression::{Maker, Term, decimal};
use super::query::*;
use super::value::Value;

const SECOND: i64 = 1_000_000;
const LENGTHS: [i64; 9] = [0, 30, 60, 90, 600, 3600, 7200, 86_400, 259_200];

/// A random query; its first two columns are the row's id and event time.
pub(super) fn query(rng: &mut Rng, world: &World) -> Select {
    let mut generator = Generator { rng, world, aliases: 0 };
    generator.select(2)
}

struct Generator<'a> {
    rng: &'a mut Rng,
    world: &'a World,
    aliases: usize,
}

impl Generator<'_> {
    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("a{}", self.aliases)
    }

    fn select(&mut self, depth: usize) -> Select {
        let (source, fields) = self.source(depth);
        let mut select = Select {
            source,
            fields,
            join: None,
            filter: None,
            windows: Vec::new(),
            calls: Vec::new(),
            items: Vec::new(),
            qualify: None,
            time: 1,
        };
        if self.chance(0.2) {
            self.join(&mut select);
        }
        if self.chance(0.45) {
            let terms = field_terms(&select);
            let mut filter = self.maker(&terms).truth(2);
            if self.chance(0.4)
                && let Some(lookup) = self.lookup(&terms)
            {
                let operator = if self.chance(0.7) { Operator::And } else { Operator::Or };
                filter = Expr::Binary(Box::new(lookup), operator, Box::new(filter));
            }
            select.filter = Some(filter);
        }
        if self.chance(0.85) {
            self.windows(&mut select);
        }
        self.items(&mut select);
        select
    }

    fn maker<'b>(&'b mut self, terms: &'b [Term]) -> Maker<'b> {
        Maker { rng: self.rng, terms }
    }

    fn source(&mut self, depth: usize) -> (Source, Vec<Field>) {
        let choice = if depth == 0 { 0 } else { self.rng.random_range(0..10) };
        match choice {
            0..6 => {
                let stream = usize::from(self.chance(0.15));
                (Source::Stream(stream), self.world.fields(stream))
            }
            6 | 7 => {
                let inner = self.select(depth - 1);
                let fields = fields_of(&inner);
                (Source::Nested(Box::new(inner)), fields)
            }
            8 => {
                let inner = self.select(depth - 1);
                let fields = fields_of(&inner);
                (Source::Common(Box::new(inner)), fields)
            }
            _ => self.union(),
        }
    }

    /// Two or three selects of streams with equal columns, which tell their branch by a constant.
    fn union(&mut self) -> (Source, Vec<Field>) {
        let wanted = [Kind::Whole, Kind::Text, Kind::Float, Kind::Decimal(2), Kind::Truth];
        let names: Vec<String> = wanted.iter().map(|_| self.alias()).collect();
        let count = self.rng.random_range(2..=3);
        let mut parts = Vec::new();
        for branch in 0..count {
            let stream = usize::from(self.chance(0.5));
            let fields = self.world.fields(stream);
            let mut part = Select {
                source: Source::Stream(stream),
                fields,
                join: None,
                filter: None,
                windows: Vec::new(),
                calls: Vec::new(),
                items: Vec::new(),
                qualify: None,
                time: 1,
            };
            let terms = field_terms(&part);
            if self.chance(0.5) {
                part.filter = Some(self.maker(&terms).truth(1));
            }
            part.items.push(Item { expr: Expr::Field(0), name: "id".into(), kind: Kind::Whole });
            part.items.push(Item { expr: Expr::Field(1), name: "happened".into(), kind: Kind::Time });
            let tag = Expr::Literal(Value::Text(format!("b{branch}")));
            part.items.push(Item { expr: tag, name: "branch".into(), kind: Kind::Text });
            for (kind, name) in wanted.iter().zip(&names) {
                let expr = self.maker(&terms).of_kind(*kind, 1);
                part.items.push(Item { expr, name: name.clone(), kind: *kind });
            }
            parts.push(part);
        }
        let fields = fields_of(&parts[0]);
        let place = if self.chance(0.5) { UnionPlace::Nested } else { UnionPlace::Common };
        (Source::Union(parts, place), fields)
    }

    fn join(&mut self, select: &mut Select) {
        let list = self.rng.random_range(0..2);
        let (_, columns, _) = &LISTS[list];
        let terms = field_terms(select);
        let keys: Vec<&Term> = terms.iter().filter(|term| term.kind == columns[0].1).collect();
        if keys.is_empty() {
            return;
        }
        let named = keys.iter().find(|term| term.name.contains(columns[0].0));
        let key = match named {
            Some(key) => key.expr.clone(),
            None => keys[self.rng.random_range(0..keys.len())].expr.clone(),
        };
        let at_least = self.chance(0.3).then(|| (1, self.rng.random_range(0..5)));
        select.join = Some(Join { list, key, column: 0, at_least, keep_all: self.chance(0.6) });
        let field = |(name, kind): &(&str, Kind)| Field { name: (*name).into(), kind: *kind, of_list: true };
        select.fields.extend(columns.iter().map(field));
    }

    fn lookup(&mut self, terms: &[Term]) -> Option<Expr> {
        let list = self.rng.random_range(0..LISTS.len());
        let (_, columns, _) = &LISTS[list];
        let column = if self.chance(0.8) { 0 } else { 1 };
        let keys: Vec<&Term> = terms
            .iter()
            .filter(|term| term.kind == columns[column].1 && matches!(term.expr, Expr::Field(_)))
            .collect();
        if keys.is_empty() {
            return None;
        }
        let key = keys[self.rng.random_range(0..keys.len())].expr.clone();
        let at_least = self.chance(0.4).then(|| (1, self.rng.random_range(0..5)));
        let (exists, negated) = (self.chance(0.5), self.chance(0.3));
        Some(Expr::Lookup(Lookup { list, column, key: Box::new(key), at_least, exists, negated }))
    }

    fn windows(&mut self, select: &mut Select) {
        let terms = field_terms(select);
        for _ in 0..self.rng.random_range(1..=3) {
            let partition_by = (0..[0, 1, 1, 1, 2][self.rng.random_range(0..5)])
                .map(|_| self.partition_key(&terms))
                .collect();
            let style = match self.rng.random_range(0..10) {
                0..4 => Style::Named,
                4..8 => Style::Inline,
                8 => Style::NamedFromBase,
                _ => Style::InlineFromBase,
            };
            let mut frame = self.frame();
            if frame == Frame::Default && matches!(style, Style::NamedFromBase | Style::InlineFromBase) {
                frame = Frame::Range { start: None, end: 0 };
            }
            select.windows.push(Window { partition_by, frame, style });
        }
        for _ in 0..self.rng.random_range(1..=4) {
            let window = self.rng.random_range(0..select.windows.len());
            let call = self.call(&terms, window);
            select.calls.push(call);
        }
    }

    fn partition_key(&mut self, terms: &[Term]) -> Expr {
        let plain: Vec<&Term> = terms
            .iter()
            .filter(|term| !matches!(term.kind, Kind::Float | Kind::Ordinal | Kind::Time))
            .collect();
        let favourite = plain.iter().find(|term| matches!(term.name.as_str(), "card" | "device" | "shop"));
        match favourite {
            Some(term) if self.chance(0.5) => term.expr.clone(),
            _ if self.chance(0.7) => plain[self.rng.random_range(0..plain.len())].expr.clone(),
            _ => {
                let kind = [Kind::Whole, Kind::Text, Kind::Truth][self.rng.random_range(0..3)];
                let key = self.maker(terms).of_kind(kind, 1);
                // A constant key is a key too, but PARTITION BY 1 says little.
                if matches!(key, Expr::Literal(_)) { Expr::Field(1) } else { key }
            }
        }
    }

    fn frame(&mut self) -> Frame {
        let mut length = || LENGTHS[self.rng.random_range(0..LENGTHS.len())] * SECOND;
        let (one, other) = (length(), length());
        let end = if self.chance(0.7) { 0 } else { one.min(other) };
        let rows = self.rng.random_range(0..12);
        match self.rng.random_range(0..20) {
            0..12 => Frame::Range { start: Some(one.max(other)), end },
            12..15 => Frame::Range { start: None, end },
            15 => Frame::Default,
            16..18 => Frame::Rows { start: Some(rows), end: if end == 0 { 0 } else { rows.min(2) } },
            _ => Frame::Rows { start: None, end: if end == 0 { 0 } else { rows } },
        }
    }

    fn call(&mut self, terms: &[Term], window: usize) -> Call {
        use Function::*;
        let number = match self.rng.random_range(0..4) {
            0 => Kind::Whole,
            1 => Kind::Float,
            _ => Kind::Decimal(2),
        };
        let any = match self.rng.random_range(0..6) {
            0 => Kind::Text,
            1 => Kind::Time,
            2 => Kind::Truth,
            _ => number,
        };
        let exact = if matches!(any, Kind::Float) { Kind::Text } else { any };
        let offset = self.rng.random_range(0..4);
        let (function, kind) = match self.rng.random_range(0..24) {
            0..3 => (CountRows, None),
            3 => (Count, Some(any)),
            4 | 5 => (CountDistinct, Some(exact)),
            6..9 => (Sum, Some(number)),
            9 | 10 => (Avg, Some(number)),
            11 => (Min, Some(any)),
            12 => (Max, Some(any)),
            13 => ([StddevSamp, StddevPop][offset % 2], Some(number)),
            14 => ([VarSamp, VarPop][offset % 2], Some(number)),
            15 => (BoolAnd, Some(Kind::Truth)),
            16 => (BoolOr, Some(Kind::Truth)),
            17 => (First, Some(any)),
            18 => (Last, Some(any)),
            19 => (Nth(offset as i64 + 1), Some(any)),
            20 | 21 => (Lag(offset), Some(any)),
            22 => (RowNumber, None),
            _ if self.chance(0.5) => (Median, Some(Kind::Float)),
            _ => (SumDistinct, Some(Kind::Whole)),
        };
        let argument = kind.map(|kind| self.argument(terms, kind));
        let filters = !matches!(function, First | Last | Nth(_) | Lag(_) | RowNumber | Median | SumDistinct);
        let mut filter = (filters && self.chance(0.3)).then(|| self.maker(terms).truth(1));
        if filter.is_some() && self.chance(0.05) {
            filter = self.lookup(terms);
        }
        let lag_default = match (function, kind) {
            (Lag(_), Some(kind)) if self.chance(0.4) => match super::expression::literal(self.rng, kind) {
                Value::Decimal(number, _) => Some(decimal(number)),
                value => Some(value),
            },
            _ => None,
        };
        let ignore_nulls = matches!(function, First | Last | Nth(_)) && self.chance(0.3);
        Call { function, argument, argument_kind: kind, lag_default, ignore_nulls, filter, window }
    }

    /// A field more often than an expression, and never a constant.
    fn argument(&mut self, terms: &[Term], kind: Kind) -> Expr {
        let fields: Vec<&Term> = terms.iter().filter(|term| term.kind == kind).collect();
        if !fields.is_empty() && self.chance(0.7) {
            return fields[self.rng.random_range(0..fields.len())].expr.clone();
        }
        for _ in 0..5 {
            let made = self.maker(terms).of_kind(kind, 1);
            let mut reads = false;
            made.visit(&mut |part| reads |= matches!(part, Expr::Field(_)));
            if reads {
                return made;
            }
        }
        match fields.first() {
            Some(term) => term.expr.clone(),
            None => Expr::Case {
                when: Box::new(Expr::IsNull { of: Box::new(Expr::Field(0)), negated: true }),
                then: Box::new(self.maker(terms).of_kind(kind, 0)),
                otherwise: None,
            },
        }
    }

    fn items(&mut self, select: &mut Select) {
        let (id, time) = match select.fields[0].name.as_str() {
            "payment_id" | "login_id" if self.chance(0.3) => ("id".into(), self.alias()),
            _ => (select.fields[0].name.clone(), select.fields[1].name.clone()),
        };
        select.items.push(Item { expr: Expr::Field(0), name: id, kind: Kind::Whole });
        select.items.push(Item { expr: Expr::Field(1), name: time, kind: Kind::Time });
        if let Some(branch) = select.fields.iter().position(|field| field.name == "branch") {
            select.items.push(Item { expr: Expr::Field(branch), name: "branch".into(), kind: Kind::Text });
        }
        let terms = field_terms(select);
        for (index, field) in select.fields.iter().enumerate().skip(2) {
            if field.name != "branch" && !field.of_list && self.rng.random_bool(0.3) {
                let (expr, name) = (Expr::Field(index), field.name.clone());
                select.items.push(Item { expr, name, kind: field.kind });
            }
        }
        for _ in 0..self.rng.random_range(0..3) {
            let kind = self.random_kind();
            let (expr, name) = (self.maker(&terms).of_kind(kind, 2), self.alias());
            select.items.push(Item { expr, name, kind });
        }
        if self.chance(0.02)
            && let Some(lookup) = self.lookup(&terms)
        {
            let (expr, name) = (lookup, self.alias());
            select.items.push(Item { expr, name, kind: Kind::Truth });
        }
        for call in 0..select.calls.len() {
            let (expr, name) = (Expr::Call(call), self.alias());
            select.items.push(Item { expr, name, kind: call_kind(&select.calls[call]) });
        }
        let with_calls = [terms, call_terms(select)].concat();
        if !select.calls.is_empty() && self.chance(0.4) {
            let kind = self.random_kind();
            let (expr, name) = (self.maker(&with_calls).of_kind(kind, 2), self.alias());
            select.items.push(Item { expr, name, kind });
        }
        if !select.calls.is_empty() && self.chance(0.6) {
            let mut terms = call_terms(select);
            for (call, term) in terms.iter_mut().enumerate() {
                if self.rng.random_bool(0.6) {
                    term.expr = Expr::CallAlias(call);
                }
            }
            if self.chance(0.3) {
                terms.extend(field_terms(select));
            }
            select.qualify = Some(self.maker(&terms).comparison_of_terms(select.calls.len()));
        }
    }

    fn random_kind(&mut self) -> Kind {
        [Kind::Whole, Kind::Float, Kind::Decimal(2), Kind::Text, Kind::Truth, Kind::Time]
            [self.rng.random_range(0..6)]
    }
}

/// The kind of a call's answers.
pub(super) fn call_kind(call: &Call) -> Kind {
    use Function::*;
    match (call.function, call.argument_kind) {
        (RowNumber, _) => Kind::Ordinal,
        (CountRows | Count | CountDistinct, _) => Kind::Whole,
        (StddevSamp | StddevPop | VarSamp | VarPop | Median, _) => Kind::Float,
        (Avg, Some(Kind::Decimal(scale))) => Kind::Decimal(scale + 4),
        (Avg, _) => Kind::Float,
        (_, Some(kind)) => kind,
        (function, None) => panic!("{function:?} has an argument"),
    }
}

fn fields_of(select: &Select) -> Vec<Field> {
    let field = |item: &Item| Field { name: item.name.clone(), kind: item.kind, of_list: false };
    select.items.iter().map(field).collect()
}

fn field_terms(select: &Select) -> Vec<Term> {
    let term = |(index, field): (usize, &Field)| Term {
        expr: Expr::Field(index),
        kind: field.kind,
        name: field.name.clone(),
    };
    select.fields.iter().enumerate().map(term).collect()
}

fn call_terms(select: &Select) -> Vec<Term> {
    let term = |(index, call): (usize, &Call)| Term {
        expr: Expr::Call(index),
        kind: call_kind(call),
        name: String::new(),
    };
    select.calls.iter().enumerate().map(term).collect()
}
