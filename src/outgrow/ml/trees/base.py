"""What all tree models share: categories, the stored booster, the target of XGBoost, checks of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch, Column, Matrix, is_categorical
from outgrow.engine.matrix import Block, MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Classifier, Model, Regressor
from outgrow.ml.inputs import collect, open_rows
from outgrow.ml.task import Task
from outgrow.ml.trees.booster import answers, as_asked, cached_nodes, grow, leaves, restored
from outgrow.ml.trees.checks import check_booster
from outgrow.ml.trees.plan import Grown, Plan
from outgrow.ml.trees.target import Target
from outgrow.ml.weights import ClassWeight, class_factors
from outgrow.stats.counts import ValueCounts

MOST_WEIGHT = 1e6
"""The greatest mean weight that XGBoost gets: sums of float32 gains shall not overflow."""
MaxFeatures = str | float | None


class TreeModel(Model):
    """Trees that XGBoost grew: numbers may be missing, columns of text are categories."""

    _missing = True
    _frees_lock = True
    _samples = True
    max_features: MaxFeatures

    categories_: dict[str, list[Any]]
    booster_bytes_: bytes
    zeros_absent_: bool
    zeros_: np.ndarray | None = None
    n_features_: int
    feature_importances_: np.ndarray
    _booster: Any
    _kinds: tuple[str, ...] | None

    @property
    def booster_(self) -> Any:
        """The `xgboost.Booster`; its features are f0, f1, ... in the order of the columns."""
        return self._booster

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        names = [name for name in task.features(shard.example) if _is_text(shard.example[name])]
        self.categories_ = _learn_categories(shard, names) if names else {}
        shard = shard.transformed(self._coded, encoded=True) if names else shard
        self._kinds = self._kinds_of(shard.example, task) if names else None
        self.zeros_ = _numbers_among_sparse(shard.example, task)
        super()._fit_shard(shard, task, last=last)

    def _matrix(self, batch: Batch) -> Any:
        return super()._matrix(self._coded(batch))

    def _coded(self, batch: Batch) -> Batch:
        """The batch with numbers in place of text."""
        coded = {name: codes(batch[name], values) for name, values in self.categories_.items()}
        return batch.with_columns(coded) if coded else batch

    def _kinds_of(self, example: Batch, task: Task) -> tuple[str, ...]:
        """What XGBoost takes each feature for; a category without any value is a missing number."""
        kinds: list[str] = []
        for name in task.features(example):
            column = example[name]
            width = column.width if isinstance(column, Matrix) else 1
            kinds += ["c" if self.categories_.get(name) else "q"] * width
        return tuple(kinds)

    def _grow(self, view: MatrixView, plan: Plan) -> Grown:
        """Grow trees, and keep them as what was learned."""
        grown = grow(view, replace(plan, numbers=self.zeros_))
        self.booster_bytes_ = grown.content
        self.zeros_absent_ = grown.zeros_absent
        self.n_features_ = view.width
        total = grown.gains.sum()
        self.feature_importances_ = grown.gains / total if total > 0 else grown.gains
        self._restored()
        return grown

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: XGBoost's object is made anew, by one thread, so a forked process may do it."""
        return {name: value for name, value in super().__getstate__().items() if name != "_booster"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "booster_bytes_"):
            self._booster = restored(self.booster_bytes_)

    def _restored(self) -> None:
        if not self._trusted:
            most = max(map(len, self.categories_.values()), default=0)
            check_booster(self.booster_bytes_, self.n_features_, most)
        self._booster = restored(self.booster_bytes_)

    def _ask(self, X: Any) -> np.ndarray:
        return answers(self._booster, self._asked(X))

    def _asked(self, X: Any) -> Any:
        return as_asked(X, self.zeros_absent_, self.zeros_)

    def apply(self, X: Any) -> np.ndarray:
        """The leaf of each tree in which each row of an array or a table ends, of shape (rows, trees)."""
        check_is_fitted(self)
        found: np.ndarray = collect(
            open_rows(self, X), lambda batch: leaves(self._booster, self._asked(self._matrix(batch)))
        )
        return found

    def _staged(self, X: Any, rounds: int) -> Iterator[np.ndarray]:
        """What the trees of the first round, of the first two, ... say of the rows of an array or a table."""
        check_is_fitted(self)
        rows = self._asked(collect(open_rows(self, X), self._matrix))
        return (answers(self._booster, rows, end) for end in range(1, rounds + 1))

    def _shape(self, width: int, max_depth: int | None, max_bins: int) -> dict[str, Any]:
        """The parameters of XGBoost for depth and bins."""
        return {
            "max_depth": int(max_depth or 0),
            "max_bin": int(max_bins),
            "max_cached_hist_node": cached_nodes(width, int(max_bins)),
        }

    def _share_of_features(self, width: int) -> float:
        """`max_features` as a share of the width, and half a feature more, which float32 cannot lose."""
        wish = self.max_features
        if wish is None:
            return 1.0
        if isinstance(wish, str):
            wish = int(np.sqrt(width) if wish == "sqrt" else np.log2(width))
        count = wish if isinstance(wish, Integral) else int(wish * width)
        return min(1.0, (max(1, count) + 0.5) / width)

    def _check_max_features(self) -> None:
        wish = self.max_features
        if wish is None or wish in ("sqrt", "log2"):
            return
        number = isinstance(wish, Real) and not isinstance(wish, bool)
        if number and (wish >= 1 if isinstance(wish, Integral) else 0 < wish <= 1):  # type: ignore[operator]
            return
        raise ParameterError(
            f"{type(self).__name__}(max_features={wish!r}): max_features must be a share in (0, 1], "
            "a whole number of at least 1, 'sqrt', 'log2' or None."
        )


