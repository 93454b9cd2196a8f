"""Random forests."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import CLASS_WEIGHTS, OneOf
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.several_classes import Combinations, SeveralClassifier, indicators, joined
from outgrow.ml.trees.base import MaxFeatures, TreeClassifier, TreeRegressor, rest
from outgrow.ml.trees.constraints import NO_ORDER_OF_CLASSES
from outgrow.ml.trees.onnx import averaged
from outgrow.ml.trees.plan import Plan
from outgrow.ml.trees.random_forest_base import BaseForest, OutOfBag
from outgrow.ml.trees.tree import ClassificationTree, RegressionTree, TreeStructure, shares_of, shares_of_each

ONE_CRITERION = "XGBoost seeks splits by a sum of squares, which is that; no other impurity."


class RandomForestClassifier(SeveralClassifier, BaseForest, TreeClassifier):
    """Average the class shares of trees grown on samples of rows (Breiman 2001), for one target or several.

    As in scikit-learn, a leaf gives the share of each class among its rows and the forest averages shares.
    Two things differ from it. How often a row is drawn for a tree follows from its hash by Poisson's law, so
    that any partitioning of the rows draws the same. And splits are sought among `max_bins` bins. Missing
    numbers, categories, sparse rows and several ranks are as in `GradientBoostingClassifier`.

    Kernels of outgrow's own grow the trees, each on one rank that has all rows in bins. Where rows and
    features make more than 134 million values, or there are categories or `monotonic_cst`, XGBoost's
    histogram method grows them, and each of more than two classes has trees of its own, whose shares are
    normalised. Both need the extra `trees`.

    Parameters
    ----------
    n_estimators : trees; of more than two classes each is kept as one for each class.
    criterion : 'gini'. XGBoost knows no other: 'entropy' and 'log_loss' are refused.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split: 2, or at most twice `min_samples_leaf`, which
        implies it. XGBoost cannot count them otherwise.
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
    ccp_alpha : 0. Trees are not pruned afterwards; give `min_impurity_decrease`.
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
    Unlike scikit-learn: rows are drawn by their hashes, as Poisson's law says; splits are sought among bins;
    one `criterion`, the sum of squares (`gini`).

    Unlike Spark MLlib's `RandomForestClassifier(numTrees=20, maxDepth=5, maxBins=32)`: trees grow to the end
    by default; `max_features='sqrt'` is its 'auto'; `min_samples_leaf` is `minInstancesPerNode`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat(["low", "high"], 10)
    >>> og.RandomForestClassifier(random_state=0).fit(X, y).predict(np.array([[3.0], [16.0]])).tolist()
    ['low', 'high']
    """

    no_exports: ClassVar[dict[str, str]] = {
        "scikit-learn": "XGBoost has no forest that averages shares of classes"
    }
    parameters = {
        **BaseForest.parameters,
        "criterion": OneOf("gini", advice=ONE_CRITERION),
        "class_weight": CLASS_WEIGHTS,
    }
    _impurity = 0.5
    _combinations: Combinations

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
        largest = max(map(len, self.classes_))
        if self.oob_score and (largest > 2 or not all(each.dtype.kind in "biu" for each in self.classes_)):
            raise ParameterError(
                "The type of target cannot be used to compute OOB estimates: of several targets each must "
                f"have two classes that are numbers, and one has {largest}. Leave oob_score False."
            )
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

    def _to_onnx(self, table: Table) -> Answer:
        return chosen(table.graph, averaged(self, table), self.classes_)


class RandomForestRegressor(BaseForest, TreeRegressor):
    """Average the means of trees grown on samples of the rows (Breiman 2001), for one target or several.

    Two things differ from scikit-learn: how often a row is drawn for a tree follows from its hash by
    Poisson's law, so that any partitioning of the rows draws the same, and splits are sought among
    `max_bins` bins. Missing numbers, categories, sparse rows and several ranks are as in
    `GradientBoostingClassifier`.

    Kernels of outgrow's own grow the trees, each on one rank that has all rows in bins. Where rows and
    features make more than 134 million values, or there are categories or `monotonic_cst`, XGBoost's
    histogram method grows them. Both need the extra `trees`.

    Parameters
    ----------
    n_estimators : trees.
    criterion : 'squared_error'. XGBoost knows no other: 'absolute_error' and 'poisson' are refused.
    max_depth : most splits from the root to a leaf; None for no limit.
    min_samples_split : least rows of a node that is split: 2, or at most twice `min_samples_leaf`, which
        implies it. XGBoost cannot count them otherwise.
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
    ccp_alpha : 0. Trees are not pruned afterwards; give `min_impurity_decrease`.
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

    parameters = {
        **BaseForest.parameters,
        "criterion": OneOf("squared_error", "friedman_mse", advice=ONE_CRITERION),
    }

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
        if self.min_impurity_decrease and targets > 1:
            raise ParameterError(
                f"{type(self).__name__}(min_impurity_decrease={self.min_impurity_decrease!r}): it is in "
                "squares of the unit of one target, and there are several. Leave it 0, or learn one by one."
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


def _indicators(table: np.ndarray, block: Block) -> np.ndarray:
    """The rows of a table that belong to the classes of rows, or numbers where it has one column."""
    assert block.y is not None
    return table[block.y] if table.shape[1] > 1 else table[block.y, 0]
