"""What a search tries, on which rows, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, clone, is_classifier

from outgrow.data.batch import is_vector
from outgrow.data.frames import to_frame
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset, is_table
from outgrow.engine.protocol import Engine
from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.inputs import Training, open_training
from outgrow.ml.core.scoring import MARGINS, NUMBERS, PROBABILITIES, Scoring
from outgrow.ml.dummy import DummyClassifier, DummyRegressor
from outgrow.ml.evaluation import scoring_of
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.selection.folds import Folds, Holdout, as_folds
from outgrow.tuning.function import FunctionObjective
from outgrow.tuning.objective import (
    FOLD_COLUMN,
    MATRIX_COLUMN,
    EstimatorObjective,
    OutgrowObjective,
    SklearnObjective,
)
from outgrow.tuning.scores import COST, SMALLER, check_metrics, directions
from outgrow.tuning.space import Space
from outgrow.tuning.staged_rows import StagedRows, as_batch

WITHIN = ("auto", "workers", "engine", "fused")


class Function:
    """Marks what is tuned as a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


@dataclass(frozen=True)
class Plan:
    """What is tried on which rows, and how it is scored."""

    what: Any
    training: Training | None
    arrays: tuple[Any, Any, Any] | None
    folds: Folds
    metrics: tuple[str, ...]
    engine: Any
    roles: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        what: Any,
        X: Any,
        y: Any,
        weight: Any,
        metric: str | Sequence[str] | None,
        validation: int | Folds | None,
        engine: Engine | None,
        params: Mapping[str, Any] | None = None,
    ) -> Plan:
        """The plan for what `tune` was given.

        Parameters
        ----------
        what : an estimator of outgrow or of scikit-learn's kind, not fitted; or a function.
        X, y, weight : as for `fit`; a function may do without, and gets the rows of X whole.
        metric : names; None for the first by which the estimator is judged, `value` of functions.
        validation : folds, or their number; None for a fifth of the rows held out.
        engine : where trials run; None for where the rows are.
        params : what else an estimator of outgrow learns from, as its `fit` takes it.

        Raises
        ------
        ParameterError
            When `what` cannot be tuned, X is missing, y has several targets, or a metric is not defined.
        """
        folds = Holdout() if validation is None else as_folds(validation, classes=is_classifier(what))
        folds.check()
        metrics = (metric,) if isinstance(metric, str) else tuple(metric or ())
        roles = _roles_of(what, params)
        if not isinstance(what, BaseEstimator):
            if not callable(what):
                raise ParameterError(f"{what!r} is neither an estimator nor a function.")
            rows = None if X is None else dataset(X)
            training = None if rows is None else Training(rows, None, None)
            where = engine or (rows.engine if rows is not None else Local())
            return cls(Function(what), training, None, folds, metrics or ("value",), where)
        if X is None:
            raise ParameterError("X is missing: an estimator is tuned on rows.")
        classifier = is_classifier(what)
        opener = (
            clone(what)
            if isinstance(what, Estimator)
            else (DummyClassifier() if classifier else DummyRegressor())
        )
        opener.check_parameters()
        training = open_training(opener, X, y, weight, roles=roles)
        _check_single(training)
        defined = _scoring(what).names
        metrics = metrics or defined[:1]
        check_metrics(metrics, defined)
        arrays = None if is_table(X) else (X, y, weight)
        return cls(what, training, arrays, folds, metrics, engine or training.dataset.engine, roles)

    @property
    def directions(self) -> list[str]:
        if isinstance(self.what, Function):
            small = ("loss", "error", "cost", "seconds")
            return ["minimize" if m in SMALLER or m.endswith(small) else "maximize" for m in self.metrics]
        return directions(self.metrics)

    @property
    def description(self) -> str:
        if isinstance(self.what, Function):
            return getattr(self.what.function, "__qualname__", type(self.what.function).__name__)
        return repr(self.what)

    @property
    def features(self) -> list[str]:
        assert self.training is not None
        beside = {*self.training.beside, *self.folds.hidden}
        return [name for name in self.training.dataset.columns if name not in beside]

    def check(
        self,
        space: Space,
        trials: int | None,
        seconds: float | None,
        patience: int | None,
        cores: int,
        within: str,
        workers: int | None = None,
    ) -> None:
        """Everything that can be known before anything is read.

        Parameters
        ----------
        space : whose names must be parameters of the estimator, and values such as these may have.
        trials, seconds, patience : the limits, above 0; None for no such limit.
        cores : threads of a trial, above 0.
        within : one of `WITHIN`; 'engine' and 'fused' are for estimators of outgrow.
        workers : how many processes, above 0; None for as many as there are cores for.

        Raises
        ------
        ParameterError
            When one of these is not possible.
        """
        if not isinstance(self.what, Function):
            space.check(self.what)
        for name, value in (
            ("trials", trials),
            ("seconds", seconds),
            ("patience", patience),
            ("cores", cores),
            ("workers", workers),
        ):
            if value is not None and value <= 0:
                raise ParameterError(f"{name}={value}: more than 0 are needed.")
        if within not in WITHIN:
            raise ParameterError(f"within={within!r} is not one of {list(WITHIN)}.")
        if within in ("engine", "fused") and not isinstance(self.what, Estimator):
            raise ParameterError(f"within={within!r} is for pipelines of outgrow; others run in workers.")

    def mode(self, within: str, space: Space, *, prunes: bool) -> str:
        """Where trials run: 'workers', 'engine' or 'fused'.

        Parameters
        ----------
        within : what the user asked for; 'auto' is 'fused' where that is possible, else 'workers'.
        space : only parameters that a model can learn together can be fused.
        prunes : whether trials may end early, which fused ones cannot.

        Raises
        ------
        ParameterError
            When 'fused' is asked for, and trials are pruned or timed.
        """
        if within == "fused" and prunes:
            raise ParameterError(
                "Fused trials end together, so there is nothing to prune. Use pruner='none'."
            )
        if within == "fused" and set(self.metrics) & set(COST):
            raise ParameterError("Fused trials share their time: fit_seconds tells nothing of them.")
        if within != "auto":
            return within
        timed = set(self.metrics) & set(COST)  # of trials that share scans, none has a time of its own
        if prunes or timed or not isinstance(self.what, Estimator) or space.function is not None:
            return "workers"
        model, stem = self.what, ""
        if isinstance(model, Pipeline):
            name, model = model.step_items[-1]
            stem = f"{name}__"
        together = {f"{stem}{name}" for name in getattr(model, "shared_fit_parameters", None) or ()}
        return "fused" if set(space.names) <= together else "workers"

    def objective(self, shares: Mapping[int, float], cores: int) -> Any:
        """What a worker calls with each trial.

        Parameters
        ----------
        shares : parts of the rows, by step, that a trial learns from before it may be pruned; functions do
            without.
        cores : threads for an estimator of outgrow; others see to their own.
        """
        if isinstance(self.what, Function):
            return FunctionObjective(self.what.function)
        assert self.training is not None
        target = self.training.target
        timed = bool(set(self.metrics) & set(COST))
        question = EstimatorObjective(
            target, self.training.weight, self.folds, self.metrics[0], shares, timed, self.training.roles
        )
        if isinstance(self.what, Estimator):
            return OutgrowObjective(self.what, question, cores)
        return SklearnObjective(self.what, question, tuple(self.features) if self.arrays is None else None)

    def staged_rows(self) -> StagedRows | None:
        if self.training is None:
            return None
        scan = self.training.dataset.scan
        if not scan.source.has_pieces:
            scan = Scan(TableSource(self.training.dataset.to_arrow()))
        change = None
        if not isinstance(self.what, Estimator | Function):
            change = RowsWithFolds(
                self.folds,
                tuple(self.features),
                self.training.beside,
                self.training.target,
                matrix=self.arrays is not None,
            )
        return StagedRows(scan.pieces(), scan.example().to_arrow().schema, change)

    def fitted(self, parameters: Mapping[str, Any]) -> Any:
        """The estimator with these settings, fitted to all rows."""
        assert self.training is not None
        target, weight, rows = self.training.target, self.training.weight, self.training.dataset
        model = clone(self.what).set_params(**parameters)
        if self.arrays is not None:
            X, y, given = self.arrays
            return model.fit(X, y, **self.roles, **({} if given is None else {"sample_weight": given}))
        if isinstance(model, Estimator):
            rows = rows if not self.folds.hidden else rows.select(*self.features, *self.training.beside)
            weighted = {} if weight is None else {"sample_weight": weight}
            return model.fit(rows, target, **self.training.roles, **weighted)
        table = rows.to_arrow()
        X = to_frame(table.select(self.features))
        weighted = {} if weight is None else {"sample_weight": table[weight].to_numpy()}
        y = table[target].to_numpy(zero_copy_only=False)
        return model.fit(X, y, **weighted)


