"""How often predicted classes are right, and what their probabilities are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.exact import python_values
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.metrics.confusion import agreement, by_class
from outgrow.metrics.report import Report, beside_keys
from outgrow.metrics.scores import calibration, lift, pairwise_metrics, probability_metrics, thresholds
from outgrow.ml.core.parameters import Integer
from outgrow.statistics.rows import Rows, key_order, open_rows
from outgrow.stats.counts import ValueCounts
from outgrow.stats.grouped import GroupedSums
from outgrow.stats.judged import ScoredGroups, judged
from outgrow.stats.scores import RankedScores

_MOST_CLASSES, _MOST_CELLS = 1000, 1 << 28
Scored = str | Mapping[Any, str] | None


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationReport(Report):
    """The metrics of a classification; see `classification_report`.

    Attributes
    ----------
    classes : in the order of all that is by class.
    confusion : ndarray of shape (classes, classes), weight of rows by true class (row) and predicted; of
        groups of shape (groups, classes, classes).
    """

    classes: list[Any]
    confusion: np.ndarray
    ranked_: list[tuple[RankedScores, ...]]

    def by_class(self) -> pa.Table:
        """Precision, recall, F1 and support of each class, as `sklearn.metrics.classification_report`.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"y": ["a", "a", "b"], "p": ["a", "b", "b"]})
        >>> og.metrics.classification_report(rows, "y", "p").by_class()["recall"].to_pylist()
        [0.5, 1.0]
        """
        tables = [by_class(self.classes, confusion) for confusion in np.atleast_3d(self._confusions)]
        return self._beside(tables)

    def thresholds(self, positive: Any = None) -> pa.Table:
        """What each threshold of the score of a class would do: a row for each score, the highest first.

        Parameters
        ----------
        positive : the class; the last by default.

        Returns
        -------
        A table of `threshold` (scores of at least that are called positive), `precision`, `recall`,
        `false_positive_rate`, `f1`, and `predicted`, the share of rows that are called positive.
        """
        return self._beside([thresholds(ranked) for ranked in self._ranked(positive)])

    def lift(self, bins: int = 10, positive: Any = None) -> pa.Table:
        """How many of the positives lie among the rows with the highest scores.

        Parameters
        ----------
        bins : parts of equal weight into which the rows are cut by their score.
        positive : the class; the last by default.

        Returns
        -------
        A table of `share` of rows from the top, `gain`, the share of the positives among them, and `lift`,
        how many times as many that are as among as many rows at random.
        """
        return self._beside([lift(ranked, bins) for ranked in self._ranked(positive)])

    def calibration(self, bins: int = 10, positive: Any = None) -> pa.Table:
        """How probable a class was said to be, and how often it was: bins of equal weight by probability.

        Parameters
        ----------
        bins : how many.
        positive : the class; the last by default.
        """
        return self._beside([calibration(ranked, bins) for ranked in self._ranked(positive)])

    @property
    def _confusions(self) -> np.ndarray:
        return self.confusion[None] if self.groups is None else self.confusion

    def _ranked(self, positive: Any) -> list[RankedScores]:
        if not self.ranked_ or not self.ranked_[0]:
            raise ParameterError("There are no probabilities. Give y_score, a column or one for each class.")
        positive = self.classes[-1] if positive is None else positive
        if positive not in self.classes:
            raise ParameterError(f"positive={positive!r} is no class; they are {self.classes[:20]}.")
        index = self.classes.index(positive)
        if len(self.classes) > 2:
            return [ranked[index] for ranked in self.ranked_]
        return [ranked[0] if index else _other(ranked[0]) for ranked in self.ranked_]

    def _beside(self, tables: list[pa.Table]) -> pa.Table:
        return beside_keys(self.groups, tables)


def _other(ranked: RankedScores) -> RankedScores:
    """The scores of the first of two classes."""
    return RankedScores(
        ranked.rows, 1 - ranked.score, ranked.negative, ranked.positive, ranked.exact, ranked.bins
    )


def classification_report(
    data: Any,
    y_true: str,
    y_pred: str | None = None,
    *,
    y_score: Scored = None,
    positive: Any = None,
    top_k: int | Sequence[int] = (),
    by: Any = None,
    sample_weight: Any = None,
) -> ClassificationReport:
    """Judge predicted classes and their probabilities, of all rows or of each group.

    Parameters
    ----------
    data : dataset, Spark DataFrame, or table with the columns.
    y_true : the column of the true classes: text, whole numbers or booleans.
    y_pred : that of the predicted ones; None for the most probable. Rows that lack a value are left out.
    y_score : the column of the probability of the positive of two classes; or a dictionary with the column of
        each class. None where there are no probabilities.
    positive : of two classes the one that precision, recall and the curves are about; the last in their
        order by default.
    top_k : a number, or several: `top_3_accuracy` is the share of rows whose class is among the three most
        probable; of equal probabilities the later class counts as more probable.
    by : columns whose values make groups, each judged by itself: a name, several, or an array of shape
        (rows,). A missing key is a group of its own.
    sample_weight : the weight of each row: a column's name, or an array of shape (rows,).

    Returns
    -------
    A mapping with `accuracy`, `balanced_accuracy`, `precision`, `recall`, `f1` (of more than two classes
    their means over classes, `precision_macro` and so on, and `f1_weighted`), `mcc` and `cohen_kappa`; with
    probabilities also `log_loss`, `brier`, `ece` (expected calibration error in bins of equal weight),
    `roc_auc` and `pr_auc` (of more classes one against the rest, `roc_auc_ovr` and `roc_auc_ovr_weighted`,
    and of each pair of them, `roc_auc_ovo` and `roc_auc_ovo_weighted`), and of two classes `ks`.

    Raises
    ------
    ColumnNotFoundError, SchemaError
        When a column is not there, or of a type that cannot be.
    DataError
        When no row counts, or there are too many classes.

    Notes
    -----
    A pass for the classes, and one for all metrics. Areas under curves are exact up to five million rows of a
    group; past that scores are counted in 262,144 bins, and those of pairs of classes are NaN.

    Unlike scikit-learn: a metric that does not exist, such as the ROC area of one class, is NaN without a
    warning; precision without any predicted is 0; areas of pairs of classes take weights, too.

    Unlike Spark MLlib's `MulticlassClassificationEvaluator(metricName="f1")`: `f1` of two classes is that of
    the positive one; MLlib's is `f1_weighted` here.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"late": [True, False, True, False], "p": [0.9, 0.2, 0.4, 0.1]})
    >>> report = og.metrics.classification_report(rows, "late", y_score="p")
    >>> report["accuracy"], report["roc_auc"]
    (0.75, 1.0)
    """
    if y_pred is None and y_score is None:
        raise ParameterError("Give y_pred, a column of classes, or y_score, one of probabilities.")
    top = _top(top_k, scored=y_score is not None)
    chances = list(y_score.values()) if isinstance(y_score, Mapping) else [y_score] if y_score else []
    labels = [name for name in (y_true, y_pred) if name is not None]
    rows = open_rows(data, [*labels, *chances], by=by, weights=sample_weight, numeric=False)
    classes = _classes(rows, labels, y_score)
    if len(classes) == 2 and positive is not None:
        if positive not in classes:
            raise ParameterError(f"positive={positive!r} is no class; they are {classes}.")
        classes = [label for label in classes if label != positive] + [positive]
    if isinstance(y_score, str) and len(classes) > 2:
        raise ParameterError(
            f"{y_true} has {len(classes)} classes, and y_score={y_score!r} is one column. Give a dictionary "
            "with the column of each class."
        )
    columns = [y_score[label] for label in classes] if isinstance(y_score, Mapping) else chances
    fold = partial(_fold, rows=rows, columns=(y_true, y_pred), classes=classes, chances=columns, top=top)
    keys, sums, scores = rows.learn(partial(_learn, fold=fold))
    return _read(rows, keys, sums, scores, classes, top, scored=bool(chances))


def _top(top_k: int | Sequence[int], *, scored: bool) -> tuple[int, ...]:
    """The numbers of classes among which the true one is looked for."""
    top = (top_k,) if isinstance(top_k, Integral) else tuple(top_k)  # type: ignore[arg-type]
    for number in top:
        Integer(low=1).check("classification_report", "top_k", number)
    if top and not scored:
        raise ParameterError(f"top_k={top_k!r} needs probabilities. Give y_score, a column for each class.")
    return tuple(dict.fromkeys(int(number) for number in top))


def _learn(shard: Shard, fold: Any) -> Any:
    return shard.reduce(fold)


def _classes(rows: Rows, labels: list[str], y_score: Scored) -> list[Any]:
    """The classes there are, sorted."""
    if isinstance(y_score, Mapping):
        return list(y_score)
    counts = rows.learn(partial(_learn, fold=partial(_seen, labels=labels)))
    classes = counts.values()
    if not classes:
        raise DataError(f"{labels[0]} has no values. Give rows whose class is known.")
    if len(classes) > _MOST_CLASSES:
        raise DataError(
            f"{', '.join(labels)} have {len(classes):,} different values; {_MOST_CLASSES:,} classes can be "
            "judged. Numbers are judged by og.metrics.regression_report."
        )
    if len(classes) == 1 and isinstance(y_score, str):
        raise DataError(
            f"{labels[0]} has one class, {classes[0]!r}: which one y_score={y_score!r} is about cannot be "
            "known. Give a dictionary with the column of each class."
        )
    return classes


def _seen(batch: Batch, labels: list[str]) -> ValueCounts:
    counts = ValueCounts({})
    for name in labels:
        column = batch[name]
        if not isinstance(column, pa.Array) or _is_fraction(column.type):
            raise SchemaError(f"{name} holds no classes: {getattr(column, 'type', 'a matrix')}.")
        counts = counts.merge(ValueCounts.of(column))
    return counts


def _is_fraction(kind: pa.DataType) -> bool:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_floating(values) or pa.types.is_nested(values))


def _fold(
    batch: Batch,
    rows: Rows,
    columns: tuple[str, str | None],
    classes: list[Any],
    chances: list[str],
    top: tuple[int, ...],
) -> Any:
    y = _places(batch[columns[0]], classes, columns[0])
    predicted = None if columns[1] is None else _places(batch[columns[1]], classes, columns[1])
    probabilities = _probabilities(batch, chances)
    weight = rows.weights(batch)
    segments, keys = rows.grouped(batch)
    if (cells := len(segments.hashes) * len(classes) ** 2) > _MOST_CELLS:
        raise DataError(
            f"{len(segments.hashes):,} groups of {len(classes):,} classes have tables of {cells:,} numbers. "
            "Take coarser groups, or some of the classes."
        )
    return keys, *judged(segments, y, predicted, probabilities, weight, len(classes), top)


def _places(column: pa.Array, classes: list[Any], name: str) -> np.ndarray:
    """The index of each value among the classes; -1 where it is missing."""
    values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    try:
        known = pa.array(classes).cast(values.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"{name} holds {values.type}, and the classes are {classes[:5]}.") from error
    places = pc.fill_null(pc.index_in(values, known), -1).to_numpy(zero_copy_only=False)
    unknown = (places < 0) & ~np.asarray(values.is_null())
    if unknown.any():
        some = sorted(set(map(str, python_values(values.filter(pa.array(unknown))))))[:5]
        raise DataError(f"{name} holds classes without a column in y_score: {some}.")
    return places.astype(np.int64)


def _probabilities(batch: Batch, chances: list[str]) -> np.ndarray | None:
    """The probabilities of all classes; those of one column and the rest."""
    if not chances:
        return None
    values = batch.matrix(chances)
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise DataError(
            f"{chances} hold {values[outside][:3].tolist()}: a probability lies between 0 and 1. Give the "
            "columns of predict_proba, not of decision_function."
        )
    return np.column_stack([1 - values[:, 0], values[:, 0]]) if len(chances) == 1 else values


def _read(
    rows: Rows,
    keys: Any,
    sums: GroupedSums,
    scores: ScoredGroups,
    classes: list[Any],
    top: tuple[int, ...],
    *,
    scored: bool,
) -> ClassificationReport:
    groups, order = (
        (None, np.arange(len(sums.hashes))) if not rows.by else key_order(keys, rows.by, missing=True)
    )
    table = sums.sums[order]
    confusion = table[:, 6 + len(top) :].reshape(len(table), len(classes), len(classes))
    if not (confusion > 0).any():
        raise DataError("Nothing can be judged: no row has all values and counts. Give rows that do.")
    count, missing, values = table[:, 0].astype(int), table[:, 1].astype(int), agreement(confusion)
    n = np.maximum(count, 1)
    errors = {"accuracy": np.sqrt(values["accuracy"] * (1 - values["accuracy"]) / n)}
    ranked: list[Any] = [()] * len(table)
    if scored:
        with np.errstate(divide="ignore", invalid="ignore"):
            means = table[:, 2 : 6 + len(top)] / confusion.sum(axis=(1, 2))[:, None]
        for j, name in enumerate(("log_loss", "brier")):
            values[name] = means[:, 2 * j]
            errors[name] = np.sqrt(np.maximum(means[:, 2 * j + 1] - means[:, 2 * j] ** 2, 0) / n)
        for j, number in enumerate(top):
            share = values[f"top_{number}_accuracy"] = means[:, 4 + j]
            errors[f"top_{number}_accuracy"] = np.sqrt(share * (1 - share) / n)
        ranked = scores.ranked(sums.hashes[order])
        each_group = [probability_metrics(one) for one in ranked]
        if len(classes) > 2:
            pairs = scores.pairs(sums.hashes[order], len(classes))
            for values_of_group, scores_of_group, areas, cells in zip(
                each_group, ranked, pairs, confusion, strict=True
            ):
                values_of_group |= pairwise_metrics(areas, scores_of_group, cells.sum(axis=1))
        values |= {name: np.array([one[name] for one in each_group]) for name in each_group[0]}
    if groups is None:
        return ClassificationReport(
            values, int(count[0]), int(missing[0]), groups, errors, classes, confusion[0], ranked
        )
    return ClassificationReport(values, count, missing, groups, errors, classes, confusion, ranked)
