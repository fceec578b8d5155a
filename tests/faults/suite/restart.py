"""How long a restart takes with many events in the windows."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from .cluster import Cluster
from .job import Job, write_settings

PEERS = Path(__file__).resolve().parents[3] / "benches" / "peers"
PARTITIONS = 4
LONGEST_WINDOW_MS = 24 * 3600 * 1000


def main():
    parser = argparse.ArgumentParser(prog="tests/faults/restart_time")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--binary", default="target/release/tollgate")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-restart-"))
    cluster = Cluster(folder / "kafka", port=20600).up()
    try:
        measure(cluster, folder, Path(arguments.binary).resolve(), arguments.events)
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def feed(cluster, folder, events, topic="payments", poison_every=None):
    """Sends the payments of benches/peers, one in so many cut off in the middle; the last of them."""
    data = folder / "data"
    if not data.exists():
        # So close that the longest window of the rules holds all of them.
        gap = max(1, min(50, LONGEST_WINDOW_MS * 2 // events - 2))
        subprocess.run([sys.executable, PEERS / "generate.py", str(data), "--rows", str(events), "--gap-max-ms", str(gap)],
                       check=True, stdout=subprocess.DEVNULL)
    producer, last = cluster.producer(), None
    with open(next(data.glob("*.ndjson")), encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            last = json.loads(line)
            poison = poison_every and number % poison_every == 0
            send(producer, last, line[:len(line) // 2] if poison else line, topic)
    producer.flush(120)
    return last


def measure(cluster, folder, binary, events):
    cluster.topics({"payments": PARTITIONS, "restart.alerts": 1, "restart.shadow": 1, "restart.dead": 1})
    write_settings(folder, name="restart", topic="payments", brokers=cluster.brokers, rules=PEERS / "velocity",
                   flush="2s")
    # The job answers while the events come, so that partitions are read side by side, as they are in service.
    job = Job(binary, folder).start()
    began = time.monotonic()
    last = feed(cluster, folder, events)
    answered(cluster)
    print(f"{events} events sent and answered in {time.monotonic() - began:.1f} s", flush=True)
    producer = cluster.producer()
    for number, history in enumerate([True, True, True, False]):
        time.sleep(4)
        job.kill()
        if not history:
            shutil.rmtree(folder / "history")
        watch = Consumer(cluster.client(group_id="watch", isolation_level="read_committed"))
        watch.assign([TopicPartition("restart.alerts", 0, cluster.ends("restart.alerts")[0])])
        watch.poll(0)
        began = time.time()
        job.start()
        # Events that surely alert: more than five payments of one card within a minute, and large ones.
        for index in range(8):
            row = {**last, "tx_id": 10**12 + number * 100 + index, "amount": 900.0, "card_id": "card-restart"}
            send(producer, row, json.dumps(row))
        producer.flush(30)
        alert = None
        while alert is None or alert.error():
            alert = watch.poll(1)
        arrived = time.time()
        watch.close()
        log = (folder / "job-a.log").read_text(errors="replace")
        filled = re.findall(r"from_history=(\d+) from_topics=(\d+) seconds=([\d.]+)", log)[-1]
        what = "history on disk" if history else "history deleted"
        print(f"{what}: first live alert after {arrived - began:.2f} s; windows filled from {filled[0]} rows of the history "
              f"and {filled[1]} records of the topic in {float(filled[2]):.2f} s", flush=True)
    job.stop()


def answered(cluster):
    ends = cluster.ends("payments")
    while cluster.committed("restart", "payments") != ends:
        time.sleep(0.5)


def send(producer, row, value, topic="payments"):
    partition = zlib.crc32(str(row["card_id"]).encode()) % PARTITIONS
    while True:
        try:
            producer.produce(topic, value, str(row["card_id"]), partition)
            return
        except BufferError:
            producer.poll(0.1)
