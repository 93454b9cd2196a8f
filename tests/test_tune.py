"""Search: spaces, samplers, pruning, workers here and on Spark, faults, and going on after a kill."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import outgrow as og
from objectives import square
from outgrow.cli import main
from outgrow.engine.matrix import MOMENTS
from outgrow.errors import ColumnNotFoundError, ParameterError, StudyError
from outgrow.testing import EngineCase
from outgrow.tuning.objective import ScoreForecast
from outgrow.tuning.plan import Plan
from outgrow.tuning.space import Space
from outgrow.tuning.staged_rows import StagedRows, mapped, on_this_machine
from outgrow.tuning.trial import TrialContext
from test_serve import wait_for

HERE = Path(__file__).parent
CS = {"C": {"low": 1e-3, "high": 1e2, "log": True}}


def people(count: int = 600, seed: int = 3) -> pa.Table:
    random = np.random.default_rng(seed)
    age, place = random.integers(18, 90, count).astype(float), random.choice(["town", "sea", "hill"], count)
    late = age + 20 * (place == "sea") + random.normal(0, 20, count) > 60
    return pa.table({"age": age, "place": place, "day": np.arange(count), "late": late})


def numbers(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(count, 5))
    return X, (X[:, 0] + random.normal(size=count) > 0).astype(int)


LINE = {"x": {"low": -10.0, "high": 10.0}}


# ---- spaces ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(low=st.floats(1e-6, 1e3), span=st.floats(0, 1e3), log=st.booleans(), seed=st.integers(0, 99))
def test_values_lie_in_their_range(low: float, span: float, log: bool, seed: int) -> None:
    space = Space({"a": {"low": low, "high": low + span, "log": log}, "n": {"low": 1, "high": 7}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    chosen = space.suggest(study.ask())
    assert low <= chosen["a"] <= low + span
    assert chosen["n"] in range(1, 8)


def test_a_condition_chooses_only_beside_its_value() -> None:
    space = Space(
        {
            "depth": {"low": 1, "high": 5, "when": {"kind": ["tree"]}},  # named before what it depends on
            "kind": ["tree", "line"],
            "C": {"low": 0.1, "high": 1.0, "when": {"kind": "line"}},
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = [space.suggest(study.ask()) for _ in range(30)]
    assert {tuple(sorted(chosen)) for chosen in seen} == {("depth", "kind"), ("C", "kind")}
    assert all(("depth" in chosen) == (chosen["kind"] == "tree") for chosen in seen)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "The space is empty"),
        ({"C": []}, "no choice for 'C'"),
        ({"C": {"low": 2, "high": 1}}, "low is not above high"),
        ({"C": {"low": 0.0, "high": 1.0, "log": True}}, "above 0"),
        ({"C": {"lo": 1, "high": 2}}, "low and high"),
        ({"C": {"low": 1, "high": 2, "when": {"kind": 1}}}, "does not choose"),
        ({"c": [1, 2]}, "Did you mean 'C'"),
        ({"C": [{}]}, "choices are numbers, text"),
        (
            {"C": {"low": -1.0, "high": 1.0}},
            r"LogisticRegression\(C=-1.0\): C must be a number greater than 0",
        ),
        ({"solver": ["lbfgs", "newton"]}, "solver must be one of 'lbfgs'"),
    ],
)
def test_a_bad_space_is_refused_before_anything_runs(space: Any, said: str) -> None:
    X, y = numbers()
    with pytest.raises(ParameterError, match=said):
        og.tune(og.LogisticRegression(), X, y, space=space, trials=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"within": "fused", "pruner": "asha"}, "nothing to prune"),
        ({"within": "fused", "metric": "fit_seconds"}, "share their time"),
        ({"metric": "r2"}, "not defined for this estimator"),
        ({"metric": "roc_auc_ovr"}, "not defined for these classes"),
        ({"sampler": "tpee"}, "sampler='tpee'"),
        ({"pruner": "hyper"}, "pruner='hyper'"),
        ({"pruner": "asha", "metric": ["roc_auc", "fit_seconds"]}, "one number"),
        ({"trials": 0}, "trials=0"),
        ({"within": "cluster"}, "within='cluster'"),
        ({"sampler": "grid"}, "grid needs"),
        ({"validation": 1}, "2 folds"),
    ],
)
def test_misuse(change: dict[str, Any], said: str) -> None:
    X, y = numbers()
    with pytest.raises(ParameterError, match=said):
        og.tune(og.LogisticRegression(), X, y, **{"space": CS, "trials": 2, "workers": 1, **change})


@pytest.mark.parametrize(
    ("model", "space", "mode"),
    [
        (og.LogisticRegression(), {"C": [0.1, 1.0], "l1_ratio": [0.0, 0.5]}, "fused"),
        (og.Pipeline([og.StandardScaler(), og.Ridge()]), {"ridge__alpha": [0.1, 1.0]}, "fused"),
        (
            og.Pipeline([og.StandardScaler(), og.Ridge()]),
            {"standardscaler__with_mean": [True, False]},
            "workers",
        ),
        (og.LogisticRegression(), {"C": [0.1, 1.0], "max_iter": [10, 20]}, "workers"),
    ],
    ids=str,
)
def test_what_can_be_learnt_together_is(model: Any, space: Any, mode: str) -> None:
    plan = Plan.of(model, *numbers(), None, None, None, None)
    assert plan.mode("auto", Space(space), prunes=False) == mode


# ---- what is tried -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["local", "spark-frame", "spark-path"], indirect=True)
def test_pipelines_on_every_engine(engine: EngineCase) -> None:
    steps = [og.StandardScaler(columns=["age"]), og.OneHotEncoder(columns=["place"]), og.LogisticRegression()]
    rows = engine.open(people())
    found = og.tune(
        og.Pipeline(steps),
        rows,
        "late",
        space={"logisticregression__C": CS["C"]},
        metric="roc_auc",
        validation=og.TimeFolds("day", folds=2),
        sampler="random",
        seed=0,
        trials=3,
        workers=1,
    )
    expected = [
        og.cross_validate(
            og.Pipeline(steps).set_params(logisticregression__C=row["logisticregression__C"]),
            people(),
            "late",
            cv=og.TimeFolds("day", folds=2),
        ).mean()["roc_auc"]
        for row in found.trials.to_pylist()
    ]
    assert found.trials["roc_auc"].to_pylist() == pytest.approx(expected, rel=1e-9)
    assert found.best_value == max(found.trials["roc_auc"].to_pylist())
    assert "day" not in found.best_estimator.columns_
    assert found.best_parameters["logisticregression__C"] == found.best_estimator.model.C


def test_estimators_of_scikit_learn_by_column_names() -> None:
    frame = people().to_pandas()
    model = make_pipeline(
        make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["place"])),
        LogisticRegression(),
    )
    found = og.tune(
        model,
        frame,
        "late",
        space={"logisticregression__C": [0.01, 1.0]},
        sampler="grid",
        metric=["roc_auc", "log_loss"],
        validation=og.KFold(3),
        workers=1,
    )
    assert sorted(found.trials["logisticregression__C"].to_pylist()) == [0.01, 1.0]
    assert all(0.6 < value < 1 for value in found.trials["roc_auc"].to_pylist())
    assert isinstance(found.best_estimator.predict(frame.drop(columns="late")), np.ndarray)


def test_arrays_and_weights_for_scikit_learn() -> None:
    X, y = numbers()
    weight = np.where(y == 1, 5.0, 1.0)
    found = og.tune(
        Ridge(), X, y.astype(float), weight, space={"alpha": [0.1, 1e6]}, sampler="grid", workers=1
    )
    by_hand = og.tune(
        og.Ridge(), X, y.astype(float), weight, space={"alpha": [0.1, 1e6]}, sampler="grid", workers=1
    )
    ours, theirs = (sorted(each.trials["r2"].to_pylist()) for each in (by_hand, found))
    assert theirs == pytest.approx(ours, rel=1e-9)
    assert found.best_parameters == {"alpha": 0.1}
    assert found.best_estimator.predict(X) == pytest.approx(by_hand.best_estimator.predict(X))


def test_functions_get_rows_and_report() -> None:
    def mean_of_part(parameters: dict[str, Any], trial: TrialContext) -> float:
        values = trial.data["age"].to_numpy()[: parameters["rows"]]
        trial.report(float(values.mean()), 1)
        return float(values.mean())

    found = og.tune(
        mean_of_part, people(), space={"rows": [10, 600]}, sampler="grid", metric="mean", workers=1
    )
    expected = {rows: people()["age"].to_numpy()[:rows].mean() for rows in (10, 600)}
    assert {row["rows"]: row["mean"] for row in found.trials.to_pylist()} == pytest.approx(expected)


def test_several_metrics_keep_the_compromises() -> None:
    def both(parameters: dict[str, Any]) -> tuple[float, float]:
        return parameters["x"] ** 2, (parameters["x"] - 2) ** 2

    found = og.tune(
        both, space=LINE, metric=["left_loss", "right_loss"], sampler="evolutionary", trials=60, seed=0
    )
    assert len(found.study.best_trials) > 1
    assert all(-0.5 < trial.params["x"] < 2.5 for trial in found.study.best_trials)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_samplers_find_a_minimum_again(sampler: str) -> None:
    space = {**LINE, "y": {"low": 0.0, "high": 1.0}}
    runs = [
        og.tune(square, space=space, metric="loss", sampler=sampler, trials=25, seed=5, workers=1)
        for _ in range(2)
    ]
    assert runs[0].trials["x"].to_pylist() == runs[1].trials["x"].to_pylist()
    assert runs[0].best_value < 9


@pytest.mark.parametrize("engine", ["local", "spark-frame", "spark-path"], indirect=True)
def test_one_trial_at_a_time_over_the_engine(engine: EngineCase) -> None:
    rows = engine.open(people().drop_columns(["place", "day"]))
    found = og.tune(
        og.LogisticRegression(), rows, "late", space={"C": [0.01, 1.0]}, sampler="grid", within="engine"
    )
    expected = [
        og.cross_validate(
            og.LogisticRegression(C=row["C"]),
            people().drop_columns(["place", "day"]),
            "late",
            cv=og.Holdout(),
        ).mean()["log_loss"]
        for row in found.trials.to_pylist()
    ]
    assert found.trials["log_loss"].to_pylist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("engine", ["local", "local-3-pieces", "spark-path"], indirect=True)
def test_settings_of_linear_models_share_scans(engine: EngineCase) -> None:
    rows = people().drop_columns(["place", "day"])
    asked: dict[str, Any] = {"space": CS, "metric": "log_loss", "sampler": "random", "seed": 0, "trials": 9}
    asked |= {"validation": og.KFold(3)}
    passes: list[int] = []
    with og.listen(lambda event: passes.append(event.step) if event.unit == "pass" else None):
        found = og.tune(og.LogisticRegression(), engine.open(rows), "late", **asked)
    alone = og.tune(og.LogisticRegression(), rows, "late", within="engine", **asked)
    for one, other in zip(found.trials.to_pylist(), alone.trials.to_pylist(), strict=True):
        assert one["C"] == other["C"]
        assert one["log_loss"] == pytest.approx(other["log_loss"], rel=1e-7)
    assert len(passes) < 9 * 3 * 3  # less than one pass for each fit


# ---- workers -----------------------------------------------------------------------------------------------


def test_rows_reach_a_machine_once() -> None:
    table = people()
    rows = og.dataset(table).scan
    material = StagedRows(rows.pieces(), table.schema)
    with on_this_machine("test-once", material) as (folder, first):
        with on_this_machine("test-once", material) as (same, second):
            assert (first, second, folder) == (True, False, same)
        found = mapped(folder)
        assert found is not None
        assert found.equals(table)
        address = found["age"].chunk(0).buffers()[1].address
        maps = Path("/proc/self/maps").read_text().splitlines()
        assert any("rows.arrow" in line and _holds(line, address) for line in maps)
    assert not folder.exists()


def _holds(line: str, address: int) -> bool:
    low, high = (int(part, 16) for part in line.split()[0].split("-"))
    return low <= address < high


def test_workers_of_spark_in_one_job(spark: Any) -> None:
    X, y = numbers()
    jobs = [] if og.Spark(spark).connect else spark.sparkContext.statusTracker().getJobIdsForGroup()
    found = og.tune(
        LogisticRegression(), X, y, space=CS, sampler="random", trials=12, seed=1, engine=og.Spark(spark)
    )
    here = og.tune(LogisticRegression(), X, y, space=CS, sampler="random", trials=12, seed=1, workers=1)
    ours, theirs = ({row["C"]: row["log_loss"] for row in each.trials.to_pylist()} for each in (here, found))
    assert theirs == pytest.approx(ours, rel=1e-12)
    if not og.Spark(spark).connect:
        assert len(set(spark.sparkContext.statusTracker().getJobIdsForGroup()) - set(jobs)) <= 1


def test_a_failing_trial_ends_nothing() -> None:
    def fails(parameters: dict[str, Any]) -> float:
        if parameters["x"] == 1:
            raise ValueError("one is not possible")
        return float("nan") if parameters["x"] == 2 else 0.5

    found = og.tune(fails, space={"x": [0, 1, 2]}, sampler="grid", metric="loss", workers=1)
    said = {row["x"]: (row["state"], row["error"]) for row in found.trials.to_pylist()}
    assert said[0] == ("complete", None)
    assert said[1] == ("fail", "ValueError: one is not possible")
    assert said[2] == ("fail", "The trial returned nan, which cannot be compared.")


def test_a_trial_that_kills_its_worker_is_tried_again_and_then_given_up() -> None:
    def kills(parameters: dict[str, Any]) -> float:
        if parameters["x"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.5

    found = og.tune(kills, space={"x": [0, 1]}, sampler="grid", metric="loss", workers=1)
    rows = [row for row in found.trials.to_pylist() if row["x"] == 1]
    assert len(rows) == 3
    assert "is gone" in rows[-1]["error"]
    assert "tried 3 times" in rows[-1]["error"]
    assert found.best_parameters == {"x": 0}


def test_a_worker_that_stands_still_is_noticed(tmp_path: Path) -> None:
    def stops_once(parameters: dict[str, Any]) -> float:
        if not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").write_text("")
            os.kill(os.getpid(), signal.SIGSTOP)
        return parameters["x"]

    found = og.tune(stops_once, space={"x": [0, 1]}, sampler="grid", metric="loss", workers=1, silence=2.0)
    assert sorted(found.trials["state"].to_pylist()) == ["complete", "complete", "fail"]
    assert found.best_parameters == {"x": 0}


def test_deadline_and_memory_of_a_trial() -> None:
    def greedy(parameters: dict[str, Any]) -> float:
        if parameters["x"] == 1:
            time.sleep(60)
        return float(np.ones(parameters["x"] * 50_000_000).sum())

    found = og.tune(
        greedy, space={"x": [0, 1, 20]}, sampler="grid", metric="loss", workers=1, deadline=5.0, memory="2GiB"
    )
    said = {row["x"]: row["error"] for row in found.trials.to_pylist()}
    assert said[0] is None
    assert said[1] == "The trial took longer than its deadline of 5 s."
    assert "MemoryError" in said[20]


def test_pruning_reaches_a_running_trial(tmp_path: Path) -> None:
    def slow(parameters: dict[str, Any], trial: TrialContext) -> float:
        for step in range(1, 40):
            trial.report(parameters["x"], step)
            time.sleep(0.05)
        return float(parameters["x"])

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
    began = time.monotonic()
    found = og.tune(slow, space={"x": [0, 1, 2, 3]}, sampler="grid", pruner=pruner, metric="loss", workers=1)
    states = found.trials["state"].to_pylist()
    assert "pruned" in states
    assert time.monotonic() - began < 4 * 40 * 0.05 + 20
    reported = [
        len(trial.intermediate_values) for trial in found.study.trials if trial.state.name == "PRUNED"
    ]
    assert max(reported) <= 5


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(-2, 2))
def test_the_outlook_is_right_about_what_goes_on_along_the_logarithm(start: float, slope: float) -> None:
    outlook = ScoreForecast()
    assert outlook.after(MOMENTS[0], start + slope * math.log(MOMENTS[0])) is None
    for share in MOMENTS[1:]:
        assert outlook.after(share, start + slope * math.log(share)) == pytest.approx(start, abs=1e-9)


def test_boosting_is_pruned_between_its_rounds() -> None:
    X, y = numbers()
    space = {
        "n_estimators": {"low": 12, "high": 60},
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "max_bins": [8, 16, 32, 64],
    }
    found = og.tune(
        og.GradientBoostingClassifier(),
        X,
        y,
        space=space,
        pruner="asha",
        trials=20,
        seed=0,
        workers=1,
        refit=False,
    )
    assert {"complete", "pruned"} == set(found.trials["state"].to_pylist())
    for trial in found.study.get_trials():
        steps = set(trial.intermediate_values)
        if trial.state == optuna.trial.TrialState.PRUNED:
            assert steps in ({1}, {1, 3}, {1, 3, 6})
            continue
        assert steps == {1, 3, 6}
        model = og.GradientBoostingClassifier(**trial.params)
        alone = og.cross_validate(model, X, y, cv=og.Holdout()).mean()
        assert trial.value == pytest.approx(alone["log_loss"], rel=1e-9)


def test_shares_of_rows_for_a_pruner() -> None:
    X, y = numbers(2000)
    found = og.tune(og.LogisticRegression(), X, y, space=CS, pruner="asha", trials=12, seed=0, workers=1)
    steps = {tuple(trial.intermediate_values) for trial in found.study.trials}
    assert steps <= {(1,), (1, 3)}
    assert {"complete", "pruned"} <= set(found.trials["state"].to_pylist())


def test_limits() -> None:
    def slow(parameters: dict[str, Any]) -> float:
        time.sleep(0.1)
        return 1.0

    found = og.tune(slow, space=LINE, metric="loss", seconds=3, workers=1)
    assert 1 <= found.trials.num_rows < 60
    found = og.tune(slow, space=LINE, metric="loss", patience=5, workers=1)
    assert found.trials.num_rows == 6


def test_no_trial_done() -> None:
    def fails(parameters: dict[str, Any]) -> float:
        raise RuntimeError("no luck")

    found = og.tune(fails, space=LINE, trials=2, workers=1)
    with pytest.raises(ParameterError, match="RuntimeError: no luck"):
        found.best_trial  # noqa: B018


# ---- going on ----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
import outgrow as og

def slow(parameters):
    time.sleep(0.15)
    return (parameters["x"] - 3) ** 2

og.tune(slow, space={"x": {"low": -10.0, "high": 10.0}}, metric="loss", trials=25, seed=1, study=sys.argv[1])
"""


