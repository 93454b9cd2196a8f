"""Gradient boosted trees under the names of scikit-learn's `GradientBoosting...`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from outgrow.ml.core.parameters import CLASS_WEIGHT, FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.trees.base import MaxFeatures
from outgrow.ml.trees.boosting import Boosting, BoostingClassifier, BoostingRegressor, Settings
from outgrow.ml.trees.leaves import SMALLEST_LEAVES, check_split
from outgrow.ml.trees.losses import CLASSIFICATION, REGRESSION


class _GradientBoosting(Boosting):
    """What the parameters of both say."""

    parameters = {
        **Boosting.parameters,
        **SMALLEST_LEAVES,
        "n_estimators": Integer(low=1),
        "init": OneOf(
            "zero",
            None,
            advice="An object implementing 'fit' and 'predict_proba' or 'predict' would have to be asked "
            "beside the trees: fit it first, and boost what it leaves.",
        ),
        "subsample": Number(above=0, high=1),
        "min_child_weight": Number(low=0),
        "l1_regularization": Number(low=0),
        "early_stopping": FLAG | None,
        "n_iter_no_change": Integer(low=1) | None,
        "criterion": Unused(OneOf("friedman_mse", "squared_error", None)),
        "n_jobs": Unused(),
        "grower": OneOf("xgboost", "lightgbm"),
    }
    test_parameters = {"n_estimators": 5}

    n_estimators: int
    criterion: str | None
    init: Any
    subsample: float
    min_child_weight: float
    l2_regularization: float
    l1_regularization: float
    min_samples_split: int | float
    min_impurity_decrease: float
    ccp_alpha: float
    early_stopping: bool | None
    validation_fraction: float | None
    n_iter_no_change: int | None
    grower: str

    def _check_parameters(self) -> None:
        check_split(self)
        self._check_criterion()

    def _check_criterion(self) -> None:
        if self.criterion is not None:
            warnings.warn(
                f"{type(self).__name__}(criterion={self.criterion!r}): criterion changes nothing, as splits "
                "are sought by the loss; scikit-learn takes it away, too. Leave it out.",
                FutureWarning,
                stacklevel=4,
            )

    def _settings(self, rows: int) -> Settings:
        wanted = self.n_iter_no_change is not None or self._holds_out
        stops = wanted if self.early_stopping is None else self.early_stopping
        patience = 10 if self.n_iter_no_change is None else int(self.n_iter_no_change)
        return Settings(
            int(self.n_estimators),
            float(self.subsample),
            float(self.min_child_weight),
            float(self.l2_regularization),
            float(self.l1_regularization),
            float(self.min_impurity_decrease),
            patience if stops else None,
            float(self.validation_fraction or 0.0),
        )

    @property
    def n_estimators_(self) -> int:
        """How many rounds there are."""
        return self._grown_rounds()

    @property
    def train_score_(self) -> np.ndarray:
        """The loss of the rows learned from after each round, as `train_loss_`; squares are not rooted."""
        with np.errstate(over="ignore", under="ignore"):
            return self.train_loss_**2 if self.loss == "squared_error" else self.train_loss_


class GradientBoostingClassifier(_GradientBoosting, BoostingClassifier):
    """Add trees one after the other, each a Newton step that lowers the log loss.

    Gradient boosting is Friedman's (2001), the Newton step and the penalties are Chen and Guestrin's (2016).

    XGBoost's histogram method grows the trees; it needs the extra `trees`. Missing numbers go to the better
    side of each split. Columns of text are categories, split into two sets; categories not seen at fit count
    as missing. Features are kept as float32. In models that learn from sparse rows a zero counts as missing,
    which is several times faster on one-hot columns. The bins come from a sample of 200,000 rows that their
    hashes choose, and so are the rows of each tree with `subsample` below 1: the same on any partitioning.
    Weights whose mean is below 1 are scaled to mean 1, so that penalties and `min_child_weight` count rows.

    `max_depth=6` and the penalties are XGBoost's defaults, the rest of the names is that of scikit-learn's
    `HistGradientBoostingClassifier` and `GradientBoostingClassifier`.

    Parameters
    ----------
    n_estimators : rounds; each grows one tree, or one for each of more than two classes.
    loss : 'log_loss', or for two classes 'exponential', AdaBoost's.
    learning_rate : factor of each tree.
    max_depth : most splits from the root to a leaf; None for no limit.
    max_leaf_nodes : most leaves of a tree, which then grows best-first; None for no limit.
    min_samples_split : least rows of a node that is split: 2, or at most twice `min_samples_leaf`, which
        implies it. XGBoost cannot count them otherwise.
    min_samples_leaf : fewest rows in a leaf, or their share. XGBoost counts them by the loss's second
        derivatives: in the first round so many rows, later, where predictions are sure, more.
    min_weight_fraction_leaf : least share of the whole weight in a leaf, counted likewise.
    min_impurity_decrease : by how much a split must lower the loss, times the node's share of the rows. A
        weaker split stays where stronger ones follow below it.
    init : None to begin with the shares of the classes, 'zero' to begin with equal chances.
    subsample : share of the rows each tree sees, drawn without replacement.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_child_weight : least sum of the loss's second derivatives in a leaf.
    l2_regularization, l1_regularization : penalties of the leaves' values.
    max_bins : bins of each feature.
    early_stopping : hold out rows and stop when they gain nothing; only the trees up to the best round are
        kept. None for whether `n_iter_no_change`, `validation_by=` or `validation_time=` is given.
    validation_fraction : share of the rows held out, chosen by the hash of their features, or of their key
        with `fit(..., validation_by=)`, a column of any type whose rows are held out together; or the last
        rows by `fit(..., validation_time=)`, a column of numbers, dates or times. Neither is a feature. None
        to watch the rows that are learned from.
    n_iter_no_change : rounds without gain after which to stop; None for 10, with early stopping.
    scoring : what must gain: 'loss', the name of one of scikit-learn's scorers, a scorer, or None for
        accuracy. A scorer is asked each round about the watched rows of all ranks, which each rank then
        holds.
    tol : the least gain.
    warm_start : a fit adds trees to those of the last one.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of features, by name or number, that may follow one another in a tree; the
        features in none make one more. 'pairwise' and 'no_interactions' as in scikit-learn. None for any.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    criterion : changes nothing, as splits are sought by the loss; it is going away in scikit-learn.
    ccp_alpha : 0. Trees are not pruned afterwards; give `min_impurity_decrease`.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.
    grower : 'xgboost', or 'lightgbm' (the extra of that name) for Ke et al.'s (2017) way of growing trees,
        leaf by leaf. Zeros of sparse rows are numbers to it, `max_features` are
        drawn for each tree, and one worker may grow slightly other trees than several. The model is the same
        kind of booster.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    categories_ : the categories of each column of text.
    n_iter_, n_estimators_ : rounds kept.
    best_iteration_ : the last of them, counted from 0.
    estimators_ : ndarray of the trees, as small fitted models to be walked through.
    scores_ : ndarray of what early stopping looked at after each round; greater is better.
    oob_improvement_, oob_scores_, oob_score_ : with `subsample`, by how much each tree lowered the mean loss
        of rows it did not see, that loss, and the last of it; up to 30,000 rows.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    train_loss_ : ndarray of the mean loss after each round; past 30,000 rows empty unless somebody listens
        to events (`outgrow.listen`) or with early stopping, as it costs a tenth of the training.
    train_score_ : the same under scikit-learn's name.
    validation_loss_ : the same of the rows held out; empty without early stopping.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: XGBoost's trees; deeper, and with a penalty; only the best rounds are kept; columns
    of text and missing values are taken as they are.

    Unlike Spark MLlib's `GBTClassifier(maxIter=20, stepSize=0.1, maxDepth=5, maxBins=32)`: any number of
    classes; `n_estimators` is `maxIter`, `learning_rate` `stepSize`, `subsample` `subsamplingRate`,
    `max_features` `featureSubsetStrategy`, early stopping `validationTol`; there are no penalties there.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [np.nan], [np.nan]])
    >>> y = np.array(["low", "low", "high", "high", "none", "none"])
    >>> model = og.GradientBoostingClassifier(min_child_weight=0.0).fit(X, y)
    >>> model.predict(np.array([[1.5], [3.5], [np.nan]])).tolist()
    ['low', 'high', 'none']
    """

    parameters = {
        **_GradientBoosting.parameters,
        "loss": OneOf(*CLASSIFICATION),
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        loss: str = "log_loss",
        learning_rate: float = 0.1,
        max_depth: int | None = 6,
        max_leaf_nodes: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        min_impurity_decrease: float = 0.0,
        init: Any = None,
        subsample: float = 1.0,
        max_features: MaxFeatures = None,
        min_child_weight: float = 1e-3,
        l2_regularization: float = 1.0,
        l1_regularization: float = 0.0,
        max_bins: int = 256,
        early_stopping: bool | None = None,
        validation_fraction: float | None = 0.1,
        n_iter_no_change: int | None = None,
        scoring: Any = "loss",
        tol: float = 0.0,
        warm_start: bool = False,
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        class_weight: ClassWeight = None,
        criterion: str | None = None,
        ccp_alpha: float = 0.0,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        grower: str = "xgboost",
    ) -> None:
        self.n_estimators = n_estimators
        self.loss = loss
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.min_impurity_decrease = min_impurity_decrease
        self.init = init
        self.subsample = subsample
        self.max_features = max_features
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.l1_regularization = l1_regularization
        self.max_bins = max_bins
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.scoring = scoring
        self.tol = tol
        self.warm_start = warm_start
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.class_weight = class_weight
        self.criterion = criterion
        self.ccp_alpha = ccp_alpha
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.grower = grower


class GradientBoostingRegressor(_GradientBoosting, BoostingRegressor):
    """Add trees one after the other, each lowering the loss (Friedman 2001; Chen and Guestrin 2016).

    See `GradientBoostingClassifier` for how missing values, categories, sparse rows and several ranks are
    treated. The trees predict the difference from the mean of y.

    Parameters
    ----------
    n_estimators : rounds, each of one tree.
    loss : 'squared_error', 'absolute_error', 'huber', 'quantile', or for y that is not negative 'poisson',
        and for y that is positive 'gamma'.
    alpha : the quantile of 'quantile', and of the distances beyond which 'huber' does not square them.
    learning_rate : factor of each tree.
    max_depth : most splits from the root to a leaf; None for no limit.
    max_leaf_nodes : most leaves of a tree, which then grows best-first; None for no limit.
    min_samples_split : least rows of a node that is split: 2, or at most twice `min_samples_leaf`, which
        implies it. XGBoost cannot count them otherwise.
    min_samples_leaf : fewest rows in a leaf, or their share. XGBoost counts them by the loss's second
        derivatives: in the first round so many rows, later, where predictions are sure, more.
    min_weight_fraction_leaf : least share of the whole weight in a leaf, counted likewise.
    min_impurity_decrease : by how much a split must lower the loss, times the node's share of the rows. A
        weaker split stays where stronger ones follow below it.
    init : None to begin with the mean of y or its quantile, 'zero' to begin with 0.
    subsample : share of the rows each tree sees, drawn without replacement.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_child_weight : least sum of the loss's second derivatives in a leaf.
    l2_regularization, l1_regularization : penalties of the leaves' values.
    max_bins : bins of each feature.
    early_stopping : hold out rows and stop when they gain nothing; only the trees up to the best round are
        kept. None for whether `n_iter_no_change`, `validation_by=` or `validation_time=` is given.
    validation_fraction : share of the rows held out, chosen by the hash of their features, or of their key
        with `fit(..., validation_by=)`, a column of any type whose rows are held out together; or the last
        rows by `fit(..., validation_time=)`, a column of numbers, dates or times. Neither is a feature. None
        to watch the rows that are learned from.
    n_iter_no_change : rounds without gain after which to stop; None for 10, with early stopping.
    scoring : what must gain: 'loss', the name of one of scikit-learn's scorers, a scorer, or None for
        R2. A scorer is asked each round about the watched rows of all ranks, which each rank then holds.
    tol : the least gain; of a loss in units of the standard deviation of y.
    warm_start : a fit adds trees to those of the last one.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of features, by name or number, that may follow one another in a tree; the
        features in none make one more. 'pairwise' and 'no_interactions' as in scikit-learn. None for any.
    criterion : changes nothing, as splits are sought by the loss; it is going away in scikit-learn.
    ccp_alpha : 0. Trees are not pruned afterwards; give `min_impurity_decrease`.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.
    grower : 'xgboost', or 'lightgbm' (the extra of that name) for Ke et al.'s (2017) way of growing trees,
        leaf by leaf. See `GradientBoostingClassifier`; it does not know
        'absolute_error' and 'quantile'.

    Attributes
    ----------
    offset_, scale_ : the trees predict how many `scale_` y lies above `offset_`, its mean.
    categories_ : the categories of each column of text.
    n_iter_, n_estimators_ : rounds kept.
    best_iteration_ : the last of them, counted from 0.
    estimators_ : ndarray of the trees, as small fitted models to be walked through.
    scores_ : ndarray of what early stopping looked at after each round; greater is better.
    oob_improvement_, oob_scores_, oob_score_ : with `subsample`, by how much each tree lowered the mean loss
        of rows it did not see, that loss, and the last of it; up to 30,000 rows.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    train_loss_ : ndarray of the mean loss after each round, of squares its root; past 30,000 rows empty
        unless somebody listens to events (`outgrow.listen`) or with early stopping.
    train_score_ : the same under scikit-learn's name, of squares not rooted.
    validation_loss_ : the same of the rows held out; empty without early stopping.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: as `GradientBoostingClassifier`.

    Unlike Spark MLlib's `GBTRegressor(maxIter=20, stepSize=0.1, maxDepth=5, maxBins=32)`: as
    `GradientBoostingClassifier`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([10.0, 10.0, 20.0, 20.0])
    >>> model = og.GradientBoostingRegressor(learning_rate=0.5, l2_regularization=0.0).fit(X, y)
    >>> model.predict(np.array([[0.0], [9.0]])).round(3).tolist()
    [10.0, 20.0]
    """

    parameters = {
        **_GradientBoosting.parameters,
        "loss": OneOf(*REGRESSION),
        "alpha": Number(above=0, high=1),
    }

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        loss: str = "squared_error",
        alpha: float = 0.9,
        learning_rate: float = 0.1,
        max_depth: int | None = 6,
        max_leaf_nodes: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        min_impurity_decrease: float = 0.0,
        init: Any = None,
        subsample: float = 1.0,
        max_features: MaxFeatures = None,
        min_child_weight: float = 1e-3,
        l2_regularization: float = 1.0,
        l1_regularization: float = 0.0,
        max_bins: int = 256,
        early_stopping: bool | None = None,
        validation_fraction: float | None = 0.1,
        n_iter_no_change: int | None = None,
        scoring: Any = "loss",
        tol: float = 0.0,
        warm_start: bool = False,
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        criterion: str | None = None,
        ccp_alpha: float = 0.0,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        grower: str = "xgboost",
    ) -> None:
        self.n_estimators = n_estimators
        self.loss = loss
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.min_impurity_decrease = min_impurity_decrease
        self.init = init
        self.subsample = subsample
        self.max_features = max_features
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.l1_regularization = l1_regularization
        self.max_bins = max_bins
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.scoring = scoring
        self.tol = tol
        self.warm_start = warm_start
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.criterion = criterion
        self.ccp_alpha = ccp_alpha
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.grower = grower

    def _alpha(self) -> float:
        return float(self.alpha)
