"""Runs the engines in turn over one file, checks that their alerts are equal, prints a table of what each cost.

    python compare.py --tollgate BINARY --data FOLDER [--format parquet] [--runs 5] [--threads 1] [--bar 3]

CPU time and peak memory are those of the whole process, start-up included, as the kernel counts them. The
engines take turns, so that a busy machine is busy for all of them. Ends with 1 when alerts differ, or when
Tollgate's rows per CPU-second are fewer than BAR times DuckDB's.
"""

# Only the standard library: a child's peak memory is never reported below that of the process it was made by.
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = ("r1", "r2", "r3", "r4", "r5", "r6")


def measured(command, output):
    """Runs a command with its standard output in a file; what it cost."""
    started = time.monotonic()
    with open(output, "wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.PIPE)
        errors = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {process.returncode}:\n{errors}")
    return {
        "wall": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory_mb": usage.ru_maxrss / 1024,
        "errors": errors,
    }


def tollgate(chosen, file):
    output = chosen.data / "tollgate-hits.ndjson"
    command = [str(chosen.tollgate), "replay", "--rules", str(HERE / "velocity"), "--input", str(file)]
    command += ["--output", "-", "--threads", str(chosen.threads), "--format", "json"]
    run = measured(command, output)
    alerts = {rule: [0, 0] for rule in RULES}
    with open(output, encoding="utf-8") as hits:
        for line in hits:
            hit = json.loads(line)
            tally = alerts[hit["rule"]]
            tally[0] += 1
            tally[1] += hit["row"]["tx_id"]
    rows = json.loads(run["errors"].strip().splitlines()[-1])["counts"]["rows_in"]
    return run | {"alerts": alerts, "rows": rows}


def duckdb(chosen, file):
    output = chosen.data / "duckdb-alerts.json"
    command = [sys.executable, str(HERE / "duckdb_rules.py"), str(file), "--threads", str(chosen.threads)]
    run = measured(command, output)
    return run | {"alerts": json.loads(output.read_text())}


def row(name, runs, rows, base_rate):
    cpu = statistics.median(run["cpu"] for run in runs)
    wall = statistics.median(run["wall"] for run in runs)
    memory = max(run["memory_mb"] for run in runs)
    spread = f"{min(run['cpu'] for run in runs):.2f} to {max(run['cpu'] for run in runs):.2f}"
    ratio = rows / cpu / base_rate
    return f"| {name} | {cpu:.2f} ({spread}) | {wall:.2f} | {memory:,.0f} | {rows / cpu:,.0f} | {ratio:.2f} |", ratio


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--tollgate", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--name", default="payments")
    arguments.add_argument("--format", choices=("parquet", "ndjson"), default="parquet")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--bar", type=float, default=0.0)
    chosen = arguments.parse_args()

    file = chosen.data / f"{chosen.name}.{chosen.format}"
    ours, theirs = [], []
    for number in range(1, chosen.runs + 1):
        theirs.append(duckdb(chosen, file))
        ours.append(tollgate(chosen, file))
        print(
            f"run {number}: DuckDB {theirs[-1]['cpu']:.2f} CPU-s, Tollgate {ours[-1]['cpu']:.2f} CPU-s,"
            f" load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
        )
    rows = ours[0]["rows"]
    wrong = [(run["alerts"], theirs[0]["alerts"]) for run in ours + theirs if run["alerts"] != theirs[0]["alerts"]]
    for got, expected in wrong[:1]:
        for rule in RULES:
            verdict = "equal" if got[rule] == expected[rule] else "DIFFERENT"
            print(f"{rule}: {got[rule]} against DuckDB's {expected[rule]}: {verdict}", file=sys.stderr)

    base_rate = rows / statistics.median(run["cpu"] for run in theirs)
    print(f"{rows:,} rows of {chosen.format}, {chosen.threads} thread(s), {chosen.runs} runs each, medians")
    print()
    print("| engine | CPU s (least to most) | wall s | peak MB | rows a CPU-second | to DuckDB |")
    print("|---|---|---|---|---|---|")
    print(row("DuckDB", theirs, rows, base_rate)[0])
    line, ratio = row("Tollgate", ours, rows, base_rate)
    print(line)
    print()
    print("| rule | alerts | sum of tx_id |\n|---|---|---|")
    for rule, (count, total) in theirs[0]["alerts"].items():
        print(f"| {rule} | {count:,} | {total} |")
    if wrong:
        sys.exit("alerts differ")
    print(f"\nalerts equal in all {len(ours) + len(theirs)} runs")
    if ratio < chosen.bar:
        sys.exit(f"{ratio:.2f} times DuckDB's rows per CPU-second, and the bar is {chosen.bar:g}")


if __name__ == "__main__":
    main()
