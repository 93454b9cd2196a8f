"""Growing trees with XGBoost on the rows of a matrix view, on one rank or many, and asking them.

XGBoost (Chen and Guestrin 2016) keeps features as float32 and sorts each into bins once; the rows go to it
block by block, so no second copy of them is made. Dense blocks go as Arrow columns, which it reads a quarter
faster than matrices. Sparse blocks go as they are, and an entry that is zero is then *absent*: XGBoost sends
absent entries to the better side of each split, as it does missing values. That is several times faster on
one-hot columns than the same numbers dense. A model that learned from sparse rows (`zeros_absent_`) drops the
zeros of any row it is asked about, so sparse and dense rows get the same answers. Columns of numbers that
came to stand beside sparse ones keep their zeros: those are stored, and no missing values.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow._optional import optional
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.collective import Communicator
from outgrow.engine.context import FitContext
from outgrow.engine.events import heard
from outgrow.engine.matrix import MatrixView
from outgrow.ml.trees import few_rows, forest_growth, leafwise, summed
from outgrow.ml.trees.asking import explained, total_gains
from outgrow.ml.trees.bagging import RowSample, TreesApart
from outgrow.ml.trees.bins import SampledRows, sampled_rows, sampled_share, with_all_categories
from outgrow.ml.trees.callbacks import Callbacks, losses_of, recalled
from outgrow.ml.trees.held_out import judge_of, split
from outgrow.ml.trees.plan import Grown, Plan, weighted
from outgrow.ml.trees.rows import any_sparse, without_zeros
from outgrow.ml.trees.threads import openmp_threads

_STRIDE = 7919
"""What is added to the seed for each round that is there, so that other features are drawn."""
_WORD_COMES = 5.0
"""Seconds within which a rank hears of another that is gone, once XGBoost's collective has broken."""
HISTOGRAM_BYTES = 1 << 30
"""Most memory for the histograms of nodes still to be split; XGBoost's own limit counts nodes, not bytes."""


def grow(view: MatrixView, plan: Plan) -> Grown:
    """Grow the trees over the rows of all ranks; every rank gets the same.

    Parameters
    ----------
    view : the rows that this rank has of all.
    plan : what to grow.

    Raises
    ------
    DataError
        When rows were to be held out and none are on one of the sides, or a value does not fit float32.
    EngineError
        When XGBoost fails.
    ParameterError
        When XGBoost would have to grow them, and cannot as the plan says.
    """
    if summed.suits(view):
        return summed.grow(view, plan)
    if plan.grower == "lightgbm":
        return leafwise.grow(view, plan)
    for ours in (few_rows, forest_growth):
        if ours.suits(view, plan):
            return ours.grow(view, plan)
    forest_growth.refuse_for_xgboost(view, plan)
    sample = None
    if not view.has_made(plan.key):
        sample = sampled_rows(view, plan.seed, lambda block: weighted(block, plan))
    return view.run.call(lambda: _grow(view, plan, sample))


def _grow(view: MatrixView, plan: Plan, sample: SampledRows | None) -> Grown:
    comm = view.run.comm
    zeros_absent = any_sparse(view)
    with explained():
        make = _already_made if sample is None else _in_bins(view, plan, sample, zeros_absent)
        if comm.size == 1:
            return _train(view, plan, make, zeros_absent, losses=heard())
        return _train_together(view, plan, make, zeros_absent)


def _bins(run: FitContext, plan: Plan, sample: SampledRows, zeros_absent: bool) -> Any:
    """A matrix of the sampled rows, whose bins all others take; made before the ranks join, alike on each."""
    X, weight = sample.matrix()
    if zeros_absent:
        X = without_zeros(X, plan.numbers)
    if plan.kinds is not None:
        X = with_all_categories(X, plan.kinds, sample.highest)
        weight = np.concatenate([weight, np.full(X.shape[0] - len(weight), weight.mean())])
    return optional("xgboost", "trees").QuantileDMatrix(
        X,
        weight=None if (weight == 1).all() else weight,
        feature_names=[f"f{j}" for j in range(X.shape[1])],
        feature_types=None if plan.kinds is None else list(plan.kinds),
        nthread=openmp_threads(run.threads),
        max_bin=plan.parameters["max_bin"],
        enable_categorical=plan.kinds is not None,
    )


