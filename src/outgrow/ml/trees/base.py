"""What all tree models share: categories, the stored booster, the target of XGBoost, checks of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Model, ProbabilityClassifier, Regressor
from outgrow.ml.core.categories import codes, is_text, learned_categories
from outgrow.ml.core.inputs import Training, open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import Integer, OneOf, Share, seed
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.trees.asking import answers, contributions, leaves, restored
from outgrow.ml.trees.booster import cached_nodes, grow
from outgrow.ml.trees.checks import check_booster
from outgrow.ml.trees.forest import trees_in
from outgrow.ml.trees.onnx import summed
from outgrow.ml.trees.plan import Grown, Plan
from outgrow.ml.trees.rows import as_asked
from outgrow.ml.trees.sklearn import scaled_regressor, tree_features
from outgrow.ml.trees.target import Target
from outgrow.ml.trees.tree import TreeStructure
from outgrow.stats.quantiles import quantiles

MOST_WEIGHT = 1e6
"""The greatest mean weight that XGBoost gets: sums of float32 gains shall not overflow."""
MaxFeatures = str | float | None


class Learned:
    """An attribute that a fit sets; asked for before, it says that the model is not fitted."""

    def __get__(self, model: Any, owner: type) -> Any:
        if model is not None:
            check_is_fitted(model)
        return self


MAX_FEATURES = Share(above=0, high=1) | Integer(low=1) | OneOf("sqrt", "log2", None)


class TreeModel(Model):
    """Trees that XGBoost grew: numbers may be missing, columns of text are categories."""

    _missing = True
    _frees_lock = True
    _samples = True
    _export_tolerance = 1e-6  # of float32
    exempt = {"sparse_rows_are_dense_ones": "what sparse rows do not store is absent, and no number"}
    max_features: MaxFeatures

    categories_: dict[str, list[Any]]
    booster_bytes_: bytes
    zeros_absent_: bool
    zeros_: np.ndarray | None = None
    n_features_: int
    feature_importances_: Any = Learned()
    seed_: int
    _made: Any = None
    _kinds: tuple[str, ...] | None
    _earlier: dict[str, Any] | None = None
    """What an earlier fit learned, to which this one adds trees."""
    _rounds_name: ClassVar[str] = "n_estimators"
    _carried: ClassVar[tuple[str, ...]] = (
        *("booster_bytes_", "zeros_absent_", "n_features_", "categories_", "seed_", "classes_"),
        *("offset_", "scale_", "train_loss_", "validation_loss_", "scores_", "out_of_bag_"),
    )

    @property
    def booster_(self) -> Any:
        """The `xgboost.Booster`; its features are f0, f1, ... in the order of the columns."""
        return self._booster

    @property
    def _booster(self) -> Any:
        """XGBoost's object, made when the model is first asked after a fit or in another process."""
        if self._made is None:
            self._made = restored(self.booster_bytes_)
        return self._made

    def _fit_on_engine(self, data: Training) -> Self:
        if not self._goes_on:
            return super()._fit_on_engine(data)
        grown, wanted = self._grown_rounds(), int(getattr(self, self._rounds_name))
        if wanted < grown:
            raise ParameterError(
                f"{self._rounds_name}={wanted} must be larger than or equal to n_iter_={grown} when "
                "warm_start==True: so many rounds are there. Raise it, or fit anew with warm_start=False."
            )
        if wanted > grown or self._lacks_something():
            return super()._fit_on_engine(data)
        self._nothing_to_grow()
        return self

    def _worker(self) -> Self:
        worker = super()._worker()
        if self._goes_on:
            worker._earlier = {name: getattr(self, name) for name in self._carried if hasattr(self, name)}
        return worker

    @property
    def _goes_on(self) -> bool:
        """Whether a fit adds trees to those that are there."""
        return bool(getattr(self, "warm_start", False)) and hasattr(self, "booster_bytes_")

    def _grown_rounds(self) -> int:
        return int(self._booster.num_boosted_rounds())

    def _lacks_something(self) -> bool:
        """Whether there is something to learn although no tree is to grow."""
        return False

    def _nothing_to_grow(self) -> None:
        """Called where a fit has nothing to do."""

    def _known(self, name: str) -> Any:
        """What an earlier fit, which this one goes on from, learned; or None."""
        return None if self._earlier is None else self._earlier.get(name)

    def _learn_seed(self) -> int:
        """The seed of all random choices; of an earlier fit, where this goes on from it."""
        known = self._known("seed_")
        self.seed_ = seed(self.random_state) if known is None else int(known)
        return self.seed_

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        names = self._categorical(shard.example, task)
        known = self._known("categories_")
        self.categories_ = known or (learned_categories(shard, names) if names else {})
        self._check_categories(list(task.features(shard.example)))
        shard = shard.transformed(self._coded, encoded=True) if names else shard
        self._kinds = self._kinds_of(shard.example, task) if names else None
        self.zeros_ = _numbers_among_sparse(shard.example, task)
        return shard

    def _categorical(self, example: Batch, task: Task) -> list[str]:
        """The columns that are categories."""
        return [name for name in task.features(example) if is_text(example[name])]

    def _check_categories(self, names: list[str]) -> None:
        """Raise DataError for categories that cannot be split."""

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
        begun = self._begun(view, plan.rounds)
        grown = grow(view, replace(plan, numbers=self.zeros_, begun=begun))
        if begun is not None and grown.zeros_absent != self._known("zeros_absent_"):
            raise DataError(
                f"{type(self).__name__}(warm_start=True): the earlier trees learned from "
                f"{'sparse' if self._known('zeros_absent_') else 'dense'} rows. Give such rows, or fit anew."
            )
        self.booster_bytes_ = grown.content
        self.zeros_absent_ = grown.zeros_absent
        self.n_features_ = view.width
        total = grown.gains.sum()
        self.feature_importances_ = grown.gains / total if total > 0 else grown.gains
        self._made = None
        return grown

    def _begun(self, view: MatrixView, rounds: int) -> bytes | None:
        """The trees that are there, as the fit goes on from them; None for none."""
        content: bytes | None = self._known("booster_bytes_")
        if content is not None and self._known("n_features_") != view.width:
            raise DataError(
                f"X has {view.width} features, but {type(self).__name__}(warm_start=True) has trees on "
                f"{self._known('n_features_')}. Give the same features, or fit anew with warm_start=False."
            )
        return content

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: XGBoost's object is made anew, by one thread, so a forked process may do it."""
        return {name: value for name, value in super().__getstate__().items() if name != "_made"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._made = None

    def _restored(self) -> None:
        if not self._trusted:
            most = max(map(len, self.categories_.values()), default=0)
            check_booster(self.booster_bytes_, self.n_features_, most)
        self._made = restored(self.booster_bytes_)

    def _ask(self, X: Any) -> np.ndarray:
        return answers(self._booster, self._asked(X))

    def _contributions(self, X: Any) -> np.ndarray:
        """What each feature adds to the sums of the trees, and their mean: (rows, outputs, features + 1).

        SHAP values by the ways through the trees (Lundberg et al. 2020); in units of y.
        """
        found = contributions(self.booster_bytes_, self._asked(X))
        found *= np.reshape(getattr(self, "scale_", 1.0), (-1, 1))
        found[:, :, -1] += getattr(self, "offset_", 0.0)
        return found

    def _asked(self, X: Any) -> Any:
        return as_asked(X, self.zeros_absent_, self.zeros_)

    def _leaves(self, X: Any) -> np.ndarray:
        """The leaf of each tree in which each row ends, of shape (rows, rounds, outputs)."""
        check_is_fitted(self)
        found: np.ndarray = collect(
            open_rows(self, X), lambda batch: leaves(self._booster, self._asked(self._matrix(batch)))
        )
        return found

    def apply(self, X: Any) -> np.ndarray:
        """The leaf of each tree in which each row of an array or a table ends, of shape (rows, trees)."""
        found = self._leaves(X)
        return found.reshape(len(found), -1)

    def _structures(self, learning_rate: float) -> list[list[TreeStructure]]:
        """The trees of each round, one for each output."""
        check_is_fitted(self)
        forest = trees_in(self.booster_bytes_, self.n_features_)
        made = [TreeStructure(tree, tree.values(learning_rate)) for tree in forest.trees]
        return [made[start : start + forest.outputs] for start in range(0, len(made), forest.outputs)]

    @property
    def _absent(self) -> Any:
        """Of which features a zero counts as missing."""
        return self.zeros_absent_ if self.zeros_ is None else ~self.zeros_ & self.zeros_absent_

    def _staged(self, X: Any, rounds: int, *, sums: bool = False) -> Iterator[np.ndarray]:
        """What the trees of the first round, of the first two, ... say of the rows of an array or a table."""
        check_is_fitted(self)
        rows = self._asked(collect(open_rows(self, X), self._matrix))
        return (answers(self._booster, rows, end, sums=sums) for end in range(1, rounds + 1))

    def _shape(
        self, width: int, max_depth: int | None, max_bins: int, max_leaf_nodes: int | None = None
    ) -> dict[str, Any]:
        """The parameters of XGBoost for depth, leaves and bins."""
        best_first = (
            {} if max_leaf_nodes is None else {"grow_policy": "lossguide", "max_leaves": max_leaf_nodes}
        )
        return {
            "max_depth": int(max_depth or 0),
            "max_bin": int(max_bins),
            "max_cached_hist_node": cached_nodes(width, int(max_bins)),
            **best_first,
        }

    def _tried_features(self, width: int) -> int:
        """`max_features` as a number of features."""
        wish = self.max_features
        if wish is None:
            return width
        if isinstance(wish, str):
            wish = int(np.sqrt(width) if wish == "sqrt" else np.log2(width))
        return min(width, max(1, wish if isinstance(wish, Integral) else int(wish * width)))

    def _share_of_features(self, width: int) -> float:
        """`max_features` as a share of the width, and half a feature more, which float32 cannot lose."""
        count = self._tried_features(width)
        return 1.0 if count == width else (count + 0.5) / width

    @property
    def max_features_(self) -> int:
        """How many features are tried at each split."""
        check_is_fitted(self)
        return self._tried_features(self.n_features_)

    @property
    def n_outputs_(self) -> int:
        """How many targets there are."""
        check_is_fitted(self)
        return 1 if self.target_names_ is None else len(self.target_names_)

    def _sklearn_features(self, flow: Flow) -> Flow:
        return tree_features(self, flow)


class TreeClassifier(TreeModel, ProbabilityClassifier):
    """A tree model that predicts classes."""

    class_weight: ClassWeight

    @property
    def n_classes_(self) -> Any:
        """How many classes there are; of several targets a list."""
        check_is_fitted(self)
        several = self.target_names_ is not None
        return [len(classes) for classes in self.classes_] if several else len(self.classes_)

    def _weigh_classes(self, view: MatrixView) -> tuple[dict[str, Any], np.ndarray]:
        """What a plan says of weights, and the weight that each class then has."""
        self._learn_classes(view)
        known = self._known("classes_")
        if known is not None and not np.array_equal(known, self.classes_):
            raise DataError(
                f"{type(self).__name__}(warm_start=True): y has the classes "
                f"{self.classes_.tolist()[:20]}, but the "
                f"earlier trees know {known.tolist()[:20]}. Give rows of the same classes, or fit anew."
            )
        return self._weigh(view, class_factors(self.class_weight, self.classes_, view.class_weights))

    def _weigh(self, view: MatrixView, factors: np.ndarray | None) -> tuple[dict[str, Any], np.ndarray]:
        totals = view.class_weights * (1.0 if factors is None else factors)
        if (totals > 0).sum() < 2:
            raise DataError(
                f"y contains {(totals > 0).sum()} class after sample_weight trimmed classes with zero "
                "weights, "
                "while a minimum of 2 classes are required; there is only one class or none: "
                f"{self.classes_.tolist()} weigh {totals.tolist()}. Check sample_weight and class_weight."
            )
        rows = weighing_rows(view)
        if factors is not None and not view.labels.weighted:
            rows = float(view.class_weights[factors > 0].sum())
        return {"factors": factors, "weight_factor": _weight_factor(float(totals.sum()), rows)}, totals


class TreeRegressor(TreeModel, Regressor):
    """A tree model that predicts a number: its mean, and what the trees add to it.

    XGBoost keeps targets as float32, and takes what gains less than 1e-6 for nothing, so it gets their
    differences from the mean in units of a share of their standard deviation: a power of two, so that no
    digit changes.
    """

    offset_: Any
    scale_: Any = 1.0

    def _learn_target(
        self, view: MatrixView, start: float | None = None, *, zero: bool = False
    ) -> tuple[Callable[[Block], np.ndarray], dict[str, Any], Target]:
        """Note where y lies and its unit; what to predict is the rest. And what a plan says of weights.

        It lies at its mean, at its `start`-quantile if one is given, or at 0.
        """
        target = view.reduce(Target.of)
        self.offset_, self.scale_ = target.mean, target.scale()
        if start is not None:
            self.offset_ = _quantile(view, start)
        if zero:
            self.offset_ = 0.0
        if self._earlier is not None:
            self.offset_, self.scale_ = self._known("offset_"), self._known("scale_")
        return self._rest_of_target(view, target)

    def _learn_mean(self, view: MatrixView) -> tuple[Callable[[Block], np.ndarray], dict[str, Any], Target]:
        """Leave y as it is, for what learns the logarithm of its mean."""
        self.offset_, self.scale_ = 0.0, 1.0
        return self._rest_of_target(view, view.reduce(Target.of))

    def _rest_of_target(
        self, view: MatrixView, target: Target
    ) -> tuple[Callable[[Block], np.ndarray], dict[str, Any], Target]:
        return (
            partial(rest, self.offset_, self.scale_),
            {"weight_factor": _weight_factor(target.weight, weighing_rows(view))},
            target,
        )

    def _predict(self, X: Any) -> np.ndarray:
        return self._ask(X) * self.scale_ + self.offset_

    def _to_onnx(self, table: Table) -> Answer:
        return Answer(summed(self, table))

    def _sklearn_model(self) -> Any:
        return scaled_regressor(self)


def _quantile(view: MatrixView, share: float) -> float:
    """The quantile of the y of rows that weigh something."""

    def column(block: Block) -> np.ndarray:
        assert block.y is not None
        return (block.y if block.weight is None else block.y[block.weight > 0])[:, None]

    def reduce(fold: Callable[[np.ndarray], Any]) -> Any:
        return view.reduce(lambda block: fold(column(block)))

    return float(quantiles(reduce, 1, [share])[0][0, 0])


def rest(offset: Any, scale: Any, block: Block) -> np.ndarray:
    """What is left of y for trees to learn, in their unit.

    Parameters
    ----------
    offset : what is taken from y; a number, or shape (targets,).
    scale : by what the rest is divided; as `offset`.
    block : rows with y.

    Returns
    -------
    As y, of shape (rows,) or (rows, targets).
    """
    assert block.y is not None
    return (block.y - offset) / scale


def weighing_rows(view: MatrixView) -> float:
    """How many rows weigh something."""
    if not view.labels.weighted:
        return float(view.rows)
    return float(view.reduce(lambda block: np.array([np.count_nonzero(_weights(block))]))[0])


def _weight_factor(weight: float, rows: float) -> float:
    """By what to multiply weights, so that penalties, which count them, do not forbid every split.

    Weights whose mean is 1 or more are numbers of equal rows, and stay; smaller ones, as those that sum to 1,
    say how rows compare.
    """
    mean = weight / max(1.0, rows)
    if 1 - 1e-6 <= mean <= MOST_WEIGHT:
        return 1.0
    return float(np.float32(min(mean, MOST_WEIGHT) / mean if mean > 1 else 1 / mean))


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
