"""Trees whose leaves are quantiles of what is left in them, exact over the rows of all ranks.

Such leaves lower sums of distances best (Friedman 2001). XGBoost has them too, but of many ranks it takes
the mean of each one's quantile, which depends on who has which rows. Here each tree is grown by derivatives;
then its leaves are set, and it is put aside: what the trees so far add up to stays with the rows as their
base margin, so no round asks the trees before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.engine.collective import Communicator

Combine = Callable[[np.ndarray], np.ndarray]

_DIGIT_BITS = 4
_KEY_BITS = 32
_SIGN = np.uint32(1 << 31)


def leaf_quantiles(
    leaf: np.ndarray, rest: np.ndarray, weight: np.ndarray | None, leaves: int, share: float, combine: Combine
) -> np.ndarray:
    """The quantile of the numbers in each leaf, over the rows of all ranks, as XGBoost defines it.

    Without weights it lies at `share * (n + 1)` of the n sorted numbers, between two of them by linear
    interpolation; with weights it is the first number at which the weights reach `share` of theirs.

    Parameters
    ----------
    leaf : shape (rows,), in which of `leaves` each row of this rank is.
    rest : shape (rows,), its number, as float32.
    weight : shape (rows,), or None for none on any rank.
    leaves : how many there are, also without rows.
    share : which quantile, in [0, 1].
    combine : adds up the arrays that all ranks call it with.

    Returns
    -------
    Of shape (leaves,), float32; 0 for leaves without rows.

    Examples
    --------
    >>> import numpy as np
    >>> rest = np.array([1, 5, 2, 9, 4], dtype=np.float32)
    >>> leaf_quantiles(np.array([0, 0, 0, 1, 1]), rest, None, 3, 0.5, lambda part: part).tolist()
    [2.0, 6.5, 0.0]
    """
    masses = _Masses(leaf, rest, weight, leaves, combine)
    if weight is not None:
        found = masses.reached(share * masses.total * (1 - 1e-12))  # sums of ranks round differently
    else:
        position = np.clip(share * (masses.total + 1), 1, np.maximum(masses.total, 1))
        first = np.floor(position)
        low, high = masses.reached(first), masses.reached(np.minimum(first + 1, masses.total))
        found = low + ((position - first) * (high - low).astype(np.float64)).astype(np.float32)
    return np.where(masses.total > 0, found, np.float32(0))


class _Masses:
    """How much of each leaf lies up to a number: rows, or their weights."""

    def __init__(
        self, leaf: np.ndarray, rest: np.ndarray, weight: np.ndarray | None, leaves: int, combine: Combine
    ) -> None:
        places = (leaf.astype(np.uint64) << np.uint64(_KEY_BITS)) | _ordered(rest)
        self._sums = None
        if weight is None:
            places.sort()
        else:
            order = np.argsort(places)
            places = places[order]
            self._sums = np.concatenate([[0.0], np.cumsum(weight[order], dtype=np.float64)])
        self._places, self._combine = places, combine
        self._starts = np.arange(leaves, dtype=np.uint64) << np.uint64(_KEY_BITS)
        self._before = self._below(self._starts)
        self.total = combine(self._below(self._starts + np.uint64(1 << _KEY_BITS)) - self._before)

    def _below(self, places: np.ndarray) -> np.ndarray:
        """The mass of this rank's rows that lie before each place."""
        counts = np.searchsorted(self._places, places)
        return counts.astype(np.float64) if self._sums is None else self._sums[counts]

    def reached(self, mass: np.ndarray) -> np.ndarray:
        """The first number in each leaf up to which there is so much of it, digit by digit."""
        keys = np.zeros(len(mass), dtype=np.uint64)
        ends = np.arange(1, (1 << _DIGIT_BITS) + 1, dtype=np.uint64)
        for shift in range(_KEY_BITS - _DIGIT_BITS, -1, -_DIGIT_BITS):
            places = (self._starts + keys)[:, None] + (ends << np.uint64(shift))
            upto = self._combine(self._below(places) - self._before[:, None])
            digit = np.minimum((upto < mass[:, None]).sum(axis=1), len(ends) - 1)
            keys |= digit.astype(np.uint64) << np.uint64(shift)
        return _from_ordered(keys.astype(np.uint32))


