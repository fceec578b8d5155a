"""The six rules in SQL, and what every engine's program is given and prints.

A program is called as `PROGRAM FILE RULES [--threads 1]`, RULES being names with commas between, and prints one
line of JSON: rule -> [number of alerts, sum of their tx_id]. All rules that it is given go into one query, so that
an engine may read the file once and sort once a key.
"""

import argparse
import json

# Name -> key, and length in seconds.
WINDOWS = {
    "card_10m": ("card_id", 600),
    "card_1h": ("card_id", 3_600),
    "card_24h": ("card_id", 86_400),
    "merchant_1m": ("merchant_id", 60),
    "device_1h": ("device_id", 3_600),
}

CONDITIONS = {
    "r1": "count(*) OVER card_10m > 5 AND amount > 250",
    "r2": "sum(amount) OVER card_1h > 5000 AND amount > 500",
    "r3": "count(DISTINCT country) OVER card_24h >= 3",
    "r4": "amount > 5 * avg(amount) OVER card_24h AND count(*) OVER card_24h >= 5",
    "r5": "count(*) OVER merchant_1m > 50 AND amount < 5",
    "r6": "count(DISTINCT card_id) OVER device_1h >= 4",
}


def asked(about):
    """The arguments of a program."""
    arguments = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("file")
    arguments.add_argument("rules", type=lambda names: names.split(","))
    arguments.add_argument("--threads", type=int, default=1)
    return arguments.parse_args()


def named_windows(rules, frame):
    """The WINDOW clause of the windows that some rules use; `frame` writes order and range of a length in seconds."""
    used = [name for name in WINDOWS if any(f"OVER {name}" in CONDITIONS[rule] for rule in rules)]
    parts = (f"{name} AS (PARTITION BY {WINDOWS[name][0]} {frame(WINDOWS[name][1])})" for name in used)
    return "WINDOW " + ", ".join(parts)


def interval_frame(seconds):
    return f"ORDER BY ts RANGE BETWEEN INTERVAL '{seconds} seconds' PRECEDING AND CURRENT ROW"


def judged(rules, source, frame=interval_frame, condition=lambda text: text):
    """A query with one truth value a row for each rule."""
    columns = ", ".join(f"({condition(CONDITIONS[rule])}) AS {rule}" for rule in rules)
    return f"SELECT tx_id, {columns} FROM {source} {named_windows(rules, frame)}"


def tell(alerts):
    print(json.dumps({rule: [int(count), int(total)] for rule, (count, total) in alerts.items()}))
