"""`og.tune`: try settings until one is good."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
import numpy as np
import optuna
import pyarrow as pa
from sklearn.base import BaseEstimator, clone, is_classifier

from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset, Engine
from outgrow.engine.local import Local
from outgrow.engine.memory import parse_size
from outgrow.engine.open import dataset, is_table
from outgrow.errors import EngineError, ParameterError
from outgrow.ml.base import Estimator
from outgrow.ml.dummy import DummyClassifier, DummyRegressor
from outgrow.ml.folds import Folds, Holdout, as_folds
from outgrow.ml.inputs import Training, open_training
from outgrow.ml.many import fit_many
from outgrow.ml.pipeline import Pipeline
from outgrow.tuning.desk import Desk, Limits, Progress, settle
from outgrow.tuning.guardian import Guardian
from outgrow.tuning.material import Material, as_batch
from outgrow.tuning.objective import MATRIX, PLACE, Call, Fit, Question, ScikitLearn
from outgrow.tuning.scores import SMALLER, check_metrics, directions
from outgrow.tuning.space import Space
from outgrow.tuning.study import SHARES, Asked, Study, details_of, error_of, parameters_of
from outgrow.tuning.trial import Handle, is_pruned

STARTING = 90.0
"""Seconds within which the first worker should call."""
_PLACES = ("auto", "workers", "engine", "fused")


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search found.

    Attributes
    ----------
    metrics : what was looked at.
    study : Optuna's study; its plots and its importances work on it.
    best_estimator : the best settings, fitted on all rows; None for functions and with `refit=False`.
    """

    metrics: tuple[str, ...]
    study: optuna.study.Study
    best_estimator: Any = None

    @property
    def best_parameters(self) -> dict[str, Any]:
        """The settings of the best trial; of several metrics, of the trial best in the first of them."""
        return parameters_of(self.best_trial)

    @property
    def best_value(self) -> float:
        """The first metric of the best trial."""
        return float(self.best_trial.values[0])

    @property
    def best_values(self) -> dict[str, float]:
        """The metrics of the best trial."""
        return dict(zip(self.metrics, self.best_trial.values, strict=True))

    @property
    def best_trial(self) -> optuna.trial.FrozenTrial:
        """The best trial.

        Raises
        ------
        ParameterError
            When no trial was done.
        """
        if len(self.metrics) == 1:
            done = [self.study.best_trial] if _done(self.study) else []
        else:
            done = sorted(self.study.best_trials, key=lambda trial: trial.values[0])
        if not done:
            errors = [error for trial in self.study.trials if (error := error_of(trial))]
            said = f" The last said: {errors[-1]}" if errors else ""
            raise ParameterError(f"No trial was done, so none is the best.{said}")
        return done[0 if self.metrics[0] in SMALLER or len(self.metrics) == 1 else -1]

    @property
    def trials(self) -> pa.Table:
        """A row for each trial: number, state, metrics, parameters, seconds, and why one failed."""
        rows = [_row(trial, self.metrics) for trial in self.study.get_trials(deepcopy=False)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: _column([row.get(name) for row in rows]) for name in names})

    def importances(self) -> dict[str, float]:
        """How much of the differences between trials each parameter explains, by Optuna's fANOVA."""
        found = optuna.importance.get_param_importances(self.study)
        return {name: float(share) for name, share in found.items()}

    def __repr__(self) -> str:
        states = [trial.state.name for trial in self.study.get_trials(deepcopy=False)]
        counts = ", ".join(f"{states.count(s)} {s.lower()}" for s in dict.fromkeys(states))
        values = [
            f"{name} {value:.6g}" for name, value in zip(self.metrics, self.best_trial.values, strict=True)
        ]
        best = ", ".join(f"{name}={value!r}" for name, value in self.best_parameters.items())
        return f"{', '.join(values)} with {best} (trial {self.best_trial.number}; {counts})"


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
) -> Tuned:
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
        log_loss for classifiers, r2 for regressors. For functions: names of what it returns; what is returned
        is made large, or small for names such as log_loss, loss and mse.
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
    callback : called with Optuna's study after each trial.

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
    plan = _Plan.of(what, X, y, sample_weight, metric, validation, engine)
    chosen = Space(space)
    plan.check(chosen, trials, seconds, patience, cores, within)
    if trials is None and seconds is None and patience is None:
        trials = int(np.prod([len(v) for v in chosen.grid().values()])) if sampler == "grid" else 50
    held = Study(
        study, chosen, plan.directions, sampler=sampler, pruner=pruner, seed=seed,
        identity={"metric": list(plan.metrics), "estimator": plan.described},
    )  # fmt: skip
    progress = Progress(held, Limits(trials, seconds, patience), plan.metrics, callback)
    shares = SHARES if held.prunes else {1: 1.0}
    try:
        if plan.way(within, chosen, prunes=held.prunes) == "fused":
            _fused(plan, held, progress, 64 if sampler in ("random", "grid") else 8)
        elif within == "engine":
            _on_the_engine(plan, held, progress, shares)
        else:
            size = None if memory is None else parse_size(memory)
            crew = _Crew(workers, cores, size, deadline, silence)
            _with_workers(plan, held, progress, shares, crew)
    finally:
        held.close()
    tuned = Tuned(plan.metrics, held.study)
    if not refit or plan.training is None or isinstance(plan.what, _Function):
        return tuned
    return replace(tuned, best_estimator=plan.fitted(tuned.best_parameters))


