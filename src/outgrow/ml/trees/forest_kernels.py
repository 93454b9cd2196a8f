"""Trees that learn apart from each other, compiled by Numba: rows in bins, each tree grown by one thread.

XGBoost takes histograms of all features and all bins at each node, whose cost does not fall with the rows
that a node has. Here a node costs what its rows cost: they are counted in the bins of the features that it
tries, a bit for each bin tells which are taken, and those alone are looked at.

All that is added up are whole numbers, which float64 holds exactly: weights, and products of weight and
target, in units that leave their sums below 2^53. So neither the order of the rows nor who had them changes
a tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import kernel
from outgrow.ml.trees.document import ROOT_PARENT

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOWEST_BIT = np.zeros(64, dtype=np.int64)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
for _place in range(64):
    _LOWEST_BIT[((1 << _place) * int(_DE_BRUIJN) % (1 << 64)) >> 58] = _place


@kernel
def in_bins(X: Any, cuts: Any, missing: int, codes: Any) -> None:
    """Write of each value how many cuts are at or below it.

    Parameters
    ----------
    X : float32 of shape (rows,).
    cuts : float32, ascending.
    missing : what is written for NaN.
    codes : where to, of shape (rows,).
    """
    for r in range(len(X)):
        x = X[r]
        low, high = 0, len(cuts)
        while low < high:
            middle = (low + high) >> 1
            if x < cuts[middle]:
                high = middle
            else:
                low = middle + 1
        codes[r] = missing if np.isnan(x) else low


@kernel
def _mixed(x: Any) -> Any:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def _lowest(bits: Any) -> int:
    """The place of the lowest bit that is set."""
    return _LOWEST_BIT[((bits & (~bits + np.uint64(1))) * _DE_BRUIJN) >> np.uint64(58)]


@kernel
def _counted_numbers(
    column: Any, order: Any, weight: Any, extra: Any, begin: int, end: int, room: Any
) -> None:
    """Add the rows from `begin` to `end` up in the bins of a feature."""
    histogram, taken, _ = room
    for k in range(begin, end):
        b = np.uint64(column[order[k]])
        histogram[b, 0] += weight[k]
        histogram[b, 1] += extra[k]
        taken[b >> np.uint64(6)] |= np.uint64(1) << (b & np.uint64(63))


@kernel
def _counted_classes(
    column: Any, order: Any, weight: Any, extra: Any, begin: int, end: int, room: Any
) -> None:
    """Add the rows from `begin` to `end` up in the bins of a feature, by class."""
    histogram, taken, _ = room
    for k in range(begin, end):
        b = np.uint64(column[order[k]])
        histogram[b, np.uint64(extra[k])] += weight[k]
        taken[b >> np.uint64(6)] |= np.uint64(1) << (b & np.uint64(63))


@kernel
def _best_of_numbers(room: Any, missing: int, total: Any, least: float) -> Any:
    """The best split among the bins of a feature, which are emptied.

    Returns its score, the last bin that goes left, whether missing values do too, and whether there were any
    two bins to be split.
    """
    histogram, taken, _ = room
    weight, target = total[0], total[1]
    absent, absent_target = histogram[missing, 0], histogram[missing, 1]
    histogram[missing, 0], histogram[missing, 1] = 0.0, 0.0
    taken[missing >> 6] &= ~(np.uint64(1) << np.uint64(missing & 63))
    w, t, last = 0.0, 0.0, -1
    best, bin, left, several = -1.0, -1, False, False
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


@kernel
def _score_of_classes(here: Any, weight: float, total: Any, whole: float) -> float:
    """The squares of both sides over their weights."""
    left, right = 0.0, 0.0
    for k in range(len(total)):
        left += here[k] * here[k]
        right += (total[k] - here[k]) * (total[k] - here[k])
    return left / weight + right / (whole - weight)


@kernel
def _best_of_classes(room: Any, missing: int, total: Any, least: float) -> Any:
    """As `_best_of_numbers`, of the weights of classes."""
    histogram, taken, scratch = room
    absent, here, with_absent = scratch
    classes, whole, gone, w, last = len(total), 0.0, 0.0, 0.0, -1
    for k in range(classes):
        absent[k], here[k], histogram[missing, k] = histogram[missing, k], 0.0, 0.0
        whole += total[k]
        gone += absent[k]
    taken[missing >> 6] &= ~(np.uint64(1) << np.uint64(missing & 63))
    best, bin, left, several = -1.0, -1, False, False
    for word in range(len(taken)):
        bits = taken[word]
        taken[word] = 0
        while bits:
            b = (word << 6) + _lowest(bits)
            bits &= bits - np.uint64(1)
            if last >= 0:
                several = True
                if w >= least and whole - w >= least:
                    score = _score_of_classes(here, w, total, whole)
                    if score > best:
                        best, bin, left = score, (last + b - 1) >> 1, False
                if gone > 0 and w + gone >= least and whole - w - gone >= least:
                    for k in range(classes):
                        with_absent[k] = here[k] + absent[k]
                    score = _score_of_classes(with_absent, w + gone, total, whole)
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
            score = _score_of_classes(here, w, total, whole)
            if score > best:
                best, bin, left = score, missing - 1, False
    return best, bin, left, several


@kernel
def _own_score(sums: Any, classes: int) -> float:
    """The squares of a node over its weight."""
    if not classes:
        return sums[1] * sums[1] / sums[0]
    squares, whole = 0.0, 0.0
    for k in range(classes):
        squares += sums[k] * sums[k]
        whole += sums[k]
    return squares / whole


@kernel
def _pure(target: Any, order: Any, begin: int, end: int) -> bool:
    """Whether rows have one target."""
    first = target[order[begin]]
    k = begin + 1
    while k < end and target[order[k]] == first:
        k += 1
    return k == end


@kernel
def _seek(
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
    classes: int,
) -> Any:
    """Write the best split of a node into it, -1 as its feature where there is none; the next random number.

    Features are drawn without replacement until there are enough, and one of them has two values here.
    """
    order, weight, extra = rows
    total = nodes.sums[node]
    missing = len(room[0]) - 1
    nodes.feature[node], nodes.gain[node] = -1, 0.0
    whole = total[0]
    for k in range(1, classes):
        whole += total[k]
    if end - begin < 2 or whole < 2 * shape.least or _pure(target, order, begin, end):
        return random
    width, i, splits, best = len(features), 0, False, -1.0
    while i < width and (i < shape.tried or not splits):
        random += _GOLDEN
        j = i + np.int64(((_mixed(random) >> np.uint64(32)) * np.uint64(width - i)) >> np.uint64(32))
        features[i], features[j] = features[j], features[i]
        feature = features[i]
        i += 1
        if classes:
            _counted_classes(codes[feature], order, weight, extra, begin, end, room)
            score, bin, left, several = _best_of_classes(room, missing, total, shape.least)
        else:
            _counted_numbers(codes[feature], order, weight, extra, begin, end, room)
            score, bin, left, several = _best_of_numbers(room, missing, total, shape.least)
        splits = splits or several
        if score > best:
            best = score
            nodes.feature[node], nodes.bin[node], nodes.missing_left[node] = feature, bin, left
    if best >= 0:
        nodes.gain[node] = max(best - _own_score(total, classes), 0.0)
    return random


@kernel
def _parted(
    codes: Any, rows: Any, beside: Any, begin: int, end: int, node: int, nodes: Any, missing: int
) -> Any:
    """Bring the rows that go left before the others, all in their order; where the others begin.

    Where no row lacks a value, new ones that do will go where most of these went.
    """
    order, weight, extra = rows
    later, later_weight, later_extra = beside
    column, last, missing_left = codes[nodes.feature[node]], nodes.bin[node], nodes.missing_left[node]
    left, right, absent, balance = begin, 0, 0, 0.0
    for k in range(begin, end):
        row, w, e = order[k], weight[k], extra[k]
        b = column[row]
        lacks = b == missing
        goes = missing_left if lacks else b <= last
        absent += lacks
        balance += w if goes else -w
        order[left], weight[left], extra[left] = row, w, e
        later[right], later_weight[right], later_extra[right] = row, w, e
        left += goes
        right += not goes
    for k in range(right):
        order[left + k], weight[left + k], extra[left + k] = later[k], later_weight[k], later_extra[k]
    if not absent:
        nodes.missing_left[node] = balance >= 0
    return left


@kernel
def _summed(rows: Any, begin: int, end: int, sums: Any, classes: int) -> None:
    """Write the sums of rows."""
    _, weight, extra = rows
    for k in range(len(sums)):
        sums[k] = 0.0
    if classes:
        for k in range(begin, end):
            sums[np.uint64(extra[k])] += weight[k]
    else:
        for k in range(begin, end):
            sums[0] += weight[k]
            sums[1] += extra[k]


@kernel
def _next(waiting: Any, count: Any, nodes: Any, best_first: bool) -> int:
    """The place among the waiting nodes of the one that is split now: the last, or the best."""
    if not best_first:
        return count - 1
    best = 0
    for k in range(1, count):
        if nodes.gain[waiting[k]] > nodes.gain[waiting[best]]:
            best = k
    return best


def grow_space(rows: Any, classes: int, bins: int, width: int, most: int) -> Any:
    """Where `grow_tree` keeps what it needs on its way.

    Parameters
    ----------
    rows : as `grow_tree` takes them.
    classes : how many there are; 0 for numbers.
    bins : so many, that of missing values counted.
    width : features.
    most : nodes.
    """
    slots = classes or 2
    sums = np.zeros(slots), np.zeros(slots), np.zeros(slots)
    room = np.zeros((bins, slots)), np.zeros((bins + 63) // 64, np.uint64), sums
    ranges = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    beside = tuple(map(np.empty_like, rows))
    return room, beside, np.arange(width, dtype=np.int32), np.zeros(most // 2 + 1, np.int64), ranges


@kernel
def grow_tree(
    codes: Any, target: Any, rows: Any, classes: int, shape: Any, seed: Any, space: Any, nodes: Any
) -> int:
    """Grow one tree into `nodes`; how many it has. Children come in pairs, after their parents.

    Parameters
    ----------
    codes : the bin of each value, of shape (width, rows); the last of `bins` holds those that are missing.
    target : of each row: a number, or its class.
    rows : of those that the tree sees: their places, weights, and weighted targets or classes. Changed.
    classes : how many there are; 0 for numbers.
    shape : the limits of the tree.
    seed : uint64, of the choice of features.
    space : what `grow_space` gives: NumPy makes arrays, which Numba would compile code for.
    nodes : room for all.
    """
    room, beside, features, waiting, (begins, ends, depths) = space
    slots = len(room[2][0])
    # numbers of one type: Numba would compile all that gets a 0 once for that alone, and again for others
    nodes.left[0], ends[0], root, queued = -1, len(rows[0]), begins[0], np.int64(1)
    _summed(rows, root, ends[0], nodes.sums[0], classes)
    random = _seek(
        codes, rows, target, root, ends[0], root, shape, features, _mixed(seed), room, nodes, classes
    )
    made, leaves = 1, 1
    while queued and leaves != shape.leaves:
        place = _next(waiting, queued, nodes, shape.leaves > 0)
        node = waiting[place]
        queued -= 1
        waiting[place] = waiting[queued]
        if nodes.feature[node] < 0:
            continue
        begin, end = begins[node], ends[node]
        middle = _parted(codes, rows, beside, begin, end, node, nodes, len(room[0]) - 1)
        left, right = made, made + 1
        nodes.left[node] = left
        begins[left], ends[left], begins[right], ends[right] = begin, middle, middle, end
        _summed(rows, begin, middle, nodes.sums[left], classes)
        for k in range(slots):
            nodes.sums[right, k] = nodes.sums[node, k] - nodes.sums[left, k]
        for child in (right, left):
            nodes.left[child], nodes.feature[child], depths[child] = -1, -1, depths[node] + 1
            if depths[child] < shape.depth:
                random = _seek(
                    codes,
                    rows,
                    target,
                    begins[child],
                    ends[child],
                    child,
                    shape,
                    features,
                    random,
                    room,
                    nodes,
                    classes,
                )
            waiting[queued] = child
            queued += 1
        made += 2
        leaves += 1
    return made


@kernel
def prune(nodes: Any, count: int, least: float) -> None:
    """Make leaves of the splits above two leaves that gain too little.

    Parameters
    ----------
    nodes, count : what `grow_tree` gave; changed.
    least : what a split must gain, in the units of `gain`.
    """
    for node in range(count - 1, -1, -1):
        left = nodes.left[node]
        if left >= 0 and nodes.left[left] < 0 and nodes.left[left + 1] < 0 and nodes.gain[node] < least:
            nodes.left[node] = -1


@kernel
def _mean(nodes: Any, node: Any, output: int, classes: int) -> Any:
    """The weight of a node, and its mean of an output, in units of theirs."""
    sums = nodes.sums[node]
    weight = sums[0]
    for k in range(1, classes):
        weight += sums[k]
    return weight, sums[output if classes else 1] / weight if weight > 0 else 0.0


@kernel
def _joined(nodes: Any, count: int, output: int, classes: int, unit: float, value: Any, leaf: Any) -> None:
    """Write what each node answers, and whether it is a leaf; also those below which all answer alike are."""
    for node in range(count - 1, -1, -1):
        left = nodes.left[node]
        value[node] = _mean(nodes, node, output, classes)[1] * unit
        leaf[node] = left < 0 or (leaf[left] and leaf[left + 1] and value[left] == value[left + 1])
        if left >= 0 and leaf[node]:
            value[node] = value[left]


@kernel
def tree_of_output(
    nodes: Any, count: int, output: int, classes: int, units: Any, rate: Any, cuts: Any, space: Any, tree: Any
) -> int:
    """Write the tree that answers one output in XGBoost's terms; how many nodes it has.

    Parameters
    ----------
    nodes, count : what `grow_tree` gave.
    output : which class; 0 for numbers.
    classes : how many there are; 0 for numbers.
    units : of a weight, and of a weighted target.
    rate : by which the answers of leaves are multiplied.
    cuts : below which values each bin lies, of shape (width, bins).
    space : for each node a float32, a boolean, and an int32.
    tree : room for the nodes.
    """
    weights, targets = units
    value, leaf, place = space
    for node in range(count):
        place[node] = -1
    _joined(nodes, count, output, classes, weights / targets, value, leaf)
    place[0], tree.parent[0], made = 0, ROOT_PARENT, 1
    for node in range(count):
        at = place[node]
        if at < 0:
            continue
        left, weight = np.int64(nodes.left[node]), _mean(nodes, node, output, classes)[0]
        tree.hessian[at] = weight / weights
        if leaf[node]:
            tree.left[at], tree.right[at], tree.feature[at] = -1, -1, 0
            tree.default_left[at], tree.gain[at] = 0, 0
            tree.weight[at] = value[node] * rate
            tree.condition[at] = tree.weight[at]
            continue
        place[left], place[left + 1] = made, made + 1
        tree.left[at], tree.right[at], tree.parent[made], tree.parent[made + 1] = made, made + 1, at, at
        made += 2
        tree.feature[at], tree.default_left[at] = nodes.feature[node], nodes.missing_left[node]
        tree.condition[at], tree.weight[at] = cuts[nodes.feature[node], nodes.bin[node]], value[node]
        (w, m), (v, n) = _mean(nodes, left, output, classes), _mean(nodes, left + 1, output, classes)
        tree.gain[at] = w * v / weight * (m - n) * (m - n) * weights / targets / targets
    return made
