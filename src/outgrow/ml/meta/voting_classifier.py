"""The class that most of several classifiers predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sklearn.preprocessing
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Classifier
from outgrow.ml.core.parameters import OneOf, Unused
from outgrow.ml.core.scoring import CLASSES, PROBABILITIES, Scoring
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.voting import PARAMETERS, Voting
from outgrow.ml.naive_bayes.gaussian_nb import GaussianNB

SOFT = "soft"


class VotingClassifier(Voting, Classifier):
    """Let several classifiers vote, or average their probabilities.

    They learn side by side from one matrix, in passes that they share.

    Parameters
    ----------
    estimators : list of (name, classifier) pairs; 'drop' in the place of one leaves it out.
    voting : 'hard' for the class that most predict, 'soft' for the one with the greatest mean probability.
    weights : what each one's vote, or probability, counts; None for the same.
    n_jobs, flatten_transform, verbose : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the fitted classifiers, which know the classes as 0, 1 and so on.
    named_estimators_ : the same by name.

    Notes
    -----
    Unlike scikit-learn: no `transform`; models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> both = [("line", og.LogisticRegression()), ("bells", og.GaussianNB())]
    >>> og.VotingClassifier(both, voting="soft").fit(X, ["no", "no", "yes", "yes"]).predict(X).tolist()
    ['no', 'no', 'yes', 'yes']
    """

    test_parameters = {
        "estimators": [("line", LogisticRegression()), ("bells", GaussianNB())],
        "voting": SOFT,
    }
    parameters = {**PARAMETERS, "voting": OneOf("hard", SOFT), "flatten_transform": Unused()}

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        *,
        voting: str = "hard",
        weights: Sequence[float] | None = None,
        n_jobs: int | None = None,
        flatten_transform: bool = True,
        verbose: bool = False,
    ) -> None:
        self.estimators = estimators
        self.voting = voting
        self.weights = weights
        self.n_jobs = n_jobs
        self.flatten_transform = flatten_transform
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        without = [name for name, model in self._active if not hasattr(model, "_predict_proba")]
        if self.voting == SOFT and without:
            raise ParameterError(
                f"VotingClassifier(voting='soft'): {without} have no probabilities. Choose voting='hard', or "
                "put them into CalibratedClassifierCV."
            )

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        return PROBABILITIES if self.voting == SOFT else CLASSES

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        self._learn_all(self._coded(view))

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.classes_[self._votes(X).argmax(axis=1)])

    def _votes(self, X: Any) -> np.ndarray:
        """What each class has, of shape (rows, classes)."""
        unit = np.eye(len(self.classes_))
        soft = self.voting == SOFT
        each = [part._predict_proba(X) if soft else unit[part._predict(X)] for part in self._parts]
        return np.asarray(np.tensordot(self._shares, np.array(each), 1))

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._votes(X)

    @available_if(lambda model: model.voting == SOFT)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Mean probabilities of shape (rows, classes); with voting='soft'."""
        return self._respond(X, "predict_proba")

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, each = table.graph, []
        for part, share in zip(self._parts, self._shares, strict=True):
            answer = part._to_onnx(table)
            votes = answer.probabilities
            if self.voting != SOFT:
                votes = graph.node("Gather", graph.constant(np.eye(len(self.classes_))), answer.prediction)
            each.append(graph.node("Mul", votes, graph.constant(float(share))))
        answer = chosen(graph, graph.node("Sum", *each), self.classes_)
        return answer if self.voting == SOFT else replace(answer, probabilities=None)

    def _sklearn_model(self) -> Any:
        twins = self._twins()
        made = twin("ensemble.VotingClassifier", twins, voting=self.voting, weights=self._shares.tolist())
        made.estimators_, made.classes_ = [equal for _, equal in twins], self.classes_
        made.named_estimators_ = Bunch(**dict(twins))
        made.le_ = sklearn.preprocessing.LabelEncoder().fit(self.classes_)
        return made
