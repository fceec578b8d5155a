"""The rules in Flink SQL, as a stream. It takes one window a SELECT, so each rule is a query. Reads NDJSON."""

import flink
import rules


def frame(seconds):
    """In hours or minutes: it takes no interval of more than two digits."""
    length = f"'{seconds // 3600}' HOUR" if seconds >= 3600 else f"'{seconds // 60}' MINUTE"
    return f"ORDER BY ts RANGE BETWEEN INTERVAL {length} PRECEDING AND CURRENT ROW"


def main():
    chosen = rules.asked(__doc__)
    queries = (
        f"SELECT {rule[1:]}, tx_id FROM ({rules.judged([rule], 'payments', frame)}) WHERE {rule}"
        for rule in chosen.rules
    )
    flink.become("FlinkSql", chosen.file, ",".join(chosen.rules), chosen.threads, " UNION ALL ".join(queries))


if __name__ == "__main__":
    main()
