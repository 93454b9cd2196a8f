"""Which rows a model learns from, and on which it is tested.

Every row gets a place, an integer that follows from its values alone, so the same rows fall together on every
engine and any partitioning. A fold is a choice of places to learn from and of places to be tested on.

Rows of a dataset have no number, so only their values can tell. Rows of arrays have: there, with `split(X)`
and in scikit-learn's tools, the folds of scikit-learn's names are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol, cast

import numpy as np
import sklearn.model_selection as peer

from outgrow.data.batch import Batch
from outgrow.data.frames import is_column, order_codes
from outgrow.data.hashing import mix, row_hash, unit
from outgrow.data.times import moments
from outgrow.engine.shard import Placing, Shard
from outgrow.errors import DataError, ParameterError, ValueTypeError
from outgrow.stats.quantiles import quantiles
from outgrow.stats.strata import Strata

Hashing = Callable[[Batch], np.ndarray]

_SPLITS = 5
MOST = 10_000
"""Folds there may be."""
_PLACE = np.int16
_FEW = 1000
"""Up to so many different rows of a class, or keys, are dealt out; among more, hashes are even enough."""
_APART = 1 << 40
"""Added to the seed of a holdout, so that it chooses otherwise than folds with that seed do."""


class Folds(Protocol):
    """What every kind of folds answers. Of the places, nothing is promised but their number."""

    @property
    def count(self) -> int:
        """How many folds there are."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Columns that tell where rows belong, and are no features."""

    def check(self) -> None:
        """Raise ParameterError for values that cannot be."""

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """What gives each row of a batch its place; to know it may take passes over the rows.

        Parameters
        ----------
        shard : the rows of this rank, not changed by any step. All ranks ask together.
        target : the column of y, where there is one.
        """

    def train_places(self, k: int) -> np.ndarray:
        """The places that fold k learns from: a boolean for each place there is."""

    def test_places(self, k: int) -> np.ndarray:
        """The places that fold k is tested on."""


@dataclass(frozen=True)
class Holdout:
    """One fold: a share of the rows is held out, by the hash of their values.

    Equal rows fall on the same side, so the share is met approximately. The choice has nothing to do with
    that of `dataset.split`, so a part of its rows can be held out again.

    Parameters
    ----------
    test : share of the rows to be tested on, between 0 and 1.
    seed : another number holds out other rows.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(40.0)[:, None]
    >>> og.cross_validate(og.LinearRegression(), X, 3 * X[:, 0], cv=og.Holdout(0.25)).mean()["r2"]
    1.0
    """

    test: float = 0.2
    seed: int = 0

    count = 1
    hidden = ()

    def check(self) -> None:
        if not 0 < self.test < 1:
            raise ParameterError(f"Holdout(test={self.test!r}): the share lies between 0 and 1.")

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """Places by the hash of all columns, without a pass.

        Parameters
        ----------
        shard, target : not looked at.
        """

        def place(batch: Batch) -> np.ndarray:
            return (unit(mix(row_hash(batch) ^ np.uint64(self.seed + _APART))) < self.test).astype(_PLACE)

        return place

    def train_places(self, k: int) -> np.ndarray:
        return np.array([True, False])

    def test_places(self, k: int) -> np.ndarray:
        return np.array([False, True])


