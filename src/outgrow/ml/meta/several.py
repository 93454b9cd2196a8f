"""What models around several others share, which all learn from one matrix."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.base import Model
from outgrow.ml.base.named_parts import NamedParts
from outgrow.ml.core.parameters import Such
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.export.sklearn.flow import note_width
from outgrow.ml.meta.parts import check_model
from outgrow.ml.meta.whole_pipeline import PROMISES, as_given, as_model, is_pipeline

DROP = "drop"


def _are_pairs(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and len(value) > 0
    return listed and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)


ESTIMATORS = Such("a list of (name, model) pairs", _are_pairs, advice="Each model has a name.")


class AroundSeveral(NamedParts, Model):
    """A model around others, by name; 'drop' in the place of one leaves it out."""

    estimators: Sequence[tuple[str, Any]]
    learned_: list[dict[str, Any]]
    _noted: Sequence[Any] = ()
    _parts: Sequence[Any] = ()

    @property
    def _active(self) -> list[tuple[str, Any]]:
        return [(name, as_model(model)) for name, model in self.estimators if not isinstance(model, str)]

    @property
    def _missing(self) -> bool:  # type: ignore[override]
        return all(model._missing for _, model in self._active)

    @property
    def _depth(self) -> int:
        return 1 + max(getattr(model, "_depth", 0) for _, model in self._active)

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models."""
        check_is_fitted(self)
        return as_given(self._parts)

    @property
    def named_estimators_(self) -> Any:
        """The fitted models by name."""
        check_is_fitted(self)
        return Bunch(**dict(zip([name for name, _ in self._active], self.estimators_, strict=True)))

    # ---- parameters --------------------------------------------------------------------------------------

    def _named_parts(self) -> list[tuple[str, Any]]:
        return [(name, model) for name, model in self.estimators]

    def _replace_part(self, name: str, part: Any) -> None:
        self.estimators = [(key, part if key == name else model) for key, model in self.estimators]

    def _check_parameters(self) -> None:
        self._check_names([name for name, _ in self.estimators])
        if not self._active:
            raise ParameterError("All estimators are dropped. At least one is required.")
        for name, model in self.estimators:
            if isinstance(model, str) and model != DROP:
                raise ParameterError(f"{name}={model!r}: a model, or 'drop' to leave it out.")
        for name, model in self._active:
            check_model(self, model, name)
            if is_classifier(model) != is_classifier(self):
                kind = "classifier" if is_classifier(self) else "regressor"
                raise ParameterError(
                    f"The estimator {type(model).__name__} should be a {kind}: {type(self).__name__} has one "
                    f"called {name!r} that is none."
                )

    # ---- learn -------------------------------------------------------------------------------------------

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        self._noted = [clone(model) for _, model in self._active]
        kinds, pipelines = kinds_of(shard.example, task), all(map(is_pipeline, self._noted))
        prepared = shard
        for model in self._noted:
            model._expect(kinds)
            if model is self._noted[0] or not pipelines:
                prepared = model._prepared(shard, task)
            else:
                model.shares_columns(self._noted[0])
            if prepared is not shard and not pipelines:
                raise SchemaError(
                    f"{type(self).__name__} gives all its models the same numbers, and some columns are "
                    "text. Put an encoder before it, or in a pipeline with each of the models."
                )
        return prepared

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        super()._expect_features(shard, task)
        specs = [model._expect_features(shard, task) for model in self._noted]
        by_rows = all(spec.by_rows for spec in specs)
        return replace(specs[0], hashed=task.columns, missing=self._missing, by_rows=by_rows)

    def _new_parts(self) -> list[Any]:
        """Models that have noted the columns, one of each."""
        return [copy.copy(model) for model in self._noted]

    def _of_codes(self, part: Any) -> Any:
        """A part that weighs classes by their labels, weighing the numbers it learns in their place."""
        if is_classifier(self):
            part.set_params(**weights_of_codes(part, self.classes_.tolist()))
        return part

    def _coded(self, view: MatrixView) -> MatrixView:
        """The rows with numbers from 0 on for classes."""
        self._noted = [self._of_codes(model) for model in self._noted]
        codes = np.arange(len(view.classes))
        return view.with_classes(codes, codes)

    def _keep(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self.learned_ = [learned_of(part) for part in parts]

    def _restored(self) -> None:
        if hasattr(self, "learned_"):
            promised = {name: getattr(self, name) for name in PROMISES if hasattr(self, name)}
            pairs = zip(self._active, self.learned_, strict=True)
            self._parts = [self._part(model, {**promised, **learned}) for (_, model), learned in pairs]

    def _part(self, model: Any, learned: dict[str, Any]) -> Any:
        part = clone(model)
        part._trusted = self._trusted
        part._restore(learned)
        return part

    # ---- answer ------------------------------------------------------------------------------------------

    def _matrix(self, batch: Batch) -> Any:
        return self._parts[0]._matrix(batch) if all(map(is_pipeline, self._parts)) else super()._matrix(batch)

    # ---- export ------------------------------------------------------------------------------------------

    def _twins(self) -> list[tuple[str, Any]]:
        """The fitted equals of the parts, by name."""
        made = []
        for (name, _), part in zip(self._active, self._parts, strict=True):
            equal = part._sklearn_model()
            note_width(equal, sum(kind.width or 1 for kind in part.columns_.values()))
            made.append((name, equal))
        return made

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        super()._name_features(made, names)
        for part, equal in zip(self._parts, made.estimators_, strict=True):
            part._name_features(equal, names)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = [model.__sklearn_tags__().input_tags for _, model in self._active]
        tags.input_tags.sparse = all(each.sparse for each in inner)
        tags.input_tags.positive_only = any(each.positive_only for each in inner)
        return tags


def weights_of_codes(part: Any, classes: list[Any]) -> dict[str, Any]:
    """The parameters of a part that weigh classes by their labels, by the numbers of the classes instead.

    Parameters
    ----------
    part : a model that will learn numbers.
    classes : the labels, in their order.
    """
    codes = {label: code for code, label in enumerate(classes)}
    changed = {}
    for name, weights in part.get_params().items():
        if name.rpartition("__")[2] != "class_weight" or not isinstance(weights, Mapping):
            continue
        unknown = [label for label in weights if label not in codes]
        if unknown:
            raise ParameterError(
                f"{name} names {unknown[:20]}, which are not among the classes {classes[:20]}."
            )
        changed[name] = {codes[label]: weight for label, weight in weights.items()}
    return changed


def learned_of(part: Any) -> dict[str, Any]:
    """What a part learned, without what it promises of the columns."""
    return {name: value for name, value in part._learned().items() if name not in PROMISES}
