//! ONNX files with parts changed that keep their form, and files made to ask for memory or time without end.

use std::path::{Path, PathBuf};

use arrow::array::Float64Array;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{AttributeProto, GraphProto, TensorProto};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/fixtures/{name}.onnx"))
}

fn decoded(name: &str) -> ModelProto {
    let bytes = std::fs::read(fixture(name)).unwrap();
    tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()).unwrap()
}

#[test]
fn files_that_ask_for_memory_or_time_without_end_are_refused() {
    for (name, reason) in [
        ("endless_constant", "come to more than 67108864 numbers"),
        ("endless_expand", "come to more than 67108864 numbers"),
        ("endless_tile", "come to more than 67108864 numbers"),
        ("endless_onehot", "come to more than 67108864 numbers"),
        ("endless_concat", "come to more than 67108864 numbers"),
        ("endless_outer", "come to more than 67108864 numbers"),
        ("endless_negative", "come to more than 67108864 numbers"),
        ("endless_by_value", "shape input is variable"),
        ("endless_loop", "operator Loop is not taken"),
        ("endless_range", "operator Range is not taken"),
        ("trees_cycle", "tree 0: two links lead to node 1"),
        ("trees_root", "or one to the root"),
        ("trees_outside", "a link leads to node 99 of 3"),
        ("trees_class", "a leaf votes for class 7, and there are 2"),
        ("trees_gte", "BRANCH_GTE can't be used"),
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let failure = parse(&bytes).map(|model| model.classes).unwrap_err();
        assert!(failure.contains(reason), "{name}: {failure}");
    }
    let refused = |proto| of_proto(proto).map(|model| model.classes).unwrap_err();
    let failure = parse(&vec![0; bounds::BYTES_MAX + 1]).map(|model| model.classes).unwrap_err();
    assert!(failure.contains("up to 67108864 are taken"), "{failure}");
    let mut many = decoded("onnx_logistic");
    let graph = many.graph.as_mut().unwrap();
    graph.node = vec![graph.node[0].clone(); bounds::OPERATORS_MAX + 1];
    assert!(refused(many).contains("10001 operators"));
    let mut named = decoded("onnx_logistic");
    let kind = named.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
    let Some(Kind::TensorType(tensor)) = &mut kind.value else { panic!("a tensor") };
    tensor.shape.as_mut().unwrap().dim[0].value = Some(Dimension::DimParam("(".repeat(1_000_000)));
    assert!(refused(named).contains("more than 100 bytes"));
}

const NUMBERS: [i64; 12] = [0, 1, -1, 2, 3, 7, 1 << 13, 1 << 20, 1 << 31, 1 << 40, i64::MAX, i64::MIN];

fn number(random: &mut ChaCha8Rng) -> i64 {
    NUMBERS.choose(random).copied().unwrap_or_default()
}

fn change_tensor(tensor: &mut TensorProto, random: &mut ChaCha8Rng) {
    match random.random_range(0..5) {
        0 if !tensor.dims.is_empty() => {
            let at = random.random_range(0..tensor.dims.len());
            tensor.dims[at] = number(random);
        }
        1 => tensor.dims.push(number(random)),
        2 => tensor.data_type = random.random_range(0..20),
        3 => tensor.raw_data.truncate(random.random_range(0..tensor.raw_data.len().max(1))),
        _ => {
            let count = tensor.raw_data.len() / 8;
            if count > 0 {
                let at = random.random_range(0..count) * 8;
                tensor.raw_data[at..at + 8].copy_from_slice(&number(random).to_le_bytes());
            }
        }
    }
}

fn change_attribute(attribute: &mut AttributeProto, random: &mut ChaCha8Rng) {
    if let Some(tensor) = &mut attribute.t {
        return change_tensor(tensor, random);
    }
    if !attribute.ints.is_empty() {
        let (at, other) =
            (random.random_range(0..attribute.ints.len()), random.random_range(0..attribute.ints.len()));
        match random.random_range(0..4) {
            0 => attribute.ints.truncate(at),
            1 => attribute.ints[at] = number(random),
            // A link of another place, or back.
            _ => attribute.ints[at] = attribute.ints[other],
        }
    } else if !attribute.floats.is_empty() {
        let at = random.random_range(0..attribute.floats.len());
        attribute.floats[at] = [f32::NAN, f32::INFINITY, -1e38, 0.0].choose(random).copied().unwrap_or(0.5);
    } else if !attribute.strings.is_empty() {
        let at = random.random_range(0..attribute.strings.len());
        attribute.strings[at] = [b"LEAF".as_slice(), b"BRANCH_GT", b"x", b"\xff"]
            .choose(random)
            .copied()
            .unwrap_or_default()
            .to_vec();
    } else {
        attribute.i = number(random);
    }
}

fn change(graph: &mut GraphProto, random: &mut ChaCha8Rng) {
    let operators = [
        "Expand",
        "Tile",
        "ConstantOfShape",
        "OneHot",
        "Reshape",
        "Concat",
        "MatMul",
        "Gather",
        "Slice",
        "Sum",
    ];
    let (nodes, tensors) = (graph.node.len(), graph.initializer.len());
    let (at, other) = (random.random_range(0..nodes), random.random_range(0..nodes));
    match random.random_range(0..8) {
        0 | 1 if tensors > 0 => {
            change_tensor(&mut graph.initializer[random.random_range(0..tensors)], random)
        }
        2 => drop(graph.node.remove(at)),
        3 => graph.node[at].op_type = operators.choose(random).map_or_else(String::new, ToString::to_string),
        // A value of another place, of a later operator or of its own as well.
        4 if !graph.node[at].input.is_empty() => {
            let taken = graph.node[other].output.first().cloned().unwrap_or_default();
            graph.node[at].input[0] = taken;
        }
        5 => graph.node.swap(at, other),
        _ if !graph.node[at].attribute.is_empty() => {
            let attributes = &mut graph.node[at].attribute;
            let place = random.random_range(0..attributes.len());
            change_attribute(&mut attributes[place], random);
        }
        _ => graph.node[at].input.push("input".to_owned()),
    }
}

#[test]
fn graphs_with_parts_changed_are_read_or_refused_and_what_is_read_ends() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_131);
    let column = Float64Array::from(vec![0.5, -3.0, 1e9]);
    let (mut refused, mut all) = (0, 0);
    for name in ["onnx_logistic", "onnx_network", "onnx_forest", "onnx_shapes"] {
        let sound = decoded(name);
        of_proto(sound.clone()).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        for _ in 0..150 {
            let mut proto = sound.clone();
            for _ in 0..random.random_range(1..3) {
                let graph = proto.graph.as_mut().unwrap();
                if !graph.node.is_empty() {
                    change(graph, &mut random);
                }
            }
            all += 1;
            match of_proto(proto) {
                Ok(model) => drop(model.predict(&vec![&column; model.features])),
                Err(failure) => {
                    assert!(!failure.contains("more than 60 seconds"), "{name}: {failure}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > all / 4 && refused < all, "{refused} of {all} were refused");
}
