"""A classifier with a threshold that is given."""

from __future__ import annotations

from typing import Any

from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.parameters import FINITE, OneOf
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.thresholds import PARAMETERS, ThresholdClassifier, neutral


class FixedThresholdClassifier(ThresholdClassifier):
    """Say from which score on a row is of the positive class.

    Parameters
    ----------
    estimator : the classifier.
    threshold : a row with this score or a higher one is of the positive class; 'auto' for 1/2 of
        probabilities and 0 of margins.
    pos_label : the positive class; None for the second.
    response_method : 'predict_proba' or 'decision_function'; 'auto' for probabilities where there are any.

    Attributes
    ----------
    classes_ : ndarray of the two classes.
    estimator_ : the fitted classifier.

    Notes
    -----
    Unlike scikit-learn: models of outgrow, and pipelines of them.

    Unlike Spark MLlib's `thresholds`: one threshold, of two classes.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> careful = og.FixedThresholdClassifier(og.LogisticRegression(), threshold=0.2)
    >>> careful.fit(X, [0, 0, 1, 1]).predict(X).tolist()
    [0, 1, 1, 1]
    """

    test_parameters = {"estimator": LogisticRegression(), "threshold": 0.3}
    expected_failed_checks = {
        "check_classifiers_train": "margins change signs elsewhere than answers do",
    }
    parameters = {**PARAMETERS, "threshold": FINITE | OneOf("auto")}

    def __init__(
        self,
        estimator: Any,
        *,
        threshold: float | str = "auto",
        pos_label: Any = None,
        response_method: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.threshold = threshold
        self.pos_label = pos_label
        self.response_method = response_method

    @property
    def _threshold(self) -> float:
        return neutral(self) if isinstance(self.threshold, str) else float(self.threshold)

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        part = self._new_part()
        part._fit(view)
        self._keep([part])
