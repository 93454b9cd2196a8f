"""The mean of what several regressors predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.linear_regression import LinearRegression
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.voting import PARAMETERS, Voting


class VotingRegressor(Voting, Regressor):
    """Average what several regressors predict.

    They learn side by side from one matrix, in passes that they share.

    Parameters
    ----------
    estimators : list of (name, regressor) pairs; 'drop' in the place of one leaves it out.
    weights : what each one's prediction counts; None for the same.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    estimators_ : list of the fitted regressors.
    named_estimators_ : the same by name.

    Notes
    -----
    Unlike scikit-learn: no `transform`; models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), [0.0, 1.0, 2.0]
    >>> both = [("line", og.LinearRegression()), ("mean", og.Ridge(alpha=1e12))]
    >>> og.VotingRegressor(both).fit(X, y).predict([[3.0]]).round(6).tolist()
    [2.0]
    """

    test_parameters = {"estimators": [("line", LinearRegression()), ("ridge", Ridge(alpha=100.0))]}
    parameters = PARAMETERS

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        *,
        weights: Sequence[float] | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _fit(self, view: MatrixView) -> None:
        self._learn_all(view)

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self._shares @ np.array([part._predict(X) for part in self._parts]))

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        pairs = zip(self._parts, self._shares, strict=True)
        each = [
            graph.node("Mul", part._to_onnx(table).prediction, graph.constant(float(share)))
            for part, share in pairs
        ]
        return Answer(graph.node("Sum", *each))

    def _sklearn_model(self) -> Any:
        twins = self._twins()
        made = twin("ensemble.VotingRegressor", twins, weights=self._shares.tolist())
        made.estimators_, made.named_estimators_ = [equal for _, equal in twins], Bunch(**dict(twins))
        return made