class _Function:
    """Marks what is tuned as a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


@dataclass(frozen=True)
class _Crew:
    """Who works, and what each may take."""

    workers: int | None
    cores: int
    memory: int | None
    deadline: float | None
    silence: float

    def count(self, engine: Any) -> int:
        slots = getattr(engine, "slots", None) or len(os.sched_getaffinity(0))
        return self.workers or max(1, slots // self.cores)


@dataclass(frozen=True)
class _Plan:
    """What is tried on which rows, and how it is judged."""

    what: Any
    training: Training | None
    arrays: tuple[Any, Any, Any] | None
    folds: Folds
    metrics: tuple[str, ...]
    engine: Any

    @classmethod
    def of(cls, what: Any, X: Any, y: Any, weight: Any, metric: str | Sequence[str] | None,
           validation: int | Folds | None, engine: Engine | None) -> _Plan:  # fmt: skip
        folds = Holdout() if validation is None else as_folds(validation)
        folds.check()
        metrics = (metric,) if isinstance(metric, str) else tuple(metric or ())
        if not isinstance(what, BaseEstimator):
            if not callable(what):
                raise ParameterError(f"{what!r} is neither an estimator nor a function.")
            rows = None if X is None else dataset(X)
            training = None if rows is None else Training(rows, None, None)
            where = engine or (rows.engine if rows is not None else Local())
            return cls(_Function(what), training, None, folds, metrics or ("value",), where)
        if X is None:
            raise ParameterError("X is missing: an estimator is tuned on rows.")
        classifier = is_classifier(what)
        opener = (
            clone(what)
            if isinstance(what, Estimator)
            else (DummyClassifier() if classifier else DummyRegressor())
        )
        opener._check_parameters()
        training = open_training(opener, X, y, weight)
        metrics = metrics or ("log_loss" if classifier else "r2",)
        check_metrics(metrics, classifier=classifier)
        arrays = None if is_table(X) else (X, y, weight)
        return cls(what, training, arrays, folds, metrics, engine or training.dataset.engine)

    @property
    def directions(self) -> list[str]:
        if isinstance(self.what, _Function):
            small = ("loss", "error", "cost", "seconds")
            return ["minimize" if m in SMALLER or m.endswith(small) else "maximize" for m in self.metrics]
        return directions(self.metrics)

    @property
    def described(self) -> str:
        if isinstance(self.what, _Function):
            return getattr(self.what.function, "__qualname__", type(self.what.function).__name__)
        return repr(self.what) if not isinstance(self.what, Estimator) else f"{self.what!r}"

    @property
    def features(self) -> list[str]:
        assert self.training is not None
        beside = {*self.training.beside, *self.folds.hidden}
        return [name for name in self.training.dataset.columns if name not in beside]

    def check(self, space: Space, trials: int | None, seconds: float | None, patience: int | None, cores: int,
              within: str) -> None:  # fmt: skip
        """Everything that can be known before anything is read."""
        if not isinstance(self.what, _Function):
            space.check_names(self.what.get_params())
        for name, value in (
            ("trials", trials),
            ("seconds", seconds),
            ("patience", patience),
            ("cores", cores),
        ):
            if value is not None and value <= 0:
                raise ParameterError(f"{name}={value}: more than 0 are needed.")
        if within not in _PLACES:
            raise ParameterError(f"within={within!r} is not one of {list(_PLACES)}.")
        if within in ("engine", "fused") and not isinstance(self.what, Estimator):
            raise ParameterError(f"within={within!r} is for pipelines of outgrow; others run in workers.")

    def way(self, within: str, space: Space, *, prunes: bool) -> str:
        """Where trials run: fused, if that is asked for or possible."""
        if within == "fused" and prunes:
            raise ParameterError(
                "Fused trials end together, so there is nothing to prune. Use pruner='none'."
            )
        if within != "auto":
            return within
        if prunes or not isinstance(self.what, Estimator) or space.function is not None:
            return "workers"
        model, stem = self.what, ""
        if isinstance(model, Pipeline):
            name, model = model.named_steps[-1]
            stem = f"{name}__"
        together = {f"{stem}{name}" for name in getattr(model, "fusable", None) or ()}
        return "fused" if set(space.names) <= together else "workers"

    def objective(self, shares: Mapping[int, float], cores: int) -> Any:
        if isinstance(self.what, _Function):
            return Call(self.what.function)
        assert self.training is not None
        target = self.training.target
        assert target is not None
        question = Question(target, self.training.weight, self.folds, self.metrics[0], shares)
        if isinstance(self.what, Estimator):
            return Fit(self.what, question, cores)
        return ScikitLearn(self.what, question, tuple(self.features) if self.arrays is None else None)

    def material(self) -> Material | None:
        if self.training is None:
            return None
        scan = self.training.dataset.scan
        if scan.source.describe()["kind"] == "spark":
            scan = Scan(TableSource(self.training.dataset.to_arrow()))
        change = None
        if not isinstance(self.what, Estimator | _Function):
            change = Placed(
                self.folds, tuple(self.features), self.training.beside, matrix=self.arrays is not None
            )
        return Material(scan.pieces(), scan.example().to_arrow().schema, change)

    def fitted(self, parameters: Mapping[str, Any]) -> Any:
        """The estimator with these settings, fitted to all rows."""
        assert self.training is not None
        target, weight, rows = self.training.target, self.training.weight, self.training.dataset
        model = clone(self.what).set_params(**parameters)
        if self.arrays is not None:
            X, y, given = self.arrays
            return model.fit(X, y, **({} if given is None else {"sample_weight": given}))
        if isinstance(model, Estimator):
            rows = rows if not self.folds.hidden else rows.select(*self.features, *self.training.beside)
            return model.fit(rows, target, **({} if weight is None else {"sample_weight": weight}))
        table = rows.to_arrow()
        X = table.select(self.features).to_pandas()
        weighted = {} if weight is None else {"sample_weight": table[weight].to_numpy()}
        y = table[target].to_numpy(zero_copy_only=False)
        return model.fit(X, y, **weighted)


@dataclass(frozen=True)
class Placed:
    """Rows with the place of each in the folds; numbers that came as one array as one matrix again."""

    folds: Folds
    features: tuple[str, ...]
    beside: tuple[str, ...]
    matrix: bool

    def __call__(self, table: pa.Table) -> pa.Table:
        batch = as_batch(table)
        rows = Dataset(Scan(TableSource(table)), Local())
        place = rows.engine.fit(
            lambda shard: self.folds.placing(shard)(batch), rows.scan, stage="folds"
        ).result
        kept = table.append_column(PLACE, pa.array(place))
        if not self.matrix:
            return kept
        values = np.column_stack([table[name].to_numpy() for name in self.features])
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(self.features))
        return kept.select([*self.beside, PLACE]).append_column(MATRIX, column)


def _on_the_engine(plan: _Plan, study: Study, progress: Progress, shares: Mapping[int, float]) -> None:
    """One trial at a time, each a fit over the whole engine."""
    objective, training = plan.objective(shares, 1), plan.training
    assert training is not None
    while not progress.over():
        asked = progress.ask()

        def tell(value: float, step: int, asked: Asked = asked) -> bool:
            return study.report(asked, value, step)

        note = None
        try:
            found, details = objective.on(
                training.dataset, Handle(asked.number, asked.parameters, None, tell)
            )
        except Exception as error:
            if is_pruned(error):
                study.prune(asked, {})
            else:
                study.fail(asked, f"{type(error).__name__}: {error}")
                note = f"Trial {asked.number} failed: {error}"
        else:
            note = settle(study, asked, found, details, plan.metrics)
        progress.count(note)


def _fused(plan: _Plan, study: Study, progress: Progress, size: int) -> None:
    """Many settings at a time, in the same scans over the data."""
    training = plan.training
    assert training is not None
    while not progress.over():
        batch: list[Asked] = []
        while len(batch) < size and not progress.over(len(batch)):
            batch.append(progress.ask())
        began = time.perf_counter()
        found = fit_many(
            plan.what, training.dataset, training.target, [asked.parameters for asked in batch],
            training.weight, folds=plan.folds,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / len(batch)
        for asked, trial in zip(batch, found.trials, strict=True):
            if trial.error is not None:
                study.fail(asked, f"{type(trial.error).__name__}: {trial.error}")
                progress.count(f"Trial {asked.number} failed: {trial.error}")
                continue
            details = {"seconds": seconds, "fit_seconds": seconds / plan.folds.count, "std": trial.std()}
            progress.count(settle(study, asked, trial.mean(), details, plan.metrics))


def _with_workers(
    plan: _Plan, study: Study, progress: Progress, shares: Mapping[int, float], crew: _Crew
) -> None:
    """Trials in processes that take them as they become free."""
    if progress.over():
        return
    engine, failed = plan.engine, []
    host = engine.host() if hasattr(engine, "host") else "127.0.0.1"
    with Desk(study, progress, host or "127.0.0.1", crew.silence) as desk:
        guardian = Guardian(
            desk.address, desk.secret, desk.secret.hex()[:16], _pickled(plan.objective(shares, crew.cores)),
            plan.material(), crew.cores, crew.memory, crew.deadline, crew.silence,
        )  # fmt: skip

        def work() -> None:
            try:
                for _ in engine.tasks(guardian, crew.count(engine), stage="tune"):
                    pass
            except Exception as error:
                failed.append(error)

        crowd = threading.Thread(target=work, name="outgrow tune", daemon=True)
        crowd.start()
        try:
            while not desk.wait(0.2):
                if failed or not crowd.is_alive():
                    raise (
                        failed[0]
                        if failed
                        else EngineError("All workers have left before the search was over.")
                    )
                if desk.idle_seconds() > STARTING:
                    raise EngineError(
                        f"No worker has called at {desk.address[0]}:{desk.address[1]} for {STARTING:.0f} s. "
                        "Are there free slots, and can executors reach this host?"
                    )
        except BaseException:
            desk.abandon()
            raise
        if desk.failure is not None:
            desk.abandon()
            raise desk.failure
    crowd.join(STARTING)


def _pickled(objective: Any) -> bytes:
    try:
        return cloudpickle.dumps(objective)
    except Exception as error:
        raise ParameterError(
            f"What is tuned cannot be sent to a worker: {error}. Leave open files and sessions out of it."
        ) from error


def _done(study: optuna.study.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


def _row(trial: optuna.trial.FrozenTrial, metrics: Sequence[str]) -> dict[str, Any]:
    values = trial.values if trial.values else [None] * len(metrics)
    details = details_of(trial)
    return {
        "trial": trial.number, "state": trial.state.name.lower(), **dict(zip(metrics, values, strict=True)),
        **parameters_of(trial), "seconds": details.get("seconds"), "error": error_of(trial),
    }  # fmt: skip


def _column(values: list[Any]) -> pa.Array:
    """Values of one kind; of several kinds as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
