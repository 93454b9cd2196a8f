#!/usr/bin/env bash
# All tests, in three lanes beside each other: those that start processes, those with a session of Spark and on
# clusters, and all others. Those that kill and stop processes, and look at the clock, run alone at the end.
# shellcheck disable=SC2046  # words of options
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
python=${PYTHON:-.venv/bin/python}
logs=$(mktemp -d)
export OMP_WAIT_POLICY=PASSIVE # three lanes on two cores: a thread that waits for another one shall not spin
export OUTGROW_TEST_TIMES=$logs/times
alone=(tests/test_faults.py)
clusters=(tests/test_cluster.py tests/test_cluster_fits.py)
processes=(tests/test_{artifact,cli,docs,executors,job,kills,log,orphans,quality,score,serve,speeds,strangers}.py
    tests/test_{stream,structure,study,track,tune,cached,writers}.py)

tests() {
    local began=$SECONDS
    "$python" -m pytest -p no:cacheprovider "$@"
    local code=$?
    printf '%5d s  %s\n' $((SECONDS - began)) "${OUTGROW_TEST_SPARK:-} $*" | cut -c1-110 >> "$logs/lanes"
    return $code
}

without() { printf -- '--ignore=%s ' "$@"; }

engine_tests_once_more() {
    echo "The tests of the Spark engine once more, on: $1"
    OUTGROW_TEST_SPARK=$1 tests -m spark tests/test_engine.py tests/test_shapes.py
}

on_spark() {
    local failed=0
    tests -m spark $(without "${clusters[@]}" "${alone[@]}") || failed=1
    tests "${clusters[@]}" || failed=1
    engine_tests_once_more cluster || failed=1
    engine_tests_once_more connect || failed=1
    return $failed
}

faults() {
    echo "The tests with faults, on: $1"
    OUTGROW_TEST_SPARK=$1 tests tests/test_faults.py "${@:2}"
}

"$python" tests/java.py > /dev/null 2>&1 || echo "Java keeps no classes: the tests take longer."
on_spark > "$logs/spark" 2>&1 &
spark=$!
tests -m "not spark" "${processes[@]}" > "$logs/processes" 2>&1 &
processed=$!
trap 'kill $spark $processed 2> /dev/null; rm -rf "$logs"' EXIT
tests -m "not spark" $(without "${clusters[@]}" "${alone[@]}" "${processes[@]}") || failed=1
wait $processed || failed=1
cat "$logs/processes"
wait $spark || failed=1
cat "$logs/spark"
faults classic || failed=1
faults cluster -m spark || failed=1
faults connect -m spark || failed=1
echo "What ran, and for how long:"
cat "$logs/lanes"
echo "The slowest twenty of $(wc -l < "$logs/times") tests:"
sort -rn "$logs/times" | head -20
exit $failed
