"""Rules that change while a job runs; see benches/reload."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from suite.cluster import Cluster

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("TOLLGATE_BIN", str(ROOT / "target/release/tollgate"))
PARTITIONS = 4
CARD = re.compile(rb'"card_id":\s*"([^"]*)"')
WINDOWS = ["1 minute", "5 minutes", "10 minutes", "30 minutes", "1 hour"]
RULE = """-- @id: {id}
-- @title: {id}
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{{n}} payments, {{spent}} in all"
-- @owner: bench
SELECT tx_id, card_id, count(*) OVER w AS n, sum(amount) OVER w AS spent
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '{window}' PRECEDING AND CURRENT ROW)
QUALIFY n >= {least} AND spent > {spent}
"""
SETTINGS = """
[job]
name = "reload"
rules = "rules"
[kafka]
brokers = ["{brokers}"]
[streams.payments]
topics = ["payments"]
topic_key = "card_id"
start = "earliest"
[output]
alerts = "alerts"
dead_letters = "dead"
audit = "audit"
[history]
url = "history"
[http]
listen = "off"
"""


def rule(number, more=0):
    return RULE.format(id=f"r{number:03}", window=WINDOWS[number % 5], least=3 + number % 7 + more, spent=500 + 40 * number)


class Scene:
    """A broker with its topics, a folder with rules, and a job."""

    def __init__(self, name, rules):
        self.folder = Path(tempfile.mkdtemp(prefix=f"tollgate-reload-{name}-"))
        self.cluster = Cluster(self.folder / "kafka", port=18800).up()
        self.cluster.topics({"payments": PARTITIONS, "alerts": 1, "dead": 1, "audit": 1})
        self.rules = self.folder / "rules"
        self.rules.mkdir()
        contract = (ROOT / "rules/schema.sql").read_text()
        payments = contract[contract.index("CREATE TABLE payments"):]
        (self.rules / "schema.sql").write_text(payments[:payments.index(");") + 2])
        for name_of, text in rules.items():
            (self.rules / f"{name_of}.sql").write_text(text)
        (self.folder / "tollgate.toml").write_text(SETTINGS.format(brokers=self.cluster.brokers))
        self.process = None

    def start(self):
        log = open(self.folder / "job.log", "ab")
        self.process = subprocess.Popen([BINARY, "run", "--config", "tollgate.toml"], cwd=self.folder, stdout=log, stderr=log)

    def generate(self, events, *more):
        subprocess.run([BINARY, "generate", "--output", "payments.ndjson", "--stream", "payments", "--events", str(events),
                        "--steady", "--no-past", *more], cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def feed(self, lines, rate=None, at=None):
        """Sends lines, keyed by card; `at` is a number of lines and what to do then."""
        producer = Producer({"bootstrap.servers": self.cluster.brokers, "linger.ms": 5, "enable.idempotence": True,
                             "queue.buffering.max.messages": 500_000})
        began, sent = time.monotonic(), 0
        for line in lines:
            while True:
                try:
                    producer.produce("payments", line, CARD.search(line).group(1))
                    break
                except BufferError:
                    producer.poll(0.05)
            sent += 1
            if at and sent == at[0]:
                at[1]()
            if sent % 200 == 0:
                producer.poll(0)
                if rate:
                    time.sleep(max(0, began + sent / rate - time.monotonic()))
        producer.flush()
        return sent, sent / (time.monotonic() - began)

    def drained(self, seconds=600):
        """Waits until every record of the topic is answered."""
        ends, until = self.cluster.ends("payments"), time.monotonic() + seconds
        while any(self.cluster.committed("reload", "payments")[p] < end for p, end in ends.items()):
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(f"the job did not reach the end of its input: see {self.folder}/job.log")
            time.sleep(0.2)
        return sum(ends.values())

    def reload(self, name, text):
        (self.rules / f"{name}.sql").write_text(text)
        self.process.send_signal(signal.SIGHUP)

    def reloaded(self, seconds=600):
        """What the audit says of the reload."""
        consumer = Consumer(self.cluster.client(group_id="audit", isolation_level="read_committed"))
        consumer.assign([TopicPartition("audit", 0, 0)])
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            message = consumer.poll(0.5)
            value = json.loads(message.value()) if message is not None and not message.error() else {}
            if value.get("what") in ("reloaded", "reload_refused"):
                consumer.close()
                return value
        sys.exit(f"nothing was reloaded: see {self.folder}/job.log")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            sys.exit(f"the job ended with {code}: see {self.folder}/job.log")

    def alerts(self):
        """Of each alert: its rule, event, what it said, and the coordinates of its record."""
        for _, _, value, _ in self.cluster.read("alerts"):
            alert = json.loads(value)
            source = alert["source"]
            yield (alert["rule"]["id"], alert["event_id"], alert["reason"]), (source["partition"], source["offset"])

    def replayed(self):
        """What the rules of the folder say of the same events in one run."""
        subprocess.run([BINARY, "replay", "--rules", "rules", "--input", "payments=payments.ndjson", "--output",
                        "hits.ndjson"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.folder / "hits.ndjson", "rb") as hits:
            for line in hits:
                hit = json.loads(line)
                row = hit["row"]
                yield hit["rule"], row["tx_id"], f"{row['n']} payments, {row['spent']} in all"

    def over(self):
        self.cluster.down()
        shutil.rmtree(self.folder, ignore_errors=True)


def differences(found, expected):
    """How many there are of one and not of the other, and how many are there twice."""
    once = set(found)
    return len(set(expected) - once), len(once - set(expected)), len(found) - len(once)


def change_of_a_rule(options):
    changed = options.rules // 2 + 7
    scene = Scene("rule", {f"r{number:03}": rule(number) for number in range(options.rules)})
    total = options.rate * options.seconds
    # Event time runs a hundred times as fast as the clock, or windows would be short of events of a card.
    scene.generate(total, "--rate", str(options.rate / 100))
    before = list(scene.replayed())
    scene.start()
    time.sleep(5)
    with open(scene.folder / "payments.ndjson", "rb") as lines:
        new = rule(changed, more=1)
        sent, rate = scene.feed(lines, options.rate, (total // 2, lambda: scene.reload(f"r{changed:03}", new)))
    records = scene.drained()
    audit = scene.reloaded()
    scene.stop()
    alerts = list(scene.alerts())
    after = [hit for hit in scene.replayed() if hit[0] == f"r{changed:03}"]
    others = [hit for hit in before if hit[0] != f"r{changed:03}"]
    lost, added, twice = differences([alert for alert, _ in alerts if alert[0] != f"r{changed:03}"], others)
    # The changed rule says what its old text says below the offsets of the swap, and what its new one says from there.
    place = dict(events_of(scene))
    swap = {int(name[len("payments["):-1]): offset for name, offset in audit["offsets"].items()}
    new_from = lambda event: place[event][1] >= swap[place[event][0]]
    own = [hit for hit in before if hit[0] == f"r{changed:03}" and not new_from(hit[1])]
    own += [hit for hit in after if new_from(hit[1])]
    own_lost, own_added, own_twice = differences([alert for alert, _ in alerts if alert[0] == f"r{changed:03}"], own)
    print(f"one rule of {options.rules} changed at {rate:,.0f} events/s: {sent:,} sent, {records:,} answered, "
          f"{len(alerts):,} alerts; pause {audit['pause_ms']} ms, windows filled: {audit['windows_filled']}")
    print(f"  other rules: {lost} missing, {added} extra, {twice} doubled; the rule itself: {own_lost} missing, "
          f"{own_added} extra, {own_twice} doubled, {len(own):,} alerts")
    scene.over()
    return sent == records and not any([lost, added, twice, own_lost, own_added, own_twice])


def events_of(scene):
    """Where each event's record stands."""
    for partition, offset, value, _ in scene.cluster.read("payments"):
        yield json.loads(value)["tx_id"], (partition, offset)


