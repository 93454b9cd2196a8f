"""A classifier for each of several targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.multi_output import PARAMETERS, MultiOutput
from outgrow.ml.meta.parts import check_classifier
from outgrow.ml.several_classes import SeveralClassifier


class MultiOutputClassifier(MultiOutput, SeveralClassifier):
    """Let a classifier learn each of several targets by itself.

    They learn side by side from one matrix, in passes that they share.

    Parameters
    ----------
    estimator : the classifier of one target, with probabilities.
    n_jobs : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    classes_ : list of the classes of each target; of one target an ndarray.
    estimators_ : list of the fitted classifiers, in the order of the targets.
    target_names_ : list of what the targets are called; None where there is one.

    Notes
    -----
    Unlike scikit-learn: classifiers without probabilities are refused; one target is taken, too; `score` is
    the share of rows of which all targets are right, as there; no `partial_fit`; models of outgrow, and
    pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = np.where(X > 0, "high", "low")
    >>> og.MultiOutputClassifier(og.GaussianNB()).fit(X, y).predict([[1.0, -1.0]]).tolist()
    [['high', 'low']]
    """

    test_parameters = {"estimator": LogisticRegression()}
    parameters = PARAMETERS

    def __init__(self, estimator: Any, *, n_jobs: int | None = None) -> None:
        self.estimator = estimator
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)
        if not hasattr(self._inner, "_predict_proba"):
            raise ParameterError(
                f"MultiOutputClassifier(estimator=...): {type(self._inner).__name__} has no probabilities. "
                "Put it into CalibratedClassifierCV."
            )

    def _fit(self, view: MatrixView) -> None:
        if self.target_names_ is None:
            self._learn_classes(view)
            self._learn_targets(view.run, [view])
            return
        codes = self._learn_combinations(view).codes.T
        pairs = zip(codes, self.classes_, strict=True)
        self._learn_targets(view.run, [view.with_classes(own, classes) for own, classes in pairs])

    def _predict_proba(self, X: Any) -> np.ndarray:
        return np.hstack([part._predict_proba(X) for part in self._parts])

    def _to_onnx(self, table: Table) -> Answer:
        if self.target_names_ is not None:
            raise refusal(self, "it answers several targets.", "Export the models in `estimators_`.")
        answer: Answer = self._parts[0]._to_onnx(table)
        return answer

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        if self.target_names_ is None:
            return twins[0]
        made = twin("multioutput.MultiOutputClassifier", twins[0])
        made.estimators_, made.classes_ = twins, self.classes_
        return made
