"""Half a step of alternating least squares: the factors of all users while those of the items stand still.

The same serves items. Rows with about as many entries are solved together, as stacks of small matrices. Which
ones are together follows from all entries, never from where they are, so every partitioning gives one result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.engine.context import FitContext
from outgrow.errors import MissingExtraError

COMPILED_FROM = 1 << 20
"""Factors of entries from which on compiled code, which takes time to be loaded, is worth it."""
_RUNS = 64
"""Parts of the rows that threads and ranks take."""

_CELLS = 1 << 13
"""Entries, with those that fill up, that are solved together: their factors should fit in a cache."""
_CG_STEPS = 3
"""Of conjugate gradients in each half-step (Takacs et al. 2011): more help less than another half-step."""
CG_FROM = 17
"""Components from which on conjugate gradients reach the same loss in less time than exact solutions."""
_SWEEPS, _STILL = 500, 1e-10
"""Of coordinate descent for factors that are at least 0; and the relative change that ends it."""


@dataclass(frozen=True, eq=False)
class Penalty:
    """What is added to squared errors for each factor.

    Attributes
    ----------
    alpha : the weight of a squared factor.
    weighted : whether it counts once for each entry of the row, as in ALS-WR (Zhou et al. 2008), else once.
    """

    alpha: float
    weighted: bool

    def of(self, counts: np.ndarray) -> np.ndarray:
        """The weight of the squared factors of rows with so many entries."""
        return self.alpha * counts if self.weighted else np.full(len(counts), self.alpha)


@dataclass(frozen=True, eq=False)
class _Stack:
    """Rows with about as many entries, filled up with entries that count nothing.

    Attributes
    ----------
    rows : of shape (rows,).
    columns : of shape (rows, entries).
    quadratic, linear : of the same shape, the weights of v v' and of v.
    """

    rows: np.ndarray
    columns: np.ndarray
    quadratic: np.ndarray
    linear: np.ndarray


class HalfStep:
    """What the rows of a half-step have in common.

    Parameters
    ----------
    fixed : of shape (columns, k), the factors of the columns.
    how : what the loss is, and which factors may be.
    weights : of the squared factors of all rows.
    entries : how many entries all rows have: many are worth compiled code.
    """

    def __init__(self, fixed: np.ndarray, how: How, weights: np.ndarray, entries: int) -> None:
        definite = bool((weights > 0).all()) and not how.nonnegative
        self.fixed = fixed
        self.how = how
        self.base = fixed.T @ fixed if how.implicit else np.zeros((fixed.shape[1],) * 2)
        self.kernels: Any = _kernels() if definite and entries * fixed.shape[1] >= COMPILED_FROM else None


class Side:
    """The rows of a sparse matrix, as half-steps need them.

    Parameters
    ----------
    quadratic, linear : CSR arrays of shape (rows, columns) with the same entries: what the product v v' of a
        column's factors counts in the normal equations of a row, and what v counts on their right side.
    counts : of shape (rows,), how many entries the penalty of a row counts.
    """

    def __init__(self, quadratic: Any, linear: Any, counts: np.ndarray) -> None:
        self.counts = counts
        self._quadratic = quadratic
        self._linear = linear

    def solved(
        self, run: FitContext, fixed: np.ndarray, before: np.ndarray, penalty: Penalty, how: How
    ) -> np.ndarray:
        """The factors of the rows that make the loss least, or less.

        Parameters
        ----------
        run : the fit; each rank solves some rows.
        fixed : of shape (columns, k), the factors of the columns.
        before : of shape (rows, k), those of the rows so far.
        penalty : on the factors.
        how : what the loss is, and which factors may be.
        """
        made, weights = np.zeros_like(before), penalty.of(self.counts)
        half = HalfStep(fixed, how, weights, self._quadratic.nnz)
        units, solve = self.work(half, before, made, weights)
        for _ in run.map(solve, units[run.comm.rank :: run.comm.size]):
            pass
        return run.call(lambda: run.combine(made)) if run.comm.size > 1 else made

    def work(
        self, half: HalfStep, before: np.ndarray, made: np.ndarray, weights: np.ndarray
    ) -> tuple[Sequence[Any], Callable[[Any], None]]:
        """Parts of the rows, and what finds the factors of one.

        Parameters
        ----------
        half : what all rows have in common.
        before : of shape (rows, k), the factors of the rows so far.
        made : of the same shape, to be filled.
        weights : of shape (rows,), of the squared factors of each row.
        """
        fixed, base, how = half.fixed, half.base, half.how

        def solve(stack: _Stack) -> None:
            made[stack.rows] = how.solve(stack, fixed, before[stack.rows], base, weights[stack.rows])

        def compiled(edges: tuple[int, int]) -> None:
            given = (self._quadratic.indptr, self._quadratic.indices, self._quadratic.data, self._linear.data)
            if fixed.shape[1] < CG_FROM:
                start = edges[0]
                while (
                    failed := half.kernels.exactly(*given, start, edges[1], fixed, base, weights, made)
                ) >= 0:
                    solve(_stack(self._quadratic, self._linear, np.array([failed])))
                    start = failed + 1
            else:
                more = (before, _CG_STEPS, how.implicit, made)
                half.kernels.by_gradients(*given, *edges, fixed, base, weights, *more)

        return (self._stacks, solve) if half.kernels is None else (self._edges, compiled)

    @cached_property
    def _stacks(self) -> list[_Stack]:
        """The rows in stacks, those with most entries first."""
        lengths = np.diff(self._quadratic.indptr).astype(np.int64)
        order, at, made = np.argsort(-lengths, kind="stable"), 0, []
        while at < len(order):
            rows = order[at : at + max(1, _CELLS // int(max(lengths[order[at]], 1)))]
            made.append(_stack(self._quadratic, self._linear, rows))
            at += len(rows)
        return made

    @cached_property
    def _edges(self) -> list[tuple[int, int]]:
        """Runs of neighbouring rows with about as many entries."""
        ends = self._quadratic.indptr
        edges = np.unique(np.searchsorted(ends, np.linspace(0, ends[-1], _RUNS + 1)[1:-1]))
        return list(pairwise([0, *edges[(edges > 0) & (edges < len(ends) - 1)].tolist(), len(ends) - 1]))


@dataclass(frozen=True)
class How:
    """Which problem a half-step solves.

    Attributes
    ----------
    implicit : whether pairs without an entry count as well, with weight 1 and rating 0.
    nonnegative : whether factors must be at least 0.
    """

    implicit: bool
    nonnegative: bool

    def solve(
        self, stack: _Stack, fixed: np.ndarray, before: np.ndarray, base: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """The factors of a stack of rows.

        Parameters
        ----------
        stack : the rows.
        fixed : of shape (columns, k).
        before : of shape (rows, k), where iterations begin.
        base : of shape (k, k), what all rows share in their normal equations.
        weights : of shape (rows,), of the squared factors of each row.
        """
        near = fixed[stack.columns]
        right = np.matmul(stack.linear[:, None], near)[:, 0]
        if fixed.shape[1] >= CG_FROM and not self.nonnegative:
            return _by_gradients(stack, near, before, base, weights, right)
        products = np.matmul((near * stack.quadratic[:, :, None]).transpose(0, 2, 1), near) + base
        products += weights[:, None, None] * np.eye(len(base))
        if self.nonnegative:
            return _at_least_zero(products, right, before)
        return _exactly(products, right, singular=not (weights > 0).all())


def _exactly(products: np.ndarray, right: np.ndarray, *, singular: bool) -> np.ndarray:
    """Solutions of stacked normal equations; the shortest where there are many."""
    if not singular:
        try:
            return np.asarray(np.linalg.solve(products, right[:, :, None])[:, :, 0])
        except np.linalg.LinAlgError:
            pass  # the penalty is lost beside products that are many orders larger
    return np.asarray((np.linalg.pinv(products, hermitian=True) @ right[:, :, None])[:, :, 0])


def _by_gradients(
    stack: _Stack, near: np.ndarray, x: np.ndarray, base: np.ndarray, weights: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """A few steps of conjugate gradients from where the last half-step ended; no product v v' is made."""

    def times(p: np.ndarray) -> np.ndarray:
        answers = np.matmul(near, p[:, :, None])[:, :, 0] * stack.quadratic
        return np.asarray(np.matmul(answers[:, None], near)[:, 0] + p @ base + weights[:, None] * p)

    residual = right - times(x)
    direction, size = residual, (residual * residual).sum(axis=1)
    for _ in range(_CG_STEPS):
        product = times(direction)
        curve = (direction * product).sum(axis=1)
        step = np.where(curve > 0, size / np.where(curve > 0, curve, 1.0), 0.0)
        x = x + step[:, None] * direction
        residual = residual - step[:, None] * product
        after = (residual * residual).sum(axis=1)
        ratio = np.where(size > 0, after / np.where(size > 0, size, 1.0), 0.0)
        direction, size = residual + ratio[:, None] * direction, after
    return x


