#!/usr/bin/env bash
# The conformance kit on ranks that mpirun starts: each process runs the same tests, and fits are of all of them.
# With mpi4py in the environment they meet by MPI, else by what mpirun sets. Rank 0 alone prints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v mpirun > /dev/null || {
    echo "There is no mpirun. Type:  sudo apt-get install openmpi-bin"
    exit 1
}
export OUTGROW_TEST_RANKS=mpi OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# shellcheck disable=SC2016  # the ranks expand it
exec mpirun --oversubscribe -n "${RANKS:-3}" bash -c '
    [ "${OMPI_COMM_WORLD_RANK:-0}" = 0 ] || exec > /dev/null
    exec "$0" -m pytest -p no:cacheprovider tests/test_estimators.py -k test_on_every_engine "$@"
' "${PYTHON:-.venv/bin/python}" "$@"
