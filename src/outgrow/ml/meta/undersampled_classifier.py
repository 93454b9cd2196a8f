"""A classifier that learns from few rows of the large classes, and answers as if from all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.hashing import unit
from outgrow.engine.blocks import Block, gathered
from outgrow.engine.identified import identified
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, OneOf, Share, seed
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.classifier import normalised, normalised_in_onnx
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.parts import ESTIMATOR, AroundModel, check_classifier
from outgrow.ml.meta.whole_pipeline import as_given

_SEED = 0x05A3
"""So that the rows that stay have nothing to do with other choices by their hashes."""


class UndersampledClassifier(AroundModel, ProbabilityClassifier):
    """Learn from a sample of the large classes, and correct the probabilities for it (Elkan 2001).

    Each class keeps a share of its rows, so that none is much larger than the smallest: the hash of a row
    decides, so any engine and partitioning keeps the same rows. The classifier within learns from these
    alone, and they are copied, so the fit costs what it costs for so few rows. What it says of a class is
    divided by the share that was kept of it.

    Parameters
    ----------
    estimator : the classifier, with probabilities, or a pipeline that ends in one.
    sampling_strategy : rows of the smallest class for each row that a larger one keeps, above 0 and up to 1;
        'auto' is 1. Smaller classes than that stay whole.
    correct : whether probabilities, and with them `predict`, are those of the rows before sampling. False
        leaves them as the classifier within says: `predict` then finds more of the small classes, and
        probabilities are too high for them.
    random_state : seed of the rows that stay; None means 0. The classifier within has its own.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    rates_ : ndarray of shape (classes,), the share of each class's weight that was kept.
    estimator_ : the classifier that was fitted on the rows that stayed.

    Raises
    ------
    ParameterError
        When the estimator has no probabilities.

    Notes
    -----
    Like `RandomUnderSampler` of imbalanced-learn before a classifier, but: probabilities are corrected, large
    classes keep about as many rows as was asked for, give or take the square root of it, and rows are counted
    by their weights. Equal rows are told apart, so some of them stay. A class of which nothing would
    stay keeps more.

    The correction is that of Bayes' rule. It is exact as far as the probabilities within are right: put
    `CalibratedClassifierCV` within for models that are too sure.

    References
    ----------
    Elkan (2001), The foundations of cost-sensitive learning. Saerens, Latinne and Decaestecker (2002),
    Adjusting the outputs of a classifier to new a priori probabilities. Dal Pozzolo et al. (2015),
    Calibrating probability with undersampling for unbalanced classification.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(20_000, 1))
    >>> y = np.random.default_rng(1).random(20_000) < 1 / (1 + np.exp(4 - X[:, 0]))
    >>> model = og.UndersampledClassifier(og.LogisticRegression()).fit(X, y)
    >>> float(y.mean().round(2)), float(model.predict_proba(X)[:, 1].mean().round(2)), model.rates_.round(2)
    (0.03, 0.03, array([0.03, 1.  ]))
    """

    test_parameters = {"estimator": LogisticRegression()}
    exempt = {"weights_are_repetitions": "sampling draws rows, not weights"}
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "sampling draws rows, not weights",
    )
    no_exports = {"scikit-learn": "it has no classifier that corrects probabilities for a sample"}
    parameters = {
        "estimator": ESTIMATOR,
        "sampling_strategy": Share(above=0, high=1) | OneOf("auto"),
        "correct": FLAG,
        "random_state": RANDOM_STATE,
    }
    rates_: np.ndarray

    def __init__(
        self,
        estimator: Any,
        *,
        sampling_strategy: float | str = "auto",
        correct: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.sampling_strategy = sampling_strategy
        self.correct = correct
        self.random_state = random_state

    @property
    def estimator_(self) -> Any:
        """The fitted classifier."""
        check_is_fitted(self)
        return as_given(self._parts)[0]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)
        if not hasattr(self._inner, "_predict_proba"):
            raise ParameterError(
                f"{type(self).__name__}(estimator=...): {type(self._inner).__name__} has no predict_proba. "
                "Put it into CalibratedClassifierCV."
            )

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        kept = self._sampled(view)
        weights = view.class_weights
        self.rates_ = np.divide(kept.class_weights, weights, out=np.ones(len(weights)), where=weights > 0)
        part = self._new_part()
        part._fit(kept)
        if kept is not view:
            kept.tiles.release()
        self._keep([part])

    def _sampled(self, view: MatrixView) -> MatrixView:
        """The rows that stay, copied, or all where the classes are alike enough."""
        ratio = 1.0 if isinstance(self.sampling_strategy, str) else float(self.sampling_strategy)
        weights = view.class_weights
        there = weights > 0
        most = weights[there].min() / ratio
        rates = np.divide(most, weights, out=np.ones(len(weights)), where=weights > most)
        if (rates == 1).all():
            return view
        rows = identified(view)
        while True:
            kept = self._kept(rows, rates)
            lost = there & (kept.class_weights == 0)
            if not lost.any():
                rows.tiles.release()
                return kept
            kept.tiles.release()
            rates = np.where(lost, np.minimum(1.0, 2 * rates), rates)

    def _kept(self, rows: MatrixView, rates: np.ndarray) -> MatrixView:
        """The rows whose hashes are below the rate of their class; one pass counts them."""
        chosen_by = _SEED + seed(self.random_state) + (self._depth << 32)
        parts = (
            block.take(unit(block.hashes(chosen_by)) < rates[np.asarray(block.y)]) for block in rows.blocks()
        )
        kept, classes = rows.of_blocks(gathered(parts)), len(rates)

        def count(block: Block) -> np.ndarray:
            weights = np.bincount(np.asarray(block.y), block.weight, classes)
            return np.array([len(block), *weights], dtype=np.float64)

        totals = rows.run.reduce(kept.tiles, count, empty=np.zeros(1 + classes))
        return replace(kept, labels=replace(rows.labels, rows=int(totals[0]), counts=totals[1:]))

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict_proba(self, X: Any) -> np.ndarray:
        chances = np.asarray(self._parts[0]._predict_proba(X))
        return normalised(chances / self.rates_) if self.correct else chances

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, chances = table.graph, self._parts[0]._to_onnx(table).probabilities
        if self.correct:
            likely = graph.node("Div", chances, graph.constant(self.rates_[None, :]))
            chances = normalised_in_onnx(graph, likely, len(self.rates_))
        return chosen(graph, chances, self.classes_)
