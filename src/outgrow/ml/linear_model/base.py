"""What linear models share: coefficients, and what they predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.base.contributions import products_of
from outgrow.ml.core.candidates import Candidate, learn_apart, side_by_side_fits, usable
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.grouped import GroupedLeastSquares
from outgrow.ml.solvers.gram import Normal, moments_of_folds, normal_equations, normal_of
from outgrow.ml.solvers.least_squares import (
    SAFE,
    Solve,
    System,
    each_target,
    from_products,
    from_rows,
    least_squares,
    positive_from_products,
)
from outgrow.ml.solvers.wide import solve_wide
from outgrow.stats.moments import CoMoments

GRAM_WIDTH = 4096
"""Up to this many features, a model is solved from the matrix of products; past it, by iteration."""


class LinearRegressor(Regressor):
    """Predicts X @ coef_.T + intercept_."""

    _follows_type = ("coef_",)

    coef_: np.ndarray
    intercept_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if rows.view.width > GRAM_WIDTH or rows.view.targets is not None or not chosen:
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
    def _predict_many(cls, models: Sequence[Any], method: str, X: Any) -> Any:
        if models[0].coef_.ndim == 2:
            return super()._predict_many(models, method, X)
        found = products([model.coef_ for model in models], X)
        found += np.array([[model.intercept_] for model in models])
        return found

    def _predict(self, X: Any) -> np.ndarray:
        return X @ self.coef_.T + self.intercept_

    def predict(self, X: Any) -> Any:
        predicted = super().predict(X)
        single = (isinstance(X, np.ndarray) or is_sparse(X)) and X.dtype == self.coef_.dtype == np.float32
        return predicted.astype(np.float32) if single else predicted

    def _contributions(self, X: Any) -> np.ndarray:
        """What each feature adds to the prediction, and the constant: (rows, outputs, features + 1)."""
        return products_of(X, self.coef_, self.intercept_)

    def _to_onnx(self, table: Table) -> Answer:
        graph, coef = table.graph, np.atleast_2d(self.coef_).astype(np.float64)
        X = features(self.features_, table, type(self).__name__)
        # onnxruntime multiplies no rows by a matrix, but not by a vector
        product = graph.node("MatMul", X, graph.constant(coef.T))
        product = graph.node("Add", product, graph.constant(np.atleast_1d(self.intercept_)))
        if self.target_names_ is not None:
            return Answer(product, width=len(coef))
        return Answer(graph.node("Squeeze", product, graph.constant([1], np.int64)))

    def _take_targets(self, view: MatrixView, coef: np.ndarray, intercept: np.ndarray) -> None:
        """Keep the coefficients (targets, width) and intercepts of all targets."""
        several = view.targets is not None
        self.coef_ = coef if several else coef[0]
        self.intercept_ = intercept if several else float(intercept[0])


class LeastSquares(LinearRegressor):
    """Minimises the squared error plus `_penalty` times the squared coefficients."""

    fit_intercept: bool
    positive: bool

    def _penalty(self) -> np.ndarray:
        """Of each target, of shape (targets,); of shape (1,) for that of all."""
        raise NotImplementedError

    def _group_form(self) -> GroupedLeastSquares | None:
        penalty = self._penalty()
        alike = not self.positive and len(penalty) == 1
        return GroupedLeastSquares(float(penalty[0]), self.fit_intercept) if alike else None

    def _penalties(self, targets: int) -> np.ndarray:
        """The penalty of each of so many targets."""
        penalty = self._penalty()
        if len(penalty) not in (1, targets):
            raise ParameterError(
                "Number of targets and number of penalties do not correspond: "
                f"{len(penalty)} != {targets}. Give one alpha, or one for each target."
            )
        return np.broadcast_to(penalty, targets)

    def _fit(self, view: MatrixView) -> None:
        if self._has_products(view):
            self._solve(view, normal_equations(view, intercept=self.fit_intercept))
            return
        if self.positive:
            raise DataError(f"positive=True takes up to {GRAM_WIDTH} features; there are {view.width}.")
        targets, intercept = view.targets or 1, self.fit_intercept
        penalties = self._penalties(targets)
        found = each_target(
            view,
            lambda one, j: solve_wide(one, float(penalties[j]), intercept=intercept, tol=1e-12),
            range(targets),
        )
        self._take(view, found)

    def _has_products(self, view: MatrixView) -> bool:
        """Whether it is solved from the products of the features; those of fewer rows could tell nothing."""
        fewer_rows = view.rows <= view.width and not self.positive and not self._penalty().any()
        return view.width <= GRAM_WIDTH and not fewer_rows

    def _solve(self, view: MatrixView, normals: Sequence[Normal]) -> None:
        """Learn from the normal equations of the targets of these rows."""
        penalties = self._penalties(view.targets or 1)
        self._take(view, least_squares(view, normals, penalties, positive=self.positive))

    def _take(self, view: MatrixView, solutions: Sequence[tuple[np.ndarray, float]]) -> None:
        coef, constants = zip(*solutions, strict=True)
        self._take_targets(view, np.array(coef), np.array(constants))

    def _learner_of_columns(self, view: MatrixView) -> Callable[[Any, np.ndarray], None]:
        if not self._has_products(view):
            return super()._learner_of_columns(view)
        normals = normal_equations(view, intercept=self.fit_intercept)

        def learn(model: Any, columns: np.ndarray) -> None:
            model._solve(view.narrowed(columns), [normal.of_columns(columns) for normal in normals])

        return learn

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        left: dict[int, tuple[System, Solve, float]] = {}
        for candidate in candidates:
            candidate.attempt(lambda one=candidate: cls._try(one, moments, left))  # type: ignore[misc]

        def learn(candidate: Candidate, view: FoldedView) -> None:
            model = candidate.model
            model.coef_, model.intercept_ = from_rows(view.fold(candidate.fold), *left[id(candidate)])

        side_by_side_fits(rows, [one for one in candidates if id(one) in left], learn)

    @staticmethod
    def _try(
        candidate: Candidate, moments: Sequence[CoMoments], left: dict[int, tuple[System, Solve, float]]
    ) -> None:
        """Solve what the products can solve safely; note the system of what needs more passes."""
        model = candidate.model
        normal = normal_of(moments[candidate.fold], intercept=model.fit_intercept)
        system = System.of(normal, float(model._penalties(1)[0]))
        solve, margin = system.inverse()
        if model.positive:
            model.coef_, model.intercept_ = positive_from_products(system)
        elif margin < SAFE:
            left[id(candidate)] = system, solve, margin
        else:
            model.coef_, model.intercept_ = from_products(system, solve)


def products(coefficients: Sequence[np.ndarray] | np.ndarray, X: Any) -> np.ndarray:
    """The products of each row of X with each vector, of shape (vectors, rows).

    Parameters
    ----------
    coefficients : vectors of shape (features,), or an array of shape (vectors, features).
    X : ndarray or CSR array of shape (rows, features).
    """
    table = np.array(coefficients)
    return np.ascontiguousarray((X @ table.T).T) if is_sparse(X) else table @ X.T
