"""What target encoding counts: the target of each category, fold by fold, and the encodings that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import exact_type
from outgrow.data.matrix import Matrix
from outgrow.data.names import called
from outgrow.engine.checks import check_finite, check_label
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.preprocessing.categories import Coder, counting, plain, sorted_values
from outgrow.stats.moments import Moments

MOST_CLASSES = 1_000
"""Each class is a column for each encoded one: so many whole numbers are rather amounts."""


@dataclass(frozen=True, eq=False)
class Target:
    """What y is.

    Attributes
    ----------
    name : its column.
    kind : 'binary', 'multiclass' or 'continuous'.
    classes : ndarray of shape (classes,), sorted; None where y is a number.
    mean : of numbers.
    """

    name: str
    kind: str
    classes: np.ndarray | None
    mean: float

    @property
    def columns(self) -> list[int]:
        """The classes, by number, of which the share is an encoding; of numbers there is one mean."""
        if self.classes is None:
            return [0]
        return [1] if self.kind == "binary" else list(range(len(self.classes)))

    def read(self, batch: Batch) -> np.ndarray:
        """The y of the rows of a batch: numbers about the mean, or numbers of classes."""
        if self.classes is None:
            return _numbers(batch, self.name) - self.mean
        codes, unknown = Coder(self.name, self.classes, np.arange(len(self.classes) + 1)).encode(
            batch[self.name]
        )
        assert not unknown
        return codes


def learn_target(shard: Shard, name: str, kind: str) -> Target:
    """What y is, from one pass.

    Parameters
    ----------
    shard : the rows.
    name : the column of y.
    kind : 'auto', or what the user says that it is.

    Raises
    ------
    DataError
        When a value is missing, or there are more classes than can be.
    SchemaError
        When values are neither numbers nor classes.
    ParameterError
        When the user says what cannot be.
    """
    column = shard.example[name]
    if isinstance(column, Matrix):
        raise SchemaError(f"The target {called(name)} holds vectors. Name one column of numbers or classes.")
    check_label(column.type, name)
    values = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    numeric = is_numeric(values) and not is_categorical(column.type)
    if kind == "continuous" and not numeric:
        raise SchemaError(
            f"The target {called(name)} has type {column.type}; target_type='continuous' needs numbers."
        )
    count = counting(exact_type(values) if numeric else values, False)

    def fold(batch: Batch) -> Any:
        y = plain(batch[name], name)
        if y.null_count:
            raise DataError(
                f"Input y contains NaN. The target {called(name)} misses {y.null_count} value(s); "
                "drop those rows."
            )
        if not numeric:
            return (count(y), Moments.of(np.zeros((0, 1))), np.zeros(1))
        numbers = _numbers(batch, name)
        fractions = kind == "continuous" or (numbers != np.floor(numbers)).any()
        return (count(y[:0] if fractions else y), Moments.of(numbers[:, None]), np.array([float(fractions)]))

    counts, moments, fractions = shard.reduce(fold, encoded=True)
    if fractions[0]:
        if kind not in ("auto", "continuous"):
            raise DataError(
                f"Unknown label type: the target {called(name)} has fractions, and target_type={kind!r}."
            )
        return Target(name, "continuous", None, float(moments.mean[0]))
    classes = sorted_values(counts, values)
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"The target {called(name)} has {len(classes):,} classes; at most {MOST_CLASSES:,} can be. "
            "Pass target_type='continuous' where it is an amount."
        )
    found = "binary" if len(classes) <= 2 else "multiclass"
    if kind == "binary" and found != kind:
        raise ParameterError(f"target_type='binary', and {name!r} has {len(classes)} classes.")
    return Target(name, found if kind == "auto" else kind, classes, 0.0)


@dataclass(frozen=True, eq=False)
class Sums:
    """Of one column, the target of its categories, fold by fold.

    Attributes
    ----------
    rows : ndarray of shape (folds, categories + 1), how many there are; the last are of unknown values.
    sums, squares : of shape (folds, categories + 1, targets), of y, or how many rows are of each class.
    """

    rows: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def of(self, used: np.ndarray) -> Sums:
        """The sums over some folds, with one fold in the first axis.

        Parameters
        ----------
        used : boolean of shape (folds,).
        """
        parts = (self.rows, self.sums, self.squares)
        return Sums(*(part[used].sum(axis=0, keepdims=True) for part in parts))

    def encodings(self, smooth: float | str, shift: float) -> tuple[np.ndarray, np.ndarray]:
        """The encodings over all folds, of shape (categories + 1, targets), and the means of y.

        An unknown value has the mean. `smooth='auto'` is Micci-Barreca's empirical Bayes estimate (2001).

        Parameters
        ----------
        smooth : how many rows of mean y each category gets, or 'auto'.
        shift : what was taken from numbers.
        """
        n, s, q = self.rows.sum(axis=0)[:, None], self.sums.sum(axis=0), self.squares.sum(axis=0)
        total = n.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = s.sum(axis=0) / total
            if smooth == "auto":
                spread = np.maximum(q.sum(axis=0) / total - mean**2, 0.0)
                within = np.maximum(q / n - (s / n) ** 2, 0.0)
                share = spread * n / (spread * n + within)
                made = share * (s / n) + (1 - share) * mean
            else:
                made = (s + float(smooth) * mean) / (n + float(smooth))
        made = np.where(np.isfinite(made), made, mean)
        made[-1] = mean
        return made + shift, mean + shift


def learn_sums(shard: Shard, coders: list[Coder], target: Target, folding: Any, folds: int) -> list[Sums]:
    """The sums of each column, from one pass.

    Parameters
    ----------
    shard : the rows.
    coders : of the columns: they give the number of each category, and behind those that of unknown values.
    target : what y is.
    folding : gives the fold of each row of a batch.
    folds : how many there are.
    """
    width = 1 if target.classes is None else len(target.classes)

    def fold(batch: Batch) -> tuple[np.ndarray, ...]:
        y, place = target.read(batch), folding(batch)
        found = []
        for coder in coders:
            size = len(coder.values)
            cell = place * size + coder.encode(batch[coder.name])[0]
            if target.classes is None:
                parts = [np.bincount(cell, weights, folds * size) for weights in (None, y, y * y)]
                found.append(np.stack(parts).astype(np.float64).reshape(3, folds, size))
            else:
                counted = np.bincount(cell * width + y, minlength=folds * size * width)
                found.append(counted.astype(np.float64).reshape(folds, size, width))
        return tuple(found)

    return [_sums(each, target) for each in shard.reduce(fold, encoded=True, large=True)]


def _sums(found: np.ndarray, target: Target) -> Sums:
    if target.classes is None:
        return Sums(found[0], found[1][..., None], found[2][..., None])
    wanted = found[..., [k for k in target.columns if k < found.shape[-1]]]
    if not wanted.shape[-1]:  # one class alone, which stands for the first of two
        wanted = np.zeros((*found.shape[:-1], 1))
    return Sums(found.sum(axis=-1), wanted, wanted)


def _numbers(batch: Batch, name: str) -> np.ndarray:
    y = np.asarray(batch.matrix([name])[:, 0], dtype=np.float64)
    check_finite(y, "y")
    return y