def test_the_same_call_goes_on_after_a_kill(tmp_path: Path) -> None:
    journal, script = tmp_path / "study.journal", tmp_path / "search.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, str(script), str(journal)], start_new_session=True)
    wait_for(lambda: journal.exists() and len(journal.read_text().splitlines()) > 60, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(journal.read_text().splitlines())
    done = subprocess.run(
        [sys.executable, str(script), str(journal)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = og.tune(square, space=LINE, metric="loss", trials=25, study=tmp_path / "other", workers=1)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name="outgrow", storage=storage)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == 25
    assert states.count("RUNNING") == 0
    lost = [trial.params for trial in study.trials if trial.state.name == "FAIL" and trial.params]
    assert all(
        any(t.params == chosen and t.state.name == "COMPLETE" for t in study.trials) for chosen in lost
    )
    assert before < len(journal.read_text().splitlines())
    assert found.trials.num_rows == 25


def test_another_space_is_refused(tmp_path: Path) -> None:
    og.tune(square, space=LINE, metric="loss", trials=3, study=tmp_path / "s", workers=1)
    with pytest.raises(StudyError, match=r"begun with another space(.|\n)*-10\.0(.|\n)*-20\.0"):
        og.tune(
            square, space={"x": {"low": -20.0, "high": 10.0}}, metric="loss", trials=3, study=tmp_path / "s"
        )
    found = og.tune(square, space=LINE, metric="loss", trials=5, study=tmp_path / "s", workers=1)
    assert found.trials.num_rows == 5


def test_two_drivers_do_not_share_a_journal(tmp_path: Path) -> None:
    seen: list[Exception] = []

    def other(study: Any) -> None:
        try:
            og.tune(square, space=LINE, metric="loss", trials=9, study=tmp_path / "s")
        except StudyError as error:
            seen.append(error)

    og.tune(square, space=LINE, metric="loss", trials=1, study=tmp_path / "s", workers=1, callback=other)
    assert "Another process works on the study" in str(seen[0])


def test_a_storage_url_of_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    og.tune(square, space=LINE, metric="loss", trials=3, study=url, workers=1)
    assert og.tune(square, space=LINE, metric="loss", trials=5, study=url, workers=1).trials.num_rows == 5


# ---- the command -------------------------------------------------------------------------------------------


def job_file(tmp_path: Path, **tune: Any) -> Path:
    pq.write_table(people(2000), tmp_path / "people.parquet")
    job = {
        "name": "people",
        "data": {"path": "people.parquet", "drop": ["day"]},
        "target": "late",
        "steps": [{"StandardScaler": {"columns": ["age"]}}, {"OneHotEncoder": {"columns": "categorical"}}],
        "model": "LogisticRegression",
        "output": str(tmp_path / "out"),
        "tune": {
            "space": {"model.C": CS["C"], "steps.OneHotEncoder.max_categories": [2, 3]},
            "metric": "roc_auc",
            "trials": 10,
            "workers": 1,
            **tune,
        },
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)
    assert call("tune", str(path)) == 0
    said = capsys.readouterr()
    best = tmp_path / "out-tune" / "best"
    assert "best settings" in said.out
    assert str(best) in said.out
    assert sorted(each.name for each in best.glob("[!.]*")) == [
        "best.yaml",
        "found.json",
        "model",
        "report.html",
        "trials.parquet",
    ]
    found = json.loads((best / "found.json").read_text())
    assert found["test"]["roc_auc"] == pytest.approx(
        og.load(best / "model").evaluate(*_test_rows(tmp_path))["roc_auc"], rel=1e-12
    )
    page = (best / "report.html").read_text()
    assert all(word in page for word in ("History", "Settings", "What matters", "Cost and quality"))
    assert call("tune", str(path), "--trials", "12") == 0  # goes on
    assert pq.read_table(best / "trials.parquet").num_rows == 12
    assert call("run", str(best / "best.yaml")) == 0
    model = og.load(tmp_path / "out" / "model")
    found = json.loads((best / "found.json").read_text())
    assert found["parameters"]["logisticregression__C"] == model.model.C


def _test_rows(tmp_path: Path) -> tuple[Any, str]:
    rows = og.read(str(tmp_path / "people.parquet")).select("age", "place", "late")
    return rows.split(0.2, seed=0)[1], "late"


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"model.c": [1]}, "did you mean 'C'"),
        ({"steps.OneHotEncode.max_categories": [1]}, "did you mean 'OneHotEncoder'"),
        ({"C": [1]}, "model.PARAMETER"),
    ],
)
def test_the_command_checks_the_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], space: dict[str, Any], said: str
) -> None:
    assert call("tune", str(job_file(tmp_path, space=space))) == 2
    assert said in capsys.readouterr().err


