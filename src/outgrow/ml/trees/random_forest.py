"""Random forests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from outgrow.engine.matrix import Block, MatrixView
from outgrow.ml import parameters as check
from outgrow.ml.trees.base import MaxFeatures, TreeClassifier, TreeModel, TreeRegressor
from outgrow.ml.trees.plan import Plan
from outgrow.ml.weights import ClassWeight

BOOTSTRAP = 0.632
"""The share of different rows in a sample of all rows with replacement: 1 - 1/e."""


class _Forest(TreeModel):
    """What the two forests have in common: the parameters, and how XGBoost grows trees by themselves."""

    without_effect = ("n_jobs", "verbose")

    n_estimators: int
    max_depth: int | None
    min_samples_leaf: int
    max_samples: float | None
    max_bins: int
    random_state: Any

    def _check_parameters(self) -> None:
        check.integer(self, "n_estimators", low=1)
        check.integer(self, "max_depth", low=1, none=True)
        self._check_max_features()
        check.integer(self, "min_samples_leaf", low=1)
        check.number(self, "max_samples", above=0, high=1, none=True)
        check.integer(self, "max_bins", low=2)
        check.random_state(self)

    def _plant(self, view: MatrixView, label: Callable[[Block], np.ndarray], **weights: Any) -> None:
        """Squared error without penalty: leaves are means of rows, the forest of its trees."""
        seed = check.seed(self.random_state)
        growth = {
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "learning_rate": 1 / int(self.n_estimators),
            "reg_lambda": 0.0,
            "colsample_bynode": self._share_of_features(view.width),
            # every leaf has a row: only a larger least count is left to XGBoost, which counts weight
            "min_child_weight": 0.0 if self.min_samples_leaf == 1 else float(self.min_samples_leaf),
            "seed": seed,
            "seed_per_iteration": True,
            **self._shape(view.width, self.max_depth, self.max_bins),
        }
        plan = Plan(
            growth,
            int(self.n_estimators),
            label,
            sample=BOOTSTRAP if self.max_samples is None else float(self.max_samples),
            apart=True,
            kinds=self._kinds,
            seed=seed,
            **weights,
        )
        self._grow(view, plan)


class RandomForestClassifier(_Forest, TreeClassifier):
    """Average the class shares of trees grown on samples of the rows (Breiman 2001).

    XGBoost's histogram method grows the trees; it needs the extra `trees`. As in scikit-learn, a leaf gives
    the share of each class among its rows and the forest averages shares. Three things differ from it. Each
    tree sees 63.2 % of the rows without replacement, which approximates a bootstrap sample. Splits are sought
    among `max_bins` bins. And with more than two classes each class has trees of its own, whose shares are
    normalised. Missing numbers, categories, sparse rows and several ranks are as in
    `GradientBoostingClassifier`. There is no `oob_score`, as of rows with equal features each tree sees a
    share, so that none is left out of a tree, and no `warm_start`, as a fit is whole or not at all.

    Spark MLlib's `RandomForestClassifier` differs in names and defaults: `numTrees=20`, `maxDepth=5`,
    `maxBins=32`, `featureSubsetStrategy='auto'` (the root, as here), `subsamplingRate=1.0` with replacement,
    `minInstancesPerNode=1`, and trees that split on the classes together.

    Parameters
    ----------
    n_estimators : trees; for each of more than two classes that many.
    max_depth : most splits from the root to a leaf; None for no limit.
    max_features : features tried at each split: 'sqrt', 'log2', a share, a number, or None for all.
    min_samples_leaf : fewest rows in a leaf; rows count by their weight.
    max_samples : share of the rows each tree sees, without replacement; None for 0.632.
    max_bins : bins of each feature.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    categories_ : the categories of each column of text.
    feature_importances_ : ndarray of shape (features,): each one's share of the impurity that splits took
        away.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat(["low", "high"], 10)
    >>> og.RandomForestClassifier(random_state=0).fit(X, y).predict(np.array([[3.0], [16.0]])).tolist()
    ['low', 'high']
    """

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int | None = None,
        max_features: MaxFeatures = "sqrt",
        min_samples_leaf: int = 1,
        max_samples: float | None = None,
        max_bins: int = 256,
        class_weight: ClassWeight = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.max_samples = max_samples
        self.max_bins = max_bins
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _learn(self, view: MatrixView) -> None:
        weights, totals = self._weigh_classes(view)
        targets = len(totals) if len(totals) > 2 else 1
        self._plant(view, partial(_indicators, len(totals)), targets=targets, **weights)

    def _answer_predict_proba(self, X: Any) -> np.ndarray:
        shares = np.clip(self._ask(X), 0.0, 1.0)
        if shares.ndim == 1:
            return np.column_stack([1 - shares, shares])
        total = shares.sum(axis=1, keepdims=True)
        return np.divide(shares, total, out=np.full_like(shares, 1 / shares.shape[1]), where=total > 0)


class RandomForestRegressor(_Forest, TreeRegressor):
    """Average the means of trees grown on samples of the rows (Breiman 2001).

    XGBoost's histogram method grows the trees; it needs the extra `trees`. Two things differ from
    scikit-learn: each tree sees 63.2 % of the rows without replacement, which approximates a bootstrap
    sample, and splits are sought among `max_bins` bins. Missing numbers, categories, sparse rows and several
    ranks are as in `GradientBoostingClassifier`.

    Spark MLlib's `RandomForestRegressor` differs in names and defaults: `numTrees=20`, `maxDepth=5`,
    `maxBins=32`, `featureSubsetStrategy='auto'` (a third; all here, as in scikit-learn),
    `subsamplingRate=1.0` with replacement.

    Parameters
    ----------
    n_estimators : trees.
    max_depth : most splits from the root to a leaf; None for no limit.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_samples_leaf : fewest rows in a leaf; rows count by their weight.
    max_samples : share of the rows each tree sees, without replacement; None for 0.632.
    max_bins : bins of each feature.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    offset_, scale_ : the trees predict how many `scale_` y lies above `offset_`, its mean.
    categories_ : the categories of each column of text.
    feature_importances_ : ndarray of shape (features,): each one's share of the squared error that splits
        took away.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat([10.0, 20.0], 10)
    >>> model = og.RandomForestRegressor(random_state=0).fit(X, y)
    >>> model.predict(np.array([[1.0], [18.0]])).round(3).tolist()
    [10.0, 20.0]
    """

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int | None = None,
        max_features: MaxFeatures = 1.0,
        min_samples_leaf: int = 1,
        max_samples: float | None = None,
        max_bins: int = 256,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.max_samples = max_samples
        self.max_bins = max_bins
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _learn(self, view: MatrixView) -> None:
        label, weights = self._learn_target(view)
        self._plant(view, label, **weights)


def _indicators(classes: int, block: Block) -> np.ndarray:
    """Whether a row is of the second of two classes, or of each of more."""
    assert block.y is not None
    return block.y if classes == 2 else np.eye(classes, dtype=np.float32)[block.y]
