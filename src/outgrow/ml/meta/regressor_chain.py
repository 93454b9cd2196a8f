"""Regressors of several targets, each of which knows those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_regressor

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.core.exports import check_has_equal
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.chain import PARAMETERS, Chain


class RegressorChain(Chain, Regressor):
    """Let a regressor learn each target from the features and the targets before it.

    The targets of the rows are known, so all regressors learn side by side from one matrix, in passes that
    they share. Predictions stand for the targets of new rows.

    Parameters
    ----------
    estimator : the regressor of one target.
    order : the targets in the order of the chain: a list of their numbers from 0 on, 'random', or None for
        that in which they are given.
    cv : None: each learns from the true targets before it.
    random_state : seed of the order 'random'; None means 0.
    verbose : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    estimators_ : list of the fitted regressors, in the order of the chain.
    order_ : ndarray of the numbers of the targets, in the order of the chain.
    target_names_ : list of what the targets are called; None where there is one.

    Notes
    -----
    Unlike scikit-learn: `cv` is None; one target is taken, too, and then `predict` gives shape (rows,);
    models of outgrow, and pipelines that end in one, whose steps see the targets before it as columns
    `target0` and so on, of numbers.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> model = og.RegressorChain(og.LinearRegression()).fit(X, X @ [[1.0, 0.0], [2.0, -1.0]])
    >>> (model.predict([[1.0, 1.0]]).round(3) + 0.0).tolist()
    [[3.0, -1.0]]
    """

    test_parameters = {"estimator": Ridge()}
    parameters = PARAMETERS

    def __init__(
        self,
        estimator: Any,
        *,
        order: Sequence[int] | str | None = None,
        cv: None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.order = order
        self.cv = cv
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not is_regressor(self._inner):
            raise ParameterError(
                f"RegressorChain(estimator=...): {type(self._inner).__name__} is no regressor. Choose one, "
                "or ClassifierChain."
            )

    def _fit(self, view: MatrixView) -> None:
        several = view.targets is not None
        self.order_ = self._order_of(view.targets or 1)
        wide = self._with_targets(view, None)
        self._learn_links(view, wide, [wide.target(int(k)) for k in self.order_] if several else [wide])

    def _predict(self, X: Any) -> np.ndarray:
        said: list[np.ndarray] = []
        for k, part in enumerate(self._parts):
            said.append(np.asarray(part._predict(self._handed(X, k, said))))
        return said[0] if self.target_names_ is None else np.column_stack(said)[:, np.argsort(self.order_)]

    def _to_onnx(self, table: Table) -> Answer:
        check_has_equal(self._parts[0], "_to_onnx", "ONNX")
        graph, whole = table.graph, table.matrix(self.features_, type(self).__name__)
        names = list(self._kinds(0))
        columns = {
            name: Column(graph.node("Gather", whole, graph.constant([j]), axis=1))
            for j, name in enumerate(names)
        }
        said, one = [], graph.constant([1], np.int64)
        for part, k in zip(self._parts, self.order_, strict=True):
            answer: Answer = part._to_onnx(Table(graph, dict(columns)))
            if self.target_names_ is None:
                return answer
            said.append(graph.node("Unsqueeze", answer.prediction, one))
            columns[f"target{k}"] = Column(said[-1])
        each = [said[k] for k in np.argsort(self.order_)]
        return Answer(graph.node("Concat", *each, axis=1), width=len(each))

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        if self.target_names_ is None:
            return twins[0]
        return self._filled(twin("multioutput.RegressorChain", twins[0], order=self.order_.tolist()), twins)
