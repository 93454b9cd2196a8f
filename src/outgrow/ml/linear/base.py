"""What linear models share: coefficients, and what they predict."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.base import Regressor

GRAM_WIDTH = 4096
"""Up to this many features, a model is solved from the matrix of products; past it, by iteration."""


class LinearRegressor(Regressor):
    """Predicts X @ coef_ + intercept_."""

    coef_: np.ndarray
    intercept_: float

    def _answer_predict(self, X: Any) -> np.ndarray:
        return X @ self.coef_ + self.intercept_