def test_a_job_without_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)
    job = yaml.safe_load(path.read_text())
    del job["tune"]
    path.write_text(yaml.safe_dump(job))
    assert call("tune", str(path)) == 2
    assert "no section tune" in capsys.readouterr().err


def test_a_missing_column() -> None:
    with pytest.raises(ColumnNotFoundError, match="lates"):
        og.tune(og.LogisticRegression(), people(), "lates", space=CS)
    with pytest.raises(ParameterError, match="X is missing"):
        og.tune(og.LogisticRegression(), space=CS)
    with pytest.raises(ParameterError, match="neither an estimator nor a function"):
        og.tune(3, space=CS)


def test_pandas_stays_as_it_was() -> None:
    frame = people().to_pandas()
    before = frame.copy()
    og.tune(
        og.GradientBoostingClassifier(n_estimators=3),
        frame,
        "late",
        space={"max_depth": [2, 3]},
        sampler="grid",
        workers=1,
    )
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "spec",
    [
        np.logspace(-2, 2, 5),
        list(np.arange(5)),
        {"low": np.int64(1), "high": np.float32(9)},
        (np.bool_(True),),
    ],
    ids=str,
)
def test_numbers_of_numpy_in_a_space(spec: Any) -> None:
    found = og.tune(lambda p: float(p["x"]), space={"x": spec}, metric="loss", trials=2, seed=0, workers=1)
    assert type(found.best_parameters["x"]) in (int, float, bool)


