"""Sweeps, curves, days, overlap and `--against` of `tollgate backtest`, computed from the transactions alone.

Hits come from DuckDB, alerts from a plain loop over them, curves from scikit-learn; nothing is taken from the program.
"""

import json
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

import duckdb
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, precision_score, recall_score

import backtest
from backtest import cents, equal

CAP = 100
DEDUP = timedelta(days=1)
POINTS = {"big": 40, "known": 35, "odd": 20, "often": 25}

QUERIES = {
    "big": "SELECT tx_id, customer_id, amount FROM transactions WHERE amount > {big}",
    "odd": "SELECT tx_id, amount FROM transactions WHERE amount > 150 AND amount < 180",
    "often": """SELECT tx_id, count(*) OVER day AS n FROM transactions
WINDOW day AS (PARTITION BY customer_id ORDER BY event_time
               RANGE BETWEEN INTERVAL '86399 seconds' PRECEDING AND CURRENT ROW)
QUALIFY n >= 9""",
    "known": """SELECT tx_id, sum(CASE WHEN is_fraud THEN 1 ELSE 0 END) OVER known AS frauds FROM transactions
WINDOW known AS (PARTITION BY terminal_id ORDER BY event_time
                 RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
QUALIFY frauds >= 1""",
}


def write_rules(folder, contract, rules, big):
    folder.mkdir()
    (folder / "schema.sql").write_text(contract)
    for rule in rules:
        dedup = "-- @dedup: customer_id 1d\n" if rule == "big" else ""
        header = f"-- @id: {rule}\n-- @title: {rule}\n-- @status: live\n-- @severity: low\n-- @score: {POINTS[rule]}\n"
        header += f'-- @reason: "{{tx_id}}"\n-- @owner: data-science\n{dedup}'
        (folder / f"{rule}.sql").write_text(header + QUERIES[rule].format(big=big) + "\n")


def facts(file):
    """For every transaction what the rules ask of it."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    return database.execute(
        f"""SELECT tx_id, event_time::TIMESTAMP AS event_time, customer_id, CAST(amount * 100 AS BIGINT) AS cents,
                   count(*) OVER (PARTITION BY customer_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL 86399 SECONDS PRECEDING AND CURRENT ROW) AS day,
                   coalesce(sum(is_fraud::INT) OVER (PARTITION BY terminal_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING), 0) AS frauds
            FROM read_parquet('{file}') ORDER BY event_time, tx_id"""
    ).df()


def deduplicated(rows):
    """Hits of `big` that alert: a customer's next comes a day after the last."""
    last, alerts = {}, []
    for tx, time, customer in zip(rows.tx_id, rows.event_time, rows.customer_id):
        if customer not in last or time - last[customer] >= DEDUP:
            last[customer] = time
            alerts.append(tx)
    return alerts


class Raised:
    """What a rule, or rules together, raised on the scored transactions."""

    def __init__(self, events, hits, alerts):
        scored = set(events.tx_id)
        self.hits = set(hits) & scored
        self.alerts = [tx for tx in alerts if tx in scored]

    @classmethod
    def together(cls, events, all):
        return cls(events, set().union(*(one.hits for one in all)), [tx for one in all for tx in one.alerts])


def raised(table, events, rule, limit=None):
    limits = {"big": 220, "often": 9, "known": 1}
    limit = limits.get(rule) if limit is None else limit
    column = {"big": table.cents > (limit or 0) * 100, "often": table.day >= (limit or 0),
              "known": table.frauds >= (limit or 0), "odd": (table.cents > 15000) & (table.cents < 18000)}[rule]
    rows = table[column]
    return Raised(events, rows.tx_id, deduplicated(rows) if rule == "big" else rows.tx_id)


def quality(differing, name, ours, events, own):
    """What is said of a rule, a variant or a set."""
    hit, fraud = events.tx_id.isin(own.hits), events.is_fraud
    caught, frauds = int((hit & fraud).sum()), set(events.tx_id[fraud])
    on_frauds = sum(tx in frauds for tx in own.alerts)
    wanted = {
        "hits": len(own.hits), "alerts": len(own.alerts), "frauds_caught": caught, "false_positives": len(own.hits) - caught,
        "alert_precision": on_frauds / len(own.alerts) if own.alerts else None,
        "precision": precision_score(fraud, hit) if hit.any() else None, "recall": recall_score(fraud, hit),
        "f1": f1_score(fraud, hit), "value_caught": cents(events.cents[hit & fraud].sum()),
        "value_bothered": cents(events.cents[hit & ~fraud].sum()),
    }
    for key, value in wanted.items():
        equal(differing, f"{name} {key}", ours[key], value)
    # Found is an episode by its first alert, whatever hit before.
    found = backtest.detection(events, {tx: 1 for tx in own.alerts})
    for key, value in found.items():
        equal(differing, f"{name} {key}", ours["detection"][key], value)


def points_of(events, all):
    sums = {}
    for rule, own in all.items():
        for tx in own.hits:
            sums[tx] = sums.get(tx, 0) + POINTS[rule]
    return events.tx_id.map(lambda tx: min(sums.get(tx, 0), CAP))


def curve(differing, ours, events, score):
    """Each threshold of the combined points."""
    precision, recall, thresholds = precision_recall_curve(events.is_fraud, score)
    wanted = [(int(t), p, r) for t, p, r in zip(thresholds, precision, recall)][::-1]
    equal(differing, "thresholds", [point["threshold"] for point in ours], [threshold for threshold, _, _ in wanted])
    for point, (threshold, precision, recall) in zip(ours, wanted):
        flagged = score >= threshold
        equal(differing, f"flagged from {threshold}", point["flagged"], int(flagged.sum()))
        equal(differing, f"frauds from {threshold}", point["frauds"], int((flagged & events.is_fraud).sum()))
        equal(differing, f"precision from {threshold}", point["precision"], float(precision))
        equal(differing, f"recall from {threshold}", point["recall"], float(recall))


