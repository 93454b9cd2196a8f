"""Single decision trees."""

from __future__ import annotations

from typing import Any

from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.trees.base import MaxFeatures
from outgrow.ml.trees.planted import PlantedClassifier, PlantedRegressor
from outgrow.ml.trees.single import SingleTree, listed
from outgrow.ml.trees.sklearn import sklearn_tree


class DecisionTreeClassifier(SingleTree, PlantedClassifier):
    """One tree whose leaves give shares of classes (Breiman, Friedman, Olshen and Stone 1984).

    It is grown by the kernels of the forests, on one rank that has all rows in bins, so it is the same on any
    engine and partitioning. On features with at most `max_bins` values it splits rows as scikit-learn's does,
    but for ties. Missing numbers go to the better side of each split; columns of text are categories.

    Where rows and features make more than 134 million values, or there are categories or `monotonic_cst`,
    XGBoost grows it, and each of more than two classes has a tree of its own; 'entropy', `ccp_alpha`,
    `min_samples_split` and `splitter='random'` are refused there. Needs the extra `trees`.

    Parameters
    ----------
    criterion : 'gini', or 'entropy', which 'log_loss' is too.
    splitter : 'best', or 'random' for the best of one random threshold for each feature.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split, or their share; rows count by their weight.
    min_samples_leaf : fewest rows in a leaf, or their share; rows count by their weight.
    min_weight_fraction_leaf : least share of the whole weight in a leaf.
    max_features : features tried at each split: 'sqrt', 'log2', a share, a number, or None for all.
    random_state : seed of the order in which features are tried, which decides ties; None means 0.
    max_leaf_nodes : most leaves, which then grow best-first; None for no limit.
    min_impurity_decrease : by how much a split must lower the impurity, times the node's share of the rows.
        A weaker split stays where stronger ones follow below it.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1. Of several
        targets a list of one dictionary for each; a row weighs the product.
    ccp_alpha : splits that lower the impurity, with all below them, by no more than this for each leaf that
        they add are pruned afterwards.
    monotonic_cst : 1 for each feature with which the chance of the second of two classes may only rise, -1
        for those with which it may only fall, 0 for others; or a dict of columns. None for no such feature.
    max_bins : bins of each feature; None for 4,096, or 256 where XGBoost grows the tree.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted; of several targets a list of those of each.
    tree_ : the nodes, under the names that scikit-learn's have.
    trees_ : the tree of each answer.
    feature_importances_ : ndarray of shape (features,): each one's share of the impurity that splits took
        away.
    feature_names_ : what the features are called, vectors spelt out.
    categories_ : the categories of each column of text.
    n_classes_, n_outputs_, max_features_ : numbers of classes, of targets, and of features tried at a split.
    n_features_ : width of the matrix the tree sees.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the tree in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: splits are sought among bins; each of several targets has a tree of its own;
    `min_impurity_decrease` looks at what follows below a split.

    Unlike Spark MLlib's `DecisionTreeClassifier(maxDepth=5, maxBins=32)`: grows to the end by default;
    `min_samples_leaf` is `minInstancesPerNode`, `min_impurity_decrease` is `minInfoGain` times the node's
    share of the rows, `export_text()` is `toDebugString`, `apply` is `leafCol`; any number of categories.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat(["low", "high"], 10)
    >>> model = og.DecisionTreeClassifier().fit(X, y)
    >>> model.predict(np.array([[3.0], [16.0]])).tolist()
    ['low', 'high']
    >>> print(model.export_text(), end="")
    |--- x0 <= 9.50
    |   |--- class: low
    |--- x0 >  9.50
    |   |--- class: high
    """

    parameters = {**PlantedClassifier.parameters, **SingleTree.parameters}

    def __init__(
        self,
        *,
        criterion: str = "gini",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: MaxFeatures = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        class_weight: ClassWeight = None,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        max_bins: int | None = None,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins

    def _written_leaf(self, node: int, decimals: int, *, weights: bool) -> str:
        tree = self.tree_
        shares = tree.value[node, 0]
        shown = f" class: {self.classes_[shares.argmax()]}"
        if not weights:
            return shown
        return f" weights: {listed(shares * tree.weighted_n_node_samples[node], decimals)}{shown}"

    def _sklearn_model(self) -> Any:
        return sklearn_tree(self, self.criterion)


class DecisionTreeRegressor(SingleTree, PlantedRegressor):
    """One tree whose leaves give the mean of y (Breiman, Friedman, Olshen and Stone 1984).

    It is grown by the kernels of the forests, on one rank that has all rows in bins, so it is the same on any
    engine and partitioning. On features with at most `max_bins` values it splits rows as scikit-learn's does,
    but for ties. Missing numbers go to the better side of each split; columns of text are categories.

    Where rows and features make more than 134 million values, or there are categories or `monotonic_cst`,
    XGBoost grows it; `ccp_alpha`, `min_samples_split` and `splitter='random'` are refused there. Needs the
    extra `trees`.

    Parameters
    ----------
    criterion : 'squared_error'; 'absolute_error' and 'poisson' are refused.
    splitter : 'best', or 'random' for the best of one random threshold for each feature.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split, or their share; rows count by their weight.
    min_samples_leaf : fewest rows in a leaf, or their share; rows count by their weight.
    min_weight_fraction_leaf : least share of the whole weight in a leaf.
    max_features : features tried at each split: 'sqrt', 'log2', a share, a number, or None for all.
    random_state : seed of the order in which features are tried, which decides ties; None means 0.
    max_leaf_nodes : most leaves, which then grow best-first; None for no limit.
    min_impurity_decrease : by how much a split must lower the mean squared error.
        A weaker split stays where stronger ones follow below it.
    ccp_alpha : splits that lower the mean squared error, with all below them, by no more than this for each
        leaf that they add are pruned afterwards.
    monotonic_cst : 1 for each feature with which predictions may only rise, -1 for those with which they may
        only fall, 0 for others; or a dict of columns. None for no such feature.
    max_bins : bins of each feature; None for 4,096, or 256 where XGBoost grows the tree.

    Attributes
    ----------
    offset_, scale_ : the tree predicts how many `scale_` y lies above `offset_`, its mean; of several targets
        ndarrays.
    tree_ : the nodes, under the names that scikit-learn's have; values as offsets and scale say.
    trees_ : the tree of each target.
    feature_importances_ : ndarray of shape (features,): each one's share of the squared error that splits
        took away.
    feature_names_ : what the features are called, vectors spelt out.
    categories_ : the categories of each column of text.
    n_outputs_, max_features_ : numbers of targets, and of features tried at a split.
    n_features_ : width of the matrix the tree sees.
    zeros_absent_ : whether zeros count as missing, because the rows were sparse.
    booster_bytes_ : the tree in XGBoost's UBJSON format.

    Notes
    -----
    Unlike scikit-learn: splits are sought among bins; each of several targets has a tree of its own;
    `min_impurity_decrease` looks at what follows below a split.

    Unlike Spark MLlib's `DecisionTreeRegressor(maxDepth=5, maxBins=32)`: grows to the end by default;
    `min_samples_leaf` is `minInstancesPerNode`, `min_impurity_decrease` is `minInfoGain` times the node's
    share of the rows, `export_text()` is `toDebugString`, `apply` is `leafCol`; there is no `varianceCol`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat([10.0, 20.0], 10)
    >>> model = og.DecisionTreeRegressor().fit(X, y)
    >>> model.predict(np.array([[1.0], [18.0]])).round(3).tolist()
    [10.0, 20.0]
    >>> model.get_depth(), model.get_n_leaves()
    (1, 2)
    """

    parameters = {**PlantedRegressor.parameters, **SingleTree.parameters}

    def __init__(
        self,
        *,
        criterion: str = "squared_error",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: MaxFeatures = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        max_bins: int | None = None,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins

    def _written_leaf(self, node: int, decimals: int, *, weights: bool) -> str:
        return f" value: {listed(self.tree_.value[node, 0] * self.scale_ + self.offset_, decimals)}"

    def _sklearn_model(self) -> Any:
        return sklearn_tree(self, self.criterion)
