"""Many small models as few large arrays, found by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from sklearn.base import clone

from outgrow.data.batch import Batch
from outgrow.data.kind import NUMBER
from outgrow.engine.checks import check_finite
from outgrow.errors import DataError
from outgrow.groups.group_estimator import GroupEstimator
from outgrow.groups.payload import expanded
from outgrow.ml.base import Transformer
from outgrow.ml.core.groups import GroupForm, Layer, Stacked
from outgrow.ml.grouped import columns_of, numeric_example
from outgrow.ml.steps import steps_of

TRANSFORM, MARGINS = "transform", "decision_function"
_UNKNOWN = {"predict_proba": 0.0, MARGINS: -np.inf}
"""What methods that say something of each class say of those that a model does not know."""
MODELS_CACHED = 10_000
"""Models that stay built; others are built anew from their bytes for each use."""


class Models(Protocol):
    """The models of all groups, in the order of the hashes of their keys."""

    @property
    def hashes(self) -> np.ndarray:
        """The hashes, sorted."""

    def model(self, model_index: int) -> Any:
        """The fitted estimator of one group."""

    def answer(self, method: str, batch: Batch, model_index: np.ndarray) -> np.ndarray:
        """What the models predict for rows, in their order.

        Not promised: that methods but 'predict' and 'transform' are there; it depends on the estimator.

        Parameters
        ----------
        method : a method of the estimator, or 'transform' for what its steps make of the features.
        batch : the features alone.
        model_index : ndarray of shape (rows,), the index among `hashes` of the model of each row; none is -1.
        """

    def to_tree(self) -> dict[str, Any]:
        """As an artifact stores them."""


def widened(answers: np.ndarray, method: str, model: Any, classes: np.ndarray | None) -> np.ndarray:
    """What a model says of the classes of all groups, from what it says of its own.

    Parameters
    ----------
    answers : what the model's method gave.
    method : its name. Probabilities are 0 for classes that the model does not know, and margins -inf.
    model : fitted.
    classes : ndarray of the classes of all groups; None where there are none.

    Returns
    -------
    Array of shape (rows, classes), or (rows,) of margins of two classes, and of all else.

    Raises
    ------
    DataError
        When the model has not one column a class, as margins of each pair of classes.
    """
    if classes is None or method not in _UNKNOWN:
        return answers
    known = model.classes_
    if method == MARGINS and answers.ndim == 1 and len(known) == 2:
        if len(classes) == 2:
            return answers
        answers = np.stack([-answers, answers], axis=1)
    if len(known) == 1:  # of which scikit-learn's boosting makes two columns
        answers = np.ones((len(answers), 1))
    if answers.shape[1:] != known.shape:
        raise DataError(
            f"{method} of {model!r} has shape {answers.shape} for {len(known)} classes. Choose settings "
            "with one column a class, such as decision_function_shape='ovr'."
        )
    wide = np.full((len(answers), len(classes)), _UNKNOWN[method])
    wide[:, np.searchsorted(classes, known)] = answers
    return wide


def find(hashes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of each wanted key among sorted hashes; -1 where there is none.

    Parameters
    ----------
    hashes : ndarray of shape (groups,), sorted.
    wanted : ndarray of shape (rows,), in any order.

    Returns
    -------
    Integers of shape (rows,).
    """
    if not len(hashes):
        return np.full(len(wanted), -1)
    model_index = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return np.where(hashes[model_index] == wanted, model_index, -1)


