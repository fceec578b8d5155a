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
