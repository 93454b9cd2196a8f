"""Exact quantiles by a few counting passes: radix selection over the bits of the numbers.

Float64 numbers compare as their bits do once the sign is folded in. The first pass counts the values of each
column by their first 16 bits; the buckets that hold wanted ranks are then either small enough to gather, or
counted again by their next bits: 16 of them where there are few buckets, fewer where there are many. For a
few ranks of each column four passes always suffice, two nearly always do; for a thousand ranks it is three.
The answer depends on the values alone, not on their order or position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from outgrow.stats.state import State

Reduce = Callable[[Callable[[np.ndarray], Any]], Any]

_DIGIT_BITS = 16
_BUCKETS = 1 << _DIGIT_BITS
_ALL_BITS = 64
_GATHER_VALUES = 1 << 20
_MOST_COUNTS = 1 << 21
"""Counts of a pass beyond the first, over all columns."""
_WEIGHT_SLACK = 1e-12
"""Of the weight of all: sums of weights that are no further from each other are equal."""
_NO_RANKS = np.zeros(0, dtype=np.int64)
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, eq=False)
class Gathered(State):
    """Values kept as they are, one array for each question."""

    values: tuple[np.ndarray, ...]

    def merge(self, other: Gathered) -> Gathered:
        return Gathered(tuple(np.concatenate(pair) for pair in zip(self.values, other.values, strict=True)))


def quantiles(
    reduce: Reduce, width: int, probabilities: Sequence[float], method: str = "linear"
) -> tuple[np.ndarray, np.ndarray]:
    """Exact quantiles of the columns of a matrix, as `numpy.nanquantile` finds them.

    Parameters
    ----------
    reduce : calls its argument with each float64 block of shape (rows, width) and adds up what it returns.
    width : number of columns.
    probabilities : in [0, 1].
    method : 'linear' or 'averaged_inverted_cdf', as NumPy calls them.

    Returns
    -------
    values : ndarray of shape (len(probabilities), width), NaN for columns without values.
    counts : ndarray of shape (width,), how many values each column has.
    """
    counts = reduce(_first_digits)
    n = counts.sum(axis=1)
    low, high, share = _METHODS[method](np.array(probabilities, dtype=np.float64), np.maximum(n, 1))
    ranks = [np.unique([low[:, j], high[:, j]]) if n[j] else _NO_RANKS for j in range(width)]
    values = np.full(low.shape, np.nan)
    for j, (wanted, of_rank) in enumerate(zip(ranks, _values(reduce, counts, ranks), strict=True)):
        if n[j]:
            below, above = (of_rank[np.searchsorted(wanted, rank[:, j])] for rank in (low, high))
            values[:, j] = _between(below, above, share[:, j])
    return values, n


class WeightedColumns(Protocol):
    """Columns of numbers and what each of their values weighs."""

    def weighted(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The values of a column that are not missing, and their weights."""


def weighted_quantiles(
    reduce: Callable[[Callable[[WeightedColumns], np.ndarray]], np.ndarray],
    width: int,
    probabilities: Sequence[float],
    method: str = "inverted_cdf",
) -> np.ndarray:
    """Exact quantiles of weighted values, as `numpy.quantile` finds them: four passes, or more for many.

    Parameters
    ----------
    reduce : calls its argument with columns and adds up what it returns.
    width : number of columns.
    probabilities : in [0, 1].
    method : 'inverted_cdf' or 'averaged_inverted_cdf', as NumPy calls them.

    Returns
    -------
    ndarray of shape (len(probabilities), width), NaN for columns without weight.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    slack = np.where((shares > 0) & (shares < 1), _WEIGHT_SLACK, 0.0)
    if method == "inverted_cdf":
        return _weighted_values(reduce, width, shares - slack)
    low, high = np.split(_weighted_values(reduce, width, np.concatenate([shares - slack, shares + slack])), 2)
    return _between(low, high, np.full(low.shape, 0.5))


def _weighted_values(
    reduce: Callable[[Callable[[WeightedColumns], np.ndarray]], np.ndarray], width: int, shares: np.ndarray
) -> np.ndarray:
    """The least value of each column up to which the values weigh each share, of shape (shares, width)."""
    prefixes = np.zeros((len(shares), width), dtype=np.uint64)
    wanted, total, bits = np.zeros(prefixes.shape), np.zeros(width), 0
    while bits < _ALL_BITS:
        keys = [np.unique(column) for column in prefixes.T]
        room = (_MOST_COUNTS // sum(map(len, keys))).bit_length() - 1 if bits else _DIGIT_BITS
        further = min(max(room, 1), _DIGIT_BITS, _ALL_BITS - bits)
        flat = reduce(partial(_weigh, keys=keys, bits=bits, further=further))
        parts = np.split(flat, np.cumsum([len(some) << further for some in keys])[:-1])
        for j, (some, part) in enumerate(zip(keys, parts, strict=True)):
            sums = part.reshape(len(some), 1 << further)
            if bits == 0:
                total[j] = sums.sum()
                wanted[:, j] = np.maximum(shares * total[j], np.finfo(np.float64).tiny)
            ends = np.cumsum(sums, axis=1)
            last = ends.argmax(axis=1)
            for k, key in enumerate(np.searchsorted(some, prefixes[:, j]).tolist()):
                digit = min(int(np.searchsorted(ends[key], wanted[k, j])), int(last[key]))
                wanted[k, j] -= ends[key, digit] - sums[key, digit]
                prefixes[k, j] = (prefixes[k, j] << np.uint64(further)) | np.uint64(digit)
        bits += further
    return np.where(total > 0, _from_ordered(prefixes), np.nan)


def _weigh(columns: WeightedColumns, keys: Sequence[np.ndarray], bits: int, further: int) -> np.ndarray:
    """What the values of each column weigh that begin as one of its keys, by their next bits; one by one."""
    shift, mask = np.uint64(_ALL_BITS - bits - further), np.uint64((1 << further) - 1)
    weighed = []
    for j, some in enumerate(keys):
        values, weight = columns.weighted(j)
        known = _ordered(values)
        index = np.zeros(len(known), dtype=np.intp)
        if bits:
            begin = known >> np.uint64(_ALL_BITS - bits)
            index = np.minimum(np.searchsorted(some, begin), len(some) - 1)
            near = some[index] == begin
            known, index, weight = known[near], index[near], weight[near]
        digits = ((known >> shift) & mask).astype(np.intp)
        weighed.append(np.bincount((index << further) + digits, weight, len(some) << further))
    return np.concatenate(weighed)


def _linear(probabilities: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two ranks around each quantile of each column, and how far it lies on the way between them."""
    positions = np.outer(probabilities, n - 1)
    low = np.floor(positions)
    return low.astype(np.int64), np.ceil(positions).astype(np.int64), positions - low


