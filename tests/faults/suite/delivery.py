"""Exactly-once against at-least-once: the same events, in turns, on one broker."""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from .cluster import Cluster
from .job import Job, write_settings
from .restart import PARTITIONS, PEERS, feed

TICKS = os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(prog="tests/faults/delivery_cost")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", default="target/release/tollgate")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-delivery-"))
    cluster = Cluster(folder / "kafka", port=20800).up()
    try:
        cluster.topics({"payments": PARTITIONS})
        feed(cluster, folder, arguments.events)
        rates = {"at_least_once": [], "exactly_once": []}
        for number in range(arguments.rounds):
            for delivery, seen in rates.items():
                seen.append(one(cluster, folder, Path(arguments.binary).resolve(), delivery, number, arguments.events))
        for what, place in (("wall time", 0), ("processor time", 1)):
            plain, exact = (median(run[place] for run in rates[name]) for name in rates)
            print(f"{what}: exactly_once takes {exact / plain:.2f} times what at_least_once takes")
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def one(cluster, folder, binary, delivery, number, events):
    """Wall and processor seconds from the first answered event to the last commit."""
    name = f"{delivery}-{number}"
    place = folder / name
    place.mkdir()
    cluster.topics({f"{name}.alerts": 1, f"{name}.shadow": 1, f"{name}.dead": 1})
    write_settings(place, name=name, topic="payments", brokers=cluster.brokers, rules=PEERS / "velocity",
                   delivery=delivery)
    ends = cluster.ends("payments")
    job = Job(binary, place).start()
    log = place / "job-a.log"
    while "windows are filled" not in log.read_text(errors="replace"):
        time.sleep(0.02)
    began, used = time.monotonic(), processor(job)
    while cluster.committed(name, "payments") != ends:
        time.sleep(0.1)
    took = time.monotonic() - began, processor(job) - used
    job.stop()
    print(f"{delivery}: {events} events in {took[0]:.2f} s ({events / took[0]:,.0f}/s), {took[1]:.2f} s of processor",
          flush=True)
    return took


def processor(job):
    fields = Path(f"/proc/{job.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
