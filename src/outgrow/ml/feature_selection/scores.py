"""How much columns tell about y.

A score is a class with a method `scores(rows)`. Those of one pass have two others: `fold(X, y)` makes a
mergeable state of some rows, and `result(state)` the scores and p-values of all columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import special, stats

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.ml.feature_selection.mutual_information import Binned, NearestNeighbours
from outgrow.ml.feature_selection.rows import SupervisedRows
from outgrow.stats.by_class import class_moments
from outgrow.stats.cross import CrossMoments
from outgrow.stats.grouped import GroupedMoments
from outgrow.stats.state import State

Scores = tuple[np.ndarray, np.ndarray | None]
"""The scores of the columns, and their p-values; both of shape (columns,)."""


class Score(Protocol):
    """A statistic of each column and y."""

    def scores(self, rows: SupervisedRows) -> Scores:
        """The scores of the columns, and their p-values.

        Parameters
        ----------
        rows : all of them.
        """


class _OnePass:
    """A statistic that is read from one mergeable state."""

    numeric: bool
    """Whether y is a number; otherwise it is a class."""

    def fold(self, X: Any, y: np.ndarray) -> State:
        """The state of some rows.

        Parameters
        ----------
        X : shape (rows, columns), dense or CSR, without NaN.
        y : shape (rows,): numbers, or hashes of classes.
        """
        raise NotImplementedError

    def result(self, state: Any) -> Scores:
        """What a state says."""
        raise NotImplementedError

    def scores(self, rows: SupervisedRows) -> Scores:
        """The scores of the columns, and their p-values.

        Parameters
        ----------
        rows : all of them.
        """
        return self.result(rows.reduce(self.fold, numeric=self.numeric))


@dataclass(frozen=True)
class Anova(_OnePass):
    """The F of a one-way analysis of variance: how the means of the classes differ."""

    numeric = False

    def fold(self, X: Any, y: np.ndarray) -> GroupedMoments:
        """The moments of each class.

        Parameters
        ----------
        X, y : as in `_OnePass.fold`.
        """
        return class_moments(X, y)

    def result(self, state: GroupedMoments) -> Scores:
        classes, n = len(state.hashes), state.n.sum(axis=0)
        total = (state.n * state.mean).sum(axis=0) / np.where(n > 0, n, 1)
        between = (state.n * (state.mean - total) ** 2).sum(axis=0)
        within = state.m2.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            f = (between / (classes - 1)) / (within / (n - classes))
        return f, special.fdtrc(classes - 1, n - classes, f)


@dataclass(frozen=True)
class ChiSquare(_OnePass):
    """Pearson's statistic of sums of counts by class, against those that all rows together expect."""

    numeric = False

    def fold(self, X: Any, y: np.ndarray) -> GroupedMoments:
        """The moments of each class.

        Parameters
        ----------
        X, y : as in `_OnePass.fold`; X holds counts.

        Raises
        ------
        DataError
            When a number is negative.
        """
        values = X.data if is_sparse(X) else X
        if values.size and values.min() < 0:
            raise DataError("Input X must be non-negative: chi2 adds up counts. Choose another score_func.")
        return class_moments(X, y)

    def result(self, state: GroupedMoments) -> Scores:
        sums, shares = state.n * state.mean, state.n / state.n.sum(axis=0)
        expected = shares * sums.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = ((sums - expected) ** 2 / expected).sum(axis=0)
        return statistic, special.chdtrc(len(state.hashes) - 1, statistic)


@dataclass(frozen=True)
class Correlation(_OnePass):
    """Pearson's correlation with y; 0 for what does not vary."""

    numeric = True

    def fold(self, X: Any, y: np.ndarray) -> CrossMoments:
        """The joint moments of columns and y.

        Parameters
        ----------
        X, y : as in `_OnePass.fold`.
        """
        return CrossMoments.of(X, y)

    def result(self, state: CrossMoments) -> Scores:
        return correlations(state), None


@dataclass(frozen=True)
class Regression(Correlation):
    """The F of a linear regression of y on each column alone."""

    def result(self, state: CrossMoments) -> Scores:
        squares, freedom = correlations(state) ** 2, state.other.n[0] - 2
        with np.errstate(divide="ignore", invalid="ignore"):
            f = squares / (1 - squares) * freedom
            p = stats.f.sf(f, 1, freedom)
        p[np.isnan(f)] = 1.0
        return np.nan_to_num(f, nan=0.0, posinf=np.finfo(np.float64).max), p


def correlations(state: CrossMoments) -> np.ndarray:
    """The correlation of each column with y, of shape (columns,); 0 where either does not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        r = state.products / np.sqrt(state.columns.m2) / np.sqrt(state.other.m2)
    return np.clip(np.where(np.isfinite(r), r, 0.0), -1.0, 1.0)


SCORES: dict[str, Score] = {
    "f_classif": Anova(),
    "chi2": ChiSquare(),
    "f_regression": Regression(),
    "r_regression": Correlation(),
    "mutual_info_classif": NearestNeighbours(numeric=False),
    "mutual_info_regression": NearestNeighbours(numeric=True),
    "mutual_info_classif_binned": Binned(numeric=False),
    "mutual_info_regression_binned": Binned(numeric=True),
}
