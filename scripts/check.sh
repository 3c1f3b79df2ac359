#!/usr/bin/env bash
# The one gate: set up, then format, lint, types, tests, and the Android sample. What CI runs.
# Usage: scripts/check.sh [pytest arguments]      (with arguments: without the Android sample)
# MTP_EXPORT_SKIP_ANDROID=1 leaves the sample out where its tools (a JDK, npm, Debian packages) cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/setup.sh dev
. scripts/software_gpu.sh
ruff format --check .
ruff check .
mypy
pytest "$@"
if [ "${MTP_EXPORT_SKIP_ANDROID:-}" = 1 ]; then
  echo "android_sample: NOT CHECKED, because MTP_EXPORT_SKIP_ANDROID=1" >&2
elif [ $# = 0 ]; then
  scripts/check_android.sh
fi
