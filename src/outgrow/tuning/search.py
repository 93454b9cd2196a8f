"""`og.tune`: try settings until one is good."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from outgrow.engine.activity import activity
from outgrow.engine.memory import parse_size
from outgrow.engine.protocol import Engine
from outgrow.ml.selection.folds import Folds
from outgrow.tuning.executors import WorkerPool, fused, on_the_engine, with_workers
from outgrow.tuning.plan import Function, Plan
from outgrow.tuning.result import TuneResult
from outgrow.tuning.space import Space
from outgrow.tuning.study import ROW_SHARES, Study
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
    params: Mapping[str, Any] | None = None,
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
        log_loss for classifiers (accuracy of those without probabilities), r2 for regressors, inertia for
        clusterers, log_likelihood for densities. For functions: names of what they return, in their order
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
    params : what else the estimator's `fit` takes by keyword, such as the query of a ranker, or `event` of a
        model of survival: names of columns of X, or arrays.

    Returns
    -------
    TuneResult

    Raises
    ------
    ParameterError
        When the space, a metric or a limit is not possible.
    StudyError
        When the study was begun with another space, or another process works on it.

    Examples
    --------
    >>> import outgrow as og
    >>> result = og.tune(lambda p: (p["x"] - 3) ** 2, space={"x": {"low": -10.0, "high": 10.0}},
    ...                 metric="loss", trials=30, seed=1, workers=1)
    >>> abs(result.best_parameters["x"] - 3) < 1
    True
    """
    plan = Plan.of(what, X, y, sample_weight, metric, validation, engine, params)
    choices = Space(space)
    plan.check(choices, trials, seconds, patience, cores, within, workers)
    if sampler == "grid":
        every = math.prod(map(len, choices.grid().values()))
        trials = every if trials is None else min(trials, every)
    elif trials is None and seconds is None and patience is None:
        trials = 50
    search = Study(
        study,
        choices,
        plan.directions,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        identity={"metric": list(plan.metrics), "estimator": plan.description},
    )
    progress = Progress(search, Limits(trials, seconds, patience), plan.metrics, callback)
    rows = None if plan.training is None else plan.training.dataset
    with activity("tune", what, data=rows, metrics_sought=plan.metrics) as under_way:
        try:
            pool = WorkerPool(
                workers, cores, None if memory is None else parse_size(memory), deadline, silence
            )
            mode = plan.mode(within, choices, prunes=search.prunes)
            _run_trials(plan, search, progress, pool, mode, 64 if sampler in ("random", "grid") else 8)
        finally:
            search.close()
        result = TuneResult(plan.metrics, search.study)
        under_way.note(search=result)
        if refit and plan.training is not None and not isinstance(plan.what, Function):
            result = replace(result, best_estimator=plan.fitted(result.best_parameters))
            under_way.note(search=result)
    return result


def _run_trials(
    plan: Plan, search: Study, progress: Progress, pool: WorkerPool, mode: str, fused_trials: int
) -> None:
    shares = ROW_SHARES if search.prunes else {1: 1.0}
    if mode == "fused":
        fused(plan, search, progress, fused_trials)
    elif mode == "engine":
        on_the_engine(plan, search, progress, shares)
    else:
        with_workers(plan, search, progress, shares, pool)
