"""`og.tune`: try settings until one is good."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from outgrow.engine.dataset import Engine
from outgrow.engine.memory import parse_size
from outgrow.ml.selection.folds import Folds
from outgrow.tuning.executors import WorkerPool, fused, on_the_engine, with_workers
from outgrow.tuning.plan import Function, Plan
from outgrow.tuning.result import TuneResult
from outgrow.tuning.space import Space
from outgrow.tuning.study import SHARES, Study
from outgrow.tuning.trial_server import Limits, Progress


def tune(
    what: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    space: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
    metric: str | Sequence[str] | None = None,
    validation: int | Folds | None = None,
    sampler: Any = "tpe",
    pruner: Any = "none",
    trials: int | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    study: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    engine: Engine | None = None,
    workers: int | None = None,
    cores: int = 1,
    memory: int | str | None = None,
    deadline: float | None = None,
    within: str = "auto",
    refit: bool = True,
    silence: float = 60.0,
    callback: Callable[[optuna.study.Study], None] | None = None,
) -> TuneResult:
    """Search for the settings with which an estimator, or a function, does best.

    Trials run in worker processes, here or in one long job of a Spark session, which take them as they become
    free. The rows reach each machine once, as a file that its workers map into memory.

    Parameters
    ----------
    what : a pipeline or model of outgrow, an estimator of scikit-learn's kind, or a function of the
        parameters (a dictionary) and, if it takes two arguments, of the trial: `trial.report(value, step)`
        lets it be pruned, `trial.data` are the rows.
    X, y, sample_weight : as for `fit`; a function may do without.
    space : for each parameter (of a pipeline: `step__parameter`) a list of choices, or a mapping with `low`
        and `high`, and `log`, `step`, or `when` (values of other parameters beside which it is chosen); or a
        function that asks an Optuna trial and returns the parameters.
    metric : one of `evaluate`'s, or `fit_seconds`; several make a search for the best compromises. By default
        log_loss for classifiers, r2 for regressors. For functions: names of what they return, in their order
        or in a mapping; what is returned is made large, or small for names such as log_loss, loss and mse.
    validation : `og.Holdout`, `og.KFold`, `og.GroupKFold`, `og.TimeFolds`, or a number of folds; a fifth of
        the rows is held out by default.
    sampler : 'tpe', 'random', 'grid', 'cmaes', 'evolutionary', or a sampler of Optuna.
    pruner : 'none', 'median', 'asha', 'hyperband', or a pruner of Optuna. Estimators are then fitted to a
        ninth, to a third, and to all of the rows, as long as their outlook is good.
    trials, seconds, patience : when to end: after so many trials in all (50, if nothing is said), so long, or
        so many trials without a better one.
    study : a file, or a storage URL of Optuna, that keeps the search: after a kill the same call goes on.
    seed : of the sampler.
    engine : where the workers are; by default where the rows are.
    workers : how many; as many as there are cores for, by default.
    cores, memory, deadline : what a trial may take: threads, bytes of its own, seconds.
    within : 'workers'; 'engine': one trial at a time, each a fit over the whole engine; 'fused': many
        settings of one model in the same scans over the data. By default 'fused' where only parameters are
        searched that a model can learn together (penalties, numbers of clusters), and no pruner is asked
        for; else 'workers'.
    refit : fit the best settings to all rows.
    silence : seconds after which a worker that says nothing is taken for lost, and its trial tried again.
    callback : called with Optuna's study after each trial; what it raises ends the search.

    Returns
    -------
    Tuned

    Raises
    ------
    ParameterError
        When the space, a metric or a limit is not possible.
    StudyError
        When the study was begun with another space, or another process works on it.

    Examples
    --------
    >>> import outgrow as og
    >>> found = og.tune(lambda p: (p["x"] - 3) ** 2, space={"x": {"low": -10.0, "high": 10.0}},
    ...                 metric="loss", trials=30, seed=1, workers=1)
    >>> abs(found.best_parameters["x"] - 3) < 1
    True
    """
    plan = Plan.of(what, X, y, sample_weight, metric, validation, engine)
    chosen = Space(space)
    plan.check(chosen, trials, seconds, patience, cores, within)
    if sampler == "grid":
        every = math.prod(map(len, chosen.grid().values()))
        trials = every if trials is None else min(trials, every)
    elif trials is None and seconds is None and patience is None:
        trials = 50
    held = Study(
        study,
        chosen,
        plan.directions,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        identity={"metric": list(plan.metrics), "estimator": plan.described},
    )
    progress = Progress(held, Limits(trials, seconds, patience), plan.metrics, callback)
    shares = SHARES if held.prunes else {1: 1.0}
    try:
        if plan.way(within, chosen, prunes=held.prunes) == "fused":
            fused(plan, held, progress, 64 if sampler in ("random", "grid") else 8)
        elif within == "engine":
            on_the_engine(plan, held, progress, shares)
        else:
            size = None if memory is None else parse_size(memory)
            crew = WorkerPool(workers, cores, size, deadline, silence)
            with_workers(plan, held, progress, shares, crew)
    finally:
        held.close()
    tuned = TuneResult(plan.metrics, held.study)
    if not refit or plan.training is None or isinstance(plan.what, Function):
        return tuned
    return replace(tuned, best_estimator=plan.fitted(tuned.best_parameters))
