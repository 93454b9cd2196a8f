"""Trees that do not need each other: how one, or a forest of them, is asked of those who grow it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import CLASS_WEIGHTS, RANDOM_STATE, Integer, Number, OneOf, described
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.several_classes import Combinations, SeveralClassifier, indicators
from outgrow.ml.trees.base import MAX_FEATURES, TreeClassifier, TreeModel, TreeRegressor, rest
from outgrow.ml.trees.constraints import NO_ORDER_OF_CLASSES, monotone
from outgrow.ml.trees.leaves import SMALLEST_LEAVES, least_gain, least_split, least_weight
from outgrow.ml.trees.onnx import averaged
from outgrow.ml.trees.plan import Draw, Plan
from outgrow.ml.trees.tree import shares_of, shares_of_each

BINS, XGBOOST_BINS = 4096, 256
"""So many bins a feature has where users do not say: with fewer, trees of many rows are less unlike."""
_OTHER_CRITERION = "Trees seek splits by a sum of squares or by entropy; no other impurity."


class PlantedTrees(TreeModel):
    """What a tree and forests have in common: the parameters of a tree, and the plan to grow."""

    parameters = {
        **SMALLEST_LEAVES,
        "max_depth": Integer(low=1) | None,
        "max_features": MAX_FEATURES,
        "max_leaf_nodes": Integer(low=2) | None,
        "ccp_alpha": Number(low=0),
        "monotonic_cst": described("-1, 0 or 1 for each feature, a dictionary of columns, or None"),
        "max_bins": Integer(low=2) | None,
        "random_state": RANDOM_STATE,
    }

    criterion: str
    max_depth: int | None
    min_samples_split: int | float
    min_samples_leaf: int | float
    min_weight_fraction_leaf: float
    max_leaf_nodes: int | None
    min_impurity_decrease: float
    ccp_alpha: float
    max_bins: int | None
    monotonic_cst: Any
    random_state: Any

    _trees: ClassVar[int] = 1
    """How many there are, where that is no parameter."""

    def _draw(self, rows: int) -> Draw | None:
        """How the rows of each tree are drawn; None where each sees all."""
        return None

    @property
    def _draws_splits(self) -> bool:
        """Whether features are split at numbers drawn at random."""
        return False

    @property
    def _entropy(self) -> bool:
        return self.criterion in ("entropy", "log_loss")

    @property
    def _impurity(self) -> float:
        """What a unit of the impurity that users know is in what the trees lower."""
        return float(np.log(2)) if self._entropy else 1.0

    @property
    def _unit(self) -> float:
        """In what y is measured."""
        return 1.0

    def _plant(
        self, view: MatrixView, label: Callable[[Block], np.ndarray], weight: float, **rest: Any
    ) -> Plan:
        """Squared error without penalty: leaves are means of rows, the forest of its trees.

        `weight` is that of all rows; the trees' is `weight_factor` times as much.
        """
        seed, trees = self._learn_seed(), int(getattr(self, "n_estimators", self._trees))
        whole = weight * rest["weight_factor"]
        price = least_gain(float(self.ccp_alpha) * self._impurity, whole, self._unit)
        growth = {
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "learning_rate": 1 / trees,
            "reg_lambda": 0.0,
            "colsample_bynode": self._share_of_features(view.width),
            # every leaf has a row: only a larger least count is left to XGBoost, which counts weight
            "min_child_weight": least_weight(self, view.rows, whole),
            **least_gain(float(self.min_impurity_decrease) * self._impurity, whole, self._unit),
            "seed": seed,
            "seed_per_iteration": True,
            **monotone(self.monotonic_cst, self.features_, view.width, type(self).__name__),
            **self._shape(view.width, self.max_depth, self.max_bins or XGBOOST_BINS, self.max_leaf_nodes),
        }
        plan = Plan(
            growth,
            trees,
            label,
            sample=self._draw(view.rows),
            apart=True,
            bins=self.max_bins or BINS,
            kinds=self._kinds,
            seed=seed,
            entropy=self._entropy,
            draws_splits=self._draws_splits,
            least_split=least_split(self, view.rows),
            leaf_price=price.get("gamma", 0.0),
            **rest,
        )
        self._grow(view, plan)
        return plan


class PlantedClassifier(SeveralClassifier, PlantedTrees, TreeClassifier):
    """A classifier whose leaves give shares of classes, for one target or several."""

    parameters = {
        **PlantedTrees.parameters,
        "criterion": OneOf("gini", "entropy", "log_loss", advice=_OTHER_CRITERION),
        "class_weight": CLASS_WEIGHTS,
    }
    class_weight: ClassWeight
    _combinations: Combinations

    @property
    def _impurity(self) -> float:
        gini = 0.5  # of two classes, the squares of the second are half of both
        return super()._impurity if self._entropy else gini

    def _fit(self, view: MatrixView) -> None:
        weights, totals = self._weigh_classes(view)
        several = self.target_names_ is not None
        if self.monotonic_cst is not None and (several or len(totals) > 2):
            raise ParameterError(NO_ORDER_OF_CLASSES.format(len(totals)))
        table = self._combinations.indicators() if several else indicators(len(totals))
        label = partial(_indicators, table)
        each = self._combinations.classes if several else [self.classes_]
        widths = tuple(len(classes) if len(classes) > 2 else 1 for classes in each)
        self._plant(view, label, float(totals.sum()), targets=table.shape[1], classes=widths, **weights)

    def _weigh_classes(self, view: MatrixView) -> tuple[dict[str, Any], np.ndarray]:
        if self.target_names_ is None:
            return super()._weigh_classes(view)
        self._combinations = self._learn_combinations(view)
        return self._weigh(
            view, self._combinations.factors(self.class_weight, view.class_weights, self.target_names_)
        )

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._shares(self._ask(X))

    def _shares(self, means: np.ndarray) -> np.ndarray:
        """The shares of the classes of each target, from what its trees say."""
        if self.target_names_ is None:
            return shares_of(np.clip(means, 0.0, 1.0))
        return np.hstack(shares_of_each(means, self.classes_))

    def _to_onnx(self, table: Table) -> Answer:
        return chosen(table.graph, averaged(self, table), self.classes_)


class PlantedRegressor(PlantedTrees, TreeRegressor):
    """A regressor whose leaves give means, for one target or several."""

    parameters = {
        **PlantedTrees.parameters,
        "criterion": OneOf("squared_error", "friedman_mse", advice=_OTHER_CRITERION),
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(self, view: MatrixView) -> None:
        if view.targets is None:
            label, weights, target = self._learn_target(view)
            self._plant(view, label, target.weight, **weights)
        else:
            self._learn_targets(view, view.targets)

    def _learn_targets(self, view: MatrixView, targets: int) -> None:
        """Each tree answers all targets, each with splits of its own; each target has its own unit."""
        for name in ("min_impurity_decrease", "ccp_alpha"):
            if targets > 1 and getattr(self, name):
                raise ParameterError(
                    f"{type(self).__name__}({name}={getattr(self, name)!r}): it is in squares of the unit of "
                    "one target, and there are several. Leave it 0, or learn one by one."
                )
        each = [self._learn_target(view.target(k)) for k in range(targets)]
        offsets, scales = zip(*(target.place() for _, _, target in each), strict=True)
        self.offset_, self.scale_ = np.array(offsets), np.array(scales)
        label = partial(rest, self.offset_, self.scale_)
        _, weights, target = each[0]
        self._plant(view, label, target.weight, targets=targets, **weights)

    def _predict(self, X: Any) -> np.ndarray:
        answered = super()._predict(X)
        return answered if self.target_names_ is None else answered.reshape(len(answered), -1)

    @property
    def n_outputs_(self) -> int:
        """How many targets there are."""
        check_is_fitted(self)
        return int(np.size(self.scale_))

    @property
    def _unit(self) -> float:
        return float(np.max(self.scale_))


def _indicators(table: np.ndarray, block: Block) -> np.ndarray:
    """The rows of a table that belong to the classes of rows, or numbers where it has one column."""
    assert block.y is not None
    return table[block.y] if table.shape[1] > 1 else table[block.y, 0]
