"""What random forests and forests of extremely random trees have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import r2_score

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import OneOf
from outgrow.ml.several_classes import joined
from outgrow.ml.trees.plan import Plan
from outgrow.ml.trees.planted import PlantedClassifier, PlantedRegressor
from outgrow.ml.trees.random_forest_base import BaseForest
from outgrow.ml.trees.tree import ClassificationTree, RegressionTree, TreeStructure


class ForestClassifier(BaseForest, PlantedClassifier):
    """A forest that averages shares of classes."""

    no_exports: ClassVar[dict[str, str]] = {
        "scikit-learn": "XGBoost has no forest that averages shares of classes"
    }
    parameters = {**PlantedClassifier.parameters, **BaseForest.parameters}

    def _weigh_classes(self, view: MatrixView) -> tuple[dict[str, Any], np.ndarray]:
        weights = super()._weigh_classes(view)
        if self.target_names_ is None or not self.oob_score:
            return weights
        largest = max(map(len, self.classes_))
        if largest > 2 or not all(each.dtype.kind in "biu" for each in self.classes_):
            raise ParameterError(
                "The type of target cannot be used to compute OOB estimates: of several targets each must "
                f"have two classes that are numbers, and one has {largest}. Leave oob_score False."
            )
        return weights

    def _tree(self, trees: list[TreeStructure], seed: int) -> ClassificationTree:
        return ClassificationTree(trees, self.classes_, random_state=seed, **self._settings_of_trees())

    def _out_of_bag_answers(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shares = self._shares(means)
        if self.target_names_ is None:
            return shares.argmax(axis=1), shares
        return self._most_probable(shares), np.stack(self._each(shares), axis=2)

    def _out_of_bag_labels(self, view: MatrixView, plan: Plan) -> np.ndarray:
        y = super()._out_of_bag_labels(view, plan)
        if self.target_names_ is None:
            return y
        pairs = zip(self._combinations.codes[y.astype(np.intp)].T, self.classes_, strict=True)
        return joined([classes[codes] for codes, classes in pairs])

    def _out_of_bag_score(self, y: np.ndarray, said: np.ndarray) -> float:
        if callable(self.oob_score):
            if self.target_names_ is None:
                y, said = self.classes_[y.astype(np.intp)], self.classes_[said]
            return float(self.oob_score(y, said))
        return float((y == said).reshape(len(y), -1).all(axis=1).mean())

    def _keep_out_of_bag(self, answered: np.ndarray) -> None:
        self.oob_decision_function_ = answered


class ForestRegressor(BaseForest, PlantedRegressor):
    """A forest that averages means."""

    parameters = {**PlantedRegressor.parameters, **BaseForest.parameters}

    def _tree(self, trees: list[TreeStructure], seed: int) -> RegressionTree:
        return RegressionTree(
            trees, self.offset_, self.scale_, random_state=seed, **self._settings_of_trees()
        )

    def _out_of_bag_answers(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        said = (means[:, 0] if self.target_names_ is None else means) * self.scale_ + self.offset_
        return said, said

    def _out_of_bag_score(self, y: np.ndarray, said: np.ndarray) -> float:
        score = self.oob_score if callable(self.oob_score) else r2_score
        return float(score(y, said))

    def _keep_out_of_bag(self, answered: np.ndarray) -> None:
        self.oob_prediction_ = answered


class ExtraForest(BaseForest):
    """A forest whose splits are drawn."""

    parameters = {
        "monotonic_cst": OneOf(None, advice="Give it to a random forest or to boosting."),
    }
    exempt: ClassVar[dict[str, str]] = {}
    expected_failed_checks: ClassVar[dict[str, str]] = {}

    @property
    def _draws_splits(self) -> bool:
        return True
