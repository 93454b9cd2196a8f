"""Whether those with a higher risk have their events earlier: Harrell's concordance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.stats.quantiles import Gathered


def survival_of(block: Block) -> tuple[np.ndarray, ...]:
    """Of each row its time, its weight, whether it had an event, when it entered, and its stratum.

    Parameters
    ----------
    block : with the roles that are given; without, all rows have events, are there from the first, and alike.
    """
    rows = len(block)
    weight = np.ones(rows) if block.weight is None else block.weight
    beside = {"event": 1.0, "entry": -np.inf, "strata": 0.0}
    roles = [block.roles.get(role, np.full(rows, value)) for role, value in beside.items()]
    return np.asarray(block.y, dtype=np.float64), weight, *roles


class Concordance:
    """Judges risks by the order of times, known or censored; keeps a few numbers of each row."""

    labels = False
    method = "predict"
    names: tuple[str, ...] = ("concordance",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        seen = survival_of(block)
        return tuple(Gathered((np.asarray(risk, dtype=np.float64), *seen)) for risk in answers)

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
        risk, time, weight, event, entry, strata = state.values
        return {"concordance": concordance(risk, time, event, weight, entry, strata)}


def concordance(
    risk: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    weight: np.ndarray,
    entry: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> float:
    """The share of pairs of which the row with the higher risk has its event first (Harrell 1982).

    Pairs of a stratum count whose earlier time is that of an event, if the other row has entered before; of
    the same time, if the other is censored. Equal risks count half. NaN if no pair counts. Time n log² n.

    Parameters
    ----------
    risk, time, event, weight : ndarrays of shape (rows,). A pair weighs the product of its weights.
    entry, strata : the same of when rows enter, and of numbers for strata; None where all are alike.
    """
    numbers = np.zeros(len(risk)) if strata is None else strata
    entry = np.full(len(risk), -np.inf) if entry is None else entry
    order = np.argsort(numbers, kind="stable")
    found = np.zeros(2)
    for rows in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        found += _pairs(*(each[rows] for each in (risk, time, event, weight, entry)))
    return float(found[0] / found[1]) if found[1] > 0 else float("nan")


def _pairs(
    risk: np.ndarray, time: np.ndarray, event: np.ndarray, weight: np.ndarray, entry: np.ndarray
) -> np.ndarray:
    """What the pairs of a stratum weigh in which the higher risk comes first, and all."""
    order = np.lexsort((-event, time))
    risk, time, event, weight, entry = (each[order] for each in (risk, time, event, weight, entry))
    rank = np.unique(risk, return_inverse=True)[1].astype(np.int64)
    last = np.append((time[1:] != time[:-1]) | (event[1:] != event[:-1]), True)[: len(time)]
    ends = np.flatnonzero(last) + 1
    later = ends[np.searchsorted(ends, np.arange(len(time)), side="right")]
    chosen = np.flatnonzero(event > 0)
    found = _later_pairs(rank, weight, rank[chosen], later[chosen], weight[chosen])
    if np.isfinite(entry).any():  # of the later rows, those that had not entered yet
        by_entry = np.argsort(entry, kind="stable")
        absent = np.searchsorted(entry[by_entry], time[chosen])
        found -= _later_pairs(rank[by_entry], weight[by_entry], rank[chosen], absent, weight[chosen])
    return found


def _later_pairs(
    rank: np.ndarray, weight: np.ndarray, own: np.ndarray, later: np.ndarray, own_weight: np.ndarray
) -> np.ndarray:
    """What pairs of some rows with those from a place on weigh whose rank is lower, or half; and all."""
    below, same = _later_sums(rank, weight, own, later)
    after = np.append(np.cumsum(weight[::-1])[::-1], 0.0)[later]
    return np.array([own_weight @ (below + same / 2), own_weight @ after])


def _later_sums(
    rank: np.ndarray, weight: np.ndarray, own: np.ndarray, later: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of some ranks, what the rows from `later` on weigh that have a lower rank, and the same one.

    Rows from one on to the end are at most one block of each power of two, in which ranks are sorted.
    """
    n, at = len(rank), later.copy()
    below, same = np.zeros(len(own)), np.zeros(len(own))
    places = np.arange(n)
    for level in range(n.bit_length() + 1):
        asked = np.flatnonzero((at < n) & ((at >> level) & 1 == 1))
        if not len(asked):
            continue
        key = (places >> level) * (n + 1) + rank
        order = np.argsort(key, kind="stable")
        sums = np.append(0.0, np.cumsum(weight[order]))
        wanted = (at[asked] >> level) * (n + 1) + own[asked]
        begin = np.searchsorted(key[order], wanted - own[asked])
        low, high = (np.searchsorted(key[order], wanted, side=side) for side in ("left", "right"))
        below[asked] += sums[low] - sums[begin]
        same[asked] += sums[high] - sums[low]
        at[asked] += 1 << level
    return below, same
