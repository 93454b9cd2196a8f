"""Linear models that learn on from batches, by steps of stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from outgrow.data.hashing import matrix_hash
from outgrow.data.matrix import is_sparse
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Model
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import seed
from outgrow.ml.core.task import Task
from outgrow.ml.linear_model.batch_rows import BatchRows, check_batch
from outgrow.ml.linear_model.step_kernels import LOSSES, RATES, Plan, dense_steps, sparse_steps
from outgrow.ml.linear_model.stochastic import strength
from outgrow.ml.linear_model.warm_start import dense


@dataclass(eq=False)
class Standing:
    """Where the steps have led.

    Attributes
    ----------
    coef, mean : ndarrays of shape (scores, width): the last coefficients, and those averaged over the steps,
        which are the same where nothing was averaged; None before the first step.
    constants, mean_constants : ndarrays of shape (scores,).
    t : how many steps there were, and one.
    classes : ndarray of all classes there will be; None where y are numbers.
    """

    coef: np.ndarray | None
    constants: np.ndarray
    mean: np.ndarray | None
    mean_constants: np.ndarray
    t: float
    classes: np.ndarray | None = None

    @classmethod
    def beginning(cls, scores: int, classes: np.ndarray | None = None) -> Standing:
        """Before the first step.

        Parameters
        ----------
        scores : how many there are.
        classes : all there will be; None where y are numbers.
        """
        return cls(None, np.zeros(scores), None, np.zeros(scores), 1.0, classes)

    def wide(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and their mean, of this many columns, to go on with."""
        if self.coef is None or self.mean is None:
            return np.zeros((len(self.constants), width)), np.zeros((len(self.constants), width))
        return self.coef.copy(), self.mean.copy()


