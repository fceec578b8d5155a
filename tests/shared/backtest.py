"""The figures of `tollgate backtest`, computed again from its alerts with DuckDB, pandas and scikit-learn."""

import json
import math
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

K = 100
TOGETHER = ("r1_big_amount", "r2_5x_avg30", "r5_term_2frauds_7d")
GAP = timedelta(days=7)

# Events, frauds, and for each rule alerts, precision and recall: the table beside the data.
PUBLISHED = {
    "scope": (58_264, 385),
    "r1_big_amount": (47, "1.000", "0.122"),
    "r5_term_2frauds_7d": (337, "0.546", "0.478"),
    "together": (394, "0.612", "0.626"),
    "perfect": "0.397",
}


def compare(binary, rules, file, days, known_from, failed, published=False):
    """Every figure equals the independent one; on the published test also the published table."""
    first, until = days
    with tempfile.TemporaryDirectory() as folder:
        alerts, page = Path(folder) / "alerts.ndjson", Path(folder) / "report.html"
        command = [binary, "backtest", "--rules", str(rules), "--input", str(file), "--format", "json"]
        command += ["--label-column", "is_fraud", "--label-delay", "7d", "--entity-column", "customer_id"]
        command += ["--value-column", "amount", "--from", first, "--until", until, "--skip-known"]
        command += ["--known-from", known_from, "--k", str(K), "--set", "together=" + ",".join(TOGETHER)]
        command += ["--output", str(alerts), "--report", str(page)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise failed(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr[-500:]}")
        report = json.loads(done.stdout)
        raised = {rule["id"]: set() for rule in report["rules"]}
        for line in alerts.read_text().splitlines():
            alert = json.loads(line)
            raised[alert["rule"]].add(int(alert["event_id"]))
    events = scored(file, first, until, known_from)
    differing = []
    equal(differing, "scored", report["scope"]["scored"], len(events))
    equal(differing, "frauds", report["scope"]["frauds"], int(events.is_fraud.sum()))
    for rule in report["rules"]:
        check(differing, rule["id"], rule, events, {rule["id"]: raised[rule["id"]]})
        others = set().union(*(hits for other, hits in raised.items() if other != rule["id"]))
        frauds = set(events.tx_id[events.is_fraud])
        equal(differing, f"{rule['id']} alone", rule["marginal"]["frauds"], len((raised[rule["id"]] - others) & frauds))
    for group in report["sets"]:
        check(differing, group["name"], group, events, {rule: raised[rule] for rule in group["rules"]})
    ids = report["overlap"]["rules"]
    for row, counts in zip(ids, report["overlap"]["events"]):
        equal(differing, f"overlap of {row}", counts, [len(raised[row] & raised[other]) for other in ids])
    perfect = card_precision(events, {tx: 1 for tx in events.tx_id[events.is_fraud]})
    equal(differing, "perfect", report["card_precision_at_k_of_a_perfect_score"], perfect)
    if published:
        differing += against_published(report)
    if differing:
        raise failed(f"{len(differing)} figures differ: {'; '.join(differing[:8])}")
    return f"{len(events):,} events, {len(report['rules'])} rules and {len(report['sets'])} sets: every figure is equal"


def scored(file, first, until, known_from):
    """Transactions of the span, without cards that a fraud made known before the transaction's day."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    return database.execute(
        f"""WITH t AS (SELECT * REPLACE (event_time::TIMESTAMP AS event_time) FROM read_parquet('{file}')),
            known AS (SELECT customer_id, min(event_time) + INTERVAL '7 days' AS known_at FROM t
                      WHERE is_fraud AND event_time >= TIMESTAMP '{known_from}' GROUP BY customer_id)
            SELECT tx_id, event_time, date_trunc('day', event_time) AS day, customer_id,
                   CAST(amount * 100 AS BIGINT) AS cents, is_fraud
            FROM t LEFT JOIN known USING (customer_id)
            WHERE event_time >= TIMESTAMP '{first}' AND event_time < TIMESTAMP '{until}'
              AND (known_at IS NULL OR known_at >= date_trunc('day', event_time))
            ORDER BY event_time, tx_id"""
    ).df()


def check(differing, name, report, events, raised):
    """All figures of one rule or set, from the events that its rules raised."""
    points = {}
    for hits in raised.values():
        for tx in hits:
            points[tx] = points.get(tx, 0) + 1
    score = events.tx_id.map(points).fillna(0).astype(int)
    hit, fraud = score > 0, events.is_fraud
    caught, false = int((hit & fraud).sum()), int((hit & ~fraud).sum())
    days = (events.day.max() - events.day.min()).days + 1
    wanted = {
        "alerts": sum(len(hits) for hits in raised.values()),
        "alerts_a_day": sum(len(hits) for hits in raised.values()) / days,
        "hits": int(hit.sum()),
        "frauds_caught": caught,
        "false_positives": false,
        "precision": precision_score(fraud, hit) if hit.any() else None,
        "recall": recall_score(fraud, hit),
        "f1": f1_score(fraud, hit),
        "false_positives_per_fraud": false / caught if caught else None,
        "value_caught": cents(events.cents[hit & fraud].sum()),
        "value_bothered": cents(events.cents[hit & ~fraud].sum()),
        "average_precision": average_precision_score(fraud, score),
        "auc_roc": roc_auc_score(fraud, score),
        "card_precision_at_k": card_precision(events, points),
    }
    for key, value in wanted.items():
        equal(differing, f"{name} {key}", report[key], value)
    for key, value in detection(events, points).items():
        equal(differing, f"{name} {key}", report["detection"][key], value)


def cents(count):
    return f"{int(count) // 100}.{int(count) % 100:02d}"


def card_precision(events, points):
    """The book's card precision top k; a card without points is not looked at, ties go by time, then name."""
    found, shares = set(), []
    for _, day in events.groupby("day"):
        best, compromised = {}, set(day.customer_id[day.is_fraud])
        for tx, time, card in zip(day.tx_id, day.event_time, day.customer_id):
            if points.get(tx, 0) and card not in found:
                best[card] = min(best.get(card, (0, time)), (-points[tx], time))
        order = sorted(best, key=lambda card: (*best[card], str(card)))
        today = [card for card in order[:K] if card in compromised]
        found.update(today)
        shares.append(len(today) / K)
    return sum(shares) / len(shares)


def detection(events, points):
    """Episodes of one card's frauds, and how long until the first that hit."""
    frauds, times, first = events[events.is_fraud], [], 0
    episodes = 0
    for _, own in frauds.groupby("customer_id"):
        runs = (own.event_time.diff() > GAP).cumsum()
        for _, run in own.groupby(runs):
            episodes += 1
            hit = [points.get(tx, 0) > 0 for tx in run.tx_id]
            if any(hit):
                first += hit[0]
                times.append((run.event_time.iloc[hit.index(True)] - run.event_time.iloc[0]).total_seconds())
    times.sort()
    rank = lambda percent: times[math.ceil(len(times) * percent / 100) - 1] if times else None
    return {"episodes": episodes, "detected": len(times), "at_first": int(first),
            "median_seconds": rank(50), "p90_seconds": rank(90),
            "mean_seconds": sum(times) / len(times) if times else None}


def equal(differing, name, ours, wanted):
    if isinstance(wanted, float) and isinstance(ours, (int, float)):
        if math.isclose(ours, wanted, rel_tol=1e-12, abs_tol=1e-12):
            return
    elif ours == wanted:
        return
    differing.append(f"{name}: {ours!r}, and not {wanted!r}")


def against_published(report):
    """The table beside the data, to its last digit."""
    rules = {rule["id"]: rule for rule in report["rules"] + [group | {"id": group["name"]} for group in report["sets"]]}
    shown = lambda rule: (rule["alerts"], f"{rule['precision']:.3f}", f"{rule['recall']:.3f}")
    found = {name: shown(rules[name]) for name in ("r1_big_amount", "r5_term_2frauds_7d")}
    # The published table counts a transaction once, however many of the three rules flag it.
    together = rules["together"]
    found["together"] = (together["hits"], f"{together['precision']:.3f}", f"{together['recall']:.3f}")
    found["scope"] = (report["scope"]["scored"], report["scope"]["frauds"])
    found["perfect"] = f"{report['card_precision_at_k_of_a_perfect_score']:.3f}"
    return [f"published {name}: {found[name]}, and not {PUBLISHED[name]}" for name in PUBLISHED if found[name] != PUBLISHED[name]]
