"""Growing trees with LightGBM (Ke et al. 2017) on the rows of a matrix view, on one rank or many.

The bins come from the sample of rows that XGBoost's come from, and the derivatives are ours, so the same
losses are lowered; what is grown becomes a booster of XGBoost (`leafwise_trees`), and nothing above or behind
knows the difference. Zeros of sparse rows are numbers to it. Ranks add up their histograms through the
collective of the fit (`leafwise_ranks`); any number of them from two on grow the same trees. One rank alone
may grow slightly others: LightGBM then leaves out, below a node, columns that had nothing to gain there,
which its parallel learner tries again, and it counts the rows of categories that it else estimates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow._optional import optional
from outgrow.data.matrix import is_sparse
from outgrow.engine.context import FitContext
from outgrow.engine.events import heard
from outgrow.engine.matrix import MOMENTS, MatrixView
from outgrow.errors import DataError, EngineError, ParameterError
from outgrow.ml.trees.asking import answers, restored, total_gains
from outgrow.ml.trees.bagging import RowSample
from outgrow.ml.trees.bins import SampledRows, sampled_rows, sampled_share
from outgrow.ml.trees.callbacks import SNAPSHOT_SECONDS, Snapshot, note_trees, recalled
from outgrow.ml.trees.document import Nodes, joined, writer
from outgrow.ml.trees.held_out import judge_of, split
from outgrow.ml.trees.leafwise_ranks import Ranks
from outgrow.ml.trees.leafwise_ranks import joined as joined_ranks
from outgrow.ml.trees.leafwise_trees import content_of
from outgrow.ml.trees.losses import ANSWERS, DERIVATIVES
from outgrow.ml.trees.plan import TOO_LARGE, Grown, Plan, weighted
from outgrow.ml.trees.rows import Part, as_asked
from outgrow.ml.trees.threads import openmp_threads

_MOST_LEAVES = 131_072
"""As many leaves as LightGBM allows."""
_POOL_MEGABYTES = 1024
"""Most memory for the histograms of leaves still to be split."""
_STRIDE = 7919
_EPSILON = 1e-6
"""What XGBoost adds to the share of each of several classes before it takes the logarithm."""


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
        When LightGBM fails.
    ParameterError
        When LightGBM cannot grow what the plan says.
    """
    if plan.leaves is not None:
        raise ParameterError(
            "grower='lightgbm' knows no loss='absolute_error' or 'quantile': on several ranks it takes "
            "the mean of the quantiles of their rows. Give grower='xgboost', or another loss."
        )
    sample = sampled_rows(view, plan.seed, lambda block: weighted(block, plan))
    return view.run.call(lambda: _grow(view, plan, sample))


@contextmanager
def _explained(ranks: Ranks) -> Iterator[None]:
    """What LightGBM raises inside is told in our words; first what went wrong between ranks."""
    try:
        yield
    except optional("lightgbm.basic", "lightgbm").LightGBMError as error:
        ranks.check()
        raise EngineError(f"LightGBM failed: {str(error).splitlines()[0]}") from error
    ranks.check()


@dataclass
class _Rows:
    """The rows of this rank that are learned from, or held out.

    Attributes
    ----------
    X : float32, dense in columns, or CSR. A rank without rows has one that weighs nothing.
    count : how many rows there are, that one left out.
    """

    X: Any
    y: np.ndarray
    weight: np.ndarray
    count: int
    start: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, part: Part, plan: Plan, width: int) -> _Rows:
        blocks = [block for block in part.blocks() if len(block)]
        count = sum(map(len, blocks))
        if not count:
            return cls(np.full((1, width), np.nan, dtype=np.float32), np.zeros(1), np.zeros(1), 0)
        weight = [np.ones(len(block)) if block.weight is None else block.weight for block in blocks]
        y = np.concatenate([plan.label(block) for block in blocks]).astype(np.float64)
        return cls(_single([block.X for block in blocks], count, width), y, np.concatenate(weight), count)

    def mean(self, run: FitContext, losses: np.ndarray, weight: np.ndarray | None = None) -> float:
        """The mean over the rows of all ranks; NaN where they weigh nothing."""
        weight = self.weight if weight is None else weight
        total = run.comm.allreduce(np.array([weight @ losses, weight.sum()], dtype=np.float64))
        return float(total[0] / total[1]) if total[1] > 0 else math.nan