@dataclass(frozen=True, eq=False)
class StackedModels:
    """What each step learned, as arrays whose first axis are the groups."""

    hashes: np.ndarray
    steps: list[Stacked]
    forms: Sequence[GroupForm]
    columns: list[np.ndarray]
    estimator: Any
    features: Sequence[str]

    @classmethod
    def of(
        cls, estimator: Any, features: Sequence[str], hashes: np.ndarray, steps: list[Stacked]
    ) -> StackedModels:
        """The models of an estimator whose steps all have forms.

        Parameters
        ----------
        estimator : not fitted, a model or a pipeline.
        features : the columns, in the order in which they were learned.
        hashes : ndarray of shape (groups,), sorted.
        steps : what each step learned; the first axis of each array are the groups, in the order of `hashes`.
        """
        inner_steps = steps_of(estimator)
        forms = [form for step in inner_steps if (form := step._group_form()) is not None]
        example = numeric_example(features)
        columns = [columns_of(step, example, features) for step in inner_steps]
        return cls(hashes, steps, forms, columns, estimator, features)

    def model(self, model_index: int) -> Any:
        fitted = clone(self.estimator)
        parts = [self._learned(step, number, model_index) for number, step in enumerate(steps_of(fitted))]
        whole = {**self._promised(), "steps_": parts} if hasattr(fitted, "steps") else parts[0]
        fitted._restore(whole)
        return fitted

    def answer(self, method: str, batch: Batch, model_index: np.ndarray) -> np.ndarray:
        """What the models make of rows, all groups in one go, step by step.

        Parameters
        ----------
        method : 'predict', or 'transform' for what all steps make of the features.
        batch : the features alone, all numeric.
        model_index : ndarray of shape (rows,), the index among `hashes` of the model of each row.
        """
        X = batch.matrix()
        check_finite(X, "X", missing=self.forms[0].missing)
        layers = len(self.forms) if method == TRANSFORM else len(self.forms) - 1
        for form, columns, learned in list(zip(self.forms, self.columns, self.steps, strict=True))[:layers]:
            X = Layer(form, columns, self.hashes, learned)(X, model_index)
        if method == TRANSFORM:
            return X
        assert method == "predict", "forms answer with numbers"
        check_finite(X, "X", missing=self.forms[-1].missing)
        return self.forms[-1].apply(X, self.steps[-1], model_index)

    def to_tree(self) -> dict[str, Any]:
        return {"hashes": self.hashes, "steps": self.steps}

    def _learned(self, step: Any, number: int, model_index: int) -> dict[str, Any]:
        """What a step learned in one group, as an estimator of its own would have."""
        names = [self.features[column] for column in self.columns[number]]
        chosen = {"selected_" if isinstance(step, Transformer) else "features_": names}
        arrays = {name: array[model_index] for name, array in self.steps[number].items()}
        plain = {name: value if value.ndim else float(value) for name, value in arrays.items()}
        return {**self._promised(), **chosen, **self.forms[number].beside(), **plain}

    def _promised(self) -> dict[str, Any]:
        names = np.array(self.features, dtype=object)
        columns = dict.fromkeys(self.features, NUMBER)
        return {"columns_": columns, "n_features_in_": len(names), "feature_names_in_": names}


@dataclass(frozen=True, eq=False)
class RaggedModels:
    """Models as bytes, one behind the other; the one of group i from `offsets[i]` to `offsets[i + 1]`."""

    hashes: np.ndarray
    offsets: np.ndarray
    payload: np.ndarray
    group_estimator: GroupEstimator
    classes: np.ndarray | None
    _built: Callable[[int], Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_built", lru_cache(MODELS_CACHED)(self._build))

    def first(self) -> bytes:
        """What the inner estimator wrote for one of the models."""
        return self._written(0)

    def __reduce__(self) -> Any:
        return RaggedModels, (self.hashes, self.offsets, self.payload, self.group_estimator, self.classes)

    def model(self, model_index: int) -> Any:
        """The model of a group."""
        return self._built(model_index)

    def answer(self, method: str, batch: Batch, model_index: np.ndarray) -> np.ndarray:
        """What the models make of rows: those of a group together, group after group.

        Parameters
        ----------
        method : a method of the models, like 'predict' or 'predict_proba'.
        batch : the features alone.
        model_index : ndarray of shape (rows,), the index among `hashes` of the model of each row.

        Returns
        -------
        Array of shape (rows,), or of probabilities and margins as `widened` makes them.
        """
        if not len(model_index):
            return self._nothing(method, batch)
        order = np.argsort(model_index, kind="stable")
        indices, starts = np.unique(model_index[order], return_index=True)
        sorted_rows = batch.take(order)
        parts = []
        for group, start, end in zip(indices.tolist(), starts, [*starts[1:], len(order)], strict=True):
            model = self.model(group)
            predictions = self.group_estimator.answer(
                model, sorted_rows.slice(int(start), int(end - start)), method
            )
            parts.append(widened(predictions, method, model, self.classes))
        together = np.concatenate(parts)
        out = np.empty_like(together)
        out[order] = together
        return out

    def to_tree(self) -> dict[str, Any]:
        return {"hashes": self.hashes, "offsets": self.offsets, "payload": self.payload}

    def _build(self, model_index: int) -> Any:
        return self.group_estimator.load(self._written(model_index))

    def _written(self, model_index: int) -> bytes:
        return expanded(self.payload[self.offsets[model_index] : self.offsets[model_index + 1]].tobytes())

    def _nothing(self, method: str, batch: Batch) -> np.ndarray:
        """The answers for no rows, of the type that others have."""
        if method in _UNKNOWN and self.classes is not None:
            margin = method == MARGINS and len(self.classes) == 2
            return np.zeros(0 if margin else (0, len(self.classes)))
        if method == "predict" and self.classes is not None:
            return np.zeros(0, dtype=self.classes.dtype)
        return self.group_estimator.answer(self.model(0), batch, method)
