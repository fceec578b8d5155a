"""Checks of the built binary on the data of TOLLGATE_SHARED; see run.sh."""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ["TOLLGATE_SHARED"]).resolve() / "data"
BINARY = os.environ["TOLLGATE_BIN"]
MODES = ("on_arrival", "in_order")

FILES = {
    "week 1": "handbook-transactions-week1.parquet",
    "first 30 days": "handbook-transactions-first30d.parquet",
    "all rows": "handbook-transactions.parquet",
}

# SHA-256 of the features of each row, by two independent calculations that agree: see the data's README.
CHECKSUMS = {
    ("week 1", "on_arrival"): "1043f8fa07652d420b0506ddcf2e9a7540afdc4c8138f428e1adf15d97912e40",
    ("week 1", "in_order"): "1043f8fa07652d420b0506ddcf2e9a7540afdc4c8138f428e1adf15d97912e40",
    ("first 30 days", "on_arrival"): "ca1473c5eff90eec19b7a1dfe79d1c9548ddfb778a86e673f69c17291c52bb00",
    ("first 30 days", "in_order"): "efdac98ddb5c9e775d007b3269f9bb9a7fd8b3eb29fa105ca773b6e26fefa750",
    ("all rows", "on_arrival"): "5056df869fee6138daff34149498a81831f1881ff5a02bfecdf03f8ceb342502",
    ("all rows", "in_order"): "68c9a2056c820a69666bfc1505843bce37533b8b82b601fb16c5b1d82654e8f3",
}


class Failed(Exception):
    """A check that did not hold."""


def replay(rules, span, mode, *options):
    """The rows of a replay, one after the other, as (rule, columns)."""
    command = [BINARY, "replay", "--rules", str(HERE / rules), "--input", str(DATA / FILES[span])]
    command += ["--output", "-", "--emit", mode, "--format", "json", *map(str, options)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        try:
            for line in process.stdout:
                hit = json.loads(line)
                yield hit["rule"], hit["row"]
        finally:
            process.stdout.close()
            code = process.wait()
        errors.seek(0)
        said = errors.read().strip()
    if code != 0:
        raise Failed(f"`{' '.join(command)}` ended with {code}: {said[-500:]}")
    summary = json.loads(said.splitlines()[-1])
    counts = summary["counts"]
    unanswered = counts["rows_in"] - counts["answered"]
    if unanswered or counts["rule_errors"] or not summary["balanced"]:
        raise Failed(f"rows not answered, or rules that failed: {counts}")


def checksum(span, mode, *options):
    """The SHA-256 of the features, one line a row in the order of `tx_id`."""
    lines = []
    in_order = True
    for _, row in replay("handbook", span, mode, *options):
        in_order = in_order and (not lines or lines[-1][0] < row["tx_id"])
        lines.append((row["tx_id"], ",".join(map(str, row.values())) + "\n"))
    if not in_order:
        lines.sort()
    digest = hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
    wanted = CHECKSUMS[span, mode]
    if digest != wanted:
        raise Failed(f"{len(lines):,} rows give {digest}, and not {wanted}")
    return f"{len(lines):,} rows give the known checksum"


def feature_checks(full):
    """(name, check) for each run that must give a known checksum."""
    spans = ("all rows",) if full else ("first 30 days",)
    for span in spans:
        for mode in MODES:
            yield f"features, {span}, {mode}", lambda span=span, mode=mode: checksum(span, mode)
    # The longest first, so that nothing is waited for at the end.
    for batch_rows in (1, 1000, 65536):
        for threads in (1, 2):
            for mode in MODES:
                options = ("--batch-rows", batch_rows, "--threads", threads)
                yield (
                    f"features, week 1, {mode}, batches of {batch_rows}, {threads} thread(s)",
                    lambda mode=mode, options=options: checksum("week 1", mode, *options),
                )


def oracle_checks(full):
    """(name, check) for each comparison with DuckDB; the oracle's rows are worked out once."""
    import oracle

    span = "all rows" if full else "first 30 days"
    slow = "all rows" if full else "week 1"
    yield f"nine rules, {span}, against DuckDB", lambda: oracle.compare_rules(
        DATA, FILES[span], replay("handbook-rules", span, "in_order"), Failed
    )
    yield f"window values with MEDIAN, {slow}, against DuckDB", lambda: oracle.compare_values(
        DATA, FILES[slow], replay("handbook-values", slow, "in_order"), Failed
    )


def backtest_checks(full):
    """(name, check) for the figures of a backtest, computed again by other libraries."""
    import backtest
    import variants

    rules = HERE / "handbook-rules"
    if full:
        days, known_from, file = ("2018-08-08", "2018-08-15"), "2018-07-25", FILES["all rows"]
    else:
        days, known_from, file = ("2018-04-22", "2018-04-29"), "2018-04-08", FILES["first 30 days"]
    yield f"figures of a backtest, {days[0]} to {days[1]}", lambda: backtest.compare(
        BINARY, rules, DATA / file, days, known_from, Failed, published=full
    )
    yield f"sweeps, curves, days and another folder, {days[0]} to {days[1]}", lambda: variants.compare(
        BINARY, rules / "schema.sql", DATA / file, days, known_from, Failed
    )


def run(check):
    """The verdict of one check: None where it passed, and what is to be said."""
    started = time.monotonic()
    try:
        said, failed = check(), False
    except Failed as failure:
        said, failed = " ".join(str(failure).split()), True
    except Exception as fault:  # a fault of the script is a failed check, not the end of the others
        said, failed = " ".join(f"{type(fault).__name__}: {fault}".split()), True
    return failed, said, time.monotonic() - started


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--full", action="store_true", help="all rows, with the release binary")
    arguments.add_argument("--only", default="", help="only checks whose name holds this text")
    arguments.add_argument("--jobs", type=int, default=2, help="checks at a time")
    chosen = arguments.parse_args()

    checks, skipped = [], 0
    if importlib.util.find_spec("duckdb"):
        checks += oracle_checks(chosen.full)
    else:
        skipped = 2
        print("skipped  nine rules and window values against DuckDB: this Python has no duckdb")
    if importlib.util.find_spec("duckdb") and importlib.util.find_spec("sklearn"):
        checks += backtest_checks(chosen.full)
    else:
        skipped += 2
        print("skipped  figures of a backtest, sweeps and another folder: this Python has no duckdb or no sklearn")
    checks += feature_checks(chosen.full)
    checks = [(name, check) for name, check in checks if chosen.only in name]

    failed = 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for (name, _), verdict in zip(checks, pool.map(lambda named: run(named[1]), checks)):
            wrong, said, seconds = verdict
            failed += wrong
            print(f"{'FAILED' if wrong else 'passed':7}  {name}: {said} ({seconds:.0f} s)", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
