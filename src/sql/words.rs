//! Parts of a rule graph in the words of the rules they came from, for people.
//!
//! Takes expressions and windows that name columns by number; hands on text with the columns' labels.

use datafusion_expr::Expr;

use super::{ColumnId, Definition, RowSetId, RowSource, RuleGraph, WindowColumn, columns_read};
use crate::window::Function;

impl RuleGraph {
    fn label(&self, rows: RowSetId, column: ColumnId) -> &str {
        &self.row_sets[rows.0].columns[column.0].label
    }

    /// An expression over the columns of a row set, with their labels.
    pub fn words(&self, rows: RowSetId, expression: &Expr) -> String {
        let expression = expression.human_display().to_string();
        let mut words = String::new();
        let mut rest = expression.as_str();
        while let Some(at) = rest.find('#') {
            let digits = rest[at + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at - 1);
            let name = &rest[at..at + 1 + digits];
            words.push_str(&rest[..at]);
            match ColumnId::parse(name) {
                Some(column) => words.push_str(self.label(rows, column)),
                None => words.push_str(name),
            }
            rest = &rest[at + 1 + digits..];
        }
        words + rest
    }

    /// A window function with its arguments and filter, without keys and frame.
    pub fn window_words(&self, rows: RowSetId, window: &WindowColumn) -> String {
        let arguments: Vec<&str> = window.arguments.iter().map(|column| self.label(rows, *column)).collect();
        let function = function_words(&window.function.aggregate.function, &arguments);
        let Some(filter) = window.filter else { return function };
        let filter = match &self.row_sets[rows.0].columns[filter.0].definition {
            Definition::Computed(expression) => self.words(rows, expression),
            _ => self.label(rows, filter).to_owned(),
        };
        format!("{function} FILTER (WHERE {filter})")
    }

    /// Every column a query reads, however far down.
    pub fn reached(&self, query: usize) -> Vec<(RowSetId, ColumnId)> {
        let plan = &self.queries[query];
        let outputs = plan.outputs.iter().flat_map(|output| columns_read(&output.expression));
        let mut open: Vec<(RowSetId, ColumnId)> = outputs.map(|column| (plan.rows, column)).collect();
        let mut rows = vec![plan.rows];
        while let Some(own) = rows.pop() {
            match &self.row_sets[own.0].source {
                RowSource::Stream(_) => {}
                RowSource::Filter { input, predicate } => {
                    rows.push(*input);
                    open.extend(columns_read(predicate).into_iter().map(|column| (*input, column)));
                }
                RowSource::Union(inputs) => rows.extend(inputs),
            }
        }
        let mut reached = Vec::new();
        while let Some((rows, column)) = open.pop() {
            if reached.contains(&(rows, column)) {
                continue;
            }
            reached.push((rows, column));
            let row_set = &self.row_sets[rows.0];
            match (&row_set.columns[column.0].definition, &row_set.source) {
                (Definition::Inherited(parent), RowSource::Filter { input, .. }) => {
                    open.push((*input, *parent));
                }
                (Definition::United(parts), RowSource::Union(inputs)) => {
                    open.extend(inputs.iter().copied().zip(parts.iter().copied()));
                }
                (Definition::Computed(expression), _) => {
                    open.extend(columns_read(expression).into_iter().map(|column| (rows, column)));
                }
                (Definition::Window(window), _) => {
                    let inputs =
                        window.key.partition_by.iter().chain(&window.arguments).chain(&window.filter);
                    open.extend(inputs.map(|column| (rows, *column)));
                }
                _ => {}
            }
        }
        reached.sort_unstable();
        reached
    }
}

fn function_words(function: &Function, arguments: &[&str]) -> String {
    let name = format!("{function:?}");
    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
    let arguments = if arguments.is_empty() { "*".to_owned() } else { arguments.join(", ") };
    match function {
        Function::CountDistinct => format!("count(DISTINCT {arguments})"),
        Function::Custom(own) => format!("{own:?}({arguments})"),
        Function::Lag { offset, .. } => format!("lag({arguments}, {offset})"),
        Function::RowNumber => "row_number()".to_owned(),
        _ => format!("{}({arguments})", snake(name)),
    }
}

fn snake(name: &str) -> String {
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
