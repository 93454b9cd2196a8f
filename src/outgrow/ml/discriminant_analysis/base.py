"""What both discriminant analyses share: covariances of classes, from one pass over the rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import ByClassClassifier
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.joint import checked_priors, dense
from outgrow.ml.core.parameters import FLAG, Number, Numbers, OneOf
from outgrow.stats.by_class import ClassCoMoments
from outgrow.stats.moments import check_squares

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Scatter:
    """Rows about a mean: their weight, the products of their columns, and how much their squares vary.

    Attributes
    ----------
    fourth : the sum of the fourth powers of the lengths of the rows in units of `scale`; NaN if not
        asked for.
    """

    n: float
    products: np.ndarray
    fourth: float = np.nan

    @property
    def covariance(self) -> np.ndarray:
        """The covariance that is most likely."""
        return self.products / self.n

    @property
    def scale(self) -> np.ndarray:
        """The standard deviation of each column; 1 where it does not vary."""
        deviation = np.sqrt(np.diag(self.covariance))
        return np.where(deviation > 0, deviation, 1.0)

    def shrunk(self, shrinkage: Any) -> np.ndarray:
        """The covariance drawn towards a multiple of the identity.

        Parameters
        ----------
        shrinkage : how far, between 0 and 1; None for not at all, 'auto' as far as is best for columns of
            unit variance (Ledoit and Wolf 2004).
        """
        if shrinkage is None:
            return self.covariance
        if shrinkage != AUTO:
            return _towards_identity(self.covariance, float(shrinkage))
        sizes = np.outer(self.scale, self.scale)
        standard = self.covariance / sizes
        return _towards_identity(standard, self._best(standard)) * sizes

    def _best(self, standard: np.ndarray) -> float:
        """Ledoit and Wolf's shrinkage of a covariance."""
        width = len(standard)
        if width == 1:
            return 0.0
        squares, mean = float((standard**2).sum()), float(np.trace(standard)) / width
        apart = squares / width - mean**2
        noise = min((self.fourth / self.n - squares) / (width * self.n), apart)
        return noise / apart if noise != 0 else 0.0


def _towards_identity(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    width = len(covariance)
    return (1.0 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)


class DiscriminantAnalysis(ByClassClassifier):
    """Learns from the means and covariances of the classes. Hook: `_solve(classes, whole)`.

    Attributes
    ----------
    priors_ : ndarray of shape (n_classes,).
    means_ : ndarray of shape (n_classes, n_features).
    """

    parameters = {
        "shrinkage": Number(low=0, high=1) | OneOf(AUTO, None),
        "priors": Numbers() | None,
        "store_covariance": FLAG,
        "tol": Number(low=0),
        "covariance_estimator": OneOf(None, advice="Covariances are those of the rows; set shrinkage."),
    }
    solver: str
    shrinkage: Any
    priors: Any
    priors_: np.ndarray
    means_: np.ndarray

    def _solve(self, classes: Sequence[Scatter], whole: Scatter) -> None:
        raise NotImplementedError

    def _check_parameters(self) -> None:
        if self.solver == "svd" and self.shrinkage is not None:
            raise ParameterError(
                f"{type(self).__name__}(shrinkage={self.shrinkage!r}): shrinkage not supported with 'svd' "
                "solver. Choose solver='eigen'."
            )

    def _statistic(self, block: Block) -> ClassCoMoments:
        return ClassCoMoments.of(block.X, np.asarray(block.y), block.weight)

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        state: ClassCoMoments = view.reduce(self._statistic)
        powers = None
        if self.shrinkage == AUTO:
            scatters = _scatters(state)
            centres = np.vstack([state.mean, _centre(state)])
            scales = np.stack([one.scale for one in scatters])
            powers = view.reduce(partial(_fourth_powers, centres=centres, scales=scales))
        self.class_count_ = view.class_weights
        self._learn(state, powers)

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            candidate.attempt(partial(candidate.model._learn_classes, rows.view))
        chosen = usable(rows, candidates)
        super()._fit_many(rows, [one for one in chosen if one.model.shrinkage != AUTO])
        if twice := [one for one in chosen if one.model.shrinkage == AUTO]:
            learn_apart(rows, twice)

    def _learn(self, state: ClassCoMoments, powers: np.ndarray | None = None) -> None:
        """Learn from the moments of all classes.

        Parameters
        ----------
        state : of all rows.
        powers : of the rows of each class, and of all: see `Scatter.fourth`.
        """
        squares = np.einsum("kpp->p", state.products)
        check_squares(squares, list(getattr(self, "feature_names_in_", [])))
        self._check_classes(state)
        self.means_, self.priors_ = state.mean, self._given_priors()
        *classes, whole = _scatters(state, powers)
        self._solve(classes, whole)

    def _check_classes(self, state: ClassCoMoments) -> None:
        empty = self.classes_[self.class_count_ == 0].tolist()
        if empty or len(state.hashes) < len(self.classes_):
            raise DataError(f"The rows of the class(es) {empty} weigh nothing. Leave them out of y.")

    def _given_priors(self) -> np.ndarray:
        if self.priors is None:
            return self.class_count_ / self.class_count_.sum()
        priors = checked_priors("priors", self.priors, len(self.classes_))
        if (priors < 0).any() or not priors.sum() > 0:
            raise ParameterError(
                f"priors must be non-negative, and not all zero. priors is {priors.tolist()}."
            )
        if abs(priors.sum() - 1.0) > 1e-5:
            warnings.warn("The priors do not sum to 1. Renormalizing", UserWarning, stacklevel=2)
            return priors / priors.sum()
        return priors


def _centre(state: ClassCoMoments) -> np.ndarray:
    """The mean of the rows of all classes."""
    return np.asarray(state.n @ state.mean / state.n.sum())


def _scatters(state: ClassCoMoments, powers: np.ndarray | None = None) -> list[Scatter]:
    """The rows of each class about its mean, and behind them all rows about theirs."""
    apart = state.mean - _centre(state)
    total = state.products.sum(axis=0) + (apart.T * state.n) @ apart
    fourth = np.full(len(state.n) + 1, np.nan) if powers is None else powers
    n = np.append(state.n, state.n.sum())
    return [Scatter(*each) for each in zip(n.tolist(), [*state.products, total], fourth, strict=True)]


def _fourth_powers(block: Block, centres: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What a block adds to `Scatter.fourth` of each class, and behind them of all rows."""
    X, y = dense(block.X), np.asarray(block.y)
    weight = np.ones(len(X)) if block.weight is None else block.weight
    own = (((X - centres[y]) / scales[y]) ** 2).sum(axis=1)
    whole = (((X - centres[-1]) / scales[-1]) ** 2).sum(axis=1)
    return np.append(np.bincount(y, weight * own**2, len(centres) - 1), weight @ whole**2)
