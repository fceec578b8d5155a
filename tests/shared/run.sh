#!/usr/bin/env bash
# Checks on real data that is not in this repository: known checksums, and DuckDB's answers to the same rules.
#
#   TOLLGATE_SHARED=../shared PYTHON=venv/bin/python tests/shared/run.sh [--full]
#
# Needs target/debug/tollgate, or the binary that TOLLGATE_BIN names. `--full` takes all 1,754,155 rows with
# target/release/tollgate. PYTHON is a Python with DuckDB in it; without it the comparisons with DuckDB are
# skipped, the checksums are not. One line a check; ends with 1 when any failed.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

profile=debug
for argument in "$@"; do
    [[ $argument == --full ]] && profile=release
done
export TOLLGATE_BIN="${TOLLGATE_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/$profile/tollgate}"
export TOLLGATE_SHARED="${TOLLGATE_SHARED:-$PWD/../shared}"

if [[ ! -x $TOLLGATE_BIN ]]; then
    echo "error: there is no $TOLLGATE_BIN: build it, or name the binary in TOLLGATE_BIN" >&2
    exit 2
fi
if [[ ! -d $TOLLGATE_SHARED/data ]]; then
    echo "error: there is no folder $TOLLGATE_SHARED/data: name the folder that holds \`data\` in TOLLGATE_SHARED" >&2
    exit 2
fi
python="${PYTHON:-}"
[[ -n $python ]] || python="$(command -v python3 || true)"
if [[ -z $python ]]; then
    echo "skipped  all: there is no python3"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
exec "$python" "$here/check.py" "$@"
