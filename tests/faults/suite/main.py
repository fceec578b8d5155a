"""The command: which faults, how often, from which seed, and the report."""

import argparse
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from . import checker
from .cluster import Cluster
from .faults import FAULTS
from .job import RULES

HERE = Path(__file__).resolve().parents[1]


class Suite:
    """What all faults share."""

    def __init__(self, arguments, folder, seed, cluster):
        self.binary, self.full, self.rate = Path(arguments.binary).resolve(), arguments.full, arguments.rate
        self.arguments, self.folder, self.seed, self.cluster = arguments, folder, seed, cluster
        self.clusters = [cluster]

    def three(self):
        """The same suite on three brokers."""
        cluster = Cluster(Path(self.folder) / "three", nodes=3, port=self.cluster.port + 100).up()
        self.clusters.append(cluster)
        return Suite(self.arguments, self.folder, self.seed, cluster)

    def keyed_rules(self):
        """The rules that are exact however partitions are shared out: those keyed by the topic's key."""
        folder = Path(self.folder) / "keyed-rules"
        shutil.copytree(RULES, folder, dirs_exist_ok=True)
        (folder / "merchant-ordered.sql").unlink(missing_ok=True)
        return folder

    def down(self):
        for cluster in self.clusters:
            cluster.down()


def self_test():
    """The checker must be able to fail: each way of being wrong is found in an output that was right."""
    import json
    lines = []
    for offset in range(60):
        value = {"tx_id": f"t{offset}", "event_time": f"2026-01-01T00:00:{offset % 60:02d}Z", "card_id": "c",
                 "merchant_id": "m", "amount": "1.00"}
        lines.append((0, offset, json.dumps(value).encode(), {}))
    lines.append((0, 60, b"{", {}))
    expected = checker.expect(lines)
    def alert(place, told):
        tx, values, reason, before = told
        return (0, 0, json.dumps({"event_id": tx, "rule": {"id": place[0]}, "values": values, "reason": reason,
                "suppressed_before": before, "exact_since": None,
                "source": {"partition": place[1], "offset": place[2]}}).encode(), {})
    good = [alert(place, told) for place, told in expected.alerts.items()]
    letters = [(0, 0, None, {"tollgate-partition": b"0", "tollgate-offset": b"60"})]
    assert good, "the sample has no alert"
    assert checker.compare(expected, good, letters).clean
    assert checker.compare(expected, good[1:], letters).missing
    assert checker.compare(expected, good + good[:1], letters).duplicate
    assert checker.compare(expected, good, []).missing
    assert checker.compare(expected, good, letters * 2).duplicate
    changed = json.loads(good[0][2])
    changed["suppressed_before"] += 1
    assert checker.compare(expected, [(0, 0, json.dumps(changed).encode(), {})] + good[1:], letters).wrong
    changed = json.loads(good[0][2])
    changed["source"]["offset"] = 7777
    assert checker.compare(expected, [(0, 0, json.dumps(changed).encode(), {})] + good[1:], letters).extra


def main():
    parser = argparse.ArgumentParser(prog="tests/faults/run", description="Hurts the job and checks every alert.")
    parser.add_argument("--binary", default="target/debug/tollgate", help="the program under test")
    parser.add_argument("--full", action="store_true", help="the counts of the report instead of those of CI")
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault; may be repeated")
    parser.add_argument("--skip", action="append", default=[], choices=FAULTS, help="not this fault")
    parser.add_argument("--count", type=int, help="how often, instead of the usual count")
    parser.add_argument("--rate", type=int, default=400, help="records a second")
    parser.add_argument("--seed", type=int, help="random points come from this; printed in any case")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs also where all is clean")
    parser.add_argument("--report", help="write the table to this file")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    self_test()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-faults-"))
    cluster = Cluster(folder / "kafka", port=19000 + 40 * random.randrange(20)).up()
    suite = Suite(arguments, folder, seed, cluster)
    rows, clean = [], True
    try:
        for name, (fault, ci, full) in FAULTS.items():
            if (arguments.only and name not in arguments.only) or name in arguments.skip:
                continue
            count = arguments.count or (full if arguments.full else ci)
            began = time.monotonic()
            happened, notes, verdict = fault(suite, count)
            seconds = time.monotonic() - began
            clean &= verdict is None or verdict.clean
            rows.append((name, (fault.__doc__ or "").split("\n")[0], happened, verdict, notes, seconds))
            print(f"{name}: {happened} times in {seconds:.0f} s; {verdict or 'skipped'}; {notes}", flush=True)
            for kind in ["missing", "extra", "duplicate", "wrong"] if verdict else []:
                for example in getattr(verdict, kind)[:5]:
                    print(f"    {kind}: {example}", flush=True)
    finally:
        suite.down()
    if arguments.report:
        report(Path(arguments.report), arguments, seed, suite, rows)
    if clean and not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs are in {folder}")
    passed = sum(1 for row in rows if row[3] is not None and row[3].clean)
    skipped = sum(1 for row in rows if row[3] is None)
    print(f"{passed} passed, {len(rows) - passed - skipped} failed, {skipped} skipped")
    return 0 if clean else 1


def report(path, arguments, seed, suite, rows):
    """The table as Markdown."""
    version = subprocess.run([suite.binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    asked = " ".join(sys.argv[1:]).replace(arguments.binary, suite.binary.name)
    profile = "release" if "release" in str(suite.binary) else "dev"
    lines = [
        "# Fault suite: report", "",
        f"{date.today()} · {version} ({profile} profile) · Apache Kafka 4.3.1 · Python {platform.python_version()} · "
        f"{platform.system()} {platform.release()}, 2 cores · seed {seed} · "
        f"`tests/faults/run {asked}`", "",
        "Every alert and dead letter of each stage was compared with what DuckDB and Python expect from the input topic "
        "(`suite/checker.py`); read `read_committed`.", "",
        "| fault | times | records | alerts | dead letters | missing | extra | duplicate | wrong | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, what, happened, verdict, _, seconds in rows:
        v = verdict
        cells = ["–"] * 7 if v is None else [
            v.rows, v.alerts, v.dead_letters, len(v.missing), len(v.extra), len(v.duplicate), len(v.wrong)]
        lines.append(f"| {name}: {what} | {happened} | {' | '.join(map(str, cells))} | {seconds:.0f} |")
    lines += ["", "What happened on the way:", ""]
    lines += [f"- {name}: {notes}" for name, _, _, _, notes, _ in rows if notes]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
