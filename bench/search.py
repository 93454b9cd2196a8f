"""`python -m bench search`: what a search costs beside its trials, and what pruning saves on the flights.

The overhead is the time of many trials that do nothing, on one worker. The outlook of fits under way is held
against how they end, and so are their scores of that moment. The flights are searched once by full random
trials and once with pruning, from several seeds; what counts is how long the pruned search takes until it has
found as good a score. It gets half of the time of the random trials; where that is not enough, all counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from scipy.stats import spearmanr
from sklearn.base import clone

import outgrow as og
from bench.machine import machine
from outgrow.engine.matrix import MOMENTS
from outgrow.job.engines import open_engine
from outgrow.job.load import load_job
from outgrow.job.tables import open_data
from outgrow.job.tuning import split
from outgrow.ml.selection.cached import CachedCrossValidator
from outgrow.tuning.objective import ScoreForecast

RESULTS = Path(__file__).parent / "results" / "search" / "search.json"
JOB = Path(__file__).parent.parent / "examples" / "flights" / "job.yaml"
NOTHING, TRIALS, SAMPLE, SEEDS = 300, 100, 1.0, 5
WATCHED, WATCHED_SAMPLE = 40, 0.3
SPACE = {
    "gradientboostingclassifier__n_estimators": {"low": 50, "high": 300, "step": 50},
    "gradientboostingclassifier__learning_rate": {"low": 0.02, "high": 0.6, "log": True},
    "gradientboostingclassifier__max_depth": {"low": 3, "high": 9},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench search", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--sample", type=float, default=SAMPLE, help="share of the flights that is searched")
    asked = parser.parse_args()
    seeds, trials, sample = asked.seeds, asked.trials, asked.sample
    overhead = {sampler: _overhead(sampler) for sampler in ("random", "tpe")}
    for sampler, seconds in overhead.items():
        _say(f"{sampler}: {1e3 * seconds:.1f} ms a trial beside its work (aim 5)")
    outlook = _outlook()
    loaded, train = _flights(sample)
    runs = [_against_random(loaded, train, seed, trials) for seed in range(seeds)]
    share = median(run["share"] for run in runs)
    _say(
        f"as good as {trials} random trials in {share:.2f} of their time (median of {seeds} seeds, aim 0.25)"
    )
    if (seeds, trials, sample) != (SEEDS, TRIALS, SAMPLE):
        return
    RESULTS.parent.mkdir(exist_ok=True)
    found = {
        "machine": machine(),
        "overhead_seconds": overhead,
        "outlook": outlook,
        "sample": sample,
        "trials": trials,
        "share": share,
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _flights(sample: float) -> tuple[Any, Any]:
    loaded = load_job(JOB, [f"sample={sample}"])
    return loaded, split(open_data(loaded, open_engine("local")), loaded)[0]


def _outlook() -> dict[str, Any]:
    """How well trials are told apart on their way, and what the first and the next one of a round take."""
    loaded, train = _flights(WATCHED_SAMPLE)
    rows = og.dataset(train.to_arrow())
    bench, random = (
        CachedCrossValidator(rows, loaded.job.target, None, og.Holdout(0.25)),
        np.random.default_rng(0),
    )
    name = "gradientboostingclassifier__n_estimators"
    first = [_seconds(bench, clone(loaded.pipeline).set_params(**{name: 1})) for _ in range(2)]
    _say(f"a trial of one round: {first[0]:.2f} s, the next {first[1]:.2f} s")
    scores: dict[int, list[float]] = {step: [] for step in range(len(MOMENTS))}
    outlooks: dict[int, list[float]] = {step: [] for step in range(1, len(MOMENTS))}
    ends = []
    for _ in range(WATCHED):
        outlook, steps = ScoreForecast(), iter(range(len(MOMENTS)))

        def tell(share: float, found: Any, outlook: ScoreForecast = outlook, steps: Any = steps) -> None:
            step, end = next(steps), outlook.after(share, found["roc_auc"])
            scores[step].append(found["roc_auc"])
            if end is not None:
                outlooks[step].append(end)

        ends.append(bench.scores(clone(loaded.pipeline).set_params(**_drawn(random)), tell)[0]["roc_auc"])
    found = {
        f"{MOMENTS[step]:.3f}": {
            "scores": float(spearmanr(scores[step], ends).statistic),
            "outlook": float(spearmanr(outlooks[step], ends).statistic),
        }
        for step in outlooks
    }
    for share, ranks in found.items():
        _say(
            f"rank correlation with the end after {share} of the rounds: "
            f"scores {ranks['scores']:.2f}, outlook {ranks['outlook']:.2f}"
        )
    return {"first_seconds": first[0], "next_seconds": first[1], "rank_correlation": found}


def _seconds(bench: CachedCrossValidator, estimator: Any) -> float:
    began = time.perf_counter()
    bench.scores(estimator)
    return time.perf_counter() - began


def _drawn(random: np.random.Generator) -> dict[str, Any]:
    """Settings as random search draws them."""
    n_estimators, learning_rate, max_depth = SPACE
    return {
        n_estimators: int(random.integers(1, 7)) * 50,
        learning_rate: float(np.exp(random.uniform(np.log(0.02), np.log(0.6)))),
        max_depth: int(random.integers(3, 10)),
    }


def _nothing(parameters: dict[str, Any]) -> float:
    return float(parameters["x"])


def _overhead(sampler: str) -> float:
    """Seconds a trial that does nothing takes: from the first told to the last, by one worker."""
    moments: list[float] = []

    def note(_: optuna.study.Study) -> None:
        moments.append(time.perf_counter())

    og.tune(
        _nothing,
        space={"x": {"low": 0.0, "high": 1.0}, "y": {"low": 1e-3, "high": 1e3, "log": True}},
        metric="loss",
        sampler=sampler,
        trials=NOTHING,
        seed=0,
        workers=1,
        callback=note,
    )
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def _against_random(loaded: Any, train: Any, seed: int, trials: int) -> dict[str, Any]:
    """How long the pruned search takes until it is as good as full random trials at their end."""
    settings: dict[str, Any] = {
        "space": SPACE,
        "metric": "roc_auc",
        "validation": og.Holdout(0.25),
        "seed": seed,
        "refit": False,
    }
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

    pruned = og.tune(
        loaded.pipeline,
        train,
        target,
        sampler="tpe",
        pruner="asha",
        seconds=whole / 2,
        callback=look,
        **settings,
    )
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
