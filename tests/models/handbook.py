"""The book's XGBoost on the features that the engine exports, judged in the stream: handbook.py TOLLGATE DATA.

The features of all transactions leave by `tollgate replay`; XGBoost is trained on 2018-07-25..31; its file goes beside
the rules, and `tollgate backtest` judges what `predict` says of 2018-08-08..14, cards already known as compromised left
out. Ends with 1 where AUC, average precision and card precision@100 are not the book's, to the third digit, or where the
stream's scores are not Python's. DATA is the folder with handbook-transactions.parquet.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb

HERE = pathlib.Path(__file__).resolve().parent / "handbook"
BOOK = {"auc_roc": 0.862, "average_precision": 0.639, "card_precision_at_k": 0.273}
PAIRS = [("customer_count", "customer_average"), ("terminal_count", "terminal_risk")]
INPUTS = ["tx_amount", "during_weekend", "during_night"]
INPUTS += [f"{name}_{span}" for pair in PAIRS for span in ("1d", "7d", "30d") for name in pair]


def tollgate(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"tollgate {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def within(table, first, until):
    days = pc.strftime(table["event_time"], format="%Y-%m-%d")
    return table.filter(pc.and_(pc.greater_equal(days, first), pc.less(days, until)))


def matrix(table):
    return np.column_stack([table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in INPUTS])


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2]) / "handbook-transactions.parquet"
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules"
        shutil.copytree(HERE, rules)
        features = pathlib.Path(folder) / "features.parquet"
        tollgate(program, "replay", "--rules", rules / "features.sql", "--input", data, "--output", features, "--emit", "on_arrival")
        table = pq.read_table(features)
        train = within(table, "2018-07-25", "2018-08-01")
        model = xgb.XGBClassifier(tree_method="exact", base_score=0.5, n_jobs=2, random_state=0)
        model.fit(matrix(train), train["is_fraud"].to_numpy(zero_copy_only=False).astype(int))
        (rules / "models").mkdir()
        model.save_model(rules / "models" / "book.json")
        alerts = pathlib.Path(folder) / "alerts.parquet"
        report = json.loads(tollgate(
            program, "backtest", "--rules", rules, "--only", "book", "--input", data, "--label-column", "is_fraud", "--label-delay", "7d",
            "--entity-column", "customer_id", "--from", "2018-08-08", "--until", "2018-08-15", "--skip-known", "--known-from", "2018-07-25",
            "--k", "100", "--cap", "1000000", "--emit", "on_arrival", "--one-order", "--format", "json", "--output", alerts))
        found = report["sets"][0]
        test = within(table, "2018-08-08", "2018-08-15")
        wanted = dict(zip(test["tx_id"].to_pylist(), model.predict_proba(matrix(test))[:, 1]))
        said = pq.read_table(alerts, columns=["event_id", "points"]).to_pydict()
        apart = max(abs(points - 1e6 * wanted[int(event)]) for event, points in zip(said["event_id"], said["points"]))
    print(f"{report['scope']['scored']:,} events, {report['scope']['frauds']} frauds; the stream's scores are Python's within {apart / 1e6:.1e}")
    print("| | AUC ROC | average precision | card precision@100 |\n|---|---|---|---|")
    print("| the book | " + " | ".join(f"{BOOK[key]:.3f}" for key in BOOK) + " |")
    print("| Tollgate | " + " | ".join(f"{found[key]:.3f}" for key in BOOK) + " |")
    return 1 if apart > 0.6 or any(f"{found[key]:.3f}" != f"{wanted:.3f}" for key, wanted in BOOK.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