def test_a_function_may_return_a_mapping() -> None:
    def values(p: dict[str, Any]) -> dict[str, float]:
        return {"mse": p["x"], "size": -p["x"], "loss": 1 - p["x"]}

    found = og.tune(values, space=LINE, metric=["loss", "mse"], trials=3, seed=0, workers=1)
    best = found.study.best_trials[0]
    assert best.values == [1 - best.params["x"], best.params["x"]]
    with pytest.raises(ParameterError, match="'other'"):
        og.tune(values, space=LINE, metric="other", trials=1, workers=1)


def test_what_a_callback_raises_ends_the_search() -> None:
    def callback(study: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        og.tune(square, space=LINE, metric="loss", trials=9, workers=1, callback=callback)


def test_a_study_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is a folder"):
        og.tune(square, space=LINE, metric="loss", trials=1, study=tmp_path, workers=1)


def test_a_pipeline_that_ends_in_a_model_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = (X[:, 0] > 0).astype(int)
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("tree", DecisionTreeClassifier(random_state=0))])
    space = {"tree__max_depth": [1, 3], "tree__criterion": ["gini", "entropy"]}
    found = og.tune(pipe, X, y, space=space, metric="accuracy", sampler="grid", seed=0, workers=1)
    assert found.best_value > 0.9
    assert found.trials.num_rows == 4


