"""A fitted estimator as a function of batches: what all scoring runs, and what goes to other processes.

A process that is handed the same model again and again, as a Spark worker is with every task, restores it
once; large arrays lie in one file a machine, which the processes of that machine map into memory.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.data.hashing import source_hash
from outgrow.data.kind import Kind
from outgrow.data.matrix import matrix_columns
from outgrow.data.schema import conformed
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.ml.core.estimator import class_name
from outgrow.ml.foreign import own_session
from outgrow.ml.persistence import describe, restore

RESTORED: OrderedDict[tuple[str, bool], Predictor] = OrderedDict()
"""The models that came to this process from others, by digest and trust, the latest last."""
_KEPT = 16
_lock = threading.Lock()


@dataclass(frozen=True)
class ScoredRows:
    """What became of the rows of a batch.

    Attributes
    ----------
    scores : the columns of answers, for the rows that have some, in their order.
    reasons : why each other row, by its place in the batch, has none.
    """

    scores: dict[str, pa.Array]
    reasons: dict[int, str]


class Predictor:
    """What a fitted model, or a pipeline that ends in one, answers for the rows of a batch.

    Parameters
    ----------
    fitted : the estimator.
    """

    def __init__(self, fitted: Any) -> None:
        self.fitted = fitted
        steps = getattr(fitted, "active_steps", None)
        self.model = steps[-1][1] if steps else fitted
        self._before = [step for _, step in steps[:-1]] if steps else []

    @property
    def columns(self) -> dict[str, Kind]:
        """The columns it needs, name to kind."""
        found: dict[str, Kind] = self.fitted.columns_
        return found

    @cached_property
    def classes(self) -> list[Any] | None:
        """The classes of a classifier of one target, as plain values."""
        found = getattr(self.model, "classes_", None)
        return None if found is None or isinstance(found, list) else found.tolist()

    @cached_property
    def labels(self) -> list[Any] | None:
        """The values that a classifier predicts, of whatever target, text first; None of other models."""
        found = getattr(self.model, "classes_", None)
        if not isinstance(found, list):
            return self.classes
        labels = [label for each in found for label in each.tolist()]
        return sorted(labels, key=lambda label: not isinstance(label, str))

    @property
    def targets(self) -> int | None:
        """How many numbers each prediction has, where there are several targets."""
        names = getattr(self.model, "target_names_", None)
        return None if names is None else len(names)

    def gives(self, method: str) -> bool:
        """Whether the model has a public method, such as `predict_proba`."""
        return hasattr(self.model, method)

    def answer(self, batch: Batch, method: str = "predict") -> np.ndarray:
        """What a method of the model answers: of shape (rows,), (rows, classes) or (rows, targets).

        Parameters
        ----------
        batch : rows before all steps, with at least the columns of the fit, which are made of their kinds.
        method : 'predict', 'predict_proba', or another that the model has.
        """
        batch = conformed(batch, self.columns)
        draws = getattr(self.model, "draws", False)
        source = source_hash(batch, list(self.columns)) if draws else None
        for step in self._before:
            batch = step._transform(batch)
        answered: np.ndarray = (
            self.model._predict_batch(method, batch)
            if source is None  # what is drawn follows the rows as they came: steps change their last bits
            else self.model._drawn(method, source)
        )
        return answered

    def clustered(self, batch: Batch) -> tuple[Any, np.ndarray]:
        """The matrix that the model gets of a batch, and in which clusters it puts the rows.

        Parameters
        ----------
        batch : as for `answer`.
        """
        batch = conformed(batch, self.columns)
        for step in self._before:
            batch = step._transform(batch)
        return self.model._matrix(batch), np.asarray(self.model._predict_batch("predict", batch))

    def names(self, method: str) -> list[str]:
        """The columns that answers get in a table."""
        named: list[str] = self.model._prediction_names(method)
        return named

    def as_columns(self, values: np.ndarray, method: str = "predict") -> dict[str, pa.Array]:
        """Answers as the columns of a table.

        Parameters
        ----------
        values : what `answer` gave.
        method : the method it was asked for, by which the columns are named.
        """
        names = self.names(method)
        if values.ndim == 2 and values.dtype.kind in "biuf":
            return matrix_columns(values, names)
        columns, classes = (values.T, self.model.classes_) if values.ndim == 2 else ([values], [values])
        named = zip(names, columns, classes, strict=True)
        return {name: _labels(column, own.dtype) for name, column, own in named}

    def scores(self, batch: Batch, *, probabilities: bool = False) -> dict[str, pa.Array]:
        """The columns of predictions, and if asked of probabilities, in one go.

        Parameters
        ----------
        batch : as for `answer`; all of its rows can be scored, or an error says why not.
        probabilities : whether to add `probability_<class>` for each class of a classifier.
        """
        if not probabilities:
            return self.as_columns(self.answer(batch))
        labels, chances = self.with_probabilities(batch)
        return {**self.as_columns(labels), **self.as_columns(chances, "predict_proba")}

    def with_probabilities(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """The classes that are predicted, and the probabilities of all of them.

        Parameters
        ----------
        batch : as for `answer`.
        """
        chances = self.answer(batch, "predict_proba")
        if not hasattr(self.model, "_most_probable"):  # it goes by more than the probabilities: a threshold
            return self.answer(batch), chances
        return self.model._most_probable(chances), chances

    def score_rows(self, batch: Batch, *, probabilities: bool = False, most: float = math.inf) -> ScoredRows:
        """The scores of the rows that can be scored, and why the others cannot.

        Rows that cannot are found by halving the batch, so a few of them cost little.

        Parameters
        ----------
        batch : as for `answer`.
        probabilities : as for `scores`.
        most : so many rows that cannot be scored end the search; later rows are then left out.
        """
        parts: list[dict[str, pa.Array]] = []
        reasons: dict[int, str] = {}

        def halve(start: int, rows: Batch) -> None:
            if len(reasons) >= most:
                return
            try:
                parts.append(self.scores(rows, probabilities=probabilities))
            except ArtifactError:
                raise  # the model's fault, and no row's
            except OutgrowError as error:
                if rows.num_rows < 2:
                    reasons[start] = str(error)
                    return
                middle = rows.num_rows // 2
                halve(start, rows.slice(0, middle))
                halve(start + middle, rows.slice(middle, rows.num_rows - middle))

        halve(0, batch)
        if not parts:
            parts.append(self.scores(batch.slice(0, 0), probabilities=probabilities))
        return ScoredRows(
            {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}, reasons
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of the model as it travels."""
        return self._packed[0]

    def __repr__(self) -> str:
        return f"Predictor({type(self.model).__name__}, {self.digest})"

    @cached_property
    def _packed(self) -> tuple[str, bytes, dict[str, type], bool]:
        payload = artifact.pack(describe(self.fitted))
        kinds = {type(step) for step in (self.model, *self._before)}
        foreign = {class_name(kind): kind for kind in kinds if kind.__module__.partition(".")[0] != "outgrow"}
        return hashlib.sha256(payload).hexdigest(), payload, foreign, self.fitted._trusted

    def __reduce__(self) -> Any:
        return _restored, self._packed


