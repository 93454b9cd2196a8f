"""Gradient boosted trees under the names and with the defaults of scikit-learn's "
"`HistGradientBoosting...`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.categories import is_text
from outgrow.ml.core.parameters import CLASS_WEIGHT, FLAG, Integer, Number, OneOf, Share, described
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.trees.base import MaxFeatures
from outgrow.ml.trees.boosting import Boosting, BoostingClassifier, BoostingRegressor, Settings
from outgrow.ml.trees.categorical import chosen
from outgrow.ml.trees.losses import CLASSIFICATION, REGRESSION

AUTO_ROWS = 10_000
"""With more rows `early_stopping='auto'` stops early."""
LEAST_HESSIAN = 1e-3
"""The least sum of second derivatives in a leaf, as in scikit-learn."""


class _HistGradientBoosting(Boosting):
    """What the parameters of both say."""

    max_iter: int
    l2_regularization: float
    categorical_features: Any
    early_stopping: str | bool
    validation_fraction: float | None
    n_iter_no_change: int

    is_categorical_: np.ndarray | None
    parameters = {
        **Boosting.parameters,
        "max_iter": Integer(low=1),
        "min_samples_leaf": Integer(low=1) | Share(above=0, high=1),
        "categorical_features": described("'from_dtype', columns by name or number, a mask, or None"),
        "early_stopping": FLAG | "auto",
        "n_iter_no_change": Integer(low=1),
    }
    test_parameters = {"max_iter": 5}
    _whole_steps = True
    _rounds_name = "max_iter"

    def _settings(self, rows: int) -> Settings:
        wanted = rows > AUTO_ROWS or self._holds_out
        stops = wanted if self.early_stopping == "auto" else bool(self.early_stopping)
        return Settings(
            int(self.max_iter),
            min_child_weight=LEAST_HESSIAN,
            l2=float(self.l2_regularization),
            patience=int(self.n_iter_no_change) if stops else None,
            held_out=float(self.validation_fraction or 0.0),
            keep_best=False,
        )

    def _categorical(self, example: Batch, task: Task) -> list[str]:
        names = list(task.features(example))
        text = [name for name in names if is_text(example[name])]
        named = [] if _by_type(self.categorical_features) else chosen(self.categorical_features, names)
        if vectors := [name for name in named if isinstance(example[name], Matrix)]:
            raise ParameterError(
                f"categorical_features has {vectors}, which are vectors. Give single columns."
            )
        found = [name for name in names if name in text or name in named]
        self.is_categorical_ = np.array([name in found for name in names]) if found else None
        self._check_directions(found, names)
        return found

    def _check_directions(self, categories: list[str], names: list[str]) -> None:
        signs = self.monotonic_cst
        if signs is None or not categories:
            return
        named = signs if isinstance(signs, Mapping) else dict(zip(names, signs, strict=False))
        if clash := [name for name in categories if named.get(name)]:
            raise ParameterError(
                f"Categorical features cannot have monotonic constraints: {clash} have both. Leave one out."
            )

    def _check_categories(self, names: list[str]) -> None:
        for name, values in self.categories_.items():
            if len(values) > self.max_bins:
                place = names.index(name)
                shown = f"at index {place}" if name == f"x{place}" else repr(name)
                raise DataError(
                    f"Categorical feature {shown} is expected to have a cardinality <= {self.max_bins} but "
                    f"actually has a cardinality of {len(values)}. Merge rare ones, or raise max_bins."
                )

    @property
    def do_early_stopping_(self) -> bool:
        """Whether the rounds could end early."""
        return len(self.scores_) > 0

    @property
    def train_score_(self) -> np.ndarray:
        """After each round, what early stopping looked at among the rows learned from; greater is better."""
        watched = self.validation_fraction is None and self.do_early_stopping_
        return self.scores_ if watched else -self.train_loss_

    @property
    def validation_score_(self) -> np.ndarray:
        """After each round, what early stopping looked at among the rows held out; greater is better."""
        return np.zeros(0) if self.validation_fraction is None else self.scores_


class HistGradientBoostingClassifier(_HistGradientBoosting, BoostingClassifier):
    """Add trees one after the other, each a Newton step that lowers the log loss, as scikit-learn names it.

    It grows trees as `GradientBoostingClassifier` does, whose docs say how missing values, categories,
    sparse rows and several ranks are treated; parameters, defaults and early stopping are those of
    scikit-learn's class. With more than two classes each tree makes a whole step of Newton's method, twice
    XGBoost's, so that the same `learning_rate` and rounds come as far as scikit-learn's. The defaults of
    `max_leaf_nodes` and `min_samples_leaf` suit many rows.

    Parameters
    ----------
    loss : 'log_loss', or for two classes 'exponential', AdaBoost's.
    learning_rate : factor of each tree.
    max_iter : rounds; each grows one tree, or one for each of more than two classes.
    max_leaf_nodes : most leaves of a tree, which grows best-first; None for no limit, level by level.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_leaf : fewest rows in a leaf, or their share. XGBoost counts them by the loss's second
        derivatives: in the first round so many rows, later, where predictions are sure, more.
    l2_regularization : penalty of the leaves' values.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    max_bins : bins of each feature, and most values of a category.
    categorical_features : 'from_dtype' for columns of text or categories; or, beside those, columns of
        numbers by name, by number, or as a mask. None for no columns of numbers.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of features, by name or number, that may follow one another in a tree; the
        features in none make one more. 'pairwise' and 'no_interactions' for all pairs, and for none. None
        for any.
    warm_start : a fit adds trees to those of the last one.
    early_stopping : stop when the watched rows gain nothing; 'auto' does with more than 10,000 rows, and
        where `validation_by=` or `validation_time=` is given. The last rounds, which gained nothing, stay, as
        in scikit-learn.
    scoring : what must gain: 'loss', the name of one of scikit-learn's scorers, a scorer, or None for
        accuracy. A scorer is asked each round about the watched rows of all ranks, which each rank then
        holds.
    validation_fraction : share of the rows held out, chosen by the hash of their features, or of their key
        with `fit(..., validation_by=)`, a column of any type whose rows are held out together; or the last
        rows by `fit(..., validation_time=)`, a column of numbers, dates or times. Neither is a feature. None
        to watch the rows that are learned from.
    n_iter_no_change : rounds without gain after which to stop.
    tol : the least gain.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    random_state : seed of the samples; None means 0.
    verbose : as scikit-learn has it; it changes nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    categories_ : the categories of each column that has some.
    is_categorical_ : ndarray of whether each column is a category; None where none is.
    n_iter_ : rounds.
    n_trees_per_iteration_ : trees of a round.
    train_score_, validation_score_ : after each round, minus the loss, or what `scoring` said.
    estimators_ : ndarray of the trees, as small fitted models to be walked through.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: XGBoost's trees; `min_samples_leaf` counts by second derivatives; columns of text are
    categories.

    Unlike Spark MLlib: as `GradientBoostingClassifier`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(100.0).reshape(-1, 1), np.repeat(["low", "high"], 50)
    >>> og.HistGradientBoostingClassifier().fit(X, y).predict(np.array([[3.0], [88.0]])).tolist()
    ['low', 'high']
    """

    parameters = {
        **_HistGradientBoosting.parameters,
        "loss": OneOf(*CLASSIFICATION),
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int | float = 20,
        l2_regularization: float = 0.0,
        max_features: MaxFeatures = 1.0,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: str | bool = "auto",
        scoring: Any = "loss",
        validation_fraction: float | None = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        verbose: int = 0,
        random_state: Any = None,
        class_weight: ClassWeight = None,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.class_weight = class_weight


class HistGradientBoostingRegressor(_HistGradientBoosting, BoostingRegressor):
    """Add trees one after the other, each lowering the loss, as scikit-learn names it.

    It grows the same trees as `GradientBoostingRegressor`; parameters, defaults and early stopping are those
    of scikit-learn's class. See `HistGradientBoostingClassifier`.

    Parameters
    ----------
    loss : 'squared_error', 'absolute_error', 'huber', 'quantile', or for y that is not negative 'poisson',
        and for y that is positive 'gamma'.
    quantile : the quantile of 'quantile', and of the distances beyond which 'huber' does not square them;
        None for 0.5 and 0.9.
    learning_rate : factor of each tree.
    max_iter : rounds, each of one tree.
    max_leaf_nodes : most leaves of a tree, which grows best-first; None for no limit, level by level.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_leaf : fewest rows in a leaf, or their share; rows count by their weight.
    l2_regularization : penalty of the leaves' values.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    max_bins : bins of each feature, and most values of a category.
    categorical_features : 'from_dtype' for columns of text or categories; or, beside those, columns of
        numbers by name, by number, or as a mask. None for no columns of numbers.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of features, by name or number, that may follow one another in a tree; the
        features in none make one more. 'pairwise' and 'no_interactions' for all pairs, and for none. None
        for any.
    warm_start : a fit adds trees to those of the last one.
    early_stopping : stop when the watched rows gain nothing; 'auto' does with more than 10,000 rows, and
        where `validation_by=` or `validation_time=` is given. The last rounds, which gained nothing, stay, as
        in scikit-learn.
    scoring : what must gain: 'loss', the name of one of scikit-learn's scorers, a scorer, or None for R2. A
        scorer is asked each round about the watched rows of all ranks, which each rank then holds.
    validation_fraction : share of the rows held out, chosen by the hash of their features, or of their key
        with `fit(..., validation_by=)`, a column of any type whose rows are held out together; or the last
        rows by `fit(..., validation_time=)`, a column of numbers, dates or times. Neither is a feature. None
        to watch the rows that are learned from.
    n_iter_no_change : rounds without gain after which to stop.
    tol : the least gain; of a loss in units of the standard deviation of y.
    random_state : seed of the samples; None means 0.
    verbose : as scikit-learn has it; it changes nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    offset_, scale_ : the trees predict how many `scale_` y lies above `offset_`.
    categories_ : the categories of each column that has some.
    is_categorical_ : ndarray of whether each column is a category; None where none is.
    n_iter_ : rounds.
    train_score_, validation_score_ : after each round, minus the loss, or what `scoring` said.
    estimators_ : ndarray of the trees, as small fitted models to be walked through.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: as `HistGradientBoostingClassifier`.

    Unlike Spark MLlib: as `GradientBoostingRegressor`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(100.0).reshape(-1, 1), np.repeat([10.0, 20.0], 50)
    >>> model = og.HistGradientBoostingRegressor().fit(X, y)
    >>> model.predict(np.array([[3.0], [88.0]])).round(1).tolist()
    [10.0, 20.0]
    """

    parameters = {
        **_HistGradientBoosting.parameters,
        "loss": OneOf(*REGRESSION),
        "quantile": Number(low=0, high=1) | None,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        quantile: float | None = None,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int | float = 20,
        l2_regularization: float = 0.0,
        max_features: MaxFeatures = 1.0,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: str | bool = "auto",
        scoring: Any = "loss",
        validation_fraction: float | None = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.quantile = quantile
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        if self.loss == "quantile":
            Number(low=0, high=1).check(type(self).__name__, "quantile", self.quantile)

    def _alpha(self) -> float:
        if self.quantile is None:
            return 0.9 if self.loss == "huber" else 0.5
        return float(self.quantile)


def _by_type(categorical_features: Any) -> bool:
    """Whether only columns of text or categories are categories."""
    return categorical_features is None or (
        isinstance(categorical_features, str) and categorical_features == "from_dtype"
    )
