"""The best splits of nodes of trees that learn apart from each other, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import exact_kernel, inlined_kernel, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FEW_OF = 32
"""Rows that are no more than this part of all are read row by row."""
_FEW = 32
"""Up to so many rows it is faster to look at what each is than to seek the bin of a number."""
_LOWEST_BIT = np.zeros(64, dtype=np.int64)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
for _place in range(64):
    _LOWEST_BIT[((1 << _place) * int(_DE_BRUIJN) % (1 << 64)) >> 58] = _place


@inlined_kernel
def mixed(x: Any) -> Any:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def _lowest(bits: Any) -> int:
    """The place of the lowest bit that is set."""
    return _LOWEST_BIT[((bits & (~bits + np.uint64(1))) * _DE_BRUIJN) >> np.uint64(58)]


@inlined_kernel
def place_of(codes: Any, feature: int, count: int) -> Any:
    """Where the bins of a feature begin, and how far apart those of two rows are.

    Parameters
    ----------
    codes : of all values.
    feature : which.
    count : of so many rows they are asked for.
    """
    if codes.by_row and count * _FEW_OF <= codes.rows:
        return np.int64(codes.by_row) + feature, np.int64(codes.width)
    return feature * np.int64(codes.rows), np.int64(1)


@inlined_kernel
def _counted_numbers(
    codes: Any, feature: int, order: Any, weight: Any, extra: Any, begin: int, end: int, room: Any
) -> None:
    """Add the rows from `begin` to `end` up in the bins of a feature."""
    histogram, taken, _, _ = room
    values, (start, step) = codes.values, place_of(codes, feature, end - begin)
    for k in range(begin, end):
        b = np.uint64(values[start + step * order[k]])
        histogram[b, 0] += weight[k]
        histogram[b, 1] += extra[k]
        taken[b >> np.uint64(6)] |= np.uint64(1) << (b & np.uint64(63))


@inlined_kernel
def _counted_classes(
    codes: Any, feature: int, order: Any, weight: Any, extra: Any, begin: int, end: int, room: Any
) -> None:
    """Add the rows from `begin` to `end` up in the bins of a feature, by class."""
    histogram, taken, _, _ = room
    values, (start, step) = codes.values, place_of(codes, feature, end - begin)
    for k in range(begin, end):
        b = np.uint64(values[start + step * order[k]])
        histogram[b, np.uint64(np.int64(extra[k]))] += weight[k]
        taken[b >> np.uint64(6)] |= np.uint64(1) << (b & np.uint64(63))


@inlined_kernel
def _best_of_numbers(room: Any, missing: int, total: Any, least: float) -> Any:
    """The best split among the bins of a feature, which are emptied.

    Returns its score, the last bin that goes left, whether missing values do too, and whether there were any
    two bins to be split.
    """
    histogram, taken, _, _ = room
    weight, target = total[0], total[1]
    absent, absent_target = histogram[missing, 0], histogram[missing, 1]
    histogram[missing, 0], histogram[missing, 1] = 0.0, 0.0
    taken[missing >> 6] &= ~(np.uint64(1) << np.uint64(missing & 63))
    w, t, last = 0.0, 0.0, -1
    best, bin, left, several = -np.inf, -1, False, False
    for word in range(len(taken)):
        bits = taken[word]
        taken[word] = 0
        while bits:
            b = (word << 6) + _lowest(bits)
            bits &= bits - np.uint64(1)
            if last >= 0:
                several = True
                rest = weight - w
                if w >= least and rest >= least:
                    score = t * t / w + (target - t) * (target - t) / rest
                    if score > best:
                        best, bin, left = score, (last + b - 1) >> 1, False
                if absent > 0:
                    here, there = w + absent, t + absent_target
                    rest = weight - here
                    if here >= least and rest >= least:
                        score = there * there / here + (target - there) * (target - there) / rest
                        if score > best:
                            best, bin, left = score, (last + b - 1) >> 1, True
            w += histogram[b, 0]
            t += histogram[b, 1]
            histogram[b, 0], histogram[b, 1] = 0.0, 0.0
            last = b
    if absent > 0 and last >= 0:
        several = True
        if w >= least and absent >= least:
            score = t * t / w + absent_target * absent_target / absent
            if score > best:
                best, bin, left = score, missing - 1, False
    return best, bin, left, several


@inlined_kernel
def class_entropy(part: float, whole: float) -> float:
    """A class's share of the entropy of its node, in nats, times what the node weighs.

    Parameters
    ----------
    part : the weight of the class.
    whole : that of the node.
    """
    return part * np.log(whole / part) if part > 0 else 0.0


@inlined_kernel
def _squares_of_classes(here: Any, weight: float, total: Any, whole: float) -> float:
    """The squares of both sides over their weights."""
    left, right = 0.0, 0.0
    for k in range(len(total)):
        left += here[k] * here[k]
        right += (total[k] - here[k]) * (total[k] - here[k])
    return left / weight + right / (whole - weight)


@inlined_kernel
def _below_none(here: Any, weight: float, total: Any, whole: float) -> float:
    """What the entropy of both sides is below none, times their weights."""
    left, right = 0.0, 0.0
    for k in range(len(total)):
        left -= class_entropy(here[k], weight)
        right -= class_entropy(total[k] - here[k], whole - weight)
    return left + right


@inlined_kernel
def _score_of_classes(here: Any, weight: float, total: Any, whole: float, entropy: bool) -> float:
    """How good a split is: by entropy or by squares, apart, so that the latter stay fast."""
    if entropy:
        return _below_none(here, weight, total, whole)
    return _squares_of_classes(here, weight, total, whole)


@kernel
def _best_of_classes(room: Any, missing: int, total: Any, least: float, entropy: bool) -> Any:
    """As `_best_of_numbers`, of the weights of classes."""
    histogram, taken, scratch, _ = room
    absent, here, with_absent = scratch
    classes, whole, gone, w, last = len(total), 0.0, 0.0, 0.0, -1
    for k in range(classes):
        absent[k], here[k], histogram[missing, k] = histogram[missing, k], 0.0, 0.0
        whole += total[k]
        gone += absent[k]
    taken[missing >> 6] &= ~(np.uint64(1) << np.uint64(missing & 63))
    best, bin, left, several = -np.inf, -1, False, False
    for word in range(len(taken)):
        bits = taken[word]
        taken[word] = 0
        while bits:
            b = (word << 6) + _lowest(bits)
            bits &= bits - np.uint64(1)
            if last >= 0:
                several = True
                if w >= least and whole - w >= least:
                    score = _score_of_classes(here, w, total, whole, entropy)
                    if score > best:
                        best, bin, left = score, (last + b - 1) >> 1, False
                if gone > 0 and w + gone >= least and whole - w - gone >= least:
                    for k in range(classes):
                        with_absent[k] = here[k] + absent[k]
                    score = _score_of_classes(with_absent, w + gone, total, whole, entropy)
                    if score > best:
                        best, bin, left = score, (last + b - 1) >> 1, True
            for k in range(classes):
                here[k] += histogram[b, k]
                w += histogram[b, k]
                histogram[b, k] = 0.0
            last = b
    if gone > 0 and last >= 0:
        several = True
        if w >= least and gone >= least:
            score = _score_of_classes(here, w, total, whole, entropy)
            if score > best:
                best, bin, left = score, missing - 1, False
    return best, bin, left, several


@inlined_kernel
def _least_and_greatest(
    codes: Any, feature: int, order: Any, begin: int, end: int, missing: int, bins: Any
) -> Any:
    """Note the bins of rows; the least and the greatest but the missing one, and whether that is there.

    The greatest is -1 where there is no other.
    """
    values, (start, step) = codes.values, place_of(codes, feature, end - begin)
    shift, first = np.uint16(-missing), values[start + step * order[begin]]
    bins[0] = first
    low, most, high = first, first, np.uint16(first + shift)
    for k in range(begin + 1, end):
        b = values[start + step * order[k]]
        bins[k - begin] = b
        low = min(b, low)
        most = max(b, most)
        high = max(np.uint16(b + shift), high)  # the missing bin, the last, is the least of these
    return np.int64(low), np.int64(np.uint16(high - shift)) if high else -1, np.int64(most) == missing


@inlined_kernel
def _last_at(lows: Any, feature: int, low: int, high: int, at: float) -> int:
    """The last bin below a greatest one that begins at or below a number."""
    while high - low > 1:
        middle = (low + high) >> 1
        if lows[feature, middle] <= at:
            low = middle
        else:
            high = middle
    return low


@exact_kernel
def _left_of_numbers(bins: Any, shift: Any, last: Any, weight: Any, extra: Any, begin: int, end: int) -> Any:
    """The weight and the weighted target of the rows that go left."""
    w, t = 0.0, 0.0
    for k in range(begin, end):
        goes = np.uint16(bins[k - begin] + shift) <= last
        w += weight[k] if goes else 0.0
        t += extra[k] if goes else 0.0
    return w, t


@inlined_kernel
def _drawn_split(
    codes: Any,
    feature: int,
    order: Any,
    begin: int,
    end: int,
    missing: int,
    bins: Any,
    lows: Any,
    random: Any,
) -> Any:
    """A number drawn evenly between the least and the greatest value of a feature here.

    Returns those two bins, the number, whether missing values go left, as chance says, whether there are two
    bins to be split, and the next random number.
    """
    low, high, absent = _least_and_greatest(codes, feature, order, begin, end, missing, bins)
    random += _GOLDEN
    several = high >= 0 and (low != high or absent)
    chance = mixed(random)
    missing_left = absent and (chance & np.uint64(1)) == np.uint64(1) and low != high
    at = 0.0
    if several and low != high:
        share = np.float64(chance >> np.uint64(11)) * 2.0**-53
        at = lows[feature, low] + share * (np.float64(lows[feature, high]) - lows[feature, low])
    return low, high, at, missing_left, several, random


@inlined_kernel
def _drawn_sums(
    weight: Any,
    extra: Any,
    begin: int,
    end: int,
    missing: int,
    bins: Any,
    here: Any,
    lows: Any,
    feature: int,
    low: int,
    high: int,
    at: float,
    missing_left: bool,
    classes: int,
) -> Any:
    """The weight of the rows that go left, and their weighted target; by class in the room."""
    w, t = 0.0, 0.0
    for j in range(classes):
        here[j] = 0.0
    few = end - begin <= _FEW
    bin = missing - 1 if low == high else 0 if few else _last_at(lows, feature, low, high, at)
    if few and low != high:
        for k in range(begin, end):
            b = np.int64(bins[k - begin])
            goes = missing_left if b == missing else b != high and lows[feature, b] <= at
            own = weight[k] if goes else 0.0
            w += own
            if classes:
                here[np.uint64(np.int64(extra[k]))] += own
            else:
                t += extra[k] if goes else 0.0
        return w, t
    # bins counted from the missing one, which then is the least, so that one comparison says who goes left
    shift = np.uint16(-missing) if missing_left else np.uint16(0)
    last = np.uint16(np.uint16(bin) + shift)
    if not classes:
        return _left_of_numbers(bins, shift, last, weight, extra, begin, end)
    for k in range(begin, end):
        own = weight[k] if np.uint16(bins[k - begin] + shift) <= last else 0.0
        w += own
        here[np.uint64(np.int64(extra[k]))] += own
    return w, t


@inlined_kernel
def _drawn_score(
    parts: Any, split: Any, missing: int, here: Any, lows: Any, total: Any, whole: float, shape: Any
) -> float:
    """How good a drawn split is; below all numbers where a side is too small."""
    weight, extra, begin, end, bins = parts
    feature, low, high, at, left = split
    w, t = _drawn_sums(
        weight, extra, begin, end, missing, bins, here, lows, feature, low, high, at, left, shape.classes
    )
    rest = whole - w
    if w < shape.least or rest < shape.least or w <= 0 or rest <= 0:
        return -np.inf
    if shape.classes:
        return _score_of_classes(here, w, total, whole, shape.entropy)
    return t * t / w + (total[1] - t) * (total[1] - t) / rest


@inlined_kernel
def _own_score(sums: Any, classes: int, entropy: bool) -> float:
    """The score of a node that is not split: its squares over its weight, or what entropy leaves of none."""
    if not classes:
        return sums[1] * sums[1] / sums[0]
    squares, whole, surprise = 0.0, 0.0, 0.0
    for k in range(classes):
        squares += sums[k] * sums[k]
        whole += sums[k]
    if not entropy:
        return squares / whole
    for k in range(classes):
        surprise += class_entropy(sums[k], whole)
    return -surprise


@inlined_kernel
def _pure(target: Any, order: Any, begin: int, end: int) -> bool:
    """Whether rows have one target."""
    first = target[order[begin]]
    k = begin + 1
    while k < end and target[order[k]] == first:
        k += 1
    return k == end


@kernel
def seek(
    codes: Any,
    rows: Any,
    target: Any,
    begin: int,
    end: int,
    node: int,
    shape: Any,
    features: Any,
    random: Any,
    room: Any,
    nodes: Any,
    lows: Any,
) -> Any:
    """Write the best split of a node into it, -1 as its feature where there is none; the next random number.

    Features are drawn without replacement until there are enough, and one of them has two values here.

    Parameters
    ----------
    codes, rows, target, shape, nodes, lows : as `grow_tree` takes them.
    begin, end : the rows of the node.
    node : its number; its sums are there.
    features : of all, in any order; changed.
    random : the last random number.
    room : for a histogram, its bins that are taken, sums, and the bins of rows.
    """
    order, weight, extra = rows
    histogram, _, (here, _, _), bins = room
    total, classes = nodes.sums[node], shape.classes
    missing = len(histogram) - 1
    nodes.feature[node], nodes.gain[node] = -1, 0.0
    whole = total[0]
    for k in range(1, classes):
        whole += total[k]
    if end - begin < 2 or whole < shape.split or _pure(target, order, begin, end):
        return random
    width, i, splits, best = len(features), 0, False, -np.inf
    best_at = 0.0
    bin: Any = np.int64(0)
    best_low: Any = np.int64(0)
    best_high: Any = np.int64(0)
    while i < width and (i < shape.tried or not splits):
        random += _GOLDEN
        j = i + np.int64(((mixed(random) >> np.uint64(32)) * np.uint64(width - i)) >> np.uint64(32))
        features[i], features[j] = features[j], features[i]
        feature = features[i]
        i += 1
        if shape.drawn:
            low, high, at, left, several, random = _drawn_split(
                codes, feature, order, begin, end, missing, bins, lows, random
            )
            score = -np.inf
            if several:
                parts, split = (weight, extra, begin, end, bins), (feature, low, high, at, left)
                score = _drawn_score(parts, split, missing, here, lows, total, whole, shape)
            if score > best:
                best_low, best_high, best_at = low, high, at
        elif classes:
            _counted_classes(codes, feature, order, weight, extra, begin, end, room)
            score, bin, left, several = _best_of_classes(room, missing, total, shape.least, shape.entropy)
        else:
            _counted_numbers(codes, feature, order, weight, extra, begin, end, room)
            score, bin, left, several = _best_of_numbers(room, missing, total, shape.least)
        splits = splits or several
        if score > best:
            best = score
            nodes.feature[node], nodes.bin[node], nodes.missing_left[node] = feature, bin, left
    if shape.drawn and nodes.feature[node] >= 0:
        bin = missing - 1
        if best_low != best_high:
            bin = _last_at(lows, nodes.feature[node], best_low, best_high, best_at)
        nodes.bin[node] = bin
    if nodes.feature[node] >= 0:
        nodes.gain[node] = max(best - _own_score(total, classes, shape.entropy), 0.0)
    return random
