//! `predict('name', feature, …)`: a model as a scalar function.
//!
//! Takes the models of the rules folder; hands on the function that the planner knows as `predict`. What would
//! surprise: simplification puts a function in its place that carries the model and has its content hash in its
//! name, so equal calls of different rules are equal expressions and are computed once.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::ir::{Definition, RowSetId, RowSource, RuleGraph};
use crate::diagnostic::{Diagnostic, Severity};
use crate::score::{Baseline, Model};

/// Models with what they were trained on, and what is wrong with baselines that fit none.
pub(super) fn with_baselines(
    mut models: Vec<Model>,
    baselines: Vec<(String, Baseline)>,
) -> (Vec<Model>, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    for (name, baseline) in baselines {
        let cause = match models.iter_mut().find(|model| model.name == name) {
            None => "there is no sound model of this name".to_owned(),
            Some(model)
                if model.version != baseline.version || model.names().len() != baseline.spreads.len() =>
            {
                format!(
                    "it was made for version {} of the model, which is {} now",
                    baseline.version, model.version
                )
            }
            Some(model) => {
                model.set_baseline(baseline);
                continue;
            }
        };
        let help = "make it anew with `tollgate backtest --baseline`, or remove it: the model is not compared with it";
        let finding = Diagnostic::file_error(format!("models/{name}.baseline"), cause);
        findings.push(
            Diagnostic { severity: Severity::Warning, ..finding }.with_help(help).with_code("baseline"),
        );
    }
    (models, findings)
}

/// The name of the function.
pub(super) const PREDICT: &str = "predict";

/// The models that rules may name.
#[derive(Debug, Default)]
pub(super) struct Models {
    /// Sound ones by name.
    pub(super) sound: BTreeMap<String, Arc<Model>>,
}

impl Models {
    /// The model and class that `name` or `name#class` stands for.
    pub(super) fn find(&self, written: &str) -> std::result::Result<(&Arc<Model>, usize), String> {
        let (name, class) = match written.split_once('#') {
            Some((name, class)) => (name, Some(class)),
            None => (written, None),
        };
        let Some(model) = self.sound.get(&name.to_lowercase()) else {
            return Err(format!("no model is called '{name}'"));
        };
        match class.map(str::parse::<usize>) {
            None if model.classes == 1 => Ok((model, 0)),
            Some(Ok(class)) if class < model.classes && model.classes > 1 => Ok((model, class)),
            None => Err(format!(
                "model '{name}' tells {} classes apart: name one, as in '{name}#0' to '{name}#{}'",
                model.classes,
                model.classes - 1
            )),
            Some(_) if model.classes == 1 => Err(format!("model '{name}' has one value and no classes")),
            Some(_) => Err(format!("model '{name}' has the classes 0 to {}", model.classes - 1)),
        }
    }
}

/// `predict` as it is written.
pub(super) struct Predict {
    signature: Signature,
    models: Arc<Models>,
}

impl Predict {
    pub(super) fn over(models: Arc<Models>) -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::user_defined(Volatility::Immutable), models })
    }
}

impl fmt::Debug for Predict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREDICT)
    }
}

impl PartialEq for Predict {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.models, &other.models)
    }
}

impl Eq for Predict {}

impl Hash for Predict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        PREDICT.hash(state);
    }
}

impl ScalarUDFImpl for Predict {
    fn name(&self) -> &'static str {
        PREDICT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    /// The model's name, then numbers.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = |data_type: &DataType| {
            data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null)
        };
        if let Some((at, bad)) = types.iter().enumerate().skip(1).find(|(_, data_type)| !number(data_type)) {
            return plan_err!("predict() takes numbers and booleans, and its feature {at} is {bad}");
        }
        let features = types.len().saturating_sub(1);
        Ok(std::iter::once(DataType::Utf8).chain(vec![DataType::Float64; features]).collect())
    }

    fn simplify(&self, arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(Expr::Literal(ScalarValue::Utf8(Some(name)), _)) = arguments.first() else {
            return plan_err!("predict() takes the name of a model as text in quotes first");
        };
        let found = self.models.find(name);
        let (model, class) = found.map_err(datafusion_common::DataFusionError::Plan)?;
        let call = Call {
            name: format!("{PREDICT} {}@{}#{class}", model.name, model.version),
            signature: Signature::exact(vec![DataType::Float64; model.features], Volatility::Immutable),
            model: Arc::clone(model),
            class,
        };
        Ok(ExprSimplifyResult::Simplified(ScalarUDF::from(call).call(arguments[1..].to_vec())))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("predict() was not resolved to a model")
    }
}

/// One value of one model, over its features.
struct Call {
    name: String,
    signature: Signature,
    model: Arc<Model>,
    class: usize,
}

/// A call of a model in an expression.
pub struct ModelCall<'a> {
    /// The model.
    pub model: &'a Arc<Model>,
    /// The class that is asked for.
    pub class: usize,
    /// Its features.
    pub arguments: &'a [Expr],
}

/// Every expression that a query evaluates, with the row set that it stands over: its selection, conditions, columns.
pub fn query_expressions(graph: &RuleGraph, query: usize) -> Vec<(RowSetId, &Expr)> {
    let plan = &graph.queries[query];
    let mut expressions: Vec<(RowSetId, &Expr)> =
        plan.outputs.iter().map(|output| (plan.rows, &output.expression)).collect();
    let mut open = vec![plan.rows];
    while let Some(rows) = open.pop() {
        match &graph.row_sets[rows.0].source {
            RowSource::Stream(_) => {}
            RowSource::Filter { input, predicate } => {
                expressions.push((*input, predicate));
                open.push(*input);
            }
            RowSource::Union(inputs) => open.extend(inputs),
        }
    }
    for (rows, column) in graph.reached(query) {
        if let Definition::Computed(expression) = &graph.row_sets[rows.0].columns[column.0].definition {
            expressions.push((rows, expression));
        }
    }
    expressions
}

/// The call that an expression is, if it is nothing but that.
pub fn as_model_call(expression: &Expr) -> Option<ModelCall<'_>> {
    let Expr::ScalarFunction(function) = expression else { return None };
    let call = function.func.inner().downcast_ref::<Call>()?;
    Some(ModelCall { model: &call.model, class: call.class, arguments: &function.args })
}

/// Every call of a model in an expression, from the outside in.
pub fn model_calls(expression: &Expr) -> Vec<ModelCall<'_>> {
    let mut calls = Vec::new();
    let _ = expression.apply(|part| {
        calls.extend(as_model_call(part));
        Ok(TreeNodeRecursion::Continue)
    });
    calls
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arguments.args.iter().map(|argument| argument.to_array(arguments.number_rows));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let columns: Vec<&Float64Array> =
            arrays.iter().filter_map(|array| array.as_primitive_opt::<Float64Type>()).collect();
        if columns.len() != self.model.features {
            return exec_err!("{} takes {} numbers", self.name, self.model.features);
        }
        let values = match self.model.predict(&columns) {
            Ok(values) => values,
            Err(cause) => return exec_err!("{} failed: {cause}", self.name),
        };
        let of_class = values.into_iter().skip(self.class).step_by(self.model.classes);
        let scores = Float64Array::from_iter_values(of_class);
        self.model.note(&columns, self.class, scores.values());
        Ok(ColumnarValue::Array(Arc::new(scores)))
    }
}