def _averaged(probabilities: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_linear`, but in the middle of two values where the share of rows ends between them."""
    positions = np.outer(probabilities, n)
    low = np.ceil(positions).astype(np.int64) - 1
    high = np.floor(positions).astype(np.int64)
    return np.clip(low, 0, n - 1), np.clip(high, 0, n - 1), np.full(low.shape, 0.5)


_METHODS = {"linear": _linear, "averaged_inverted_cdf": _averaged}


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The numbers at a share of the way from some to others, also where their difference overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        step = b - a
        near = np.where(share < 0.5, a + step * share, b - step * (1 - share))  # as NumPy does, to the bit
        apart = np.where(np.isfinite(step), near, a * (1 - share) + b * share)
    return np.where(a == b, a, apart)


@dataclass
class _Search:
    """The values of some ranks of a column, as far as they are known: the first bits of each.

    Attributes
    ----------
    ranks : int64, sorted, among the values that begin with the same bits.
    prefixes : uint64, the first bits of each value, ordered as the numbers are.
    sizes : how many values begin with them.
    """

    ranks: np.ndarray
    prefixes: np.ndarray
    sizes: np.ndarray

    @cached_property
    def keys(self) -> np.ndarray:
        """The prefixes, each once."""
        return np.unique(self.prefixes)

    @cached_property
    def starts(self) -> np.ndarray:
        """How many values lie before those of each rank's prefix, among all that begin as one of the keys."""
        first = np.searchsorted(self.prefixes, self.keys)
        sizes = self.sizes[first]
        return (np.cumsum(sizes) - sizes)[np.searchsorted(self.keys, self.prefixes)]

    @property
    def held(self) -> int:
        """How many values begin as one of the keys."""
        return int(self.sizes[np.searchsorted(self.prefixes, self.keys)].sum())

    def deeper(self, counts: np.ndarray, bits: int) -> _Search:
        """The search with more bits known.

        Parameters
        ----------
        counts : shape (keys, 2**bits), how many values each key is followed by each of the next bits.
        bits : how many are next.
        """
        flat = counts.ravel()
        ends = np.cumsum(flat)
        wanted = self.starts + self.ranks
        bucket = np.searchsorted(ends, wanted, side="right")
        known = self.keys[bucket >> bits] << np.uint64(bits)
        prefixes = known | (bucket & ((1 << bits) - 1)).astype(np.uint64)
        return _Search(wanted - (ends[bucket] - flat[bucket]), prefixes, flat[bucket])


def _values(reduce: Reduce, counts: np.ndarray, ranks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The values of some ranks of each column, both of shape (ranks,) and in order."""
    zero = np.zeros(1, dtype=np.uint64)
    searches = [
        _Search(wanted, zero.repeat(len(wanted)), np.full(len(wanted), column.sum())).deeper(
            column[None], _DIGIT_BITS
        )
        if len(wanted)
        else _Search(wanted, zero[:0], wanted)
        for wanted, column in zip(ranks, counts, strict=True)
    ]
    bits = _DIGIT_BITS
    while bits < _ALL_BITS:
        keys = [search.keys for search in searches]
        if sum(search.held for search in searches) <= _GATHER_VALUES:
            gathered = reduce(partial(_gather, keys=keys, bits=bits))
            pairs = zip(searches, gathered.values, strict=True)
            return [np.sort(values)[search.starts + search.ranks] for search, values in pairs]
        room = _MOST_COUNTS // sum(map(len, keys))
        further = min(max(room.bit_length() - 1, 1), _DIGIT_BITS, _ALL_BITS - bits)
        flat = reduce(partial(_count, keys=keys, bits=bits, further=further))
        parts = np.split(flat, np.cumsum([len(some) << further for some in keys])[:-1])
        searches = [
            search.deeper(part, further) if len(search.ranks) else search
            for search, part in zip(searches, parts, strict=True)
        ]
        bits += further
    return [_from_ordered(search.prefixes) for search in searches]


def _gather(X: np.ndarray, keys: Sequence[np.ndarray], bits: int) -> Gathered:
    """The values of each column that begin as one of its keys."""
    return Gathered(tuple(_within(X[:, j], some, bits)[0] for j, some in enumerate(keys)))


def _count(X: np.ndarray, keys: Sequence[np.ndarray], bits: int, further: int) -> np.ndarray:
    """How many values of each column begin as each of its keys, by their next bits; columns one by one."""
    counted = []
    for j, some in enumerate(keys):
        values, index = _within(X[:, j], some, bits)
        shift, mask = np.uint64(_ALL_BITS - bits - further), np.uint64((1 << further) - 1)
        digits = ((_ordered(values) >> shift) & mask).astype(np.intp)
        counted.append(np.bincount((index << further) + digits, minlength=len(some) << further))
    return np.concatenate(counted)


def _within(x: np.ndarray, keys: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column that begin as one of the keys, and as which."""
    x = np.ascontiguousarray(x)
    if not len(keys):
        return x[:0], np.zeros(0, dtype=np.intp)
    leading = keys >> np.uint64(bits - _DIGIT_BITS)
    table = np.full(_BUCKETS, -1, dtype=np.int32)
    table[_raw_leading(leading)] = np.arange(len(keys))  # where several keys begin so, one of them
    index = table[_leading(x)]
    near = index >= 0
    x, index = x[near], index[near].astype(np.intp)
    there = ~np.isnan(x)
    if bits > _DIGIT_BITS:
        prefixes = _ordered(x) >> np.uint64(_ALL_BITS - bits)
        index = np.minimum(np.searchsorted(keys, prefixes), len(keys) - 1)
        there &= keys[index] == prefixes
    return (x, index) if there.all() else (x[there], index[there])


def _raw_leading(ordered: np.ndarray) -> np.ndarray:
    """The raw leading bits that these ordered ones stand for."""
    lead = ordered.astype(np.intp)
    return np.where(lead < 0x8000, 0xFFFF - lead, lead - 0x8000)


def _first_digits(X: np.ndarray) -> np.ndarray:
    """Counts of shape (width, 65536) by the first 16 ordered bits, NaN left out."""
    counts = np.empty((X.shape[1], _BUCKETS), dtype=np.int64)
    for j in range(X.shape[1]):
        raw = np.bincount(_leading(X[:, j]), minlength=_BUCKETS + 1)
        for infinity in _INFINITIES:
            if raw[infinity]:  # a NaN whose payload lies in the lower bits begins as infinity does
                raw[infinity] = np.count_nonzero(X[:, j] == _first_of(infinity))
        counts[j] = raw[_ORDER]
    return counts


def _leading(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x).view(np.uint64) >> np.uint64(48)).astype(np.intp)


def _leading_order() -> np.ndarray:
    """Raw leading bits in the order of the numbers they begin; those of NaN point past the last bucket."""
    raw = np.arange(_BUCKETS)
    ordered = np.where(raw >= 0x8000, 0xFFFF - raw, raw + 0x8000)
    order = np.argsort(ordered)
    order[(order & 0x7FFF) > _INFINITIES[0]] = _BUCKETS
    return order


def _first_of(leading: int) -> float:
    """The number whose raw bits are the leading ones and then zeros."""
    return float((np.array([leading], dtype=np.uint64) << np.uint64(48)).view(np.float64)[0])


_INFINITIES = (0x7FF0, 0xFFF0)
_ORDER = _leading_order()


def _ordered(x: np.ndarray) -> np.ndarray:
    raw = np.ascontiguousarray(x).view(np.uint64)
    return np.where(raw & _SIGN, ~raw, raw | _SIGN)


def _from_ordered(keys: np.ndarray) -> np.ndarray:
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint64).view(np.float64)
