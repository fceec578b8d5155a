"""Tollgate beside other engines, from Kafka to Kafka; see benches/peers/kafka."""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import latency
import throughput
from scene import Scene

NAMES = {"tollgate": "Tollgate", "flink": "Flink, DataStream", "streams": "Kafka Streams", "echo": "bare echo",
         "consumer": "bare consumer"}
PARTS = {"throughput": throughput.measure, "latency": latency.measure}
DELIVERIES = {"at_least_once": "at least once", "exactly_once": "exactly once"}


def options():
    names = lambda known: lambda text: [one_of(known, name) for name in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(prog="benches/peers/kafka", description=__doc__)
    parser.add_argument("--tollgate", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", type=names(PARTS), default=list(PARTS))
    parser.add_argument("--targets", type=names(NAMES), default=list(NAMES))
    parser.add_argument("--deliveries", type=names(DELIVERIES), default=list(DELIVERIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=15)
    parser.add_argument("--add", type=Path)
    return parser.parse_args()


def one_of(known, name):
    if name not in known:
        raise argparse.ArgumentTypeError(f"there is no {name}: choose among {', '.join(known)}")
    return name


def versions(chosen):
    jars = lambda name: next((chosen.work / "jvm").glob(f"*/jars/{name}-[0-9]*.jar"))  # noqa: E731
    of = lambda name: re.search(r"-(\d.*)\.jar", jars(name).name)[1]  # noqa: E731
    tollgate = subprocess.run([chosen.tollgate, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    flink = f"Flink {of('flink-clients')} with connector {of('flink-connector-kafka')}"
    return f"{tollgate.stdout.strip()}, {flink}, Kafka Streams {of('kafka-streams')}"


def grouped(runs, part):
    """Runs of one part by delivery and target, in the order of the table."""
    for delivery in DELIVERIES:
        for target in NAMES:
            found = [run for run in runs if (run["part"], run["delivery"], run["target"]) == (part, delivery, target)]
            if found:
                yield delivery, target, found, lambda name, found=found: statistics.median(run[name] for run in found)


def table(*lines):
    head, *rows = lines
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def throughput_table(runs):
    lines, ours = [("delivery", "", "rows a CPU-second (least to most)", "Tollgate's are", "wall s, start included",
                    "peak MB", "CPU s of the start", "load", "runs")], {}
    for delivery, target, found, middle in grouped(runs, "throughput"):
        rates = sorted(run["rows"] / run["cpu"] for run in found)
        rate = statistics.median(rates)
        ours.setdefault(delivery, rate if target == "tollgate" else None)
        times = f"{ours[delivery] / rate:.2f} times" if ours[delivery] else ""
        wall = "" if found[0]["wall"] is None else f"{middle('wall'):.1f}"
        spread = f"{rate:,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"
        lines.append((DELIVERIES[delivery], NAMES[target], spread, times, wall, f"{middle('memory_mb'):,.0f}",
                      f"{middle('start_cpu'):.1f}", f"{middle('load'):.0f}", str(len(found))))
    if len(lines) > 1:
        table(*lines)


def latency_table(runs):
    lines = [("delivery", "", "p50 ms", "p99 ms", "p99.9 ms", "alerts", "CPU µs an event", "peak MB", "load", "runs")]
    for delivery, target, found, middle in grouped(runs, "latency"):
        times = (f"{middle(name):.2f}" for name in latency.PERCENTILES)
        alerts = sum(run["alerts"] for run in found)
        lines.append((DELIVERIES[delivery], NAMES[target], *times, f"{alerts:,}", f"{middle('cpu_micros'):.0f}",
                      f"{middle('memory_mb'):,.0f}", f"{middle('load'):.0f}", str(len(found))))
    if len(lines) > 1:
        table(*lines)


def main():
    chosen = options()
    # Or the broker would be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    print(versions(chosen))
    runs = json.loads(chosen.add.read_text()) if chosen.add and chosen.add.exists() else []

    def tell(run):
        # Of the last minute: what else ran is part of a figure.
        run["load"] = os.getloadavg()[0]
        print(json.dumps({name: round(value, 2) if isinstance(value, float) else value for name, value in run.items()}),
              file=sys.stderr)
        runs.append(run)
        if chosen.add:
            chosen.add.write_text(json.dumps(runs, indent=1))

    with Scene(chosen.tollgate, chosen.work) as scene:
        for _ in range(chosen.rounds):
            for part in chosen.parts:
                for delivery in chosen.deliveries:
                    PARTS[part](scene, chosen, delivery, tell)
    throughput_table(runs)
    latency_table(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
