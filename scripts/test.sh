#!/usr/bin/env bash
# All tests, in three lanes beside each other: those without Spark, those with a session of Spark, and those on
# clusters, which mostly wait. Those that kill and stop processes, and look at the clock, run alone at the end.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
logs=$(mktemp -d)
elsewhere=(--ignore=tests/test_cluster.py --ignore=tests/test_cluster_fits.py --ignore=tests/test_faults.py)

tests() { .venv/bin/python -m pytest -p no:cacheprovider --durations=20 "$@"; }

engine_tests_once_more() {
    echo "The tests of the Spark engine once more, on: $1"
    OUTGROW_TEST_SPARK=$1 tests -m spark tests/test_engine.py tests/test_shapes.py
}

clusters() {
    local failed=0
    tests tests/test_cluster.py tests/test_cluster_fits.py || failed=1
    engine_tests_once_more cluster || failed=1
    engine_tests_once_more connect || failed=1
    return $failed
}

faults() {
    echo "The tests with faults, on: $1"
    OUTGROW_TEST_SPARK=$1 tests tests/test_faults.py "${@:2}"
}

.venv/bin/python tests/java.py > /dev/null 2>&1 || echo "Java keeps no classes: the tests take longer."
clusters > "$logs/clusters" 2>&1 &
clusters=$!
tests -m spark "${elsewhere[@]}" > "$logs/spark" 2>&1 &
spark=$!
trap 'kill $clusters $spark 2> /dev/null; rm -rf "$logs"' EXIT
tests -m "not spark" "${elsewhere[@]}" || failed=1
wait $spark || failed=1
cat "$logs/spark"
wait $clusters || failed=1
cat "$logs/clusters"
faults classic || failed=1
faults cluster -m spark || failed=1
faults connect -m spark || failed=1
exit $failed
