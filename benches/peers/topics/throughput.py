"""How fast a backlog is worked off: rows that are in a topic already, in one partition, so that there is one order."""

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from scene import SIX, Target

ENGINES = Path(__file__).resolve().parents[1] / "engines"
CARD = re.compile(rb'"card_id":"([^"]*)"')
ALERT = re.compile(rb'"rule":\{"id":"(\w+)".*"tx_id":(\d+)')
FEW = 2000  # rows of the run that tells what a start costs
INTERVAL_MS = {"at_least_once": {"tollgate": 50, "flink": 1000, "streams": 100}}
# A backlog can wait for its commits, so all end their transactions as often; latency has shorter ones.
EXACTLY_ONCE_MS = 100
SEEN_ONE_IN = 100  # of the bare consumer, see src/cli/bench/bare.rs
ECHO_ONE_IN = 19  # about as many as there are alerts
WAIT_SECONDS = 300


def head(work, rows):
    """The first payments as a file, and their alerts by a loop in plain Python."""
    file, known = work / f"head-{rows}.ndjson", work / f"head-{rows}.json"
    if not file.exists():
        with open(work / "payments.ndjson", "rb") as whole, open(file, "wb") as part:
            part.writelines(itertools.islice(whole, rows))
    if not known.exists():
        command = [sys.executable, ENGINES / "python_loop.py", file, SIX]
        loop = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        known.write_bytes(loop.stdout)
    return file, json.loads(known.read_text())


def fill(scene, file, topic):
    producer = scene.producer(linger_ms=20)
    with open(file, "rb") as lines:
        for line in lines:
            card = CARD.search(line)[1]
            while True:
                try:
                    producer.produce(topic, line[:-1], card, 0)
                    break
                except BufferError:
                    producer.poll(0.05)
    producer.flush(120)
    if len(producer):
        raise SystemExit(f"{topic} was not filled within 120 s")


def drain(scene, kind, delivery, topic, expected):
    """A job from its start to its last alert."""
    interval = INTERVAL_MS.get(delivery, {}).get(kind, EXACTLY_ONCE_MS)
    out = scene.topic(f"drain-{kind}")
    listener = scene.listen(out)
    alerts = {rule: [0, 0] for rule in SIX.split(",")}
    left, began = sum(count for count, _ in expected.values()), time.monotonic()
    with Target(scene, kind, delivery, topic, out, interval) as target:
        while left:
            messages = listener.consume(1000, 0.02)
            for message in messages:
                if not message.error():
                    take(alerts, message.value())
                    left -= 1
            cpu, wall = target.cpu(), time.monotonic() - began
            if not messages:
                target.check(began + WAIT_SECONDS)
        # What comes after the last one that was expected would be one too many.
        for message in listener.consume(1000, 1):
            take(alerts, message.value())
        memory = target.memory_mb()
    listener.close()
    scene.forget(out)
    if alerts != expected:
        raise SystemExit(f"{kind}, {delivery}: alerts are {alerts}, not {expected}")
    return cpu, wall, memory


def take(alerts, value):
    rule, id = ALERT.search(value).groups()
    tally = alerts[rule.decode()]
    tally[0] += 1
    tally[1] += int(id)


def job(scene, kind, delivery, filled, rows):
    """A job's cost with its start subtracted: the same over few rows."""
    (few, few_alerts), (many, many_alerts) = filled
    start_cpu, _, _ = drain(scene, kind, delivery, few, few_alerts)
    cpu, wall, memory = drain(scene, kind, delivery, many, many_alerts)
    return {"cpu": cpu - start_cpu, "wall": wall, "memory_mb": memory, "start_cpu": start_cpu, "rows": rows - FEW}


def bare(scene, kind, delivery, file, rows):
    """What only polls, or only passes on, begins at the end of a topic: so the topic is filled under it."""
    topic, out = scene.topic("bare-in"), scene.topic(f"bare-{kind}")
    left = rows // (SEEN_ONE_IN if kind == "consumer" else ECHO_ONE_IN)
    with Target(scene, kind, delivery, topic, out, EXACTLY_ONCE_MS, every=ECHO_ONE_IN) as target:
        time.sleep(3)
        start_cpu, began = target.cpu(), time.monotonic()
        fill(scene, file, topic)
        listener = scene.listen(out)
        while left > 0:
            messages = listener.consume(1000, 0.02)
            left -= sum(not message.error() for message in messages)
            if not messages:
                target.check(began + WAIT_SECONDS)
        cost = {"cpu": target.cpu() - start_cpu, "wall": None, "memory_mb": target.memory_mb(), "start_cpu": start_cpu,
                "rows": rows}
    listener.close()
    scene.forget(topic, out)
    return cost


def measure(scene, chosen, delivery, tell):
    """One round: every target once."""
    file, alerts = head(chosen.work, chosen.rows)
    few_file, few_alerts = head(chosen.work, FEW)
    topics = scene.topic("few"), scene.topic("many")
    for part, topic in zip((few_file, file), topics):
        fill(scene, part, topic)
    filled = tuple(zip(topics, (few_alerts, alerts)))
    for kind in chosen.targets:
        if kind == "consumer" and delivery == "exactly_once":
            continue  # it has no deliveries
        if kind in ("consumer", "echo"):
            cost = bare(scene, kind, delivery, file, chosen.rows)
        else:
            cost = job(scene, kind, delivery, filled, chosen.rows)
        tell({"part": "throughput", "delivery": delivery, "target": kind} | cost)
    scene.forget(*topics)
