//! Reference tables at work: `IN`, `EXISTS` and joins against a list become scalar functions.
//!
//! Takes the planned sub-query or join side, runs it once over the list, and hands on an expression that
//! probes the result by key. A list is small and fixed while a rule set is in force, so nothing streams
//! here. What would surprise: each function carries its table and its name carries the table's content, so
//! equal lookups of different rules are equal expressions.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{
    ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};
use datafusion_physical_expr::create_physical_expr;

use super::catalog::Catalog;

/// The rows of a plan that reads one list and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Rows, columns in the plan's order.
    pub rows: RecordBatch,
    /// What the rows are, for names and equality: the list, its version, what was done to it.
    pub identity: String,
}

/// Whether a plan reads only lists.
pub(super) fn reads_lists_only(catalog: &Catalog, plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => catalog.list(scan.table_name.table()).is_some(),
        other => {
            let inputs = other.inputs();
            !inputs.is_empty() && inputs.iter().all(|input| reads_lists_only(catalog, input))
        }
    }
}

/// Runs a plan over its list. Filters that speak of the outer query are handed to `outer`.
pub(super) fn run(catalog: &Catalog, plan: &LogicalPlan, outer: &mut Vec<Expr>) -> Result<Table> {
    match plan {
        LogicalPlan::TableScan(scan) => match catalog.list(scan.table_name.table()) {
            Some(list) => {
                Ok(Table { rows: list.rows.clone(), identity: format!("{}@{}", list.name, list.version) })
            }
            None => plan_err!("{} is a stream: only lists can stand in this place", scan.table_name.table()),
        },
        LogicalPlan::SubqueryAlias(alias) => run(catalog, &alias.input, outer),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let table = run(catalog, input, outer)?;
            Ok(Table { rows: distinct(&table.rows)?, identity: format!("distinct {}", table.identity) })
        }
        LogicalPlan::Filter(filter) => {
            let mut table = run(catalog, &filter.input, outer)?;
            for conjunct in datafusion_expr::utils::split_conjunction(&filter.predicate) {
                if conjunct.contains_outer() {
                    outer.push(conjunct.clone());
                } else {
                    table = kept(&table, conjunct, filter.input.schema())?;
                }
            }
            Ok(table)
        }
        LogicalPlan::Projection(projection) => {
            let table = run(catalog, &projection.input, outer)?;
            let columns = projection
                .expr
                .iter()
                .map(|expression| evaluate(expression, projection.input.schema(), &table.rows));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let names = names(&projection.expr);
            let options =
                arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(table.rows.num_rows()));
            let schema = Arc::clone(projection.schema.inner());
            let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
            Ok(Table { rows, identity: format!("{names} of {}", table.identity) })
        }
        other => plan_err!(
            "{} can't be used on a list: a list is filtered with WHERE and nothing else",
            other.display()
        ),
    }
}

/// The rows of a table for which a condition is true.
pub(super) fn kept(table: &Table, condition: &Expr, schema: &DFSchema) -> Result<Table> {
    let mask = evaluate(condition, schema, &table.rows)?;
    let Some(mask) = mask.as_any().downcast_ref::<BooleanArray>() else {
        return plan_err!("a condition is true or false; compare it with something");
    };
    let identity = format!("{} where {}", table.identity, bare(condition));
    Ok(Table { rows: filter_record_batch(&table.rows, mask)?, identity })
}

/// Values of an expression over the rows of a list.
pub(super) fn evaluate(expression: &Expr, schema: &DFSchema, rows: &RecordBatch) -> Result<ArrayRef> {
    let physical = create_physical_expr(
        expression,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    let rows = RecordBatch::try_new_with_options(
        Arc::clone(schema.inner()),
        rows.columns().to_vec(),
        &arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows.num_rows())),
    )?;
    physical.evaluate(&rows)?.into_array(rows.num_rows())
}

/// Rows of a list by key; a key with a null in it is in no index, as SQL's `=` has it.
struct Index {
    converter: RowConverter,
    types: Vec<DataType>,
    rows: HashMap<OwnedRow, u32>,
    repeated: Option<u32>,
    null_key: bool,
}

impl Index {
    fn over(keys: &[ArrayRef]) -> Result<Self> {
        let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let mut index = Self { converter, types, rows: HashMap::new(), repeated: None, null_key: false };
        let converted = index.converter.convert_columns(keys)?;
        for (ordinal, key) in (0_u32..).zip(converted.iter()) {
            let row = ordinal as usize;
            if keys.iter().any(|column| column.is_null(row)) {
                index.null_key = true;
            } else if index.rows.insert(key.owned(), ordinal).is_some() {
                index.repeated.get_or_insert(ordinal);
            }
        }
        Ok(index)
    }

    /// For each row, the ordinal in the list; none where no row has the key.
    fn probe(&self, keys: &[ArrayRef]) -> Result<UInt32Array> {
        let converted = self.converter.convert_columns(keys)?;
        let found = converted.iter().enumerate().map(|(row, key)| {
            let null = keys.iter().any(|column| column.is_null(row));
            if null { None } else { self.rows.get(&key.owned()).copied() }
        });
        Ok(found.collect())
    }

    fn signature(&self) -> Signature {
        Signature::new(TypeSignature::Exact(self.types.clone()), Volatility::Immutable)
    }
}

/// What a probe of an index answers.
enum Answer {
    /// Whether the key is there; SQL's three values for `IN`.
    Member,
    /// Whether the key is there; never null, for `EXISTS` and joins.
    Present,
    /// The value of a column in the row of the key.
    Value(ArrayRef),
}

