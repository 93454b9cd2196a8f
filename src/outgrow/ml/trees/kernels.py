"""Boosting on few rows, compiled by Numba: the trees that XGBoost's histogram method would grow.

XGBoost spends most of its time on 500 rows with histograms of bins that are empty. Here the rows of each
node stay sorted by every feature (as in SLIQ, Mehta et al. 1996), so a split is sought among the rows there
are. What decides is XGBoost's own arithmetic (Chen and Guestrin 2016): bins from its quantile summary, sums
of float32 gradients in float64, gains and leaves in float32. So the trees are the same, to the last bit but
for ties that rounding decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from outgrow.ml.core.compiled import kernel
from outgrow.ml.trees.document import ROOT_PARENT, Nodes

SQUARED_ERROR, LOG_LOSS, SOFTMAX = 0, 1, 2
OBJECTIVES = {"reg:squarederror": SQUARED_ERROR, "binary:logistic": LOG_LOSS, "multi:softprob": SOFTMAX}
MISSING = np.uint16(65535)
SUMMARY = 8
"""So many times `max_bins` entries the first of XGBoost's two summaries of a feature holds."""


class Growth(NamedTuple):
    """What the trees shall be; all numbers as XGBoost rounds them."""

    rounds: int
    max_depth: int
    max_bins: int
    learning_rate: np.float32
    min_child_weight: float
    l2: float
    l1: float


class Room(NamedTuple):
    """Memory that the growing of one tree after the other uses again."""

    order: np.ndarray
    beside: np.ndarray
    goes_left: np.ndarray
    sums: np.ndarray
    bin: np.ndarray
    gain: np.ndarray


class Split(NamedTuple):
    """The best split of a node: rows in bins up to `bin` go left, with these sums."""

    gain: np.float32
    feature: int
    bin: Any
    default_left: bool
    grad: float
    hess: float


@kernel
def _pruned(value: Any, low: Any, high: Any, weight: Any, size: int, most: int) -> int:
    """Keep at most so many entries of a summary, spread evenly over the ranks; how many are left.

    An entry is a value, its weight, and its least and greatest rank.
    """
    if size <= most:
        return size
    begin, span, parts = high[0], low[size - 1] - high[0], most - 1
    kept, last, i = 1, 0, 1
    for k in range(1, parts):
        rank = np.float32(2) * (np.float32(k) * span / np.float32(parts) + begin)
        while i < size - 1 and rank >= high[i + 1] + low[i + 1]:
            i += 1
        if i == size - 1:
            break
        chosen = i if rank < (low[i] + weight[i]) + (high[i + 1] - weight[i + 1]) else i + 1
        if chosen != last:
            value[kept], low[kept], high[kept] = value[chosen], low[chosen], high[chosen]
            weight[kept] = weight[chosen]
            kept += 1
            last = chosen
    if last != size - 1:
        value[kept], low[kept], high[kept] = value[size - 1], low[size - 1], high[size - 1]
        weight[kept] = weight[size - 1]
        kept += 1
    return kept


@kernel
def _cut_points(values: Any, weights: Any, count: int, max_bins: int, cuts: Any) -> int:
    """Write the upper ends of the bins of `count` sorted values; how many there are."""
    value, weight = np.empty(count, np.float32), np.empty(count, np.float32)
    low, high = np.empty(count, np.float32), np.empty(count, np.float32)
    size, total = 0, np.float32(0)
    for i in range(count):
        if i == 0 or values[i] != values[i - 1]:
            value[size], low[size], weight[size] = values[i], total, np.float32(0)
            size += 1
        weight[size - 1] += weights[i]
        total += weights[i]
        high[size - 1] = low[size - 1] + weight[size - 1]
    if size == 0:
        cuts[0] = np.float32(1e-5)
        return 1
    size = _pruned(value, low, high, weight, size, SUMMARY * max_bins)
    size = _pruned(value, low, high, weight, size, min(size, max_bins) + 1)
    made = 0
    for k in range(1, min(size, max_bins)):
        cuts[made] = value[k]
        made += 1
    top = value[size - 1]
    cuts[made] = top + (abs(top) + np.float32(1e-5))
    return made + 1


