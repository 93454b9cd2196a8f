"""Factors of users and items that put what users liked before what they did not, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.memory import describe_size
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.parameters import RANDOM_STATE, TEXT, Integer, Number, OneOf, seed
from outgrow.ml.core.task import Task
from outgrow.ml.recommendation.liked_pairs import LikedPairs, Ranking
from outgrow.ml.recommendation.ratings import KnownKeys, first_factors
from outgrow.ml.recommendation.recommender import Recommender

_START = 0.1
"""How large factors are at first, beside those of ALS."""
_OTHER_SEED = 1 << 33
"""Added to the seed for users, so that a user and an item of the same key begin elsewhere."""
_CELLS = 1 << 20
"""Scores that are made at once."""
_BEATEN = "beaten"


class _Beaten:
    """Judges scores by how many of the items that were not liked have lower ones than those that were."""

    labels = False
    method = _BEATEN
    names: tuple[str, ...] = ("auc",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        y = np.asarray(block.y, dtype=np.float64)
        weights = np.ones(len(y)) if block.weight is None else block.weight
        liked = weights * (y > 0)
        sums = [weights.sum(), liked.sum()]
        return tuple(np.array([*sums, liked @ np.asarray(shares)]) for shares in answers)

    def weight(self, state: Any) -> float:
        """See `Scoring.weight`.

        Parameters
        ----------
        state : as there.
        """
        return float(state[0])

    def metrics(self, state: Any) -> dict[str, float]:
        """See `Scoring.metrics`.

        Parameters
        ----------
        state : as there.
        """
        if not state[1]:
            raise DataError("No row that counts has y above 0, so none says what was liked. Give some.")
        return {"auc": float(state[2] / state[1])}


class BPR(Recommender):
    """Give users and items a few numbers whose products put liked items first (Rendle et al. 2009).

    X has a column of users and one of items, with keys of any type. A pair is liked where its y is above 0,
    such as a count of plays, in any of its rows; all other pairs are not liked, or not known. Each step takes
    a liked pair and an item that its user did not like, and makes the difference of the two scores greater.

    Parameters
    ----------
    n_components : how many numbers each user and each item has.
    alpha : the weight of squared factors.
    learning_rate : how far a step goes.
    max_iter : how many passes are made; each takes as many steps as there are liked
        pairs. Few pairs need more passes; too many passes learn the pairs of the fit by heart.
    unseen : what is predicted for users and items that the fit did not see: 'zero', the score of factors that
        are 0, which for new users is the bias of the item; 'nan'; or 'error'.
    users, items : the columns of both; by default the first and the second of X.
    random_state : another number draws other pairs, and lets factors begin elsewhere; None is 0.

    Attributes
    ----------
    users_, items_ : ndarray of the keys, sorted.
    user_factors_, item_factors_ : ndarray of shape (n_users, n_components) and (n_items, n_components).
    item_biases_ : ndarray of shape (n_items,), what an item's score is for anybody.
    liked_items_, liked_ends_ : who liked what in the fit: the numbers of the items that user n liked are
        `liked_items_[liked_ends_[n] : liked_ends_[n + 1]]`.
    objective_ : the mean logistic loss of the steps of the last pass, without the penalty; NaN where nobody
        liked some items and not others.

    Raises
    ------
    DataError
        When keys are missing, ratings do not fit into the memory of a task, or factors become infinite.

    Notes
    -----
    Scores put the items of one user in order, and mean nothing else. `evaluate` gives `auc`: the share of the
    items that a user did not like in the fit which have lower scores than a liked one, those of equal scores
    by half, as a mean over the rows with y above 0. Rows whose user or item the fit did not see count 0.5.

    How large y is does not count, and neither do weights above 0. Two passes bring all pairs to every task,
    where they take about 150 bytes each; then one task takes all steps. Draws follow from hashes and the
    sorted pairs, so they are the same on every engine, for any partitioning and order. Steps of up to 256
    pairs, of fewer where users or items are few, are taken at once.

    Unlike scikit-learn: it has no such class.

    Unlike Spark MLlib: it has no such class; `ALS(implicitPrefs=True)` is `ALS(implicit=True)`.

    Unlike `implicit`'s `BayesianPersonalizedRanking(factors=100, learning_rate=0.01, regularization=0.01,
    iterations=100)`: the same data give the same model, with any number of threads. Where an item that was
    drawn is liked, another one is drawn.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> plays = np.array([[0, 10], [0, 11], [1, 10], [1, 11], [2, 11], [2, 10], [3, 20], [4, 20], [4, 21]])
    >>> model = og.BPR(4, max_iter=100).fit(plays, np.ones(9))
    >>> model.recommend(1, users=[3], seen=plays)["x1"].to_pylist()
    [21]
    """

    parameters = {
        "n_components": Integer(low=1, high=4096),
        "alpha": Number(low=0, high=1),
        "learning_rate": Number(above=0, high=1),
        "max_iter": Integer(low=1, high=1 << 30),
        "unseen": OneOf("zero", "nan", "error"),
        "users": TEXT | None,
        "items": TEXT | None,
        "random_state": RANDOM_STATE,
    }
    test_parameters: ClassVar[dict[str, Any]] = {"n_components": 3, "max_iter": 3}
    score_metric = "auc"
    _scoring = _Beaten()
    item_biases_: np.ndarray
    liked_items_: np.ndarray
    liked_ends_: np.ndarray

    def __init__(
        self,
        n_components: int = 32,
        *,
        alpha: float = 0.01,
        learning_rate: float = 0.05,
        max_iter: int = 30,
        unseen: str = "zero",
        users: str | None = None,
        items: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.unseen = unseen
        self.users = users
        self.items = items
        self.random_state = random_state

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_ = self._key_columns(task.features(shard.example))
        self.target_names_ = None
        known = KnownKeys.of(shard, self.features_, task)
        self.users_, self.items_ = known.keys
        if not known.fit_into_memory:
            raise DataError(
                f"{known.rows:,} ratings need about {describe_size(known.needed)} in each task, of a budget "
                f"of {describe_size(known.budget)}. Raise the memory of the engine, keep one row for each "
                "pair, or take ALS(implicit=True), which can use files."
            )
        ratings = known.gathered(shard)
        liked = ratings.values > 0
        users, items = (places[liked] for places in ratings.places)
        pairs = LikedPairs.of(users, items, (len(self.users_), len(self.items_)))
        self.liked_items_, self.liked_ends_ = pairs.items, pairs.ends
        self._rank(shard, pairs)
        self._restored()

    def _rank(self, shard: Shard, pairs: LikedPairs) -> None:
        """Let the first rank take all steps, and all know what came of them."""
        run, number, k = shard.run, seed(self.random_state), self.n_components
        users = _with(_START * first_factors(self.users_, k, number + _OTHER_SEED), 1.0)
        items = _with(_START * first_factors(self.items_, k, number), 0.0)
        loss = np.zeros(1)

        def told(turn: int, mean: float) -> None:
            run.comm.check()
            run.tell("iteration", turn, self.max_iter, rows=len(pairs.users), loss=mean)

        if run.comm.rank == 0:
            ranking = Ranking(float(self.alpha), float(self.learning_rate), int(self.max_iter), number)
            with np.errstate(over="ignore", invalid="ignore"):
                loss[0] = ranking.learned(pairs, users, items, told)
        else:
            users, items = np.zeros_like(users), np.zeros_like(items)
        users, items, loss = run.call(lambda: run.combine((users, items, loss)))
        if not (np.isfinite(users).all() and np.isfinite(items).all()):
            raise DataError(
                f"The factors became infinite with learning_rate={self.learning_rate} and "
                f"alpha={self.alpha}. Make them smaller."
            )
        self.user_factors_ = np.ascontiguousarray(users[:, :-1])
        self.item_factors_, self.item_biases_ = np.ascontiguousarray(items[:, :-1]), items[:, -1].copy()
        self.objective_ = float(loss[0])

    def _restored(self) -> None:
        super()._restored()
        self._products_of = (_with(self.user_factors_, 1.0), _with(self.item_factors_, self.item_biases_))

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        return self._products_of

    def _of_unseen(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        if self.unseen == "nan":
            return np.full(len(users), np.nan)
        return np.where(items >= 0, self.item_biases_[items], 0.0)

    def _predict_batch(self, method: str, batch: Any) -> np.ndarray:
        if method != _BEATEN:
            return super()._predict_batch(method, batch)
        users, items = (coder.codes(batch) for coder in self._coders)
        made = np.full(len(users), 0.5)
        known = np.flatnonzero((users >= 0) & (items >= 0))
        step = max(1, _CELLS // max(1, len(self.items_)))
        for start in range(0, len(known), step):
            rows = known[start : start + step]
            made[rows] = self._beaten(users[rows], items[rows])
        return made

    def _beaten(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The shares of items a user did not like whose scores are lower, of pairs; of equal ones half."""
        of_users, of_items = self._factors()
        scores, rows = of_users[users] @ of_items.T, np.arange(len(items))
        own = scores[rows, items][:, None]
        begins, counts = self.liked_ends_[users], np.diff(self.liked_ends_)[users]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        scores[np.repeat(rows, counts), self.liked_items_[np.repeat(begins, counts) + within]] = np.nan
        scores[rows, items] = np.nan
        lower, equal = (scores < own).sum(axis=1), (scores == own).sum(axis=1)
        others = (~np.isnan(scores)).sum(axis=1)
        return np.where(others > 0, (lower + equal / 2) / np.maximum(others, 1), 0.5)


def _with(factors: np.ndarray, last: Any) -> np.ndarray:
    """Factors and one more column."""
    made = np.empty((len(factors), factors.shape[1] + 1))
    made[:, :-1], made[:, -1] = factors, last
    return made