/// A lookup as a scalar function over the key's expressions.
struct Lookup {
    name: String,
    signature: Signature,
    index: Arc<Index>,
    answer: Answer,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Lookup {}

impl Hash for Lookup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.answer {
            Answer::Member | Answer::Present => DataType::Boolean,
            Answer::Value(values) => values.data_type().clone(),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let keys = arguments
            .args
            .iter()
            .map(|key| key.to_array(arguments.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let found = self.index.probe(&keys)?;
        Ok(ColumnarValue::Array(match &self.answer {
            Answer::Present => {
                Arc::new(found.iter().map(|row| Some(row.is_some())).collect::<BooleanArray>())
            }
            Answer::Member => Arc::new(self.membership(&keys, &found)),
            Answer::Value(values) => take(values, &found, None)?,
        }))
    }
}

impl Lookup {
    /// `x IN (…)`: unknown for a null `x`, and for an absent one where the list holds a null.
    fn membership(&self, keys: &[ArrayRef], found: &UInt32Array) -> BooleanArray {
        let empty = self.index.rows.is_empty() && !self.index.null_key;
        let answer = |(row, ordinal): (usize, Option<u32>)| match ordinal {
            Some(_) => Some(true),
            None if empty => Some(false),
            None if self.index.null_key || keys.iter().any(|key| key.is_null(row)) => None,
            None => Some(false),
        };
        found.iter().enumerate().map(answer).collect()
    }
}

/// An index over a list, from which the expressions of one sub-query or join are made.
pub(super) struct Probe {
    index: Arc<Index>,
    identity: String,
    keys: Vec<Expr>,
}

impl Probe {
    /// `outer` are expressions of the stream, `inner` the values of the list that they are compared with.
    pub(super) fn new(
        table: &Table,
        outer: Vec<Expr>,
        inner: &[ArrayRef],
        inner_names: &str,
    ) -> Result<Self> {
        let index = Arc::new(Index::over(inner)?);
        let keys =
            outer.into_iter().zip(&index.types).map(|(key, data_type)| key_of_type(key, data_type)).collect();
        let identity = format!("{} by {inner_names}", table.identity);
        Ok(Self { index, identity, keys })
    }

    /// Ordinal of a row whose key another row of the list has as well.
    pub(super) fn repeated(&self) -> Option<u32> {
        self.index.repeated
    }

    /// `key IN (list)`.
    pub(super) fn member(&self) -> Expr {
        self.call("member", Answer::Member)
    }

    /// `EXISTS (list row with the key)`.
    pub(super) fn present(&self) -> Expr {
        self.call("present", Answer::Present)
    }

    /// The value that a column of the list has for the key.
    pub(super) fn value(&self, name: &str, values: &ArrayRef) -> Expr {
        self.call(name, Answer::Value(Arc::clone(values)))
    }

    fn call(&self, what: &str, answer: Answer) -> Expr {
        let name = format!("{what} in {}", self.identity);
        let signature = self.index.signature();
        let lookup = Lookup { name, signature, index: Arc::clone(&self.index), answer };
        ScalarUDF::from(lookup).call(self.keys.clone())
    }
}

fn key_of_type(key: Expr, data_type: &DataType) -> Expr {
    datafusion_expr::cast(key, data_type.clone())
}

/// Splits `outer = inner` into the stream's side and the list's side.
pub(super) fn equality(conjunct: &Expr) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(binary) = conjunct else { return None };
    if binary.op != datafusion_expr::Operator::Eq {
        return None;
    }
    let (left, right) = (binary.left.as_ref().clone(), binary.right.as_ref().clone());
    Some((left, right))
}

/// A constant truth.
pub(super) fn truth(value: Option<bool>) -> Expr {
    Expr::Literal(ScalarValue::Boolean(value), None)
}

/// Names of key expressions in their order, for identities.
pub(super) fn names(expressions: &[Expr]) -> String {
    expressions.iter().map(bare).collect::<Vec<_>>().join(",")
}

/// An expression over one list as text, whatever the query calls the list.
pub(super) fn bare(expression: &Expr) -> String {
    let unqualified = expression.clone().transform_up(|part| match part {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    });
    unqualified.map_or_else(|_| expression.to_string(), |bare| bare.data.to_string())
}

/// The stream's side and the list's values in a type in which they can be compared.
///
/// Codes that are all digits make a column of numbers of a list, while the contract has them as text:
/// then the numbers are taken as they are written, so that no text of the stream can fail to be a number.
pub(super) fn comparable(outer: &Expr, schema: &DFSchema, inner: ArrayRef) -> Result<(Expr, ArrayRef)> {
    let written = match outer {
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    if inner.data_type().is_integer() && written.get_type(schema)? == DataType::Utf8 {
        return Ok((written.clone(), arrow::compute::cast(&inner, &DataType::Utf8)?));
    }
    Ok((outer.clone(), inner))
}

/// The first of each set of equal rows.
fn distinct(rows: &RecordBatch) -> Result<RecordBatch> {
    let fields = rows.columns().iter().map(|column| SortField::new(column.data_type().clone()));
    let converted = RowConverter::new(fields.collect())?.convert_columns(rows.columns())?;
    let mut seen = HashSet::new();
    let first: BooleanArray = converted.iter().map(|row| Some(seen.insert(row.owned()))).collect();
    Ok(filter_record_batch(rows, &first)?)
}
