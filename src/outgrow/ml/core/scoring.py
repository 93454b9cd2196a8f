"""How models are judged: which method is asked, which state its answers become, what is read from that.

A class of models declares its way as `_scoring`; evaluation, cross-validation and searches ask that, and know
no kinds of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, softmax

from outgrow.engine.blocks import Block
from outgrow.stats.scores import (
    ClassificationState,
    ManyClassifications,
    ManyRegressions,
    SeveralClassifications,
)


class Scoring(Protocol):
    """A way to judge models.

    What is not promised: that states of several models are merged model by model; they are split at the end.
    """

    method: str
    """The method whose answers are judged."""

    labels: bool
    """Whether y are classes."""

    names: tuple[str, ...]
    """The metrics there may be; the first is that by which models are compared if nothing is said."""

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """The states of several models of one class.

        Parameters
        ----------
        models : fitted, with the same features and classes.
        answers : what each answers for the rows of the block.
        block : y, as indices of the models' classes where these are `labels`, and the weights.
        bins : in how many bins scores of classes are counted; None keeps them.

        Returns
        -------
        A tuple with the state of each model, or one state that can be split into those.
        """

    def weight(self, state: Any) -> float:
        """The weight of the rows that a state of one model has seen."""

    def metrics(self, state: Any) -> dict[str, float]:
        """What a state of one model says, by the names of metrics."""


SMALLER_METRICS = frozenset(
    {"log_loss", "mse", "rmse", "mae", "inertia", "deviance", "pinball", "hamming_loss"}
)
"""Metrics of which less is better."""
_OF_CLASSES = ("accuracy", "precision", "recall", "f1", "precision_macro", "recall_macro", "f1_macro")
"""Metrics of predicted classes."""
_OF_ORDER = ("roc_auc", "pr_auc", "roc_auc_ovr")
"""Metrics of the order in which scores of classes put the rows."""
_OF_LABELS = ("hamming_loss", "f1_micro")
"""Metrics of several targets at once."""


class _Read:
    """What ways have in common whose states know their weight and metrics."""

    labels = False

    def weight(self, state: Any) -> float:
        return float(state.weight)

    def metrics(self, state: Any) -> dict[str, float]:
        return dict(state.metrics())


class _Numbers(_Read):
    """Predicted numbers beside true ones."""

    method = "predict"
    names: tuple[str, ...] = ("r2", "mse", "rmse", "mae")

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        return ManyRegressions.of(_known(block), np.asarray(answers), block.weight)


class _Probabilities(_Read):
    """Probabilities of classes beside the true classes, of one target or of several."""

    method = "predict_proba"
    labels = True
    names: tuple[str, ...] = ("log_loss", *_OF_CLASSES, *_OF_ORDER, *_OF_LABELS)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        y, weight = _known(block), block.weight
        if y.ndim == 2:
            each = [model._each(chances) for model, chances in zip(models, answers, strict=True)]
            return tuple(SeveralClassifications.of(y, chances, weight) for chances in each)
        if bins is None:
            return tuple(ClassificationState.of(y, chances, weight) for chances in answers)
        return ManyClassifications.of(y, np.asarray(answers).transpose(0, 2, 1), weight, bins)


class _Margins(_Read):
    """Margins of classes beside the true classes: their order and signs count, their size means nothing."""

    method = "decision_function"
    labels = True
    names: tuple[str, ...] = (*_OF_CLASSES, *_OF_ORDER, *_OF_LABELS)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        if _known(block).ndim == 2:  # a margin of each target
            chances = [np.hstack([_in_order(own) for own in margins.T]) for margins in answers]
        else:
            chances = [_in_order(margins) for margins in answers]
        return PROBABILITIES.states(models, chances, block, bins)

    def metrics(self, state: Any) -> dict[str, float]:
        return {name: value for name, value in state.metrics().items() if name in self.names}


class _Classes(_Read):
    """Predicted classes beside the true ones, where nothing tells how sure they are."""

    method = "predict"
    labels = True
    names: tuple[str, ...] = _OF_CLASSES

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        pairs = zip(models, answers, strict=True)
        sure = [(np.asarray(found)[:, None] == model.classes_).astype(np.float64) for model, found in pairs]
        return PROBABILITIES.states(models, sure, block, bins)

    def metrics(self, state: Any) -> dict[str, float]:
        return {name: value for name, value in state.metrics().items() if name in self.names}


class _Distances:
    """Distances to the centers of clusters: the mean square of the smallest."""

    method = "transform"
    labels = False
    names: tuple[str, ...] = ("inertia",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        weights = [_weights(block, len(distances)) for distances in answers]
        pairs = zip(weights, answers, strict=True)
        return tuple(np.array([w.sum(), w @ distances.min(axis=1) ** 2]) for w, distances in pairs)

    def weight(self, state: Any) -> float:
        return float(state[0])

    def metrics(self, state: Any) -> dict[str, float]:
        return {"inertia": float(state[1] / state[0])}


class _Densities:
    """Logarithms of the density at each row: their mean."""

    method = "score_samples"
    labels = False
    names: tuple[str, ...] = ("log_likelihood",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        weights = [_weights(block, len(logs)) for logs in answers]
        return tuple(np.array([w.sum(), w @ logs]) for w, logs in zip(weights, answers, strict=True))

    def weight(self, state: Any) -> float:
        return float(state[0])

    def metrics(self, state: Any) -> dict[str, float]:
        return {"log_likelihood": float(state[1] / state[0])}


class _Outliers:
    """How usual rows are: their mean score, and the share of those that are called outliers."""

    method = "score_samples"
    labels = False
    names: tuple[str, ...] = ("mean_score", "outlier_share")

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        return tuple(
            np.array([w.sum(), w @ scores, w @ (scores < model.offset_)])
            for model, scores in zip(models, answers, strict=True)
            for w in [_weights(block, len(scores))]
        )

    def weight(self, state: Any) -> float:
        return float(state[0])

    def metrics(self, state: Any) -> dict[str, float]:
        return {name: float(total / state[0]) for name, total in zip(self.names, state[1:], strict=True)}


def _known(block: Block) -> np.ndarray:
    assert block.y is not None
    return block.y


def _weights(block: Block, rows: int) -> np.ndarray:
    return np.ones(rows) if block.weight is None else block.weight


def _in_order(margins: np.ndarray) -> np.ndarray:
    """Numbers between 0 and 1 for each class in the order of the margins, of shape (rows, classes)."""
    if margins.ndim == 1:
        second = expit(margins)
        return np.stack([expit(-margins), second], axis=1)
    return softmax(margins, axis=1)


NUMBERS: Scoring = _Numbers()
PROBABILITIES: Scoring = _Probabilities()
MARGINS: Scoring = _Margins()
CLASSES: Scoring = _Classes()
DISTANCES: Scoring = _Distances()
DENSITIES: Scoring = _Densities()
OUTLIERS: Scoring = _Outliers()
