#!/usr/bin/env bash
# test_versions.sh oldest|newest: all tests with the oldest or the newest versions that pyproject.toml allows, in an
# environment of their own, .venv-oldest or .venv-newest. BASE names the Python that makes it: BASE=python3.13
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
environment=.venv-$1
python=$environment/bin/python
bounds=$environment/bounds.txt
[ -x $python ] || "${BASE:-.venv/bin/python}" -m venv $environment
$python scripts/bounds.py > $bounds
case $1 in
    oldest) choice=(--constraint $bounds) ;;
    newest) choice=(--upgrade --upgrade-strategy eager) ;;
esac
$python -m pip install --quiet "${choice[@]}" --editable '.[dev]'
names=$(sed 's/[=<].*//' $bounds | paste -sd '|')
echo "$($python --version) with" $($python -m pip freeze | grep -iE "^($names)==")
PYTHON=$python bash scripts/test.sh
