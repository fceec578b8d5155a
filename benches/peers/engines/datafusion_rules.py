"""The rules in DataFusion, in one query over the file."""

import numpy
from datafusion import SessionConfig, SessionContext

import rules


def main():
    chosen = rules.asked(__doc__)
    session = SessionContext(SessionConfig().with_target_partitions(chosen.threads))
    session.register_parquet("payments", chosen.file)
    hits = " OR ".join(chosen.rules)
    query = f"SELECT * FROM ({rules.judged(chosen.rules, 'payments')}) AS judged WHERE {hits}"
    alerts = {rule: [0, 0] for rule in chosen.rules}
    for batch in session.sql(query).execute_stream():
        arrow = batch.to_pyarrow()
        ids = arrow.column(0).to_numpy()
        for index, rule in enumerate(chosen.rules, 1):
            hit = numpy.asarray(arrow.column(index).fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
            alerts[rule][0] += int(hit.sum())
            alerts[rule][1] += int(ids[hit].sum())
    rules.tell(alerts)


if __name__ == "__main__":
    main()
