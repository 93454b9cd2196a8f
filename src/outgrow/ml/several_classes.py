"""Classifiers of several targets at once: classes of each, learned as combinations of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import DECISION, PREDICTION, Classifier, ProbabilityClassifier
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.weights import class_factors


@dataclass(frozen=True, eq=False)
class Combinations:
    """The combinations of classes that rows of several targets have.

    Attributes
    ----------
    classes : of each target, ndarray of its classes, sorted.
    codes : ndarray of shape (combinations, targets), the place of the class of each target.
    """

    classes: list[np.ndarray]
    codes: np.ndarray

    @classmethod
    def of(cls, combinations: Sequence[tuple[Any, ...]]) -> Combinations:
        """Those of tuples with a class of each target."""
        columns = [sorted(set(column)) for column in zip(*combinations, strict=True)]
        places = [{label: place for place, label in enumerate(column)} for column in columns]
        codes = [[places[k][label] for k, label in enumerate(each)] for each in combinations]
        return cls([np.array(column) for column in columns], np.array(codes, dtype=np.intp))

    def weights(self, combined: np.ndarray) -> list[np.ndarray]:
        """The weight of each class of each target, from that of the combinations."""
        pairs = zip(self.codes.T, self.classes, strict=True)
        return [np.bincount(codes, combined, len(classes)) for codes, classes in pairs]

    def indicators(self) -> np.ndarray:
        """Whether each combination has the second of two classes, or each of more, target by target."""
        pairs = zip(self.codes.T, self.classes, strict=True)
        return np.column_stack([indicators(len(classes))[codes] for codes, classes in pairs])

    def factors(self, class_weight: Any, combined: np.ndarray, names: Sequence[str]) -> np.ndarray | None:
        """The product of the factors of the classes of each combination; None where all are 1.

        Parameters
        ----------
        class_weight : a list of what `class_factors` takes, for each target; 'balanced' for all; or None.
        combined : ndarray of shape (combinations,), the summed weight of the rows of each.
        names : what the targets are called.

        Raises
        ------
        ParameterError
            When there is not one dictionary for each target.
        """
        if class_weight is None:
            return None
        if isinstance(class_weight, Mapping) or (
            not isinstance(class_weight, str) and len(class_weight) != len(names)
        ):
            raise ParameterError(
                f"class_weight={class_weight!r}: for multi-output, the number of elements in class_weight "
                f"should match number of outputs. Give a list of {len(names)} dictionaries, one for each of "
                f"{list(names)}, or 'balanced'."
            )
        each: list[Any] = [class_weight] * len(names) if isinstance(class_weight, str) else class_weight
        product = np.ones(len(self.codes))
        for k, totals in enumerate(self.weights(combined)):
            factors = class_factors(each[k], self.classes[k], totals)
            product *= 1.0 if factors is None else factors[self.codes[:, k]]
        return product


def indicators(classes: int) -> np.ndarray:
    """What trees learn of each class: whether it is the second of two, or which of more."""
    whole = np.eye(classes, dtype=np.float32)
    return whole[:, 1:] if classes == 2 else whole


class SeveralTargets(Classifier):
    """A classifier that learns one target, or several.

    Of several, `classes_` is a list of the classes of each, and `predict` gives arrays of shape
    (rows, targets) or columns `prediction_<target>`.
    """

    classes_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn_combinations(self, view: MatrixView, *, least: int = 2) -> Combinations:
        """Note the classes of each target."""
        found = Combinations.of(view.classes.tolist())
        assert self.target_names_ is not None
        for name, classes in zip(self.target_names_, found.classes, strict=True):
            if len(classes) < least:
                raise DataError(
                    f"{type(self).__name__} needs samples of at least {least} classes in each target, but "
                    f"{name!r} contains only one class: {classes.tolist()[0]!r}. Leave that target out."
                )
        self.classes_ = found.classes
        return found

    def _each(self, chances: np.ndarray) -> list[np.ndarray]:
        """The columns of the classes of each target."""
        return np.split(chances, np.cumsum([len(classes) for classes in self.classes_])[:-1], axis=1)

    def _prediction_names(self, method: str) -> list[str]:
        if self.target_names_ is None:
            return super()._prediction_names(method)
        if method == "predict":
            return [f"{PREDICTION}_{name}" for name in self.target_names_]
        if method == "decision_function":
            return [f"{DECISION}_{name}" for name in self.target_names_]
        stem = {"predict_proba": "probability", "predict_log_proba": "log_probability"}[method]
        pairs = zip(self.target_names_, self.classes_, strict=True)
        return [f"{stem}_{name}_{label}" for name, classes in pairs for label in classes.tolist()]


class SeveralClassifier(SeveralTargets, ProbabilityClassifier):
    """A classifier with probabilities that learns one target, or several.

    Of several `predict_proba` gives a list of arrays of shape (rows, classes), or columns
    `probability_<target>_<class>`.
    """

    def _most_probable(self, chances: np.ndarray) -> np.ndarray:
        if self.target_names_ is None:
            return super()._most_probable(chances)
        pairs = zip(self.classes_, self._each(chances), strict=True)
        return joined([classes[own.argmax(axis=1)] for classes, own in pairs])

    def _respond(self, X: Any, method: str, through: Any = None) -> Any:
        answers = super()._respond(X, method, through)
        alone = method == "predict" or self.target_names_ is None or is_lazy(X)
        return answers if alone else self._each(answers)


def joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of classes as one array: of their own type where it is one, else of objects."""
    kinds = {"text" if column.dtype.kind in "OU" else column.dtype.kind for column in columns}
    found = np.empty((len(columns[0]), len(columns)), dtype=object)
    for k, column in enumerate(columns):
        found[:, k] = column
    return found if len(kinds) > 1 else found.astype(np.result_type(*columns))
