"""The card payments that all engines are measured on, as Parquet and NDJSON.

    python generate.py FOLDER [--rows 2000000] [--gap-max-ms 50] [--name payments]

The recipe is fixed, draw by draw: another seed or another order of draws is another workload, and the alerts
in benches/README.md would no longer be the right ones. Rows are in order of event time, no two at one time.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20260101
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
CARDS, MERCHANTS, DEVICES = 100_000, 5_000, 150_000
SHARED_DEVICES = 500  # the last ids: devices that any card may turn up on
HOME_COUNTRIES = (
    "US GB DE FR ES IT NL BE PT IE AT CH SE NO DK FI PL CZ SK HU RO BG GR HR SI "
    "EE LV LT LU MT CY TR UA IL AE SA ZA EG NG KE IN CN JP KR SG MY TH VN AU BR"
).split()
CHANNELS = ["ecom", "pos", "moto"]
CHUNK_ROWS = 200_000


def ranks(random, items, exponent, rows):
    """Rank of the item of each row, 0 the most popular, by Zipf's law."""
    weights = np.arange(1, items + 1, dtype=np.float64) ** -exponent
    cumulative = np.cumsum(weights)
    cumulative /= cumulative[-1]
    return np.searchsorted(cumulative, random.random(rows), side="left").astype(np.int64)


def draw(rows, gap_max_ms):
    """All columns as numbers. The order of the draws is part of the recipe."""
    random = np.random.default_rng(SEED)
    time_ms = START_MS + np.cumsum(random.integers(1, gap_max_ms + 1, rows)).astype(np.int64)
    card_rank = ranks(random, CARDS, 1.1, rows)
    card = random.permutation(CARDS)[card_rank]
    merchant_order = random.permutation(MERCHANTS)
    merchant = merchant_order[ranks(random, MERCHANTS, 1.0, rows)]
    spent = np.exp(random.normal(np.log(30.0), 1.0, rows))
    amount = np.maximum(np.round(spent, 2), 0.01)

    # Three in a hundred cards travel, none of them among the 200 most used: 30 % of their rows are abroad.
    home = random.integers(0, len(HOME_COUNTRIES), CARDS)[card]
    travels = np.zeros(CARDS, bool)
    travels[200:] = random.random(CARDS - 200) < 0.03
    abroad = travels[card_rank] & (random.random(rows) < 0.30)
    country = np.where(abroad, random.integers(0, len(HOME_COUNTRIES), rows), home)

    # A card has a first and a second device; 1.5 % of rows come from one that is shared.
    first_shared = DEVICES - SHARED_DEVICES
    second = CARDS + (card * 7919) % (first_shared - CARDS)
    device = np.where(random.random(rows) < 0.9, card, second)
    shared = random.random(rows) < 0.015
    device = np.where(shared, first_shared + random.integers(0, SHARED_DEVICES, rows), device)

    return {
        "time_ms": time_ms,
        "card": card,
        "merchant": merchant,
        "amount": amount,
        "country": country,
        "device": device,
        "category": random.integers(1000, 9999, MERCHANTS)[merchant],
        "channel": random.integers(0, len(CHANNELS), rows),
        "ip": random.integers(0, 2**32, rows),
        "authorisation": random.integers(0, 10**6, rows),
        "session": random.integers(0, 2**63, rows, dtype=np.int64),
    }


def table(drawn, first, last):
    """Rows `first` up to `last` in the names and texts of the event."""
    part = {name: column[first:last] for name, column in drawn.items()}
    rows = last - first
    text = lambda form, numbers: [form % number for number in numbers.tolist()]
    address = lambda number: ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    return pa.table(
        {
            "tx_id": pa.array(np.arange(first, last)),
            "ts": pa.array(part["time_ms"], pa.timestamp("ms")),
            "ts_ms": pa.array(part["time_ms"]),
            "card_id": text("c%06d", part["card"]),
            "merchant_id": text("m%04d", part["merchant"]),
            "mcc": text("%d", part["category"]),
            "amount": pa.array(part["amount"]),
            "currency": ["EUR"] * rows,
            "country": [HOME_COUNTRIES[index] for index in part["country"].tolist()],
            "device_id": text("d%06d", part["device"]),
            "channel": [CHANNELS[index] for index in part["channel"].tolist()],
            "ip": [address(number) for number in part["ip"].tolist()],
            "auth_code": text("%06d", part["authorisation"]),
            "entry_mode": ["chip_contactless"] * rows,
            "session_id": text("%016x", part["session"]),
        }
    )


def lines(rows):
    """The rows as NDJSON: amounts with two places, times in ISO 8601 with milliseconds."""
    instants = np.datetime_as_string(rows["ts"].to_numpy(), unit="ms", timezone="UTC")
    amounts = ["%.2f" % amount for amount in rows["amount"].to_pylist()]
    columns = []
    for name in rows.column_names:
        if name == "ts":
            values = [f'"{instant}"' for instant in instants]
        elif name == "amount":
            values = amounts
        else:
            values = [json.dumps(value) for value in rows[name].to_pylist()]
        columns.append([f'"{name}":{value}' for value in values])
    return "".join("{" + ",".join(row) + "}\n" for row in zip(*columns))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--rows", type=int, default=2_000_000)
    arguments.add_argument("--gap-max-ms", type=int, default=50)
    arguments.add_argument("--name", default="payments")
    chosen = arguments.parse_args()

    chosen.folder.mkdir(parents=True, exist_ok=True)
    drawn = draw(chosen.rows, chosen.gap_max_ms)
    # Written beside and renamed at the end: a run that was cut short leaves nothing that looks whole.
    unfinished = {ending: chosen.folder / f"{chosen.name}.{ending}.part" for ending in ("parquet", "ndjson")}
    writer = None
    with open(unfinished["ndjson"], "w", encoding="ascii") as events:
        for first in range(0, chosen.rows, CHUNK_ROWS):
            chunk = table(drawn, first, min(chosen.rows, first + CHUNK_ROWS))
            writer = writer or pq.ParquetWriter(unfinished["parquet"], chunk.schema, compression="zstd")
            writer.write_table(chunk)
            events.write(lines(chunk))
    writer.close()
    for ending, path in unfinished.items():
        path.rename(chosen.folder / f"{chosen.name}.{ending}")
    hours = (drawn["time_ms"][-1] - drawn["time_ms"][0]) / 3_600_000
    print(f"{chosen.rows} rows over {hours:.1f} hours in {chosen.folder}")


if __name__ == "__main__":
    main()
