"""The rules in Polars: rolling expressions over each key, in memory."""

import os

import rules


def main():
    chosen = rules.asked(__doc__)
    # Read when the package is loaded.
    os.environ["POLARS_MAX_THREADS"] = str(chosen.threads)
    import polars as pl

    amount = pl.col("amount")

    def rolled(kind, column, window):
        key, seconds = rules.WINDOWS[window]
        if kind == "distinct":
            unique = pl.col(column).n_unique()
            return unique.rolling(index_column="ts", period=f"{seconds}s", closed="both").over(key)
        return pl.col(column).rolling_sum_by("ts", window_size=f"{seconds}s", closed="both").over(key)

    count_of = lambda window: rolled("sum", "one", window)
    sum_of = lambda window: rolled("sum", "amount", window)
    conditions = {
        "r1": lambda: (count_of("card_10m") > 5) & (amount > 250),
        "r2": lambda: (sum_of("card_1h") > 5000) & (amount > 500),
        "r3": lambda: rolled("distinct", "country", "card_24h") >= 3,
        "r4": lambda: (amount > 5 * sum_of("card_24h") / count_of("card_24h")) & (count_of("card_24h") >= 5),
        "r5": lambda: (count_of("merchant_1m") > 50) & (amount < 5),
        "r6": lambda: rolled("distinct", "card_id", "device_1h") >= 4,
    }
    scan = pl.scan_parquet if chosen.file.endswith(".parquet") else pl.scan_ndjson
    payments = scan(chosen.file).with_columns(one=pl.lit(1, dtype=pl.Int64))
    judged = payments.select("tx_id", **{rule: conditions[rule]() for rule in chosen.rules}).collect()
    alerts = {}
    for rule in chosen.rules:
        ids = judged.filter(pl.col(rule))["tx_id"]
        alerts[rule] = (len(ids), ids.sum() or 0)
    rules.tell(alerts)


if __name__ == "__main__":
    main()
