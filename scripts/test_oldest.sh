#!/usr/bin/env bash
# All tests with the oldest versions that pyproject.toml allows, in an environment of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
oldest=.venv-oldest
[ -x $oldest/bin/python ] || .venv/bin/python -m venv $oldest
.venv/bin/python scripts/oldest.py > $oldest/constraints.txt
$oldest/bin/python -m pip install --quiet --constraint $oldest/constraints.txt --editable '.[dev]'
PYTHON=$oldest/bin/python bash scripts/test.sh
