"""DuckDB's answers to the nine rules, from the SQL that lies beside the data, compared with Tollgate's."""

import math
import re

import duckdb

RULES = {
    "r1_big_amount": None,
    "r2_5x_avg30": "5.0 * avg30",
    "r3_3x_avg30": "3.0 * avg30",
    "r4_4sd": "avg30 + 4.0 * sd30",
    "r5_term_2frauds_7d": None,
    "r6_term_risk30_half": None,
    "r7_term_any_7d": None,
    "r8_velocity_day": None,
    "r9_repeat_odd": None,
}

# Two float sums of one window, added up in different orders, are nearer than this.
RELATIVE_TOLERANCE = 1e-9

# The variance of nearly equal amounts is the difference of large numbers; half of the digits are left.
DEVIATION_TOLERANCE = 1e-6


def answered(data, file):
    """A database with the table `rules`: the oracle's script run over one file."""
    script = (data / "oracle" / "rules.sql").read_text(encoding="utf-8")
    script, replaced = re.subn(r"read_parquet\('[^']*'\)", lambda _: f"read_parquet('{data / file}')", script)
    if replaced != 1:
        raise RuntimeError(f"rules.sql reads {replaced} files, and should read one")
    database = duckdb.connect()
    database.execute(script)
    return database


def compare_rules(data, file, hits, failed):
    """Each rule hits exactly the oracle's rows, but for flips at the boundary of a float, which are listed."""
    ours = {rule: set() for rule in RULES}
    for rule, row in hits:
        ours[rule].add(row["tx_id"])
    database = answered(data, file)
    theirs = {
        rule: {tx_id for (tx_id,) in database.execute(f"SELECT tx_id FROM rules WHERE {rule}").fetchall()}
        for rule in RULES
    }
    flips, unexplained, said = {}, [], []
    for rule, limit in RULES.items():
        differing = sorted(ours[rule] ^ theirs[rule])
        for tx_id in differing:
            reason = explained(database, rule, limit, tx_id, flips)
            side = "ours alone" if tx_id in ours[rule] else "DuckDB's alone"
            if reason:
                flips.setdefault(rule, set()).add(tx_id)
            else:
                unexplained.append(f"{rule}: {tx_id} is {side}")
            said.append(f"{rule} {tx_id} {side}: {reason or 'UNEXPLAINED'}")
        said.append(f"{rule} {len(ours[rule]):,}")
    if unexplained:
        raise failed(f"{len(unexplained)} unexplained: {'; '.join(unexplained[:10])}")
    return f"equal hits: {', '.join(said)}"


def explained(database, rule, limit, tx_id, flips):
    """Why a row may differ: its amount is at the limit, or a flag that the rule counts was at its limit."""
    if limit:
        amount, at = database.execute(f"SELECT amount, {limit} FROM rules WHERE tx_id = {tx_id}").fetchone()
        near = at is not None and math.isclose(amount, at, rel_tol=RELATIVE_TOLERANCE)
        return f"{amount!r} at the limit {at!r}" if near else None
    if rule == "r9_repeat_odd" and flips.get("r3_3x_avg30"):
        flipped = ",".join(map(str, flips["r3_3x_avg30"]))
        cause = database.execute(
            f"""SELECT odd.tx_id FROM rules AS odd JOIN rules AS this USING (customer_id)
                WHERE this.tx_id = {tx_id} AND odd.tx_id IN ({flipped})
                  AND odd.event_time BETWEEN this.event_time - INTERVAL '14 days' AND this.event_time"""
        ).fetchone()
        return f"r3_3x_avg30 flipped at {cause[0]}" if cause else None
    return None


def compare_values(data, file, rows, failed):
    """What the windows hold at each row: counts and medians exactly, other floats to the last digits."""
    database = answered(data, file)
    columns = ("n30", "avg30", "med30", "sd30", "n1", "term_n7", "term_f7")
    theirs = {
        row[0]: row[1:]
        for row in database.execute(f"SELECT tx_id, {', '.join(columns)} FROM rules").fetchall()
    }
    differing, count = [], 0
    for _, row in rows:
        count += 1
        expected = theirs.pop(row["tx_id"], None)
        for name, wanted in zip(columns, expected or ()):
            if not equal(name, row[name], wanted):
                differing.append(f"{row['tx_id']} {name}: {row[name]!r}, DuckDB {wanted!r}")
        if expected is None:
            differing.append(f"{row['tx_id']} is ours alone")
    if differing or theirs:
        raise failed(f"{len(differing)} values differ, {len(theirs)} rows are missing: {'; '.join(differing[:5])}")
    return f"{count:,} rows, {len(columns)} columns each, are equal"


def equal(name, ours, theirs):
    if ours is None or theirs is None:
        return ours is theirs
    if name in ("avg30", "sd30"):
        tolerance = DEVIATION_TOLERANCE if name == "sd30" else RELATIVE_TOLERANCE
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)
    return ours == theirs