def _single(parts: list[Any], count: int, width: int) -> Any:
    """Features as float32."""
    X: Any
    with np.errstate(over="ignore"):
        if is_sparse(parts[0]):
            X = sp.csr_matrix(sp.vstack(parts, format="csr"), dtype=np.float32)
        else:
            X, start = np.empty((count, width), dtype=np.float32, order="F"), 0
            for part in parts:
                X[start : start + len(part)] = part
                start += len(part)
    if np.isinf(X.data if is_sparse(X) else X).any():
        raise DataError(TOO_LARGE)
    return X


def _grow(view: MatrixView, plan: Plan, sample: SampledRows) -> Grown:
    parts = split(view, plan, zeros_absent=False)
    rows = [_Rows.of(part, plan, view.width) for part in parts]
    before = recalled(view.run, plan.begun)
    base = _base_scores(view.run, plan, rows[0])
    for part in rows:
        part.start = _starts(plan, part, base, before)
    bag = None
    if plan.sample is not None:
        own = np.resize(np.append(parts[0].hashes(), np.uint64(0)), len(rows[0].y))
        bag = RowSample.of(view.run.comm, own, view.rows, plan.sample)
    settings = _settings(view, plan, before.rounds)
    whole = view.run.comm.size == len(rows) == 1 and sampled_share(view) >= 1
    ranks = Ranks(view.run.comm)
    with _explained(ranks):
        sets = _in_bins(rows, plan, settings, None if whole else sample)
    with joined_ranks(view.run.comm) as ranks, _explained(ranks):
        growing = _Growing(view, plan, rows, sets, settings, before, base, ranks, bag)
        growing.grow()
    return growing.grown()


def _settings(view: MatrixView, plan: Plan, rounds: int) -> dict[str, Any]:
    """LightGBM's parameters."""
    said, comm = plan.parameters, view.run.comm
    depth, width = int(said["max_depth"]), view.width
    leaves = said.get("max_leaves") or (2**depth if 0 < depth <= 17 else min(_MOST_LEAVES, view.rows))
    made: dict[str, Any] = {
        "objective": "none",
        "metric": "None",
        "verbosity": -1,
        "num_threads": openmp_threads(view.run.threads),
        "force_col_wise": True,  # sums in an order that no threads change
        "deterministic": True,
        "num_class": plan.outputs,
        "learning_rate": said["learning_rate"],
        "max_depth": depth or -1,
        "num_leaves": max(2, min(int(leaves), _MOST_LEAVES)),
        "histogram_pool_size": _POOL_MEGABYTES,
        # on several ranks LightGBM only estimates how many rows a leaf has: what they weigh decides
        "min_data_in_leaf": 0,
        "min_sum_hessian_in_leaf": said["min_child_weight"],
        "min_gain_to_split": said.get("gamma", 0.0),
        "lambda_l1": said["reg_alpha"],
        "lambda_l2": said["reg_lambda"],
        "feature_fraction": int(said["colsample_bynode"] * width) / width,
        "seed": (plan.seed + _STRIDE * rounds) % (1 << 31),
        "max_bin": said["max_bin"],
        "min_data_in_bin": 1,
        "feature_pre_filter": False,
    }
    if "monotone_constraints" in said:
        made["monotone_constraints"] = said["monotone_constraints"].strip("()")
    if "interaction_constraints" in said:
        made["interaction_constraints"] = said["interaction_constraints"]
    if comm.size > 1:
        made |= {"num_machines": comm.size, "tree_learner": "data", "pre_partition": True}
    return made


