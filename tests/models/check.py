"""Fifty models of varied shape, each on 10,000 rows with missing values and categories: what a rule's predict()
gives in `tollgate replay` is compared with what xgboost and lightgbm give in Python, within 1e-6 relative.

    check.py TOLLGATE [SEED]

TOLLGATE is the program. Needs xgboost, lightgbm, numpy and pyarrow; ends with 1 if any model differs.
"""
import datetime
import itertools
import pathlib
import subprocess
import sys
import tempfile

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb

ROWS, FEATURES = 10_000, 8
# Relative to the value, but to this where the value is smaller: a regression's sum may cancel to nothing.
SMALL = 1e-2
program, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
rng = np.random.default_rng(seed)
names = [f"f{i}" for i in range(FEATURES)]

x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
x[:, 4] = rng.integers(-3, 4, ROWS)
x[:, 5] = rng.integers(0, 5, ROWS)
x[:, 6] = rng.integers(0, 80, ROWS)
x[:, 7] = rng.integers(0, 2, ROWS)
z = x[:, 0] + 0.7 * x[:, 1] * x[:, 7] + np.sin(x[:, 2] * 2) + np.isin(x[:, 6], rng.choice(80, 25)) * 1.5 + 0.3 * x[:, 4]
x[rng.random(x.shape) < 0.12] = np.nan
targets = {
    "number": z, "truth": (z > 1).astype(float), "class": np.digitize(z, [-0.5, 0.5, 1.5]),
    "count": rng.poisson(np.exp(z / 4)).astype(float), "positive": np.exp(z / 3),
}


def xgb_models():
    kinds = [("binary:logistic", "truth"), ("binary:logitraw", "truth"), ("reg:squarederror", "number"),
             ("reg:logistic", "truth"), ("count:poisson", "count"), ("reg:gamma", "positive"),
             ("reg:tweedie", "count"), ("reg:absoluteerror", "number"), ("multi:softprob", "class")]
    shapes = [(1, {}), (3, {"max_cat_to_onehot": 100}), (6, {"max_cat_to_onehot": 1})]
    for (objective, target), (depth, extra) in itertools.product(kinds, shapes):
        yield objective, target, {"max_depth": depth, **extra}
    yield "binary:logistic", "truth", {"booster": "dart", "rate_drop": 0.3, "max_depth": 4}
    yield "multi:softprob", "class", {"booster": "dart", "rate_drop": 0.3, "max_depth": 3}
    yield "binary:logistic", "truth", {"num_parallel_tree": 4, "subsample": 0.6, "colsample_bynode": 0.6, "eta": 1.0}
    yield "binary:logistic", "truth", {"base_score": 0.03, "grow_policy": "lossguide", "max_leaves": 40, "max_depth": 0}


def lgb_models():
    kinds = [("binary", "truth"), ("regression", "number"), ("regression_l1", "number"), ("poisson", "count"),
             ("gamma", "positive"), ("tweedie", "count"), ("multiclass", "class"), ("cross_entropy", "truth")]
    for objective, target in kinds:
        yield objective, target, {"num_leaves": 31}
    yield "binary", "truth", {"zero_as_missing": True}
    yield "regression", "number", {"use_missing": False}
    yield "regression", "number", {"reg_sqrt": True, "num_leaves": 7}
    yield "binary", "truth", {"boosting": "dart", "drop_rate": 0.4}
    yield "regression", "number", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
    yield "multiclassova", "class", {"sigmoid": 0.8}
    yield "binary", "truth", {"sigmoid": 2.0, "num_leaves": 2}
    yield "quantile", "number", {"alpha": 0.9, "max_depth": 9, "num_leaves": 200}
    yield "huber", "number", {}
    yield "cross_entropy_lambda", "truth", {}
    yield "fair", "number", {"zero_as_missing": True, "num_leaves": 64}


def train(folder):
    """Writes the models; their names with the library's predictions, a column a class."""
    answers = {}
    data = lambda y=None: xgb.DMatrix(x, y, feature_names=names, feature_types=["q"] * 5 + ["c", "c", "q"])
    for i, (objective, target, options) in enumerate(xgb_models()):
        options = {"objective": objective, "seed": i, "nthread": 1, **options}
        if objective.startswith("multi"):
            options["num_class"] = 4
        booster = xgb.train(options, data(targets[target]), 5 + i * 3)
        booster.save_model(folder / f"x{i}.{'ubj' if i % 2 else 'json'}")
        answers[f"x{i}"] = (booster.predict(data()).reshape(ROWS, -1), options)
    wide = x.astype(np.float64)
    for i, (objective, target, options) in enumerate(lgb_models()):
        options = {"objective": objective, "seed": i, "num_threads": 1, "verbose": -1, "min_data_per_group": 20, "cat_smooth": 1, **options}
        if objective.startswith("multi"):
            options["num_class"] = 4
        sets = lgb.Dataset(wide, targets[target], feature_name=names, categorical_feature=[5, 6], params=options)
        booster = lgb.train(options, sets, 10 + i * 4)
        booster.save_model(folder / f"l{i}.txt")
        answers[f"l{i}"] = (booster.predict(wide).reshape(ROWS, -1), options)
    return answers


def main():
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        (root / "models").mkdir()
        answers = train(root / "models")
        columns = ", ".join(f"{name} REAL" for name in names)
        (root / "schema.sql").write_text(f"CREATE TABLE rows_in (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, {columns}, PRIMARY KEY (tx_id));")
        calls = []
        for model, (values, _) in answers.items():
            for k in range(values.shape[1]):
                which = model if values.shape[1] == 1 else f"{model}#{k}"
                calls.append(f"predict('{which}', {', '.join(names)}) AS {model}_{k}")
        (root / "scores.sql").write_text("-- @id: scores\n-- @title: Scores\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"scored\"\n-- @owner: test\nSELECT tx_id, " + ",\n  ".join(calls) + "\nFROM rows_in")
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        table = {"tx_id": [str(i) for i in range(ROWS)], "event_time": pa.array([start + datetime.timedelta(seconds=i) for i in range(ROWS)], pa.timestamp("us", tz="UTC"))}
        table.update({name: pa.array(x[:, i], pa.float32(), from_pandas=True) for i, name in enumerate(names)})
        pq.write_table(pa.table(table), root / "in.parquet")
        subprocess.run([program, "replay", "--rules", root, "--input", root / "in.parquet", "--output", root / "out.parquet"], check=True)
        got = pq.read_table(root / "out.parquet").sort_by("tx_id").to_pydict()
        order = np.array([int(i) for i in got["tx_id"]])
        assert sorted(order) == list(range(ROWS)), "each row is answered once"
        bad = 0
        for model, (values, options) in answers.items():
            worst = max(float(np.max(np.abs(np.array(got[f"{model}_{k}"]) - values[order, k]) / np.maximum(np.abs(values[order, k]), SMALL))) for k in range(values.shape[1]))
            bad += not worst <= 1e-6
            print(f"{'ok ' if worst <= 1e-6 else 'BAD'} {model:4} {worst:.2e}  {options['objective']} {options.get('booster', options.get('boosting', ''))}")
        print(f"{len(answers)} models on {ROWS} rows, seed {seed}: {bad} differ")
        return 1 if bad or len(answers) != 50 else 0


sys.exit(main())
