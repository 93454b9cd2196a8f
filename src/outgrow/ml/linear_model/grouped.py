"""Least squares for many groups at once: one pass, then stacks of small matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.ml.core.groups import SOLVED, GroupBlock, GroupView, Stacked
from outgrow.stats.grouped import GroupedCoMoments

_SAFE = 1e-8


@dataclass(frozen=True)
class GroupedLeastSquares:
    """Coefficients that minimise the squared error plus `penalty` times their squares, for each group.

    Groups in which a value is missing or infinite learn NaN. Without a penalty each group gets the shortest
    of the minimisers; the second pass that `LinearRegression` makes where columns nearly depend on each other
    is not made here.
    """

    penalty: float
    fit_intercept: bool
    missing = False

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_joint)
        groups, width = len(moments.n), moments.mean.shape[1] - 1
        coef, rest, spread = np.empty((groups, width)), np.empty(groups), np.empty(groups)
        for start in range(0, groups, SOLVED):
            part = slice(start, start + SOLVED)
            products, spread[part] = moments.matrices(part), moments.products[part, -1]
            if not self.fit_intercept:
                mean = moments.mean[part]
                products = products + moments.n[part, None, None] * mean[:, :, None] * mean[:, None, :]
            coef[part], rest[part] = self._solve(products)
        coef[moments.n == 0] = np.nan
        mean = moments.mean
        intercept = mean[:, -1] - np.einsum("gp,gp->g", mean[:, :-1], coef)
        n = np.where(moments.n > 0, moments.n, np.nan)
        varies = spread > 0
        return {
            "coef_": coef,
            "intercept_": intercept if self.fit_intercept else np.zeros(groups),
            "rmse": np.sqrt(rest / n),
            "r2": np.where(varies, 1 - rest / np.where(varies, spread, 1), rest == 0),
        }

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """The predictions for rows.

        Parameters
        ----------
        X : ndarray of shape (rows, features).
        learned : what `learn` gave.
        place : ndarray of shape (rows,), the place of each row's group.
        """
        return np.einsum("rp,rp->r", X, learned["coef_"][place]) + learned["intercept_"][place]

    def beside(self) -> dict[str, Any]:
        return {}

    def _solve(self, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coefficients of some groups, and the squared errors they leave."""
        good = np.isfinite(products).all(axis=(1, 2))
        safe = np.where(good[:, None, None], products, 0.0)
        XX, Xy = safe[:, :-1, :-1], safe[:, :-1, -1]
        coef = _penalised(XX, Xy, self.penalty) if self.penalty > 0 else _shortest(XX, Xy)
        rest = safe[:, -1, -1] - 2 * np.einsum("gp,gp->g", coef, Xy)
        rest = np.maximum(rest + np.einsum("gp,gpq,gq->g", coef, XX, coef, optimize=True), 0.0)
        return np.where(good[:, None], coef, np.nan), np.where(good, rest, np.nan)


def _penalised(XX: np.ndarray, Xy: np.ndarray, penalty: float) -> np.ndarray:
    """Solutions with a penalty, which alone bounds the condition number where it is large enough."""
    largest = np.einsum("gpp->gp", XX).max(axis=1, initial=0.0)
    safe = penalty > _SAFE * largest
    coef = np.empty_like(Xy)
    eye = penalty * np.eye(XX.shape[1])
    coef[safe] = np.linalg.solve(XX[safe] + eye, Xy[safe, :, None])[:, :, 0]
    coef[~safe] = _shortest(XX[~safe], Xy[~safe], penalty)
    return coef


def _shortest(XX: np.ndarray, Xy: np.ndarray, penalty: float = 0.0) -> np.ndarray:
    """The shortest solutions; columns are scaled to one size first where none depends on others."""
    scale = np.sqrt(np.einsum("gpp->gp", XX))
    scale = np.where(scale > 0, scale, 1.0)
    sizes = scale[:, :, None] * scale[:, None, :]
    ridge = penalty * np.eye(XX.shape[1])
    coef, whole = _by_values((XX + ridge) / sizes, Xy / scale, _SAFE if penalty else 0.0)
    coef /= scale
    if not whole.all():
        coef[~whole] = _by_values(XX[~whole], Xy[~whole], penalty=penalty)[0]
    return coef


def _by_values(
    XX: np.ndarray, Xy: np.ndarray, least: float = 0.0, *, penalty: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Solutions by eigenvalues, and whether all of them are above that share of the largest, and used."""
    values, vectors = np.linalg.eigh(XX)
    largest = np.maximum(values[:, -1:], 0.0)
    keep = values > values.shape[1] * np.finfo(np.float64).eps * largest
    inverse = np.where(keep, 1 / np.where(keep, values + penalty, 1.0), 0.0)
    turned = np.einsum("gpq,gp->gq", vectors, Xy) * inverse
    whole = keep.all(axis=1) & (values > least * largest).all(axis=1)
    return np.einsum("gpq,gq->gp", vectors, turned), whole


def _joint(block: GroupBlock) -> GroupedCoMoments:
    return GroupedCoMoments.of(block.segments, block.joint, block.weight)