def window_of_a_day(options):
    scene = Scene("window", {f"r{number:03}": rule(number) for number in range(6)})
    # All of them within 20 hours, and as many again behind them as the new rule is watched for.
    later = 20_000
    scene.generate(options.history + later, "--rate", str(round(options.history / 72_000, 2)))
    scene.start()
    began = time.monotonic()
    with open(scene.folder / "payments.ndjson", "rb") as lines:
        first = (next(lines) for _ in range(options.history))
        sent, _ = scene.feed(first)
        records = scene.drained()
        took = time.monotonic() - began
        time.sleep(5)
        new = RULE.format(id="day", window="24 hours", least=12, spent=0)
        asked = time.monotonic()
        scene.reload("day", new)
        audit = scene.reloaded()
        filled = time.monotonic() - asked
        scene.feed(lines, 1000)
    scene.drained()
    scene.stop()
    alerts = [alert for alert, _ in scene.alerts() if alert[0] == "day"]
    watched = set()
    with open(scene.folder / "payments.ndjson", "rb") as lines:
        for number, line in enumerate(lines):
            if number >= options.history:
                watched.add(json.loads(line)["tx_id"])
    expected = [hit for hit in scene.replayed() if hit[0] == "day" and hit[1] in watched]
    lost, added, twice = differences(alerts, expected)
    print(f"a window of 24 hours over {records:,} events of history ({took:.0f} s to take them in): ready after {filled:.1f} s, "
          f"pause {audit['pause_ms']} ms; of the next {later:,} events {len(expected):,} alert: {lost} missing, {added} extra, "
          f"{twice} doubled")
    scene.over()
    return sent == records and not any([lost, added, twice]) and bool(expected)


def main():
    parser = argparse.ArgumentParser(prog="benches/reload", description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--history", type=int, default=10_000_000)
    parser.add_argument("--skip", action="append", default=[], choices=["rule", "window"])
    options = parser.parse_args()
    sound = True
    if "rule" not in options.skip:
        sound &= change_of_a_rule(options)
    if "window" not in options.skip:
        sound &= window_of_a_day(options)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
