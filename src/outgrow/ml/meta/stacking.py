"""What models share that learn from what others answer for rows held out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from outgrow.data.kind import NUMBER
from outgrow.data.matrix import is_sparse
from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.engine.together import side_by_side
from outgrow.errors import ParameterError
from outgrow.ml.core.candidates import Candidate
from outgrow.ml.core.parameters import FLAG, Integer, Unused
from outgrow.ml.core.task import Task, promised_example
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import note_width
from outgrow.ml.meta.folds import FOLDS, dealt, held_out, learn_all
from outgrow.ml.meta.parts import ESTIMATOR, SEED, check_model
from outgrow.ml.meta.responses import width_of
from outgrow.ml.meta.several import ESTIMATORS, AroundSeveral, learned_of
from outgrow.ml.meta.whole_pipeline import as_model, is_pipeline

CHANCES, MARGINS, VALUES = "predict_proba", "decision_function", "predict"
PARAMETERS = {
    "estimators": ESTIMATORS,
    "final_estimator": ESTIMATOR | None,
    "cv": Integer(low=2) | None,
    "passthrough": FLAG,
    "n_jobs": Unused(),
    "verbose": Unused(),
}


class Stacking(AroundSeveral):
    """Models whose answers for rows held out a last model learns from."""

    final_estimator: Any
    cv: int | None
    passthrough: bool
    final_: dict[str, Any]
    stack_method_: list[str]
    _last: Any = None

    @property
    def _final(self) -> Any:
        """The last model, not fitted."""
        return as_model(self.final_estimator)

    @property
    def final_estimator_(self) -> Any:
        """The fitted last model; its columns are called as the models are."""
        check_is_fitted(self)
        return self._last

    @property
    def _codes(self) -> int | None:
        """How many classes there are; None where numbers are predicted."""
        return None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_model(self, self._final, "final_estimator")
        if self.passthrough and any(is_pipeline(model) for _, model in self._active):
            raise ParameterError(
                f"{type(self).__name__}(passthrough=True) hands on numbers, and pipelines take other "
                "columns, too. Choose passthrough=False, or put the steps before it."
            )
        if is_classifier(self._final) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise ParameterError(
                f"`final_estimator` parameter should be a {kind}. Got {type(self._final).__name__}."
            )

    def _method_of(self, model: Any) -> str:
        """Which of its answers a model hands on."""
        return VALUES

    # ---- learn -------------------------------------------------------------------------------------------

    def _learn(self, view: MatrixView) -> None:
        folds = FOLDS if self.cv is None else self.cv
        self.stack_method_ = [self._method_of(model) for _, model in self._active]
        rows = dealt(view, folds, SEED + self._depth)
        train = np.column_stack([~np.eye(folds, dtype=bool), np.ones(folds, dtype=bool)])
        folded = FoldedView.of(rows, train)
        models = [[copy.copy(noted) for _ in range(folds + 1)] for noted in self._noted]

        def work(alike: Sequence[Any]) -> Callable[[FitContext], None]:
            candidates = [Candidate(model, k) for k, model in enumerate(alike)]
            return lambda run: learn_all(folded.on(run), candidates)

        side_by_side(view.run, [work(alike) for alike in models])
        self._keep([alike[-1] for alike in models])
        names, by_fold = self._names(view.width), list(zip(*models, strict=True))
        answers = held_out(folded, by_fold[:folds], self._stacked, len(names))
        rows.tiles.release()
        self._last = self._new_last(view.run, names)
        self._last._fit(answers)
        answers.tiles.release()
        self.final_ = learned_of(self._last)

    def _names(self, width: int) -> list[str]:
        """What the columns of the last model are called.

        Parameters
        ----------
        width : how many features there are.
        """
        names = []
        for (name, _), method in zip(self._active, self.stack_method_, strict=True):
            several = self._codes is not None and method != VALUES and width_of(self._codes) > 1
            names += [f"{name}{k}" for k in range(self._codes or 0)] if several else [name]
        return names + [f"x{j}" for j in range(width if self.passthrough else 0)]

    def _new_last(self, run: FitContext, names: list[str]) -> Any:
        """The last model, which has noted its columns."""
        last, kinds = self._of_codes(clone(self._final)), dict.fromkeys(names, NUMBER)
        example = promised_example(kinds)
        shard = Shard.of(run, [], example)
        task = Task(None, None, tuple(names))
        last._expect(kinds)
        last._expect_features(last._prepared(shard, task), task)
        return last

    def _restored(self) -> None:
        super()._restored()
        if hasattr(self, "final_"):
            features = self.final_["features_"]
            kinds = dict.fromkeys(features, NUMBER)
            self._last = self._part(self._final, {**self.final_, "columns_": kinds})
            self._last.n_features_in_ = len(kinds)

    # ---- answer ------------------------------------------------------------------------------------------

    def _stacked(self, models: Sequence[Any], X: Any) -> np.ndarray:
        """What models answer, side by side, and with `passthrough` the features."""
        pairs = zip(models, self.stack_method_, strict=True)
        columns = [self._columns(np.asarray(getattr(model, f"_{method}")(X))) for model, method in pairs]
        if self.passthrough:
            columns.append(X.toarray() if is_sparse(X) else X)
        return np.hstack(columns)

    def _columns(self, answers: np.ndarray) -> np.ndarray:
        """Answers of shape (rows, width); of probabilities of two classes the second."""
        if answers.ndim == 1:
            return answers[:, None]
        return answers[:, 1:] if answers.shape[1] == 2 else answers

    def _ask(self, method: str, X: Any) -> np.ndarray:
        """What the last model answers."""
        stacked = np.asfortranarray(self._stacked(self._parts, X))
        return np.asarray(getattr(self._last, method)(stacked))

    # ---- export ------------------------------------------------------------------------------------------

    def _last_in_onnx(self, table: Table) -> Answer:
        """The answer of the last model."""
        graph, tensors = table.graph, []
        for part, method in zip(self._parts, self.stack_method_, strict=True):
            answer = part._to_onnx(table)
            tensors.append(self._handed_on(table, answer, method))
        if self.passthrough:
            tensors.append(table.matrix(self.features_, type(self).__name__))
        whole, columns = graph.node("Concat", *tensors, axis=1), {}
        for k, name in enumerate(self._last.features_):
            columns[name] = Column(graph.node("Gather", whole, graph.constant([k]), axis=1))
        answered: Answer = self._last._to_onnx(Table(graph, columns))
        return answered

    def _handed_on(self, table: Table, answer: Answer, method: str) -> str:
        """The tensor of what one model hands on, of shape (rows, width)."""
        graph = table.graph
        if method == VALUES:
            number = graph.cast(answer.prediction, "number")
            return graph.node("Unsqueeze", number, graph.constant([1], np.int64))
        tensor = answer.probabilities if method == CHANCES else answer.margins
        assert tensor is not None
        return graph.node("Gather", tensor, graph.constant([1]), axis=1) if self._codes == 2 else tensor

    def _filled(self, made: Any, twins: Sequence[tuple[str, Any]], last: Any) -> Any:
        """scikit-learn's object, fitted."""
        note_width(last, len(self._last.features_))
        made.estimators_, made.named_estimators_ = [equal for _, equal in twins], Bunch(**dict(twins))
        made.final_estimator_, made.stack_method_ = last, list(self.stack_method_)
        return made
