"""Many rows as few bubbles: what lies around each of some rows, and how far apart (Breunig et al. 2001).

Unlike theirs, core distances are not estimated: they are those of the middles among all rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.cluster.unit import checked_directions, unit_rows
from outgrow.ml.core.joint import dense
from outgrow.ml.neighbors.reachability import Space, nearest_of
from outgrow.ml.neighbors.search import Search
from outgrow.stats.least_distances import LeastDistances
from outgrow.stats.least_rows import LeastRows


def data_bubbles(view: MatrixView, count: int, power: float, *, cosine: bool) -> tuple[np.ndarray, Space]:
    """Bubbles around the rows of least hash, from two passes; each row belongs to the nearest.

    Parameters
    ----------
    view : rows, of which few numbers are zero, so all are laid out; they may be weighted.
    count : how many bubbles, at most.
    power : of the metric.
    cosine : rows count by their directions.

    Returns
    -------
    The rows around which the bubbles are, of shape (bubbles, width), each once, and the bubbles.
    """
    sample: LeastRows = view.reduce(partial(_sample, count=count))
    around = np.unique(sample.rows, axis=0)
    around = unit_rows(around) if cosine else around
    search = Search(around, "minkowski", power)
    sums = view.reduce(partial(_sums, around=around, search=search, cosine=cosine))
    full = sums[:, 0] > 0
    n, around = sums[full, 0], around[full]
    step, squares = sums[full, 1:-1] / n[:, None], sums[full, -1]
    middle = around + step
    # the mean square of the distances of all pairs, from sums about the row in the middle
    apart = 2 * n * squares - 2 * ((sums[full, 1:-1]) ** 2).sum(axis=1)
    pairs = n * np.maximum(n - 1, 1)
    extent = np.sqrt(np.maximum(apart, 0.0) / pairs)
    return around, Space(middle, n, power, cosine, extent)


def bubble_cores(view: MatrixView, space: Space, least: int) -> np.ndarray:
    """The core distances of the middles of bubbles among all rows, from a pass.

    Parameters
    ----------
    view : the rows.
    space : the bubbles.
    least : `min_samples`.
    """
    found: LeastDistances = view.reduce(partial(_least, space=space, least=least))
    return space.told(found.reaching(least))


def _least(block: Block, space: Space, least: int) -> LeastDistances | None:
    X, weight = _rows_of(block, cosine=space.cosine)
    if not len(X):
        return None
    distances, places = nearest_of(space.rows, X, min(least, len(X)), space.power)
    return LeastDistances.of(distances, weight[places], least)


def _rows_of(block: Block, *, cosine: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows that weigh something, and their weights."""
    X = np.asarray(dense(block.X), dtype=np.float64)
    weight = np.ones(len(X)) if block.weight is None else block.weight
    kept = weight > 0
    X, weight = (X, weight) if kept.all() else (X[kept], weight[kept])
    return (checked_directions(X) if cosine else X), weight


def _sample(block: Block, count: int) -> LeastRows:
    kept = slice(None) if block.weight is None else block.weight > 0
    return LeastRows.of(count, dense(block.X)[kept], block.hashes(0)[kept])


def _sums(block: Block, around: np.ndarray, search: Search, cosine: bool) -> np.ndarray:
    """Of the rows nearest to each: what they weigh, their sums about it, and their squares."""
    X, weight = _rows_of(block, cosine=cosine)
    places = search.nearest(X, 1)[1][:, 0]
    apart = X - around[places]
    columns = [weight, *(apart * weight[:, None]).T, (apart**2).sum(axis=1) * weight]
    return np.column_stack([np.bincount(places, column, len(around)) for column in columns])
