"""Makes the small models and their libraries' own answers that the unit tests of `score` read.

Run with a Python that has xgboost, lightgbm and numpy; writes beside itself into fixtures/.
"""
import pathlib
import lightgbm as lgb
import numpy as np
import xgboost as xgb

here = pathlib.Path(__file__).parent / "fixtures"
here.mkdir(exist_ok=True)
rng = np.random.default_rng(7)
rows, names = 400, ["amount", "age_days", "count_1h", "kind"]
x = rng.normal(size=(rows, 4)).astype(np.float32)
x[:, 2] = rng.integers(0, 4, rows)
x[:, 3] = rng.integers(0, 40, rows)
x[rng.random((rows, 4)) < 0.15] = np.nan
z = np.nan_to_num(x[:, 0]) + np.isin(x[:, 3], [2, 3, 33, 36]) * 2 - np.nan_to_num(x[:, 1]) * 0.5
targets = {"number": z, "truth": (z > 0.7).astype(float), "class": np.digitize(z, [0.0, 1.0]), "count": rng.poisson(np.exp(z / 3))}


def csv(path, values):
    # `newline=""` keeps the files the same on every platform.
    with open(path, "w", newline="") as out:
        for row in np.atleast_2d(values):
            out.write(",".join("" if np.isnan(v) else repr(float(v)) for v in row) + "\n")


csv(here / "rows.csv", x)
d = lambda y: xgb.DMatrix(x, label=y, feature_names=names, feature_types=["q", "q", "q", "c"])
for name, target, ending, options in [
    ("xgb_logistic", "truth", "json", {"objective": "binary:logistic"}),
    ("xgb_squared", "number", "ubj", {"objective": "reg:squarederror", "max_cat_to_onehot": 64}),
    ("xgb_softprob", "class", "ubj", {"objective": "multi:softprob", "num_class": 3}),
    ("xgb_dart", "truth", "json", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.4}),
    ("xgb_poisson", "count", "json", {"objective": "count:poisson", "num_parallel_tree": 2, "subsample": 0.7}),
]:
    booster = xgb.train({"max_depth": 4, "max_cat_to_onehot": 2, "seed": 1, "nthread": 1, **options}, d(targets[target]), 8)
    booster.save_model(here / f"{name}.{ending}")
    csv(here / f"{name}.csv", booster.predict(d(None)).reshape(rows, -1))
for name, target, options in [
    ("lgb_binary", "truth", {"objective": "binary", "sigmoid": 0.7}),
    ("lgb_zero", "number", {"objective": "regression", "zero_as_missing": True}),
    ("lgb_none", "number", {"objective": "regression", "use_missing": False}),
    ("lgb_multi", "class", {"objective": "multiclass", "num_class": 3}),
    ("lgb_ova", "class", {"objective": "multiclassova", "num_class": 3}),
    ("lgb_sqrt", "number", {"objective": "regression", "reg_sqrt": True}),
    ("lgb_rf", "number", {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
    ("lgb_tweedie", "count", {"objective": "tweedie"}),
]:
    options = {"num_leaves": 9, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1, "verbose": -1, "num_threads": 1, "seed": 1, **options}
    data = lgb.Dataset(x.astype(np.float64), targets[target], feature_name=names, categorical_feature=[3], params=options)
    booster = lgb.train(options, data, 8)
    booster.save_model(here / f"{name}.txt")
    csv(here / f"{name}.csv", booster.predict(x.astype(np.float64)).reshape(rows, -1))
# Stopped early, and saved with all trees: the booster answers with all of them, and so does the file. LightGBM saves the
# chosen ones only.
held_out = np.arange(rows) % 4 == 0
train, test = (xgb.DMatrix(x[some], label=targets["truth"][some], feature_names=names, feature_types=["q", "q", "q", "c"]) for some in (~held_out, held_out))
options = {"max_depth": 4, "max_cat_to_onehot": 2, "seed": 1, "nthread": 1, "objective": "binary:logistic", "eta": 0.6}
booster = xgb.train(options, train, 60, evals=[(test, "test")], early_stopping_rounds=4, verbose_eval=False)
for name, saved in [("xgb_stopped", booster), ("xgb_stopped_chosen", booster[: booster.best_iteration + 1])]:
    saved.save_model(here / f"{name}.json")
    csv(here / f"{name}.csv", xgb.Booster(model_file=here / f"{name}.json").predict(d(None)).reshape(rows, -1))
wrapper = xgb.XGBClassifier(enable_categorical=True, feature_types=["q", "q", "q", "c"])
wrapper.load_model(here / "xgb_stopped.json")
assert np.array_equal(wrapper.predict_proba(x)[:, 1], booster[: booster.best_iteration + 1].predict(d(None)))
options = {"objective": "binary", "num_leaves": 9, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1, "verbose": -1, "num_threads": 1, "seed": 1, "learning_rate": 0.6}
train, test = (lgb.Dataset(x[some].astype(np.float64), targets["truth"][some], feature_name=names, categorical_feature=[3], params=options) for some in (~held_out, held_out))
booster = lgb.train(options, train, 60, valid_sets=[test], callbacks=[lgb.early_stopping(4, verbose=False)], keep_training_booster=True)
assert booster.best_iteration < booster.current_iteration()
booster.save_model(here / "lgb_stopped.txt")
csv(here / "lgb_stopped.csv", booster.predict(x.astype(np.float64)).reshape(rows, -1))
