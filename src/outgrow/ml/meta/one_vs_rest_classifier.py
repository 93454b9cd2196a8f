"""Several classes, or several labels a row, by a classifier of two: each against the others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import sklearn.preprocessing
from sklearn.utils.validation import check_is_fitted

from outgrow.data.names import called
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.parameters import Unused
from outgrow.ml.core.scoring import MARGINS, PROBABILITIES, Scoring
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.classifier import normalised, normalised_in_onnx
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.pairs import TWO, SeveralFromTwo
from outgrow.ml.meta.parts import ESTIMATOR, inner_has
from outgrow.ml.meta.responses import has_margins, responses, responses_in_onnx
from outgrow.ml.several_classes import SeveralTargets, joined


class OneVsRestClassifier(SeveralFromTwo, SeveralTargets):
    """Tell each class from all others, and choose the one that is most sure.

    The classifiers learn side by side from one matrix, in passes that they share. Of several targets, such as
    labels of which a row may have many, each is learned by itself.

    Parameters
    ----------
    estimator : the classifier of two classes, with margins or probabilities.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted; of several targets a list of the two of each.
    estimators_ : list of the fitted classifiers: of two classes one, else one for each class or target.
    n_classes_ : how many classes there are, or targets.
    multilabel_ : whether there are several targets.

    Notes
    -----
    Unlike scikit-learn: a label that all rows have, or none, is refused; `classes_` of several targets lists
    those of each; models of outgrow, and pipelines of them.

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
    expected_failed_checks = {
        "check_classifier_multioutput": "`classes_` of several targets lists those of each",
    }
    parameters = {"estimator": ESTIMATOR, "n_jobs": Unused(), "verbose": Unused()}

    def __init__(self, estimator: Any, *, n_jobs: int | None = None, verbose: int = 0) -> None:
        self.estimator = estimator
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """By probabilities where there are any, else by margins."""
        return PROBABILITIES if hasattr(self._inner, "_predict_proba") else MARGINS

    @property
    def multilabel_(self) -> bool:
        """Whether there are several targets."""
        check_is_fitted(self)
        return self.target_names_ is not None

    # ---- learn -------------------------------------------------------------------------------------------

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        spec = super()._expect_features(shard, task)
        self._noted.target_names_ = None  # each learns one
        return spec

    def _fit(self, view: MatrixView) -> None:
        if self.target_names_ is not None:
            self._fit_targets(view)
            return
        count = self._learn_classes(view)
        codes = [1] if count == 2 else range(count)

        def binary(run: FitContext, code: int) -> MatrixView:
            return view.on(run).with_classes(np.eye(count, dtype=np.intp)[code], TWO)

        self._learn_each(view.run, [partial(binary, code=code) for code in codes])

    def _fit_targets(self, view: MatrixView) -> None:
        codes = self._learn_combinations(view).codes.T
        for name, classes in zip(self.target_names_ or (), self.classes_, strict=True):
            if len(classes) > 2:
                raise DataError(
                    f"OneVsRestClassifier: the target {called(name)} has {len(classes)} classes. Of several "
                    "targets each has two, a label being there or not; MultiOutputClassifier learns others."
                )

        def binary(run: FitContext, own: np.ndarray) -> MatrixView:
            return view.on(run).with_classes(own, TWO)

        self._learn_each(view.run, [partial(binary, own=own) for own in codes])

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict(self, X: Any) -> np.ndarray:
        if self.target_names_ is None:
            return np.asarray(self.classes_[self._sure(X).argmax(axis=1)])
        line = 0.0 if has_margins(self._parts[0]) else 0.5
        each = (responses(part, X)[:, 0] > line for part in self._parts)
        return joined(
            [classes[own.astype(np.intp)] for classes, own in zip(self.classes_, each, strict=True)]
        )

    def _sure(self, X: Any) -> np.ndarray:
        """How sure it is of each class, of shape (rows, classes)."""
        sure = np.hstack([responses(part, X) for part in self._parts])
        if len(self._parts) > 1:
            return sure
        line = 0.0 if has_margins(self._parts[0]) else 0.5
        return np.hstack([np.full_like(sure, line), sure])

    @inner_has("_predict_proba")
    def _predict_proba(self, X: Any) -> np.ndarray:
        each = [part._predict_proba(X) for part in self._parts]
        if self.target_names_ is not None:
            return np.hstack(each)
        return normalised(np.column_stack([own[:, 1] for own in each]))

    @inner_has("_decision_function")
    def _decision_function(self, X: Any) -> np.ndarray:
        margins = np.column_stack([part._decision_function(X) for part in self._parts])
        return margins if self.target_names_ is not None or len(self._parts) > 1 else margins[:, 0]

    @inner_has("_predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Normalised probabilities of shape (rows, classes); for lazy tables `probability_<class>`.

        Of several targets those of the second class, of shape (rows, targets); for lazy tables
        `probability_<target>_<class>`.
        """
        answers = self._respond(X, "predict_proba")
        return answers[:, 1::2] if self.target_names_ is not None and not is_lazy(X) else answers

    @inner_has("_decision_function")
    def decision_function(self, X: Any) -> Any:
        """Margins: shape (rows,) for two classes, else (rows, classes), of each class against the others; of
        several targets (rows, targets)."""
        return self._respond(X, "decision_function")

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        if self.target_names_ is not None:
            raise refusal(self, "it answers several targets.", "Export the models in `estimators_`.")
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
        known = self.classes_
        if self.target_names_ is not None:
            if any(classes.tolist() != [0, 1] for classes in known):
                raise refusal(self, "its targets are not 0 and 1.", "Give it targets of 0 and 1.")
            known = np.tile([[0], [1]], len(known))
        made.label_binarizer_ = sklearn.preprocessing.LabelBinarizer(sparse_output=True).fit(known)
        return made
