"""The six rules in DuckDB, in one query over the file; prints alerts as JSON: rule -> [count, sum of tx_id].

    python duckdb_rules.py FILE [--threads 1]

One query is DuckDB's best case: it reads the file once and sorts once for each key.
"""

import argparse
import json

import duckdb

COLUMNS = "tx_id: 'BIGINT', ts: 'TIMESTAMP', card_id: 'VARCHAR', merchant_id: 'VARCHAR', amount: 'DOUBLE', country: 'VARCHAR', device_id: 'VARCHAR'"

RULES = """
CREATE TABLE judged AS
SELECT * FROM (
    SELECT tx_id,
           count(*) OVER card_10m > 5 AND amount > 250                                  AS r1,
           sum(amount) OVER card_1h > 5000 AND amount > 500                             AS r2,
           count(DISTINCT country) OVER card_24h >= 3                                   AS r3,
           amount > 5 * avg(amount) OVER card_24h AND count(*) OVER card_24h >= 5       AS r4,
           count(*) OVER merchant_1m > 50 AND amount < 5                                AS r5,
           count(DISTINCT card_id) OVER device_1h >= 4                                  AS r6
    FROM {source}
    WINDOW card_10m    AS (PARTITION BY card_id     ORDER BY ts RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW),
           card_1h     AS (PARTITION BY card_id     ORDER BY ts RANGE BETWEEN INTERVAL '1 hour'     PRECEDING AND CURRENT ROW),
           card_24h    AS (PARTITION BY card_id     ORDER BY ts RANGE BETWEEN INTERVAL '24 hours'   PRECEDING AND CURRENT ROW),
           merchant_1m AS (PARTITION BY merchant_id ORDER BY ts RANGE BETWEEN INTERVAL '1 minute'   PRECEDING AND CURRENT ROW),
           device_1h   AS (PARTITION BY device_id   ORDER BY ts RANGE BETWEEN INTERVAL '1 hour'     PRECEDING AND CURRENT ROW)
) WHERE r1 OR r2 OR r3 OR r4 OR r5 OR r6
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("file")
    arguments.add_argument("--threads", type=int, default=1)
    chosen = arguments.parse_args()

    database = duckdb.connect()
    database.execute(f"SET threads = {chosen.threads}")
    # Lets DuckDB work in the order that suits it.
    database.execute("SET preserve_insertion_order = false")
    is_parquet = chosen.file.endswith(".parquet")
    source = (
        f"read_parquet('{chosen.file}')"
        if is_parquet
        else f"read_json('{chosen.file}', format = 'newline_delimited', columns = {{{COLUMNS}}})"
    )
    database.execute(RULES.format(source=source))
    alerts = {}
    for rule in ("r1", "r2", "r3", "r4", "r5", "r6"):
        count, total = database.execute(f"SELECT count(*), coalesce(sum(tx_id), 0) FROM judged WHERE {rule}").fetchone()
        alerts[rule] = [int(count), int(total)]
    print(json.dumps(alerts))


if __name__ == "__main__":
    main()
