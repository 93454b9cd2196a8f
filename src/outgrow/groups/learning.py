"""Learning a model for each key: all of them at once, or one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone

from outgrow.data.batch import Batch
from outgrow.data.keys import in_order
from outgrow.data.scan import Apply
from outgrow.data.schema import kinds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.groups import OnlyGroups
from outgrow.engine.journal import Identity
from outgrow.engine.record import FitRecord
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.groups import separate
from outgrow.groups.group_estimator import group_estimator_of, metric_names
from outgrow.groups.payload import squeezed
from outgrow.groups.plan import GroupCounts, GroupPlan, Policy, count_groups
from outgrow.groups.separate import FAILED, OK, TOO_FEW, FitGroups, Fits
from outgrow.groups.store import Models, RaggedModels, StackedModels, find
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.groups import GroupForm
from outgrow.ml.core.task import Task
from outgrow.ml.grouped import fit_groups
from outgrow.ml.persistence import describe
from outgrow.stats.state import from_tree, to_tree

MANY_FITS = 100
"""As many are worth the seconds it takes to compile code for them, where it was not compiled before."""
_UNUSABLE = (
    "A value of X or y in this group is missing or infinite, or all its weights are zero. "
    "Impute (SimpleImputer) or drop those rows."
)


@dataclass(frozen=True, eq=False)
class GroupsFitted:
    """The models of all groups, and what became of each group.

    Attributes
    ----------
    groups : a row a group; see `PerGroup.groups_`.
    classes : of classifiers, those of all groups.
    record : of the fit, where it was one.
    """

    models: Models
    groups: pa.Table
    classes: np.ndarray | None = None
    record: FitRecord | None = None

    def check(self, min_rows: int) -> None:
        """Raise DataError when no group has a model."""
        if len(self.models.hashes):
            return
        errors = [error for error in self.groups["error"].to_pylist() if error is not None]
        why = f"The first says: {errors[0]}" if errors else f"All have fewer than min_rows={min_rows} rows."
        raise DataError(f"None of the {self.groups.num_rows:,} groups could be fitted. {why}")


@dataclass(frozen=True, eq=False)
class GroupLearner:
    """Fits an estimator to each group of some rows.

    Attributes
    ----------
    estimator : not fitted.
    rows : with the keys, the features, the target and the weights.
    kinds : the kind of each feature, in their order.
    checkpoint : folder for what was fitted one by one, or None.
    """

    estimator: Any
    rows: Dataset
    task: Task
    kinds: dict[str, str]
    policy: Policy
    checkpoint: str | os.PathLike[str] | None
    stage: str

    def at_once(self, forms: Sequence[GroupForm], identity: Identity) -> GroupsFitted:
        """Solve all groups together, one pass for each step.

        Parameters
        ----------
        forms : how each step of the estimator is solved for all groups, in the order of the steps.
        identity : what tells this fit from others in the engine's checkpoint.
        """
        began, keys, names = time.perf_counter(), self.policy.by, list(self.kinds)
        estimator, task = clone(self.estimator), self.task

        def fit(shard: Shard) -> Any:
            fitted = fit_groups(estimator, forms, shard, keys, task, names)
            return {"keys": to_tree(fitted.keys), "rows": fitted.rows, "steps": fitted.stacked}

        fitted = self.rows.engine.fit(
            fit, self.rows.scan, stage=self.stage, keep=len(forms) > 1, identity=identity
        )
        solution = fitted.result
        known = from_tree(solution["keys"])
        counts = GroupCounts(known.hashes, solution["rows"].astype(np.int64), known.table)
        last = solution["steps"][-1]
        usable = _finite([array for name, array in last.items() if name.endswith("_")])
        errors = np.array([None if good else _UNUSABLE for good in usable], dtype=object)
        seconds = np.full(len(usable), (time.perf_counter() - began) / len(usable))
        metrics = {name: last[name] for name in metric_names(self.estimator)}
        groups, good = self._described(counts, errors, metrics, seconds)
        steps = [
            {name: array[good] for name, array in step.items() if name.endswith("_")}
            for step in solution["steps"]
        ]
        self._tell(self.policy.plan(counts, self.rows.engine.slots, None))
        models = StackedModels.of(estimator, names, counts.hashes[good], steps)
        return GroupsFitted(models, groups, record=fitted.record)

    def one_by_one(self) -> GroupsFitted:
        """Gather the rows of each group, and fit it by itself."""
        self._refuse_vectors()
        counts = count_groups(self.rows, self.policy.by, stage=self.stage)
        chosen, folder = self.policy.chosen(counts), self._folder()
        fits = separate.kept(folder)
        done = find(np.sort(np.array(fits.hashes, dtype=np.uint64)), counts.hashes) >= 0
        apart = self.policy.apart(counts, self.rows.engine.slots)
        packing = self.policy.packing(counts, chosen & ~apart & ~done, self.rows)
        self._tell(self.policy.plan(counts, self.rows.engine.slots, packing.count))
        total, began = int(chosen.sum()), time.perf_counter()
        for more in self._bins(packing, folder, many=total >= MANY_FITS):
            fits.extend(more)
            self._progress(len(fits.hashes), total, began)
        for group in np.flatnonzero(apart & ~done):
            self._fit_large_group(int(counts.hashes[group]), fits)
            self._progress(len(fits.hashes), total, began)
        learnt = self._gathered(counts, fits)
        if folder is not None and all(error is None for error in fits.errors):
            separate.forget(folder)
        return learnt

    def on_all_rows(self) -> Any:
        """One model of the rows of all groups."""
        everything = self._without_keys(self.rows)
        model = clone(self.estimator)
        if isinstance(model, Estimator):
            return model.fit(everything, self.task.target, *self._weight)
        together = everything.to_arrow().combine_chunks().to_batches()[0]
        return self.group_estimator.fit(Batch.from_arrow(together), self.task)

    @property
    def group_estimator(self) -> Any:
        return group_estimator_of(self.estimator, self.kinds, trusted=True)

    @property
    def _metrics(self) -> tuple[str, ...]:
        return metric_names(self.estimator)

    @property
    def _weight(self) -> list[str]:
        return [] if self.task.weight is None else [self.task.weight]

    def _bins(self, packing: Any, folder: str | None, *, many: bool) -> Any:
        """What becomes of the groups in bins, as they are fitted."""
        if not len(packing.hashes):
            return
        group_estimator = group_estimator_of(self.estimator, self.kinds, trusted=True, many=many)
        job = FitGroups(group_estimator, self.task, self._metrics, folder)
        for tree in self.rows.engine.map_groups(
            self.rows.scan, packing, job, stage=self.stage, processes=group_estimator.holds_lock
        ):
            yield Fits.from_tree(tree)

    def _fit_large_group(self, hash: int, fits: Fits) -> None:
        """Fit a large group as all rows of a dataset are: data-parallel."""
        only = Apply(OnlyGroups(self.policy.by, np.array([hash], dtype=np.uint64)), self.rows.schema)
        rows = self._without_keys(Dataset(self.rows.scan.then(only), self.rows.engine))
        began, nothing = time.perf_counter(), [np.nan] * len(self._metrics)
        model = clone(self.estimator)
        try:
            model.fit(rows, self.task.target, *self._weight)
            scores = model.evaluate(rows, self.task.target, self.task.weight) if self._metrics else {}
            values = [scores[name] for name in self._metrics]
            payload = squeezed(self.group_estimator.dump(model))
        except Exception as error:  # a group's failure is its own
            fits.add(hash, f"{type(error).__name__}: {error}", nothing, time.perf_counter() - began)
            return
        if hasattr(model, "classes_"):
            fits.note_classes(model.classes_)
        fits.add(hash, None, values, time.perf_counter() - began, payload)

    def _gathered(self, counts: GroupCounts, fits: Fits) -> GroupsFitted:
        """The models in the order of their keys, as one array of bytes."""
        group_index = find(counts.hashes, np.array(fits.hashes, dtype=np.uint64))
        errors = np.full(len(counts.hashes), None, dtype=object)
        metrics = np.full((len(counts.hashes), len(self._metrics)), np.nan)
        seconds = np.zeros(len(counts.hashes))
        errors[group_index] = fits.errors
        seconds[group_index] = fits.seconds
        if self._metrics and len(group_index):
            metrics[group_index] = fits.metrics
        named = {name: metrics[:, column] for column, name in enumerate(self._metrics)}
        groups, good = self._described(counts, errors, named, seconds)
        payloads = dict(zip(group_index.tolist(), fits.payloads, strict=True))
        ordered = [payloads[group] for group in np.flatnonzero(good).tolist()]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in ordered])]).astype(np.int64)
        classes = np.unique(np.array(fits.classes)) if fits.classes else None
        payload = np.frombuffer(b"".join(ordered), dtype=np.uint8)
        models = RaggedModels(counts.hashes[good], offsets, payload, self.group_estimator, classes)
        return GroupsFitted(models, groups, classes)

    def _described(
        self, counts: GroupCounts, errors: np.ndarray, metrics: dict[str, np.ndarray], seconds: np.ndarray
    ) -> tuple[pa.Table, np.ndarray]:
        """The table of all groups, and which of them have a model."""
        keys = self.policy.by
        few, nulls = counts.rows < self.policy.min_rows, counts.nulls
        failed = np.array([error is not None for error in errors], dtype=bool) | nulls
        status = np.where(few, TOO_FEW, np.where(failed, FAILED, OK))
        messages = errors.astype(object)
        messages[nulls] = f"The key is null. Fill {list(keys)} to have a model for these rows."
        messages[few] = None
        good: np.ndarray = status == OK
        columns: dict[str, Any] = {name: counts.keys[name] for name in keys}
        columns |= {"rows": counts.rows, "status": status.tolist(), "error": pa.array(messages, pa.string())}
        columns |= {name: pa.array(values, from_pandas=True, mask=~good) for name, values in metrics.items()}
        columns["seconds"] = seconds
        return in_order(pa.table(columns), keys), good

    def _without_keys(self, rows: Dataset) -> Dataset:
        return rows.select([name for name in rows.columns if name not in self.policy.by])

    def _folder(self) -> str | None:
        if self.checkpoint is None:
            return None
        is_outgrow = isinstance(self.estimator, Estimator)
        what = describe(clone(self.estimator)) if is_outgrow else repr(self.estimator.get_params())
        identity = [
            type(self.estimator).__qualname__,
            what,
            list(self.policy.by),
            repr(self.task),
            self.policy.large_groups_are,
            self.policy.large_group_rows,
            self.rows.scan.describe()["sha256"],
        ]
        return separate.checkpoint_folder(self.checkpoint, identity)

    def _refuse_vectors(self) -> None:
        kinds = kinds_of(self.rows.schema).items()
        vectors = [name for name, kind in kinds if kind.width is not None]
        if vectors:
            raise SchemaError(
                f"Columns {vectors} hold vectors. Give each number a column of its own for PerGroup."
            )

    def _tell(self, plan: GroupPlan) -> None:
        if heard():
            emit(Event(self.stage, "plan", 0, note=str(plan)))

    def _progress(self, done: int, total: int, began: float) -> None:
        if heard():
            emit(Event(self.stage, "group", done, total, elapsed=time.perf_counter() - began))


def _finite(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Which groups have nothing but finite numbers."""
    finite: np.ndarray = np.logical_and.reduce(
        [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in arrays]
    )
    return finite
