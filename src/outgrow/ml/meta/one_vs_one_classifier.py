"""Several classes by a classifier of two: each against each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import MarginClassifier
from outgrow.ml.core.parameters import Unused
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.pairs import TWO, SeveralFromTwo
from outgrow.ml.meta.parts import ESTIMATOR
from outgrow.ml.meta.responses import has_margins, responses, responses_in_onnx


class OneVsOneClassifier(SeveralFromTwo, MarginClassifier):
    """Tell each class from each other, and choose the one with most votes; of equals the surest.

    The classifiers learn side by side from one matrix, each from the rows of its two classes.

    Parameters
    ----------
    estimator : the classifier of two classes, with margins or probabilities.
    n_jobs : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the n_classes * (n_classes - 1) / 2 fitted classifiers.
    n_classes_ : how many classes there are.

    Notes
    -----
    Unlike scikit-learn: of two classes margins are positive where the second is predicted, also of a model
    with probabilities alone; models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.repeat([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 5, axis=0)
    >>> y = np.repeat(["a", "b", "c"], 5)
    >>> og.OneVsOneClassifier(og.GaussianNB()).fit(X, y).predict([[5.0, 0.0], [0.0, 0.1]]).tolist()
    ['b', 'a']
    """

    test_parameters = {"estimator": LogisticRegression()}
    parameters = {"estimator": ESTIMATOR, "n_jobs": Unused()}

    def __init__(self, estimator: Any, *, n_jobs: int | None = None) -> None:
        self.estimator = estimator
        self.n_jobs = n_jobs

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.classes_)), 2))

    @property
    def _line(self) -> float:
        """From where on a response is for the second class."""
        return 0.0 if has_margins(self._parts[0]) else 0.5

    def _fit(self, view: MatrixView) -> None:
        count = self._learn_classes(view)

        def binary(run: FitContext, pair: tuple[int, int]) -> MatrixView:
            codes = np.full(count, -1)
            codes[list(pair)] = TWO
            return view.on(run).with_classes(codes, TWO)

        self._learn_each(view.run, [partial(binary, pair=pair) for pair in self._pairs])

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Which class each pair has first, and which second, of shape (pairs, classes)."""
        first, second = np.array(self._pairs).T
        unit = np.eye(len(self.classes_))
        return unit[first], unit[second]

    def _decision_function(self, X: Any) -> np.ndarray:
        sure = np.hstack([responses(part, X) for part in self._parts])
        first, second = self._sides()
        wins = (sure > self._line).astype(np.float64)
        total = sure @ (second - first)
        margins = wins @ second + (1 - wins) @ first + total / (3 * (np.abs(total) + 1))
        return margins if len(self.classes_) > 2 else margins[:, 1] - self._line

    def _to_onnx(self, table: Table) -> Answer:
        graph, (first, second) = table.graph, self._sides()
        each = [responses_in_onnx(part, table) for part in self._parts]
        sure = each[0] if len(each) == 1 else graph.node("Concat", *each, axis=1)
        wins = graph.cast(graph.node("Greater", sure, graph.constant(self._line)), "number")
        losses = graph.node("Sub", graph.constant(1.0), wins)
        total = graph.node("MatMul", sure, graph.constant(second - first))
        size = graph.node("Add", graph.node("Abs", total), graph.constant(1.0))
        votes = graph.node("MatMul", wins, graph.constant(second))
        lost = graph.node("MatMul", losses, graph.constant(first))
        shares = graph.node("Div", total, graph.node("Mul", graph.constant(3.0), size))
        margins = graph.node("Sum", votes, lost, shares)
        if len(self.classes_) == 2:
            beyond = graph.node("Sub", margins, graph.constant(self._line))
            second_one = graph.node("Gather", beyond, graph.constant([1]), axis=1)
            margins = graph.node("Concat", graph.node("Neg", second_one), second_one, axis=1)
        return replace(chosen(graph, margins, self.classes_), probabilities=None, margins=margins)

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        made.feature_names_in_ = names  # scikit-learn's hands on arrays

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        made = twin("multiclass.OneVsOneClassifier", twins[0])
        made.estimators_, made.classes_, made.pairwise_indices_ = twins, self.classes_, None
        return made
