"""Factors of users and items by alternating least squares, and what follows for any pair of them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from outgrow.engine.memory import describe_size
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, TEXT, Integer, Number, OneOf, seed
from outgrow.ml.core.task import Task
from outgrow.ml.recommendation.half_step import How, Penalty
from outgrow.ml.recommendation.least_squares import (
    Feedback,
    HeldSquares,
    LeastSquares,
    PlacedSquares,
)
from outgrow.ml.recommendation.ratings import KnownKeys, first_factors
from outgrow.ml.recommendation.recommender import Recommender

_SHOWN = 5
_KEY_BYTES, _COPIES = 200, 3
"""About what a key takes, counted and coded; and how often its factors are in memory during a half-step."""


class ALS(Recommender):
    """Give each user and each item a few numbers whose products are the ratings (Koren et al. 2009).

    X has a column of users and one of items, with keys of any type; y are the ratings. Explicit ratings are
    what users said of items, such as stars: the squared errors of these are made small. Implicit ones count
    what users did, such as plays: all pairs count, those with a rating r as liked with confidence
    1 + confidence * r, all others as not liked with confidence 1 (Hu et al. 2008).

    Parameters
    ----------
    n_components : how many numbers each user and each item has.
    alpha : the weight of squared factors beside squared errors.
    max_iter : how often factors of users and of items are found from each other.
    implicit : whether ratings are counts of what users did.
    confidence : how much a count of 1 adds to the confidence that it is liked; of implicit ratings only.
    weighted_penalty : whether the factors of who has n ratings count n times in the penalty (ALS-WR, Zhou et
        al. 2008; of implicit ratings those above 0 are counted), else once.
    nonnegative : whether factors must be at least 0.
    unseen : what is predicted for users and items that the fit did not see: 'mean', for explicit ratings the
        mean of all and for implicit ones 0; 'nan'; or 'error'.
    users, items : the columns of both; by default the first and the second of X.
    random_state : another number lets the factors of items begin elsewhere; None is 0.

    Attributes
    ----------
    users_, items_ : ndarray of the keys, sorted.
    user_factors_, item_factors_ : ndarray of shape (n_users, n_components) and (n_items, n_components).
    mean_ : the weighted mean of the ratings.
    objective_ : what was made small, after the last step.

    Raises
    ------
    DataError
        When keys are missing, or the factors need more memory than a task has.

    Notes
    -----
    Ratings of one pair are several observations; implicit ones are added. Two passes bring all ratings to
    every task, where they take about 150 bytes each; then tasks find the factors of some users or items each,
    and exchange them. Past the memory of a task, ratings go to the task of their user, and once more to that
    of their item, and wait in files there: then only keys and factors must fit. Factors start from hashes of
    the keys, so they are the same on every engine, for any partitioning and order. From 17 components on,
    each half-step takes three steps of conjugate gradients (Takacs et al. 2011) in place of exact solutions,
    unless factors must be at least 0.

    Unlike scikit-learn: it has no such class; NMF takes pairs without a rating as zeros.

    Unlike Spark MLlib's `ALS(rank=10, maxIter=10, regParam=0.1, implicitPrefs=False, alpha=1.0,
    coldStartStrategy="nan")`: keys may be text or any numbers; `regParam` is `alpha`, and `alpha` is
    `confidence`. Ratings of a pair that comes twice are added before implicit ones become confidences.
    `recommendForAllUsers(k)` is `recommend(k)`, `recommendForAllItems(k)` is `recommend_users(k)`; rows of
    unseen users are not dropped.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> stars = pa.table(
    ...     {
    ...         "user": ["ann", "ann", "bob", "bob", "cid", "cid", "cid"],
    ...         "film": ["Alien", "Brazil", "Alien", "Casino", "Alien", "Brazil", "Casino"],
    ...         "stars": [5.0, 1.0, 5.0, 4.0, 4.0, 1.0, 4.0],
    ...     }
    ... )
    >>> model = og.ALS(n_components=2, alpha=0.01).fit(stars, "stars")
    >>> model.predict(stars).column("prediction").to_numpy().round(0).tolist()
    [5.0, 1.0, 5.0, 4.0, 4.0, 1.0, 4.0]
    >>> model.recommend(1, users=["ann"], seen=stars).to_pylist()[0]["film"]
    'Casino'
    """

    parameters = {
        "n_components": Integer(low=1, high=4096),
        "alpha": Number(low=0, below=np.inf),
        "max_iter": Integer(low=1),
        "implicit": FLAG,
        "confidence": Number(low=0, below=np.inf),
        "weighted_penalty": FLAG,
        "nonnegative": FLAG,
        "unseen": OneOf("mean", "nan", "error"),
        "users": TEXT | None,
        "items": TEXT | None,
        "random_state": RANDOM_STATE,
    }
    test_parameters: ClassVar[dict[str, Any]] = {"n_components": 3, "max_iter": 3}

    def __init__(
        self,
        n_components: int = 10,
        *,
        alpha: float = 0.1,
        max_iter: int = 10,
        implicit: bool = False,
        confidence: float = 1.0,
        weighted_penalty: bool = True,
        nonnegative: bool = False,
        unseen: str = "mean",
        users: str | None = None,
        items: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.max_iter = max_iter
        self.implicit = implicit
        self.confidence = confidence
        self.weighted_penalty = weighted_penalty
        self.nonnegative = nonnegative
        self.unseen = unseen
        self.users = users
        self.items = items
        self.random_state = random_state

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_ = self._key_columns(task.features(shard.example))
        self.target_names_ = None
        known = KnownKeys.of(shard, self.features_, task)
        self.users_, self.items_ = known.keys
        self._alternate(shard, self._least_squares(shard, known), known.rows)
        self._restored()

    def _least_squares(self, shard: Shard, known: KnownKeys) -> LeastSquares:
        """All ratings on every rank where they fit into its memory, else each rank those of some keys."""
        feedback, budget = Feedback(self.implicit, self.confidence), known.budget
        if known.fit_into_memory:
            return HeldSquares(known.gathered(shard), feedback)
        users, items = map(len, known.keys)
        needed = (users + items) * (_KEY_BYTES + _COPIES * 8 * self.n_components)
        if needed > budget:
            raise DataError(
                f"The factors of {users:,} users and {items:,} items need about {describe_size(needed)} in "
                f"each task, of a budget of {describe_size(budget)}. Raise the memory of the engine, or make "
                "n_components smaller."
            )
        return PlacedSquares(shard, known, feedback)

    def _alternate(self, shard: Shard, squares: LeastSquares, ratings: int) -> None:
        run, self.mean_ = shard.run, squares.mean
        how, penalty = How(self.implicit, self.nonnegative), Penalty(self.alpha, self.weighted_penalty)
        items = first_factors(self.items_, self.n_components, seed(self.random_state))
        items = np.abs(items) if self.nonnegative else items
        users = np.zeros((len(self.users_), self.n_components))
        for step in range(self.max_iter):
            users = squares.users.solved(run, items, users, penalty, how)
            items = squares.items.solved(run, users, items, penalty, how)
            run.tell("iteration", step + 1, self.max_iter, rows=ratings)
        self.user_factors_, self.item_factors_ = users, items
        shrunk = sum(
            float(penalty.of(side.counts) @ (factors * factors).sum(axis=1))
            for side, factors in ((squares.users, users), (squares.items, items))
        )
        everywhere = float(((users.T @ users) * (items.T @ items)).sum()) if self.implicit else 0.0
        self.objective_ = squares.loss(run, users, items) + everywhere + shrunk

    def _of_unseen(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        fill = {"mean": 0.0 if self.implicit else self.mean_, "nan": np.nan}[self.unseen]
        return np.full(len(users), fill)
