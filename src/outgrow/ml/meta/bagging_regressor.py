"""Regressors that each learned from a sample of the rows, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.bagging import PARAMETERS, Bagging
from outgrow.ml.meta.whole_pipeline import as_model
from outgrow.ml.trees.decision_tree import DecisionTreeRegressor


class BaggingRegressor(Bagging, Regressor):
    """Average regressors that each learned from its own random copy of the rows (Breiman 1996).

    They learn side by side from one matrix, in passes that they share. How often a copy has a row follows
    from the hash of the row and the number of the copy, so any engine and partitioning gives the same.

    Parameters
    ----------
    estimator : the regressor; None for `DecisionTreeRegressor`.
    n_estimators : how many learn.
    max_samples : rows of each copy, on average: a share of all, a number, or None for as many as there are.
    max_features : features that each one learns from: a share of all, or a number.
    bootstrap : whether a copy may have a row several times.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.
    random_state : seed of the copies, features and regressors; None means 0.

    Attributes
    ----------
    estimators_ : list of the fitted regressors.
    estimators_features_ : list of ndarrays, the features that each learned from.

    Notes
    -----
    Unlike scikit-learn: a copy has each row as often as Poisson's law says, with the mean 1, and is no
    multinomial bootstrap: its size varies by about the square root of the rows. Weights multiply how often a
    row is drawn, rather than decide it. No `oob_score`, `bootstrap_features` and `warm_start`; models of
    outgrow alone.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = og.BaggingRegressor(og.LinearRegression(), random_state=1).fit(X, X @ [1.0, 2.0])
    >>> model.predict([[1.0, 1.0]]).round(6).tolist()
    [3.0]
    """

    test_parameters = {"estimator": Ridge(), "n_estimators": 3}
    parameters = PARAMETERS

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: float | None = None,
        max_features: float = 1.0,
        bootstrap: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _inner(self) -> Any:
        return DecisionTreeRegressor() if self.estimator is None else as_model(self.estimator)

    def _fit(self, view: MatrixView) -> None:
        self._learn_copies(view)

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(np.mean(self._each(X, "_predict"), axis=0))

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        pairs = zip(self._parts, self._tables(table), strict=True)
        each = [part._to_onnx(own).prediction for part, own in pairs]
        return Answer(graph.node("Div", graph.node("Sum", *each), graph.constant(float(len(each)))))

    def _sklearn_model(self) -> Any:
        return self._filled(twin("ensemble.BaggingRegressor", n_estimators=self.n_estimators))
