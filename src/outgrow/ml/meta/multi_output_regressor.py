"""A regressor for each of several targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_regressor

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.multi_output import PARAMETERS, MultiOutput


class MultiOutputRegressor(MultiOutput, Regressor):
    """Let a regressor learn each of several targets by itself.

    They learn side by side from one matrix, in passes that they share.

    Parameters
    ----------
    estimator : the regressor of one target.
    n_jobs : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    estimators_ : list of the fitted regressors, in the order of the targets.
    target_names_ : list of what the targets are called; None where there is one.

    Notes
    -----
    Unlike scikit-learn: one target is taken, too, and then `predict` gives shape (rows,); no `partial_fit`;
    models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> model = og.MultiOutputRegressor(og.HuberRegressor()).fit(X, X @ [[1.0, 0.0], [2.0, -1.0]])
    >>> (model.predict([[1.0, 1.0]]).round(3) + 0.0).tolist()
    [[3.0, -1.0]]
    """

    test_parameters = {"estimator": Ridge()}
    parameters = PARAMETERS

    def __init__(self, estimator: Any, *, n_jobs: int | None = None) -> None:
        self.estimator = estimator
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not is_regressor(self._inner):
            raise ParameterError(
                f"MultiOutputRegressor(estimator=...): {type(self._inner).__name__} is no regressor. Choose "
                "one, or MultiOutputClassifier."
            )

    def _fit(self, view: MatrixView) -> None:
        views = [view] if view.targets is None else [view.target(k) for k in range(view.targets)]
        self._learn_targets(view.run, views)

    def _predict(self, X: Any) -> np.ndarray:
        each = [np.asarray(part._predict(X)) for part in self._parts]
        return each[0] if self.target_names_ is None else np.column_stack(each)

    def _to_onnx(self, table: Table) -> Answer:
        if self.target_names_ is None:
            answer: Answer = self._parts[0]._to_onnx(table)
            return answer
        graph, one = table.graph, table.graph.constant([1], np.int64)
        each = [graph.node("Unsqueeze", part._to_onnx(table).prediction, one) for part in self._parts]
        return Answer(graph.node("Concat", *each, axis=1), width=len(each))

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        if self.target_names_ is None:
            return twins[0]
        made = twin("multioutput.MultiOutputRegressor", twins[0])
        made.estimators_ = twins
        return made