def _labels(values: np.ndarray, dtype: np.dtype[Any]) -> pa.Array:
    """Predicted classes as a column of the type that a target has."""
    kind = pa.string() if dtype.kind in "OU" else pa.from_numpy_dtype(dtype)
    return pa.array(values.tolist(), kind)


@dataclass(frozen=True)
class AnswersBeside:
    """Puts what a model answers beside the columns it is answered for."""

    predictor: Predictor
    method: str

    def __call__(self, batch: Batch) -> Batch:
        answers = self.predictor.answer(batch, self.method)
        columns = self.predictor.as_columns(answers, self.method)
        return batch.beside(columns, "Answers", "Rename those, or leave them out, before they are answered.")


@dataclass(frozen=True)
class ScoreColumns:
    """What a model answers for the rows of a batch, as columns by themselves; rows it cannot score have null.

    Attributes
    ----------
    probabilities : whether there is a column for the probability of each class; of two for the second.
    """

    predictor: Predictor
    probabilities: bool

    def __call__(self, batch: Batch) -> dict[str, pa.Array]:
        columns = self._columns(batch)
        if self.probabilities and len(self.predictor.classes or ()) == 2:
            columns.pop(self.predictor.names("predict_proba")[0])
        return columns

    def _columns(self, batch: Batch) -> dict[str, pa.Array]:
        try:
            return self.predictor.scores(batch, probabilities=self.probabilities)
        except ArtifactError:
            raise
        except OutgrowError:
            scored = self.predictor.score_rows(batch, probabilities=self.probabilities)
        good = np.ones(batch.num_rows, dtype=bool)
        good[list(scored.reasons)] = False
        rows = pa.array(np.cumsum(good) - 1, mask=~good)
        return {name: column.take(rows) for name, column in scored.scores.items()}


def _restored(digest: str, payload: bytes, foreign: dict[str, type], trusted: bool) -> Predictor:
    """The predictor with this digest: the one that is here already, or a new one.

    `foreign` are the classes of users, by name. `trusted` is what was decided where the model was fitted or
    loaded.
    """
    key = digest, trusted
    with _lock:
        if key not in RESTORED:
            with own_session(trusted):
                RESTORED[key] = Predictor(restore(artifact.unpack_shared(payload, digest), foreign))
        RESTORED.move_to_end(key)
        while len(RESTORED) > _KEPT:
            RESTORED.popitem(last=False)
        return RESTORED[key]
