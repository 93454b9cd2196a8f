"""What linear models share: coefficients, and what they predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.data.batch import is_sparse
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import Regressor
from outgrow.ml.candidates import Candidate, learn_apart, side_by_side_fits, usable
from outgrow.ml.linear.gram import moments_of_folds, normal_equations, normal_of
from outgrow.ml.linear.grouped import GroupedLeastSquares
from outgrow.ml.linear.least_squares import SAFE, System, from_products, least_squares, positive_from_products
from outgrow.ml.linear.wide import solve_wide
from outgrow.stats.moments import CoMoments

GRAM_WIDTH = 4096
"""Up to this many features, a model is solved from the matrix of products; past it, by iteration."""


class LinearRegressor(Regressor):
    """Predicts X @ coef_ + intercept_."""

    coef_: np.ndarray
    intercept_: float

    @classmethod
    def _learn_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if rows.view.width > GRAM_WIDTH or not chosen:
            learn_apart(rows, chosen)
            return
        moments = moments_of_folds(rows)
        cls._solve_many(rows, moments, chosen)

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        """Learn from the joint moments of features and target in each fold."""
        raise NotImplementedError

    @classmethod
    def _answer_many(cls, models: Sequence[Any], method: str, X: Any) -> Any:
        found = products([model.coef_ for model in models], X)
        found += np.array([[model.intercept_] for model in models])
        return found

    def _answer_predict(self, X: Any) -> np.ndarray:
        return X @ self.coef_ + self.intercept_


class LeastSquares(LinearRegressor):
    """Minimises the squared error plus `_penalty` times the squared coefficients."""

    fit_intercept: bool
    positive: bool

    def _penalty(self) -> float:
        raise NotImplementedError

    def _group_form(self) -> GroupedLeastSquares | None:
        return None if self.positive else GroupedLeastSquares(self._penalty(), self.fit_intercept)

    def _learn(self, view: MatrixView) -> None:
        intercept, penalty = self.fit_intercept, self._penalty()
        if view.width > GRAM_WIDTH:
            if self.positive:
                raise DataError(f"positive=True takes up to {GRAM_WIDTH} features; there are {view.width}.")
            self.coef_, self.intercept_ = solve_wide(view, penalty, intercept=intercept, tol=1e-12)
            return
        system = System.of(normal_equations(view, intercept=intercept), penalty)
        self.coef_, self.intercept_ = (
            positive_from_products(system) if self.positive else least_squares(view, system)
        )

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        systems: dict[int, System] = {}
        for candidate in candidates:
            candidate.attempt(lambda one=candidate: cls._try(one, moments, systems))  # type: ignore[misc]

        def learn(candidate: Candidate, view: FoldedView) -> None:
            model, system = candidate.model, systems[id(candidate)]
            model.coef_, model.intercept_ = least_squares(view.fold(candidate.fold), system)

        side_by_side_fits(rows, [one for one in candidates if id(one) in systems], learn)

    @staticmethod
    def _try(candidate: Candidate, moments: Sequence[CoMoments], left: dict[int, System]) -> None:
        """Solve what the products can solve safely; note the system of what needs more passes."""
        model = candidate.model
        normal = normal_of(moments[candidate.fold], intercept=model.fit_intercept)
        system = System.of(normal, model._penalty())
        solve, margin = system.inverse()
        if model.positive:
            model.coef_, model.intercept_ = positive_from_products(system)
        elif margin < SAFE:
            left[id(candidate)] = system
        else:
            model.coef_, model.intercept_ = from_products(system, solve)


def products(coefficients: Sequence[np.ndarray] | np.ndarray, X: Any) -> np.ndarray:
    """The products of each row of X with each vector, of shape (vectors, rows)."""
    table = np.array(coefficients)
    return np.ascontiguousarray((X @ table.T).T) if is_sparse(X) else table @ X.T
