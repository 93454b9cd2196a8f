"""Classifiers that each learned from a sample of the rows, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.bagging import PARAMETERS, Bagging
from outgrow.ml.meta.whole_pipeline import as_model
from outgrow.ml.trees.decision_tree import DecisionTreeClassifier


class BaggingClassifier(Bagging, ProbabilityClassifier):
    """Average classifiers that each learned from its own random copy of the rows (Breiman 1996).

    They learn side by side from one matrix, in passes that they share. How often a copy has a row follows
    from the hash of the row and the number of the copy, so any engine and partitioning gives the same.

    Parameters
    ----------
    estimator : the classifier; None for `DecisionTreeClassifier`.
    n_estimators : how many learn.
    max_samples : rows of each copy, on average: a share of all, a number, or None for as many as there are.
    max_features : features that each one learns from: a share of all, or a number.
    bootstrap : whether a copy may have a row several times.
    n_jobs, verbose : accepted as scikit-learn has them, without effect.
    random_state : seed of the copies, features and classifiers; None means 0.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the fitted classifiers, which know the classes as 0, 1 and so on.
    estimators_features_ : list of ndarrays, the features that each learned from.

    Notes
    -----
    Unlike scikit-learn: a copy has each row as often as Poisson's law says, with the mean 1, and is no
    multinomial bootstrap: its size varies by about the square root of the rows. Weights multiply how often a
    row is drawn, rather than decide it. A class of which nothing would be drawn is learned whole. No
    `oob_score`, `bootstrap_features` and `warm_start`; models of outgrow alone.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.linspace(-2, 2, 40)[:, None]
    >>> model = og.BaggingClassifier(og.LogisticRegression(), random_state=1).fit(X, X[:, 0] > 0)
    >>> model.predict([[-1.5], [1.5]]).tolist()
    [False, True]
    """

    test_parameters = {"estimator": LogisticRegression(), "n_estimators": 3}
    parameters = PARAMETERS

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: float | None = None,
        max_features: float = 1.0,
        bootstrap: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _inner(self) -> Any:
        return DecisionTreeClassifier() if self.estimator is None else as_model(self.estimator)

    def _fit(self, view: MatrixView) -> None:
        codes = np.arange(self._learn_classes(view))
        self._learn_copies(view.with_classes(codes, codes))

    def _predict_proba(self, X: Any) -> np.ndarray:
        if hasattr(self._parts[0], "_predict_proba"):
            return np.asarray(np.mean(self._each(X, "_predict_proba"), axis=0))
        unit = np.eye(len(self.classes_))
        return np.asarray(np.mean([unit[codes] for codes in self._each(X, "_predict")], axis=0))

    def _to_onnx(self, table: Table) -> Answer:
        graph, each = table.graph, []
        for part, own in zip(self._parts, self._tables(table), strict=True):
            answer = part._to_onnx(own)
            votes = answer.probabilities
            if not hasattr(part, "_predict_proba"):
                votes = graph.node("Gather", graph.constant(np.eye(len(self.classes_))), answer.prediction)
            each.append(votes)
        mean = graph.node("Div", graph.node("Sum", *each), graph.constant(float(len(each))))
        return chosen(graph, mean, self.classes_)

    def _sklearn_model(self) -> Any:
        made = self._filled(twin("ensemble.BaggingClassifier", n_estimators=self.n_estimators))
        made.classes_, made.n_classes_ = self.classes_, len(self.classes_)
        return made
