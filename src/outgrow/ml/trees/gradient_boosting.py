"""Gradient boosted trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml import parameters as check
from outgrow.ml.trees.base import MaxFeatures, TreeClassifier, TreeModel, TreeRegressor
from outgrow.ml.trees.constraints import interactions, monotone
from outgrow.ml.trees.plan import Plan
from outgrow.ml.weights import ClassWeight


class _Boosting(TreeModel):
    """What the two models have in common: the parameters, and how they read for XGBoost."""

    without_effect = ("n_jobs", "verbose")
    tells_rounds = True

    n_estimators: int
    learning_rate: float
    max_depth: int | None
    subsample: float
    min_child_weight: float
    l2_regularization: float
    l1_regularization: float
    max_bins: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    monotonic_cst: Any
    interaction_cst: Any
    random_state: Any

    def _check_parameters(self) -> None:
        check.integer(self, "n_estimators", low=1)
        check.number(self, "learning_rate", above=0)
        check.integer(self, "max_depth", low=1, none=True)
        check.number(self, "subsample", above=0, high=1)
        self._check_max_features()
        for name in ("min_child_weight", "l2_regularization", "l1_regularization"):
            check.number(self, name, low=0)
        check.integer(self, "max_bins", low=2)
        check.one_of(self, "early_stopping", [True, False])
        check.number(self, "validation_fraction", above=0, high=0.9)
        check.integer(self, "n_iter_no_change", low=1)
        check.random_state(self)

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        """What the trees say as the model answers it."""
        raise NotImplementedError

    def _boost(self, view: MatrixView, objective: dict[str, Any], **plan: Any) -> None:
        stop, seed = bool(self.early_stopping), check.seed(self.random_state)
        tell = None if view.watch is None else view.watch.tell
        grown = self._grow(
            view,
            Plan(
                {**self._growth(view.width, seed), **objective},
                int(self.n_estimators),
                held_out=float(self.validation_fraction) if stop else 0.0,
                patience=int(self.n_iter_no_change) if stop else 0,
                seed=seed,
                sample=float(self.subsample),
                kinds=self._kinds,
                told=None if tell is None else lambda share, raw: tell(share, self._from_raw(raw)),
                **plan,
            ),
        )
        self.n_iter_ = grown.rounds
        self.best_iteration_ = self.n_iter_ - 1
        self.train_loss_, self.validation_loss_ = grown.train_loss, grown.validation_loss

    def _growth(self, width: int, seed: int) -> dict[str, Any]:
        return {
            **monotone(self.monotonic_cst, self.features_, width),
            **interactions(self.interaction_cst, width),
            "learning_rate": float(self.learning_rate),
            "colsample_bynode": self._share_of_features(width),
            "min_child_weight": float(self.min_child_weight),
            "reg_lambda": float(self.l2_regularization),
            "reg_alpha": float(self.l1_regularization),
            "seed": seed,
            "seed_per_iteration": True,
            **self._shape(width, self.max_depth, self.max_bins),
        }


class GradientBoostingClassifier(_Boosting, TreeClassifier):
    """Add trees one after the other, each a Newton step that lowers the log loss.

    Gradient boosting is Friedman's (2001), the Newton step and the penalties are Chen and Guestrin's (2016).

    XGBoost's histogram method grows the trees; it needs the extra `trees`. Missing numbers go to the better
    side of each split. Columns of text are categories, split into two sets; categories not seen at fit count
    as missing. Features are kept as float32. In models that learn from sparse rows a zero counts as missing,
    which is several times faster on one-hot columns. The bins come from a sample of 200,000 rows that their
    hashes choose, and so are the rows of each tree with `subsample` below 1: the same on any partitioning.
    Weights whose mean is below 1 are scaled to mean 1, so that penalties and `min_child_weight` count rows.

    `max_depth=6` and the penalties are XGBoost's defaults, the rest of the names is that of scikit-learn's
    `HistGradientBoostingClassifier` and `GradientBoostingClassifier`. Spark MLlib's `GBTClassifier` has two
    classes only, no penalties, and other names and defaults: `maxIter=20` for n_estimators, `stepSize=0.1`
    for learning_rate, `maxDepth=5`, `maxBins=32`, `subsamplingRate=1.0`, `featureSubsetStrategy='all'` for
    max_features, `minInstancesPerNode=1`, `validationTol` for early stopping.

    Parameters
    ----------
    n_estimators : rounds; each grows one tree, or one for each of more than two classes.
    learning_rate : factor of each tree.
    max_depth : most splits from the root to a leaf; None for no limit.
    subsample : share of the rows each tree sees, drawn without replacement.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_child_weight : least sum of the loss's second derivatives in a leaf.
    l2_regularization, l1_regularization : penalties of the leaves' values.
    max_bins : bins of each feature.
    early_stopping : hold out rows and stop when they gain nothing; only the trees up to the best round are
        kept.
    validation_fraction : share of the rows held out, chosen by the hash of their features.
    n_iter_no_change : rounds without gain after which to stop.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of feature numbers that may follow one another in a tree; the features in none
        make one more. 'pairwise' and 'no_interactions' as in scikit-learn. None for any.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    categories_ : the categories of each column of text.
    n_iter_ : rounds kept.
    best_iteration_ : the last of them, counted from 0.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    train_loss_ : ndarray of the mean log loss after each round. It costs a tenth of the training, so
        it is empty unless somebody listens to events (`outgrow.listen`) or with early stopping.
    validation_loss_ : the same of the rows held out; empty without early stopping.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [np.nan], [np.nan]])
    >>> y = np.array(["low", "low", "high", "high", "none", "none"])
    >>> model = og.GradientBoostingClassifier(min_child_weight=0.0).fit(X, y)
    >>> model.predict(np.array([[1.5], [3.5], [np.nan]])).tolist()
    ['low', 'high', 'none']
    """

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        learning_rate: float = 0.1,
        max_depth: int | None = 6,
        subsample: float = 1.0,
        max_features: MaxFeatures = None,
        min_child_weight: float = 1.0,
        l2_regularization: float = 1.0,
        l1_regularization: float = 0.0,
        max_bins: int = 256,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        class_weight: ClassWeight = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.max_features = max_features
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.l1_regularization = l1_regularization
        self.max_bins = max_bins
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _learn(self, view: MatrixView) -> None:
        weights, totals = self._weigh_classes(view)
        if self.monotonic_cst is not None and len(totals) > 2:
            raise ParameterError(
                "monotonic_cst says how the second of two classes may go; there are "
                f"{len(totals)} classes. Leave it out."
            )
        objective: dict[str, Any] = {"objective": "multi:softprob", "num_class": len(totals)}
        if len(totals) == 2:
            objective = {"objective": "binary:logistic", "base_score": float(totals[1] / totals.sum())}
        self._boost(view, objective, label=_index, **weights)

    def _answer_predict_proba(self, X: Any) -> np.ndarray:
        return self._from_raw(self._ask(X))

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """The probabilities for an array or a table after the first round, the first two, ..."""
        return map(self._from_raw, self._staged(X, self.n_iter_))

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The predictions for an array or a table after the first round, the first two, ..."""
        return (self.classes_[shares.argmax(axis=1)] for shares in self.staged_predict_proba(X))

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        if raw.ndim == 1:
            return np.column_stack([1 - raw, raw])
        # float32 shares sum to one only nearly
        return raw / raw.sum(axis=1, keepdims=True)


