#!/usr/bin/env bash
# Tollgate beside DuckDB: six rules over 2,000,000 card payments, equal alerts, rows per CPU-second.
#
#   benches/peers/run.sh [--format parquet|ndjson] [--runs 5] [--threads 1] [--bar 3]
#
# Sets up what it needs under target/peers (a Python environment, 700 MB of data) on the first run. Measures
# target/release/tollgate, or the binary that TOLLGATE_BIN names; builds the first where it is missing.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

readonly work="${TOLLGATE_PEERS:-$PWD/target/peers}"
readonly python="$work/python/bin/python"
binary="${TOLLGATE_BIN:-}"

mkdir -p "$work"
if [[ -z $binary ]]; then
    binary="${CARGO_TARGET_DIR:-target}/release/tollgate"
    [[ -x $binary ]] || cargo build --release --locked --bin tollgate
fi
[[ -x $python ]] || python3 -m venv "$work/python"
"$python" -c 'import duckdb, numpy, pyarrow' 2>/dev/null ||
    "$python" -m pip install --quiet duckdb numpy pyarrow
[[ -f $work/payments.parquet && -f $work/payments.ndjson ]] || "$python" "$here/generate.py" "$work"

"$binary" --version
"$python" -c 'import duckdb; print("DuckDB", duckdb.__version__)'
exec "$python" "$here/compare.py" --tollgate "$binary" --data "$work" "$@"
