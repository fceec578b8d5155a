"""Models on the Fraud Detection Handbook's data, from exported features to alerts: handbook.py TOLLGATE DATA [--habits [--later]].

The features of all transactions leave by `tollgate replay`; XGBoost is trained on them; its file goes beside the rules,
and `tollgate backtest` judges what `predict` says in the stream, cards already known as compromised left out. DATA is the folder with handbook-transactions.parquet.

Without more: the book's XGBoost, trained on 2018-07-25..31, judged on 2018-08-08..14. Ends with 1 where AUC, average
precision and card precision@100 are not the book's, to the third digit, or a score of the stream is not Python's.

--habits: the model of views/habits.sql, trained anew for each test week on the 56 days before its labels end, judged on
the book's four test weeks, 2018-08-08 to 2018-09-04. Features and settings were chosen on the weeks from 2018-06-27 to
2018-07-24 alone. Ends with 1 where a mean is not past the best one of the book. --later: the three weeks after, as well.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from datetime import date, timedelta

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb

HERE = pathlib.Path(__file__).resolve().parent / "handbook"
FIGURES = ("auc_roc", "average_precision", "card_precision_at_k")
BOOK = (0.862, 0.639, 0.273)
BEST = (0.879, 0.694, 0.305)
PAIRS = [("customer_count", "customer_average"), ("terminal_count", "terminal_risk")]
INPUTS = ["tx_amount", "during_weekend", "during_night"]
INPUTS += [f"{name}_{span}" for pair in PAIRS for span in ("1d", "7d", "30d") for name in pair]
HABITS = {"max_depth": 4, "eta": 0.05, "min_child_weight": 10, "subsample": 0.8, "colsample_bytree": 0.7}
HABITS_ROUNDS, HABITS_DAYS = 300, 56


def tollgate(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"tollgate {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


class Bench:
    """The rules in a folder of their own, and the data."""

    def __init__(self, program, data, folder):
        self.program, self.data, self.folder = program, data, pathlib.Path(folder)
        self.rules = self.folder / "rules"
        shutil.copytree(HERE, self.rules)
        (self.rules / "models").mkdir()

    def export(self, name):
        features = self.folder / f"{name}.parquet"
        tollgate(self.program, "replay", "--rules", self.rules / f"{name}.sql", "--input", self.data, "--output", features, "--emit", "on_arrival")
        return pq.read_table(features)

    def judge(self, rule, first, known_from, scores=None):
        """The figures of a week; `scores` are Python's, by transaction, and the stream's must be these."""
        # Alerts hold what moved the model, which takes minutes where every transaction alerts.
        alerts = self.folder / "alerts.parquet"
        output = ["--output", alerts] if scores else []
        report = json.loads(tollgate(
            self.program, "backtest", "--rules", self.rules / f"{rule}.sql", "--input", self.data, "--label-column", "is_fraud", "--label-delay", "7d",
            "--entity-column", "customer_id", "--from", first, "--until", first + timedelta(days=7), "--skip-known", "--known-from", known_from,
            "--k", "100", "--cap", "1000000", "--emit", "on_arrival", "--one-order", "--format", "json", *output))
        if scores:
            said = pq.read_table(alerts, columns=["event_id", "points"]).to_pydict()
            apart = max(abs(points / 1e6 - scores[int(event)]) for event, points in zip(said["event_id"], said["points"]))
            if apart > 6e-7:
                sys.exit(f"the stream's scores of {rule} are {apart} apart from Python's")
        perfect = report["card_precision_at_k_of_a_perfect_score"]
        return [report["sets"][0][figure] for figure in FIGURES] + [perfect]


def within(table, first, until):
    days = pc.cast(table["event_time"], "date32")
    return table.filter(pc.and_(pc.greater_equal(days, first), pc.less(days, until)))


def matrix(table, inputs):
    return np.column_stack([pc.cast(table[name], "float64").to_numpy() if table[name].type != "bool" else table[name].to_numpy().astype(float) for name in inputs])


def truth(table):
    return table["is_fraud"].to_numpy().astype(int)


def line(name, figures):
    cells = [f"{figure:.3f}" for figure in figures] + [""] * (4 - len(figures))
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def book(bench):
    table = bench.export("features")
    train, test = within(table, date(2018, 7, 25), date(2018, 8, 1)), within(table, date(2018, 8, 8), date(2018, 8, 15))
    model = xgb.XGBClassifier(tree_method="exact", base_score=0.5, n_jobs=2, random_state=0)
    model.fit(matrix(train, INPUTS), truth(train))
    model.save_model(bench.rules / "models" / "book.json")
    scores = dict(zip(test["tx_id"].to_pylist(), model.predict_proba(matrix(test, INPUTS))[:, 1]))
    found = bench.judge("book", date(2018, 8, 8), date(2018, 7, 25), scores)
    line("the book's XGBoost, in the book", BOOK)
    line("the same in the stream", found)
    return all(f"{ours:.3f}" == f"{theirs:.3f}" for ours, theirs in zip(found, BOOK))


def habits(bench, later):
    table = bench.export("habits_features")
    inputs = [name for name in table.column_names if name not in ("tx_id", "event_time", "customer_id", "is_fraud")]
    weeks = [date(2018, 8, 8) + timedelta(days=7 * week) for week in range(7 if later else 4)]
    figures = []
    for first in weeks:
        known_until = first - timedelta(days=7)
        train = within(table, known_until - timedelta(days=HABITS_DAYS), known_until)
        rows = xgb.DMatrix(matrix(train, inputs), truth(train))
        booster = xgb.train({"objective": "binary:logistic", "nthread": 2, "seed": 0, **HABITS}, rows, HABITS_ROUNDS)
        booster.save_model(bench.rules / "models" / "habits.json")
        figures.append(bench.judge("habits", first, first - timedelta(days=14)))
        line(f"week of {first}", figures[-1])
    means = np.mean(figures[:4], axis=0)
    line("the best means of the book", BEST)
    line("means of the book's four test weeks", means)
    if later:
        line("means of the three weeks after", np.mean(figures[4:], axis=0))
    return all(ours > theirs for ours, theirs in zip(means, BEST))


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2]) / "handbook-transactions.parquet"
    print("| | AUC ROC | average precision | card precision@100 | of a perfect score |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(program, data, folder)
        good = habits(bench, "--later" in sys.argv) if "--habits" in sys.argv else book(bench)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
