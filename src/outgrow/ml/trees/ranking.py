"""LambdaMART's objective over the queries of all ranks, and how rankings are judged.

A query's derivatives need all its documents. Those of a query that lies on one rank never leave it; of
queries that are cut over ranks, each rank gets the scores of all documents anew in each round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.errors import DataError
from outgrow.ml.trees.bagging import weights_of
from outgrow.ml.trees.plan import Metric, Objective
from outgrow.ml.trees.rows import key_hashes
from outgrow.stats.quantiles import Gathered
from outgrow.stats.rankings import QueryRows, per_query

QUERY = "query"
MOST_GRADE = 1000.0
"""The greatest label that has an exponential gain."""
_TIES = 419
"""The seed of the hashes that say which of equal scores comes first."""
_CUTS = (5, 10)
_TASKS = 4
"""Parts of the queries for each thread."""


def gains_of(labels: np.ndarray, kind: str) -> np.ndarray:
    """What labels count in the NDCG.

    Parameters
    ----------
    labels : shape (documents,), from 0 on.
    kind : 'linear' for labels as they are, 'exponential' for 2**label - 1.

    Raises
    ------
    DataError
        When a label is negative, or too great to have such a gain.
    """
    wrong = labels[(labels < 0) | (labels > (MOST_GRADE if kind == "exponential" else np.inf))]
    if len(wrong) and wrong.min() < 0:
        raise DataError(
            f"Labels of a ranking say how relevant a document is, from 0 on; there are {wrong[:5].tolist()}. "
            "Shift them, or learn them with GradientBoostingRegressor."
        )
    if len(wrong):
        raise DataError(
            f"gains='exponential' counts 2**label - 1, which is too much for labels like "
            f"{wrong[:5].tolist()}. Give grades such as 0 to 4, or gains='linear'."
        )
    return labels if kind == "linear" else np.exp2(labels) - 1


class LambdaMART:
    """Pairs of documents of a query, each counted by what their exchange changes of the NDCG (Burges 2010).

    Parameters
    ----------
    gains : 'linear' or 'exponential', what labels count.
    top : pairs count of which one document is among so many of the first places.
    """

    def __init__(self, gains: str, top: int) -> None:
        self._gains, self._top = gains, top

    def bound(self, run: FitContext, parts: Sequence[Sequence[Block]]) -> tuple[Objective, Metric]:
        """See `OfLists.bound`.

        Parameters
        ----------
        run, parts : as there.
        """
        lists = [Lists.of(run, blocks, self._gains) for blocks in parts]
        ideal = lists[0].ideal(self._top)

        def objective(sums: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
            slopes = lists[0].slopes(sums, ideal, self._top) * weights_of(rows)
            return np.ascontiguousarray(slopes[0]), np.ascontiguousarray(slopes[1])

        whole = [part.ideal(None) for part in lists]
        return objective, lambda sums, place: 1.0 - lists[place].mean_gain(sums, whole[place])


@dataclass(frozen=True, eq=False)
class Lists:
    """The documents of all queries of which this rank has some, query by query.

    Attributes
    ----------
    run : the ranks and threads.
    alone, cut : places of this rank's rows whose queries lie here alone, and of those of queries cut over
        ranks.
    own : of the rows of cut queries, which all ranks know, those of this rank.
    order : of the rows alone here and the cut ones behind them, by query; ties as hashes and labels say.
    gains : shape (documents,), in that order.
    starts : shape (queries + 1,), where each query begins.
    counted : shape (queries,), whether this rank counts it, which one rank does.
    """

    run: FitContext
    alone: np.ndarray
    cut: np.ndarray
    own: np.ndarray
    order: np.ndarray
    gains: np.ndarray
    starts: np.ndarray
    counted: np.ndarray

    @classmethod
    def of(cls, run: FitContext, blocks: Sequence[Block], gains: str) -> Lists:
        """All ranks call it together.

        Parameters
        ----------
        run : the ranks and threads.
        blocks : the rows of this rank, with y; without a query all are of one.
        gains : what labels count.
        """
        query = np.concatenate([_queries(block) for block in blocks])
        ties = np.concatenate([block.hashes(_TIES) for block in blocks])
        labels = np.concatenate([np.asarray(block.y, dtype=np.float64) for block in blocks])
        shared = _on_several_ranks(run, query)
        away = np.isin(query, shared)
        alone, cut = np.flatnonzero(~away), np.flatnonzero(away)
        rank = np.full(len(cut), run.comm.rank)
        mine = (query[cut], ties[cut], labels[cut], rank)
        others = run.comm.allreduce(Gathered(mine)).values if len(shared) else mine
        query, ties, labels = (
            np.concatenate([part[alone], more])
            for part, more in zip((query, ties, labels), others[:3], strict=True)
        )
        order = np.lexsort((labels, ties, query))
        query = query[order]
        starts = np.flatnonzero(np.append(True, query[1:] != query[:-1])) if len(query) else np.zeros(0, int)
        counted = np.ones(len(starts), dtype=bool) if run.comm.rank == 0 else ~np.isin(query[starts], shared)
        return cls(
            *(run, alone, cut, np.flatnonzero(others[3] == run.comm.rank), order),
            gains_of(labels[order], gains),
            np.append(starts, len(query)),
            counted,
        )

    def ideal(self, top: int | None) -> np.ndarray:
        """The discounted gain of the best order of each query, of its first places or of all.

        Parameters
        ----------
        top : how many places count; None for all.
        """
        sizes = np.diff(self.starts)
        query = np.repeat(np.arange(len(sizes)), sizes)
        best = self.gains[np.lexsort((-self.gains, query))]
        rank = np.arange(len(best)) - self.starts[query]
        early = np.ones(len(best)) if top is None else rank < top
        return np.bincount(query, best / np.log2(rank + 2) * early, len(sizes))

    def slopes(self, sums: np.ndarray, ideal: np.ndarray, top: int) -> np.ndarray:
        """The first and second derivatives for the rows of this rank, of shape (2, rows).

        Parameters
        ----------
        sums : shape (rows,), what the trees add up to.
        ideal : what `ideal` gave.
        top : as for `LambdaMART`.
        """
        from outgrow.ml.trees import ranking_kernels

        found = np.zeros((2, len(self.order)))
        scores = self._scores(sums)
        self._on_threads(
            lambda first, last: ranking_kernels.lambdas(
                scores, self.gains, self.starts, ideal, first, last, top, found
            )
        )
        back = np.empty_like(found)
        back[:, self.order] = found
        slopes = np.empty((2, len(sums)))
        slopes[:, self.alone] = back[:, : len(self.alone)]
        slopes[:, self.cut] = back[:, len(self.alone) :][:, self.own]
        return slopes

    def mean_gain(self, sums: np.ndarray, ideal: np.ndarray) -> float:
        """The mean NDCG of the queries of all ranks.

        Parameters
        ----------
        sums, ideal : as for `slopes`.
        """
        from outgrow.ml.trees import ranking_kernels

        found = np.zeros(len(ideal))
        scores = self._scores(sums)
        self._on_threads(
            lambda first, last: ranking_kernels.gained(
                scores, self.gains, self.starts, ideal, first, last, found
            )
        )
        counted = found[self.counted]
        total, count = self.run.comm.allreduce(np.array([counted.sum(), len(counted)], dtype=np.float64))
        return float(total / max(count, 1.0))

    def _scores(self, sums: np.ndarray) -> np.ndarray:
        """What the trees add up to for all documents, in their order."""
        sums = np.asarray(sums, dtype=np.float64)
        others = sums[self.cut]
        if len(self.order) > len(sums) or self.run.comm.size > 1:
            (others,) = self.run.comm.allreduce(Gathered((others,))).values
        return np.concatenate([sums[self.alone], others])[self.order]

    def _on_threads(self, work: Callable[[int, int], None]) -> None:
        parts = _TASKS * self.run.threads
        ends = np.searchsorted(self.starts, np.linspace(0, self.starts[-1], parts + 1)[1:-1])
        bounds = np.unique([0, *ends, len(self.starts) - 1]).tolist()
        for _ in self.run.map(lambda pair: work(*pair), list(pairwise(bounds))):
            pass


def _queries(block: Block) -> np.ndarray:
    """A hash of the query of each row; without one all rows are of one."""
    return key_hashes(block.roles.get(QUERY, np.zeros(len(block))))


def _on_several_ranks(run: FitContext, query: np.ndarray) -> np.ndarray:
    """The queries of which more than one rank has documents."""
    if run.comm.size == 1:
        return query[:0]
    (every,) = run.comm.allreduce(Gathered((np.unique(query),))).values
    found, ranks = np.unique(every, return_counts=True)
    return found[ranks > 1]


class Rankings:
    """Judges scores by the order in which they put the documents of each query."""

    labels = False
    method = "predict"
    names: tuple[str, ...] = (
        *("ndcg", "ndcg@5", "ndcg@10", "map", "mrr"),
        *(f"{name}@{k}" for name in ("map", "precision", "recall", "hit_rate") for k in _CUTS),
    )

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`; rows that weigh nothing are not there, all others count alike.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        kept = slice(None) if block.weight is None else block.weight > 0
        query, labels = _queries(block)[kept], np.asarray(block.y, dtype=np.float64)[kept]
        state = partial(QueryRows, query)
        return tuple(
            state(np.asarray(scores, dtype=np.float64)[kept], gains_of(labels, model.gains))
            for model, scores in zip(models, answers, strict=True)
        )

    def weight(self, state: QueryRows) -> float:
        """See `Scoring.weight`.

        Parameters
        ----------
        state : as there.
        """
        return float(len(state.queries))

    def metrics(self, state: QueryRows) -> dict[str, float]:
        """See `Scoring.metrics`.

        Parameters
        ----------
        state : as there.
        """
        _, found = per_query(state, _CUTS)
        return {name: float(found[name].mean()) for name in self.names}
