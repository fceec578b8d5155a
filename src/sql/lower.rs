//! From logical plans to the shared graph.
//!
//! Walks one analysed plan at a time and adds what is new to a [`RuleGraph`]. Row sets and columns are
//! looked up by their definition first, so that what an earlier query already asked for is used again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, plan_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion_sql::sqlparser::ast;

use super::asked;
use super::catalog::Catalog;
use super::explain::fault;
use super::expression::{as_column, columns_read, reference, renamed, substitute};
use super::ir::{
    Column, ColumnId, Definition, Output, QueryPlan, RowSet, RowSetId, RowSource, RuleGraph, WindowColumn,
    WindowKey,
};
use super::lookup;
use super::plan::{self, Planned};
use super::predict::as_model_call;
use super::{Query, window};
use crate::diagnostic::{Diagnostic, SourceText};

/// A plan node as rows of the graph and one expression a field.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// The rows.
    pub rows: RowSetId,
    /// The fields, over the columns of the rows.
    pub fields: Vec<Expr>,
    /// The names by which expressions above refer to the fields.
    pub schema: DFSchemaRef,
}

/// Whether a query can be planned and lowered at all; the finding where it can't.
pub(super) fn check(
    catalog: &Catalog,
    source: &Arc<SourceText>,
    query: &ast::Query,
) -> std::result::Result<(), Vec<Diagnostic>> {
    let plan = plan::plan_query(catalog, source, query).map_err(|finding| vec![finding])?;
    if lookup::reads_lists_only(catalog, &plan) {
        return Ok(());
    }
    let lowered = GraphBuilder::new(catalog).lower(&plan);
    lowered.map(|_| ()).map_err(|failure| vec![plan::refusal(catalog, source, query, &failure)])
}

/// Whether a plan can be lowered.
pub(super) fn lowers(catalog: &Catalog, plan: &LogicalPlan) -> bool {
    GraphBuilder::new(catalog).lower(plan).is_ok()
}