def _in_bins(
    rows: list[_Rows], plan: Plan, settings: dict[str, Any], sample: SampledRows | None
) -> list[Any]:
    """LightGBM's sets of rows; their bins come from the sample, or from the rows where they are all in it."""
    lgb = optional("lightgbm", "lightgbm")
    kinds = plan.kinds or ()
    own = {name: settings[name] for name in ("max_bin", "min_data_in_bin", "feature_pre_filter")}
    own |= {"verbosity": -1, "num_threads": settings["num_threads"]}
    made = partial(
        lgb.Dataset,
        params={**own, "bin_construct_sample_cnt": 1 << 30},
        categorical_feature=[k for k, kind in enumerate(kinds) if kind == "c"],
    )
    bins = None if sample is None else made(sample.matrix()[0]).construct()
    sets: list[Any] = []
    for part in rows:
        start = np.ravel(part.start, order="F")
        like = bins if bins is not None else (sets[0] if sets else None)
        sets.append(made(part.X, label=np.zeros(len(part.y)), init_score=start, reference=like).construct())
        part.X = None
    return sets


def _base_scores(run: FitContext, plan: Plan, rows: _Rows) -> list[float]:
    """Where trees begin: what the plan says, or centred logarithms of the classes' shares."""
    if "base_score" in plan.parameters:
        return [float(plan.parameters["base_score"])] * plan.outputs
    totals = run.comm.allreduce(np.bincount(rows.y.astype(np.intp), rows.weight, plan.outputs))
    logs = np.log(totals / totals.sum() + _EPSILON)
    return (logs - logs.mean()).tolist()


def _starts(plan: Plan, rows: _Rows, base: list[float], before: Snapshot) -> np.ndarray:
    """What trees add to, of shape (rows,) or (rows, outputs)."""
    if before.rounds:
        X = rows.X.toarray() if is_sparse(rows.X) else rows.X
        return answers(restored(before.content), X, sums=True)
    scores = np.array(base, dtype=np.float32).astype(np.float64)
    if plan.parameters["objective"] == "binary:logistic":
        scores = np.log(scores / (1.0 - scores))
    elif plan.parameters["objective"] in ("count:poisson", "reg:gamma"):
        scores = np.log(scores)
    shape = (len(rows.y), plan.outputs) if plan.outputs > 1 else (len(rows.y),)
    return np.broadcast_to(scores, shape).copy()


