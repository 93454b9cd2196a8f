"""Where the bins of a feature begin and end: decided on a sample that any partitioning gives alike.

XGBoost would sketch the quantiles of all rows, which costs more than growing a few trees, and on many ranks
its answer depends on who has which rows. A sample, as LightGBM takes it (Ke et al. 2017), costs little; that
the hash of a row decides whether it is in, and in which place, makes the bins a matter of the rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.hashing import unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.trees.plan import TOO_SMALL
from outgrow.stats.state import State

SAMPLE_ROWS = 200_000


@dataclass(frozen=True, eq=False)
class SampledRows(State):
    """Some rows, dense or sparse, as float32.

    Attributes
    ----------
    key : uint64 hash of each row.
    weight : of each row.
    values : of shape (rows, width) if dense; the stored values if sparse.
    columns, lengths : of sparse rows, the column of each value and the number of values of each row.
    highest : the greatest value of each column over all rows, sampled or not.
    vanishing : what `vanishing` says of them.
    """

    key: np.ndarray
    weight: np.ndarray
    values: np.ndarray
    columns: np.ndarray
    lengths: np.ndarray
    highest: np.ndarray
    vanishing: np.ndarray

    def merge(self, other: SampledRows) -> SampledRows:
        fields = ("key", "weight", "values", "columns", "lengths")
        joined = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in fields}
        highest = np.fmax(self.highest, other.highest)
        return SampledRows(**joined, highest=highest, vanishing=self.vanishing + other.vanishing)

    @property
    def order(self) -> np.ndarray:
        """The places of the rows in the order of their hashes."""
        return np.argsort(self.key, kind="stable")

    def matrix(self) -> tuple[Any, np.ndarray]:
        """The rows and their weights, in the order of their hashes."""
        order = self.order
        if self.values.ndim == 2:
            return self.values[order], self.weight[order]
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        rows = sp.csr_matrix((self.values, self.columns, starts), shape=(len(order), len(self.highest)))
        return rows[order], self.weight[order]


def sampled_share(view: MatrixView) -> float:
    """How many of the rows are sampled; all of them from 1 on."""
    return SAMPLE_ROWS / max(1, view.rows)


def sampled_rows(view: MatrixView, seed: int, change: Callable[[Block], Block]) -> SampledRows:
    """About 200,000 rows, or all when there are fewer; one pass.

    Parameters
    ----------
    view : the rows; all ranks get the same sample.
    seed : another one chooses others.
    change : what is made of each block before its rows are drawn, as `weighted` does.

    Raises
    ------
    DataError
        When a value does not fit float32.
    """
    share = sampled_share(view)

    @np.errstate(over="ignore")  # XGBoost itself refuses what does not fit float32
    def fold(block: Block) -> SampledRows:
        block = change(block)
        highest = _highest(block.X)
        key = block.hashes(seed)
        if share < 1:
            chosen = unit(key) < share
            block, key = block.take(chosen), key[chosen]
        weight = np.ones(len(block)) if block.weight is None else block.weight
        X, none = block.X, np.zeros(0, dtype=np.int32)
        if not is_sparse(X):
            return SampledRows(key, weight, X.astype(np.float32), none, none, highest, vanishing(X))
        lengths = np.diff(X.indptr).astype(np.int32)
        return SampledRows(
            key, weight, X.data.astype(np.float32), X.indices.astype(np.int32), lengths, highest, vanishing(X)
        )

    found = view.reduce(fold)
    refuse_vanishing(found.vanishing)
    return found


def vanishing(X: Any) -> np.ndarray:
    """Of each column, how many numbers are not 0, and how many of those are not 0 as float32."""
    if is_sparse(X):
        kept = (X.data != 0, X.data.astype(np.float32) != 0)
        return np.array(
            [np.bincount(X.indices[rows], minlength=X.shape[1]) for rows in kept], dtype=np.float64
        )
    return np.array([np.count_nonzero(part, axis=0) for part in (X, X.astype(np.float32))], dtype=np.float64)


def refuse_vanishing(counts: np.ndarray) -> None:
    """Refuse columns that would be 0 throughout as float32, though they are not.

    Raises
    ------
    DataError
        When there is one.
    """
    if ((counts[0] > 0) & (counts[1] == 0)).any():
        raise DataError(TOO_SMALL)


def with_all_categories(X: Any, kinds: Sequence[str], highest: np.ndarray) -> Any:
    """The rows, and behind them rows that hold every category, missing in all else: none may lack a bin.

    Parameters
    ----------
    X : shape (rows, features), float32, dense or CSR.
    kinds : 'q' or 'c' (a category) of each feature.
    highest : shape (features,), the greatest value of each over all rows; NaN or infinite where there is
        none.
    """
    places = [j for j, kind in enumerate(kinds) if kind == "c" and np.isfinite(highest[j])]
    if not places:
        return X
    extra = np.full((int(max(highest[j] for j in places)) + 1, len(kinds)), np.nan, dtype=np.float32)
    for j in places:
        codes = np.arange(int(highest[j]) + 1)
        extra[codes, j] = codes
    return sp.vstack([X, sp.csr_matrix(extra)], format="csr") if is_sparse(X) else np.concatenate([X, extra])


def _highest(X: Any) -> np.ndarray:
    """The greatest value of each column; NaN where there is none."""
    if X.shape[0] == 0:
        return np.full(X.shape[1], np.nan)
    if is_sparse(X):
        return np.asarray(sp.csr_array(X).max(axis=0).toarray()).ravel()
    return np.fmax.reduce(X, axis=0)