@kernel
def _in_bins(X: Any, weight: Any, by_value: Any, max_bins: int, bins: Any, cuts: Any, lowest: Any) -> None:
    """Sort features, of shape (width, rows), into bins; `by_value` is the order of each, NaN at its end."""
    width, rows = X.shape
    values, weights = np.empty(rows, np.float32), np.empty(rows, np.float32)
    for f in range(width):
        present = 0
        for i in range(rows):
            r = by_value[f, i]
            if np.isnan(X[f, r]):
                bins[f, r] = MISSING
            else:
                values[present], weights[present] = X[f, r], weight[r]
                present += 1
        count = _cut_points(values, weights, present, max_bins, cuts[f])
        low = values[0] if present else np.float32(0)
        lowest[f] = low - (abs(low) + np.float32(1e-5))
        b = 0
        for i in range(present):
            while b < count - 1 and values[i] >= cuts[f, b]:
                b += 1
            bins[f, by_value[f, i]] = b


@kernel
def _score(grad: float, hess: float, l2: float, l1: float) -> Any:
    """How much the loss of some rows falls with the best weight for them, doubled."""
    rest = max(abs(grad) - l1, 0.0)
    return np.float32(rest * rest / (hess + l2)) if hess > 0 else np.float32(0)


@kernel
def _weight_of(grad: float, hess: float, growth: Any) -> Any:
    """The best weight for some rows."""
    if hess < growth.min_child_weight or hess <= 0:
        return np.float32(0)
    return np.float32(-np.sign(grad) * max(abs(grad) - growth.l1, 0.0) / (hess + growth.l2))


@kernel
def _summed(
    bins: Any, order: Any, f: int, begin: Any, end: Any, grads: Any, hesses: Any, sums: Any, bin: Any
) -> Any:
    """Write the sums up to each row that has a value, and its bin; how many rows have one."""
    present: Any = np.uint64(0)
    g, h = 0.0, 0.0
    for k in range(begin, end):
        r = np.uint64(order[f, k])
        if bins[f, r] == MISSING:
            break
        g += grads[r]
        h += hesses[r]
        sums[0, present], sums[1, present], bin[present] = g, h, bins[f, r]
        present += np.uint64(1)
    bin[present] = MISSING
    return present


@kernel
def _summed_back(order: Any, f: int, begin: Any, grads: Any, hesses: Any, sums: Any, present: Any) -> None:
    """Write the sums from each row with a value to the last of them."""
    g, h = 0.0, 0.0
    for i in range(present):
        k = present - np.uint64(1) - i
        r = np.uint64(order[f, begin + k])
        g += grads[r]
        h += hesses[r]
        sums[0, k], sums[1, k] = g, h


@kernel
def _gains(sums: Any, present: Any, grad: float, hess: float, l2: float, l1: float, gain: Any) -> None:
    """Write what a split at each row gains; without branches, so that it is vectorised."""
    own = _score(grad, hess, l2, l1)
    for k in range(present):
        g, h = sums[0, k], sums[1, k]
        here, there = max(abs(g) - l1, 0.0), max(abs(grad - g) - l1, 0.0)
        here, there = here * here / (h + l2), there * there / ((hess - h) + l2)
        gain[k] = np.float32(here) + np.float32(there) - own


@kernel
def _allowed(hess: float, rest: float, least: float) -> bool:
    """Whether both sides of a split weigh enough."""
    return hess >= least and rest >= least and hess > 0 and rest > 0


