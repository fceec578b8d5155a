"""Makes the small ONNX models and ONNX Runtime's answers that the unit tests of `score` read with the feature `onnx`.

Run with a Python that has numpy, scikit-learn, skl2onnx and onnxruntime; reads fixtures/rows.csv
and writes beside it.
"""
import pathlib
import warnings

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
here = pathlib.Path(__file__).parent / "fixtures"
lines = (here / "rows.csv").read_text().splitlines()
x = np.array([[float(v or 0) for v in line.split(",")] for line in lines], np.float32)
z = x[:, 0] + np.isin(x[:, 3], [2, 3, 33, 36]) * 2 - x[:, 1] * 0.5
truth, kind = (z > 0.7).astype(int), np.digitize(z, [0.0, 1.0])
floats = [("input", FloatTensorType([None, 4]))]
plain = {"zipmap": False}


def save(name, model):
    (here / f"{name}.onnx").write_bytes(model.SerializeToString())


def keep(name, model, rows):
    """The model, and what ONNX Runtime says of the rows."""
    save(name, model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answers = [a for a in session.run(None, {session.get_inputs()[0].name: rows}) if a.dtype.kind == "f"]
    with open(here / f"{name}.csv", "w", newline="") as out:
        for row in answers[0].reshape(len(rows), -1):
            out.write(",".join(repr(float(v)) for v in row) + "\n")


def sklearn(model, target, options=None):
    model.fit(x, target)
    return convert_sklearn(model, initial_types=floats, options={id(model): options} if options else None)


keep("onnx_logistic", sklearn(LogisticRegression(max_iter=1000), truth, plain), x)
keep("onnx_network", sklearn(MLPClassifier(hidden_layer_sizes=(8, 5), random_state=1, max_iter=300), kind, plain), x)
keep("onnx_number", sklearn(MLPRegressor(hidden_layer_sizes=(6,), random_state=1, max_iter=300), z), x)
keep("onnx_forest", sklearn(RandomForestClassifier(12, max_depth=5, random_state=1), truth, plain), x)
# What is refused, each for a reason that a user meets.
save("refused_zipmap", sklearn(LogisticRegression(), truth))
save("refused_scaler", sklearn(make_pipeline(StandardScaler(), LogisticRegression()), truth, plain))
save("refused_regressor", sklearn(RandomForestRegressor(3, max_depth=3, random_state=1), z))
value = helper.make_tensor_value_info
graph = lambda nodes, inputs: helper.make_model(
    helper.make_graph(nodes, "g", [value(n, TensorProto.FLOAT, [None, 4]) for n in inputs],
                      [value("out", TensorProto.FLOAT, [None, 4])]),
    opset_imports=[helper.make_opsetid("", 18)])
save("refused_inputs", graph([helper.make_node("Add", ["a", "b"], ["out"])], ["a", "b"]))
save("refused_chance", graph([helper.make_node("RandomNormalLike", ["a"], ["noise"]),
                              helper.make_node("Add", ["a", "noise"], ["out"])], ["a"]))


def constant(name, values, kind=TensorProto.INT64):
    return helper.make_tensor(name, kind, [len(values)], values)


def hostile(name, nodes, constants=(), features=4):
    """A graph of one input `x`, as few bytes as they are; nobody runs it here."""
    model = helper.make_model(
        helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [None, features])],
                          [value("out", TensorProto.FLOAT, None)], list(constants)),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    save(name, model)


