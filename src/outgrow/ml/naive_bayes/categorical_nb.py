"""Naive Bayes for categories."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.joint import dense
from outgrow.ml.core.parameters import Number, Numbers
from outgrow.ml.export.onnx.answer import Answer, features, most_likely
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.naive_bayes.base import DiscreteNaiveBayes
from outgrow.stats.by_class import CategoryCounts

MOST_CATEGORIES = 1 << 24
"""Of one column: for each of them and each class there is a number."""


class CategoricalNB(DiscreteNaiveBayes):
    """Naive Bayes for categories, told by whole numbers from 0 on; one pass over the rows.

    `OrdinalEncoder` makes such numbers of text.

    Parameters
    ----------
    alpha : what is added to each count.
    force_alpha : take an alpha below 1e-10 as it is; otherwise it becomes that.
    fit_prior : learn the probabilities of the classes; otherwise all are alike.
    class_prior : the probability of each class, in the order of `classes_`.
    min_categories : how many categories a column has at least, or one number for each; None for as many as
        occur.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    class_log_prior_ : ndarray of shape (n_classes,).
    n_categories_ : ndarray of shape (n_features,).
    category_count_, feature_log_prob_ : lists of n_features arrays of shape (n_classes, n_categories).

    Raises
    ------
    DataError
        When a number is negative, has a fraction, or is a category that the fit did not see.

    Notes
    -----
    Unlike scikit-learn: numbers with a fraction are refused (there it is cut off); a category that the fit
    did not see is named (there an `IndexError`); after `partial_fit`, `n_categories_` counts those of all
    parts.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> kinds = np.array([[0, 1], [0, 0], [2, 1]])
    >>> model = og.CategoricalNB().fit(kinds, np.array(["a", "a", "b"]))
    >>> model.predict(np.array([[0, 0], [2, 1]])).tolist(), model.n_categories_.tolist()
    (['a', 'b'], [3, 2])
    """

    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
            "check_estimators_nan_inf",
            "check_classifiers_one_label_sample_weights",
        ),
        "it brings numbers with a fraction, which are no categories",
    )
    parameters = {
        **DiscreteNaiveBayes.parameters,
        "alpha": Number(low=0),
        "min_categories": Numbers(low=1) | None,
    }
    shared_fit_parameters = (*DiscreteNaiveBayes.shared_fit_parameters, "min_categories")
    category_count_: list[np.ndarray]
    feature_log_prob_: list[np.ndarray]
    n_categories_: np.ndarray

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
        return {name: random.integers(0, 4, rows).astype(np.float64) for name in "abc"}

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        min_categories: Any = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.min_categories = min_categories

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.positive_only = True
        return tags

    def _statistic(self, block: Block) -> CategoryCounts:
        return CategoryCounts.of(self._codes(block.X), np.asarray(block.y), block.weight)

    def _codes(self, X: Any) -> np.ndarray:
        """The categories of rows as whole numbers, checked."""
        X = np.asarray(dense(X), dtype=np.float64)  # half floats end before categories do
        codes = X.astype(np.int64, order="F")
        bad = np.argwhere((X < 0) | (codes != X) | (X >= MOST_CATEGORIES))
        if len(bad):
            i, j = bad[0].tolist()
            what = (
                "Negative values in data passed to CategoricalNB (input X)"
                if X[i, j] < 0
                else "CategoricalNB"
            )
            raise DataError(
                f"{what}: {self._column_name(j, X.shape[1])} holds {X[i, j]:g}, and categories are whole "
                f"numbers from 0 to {MOST_CATEGORIES - 1}. Encode them with OrdinalEncoder, or bin them with "
                "KBinsDiscretizer."
            )
        return codes

    def _learn(self, state: CategoryCounts) -> None:
        sizes = self._least(state.sizes)
        counts = state.widened(sizes)
        self.n_categories_ = sizes
        self.category_count_ = [self._spread(state.hashes, each) for each in counts.columns()]
        alpha = self._alpha(len(sizes))
        self.feature_log_prob_ = [_log_shares(each + alpha) for each in self.category_count_]
        self._note_priors()

    def _noted(self) -> CategoryCounts:
        hashes = np.arange(len(self.classes_), dtype=np.uint64)
        return CategoryCounts(hashes, self.n_categories_, np.concatenate(self.category_count_, axis=1))

    def _least(self, sizes: np.ndarray) -> np.ndarray:
        """How many categories each column has, at least as many as the user says."""
        if self.min_categories is None:
            return sizes
        least = np.asarray(self.min_categories)
        if least.dtype.kind not in "iu":
            raise ParameterError(
                f"'min_categories' should have integral type. Got {least.dtype} instead. Give whole numbers."
            )
        if least.ndim and least.shape != sizes.shape:
            raise ParameterError(
                f"'min_categories' should have shape ({len(sizes)},) when an array-like is provided. Got "
                f"{least.shape} instead."
            )
        return np.maximum(sizes, least).astype(np.int64)

    def _logs(self, X: Any) -> np.ndarray:
        codes = self._codes(X)
        self._check_known(codes)
        logs = np.zeros((len(self.classes_), len(codes)))
        for column, table in zip(codes.T, self.feature_log_prob_, strict=True):
            logs += table[:, column]
        return self._with_priors(logs.T, self.class_log_prior_)

    def _check_known(self, codes: np.ndarray) -> None:
        unseen = np.flatnonzero(codes.max(axis=0, initial=-1) >= self.n_categories_)
        if len(unseen):
            j = int(unseen[0])
            name, known = self._column_name(j, len(codes.T)), self.n_categories_[j] - 1
            raise DataError(
                f"CategoricalNB: {name} holds the category {codes[:, j].max()}, and the fit saw 0 to {known} "
                "alone. Fit with min_categories, which makes room for others, or leave those rows out."
            )

    def _to_onnx(self, table: Table) -> Answer:
        self._refuse_infinite(self.feature_log_prob_)
        graph = table.graph
        X = graph.cast(features(self.features_, table, type(self).__name__), "integer")
        logs = graph.constant(self.class_log_prior_[None, :])
        for part, known in zip(
            graph.split(X, [1] * len(self.feature_log_prob_)), self.feature_log_prob_, strict=True
        ):
            column = graph.node("Squeeze", part, graph.constant([1], np.int64))
            logs = graph.node("Add", logs, graph.node("Gather", graph.constant(known.T), column))
        return most_likely(graph, logs, self.classes_)

    def _sklearn_model(self) -> Any:
        names = ("alpha", "force_alpha", "fit_prior", "class_prior", "min_categories")
        made = twin("naive_bayes.CategoricalNB", **{name: getattr(self, name) for name in names})
        self._refuse_infinite(self.feature_log_prob_)
        learned = ("classes_", "class_count_", "class_log_prior_", "category_count_", "n_categories_")
        return with_learned(made, self, *learned, "feature_log_prob_")


def _log_shares(counts: np.ndarray) -> np.ndarray:
    """The logarithm of the share of each category, of shape (classes, categories)."""
    total = counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(counts) - np.log(np.where(total > 0, total, 1.0)))