def _scoring(what: Any) -> Scoring:
    """How an estimator is judged; one of scikit-learn's kind that is no classifier, by numbers."""
    if isinstance(what, Estimator):
        return scoring_of(what)
    if not is_classifier(what):
        return NUMBERS
    return PROBABILITIES if hasattr(what, "predict_proba") else MARGINS


def _roles_of(what: Any, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """What else an estimator learns from, checked before any row is read."""
    given = {name: value for name, value in (params or {}).items() if value is not None}
    if not isinstance(what, Estimator):
        if given:
            raise ParameterError(
                f"params={sorted(given)} go to models of outgrow, and {type(what).__name__} is none. Leave "
                "them out."
            )
        return {}
    roles = what._given_roles(given)
    if len(roles) < len(given):
        raise ParameterError(
            f"params={sorted(given)}: the model learns from {sorted(roles)} alone. Leave out the others."
        )
    return roles


def _check_single(training: Training) -> None:
    """Refuse several targets: trials are compared by how well they learn one."""
    if training.target is not None and is_vector(training.dataset.schema.field(training.target).type):
        raise ParameterError(
            "A search takes one target, and y has several. Search for each, or compare cross_validate(...)."
        )


@dataclass(frozen=True)
class RowsWithFolds:
    """Rows with the id of the fold of each; numbers that came as one array as one matrix again."""

    folds: Folds
    features: tuple[str, ...]
    beside: tuple[str, ...]
    target: str | None
    matrix: bool

    def __call__(self, table: pa.Table) -> pa.Table:
        batch = as_batch(table)
        rows = Dataset(Scan(TableSource(table)), Local())
        fold_ids = rows.engine.fit(
            lambda shard: self.folds.placing(shard, self.target)(batch), rows.scan, stage="folds"
        ).result
        kept = table.append_column(FOLD_COLUMN, pa.array(fold_ids))
        if not self.matrix:
            return kept
        values = np.column_stack([table[name].to_numpy() for name in self.features])
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(self.features))
        return kept.select([*self.beside, FOLD_COLUMN]).append_column(MATRIX_COLUMN, column)
