"""What all naive Bayes classifiers share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import GrowingClassifier
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.joint import checked_priors, class_shares, log_shares
from outgrow.ml.core.parameters import FLAG, Numbers
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.stats.by_class import class_sums
from outgrow.stats.grouped import GroupedSums

JOINT = "joint_log_probability"
_LEAST_ALPHA = 1e-10

PRIORS = Numbers(low=0) | None


class NaiveBayes(GrowingClassifier):
    """Predicts the class most probable with a row. Hook: `_logs(X)`, of shape (rows, classes)."""

    def _logs(self, X: Any) -> np.ndarray:
        """The logarithm of the joint probability, or density, of each row and class."""
        raise NotImplementedError

    def predict_joint_log_proba(self, X: Any) -> Any:
        """Logarithms of the joint probabilities of rows and classes, of shape (rows, classes); for lazy
        tables columns `joint_log_probability_<class>`."""
        return self._respond(X, "predict_joint_log_proba")

    def _column_name(self, j: int, width: int) -> str:
        """What messages call one of so many columns."""
        return f"column {self.features_[j]!r}" if len(self.features_) == width else f"column {j}"

    def _predict_joint_log_proba(self, X: Any) -> np.ndarray:
        return self._logs(X)

    def _predict(self, X: Any) -> np.ndarray:
        return self._most_probable(self._logs(X))

    def _predict_proba(self, X: Any) -> np.ndarray:
        return class_shares(self._logs(X))[0]

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        return log_shares(self._logs(X))

    def _prediction_names(self, method: str) -> list[str]:
        if method == "predict_joint_log_proba":
            return [f"{JOINT}_{label}" for label in self.classes_]
        return super()._prediction_names(method)


class DiscreteNaiveBayes(NaiveBayes):
    """Learns how often things are counted in each class. Hook: `_smoothed(alpha)` makes `feature_log_prob_`.

    Attributes
    ----------
    class_log_prior_ : ndarray of shape (n_classes,).
    """

    parameters = {
        "alpha": Numbers(low=0),
        "force_alpha": FLAG,
        "fit_prior": FLAG,
        "class_prior": PRIORS,
    }
    shared_fit_parameters: ClassVar[tuple[str, ...]] = ("alpha", "force_alpha", "fit_prior", "class_prior")
    alpha: Any
    force_alpha: bool
    fit_prior: bool
    class_prior: Any
    class_log_prior_: np.ndarray
    feature_log_prob_: Any

    def _smoothed(self, alpha: Any) -> None:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _note_priors(self) -> None:
        classes = len(self.classes_)
        with np.errstate(divide="ignore"):
            if self.class_prior is not None:
                self.class_log_prior_ = np.log(checked_priors("class_prior", self.class_prior, classes))
            elif self.fit_prior:
                self.class_log_prior_ = np.log(self.class_count_) - np.log(self.class_count_.sum())
            else:
                self.class_log_prior_ = np.full(classes, -np.log(classes))

    def _alpha(self, width: int) -> Any:
        """What is added to each count, checked."""
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim and len(alpha) != width:
            raise ParameterError(
                f"When alpha is an array, it should contains `n_features`. Got {len(alpha)} elements instead "
                f"of {width}."
            )
        if alpha.min() < _LEAST_ALPHA and not self.force_alpha:
            warnings.warn(
                f"alpha too small will result in numeric errors, setting alpha = {_LEAST_ALPHA:.1e}. Use "
                "`force_alpha=True` to keep alpha unchanged.",
                stacklevel=2,
            )
            return np.maximum(alpha, _LEAST_ALPHA)
        return alpha

    def _with_priors(self, logs: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """Logarithms of joint probabilities: of a row that no class can bring, those of the classes.

        Parameters
        ----------
        logs : shape (rows, classes), what the columns say.
        constants : shape (classes,), what is added to them.
        """
        logs += constants
        logs[np.isneginf(logs).all(axis=1)] = self.class_log_prior_
        return logs

    def _refuse_infinite(self, tables: Sequence[np.ndarray]) -> None:
        """Refuse to export what says that something cannot be: -inf times no times is NaN elsewhere."""
        if not all(np.isfinite(table).all() for table in tables):
            fact = "alpha=0 made the logarithm of a count infinite."
            raise refusal(self, fact, "Fit with a larger alpha.")


class CountingNaiveBayes(DiscreteNaiveBayes):
    """Adds up the columns in each class.

    Attributes
    ----------
    feature_count_ : ndarray of shape (n_classes, n_features), the sum of each column.
    feature_log_prob_ : ndarray of shape (n_classes, n_features).
    """

    feature_count_: np.ndarray

    def _counts(self, X: Any) -> Any:
        """What is added up of rows, checked."""
        values = X.data if is_sparse(X) else X
        if values.size and values.min() < 0:
            raise DataError(
                f"Negative values in data passed to {type(self).__name__} (input X), {values.min():g} the "
                "least: it adds up counts. Use GaussianNB, or scale the columns with MinMaxScaler."
            )
        return X

    def _statistic(self, block: Block) -> GroupedSums:
        return class_sums(self._counts(block.X), np.asarray(block.y), block.weight)

    def _learn(self, state: GroupedSums) -> None:
        self.feature_count_ = self._spread(state.hashes, state.sums)
        alpha = self._alpha(self.feature_count_.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            self._smoothed(alpha)
        self._note_priors()

    def _noted(self) -> GroupedSums:
        return GroupedSums(np.arange(len(self.classes_), dtype=np.uint64), self.feature_count_)

    def _twin(self, name: str, *parameters: str) -> Any:
        """The fitted equal of scikit-learn."""
        names = ("alpha", "force_alpha", "fit_prior", "class_prior", *parameters)
        made = twin(f"naive_bayes.{name}", **{each: getattr(self, each) for each in names})
        self._refuse_infinite([self.feature_log_prob_])
        learned = ("classes_", "class_count_", "class_log_prior_", "feature_count_", "feature_log_prob_")
        return with_learned(made, self, *learned)
