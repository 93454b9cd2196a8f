"""Whether those with a higher risk have their events earlier: Harrell's concordance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.stats.quantiles import Gathered


class Concordance:
    """Judges risks by the order of times, all of which are known; keeps a few numbers of each row."""

    labels = False
    method = "predict"
    names: tuple[str, ...] = ("concordance",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        time = np.asarray(block.y, dtype=np.float64)
        weight = np.ones(len(time)) if block.weight is None else block.weight
        return tuple(Gathered((time, np.asarray(risk, dtype=np.float64), weight)) for risk in answers)

    def weight(self, state: Gathered) -> float:
        """See `Scoring.weight`.

        Parameters
        ----------
        state : as there.
        """
        return float(state.values[2].sum())

    def metrics(self, state: Gathered) -> dict[str, float]:
        """See `Scoring.metrics`.

        Parameters
        ----------
        state : as there.
        """
        time, risk, weight = state.values
        return {"concordance": concordance(risk, time, np.ones(len(time)), weight)}


def concordance(risk: np.ndarray, time: np.ndarray, event: np.ndarray, weight: np.ndarray) -> float:
    """The share of pairs of which the row with the higher risk has its event first (Harrell 1982).

    Pairs count whose earlier time is that of an event; of the same time, if the other is censored.
    Equal risks count half. NaN if no pair counts. Takes time n log² n.

    Parameters
    ----------
    risk, time, event, weight : ndarrays of shape (rows,). A pair weighs the product of its weights.
    """
    order = np.lexsort((-event, time))
    risk, time, event, weight = (each[order] for each in (risk, time, event, weight))
    rank = np.unique(risk, return_inverse=True)[1].astype(np.int64)
    last = np.append((time[1:] != time[:-1]) | (event[1:] != event[:-1]), True)
    ends = np.flatnonzero(last) + 1
    later = ends[np.searchsorted(ends, np.arange(len(time)), side="right")]
    chosen = np.flatnonzero(event > 0)
    below, same = _later_sums(rank, weight, chosen, later[chosen])
    after = np.append(np.cumsum(weight[::-1])[::-1], 0.0)[later[chosen]]
    pairs = float(weight[chosen] @ after)
    return float(weight[chosen] @ (below + same / 2)) / pairs if pairs > 0 else float("nan")


def _later_sums(
    rank: np.ndarray, weight: np.ndarray, chosen: np.ndarray, later: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each chosen row, what the rows from `later` on weigh that have a lower rank, and the same one.

    Rows from one on to the end are at most one block of each power of two, in which ranks are sorted.
    """
    n, at = len(rank), later.copy()
    below, same = np.zeros(len(chosen)), np.zeros(len(chosen))
    places = np.arange(n)
    for level in range(n.bit_length() + 1):
        asked = np.flatnonzero((at < n) & ((at >> level) & 1 == 1))
        if not len(asked):
            continue
        key = (places >> level) * (n + 1) + rank
        order = np.argsort(key, kind="stable")
        sums = np.append(0.0, np.cumsum(weight[order]))
        wanted = (at[asked] >> level) * (n + 1) + rank[chosen[asked]]
        begin = np.searchsorted(key[order], wanted - rank[chosen[asked]])
        low, high = (np.searchsorted(key[order], wanted, side=side) for side in ("left", "right"))
        below[asked] += sums[low] - sums[begin]
        same[asked] += sums[high] - sums[low]
        at[asked] += 1 << level
    return below, same