class LearnsOn(Model):
    """Learns on from batches where `fit` or the batches before have led.

    Hook: `_targets(view, standing, y)` gives y as each score must answer it, and by what weights of its rows
    are multiplied. The parameters are those of `stochastic.PARAMETERS`, and `loss`.

    Attributes
    ----------
    t_ : how many rows it learned from, and one.
    standard_coef_, standard_intercept_ : where the last step has led, while `coef_` is the mean.
    """

    coef_: Any
    intercept_: Any
    t_: float
    n_iter_: int
    standard_coef_: np.ndarray
    standard_intercept_: np.ndarray

    loss: str
    alpha: float
    epsilon: float
    eta0: float
    power_t: float
    learning_rate: str
    fit_intercept: bool
    early_stopping: bool
    shuffle: bool
    random_state: Any
    average: bool | int

    _before: Standing | None = None
    """Where the batches before that of the call under way have led; None in a `fit`."""

    @property
    def _by_rows(self) -> bool:  # type: ignore[override]
        """Steps look at whole rows, the passes of a fit at columns."""
        return self._before is not None

    def _targets(self, view: MatrixView, standing: Standing, y: np.ndarray) -> list[tuple[np.ndarray, Any]]:
        raise NotImplementedError

    def _learn_batch(self, X: Any, y: Any, sample_weight: Any, classes: np.ndarray | None = None) -> Self:
        """Take a step for each row of a batch.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them.
        classes : all there will be, where y are classes.
        """
        self._check_steps()
        first = not hasattr(self, "coef_")
        scores = 1 if classes is None or len(classes) == 2 else len(classes)
        data = open_training(self, X, y, sample_weight, reset=first)
        self._before = Standing.beginning(scores, classes) if first else self._standing(classes)
        try:
            return self._fit_on_engine(data)
        finally:
            self._before = None

    def _check_steps(self) -> None:
        name = type(self).__name__
        if self.early_stopping:
            raise ParameterError(
                f"{name}.partial_fit with early_stopping=True: early_stopping should be False with "
                "partial_fit, which takes one pass over each batch."
            )
        if self.learning_rate == "optimal" and self.alpha == 0:
            raise ParameterError(
                f"{name}.partial_fit with learning_rate='optimal' and alpha=0: alpha must be > 0 since "
                "learning_rate is 'optimal'. alpha is used to compute the optimal learning rate. Give "
                "another learning_rate."
            )
        if self.learning_rate != "optimal" and self.eta0 == 0:
            raise ParameterError(
                f"{name}.partial_fit with learning_rate={self.learning_rate!r} and eta0=0: eta0 must be > 0. "
                "It is how long the first steps are."
            )

    def _standing(self, classes: np.ndarray | None) -> Standing:
        """Where this model stands, to go on from there."""
        mean = np.atleast_2d(dense(self.coef_)).astype(np.float64)
        mean_constants = np.atleast_1d(np.asarray(self.intercept_, dtype=np.float64))
        if not (self.average and hasattr(self, "standard_coef_")):
            return Standing(mean, mean_constants, mean, mean_constants, self.t_, classes)
        coef, constants = self.standard_coef_, self.standard_intercept_
        return Standing(coef, constants, mean, mean_constants, self.t_, classes)

    def _worker(self) -> Self:
        made = super()._worker()
        made._before = self._before
        return made

    def _identity(self, task: Task) -> dict[str, Any]:
        before = self._before
        if before is None:
            return super()._identity(task)
        parts = () if before.coef is None else (before.coef, before.mean, before.constants[:, None])
        hashes = [matrix_hash(np.asarray(part, dtype=np.float64)).tolist() for part in parts]
        return {**super()._identity(task), "before": hashes, "t": before.t}

    def _restore(self, learned: dict[str, Any]) -> None:
        for name in ("standard_coef_", "standard_intercept_"):
            if name not in learned:
                self.__dict__.pop(name, None)
        super()._restore(learned)

    def _plan(self) -> Plan:
        l1, l2 = strength(self, 1.0)
        typical = np.sqrt(1.0 / np.sqrt(self.alpha)) if self.alpha else 1.0  # coefficients of this size
        return Plan(
            loss=LOSSES[self.loss],
            rate=RATES[self.learning_rate],
            epsilon=float(self.epsilon),
            eta0=float(self.eta0),
            power_t=float(self.power_t),
            optimal=float(1.0 / (typical * self.alpha)) if self.alpha else 1.0,
            alpha=float(self.alpha),
            l1=l1,
            l2=l2,
            intercept=float(self.fit_intercept),
            average=float(self.average),
        )

    def _take_steps(self, view: MatrixView, before: Standing) -> None:
        """Note what the steps lead to: `coef_`, of shape (scores, width), `intercept_` and `t_`."""
        check_batch(view, type(self).__name__)
        X, y, weight, order = self._in_order(view, before)
        plan, rows = self._plan(), float(len(y))
        coef, mean = before.wide(view.width)
        ends = np.stack([before.constants, before.mean_constants], axis=1)
        for k, (target, factor) in enumerate(self._targets(view, before, y)):
            steps, given = (sparse_steps, _parts(X)) if is_sparse(X) else (dense_steps, X)
            steps(plan, given, order, target, weight * factor, coef[k], mean[k], ends[k], before.t)
        self.t_, self.n_iter_ = before.t + rows, 1
        if not (np.isfinite(coef).all() and np.isfinite(ends).all()):
            raise DataError(
                f"Floating-point under-/overflow occurred in {type(self).__name__}.partial_fit: the steps "
                "went beyond all numbers. Scaling input data with StandardScaler or MinMaxScaler might help; "
                "so may a smaller eta0. The model is as it was before this batch."
            )
        if plan.average:
            self.standard_coef_, self.standard_intercept_ = coef, ends[:, 0].copy()
        averaged = plan.average and self.t_ - 1.0 >= plan.average
        self.coef_ = mean if averaged else coef.copy()
        self.intercept_ = ends[:, 1 if averaged else 0].copy()

    def _in_order(self, view: MatrixView, before: Standing) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        if not self.shuffle and view.run.comm.size > 1:
            raise ParameterError(
                f"{type(self).__name__}(shuffle=False).partial_fit: rows that lie in several tasks have no "
                "order. Take shuffle=True, which orders rows by their values, or give the batch as a table."
            )
        number = (seed(self.random_state) + (int(before.t) << 32)) % (1 << 64)
        rows: BatchRows = view.reduce(partial(BatchRows.of, seed=number if self.shuffle else None))
        return rows.in_order()


def _parts(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, columns and bounds of rows of a CSR array."""
    return X.data.astype(np.float64), X.indices.astype(np.int64), X.indptr.astype(np.int64)
