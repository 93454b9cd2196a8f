"""What forests have in common: trees that see samples of the rows, their mean, and what they have "
"not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import Training, open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import FLAG, FUNCTION, Integer, Share, Unused
from outgrow.ml.trees.asking import restored
from outgrow.ml.trees.base import TreeModel
from outgrow.ml.trees.forest import rescaled
from outgrow.ml.trees.out_of_bag import beside, gathered, labels, out_of_bag
from outgrow.ml.trees.plan import Draw, Plan
from outgrow.ml.trees.planted import PlantedTrees
from outgrow.ml.trees.tree import TreeStructure

LEAST_DRAWN = 16
"""So many rows a tree sees on average at least, where there are as many: it might see none else."""
UNSEEN = (
    "Some inputs do not have OOB scores. This probably means too few trees were used to compute any "
    "reliable OOB "
    "estimates."
)
NO_NEW_TREES = "Warm-start fitting without increasing n_estimators does not fit new trees."
OutOfBag = bool | Callable[[Any, Any], float]


class BaseForest(PlantedTrees):
    """What forests have in common: samples of the rows, their scores, and trees to walk through."""

    parameters = {
        **PlantedTrees.parameters,
        "n_estimators": Integer(low=1),
        "bootstrap": FLAG,
        "oob_score": FLAG | FUNCTION,
        "warm_start": FLAG,
        "max_samples": Integer(low=1) | Share(above=0) | None,
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
    bootstrap: bool
    oob_score: OutOfBag
    warm_start: bool
    max_samples: int | float | None

    oob_score_: float
    oob_unseen_: int

    def _check_parameters(self) -> None:
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
    ) -> Plan:
        plan = super()._plant(view, label, weight, **rest)
        if self.oob_score:
            self._learn_out_of_bag(view, replace(plan, numbers=self.zeros_))
        return plan

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
