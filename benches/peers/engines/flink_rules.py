"""The rules in Flink's DataStream, written by hand (jvm/FlinkRules.java). Reads NDJSON."""

import flink
import rules


def main():
    chosen = rules.asked(__doc__)
    flink.become("FlinkFromFile", chosen.file, ",".join(chosen.rules), chosen.threads)


if __name__ == "__main__":
    main()
