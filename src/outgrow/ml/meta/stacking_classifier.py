"""A classifier that learns from what others answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sklearn.preprocessing
from sklearn.utils.metaestimators import available_if

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Classifier
from outgrow.ml.core.parameters import OneOf
from outgrow.ml.core.scoring import CLASSES, PROBABILITIES, Scoring
from outgrow.ml.core.scoring import MARGINS as BY_MARGINS
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.parts import NO_FOLDS
from outgrow.ml.meta.stacking import CHANCES, MARGINS, PARAMETERS, VALUES, Stacking
from outgrow.ml.naive_bayes.gaussian_nb import GaussianNB


class StackingClassifier(Stacking, Classifier):
    """Let a classifier learn from what others say of rows that they did not learn from.

    All folds of all models learn side by side from one matrix, in passes that they share; one pass asks them
    about the rows held out, and the last model learns from their answers alone.

    Parameters
    ----------
    estimators : list of (name, classifier) pairs; 'drop' in the place of one leaves it out.
    final_estimator : the classifier that learns from their answers; None for `LogisticRegression`.
    cv : how many folds, None for 5: the hash of a row decides which it belongs to, class by class.
    stack_method : which answers: 'predict_proba', 'decision_function' or 'predict'; 'auto' for the first of
        these that a model has.
    passthrough : whether the last model also gets the features.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the classifiers, fitted to all rows, which know the classes as 0, 1 and so on.
    named_estimators_ : the same by name.
    final_estimator_ : the fitted last classifier.
    stack_method_ : list of the method that each model is asked by.

    Notes
    -----
    Unlike scikit-learn: folds by the hashes of rows, so equal rows are in one fold, and no fold objects; no
    `transform`; models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> both = [("line", og.LogisticRegression()), ("bells", og.QuadraticDiscriminantAnalysis())]
    >>> og.StackingClassifier(both).fit(X, y).score(X, y) > 0.9
    True
    """

    test_parameters = {"estimators": [("line", LogisticRegression()), ("bells", GaussianNB())], "cv": 2}
    expected_failed_checks = NO_FOLDS
    parameters = {**PARAMETERS, "stack_method": OneOf("auto", CHANCES, MARGINS, VALUES)}

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        final_estimator: Any = None,
        *,
        cv: int | None = None,
        stack_method: str = "auto",
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.stack_method = stack_method
        self.n_jobs = n_jobs
        self.passthrough = passthrough
        self.verbose = verbose

    @property
    def _final(self) -> Any:
        return LogisticRegression() if self.final_estimator is None else self.final_estimator

    @property
    def _codes(self) -> int | None:
        return len(self.classes_)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        lacking = [name for name, model in self._active if not hasattr(model, f"_{self._method_of(model)}")]
        if lacking:
            raise ParameterError(
                f"StackingClassifier(stack_method={self.stack_method!r}): {lacking} have no such method. "
                "Choose 'auto'."
            )

    def _method_of(self, model: Any) -> str:
        if self.stack_method != "auto":
            return self.stack_method
        return next(method for method in (CHANCES, MARGINS, VALUES) if hasattr(model, f"_{method}"))

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """By what the last model answers."""
        if hasattr(self._final, "_predict_proba"):
            return PROBABILITIES
        return BY_MARGINS if hasattr(self._final, "_decision_function") else CLASSES

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        self._learn(self._coded(view))

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.classes_[self._ask("_predict", X)])

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._ask("_predict_proba", X)

    @available_if(lambda model: hasattr(model._final, "_decision_function"))  # type: ignore[untyped-decorator]
    def _decision_function(self, X: Any) -> np.ndarray:
        return self._ask("_decision_function", X)

    @available_if(lambda model: hasattr(model._final, "_predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes), where the last model has them."""
        return self._respond(X, "predict_proba")

    @available_if(lambda model: hasattr(model._final, "_decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Margins: shape (rows,) for two classes, else (rows, classes), where the last model has them."""
        return self._respond(X, "decision_function")

    def _to_onnx(self, table: Table) -> Answer:
        graph, last = table.graph, self._last_in_onnx(table)
        unit = graph.node("Gather", graph.constant(np.eye(len(self.classes_))), last.prediction)
        named = chosen(graph, unit, self.classes_)
        return replace(named, probabilities=last.probabilities, margins=last.margins)

    def _sklearn_model(self) -> Any:
        twins, last = self._twins(), self._last._sklearn_model()
        setting = {"stack_method": self.stack_method, "passthrough": self.passthrough}
        made = self._filled(twin("ensemble.StackingClassifier", twins, last, **setting), twins, last)
        made.classes_ = self.classes_
        made._label_encoder = sklearn.preprocessing.LabelEncoder().fit(self.classes_)
        return made
