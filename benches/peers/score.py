"""Nanoseconds a row of a prediction in batches of 1,024 rows on one thread: Tollgate, the library that trained the
model, treelite's own prediction (GTIL), and tl2cgen, which makes C of treelite's model; in turns, the median and the
least of ROUNDS (5) of each one's quickest of five passes.

    score.py [ROUNDS]

100 trees of depth 6 over 30 features. Answers must be equal within 1e-6. Ends with 1 where Tollgate takes more than
1 µs a row, or more than 1 / 0.8 of what the quickest peer takes.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import lightgbm as lgb
import numpy as np
import tl2cgen
import treelite
import xgboost as xgb

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TOLLGATE_BIN") or str(ROOT / "target/release/tollgate")
ROWS, FEATURES, BATCH, PASSES = 102_400, 30, 1024, 5
BAR_NS, BAR_RATIO = 1000.0, 0.8
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
rng = np.random.default_rng(1)
x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
truth = (x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3:12].sum(axis=1) * 0.3 + rng.normal(size=ROWS) > 1).astype(int)
x[rng.random(x.shape) < 0.05] = np.nan


def timed(predict):
    batches = [x[start:start + BATCH] for start in range(0, ROWS, BATCH)]
    best, mean = float("inf"), 0.0
    for _ in range(PASSES):
        started = time.perf_counter()
        total = sum(float(np.sum(predict(batch), dtype=np.float64)) for batch in batches)
        best, mean = min(best, time.perf_counter() - started), total / ROWS
    return best * 1e9 / ROWS, mean


def ours(rules, name):
    command = [PROGRAM, "models", "--rules", str(rules), "--measure", "--rows", str(rules / "rows.f32"), "--format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    said = next(model for model in json.loads(done.stdout)["models"] if model["model"] == name)
    return said["ns_a_row"], said["mean_prediction"]


def compiled(model, folder, name):
    tl2cgen.export_lib(model, toolchain="gcc", libpath=str(folder / f"{name}.so"), params={"parallel_comp": 8}, nthread=2)
    predictor = tl2cgen.Predictor(str(folder / f"{name}.so"), nthread=1)
    return lambda batch: predictor.predict(tl2cgen.DMatrix(batch, dtype="float32"))


def main():
    failed = False
    if not pathlib.Path(PROGRAM).exists():
        sys.exit(f"{PROGRAM} is not there: cargo build --release, or name a binary in TOLLGATE_BIN")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        x.tofile(folder / "rows.f32")
        (folder / "schema.sql").write_text("CREATE TABLE t (id BIGINT NOT NULL, event_time TIMESTAMP NOT NULL, PRIMARY KEY (id));")
        (folder / "models").mkdir()
        booster = xgb.train({"max_depth": 6, "objective": "binary:logistic", "nthread": 2, "eta": 0.1}, xgb.DMatrix(x, truth), 100)
        booster.save_model(folder / "models" / "xgb.json")
        booster.set_param({"nthread": 1})
        light = lgb.train({"objective": "binary", "num_leaves": 64, "max_depth": 6, "verbose": -1, "num_threads": 2}, lgb.Dataset(x.astype(np.float64), truth), 100)
        light.save_model(folder / "models" / "lgb.txt")
        models = [
            ("XGBoost", "xgb", lambda batch: booster.inplace_predict(batch), treelite.frontend.from_xgboost(booster)),
            ("LightGBM", "lgb", lambda batch: light.predict(batch, num_threads=1), treelite.frontend.from_lightgbm(light)),
        ]
        print("| model | | Tollgate ns a row | its library | treelite | tl2cgen | to the quickest peer |\n|---|---|---|---|---|---|---|")
        for name, file, library, tree_model in models:
            generated = compiled(tree_model, folder, name)
            contenders = {"Tollgate": lambda: ours(folder, file), "library": lambda: timed(library),
                          "treelite": lambda: timed(lambda batch: treelite.gtil.predict(tree_model, batch, nthread=1)), "tl2cgen": lambda: timed(generated)}
            runs = {who: [] for who in contenders}
            for _ in range(rounds):
                for who, run in contenders.items():
                    runs[who].append(run())
            means = [statistics.median(mean for _, mean in of) for of in runs.values()]
            if max(means) - min(means) > 1e-6:
                sys.exit(f"{name}: the answers differ: {means}")
            for said, of_rounds in ("least", min), ("median", statistics.median):
                ns = {who: of_rounds([ns for ns, _ in of]) for who, of in runs.items()}
                ratio = min(ns[who] for who in ns if who != "Tollgate") / ns["Tollgate"]
                cells = " | ".join(f"{value:.0f}" for value in ns.values())
                print(f"| {name} | {said} | {cells} | {ratio:.2f} |", flush=True)
            failed |= ns["Tollgate"] > BAR_NS or ratio < BAR_RATIO
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
