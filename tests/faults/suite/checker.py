"""What the alerts and dead letters must be, from the input topic alone, and how the output differs.

Shares nothing with the engine: JSON by Python, windows by DuckDB (on arrival as a self-join over what came
before, in order as plain window SQL), suppression one hit after the other.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

import duckdb

from .workload import LATENESS_SECONDS

REPEATS_SECONDS = 3600

# Rule: what the frame must hold, its length, whose it is, when it hits, what is selected, `@dedup`, the reason.
ON_ARRIVAL = {
    "card-count": dict(seconds=600, where="true", hit="n >= 130", values=["n"], dedup=None,
                       reason="{n} payments in 10 minutes"),
    "card-sum": dict(seconds=300, where="amount > 20", hit="total > 6500", values=["amount", "total"], dedup=None,
                     reason="{total} in 5 minutes"),
    "card-merchants": dict(seconds=180, where="true", hit="merchants >= 12", values=["merchants", "n"], dedup=None,
                           reason="{merchants} merchants in 3 minutes"),
    "card-burst": dict(seconds=60, where="true", hit="n >= 18", values=["n"], dedup=180,
                       reason="{n} payments in 1 minute"),
}
# A frame of rows: what it holds has no age, so a restart needs what the history carries over.
OF_ROWS = {
    "card-rare": dict(rows=4, where="card like 'rare-%'", hit="n = 4 and total > 500", values=["n", "total"],
                      dedup=None, reason="{total} in {n} payments"),
}
IN_ORDER = {
    "card-ordered": dict(key="card", seconds=120, hit="n >= 32", values=["n", "total"], dedup=300,
                         reason="{n} payments in 2 minutes"),
    "merchant-ordered": dict(key="merchant", seconds=30, hit="n >= 28", values=["n"], dedup=None,
                             reason="{n} payments in 30 seconds"),
}


@dataclass
class Expected:
    """Alerts by (rule, partition, offset), and the coordinates of dead letters."""
    alerts: dict = field(default_factory=dict)
    dead_letters: set = field(default_factory=set)
    rows: int = 0
    repeats: int = 0


@dataclass
class Verdict:
    """How the output differs; all zero is what it must be."""
    missing: list = field(default_factory=list)
    extra: list = field(default_factory=list)
    duplicate: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    alerts: int = 0
    dead_letters: int = 0
    rows: int = 0

    @property
    def clean(self):
        return not (self.missing or self.extra or self.duplicate or self.wrong)

    def __str__(self):
        return (f"{self.rows} records, {self.alerts} alerts, {self.dead_letters} dead letters: "
                f"{len(self.missing)} missing, {len(self.extra)} extra, {len(self.duplicate)} duplicate, "
                f"{len(self.wrong)} wrong")


def parse(value):
    """A payment, or none where the contract refuses it."""
    try:
        event = json.loads(value)
        time = datetime.fromisoformat(event["event_time"].replace("Z", "+00:00"))
        amount = Decimal(event["amount"])
        return event["tx_id"], time, event["card_id"], event["merchant_id"], amount
    except (ValueError, KeyError, TypeError, InvalidOperation, AttributeError):
        return None


def expect(records, rules=None):
    """The expectation for (partition, offset, value, headers) records of the input topic, of all rules or some."""
    expected = Expected(rows=len(records))
    rows, seen = [], {}
    for partition, offset, value, _ in sorted(records, key=lambda record: record[:2]):
        event = parse(value)
        if event is None:
            expected.dead_letters.add((partition, offset))
            continue
        tx, time, card, merchant, amount = event
        first = seen.setdefault(tx, time)
        if first is not time and abs(time - first) <= timedelta(seconds=REPEATS_SECONDS):
            expected.repeats += 1
            continue
        seen[tx] = time
        rows.append((partition, offset, tx, micros(time), card, merchant, amount))
    database = duckdb.connect()
    database.execute("set enable_progress_bar = false")
    database.execute("create table input (p int, o bigint, tx varchar, t bigint, card varchar, merchant varchar, "
                     "amount decimal(12, 2))")
    import pyarrow as arrow
    columns = list(zip(*rows)) if rows else [[]] * 7
    parsed = arrow.table({
        "p": arrow.array(columns[0], arrow.int32()), "o": arrow.array(columns[1], arrow.int64()),
        "tx": arrow.array(columns[2], arrow.string()), "t": arrow.array(columns[3], arrow.int64()),
        "card": arrow.array(columns[4], arrow.string()), "merchant": arrow.array(columns[5], arrow.string()),
        "amount": arrow.array(columns[6], arrow.decimal128(12, 2)),
    })
    database.execute("insert into input select * from parsed")
    for rule, spec in ON_ARRIVAL.items():
        note(expected, rule, spec, on_arrival(database, spec))
    for rule, spec in OF_ROWS.items():
        note(expected, rule, spec, of_rows(database, spec))
    watermark = database.execute(
        f"select min(latest) - {LATENESS_SECONDS * 1_000_000} from (select max(t) latest from input group by p)"
    ).fetchone()[0]
    for rule, spec in IN_ORDER.items():
        note(expected, rule, spec, in_order(database, spec, watermark or 0))
    if rules is not None:
        expected.alerts = {place: told for place, told in expected.alerts.items() if place[0] in rules}
    return expected


def on_arrival(database, spec):
    """A row sees itself and what its partition had before it, of its card, in its frame.

    Time is cut into pieces as long as the frame, so that rows are joined with those of their own piece and the one
    before alone: else a run of an hour would compare each row with all of its card. Partitions one after the other
    spare memory.
    """
    frame, partitions = spec["seconds"] * 1_000_000, database.execute("select distinct p from input order by p").fetchall()
    return [row for (p,) in partitions for row in database.execute(f"""
        with kept as (select *, t // {frame} as piece from input where p = {p} and {spec["where"]}),
        held as (from kept union all select * replace (piece + 1 as piece) from kept),
        answers as (
            select r.p, r.o, r.tx, r.t, r.card as key, r.amount, count(*) as n, sum(s.amount) as total,
                   count(distinct s.merchant) as merchants
            from kept r join held s on s.p = r.p and s.card = r.card and s.piece = r.piece and s.o <= r.o
             and s.t between r.t - {frame} and r.t
            group by all)
        select * from answers where {spec["hit"]} order by o""").fetchall()]


def of_rows(database, spec):
    """A row sees itself and the last ones that its partition had before it, of its card; of one time, by arrival."""
    return database.execute(f"""
        with kept as (select * from input where {spec["where"]}),
        seen as (
            select r.p, r.o, r.tx, r.t, r.card as key, r.amount, s.amount as held,
                   row_number() over (partition by r.p, r.o order by s.t desc, s.o desc) as back
            from kept r join kept s on s.p = r.p and s.card = r.card and s.o <= r.o and s.t <= r.t),
        answers as (
            select p, o, tx, t, key, amount, count(*) as n, sum(held) as total, 0 as merchants
            from seen where back <= {spec["rows"]} group by all)
        select * from answers where {spec["hit"]} order by p, o""").fetchall()


def in_order(database, spec, watermark):
    """Plain window SQL over all rows; answered are those that the watermark has passed."""
    return database.execute(f"""
        with answers as (
            select p, o, tx, t, {spec["key"]} as key, amount, count(*) over w as n, sum(amount) over w as total,
                   0 as merchants
            from input
            window w as (partition by {spec["key"]} order by t
                         range between {spec["seconds"] * 1_000_000} preceding and current row))
        select * from answers where {spec["hit"]} and t < {watermark} order by t, p, o""").fetchall()


def note(expected, rule, spec, hits):
    """Turns hits into alerts, holding back what `@dedup` holds back."""
    sent = {}
    for p, o, tx, t, key, amount, n, total, merchants in hits:
        before = 0
        if spec["dedup"]:
            period = spec["dedup"] * 1_000_000
            last = sent.get(key)
            if last and t - last[0] < period:
                last[1] += 1
                continue
            if last and t - last[0] <= 2 * period:
                before = last[1]
            sent[key] = [t, 0]
        values = {"amount": f"{amount:.2f}", "n": n, "total": f"{total:.2f}", "merchants": merchants}
        shown = {name: values[name] for name in spec["values"]}
        expected.alerts[(rule, p, o)] = (tx, shown, spec["reason"].format(**values), before)


def compare(expected, alerts, dead_letters):
    """The verdict on what was read, committed records only."""
    verdict = Verdict(alerts=len(alerts), dead_letters=len(dead_letters), rows=expected.rows)
    seen = set()
    for _, _, value, _ in alerts:
        alert = json.loads(value)
        source = alert["source"]
        place = (alert["rule"]["id"], source["partition"], source["offset"])
        if place in seen:
            verdict.duplicate.append(place)
            continue
        seen.add(place)
        if place not in expected.alerts:
            verdict.extra.append(place)
            continue
        tx, values, reason, before = expected.alerts[place]
        said = {name: alert["values"].get(name) for name in values}
        told = (alert["event_id"], said, alert["reason"], alert["suppressed_before"], alert["exact_since"])
        if told != (tx, values, reason, before, None):
            verdict.wrong.append((place, told, (tx, values, reason, before, None)))
    verdict.missing += [place for place in expected.alerts if place not in seen]
    letters = [(int(h["tollgate-partition"]), int(h["tollgate-offset"])) for _, _, _, h in dead_letters]
    verdict.duplicate += [("dead letter", *place) for place, times in Counter(letters).items() if times > 1]
    verdict.extra += [("dead letter", *place) for place in set(letters) - expected.dead_letters]
    verdict.missing += [("dead letter", *place) for place in expected.dead_letters - set(letters)]
    return verdict


def micros(time):
    return int(time.timestamp()) * 1_000_000 + time.microsecond
