"""How often the labels of rows that have several are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.metrics.label_ranks import label_ranks
from outgrow.metrics.report import Report, beside_keys
from outgrow.statistics.rows import Rows, key_order, open_rows
from outgrow.stats.confusion import shares
from outgrow.stats.counts import ValueCounts
from outgrow.stats.grouped import GroupedSums

_MOST_LABELS = 10_000
_OF_ROWS = (
    "accuracy",
    "hamming_loss",
    "precision_samples",
    "recall_samples",
    "f1_samples",
    "jaccard_samples",
)
_OF_RANKS = ("lrap", "coverage_error", "label_ranking_loss")
Labels = str | Sequence[str]


@dataclass(frozen=True, eq=False, repr=False)
class MultilabelReport(Report):
    """The metrics of predictions of several labels; see `multilabel_report`.

    Attributes
    ----------
    labels : in the order of all that is by label.
    counts : ndarray of shape (labels, 4), or of groups (groups, labels, 4): the weight of the rows that have
        the label and are told so, that are told so alone, that have it alone, and neither.
    """

    labels: list[Any]
    counts: np.ndarray

    def by_label(self) -> pa.Table:
        """Precision, recall, F1 and support of each label.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"y": [["a", "b"], ["b"]], "p": [["a"], ["a", "b"]]})
        >>> og.metrics.multilabel_report(rows, "y", "p").by_label()["recall"].to_pylist()
        [1.0, 0.5]
        """
        counts = self.counts[None] if self.groups is None else self.counts
        tables = [pa.table({"label": self.labels, **_of_labels(group)}) for group in counts]
        return beside_keys(self.groups, tables)


def multilabel_report(
    data: Any,
    y_true: Labels,
    y_pred: Labels | None = None,
    *,
    y_score: Labels | Mapping[Any, str] | None = None,
    by: Any = None,
    sample_weight: Any = None,
) -> MultilabelReport:
    """Judge predictions of rows that have several labels each, of all rows or of each group.

    Parameters
    ----------
    data : dataset, Spark DataFrame, or table with the columns.
    y_true : the column of lists of the true labels; or a list of columns, one for each label, of 0 and 1.
    y_pred : that, or those, of the predicted labels; None for those whose score is above 0.5. Rows that lack
        a value are left out; an empty list is a row without labels.
    y_score : the scores of the labels, the higher the more probable: a list of columns in the order of those
        of `y_true`, the column of vectors of them, or a dictionary with the column of each label.
    by : columns whose values make groups, each judged by itself: a name, several, or an array of shape
        (rows,). A missing key is a group of its own.
    sample_weight : the weight of each row: a column's name, or an array of shape (rows,).

    Returns
    -------
    A mapping with `accuracy` (of whole rows), `hamming_loss`, `precision`, `recall`, `f1` and `jaccard`, each
    `_micro`, `_macro`, `_weighted` and `_samples`; with scores also `lrap`, the label ranking average
    precision, `coverage_error` and `label_ranking_loss`.

    Raises
    ------
    ColumnNotFoundError, SchemaError
        When a column is not there, or of a type that cannot be.
    DataError
        When no row counts, or there are too many labels.

    Notes
    -----
    One pass; with lists one before it, for the labels there are.

    Unlike scikit-learn: a share of nothing is 0 without a warning, as with `zero_division=0`.

    Unlike Spark MLlib's `MultilabelClassificationEvaluator()`: all metrics at once, also by label; its
    `f1Measure`, `precision` and `recall` are those `_samples`, its `subsetAccuracy` is `accuracy`, and its
    `accuracy` is `jaccard_samples`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"y": [["a", "b"], ["b"]], "p": [["a"], ["a", "b"]]})
    >>> report = og.metrics.multilabel_report(rows, "y", "p")
    >>> report["hamming_loss"], round(report["f1_micro"], 4)
    (0.5, 0.6667)
    """
    if y_pred is None and y_score is None:
        raise ParameterError("Give y_pred, predicted labels, or y_score, their scores.")
    given = [labels for labels in (y_true, y_pred) if labels is not None]
    scores = list(y_score.values()) if isinstance(y_score, Mapping) else _columns(y_score)
    wanted = [*(name for labels in given for name in _columns(labels)), *scores]
    rows = open_rows(data, list(dict.fromkeys(wanted)), by=by, weights=sample_weight, numeric=False)
    labels = _labels(rows, given, y_score)
    if isinstance(y_score, Mapping):
        scores = [y_score[label] for label in labels]
    fold = partial(_fold, rows=rows, columns=(y_true, y_pred), labels=labels, scores=scores)
    keys, sums = rows.learn(partial(_learn, fold=fold))
    return _read(rows, keys, sums, labels, bool(scores))


def _columns(labels: Labels | None) -> list[str]:
    return [] if labels is None else [labels] if isinstance(labels, str) else list(labels)


def _learn(shard: Shard, fold: Any) -> Any:
    return shard.reduce(fold)


def _labels(rows: Rows, given: list[Labels], y_score: Any) -> list[Any]:
    """The labels there are, in their order."""
    several = [list(labels) for labels in given if not isinstance(labels, str)]
    if several:
        if len(several) != len(given) or len({len(names) for names in several}) > 1:
            raise ParameterError(
                f"y_true and y_pred: give two columns of lists, or two lists of as many columns, not {given}."
            )
        return several[0]
    if isinstance(y_score, Mapping):
        return list(y_score)
    names = [name for labels in given for name in _columns(labels)]
    labels = rows.learn(partial(_learn, fold=partial(_seen, names=names))).values()
    if not 0 < len(labels) <= _MOST_LABELS:
        raise DataError(
            f"{', '.join(names)} have {len(labels):,} different labels; 1 to {_MOST_LABELS:,} can be judged."
        )
    return list(labels)


def _seen(batch: Batch, names: list[str]) -> ValueCounts:
    counts = ValueCounts({})
    for name in names:
        counts = counts.merge(ValueCounts.of(_lists(batch, name).flatten()))
    return counts


def _lists(batch: Batch, name: str) -> pa.Array:
    column = batch[name]
    if not isinstance(column, pa.Array) or not is_list(column.type):
        raise SchemaError(
            f"{name} holds no lists of labels but {getattr(column, 'type', 'vectors')}. Give a column of "
            "lists, or a list of columns of 0 and 1, one for each label."
        )
    return column


def _fold(
    batch: Batch, rows: Rows, columns: tuple[Labels, Labels | None], labels: list[Any], scores: list[str]
) -> Any:
    ranked = batch.matrix(scores) if scores else None
    if ranked is not None and ranked.shape[1] != len(labels):
        raise ParameterError(
            f"y_score has {ranked.shape[1]} scores a row, and there are {len(labels)} labels: {labels[:20]}. "
            "Give a dictionary with the column of each label."
        )
    true, there = _indicator(batch, columns[0], labels)
    if columns[1] is not None:
        predicted, known = _indicator(batch, columns[1], labels)
        there &= known
    else:
        assert ranked is not None
        predicted = ranked > 0.5
    if ranked is not None:
        there &= ~np.isnan(ranked).any(axis=1)
    weight = rows.weights(batch)
    weight = there.astype(np.float64) if weight is None else np.where(there, weight, 0.0)
    segments, keys = rows.grouped(batch)
    metrics = _of_rows(true, predicted)
    if ranked is not None:
        metrics |= label_ranks(true, np.where(there[:, None], ranked, 0.0))
    parts = [there, ~there, weight]
    parts += [weight * part for metric in metrics.values() for part in (metric, metric**2)]
    counts = [(both * weight[:, None]).T for both in (true & predicted, ~true & predicted, true & ~predicted)]
    values = np.concatenate([np.array(parts, dtype=np.float64), *counts])
    return keys, GroupedSums.of(segments, values[:, segments.order])


def _indicator(batch: Batch, columns: Labels, labels: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Which labels each row has, of shape (rows, labels), and whether that is known, of shape (rows,)."""
    if not isinstance(columns, str):
        values = np.column_stack([_zeros_and_ones(batch, name) for name in columns])
        return values == 1, ~np.isnan(values).any(axis=1)
    lists = _lists(batch, columns)
    has = np.zeros((len(lists), len(labels)), dtype=bool)
    items, parents = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
    if pa.types.is_dictionary(items.type):
        items = items.dictionary_decode()
    places = pc.fill_null(pc.index_in(items, pa.array(labels).cast(items.type)), -1).to_numpy()
    unknown = (places < 0) & np.asarray(items.is_valid())
    if unknown.any():
        some = sorted({str(value) for value in items.filter(pa.array(unknown)).to_pylist()})[:5]
        raise DataError(f"{columns} holds labels without a column in y_score: {some}.")
    has[parents[places >= 0], places[places >= 0]] = True
    return has, np.asarray(lists.is_valid())


