"""The loop: policies, the gate's statistics, decisions, kills at every boundary, replay."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

import outgrow as og
from loops import COLUMNS, DAY, POLICY, World, fitted, rows_of
from outgrow.data.batch import Batch
from outgrow.errors import ArtifactError, JobFileError, OutgrowError, OutputBusyError, ParameterError
from outgrow.inspection.row_losses import losses
from outgrow.log.record import encode
from outgrow.loop.gate import judge
from outgrow.loop.load import load_policy
from outgrow.loop.policy import Gate, Policy
from outgrow.loop.run import Loop, differing
from outgrow.loop.view import fold
from outgrow.ml.predictor import Predictor
from outgrow.stats.paired import Differences, GroupOutcomes, PairedDifferences


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which what rows mean turns around on day 3, and a loop has mended that."""
    world = World.made(tmp_path_factory.mktemp("loop"))
    for day in range(8):
        world.land(day, sign=1.0 if day < 3 else -1.0)
        world.look(day)
    return world


def actions(world: World) -> list[str]:
    decisions = world.loop().log.since(0, kinds=("decision",))
    return [record.body["action"] for record in decisions if record.body["action"] != "wait"]


def bodies(world: World, kind: str) -> list[Any]:
    return [record.body for record in world.loop().log.since(0, kinds=(kind,))]


# ---- policies ----------------------------------------------------------------------------------------------


