"""Every state obeys the laws, whatever the rows and wherever they are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.data.batch import Batch
from outgrow.data.hashing import matrix_hash, mix, seeded
from outgrow.data.keys import words_hash
from outgrow.data.measured import measures
from outgrow.engine.blocks import Block
from outgrow.engine.collective import LargeArray
from outgrow.engine.context import SlowestRank
from outgrow.engine.matrix import LabelCounts
from outgrow.engine.outcome import Outcome, guarded
from outgrow.engine.rank_paces import RankPaces
from outgrow.engine.reference_plan import Counting, Entry, Plan
from outgrow.engine.row_ids import Copies
from outgrow.errors import DataError
from outgrow.expectations.checker import Counting as RowCounting
from outgrow.expectations.checker import RowCheck, RowChecker
from outgrow.expectations.learning import LearnedColumn
from outgrow.expectations.rules import Range
from outgrow.expectations.state import CheckedRows, KeyHashes, RowsAside
from outgrow.groups.scores import GroupScores
from outgrow.inspection.least_table import LeastTable
from outgrow.ml.cluster.graph import EdgeParts
from outgrow.ml.cluster.leaf_rows import LeafRows
from outgrow.ml.cluster.seeding import FoundRows, TopRows
from outgrow.ml.core.column_types import ColumnTypes
from outgrow.ml.linear_model.batch_rows import BatchRows
from outgrow.ml.linear_model.deviance_scores import DevianceScoring, DevianceState
from outgrow.ml.linear_model.pinball_scores import PinballState
from outgrow.ml.neighbors.known_rows import RowParts
from outgrow.ml.solvers.families import family_of
from outgrow.ml.trees.bins import SampledRows, vanishing
from outgrow.ml.trees.target import Target
from outgrow.monitor.labels import Met
from outgrow.monitor.pairs import PairState
from outgrow.statistics.samples import GroupMoments
from outgrow.stats.baskets import Baskets, BoundedBaskets
from outgrow.stats.by_class import CategoryCounts, ClassCoMoments
from outgrow.stats.contingency import Contingency
from outgrow.stats.counts import DistinctCount, FewDistinct, ValueCounts
from outgrow.stats.cross import CrossMoments
from outgrow.stats.e_detector import ErrorCounts
from outgrow.stats.estimated import EstimatedClassification
from outgrow.stats.extended import ExtendedSum
from outgrow.stats.extremes import Extremes, GroupedExtremes
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import NumberGrid, TextGrid, ValueGrid
from outgrow.stats.grouped import GroupedCoMoments, GroupedMoments, GroupedSums, Keys, Segments
from outgrow.stats.judged import ScoredGroups
from outgrow.stats.least_distances import LeastDistances
from outgrow.stats.least_rows import LeastRows
from outgrow.stats.moments import CoMoments, Moments, PairMoments, ShapeMoments
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.number_sample import NumberSample
from outgrow.stats.number_sums import NumberSums
from outgrow.stats.paired import GroupOutcomes, PairedDifferences
from outgrow.stats.proposals import Proposals
from outgrow.stats.quantiles import Gathered, quantiles
from outgrow.stats.rankings import QueryRows
from outgrow.stats.scores import (
    ClassificationState,
    ManyClassifications,
    ManyRegressions,
    RankedScores,
    RegressionState,
    SeveralClassifications,
)
from outgrow.stats.site_models import SiteModels
from outgrow.stats.sketch import FrequentValues, QuantileSketch
from outgrow.stats.sparse_sums import SparseSums
from outgrow.stats.state import State, from_tree, merge, to_tree
from outgrow.stats.strata import Strata
from outgrow.stats.summaries import GroupedSummary
from outgrow.stats.text_counts import TextCounts
from outgrow.stats.text_tally import LeastTexts, TextTally
from outgrow.stats.triangle import Triangle
from outgrow.testing import check_state_laws

NORMAL = DevianceScoring(family_of("gaussian"), 0.3)


def _type_of(values: np.ndarray) -> str:
    whole = bool((values == np.round(values)).all())
    return "null" if not len(values) else "int64" if whole else "double"


def _fortran(rows: np.ndarray) -> np.ndarray:
    return np.asfortranarray(rows)


def _co_moments(rows: np.ndarray) -> CoMoments:
    zeros = np.zeros(rows.shape[1])
    return CoMoments.of(_fortran(rows)) or CoMoments(0.0, zeros, np.outer(zeros, zeros))


def _shares(rows: np.ndarray) -> np.ndarray:
    first = 1 / (1 + np.exp(-rows[:, 0]))
    return np.column_stack([1 - first, first])


def _labels(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 1] > 0).astype(np.intp)


def _weights(rows: np.ndarray) -> np.ndarray:
    return np.abs(rows[:, 2]) + 0.1


def _bits(rows: np.ndarray) -> np.ndarray:
    return mix(rows[:, 1].astype(np.float64).view(np.uint64))


def _in_order(X: np.ndarray, y: np.ndarray, weight: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.column_stack([X, y, weight])[order]


def _flat(*parts: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(part, dtype=np.float64)) for part in parts])


def _ranked_sums(scores: ScoredGroups, group: int) -> np.ndarray:
    (ranked,) = scores.ranked(np.array([group], np.uint64))[0]
    return _flat(ranked.rows, ranked.positive.sum(), ranked.negative.sum())


def _words(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    words = [f"{value:.0f}" for value in np.floor(rows[:, 0]).tolist()]
    return words_hash(pa.array(words, pa.string())), np.ones(len(words), dtype=np.int64), words


def _counted(rows: np.ndarray) -> Batch:
    words = pa.array(_words(rows)[2], pa.string())
    return Batch({"x": pa.array(rows[:, 1]), "w": words, "v": pa.array(np.floor(rows[:, 2]))}, len(rows))


def _counting() -> Counting:
    grids = NumberGrid(-2, -3.0, 7), TextGrid(("-1", "0"), True), ValueGrid(np.array([-1.0, 0.0, 2.0]))
    entries = tuple(
        Entry(measure, "column", grid)
        for measure, grid in zip(
            measures(_counted(np.zeros((0, 3)))), (grids[0], grids[1], grids[2]), strict=True
        )
    )
    return Counting.over(Plan(entries, (("w", "0"), ("w", "1"))), _counted(np.zeros((0, 3))), None)


COUNTING = _counting()


CHECKED = RowCounting(RowChecker((RowCheck("x", Range(0, 1), "set_aside"),)), ("x",), (), (("x",),))


def _column_hashes(rows: np.ndarray) -> np.ndarray:
    return mix(rows[:, 0].astype(np.float64).view(np.uint64))


LAWS: dict[type[State], tuple[Callable[[np.ndarray], Any], Callable[[Any], Any]]] = {
    Moments: (lambda r: Moments.of(_fortran(r), _weights(r)), lambda s: _flat(s.n, s.mean, s.m2)),
    CoMoments: (_co_moments, lambda s: _flat(s.n, s.mean, s.products)),
    ExtendedSum: (
        lambda r: ExtendedSum.of(np.nan_to_num(r).astype(np.longdouble).sum(axis=0)),
        lambda s: s.values.astype(np.float64),
    ),
    LeastDistances: (
        lambda r: LeastDistances.of(np.abs(np.nan_to_num(r.T)), np.ones(r.T.shape), 4),
        lambda s: _flat(s.distances[np.isfinite(s.distances)], s.weights.sum(axis=1)),
    ),
    SparseSums: (
        lambda r: SparseSums.of(np.abs(np.nan_to_num(r[:, 0])).astype(int), np.nan_to_num(r[:, 1])),
        lambda s: _flat(s.cells, s.sums),
    ),
    Triangle: (lambda r: Triangle.of(np.nan_to_num(r)), lambda s: s.factor.T @ s.factor),
    PairMoments: (lambda r: PairMoments.of(_fortran(r)), lambda s: _flat(s.n, s.m2, s.products)),
    ShapeMoments: (
        lambda r: ShapeMoments.of(_fortran(r)),
        lambda s: _flat(s.n, s.mean, s.m2, s.m3, s.m4, s.low[s.n > 0], s.high[s.n > 0]),
    ),
    ValueCounts: (
        lambda r: ValueCounts.of(pa.array(np.floor(r[:, 0])), _weights(r)),
        lambda s: _flat([v for v, _ in _sorted(s)], [c for _, c in _sorted(s)]),
    ),
    TextCounts: (
        lambda r: TextCounts.of(pa.array([None if v != v else f"{v:.0f}" for v in r[:, 0].tolist()])),
        lambda s: _flat(
            [float(v) for v in s.values()], [s.counts[v] for v in s.values()], [s.counts.get(None, 0.0)]
        ),
    ),
    Baskets: (
        lambda r: Baskets.of(np.abs(r[:, :2]).astype(int).ravel() % 3, 2 * np.arange(len(r) + 1)),
        lambda s: _flat(*_lists(s.compact())),
    ),
    BoundedBaskets: (
        lambda r: BoundedBaskets.of(
            Baskets.of(np.abs(r[:, :2]).astype(int).ravel() % 3, 2 * np.arange(len(r) + 1)), 1 << 20
        ),
        lambda s: _flat(*_lists(s.get())),
    ),
    QueryRows: (
        lambda r: QueryRows(_bits(r) % np.uint64(5), r[:, 0], np.abs(r[:, 1])),
        lambda s: _flat(*(np.sort(part) for part in (s.queries, s.scores, s.gains))),
    ),
    NumberCounts: (
        lambda r: NumberCounts.of(pa.array(np.floor(r[:, 0]))),
        lambda s: _flat(s.values(), [s.counts[v] for v in s.values()], [s.counts.get(None, 0.0)]),
    ),
    DistinctCount: (
        lambda r: DistinctCount.of(mix(r[:, 0].astype(np.float64).view(np.uint64))),
        lambda s: s.estimate(),
    ),
    FewDistinct: (lambda r: FewDistinct.of(_bits(r), 2), lambda s: _flat(s.hashes)),
    Copies: (
        lambda r: Copies.of(_bits(r), 0),
        lambda s: _flat(np.unique(s.hashes), [s.counts.sum()]),
    ),
    Strata: (
        lambda r: Strata.of(np.floor(_weights(r) * 2).astype(np.uint64), _bits(r), 3),
        lambda s: _flat(s.strata, s.hashes, s.sizes),
    ),
    Target: (
        lambda r: Target.of(Block(r, y=r[:, 1], weight=_weights(r))),
        lambda s: [] if s is None else [s.weight, s.mean, s.m2, s.low, s.high],
    ),
    LeafRows: (
        lambda r: LeafRows.of(3, _labels(r), _bits(r), r, _weights(r)),
        lambda s: _flat(s.group, s.key, s.rows, s.weight),
    ),
    RowParts: (lambda r: RowParts([r], [_bits(r)]), lambda s: s.in_order()),
    BatchRows: (
        lambda r: BatchRows([r], [np.stack([r[:, 0], _weights(r)])], [_bits(r)]),
        lambda s: _in_order(*s.in_order()),
    ),
    EdgeParts: (
        lambda r: EdgeParts([np.stack([_bits(r), _bits(r[:, ::-1])])], [_weights(r)]),
        lambda s: s.affinity(np.unique(np.concatenate(s.ends, axis=1))).toarray(),
    ),
    Proposals: (
        lambda r: Proposals(tuple(r[:, :2]), 1, {"name": "Mean"}),
        lambda s: np.sort(np.array(s.rows).reshape(-1, 2), axis=0),
    ),
    SiteModels: (
        lambda r: SiteModels([{"rank": int(bits)} for bits in np.sort(_bits(r) % 97)]),
        lambda s: [float(member["rank"]) for member in s.members],
    ),
    Gathered: (lambda r: Gathered((r[:, 0], r[:, 1])), lambda s: _flat(*map(np.sort, s.values))),
    RankedScores: (
        lambda r: RankedScores.of(_shares(r)[:, 1], r[:, 1] > 0, _weights(r)),
        lambda s: [s.rows, s.roc_auc() if s.rows else 0, s.average_precision() if s.rows else 0],
    ),
    PairedDifferences: (
        lambda r: PairedDifferences.of(
            r[:, 0], {name: _bits(r) % np.uint64(3) == k for k, name in enumerate("abc") if len(r)}
        ),
        lambda s: _flat(*(s.slice(name).total for name in "abc"), *(s.slice(name).squares for name in "abc")),
    ),
    GroupOutcomes: (
        lambda r: GroupOutcomes.of(np.array([*"abc"])[_bits(r) % np.uint64(3)], r[:, 0] > 0, r[:, 1] > 0),
        lambda s: _flat(sorted(s.rows().values()), s.counts.sum(axis=0)),
    ),
    Met: (lambda r: Met.of(_labels(r), 12), lambda s: s.bits),
    PairState: (
        lambda r: PairState(
            ClassificationState.of(_labels(r), _shares(r)) if len(r) else None,
            ErrorCounts.of(_shares(r)[:, 1]),
            None,
            np.array([len(r), (r[:, 0] > 0).sum()]),
            np.array([_weights(r).sum(), len(r)]),
            np.zeros((0, 3)),
        ),
        lambda s: _flat(
            0 if s.scores is None else s.scores.confusion, s.errors.counts, s.counts, s.lag, s.business
        ),
    ),
    NumberSample: (
        lambda r: NumberSample.of(np.floor(r[:, 0])),
        lambda s: _flat(s.sorted(), s.count, s.missing, *np.nan_to_num([s.low, s.high])),
    ),
    KeyHashes: (lambda r: KeyHashes.of(_column_hashes(r)), lambda s: _flat(s.count, s.in_order() >> 12)),
    RowsAside: (
        lambda r: RowsAside.of(pa.record_batch({"x": np.nan_to_num(r[:, 0])})),
        lambda s: _flat(s.rows, np.sort(s.table(pa.schema([("x", pa.float64())]))["x"].to_numpy())),
    ),
    CheckedRows: (
        lambda r: CHECKED.counted(Batch.from_arrow(pa.record_batch({"x": r[:, 0]}))),
        lambda s: _flat(s.rows, s.aside, s.failing, s.missing, s.keys[0].count, [len(t) for t in s.examples]),
    ),
    LearnedColumn: (
        lambda r: LearnedColumn.of(pa.array(r[:, 0]), "x"),
        lambda s: _flat(s.rows, s.missing, [end for end in (s.low, s.high) if end is not None]),
    ),
    TextTally: (
        lambda r: TextTally.of(*_words(r), most=5),
        lambda s: _flat(s.counts, s._buckets().sum(axis=1), s.complete, [len(text) for text in s.texts]),
    ),
    LeastTexts: (
        lambda r: LeastTexts.of(*_words(r), most=3),
        lambda s: _flat(s.counts, [float(text) for text in s.texts]),
    ),
    GridCounts: (
        lambda r: COUNTING(iter([_counted(r)])),
        lambda s: _flat(
            s.rows,
            s.counts,
            *np.nan_to_num(s.ends),
            s.slices,
            s.slice_rows,
            *(least.counts for least in s.novel),
        ),
    ),
    ErrorCounts: (lambda r: ErrorCounts.of(_shares(r)[:, 1]), lambda s: s.counts),
    EstimatedClassification: (
        lambda r: EstimatedClassification.of(np.concatenate([_shares(r), r[:, :2]])),
        lambda s: _flat(s.rows, s.left_out, s.confusion, s.spread, s.losses, s.scores),
    ),
    ClassificationState: (
        lambda r: ClassificationState.of(_labels(r), _shares(r), _weights(r)),
        lambda s: _flat(s.confusion, s.log_loss, s.calibration),
    ),
    ScoredGroups: (
        lambda r: ScoredGroups.of(_bits(r) % np.uint64(3), _labels(r), _shares(r)[:, 1:], _weights(r), 4),
        lambda s: _flat(*(_ranked_sums(s, group) for group in range(3))),
    ),
    SeveralClassifications: (
        lambda r: SeveralClassifications.of(
            np.column_stack([_labels(r), _labels(r[:, ::-1])]), [_shares(r)] * 2, _weights(r)
        ),
        lambda s: _flat(s.right, *(each.confusion for each in s.targets)),
    ),
    DevianceState: (
        lambda r: NORMAL.states([None], [r[:, 1]], Block(r, r[:, 0], _weights(r)), None)[0],
        lambda s: _flat(s.weight, s.deviance, s.about, s.errors.target.mean),
    ),
    PinballState: (
        lambda r: PinballState.of(r[:, 0], r[:, 1:3], np.array([0.1, 0.9]), _weights(r)),
        lambda s: _flat(s.weight, s.losses, s.errors.squared),
    ),
    RegressionState: (
        lambda r: RegressionState.of(r[:, 0], r[:, 1], _weights(r)),
        lambda s: _flat(s.weight, s.squared, s.absolute, s.target.n, s.target.m2),
    ),
    ManyRegressions: (
        lambda r: ManyRegressions.of(r[:, 0], np.stack([r[:, 1], r[:, 2]]), _weights(r)),
        lambda s: _flat(*([each.weight, each.squared, each.absolute] for each in s.split())),
    ),
    ManyClassifications: (
        lambda r: ManyClassifications.of(_labels(r), np.stack([_shares(r).T] * 2), _weights(r), 4_000),
        lambda s: _flat(*([each.log_loss, *each.confusion.ravel()] for each in s.split()), s.summed),
    ),
    Outcome: (
        lambda r: guarded(_only_small)(r),
        lambda s: [len(s.message), 0.0 if s.value is None else s.value[0]],
    ),
    FoundRows: (lambda r: FoundRows(r, _keys(r)), lambda s: np.sort(s.rows, axis=0)),
    SlowestRank: (
        lambda r: SlowestRank(float(r[:, 0].max(initial=-1e9)), 0, "host"),
        lambda s: np.array([s.seconds]),
    ),
    RankPaces: (
        lambda r: RankPaces({"0": {"seconds": float(r[:, 0].max(initial=-1e9)), "rows": 1, "rank": 0}}),
        lambda s: np.array([s.ranks["0"]["seconds"]]),
    ),
    LabelCounts: (
        lambda r: LabelCounts.of([Block(r, _labels(r), _weights(r), values=("a", "b", "c"))]),
        lambda s: _flat(s.sums, [s.weights.counts.get(label, 0.0) for label in "abc"]),
    ),
    LargeArray: (lambda r: LargeArray((3,), r.dtype.str), lambda s: np.array(s.shape)),
    TopRows: (lambda r: TopRows(3, *_top(r)), lambda s: np.column_stack([s.rows, s.weight])),
    LeastRows: (lambda r: LeastRows.of(3, r, _keys(r)), lambda s: np.nan_to_num(s.rows)),
    LeastTable: (
        lambda r: LeastTable.of(3, Batch({"a": pa.array(r[:, 0])}, len(r)), _keys(r)),
        lambda s: np.nan_to_num(np.asarray(s.batch["a"])),
    ),
    SampledRows: (
        lambda r: _sampled(r),
        lambda s: _flat(*s.matrix(), s.highest[np.isfinite(s.highest)], s.vanishing),
    ),
    QuantileSketch: (lambda r: QuantileSketch.of(r[:60, 0].copy()), lambda s: _quartiles(s)),
    Keys: (
        lambda r: _grouped(r)[2],
        lambda s: _flat(s.hashes, s.table["key"].to_numpy()),
    ),
    ClassCoMoments: (
        lambda r: ClassCoMoments.of(r, (np.abs(r[:, 0]) * 4).astype(int) % 3, _weights(r)),
        lambda s: _flat(s.hashes, s.n, s.mean, s.products),
    ),
    ColumnTypes: (
        lambda r: ColumnTypes({"a": _type_of(r[:, 0])}),
        lambda s: _flat(np.array(["null", "int64", "double"]) == s.types.get("a", "null")),
    ),
    NumberSums: (
        lambda r: NumberSums.of(np.round(r[:, 0]), r[:, 1:]),
        lambda s: _flat(s.numbers, s.sums),
    ),
    CategoryCounts: (
        lambda r: CategoryCounts.of(np.abs(r).astype(int) % 7, (np.abs(r[:, 0]) * 4).astype(int) % 3),
        lambda s: _flat(s.hashes, s.sizes, s.sums),
    ),
    GroupedSums: (
        lambda r: GroupedSums.of(*_grouped(r)[:2]),
        lambda s: _flat(s.hashes, s.sums),
    ),
    GroupedMoments: (
        lambda r: GroupedMoments.of(*_grouped(r)[:2], _grouped(r)[3]),
        lambda s: _flat(s.hashes, s.n, s.mean, s.m2),
    ),
    Extremes: (Extremes.of, lambda s: _flat(s.rows, *np.nan_to_num([s.low, s.high]))),
    CrossMoments: (
        lambda r: CrossMoments.of(np.nan_to_num(r[:, 1:]), np.nan_to_num(r[:, 0])),
        lambda s: _flat(s.columns.n, s.columns.mean, s.columns.m2, s.other.mean, s.other.m2, s.products),
    ),
    GroupedExtremes: (
        lambda r: GroupedExtremes.of(*_grouped(r)[:2]),
        lambda s: _flat(s.hashes, *np.nan_to_num([s.low, s.high])),
    ),
    GroupedCoMoments: (
        lambda r: GroupedCoMoments.of(*_grouped(r)[:2], _grouped(r)[3]),
        lambda s: _flat(s.hashes, s.n, s.mean, s.products),
    ),
    GroupScores: (
        lambda r: GroupScores(
            _grouped(r)[2], GroupedSums.of(*_grouped(r)[:2]), GroupedMoments.of(*_grouped(r)[:2])
        ),
        lambda s: _flat(s.table(classes=True)["key"].to_numpy(), *sorted(s.total(classes=True).values())),
    ),
    GroupedSummary: (
        lambda r: GroupedSummary.of(*_grouped(r)[:2], _grouped(r)[3]),
        lambda s: _flat(
            *(s.hashes, s.sums, s.shape.n, s.shape.mean, s.shape.m2, s.shape.m3, s.shape.m4),
            *np.nan_to_num([s.shape.low, s.shape.high]),
        ),
    ),
    GroupMoments: (
        lambda r: GroupMoments(
            *(_grouped(r)[2], GroupedMoments.of(*_grouped(r)[:2]), GroupedExtremes.of(*_grouped(r)[:2]))
        ),
        lambda s: _flat(s.keys.hashes, s.moments.n, s.moments.mean, s.moments.m2, np.nan_to_num(s.ends.low)),
    ),
    Contingency: (
        lambda r: Contingency(_grouped(r)[2], GroupedSums.of(_grouped(r)[0], _grouped(r)[3][None])),
        lambda s: _flat(s.keys.table["key"].to_numpy(), s.counts),
    ),
    FrequentValues: (
        lambda r: FrequentValues.of(pa.array(np.floor(r[:, 0]).astype(int))),
        lambda s: _flat([count for _, count in s.top(5)]),
    ),
}


def _only_small(rows: np.ndarray) -> np.ndarray:
    if (rows[:, 0] > 1).any():
        raise DataError("too large")
    return np.array([float(len(rows))])


def _grouped(rows: np.ndarray) -> tuple[Segments, np.ndarray, Keys, np.ndarray]:
    """Rows in groups of a few."""
    keys = np.floor(np.nan_to_num(rows[:, 0] - 100.0) / 10)
    segments = Segments.of(mix(keys.view(np.uint64)))
    values = pa.record_batch({"key": keys[segments.firsts]})
    return (
        segments,
        rows.T[:, segments.order],
        Keys.of(segments.hashes, values),
        _weights(rows)[segments.order],
    )


def _keys(rows: np.ndarray) -> np.ndarray:
    return seeded(matrix_hash(rows), 0)


_NONE = np.zeros(0, dtype=np.int32)


def _sampled(rows: np.ndarray) -> SampledRows:
    highest = np.fmax.reduce(rows, axis=0, initial=-np.inf)
    dense = rows.astype(np.float32)
    return SampledRows(_keys(rows), _weights(rows), dense, _NONE, _NONE, highest, vanishing(rows))


def _sorted(state: ValueCounts) -> list[tuple[float, float]]:
    return sorted((np.inf if value is None else value, count) for value, count in state.counts.items())


def _lists(state: Baskets) -> tuple[np.ndarray, np.ndarray]:
    """The lists of two items each and their weights, sorted."""
    lists = state.items.reshape(-1, 2)
    order = np.lexsort(lists.T)
    return lists[order], state.weights[order]


def _top(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    key = _keys(rows)
    order = np.lexsort((key, -rows[:, 0]))[:3]
    return rows[order, 0], rows[order], key[order], rows[order, 1]


def _quartiles(state: QuantileSketch) -> list[float]:
    """Below its size the sketch keeps every value, so the quantiles are exact."""
    return state.quantiles([0.0, 0.25, 0.5, 1.0])


def _rows(seed: int, rows: int, missing: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 3)) * 10 + 100 * rng.normal(size=3)
    if missing:
        values[rng.random(values.shape) < 0.3] = np.nan
    return values


TAKES_MISSING = {
    Extremes,
    GroupedExtremes,
    GroupedSums,
    GroupedSummary,
    GroupedMoments,
    GroupMoments,
    PairMoments,
    ShapeMoments,
    ValueCounts,
}


def test_a_state_of_a_user_hides_none_of_ours() -> None:
    users = type("Extremes", (State,), {"__module__": "users"})
    state = Extremes.of(np.eye(2))
    assert type(from_tree(to_tree(state))) is Extremes
    assert users is not Extremes


def test_every_state_has_laws() -> None:
    ours = {kind for kind in State._by_name.values() if kind.__module__.startswith("outgrow")}
    assert {kind.__name__ for kind in ours} - {kind.__name__ for kind in LAWS} <= {"ColumnState"}


@pytest.mark.parametrize("kind", LAWS, ids=lambda kind: kind.__name__)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60), cuts=st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=40, deadline=None)
def test_laws(kind: type[State], seed: int, rows: int, cuts: list[int]) -> None:
    of, read = LAWS[kind]
    check_state_laws(of, _rows(seed, rows, kind in TAKES_MISSING), read, cuts=tuple(cuts), atol=1e-7)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 200))
@settings(max_examples=40, deadline=None)
def test_moments_equal_numpy(seed: int, rows: int) -> None:
    values = _rows(seed, rows, missing=True)
    moments = Moments.of(_fortran(values))
    for j in range(3):
        present = values[~np.isnan(values[:, j]), j]
        assert moments.n[j] == len(present)
        if len(present):
            np.testing.assert_allclose(moments.mean[j], present.mean())
            np.testing.assert_allclose(moments.variance()[j], present.var(), atol=1e-9)


def test_shape_equals_scipy() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(1000, 1))
    shape = ShapeMoments.of(_fortran(x))
    np.testing.assert_allclose(shape.skewness(), scipy.stats.skew(x))
    np.testing.assert_allclose(shape.kurtosis(), scipy.stats.kurtosis(x))
    np.testing.assert_allclose(shape.std(), x.std(ddof=1))


def test_correlation_of_pairs_equals_pandas() -> None:
    values = _rows(3, 300, missing=True)
    found = merge(
        PairMoments.of(_fortran(values[:100])), PairMoments.of(_fortran(values[100:]))
    ).correlation()
    np.testing.assert_allclose(found, pandas.DataFrame(values).corr().to_numpy(), atol=1e-12)


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=200),
    block=st.integers(1, 50),
    probability=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_quantiles_are_those_of_numpy(values: list[float], block: int, probability: float) -> None:
    X = np.asfortranarray(np.array(values)[:, None])
    present = X[~np.isnan(X)]

    def reduce(fold: Callable[[np.ndarray], Any]) -> Any:
        total = None
        for start in range(0, len(X), block):
            total = merge(total, fold(X[start : start + block]))
        return total

    with np.errstate(all="ignore"):
        found, counts = quantiles(reduce, 1, [probability])
        assert counts[0] == len(present)
        if not len(present):
            assert np.isnan(found[0, 0])
            return
        place = probability * (len(present) - 1)
        low, high = np.sort(present)[[int(np.floor(place)), int(np.ceil(place))]]
        share = place - np.floor(place)
        # the infinities have no number between them; elsewhere as NumPy, but where its difference overflows
        expected = low if low == high else low * (1 - share) + high * share
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-12)


def test_quantiles_of_a_million_equal_values() -> None:
    X = np.asfortranarray(np.full((1_200_000, 1), 3.5))
    found, _ = quantiles(lambda fold: merge(fold(X[:600_000]), fold(X[600_000:])), 1, [0.5])
    assert found[0, 0] == 3.5


@pytest.mark.parametrize("distinct", [0, 1, 100, 30_000, 1_000_000])
def test_distinct_count_is_near(distinct: int) -> None:
    state = DistinctCount.of(mix(np.arange(distinct, dtype=np.uint64)))
    assert abs(state.estimate() - distinct) <= 0.03 * distinct


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_counted_classifications_agree_with_kept_ones(classes: int, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(classes), size=(2, 5_000))
    y, weight = rng.integers(0, classes, 5_000), rng.random(5_000) if weighted else None
    counted = ManyClassifications.of(y, chances.transpose(0, 2, 1), weight, 20_000).split()
    for state, own in zip(counted, chances, strict=True):
        kept = ClassificationState.of(y, own, weight)
        for name, value in kept.metrics().items():
            slack = 1e-4 if "auc" in name else 1e-9
            assert state.metrics()[name] == pytest.approx(value, abs=slack), name
        np.testing.assert_allclose(state.calibration, kept.calibration, rtol=1e-9)
