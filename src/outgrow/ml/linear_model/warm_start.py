"""Fits that begin where the last one ended."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.errors import ParameterError
from outgrow.ml.base import Model


class WarmStarted(Model):
    """A linear model that with `warm_start` begins a fit at the coefficients of the last one."""

    coef_: Any
    intercept_: Any
    warm_start: bool

    def _worker(self) -> Self:
        worker = super()._worker()
        if self.warm_start and hasattr(self, "coef_"):
            worker.coef_, worker.intercept_ = dense(self.coef_), self.intercept_
        return worker

    def _begin(self, targets: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Coefficients of shape (targets, width) and intercepts to begin with; None where none are known.

        Raises
        ------
        ParameterError
            When the last fit had others.
        """
        if not hasattr(self, "coef_"):
            return None
        coef = np.atleast_2d(self.coef_)
        if coef.shape != (targets, width):
            raise ParameterError(
                f"warm_start=True: Initialization coef is of shape {coef.shape}, and of shape "
                f"{(targets, width)} is expected for these rows. Fit anew with warm_start=False."
            )
        return coef, np.broadcast_to(self.intercept_, targets)


def dense(coef: Any) -> np.ndarray:
    """Coefficients as an array, whatever they are kept as."""
    found: np.ndarray = coef.toarray() if is_sparse(coef) else coef
    return found