class TreeClassifier(TreeModel, Classifier):
    """A tree model that predicts classes."""

    class_weight: ClassWeight

    def _weigh_classes(self, view: MatrixView) -> tuple[dict[str, Any], np.ndarray]:
        """What a plan says of weights, and the weight that each class then has."""
        self._learn_classes(view)
        factors = class_factors(self.class_weight, self.classes_, view.class_weights)
        totals = view.class_weights * (1.0 if factors is None else factors)
        if (totals > 0).sum() < 2:
            raise DataError(
                f"{type(self).__name__} needs at least 2 classes that weigh more than 0, but there is only "
                f"one class or none: {self.classes_.tolist()} weigh {totals.tolist()}. "
                "Check sample_weight and class_weight."
            )
        rows = weighing_rows(view)
        if factors is not None and not view.labels.weighted:
            rows = float(view.class_weights[factors > 0].sum())
        return {"factors": factors, "weight_factor": weight_factor(float(totals.sum()), rows)}, totals


class TreeRegressor(TreeModel, Regressor):
    """A tree model that predicts a number: its mean, and what the trees add to it.

    XGBoost keeps targets as float32, and takes what gains less than 1e-6 for nothing, so it gets their
    differences from the mean in units of a share of their standard deviation: a power of two, so that no
    digit changes.
    """

    offset_: float
    scale_: float = 1.0

    def _learn_target(self, view: MatrixView) -> tuple[Callable[[Block], np.ndarray], dict[str, Any]]:
        """Note the mean of y and its unit; what to predict is the rest. And what a plan says of weights."""
        target = view.reduce(Target.of)
        self.offset_, self.scale_ = target.mean, target.scale()
        return partial(_rest, self.offset_, self.scale_), {
            "weight_factor": weight_factor(target.weight, weighing_rows(view))
        }

    def _answer_predict(self, X: Any) -> np.ndarray:
        return self._ask(X) * self.scale_ + self.offset_


def _rest(offset: float, scale: float, block: Block) -> np.ndarray:
    assert block.y is not None
    return (block.y - offset) / scale


def weighing_rows(view: MatrixView) -> float:
    """How many rows weigh something."""
    if not view.labels.weighted:
        return float(view.rows)
    return float(view.reduce(lambda block: np.array([np.count_nonzero(_weights(block))]))[0])


def weight_factor(weight: float, rows: float) -> float:
    """By what to multiply weights, so that penalties, which count them, do not forbid every split.

    Weights whose mean is 1 or more are numbers of equal rows, and stay; smaller ones, as those that sum to 1,
    say how rows compare.
    """
    mean = weight / max(1.0, rows)
    if 1 - 1e-6 <= mean <= MOST_WEIGHT:
        return 1.0
    return float(np.float32(min(mean, MOST_WEIGHT) / mean if mean > 1 else 1 / mean))


def codes(column: Column, values: list[Any]) -> pa.Array:
    """1, 2, ... for the values in their order, NaN for others; never 0, which sparse rows drop."""
    if isinstance(column, Matrix) or pa.types.is_null(column.type):
        return pa.array(np.full(len(column), np.nan))
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    places = {value: float(place) for place, value in enumerate(values, start=1)}
    words = encoded.dictionary.to_pylist()
    table = np.array([places.get(word, np.nan) for word in words] + [np.nan])
    return pa.array(table[encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)])


def _weights(block: Block) -> np.ndarray:
    return np.ones(len(block)) if block.weight is None else block.weight


def _numbers_among_sparse(example: Batch, task: Task) -> np.ndarray | None:
    """Of which features a zero is a number even in sparse rows; None where there are no sparse columns."""
    columns = [example[name] for name in task.features(example)]
    sparse = [isinstance(column, Matrix) and column.sparse for column in columns]
    if not any(sparse) or all(sparse):
        return None
    widths = [column.width if isinstance(column, Matrix) else 1 for column in columns]
    return np.repeat(~np.array(sparse), widths)


def _is_text(column: Column) -> bool:
    return not isinstance(column, Matrix) and (is_categorical(column.type) or pa.types.is_null(column.type))


def _learn_categories(shard: Shard, names: list[str]) -> dict[str, list[Any]]:
    """The values of each of the columns, from one pass."""
    counts = shard.reduce(
        lambda batch: tuple(ValueCounts.of(_plain(batch, name)) for name in names), encoded=True
    )
    return {name: count.values() for name, count in zip(names, counts, strict=True)}


def _plain(batch: Batch, name: str) -> pa.Array:
    column = batch[name]
    assert not isinstance(column, Matrix)
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column
