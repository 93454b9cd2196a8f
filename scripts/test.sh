#!/usr/bin/env bash
# All tests. Three jobs run at a time, long ones first, as those on clusters mostly wait. Tests that kill and stop
# processes, and look at the clock, run alone at the end. What a job printed is shown when it has ended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files() { printf 'tests/test_%s.py ' "$@"; }
clusters=$(files cluster)
servers=$(files tune serve browser job track speeds)
engines=$(files engine shapes docs score stream)
estimators=$(files estimators groups bad_input)
# shellcheck disable=SC2046,SC2086
others=$(printf -- '--ignore=%s ' $clusters $servers $engines $estimators $(files faults))

job() { # MODE, the Spark that the tests use, and what pytest is told
    local log status=0
    log=$(mktemp)
    echo "Begun, on $1: ${*:2}" | cut -c1-110
    # shellcheck disable=SC2068
    OUTGROW_TEST_SPARK=$1 .venv/bin/python -m pytest -p no:cacheprovider ${@:2} > "$log" 2>&1 || status=1
    flock . sh -c 'cat "$1" && echo' _ "$log" # at once, whatever other jobs print
    rm -f "$log"
    return $status
}
export -f job

failed=0
xargs -P 3 -I{} bash -c 'job {}' << EOF || failed=1
classic $clusters
classic $others
classic $servers
classic $estimators
classic $engines
cluster -m spark tests/test_engine.py tests/test_shapes.py
connect -m spark tests/test_engine.py tests/test_shapes.py
EOF

job classic tests/test_faults.py || failed=1
job cluster -m spark tests/test_faults.py || failed=1
job connect -m spark tests/test_faults.py || failed=1
exit $failed
