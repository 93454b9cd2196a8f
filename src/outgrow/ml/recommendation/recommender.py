"""What models of users and items have in common: answers for pairs, and the best of all for each."""

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
from outgrow.engine.open import dataset
from outgrow.errors import DataError, SchemaError
from outgrow.ml.base import Regressor
from outgrow.ml.core.parameters import Integer
from outgrow.ml.recommendation.least_squares import products
from outgrow.ml.recommendation.ratings import KeyCoder, Ratings
from outgrow.ml.recommendation.top import best
from outgrow.stats.rankings import QueryRows, per_query

_SHOWN = 5


class Recommender(Regressor):
    """Factors of users and items, whose products say how much one likes the other.

    Hooks: `_fit_shard`, which sets the attributes below and calls `_restored`; `_of_unseen`; `_factors`.
    """

    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "its tables of factors grow with the users and items",
        "scikit-learn": "it has no factors of keys",
    }
    learns_from_matrix = False
    users: str | None
    items: str | None
    unseen: str
    users_: np.ndarray
    items_: np.ndarray
    user_factors_: np.ndarray
    item_factors_: np.ndarray

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
                f"{type(self).__name__} needs a column of users and one of items, and finds {features}. "
                "Give users= and items=."
            )
        return [str(name) for name in names]

    def _of_unseen(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What is predicted for pairs of whom one is not known; its number is -1."""
        raise NotImplementedError

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Those of users and of items whose products are the predictions."""
        return self.user_factors_, self.item_factors_

    def _products(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The products of the factors of pairs, of shape (pairs,)."""
        return products(*self._factors(), (users, items))

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
        made = self._of_unseen(users, items)
        made[known] = self._products(users[known], items[known])
        return made

    def _unknown(self, batch: Batch, *codes: np.ndarray) -> str:
        """What is said of rows whose user or item is not known."""
        parts = []
        for name, own in zip(self.features_, codes, strict=True):
            column: Any = batch[name]
            gone = column.take(pa.array(np.flatnonzero(own < 0)[:_SHOWN])).to_pylist()
            parts += [f"{gone} of column {name!r}"] if gone else []
        return f"The fit did not see {' and '.join(parts)}. Leave them out, or set unseen='nan'."

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
        of_users, of_items = self._factors()
        rows, found, scores = best(of_users[known], of_items, k, left_out, threads=Local().slots)
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
        factors = self._factors()
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