/// Grows the graph query by query.
pub(super) struct GraphBuilder<'a> {
    pub(super) catalog: &'a Catalog,
    graph: RuleGraph,
    row_sets: HashMap<RowSource, RowSetId>,
    columns: Vec<HashMap<Definition, ColumnId>>,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, graph: RuleGraph::default(), row_sets: HashMap::new(), columns: Vec::new() }
    }

    pub(super) fn finish(self) -> RuleGraph {
        self.graph
    }

    /// Adds one query; on an error the graph may hold unused parts, which nothing runs.
    pub(super) fn add(&mut self, query: &Query, planned: &Planned) -> std::result::Result<(), Diagnostic> {
        let plan = &planned.plan;
        let located =
            |failure: DataFusionError| plan::refusal(self.catalog, &query.source, &planned.query, &failure);
        if lookup::reads_lists_only(self.catalog, plan) {
            return Err(located(DataFusionError::Plan(
                "the query reads no stream; FROM must name one".to_owned(),
            )));
        }
        unique_names(plan).map_err(located)?;
        let mut relation = self
            .lower(plan)
            .map_err(|failure| plan::refusal(self.catalog, &query.source, &planned.query, &failure))?;
        for field in 0..relation.fields.len() {
            self.ask(relation.rows, &mut relation.fields, field)
                .map_err(|failure| plan::refusal(self.catalog, &query.source, &planned.query, &failure))?;
        }
        let mut outputs = Vec::new();
        for (field, expression) in plan.schema().fields().iter().zip(&relation.fields) {
            outputs.push(Output {
                name: field.name().clone(),
                expression: expression.clone(),
                data_type: field.data_type().clone(),
            });
            if let Some(column) = as_column(expression) {
                self.label(relation.rows, column, field.name());
            }
        }
        self.graph.queries.push(QueryPlan { id: query.id.clone(), rows: relation.rows, outputs });
        Ok(())
    }

    pub(super) fn lower(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan.table_name.table(), &scan.projected_schema),
            LogicalPlan::SubqueryAlias(alias) => {
                Ok(Relation { schema: alias.schema.clone(), ..self.lower(&alias.input)? })
            }
            LogicalPlan::Projection(projection) => {
                let input = self.lower(&projection.input)?;
                let fields = projection.expr.iter().map(|field| substitute(self.catalog, field, &input));
                let fields = fields.collect::<Result<Vec<_>>>()?;
                for (field, name) in fields.iter().zip(projection.schema.fields()) {
                    if let Some(column) = as_column(field) {
                        self.label(input.rows, column, name.name());
                    }
                }
                Ok(Relation { rows: input.rows, fields, schema: projection.schema.clone() })
            }
            LogicalPlan::Filter(filter) => {
                let input = self.lower(&filter.input)?;
                let predicate = substitute(self.catalog, &filter.predicate, &input)?;
                self.filter(input, &predicate)
            }
            LogicalPlan::Window(node) => {
                let mut relation = self.lower(&node.input)?;
                let input = relation.clone();
                for (expression, field) in
                    node.window_expr.iter().zip(node.schema.fields().iter().skip(input.fields.len()))
                {
                    relation.fields.push(self.window(expression, field.data_type(), &input)?);
                }
                Ok(Relation { schema: node.schema.clone(), ..relation })
            }
            LogicalPlan::Union(union) => {
                let inputs =
                    union.inputs.iter().map(|input| self.lower(input)).collect::<Result<Vec<_>>>()?;
                self.union(&inputs, &union.schema)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Subquery(subquery) => self.lower(&subquery.subquery),
            LogicalPlan::EmptyRelation(_) => plan_err!("the query reads no stream; FROM must name one"),
            other => plan_err!("{} can't be answered one event at a time", other.display()),
        }
    }

    fn scan(&mut self, table: &str, schema: &DFSchemaRef) -> Result<Relation> {
        let Some((stream_index, stream)) = self.catalog.contract.stream(table) else {
            return plan_err!(
                "{table} is a list, and FROM must name a stream; join the list, or use IN or EXISTS"
            );
        };
        let rows = self.row_set(RowSource::Stream(stream_index));
        let event_time = stream.event_time;
        let columns: Vec<_> = stream.schema.fields().iter().cloned().collect();
        let mut fields = Vec::new();
        for (index, field) in columns.iter().enumerate() {
            let column = self.column(
                rows,
                Column {
                    definition: Definition::Stream(index),
                    data_type: field.data_type().clone(),
                    nullable: field.is_nullable(),
                    event_time: index == event_time,
                    level: 0,
                    label: field.name().clone(),
                },
            );
            fields.push(reference(column));
        }
        Ok(Relation { rows, fields, schema: schema.clone() })
    }

    pub(super) fn filter(&mut self, input: Relation, predicate: &Expr) -> Result<Relation> {
        if *predicate == lookup::truth(Some(true)) {
            return Ok(input);
        }
        let Relation { mut rows, fields, schema } = input;
        let mut open = asked::stages(predicate);
        let stages = open.len();
        open.extend(fields);
        for _ in 0..stages {
            self.ask(rows, &mut open, 0)?;
            let filtered = self.row_set(RowSource::Filter { input: rows, predicate: open.remove(0) });
            open = open.iter().map(|part| self.inherit(rows, filtered, part)).collect::<Result<_>>()?;
            rows = filtered;
        }
        Ok(Relation { rows, fields: open, schema })
    }

    /// Calls of models that one of some expressions makes become columns, which all of them read.
    fn ask(&mut self, rows: RowSetId, expressions: &mut [Expr], at: usize) -> Result<()> {
        loop {
            let schema = self.schema(rows)?;
            let is_number = |part: &Expr| {
                part.get_type(&schema).is_ok_and(|own| own.is_numeric() || own == DataType::Boolean)
            };
            let Some(call) = asked::first_call(&expressions[at], is_number) else { return Ok(()) };
            let name = as_model_call(&call).map(|call| format!("predict('{}', …)", call.model.name));
            let column = reference(self.materialise(rows, &call, &name.unwrap_or_default())?);
            for expression in expressions.iter_mut() {
                let replaced = expression.clone().transform_up(|part| {
                    Ok(if part == call { Transformed::yes(column.clone()) } else { Transformed::no(part) })
                })?;
                *expression = replaced.data;
            }
        }
    }

    /// An expression over the filtered row set as one over the filter's rows.
    pub(super) fn inherit(&mut self, input: RowSetId, rows: RowSetId, expression: &Expr) -> Result<Expr> {
        renamed(expression, |column| {
            let parent = self.graph.row_sets[input.0].columns[column.0].clone();
            self.column(rows, Column { definition: Definition::Inherited(column), level: 0, ..parent })
        })
    }

    fn union(&mut self, inputs: &[Relation], schema: &DFSchemaRef) -> Result<Relation> {
        let rows = self.row_set(RowSource::Union(inputs.iter().map(|input| input.rows).collect()));
        let mut fields = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            let parts = inputs.iter().map(|input| {
                let typed = self.typed(input.rows, &input.fields[index], field.data_type())?;
                self.materialise(input.rows, &typed, field.name())
            });
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let all_times =
                inputs.iter().zip(&parts).all(|(input, part)| self.col(input.rows, *part).event_time);
            let column = Column {
                definition: Definition::United(parts),
                data_type: field.data_type().clone(),
                nullable: field.is_nullable(),
                event_time: all_times,
                level: 0,
                label: field.name().clone(),
            };
            fields.push(reference(self.column(rows, column)));
        }
        Ok(Relation { rows, fields, schema: schema.clone() })
    }

    fn typed(&self, rows: RowSetId, expression: &Expr, data_type: &DataType) -> Result<Expr> {
        let own = expression.get_type(&self.schema(rows)?)?;
        Ok(if own == *data_type {
            expression.clone()
        } else {
            datafusion_expr::cast(expression.clone(), data_type.clone())
        })
    }

    fn window(&mut self, expression: &Expr, output: &DataType, input: &Relation) -> Result<Expr> {
        let label = expression.schema_name().to_string();
        let parts = window::parts(self.catalog, expression, input)?;
        self.check_order(&parts.order_by, input.rows, &window::order_by(expression))?;
        let rows = input.rows;
        let schema = self.schema(rows)?;
        let keys = parts
            .partition_by
            .iter()
            .map(|key| self.materialise(rows, key, "key"))
            .collect::<Result<Vec<_>>>()?;
        let arguments = parts
            .arguments
            .iter()
            .map(|argument| self.materialise(rows, &guarded(argument, parts.filter.as_ref())?, "argument"))
            .collect::<Result<Vec<_>>>()?;
        let filter =
            parts.filter.as_ref().map(|filter| self.materialise(rows, filter, "filter")).transpose()?;
        let level = keys
            .iter()
            .chain(&arguments)
            .chain(&filter)
            .map(|column| self.col(rows, *column).level)
            .max()
            .unwrap_or(0);
        // The operator numbers rows in BIGINT, SQL in an unsigned type.
        let kept = if parts.definition.name() == "row_number" { &DataType::Int64 } else { output };
        let function = window::aggregate(&parts, &schema, kept)?;
        let nullable = !matches!(
            function.aggregate.function,
            crate::window::Function::Count | crate::window::Function::CountDistinct
        );
        let key = WindowKey { partition_by: keys, level };
        let definition = Definition::Window(WindowColumn { key, function, arguments, filter });
        let answer = Column {
            definition,
            data_type: kept.clone(),
            nullable,
            event_time: false,
            level: level + 1,
            label,
        };
        let answer = reference(self.column(rows, answer));
        Ok(if kept == output { answer } else { datafusion_expr::cast(answer, output.clone()) })
    }

    /// A window must be ordered by the event time of its rows.
    fn check_order(&self, order_by: &[Expr], rows: RowSetId, written: &[Expr]) -> Result<()> {
        let [order] = order_by else {
            return plan_err!("a window is ordered by event time alone; ORDER BY the event-time column");
        };
        let by_time = as_column(order).is_some_and(|column| self.col(rows, column).event_time);
        if by_time {
            return Ok(());
        }
        let time = self.graph.row_sets[rows.0].columns.iter().find(|column| column.event_time);
        let Some(time) = time else {
            let help =
                "select the event-time column of every stream at the same place of UNION ALL, in one type";
            return Err(fault("a window is ordered by event time, and these rows have none", help, written));
        };
        let named = as_column(order).map(|column| self.col(rows, column).label.clone());
        let named =
            named.map_or_else(|| "by a value made from others".to_owned(), |named| format!("by {named}"));
        let message =
            format!("a window is ordered by the event time of its rows, {}, and not {named}", time.label);
        Err(fault(message, format!("write ORDER BY {}", time.label), written))
    }

    /// The column that holds an expression's values: the column it is, or a computed one.
    fn materialise(&mut self, rows: RowSetId, expression: &Expr, label: &str) -> Result<ColumnId> {
        if let Some(column) = as_column(expression) {
            return Ok(column);
        }
        if expression.exists(|part| Ok(matches!(part, Expr::WindowFunction(_))))? {
            return plan_err!(
                "a window function can't stand inside another; compute the inner one in a sub-select"
            );
        }
        let schema = self.schema(rows)?;
        let level =
            columns_read(expression).iter().map(|column| self.col(rows, *column).level).max().unwrap_or(0);
        Ok(self.column(
            rows,
            Column {
                definition: Definition::Computed(expression.clone()),
                data_type: expression.get_type(&schema)?,
                nullable: true,
                event_time: false,
                level,
                label: label.to_owned(),
            },
        ))
    }

    fn row_set(&mut self, source: RowSource) -> RowSetId {
        if let Some(known) = self.row_sets.get(&source) {
            return *known;
        }
        let id = RowSetId(self.graph.row_sets.len());
        self.graph.row_sets.push(RowSet { source: source.clone(), columns: Vec::new() });
        self.columns.push(HashMap::new());
        self.row_sets.insert(source, id);
        id
    }

    fn column(&mut self, rows: RowSetId, column: Column) -> ColumnId {
        if let Some(known) = self.columns[rows.0].get(&column.definition) {
            return *known;
        }
        let id = ColumnId(self.graph.row_sets[rows.0].columns.len());
        self.columns[rows.0].insert(column.definition.clone(), id);
        self.graph.row_sets[rows.0].columns.push(column);
        id
    }

    fn col(&self, rows: RowSetId, column: ColumnId) -> &Column {
        &self.graph.row_sets[rows.0].columns[column.0]
    }

    /// Gives a window's or a computed column the name that a query selects it by, if it has none yet.
    fn label(&mut self, rows: RowSetId, column: ColumnId, name: &str) {
        let row_set = &mut self.graph.row_sets[rows.0];
        let (source, column) = (&row_set.source, &mut row_set.columns[column.0]);
        if !column.label.contains([' ', '(']) {
            return;
        }
        name.clone_into(&mut column.label);
        // A filtered row set shows the column of its input: they go by one name.
        if let (Definition::Inherited(parent), RowSource::Filter { input, .. }) = (&column.definition, source)
        {
            let (input, parent) = (*input, *parent);
            self.label(input, parent, name);
        }
    }

    fn schema(&self, rows: RowSetId) -> Result<DFSchema> {
        DFSchema::try_from(self.graph.row_sets[rows.0].schema())
    }
}

/// Each selected column has a name of its own: alerts carry values by name.
fn unique_names(plan: &LogicalPlan) -> Result<()> {
    let fields = plan.schema().fields();
    for (index, field) in fields.iter().enumerate() {
        if fields.iter().take(index).any(|other| other.name() == field.name()) {
            let selected = match plan {
                LogicalPlan::Projection(projection) => projection.expr.get(index),
                _ => None,
            };
            let message = format!("two selected columns are called {}", field.name());
            return Err(fault(message, "give one of them another name with AS", selected));
        }
    }
    Ok(())
}

/// An argument that is computed only for rows that the window's `FILTER` lets in: on others it may fail.
fn guarded(argument: &Expr, filter: Option<&Expr>) -> Result<Expr> {
    match filter {
        Some(filter) if as_column(argument).is_none() => {
            datafusion_expr::when(filter.clone(), argument.clone()).end()
        }
        _ => Ok(argument.clone()),
    }
}
