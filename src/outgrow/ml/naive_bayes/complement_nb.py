"""Naive Bayes for counts of classes of unequal sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.errors import DataError
from outgrow.ml.core.parameters import FLAG
from outgrow.ml.export.sklearn.twin import with_learned
from outgrow.ml.naive_bayes.multinomial_nb import MultinomialNB


class ComplementNB(MultinomialNB):
    """Naive Bayes for counts, from what all other classes have (Rennie et al. 2003); one pass.

    Classes that few rows have are told apart better than by `MultinomialNB`, whose weights they shift.

    Parameters
    ----------
    alpha : what is added to each count, or one number for each column.
    force_alpha : take an alpha below 1e-10 as it is; otherwise it becomes that.
    fit_prior, class_prior : count where there is one class only, as in scikit-learn.
    norm : divide the weights of a class by their sum.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    class_log_prior_ : ndarray of shape (n_classes,).
    feature_count_ : ndarray of shape (n_classes, n_features), the sum of each column.
    feature_all_ : ndarray of shape (n_features,), the sum over all classes.
    feature_log_prob_ : ndarray of shape (n_classes, n_features), the weights.

    Raises
    ------
    DataError
        At `fit`, when a number is negative.

    Notes
    -----
    Unlike Spark MLlib's `NaiveBayes(modelType='complement', smoothing=1.0)`: the weights can be normalised.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> counts = np.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
    >>> model = og.ComplementNB().fit(counts, np.array(["a", "a", "b"]))
    >>> model.predict(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    ['a', 'b']
    """

    parameters = {**MultinomialNB.parameters, "norm": FLAG}
    shared_fit_parameters = (*MultinomialNB.shared_fit_parameters, "norm")
    feature_all_: np.ndarray

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        norm: bool = False,
    ) -> None:
        super().__init__(alpha=alpha, force_alpha=force_alpha, fit_prior=fit_prior, class_prior=class_prior)
        self.norm = norm

    def _smoothed(self, alpha: Any) -> None:
        self.feature_all_ = self.feature_count_.sum(axis=0)
        others = self.feature_all_ + alpha - self.feature_count_
        total = others.sum(axis=1, keepdims=True)
        logs = np.log(others / np.where(total > 0, total, 1.0))
        if self.norm and not np.isfinite(logs).all():
            raise DataError(
                "ComplementNB(norm=True): a column has counts in one class alone, so with alpha=0 the sum of "
                "the weights is infinite. Raise alpha, or leave norm=False."
            )
        self.feature_log_prob_ = logs / logs.sum(axis=1, keepdims=True) if self.norm else -logs

    @property
    def _constants(self) -> np.ndarray:
        alone = len(self.classes_) == 1
        return self.class_log_prior_ if alone else np.zeros(len(self.classes_))

    def _sklearn_model(self) -> Any:
        return with_learned(self._twin("ComplementNB", "norm"), self, "feature_all_")
