//! The two texts of a query: as a rule's author writes it, and with each window written out inline.

use std::fmt::Write;

use super::query::*;
use super::value::Value;

/// The query's text.
pub(super) fn text(select: &Select, names: &Names<'_>, form: Form) -> String {
    let mut writer = Writer { names, form, common: Vec::new(), next: 0 };
    let body = writer.select(select);
    match writer.common.is_empty() {
        true => body,
        false => format!("WITH {}\n{body}", writer.common.join(",\n")),
    }
}

struct Writer<'a> {
    names: &'a Names<'a>,
    form: Form,
    common: Vec<String>,
    next: usize,
}

impl Writer<'_> {
    fn select(&mut self, select: &Select) -> String {
        let (from, outer) = self.from(select);
        let scope = Scope { select, outer: &outer, names: self.names, form: self.form };
        let items: Vec<String> = select
            .items
            .iter()
            .map(|item| match (&item.expr, scope.expr(&item.expr)) {
                (Expr::Field(field), text) if select.fields[*field].name == item.name => text,
                (_, text) => format!("{text} AS {}", item.name),
            })
            .collect();
        let mut sql = format!("SELECT {}\nFROM {from}", items.join(", "));
        if let Some(filter) = &select.filter {
            let _ = write!(sql, "\nWHERE {}", scope.expr(filter));
        }
        let windows = scope.window_clause();
        if !windows.is_empty() {
            let _ = write!(sql, "\nWINDOW {}", windows.join(",\n  "));
        }
        if let Some(qualify) = &select.qualify {
            let _ = write!(sql, "\nQUALIFY {}", scope.expr(qualify));
        }
        sql
    }

    /// The `FROM` clause, and the name by which the rows of the source are called.
    fn from(&mut self, select: &Select) -> (String, String) {
        let (from, outer) = match &select.source {
            Source::Stream(stream) => {
                (self.names.streams[*stream].to_owned(), self.names.streams[*stream].to_owned())
            }
            Source::Nested(inner) => self.nested(|writer| writer.select(inner)),
            Source::Union(parts, UnionPlace::Nested) => self.nested(|writer| writer.union(parts)),
            Source::Common(inner) => self.common(|writer| writer.select(inner)),
            Source::Union(parts, UnionPlace::Common) => self.common(|writer| writer.union(parts)),
        };
        let Some(join) = &select.join else { return (from, outer) };
        let (list, columns) = &self.names.lists[join.list];
        let scope = Scope { select, outer: &outer, names: self.names, form: self.form };
        let kind = if join.keep_all { "LEFT JOIN" } else { "JOIN" };
        let mut text =
            format!("{from} {kind} {list} ON {} = {list}.{}", scope.expr(&join.key), columns[join.column]);
        if let Some((column, least)) = join.at_least {
            let _ = write!(text, " AND {list}.{} >= {least}", columns[column]);
        }
        (text, outer)
    }

    fn name(&mut self) -> String {
        self.next += 1;
        format!("q{}", self.next)
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> String) -> (String, String) {
        let name = self.name();
        let inner = inner(self);
        (format!("({inner}) AS {name}"), name)
    }

    fn common(&mut self, inner: impl FnOnce(&mut Self) -> String) -> (String, String) {
        let name = self.name();
        let inner = inner(self);
        self.common.push(format!("{name} AS ({inner})"));
        (name.clone(), name)
    }

    fn union(&mut self, parts: &[Select]) -> String {
        parts.iter().map(|part| self.select(part)).collect::<Vec<_>>().join("\nUNION ALL\n")
    }
}

/// Names in force inside one select.
struct Scope<'a> {
    select: &'a Select,
    outer: &'a str,
    names: &'a Names<'a>,
    form: Form,
}

