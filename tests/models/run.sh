#!/bin/sh
# Compares predict() with xgboost and lightgbm in Python: run.sh [TOLLGATE], where TOLLGATE is the program.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../../target/release/tollgate}
python=${MODELS_PYTHON:-}
if [ -z "$python" ]; then
    venv=$here/../../target/models-venv
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "xgboost==3.2.*" "lightgbm==4.7.*" "numpy==2.*" "pyarrow==26.*" scipy
    python=$venv/bin/python
fi
exec "$python" "$here/check.py" "$program"
