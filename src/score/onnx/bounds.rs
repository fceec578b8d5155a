//! What an ONNX file may ask for: operators, their number, and the values between them.
//!
//! Takes a file as it was decoded, then the graph that tract makes of it; refuses what would take memory or time
//! without end. tract computes what rests on constants while it loads a graph, and allocates what such an operator says
//! before it looks at the size: a shape of ten bytes in the file may ask for a terabyte. So shapes are inferred operator
//! by operator, and each is held against the limit before tract may compute anything of it. What would surprise: only
//! operators of a list are taken, since one whose size depends on its values, or that loops, can't be bounded.

use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact};
use tract_onnx::tract_hir::internal::TDim;

use super::{advised, told};

/// Most bytes of a file: what is decoded of it may take some hundred times as many.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// Most operators.
pub(super) const OPERATORS_MAX: usize = 10_000;

/// Most numbers in all values between operators together, weights included.
pub(super) const VALUES_MAX: u64 = 1 << 26;

/// Longest name of a dimension: tract reads it as an expression, by recursion.
const DIMENSION_NAME_MAX: usize = 100;

/// Times that facts may be handed on from one end of the graph to the other.
const ROUNDS_MAX: usize = 16;

/// Operators whose answer differs from one run to the next.
const CHANCE: [&str; 4] = ["Random", "Multinomial", "Bernoulli", "Dropout"];

/// Operators that are taken: what linear models, networks of dense layers and trees are made of.
#[rustfmt::skip]
const TAKEN: [&str; 103] = [
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "ArrayFeatureExtractor", "Asin", "Asinh", "Atan", "Atanh",
    "BatchNormalization", "Cast", "CastLike", "CategoryMapper", "Ceil", "Celu", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Cos", "Cosh", "CumSum", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor",
    "Gather", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "IsInf",
    "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "LinearClassifier", "LinearRegressor", "Log",
    "LogSoftmax", "LpNormalization", "MatMul", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Normalizer", "Not",
    "OneHot", "Or", "PRelu", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round",
    "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile", "Transpose", "TreeEnsembleClassifier", "Unsqueeze", "Where",
];

/// Whether a file's graph is one that can be bounded; hands it on.
pub(super) fn graph_of(proto: &ModelProto) -> Result<&GraphProto, String> {
    let graph = proto.graph.as_ref().ok_or("it holds no graph")?;
    if graph.node.len() > OPERATORS_MAX {
        return Err(format!("it has {} operators, and up to {OPERATORS_MAX} are taken", graph.node.len()));
    }
    for operator in graph.node.iter().map(|node| node.op_type.as_str()) {
        if CHANCE.iter().any(|chance| operator.starts_with(chance)) {
            return Err(format!("{operator} draws by chance, and a score must be the same each time"));
        }
        if !TAKEN.contains(&operator) {
            return Err(advised(&format!(
                "operator {operator} is not taken, which linear models, dense networks and trees that classify do without"
            )));
        }
    }
    let types = graph.input.iter().filter_map(|input| input.r#type.as_ref()?.value.as_ref());
    let shapes = types.filter_map(|Kind::TensorType(tensor)| tensor.shape.as_ref());
    let long = |dimension: &Option<Dimension>| matches!(dimension, Some(Dimension::DimParam(name)) if name.len() > DIMENSION_NAME_MAX);
    if shapes.flat_map(|shape| &shape.dim).any(|dimension| long(&dimension.value)) {
        return Err(format!("a dimension's name has more than {DIMENSION_NAME_MAX} bytes"));
    }
    Ok(graph)
}

/// Infers the shapes of all values, from the concrete one of the input on, as tract's own analysis does but operator by
/// operator.
pub(super) fn infer(model: &mut InferenceModel) -> Result<(), String> {
    let mut order = model.eval_order().map_err(told)?;
    // tract looks at those too that no output rests on.
    order.extend((0..model.nodes().len()).filter(|node| !order.contains(node)).collect::<Vec<_>>());
    let mut sizes = vec![0_u64; model.nodes().len()];
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for node in &order {
            sizes[*node] = size_of_outputs(model, *node)?;
            within(sizes.iter().fold(0, |sum, size| size.saturating_add(sum)), &model.node(*node).name)?;
            changed |= settle(model, *node).map_err(told)?;
        }
        if !changed {
            return Ok(());
        }
    }
    Err(format!("its shapes are not settled after {ROUNDS_MAX} rounds"))
}

type Facts = TVec<InferenceFact>;

/// What is known of a node's inputs and outputs.
fn facts(model: &InferenceModel, node: usize) -> TractResult<(Facts, Facts)> {
    let (inputs, outputs) = model.node_facts(node)?;
    let copied = |facts: TVec<&InferenceFact>| facts.into_iter().cloned().collect();
    Ok((copied(inputs), copied(outputs)))
}

/// The numbers in a node's outputs as far as they are known, by rules alone: nothing is computed.
fn size_of_outputs(model: &mut InferenceModel, node: usize) -> Result<u64, String> {
    let (inputs, outputs) = facts(model, node).map_err(told)?;
    let node = model.node_mut(node);
    let inferred = node.op.infer_facts(inputs.iter().collect(), outputs.iter().collect(), tvec![]);
    let (inputs, outputs, _) = inferred.map_err(told)?;
    let known = !inputs.is_empty() && inputs.iter().all(|input| input.value.concretize().is_some());
    let sizes = outputs.iter().map(|output| match output.shape.concretize() {
        Some(shape) => size(&shape),
        // Whatever has constants only is computed next, so its size must be known now.
        None if known => u64::MAX,
        None => 0,
    });
    Ok(sizes.fold(0, u64::saturating_add))
}

/// Takes over what follows of a node's inputs and outputs; whether anything is new.
fn settle(model: &mut InferenceModel, node: usize) -> TractResult<bool> {
    let (inputs, outputs) = facts(model, node)?;
    let inferred =
        model.node_mut(node).op.infer(inputs.iter().collect(), outputs.iter().collect(), tvec![])?;
    let outlets: Vec<OutletId> = model.node(node).inputs.to_vec();
    let outlets = outlets.into_iter().chain((0..outputs.len()).map(|at| OutletId::new(node, at)));
    let mut changed = false;
    for (outlet, fact) in outlets.zip(inferred.0.into_iter().chain(inferred.1)) {
        let known = model.outlet_fact(outlet)?;
        let unified = fact.unify(known)?;
        if unified != *known {
            changed = true;
            model.set_outlet_fact(outlet, unified)?;
        }
    }
    Ok(changed)
}

/// The numbers of a shape; past any limit where it is not known, or no shape at all.
fn size(shape: &[TDim]) -> u64 {
    let dimension =
        |dim: &TDim| dim.to_i64().ok().and_then(|dim| u64::try_from(dim).ok()).unwrap_or(u64::MAX);
    shape.iter().map(dimension).fold(1, u64::saturating_mul)
}

/// Whether all values of a graph that is about to run are known and within the limit.
pub(super) fn check(model: &TypedModel) -> Result<(), String> {
    let mut sum = 0_u64;
    for node in model.nodes() {
        for output in &node.outputs {
            sum = sum.saturating_add(size(&output.fact.shape.to_tvec()));
            within(sum, &node.name)?;
        }
    }
    Ok(())
}

fn within(values: u64, node: &str) -> Result<(), String> {
    if values <= VALUES_MAX {
        return Ok(());
    }
    Err(format!(
        "with {node}, the values between its operators come to more than {VALUES_MAX} numbers for one row, or to a \
         count that is not known"
    ))
}