impl Scope<'_> {
    fn field(&self, field: usize) -> String {
        let Field { name, of_list, .. } = &self.select.fields[field];
        match &self.select.join {
            Some(join) if *of_list => format!("{}.{name}", self.names.lists[join.list].0),
            Some(_) => format!("{}.{name}", self.outer),
            None => name.clone(),
        }
    }

    fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Field(field) => self.field(*field),
            Expr::Call(call) => self.call(&self.select.calls[*call]),
            Expr::CallAlias(call) => {
                let named = |item: &&Item| matches!(&item.expr, Expr::Call(own) if own == call);
                self.select.items.iter().find(named).expect("the call is selected").name.clone()
            }
            Expr::Literal(value) => literal(value),
            Expr::Binary(left, operator, right) => {
                format!("({} {} {})", self.expr(left), operator.text(), self.expr(right))
            }
            Expr::Divide(left, right) => format!("({} / nullif({}, 0))", self.expr(left), self.expr(right)),
            Expr::Not(of) => format!("(NOT {})", self.expr(of)),
            Expr::IsNull { of, negated } => {
                format!("({} IS {}NULL)", self.expr(of), if *negated { "NOT " } else { "" })
            }
            Expr::Case { when, then, otherwise } => {
                let rest = otherwise.as_ref().map(|rest| format!(" ELSE {}", self.expr(rest)));
                let (when, then) = (self.expr(when), self.expr(then));
                format!("CASE WHEN {when} THEN {then}{} END", rest.unwrap_or_default())
            }
            Expr::Coalesce(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.expr(part)).collect();
                format!("coalesce({})", parts.join(", "))
            }
            Expr::InValues { of, values, negated } => {
                let values: Vec<_> = values.iter().map(literal).collect();
                let not = if *negated { "NOT " } else { "" };
                format!("({} {not}IN ({}))", self.expr(of), values.join(", "))
            }
            Expr::Between(of, low, high) => {
                format!("({} BETWEEN {} AND {})", self.expr(of), literal(low), literal(high))
            }
            Expr::Function(function, of) => function.text(&self.expr(of)),
            Expr::Lookup(lookup) => self.lookup(lookup),
        }
    }

    fn lookup(&self, lookup: &Lookup) -> String {
        let (list, columns) = &self.names.lists[lookup.list];
        let column = columns[lookup.column];
        let least = lookup.at_least.map(|(column, least)| format!("l.{} >= {least}", columns[column]));
        let not = if lookup.negated { "NOT " } else { "" };
        if lookup.exists {
            // The key must not be taken for a column of the list.
            let key = match lookup.key.as_ref() {
                Expr::Field(field) if self.select.join.is_none() => {
                    format!("{}.{}", self.outer, self.select.fields[*field].name)
                }
                key => self.expr(key),
            };
            let rest = least.map(|least| format!(" AND {least}")).unwrap_or_default();
            return format!("{not}EXISTS (SELECT 1 FROM {list} AS l WHERE l.{column} = {key}{rest})");
        }
        let rest = least.map(|least| format!(" WHERE {least}")).unwrap_or_default();
        format!("{} {not}IN (SELECT l.{column} FROM {list} AS l{rest})", self.expr(&lookup.key))
    }

    fn call(&self, call: &Call) -> String {
        let argument = call.argument.as_ref().map(|argument| self.expr(argument)).unwrap_or_default();
        let mut text = match call.function {
            Function::CountRows => "count(*)".to_owned(),
            Function::CountDistinct => format!("count(DISTINCT {argument})"),
            Function::SumDistinct => format!("sum(DISTINCT {argument})"),
            Function::Nth(n) => format!("nth_value({argument}, {n})"),
            Function::Lag(offset) => match &call.lag_default {
                Some(default) => format!("lag({argument}, {offset}, {})", literal(default)),
                None if offset == 1 => format!("lag({argument})"),
                None => format!("lag({argument}, {offset})"),
            },
            other => format!("{}({argument})", other.name()),
        };
        if call.ignore_nulls {
            text.push_str(" IGNORE NULLS");
        }
        if let Some(filter) = &call.filter {
            let _ = write!(text, " FILTER (WHERE {})", self.expr(filter));
        }
        let window = &self.select.windows[call.window];
        let over = match (self.form, window.style) {
            (Form::Inline, _) | (_, Style::Inline) => {
                format!("({}{})", self.base(window), frame(window.frame))
            }
            (_, Style::Named | Style::NamedFromBase) => format!("w{}", call.window),
            (_, Style::InlineFromBase) => format!("(base{}{})", call.window, frame(window.frame)),
        };
        let _ = write!(text, " OVER {over}");
        text
    }

    fn base(&self, window: &Window) -> String {
        let keys: Vec<_> = window.partition_by.iter().map(|key| self.expr(key)).collect();
        let partition =
            if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) };
        format!("{partition}ORDER BY {}", self.field(self.select.time))
    }

    fn window_clause(&self) -> Vec<String> {
        let mut clause = Vec::new();
        if self.form == Form::Inline {
            return clause;
        }
        for (index, window) in self.select.windows.iter().enumerate() {
            let (base, frame) = (self.base(window), frame(window.frame));
            match window.style {
                Style::Inline => {}
                Style::Named => clause.push(format!("w{index} AS ({base}{frame})")),
                Style::NamedFromBase => {
                    clause.push(format!("base{index} AS ({base})"));
                    clause.push(format!("w{index} AS (base{index}{frame})"));
                }
                Style::InlineFromBase => clause.push(format!("base{index} AS ({base})")),
            }
        }
        clause
    }
}

