"""Metrics as states: what one pass over predictions must keep so that each metric equals scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrow.stats.confusion import averages
from outgrow.stats.moments import Moments
from outgrow.stats.state import State

EXACT_ROWS = 5_000_000
"""Up to this many rows, areas under curves are exact (24 bytes a row); past it, scores are binned."""
BINS = 1 << 18
CALIBRATION_BINS = 20


@dataclass(frozen=True, eq=False)
class RankedScores(State):
    """Scores in [0, 1] of positive and negative rows: as they are, or counted in bins of equal width.

    Attributes
    ----------
    rows : how many rows; decides between the two forms.
    score, positive, negative : ndarray of equal length; a score and the weight of rows of each kind that have
        it. In binned form `score` is the middle of each bin.
    exact : up to so many rows, scores are kept as they are.
    bins : how many there are, past that.
    """

    rows: int
    score: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    exact: int = EXACT_ROWS
    bins: int = BINS

    @classmethod
    def of(cls, score: np.ndarray, is_positive: np.ndarray, weight: np.ndarray | None = None) -> RankedScores:
        """The scores of rows, as they are.

        Parameters
        ----------
        score : shape (rows,), in [0, 1].
        is_positive : boolean of shape (rows,).
        weight : shape (rows,); None where each row counts once.
        """
        w = np.ones(len(score)) if weight is None else weight
        return cls(len(score), score, w * is_positive, w * ~is_positive)

    def merge(self, other: RankedScores) -> RankedScores:
        rows = self.rows + other.rows
        if rows <= self.exact:
            pairs = zip(self._parts(), other._parts(), strict=True)
            score, positive, negative = (np.concatenate(pair) for pair in pairs)
            return replace(self, rows=rows, score=score, positive=positive, negative=negative)
        left, right = self._binned(), other._binned()
        return replace(
            left,
            rows=rows,
            positive=left.positive + right.positive,
            negative=left.negative + right.negative,
        )

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates at falling thresholds, from (0, 0) to (1, 1)."""
        _, positive, negative = self._cumulated()
        return _rate(negative), _rate(positive)

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall at falling thresholds."""
        _, positive, negative = self._cumulated()
        total = positive + negative
        return np.where(total > 0, positive / np.where(total > 0, total, 1), 1.0), _rate(positive)

    def roc_auc(self) -> float:
        """Area under the ROC curve; NaN without rows of both kinds."""
        false, true = self.roc()
        return float(np.trapezoid(true, false))

    def average_precision(self) -> float:
        """Area under the precision-recall curve by steps, as `sklearn.metrics.average_precision_score`."""
        precision, recall = self.precision_recall()
        height = precision[1:]
        if self.rows > self.exact:  # the positives of a bin lie evenly between the precisions at its ends
            positives = np.maximum(np.diff(self._cumulated()[1]), 1.0)
            before = np.append(height[:1], height[:-1])
            height = before + (height - before) * (positives + 1) / (2 * positives)
        return float(np.sum(np.diff(recall) * height))

    def error_bound(self) -> float:
        """How far the ROC area can be off because scores within a bin were not told apart; 0 when exact."""
        if self.rows <= self.exact:
            return 0.0
        product = self.positive.sum() * self.negative.sum()
        return float((self.positive * self.negative).sum() / product / 2) if product else 0.0

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.score, self.positive, self.negative

    def _binned(self) -> RankedScores:
        bin_index = np.minimum((self.score * self.bins).astype(np.intp), self.bins - 1)
        return replace(
            self,
            score=(np.arange(self.bins) + 0.5) / self.bins,
            positive=np.bincount(bin_index, self.positive, self.bins),
            negative=np.bincount(bin_index, self.negative, self.bins),
        )

    def _cumulated(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.argsort(-self.score)
        score = self.score[order]
        last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
        positive, negative = np.cumsum(self.positive[order])[last], np.cumsum(self.negative[order])[last]
        return score[last], np.append(0.0, positive), np.append(0.0, negative)


def _rate(cumulated: np.ndarray) -> np.ndarray:
    return cumulated / cumulated[-1] if cumulated[-1] > 0 else np.full(len(cumulated), np.nan)


@dataclass(frozen=True, eq=False)
class ClassificationState(State):
    """What the metrics of a classification need.

    Attributes
    ----------
    confusion : ndarray of shape (classes, classes); weight of rows by true class (row) and predicted.
    log_loss : summed, weighted.
    ranked : one `RankedScores` for the second of two classes, or for each of more.
    calibration : ndarray of shape (bins, 3): weight, summed probability, weight of positives, by predicted
        probability of the last class.
    """

    confusion: np.ndarray
    log_loss: float
    ranked: tuple[RankedScores, ...]
    calibration: np.ndarray

    @classmethod
    def of(
        cls, y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray | None = None
    ) -> ClassificationState:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,), the index of the true class.
        probabilities : shape (rows, classes); rows need not sum to 1.
        weight : shape (rows,); None where each row counts once.
        """
        classes = probabilities.shape[1]
        w = np.ones(len(y)) if weight is None else weight
        two = classes == 2
        predicted = probabilities[:, 1] > probabilities[:, 0] if two else probabilities.argmax(axis=1)
        confusion = np.bincount(y * classes + predicted, w, classes * classes).reshape(classes, classes)
        eps = np.finfo(np.float64).eps
        of_true_class = np.where(y, *probabilities.T[::-1]) if two else probabilities[np.arange(len(y)), y]
        of_true_class = of_true_class / (
            probabilities[:, 0] + probabilities[:, 1] if two else probabilities.sum(axis=1)
        )
        loss = float(-(w @ np.log(np.clip(of_true_class, eps, 1 - eps))))
        ranked = [1] if two else range(classes)
        p = probabilities[:, -1]
        bin_index = np.minimum((p * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
        bins = [np.bincount(bin_index, v, CALIBRATION_BINS) for v in (w, w * p, w * (y == classes - 1))]
        return cls(
            confusion,
            loss,
            tuple(RankedScores.of(probabilities[:, k], y == k, weight) for k in ranked),
            np.stack(bins, axis=1),
        )

    def merge(self, other: ClassificationState) -> ClassificationState:
        return ClassificationState(
            self.confusion + other.confusion,
            self.log_loss + other.log_loss,
            tuple(a.merge(b) for a, b in zip(self.ranked, other.ranked, strict=True)),
            self.calibration + other.calibration,
        )

    @property
    def weight(self) -> float:
        """Of all rows."""
        return float(self.confusion.sum())

    def metrics(self) -> dict[str, float]:
        """Each metric by name; precision, recall and F1 are of the second class, or averaged over more."""
        of_classes = averages(self.confusion)
        total = float(self.confusion.sum())
        metrics: dict[str, Any] = {"accuracy": of_classes.pop("accuracy"), "log_loss": self.log_loss / total}
        metrics |= of_classes
        areas = [ranked.roc_auc() for ranked in self.ranked]
        if len(areas) == 1:
            metrics |= {"roc_auc": areas[0], "pr_auc": self.ranked[0].average_precision()}
        else:
            metrics["roc_auc_ovr"] = np.mean(areas)
        return {name: float(value) for name, value in metrics.items()}


@dataclass(frozen=True, eq=False)
class SeveralClassifications(State):
    """What the metrics of a classification of several targets need.

    Attributes
    ----------
    right : weight of the rows of which all targets are predicted right.
    targets : the state of each target.
    """

    right: float
    targets: tuple[ClassificationState, ...]

    @classmethod
    def of(
        cls, y: np.ndarray, probabilities: list[np.ndarray], weight: np.ndarray | None = None
    ) -> SeveralClassifications:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows, targets), the index of each true class.
        probabilities : of each target, of shape (rows, classes).
        weight : shape (rows,); None where each row counts once.
        """
        right = (
            np.column_stack([target_probabilities.argmax(axis=1) for target_probabilities in probabilities])
            == y
        )
        all_right = right.all(axis=1)
        total = float(all_right.sum() if weight is None else weight @ all_right)
        pairs = zip(y.T, probabilities, strict=True)
        return cls(total, tuple(ClassificationState.of(labels, chances, weight) for labels, chances in pairs))

    def merge(self, other: SeveralClassifications) -> SeveralClassifications:
        pairs = zip(self.targets, other.targets, strict=True)
        return SeveralClassifications(self.right + other.right, tuple(a.merge(b) for a, b in pairs))

    @property
    def weight(self) -> float:
        """Of all rows."""
        return self.targets[0].weight

    def metrics(self) -> dict[str, float]:
        """The share of rows of which all targets are right, and what there is of the targets together.

        That is the mean of their log losses, the share of answers that are wrong, and where all have two
        classes, the F1 of the second ones: of all answers together, and the mean of those of the targets.
        """
        losses = [target.metrics()["log_loss"] for target in self.targets]
        wrong = [1 - np.trace(target.confusion) / target.weight for target in self.targets]
        values = {
            "accuracy": self.right / self.weight,
            "log_loss": float(np.mean(losses)),
            "hamming_loss": float(np.mean(wrong)),
        }
        if all(len(target.confusion) == 2 for target in self.targets):
            tables = np.array([target.confusion for target in self.targets])
            right, called = 2 * tables[:, 1, 1], tables[:, 1].sum(axis=1) + tables[:, :, 1].sum(axis=1)
            f1 = np.where(called > 0, right / np.where(called > 0, called, 1), 0.0)
            values["f1_micro"] = float(right.sum() / called.sum()) if called.any() else 0.0
            values["f1_macro"] = float(f1.mean())
        return values

    def each_target(self) -> list[dict[str, float]]:
        """The metrics of each target."""
        return [target.metrics() for target in self.targets]


@dataclass(frozen=True, eq=False)
class RegressionState(State):
    """What the metrics of a regression need: summed errors, and the moments of y.

    Attributes
    ----------
    squared, absolute : float, or ndarray of shape (targets,) where there are several.
    """

    weight: float
    squared: Any
    absolute: Any
    target: Moments

    @classmethod
    def of(cls, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> RegressionState:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,) or (rows, targets).
        predicted : of the shape of y.
        weight : shape (rows,); None where each row counts once.
        """
        return ManyRegressions.of(y, predicted[None], weight).split()[0]

    def merge(self, other: RegressionState) -> RegressionState:
        return RegressionState(
            self.weight + other.weight,
            self.squared + other.squared,
            self.absolute + other.absolute,
            self.target.merge(other.target),
        )

    def metrics(self) -> dict[str, float]:
        """Each metric by name, as the mean over targets."""
        return {name: float(values.mean()) for name, values in self.by_target().items()}

    def each_target(self) -> list[dict[str, float]]:
        """The metrics of each target."""
        by_name = self.by_target()
        return [
            dict(zip(by_name, map(float, values), strict=True))
            for values in zip(*by_name.values(), strict=True)
        ]

    def by_target(self) -> dict[str, np.ndarray]:
        """Each metric by name, of shape (targets,)."""
        squared, spread = np.atleast_1d(self.squared), self.target.m2
        mse = squared / self.weight
        with np.errstate(invalid="ignore"):  # squares past float64 tell nothing: NaN
            r2 = np.where(spread > 0, 1 - squared / np.where(spread > 0, spread, 1), squared == 0)
        return {"r2": r2, "mse": mse, "rmse": np.sqrt(mse), "mae": np.atleast_1d(self.absolute) / self.weight}


@dataclass(frozen=True, eq=False)
class ManyRegressions(State):
    """A `RegressionState` of each of several predictions of the same rows.

    Attributes
    ----------
    squared, absolute : ndarray of shape (predictions,) or (predictions, targets), summed errors.
    """

    weight: float
    squared: np.ndarray
    absolute: np.ndarray
    target: Moments

    @classmethod
    def of(cls, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> ManyRegressions:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,) or (rows, targets).
        predicted : shape (predictions, rows) or (predictions, rows, targets).
        weight : shape (rows,); None where each row counts once.
        """
        error = y - predicted
        total = float(len(y) if weight is None else weight.sum())
        if error.ndim == 3:
            w = np.ones(len(y)) if weight is None else weight
            squared, absolute = (
                np.einsum("prt,r->pt", errors, w) for errors in (error * error, np.abs(error))
            )
        else:
            squared = np.einsum("pr,pr->p", error, error) if weight is None else (error * error) @ weight
            np.abs(error, out=error)
            absolute = error.sum(axis=1) if weight is None else error @ weight
        columns = y[:, None] if y.ndim == 1 else y
        return cls(total, squared, absolute, Moments.of(columns, weight))

    def merge(self, other: ManyRegressions) -> ManyRegressions:
        return ManyRegressions(
            self.weight + other.weight,
            self.squared + other.squared,
            self.absolute + other.absolute,
            self.target.merge(other.target),
        )

    def split(self) -> list[RegressionState]:
        """One state for each prediction."""
        one = self.squared.ndim == 1
        squared, absolute = (errors.tolist() if one else errors for errors in (self.squared, self.absolute))
        return [
            RegressionState(self.weight, s, a, self.target) for s, a in zip(squared, absolute, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class ManyClassifications(State):
    """A `ClassificationState` of each of several predictions of the same rows, with scores counted in bins.

    Attributes
    ----------
    confusion : ndarray of shape (predictions, classes, classes).
    log_loss : ndarray of shape (predictions,).
    counts : ndarray of shape (predictions, ranked, 2, bins): weight of other rows and of positive ones, by
        the score for each class that is ranked. The number of bins is a multiple of the calibration's.
    summed : ndarray of shape (predictions, bins), summed probability of the last class.
    """

    rows: int
    confusion: np.ndarray
    log_loss: np.ndarray
    counts: np.ndarray
    summed: np.ndarray

    @classmethod
    def of(
        cls, y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray | None, bins: int
    ) -> ManyClassifications:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,), the index of the true class.
        probabilities : shape (predictions, classes, rows).
        weight : shape (rows,); None where each row counts once.
        bins : into how many the scores are counted; as the attribute `counts` says.
        """
        many, classes, rows = probabilities.shape
        w = np.ones(rows) if weight is None else weight
        member = (np.eye(classes)[:, y] * w).T
        if classes == 2:
            second = (probabilities[:, 1] > probabilities[:, 0]).astype(np.float64) @ member
            confusion = np.stack([member.sum(axis=0) - second, second], axis=2)
            of_true_class = np.where(y, probabilities[:, 1], probabilities[:, 0])
        else:
            best = probabilities.argmax(axis=1)
            confusion = np.stack([(best == k) @ member for k in range(classes)], axis=2)
            of_true_class = probabilities[:, y, np.arange(rows)]
        eps = np.finfo(np.float64).eps
        np.clip(of_true_class, eps, 1 - eps, out=of_true_class)
        loss = -np.log(of_true_class, out=of_true_class) @ w
        ranked = [1] if classes == 2 else range(classes)
        counted = [_counted(probabilities[:, k], y == k, weight, bins) for k in ranked]
        bin_index, last = counted[-1][1], probabilities[:, -1]
        summed = np.bincount(bin_index, (last if weight is None else last * w).ravel(), many * 2 * bins)
        counts = np.stack([counts for counts, _ in counted], axis=1)
        return cls(rows, confusion, loss, counts, summed.reshape(many, 2, bins).sum(axis=1))

    def merge(self, other: ManyClassifications) -> ManyClassifications:
        return ManyClassifications(
            self.rows + other.rows,
            self.confusion + other.confusion,
            self.log_loss + other.log_loss,
            self.counts + other.counts,
            self.summed + other.summed,
        )

    def split(self) -> list[ClassificationState]:
        """One state for each prediction."""
        bins = self.counts.shape[-1]
        middle = (np.arange(bins) + 0.5) / bins
        states = []
        for confusion, loss, counts, summed in zip(
            self.confusion, self.log_loss, self.counts, self.summed, strict=True
        ):
            ranked = tuple(RankedScores(self.rows, middle, b, a, 0, bins) for a, b in counts)
            last = counts[-1].reshape(2, CALIBRATION_BINS, -1).sum(axis=2)
            sums = summed.reshape(CALIBRATION_BINS, -1).sum(axis=1)
            calibration = np.stack([last.sum(axis=0), sums, last[1]], axis=1)
            states.append(ClassificationState(confusion, float(loss), ranked, calibration))
        return states


def _counted(
    score: np.ndarray, is_positive: np.ndarray, weight: np.ndarray | None, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of shape (predictions, rows), counted in bins of other rows and of positive ones; the bins."""
    many = len(score)
    bin_index = (score * bins).astype(np.intp)
    np.minimum(bin_index, bins - 1, out=bin_index)
    bin_index += bins * is_positive + 2 * bins * np.arange(many)[:, None]
    w = None if weight is None else np.broadcast_to(weight, score.shape).ravel()
    counts = np.bincount(bin_index.ravel(), w, many * 2 * bins).astype(np.float64)
    return counts.reshape(many, 2, bins), bin_index.ravel()