@kernel
def _best_split(
    bins: Any,
    order: Any,
    begin: int,
    end: int,
    grads: Any,
    hesses: Any,
    grad: float,
    hess: float,
    growth: Any,
    sums: Any,
    bin: Any,
    gain: Any,
) -> Any:
    """The best split of the rows from `begin` to `end` of every order, whose sums are `grad` and `hess`.

    Rows without a value go right, and where there are any, left as well. `sums`, `bin` and `gain` are room
    for the sums up to each row, its bin, and what a split there gains.
    """
    l1, l2, least = growth.l1, growth.l2, growth.min_child_weight
    best = Split(np.float32(0), -1, -1, False, 0.0, 0.0)
    for f in range(len(order)):
        present = _summed(bins, order, f, np.uint64(begin), np.uint64(end), grads, hesses, sums, bin)
        _gains(sums, present, grad, hess, l2, l1, gain)
        for k in range(present):
            if gain[k] > best.gain and bin[k] != bin[k + 1]:
                h = sums[1, k]
                if _allowed(h, hess - h, least):
                    best = Split(gain[k], f, np.int64(bin[k]), False, sums[0, k], h)
        if present == end - begin:
            continue
        _summed_back(order, f, np.uint64(begin), grads, hesses, sums, present)
        _gains(sums, present, grad, hess, l2, l1, gain)
        for i in range(present):
            k = present - np.uint64(1) - i
            if gain[k] > best.gain and (k == 0 or bin[k - 1] != bin[k]):
                h = sums[1, k]
                if _allowed(h, hess - h, least):
                    best = Split(gain[k], f, np.int64(bin[k]) - 1, True, grad - sums[0, k], hess - h)
    return best


@kernel
def _parted(order: Any, begin: int, end: int, goes_left: Any, beside: Any) -> Any:
    """Bring the rows that go left before the others, both in their order; where the others begin."""
    left, right = np.uint64(begin), np.uint64(0)  # no sign: no test for counting from the end
    for k in range(np.uint64(begin), np.uint64(end)):
        r = order[k]
        goes = np.uint64(goes_left[np.uint64(r)])
        order[left], beside[right] = r, r
        left += goes
        right += np.uint64(1) - goes
    for k in range(right):
        order[left + k] = beside[k]
    return np.int64(left)


@kernel
def _leaf(nodes: Any, node: int, parent: int, grad: float, hess: float, growth: Any) -> None:
    """Make a node a leaf."""
    weight = _weight_of(grad, hess, growth) * growth.learning_rate
    nodes.left[node], nodes.right[node], nodes.parent[node] = -1, -1, parent
    nodes.feature[node], nodes.default_left[node], nodes.gain[node] = 0, 0, 0
    nodes.condition[node], nodes.weight[node], nodes.hessian[node] = weight, weight, np.float32(hess)


@kernel
def _grow_tree(
    bins: Any,
    by_value: Any,
    cuts: Any,
    lowest: Any,
    grads: Any,
    hesses: Any,
    growth: Any,
    room: Any,
    nodes: Any,
    margin: Any,
) -> int:
    """Grow one tree, level by level, and add it to the margins of the rows; how many nodes it has."""
    width, rows = bins.shape
    order = room.order
    grad, hess = 0.0, 0.0
    for r in range(rows):
        grad += grads[r]
        hess += hesses[r]
        for f in range(width):
            order[f, r] = by_value[f, r]
    most = len(nodes.left)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    sums = np.empty((most, 2))
    _leaf(nodes, 0, ROOT_PARENT, grad, hess, growth)
    starts[0], ends[0], sums[0, 0], sums[0, 1] = 0, rows, grad, hess
    count, first, depth = 1, 0, 0
    while first < count and depth < growth.max_depth:
        depth += 1
        level_end = count
        for node in range(first, level_end):
            begin, end, grad, hess = starts[node], ends[node], sums[node, 0], sums[node, 1]
            split = _best_split(
                bins, order, begin, end, grads, hesses, grad, hess, growth, room.sums, room.bin, room.gain
            )
            if split.gain <= np.float32(1e-6):
                continue
            for k in range(begin, end):
                r = order[0, k]
                b = bins[split.feature, r]
                room.goes_left[r] = split.default_left if b == MISSING else b <= split.bin
            middle = begin
            for f in range(width if depth < growth.max_depth else 1):  # leaves need no orders but one
                middle = _parted(order[f], begin, end, room.goes_left, room.beside)
            below = split.bin < 0
            nodes.left[node], nodes.right[node], nodes.feature[node] = count, count + 1, split.feature
            nodes.condition[node] = lowest[split.feature] if below else cuts[split.feature, split.bin]
            nodes.default_left[node], nodes.gain[node] = split.default_left, split.gain
            nodes.weight[node] = _weight_of(grad, hess, growth)
            _leaf(nodes, count, node, split.grad, split.hess, growth)
            _leaf(nodes, count + 1, node, grad - split.grad, hess - split.hess, growth)
            starts[count], ends[count], sums[count, 0], sums[count, 1] = begin, middle, split.grad, split.hess
            starts[count + 1], ends[count + 1] = middle, end
            sums[count + 1, 0], sums[count + 1, 1] = grad - split.grad, hess - split.hess
            count += 2
        first = level_end
    for node in range(count):
        if nodes.left[node] < 0:
            for k in range(starts[node], ends[node]):
                margin[order[0, k]] += nodes.condition[node]
    return count


