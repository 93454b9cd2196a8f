"""What linear models share: coefficients, and what they predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.data.batch import is_sparse
from outgrow.engine.folded import FoldedView
from outgrow.ml.base import Regressor
from outgrow.ml.candidates import Candidate, learn_apart, usable
from outgrow.ml.linear.gram import moments_of_folds
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


def products(coefficients: Sequence[np.ndarray] | np.ndarray, X: Any) -> np.ndarray:
    """The products of each row of X with each vector, of shape (vectors, rows)."""
    table = np.array(coefficients)
    return np.ascontiguousarray((X @ table.T).T) if is_sparse(X) else table @ X.T