def days(differing, ours, events, own, first, until):
    """Alerts of each day, those without any among them."""
    day_of = dict(zip(events.tx_id, events.event_time.dt.strftime("%Y-%m-%d")))
    frauds, day = set(events.tx_id[events.is_fraud]), backtest.datetime.fromisoformat(first)
    wanted = []
    while day < backtest.datetime.fromisoformat(until):
        name = day.strftime("%Y-%m-%d")
        here = [tx for tx in own.alerts if day_of[tx] == name]
        wanted.append({"day": name, "alerts": len(here), "on_frauds": sum(tx in frauds for tx in here)})
        day += timedelta(days=1)
    equal(differing, "days", ours, wanted)


def shared(differing, report, events, all):
    """What rules share, and what each adds."""
    frauds, value = set(events.tx_id[events.is_fraud]), dict(zip(events.tx_id, events.cents))
    ids = report["overlap"]["rules"]
    for kind, among in (("events", None), ("frauds", frauds)):
        both = lambda a, b: all[a].hits & all[b].hits if among is None else all[a].hits & all[b].hits & among
        for row, counts in zip(ids, report["overlap"][kind]):
            equal(differing, f"{kind} of {row} shared", counts, [len(both(row, other)) for other in ids])
    for rule in report["rules"]:
        others = set().union(*(own.hits for other, own in all.items() if other != rule["id"]))
        alone = all[rule["id"]].hits - others
        wanted = {"hits": len(alone), "frauds": len(alone & frauds), "false_positives": len(alone - frauds),
                  "value_caught": cents(sum(value[tx] for tx in alone & frauds))}
        equal(differing, f"{rule['id']} adds", rule["marginal"], wanted)


def against(differing, ours, events, here, there):
    """What hits in one of two folders only."""
    frauds = set(events.tx_id[events.is_fraud])
    none = Raised(events, [], [])
    states = {"all": "", "big": "changed", "known": "same version", "often": "added", "odd": "removed"}
    pairs = {"all": (Raised.together(events, here.values()), Raised.together(events, there.values()))}
    pairs |= {rule: (here.get(rule, none), there.get(rule, none)) for rule in ("big", "known", "often", "odd")}
    wanted = []
    for rule, (now, before) in pairs.items():
        gained, lost = now.hits - before.hits, before.hits - now.hits
        wanted.append({"rule": rule, "state": states[rule], "gained": len(gained), "gained_frauds": len(gained & frauds),
                       "lost": len(lost), "lost_frauds": len(lost & frauds), "alerts_there": len(before.alerts),
                       "alerts_here": len(now.alerts)})
    equal(differing, "changes", ours["changes"], wanted)
    quality(differing, "there", ours["quality"], events, pairs["all"][1])
    precise = average_precision_score(events.is_fraud, points_of(events, there))
    equal(differing, "average precision there", ours["quality"]["average_precision"], precise)


def compare(binary, contract, file, span, known_from, failed):
    first, until = span
    with tempfile.TemporaryDirectory() as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
        write_rules(new, contract.read_text(), ("big", "known", "often"), 220)
        write_rules(old, contract.read_text(), ("big", "known", "odd"), 200)
        command = [binary, "backtest", "--rules", str(new), "--against", str(old), "--input", str(file), "--format", "json"]
        command += ["--label-column", "is_fraud", "--label-delay", "7d", "--entity-column", "customer_id"]
        command += ["--value-column", "amount", "--from", first, "--until", until, "--skip-known", "--known-from", known_from]
        command += ["--sweep", "big:amount=180..260/20", "--sweep", "often:n=7..11", "--cap", str(CAP)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise failed(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr[-500:]}")
    report, table = json.loads(done.stdout), facts(file)
    events = backtest.scored(file, first, until, known_from)
    here = {rule: raised(table, events, rule) for rule in ("big", "known", "often")}
    there = {"big": raised(table, events, "big", 200), "known": here["known"], "odd": raised(table, events, "odd")}
    together, differing = Raised.together(events, here.values()), []
    if not here["big"].hits or len(here["big"].alerts) == len(here["big"].hits):
        raise failed("no hit of `big` is held back: nothing is shown of alerts")
    for rule in report["rules"]:
        quality(differing, rule["id"], rule, events, here[rule["id"]])
    (all,) = report["sets"]
    quality(differing, "all", all, events, together)
    curve(differing, all["curve"], events, points_of(events, here))
    days(differing, all["daily"], events, together, first, until)
    shared(differing, report, events, here)
    against(differing, report["against"], events, here, there)
    swept = 0
    for sweep, values in zip(report["sweeps"], (range(180, 261, 20), range(7, 12))):
        equal(differing, f"{sweep['rule']} values", [point["value"] for point in sweep["points"]], [str(v) for v in values])
        for point, value in zip(sweep["points"], values):
            name = f"{sweep['rule']} at {value}"
            quality(differing, name, point, events, raised(table, events, sweep["rule"], value))
            equal(differing, f"{name} is the rule's own", point["current"], value in (220, 9))
            swept += 1
    if differing:
        raise failed(f"{len(differing)} figures differ: {'; '.join(differing[:8])}")
    return f"{len(events):,} events, {swept} variants, {len(all['curve'])} thresholds: every figure is equal"
