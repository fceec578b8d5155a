//! Models in ONNX, through tract; built with the feature `onnx`.
//!
//! Takes the bytes of a file with one input, a matrix of numbers with a row for each event; hands on a [`Graph`].
//! Rows are given to it one by one: a batched product may round otherwise than a single one, and a score must not
//! depend on what else was in the batch. What tract can't load is an error that names the operator. What would
//! surprise: tract may panic on a file that is made to hurt it, which is caught here and is an error like the others;
//! and a graph is loaded and tried on a thread of its own, for nothing can end it that takes too long.

mod bounds;
mod trees;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, Float64Array};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::{CLASSES_MAX, FEATURES_MAX, Model};

/// How long tract may take to load a graph.
const LOAD_WAIT: Duration = Duration::from_secs(60);

/// How long a prediction may take that is tried then.
const TRIAL_WAIT: Duration = Duration::from_secs(10);

/// Stack of the thread that loads: tract walks some things by recursion.
const STACK_BYTES: usize = 64 << 20;

/// A network or ensemble that tract runs.
#[derive(Clone)]
pub(super) struct Graph {
    plan: Arc<TypedRunnableModel>,
    input: DatumType,
    output: usize,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("input", &self.input).finish_non_exhaustive()
    }
}

/// Reads a model. Its values are those of the one output of real numbers: a number, or one for each class.
pub(super) fn parse(bytes: &[u8]) -> Result<Model, String> {
    if bytes.len() > bounds::BYTES_MAX {
        return Err(format!("it has {} bytes, and up to {} are taken", bytes.len(), bounds::BYTES_MAX));
    }
    of_proto(caught(|| tract_onnx::onnx().proto_model_for_read(&mut &*bytes).map_err(told))?)
}

fn of_proto(proto: ModelProto) -> Result<Model, String> {
    let (tell, loaded) = crossbeam_channel::bounded(2);
    let work = move || {
        let graph = caught(|| load(&proto));
        // Who has stopped waiting needs no answer.
        let _ = tell.send(Stage::Loaded);
        let _ = tell.send(Stage::Tried(graph.and_then(|graph| caught(|| tried(graph)))));
    };
    let thread = std::thread::Builder::new().name("onnx".to_owned()).stack_size(STACK_BYTES).spawn(work);
    thread.map_err(|cause| format!("no thread can be started to load it: {cause}"))?;
    let late = |what: &str, wait: Duration| format!("{what} takes more than {} seconds", wait.as_secs());
    loaded.recv_timeout(LOAD_WAIT).map_err(|_| late("loading it", LOAD_WAIT))?;
    match loaded.recv_timeout(TRIAL_WAIT) {
        Ok(Stage::Tried(model)) => model,
        _ => Err(late("a prediction", TRIAL_WAIT)),
    }
}

/// What the thread that loads a graph has come to.
enum Stage {
    Loaded,
    Tried(Result<Model, String>),
}

/// The model of a graph that gives a sound answer.
fn tried((graph, features, producer): (Graph, usize, String)) -> Result<Model, String> {
    let classes = graph.row(&vec![0.0; features])?.len();
    if classes == 0 || classes > CLASSES_MAX {
        return Err(format!("its output has {classes} values for a row; 1 to {CLASSES_MAX} are taken"));
    }
    Ok(Model {
        format: "ONNX",
        objective: producer,
        features,
        classes,
        graph: Some(graph),
        ..Model::default()
    })
}

