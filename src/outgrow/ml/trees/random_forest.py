"""Random forests."""

from __future__ import annotations

from typing import Any

from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.trees.base import MaxFeatures
from outgrow.ml.trees.forests import ForestClassifier, ForestRegressor
from outgrow.ml.trees.random_forest_base import OutOfBag


class RandomForestClassifier(ForestClassifier):
    """Average the class shares of trees grown on samples of rows (Breiman 2001), for one target or several.

    As in scikit-learn, a leaf gives the share of each class among its rows and the forest averages shares.
    Two things differ from it. How often a row is drawn for a tree follows from its hash by Poisson's law, so
    that any partitioning of the rows draws the same. And splits are sought among `max_bins` bins. Missing
    numbers, categories, sparse rows and several ranks are as in `GradientBoostingClassifier`.

    Kernels of outgrow's own grow the trees, each on one rank that has all rows in bins. Where rows and
    features make more than 134 million values, or there are categories or `monotonic_cst`, XGBoost's
    histogram method grows them, and each of more than two classes has trees of its own, whose shares are
    normalised; entropy, `ccp_alpha` and `min_samples_split` are refused there. Both need the extra `trees`.

    Parameters
    ----------
    n_estimators : trees; of more than two classes each is kept as one for each class.
    criterion : 'gini', or 'entropy', which 'log_loss' is too.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split, or their share; counted as those of leaves.
    min_samples_leaf : fewest rows in a leaf, or their share; rows count by their weight and as often as
        drawn.
    min_weight_fraction_leaf : least share of the whole weight in a leaf.
    max_features : features tried at each split: 'sqrt', 'log2', a share, a number, or None for all.
    max_leaf_nodes : most leaves of a tree, which then grows best-first; None for no limit.
    min_impurity_decrease : by how much a split must lower the impurity, times the node's share of the rows.
        A weaker split stays where stronger ones follow below it.
    bootstrap : each tree sees its own sample of the rows, drawn with replacement; otherwise all.
    oob_score : whether to score the forest on rows that trees did not see; or the score, of y and
        predictions.
    warm_start : a fit adds trees to those of the last one.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1. Of several
        targets a list of one dictionary for each; a row weighs the product. 'balanced_subsample', the
        inverse of the frequency in the rows that a tree sees, is refused, as trees share their rows' weights.
    ccp_alpha : splits that lower the impurity, with all below them, by no more than this for each leaf that
        they add are pruned afterwards.
    max_samples : how many rows are drawn for each tree, or a share of all; None for as many as there are.
    monotonic_cst : 1 for each feature with which the chance of the second of two classes may only rise, -1
        for those with which it may only fall, 0 for others; or a dict of columns. None for no such feature.
    max_bins : bins of each feature; None for 4,096, or 256 where XGBoost grows the trees.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted; of several targets a list of those of each.
    categories_ : the categories of each column of text.
    feature_importances_ : ndarray of shape (features,): each one's share of the impurity that splits took
        away.
    estimators_ : the trees as small fitted models, to be walked through; `len(forest)`, `forest[0]`.
    oob_score_ : accuracy of what the trees say of rows they did not see, with `oob_score`; of several targets
        the share of rows with all of them right, and each must have two classes.
    oob_decision_function_ : ndarray of shape (rows, classes) or (rows, classes, targets), their shares of
        classes; only where one process had all rows.
    oob_unseen_ : how many rows every tree saw.
    n_classes_, n_outputs_, max_features_ : numbers of classes, of targets, and of features tried at a split.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: rows are drawn by their hashes, as Poisson's law says; splits are sought among bins.

    Unlike Spark MLlib's `RandomForestClassifier(numTrees=20, maxDepth=5, maxBins=32)`: trees grow to the end
    by default; `max_features='sqrt'` is its 'auto'; `min_samples_leaf` is `minInstancesPerNode`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat(["low", "high"], 10)
    >>> og.RandomForestClassifier(random_state=0).fit(X, y).predict(np.array([[3.0], [16.0]])).tolist()
    ['low', 'high']
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: MaxFeatures = "sqrt",
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = True,
        oob_score: OutOfBag = False,
        warm_start: bool = False,
        class_weight: ClassWeight = None,
        ccp_alpha: float = 0.0,
        max_samples: int | float | None = None,
        monotonic_cst: Any = None,
        max_bins: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose


class RandomForestRegressor(ForestRegressor):
    """Average the means of trees grown on samples of the rows (Breiman 2001), for one target or several.

    Two things differ from scikit-learn: how often a row is drawn for a tree follows from its hash by
    Poisson's law, so that any partitioning of the rows draws the same, and splits are sought among
    `max_bins` bins. Missing numbers, categories, sparse rows and several ranks are as in
    `GradientBoostingClassifier`.

    Kernels of outgrow's own grow the trees, each on one rank that has all rows in bins. Where rows and
    features make more than 134 million values, or there are categories or `monotonic_cst`, XGBoost's
    histogram method grows them, and `ccp_alpha` and `min_samples_split` are refused. Both need the extra
    `trees`.

    Parameters
    ----------
    n_estimators : trees.
    criterion : 'squared_error'; 'absolute_error' and 'poisson' are refused.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split, or their share; counted as those of leaves.
    min_samples_leaf : fewest rows in a leaf, or their share; rows count by their weight and as often as
        drawn.
    min_weight_fraction_leaf : least share of the whole weight in a leaf.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    max_leaf_nodes : most leaves of a tree, which then grows best-first; None for no limit.
    min_impurity_decrease : by how much a split must lower the impurity, times the node's share of the rows.
        A weaker split stays where stronger ones follow below it.
    bootstrap : each tree sees its own sample of the rows, drawn with replacement; otherwise all.
    oob_score : whether to score the forest on rows that trees did not see; or the score, of y and
        predictions.
    warm_start : a fit adds trees to those of the last one.
    ccp_alpha : splits that lower the impurity, with all below them, by no more than this for each leaf that
        they add are pruned afterwards.
    max_samples : how many rows are drawn for each tree, or a share of all; None for as many as there are.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    max_bins : bins of each feature; None for 4,096, or 256 where XGBoost grows the trees.
    random_state : seed of the samples; None means 0.
    n_jobs, verbose : as scikit-learn has them; they change nothing here. `og.listen` hears of progress.

    Attributes
    ----------
    offset_, scale_ : the trees predict how many `scale_` y lies above `offset_`, its mean; of several targets
        ndarrays.
    categories_ : the categories of each column of text.
    feature_importances_ : ndarray of shape (features,): each one's share of the squared error that splits
        took away.
    estimators_ : the trees as small fitted models, to be walked through; `len(forest)`, `forest[0]`.
    oob_score_ : R2 of what the trees say of rows they did not see, with `oob_score`.
    oob_prediction_ : ndarray of shape (rows,) or (rows, targets), what they say; only where one process had
        all rows.
    oob_unseen_ : how many rows every tree saw.
    n_outputs_, max_features_ : numbers of targets, and of features tried at a split.
    n_features_ : width of the matrix the trees see.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: rows are drawn by their hashes, as Poisson's law says; splits are sought among bins;
    one `criterion`, the squared error.

    Unlike Spark MLlib's `RandomForestRegressor(numTrees=20, maxDepth=5, maxBins=32)`: trees grow to the end
    by default, and try all features at each split, not a third.

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
        n_estimators: int = 100,
        *,
        criterion: str = "squared_error",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: MaxFeatures = 1.0,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = True,
        oob_score: OutOfBag = False,
        warm_start: bool = False,
        ccp_alpha: float = 0.0,
        max_samples: int | float | None = None,
        monotonic_cst: Any = None,
        max_bins: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.warm_start = warm_start
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
