#!/usr/bin/env bash
# The one gate: set up, then format, lint, types, tests, and the Android sample. What CI runs.
#
# Usage: scripts/check.sh             everything
#        scripts/check.sh --quick     before every commit: format, lint, types, and the tests that need neither
#                                     lowering nor an engine; more arguments go to pytest
#        scripts/check.sh ARGUMENTS   format, lint, types, and the tests that these arguments of pytest choose
#
# Tests run two at a time, those marked `alone` afterwards, one by one; meanwhile types are checked and the sample is
# compiled. Graphs that are lowered are kept in MTP_EXPORT_CACHE, or the user's cache folder, for the next run.
# MTP_EXPORT_SKIP_ANDROID=1 leaves the sample out where its tools (a JDK, npm, Debian packages) cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 # of each process: the models here are too small to share out

side_by_side=(-n 2 --dist loadfile --no-loadscope-reorder)

check_android() {
  if [ "${MTP_EXPORT_SKIP_ANDROID:-}" = 1 ]; then
    echo "android_sample: NOT CHECKED, because MTP_EXPORT_SKIP_ANDROID=1" >&2
  else
    scripts/check_android.sh
  fi
}

check_beside_tests() {
  mypy
  check_android
}

. scripts/setup.sh dev
ruff format --check .
ruff check .
if [ "${1:-}" = --quick ]; then
  mypy
  pytest "${side_by_side[@]}" "$@"
elif [ $# != 0 ]; then
  mypy
  . scripts/software_gpu.sh
  pytest "$@"
else
  . scripts/software_gpu.sh
  failed=0
  pytest "${side_by_side[@]}" -m "not alone" || failed=1
  mkdir -p build
  check_beside_tests > build/beside_tests.log 2>&1 &
  pytest -m alone || failed=1
  wait $! || failed=1
  cat build/beside_tests.log
  exit $failed
fi