def _ordered(numbers: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers, in whose order they compare as the numbers do."""
    raw = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    return np.where(raw & _SIGN, ~raw, raw | _SIGN)


def _from_ordered(keys: np.ndarray) -> np.ndarray:
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint32).view(np.float32)


class TreesAside:
    """The trees of a training, apart from the booster that grows the next one.

    Parameters
    ----------
    share : which quantile of what is left the leaves are.
    parameters : XGBoost's, with the rate by which leaves are multiplied.
    rows : XGBoost's matrices of this rank: those that are learned from first, then all that are asked.
    comm : the ranks.
    """

    def __init__(
        self, share: float, parameters: Mapping[str, Any], rows: Sequence[Any], comm: Communicator
    ) -> None:
        self._share, self._parameters, self.rows, self._comm = share, dict(parameters), rows, comm
        self._rate = np.float32(parameters["learning_rate"])
        self._document: dict[str, Any] = {}
        self._trees: list[dict[str, Any]] = []
        self._sums: list[np.ndarray] = []
        self._empty = bytearray()

    def begin(self, begun: Any) -> Any:
        """A booster for the first tree.

        Parameters
        ----------
        begun : the booster to go on from, or None.
        """
        booster = optional("xgboost", "trees").Booster(self._parameters, list(self.rows), model_file=begun)
        self._sums = [booster.predict(rows, output_margin=True) for rows in self.rows]
        self._document = json.loads(booster.save_raw("json"))
        self._trees = list(_forest(self._document)["trees"])
        self._empty = bytearray(json.dumps(_with_trees(self._document, [])).encode())
        self._put_aside(booster)
        return booster

    def take(self, booster: Any) -> None:
        """Set the leaves of the one tree that a booster holds, and put it aside.

        Parameters
        ----------
        booster : XGBoost's; all ranks call this with the same tree.
        """
        (tree,) = _forest(json.loads(booster.save_raw("json")))["trees"]
        ends = np.array(tree["left_children"]) < 0
        number = np.cumsum(ends) - 1
        leaf = [number[booster.predict(rows, pred_leaf=True).astype(np.intp).ravel()] for rows in self.rows]
        rest = self.rows[0].get_label() - self._sums[0]
        combine = self._comm.allreduce
        values = leaf_quantiles(leaf[0], rest, self._weight(), int(ends.sum()), self._share, combine)
        weights, conditions = np.array(tree["base_weights"]), np.array(tree["split_conditions"])
        weights[ends], conditions[ends] = values, values * self._rate
        tree |= {"base_weights": weights.tolist(), "split_conditions": conditions.tolist()}
        self._trees.append({**tree, "id": len(self._trees)})
        added = (values * self._rate).astype(np.float32)
        self._sums = [sums + added[at] for sums, at in zip(self._sums, leaf, strict=True)]
        self._put_aside(booster)

    def _weight(self) -> np.ndarray | None:
        """The weights that the rows now have; None where no rank has any."""
        weight: np.ndarray = self.rows[0].get_weight()
        weighted = self._comm.allreduce(np.array([float(len(weight) > 0)]))[0] > 0
        return weight if weighted else None

    def _put_aside(self, booster: Any) -> None:
        booster.load_model(self._empty)
        booster.set_param(self._parameters)  # a model that is loaded does not know them
        for rows, sums in zip(self.rows, self._sums, strict=True):
            rows.set_base_margin(sums)

    def whole(self) -> Any:
        """A booster with all trees."""
        document = json.dumps(_with_trees(self._document, self._trees))
        return optional("xgboost", "trees").Booster(model_file=bytearray(document.encode()))


def _forest(document: Mapping[str, Any]) -> dict[str, Any]:
    forest: dict[str, Any] = document["learner"]["gradient_booster"]["model"]
    return forest


def _with_trees(document: Mapping[str, Any], trees: Sequence[Any]) -> dict[str, Any]:
    """The document of a booster with other trees, one a round."""
    forest = {
        **_forest(document),
        "trees": list(trees),
        "tree_info": [0] * len(trees),
        "iteration_indptr": list(range(len(trees) + 1)),
    }
    forest["gbtree_model_param"] = {**forest["gbtree_model_param"], "num_trees": str(len(trees))}
    booster = {**document["learner"]["gradient_booster"], "model": forest}
    return {**document, "learner": {**document["learner"], "gradient_booster": booster}}


def train_aside(
    rounds: int,
    aside: TreesAside,
    callbacks: Any,
    objective: Any,
    evals: Sequence[tuple[Any, str]],
    begun: Any,
) -> Any:
    """As `xgboost.train`, with the leaves set after each round, before anybody looks at it.

    Parameters
    ----------
    rounds : how many to add.
    aside : takes the trees.
    callbacks : a `CallbackContainer` of XGBoost; it sees boosters without trees, which answer as with all.
    objective : gives the derivatives.
    evals : the matrices whose losses are noted, and their names.
    begun : the booster to go on from, or None.

    Returns
    -------
    The booster with all trees.
    """
    rows = aside.rows
    try:
        booster = aside.begin(begun)
        for step in range(rounds):
            if callbacks.before_iteration(booster, step, rows[0], evals):
                break
            booster.update(rows[0], iteration=step, fobj=objective)
            aside.take(booster)
            if callbacks.after_iteration(booster, step, rows[0], evals):
                break
        callbacks.after_training(booster)
    finally:
        for each in rows:
            each.set_base_margin(np.zeros(0, dtype=np.float32))
    return aside.whole()