class _Rotating:
    """Each place is held out once; `split` for arrays, and what cannot be, are those of the peer beside."""

    n_splits: int
    shuffle: bool
    random_state: Any
    seed: int

    hidden: tuple[str, ...] = ()

    def _set(self, n_splits: Any, folds: Any, seed: int, shuffle: bool, random_state: Any) -> None:
        if folds is not None and n_splits != _SPLITS:
            raise ParameterError(
                f"n_splits={n_splits} and folds={folds} are one parameter. Give one of them."
            )
        try:
            super().__init__(  # type: ignore[call-arg]
                n_splits=n_splits if folds is None else folds, shuffle=shuffle, random_state=random_state
            )
        except ValueError as error:
            raise ParameterError(str(error)) from None
        except TypeError as error:
            raise ValueTypeError(str(error)) from None
        self.seed = seed

    @property
    def folds(self) -> int:
        """How many folds there are, as `n_splits` says."""
        return self.n_splits

    @property
    def count(self) -> int:
        return self.n_splits

    @property
    def _hash_seed(self) -> int:
        return self.seed or (int(self.random_state) if isinstance(self.random_state, Integral) else 0)

    def check(self) -> None:
        _check_count(self, self.n_splits, least=2)

    def train_places(self, k: int) -> np.ndarray:
        return np.arange(self.n_splits) != k

    def test_places(self, k: int) -> np.ndarray:
        return np.arange(self.n_splits) == k

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        """As scikit-learn shows it, with what it does not know where that is not the default."""
        shown = {name: getattr(self, name) for name in ("n_splits", "random_state", "shuffle")}
        own = {"by": None, "feature": False, "seed": 0}
        shown |= {n: vars(self)[n] for n, usual in own.items() if vars(self).get(n, usual) != usual}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in sorted(shown.items()))})"


class KFold(_Rotating, peer.KFold):
    """Each row is held out once, in a fold that follows from the hash of its values.

    Over arrays, with `split(X)` and so in scikit-learn's tools, folds are consecutive blocks of rows, or of
    shuffled ones, as in scikit-learn.

    Parameters
    ----------
    n_splits, folds : how many folds, at least 2: two names of one parameter.
    seed : another number makes other folds by hash, as a whole `random_state` does.
    shuffle, random_state : as in scikit-learn, for the rows of arrays.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(40.0)[:, None]
    >>> len(og.cross_validate(og.LinearRegression(), X, 3 * X[:, 0], cv=og.KFold(4, seed=1)).folds)
    4
    >>> [test.tolist() for _, test in og.KFold(2).split(X[:4])]
    [[0, 1], [2, 3]]
    """

    def __init__(
        self,
        n_splits: int = 5,
        seed: int = 0,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        folds: int | None = None,
    ) -> None:
        self._set(n_splits, folds, seed, shuffle, random_state)

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """Places by the hash of all columns, without a pass.

        Parameters
        ----------
        shard, target : not looked at.
        """
        return lambda batch: _nth(row_hash(batch), self._hash_seed, self.n_splits)


