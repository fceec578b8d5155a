"""Runs the engines in turn over one file, checks that their alerts are equal, prints a table of what each cost.

    python compare.py --tollgate BINARY --data FOLDER [--engines duckdb,chdb] [--rules all|each|r1,r4]
                      [--format parquet] [--name NAME] [--runs 5] [--threads 1] [--bar 3]

CPU time and peak memory are those of the whole process, start-up included, as the kernel counts them. The
engines take turns, so that a busy machine is busy for all of them. Ends with 1 when alerts differ, or when
Tollgate's rows per CPU-second are fewer than BAR times those of the first engine.
"""

# Only the standard library: a child's peak memory is never reported below that of the process it was made by.
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = ("r1", "r2", "r3", "r4", "r5", "r6")
# Name -> what it is called in the table, its program, and the formats that it reads.
ENGINES = {
    "duckdb": ("DuckDB, batch", "duckdb_rules.py", ("parquet", "ndjson")),
    "chdb": ("chDB (ClickHouse), batch", "chdb_rules.py", ("parquet", "ndjson")),
    "polars": ("Polars, batch", "polars_rules.py", ("parquet", "ndjson")),
    "datafusion": ("DataFusion, batch", "datafusion_rules.py", ("parquet",)),
    "python": ("plain Python loop", "python_loop.py", ("ndjson",)),
    "flink": ("Flink, DataStream by hand", "flink_rules.py", ("ndjson",)),
    "flink-sql": ("Flink SQL", "flink_sql_rules.py", ("ndjson",)),
}

SLOW = {"flink", "flink-sql"}


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


def rules_folder(chosen, rules):
    """A folder with the contract and these rules only."""
    folder = chosen.data / ("rules-" + "-".join(rules))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("schema", *rules):
        shutil.copy(HERE / "velocity" / f"{name}.sql", folder)
    return folder


def tollgate(chosen, file, rules):
    output = chosen.data / "tollgate-hits.ndjson"
    command = [str(chosen.tollgate), "replay", "--rules", str(rules_folder(chosen, rules)), "--input", str(file)]
    command += ["--output", "-", "--threads", str(chosen.threads), "--format", "json"]
    run = measured(command, output)
    alerts = {rule: [0, 0] for rule in rules}
    with open(output, encoding="utf-8") as hits:
        for line in hits:
            hit = json.loads(line)
            tally = alerts[hit["rule"]]
            tally[0] += 1
            tally[1] += hit["row"]["tx_id"]
    rows = json.loads(run["errors"].strip().splitlines()[-1])["counts"]["rows_in"]
    return run | {"alerts": alerts, "rows": rows}


def peer(chosen, name, file, rules):
    output = chosen.data / f"{name}-alerts.json"
    program = HERE / "engines" / ENGINES[name][1]
    command = [sys.executable, str(program), str(file), ",".join(rules), "--threads", str(chosen.threads)]
    run = measured(command, output)
    return run | {"alerts": json.loads(output.read_text())}


def row(name, runs, rows, base_rate):
    cpu = statistics.median(run["cpu"] for run in runs)
    wall = statistics.median(run["wall"] for run in runs)
    memory = max(run["memory_mb"] for run in runs)
    spread = f"{min(run['cpu'] for run in runs):.2f} to {max(run['cpu'] for run in runs):.2f}"
    ratio = rows / cpu / base_rate
    return f"| {name} | {cpu:.2f} ({spread}) | {wall:.2f} | {memory:,.0f} | {rows / cpu:,.0f} | {ratio:.2f} |", ratio


def compare(chosen, rules):
    """One table of all engines; how many times the first engine's rows per CPU-second are Tollgate's."""
    file = chosen.data / f"{chosen.name}.{chosen.format}"
    runs = {name: [] for name in (*chosen.engines, "tollgate")}
    for number in range(1, chosen.runs + 1):
        for name in chosen.engines:
            runs[name].append(peer(chosen, name, file, rules))
        runs["tollgate"].append(tollgate(chosen, file, rules))
        spent = ", ".join(f"{name} {done[-1]['cpu']:.2f}" for name, done in runs.items())
        print(f"run {number}, CPU-s: {spent}; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows = runs["tollgate"][0]["rows"]
    expected = runs[chosen.engines[0]][0]["alerts"]
    wrong = False
    for name, done in runs.items():
        for rule in rules:
            others = [run["alerts"][rule] for run in done if run["alerts"][rule] != expected[rule]]
            if others:
                wrong = True
                print(f"{rule}: {name} has {others[0]}, {chosen.engines[0]} {expected[rule]}", file=sys.stderr)

    base_rate = rows / statistics.median(run["cpu"] for run in runs[chosen.engines[0]])
    print(f"\n{', '.join(rules)}: {rows:,} rows of {chosen.format}, {chosen.threads} thread(s), {chosen.runs} runs each, medians")
    print(f"\n| engine | CPU s (least to most) | wall s | peak MB | rows a CPU-second | to {chosen.engines[0]} |")
    print("|---|---|---|---|---|---|")
    for name in chosen.engines:
        print(row(ENGINES[name][0], runs[name], rows, base_rate)[0])
    line, ratio = row("Tollgate, row by row", runs["tollgate"], rows, base_rate)
    print(line)
    print("\n| rule | alerts | sum of tx_id |\n|---|---|---|")
    for rule, (count, total) in expected.items():
        print(f"| {rule} | {count:,} | {total} |")
    if wrong:
        sys.exit("alerts differ")
    print(f"\nalerts equal in all {sum(map(len, runs.values()))} runs")
    return ratio


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--tollgate", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--engines", type=lambda names: names.split(","), default=["duckdb"])
    arguments.add_argument("--rules", default="all", help="all in one run, each alone, or names with commas between")
    arguments.add_argument("--name", help="of the data: payments, or short, the default where one of the slow is among the engines")
    arguments.add_argument("--format", choices=("parquet", "ndjson"), default="parquet")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--bar", type=float, default=0.0)
    chosen = arguments.parse_args()
    chosen.name = chosen.name or ("short" if SLOW & set(chosen.engines) else "payments")

    for name in chosen.engines:
        if name not in ENGINES:
            arguments.error(f"there is no engine {name}: choose among {', '.join(ENGINES)}")
        if chosen.format not in ENGINES[name][2]:
            arguments.error(f"{name} reads {' and '.join(ENGINES[name][2])} here, not {chosen.format}")
    sets = {"all": [RULES], "each": [(rule,) for rule in RULES]}.get(chosen.rules)
    sets = sets or [tuple(chosen.rules.split(","))]
    if unknown := set().union(*sets) - set(RULES):
        arguments.error(f"there is no rule {', '.join(sorted(unknown))}: choose among {', '.join(RULES)}")
    ratios = [compare(chosen, rules) for rules in sets]
    if min(ratios) < chosen.bar:
        sys.exit(f"{min(ratios):.2f} times the rows per CPU-second of {chosen.engines[0]}, and the bar is {chosen.bar:g}")


if __name__ == "__main__":
    main()
