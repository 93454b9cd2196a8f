"""`python -m bench search`: what a search costs beside its trials, and what pruning saves on the flights.

The overhead is the time of many trials that do nothing, on one worker. The flights are searched once by full
random trials and once with pruning, from several seeds; what counts is how long the pruned search takes until
it has found as good a score.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import optuna

import outgrow as og
from bench.machine import machine
from outgrow.job.engines import open_engine
from outgrow.job.load import load_job
from outgrow.job.tables import open_data
from outgrow.job.tuning import split

RESULTS = Path(__file__).parent / "results" / "search" / "search.json"
JOB = Path(__file__).parent.parent / "examples" / "flights" / "job.yaml"
NOTHING, TRIALS, SAMPLE, SEEDS = 300, 100, 0.1, 5
SPACE = {
    "gradientboostingclassifier__n_estimators": {"low": 50, "high": 300, "step": 50},
    "gradientboostingclassifier__learning_rate": {"low": 0.02, "high": 0.6, "log": True},
    "gradientboostingclassifier__max_depth": {"low": 3, "high": 9},
}


def main(seeds: int = SEEDS, trials: int = TRIALS) -> None:
    overhead = {sampler: _overhead(sampler) for sampler in ("random", "tpe")}
    for sampler, seconds in overhead.items():
        _say(f"{sampler}: {1e3 * seconds:.1f} ms a trial beside its work (aim 5)")
    loaded = load_job(JOB, [f"sample={SAMPLE}"])
    train, _ = split(open_data(loaded, open_engine("local")), loaded)
    runs = [_against_random(loaded, train, seed, trials) for seed in range(seeds)]
    share = median(run["share"] for run in runs)
    _say(
        f"as good as {trials} random trials in {share:.2f} of their time (median of {seeds} seeds, aim 0.25)"
    )
    RESULTS.parent.mkdir(exist_ok=True)
    found = {
        "machine": machine(),
        "overhead_seconds": overhead,
        "sample": SAMPLE,
        "trials": trials,
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _nothing(parameters: dict[str, Any]) -> float:
    return float(parameters["x"])


def _overhead(sampler: str) -> float:
    """Seconds a trial that does nothing takes: from the first told to the last, by one worker."""
    moments: list[float] = []

    def note(_: optuna.study.Study) -> None:
        moments.append(time.perf_counter())

    og.tune(_nothing, space={"x": {"low": 0.0, "high": 1.0}, "y": {"low": 1e-3, "high": 1e3, "log": True}},
            metric="loss", sampler=sampler, trials=NOTHING, seed=0, workers=1, callback=note)  # fmt: skip
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def _against_random(loaded: Any, train: Any, seed: int, trials: int) -> dict[str, Any]:
    """How long the pruned search takes until it is as good as full random trials at their end."""
    settings: dict[str, Any] = {
        "space": SPACE, "metric": "roc_auc", "validation": og.Holdout(0.25), "seed": seed, "refit": False,
    }  # fmt: skip
    target = loaded.job.target
    began = time.perf_counter()
    full = og.tune(
        loaded.pipeline, train, target, sampler="random", trials=trials, within="workers", **settings
    )
    whole, aim = time.perf_counter() - began, full.best_value
    reached: list[float] = []
    began = time.perf_counter()

    def look(study: optuna.study.Study) -> None:
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if not reached and done and study.best_value >= aim:
            reached.append(time.perf_counter() - began)

    pruned = og.tune(loaded.pipeline, train, target, sampler="tpe", pruner="asha",
                     seconds=whole, callback=look, **settings)  # fmt: skip
    seconds = reached[0] if reached else whole
    _say(
        f"seed {seed}: random {aim:.5f} in {whole:.0f} s; pruned {pruned.best_value:.5f}, "
        f"as good after {seconds:.0f} s"
    )
    return {
        "seed": seed,
        "random": aim,
        "seconds": whole,
        "pruned": pruned.best_value,
        "share": seconds / whole,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
