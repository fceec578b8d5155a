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

from .cluster import Cluster
from .job import Job, write_settings

PEERS = Path(__file__).resolve().parents[3] / "benches" / "peers"
PARTITIONS = 4


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


def feed(cluster, folder, events):
    """Sends the payments of benches/peers; the last of them."""
    data = folder / "data"
    subprocess.run([sys.executable, PEERS / "generate.py", str(data), "--rows", str(events)], check=True,
                   stdout=subprocess.DEVNULL)
    producer, last = cluster.producer(), None
    with open(next(data.glob("*.ndjson")), encoding="utf-8") as lines:
        for line in lines:
            last = json.loads(line)
            send(producer, last, line)
    producer.flush(120)
    return last


def measure(cluster, folder, binary, events):
    cluster.topics({"payments": PARTITIONS, "restart.alerts": 1, "restart.shadow": 1, "restart.dead": 1})
    write_settings(folder, name="restart", topic="payments", brokers=cluster.brokers, rules=PEERS / "velocity",
                   flush="2s")
    last = feed(cluster, folder, events)
    producer = cluster.producer()
    job = Job(binary, folder).start()
    began = time.monotonic()
    ends = cluster.ends("payments")
    while cluster.committed("restart", "payments") != ends:
        time.sleep(0.5)
    print(f"{events} events answered in {time.monotonic() - began:.1f} s", flush=True)
    time.sleep(4)
    for number, history in enumerate([True, True, True, False]):
        job.kill()
        if not history:
            shutil.rmtree(folder / "history")
        alerts = len(cluster.read("restart.alerts"))
        began = time.monotonic()
        job.start()
        # An event that surely alerts: six payments of one card within a minute, the last of them large.
        for index in range(8):
            row = {**last, "tx_id": 10**12 + number * 100 + index, "amount": 900.0, "card_id": "card-restart"}
            send(producer, row, json.dumps(row))
        producer.flush(30)
        while len(cluster.read("restart.alerts")) == alerts:
            time.sleep(0.05)
        took = time.monotonic() - began
        log = (folder / "job-a.log").read_text(errors="replace")
        filled = re.findall(r"from_history=(\d+) from_topics=(\d+) seconds=([\d.]+)", log)[-1]
        what = "history on disk" if history else "history deleted"
        print(f"{what}: first live alert after {took:.2f} s; windows filled from {filled[0]} rows of the history and "
              f"{filled[1]} records of the topic in {float(filled[2]):.2f} s", flush=True)
        time.sleep(4)
    job.stop()


def send(producer, row, value):
    partition = zlib.crc32(str(row["card_id"]).encode()) % PARTITIONS
    while True:
        try:
            producer.produce("payments", value, str(row["card_id"]), partition)
            return
        except BufferError:
            producer.poll(0.1)
