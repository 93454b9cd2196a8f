"""What forests have in common: trees that see samples of the rows, their mean, and what they have "
"not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import Training, open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import (
    FLAG,
    FUNCTION,
    RANDOM_STATE,
    Integer,
    Share,
    Unused,
    described,
)
from outgrow.ml.trees.asking import restored
from outgrow.ml.trees.base import MAX_FEATURES, TreeModel
from outgrow.ml.trees.constraints import monotone
from outgrow.ml.trees.forest import rescaled
from outgrow.ml.trees.leaves import SMALLEST_LEAVES, check_split, least_gain, least_weight
from outgrow.ml.trees.out_of_bag import beside, gathered, labels, out_of_bag
from outgrow.ml.trees.plan import Draw, Plan
from outgrow.ml.trees.tree import TreeStructure

BINS, XGBOOST_BINS = 4096, 256
"""So many bins a feature has where users do not say: with fewer, trees of many rows are less unlike."""
LEAST_DRAWN = 16
"""So many rows a tree sees on average at least, where there are as many: it might see none else."""
UNSEEN = (
    "Some inputs do not have OOB scores. This probably means too few trees were used to compute any "
    "reliable OOB "
    "estimates."
)
NO_NEW_TREES = "Warm-start fitting without increasing n_estimators does not fit new trees."
OutOfBag = bool | Callable[[Any, Any], float]


class BaseForest(TreeModel):
    """What the two forests have in common: the parameters, and how XGBoost grows trees by themselves."""

    parameters = {
        **SMALLEST_LEAVES,
        "n_estimators": Integer(low=1),
        "max_depth": Integer(low=1) | None,
        "max_features": MAX_FEATURES,
        "max_leaf_nodes": Integer(low=2) | None,
        "bootstrap": FLAG,
        "oob_score": FLAG | FUNCTION,
        "warm_start": FLAG,
        "max_samples": Integer(low=1) | Share(above=0) | None,
        "monotonic_cst": described("-1, 0 or 1 for each feature, a dictionary of columns, or None"),
        "max_bins": Integer(low=2) | None,
        "random_state": RANDOM_STATE,
        "n_jobs": Unused(),
        "verbose": Unused(),
    }
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "row sampling draws rows, not weights",
    )
    exempt = {**TreeModel.exempt, "weights_are_repetitions": "row sampling draws rows, not weights"}
    test_parameters = {"n_estimators": 5, "random_state": 0}

    n_estimators: int
    criterion: str
    max_depth: int | None
    min_samples_split: int | float
    min_samples_leaf: int | float
    min_weight_fraction_leaf: float
    max_leaf_nodes: int | None
    min_impurity_decrease: float
    bootstrap: bool
    oob_score: OutOfBag
    warm_start: bool
    ccp_alpha: float
    max_samples: int | float | None
    max_bins: int | None
    monotonic_cst: Any
    random_state: Any

    oob_score_: float
    oob_unseen_: int

    _impurity: ClassVar[float] = 1.0
    """What a decrease of the squared error by one is in the impurity of `min_impurity_decrease`."""

    def _check_parameters(self) -> None:
        check_split(self)
        if self.criterion == "friedman_mse":
            warnings.warn(
                "criterion='friedman_mse' is the squared error for trees that are not boosted: give "
                "'squared_error'.",
                FutureWarning,
                stacklevel=4,
            )
        if self.max_samples is not None and not self.bootstrap:
            raise ParameterError(
                "`max_sample` cannot be set if `bootstrap=False`. Either switch to `bootstrap=True` or set "
                "`max_sample=None`."
            )
        if self.oob_score and not self.bootstrap:
            raise ParameterError(
                "Out of bag estimation only available if bootstrap=True: without it each tree sees all rows."
            )

    def _draw(self, rows: int) -> Draw | None:
        """How the rows of each tree are drawn."""
        if not self.bootstrap:
            return None
        wish = 1.0 if self.max_samples is None else self.max_samples
        count = min(wish, rows) if isinstance(wish, Integral) else min(wish, 1.0) * rows
        return Draw(max(float(count), float(min(rows, LEAST_DRAWN))) / rows, replacement=True)

    def _plant(
        self, view: MatrixView, label: Callable[[Block], np.ndarray], weight: float, **rest: Any
    ) -> None:
        """Squared error without penalty: leaves are means of rows, the forest of its trees.

        `weight` is that of all rows; the trees' is `weight_factor` times as much.
        """
        seed = self._learn_seed()
        whole = weight * rest["weight_factor"]
        growth = {
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "learning_rate": 1 / int(self.n_estimators),
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
            int(self.n_estimators),
            label,
            sample=self._draw(view.rows),
            apart=True,
            bins=self.max_bins or BINS,
            kinds=self._kinds,
            seed=seed,
            **rest,
        )
        self._grow(view, plan)
        if self.oob_score:
            self._learn_out_of_bag(view, replace(plan, numbers=self.zeros_))

    @property
    def _unit(self) -> float:
        """In what y is measured."""
        return 1.0

    def _begun(self, view: MatrixView, rounds: int) -> bytes | None:
        content = super()._begun(view, rounds)
        return None if content is None else rescaled(content, self._earlier_rounds(content) / rounds)

    @staticmethod
    def _earlier_rounds(content: bytes) -> int:
        return int(restored(content).num_boosted_rounds())

    def _lacks_something(self) -> bool:
        return bool(self.oob_score) and not hasattr(self, "oob_score_")

    def _nothing_to_grow(self) -> None:
        warnings.warn(NO_NEW_TREES, UserWarning, stacklevel=4)

    def _fit_on_engine(self, data: Training) -> Self:
        if not self._goes_on:
            for name in ("oob_score_", "oob_unseen_", "oob_prediction_", "oob_decision_function_"):
                self.__dict__.pop(name, None)
        super()._fit_on_engine(data)
        if self.oob_score and self.oob_unseen_:
            warnings.warn(UNSEEN, UserWarning, stacklevel=3)
        return self

    def _learn_out_of_bag(self, view: MatrixView, plan: Plan) -> None:
        means, unseen = out_of_bag(view, plan, self._booster, self.zeros_absent_)
        count = np.array([float((unseen == 0).sum())])
        never = view.run.call(lambda: view.run.combine(count))
        self.oob_unseen_ = int(never[0])
        said, answered = self._out_of_bag_answers(means)
        y, found = gathered(view, self._out_of_bag_labels(view, plan), said)
        self.oob_score_ = self._out_of_bag_score(y, found)
        if view.run.comm.size == 1:
            self._keep_out_of_bag(beside(view, plan, answered))

    def _out_of_bag_labels(self, view: MatrixView, plan: Plan) -> np.ndarray:
        """The y of the rows of this rank that weigh something, as `score` takes it."""
        return labels(view, plan)

    def _out_of_bag_answers(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What trees predict for rows they did not see, as `score` takes it and as it is kept."""
        raise NotImplementedError

    def _out_of_bag_score(self, y: np.ndarray, said: np.ndarray) -> float:
        raise NotImplementedError

    def _keep_out_of_bag(self, answered: np.ndarray) -> None:
        raise NotImplementedError

    def _settings_of_trees(self) -> dict[str, Any]:
        return {
            "max_depth": self.max_depth,
            "min_impurity_decrease": self.min_impurity_decrease,
            "zeros_absent": self._absent,
        }

    @property
    def estimators_(self) -> list[Any]:
        """The trees, each a fitted model of its own that takes arrays as the trees see them."""
        rounds = self._structures(1 / self._grown_rounds())
        return [self._tree(trees, self.seed_ + number) for number, trees in enumerate(rounds)]

    def _tree(self, trees: list[TreeStructure], seed: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        check_is_fitted(self)
        return self._grown_rounds()

    def __getitem__(self, index: Any) -> Any:
        return self.estimators_[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.estimators_)

    def decision_path(self, X: Any) -> tuple[sp.csr_array, np.ndarray]:
        """Which nodes of each tree each row passes, and where the nodes of each tree begin.

        Parameters
        ----------
        X : array of shape (rows, features), or a table.

        Returns
        -------
        indicator : csr_array of shape (rows, nodes of all trees).
        starts : ndarray of shape (trees + 1,).
        """
        check_is_fitted(self)
        rows = collect(open_rows(self, X), self._matrix)
        paths = [tree.decision_path(rows) for tree in self.estimators_]
        starts = np.cumsum([0, *(path.shape[1] for path in paths)])
        return sp.csr_array(sp.hstack(paths)), starts
