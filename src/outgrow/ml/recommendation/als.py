"""Factors of users and items by alternating least squares, and what follows for any pair of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.keys import key_hash
from outgrow.engine.local import Local
from outgrow.engine.memory import describe_size
from outgrow.engine.open import dataset
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.ml.base import Regressor
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, TEXT, Integer, Number, OneOf, seed
from outgrow.ml.core.task import Task
from outgrow.ml.recommendation.half_step import How, Penalty
from outgrow.ml.recommendation.least_squares import (
    Feedback,
    HeldSquares,
    LeastSquares,
    PlacedSquares,
    products,
)
from outgrow.ml.recommendation.ratings import KeyCoder, KnownKeys, Ratings, first_factors
from outgrow.ml.recommendation.top import best
from outgrow.stats.rankings import QueryRows, per_query

_SHOWN = 5
_KEY_BYTES, _COPIES = 200, 3
"""About what a key takes, counted and coded; and how often its factors are in memory during a half-step."""


class ALS(Regressor):
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
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "its tables of factors grow with the users and items",
        "scikit-learn": "it has no factors of keys",
    }
    learns_from_matrix = False
    users_: np.ndarray
    items_: np.ndarray

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

    def _key_columns(self, features: list[str]) -> list[str]:
        """The columns of users and of items."""
        given = [name for name in (self.users, self.items) if name is not None]
        lacking = [name for name in given if name not in features]
        if lacking:
            raise SchemaError(f"There is no column {lacking[0]!r} among {features}. Name columns of X.")
        rest = iter(name for name in features if name not in given)
        names = [name or next(rest, None) for name in (self.users, self.items)]
        if None in names or names[0] == names[1]:
            raise SchemaError(
                f"ALS needs a column of users and one of items, and finds {features}. Give users= and items=."
            )
        return [str(name) for name in names]

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

    def _products(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The products of the factors of pairs, of shape (pairs,)."""
        return products(self.user_factors_, self.item_factors_, (users, items))

    def _restored(self) -> None:
        keys = (self.users_, self.items_)
        self._coders = [KeyCoder(name, known) for name, known in zip(self.features_, keys, strict=True)]

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        users, items = (coder.codes(batch) for coder in self._coders)
        known = (users >= 0) & (items >= 0)
        if known.all():
            return self._products(users, items)
        if self.unseen == "error":
            raise DataError(self._unknown(batch, users, items))
        fill = {"mean": 0.0 if self.implicit else self.mean_, "nan": np.nan}[self.unseen]
        made = np.full(batch.num_rows, fill)
        made[known] = self._products(users[known], items[known])
        return made

    def _unknown(self, batch: Batch, *codes: np.ndarray) -> str:
        """What is said of rows whose user or item is not known."""
        parts = []
        for name, own in zip(self.features_, codes, strict=True):
            column: Any = batch[name]
            gone = column.take(pa.array(np.flatnonzero(own < 0)[:_SHOWN])).to_pylist()
            parts += [f"{gone} of column {name!r}"] if gone else []
        return f"The fit did not see {' and '.join(parts)}. Leave them out, or set unseen='mean' or 'nan'."

    def recommend(self, k: int = 10, *, users: Any = None, seen: Any = None) -> pa.Table:
        """The items with the highest predictions for users.

        Parameters
        ----------
        k : how many for each user, at most.
        users : keys of those to recommend for; all by default. Of those that the fit did not see, nothing is
            known, and a warning says so.
        seen : dataset or table with the columns of users and items: pairs that are left out, such as those
            of the fit.

        Returns
        -------
        A table with the column of users, that of items, and `prediction`: for each user the best item first.

        Raises
        ------
        ParameterError
            When k is no whole number of at least 1.
        """
        return self._best(0, k, users, seen)

    def recommend_users(self, k: int = 10, *, items: Any = None, seen: Any = None) -> pa.Table:
        """The users with the highest predictions for items.

        Parameters
        ----------
        k : how many for each item, at most.
        items : keys of the items; all by default.
        seen : as for `recommend`.

        Returns
        -------
        A table with the column of items, that of users, and `prediction`: for each item the best user first.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> rows = np.array([[0, 10], [0, 11], [1, 10], [2, 11]])
        >>> model = og.ALS(2, implicit=True).fit(rows, np.array([3.0, 1.0, 4.0, 2.0]))
        >>> model.recommend_users(1, items=[10])["x0"].to_pylist()
        [1]
        """
        return self._best(1, k, items, seen)

    def evaluate_ranking(self, X: Any, k: int = 10, *, seen: Any = None) -> dict[str, float]:
        """How many of the pairs of X are among the first k recommendations for their users.

        Parameters
        ----------
        X : dataset or table with the columns of users and items: pairs that should have been recommended,
            each once. Users and items that the fit did not see are never recommended, and count as missed.
        k : how many recommendations each user gets.
        seen : pairs that are not recommended, as for `recommend`.

        Returns
        -------
        By name 'ndcg', 'map', 'precision', 'recall' and 'hit_rate' of the first k, as in 'ndcg@10', and
        'mrr', the mean over the users; `og.stats.ranking_report` says what they are.

        Raises
        ------
        DataError
            When X has no rows.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> rows = np.array([[0, 10], [0, 11], [1, 10], [1, 11], [2, 11], [2, 12]])
        >>> model = og.ALS(2, implicit=True).fit(rows, np.ones(6))
        >>> model.evaluate_ranking(rows, k=3)["recall@3"]
        1.0
        """
        Integer(low=1).check("evaluate_ranking", "k", k)
        check_is_fitted(self)
        pairs, users, items = self._coded_pairs(X)
        if not len(pairs):
            raise DataError("There are no pairs that should have been recommended. Give X some rows.")
        known = np.unique(users[users >= 0])
        left_out = None if seen is None else self._seen(0, seen)[known]
        rows, found, scores = best(
            self.user_factors_[known], self.item_factors_, k, left_out, threads=Local().slots
        )
        wanted = known[rows].astype(np.int64) * len(self.items_) + found
        relevant = users.astype(np.int64) * len(self.items_) + items
        inside = (users >= 0) & (items >= 0)
        hit = np.isin(wanted, relevant[inside])
        missed = ~(inside & np.isin(relevant, wanted))
        strange = np.where(users < 0, pairs, users.astype(np.uint64))  # hashes tell those not known apart
        documents = QueryRows(
            np.concatenate([known[rows].astype(np.uint64), strange[missed]]),
            np.concatenate([scores, np.full(int(missed.sum()), np.nan)]),
            np.concatenate([hit.astype(np.float64), np.ones(int(missed.sum()))]),
        )
        _, metrics = per_query(documents, [k])
        return {name: float(each.mean()) for name, each in metrics.items() if "@" in name or name == "mrr"}

    def _coded_pairs(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hashes of the users of pairs, and the numbers of users and items, -1 for those not known."""
        opened = dataset(X)
        lacking = [name for name in self.features_ if name not in opened.scan.schema.names]
        if lacking:
            raise SchemaError(f"There is no column {lacking[0]!r}. The pairs need {self.features_}.")
        opened = opened.select(self.features_)
        parts = [
            (key_hash(batch, self.features_[:1]), *(coder.codes(batch) for coder in self._coders))
            for batch in opened.engine.map(opened.scan)
        ]
        nothing = (np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        hashes, users, items = map(np.concatenate, zip(nothing, *parts, strict=True))
        return hashes, users, items

    def _best(self, side: int, k: int, keys: Any, seen: Any) -> pa.Table:
        check_is_fitted(self)
        Integer(low=1).check("recommend", "k", k)
        known, others = (self.users_, self.items_) if side == 0 else (self.items_, self.users_)
        factors = (self.user_factors_, self.item_factors_)
        chosen = np.arange(len(known)) if keys is None else self._chosen(side, keys)
        left_out = None if seen is None else self._seen(side, seen)[chosen]
        rows, found, scores = best(
            factors[side][chosen], factors[1 - side], k, left_out, threads=Local().slots
        )
        names = (self.features_[side], self.features_[1 - side], "prediction")
        columns = (_taken(known, chosen[rows]), _taken(others, found), pa.array(scores))
        return pa.table(dict(zip(names, columns, strict=True)))

    def _chosen(self, side: int, keys: Any) -> np.ndarray:
        """The places of given keys; a warning names those that are not known."""
        listed = keys.to_pylist() if hasattr(keys, "to_pylist") else np.asarray(keys).ravel().tolist()
        codes = self._coders[side].codes_of(pa.array(listed))
        strange = [key for key, code in zip(listed, codes.tolist(), strict=True) if code < 0]
        if strange:
            warnings.warn(
                f"The fit did not see {strange[:_SHOWN]}; nothing is recommended for "
                f"{'it' if len(strange) == 1 else f'these {len(strange)}'}.",
                stacklevel=4,
            )
        return codes[codes >= 0]

    def _seen(self, side: int, seen: Any) -> Any:
        """Pairs as a CSR array with a row for each key of a side."""
        _, users, items = self._coded_pairs(seen)
        known = (users >= 0) & (items >= 0)
        none = np.zeros(int(known.sum()))
        pairs = Ratings((self.users_, self.items_), (users[known], items[known]), none, none)
        made = pairs.matrix(np.ones(len(none)))
        return made if side == 0 else made.T.tocsr()

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> Mapping[str, Any]:
        users = np.array([f"user {number}" for number in range(12)])
        return {
            "a": users[random.integers(0, 12, rows)],
            "b": random.integers(0, 9, rows),
            "c": random.normal(size=rows),
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.two_d_array = False
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags


def _taken(keys: np.ndarray, places: np.ndarray) -> pa.Array:
    """Keys at some places, as a column."""
    return pa.array(keys.tolist()).take(pa.array(places))
