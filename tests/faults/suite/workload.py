"""Payments that are the same for the same seed: ties, rows out of order, repeats, poison, bursts.

Event time runs about sixty times as fast as the clock at 400 records a second, so windows of minutes move within
seconds, and an hour's history is old within a minute.
"""

import json
import random
import zlib
from datetime import datetime, timedelta, timezone

PARTITIONS = 4
LATENESS_SECONDS = 5
MERCHANTS = 12
CARDS = 40
# Each pays about once in 40 minutes of event time: its last four rows outlive the history's segments.
RARE_CARDS = 400


def partition_of(card):
    """The partition that a card's payments go to, as a keyed producer would choose it."""
    return zlib.crc32(card.encode()) % PARTITIONS


class Workload:
    """Hands on (partition, key, value) records without end; `last` gives those that move the watermark on."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        # Far enough back that event times do not pass the records' own within hours.
        self.now = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=60)
        self.number = 0
        self.burst = (None, 0)
        self.sent = []

    def record(self):
        """The next record: a payment, a repeat of one, or poison."""
        draw = self.random.random()
        if draw < 0.01:
            return self.poison()
        if draw < 0.03 and self.sent:
            return self.random.choice(self.sent)
        return self.payment()

    def card(self):
        name, left = self.burst
        if left > 0:
            self.burst = (name, left - 1)
            return name
        if self.random.random() < 0.03:
            return f"rare-{self.random.randrange(RARE_CARDS)}"
        card = f"card-{self.random.randrange(CARDS)}"
        if self.random.random() < 0.01:
            self.burst = (card, 12)
        return card

    def payment(self):
        if self.random.random() > 0.1:
            self.now += timedelta(milliseconds=self.random.choice([50, 100, 200, 300]))
        behind = self.random.choice([0] * 9 + [self.random.randrange(4000)])
        card = self.card()
        self.number += 1
        value = {
            "tx_id": f"tx-{self.number}",
            "event_time": iso(self.now - timedelta(milliseconds=behind)),
            "card_id": card,
            "merchant_id": f"merchant-{self.random.randrange(MERCHANTS)}",
            "amount": f"{self.random.randrange(1, 20000) / 100:.2f}",
        }
        record = (partition_of(card), card, json.dumps(value))
        self.sent = (self.sent + [record])[-50:]
        return record

    def poison(self):
        card = self.card()
        bad = self.random.choice([
            "{\"tx_id\": \"cut off",
            json.dumps({"tx_id": "p", "event_time": iso(self.now), "card_id": card, "merchant_id": "m"}),
            json.dumps({"tx_id": "p", "event_time": "yesterday", "card_id": card, "merchant_id": "m", "amount": "1"}),
            "[1, 2, 3]",
        ])
        return (partition_of(card), card, bad)

    def last(self):
        """One payment a partition, an hour on: everything before it has its turn."""
        self.now += timedelta(hours=1)
        self.sent = []
        records = []
        for partition in range(PARTITIONS):
            card = next(c for c in (f"last-{n}" for n in range(100)) if partition_of(c) == partition)
            self.number += 1
            value = {
                "tx_id": f"tx-{self.number}", "event_time": iso(self.now), "card_id": card,
                "merchant_id": f"last-{partition}", "amount": "1.00",
            }
            records.append((partition, card, json.dumps(value)))
        return records


def iso(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
