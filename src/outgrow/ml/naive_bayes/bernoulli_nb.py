"""Naive Bayes for what is there or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.ml.core.joint import log_sums
from outgrow.ml.core.parameters import Number
from outgrow.ml.export.onnx.answer import Answer, features, most_likely
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.naive_bayes.base import CountingNaiveBayes, DiscreteNaiveBayes


class BernoulliNB(CountingNaiveBayes):
    """Naive Bayes for what is there or not, such as words in short texts; one pass over the rows.

    What is absent counts, too, which it does not in `MultinomialNB`.

    Parameters
    ----------
    alpha : what is added to the counts of present and of absent, or one number for each column.
    force_alpha : take an alpha below 1e-10 as it is; otherwise it becomes that.
    binarize : numbers above this are there, others not; None where columns hold 0 and 1 alone.
    fit_prior : learn the probabilities of the classes; otherwise all are alike.
    class_prior : the probability of each class, in the order of `classes_`.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    class_log_prior_ : ndarray of shape (n_classes,).
    feature_count_ : ndarray of shape (n_classes, n_features), the weight of the rows where it is there.
    feature_log_prob_ : ndarray of shape (n_classes, n_features).

    Raises
    ------
    DataError
        When `binarize` is None, and a number is not between 0 and 1.

    Notes
    -----
    Unlike scikit-learn: with `binarize=None`, numbers that are not between 0 and 1 are refused; with
    `alpha=0`, what a class never had makes it impossible (there NaN); an alpha for each column is taken
    (there it is added to classes, or fails).

    Unlike Spark MLlib's `NaiveBayes(modelType='bernoulli', smoothing=1.0)`: numbers are made 0 and 1 by
    `binarize` (there others are refused); priors are not smoothed.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> words = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> model = og.BernoulliNB().fit(words, np.array(["a", "a", "b"]))
    >>> model.predict_proba(np.array([[0.0, 1.0]])).round(3).tolist()
    [[0.36, 0.64]]
    """

    parameters = {**DiscreteNaiveBayes.parameters, "binarize": Number(low=0) | None}

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        binarize: float | None = 0.0,
        fit_prior: bool = True,
        class_prior: Any = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.binarize = binarize
        self.fit_prior = fit_prior
        self.class_prior = class_prior

    def _counts(self, X: Any) -> Any:
        values = X.data if is_sparse(X) else X
        if self.binarize is None:
            if values.size and (values.min() < 0 or values.max() > 1):
                raise DataError(
                    f"BernoulliNB(binarize=None): numbers lie between {values.min():g} and {values.max():g}; "
                    "what is there is 1, what is not 0. Set binarize to the number above which it is there."
                )
            return X
        there = (values > self.binarize).astype(np.float64)
        return type(X)((there, X.indices, X.indptr), shape=X.shape) if is_sparse(X) else there

    def _smoothed(self, alpha: Any) -> None:
        self.feature_log_prob_ = self._log(self.feature_count_ + alpha, alpha)

    def _log(self, counts: np.ndarray, alpha: Any) -> np.ndarray:
        """The logarithms of the shares that counts are of the rows of each class."""
        total = self.class_count_[:, None] + 2 * alpha
        with np.errstate(divide="ignore"):
            logs = np.log(counts) - np.log(np.where(total > 0, total, 1.0))
        return np.minimum(logs, 0.0)  # sums of weights are rounded

    @property
    def _absent(self) -> np.ndarray:
        """The logarithms of the probabilities of not being there, of shape (classes, columns)."""
        with np.errstate(divide="ignore"):
            return np.log1p(-np.exp(self.feature_log_prob_))

    def _logs(self, X: Any) -> np.ndarray:
        there, present, absent = self._counts(X), self.feature_log_prob_, self._absent
        sure = np.isneginf(absent)  # what is not there makes the class impossible
        some = np.where(sure, 0.0, absent)
        logs = log_sums(there, np.where(np.isneginf(present), -np.inf, present - some))
        logs += some.sum(axis=1)
        if sure.any():
            logs[log_sums(there, sure * 1.0) < sure.sum(axis=1)] = -np.inf
        return self._with_priors(logs, self.class_log_prior_)

    def _to_onnx(self, table: Table) -> Answer:
        present, absent = self.feature_log_prob_, self._absent
        self._refuse_infinite([present, absent])
        graph = table.graph
        X = features(self.features_, table, type(self).__name__)
        if self.binarize is not None:
            X = graph.cast(graph.node("Greater", X, graph.constant(float(self.binarize))), "number")
        sums = graph.node("MatMul", X, graph.constant((present - absent).T))
        constants = absent.sum(axis=1) + self.class_log_prior_
        return most_likely(graph, graph.node("Add", sums, graph.constant(constants[None, :])), self.classes_)

    def _sklearn_model(self) -> Any:
        self._refuse_infinite([self._absent])
        return self._twin("BernoulliNB", "binarize")
