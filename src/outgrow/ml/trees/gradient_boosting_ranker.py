"""LambdaMART: gradient boosted trees that put the documents of each query in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf
from outgrow.ml.trees.base import MaxFeatures
from outgrow.ml.trees.boosting import Boosting, BoostingRegressor, Settings
from outgrow.ml.trees.losses import LossKind
from outgrow.ml.trees.ranking import QUERY, LambdaMART, Rankings, gains_of

_NOT_HERE = ("scoring", "verbose")
_REPEATED = "a document that comes twice takes two places of the ranking, and one of weight 2 takes one"
_OBJECTIVE = {"objective": "reg:squarederror", "disable_default_eval_metric": 1}


class GradientBoostingRanker(BoostingRegressor):
    """Add trees one after the other, each of which puts the documents of queries in a better order.

    LambdaMART (Burges 2010) on trees of Newton steps (Chen and Guestrin 2016): of each query, pairs of
    documents pull apart, each by how much the NDCG changes where the two change places.

    `fit(..., query=)` takes the column that tells queries apart, of any type; without it all rows are the
    documents of one query. y says how relevant a document is, from 0. `predict` gives scores: the higher, the
    further in front; only those of one query compare. Missing numbers, columns of text, sparse rows and bins
    are treated as in `GradientBoostingClassifier`.

    Rows of a query may lie anywhere. Where they are on several workers, these exchange the scores of such
    queries in each round, so rows that are stored query by query are faster.

    Parameters
    ----------
    n_estimators : rounds, each of one tree.
    gains : what a label counts: 'exponential' for 2**label - 1, 'linear' for the label.
    top : pairs count of which one document is among so many of the first places.
    learning_rate : factor of each tree.
    max_depth : most splits from the root to a leaf; None for no limit.
    max_leaf_nodes : most leaves of a tree, which then grows best-first; None for no limit.
    subsample : share of the rows each tree sees, drawn without replacement.
    max_features : features tried at each split: a share, a number, 'sqrt', 'log2', or None for all.
    min_child_weight : least sum of the second derivatives in a leaf; those of a query add up to about one.
    l2_regularization, l1_regularization : penalties of the leaves' values.
    max_bins : bins of each feature.
    early_stopping : hold out queries and stop when their NDCG gains nothing; only the trees up to the best
        round are kept. None for whether `n_iter_no_change` is given.
    validation_fraction : share of the queries held out, chosen by their hash; None to watch those that are
        learned from. Rows without a query are held out one by one.
    n_iter_no_change : rounds without gain after which to stop; None for 10, with early stopping.
    tol : the least gain of the NDCG.
    warm_start : a fit adds trees to those of the last one.
    monotonic_cst : 1 for each feature with which scores may only rise, -1 for those with which they may only
        fall, 0 for others; or a dict of columns. None for no such feature.
    interaction_cst : groups of features, by name or number, that may follow one another in a tree; the
        features in none make one more. 'pairwise' and 'no_interactions' as in scikit-learn. None for any.
    random_state : seed of the samples; None means 0.

    Attributes
    ----------
    categories_ : the categories of each column of text.
    n_iter_, n_estimators_ : rounds kept.
    best_iteration_ : the last of them, counted from 0.
    estimators_ : ndarray of the trees, as small fitted models to be walked through.
    train_loss_ : ndarray of 1 - NDCG after each round, the mean over the queries; past 30,000 rows empty
        unless somebody listens to events (`outgrow.listen`) or with early stopping.
    validation_loss_ : the same of the queries held out; empty without early stopping.
    scores_ : ndarray of what early stopping looked at after each round; greater is better.
    feature_importances_ : ndarray of shape (features,): each one's share of the loss that splits took away.
    n_features_ : width of the matrix the trees see.
    booster_bytes_ : the trees in XGBoost's UBJSON format.

    Notes
    -----
    A weight multiplies what a row adds to the derivatives; rows that weigh nothing are not there. In the
    first round all scores are equal, and the hashes of the rows say which comes first. `evaluate(X, y,
    query=)` gives NDCG, MAP, MRR and others as means over the queries; of predictions for a table,
    `og.stats.ranking_report` gives them with intervals.

    Unlike scikit-learn: it has no rankers. Unlike XGBoost's `XGBRanker(objective="rank:ndcg")`: rows need no
    order, queries may be of any type, and have no weights of their own; else the same pairs (the `top` 32),
    derivatives and trees.

    Unlike Spark MLlib: it has no rankers.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> X, query = random.normal(size=(200, 2)), np.repeat([f"query {k}" for k in range(20)], 10)
    >>> relevance = np.clip(np.round(X[:, 0] + 1), 0, 3)
    >>> model = og.GradientBoostingRanker(n_estimators=20).fit(X, relevance, query=query)
    >>> model.predict(np.array([[-1.0, 0.0], [0.5, 0.0], [2.0, 0.0]])).argsort().tolist()
    [0, 1, 2]
    >>> model.evaluate(X, relevance, query=query)["ndcg@5"] > 0.99
    True
    """

    roles = {QUERY: False}
    role_labels = (QUERY,)
    role_times = ()
    score_metric = "ndcg"
    _scoring = Rankings()
    scoring = "loss"
    parameters = {
        **{name: domain for name, domain in Boosting.parameters.items() if name not in _NOT_HERE},
        "n_estimators": Integer(low=1),
        "gains": OneOf("linear", "exponential"),
        "top": Integer(low=1),
        "subsample": Number(above=0, high=1),
        "min_child_weight": Number(low=0),
        "l1_regularization": Number(low=0),
        "early_stopping": FLAG | None,
        "n_iter_no_change": Integer(low=1) | None,
    }
    test_parameters = {"n_estimators": 5}
    exempt = {**BoostingRegressor.exempt, "weights_are_repetitions": _REPEATED}
    expected_failed_checks = {
        f"check_sample_weight_equivalence_on_{form}_data": _REPEATED for form in ("dense", "sparse")
    }

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        gains: str = "exponential",
        top: int = 32,
        learning_rate: float = 0.1,
        max_depth: int | None = 6,
        max_leaf_nodes: int | None = None,
        subsample: float = 1.0,
        max_features: MaxFeatures = None,
        min_child_weight: float = 1e-3,
        l2_regularization: float = 1.0,
        l1_regularization: float = 0.0,
        max_bins: int = 256,
        early_stopping: bool | None = None,
        validation_fraction: float | None = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        warm_start: bool = False,
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.gains = gains
        self.top = top
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.max_leaf_nodes = max_leaf_nodes
        self.subsample = subsample
        self.max_features = max_features
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.l1_regularization = l1_regularization
        self.max_bins = max_bins
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = True  # scores put in order, and are no numbers like y
        return tags

    def _settings(self, rows: int) -> Settings:
        stops = self.n_iter_no_change is not None if self.early_stopping is None else self.early_stopping
        patience = 10 if self.n_iter_no_change is None else int(self.n_iter_no_change)
        return Settings(
            int(self.n_estimators),
            float(self.subsample),
            float(self.min_child_weight),
            float(self.l2_regularization),
            float(self.l1_regularization),
            patience=patience if stops else None,
            held_out=float(self.validation_fraction or 0.0),
        )

    def _fit(self, view: MatrixView) -> None:
        def highest(block: Block) -> np.ndarray:
            return np.array([gains_of(np.asarray(block.y, dtype=np.float64), self.gains).max(initial=0.0)])

        view.reduce(highest)
        _, weights, _ = self._learn_mean(view)
        self._boost(
            view,
            LossKind(_OBJECTIVE, "identity", None, noted_power=0, power=0),
            _nothing,
            0.0,
            parameters={"base_score": 0.0},
            lists=LambdaMART(self.gains, int(self.top)),
            **weights,
        )

    def _tolerance(self, tol: float) -> float:
        return tol

    @property
    def n_estimators_(self) -> int:
        """How many rounds there are."""
        return self._grown_rounds()


def _nothing(block: Block) -> np.ndarray:
    """XGBoost's labels; lists have their own."""
    return np.zeros(len(block))