def _zeros_and_ones(batch: Batch, name: str) -> np.ndarray:
    column = batch[name]
    if isinstance(column, pa.Array) and pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values = Batch({name: column}, batch.num_rows).matrix([name])
    wrong = ~np.isin(values, [0, 1]) & ~np.isnan(values)
    if values.shape[1] != 1 or wrong.any():
        raise DataError(f"{name} holds {values[wrong][:3].tolist()}: whether a row has the label is 0 or 1.")
    return np.asarray(values[:, 0])


def _of_rows(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of each row, of shape (rows,)."""
    both, either = (true & predicted).sum(axis=1), (true | predicted).sum(axis=1)
    real, called = true.sum(axis=1), predicted.sum(axis=1)
    metrics = (
        both == either,
        (either - both) / true.shape[1],
        shares(both, called),
        shares(both, real),
        shares(2 * both, real + called),
        shares(both, either),
    )
    return {name: np.asarray(m, dtype=np.float64) for name, m in zip(_OF_ROWS, metrics, strict=True)}


def _read(rows: Rows, keys: Any, sums: GroupedSums, labels: list[Any], ranked: bool) -> MultilabelReport:
    groups, order = (
        (None, np.arange(len(sums.hashes))) if not rows.by else key_order(keys, rows.by, missing=True)
    )
    table = sums.sums[order]
    if not (table[:, 2] > 0).any():
        raise DataError("Nothing can be judged: no row has all values and counts. Give rows that do.")
    names = [*_OF_ROWS, *(_OF_RANKS if ranked else ())]
    count, missing, weight = table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2]
    means, errors = {}, {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for j, name in enumerate(names):
            first, second = table[:, 3 + 2 * j] / weight, table[:, 4 + 2 * j] / weight
            means[name] = first
            errors[name] = np.sqrt(np.maximum(second - first**2, 0) / np.maximum(count, 1))
    three = table[:, 3 + 2 * len(names) :].reshape(len(table), 3, len(labels)).transpose(0, 2, 1)
    counts = np.concatenate([three, weight[:, None, None] - three.sum(axis=2, keepdims=True)], axis=2)
    values = means | _over_labels(counts)
    if groups is None:
        return MultilabelReport(values, int(count[0]), int(missing[0]), groups, errors, labels, counts[0])
    return MultilabelReport(values, count, missing, groups, errors, labels, counts)


def _of_labels(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of each label, of the last axis but one."""
    both, called, real = counts[..., 0], counts[..., 0] + counts[..., 1], counts[..., 0] + counts[..., 2]
    return {
        "precision": shares(both, called),
        "recall": shares(both, real),
        "f1": shares(2 * both, real + called),
        "jaccard": shares(both, real + called - both),
        "support": real,
    }


def _over_labels(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The averages over labels, of shape (groups,)."""
    alone, together = _of_labels(counts), _of_labels(counts.sum(axis=1))
    support = alone.pop("support")
    total = support.sum(axis=1)
    averages = {}
    for name, values in alone.items():
        averages[f"{name}_micro"] = together[name]
        averages[f"{name}_macro"] = values.mean(axis=1)
        averages[f"{name}_weighted"] = shares((values * support).sum(axis=1), total)
    return averages