class StratifiedKFold(_Rotating, peer.StratifiedKFold):
    """Folds in which each class has about the same share, as it has in all rows.

    A row's fold follows from the hash of its values; the rows of a class that has few of them are dealt out
    one after the other, in the order of their hashes, so that a class with as many different rows as there
    are folds is in each of them. A number of folds means these where classes are predicted. Over arrays, with
    `split(X, y)`, folds are scikit-learn's.

    Parameters
    ----------
    n_splits, folds : how many folds, at least 2: two names of one parameter.
    seed : another number makes other folds by hash.
    shuffle, random_state : as in scikit-learn, for the rows of arrays.

    Raises
    ------
    DataError
        When no class has as many different rows as there are folds.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(40.0)[:, None], np.repeat([0, 1], [36, 4])
    >>> found = og.cross_validate(og.LogisticRegression(), X, y, cv=og.StratifiedKFold(4))
    >>> [int(fold.confusion[1].sum()) for fold in found.folds]
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        n_splits: int = 5,
        seed: int = 0,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        folds: int | None = None,
    ) -> None:
        self._set(n_splits, folds, seed, shuffle, random_state)

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """Places by the hash of all columns, dealt out class by class after one pass.

        Parameters
        ----------
        shard, target : as for `Folds`; a target must be given.
        """
        if target is None:
            raise ParameterError("StratifiedKFold shares out the classes of y. Give y, or use KFold.")
        classes = (target,)
        strata, place = _dealing(shard, lambda batch: row_hash(batch, classes), row_hash, self)
        if len(strata.sizes) > MOST:
            raise DataError(
                f"StratifiedKFold: {target!r} has more than {MOST:,} different values, which are no classes. "
                "Use KFold."
            )
        if len(strata.sizes) and strata.sizes.max() < self.n_splits:
            raise DataError(
                f"{self!r}: no class in {target!r} has more than {strata.sizes.max()} different rows. "
                "Use at most so many folds, or KFold where y is a quantity."
            )
        return place


class GroupKFold(_Rotating, peer.GroupKFold):
    """Folds that never part the rows of a key: what is learnt of a key is not tested on it.

    A key's fold follows from its hash, so folds hold about as many keys each, not as many rows; a few keys
    are dealt out one after the other, in the order of their hashes. Rows without a key are those of one key.
    Over arrays, with `split(X, y, groups)`, keys are the groups and folds are scikit-learn's.

    Parameters
    ----------
    by : the column of the key, or several; a whole number is `n_splits`, as in scikit-learn.
    n_splits, folds : how many folds, at least 2: two names of one parameter.
    seed : another number makes other folds by hash.
    feature : whether models see the key; by default they do not.
    shuffle, random_state : as in scikit-learn, for the rows of arrays.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"user": ["a", "a", "b", "b", "c"], "x": [1, 2, 3, 4, 5], "y": [2, 4, 6, 8, 10]})
    >>> found = og.cross_validate(og.LinearRegression(), rows, "y", cv=og.GroupKFold("user", folds=2, seed=1))
    >>> [fold.rows for fold in found.folds], list(found.estimators[0].columns_)
    ([3, 2], ['x'])

    Raises
    ------
    DataError
        When there are fewer keys than folds.
    """

    def __init__(
        self,
        by: str | Sequence[str] | int | None = None,
        n_splits: int = 5,
        seed: int = 0,
        feature: bool = False,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        folds: int | None = None,
    ) -> None:
        counted = isinstance(by, Integral | float)
        self.by = None if counted else cast(str | Sequence[str] | None, by)
        self.feature = feature
        self._set(by if counted else n_splits, folds, seed, shuffle, random_state)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.by,) if isinstance(self.by, str) else tuple(self.by or ())

    @property
    def hidden(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.feature else self.columns

    def check(self) -> None:
        super().check()
        if not self.columns:
            raise ParameterError(f"GroupKFold(by={self.by!r}): name at least one column that holds the key.")

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """As scikit-learn's.

        Parameters
        ----------
        X, y : arrays or tables.
        groups : the key of each row, of any type that columns of pandas, Polars and Arrow have.
        """
        return super().split(X, y, order_codes(groups) if is_column(groups) else groups)

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """Places by the hash of the key, after one pass.

        Parameters
        ----------
        shard, target : as for `Folds`; the columns of the key must be there, the target is not looked at.
        """
        strata, place = _dealing(shard, _one_stratum, lambda batch: row_hash(batch, self.columns), self)
        if 0 < len(strata.hashes) < self.n_splits:
            raise DataError(
                f"{self!r}: there are only {len(strata.hashes)} different keys. Use at most so many folds."
            )
        return place


@dataclass(frozen=True)
class TimeFolds:
    """Folds that learn from the past and are tested on what comes next.

    The rows are cut, by quantiles of a column, into `folds + 1` windows of about as many rows; rows of one
    moment share a window. Fold k learns from the windows 0 to k and is tested on window k + 1.

    Parameters
    ----------
    column : numbers, dates or timestamps, without missing values; a row without a moment is an error.
    folds : how many, at least 1.
    feature : whether models see the column; by default they do not.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"day": range(12), "x": [1, 5, 2, 4] * 3, "y": [2, 10, 4, 8] * 3})
    >>> found = og.cross_validate(og.LinearRegression(), rows, "y", cv=og.TimeFolds("day", folds=3))
    >>> [fold.rows for fold in found.folds]
    [3, 3, 3]
    """

    column: str
    folds: int = 5
    feature: bool = False

    @property
    def count(self) -> int:
        return self.folds

    @property
    def hidden(self) -> tuple[str, ...]:
        return () if self.feature else (self.column,)

    def check(self) -> None:
        _check_count(self, self.folds, least=1)

    def placing(self, shard: Shard, target: str | None = None) -> Placing:
        """Places by windows of the column, whose borders take a few passes.

        Parameters
        ----------
        shard, target : as for `Folds`; the column must be there, the target is not looked at.
        """

        def times(batch: Batch) -> np.ndarray:
            return moments(batch, self.column, "TimeFolds")

        def reduce(fold: Any) -> Any:
            return shard.reduce(lambda batch: fold(times(batch)[:, None]))

        inner = np.arange(1, self.folds + 1) / (self.folds + 1)
        borders = quantiles(reduce, 1, inner.tolist())[0][:, 0]
        return lambda batch: np.searchsorted(borders, times(batch)).astype(_PLACE)

    def train_places(self, k: int) -> np.ndarray:
        return np.arange(self.folds + 1) <= k

    def test_places(self, k: int) -> np.ndarray:
        return np.arange(self.folds + 1) == k + 1


def as_folds(cv: int | Folds, seed: int = 0, *, classes: bool = False) -> Folds:
    """Folds as they were given, or so many by hash; checked.

    Parameters
    ----------
    cv : how many folds, at least 2, or what says which.
    seed : another number makes other folds by hash; it must be 0 where `cv` is not a number.
    classes : whether y are classes, of which each fold then has the same share.
    """
    if not isinstance(cv, int | np.integer):
        if seed:
            raise ParameterError(f"seed={seed} has no effect beside cv={cv!r}. Give the seed to it.")
        if not hasattr(cv, "placing"):
            raise ParameterError(
                f"cv={cv!r} is a number of folds, or one of og.KFold, StratifiedKFold, GroupKFold, TimeFolds "
                "and Holdout. Others number the rows of arrays: pass them to scikit-learn's cross_validate."
            )
        cv.check()
        return cv
    if cv < 2:
        raise ParameterError(f"cv={cv}: at least 2 folds are needed.")
    folds = StratifiedKFold(int(cv), seed) if classes else KFold(int(cv), seed)
    folds.check()
    return folds


def check_places(folds: Folds, counts: np.ndarray) -> None:
    """Refuse folds that learn from no rows or are tested on none.

    Parameters
    ----------
    folds, counts : how many rows of all ranks these folds put at each place, ndarray of shape (places,).
    """
    for k in range(folds.count):
        for places, what in ((folds.train_places(k), "learns from"), (folds.test_places(k), "is tested on")):
            if not counts[places].sum():
                raise DataError(
                    f"Fold {k + 1} of {folds!r} {what} no rows: of {int(counts.sum()):,} rows, equal ones "
                    "share a fold. Use fewer folds, another seed, or more rows."
                )


def _dealing(
    shard: Shard, stratum: Hashing, hashing: Hashing, folds: StratifiedKFold | GroupKFold
) -> tuple[Strata, Placing]:
    """The strata, and what places rows: those of a few hashes by dealing them out, others by the hash."""
    most = max(_FEW, 20 * folds.n_splits)

    def seeded(batch: Batch) -> np.ndarray:
        return mix(hashing(batch) ^ np.uint64(folds._hash_seed))

    strata: Strata = shard.reduce(lambda batch: Strata.of(stratum(batch), seeded(batch), most))
    return strata, lambda batch: strata.part_of(seeded(batch), folds.n_splits).astype(_PLACE)


def _one_stratum(batch: Batch) -> np.ndarray:
    return np.zeros(batch.num_rows, dtype=np.uint64)


def _nth(hashes: np.ndarray, seed: int, count: int) -> np.ndarray:
    return (mix(hashes ^ np.uint64(seed)) % np.uint64(count)).astype(_PLACE)


def _check_count(folds: Any, count: int, *, least: int) -> None:
    if not least <= count <= MOST:
        raise ParameterError(f"{type(folds).__name__}(folds={count}): {least} to {MOST:,} folds can be.")
