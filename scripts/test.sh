#!/usr/bin/env bash
# All tests, in two rows side by side: clusters mostly wait, so the machine has room for the others meanwhile.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
on_every_spark="tests/test_engine.py tests/test_faults.py tests/test_shapes.py"

clusters() {
    local failed=0
    $python -m pytest -p no:cacheprovider tests/test_cluster.py || failed=1
    for mode in cluster connect; do
        echo "The tests of the Spark engine once more, on: $mode"
        # shellcheck disable=SC2086
        OUTGROW_TEST_SPARK=$mode $python -m pytest -p no:cacheprovider -m spark $on_every_spark || failed=1
    done
    return $failed
}

log=$(mktemp)
clusters > "$log" 2>&1 &
others=$!
trap 'kill $others 2> /dev/null; rm -f "$log"' EXIT
$python -m pytest --ignore=tests/test_cluster.py
main=$?
wait $others
beside=$?
cat "$log"
[ $main -eq 0 ] && [ $beside -eq 0 ]
