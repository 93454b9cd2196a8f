"""A regressor that learns from what others answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.linear_regression import LinearRegression
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.parts import NO_FOLDS
from outgrow.ml.meta.stacking import PARAMETERS, Stacking


class StackingRegressor(Stacking, Regressor):
    """Let a regressor learn from what others say of rows that they did not learn from.

    All folds of all models learn side by side from one matrix, in passes that they share; one pass asks them
    about the rows held out, and the last model learns from their answers alone.

    Parameters
    ----------
    estimators : list of (name, regressor) pairs; 'drop' in the place of one leaves it out.
    final_estimator : the regressor that learns from their answers; None for `Ridge`.
    cv : how many folds, None for 5: the hash of a row decides which it belongs to.
    passthrough : whether the last model also gets the features.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    estimators_ : list of the regressors, fitted to all rows.
    named_estimators_ : the same by name.
    final_estimator_ : the fitted last regressor.
    stack_method_ : list of the method that each model is asked by.

    Notes
    -----
    Unlike scikit-learn: `Ridge()` rather than a cross-validated one learns last by default; folds by the
    hashes of rows, so equal rows are in one fold, and no fold objects; no `transform`; models of outgrow, and
    pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> both = [("line", og.LinearRegression()), ("flat", og.Ridge(alpha=1e6))]
    >>> og.StackingRegressor(both).fit(X, X @ [1.0, 2.0]).predict([[1.0, 1.0]]).round(1).tolist()
    [3.0]
    """

    test_parameters = {
        "estimators": [("line", LinearRegression()), ("ridge", Ridge(alpha=100.0))],
        "cv": 2,
    }
    expected_failed_checks = NO_FOLDS
    parameters = PARAMETERS

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        final_estimator: Any = None,
        *,
        cv: int | None = None,
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.passthrough = passthrough
        self.verbose = verbose

    @property
    def _final(self) -> Any:
        return Ridge() if self.final_estimator is None else self.final_estimator

    def _fit(self, view: MatrixView) -> None:
        self._learn(view)

    def _predict(self, X: Any) -> np.ndarray:
        return self._ask("_predict", X)

    def _to_onnx(self, table: Table) -> Answer:
        return self._last_in_onnx(table)

    def _sklearn_model(self) -> Any:
        twins, last = self._twins(), self._last._sklearn_model()
        made = twin("ensemble.StackingRegressor", twins, last, passthrough=self.passthrough)
        return self._filled(made, twins, last)
