"""Quadratic discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.errors import DataError
from outgrow.ml.core.joint import class_shares, dense, log_shares, some_rows
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.ml.discriminant_analysis.base import DiscriminantAnalysis, Scatter
from outgrow.ml.export.onnx.answer import Answer, features, most_likely
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned

_EPS = float(np.finfo(np.float64).eps)
_DEPENDENT = 1e-14
"""A variance along an axis of columns of deviation 1 that rounding may make."""


class QuadraticDiscriminantAnalysis(DiscriminantAnalysis):
    """Tell classes apart as normal distributions, each with a covariance of its own; one pass over the rows.

    Parameters
    ----------
    solver : 'svd', which takes `reg_param`, or 'eigen', which takes `shrinkage`.
    shrinkage : how far the covariance of each class is drawn towards a multiple of the identity, between 0
        and 1; 'auto' as far as is best (Ledoit and Wolf 2004), in a second pass; None for not at all.
    priors : the probability of each class, in the order of `classes_`; None for their shares of the rows.
    reg_param : how far the variances along the axes of each class are drawn towards 1, between 0 and 1.
    store_covariance : keep `covariance_`.
    tol : the variance up to which an axis does not vary, also where that of each column is made 1.
    covariance_estimator : None alone.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    priors_ : ndarray of shape (n_classes,).
    means_ : ndarray of shape (n_classes, n_features).
    scalings_ : list of n_classes arrays of shape (n_features,), the variances along the axes.
    rotations_ : list of n_classes arrays of shape (n_features, n_features), the axes.
    covariance_ : list of n_classes arrays of shape (n_features, n_features).

    Raises
    ------
    DataError
        At `fit`, when the covariance of a class has not full rank.

    Notes
    -----
    Unlike scikit-learn: columns of small numbers are not taken for a covariance without full rank, as `tol`
    must be reached also in units of the deviation of each column; takes weights; priors that do not sum to 1
    are divided by their sum, with a warning; estimators of covariances are refused.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[-3.0], [0.0], [0.2], [3.0]]), np.array(["far", "near", "near", "far"])
    >>> model = og.QuadraticDiscriminantAnalysis().fit(X, y)
    >>> model.predict(np.array([[-4.0], [0.1], [4.0]])).tolist()
    ['far', 'near', 'far']
    """

    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weights_shape",
            "check_sample_weights_not_overwritten",
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "it brings classes whose covariance has not full rank",
    )
    exempt = {"constant_columns_do_no_harm": "a class without full rank has no density, and is refused"}
    shared_fit_parameters = ("solver", "shrinkage", "priors", "reg_param", "store_covariance", "tol")
    parameters = {
        **DiscriminantAnalysis.parameters,
        "solver": OneOf("svd", "eigen"),
        "reg_param": Number(low=0, high=1),
    }
    scalings_: list[np.ndarray]
    rotations_: list[np.ndarray]
    covariance_: list[np.ndarray]

    def __init__(
        self,
        *,
        solver: str = "svd",
        shrinkage: Any = None,
        priors: Any = None,
        reg_param: float = 0.0,
        store_covariance: bool = False,
        tol: float = 1e-4,
        covariance_estimator: Any = None,
    ) -> None:
        self.solver = solver
        self.shrinkage = shrinkage
        self.priors = priors
        self.reg_param = reg_param
        self.store_covariance = store_covariance
        self.tol = tol
        self.covariance_estimator = covariance_estimator

    def _solve(self, classes: Sequence[Scatter], whole: Scatter) -> None:
        pairs = [self._axes(one, label) for one, label in zip(classes, self.classes_.tolist(), strict=True)]
        self.scalings_ = [variances for variances, _ in pairs]
        self.rotations_ = [axes for _, axes in pairs]
        if self.store_covariance:
            self.covariance_ = [(axes * variances) @ axes.T for variances, axes in pairs]

    def _axes(self, scatter: Scatter, label: Any) -> tuple[np.ndarray, np.ndarray]:
        """The variances of a class along its axes, largest first, and the axes as columns."""
        covariance = scatter.shrunk(self.shrinkage)
        values, vectors = np.linalg.eigh(covariance)
        variances = np.maximum(values[::-1], 0.0)
        if self.solver == "svd":
            covariance = (1.0 - self.reg_param) * covariance + self.reg_param * np.eye(len(values))
            variances = (1.0 - self.reg_param) * variances + self.reg_param
        least = _least_share(covariance)
        lost = variances.min() <= _EPS * variances.max()
        flat = lost or least <= _DEPENDENT or (least <= self.tol and variances.min() <= self.tol)
        if not scatter.products.any() and flat:
            raise DataError(
                f"y has only 1 sample in class {label!r}, or samples that are all equal; covariance is ill "
                "defined. Bring more rows of it, or leave it out."
            )
        if flat:
            cure = "shrinkage" if self.solver == "eigen" else "reg_param"
            raise DataError(
                f"The covariance matrix of class {label!r} is not full rank: a variance is "
                f"{variances.min():g}, {least:g} of columns of deviation 1, and tol={self.tol:g}. "
                f"Increase the value of `{cure}` to reduce the "
                "collinearity, scale the columns, or bring more rows."
            )
        return variances, np.ascontiguousarray(vectors[:, ::-1])

    @property
    def _white(self) -> list[np.ndarray]:
        """What makes the rows of each class about its mean standard."""
        return [axes / np.sqrt(v) for axes, v in zip(self.rotations_, self.scalings_, strict=True)]

    @property
    def _constants(self) -> np.ndarray:
        with np.errstate(divide="ignore"):
            priors = np.log(self.priors_)
        return priors - 0.5 * np.array([np.log(variances).sum() for variances in self.scalings_])

    def _logs(self, X: Any) -> np.ndarray:
        """Logarithms of the joint densities, but for the powers of pi, of shape (rows, classes)."""
        X, white = dense(X), self._white
        logs = np.empty((len(white), len(X)))
        for rows in some_rows(X):
            columns = X[rows].T
            for k, mean in enumerate(self.means_):
                standard = white[k].T @ (columns - mean[:, None])
                np.einsum("ji,ji->i", standard, standard, out=logs[k, rows])
        logs *= -0.5
        logs += self._constants[:, None]
        return logs.T

    def decision_function(self, X: Any) -> Any:
        """For two classes the logarithm of the odds of the second, of shape (rows,); otherwise the logarithms
        of the joint densities but for a constant, of shape (rows, classes)."""
        return self._respond(X, "decision_function")

    def _decision_function(self, X: Any) -> np.ndarray:
        logs = self._logs(X)
        return logs[:, 1] - logs[:, 0] if len(self.classes_) == 2 else logs

    def _predict(self, X: Any) -> np.ndarray:
        return self._most_probable(self._logs(X))

    def _predict_proba(self, X: Any) -> np.ndarray:
        return class_shares(self._logs(X))[0]

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        return log_shares(self._logs(X))

    def _to_onnx(self, table: Table) -> Answer:
        graph, parts = table.graph, []
        X = features(self.features_, table, type(self).__name__)
        for mean, matrix in zip(self.means_, self._white, strict=True):
            apart = graph.node("Sub", X, graph.constant(mean[None, :]))
            standard = graph.node("MatMul", apart, graph.constant(np.ascontiguousarray(matrix)))
            square = graph.node("Mul", standard, standard)
            parts.append(graph.node("ReduceSum", square, graph.constant([1], np.int64), keepdims=1))
        halves = graph.node("Mul", graph.join(parts), graph.constant(-0.5))
        logs = graph.node("Add", halves, graph.constant(self._constants[None, :]))
        return most_likely(graph, logs, self.classes_)

    def _sklearn_model(self) -> Any:
        names = ("solver", "shrinkage", "priors", "reg_param", "store_covariance", "tol")
        made = twin(
            "discriminant_analysis.QuadraticDiscriminantAnalysis",
            **{name: getattr(self, name) for name in names},
        )
        stored = ("covariance_",) * self.store_covariance
        return with_learned(made, self, "classes_", "priors_", "means_", "scalings_", "rotations_", *stored)


def _least_share(covariance: np.ndarray) -> float:
    """The least variance along an axis where that of each column is 1; 0 where one does not vary."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if not deviation.all():
        return 0.0
    return float(np.linalg.eigvalsh(covariance / deviation / deviation[:, None])[0])
