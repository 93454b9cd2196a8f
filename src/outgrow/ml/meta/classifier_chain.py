"""Classifiers of several targets, each of which knows those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.exports import check_has_equal, refusal
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.chain import PARAMETERS, Chain
from outgrow.ml.meta.parts import check_classifier
from outgrow.ml.several_classes import SeveralClassifier


class ClassifierChain(Chain, SeveralClassifier):
    """Let a classifier learn each target from the features and the targets before it (Read et al. 2009).

    The targets of the rows are known, so all classifiers learn side by side from one matrix, in passes that
    they share. Predictions stand for the targets of new rows.

    Parameters
    ----------
    estimator : the classifier of one target, with probabilities.
    order : the targets in the order of the chain: a list of their numbers from 0 on, 'random', or None for
        that in which they are given.
    cv : None: each learns from the true targets before it.
    random_state : seed of the order 'random'; None means 0.
    verbose : accepted as scikit-learn has it, without effect.

    Attributes
    ----------
    classes_ : list of the classes of each target; of one target an ndarray.
    estimators_ : list of the fitted classifiers, in the order of the chain.
    order_ : ndarray of the numbers of the targets, in the order of the chain.
    target_names_ : list of what the targets are called; None where there is one.

    Notes
    -----
    Unlike scikit-learn: `cv` is None, and predicted classes are handed on (`chain_method='predict'`); classes
    may be text, which the next model gets as numbers from 0 on; `predict_proba` gives a list of arrays of
    shape (rows, classes), and `classes_` follows the targets, not the chain; classifiers without
    probabilities are refused; models of outgrow, and pipelines that end in one, whose steps see
    the targets before it as columns `target0` and so on, of numbers.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = np.where(X > 0, "high", "low")
    >>> og.ClassifierChain(og.GaussianNB()).fit(X, y).predict([[1.0, -1.0]]).tolist()
    [['high', 'low']]
    """

    test_parameters = {"estimator": LogisticRegression()}
    parameters = PARAMETERS

    def __init__(
        self,
        estimator: Any,
        *,
        order: Sequence[int] | str | None = None,
        cv: None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.order = order
        self.cv = cv
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)
        if not hasattr(self._inner, "_predict_proba"):
            raise ParameterError(
                f"ClassifierChain(estimator=...): {type(self._inner).__name__} has no probabilities. Put it "
                "into CalibratedClassifierCV."
            )

    def _fit(self, view: MatrixView) -> None:
        if self.target_names_ is None:
            self._learn_classes(view)
            self.order_ = self._order_of(1)
            self._learn_links(view, view, [view])
            return
        codes = self._learn_combinations(view).codes
        self.order_ = self._order_of(codes.shape[1])
        pairs = zip(self.classes_, codes.T, strict=True)
        wide = self._with_targets(view, np.column_stack([_numbers(classes)[own] for classes, own in pairs]))
        links = [wide.with_classes(codes[:, k], self.classes_[k]) for k in self.order_]
        self._learn_links(view, wide, links)

    def _predict_proba(self, X: Any) -> np.ndarray:
        handed: list[np.ndarray] = []
        chances: list[np.ndarray] = []
        for k, part in enumerate(self._parts):
            chances.append(np.asarray(part._predict_proba(self._handed(X, k, handed))))
            handed.append(_numbers(part.classes_)[chances[-1].argmax(axis=1)])
        return np.hstack([chances[k] for k in np.argsort(self.order_)])

    def _to_onnx(self, table: Table) -> Answer:
        if self.target_names_ is not None:
            raise refusal(self, "it answers several targets.", "Keep the model with save().")
        check_has_equal(self._parts[0], "_to_onnx", "ONNX")
        graph, whole = table.graph, table.matrix(self.features_, type(self).__name__)
        columns = {
            name: Column(graph.node("Gather", whole, graph.constant([j]), axis=1))
            for j, name in enumerate(self._kinds(0))
        }
        answer: Answer = self._parts[0]._to_onnx(Table(graph, columns))
        return answer

    def _sklearn_model(self) -> Any:
        twins = [self._sklearn_part(part) for part in self._parts]
        if self.target_names_ is None:
            return twins[0]
        if any(classes.dtype.kind not in "biuf" for classes in self.classes_):
            raise refusal(self, "scikit-learn's chain has numbers for classes.", "Encode the targets.")
        made = twin("multioutput.ClassifierChain", twins[0], order=self.order_.tolist())
        made.classes_, made.chain_method_ = [part.classes_ for part in self._parts], "predict"
        return self._filled(made, twins)


def _numbers(classes: np.ndarray) -> np.ndarray:
    """What the next model gets for each class: its number, or its place among classes that are none."""
    return (
        classes.astype(np.float64) if classes.dtype.kind in "biuf" else np.arange(len(classes), dtype=float)
    )