class GradientBoostingRegressor(_Boosting, TreeRegressor):
    """Add trees one after the other, each lowering the squared error (Friedman 2001; Chen and Guestrin 2016).

    See `GradientBoostingClassifier` for how missing values, categories, sparse rows and several ranks are
    treated, and where scikit-learn and Spark MLlib (`GBTRegressor`: `maxIter=20`, `stepSize=0.1`,
    `maxDepth=5`, `maxBins=32`) differ. The trees predict the difference from the mean of y.

    Parameters
    ----------
    n_estimators : rounds, each of one tree.
    learning_rate : factor of each tree.
    max_depth : most splits from the root to a leaf; None for no limit.
    subsample : share of the rows each tree sees, drawn without replacement.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_child_weight : least weight of the rows in a leaf.
    l2_regularization, l1_regularization : penalties of the leaves' values.
    max_bins : bins of each feature.
    early_stopping : hold out rows and stop when they gain nothing; only the trees up to the best round are
        kept.
    validation_fraction : share of the rows held out, chosen by the hash of their features.
    n_iter_no_change : rounds without gain after which to stop.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of feature numbers that may follow one another in a tree; the features in none
        make one more. 'pairwise' and 'no_interactions' as in scikit-learn. None for any.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    offset_, scale_ : the trees predict how many `scale_` y lies above `offset_`, its mean.
    categories_ : the categories of each column of text.
    n_iter_ : rounds kept.
    best_iteration_ : the last of them, counted from 0.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    train_loss_ : ndarray of the root mean squared error after each round; empty unless somebody listens to
        events (`outgrow.listen`) or with early stopping.
    validation_loss_ : the same of the rows held out; empty without early stopping.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([10.0, 10.0, 20.0, 20.0])
    >>> model = og.GradientBoostingRegressor(learning_rate=0.5, l2_regularization=0.0).fit(X, y)
    >>> model.predict(np.array([[0.0], [9.0]])).round(3).tolist()
    [10.0, 20.0]
    """

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        learning_rate: float = 0.1,
        max_depth: int | None = 6,
        subsample: float = 1.0,
        max_features: MaxFeatures = None,
        min_child_weight: float = 1.0,
        l2_regularization: float = 1.0,
        l1_regularization: float = 0.0,
        max_bins: int = 256,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.max_features = max_features
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.l1_regularization = l1_regularization
        self.max_bins = max_bins
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _learn(self, view: MatrixView) -> None:
        label, weights = self._learn_target(view)
        # the penalty is of leaves in units of y; that of squares is the same in any
        objective = {
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "reg_alpha": float(self.l1_regularization) / self.scale_,
        }
        self._boost(view, objective, label=label, **weights)
        self.train_loss_, self.validation_loss_ = (
            losses * self.scale_ for losses in (self.train_loss_, self.validation_loss_)
        )

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        return raw * self.scale_ + self.offset_

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The predictions for an array or a table after the first round, the first two, ..."""
        return map(self._from_raw, self._staged(X, self.n_iter_))


def _index(block: Any) -> np.ndarray:
    """The class of each row as XGBoost wants it: a number from 0."""
    return block.y
