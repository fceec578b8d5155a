"""The rules in DuckDB, in one query over the file: its best case, for it reads and sorts once for each key."""

import duckdb

import rules

COLUMNS = "tx_id: 'BIGINT', ts: 'TIMESTAMP', card_id: 'VARCHAR', merchant_id: 'VARCHAR', amount: 'DOUBLE', country: 'VARCHAR', device_id: 'VARCHAR'"


def main():
    chosen = rules.asked(__doc__)
    database = duckdb.connect()
    database.execute(f"SET threads = {chosen.threads}")
    # Lets DuckDB work in the order that suits it.
    database.execute("SET preserve_insertion_order = false")
    source = (
        f"read_parquet('{chosen.file}')"
        if chosen.file.endswith(".parquet")
        else f"read_json('{chosen.file}', format = 'newline_delimited', columns = {{{COLUMNS}}})"
    )
    hits = " OR ".join(chosen.rules)
    database.execute(f"CREATE TABLE hits AS SELECT * FROM ({rules.judged(chosen.rules, source)}) WHERE {hits}")
    tally = "SELECT count(*), coalesce(sum(tx_id), 0) FROM hits WHERE "
    rules.tell({rule: database.execute(tally + rule).fetchone() for rule in chosen.rules})


if __name__ == "__main__":
    main()