@dataclass(frozen=True)
class _InBins:
    """Rows as XGBoost's matrices: those to learn from, and those held out, if any.

    Attributes
    ----------
    hashes : of the rows to learn from, where trees see samples of them; otherwise None.
    order : the places of the rows to learn from, where they are not in their own order.
    """

    parts: list[Any]
    hashes: np.ndarray | None
    order: np.ndarray | None = None


def _train(
    view: MatrixView, plan: Plan, make: Callable[[], _InBins], zeros_absent: bool, *, losses: bool
) -> Grown:
    """Train on the rows that `make` puts into bins."""
    xgb = optional("xgboost", "trees")
    run = view.run
    threads = openmp_threads(run.threads)
    parameters = {"verbosity": 0, "tree_method": "hist", "nthread": threads, **plan.parameters}
    before = recalled(run, plan.begun)
    if before.rounds:  # the trees that are there know where they began
        parameters.pop("base_score", None)
    if plan.begun is not None:  # other features shall be drawn than for the first trees
        parameters["seed"] = (plan.seed + _STRIDE * before.rounds) % (1 << 31)
    with xgb.config_context(verbosity=0):
        made = view.made(plan.key, make)
        if make is _already_made:
            _label_anew(view, plan, zeros_absent, made)
        rows = made.parts
        sample = None
        if made.hashes is not None and plan.sample is not None:
            sample = RowSample.of(run.comm, made.hashes, view.rows, plan.sample)
        wanted = (losses or plan.follow or plan.stop is not None) and not plan.apart
        watched = [(rows[0], "train")] if wanted or len(rows) > 1 else []
        watched += [(part, "validation") for part in rows[1:]]
        told = Callbacks.of(run, plan, before, rows, sample)
        if plan.told is not None:
            told.watch(plan.told, _watched(view, plan, zeros_absent))
        if plan.lists is not None:
            told.use(*plan.lists.bound(run, _lists(view, plan, zeros_absent, made.order)))
        stopping = None if plan.stop is None else told.stop(plan.stop, judge_of(view, plan, zeros_absent))
        objective: Any = told.gradients
        if plan.apart:
            objective = TreesApart(sample, plan.rounds, before.rounds, plan.targets)
        booster, history = told.train(parameters, objective, watched)
    if stopping is not None:
        booster = booster[: stopping.kept(booster.num_boosted_rounds())]
    # a rank without rows has learned no names, and all ranks shall hold the same
    booster.feature_names = [f"f{j}" for j in range(view.width)]
    booster.feature_types = None if plan.kinds is None else list(plan.kinds)
    return Grown(
        bytes(booster.save_raw(raw_format="ubj")),
        int(booster.num_boosted_rounds()),
        total_gains(booster, view.width),
        np.concatenate([before.losses, losses_of(history, "train")]),
        losses_of(history, "validation"),
        zeros_absent,
        np.zeros(0) if stopping is None else stopping.scores,
        told.out_of_bag,
    )


def _lists(
    view: MatrixView, plan: Plan, zeros_absent: bool, order: np.ndarray | None
) -> list[Sequence[Block]]:
    """The rows that are learned from, and those held out, if any, as blocks in the order of XGBoost's."""
    parts: list[Sequence[Block]] = [
        list(part.blocks()) or [part.nothing()] for part in split(view, plan, zeros_absent)
    ]
    return parts if order is None else [[Block.joined(parts[0]).take(order)], *parts[1:]]


def _train_together(view: MatrixView, plan: Plan, make: Callable[[], _InBins], zeros_absent: bool) -> Grown:
    """Train while the ranks talk through XGBoost's own collective, whose tracker runs on rank 0."""
    comm, tracker, message = view.run.comm, None, None
    deadline = max(1, int(getattr(comm, "deadline", 300)))
    if comm.rank == 0:
        tracker = optional("xgboost.tracker", "trees").RabitTracker(
            n_workers=comm.size,
            host_ip=comm.host,
            sortby="task",
            timeout=deadline,
        )
        tracker.start()
        message = json.dumps({"join": tracker.worker_args(), "losses": heard()}).encode()
    told = json.loads(comm.broadcast(message))
    join = {**told["join"], "dmlc_task_id": f"{comm.rank:08d}", "dmlc_timeout": deadline}
    with ExitStack() as joined:
        with redirect_stdout(None):  # each rank prints that it has joined, whatever the verbosity
            joined.enter_context(optional("xgboost.collective", "trees").CommunicatorContext(**join))
        try:
            grown = _train(view, plan, make, zeros_absent, losses=told["losses"])
        except optional("xgboost", "trees").core.XGBoostError as error:
            _blame_others(comm, error)
            raise
    if tracker is not None:
        tracker.wait_for(deadline)
    return grown


