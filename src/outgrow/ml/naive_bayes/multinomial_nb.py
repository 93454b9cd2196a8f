"""Naive Bayes for counts, such as those of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.joint import log_sums
from outgrow.ml.export.onnx.answer import Answer, features, most_likely
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.naive_bayes.base import CountingNaiveBayes


class MultinomialNB(CountingNaiveBayes):
    """Naive Bayes for counts, such as those of words: each class draws from its own shares; one pass.

    Parameters
    ----------
    alpha : what is added to each count (Lidstone), or one number for each column.
    force_alpha : take an alpha below 1e-10 as it is; otherwise it becomes that.
    fit_prior : learn the probabilities of the classes; otherwise all are alike.
    class_prior : the probability of each class, in the order of `classes_`.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    class_log_prior_ : ndarray of shape (n_classes,).
    feature_count_ : ndarray of shape (n_classes, n_features), the sum of each column.
    feature_log_prob_ : ndarray of shape (n_classes, n_features).

    Raises
    ------
    DataError
        At `fit`, when a number is negative.

    Notes
    -----
    Unlike scikit-learn: with `alpha=0`, what a class never had makes it impossible, and rows that no class
    can bring get the probabilities of the classes (there NaN).

    Unlike Spark MLlib's `NaiveBayes(modelType='multinomial', smoothing=1.0)`: priors are not smoothed, can be
    given, or can be all alike.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> counts = np.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
    >>> model = og.MultinomialNB().fit(counts, np.array(["a", "a", "b"]))
    >>> model.predict_proba(np.array([[1.0, 0.0]])).round(3).tolist()
    [[0.9, 0.1]]
    """

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
        return {name: random.poisson(2, rows).astype(np.float64) for name in "abc"}

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def _smoothed(self, alpha: Any) -> None:
        counts = self.feature_count_ + alpha
        total = counts.sum(axis=1, keepdims=True)
        self.feature_log_prob_ = np.log(counts) - np.log(np.where(total > 0, total, 1.0))

    def _logs(self, X: Any) -> np.ndarray:
        return self._with_priors(log_sums(X, self.feature_log_prob_), self._constants)

    @property
    def _constants(self) -> np.ndarray:
        """What each class adds whatever a row has."""
        return self.class_log_prior_

    def _to_onnx(self, table: Table) -> Answer:
        self._refuse_infinite([self.feature_log_prob_])
        graph, coef = table.graph, self.feature_log_prob_
        X = features(self.features_, table, type(self).__name__)
        sums = graph.node("MatMul", X, graph.constant(coef.T))
        logs = graph.node("Add", sums, graph.constant(self._constants[None, :]))
        return most_likely(graph, logs, self.classes_)

    def _sklearn_model(self) -> Any:
        return self._twin("MultinomialNB")
