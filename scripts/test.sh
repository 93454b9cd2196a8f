#!/usr/bin/env bash
# All tests. Those on clusters mostly wait, so they run beside the others; those that kill and stop processes, and
# look at the clock, run alone at the end.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
failed=0

clusters() {
    local failed=0
    $python -m pytest -p no:cacheprovider tests/test_cluster.py || failed=1
    for mode in cluster connect; do
        echo "The tests of the Spark engine once more, on: $mode"
        OUTGROW_TEST_SPARK=$mode $python -m pytest -p no:cacheprovider -m spark tests/test_engine.py tests/test_shapes.py || failed=1
    done
    return $failed
}

$python tests/java.py > /dev/null 2>&1 || echo "Java keeps no classes: the tests take longer."
log=$(mktemp)
clusters > "$log" 2>&1 &
others=$!
trap 'kill $others 2> /dev/null; rm -f "$log"' EXIT
$python -m pytest --ignore=tests/test_cluster.py --ignore=tests/test_faults.py || failed=1
wait $others || failed=1
cat "$log"
for mode in classic cluster connect; do
    echo "The tests with faults, on: $mode"
    only=$([ $mode = classic ] && echo "" || echo "-m spark")
    # shellcheck disable=SC2086
    OUTGROW_TEST_SPARK=$mode $python -m pytest $only tests/test_faults.py || failed=1
done
exit $failed