class _Growing:
    """One training, round by round."""

    def __init__(
        self,
        view: MatrixView,
        plan: Plan,
        rows: list[_Rows],
        sets: list[Any],
        settings: dict[str, Any],
        before: Snapshot,
        base: list[float],
        ranks: Ranks,
        bag: RowSample | None,
    ) -> None:
        self._view, self._run, self._plan, self._rows = view, view.run, plan, rows
        self._before, self._base, self._bag, self._ranks = before, base, bag, ranks
        self._objective = str(plan.parameters["objective"])
        self._booster = optional("lightgbm", "lightgbm").Booster(settings, sets[0])
        for held in sets[1:]:
            self._booster.add_valid(held, "held out")
        told = self._run.comm.allreduce(np.array([float(heard())]))[0] > 0
        self._notes = told or plan.follow or plan.stop is not None
        self._losses: list[list[float]] = [[] for _ in rows]
        self._out_of_bag: list[tuple[float, float]] = []
        self._scores = np.zeros(0) if plan.stop is None else plan.stop.before
        self._judge = None if plan.stop is None else judge_of(view, plan, False)
        self._kept = time.monotonic()

    def grow(self) -> None:
        """Grow all rounds, or those until it is time to end."""
        moments = {math.ceil(self._plan.rounds * share) for share in MOMENTS} - {self._plan.rounds}
        for number in range(self._before.rounds, self._plan.rounds):
            before = self._bag_loss(number)
            ended = self._booster.update(fobj=partial(self._derivatives, number))
            self._ranks.check()
            if self._booster.current_iteration() <= number - self._before.rounds:
                return  # no leaf can be split any more
            if before is not None:
                self._out_of_bag.append((before, self._bag_loss(number) or 0.0))
            self._note(number + 1)
            if self._plan.told is not None and number + 1 in moments:
                self._show((number + 1) / self._plan.rounds)
            if ended or (self._plan.stop is not None and self._plan.stop.reached(self._scores)):
                return

    def _derivatives(self, number: int, sums: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        rows, plan = self._rows[0], self._plan
        weight = rows.weight if self._bag is None else rows.weight * self._bag.weights(number)
        if plan.gradients is not None:
            first, second = plan.gradients(rows.y, sums, weight, self._run.comm)
        else:
            first, second = DERIVATIVES[self._objective](rows.y, sums)
            each = weight[:, None] if sums.ndim > 1 else weight
            first, second = first * each, second * each
        return first.astype(np.float32), second.astype(np.float32)

    def _sums(self, place: int) -> np.ndarray:
        """What the trees so far add up to for some of the rows."""
        found: list[np.ndarray] = []

        def look(sums: np.ndarray, _: Any) -> tuple[str, float, bool]:
            found.append(np.array(sums))
            return "sums", 0.0, False

        (self._booster.eval_valid if place else self._booster.eval_train)(look)
        return found[0]

    def _bag_loss(self, number: int) -> float | None:
        """The mean loss of the rows that a tree does not see; None where nobody asks."""
        if self._bag is None or not self._plan.follow or self._plan.loss is None:
            return None
        rows = self._rows[0]
        weight = rows.weight * self._bag.left_out(number)
        return rows.mean(self._run, self._plan.loss(rows.y, self._sums(0)), weight)

    def _note(self, done: int) -> None:
        """The losses after a round, what early stopping looks at, and a snapshot for the journal."""
        loss = None
        if self._notes and self._plan.loss is not None:
            for place, rows in enumerate(self._rows):
                mean = rows.mean(self._run, self._plan.loss(rows.y, self._sums(place)))
                rooted = self._objective == "reg:squarederror" and self._plan.gradients is None
                self._losses[place].append(math.sqrt(mean) if rooted else mean)
            loss = self._losses[0][-1]
        self._run.tell("round", done, self._plan.rounds, loss=loss)
        if self._plan.stop is not None:
            self._scores = np.append(self._scores, self._score())
        elif time.monotonic() - self._kept > SNAPSHOT_SECONDS:
            losses = np.concatenate([self._before.losses, self._losses[0]])
            note_trees(self._run, Snapshot(done, self._content(), losses))
            self._kept = time.monotonic()

    def _score(self) -> float:
        if self._judge is None:
            return -self._losses[-1][-1]
        sums = self._sums(len(self._rows) - 1)[: self._rows[-1].count]
        return float(self._judge(ANSWERS[self._objective](sums)))

    def _show(self, share: float) -> None:
        """Show what the trees so far answer for the rows that are watched."""
        assert self._view.watch is not None
        assert self._plan.told is not None
        booster = restored(self._content())
        asked = [as_asked(block.X, False, None) for block in self._view.watch.rows.blocks()]
        self._plan.told(share, np.concatenate([answers(booster, X) for X in asked]))

    def _content(self, kept: int | None = None) -> bytes:
        """The trees of the rounds so far, or of so many, as XGBoost stores them; those of before, too."""
        plan, new = self._plan, self._booster.current_iteration()
        if kept is not None:
            new = kept - self._before.rounds
        if new <= 0:  # the best rounds are those of before
            return bytes(restored(self._before.content)[:kept].save_raw("ubj"))
        write = writer(self._objective, plan.parameters.get("num_class"), self._view.width, new)

        def written(nodes: Nodes, sizes: np.ndarray) -> bytes:
            return write(nodes, sizes, self._base)

        rate = float(plan.parameters["learning_rate"])
        text = self._booster.model_to_string(num_iteration=new)
        content = content_of(text, rate, plan.kinds, written)
        return joined(self._before.content, content) if self._before.rounds else content

    def grown(self) -> Grown:
        """What has grown, in the end."""
        rounds = self._before.rounds + self._booster.current_iteration()
        if (stop := self._plan.stop) is not None and stop.keep_best and len(self._scores):
            rounds += int(np.argmax(self._scores)) + 1 - len(self._scores)
        content = self._content(rounds)
        booster = restored(content)
        return Grown(
            content,
            int(booster.num_boosted_rounds()),
            total_gains(booster, self._view.width),
            np.concatenate([self._before.losses, self._losses[0]]),
            np.array(self._losses[1] if len(self._rows) > 1 else []),
            zeros_absent=False,
            scores=self._scores if self._plan.stop is not None else np.zeros(0),
            out_of_bag=np.array(self._out_of_bag, dtype=np.float64).reshape(-1, 2),
        )