fn frame(frame: Frame) -> String {
    match frame {
        Frame::Default => String::new(),
        Frame::Range { start, end } => {
            let bound = |micros: i64| match micros {
                0 => "CURRENT ROW".to_owned(),
                _ => format!("INTERVAL '{}' PRECEDING", interval(micros)),
            };
            let start = start.map_or_else(|| "UNBOUNDED PRECEDING".to_owned(), bound);
            format!(" RANGE BETWEEN {start} AND {}", bound(end))
        }
        Frame::Rows { start, end } => {
            let bound = |rows: usize| match rows {
                0 => "CURRENT ROW".to_owned(),
                _ => format!("{rows} PRECEDING"),
            };
            let start = start.map_or_else(|| "UNBOUNDED PRECEDING".to_owned(), bound);
            format!(" ROWS BETWEEN {start} AND {}", bound(end))
        }
    }
}

/// Lengths of time in more than one spelling.
fn interval(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        _ if micros % 1_000_000 != 0 => format!("{} milliseconds", micros / 1000),
        _ if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        _ if seconds % 7200 == 0 => format!("{} hours", seconds / 3600),
        _ if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        _ => format!("{seconds} seconds"),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Whole(number) => number.to_string(),
        Value::Decimal(number, scale) => {
            let number = *number as f64 / 10f64.powi(i32::from(*scale));
            format!("CAST('{number:.*}' AS DECIMAL(12, {scale}))", *scale as usize)
        }
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{text}'"),
        Value::Truth(truth) => truth.to_string(),
        Value::Time(micros) => {
            format!("TIMESTAMP '{}'", tollgate::event::EventTime(*micros).to_string().trim_end_matches('Z'))
        }
    }
}

impl Operator {
    fn text(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Modulo => "%",
            Self::Concat => "||",
            Self::And => "AND",
            Self::Or => "OR",
            Self::Equal => "=",
            Self::Unequal => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Scalar {
    fn text(self, argument: &str) -> String {
        match self {
            Self::Absolute => format!("abs({argument})"),
            Self::Length => format!("character_length({argument})"),
            Self::Upper => format!("upper({argument})"),
            Self::Hour => format!("date_part('hour', {argument})"),
            Self::TruncateToHour => format!("date_trunc('hour', {argument})"),
            Self::AsDouble => format!("CAST({argument} AS DOUBLE)"),
            Self::AsText => format!("CAST({argument} AS VARCHAR)"),
        }
    }
}
