"""What transformers side by side share: they learn in the same passes, and what they make is put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Self

import numpy as np
import pyarrow.compute as pc
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix
from outgrow.engine.shard import Shard
from outgrow.engine.together import together
from outgrow.errors import ParameterError, ValueTypeError
from outgrow.ml.adapters import Foreign, as_step
from outgrow.ml.base import Transformer
from outgrow.ml.base.named_parts import NamedParts
from outgrow.ml.core.columns import resolve
from outgrow.ml.core.exports import check_has_equal
from outgrow.ml.core.task import Task, kinds_of, promised_example
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Block, Flow, Part
from outgrow.ml.steps import steps_of

PASS, DROP = "passthrough", "drop"


class SideBySide(NamedParts, Transformer):
    """Transformers that learn from the same rows, and what each makes of its columns beside that of others.

    Hooks: `_branches()` gives names, transformers, and what says their columns.
    """

    verbose_feature_names_out: bool
    transformer_weights: Mapping[str, float] | None

    _weightless = (None, 1)
    _transformers: Mapping[str, Any]
    """Those that have learned, by name; other libraries' behind adapters."""

    _row: str | None = None
    """The column of numbers that told the rows of the fit apart, where there was one."""

    def _branches(self) -> list[tuple[str, Any, Any]]:
        raise NotImplementedError

    @property
    def cross_fits(self) -> bool:  # type: ignore[override]
        """Whether a part changes the rows of the fit otherwise than new ones."""
        return any(getattr(part, "cross_fits", False) for _, part, _ in self._all_branches())

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Learn from rows; the rows as the parts give them.

        Parameters
        ----------
        X, y, **params : as for `fit`.
        """
        if self.cross_fits and not params:
            return self._fit_transform_training(X, y)
        return super().fit_transform(X, y, **params)

    # ---- fitting -----------------------------------------------------------------------------------------

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        features = task.features(shard.example)
        self.selected_, self.inputs_ = features, self._inputs(shard.example, features)
        learning = {name: part for name, part, _ in self._all_branches() if part not in (PASS, DROP)}
        learning = {name: as_step(clone(part)) for name, part in learning.items() if self.inputs_[name]}

        def learns(name: str) -> Callable[[Shard], None]:
            others = [feature for feature in features if feature not in self.inputs_[name]]
            own = replace(task.weighing(name), aside=(*task.aside, *others))

            def learn(part: Shard) -> None:
                learning[name]._expect(kinds_of(part.example, own))
                learning[name]._fit_shard(part, own, last=False)

            return learn

        together(shard, [learns(name) for name in learning])
        self._transformers, self._row = learning, task.row
        self._narrow()
        self._check_outputs(shard.example.select(features))

    def _all_branches(self) -> list[tuple[str, Any, Any]]:
        """Those there are, and what becomes of the columns that none of them has."""
        return self._branches()

    def _inputs(self, example: Batch, features: list[str]) -> dict[str, list[str]]:
        """The columns of each part, in the order of the table."""
        chosen = {name: _resolved(columns, example, features) for name, _, columns in self._branches()}
        return {name: [each for each in features if each in own] for name, own in chosen.items()}

    def _narrow(self) -> None:
        """Called when all parts have learned."""

    def _check_outputs(self, example: Batch) -> None:
        names = Counter(label for label, _ in self._made(example.slice(0, 0)))
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ParameterError(
                f"Output feature names: {twice[:5]} are not unique: several parts of {type(self).__name__} "
                "make them. Set verbose_feature_names_out=True, which puts the name of the part before them."
            )

    def _check_part(self, name: str, part: Any) -> None:
        if isinstance(part, str) and part in (PASS, DROP):
            return
        if not isinstance(None if isinstance(part, type) else as_step(part), Transformer | NamedParts):
            raise ValueTypeError(
                f"{name!r} of {type(self).__name__} is {part!r} of type {type(part)}: it should implement "
                f"fit and transform, or be {PASS!r} or {DROP!r}. Give a transformer that is made."
            )
        if not isinstance(getattr(part, "model", None), Transformer | None):
            raise ValueTypeError(
                f"{name!r} of {type(self).__name__} ends in a {type(part.model).__name__}, which is no "
                "transformer. Put the model behind it, in a pipeline."
            )
        if hasattr(part, "check_parameters"):
            part.check_parameters()

    @property
    def _columns_by_name(self) -> bool:
        return hasattr(self, "feature_names_in_")

    def _unused_columns(self) -> list[str]:
        parts = {name: part for name, part, _ in self._all_branches()}
        used = {column for name, own in self.inputs_.items() if parts[name] != DROP for column in own}
        return [name for name in self.selected_ if name not in used]

    # ---- answering ---------------------------------------------------------------------------------------

    def _transform(self, batch: Batch) -> Batch:
        return self._put_together(batch, training=False)

    def _transform_training(self, batch: Batch) -> Batch:
        return self._put_together(batch, training=True)

    def _put_together(self, batch: Batch, *, training: bool) -> Batch:
        gone = set(self.selected_)
        made = Batch(dict(self._made(batch, training=training)), batch.num_rows)
        rest = {name: batch[name] for name in batch.columns if name not in gone}
        return made.beside(rest, "Columns that are no features", "Rename them, or leave them out.")

    def _made(self, batch: Batch, *, training: bool = False) -> list[tuple[str, Column]]:
        """What the parts make of the rows, with names; with `training`, those of the fit."""
        found: list[tuple[str, Column]] = []
        row = [self._row] if training and self._row is not None else []
        for name, part, _ in self._all_branches():
            if part == DROP or not self.inputs_[name]:
                continue
            own = batch.select([*self.inputs_[name], *row])
            for step in steps_of(self._transformers[name]) if name in self._transformers else ():
                own = step._transform_training(own) if training else step._transform(own)
            own = own.drop(row)
            factor = (self.transformer_weights or {}).get(name)
            found += [self._named(name, label, column, factor) for label, column in own.columns.items()]
        return found

    def _named(self, part: str, label: str, column: Column, factor: float | None) -> tuple[str, Column]:
        prefix = f"{part}__" if self.verbose_feature_names_out else ""
        if isinstance(column, Matrix):
            values = column.values if factor in self._weightless else column.values * factor
            return prefix + label, Matrix(values, tuple(prefix + name for name in column.names))
        return prefix + label, column if factor in self._weightless else pc.multiply(column, float(factor))

    # ---- what was learned --------------------------------------------------------------------------------

    def _learned(self) -> dict[str, Any]:
        parts = {name: part._learned() for name, part in getattr(self, "_transformers", {}).items()}
        return {**super()._learned(), "parts_": parts} if parts else super()._learned()

    def _restore(self, learned: dict[str, Any]) -> None:
        made = {name: part for name, part, _ in self._all_branches()}
        self._transformers = {}
        for name, own in learned.get("parts_", {}).items():
            self._transformers[name] = as_step(clone(made[name]))
            self._transformers[name]._restore(own)
        super()._restore({name: value for name, value in learned.items() if name != "parts_"})

    @property
    def _fitted(self) -> dict[str, Any]:
        """What became of each part: a fitted transformer, 'passthrough' or 'drop'."""
        check_is_fitted(self)
        parts = {name: part for name, part, _ in self._all_branches()}
        return {**parts, **{name: _plainly(part) for name, part in self._transformers.items()}}

    def set_output(self, *, transform: Any = None) -> Self:
        """The form of results: 'default' for arrays, sparse ones too, or 'pandas', or 'polars'."""
        self._output = transform or self._output
        return self

    def _to_onnx(self, table: Table) -> Table:
        made = Table(table.graph, {})
        for name, part, _ in self._all_branches():
            if part == DROP:
                continue
            own = Table(table.graph, {column: table[column] for column in self.inputs_[name]})
            for step in steps_of(self._transformers[name]) if name in self._transformers else ():
                own = step._to_onnx(own) if getattr(step, "selected_", True) else own
            prefix = f"{name}__" if self.verbose_feature_names_out else ""
            made = made.with_columns({prefix + label: column for label, column in own.columns.items()})
        return made

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        blocks, example = [], promised_example(self.columns_)
        for part, given, _ in self._all_branches():
            if given == DROP or not self.inputs_[part]:
                continue
            own, names = example.select(self.inputs_[part]), self.inputs_[part]
            steps = steps_of(self._transformers[part]) if part in self._transformers else []
            for step in steps:
                own = step._transform(own)
            prefix = f"{part}__" if self.verbose_feature_names_out else ""
            makes = [(prefix + label, _width(column)) for label, column in own.columns.items()]
            inner = _alone(flow, names)
            for step in steps:
                check_has_equal(step, "_to_sklearn", "scikit-learn")
                inner = step._to_sklearn(type(step).__name__.lower(), inner)
            inner = inner.in_order(list(own.columns))
            fitted = Pipeline(_numbered(inner.steps)) if inner.steps else PASS
            text = any(column.text for column in inner.columns.values())
            row = _known_row(steps, flow, names)
            blocks.append(Block(f"{name}-{part}", fitted, flow.labels(names), makes, text, row))
        return flow.then(name, blocks)

    def __sklearn_tags__(self) -> Any:
        tags, own = super().__sklearn_tags__(), super().__sklearn_tags__().input_tags
        parts = [get_tags(part).input_tags for _, part, _ in self._all_branches() if part not in (PASS, DROP)]
        for name in ("categorical", "string", "allow_nan"):
            setattr(own, name, any(getattr(part, name) for part in parts))
        own.sparse = all(part.sparse for part in parts)
        tags.input_tags = own
        tags.target_tags.required = any(
            get_tags(part).target_tags.required
            for _, part, _ in self._all_branches()
            if part not in (PASS, DROP)
        )
        return tags

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """What notebooks show: the parts side by side."""
        bundle: dict[str, str] = self._drawn()._repr_mimebundle_(**kwargs)
        return bundle

    def _drawn(self) -> Any:
        """The same parts in an object of scikit-learn."""
        raise NotImplementedError


def _resolved(columns: Any, example: Batch, features: list[str]) -> list[str]:
    """The names of columns that are given as names, places, a selector of ours or of scikit-learn."""
    if callable(columns) and len(signature(columns).parameters) == 1:
        columns = columns(example.select(features).slice(0, 0).to_arrow().to_pandas())
    if columns is None or callable(columns) or isinstance(columns, str):
        return resolve(columns, example, features)
    if isinstance(columns, slice) and not {type(columns.start), type(columns.stop)} & {str}:
        return features[columns]
    given = np.atleast_1d(np.asarray(columns))
    if given.dtype.kind in "iub" and given.size:
        try:
            return np.array(features, dtype=object)[given].tolist()
        except IndexError:
            raise ParameterError(
                f"Columns {given.tolist()}: there are {len(features)} feature(s). Give places below that."
            ) from None
    return resolve([str(name) for name in given.tolist()], example, features)


def check_weights(weights: Any, names: Sequence[str]) -> None:
    """Refuse weights that are none, or of parts that are not there.

    Parameters
    ----------
    weights : numbers by the name of the part; None for none.
    names : of the parts.
    """
    if weights is None:
        return
    if not isinstance(weights, Mapping) or not set(weights) <= set(names):
        raise ParameterError(
            f"transformer_weights={weights!r}: give numbers for some of {list(names)}, by name."
        )


def _plainly(part: Any) -> Any:
    """A transformer without its adapter."""
    return part.estimator if isinstance(part, Foreign) else part


def _alone(flow: Flow, names: list[str]) -> Flow:
    """Some columns as they reach a part: by their names in a DataFrame, by their places in an array."""
    columns, at = dict[str, Part](), 0
    for name in names:
        labels = flow.columns[name].labels
        own = labels if flow.frame else list(range(at, at + len(labels)))
        columns[name], at = replace(flow.columns[name], labels=own), at + len(labels)
    return Flow(columns, flow.frame, at)


def _numbered(steps: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(f"{place}-{name}", step) for place, (name, step) in enumerate(steps)]


def _known_row(steps: list[Any], flow: Flow, names: list[str]) -> list[Any]:
    """A row that a fitted transformer can take: an encoder refuses categories that it has not seen."""
    row: dict[str, Any] = {name: "" if flow.columns[name].text else 0.0 for name in names}
    for step in steps:
        if isinstance(categories := getattr(step, "categories_", None), list):
            row |= {name: own[0] for name, own in zip(step.selected_, categories, strict=True) if name in row}
    return [row[name] for name in names for _ in flow.columns[name].labels]


def _width(column: Column) -> int:
    return column.width if isinstance(column, Matrix) else 1
