"""The rules in chDB, ClickHouse in the process, in one query over the file that counts the alerts itself."""

import json

import chdb

import rules

COLUMNS = "tx_id Int64, ts_ms Int64, card_id String, merchant_id String, amount Float64, country String, device_id String"


def frame(seconds):
    """By the time as a whole number: ClickHouse takes no interval for a range over milliseconds."""
    return f"ORDER BY ts_ms RANGE BETWEEN {seconds * 1000} PRECEDING AND CURRENT ROW"


def condition(text):
    """ClickHouse has no DISTINCT in a window, and the exact function by another name."""
    return text.replace("count(DISTINCT ", "uniqExact(")


def main():
    chosen = rules.asked(__doc__)
    form = "Parquet" if chosen.file.endswith(".parquet") else "JSONEachRow"
    source = f"file('{chosen.file}', {form}, '{COLUMNS}')"
    tallies = ", ".join(f"countIf({rule}), sumIf(tx_id, {rule})" for rule in chosen.rules)
    query = f"SELECT {tallies} FROM ({rules.judged(chosen.rules, source, frame, condition)})"
    answer = str(chdb.query(f"{query} SETTINGS max_threads = {chosen.threads}", "JSONCompactEachRow"))
    numbers = [int(number) for number in json.loads(answer)]
    rules.tell(dict(zip(chosen.rules, zip(numbers[::2], numbers[1::2]))))


if __name__ == "__main__":
    main()
