"""Writes the libraries' own contributions (TreeSHAP) for the models in fixtures/, which the unit tests of `score` read.

Run after fixtures.py, with a Python that has xgboost, lightgbm and numpy. A line a row and class: the features, then
the bias.
"""
import pathlib
import lightgbm as lgb
import numpy as np
import xgboost as xgb

here = pathlib.Path(__file__).parent / "fixtures"
rows, names = 60, ["amount", "age_days", "count_1h", "kind"]
lines = (here / "rows.csv").read_text().splitlines()[:rows]
x = np.array([[float(v) if v else np.nan for v in line.split(",")] for line in lines])
for path in sorted(here.glob("xgb_*")) + sorted(here.glob("lgb_*.txt")):
    if path.suffix == ".csv":
        continue
    if path.name.startswith("xgb"):
        data = xgb.DMatrix(x.astype(np.float32), feature_names=names, feature_types=["q", "q", "q", "c"])
        found = xgb.Booster(model_file=path).predict(data, pred_contribs=True)
    else:
        found = lgb.Booster(model_file=path).predict(x, pred_contrib=True)
    with open(here / f"{path.stem}.contributions.csv", "w", newline="") as out:
        for values in found.reshape(-1, len(names) + 1):
            out.write(",".join(repr(float(v)) for v in values) + "\n")
