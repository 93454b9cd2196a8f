"""`python -m bench track`: what it costs to record runs, and to look at them, beside MLflow in the same run.

A fit of a fixed length is recorded with and without its events, and a log of 10,000 runs is listed, filtered
and compared; MLflow gets the same numbers on SQLite.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import mlflow
import numpy as np

import outgrow as og
from bench.machine import machine
from outgrow.engine.activity import activity
from outgrow.engine.events import Event, emit
from outgrow.track.runs_view import RunsView

RESULTS = Path(__file__).parent / "results"
EVENTS, RUNS = 1_000, 10_000
FIT_SECONDS = 60.0
"""The length of the fit that the share is told of."""


TURNS = 15


def main() -> None:
    os.environ["OUTGROW_CACHE"] = tempfile.mkdtemp()
    warnings.simplefilter("ignore")
    facts = machine()
    rows = [*_events(), *_whole_fits(), *_listings()]
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    (RESULTS / "track.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    (RESULTS / "track.md").write_text(_table(rows, facts))
    print(_table(rows, facts))


def _events() -> list[dict[str, Any]]:
    """What an event costs the thread that fits, and all of them the process."""
    folder = tempfile.mkdtemp()
    og.track.start(f"{folder}/ops.db")
    with activity("fit", "warm"):
        _emit(EVENTS)
    began, cpu = time.perf_counter(), time.process_time()
    with activity("fit", "events"):
        _emit(EVENTS)
    thread = time.perf_counter() - began
    og.track.stop()
    process = time.process_time() - cpu
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("bench")
    few = 100
    with mlflow.start_run():
        began = time.perf_counter()
        for step in range(few):
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
        each = (time.perf_counter() - began) / few
    return [
        {
            "what": "an event, in the thread that fits",
            "unit": "µs",
            "ours": 1e6 * thread / EVENTS,
            "mlflow": 1e6 * each,
        },
        {
            "what": f"{EVENTS:,} events, processor time in all, as a share of a fit of {FIT_SECONDS:.0f} s",
            "unit": "%",
            "ours": 100 * process / FIT_SECONDS,
            "mlflow": 100 * each * EVENTS / FIT_SECONDS,
        },
    ]


def _emit(count: int) -> None:
    for step in range(count):
        loss = 1.0 / (step + 1)
        emit(Event("fit", "step", step, count, 1_000, 0.06, loss=loss, metrics={"validation": loss}))


def _whole_fits() -> list[dict[str, Any]]:
    """A small fit and its evaluation, unrecorded and recorded in turns."""
    random = np.random.default_rng(0)
    X = random.normal(size=(20_000, 20))
    y = (X[:, 0] + random.normal(size=len(X)) > 0).astype(int)
    model = og.LogisticRegression()

    def work() -> None:
        model.fit(X, y)
        model.evaluate(X, y)

    folder, differences = tempfile.mkdtemp(), []
    work()
    for _ in range(TURNS):
        bare = _median(work, 3)
        og.track.start(f"{folder}/ops.db")
        work()
        differences.append(_median(work, 3) - bare)
        og.track.stop()
    added = 1e3 * median(differences)
    run = _mlflow_run()
    return [
        {"what": "a run: begin, parameters, metrics, end", "unit": "ms", "ours": added, "mlflow": 1e3 * run}
    ]


def _mlflow_run() -> float:
    def work() -> None:
        with mlflow.start_run():
            mlflow.log_params({"C": 1.0})
            mlflow.log_metrics({"accuracy": 0.9, "log_loss": 0.3})

    work()
    return _median(work)


def _listings() -> list[dict[str, Any]]:
    """A log of many runs, listed and filtered: at first, in another process, and again."""
    log = og.EventLog(f"{tempfile.mkdtemp()}/ops.db")
    _fill(log)
    condition = "metrics.log_loss < 0.4 and params.C = '1.0'"
    began = time.perf_counter()
    assert og.runs(log=log).num_rows == RUNS
    first = time.perf_counter() - began

    def other_process() -> None:
        RunsView._views.clear()
        og.runs(condition, log=log)

    few = min(RUNS, 300)
    _fill_mlflow(few)
    listed = _median(lambda: og.runs(log=log, limit=100))
    query = "metrics.log_loss < 0.4 and params.C = '1.0'"
    theirs = _median(lambda: mlflow.search_runs(filter_string=query, max_results=100), 3)
    return [
        {"what": f"{RUNS:,} runs read for the first time", "unit": "ms", "ours": 1e3 * first, "mlflow": None},
        {"what": f"{RUNS:,} runs, newest 100", "unit": "ms", "ours": 1e3 * listed, "mlflow": None},
        {
            "what": f"{RUNS:,} runs filtered by a metric and a parameter, in a process that starts",
            "unit": "ms",
            "ours": 1e3 * _median(other_process),
            "mlflow": None,
        },
        {
            "what": f"the same filter, again (MLflow: of {few:,} runs, at most 100)",
            "unit": "ms",
            "ours": 1e3 * _median(lambda: og.runs(condition, log=log)),
            "mlflow": 1e3 * theirs,
        },
    ]


def _fill(log: og.EventLog) -> None:
    random = np.random.default_rng(0)
    libraries = {f"library{i}": "1.2.3" for i in range(12)}
    constant = {
        "kind": "fit",
        "name": "LogisticRegression",
        "environment": {"host": "h", "python": "3.12", "libraries": libraries},
        "code": {"commit": "c" * 40},
        "tags": {"team": "a"},
    }
    schema = {f"column{i}": "double" for i in range(20)}
    with log.writer() as writer:
        for number in range(RUNS):
            run = f"{random.integers(1 << 62):032x}"
            parameters = {"C": float(random.integers(5)), "max_iter": int(random.integers(100))}
            writer.append("run.began", run, {**constant, "parameters": parameters}, by="me")
            seen = {"uri": "flights.parquet", "fingerprint": f"{number % 7:064x}", "rows": 1_000}
            writer.append("data.seen", run, {**seen, "schema": schema}, by="me")
            metrics = {"log_loss": float(random.random()), "accuracy": float(random.random())}
            ending = {"state": "finished", "seconds": 1.0, "metrics": metrics}
            writer.append("run.ended", run, ending, by="me")


def _fill_mlflow(count: int) -> None:
    random = np.random.default_rng(0)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("bench").experiment_id
    for _ in range(count):
        run = client.create_run(experiment).info.run_id
        metrics = [mlflow.entities.Metric("log_loss", float(random.random()), 0, 0)]
        parameters = [mlflow.entities.Param("C", str(float(random.integers(5))))]
        client.log_batch(run, metrics, parameters)
        client.set_terminated(run)


def _median(work: Callable[[], Any], times: int = 9) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)


def _table(rows: list[dict[str, Any]], facts: dict[str, str]) -> str:
    lines = [
        "# Runs recorded and looked at",
        "",
        "Written by `python -m bench track`; medians, on SQLite, both in the same run.",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before and "
        f"{facts['load after']} after; MLflow {mlflow.__version__}.",
        "",
        "| what | unit | outgrow | MLflow | MLflow / outgrow |",
        "|---|---|---:|---:|---:|",
    ]
    for row in rows:
        theirs = "" if row["mlflow"] is None else f"{row['mlflow']:,.4g}"
        ratio = "" if row["mlflow"] is None else f"{row['mlflow'] / row['ours']:,.0f}"
        lines.append(f"| {row['what']} | {row['unit']} | {row['ours']:,.4g} | {theirs} | {ratio} |")
    return "\n".join(lines) + "\n"
