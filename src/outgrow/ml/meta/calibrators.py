"""Ways to make probabilities of what a classifier says: functions of few numbers, learned on rows held out.

Each way learns for each fold of the responses, applies what it learned, and says the same in a graph of ONNX
and with calibrators of scikit-learn.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import sklearn.calibration as peer
from scipy.special import expit, log_softmax, softmax

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.isotonic import IsotonicRegression
from outgrow.ml.linear_model.classifier import normalised, normalised_in_onnx
from outgrow.ml.meta.newton import smallest, sums_of_folds
from outgrow.stats.moments import Moments
from outgrow.stats.number_sums import NumberSums

Learned = dict[str, Any]
_LEAST = 1e-12
"""Added to probabilities before their logarithm is taken, as scikit-learn does."""
_HOTTEST = 10.0
"""The logarithm of the factor of the logits lies within so much of zero."""


class Calibrator(Protocol):
    """A way to make probabilities of responses of shape (rows, 1) for two classes, or (rows, classes)."""

    def learn(self, rows: FoldedView, chances: bool) -> list[Learned]:
        """What is learned in each fold, as an artifact can store it.

        Parameters
        ----------
        rows : responses, y, and which rows each fold learns from.
        chances : whether the responses are probabilities, not margins.
        """

    def apply(self, learned: Learned, responses: np.ndarray) -> np.ndarray:
        """Probabilities of shape (rows, classes).

        Parameters
        ----------
        learned : in one fold.
        responses : shape (rows, 1) or (rows, classes).
        """

    def in_onnx(self, learned: Learned, graph: Graph, responses: str) -> str:
        """The same in a graph.

        Parameters
        ----------
        learned : in one fold.
        graph : gets the nodes.
        responses : the tensor of what `apply` gets.
        """

    def twins(self, learned: Learned) -> list[Any]:
        """The fitted calibrators of scikit-learn."""


class _Sigmoid:
    """Platt's sigmoid of each class against the others (Platt 1999), by Newton's method (Lin et al. 2007)."""

    def learn(self, rows: FoldedView, chances: bool) -> list[Learned]:
        moments: list[Moments] = rows.each(lambda block: Moments.of(block.X, block.weight))
        shift = np.array([each.mean for each in moments])
        spread = np.sqrt(np.array([each.variance() for each in moments]))
        spread = np.where(spread > 0, spread, 1.0)
        weights = rows.class_weights
        assert weights is not None
        ones = weights[:, -shift.shape[1] :]
        zeros = weights.sum(axis=1)[:, None] - ones
        targets = np.stack([1 / (zeros + 2), (ones + 1) / (ones + 2)])
        start = np.stack([np.zeros_like(ones), np.log((ones + 1) / (zeros + 1))], axis=2)

        def evaluated(w: np.ndarray) -> np.ndarray:
            return sums_of_folds(rows, partial(_sigmoid_sums, w, shift, spread, targets))

        w = smallest(evaluated, start)
        slopes = w[..., 0] / spread
        constants = w[..., 1] - slopes * shift
        return [{"slope": a, "constant": b} for a, b in zip(slopes, constants, strict=True)]

    def apply(self, learned: Learned, responses: np.ndarray) -> np.ndarray:
        return normalised(expit(responses * learned["slope"] + learned["constant"]))

    def in_onnx(self, learned: Learned, graph: Graph, responses: str) -> str:
        scaled = graph.node("Mul", responses, graph.constant(learned["slope"][None, :]))
        margins = graph.node("Add", scaled, graph.constant(learned["constant"][None, :]))
        # onnxruntime's Sigmoid loses the digits of small probabilities
        odds = graph.node("Add", graph.node("Exp", graph.node("Neg", margins)), graph.constant(1.0))
        return normalised_in_onnx(graph, graph.node("Reciprocal", odds), len(learned["slope"]))

    def twins(self, learned: Learned) -> list[Any]:
        made = []
        for slope, constant in zip(learned["slope"], learned["constant"], strict=True):
            one = peer._SigmoidCalibration()
            one.a_, one.b_ = -float(slope), -float(constant)
            made.append(one)
        return made


class _Isotonic:
    """A rising function of each class against the others (Zadrozny and Elkan 2002)."""

    def learn(self, rows: FoldedView, chances: bool) -> list[Learned]:
        width = rows.view.width
        first = len(rows.view.classes) - width

        def sums(block: Block) -> Any:
            weight = np.ones(len(block)) if block.weight is None else block.weight
            ones = (np.asarray(block.y)[:, None] == np.arange(first, first + width)) * weight[:, None]
            return tuple(
                NumberSums.of(block.X[:, j], np.column_stack([weight, ones[:, j]])) for j in range(width)
            )

        return [{"functions": [_isotonic(each) for each in fold]} for fold in rows.each(sums)]

    def apply(self, learned: Learned, responses: np.ndarray) -> np.ndarray:
        pairs = zip(self._models(learned), responses.T, strict=True)
        return normalised(np.column_stack([model._heights(scores) for model, scores in pairs]))

    def in_onnx(self, learned: Learned, graph: Graph, responses: str) -> str:
        each = []
        for j, model in enumerate(self._models(learned)):
            column = graph.node("Gather", responses, graph.constant([j]), axis=1)
            each.append(model._heights_in_onnx(graph, model._inside_in_onnx(graph, column)))
        return normalised_in_onnx(graph, graph.join(each), len(each))

    def twins(self, learned: Learned) -> list[Any]:
        return [model._sklearn_model() for model in self._models(learned)]

    @staticmethod
    def _models(learned: Learned) -> list[IsotonicRegression]:
        made = []
        for function in learned["functions"]:
            model = IsotonicRegression(out_of_bounds="clip")
            model._restore(function)
            made.append(model)
        return made


class _Temperature:
    """One factor for all logits (Guo et al. 2017), so that the order of the classes of a row stays."""

    def learn(self, rows: FoldedView, chances: bool) -> list[Learned]:
        def evaluated(w: np.ndarray) -> np.ndarray:
            return sums_of_folds(rows, partial(_temperature_sums, w, chances))

        factors = smallest(evaluated, np.ones((rows.folds, 1, 1))).ravel()
        within = np.clip(factors, np.exp(-_HOTTEST), np.exp(_HOTTEST))
        return [{"beta": float(one), "chances": chances, "width": rows.view.width} for one in within]

    def apply(self, learned: Learned, responses: np.ndarray) -> np.ndarray:
        return np.asarray(softmax(_logits(responses, learned["chances"]) * learned["beta"], axis=1))

    def in_onnx(self, learned: Learned, graph: Graph, responses: str) -> str:
        scaled = graph.node(
            "Mul", _logits_in_onnx(graph, responses, learned), graph.constant(learned["beta"])
        )
        return graph.node("Softmax", scaled, axis=1)

    def twins(self, learned: Learned) -> list[Any]:
        kind = getattr(peer, "_TemperatureScaling", None)
        if kind is None:
            fact = "this scikit-learn knows no method='temperature'."
            raise refusal("CalibratedClassifierCV", fact, "Install scikit-learn 1.8 or newer.")
        one = kind()
        one.beta_ = learned["beta"]
        return [one]


CALIBRATORS: dict[str, Calibrator] = {
    "sigmoid": _Sigmoid(),
    "isotonic": _Isotonic(),
    "temperature": _Temperature(),
}


def _sigmoid_sums(
    w: np.ndarray, shift: np.ndarray, spread: np.ndarray, targets: np.ndarray, fold: int, block: Block
) -> np.ndarray:
    """Loss, gradient and second derivatives of each class in a fold, of shape (classes, 7)."""
    z = (block.X - shift[fold]) / spread[fold]
    width = z.shape[1]
    first = 1 if width == 1 else 0
    positive = np.asarray(block.y)[:, None] == np.arange(first, first + width)
    target = np.where(positive, targets[1, fold], targets[0, fold])
    margin = z * w[fold, :, 0] + w[fold, :, 1]
    weight = np.ones((len(z), 1)) if block.weight is None else block.weight[:, None]
    chance = expit(margin)
    slope, curve = weight * (chance - target), weight * chance * (1 - chance)
    mixed = (curve * z).sum(axis=0)
    loss = (weight * (np.logaddexp(0, margin) - target * margin)).sum(axis=0)
    first_of = (slope * z).sum(axis=0), slope.sum(axis=0)
    second_of = (curve * z * z).sum(axis=0), mixed, mixed, curve.sum(axis=0)
    return np.stack([loss, *first_of, *second_of], axis=1)


def _temperature_sums(w: np.ndarray, chances: bool, fold: int, block: Block) -> np.ndarray:
    """Loss and its derivatives by the factor of the logits in a fold, of shape (1, 3)."""
    logits = _logits(block.X, chances)
    weight = np.ones(len(logits)) if block.weight is None else block.weight
    logs = log_softmax(logits * w[fold, 0, 0], axis=1)
    each, own = np.exp(logs), (np.arange(len(logits)), np.asarray(block.y))
    mean = (each * logits).sum(axis=1)
    spread = (each * (logits - mean[:, None]) ** 2).sum(axis=1)
    return np.array([[-weight @ logs[own], weight @ (mean - logits[own]), weight @ spread]])


def _logits(responses: np.ndarray, chances: bool) -> np.ndarray:
    """Logits of shape (rows, classes)."""
    if responses.shape[1] == 1:
        first = 1 - responses if chances else -responses
        responses = np.column_stack([first, responses])
    return np.log(responses + _LEAST) if chances else responses


def _logits_in_onnx(graph: Graph, responses: str, learned: Learned) -> str:
    if learned["width"] == 1:
        chances = learned["chances"]
        first = graph.node("Sub", graph.constant(1.0 if chances else 0.0), responses)
        responses = graph.node("Concat", first, responses, axis=1)
    if not learned["chances"]:
        return responses
    return graph.node("Log", graph.node("Add", responses, graph.constant(_LEAST)))


def _isotonic(sums: NumberSums) -> Learned:
    model = IsotonicRegression()
    model._learn(sums, True)
    return model._learned()