/// The graph, the width of its input, and what program wrote it.
fn load(proto: &ModelProto) -> Result<(Graph, usize, String), String> {
    // What a file says of the values between its operators is not needed.
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let operators = &bounds::graph_of(proto)?.node;
    operators.iter().filter(|node| node.op_type == "TreeEnsembleClassifier").try_for_each(trees::check)?;
    let model = onnx.model_for_proto_model(proto).map_err(told)?;
    let inputs = model.input_outlets().map_err(told)?;
    let [input] = inputs else {
        return Err(format!(
            "it has {} inputs, and one matrix of numbers is taken; with skl2onnx, \
             `initial_types=[('input', FloatTensorType([None, FEATURES]))]`",
            inputs.len()
        ));
    };
    let fact = model.outlet_fact(*input).map_err(told)?;
    let kind = fact.datum_type.concretize().unwrap_or(DatumType::F32);
    if kind != DatumType::F32 && kind != DatumType::F64 {
        return Err(format!("its input is {kind:?}, and float or double is taken"));
    }
    let width = fact.shape.dim(1).and_then(|dim| dim.concretize()).and_then(|dim| dim.to_usize().ok());
    let features = match (fact.shape.rank().concretize(), width) {
        (Some(2), Some(features)) if (1..=FEATURES_MAX).contains(&features) => features,
        _ => {
            return Err(format!(
                "its input must be a matrix of known width, [rows, 1 to {FEATURES_MAX}], and is {:?}",
                fact.shape
            ));
        }
    };
    let mut model = model.with_input_fact(0, kind.fact([1, features]).into()).map_err(told)?;
    bounds::infer(&mut model)?;
    let model = model.into_typed().map_err(told)?;
    bounds::check(&model)?;
    let model = model.into_optimized().map_err(told)?;
    bounds::check(&model)?;
    let numbers = |fact: &TypedFact| fact.datum_type.is_float();
    let facts = (0..model.output_outlets().map_err(told)?.len()).map(|at| model.output_fact(at));
    let facts = facts.collect::<TractResult<Vec<_>>>().map_err(told)?;
    let found: Vec<usize> = (0..facts.len()).filter(|at| numbers(facts[*at])).collect();
    let [output] = found[..] else {
        return Err(format!("{} of its outputs are real numbers, and one is taken", found.len()));
    };
    let plan = model.into_runnable().map_err(told)?;
    Ok((Graph { plan, input: kind, output }, features, proto.producer_name.clone()))
}

fn told(error: TractError) -> String {
    advised(&format!("{error:#}"))
}

/// What to do about an operator that is known to be missing.
fn advised(reason: &str) -> String {
    let advice = match () {
        () if reason.contains("ZipMap") => {
            "; write it without: `convert_sklearn(…, options={'zipmap': False})`"
        }
        () if reason.contains("TreeEnsembleRegressor") => {
            "; trees that give a number are read from XGBoost's or LightGBM's own files, or as a classifier"
        }
        () if reason.contains("Scaler") => "; scale in the rule's SQL, and train on what it gives",
        () => "",
    };
    format!("{reason}{advice}")
}

/// Does what tract is to do, with its panics as errors.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given");
        Err(format!("tract broke off: {said}"))
    })
}

impl Graph {
    /// As [`Model::predict`].
    pub(super) fn predict(&self, columns: &[&Float64Array]) -> Result<Vec<f64>, String> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut row = vec![0.0; columns.len()];
        let mut values = Vec::with_capacity(rows);
        caught(|| {
            for at in 0..rows {
                for (place, column) in row.iter_mut().zip(columns) {
                    *place = if column.is_null(at) { f64::NAN } else { column.value(at) };
                }
                values.extend(self.row(&row)?);
            }
            Ok(())
        })?;
        Ok(values)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the model's input is float")]
    fn row(&self, row: &[f64]) -> Result<Vec<f64>, String> {
        let shape = [1, row.len()];
        let narrow = || row.iter().map(|value| *value as f32).collect::<Vec<_>>();
        let answer = || -> TractResult<Vec<f64>> {
            let input = match self.input {
                DatumType::F64 => Tensor::from_shape(&shape, row)?,
                _ => Tensor::from_shape(&shape, &narrow())?,
            };
            let outputs = self.plan.run(tvec![input.into()])?;
            let output = outputs.get(self.output).ok_or_else(|| TractError::msg("an output is missing"))?;
            Ok(output.cast_to::<f64>()?.to_plain_array_view::<f64>()?.iter().copied().collect())
        };
        answer().map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests;
