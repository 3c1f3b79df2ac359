#!/usr/bin/env bash
# The tests that run the stock engine, against its nightly build: what the next release will change.
# Not part of the gate. Usage: scripts/nightly_engine.sh [version] [pytest arguments]
#   scripts/nightly_engine.sh                                 the newest nightly
#   scripts/nightly_engine.sh 0.19.0.dev20261026 -k mtp       this one, some of the tests
# The nightly engine goes into a throw-away environment that sees everything else of the active one (or of
# .venv, set up with the `dev` extra if there is none), in front of the engine that is installed there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=
if [[ "${1:-}" =~ ^[0-9] ]]; then
  version="==$1"
  shift
fi
[ -n "${VIRTUAL_ENV:-}" ] || . scripts/setup.sh dev
beneath=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
nightly=$(mktemp -d)
trap 'rm -rf "$nightly"' EXIT
python -m venv "$nightly"
. "$nightly/bin/activate"
# Names are looked up in the order of sys.path: this environment, then the one beneath.
echo "$beneath" > "$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/beneath.pth"
pip install --quiet --pre --no-deps "litert-lm-api-nightly$version"
python - <<'PY'
import importlib.metadata, litert_lm, sys
assert litert_lm.__file__.startswith(sys.prefix), litert_lm.__file__
print("litert-lm-api-nightly", importlib.metadata.version("litert-lm-api-nightly"))
PY
tests=(
  tests/test_engine.py
  tests/test_int8_caches.py
  tests/test_ring_caches.py
  tests/runtime/test_batch_litert.py
  tests/runtime/test_cache_length.py
  tests/runtime/test_litert.py
  tests/verify/test_recipes.py
)
# This test reproduces how 0.18.1 goes on after its own answer, which later versions do otherwise.
reproduced=tests/runtime/test_litert.py::test_how_the_stock_engine_goes_on_after_its_own_answer
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" python -m pytest "${tests[@]}" --deselect "$reproduced" "$@"