@pytest.mark.parametrize(
    ("model", "y", "space", "metric", "best"),
    [
        (og.GaussianMixture(random_state=0), None, {"n_components": [1, 2]}, "log_likelihood", 2),
        (og.KMeans(random_state=0), None, {"n_clusters": [1, 2]}, "inertia", 2),
        (og.LinearSVC(), "y", {"C": [1e-9, 1.0]}, "accuracy", 1.0),
        (LinearSVC(), "y", {"C": [1e-9, 1.0]}, "accuracy", 1.0),
        (og.Pipeline([og.MinMaxScaler(), og.LinearSVC()]), "y", {"linearsvc__C": [1.0]}, "accuracy", 1.0),
    ],
)
@pytest.mark.parametrize("within", ["auto", "workers"])
def test_what_has_no_probabilities_is_compared_by_what_it_has(
    model: Any, y: str | None, space: Any, metric: str, best: float, within: str
) -> None:
    random = np.random.default_rng(0)
    kind = np.repeat([0, 1], 60)
    table = pa.table({"a": random.normal(size=120) + 9 * kind, "b": random.normal(size=120)})
    table = table if y is None else table.append_column("y", pa.array(kind))
    found = og.tune(model, table, y, space=space, sampler="grid", workers=1, within=within)
    assert found.metrics == (metric,)
    assert list(found.best_parameters.values()) == [best]


def test_what_predicts_nothing_has_no_metric() -> None:
    with pytest.raises(ParameterError, match=r"MinMaxScaler\(\) predicts nothing that could be judged"):
        og.tune(og.MinMaxScaler(), people(), space={"clip": [True, False]})