def _at_least_zero(products: np.ndarray, right: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Solutions without negative numbers: coordinate descent, all rows of a stack at once."""
    x = np.maximum(x, 0.0)
    diagonal = np.einsum("nkk->nk", products)
    diagonal = np.where(diagonal > 0, diagonal, 1.0)
    for _ in range(_SWEEPS):
        moved = 0.0
        for k in range(x.shape[1]):
            slope = np.einsum("nj,nj->n", products[:, k], x) - right[:, k]
            after = np.maximum(0.0, x[:, k] - slope / diagonal[:, k])
            moved = max(moved, float(np.abs(after - x[:, k]).max(initial=0.0)))
            x[:, k] = after
        if moved <= _STILL * max(float(np.abs(x).max(initial=0.0)), 1e-300):
            break
    return x


def _stack(quadratic: Any, linear: Any, rows: np.ndarray) -> _Stack:
    """Some rows of CSR arrays, all as long as the longest."""
    starts = quadratic.indptr[rows].astype(np.int64)[:, None]
    lengths = quadratic.indptr[rows + 1].astype(np.int64)[:, None] - starts
    places = np.arange(int(max(lengths.max(initial=0), 1)))
    there = places < lengths
    places = np.where(there, starts + places, 0)
    return _Stack(
        rows,
        np.where(there, quadratic.indices[places], 0),
        np.where(there, quadratic.data[places], 0.0),
        np.where(there, linear.data[places], 0.0),
    )


def _kernels() -> Any:
    """The compiled half-steps, where Numba is there; else None."""
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return None
    from outgrow.ml.recommendation import half_step_kernels

    return half_step_kernels
