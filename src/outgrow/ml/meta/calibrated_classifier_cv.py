"""Classifiers whose probabilities are as often right as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.calibration as peer
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.parameters import FLAG, Integer, OneOf, Unused
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.calibrators import CALIBRATORS
from outgrow.ml.meta.folds import FOLDS, answered, dealt, held_out, learn_folds
from outgrow.ml.meta.parts import ESTIMATOR, NO_FOLDS, PREFIT, AroundModel, check_classifier
from outgrow.ml.meta.responses import has_margins, responses, responses_in_onnx, width_of
from outgrow.ml.meta.whole_pipeline import as_given, as_model
from outgrow.ml.svm.linear_svc import LinearSVC


class CalibratedClassifierCV(AroundModel, ProbabilityClassifier):
    """Make probabilities of what a classifier says of rows it did not learn from.

    The folds learn side by side, in passes that they share; one pass asks their models about the rows held
    out, and what makes probabilities of the answers learns from these alone: Platt's sigmoid in a handful of
    passes of Newton's method, isotonic regression in one.

    Parameters
    ----------
    estimator : the classifier, whose margins count, or else its probabilities; None for `LinearSVC`.
    method : 'sigmoid' and 'isotonic', which calibrate each class against the others, or 'temperature', one
        factor for all logits, so that no prediction changes.
    cv : how many folds, None for 5: the hash of a row decides which it belongs to, class by class. 'prefit'
        for an estimator that is fitted already: all rows calibrate it.
    ensemble : True for the mean of the calibrated models of the folds; False for one model of all rows,
        calibrated by the answers of all folds; 'auto' is True.
    n_jobs : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    calibrations_ : list of dictionaries, what calibrates each model: `slope` and `constant` of each class,
        the `functions` of each class, or the factor `beta`.
    estimators_ : list of the fitted classifiers.

    Notes
    -----
    Unlike scikit-learn: folds by the hashes of rows, so equal rows are in one fold, and no fold objects;
    `estimators_` and `calibrations_` in place of `calibrated_classifiers_`; models of outgrow, and pipelines
    of them; `cv='prefit'`, not `FrozenEstimator`.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines. Zadrozny and Elkan (2002), Transforming
    classifier scores into accurate multiclass probability estimates. Guo et al. (2017), On calibration of
    modern neural networks.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(200, 1))
    >>> y = (X[:, 0] + np.random.default_rng(1).normal(size=200) > 0).astype(int)
    >>> model = og.CalibratedClassifierCV(og.LinearSVC()).fit(X, y)
    >>> model.predict_proba([[-3.0], [0.0], [3.0]])[:, 1].round(1).tolist()
    [0.0, 0.5, 1.0]
    """

    test_parameters = {"estimator": LogisticRegression(), "cv": 2}
    expected_failed_checks = NO_FOLDS
    parameters = {
        "estimator": ESTIMATOR | None,
        "method": OneOf("sigmoid", "isotonic", "temperature"),
        "cv": Integer(low=2) | OneOf(PREFIT, None),
        "n_jobs": Unused(),
        "ensemble": FLAG | OneOf("auto"),
    }
    calibrations_: list[dict[str, Any]]

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "sigmoid",
        cv: int | str | None = None,
        n_jobs: int | None = None,
        ensemble: bool | str = "auto",
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs
        self.ensemble = ensemble

    @property
    def _inner(self) -> Any:
        return LinearSVC() if self.estimator is None else as_model(self.estimator)

    @property
    def estimators_(self) -> list[Any]:
        """The fitted classifiers."""
        check_is_fitted(self)
        return as_given(self._parts)

    @property
    def _prefit(self) -> bool:
        return self.cv == PREFIT

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        if self._prefit:
            parts = [self._ready]
            answers = answered(view, parts[0], self._responses, self._width)
            rows = FoldedView.whole(answers)
        else:
            parts, rows = self._learn_folds(view)
        self.calibrations_ = CALIBRATORS[self.method].learn(rows, not has_margins(parts[0]))
        rows.view.tiles.release()
        self._keep(parts)

    def _learn_folds(self, view: MatrixView) -> tuple[list[Any], FoldedView]:
        """The models that are calibrated, and the responses that each is calibrated by."""
        folds, whole = self.cv or FOLDS, self.ensemble is False
        assert isinstance(folds, int)
        view = dealt(view, folds, self._seed)
        models = [self._new_part() for _ in range(folds + whole)]
        rows = learn_folds(view, models, whole=whole)
        answers = held_out(rows, models, self._responses, self._width)
        view.tiles.release()
        if whole:
            return models[-1:], FoldedView.whole(answers)
        return models, FoldedView.of(answers, np.eye(folds, dtype=bool))

    @property
    def _width(self) -> int:
        return width_of(len(self.classes_))

    @staticmethod
    def _responses(model: Any, X: Any) -> np.ndarray:
        return responses(model, X)

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict_proba(self, X: Any) -> np.ndarray:
        calibrator = CALIBRATORS[self.method]
        pairs = zip(self._parts, self.calibrations_, strict=True)
        total = sum(calibrator.apply(learned, responses(part, X)) for part, learned in pairs)
        return np.asarray(total / len(self._parts))

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, calibrator = table.graph, CALIBRATORS[self.method]
        pairs = zip(self._parts, self.calibrations_, strict=True)
        each = [calibrator.in_onnx(own, graph, responses_in_onnx(part, table)) for part, own in pairs]
        mean = graph.node("Div", graph.node("Sum", *each), graph.constant(float(len(each))))
        return chosen(graph, mean, self.classes_)

    def _twins_in(self, made: Any) -> list[Any]:
        return [pair.estimator for pair in made.calibrated_classifiers_]

    def _sklearn_model(self) -> Any:
        calibrator = CALIBRATORS[self.method]
        twins = [self._sklearn_part(part) for part in self._parts]
        made = twin(
            "calibration.CalibratedClassifierCV", twins[0], method=self.method, ensemble=self.ensemble
        )
        made.classes_ = self.classes_
        made.calibrated_classifiers_ = [
            peer._CalibratedClassifier(each, calibrator.twins(own), classes=self.classes_, method=self.method)
            for each, own in zip(twins, self.calibrations_, strict=True)
        ]
        return made
