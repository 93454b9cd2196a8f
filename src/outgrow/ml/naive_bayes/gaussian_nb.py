"""Naive Bayes for numbers: a normal distribution of each column in each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.joint import checked_priors, dense, some_rows
from outgrow.ml.core.parameters import Number
from outgrow.ml.export.onnx.answer import Answer, features, most_likely
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.naive_bayes.base import PRIORS, NaiveBayes
from outgrow.stats.by_class import class_moments
from outgrow.stats.grouped import GroupedMoments
from outgrow.stats.moments import check_squares


class GaussianNB(NaiveBayes):
    """Naive Bayes with a normal distribution of each column in each class; one pass over the rows.

    Parameters
    ----------
    priors : the probability of each class, in the order of `classes_`; None for their shares of the rows.
    var_smoothing : this share of the largest variance of a column is added to all variances.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    class_prior_ : ndarray of shape (n_classes,).
    theta_, var_ : ndarray of shape (n_classes, n_features), the means and variances.
    epsilon_ : what was added to the variances.

    Raises
    ------
    DataError
        At `fit`, when a variance stays zero: that distribution has no density.

    Notes
    -----
    Unlike scikit-learn: weights count in `epsilon_`, too; `partial_fit` in parts learns what `fit` does from
    all rows; a class that no row has yet is never predicted; a variance of zero is refused (there
    probabilities become NaN); sparse rows are taken.

    Unlike Spark MLlib's `NaiveBayes(modelType='gaussian')`: `var_smoothing` can be chosen (there always
    1e-9), and priors be given.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> model = og.GaussianNB().fit(X, np.array(["low", "low", "high", "high"]))
    >>> model.theta_.tolist(), model.predict(np.array([[0.5]])).tolist()
    ([[1.5], [-1.5]], ['high'])
    """

    shared_fit_parameters = ("priors", "var_smoothing")
    parameters = {"priors": PRIORS, "var_smoothing": Number(low=0)}
    class_prior_: np.ndarray
    theta_: np.ndarray
    var_: np.ndarray

    def __init__(self, *, priors: Any = None, var_smoothing: float = 1e-9) -> None:
        self.priors = priors
        self.var_smoothing = var_smoothing

    def _statistic(self, block: Block) -> GroupedMoments:
        return class_moments(block.X, np.asarray(block.y), block.weight)

    def _learn(self, state: GroupedMoments) -> None:
        squares = self._spread(state.hashes, state.m2)
        check_squares(squares.sum(axis=0), list(getattr(self, "feature_names_in_", [])))
        count = self.class_count_
        self.theta_ = self._spread(state.hashes, state.mean)
        self.class_prior_ = self._priors(count)
        variance = _whole_variance(count, self.theta_, squares)
        self.epsilon_ = float(self.var_smoothing * variance.max(initial=0.0))
        self.var_ = squares / np.where(count > 0, count, 1.0)[:, None] + self.epsilon_
        if self._before is None:
            self._check_variances()

    def _noted(self) -> GroupedMoments:
        n = np.repeat(self.class_count_[:, None], self.theta_.shape[1], axis=1)
        hashes = np.arange(len(n), dtype=np.uint64)
        return GroupedMoments(hashes, n, self.theta_, (self.var_ - self.epsilon_) * n)

    def _priors(self, count: np.ndarray) -> np.ndarray:
        if self.priors is None:
            return count / count.sum()
        priors = checked_priors("priors", self.priors, len(count))
        if not np.isclose(priors.sum(), 1.0):
            raise ParameterError(f"The sum of the priors should be 1. It is {priors.sum():g}.")
        return priors

    def _check_variances(self) -> None:
        """Refuse distributions without a density."""
        known = self.class_count_ > 0
        flat = np.argwhere((self.var_ <= 0) & known[:, None])
        if not len(flat):
            return
        k, j = flat[0].tolist()
        rows = " (there is 1 sample)" if self.class_count_.sum() == 1 else ""
        name, label = self._column_name(j, self.var_.shape[1]), self.classes_.tolist()[k]
        raise DataError(
            f"GaussianNB: {len(flat)} variance(s) are zero{rows}, the first that of {name} in the class "
            f"{label!r}. Raise var_smoothing, or leave out columns that do not vary."
        )

    @property
    def _constants(self) -> np.ndarray:
        """What each class adds wherever a row lies; -inf for a class that was not seen."""
        known = self.class_count_ > 0
        with np.errstate(divide="ignore"):
            priors = np.log(np.where(known, self.class_prior_, 0.0))
        logs = np.log(2.0 * np.pi * np.where(known[:, None], self.var_, 1.0))
        return np.asarray(priors - 0.5 * logs.sum(axis=1))

    @property
    def _halves(self) -> np.ndarray:
        """By what the squares about the means are multiplied."""
        return -0.5 / np.where((self.class_count_ > 0)[:, None], self.var_, 1.0)

    def _logs(self, X: Any) -> np.ndarray:
        self._check_variances()
        X, halves = dense(X), self._halves
        logs = np.empty((len(halves), len(X)))
        for rows in some_rows(X):
            columns = X[rows].T
            apart = np.empty(columns.shape)
            for k, mean in enumerate(self.theta_):
                np.subtract(columns, mean[:, None], out=apart)
                np.matmul(halves[k], np.multiply(apart, apart, out=apart), out=logs[k, rows])
        logs += self._constants[:, None]
        return logs.T

    def _to_onnx(self, table: Table) -> Answer:
        graph, parts = table.graph, []
        X = features(self.features_, table, type(self).__name__)
        for mean, halves in zip(self.theta_, self._halves, strict=True):
            apart = graph.node("Sub", X, graph.constant(mean[None, :]))
            squares = graph.node("Mul", apart, apart)
            parts.append(graph.node("MatMul", squares, graph.constant(halves[:, None])))
        logs = graph.node("Add", graph.join(parts), graph.constant(self._constants[None, :]))
        return most_likely(graph, logs, self.classes_)

    def _sklearn_model(self) -> Any:
        made = twin("naive_bayes.GaussianNB", priors=self.priors, var_smoothing=self.var_smoothing)
        learned = ("classes_", "class_count_", "class_prior_", "theta_", "var_", "epsilon_")
        return with_learned(made, self, *learned)


def _whole_variance(count: np.ndarray, means: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The variance of each column over all classes."""
    shares = count / count.sum()
    apart = means - shares @ means
    return np.asarray(squares.sum(axis=0) / count.sum() + shares @ apart**2)
