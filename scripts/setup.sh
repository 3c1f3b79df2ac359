# Sourced by the other scripts: a virtual environment in .venv with this package and the given extras.
# An environment that is active already is used as it is. PYTHON names the interpreter to start from.
extras=$1
if [ -z "${VIRTUAL_ENV:-}" ]; then
  [ -d .venv ] || "${PYTHON:-python3}" -m venv .venv
  . .venv/bin/activate
fi
if ! python -c "import sys; sys.exit(sys.version_info < (3, 11))"; then
  echo "Python 3.11 or newer is needed, found $(python --version); set PYTHON" >&2
  exit 1
fi
python -m pip install --quiet --editable ".[$extras]"
