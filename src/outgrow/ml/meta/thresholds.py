"""What classifiers share that say from which score on a row is of the second of two classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Classifier
from outgrow.ml.core.parameters import OneOf, described
from outgrow.ml.core.scoring import _Margins
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.meta.parts import ESTIMATOR, AroundModel, check_classifier, inner_has
from outgrow.ml.meta.responses import responses_in_onnx

CHANCES, DECISION = "predict_proba", "decision_function"
_ON_THE_LINE = 1e-15
"""What a score at the threshold counts beyond it: it is of the class."""
PARAMETERS = {
    "estimator": ESTIMATOR,
    "response_method": OneOf("auto", DECISION, CHANCES),
    "pos_label": described("one of the classes, or None for the second"),
}


class _Beyond(_Margins):
    """How far scores lie beyond a threshold."""

    method = "beyond"


class ThresholdClassifier(AroundModel, Classifier):
    """A classifier of two classes, around one whose scores are compared with a threshold."""

    _scoring = _Beyond()
    response_method: str
    pos_label: Any = None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)
        if self.response_method != "auto" and not hasattr(self._inner, f"_{self.response_method}"):
            raise ParameterError(
                f"{type(self).__name__}(response_method={self.response_method!r}): "
                f"{type(self._inner).__name__} has no such method. Choose 'auto'."
            )

    @property
    def _response(self) -> str:
        """Which scores are compared: probabilities where there are any, else margins."""
        if self.response_method != "auto":
            return self.response_method
        return CHANCES if hasattr(self._inner, f"_{CHANCES}") else DECISION

    @property
    def _threshold(self) -> float:
        raise NotImplementedError

    @property
    def _positive(self) -> int:
        """The index of the class that the scores are of."""
        return 1 if self.pos_label is None else self.classes_.tolist().index(self.pos_label)

    @property
    def estimator_(self) -> Any:
        """The fitted classifier."""
        check_is_fitted(self)
        return self._parts[0]

    # ---- learn -------------------------------------------------------------------------------------------

    def _learn_classes(self, view: MatrixView) -> int:
        classes = super()._learn_classes(view)
        if classes > 2:
            raise DataError(
                "Only binary classification is supported. The type of the target is multiclass: it has the "
                f"{classes} classes {self.classes_.tolist()[:20]}. Put it into OneVsRestClassifier."
            )
        if self.pos_label is not None and self.pos_label not in self.classes_.tolist():
            raise ParameterError(
                f"pos_label={self.pos_label!r} is not a valid label: it should be one of "
                f"{self.classes_.tolist()}."
            )
        return classes

    # ---- answer ------------------------------------------------------------------------------------------

    def _scores(self, model: Any, X: Any) -> np.ndarray:
        """The scores of the positive class."""
        if self._response == CHANCES:
            return np.asarray(model._predict_proba(X)[:, self._positive])
        margins = np.asarray(model._decision_function(X))
        return margins if self._positive else -margins

    def _predict(self, X: Any) -> np.ndarray:
        beyond = self._scores(self._parts[0], X) >= self._threshold
        return np.asarray(self.classes_[np.where(beyond, self._positive, 1 - self._positive)])

    def _beyond(self, X: Any) -> np.ndarray:
        """How far the scores lie on the side of the second class."""
        excess = self._scores(self._parts[0], X) - self._threshold
        excess = np.where(excess >= 0, np.maximum(excess, _ON_THE_LINE), excess)
        return excess if self._positive else -excess

    @inner_has("_predict_proba")
    def _predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(self._parts[0]._predict_proba(X))

    @inner_has("_predict_proba")
    def _predict_log_proba(self, X: Any) -> np.ndarray:
        return np.asarray(self._parts[0]._predict_log_proba(X))

    @inner_has("_decision_function")
    def _decision_function(self, X: Any) -> np.ndarray:
        return np.asarray(self._parts[0]._decision_function(X))

    @inner_has("_predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, 2), as the model within gives them."""
        return self._respond(X, "predict_proba")

    @inner_has("_predict_proba")
    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms."""
        return self._respond(X, "predict_log_proba")

    @inner_has("_decision_function")
    def decision_function(self, X: Any) -> Any:
        """Margins of shape (rows,), as the model within gives them."""
        return self._respond(X, "decision_function")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, part = table.graph, self._parts[0]
        if self._response == CHANCES:
            inner = part._to_onnx(table)
            score = graph.node("Gather", inner.probabilities, graph.constant([self._positive]), axis=1)
        else:
            score = responses_in_onnx(part, table)
            score = score if self._positive else graph.node("Neg", score)
            inner = part._to_onnx(table)
        beyond = graph.node("GreaterOrEqual", score, graph.constant(float(self._threshold)))
        is_it = graph.cast(beyond, "number")
        other = graph.node("Sub", graph.constant(1.0), is_it)
        pair = (other, is_it) if self._positive else (is_it, other)
        answer = chosen(graph, graph.node("Concat", *pair, axis=1), self.classes_)
        return replace(answer, probabilities=inner.probabilities, margins=inner.margins)

    def _sklearn_model(self) -> Any:
        part = self._sklearn_part(self._parts[0])
        made = twin(
            "model_selection.FixedThresholdClassifier",
            part,
            threshold=float(self._threshold),
            response_method=self._response,
            pos_label=self.pos_label,
        )
        made.estimator_ = part
        return made

    def _twins_in(self, made: Any) -> list[Any]:
        return [made.estimator_]


def neutral(model: ThresholdClassifier) -> float:
    """The threshold that changes nothing: 1/2 of probabilities, 0 of margins."""
    return 0.5 if model._response == CHANCES else 0.0