node = helper.make_node
# What asks for memory or time without end.
large = [1 << 20, 1 << 20]
sum_of = lambda name: [node("ReduceSum", [name], ["sum"], keepdims=1), node("Add", ["x", "sum"], ["out"])]
hostile("endless_constant", [node("ConstantOfShape", ["shape"], ["big"]), *sum_of("big")], [constant("shape", large)])
hostile("endless_expand", [node("Expand", ["x", "shape"], ["big"]), *sum_of("big")], [constant("shape", [*large, 4])])
hostile("endless_tile", [node("Tile", ["x", "times"], ["big"]), *sum_of("big")], [constant("times", large)])
hostile("endless_negative", [node("ConstantOfShape", ["shape"], ["big"]), *sum_of("big")], [constant("shape", [-5, 7])])
hostile("endless_onehot",
        [node("OneHot", ["at", "depth", "both"], ["big"]), *sum_of("big")],
        [constant("at", [0, 1]), constant("depth", [1 << 40]), constant("both", [0.0, 1.0], TensorProto.FLOAT)])
hostile("endless_concat",
        [node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=1) if n else node("Identity", ["x"], ["c1"])
         for n in range(40)] + sum_of("c40"))
hostile("endless_outer",
        [node("Expand", ["x", "tall"], ["a"]), node("Expand", ["x", "wide"], ["b"]), node("MatMul", ["a", "b"], ["big"]),
         *sum_of("big")],
        [constant("tall", [1 << 20, 1]), constant("wide", [1, 1 << 20])], features=1)
hostile("endless_by_value",
        [node("Cast", ["x"], ["row"], to=TensorProto.INT64), node("Squeeze", ["row", "first"], ["shape"]),
         node("ConstantOfShape", ["shape"], ["big"]), *sum_of("big")], [constant("first", [0])])
body = helper.make_graph([node("Identity", ["go"], ["on"]), node("Add", ["v", "v"], ["w"])], "body",
                         [value("n", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)],
                         [value("on", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, None)])
hostile("endless_loop", [node("Loop", ["trips", "", "x"], ["out"], body=body)], [constant("trips", [1 << 60])])
hostile("endless_range",
        [node("Range", ["from", "to", "step"], ["big"]), *sum_of("big")],
        [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in [("from", 0.0), ("to", 1e12), ("step", 1.0)]])


def trees(name, **changed):
    """One tree of a question and two leaves, with something changed."""
    attributes = dict(
        classlabels_int64s=[0, 1], post_transform="NONE", nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], class_treeids=[0, 0], class_nodeids=[1, 2],
        class_ids=[0, 1], class_weights=[1.0, 1.0]) | changed
    hostile(name, [node("TreeEnsembleClassifier", ["x"], ["label", "out"], domain="ai.onnx.ml", **attributes)])


trees("trees_cycle", nodes_falsenodeids=[1, 0, 0])
trees("trees_root", nodes_falsenodeids=[0, 0, 0])
trees("trees_outside", nodes_falsenodeids=[99, 0, 0])
trees("trees_class", class_ids=[0, 7])
trees("trees_gte", nodes_modes=["BRANCH_GTE", "LEAF", "LEAF"])
# Sound, with the operators whose sizes rest on constants: what is changed at random begins here too.
shapes = helper.make_model(
    helper.make_graph(
        [node("Shape", ["input"], ["shape"]), node("ConstantOfShape", ["shape"], ["zeros"]),
         node("Expand", ["weights", "shape"], ["wide"]), node("Tile", ["wide", "times"], ["twice"]),
         node("Slice", ["twice", "first", "last", "axis"], ["one"]), node("Add", ["zeros", "one"], ["all"]),
         node("Mul", ["input", "all"], ["weighed"]), node("Reshape", ["weighed", "flat"], ["row"]),
         node("ReduceSum", ["row", "axis"], ["sum"], keepdims=1), node("Mul", ["sum", "sum"], ["score"])],
        "g", [value("input", TensorProto.FLOAT, [None, 4])], [value("score", TensorProto.FLOAT, [None, 1])],
        [constant("weights", [0.1, 0.2, -0.3, 0.05], TensorProto.FLOAT), constant("times", [1, 2]), constant("first", [0]),
         constant("last", [4]), constant("axis", [1]), constant("flat", [-1, 4])]),
    opset_imports=[helper.make_opsetid("", 18)])
shapes.ir_version = 9
keep("onnx_shapes", shapes, x)
