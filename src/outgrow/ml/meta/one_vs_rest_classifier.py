"""Several classes by a classifier of two: each against the others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import sklearn.preprocessing

from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Classifier
from outgrow.ml.core.parameters import Unused
from outgrow.ml.core.scoring import MARGINS, PROBABILITIES, Scoring
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.classifier import normalised, normalised_in_onnx
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.pairs import TWO, SeveralFromTwo
from outgrow.ml.meta.parts import ESTIMATOR, inner_has
from outgrow.ml.meta.responses import has_margins, responses, responses_in_onnx


class OneVsRestClassifier(SeveralFromTwo, Classifier):
    """Tell each class from all others, and choose the one that is most sure.

    The classifiers learn side by side from one matrix, in passes that they share.

    Parameters
    ----------
    estimator : the classifier of two classes, with margins or probabilities.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the fitted classifiers: of two classes one, else one for each.
    n_classes_ : how many classes there are.

    Notes
    -----
    Unlike scikit-learn: no several labels a row, which `MultiOutputClassifier` learns; models of outgrow, and
    pipelines of them.

    Unlike Spark MLlib's `OneVsRest(parallelism=1)`: all classes share their passes, and there are
    probabilities where the model within has them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.repeat([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 5, axis=0)
    >>> y = np.repeat(["a", "b", "c"], 5)
    >>> og.OneVsRestClassifier(og.LinearSVC()).fit(X, y).predict([[5.0, 0.0], [0.0, 0.1]]).tolist()
    ['b', 'a']
    """

    test_parameters = {"estimator": LogisticRegression()}
    parameters = {"estimator": ESTIMATOR, "n_jobs": Unused(), "verbose": Unused()}

    def __init__(self, estimator: Any, *, n_jobs: int | None = None, verbose: int = 0) -> None:
        self.estimator = estimator
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """By probabilities where there are any, else by margins."""
        return PROBABILITIES if hasattr(self._inner, "_predict_proba") else MARGINS

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        count = self._learn_classes(view)
        codes = [1] if count == 2 else range(count)

        def binary(run: FitContext, code: int) -> MatrixView:
            return view.on(run).with_classes(np.eye(count, dtype=np.intp)[code], TWO)

        self._learn_each(view.run, [partial(binary, code=code) for code in codes])

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.classes_[self._sure(X).argmax(axis=1)])

    def _sure(self, X: Any) -> np.ndarray:
        """How sure it is of each class, of shape (rows, classes)."""
        sure = np.hstack([responses(part, X) for part in self._parts])
        if len(self._parts) > 1:
            return sure
        line = 0.0 if has_margins(self._parts[0]) else 0.5
        return np.hstack([np.full_like(sure, line), sure])

    @inner_has("_predict_proba")
    def _predict_proba(self, X: Any) -> np.ndarray:
        return normalised(np.column_stack([part._predict_proba(X)[:, 1] for part in self._parts]))

    @inner_has("_decision_function")
    def _decision_function(self, X: Any) -> np.ndarray:
        margins = np.column_stack([part._decision_function(X) for part in self._parts])
        return margins if len(self._parts) > 1 else margins[:, 0]

    @inner_has("_predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Normalised probabilities of shape (rows, classes); for lazy tables `probability_<class>`."""
        return self._respond(X, "predict_proba")

    @inner_has("_decision_function")
    def decision_function(self, X: Any) -> Any:
        """Margins: shape (rows,) for two classes, else (rows, classes), of each class against the others."""
        return self._respond(X, "decision_function")

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        each = [responses_in_onnx(part, table) for part in self._parts]
        sure = each[0] if len(each) == 1 else graph.node("Concat", *each, axis=1)
        margins = has_margins(self._parts[0])
        if len(each) == 1:
            other = graph.node("Neg", sure) if margins else graph.node("Sub", graph.constant(1.0), sure)
            sure = graph.node("Concat", other, sure, axis=1)
        answer = replace(chosen(graph, sure, self.classes_), probabilities=None)
        if margins:
            answer = replace(answer, margins=sure)
        if not hasattr(self._parts[0], "_predict_proba"):
            return answer
        one = graph.constant([1])
        shares = [
            graph.node("Gather", part._to_onnx(table).probabilities, one, axis=1) for part in self._parts
        ]
        ones = shares[0] if len(shares) == 1 else graph.node("Concat", *shares, axis=1)
        return replace(answer, probabilities=normalised_in_onnx(graph, ones, len(shares)))

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        made = twin("multiclass.OneVsRestClassifier", twins[0])
        made.estimators_ = twins
        made.label_binarizer_ = sklearn.preprocessing.LabelBinarizer(sparse_output=True).fit(self.classes_)
        return made