def _blame_others(comm: Communicator, error: Exception) -> None:
    """Raise what is known of another rank, where XGBoost's collective broke; word of it may come later."""
    until = time.monotonic() + _WORD_COMES
    while "collective" in str(error) and time.monotonic() < until:
        comm.check()
        time.sleep(0.05)


def _in_bins(view: MatrixView, plan: Plan, sample: SampledRows, zeros_absent: bool) -> Callable[[], _InBins]:
    """What puts the rows into bins, once the ranks have joined; the bins are made before."""
    parts = split(view, plan, zeros_absent)
    hashes = None if plan.sample is None else parts[0].hashes()
    bins, threads = _bins(view.run, plan, sample, zeros_absent), openmp_threads(view.run.threads)
    if view.run.comm.size == len(parts) == 1 and plan.kinds is None and sampled_share(view) >= 1:
        bins.set_label(_labels(view, plan)[sample.order])  # the sample is all there is to learn from
        order = sample.order
        return lambda: _InBins([bins], None if hashes is None else hashes[order], order)

    def make() -> _InBins:
        first = _quantised(parts[0], plan, threads, bins)
        return _InBins([first, *(_quantised(part, plan, threads, first) for part in parts[1:])], hashes)

    return make


def _labels(view: MatrixView, plan: Plan) -> np.ndarray:
    """What is to be predicted for the rows that weigh something, in their order."""
    return np.concatenate([plan.label(weighted(block, plan)) for block in view.blocks()])


def _label_anew(view: MatrixView, plan: Plan, zeros_absent: bool, made: _InBins) -> None:
    """Give rows that another fit has put into bins what this one is to predict for them."""
    for place, part in enumerate(split(view, plan, zeros_absent)):
        blocks = list(part.blocks()) or [part.nothing()]
        labels = np.concatenate([plan.label(block) for block in blocks])
        made.parts[place].set_label(labels if place or made.order is None else labels[made.order])


def _already_made() -> _InBins:
    raise AssertionError("the rows are in bins")


def _watched(view: MatrixView, plan: Plan, zeros_absent: bool) -> Any:
    """The features of the watched rows, of which XGBoost keeps what the trees so far answer.

    They are not in bins: a row is then asked for by each of its columns, which is slow where they are many.
    """
    assert view.watch is not None

    def make() -> Any:
        parts = [
            without_zeros(block.X, plan.numbers) if zeros_absent else block.X for block in watched.blocks()
        ]
        rows = sp.vstack(parts, format="csr") if is_sparse(parts[0]) else np.concatenate(parts)
        return optional("xgboost", "trees").DMatrix(
            rows,
            feature_names=[f"f{j}" for j in range(view.width)],
            feature_types=None if plan.kinds is None else list(plan.kinds),
            nthread=openmp_threads(view.run.threads),
            enable_categorical=plan.kinds is not None,
        )

    watched = view.watch.rows
    return watched.made(("watched", zeros_absent, plan.kinds), make)


def _quantised(fields: Iterable[dict[str, Any]], plan: Plan, threads: int, like: Any) -> Any:
    return optional("xgboost", "trees").QuantileDMatrix(
        _blocks()(fields),
        ref=like,
        nthread=threads,
        max_bin=plan.parameters["max_bin"],
        enable_categorical=plan.kinds is not None,
    )


@lru_cache(1)
def _blocks() -> type:
    """How XGBoost reads rows; made when it is first needed, as it derives from XGBoost's."""
    base: Any = optional("xgboost", "trees").DataIter

    class Blocks(base):
        def __init__(self, part: Iterable[dict[str, Any]]) -> None:
            super().__init__()
            self._part = part
            self._left: Iterator[dict[str, Any]] = iter(())

        def reset(self) -> None:
            self._left = iter(self._part)

        def next(self, input_data: Callable[..., None]) -> bool:
            fields = next(self._left, None)
            if fields is not None:
                input_data(**fields)
            return fields is not None

    return Blocks


def cached_nodes(width: int, bins: int) -> int:
    """XGBoost's `max_cached_hist_node`: how many nodes' histograms fit in `HISTOGRAM_BYTES`, at least 256.

    Parameters
    ----------
    width : features.
    bins : of each feature, at most.
    """
    return max(256, min(65_536, HISTOGRAM_BYTES // (16 * bins * max(1, width))))
