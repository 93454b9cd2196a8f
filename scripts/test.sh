#!/usr/bin/env bash
# All tests, in several runs of pytest beside each other: those that mostly wait (for ranks that are killed or stand
# still, for clusters to start) beside those that compute. A run begins when a lane is free, in the order below.
# shellcheck disable=SC2046  # words of options
set -uom pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
lanes=${LANES:-4} # with more, tests wait for each other alone: the processors have no idle time
longest=${LONGEST:-3600} # seconds for a lane; one that hangs shows where its threads are, and fails
logs=$(mktemp -d)
export OMP_WAIT_POLICY=PASSIVE # more runs than cores: a thread that waits for another one shall not spin
export OUTGROW_TEST_TIMES=$logs/times
export OUTGROW_TEST_SHARED=$logs/shared # what several runs would make alike
unset PYTHONDONTWRITEBYTECODE # hundreds of processes import the package: it is compiled for the first alone
clusters=(tests/test_cluster.py tests/test_cluster_fits.py)
processes=(tests/test_{artifact,cli,docs,event_log,executors,job,kills,log,orphans,processes,quality,ranks,score,serve,site,speeds,strangers}.py
    tests/test_{stream,structure,study,tune,cached,writers}.py)
networks=(tests/test_{advice,deep_*,elastic,exchange,federate*,gpu,images,keras,loader,multilayer*,network*,npy,order,parted,robust_merges}.py
    tests/test_{secure_sums,sgd*,strategies,transfer_examples,word2vec}.py)
operations=(tests/test_{autolog,board*,data_versions,delayed_labels,deploy,detectors,drift,expectations,feature*,following,layout,leakage,lean,lineage}.py
    tests/test_{loop,loop_alerts,monitor,plan,prometheus,rank_paces,recorded_work,registry,rolling_update,rollout,runs,serve_metrics,served_counts,signing,track}.py)
kit=(tests/test_{bad_input,estimators,export,parameters,sklearn,states,types}.py)
on_each_spark=(tests/test_engine.py tests/test_shapes.py tests/test_faults.py)
faults=(tests/test_faults.py)
mapfile -t with_spark < <(grep -lE 'spark|engine' tests/test_*.py) # the fixtures of Spark's tests; the others need not be collected

without() { printf -- '--ignore=%s ' "$@"; }

run() { # NAME MODE WORDS...
    local name=$1 began=$SECONDS
    OUTGROW_TEST_SPARK=$2 timeout --foreground --signal=ABRT --kill-after=60 "$longest" \
        "$python" -X faulthandler -m pytest -p no:cacheprovider "${@:3}" > "$logs/$name" 2>&1 < /dev/null ||
        touch "$logs/failed"
    printf '%5d s  %s\n' $((SECONDS - began)) "$name" >> "$logs/runs"
    (flock 9 && echo "== $name" && cat "$logs/$name") 9> "$logs/lock"
}

begin() {
    while (($(jobs -rp | wc -l) >= lanes)); do wait -n; done
    echo "-- $1: begins after $SECONDS s"
    run "$@" &
}

end_all() {
    for group in $(jobs -rp); do kill -- "-$group" 2> /dev/null; done
    rm -rf "$logs"
}

trap end_all EXIT
trap 'exit 130' INT TERM
"$python" tests/kernels.py > "$logs/kernels" 2>&1 &
"$python" tests/java.py > /dev/null 2>&1 || echo "Java keeps no classes: the tests take longer."
wait $! || cat "$logs/kernels"
begin Spark classic "${with_spark[@]}" -m spark $(without "${clusters[@]}" "${faults[@]}")
begin "tests that start processes" classic -m "not spark" "${processes[@]}"
begin "all others" classic -m "not spark" $(without "${clusters[@]}" "${faults[@]}" "${processes[@]}" "${networks[@]}" "${operations[@]}" "${kit[@]}")
begin "networks" classic -m "not spark" "${networks[@]}"
begin "every estimator" classic -m "not spark" "${kit[@]}"
begin "operations" classic -m "not spark" "${operations[@]}"
begin "faults" classic "${faults[@]}"
begin "the engine and faults on a standalone cluster" cluster -m spark "${on_each_spark[@]}"
begin "the engine and faults on Spark Connect" connect -m spark "${on_each_spark[@]}"
begin "clusters" classic "${clusters[@]}"
wait
echo "What ran, and for how long; the whole took $SECONDS s:"
sort -rn "$logs/runs"
echo "The slowest twenty of $(wc -l < "$logs/times") tests, by the clock and by processors:"
sort -rn "$logs/times" | head -20
echo "The slowest twenty files, likewise:"
sed -E 's/^ *([0-9.]+) s +([0-9.]+) s +([^:]+)::.*$/\1 \2 \3/' "$logs/times" |
    awk '{ clock[$3] += $1; worked[$3] += $2 }
        END { for (name in clock) printf "%7.0f s %7.0f s  %s\n", clock[name], worked[name], name }' |
    sort -rn | head -20
[ ! -e "$logs/failed" ]
