#!/usr/bin/env bash
# The one gate: set up, then format, lint, types and tests. What CI runs.
# Usage: scripts/check.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/setup.sh dev
ruff format --check .
ruff check .
mypy
pytest "$@"
