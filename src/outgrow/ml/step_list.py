"""The steps of a pipeline: their names and places, their parameters, and what they tell of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from sklearn.utils import Bunch, get_tags

from outgrow.errors import ColumnNotFoundError, ParameterError
from outgrow.ml.adapters import Foreign, as_step
from outgrow.ml.base.named_parts import NamedParts
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.in_memory import check_step, in_sklearn, needs_memory, passes, without_adapter

Step = Any
"""An estimator, a (name, estimator) pair, or 'passthrough' in the place of an estimator."""


class StepList(NamedParts):
    """Estimators one after the other, by name; they are parameters like others."""

    steps: Sequence[Step]

    _adapters: Mapping[str, Foreign] = MappingProxyType({})
    _output: str | None = None
    """The form of results, as `set_output` was told."""

    _sklearn: Any = None
    """scikit-learn's Pipeline of the steps, where that has fitted them."""

    @property
    def step_items(self) -> list[tuple[str, Any]]:
        """The steps as (name, estimator) pairs, in their order."""
        items: list[tuple[str, Any]] = []
        for step in self.steps:
            name, estimator = step if isinstance(step, tuple | list) else (type(step).__name__.lower(), step)
            if not isinstance(step, tuple | list):
                taken = {other for other, _ in items}
                numbered = (name if i == 1 else f"{name}{i}" for i in range(1, len(items) + 2))
                name = next(candidate for candidate in numbered if candidate not in taken)
            items.append((name, estimator))
        return items

    @property
    def named_steps(self) -> Bunch:
        """The steps by name: `pipe.named_steps["scale"]` or `pipe.named_steps.scale`."""
        return Bunch(**dict(self.step_items))

    @property
    def active_steps(self) -> list[tuple[str, Any]]:
        """The steps that do something, as (name, estimator) pairs; other libraries' behind adapters.

        Steps of a pipeline within this one are called `<pipeline>__<step>`.

        Raises
        ------
        ParameterError
            When scikit-learn's Pipeline has fitted the steps, or only that can.
        """
        if self._sklearn is not None:
            raise ParameterError(
                "This Pipeline was fitted in memory by scikit-learn's Pipeline, because steps of other "
                "libraries, or what they were given, need that. It predicts, but cannot be saved, exported, "
                "evaluated in passes or applied to lazy tables. Use steps of outgrow for that."
            )
        if alone := without_adapter(self._leaves()):
            raise needs_memory(alone)
        return self._workers()

    def _workers(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for name, step in self.step_items:
            if isinstance(step, StepList):
                found += [(f"{name}__{inner}", worker) for inner, worker in step._workers()]
            elif not passes(step):
                adapter = self._adapters.get(name)
                worker = as_step(step) if adapter is None or adapter.estimator is not step else adapter
                found.append((name, step if worker is None else worker))
        return found

    @property
    def model(self) -> Any:
        """The last step, behind an adapter where it is of another library; None where it is 'passthrough'."""
        if not len(self) or passes(last := self[-1]):
            return None
        return last.model if isinstance(last, StepList) else self._workers()[-1][1]

    @property
    def _columns_by_name(self) -> bool:
        workers = self._workers()
        return bool(workers) and bool(workers[0][1]._columns_by_name)

    def _unused_columns(self) -> list[str]:
        workers = self._workers()
        return workers[0][1]._unused_columns() if workers else []

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Any]:
        return (step for _, step in self.step_items)

    def __getitem__(self, key: int | str | slice) -> Any:
        """A step by its name or number; a slice is a pipeline of the same steps."""
        if isinstance(key, slice):
            return self._part(key)
        if isinstance(key, str):
            known = dict(self.step_items)
            if key not in known:
                raise ColumnNotFoundError(f"No step {key!r} among {list(known)}.")
            return known[key]
        return self.step_items[key][1]

    def _part(self, key: slice) -> Self:
        if key.step not in (1, None):
            raise ParameterError("Pipeline slicing only supports a step of 1.")
        steps = (self.steps if self._has_pairs() else self.step_items)[key]
        given = self.get_params(deep=False)
        part = type(self)(**{**given, "steps": steps})
        part._adapters, part._output = self._adapters, self._output
        if self._sklearn is not None:
            part._sklearn = in_sklearn(part)
        elif hasattr(self, "fitted_") and part.active_steps:
            part._promise(part.active_steps[0][1] if key.start else self)
            if hasattr(self, "target_column_"):
                part.target_column_ = self.target_column_
        return part

    def _has_pairs(self) -> bool:
        return all(isinstance(step, tuple | list) for step in self.steps)

    def _promise(self, source: Any) -> None:
        """Be fitted, for rows as `source` takes them."""
        for name in ("columns_", "n_features_in_", "feature_names_in_"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))
        self.fitted_ = True

    def _leaves(self) -> list[tuple[str, Any]]:
        """The steps as they were given, those of inner pipelines that only transform among them."""
        found: list[tuple[str, Any]] = []
        for name, step in self.step_items:
            flat = isinstance(step, StepList)
            found += (
                [(f"{name}__{inner}", leaf) for inner, leaf in step._leaves()] if flat else [(name, step)]
            )
        return found

    def _share_learned(self) -> None:
        """Inner pipelines, whose steps have learned as steps of this one, are fitted with it."""
        for name, step in self.step_items:
            if isinstance(step, StepList) and (inner := step._workers()):
                outer = f"{name}__"
                adapters = self._adapters.items()
                step._adapters = {n.removeprefix(outer): a for n, a in adapters if n.startswith(outer)}
                step._promise(inner[0][1])
                step._share_learned()

    def _check_parameters(self) -> None:
        if not self.steps:
            raise ParameterError("The pipeline is empty. Please add steps.")
        self._check_names([name for name, _ in self.step_items])
        for place, (name, step) in enumerate(self.step_items):
            if not passes(step):
                check_step(name, step, last=place == len(self.steps) - 1)
                if isinstance(step, Estimator):
                    step.check_parameters()
        self._check_apart()

    def _check_apart(self) -> None:
        """Refuse one object in two places: the last would undo what it learned in the first."""
        places: dict[int, str] = {}
        for name, step in self._leaves():
            first = name if passes(step) else places.setdefault(id(step), name)
            if first != name:
                raise ParameterError(
                    f"The steps {first!r} and {name!r} are one object, {step}, which cannot know what both "
                    "learned. Give one of them a copy: sklearn.base.clone(step)."
                )

    def _named_parts(self) -> list[tuple[str, Any]]:
        return self.step_items

    def _replace_part(self, name: str, part: Any) -> None:
        self.steps = list({**dict(self.step_items), name: part}.items())

    def set_output(self, *, transform: Any = None) -> Self:
        """The form in which steps give their results: 'default', 'pandas' or 'polars'; see scikit-learn."""
        for _, step in self.step_items:
            if hasattr(step, "set_output"):
                step.set_output(transform=transform)
        self._output = transform or self._output
        return self

    def __sklearn_clone__(self) -> Self:
        made: Self = super().__sklearn_clone__()
        made._output = self._output
        return made

    @property
    def takes_lists(self) -> bool:
        """Whether the first step takes a list of lists as one column."""
        workers = self._workers()
        return bool(workers) and getattr(workers[0][1], "takes_lists", False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        workers = self._workers()
        if workers:
            tags.input_tags = get_tags(workers[0][1]).input_tags
            if self.model is not None:
                final = get_tags(self.model)
                tags.estimator_type = final.estimator_type
                tags.target_tags = final.target_tags
                tags.classifier_tags, tags.regressor_tags = final.classifier_tags, final.regressor_tags
            needing = [step for _, step in workers if get_tags(step).target_tags.required]
            tags.target_tags.required = bool(needing)
        return tags


def _plainly(step: Any) -> Any:
    """A step without its adapter."""
    return step.estimator if isinstance(step, Foreign) else step
