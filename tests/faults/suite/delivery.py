"""What exactly-once and what poison records cost: the same events, in turns, on one broker."""

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
        cluster.topics({"payments": PARTITIONS, "poisoned": PARTITIONS})
        feed(cluster, folder, arguments.events)
        feed(cluster, folder, arguments.events, "poisoned", poison_every=100)
        kinds = {"at_least_once": ("at_least_once", "payments"), "exactly_once": ("exactly_once", "payments"),
                 "1 % poison, exactly_once": ("exactly_once", "poisoned")}
        runs = {what: [] for what in kinds}
        for number in range(arguments.rounds):
            for what, kind in kinds.items():
                runs[what].append(one(cluster, folder, Path(arguments.binary).resolve(), kind, number))
                took, used = runs[what][-1]
                print(f"{what}: {arguments.events} events in {took:.2f} s ({arguments.events / took:,.0f}/s), "
                      f"{used:.2f} s of processor", flush=True)
        plain, exact, poison = runs
        for what, place in (("wall time", 0), ("processor time", 1)):
            of = {name: median(run[place] for run in seen) for name, seen in runs.items()}
            print(f"{what}: exactly_once takes {of[exact] / of[plain]:.2f} times what at_least_once takes; "
                  f"with 1 % poison {of[poison] / of[exact]:.2f} times what it takes without")
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def one(cluster, folder, binary, kind, number):
    """Wall and processor seconds from the first answered event to the last commit."""
    delivery, topic = kind
    name = f"{delivery}-{topic}-{number}"
    place = folder / name
    place.mkdir()
    cluster.topics({f"{name}.alerts": 1, f"{name}.shadow": 1, f"{name}.dead": 1})
    write_settings(place, name=name, topic=topic, brokers=cluster.brokers, rules=PEERS / "velocity",
                   delivery=delivery)
    ends = cluster.ends(topic)
    job = Job(binary, place).start()
    log = place / "job-a.log"
    while "windows are filled" not in log.read_text(errors="replace"):
        time.sleep(0.02)
    began, used = time.monotonic(), processor(job)
    while cluster.committed(name, topic) != ends:
        time.sleep(0.1)
    took = time.monotonic() - began, processor(job) - used
    job.stop()
    return took


def processor(job):
    fields = Path(f"/proc/{job.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