@kernel
def _differentiate(objective: int, margin: Any, y: Any, weight: Any, grads: Any, hesses: Any) -> None:
    """The gradients of the loss of each row, in float32 as XGBoost's; all of shape (outputs, rows)."""
    one, least = np.float32(1), np.float32(1e-16)
    outputs, rows = margin.shape
    for r in range(rows):
        if objective == SQUARED_ERROR:
            grads[0, r], hesses[0, r] = (margin[0, r] - y[r]) * weight[r], weight[r]
        elif objective == LOG_LOSS:
            p = one / (np.exp(-margin[0, r]) + one + least)
            grads[0, r], hesses[0, r] = (p - y[r]) * weight[r], max(p * (one - p), least) * weight[r]
        else:
            top, total = margin[0, r], 0.0
            for k in range(1, outputs):
                top = max(top, margin[k, r])
            for k in range(outputs):
                grads[k, r] = np.exp(margin[k, r] - top)
                total += grads[k, r]
            for k in range(outputs):
                p = grads[k, r] / np.float32(total)
                grads[k, r] = (p - one if y[r] == k else p) * weight[r]
                hesses[k, r] = max(np.float32(2) * p * (one - p) * weight[r], least)


@kernel
def boost(
    X: Any,
    y: Any,
    weight: Any,
    by_value: Any,
    objective: int,
    margin: Any,
    growth: Any,
    nodes: Any,
    sizes: Any,
) -> None:
    """Grow the trees of all rounds into `nodes`, and their numbers of nodes into `sizes`.

    Parameters
    ----------
    X : float32 array of shape (width, rows); NaN is missing.
    y, weight : float32 arrays of shape (rows,); y are numbers, or classes counted from 0.
    by_value : int32 array of shape (width, rows), the order of each feature.
    objective : which loss.
    margin : float32 array of shape (outputs, rows), where the trees begin; what they add is added to it.
    nodes : arrays of shape (rounds * outputs, nodes).
    """
    width, rows = X.shape
    outputs = len(margin)
    bins = np.empty((width, rows), np.uint16)
    cuts, lowest = np.empty((width, growth.max_bins + 1), np.float32), np.empty(width, np.float32)
    _in_bins(X, weight, by_value, growth.max_bins, bins, cuts, lowest)
    grads, hesses = np.empty((outputs, rows), np.float32), np.empty((outputs, rows), np.float32)
    room = Room(
        np.empty((width, rows), np.int32),
        np.empty(rows, np.int32),
        np.empty(rows, np.uint8),
        np.empty((2, rows)),
        np.empty(rows + 1, np.uint16),
        np.empty(rows, np.float32),
    )
    for step in range(growth.rounds):
        _differentiate(objective, margin, y, weight, grads, hesses)
        for k in range(outputs):
            tree = step * outputs + k
            own = Nodes(
                nodes.left[tree],
                nodes.right[tree],
                nodes.parent[tree],
                nodes.feature[tree],
                nodes.condition[tree],
                nodes.default_left[tree],
                nodes.gain[tree],
                nodes.weight[tree],
                nodes.hessian[tree],
            )
            sizes[tree] = _grow_tree(
                bins, by_value, cuts, lowest, grads[k], hesses[k], growth, room, own, margin[k]
            )
