"""How long an event takes to its alert, at a steady rate.

The load is open: every event has its moment, and its time runs from that moment, so a stall is charged to every event
that it delays. One process sends and another listens; the clock is one for both.
"""

import gc
import itertools
import multiprocessing
import re
import time
from array import array

from scene import Target
from throughput import CARD

ALERT = re.compile(rb'"rule":\{"id":"(\w+)"')
EVENT = re.compile(rb'"tx_id":(\d+)')
AMOUNT = re.compile(rb'"amount":([\d.]+)')
PARTITIONS = 4
# Commits, and for Flink checkpoints, which write all of its state: short ones cost it more than they cost the others.
INTERVAL_MS = {
    "at_least_once": {"tollgate": 50, "flink": 1000, "streams": 100, "echo": 50},
    "exactly_once": {"tollgate": 10, "flink": 100, "streams": 20, "echo": 10},
}
ECHO_ONE_IN = 4  # about as many as there are alerts, for the probe hits a quarter of the events
WARM_UP_RATE = 4000
SETTLE_SECONDS = 5
START_ROWS, START_SECONDS = 100, 0.5
QUIET_SECONDS = 1.5
WAIT_SECONDS = 60
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def listen(scene_listen, topic, heard, ended, pipe):
    """Keeps event, whether the probe said it, and arrival, of all that comes."""
    gc.disable()
    consumer = scene_listen(topic)
    events, probes, arrivals = array("q"), array("b"), array("q")
    while True:
        message = consumer.poll(0.5)
        now = time.monotonic_ns()
        if message is None:
            if ended.is_set():
                break
            continue
        if message.error():
            continue
        rule = ALERT.search(message.value())
        events.append(int(EVENT.search(message.value())[1]))
        probes.append(rule is not None and rule[1] == b"probe")
        arrivals.append(now)
        heard.value += 1
    pipe.send((events, probes, arrivals))
    consumer.close()


class Load:
    """Rows of the workload in turn; when each was due."""

    def __init__(self, scene, topic, rows):
        self.topic, self.rows, self.due, self.late = topic, rows, array("q"), array("q")
        self.producer = scene.producer(linger_ms=0)

    def send(self, due):
        line = self.rows[len(self.due)]
        self.due.append(due)
        self.late.append(time.monotonic_ns() - due)
        self.producer.produce(self.topic, line, CARD.search(line)[1])
        self.producer.poll(0)

    def steady(self, rate, seconds):
        """Sends at a rate; numbers of the first row and of the one past the last."""
        first, origin = len(self.due), time.monotonic_ns() + 5_000_000
        for number in range(int(rate * seconds)):
            due = origin + number * 1_000_000_000 // rate
            while (left := due - time.monotonic_ns()) > 0:
                time.sleep(left / 1e9)
            self.send(due)
        return first, len(self.due)


def settle(heard):
    """Waits until nothing more comes of what was sent."""
    deadline, before = time.monotonic() + WAIT_SECONDS, -1
    while heard.value != before and time.monotonic() < deadline:
        before = heard.value
        time.sleep(QUIET_SECONDS)


def rows_of(work, count):
    with open(work / "payments.ndjson", "rb") as lines:
        return [line[:-1] for line in itertools.islice(lines, count)]


def turn(scene, kind, delivery, chosen):
    source, out = scene.topic("latency-in", PARTITIONS), scene.topic(f"latency-{kind}")
    most = WARM_UP_RATE * chosen.warm_up + chosen.rate * (SETTLE_SECONDS + chosen.seconds)
    load = Load(scene, source, rows_of(chosen.work, int(most + START_ROWS * WAIT_SECONDS / START_SECONDS)))
    heard, ended = multiprocessing.Value("q", 0), multiprocessing.Event()
    mine, its = multiprocessing.Pipe()
    listener = multiprocessing.Process(target=listen, args=(scene.listen, out, heard, ended, its), daemon=True)
    listener.start()
    # So that its end is noticed here.
    its.close()
    interval = INTERVAL_MS[delivery][kind]
    with Target(scene, kind, delivery, source, out, interval, PARTITIONS, probe=True, every=ECHO_ONE_IN) as target:
        deadline = time.monotonic() + WAIT_SECONDS
        while not heard.value:
            for _ in range(START_ROWS):
                load.send(time.monotonic_ns())
            time.sleep(START_SECONDS)
            target.check(deadline)
        gc.disable()
        load.steady(WARM_UP_RATE, chosen.warm_up)
        settle(heard)
        load.steady(chosen.rate, SETTLE_SECONDS)
        before = target.cpu()
        measured = load.steady(chosen.rate, chosen.seconds)
        cpu = target.cpu() - before
        gc.enable()
        load.producer.flush(30)
        settle(heard)
        memory = target.memory_mb()
        ended.set()
        heard_of = mine.recv()
    listener.join()
    scene.forget(source, out)
    micros = cpu * 1e6 / (measured[1] - measured[0])
    return told(kind, load, measured, heard_of) | {"cpu_micros": micros, "memory_mb": memory}


def told(kind, load, measured, heard_of):
    """Percentiles of the events that were measured. An alert that never came would flatter, so none may be missing."""
    times, probed = [], set()
    for event, probe, arrival in zip(*heard_of):
        if measured[0] <= event < measured[1]:
            times.append((arrival - load.due[event]) / 1e6)
            if probe:
                probed.add(event)
    if kind != "echo":
        large = {event for event in range(*measured) if float(AMOUNT.search(load.rows[event])[1]) > 60}
        if large != probed:
            raise SystemExit(f"{kind}: the probe said {len(probed):,} of {len(large):,} payments above 60")
    # What the load itself was late; it is in the times.
    late = sorted(load.late[measured[0]:measured[1]])
    times.sort()
    return {"alerts": len(times), "load_late_p99": late[int(len(late) * 0.99)] / 1e6} | {
        name: times[int(len(times) * part)] for name, part in PERCENTILES.items()}


def measure(scene, chosen, delivery, tell):
    """One round: every target once."""
    if not scene.warm:
        # The broker compiles its own hot paths first.
        turn(scene, "echo", delivery, chosen)
        scene.warm = True
    for kind in chosen.targets:
        if kind != "consumer":
            tell({"part": "latency", "delivery": delivery, "target": kind, "rate": chosen.rate}
                 | turn(scene, kind, delivery, chosen))