def test_the_whole_policy_is_read_and_kept_by_the_log(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("""
model: stores/late
log: sqlite:///ops.db
maturity: fly
rows: {path: rows/, time: time}
servers: {urls: ["http://127.0.0.1:8000"], log: predictions}
watch:
  data:    {window: 1d, reference: training, seasonal: 7d, fdr: 0.01, effect: {psi: 0.1, js: 0.1}}
  quality: {labels: landed/, on: id, label: late, within: 12h, error: brier, false_alarms: 1/100000}
  age: 30d
retrain: {job: job.yaml, rows: {last: 90d}, at_most: 1/7d, budget: {time: 2h}}
gate:
  better: {metric: log_loss, by: 0, confidence: 0.95}
  slices: {by: [carrier, origin], worse_by_at_most: 0.01, least_rows: 500, fdr: 0.05}
  fair:   {by: sex, demographic_parity_difference: 0.1, equalized_odds_difference: 0.1}
  also:   {baseline: true, latency_p99_ms: 10, size_mb: 200, schema: same}
rollout: [{shadow: 1h, agree: 0.95}, {canary: 5%, for: 1h}, {canary: 50%, for: 1h}]
rollback: {errors: 1%, latency_p99: 2x, quality: worse, within: 24h}
""")
    loaded = load_policy(tmp_path / "policy.yaml")
    policy = loaded.policy
    assert policy.watch.quality is not None
    assert (policy.watch.quality.on, policy.watch.quality.false_alarms) == ("id", 1e-5)
    assert [step.canary for step in policy.rollout] == [None, 0.05, 0.5]
    assert policy.retrain is not None
    assert policy.retrain.at_most == (1, 7 * DAY)
    assert loaded.beside("sqlite:///ops.db") == f"sqlite:///{tmp_path}/ops.db"
    assert Policy.model_validate(json.loads(encode(policy.body()))) == policy


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("maturity: fly", "maturity: walk"), "walk promotes nothing that could be rolled back"),
        (("\ngate:", "\nno_gate:"), "unknown key 'no_gate'; did you mean 'gate'?"),
        (("within: 2d", "within: 1d"), "1d is over before labels come, which take up to 1d"),
        (("at_most: 1/2d", "at_most: often"), "does not say how often at most: write 1/7d"),
        (
            ("  quality:", "  age: 1d\n  quality:"),
            "a champion is too old after 1d, but retrain.at_most allows 1 in 2d",
        ),
        (("rows: {path: rows, time: time}\n", ""), "need new rows. Give rows: {path: ..., time: ...}"),
        (("last: 3d}", "last: 3d}, hold_out: 3d"), "leaves nothing of the 3d to learn from"),
        (("model: store", "model: models:/late@champion"), "is in MLflow"),
        (("log_loss", "mae"), "gate.also.baseline (line 12): is not known for mae"),
        (("brier", "surprise"), "'log_loss', 'brier', 'error_rate', 'mse' or 'mae'"),
        (
            ("\nrollback:", "\nrollout: [{canary: 100%, for: 1h}, {canary: 5%, for: 1h}]\nrollback:"),
            "needs servers",
        ),
        (
            ("\nrollback:", "\nrollout: [{canary: 100%, for: 1h}, {canary: 5%, for: 1h}]\nrollback:"),
            "rollout[1] (line 13): the step before has 100 % already",
        ),
        (("\nrollback:", "\nrollout: [{canary: 5%}]\nrollback:"), "a canary needs for"),
        (("rollback: {quality: worse, within: 2d}", ""), "fly needs rollback, which is missing"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    old, new = change
    assert old in POLICY
    (tmp_path / "policy.yaml").write_text(POLICY.replace(old, new))
    with pytest.raises(JobFileError) as refused:
        load_policy(tmp_path / "policy.yaml")
    assert says in str(refused.value)
    assert "nothing was done" in str(refused.value)


def test_the_policy_of_the_example() -> None:
    loaded = load_policy(Path(__file__).parents[1] / "examples" / "loop" / "policy.yaml")
    assert loaded.policy.maturity == "fly"


# ---- the gate's statistics ---------------------------------------------------------------------------------


def test_differences_by_hand() -> None:
    d = np.array([0.5, -0.1, 0.2, 0.4])
    north = np.array([True, True, False, False])
    halves = [
        PairedDifferences.of(d[rows], {"": north[rows] | True, "north": north[rows]})
        for rows in ([0, 2], [1, 3])
    ]
    whole = halves[0].merge(halves[1])
    assert whole.slice("").mean == pytest.approx(0.25)
    assert whole.slice("").variance == pytest.approx(np.var(d, ddof=1))
    assert whole.slice("north").mean == pytest.approx(0.2)
    t = scipy_stats.ttest_1samp(d, 0.0).statistic
    assert whole.slice("").p_above(0.0) == pytest.approx(scipy_stats.norm.sf(t))
    assert whole.slice("west").interval() == (-math.inf, math.inf)


def test_peeking_after_every_batch_seldom_promotes_what_is_no_better() -> None:
    """Two models that are equally good: however often the gate is looked at, it errs within its bound."""
    draws = np.random.default_rng(7)
    repeats, looks, batch = 1_000, 60, 100
    naive = wrong = 0
    for _ in range(repeats):
        d = draws.normal(size=(looks, batch)) * draws.choice([0.2, 3.0], size=(looks, batch), p=[0.9, 0.1])
        rows = np.arange(1, looks + 1) * batch
        totals, squares = d.sum(axis=1).cumsum(), (d * d).sum(axis=1).cumsum()
        states = [Differences(int(n), t, s) for n, t, s in zip(rows, totals, squares, strict=True)][4:]
        wrong += any(state.interval(0.95)[0] > 0 for state in states)
        naive += any(state.p_above(0.0) < 0.05 for state in states)
    assert wrong / repeats <= 0.05
    assert naive / repeats > 0.2, "whoever looks at p-values so often errs"


def test_a_better_model_is_seen_soon() -> None:
    d = np.random.default_rng(3).normal(0.05, 0.3, 4_000)
    state = Differences(len(d), float(d.sum()), float(d @ d))
    assert 0.0 < state.interval(0.95)[0] < 0.05 < state.interval(0.95)[1]


def test_fairness_is_what_fairlearn_says() -> None:
    draws = np.random.default_rng(5)
    groups = draws.choice(["a", "b", "c"], 900)
    truth = draws.random(900) < 0.4
    predicted = draws.random(900) < np.where(groups == "a", 0.3, 0.5) + 0.2 * truth
    state = GroupOutcomes.of(groups[:300], truth[:300], predicted[:300])
    state = state.merge(GroupOutcomes.of(groups[300:], truth[300:], predicted[300:]))
    assert state.differences() == {
        "demographic_parity_difference": pytest.approx(
            demographic_parity_difference(truth, predicted, sensitive_features=groups)
        ),
        "equalized_odds_difference": pytest.approx(
            equalized_odds_difference(truth, predicted, sensitive_features=groups)
        ),
    }
    few = GroupOutcomes.of(
        np.array(["a", "a", "b"]), np.array([True, False, True]), np.array([True, True, True])
    )
    assert few.differences(2) == {name: pytest.approx(math.nan, nan_ok=True) for name in few.differences()}
    assert math.isnan(few.differences()["equalized_odds_difference"]), "b has one class only"


@pytest.mark.parametrize("metric", ["log_loss", "brier", "error_rate"])
def test_losses_average_to_the_metrics_of_scikit_learn(metric: str) -> None:
    model, (landed, labels) = fitted(), rows_of(1)
    truth = labels["late"].combine_chunks()
    found, _ = losses(
        Predictor(model), Batch.from_arrow(landed.combine_chunks().to_batches()[0]), truth, metric
    )
    chances = np.asarray(model.predict_proba(landed.to_pandas()))[:, 1]
    y = np.array(truth) == "yes"
    expected = {
        "log_loss": log_loss(y, chances),
        "brier": brier_score_loss(y, chances),
        "error_rate": 1 - accuracy_score(y, chances > 0.5),
    }
    assert found.mean() == pytest.approx(expected[metric])


FAIR = {"demographic_parity_difference": 0.05, "equalized_odds_difference": 0.02}


def evidence(**changes: Any) -> dict[str, Any]:
    good = {
        "rows": 1_000,
        "champion_loss": 0.5,
        "candidate_loss": 0.4,
        "baseline_loss": 0.69,
        "better_by": 0.1,
        "better_low": 0.05,
        "better_high": 0.15,
        "slices": {"place=north": [600, 60.0, 20.0], "place=south": [400, 40.0, 20.0]},
        "groups": {"f": 500, "m": 500},
        "fair": FAIR,
        "latency_p99_ms": 1.0,
        "size_mb": 1.0,
        "schema": [],
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    ("changes", "verdict", "says"),
    [
        ({}, "pass", "better by 0.1000 [0.0500, 0.1500]"),
        ({"rows": 99}, "cannot say", "99 labelled rows are newer than the training; 500 are needed"),
        ({"better_low": -0.01}, "cannot say", "may be more or less than 0"),
        ({"better_low": -0.3, "better_high": -0.1}, "fail", "surely less than 0"),
        (
            {"slices": {"place=north": [900, 90.0, 20.0], "place=south": [600, -60.0, 9.0]}},
            "fail",
            "place=south by 0.1",
        ),
        (
            {"slices": {"place=north": [900, 90.0, 20.0], "place=south": [90, -60.0, 50.0]}},
            "pass",
            "better by",
        ),
        ({"slices": {"place=south": [90, -60.0, 50.0]}}, "cannot say", "no slice of place has 100 rows yet"),
        (
            {"fair": {**evidence()["fair"], "equalized_odds_difference": 0.3}},
            "fail",
            "is 0.300, the limit 0.1",
        ),
        ({"fair": {**evidence()["fair"], "equalized_odds_difference": None}}, "cannot say", "both classes"),
        ({"candidate_loss": 0.7}, "fail", "beside 0.6900 of the best constant answer"),
        ({"baseline_loss": 0.0}, "cannot say", "the labels of these rows are all the same"),
        ({"latency_p99_ms": 11.0}, "fail", "p99 of one row is 11 ms, the limit 10 ms"),
        ({"size_mb": 300.0}, "fail", "the model is 300 MB"),
        ({"schema": ["column a is gone"]}, "fail", "the schema changed: column a is gone"),
    ],
)
def test_the_gate(changes: dict[str, Any], verdict: str, says: str) -> None:
    gate = Gate.model_validate(
        {
            "better": {"metric": "log_loss"},
            "slices": {"by": ["place"], "least_rows": 100, "worse_by_at_most": 0.01},
            "fair": {"by": "sex", "equalized_odds_difference": 0.1, "demographic_parity_difference": 0.1},
            "also": {"baseline": True, "latency_p99_ms": 10, "size_mb": 200, "schema": "same"},
        }
    )
    found = judge(gate, evidence(**changes))
    assert found["verdict"] == verdict
    assert says in found["because"]


def test_many_slices_that_are_no_worse_are_seldom_said_to_be() -> None:
    gate = Gate.model_validate({"better": {"metric": "log_loss"}, "slices": {"by": ["s"], "least_rows": 100}})
    draws = np.random.default_rng(11)
    failed = 0
    for _ in range(200):
        d = draws.normal(0.0, 1.0, (100, 200))
        slices = {f"s={k}": [200, float(row.sum()), float(row @ row)] for k, row in enumerate(d)}
        failed += judge(gate, evidence(slices=slices))["verdict"] == "fail"
    assert failed / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


# ---- the loop ----------------------------------------------------------------------------------------------


def test_drift_starts_a_candidate_that_newer_rows_judge(drifted: World) -> None:
    assert actions(drifted)[:4] == ["retrain", "judge", "judge", "promote"]
    assert drifted.store.current == 2
    first, second = bodies(drifted, "gate.judged")[:2]
    assert (first["verdict"], second["verdict"]) == ("cannot say", "pass")
    retrain = next(body for body in bodies(drifted, "decision") if body["action"] == "retrain")
    assert second["since"] == retrain["until"], "the gate's rows are newer than those of the training"
    assert retrain["now"] == 5 * DAY, "one window after the drift of day 3, whose labels come within a day"
    last = [body for body in bodies(drifted, "finding") if body["about"] == "quality"][-1]
    assert (last["version"], last["verdict"]) == (2, "ok")


def test_replay_decides_the_same_to_the_byte(drifted: World) -> None:
    count, otherwise = differing(drifted.loop().log, "store")
    assert count > 10
    assert otherwise == []


def test_a_look_again_changes_nothing(drifted: World) -> None:
    loop = drifted.loop()
    before = loop.log.last()
    findings, decision = loop.dry_run(8 * DAY)
    assert (loop.log.last(), decision["action"]) == (before, "wait")
    assert [finding for finding in findings if finding["about"] == "quality"] == []


def test_rows_that_drift_start_a_candidate_and_those_of_the_season_before_do_not(tmp_path: Path) -> None:
    data = "  data: {window: 1d, seasonal: 2d, effect: {js: 0.1}}\n  quality:"
    world = World.made(
        tmp_path, POLICY.replace("  quality:", data).replace("error: brier", "error: error_rate")
    )
    landed, labels = rows_of(-5, 2_000)
    model = fitted()
    model.save(tmp_path / "model", reference=landed.select(COLUMNS))
    world.store.promote(world.store.add(og.load(tmp_path / "model")))
    for day, moved in enumerate([0.0, 3.0, 0.0, 3.0, 0.0]):
        landed, labels = rows_of(day)
        moved_rows = landed.set_column(2, "a", pa.array(np.asarray(landed["a"]) + moved))
        pq.write_table(moved_rows, tmp_path / "rows" / f"{day}.parquet")
        pq.write_table(labels.slice(0, 0), tmp_path / "labels" / f"{day}.parquet")
        world.look(day)
    seen = [body for body in bodies(world, "finding") if body["about"] == "data"]
    assert [body["verdict"] for body in seen] == ["ok", "drift", "ok", "ok", "ok"]
    assert seen[1]["columns"] == ["a"]
    assert "a: The mean went from" in seen[1]["because"]
    assert seen[3]["kind"] == "periodic"
    assert actions(world)[:2] == ["retrain", "alert"]
    assert "promote" not in actions(world)


def test_no_drift_no_training(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    for day in range(6):
        world.land(day)
        assert world.look(day) == ["wait"]
    assert world.store.versions == [1]


def test_labels_that_never_come_promote_nothing(tmp_path: Path) -> None:
    policy = POLICY.replace("gate:\n", "gate:\n  within: 2d\n")
    world = World.made(tmp_path, policy)
    for day in range(7):
        world.land(day, sign=1.0 if day < 2 else -1.0, labels=day < 4)
    for day in (1, 3, 4, 6):
        world.look(day)
    assert actions(world)[:5] == ["retrain", "judge", "judge", "judge", "reject"]
    rejected = next(body for body in bodies(world, "decision") if body["action"] == "reject")
    assert "could not be judged for 2d" in rejected["because"]
    assert "promote" not in actions(world)
    assert "No label has come 1d after the window" in bodies(world, "finding")[-1]["because"]
    assert world.store.current == 1


def test_labels_that_come_twice_count_once_and_contradictions_do_not(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    world.land(0)
    labels = pq.read_table(tmp_path / "labels" / "0.parquet")
    turned = pa.array(["no" if value == "yes" else "yes" for value in labels["late"].to_pylist()])
    other = labels.set_column(1, "late", turned).slice(0, 10)
    strangers = pa.table({"id": [5], "late": ["yes"]})
    pq.write_table(pa.concat_tables([labels, other, strangers]), tmp_path / "labels" / "again.parquet")
    rows = world.loop().watcher.rows.labelled(0.0, DAY)
    assert rows is not None
    assert rows.count() == 390


def test_a_poisoned_candidate_stops_at_the_gate(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("  quality:", "  age: 3d\n  quality:"))
    for day in range(6):
        world.land(day)
    world.look(0)
    for day in range(1, 5):  # whoever trains now learns from labels that lie
        labels = pq.read_table(tmp_path / "labels" / f"{day}.parquet")
        lies = ["no" if value == "yes" else "yes" for value in labels["late"].to_pylist()]
        if day < 3:
            pq.write_table(
                labels.set_column(1, "late", pa.array(lies)), tmp_path / "labels" / f"{day}.parquet"
            )
    world.look(3)
    for day in (4, 5):
        world.look(day)
    assert "retrain" in actions(world)
    assert actions(world)[-1] == "reject"
    assert "surely less than 0" in bodies(world, "gate.judged")[-1]["because"]
    assert world.store.current == 1


@pytest.mark.parametrize(("maturity", "action"), [("crawl", "report"), ("walk", "alert")])
def test_crawl_and_walk_only_say_so(tmp_path: Path, maturity: str, action: str) -> None:
    policy = POLICY.replace("maturity: fly", f"maturity: {maturity}").replace("rollback:", "#")
    world = World.made(tmp_path, policy)
    for day in range(5):
        world.land(day, sign=1.0 if day < 2 else -1.0)
        world.look(day)
    assert set(actions(world)) == {action}
    assert world.store.versions == [1]


def test_run_leaves_the_promotion_to_a_person(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("maturity: fly", "maturity: run"))
    for day in range(6):
        world.land(day, sign=1.0 if day < 2 else -1.0)
        world.look(day)
    assert actions(world) == ["retrain", "judge", "judge", "propose"]
    assert bodies(world, "alert")[-1]["command"].endswith("store 2")
    assert world.store.current == 1
    world.store.promote(2)
    world.land(6, sign=1.0)  # and what rows mean turns back
    world.look(6)
    for day in (7, 8):
        world.land(day, sign=1.0)
        world.look(day)
    assert "rollback" in actions(world)
    assert world.store.current == 1


def test_a_budget_ends_a_training(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("at_most: 1/2d", "at_most: 1/2d, budget: {time: 0.1s}"))
    for day in range(4):
        world.land(day, sign=-1.0 if day else 1.0)
    loop = Loop(tmp_path / "policy.yaml")
    loop.once(2 * DAY)
    decided = [decision["action"] for decision in loop.once(4 * DAY)]
    assert decided[:2] == ["retrain", "alert"]
    assert "longer than its budget of 0.1 s" in bodies(world, "alert")[-1]["because"]
    assert world.store.versions == [1]


# ---- kills -------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import outgrow as og
from loops import COLUMNS, DAY, POLICY, World, fitted, rows_of
from pathlib import Path
world = World(Path(sys.argv[1]))
loop = world.loop()
append = loop.log.append
def killed(kind, *words, **options):
    if kind == "action":
        os.kill(os.getpid(), signal.SIGKILL)
    return append(kind, *words, **options)
loop.log.append = killed
loop.once(5 * DAY)
"""


class Killed(BaseException):
    """The process ends here."""


def test_a_kill_at_every_boundary_ends_the_same(tmp_path: Path) -> None:
    """Killed before each record, which is after each effect, the loop goes on to the same end."""
    whole = World.made(tmp_path / "whole")
    for day in range(6):
        whole.land(day, sign=1.0 if day < 2 else -1.0)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    killed = World(tmp_path / "killed")
    for day in (1, 3, 4, 5):
        whole.look(day)
        kills = 0
        while True:  # one record more each time, then the end
            loop = killed.loop()
            append, written = loop.log.append, []

            def dies(*words: Any, append: Any = append, written: list[Any] = written, **options: Any) -> Any:
                if len(written) == 1:
                    raise Killed
                written.append(words)
                return append(*words, **options)

            loop.log.append = dies  # type: ignore[method-assign]
            try:
                loop.once((day + 1) * DAY)
                break
            except Killed:
                kills += 1
                assert kills < 40
    assert effective(decided(killed)) == effective(decided(whole))
    assert "promote" in decided(whole)
    assert (killed.store.current, killed.store.versions) == (whole.store.current, whole.store.versions)
    assert differing(killed.loop().log, "store")[1] == []
    keys = [
        body["key"] for kind in ("action", "gate.judged", "rollout.stepped") for body in bodies(killed, kind)
    ]
    assert len(keys) == len(set(keys)), "each decision is carried out to its end once"


def decided(world: World) -> list[str]:
    return [body["action"] for body in bodies(world, "decision")]


def effective(decisions: list[str]) -> list[str]:
    """What was done; looks of a process that went on may have judged again."""
    return [action for action in decisions if action not in ("wait", "judge")]


def test_a_real_kill(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    for day in range(4):
        world.land(day, sign=1.0 if day < 2 else -1.0)
    world.look(1)
    code = KILLED.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", code, str(tmp_path)]  # before the record that says it was trained
    done = subprocess.run(words, env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert world.loop().view().pending is not None
    world.look(4)
    assert world.store.versions == [1, 2], "the version is not added twice"
    assert world.loop().view().pending is None


# ---- bad input ---------------------------------------------------------------------------------------------


def test_two_loops_at_once(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    with world.loop().locked(), pytest.raises(OutputBusyError, match=r"Another loop works on .*store"):
        world.look(0)


def test_a_store_without_a_champion_or_with_one_that_moved(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    (tmp_path / "store" / "1").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"version 1 is current, and its folder is gone"):
        world.look(0)
    (tmp_path / "store" / "CURRENT").unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(ArtifactError, match=r"no version that was promoted. Add one: outgrow promote"):
        world.look(0)


def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    world.look(3)
    with pytest.raises(ParameterError, match=r"The loop looked at .* already"):
        world.look(2)


def test_a_metric_that_says_nothing_of_the_model(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("error: brier", "error: mse"))
    world.land(0)
    world.land(1)
    with pytest.raises(OutgrowError, match=r"mse says nothing of version 1, a LogisticRegression"):
        world.look(2)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("time: time", "time: tme"))
    world.land(0)
    with pytest.raises(OutgrowError, match=r"rows.time: unknown column 'tme'; did you mean 'time'"):
        world.look(1)


def test_a_job_that_fails_is_said_once(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    (tmp_path / "job.yaml").write_text("name: x\n")
    for day in range(4):
        world.land(day, sign=1.0 if day < 2 else -1.0)
    for day in (1, 3):
        world.look(day)
    assert actions(world)[:2] == ["retrain", "alert"]
    assert "is not a valid job" in bodies(world, "alert")[0]["because"]
    assert world.store.versions == [1]


def test_the_view_is_the_same_however_it_is_read(drifted: World) -> None:
    records = list(drifted.loop().log.since(0))
    whole = fold(records, "store")
    assert fold(records[20:], "store", fold(records[:20], "store")) == whole


def test_the_command(drifted: World, capsys: pytest.CaptureFixture[str]) -> None:
    from outgrow.cli import main

    def command(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["loop", str(drifted.folder / "policy.yaml"), *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    code, text = command("--replay", str(drifted.folder / "ops.db"))
    assert (code, "decisions are the same to the byte" in text) == (0, True)
    code, text = command("--dry-run", "--now", "1970-01-09")
    assert (code, "decision" in text) == (0, True)
    code, text = command("--replay", "nowhere.db")
    assert (code, "There is no log at nowhere.db" in text) == (2, True)
    code, text = command("--once", "--now", "yesterday")
    assert (code, "--now='yesterday' is no time" in text) == (2, True)
