"""Trees where ranks may tell each other sums alone, as sites of a federation do: histograms, added up.

Bins are found by counting (`counted_bins`), splits in histograms of all rows (`summed_trees`); so no value of
a row leaves its rank, and the trees are those of all rows in these bins, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.collective import Communicator
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.trees.bagging import poisson_bounds
from outgrow.ml.trees.counted_bins import TOP, counted_cuts
from outgrow.ml.trees.document import Nodes, writer
from outgrow.ml.trees.held_out import split
from outgrow.ml.trees.losses import DERIVATIVES
from outgrow.ml.trees.plan import TOO_LARGE, Grown, Plan
from outgrow.ml.trees.rows import Part
from outgrow.ml.trees.summed_trees import Grove, Growth, Node

MOST_BINS = 256
"""Of each feature: each bin of each node is two numbers that cross the network."""
_AT_ONCE = 8
"""Trees of a forest that share merges."""
_EPSILON = 1e-6
"""What XGBoost adds to the share of each of several classes before it takes the logarithm."""
_KNOWN = {
    *("objective", "base_score", "num_class", "learning_rate", "reg_lambda", "reg_alpha", "gamma"),
    *("colsample_bynode", "min_child_weight", "seed", "seed_per_iteration", "max_depth", "max_bin"),
    *("max_cached_hist_node", "grow_policy", "max_leaves", "disable_default_eval_metric"),
}


def suits(view: MatrixView) -> bool:
    """Whether the ranks may tell each other sums alone."""
    return bool(getattr(view.run.comm, "sums_only", False))


def grow(view: MatrixView, plan: Plan) -> Grown:
    """Grow the trees; every rank gets the same.

    Parameters
    ----------
    view : the rows that this rank has of all.
    plan : what to grow.

    Raises
    ------
    DataError
        When a value does not fit float32.
    ParameterError
        When the plan asks for what histograms that are added up do not tell.
    """
    _refuse(plan)
    return view.run.call(lambda: _Summed(view, plan).grown())


def _refuse(plan: Plan) -> None:
    wishes = {
        "columns of text": plan.kinds is not None,
        "a loss of distances or quantiles": plan.leaves is not None,
        "ranking": plan.lists is not None,
        "warm_start": plan.begun is not None,
        "scoring other than the loss": plan.stop is not None and plan.stop.score is not None,
        "monotonic_cst": "monotone_constraints" in plan.parameters,
        "interaction_cst": "interaction_constraints" in plan.parameters,
        **dict.fromkeys(plan.ours_alone, True),
    }
    wanted = [name for name, asked in wishes.items() if asked]
    wanted = wanted or sorted(set(plan.parameters) - _KNOWN)
    if wanted:
        raise ParameterError(
            f"Trees over sites that keep their rows know no {', '.join(wanted)}. Leave that out; columns of "
            "text become numbers by an encoder with categories=."
        )


class _Rows:
    """The rows of this rank that are learned from, or only watched."""

    def __init__(self, part: Part, plan: Plan, width: int) -> None:
        blocks = [block for block in part.blocks() if len(block)]
        dense = [block.X.toarray() if is_sparse(block.X) else block.X for block in blocks]
        with np.errstate(over="ignore"):
            self.X = np.concatenate([np.zeros((0, width)), *dense]).astype(np.float32)
        labels = [np.asarray(plan.label(block), np.float64).reshape(-1, plan.targets) for block in blocks]
        self.y = np.concatenate([np.zeros((0, plan.targets)), *labels])
        weights = [np.ones(len(block)) if block.weight is None else block.weight for block in blocks]
        self.weight = np.concatenate([np.zeros(0), *weights])

    def start(self, plan: Plan, base: Sequence[float]) -> None:
        """Begin the sums of the trees."""
        scores = np.array(base, dtype=np.float32).astype(np.float64)
        if plan.parameters["objective"] == "binary:logistic":
            scores = np.log(scores / (1.0 - scores))
        elif plan.parameters["objective"] in ("count:poisson", "reg:gamma"):
            scores = np.log(scores)
        self.sums = np.tile(scores, (len(self.y), 1))


class _Summed:
    """One training, round by round."""

    def __init__(self, view: MatrixView, plan: Plan) -> None:
        self._run, self._comm, self._plan, self._width = view.run, view.run.comm, plan, view.width
        parts = split(view, plan, zeros_absent=False)
        self._rows = [_Rows(part, plan, view.width) for part in parts]
        self._outputs = plan.targets if plan.apart else plan.outputs
        learned, said = self._rows[0], plan.parameters
        most = min(int(plan.bins or said["max_bin"]), MOST_BINS) - 1
        found = counted_cuts(self._comm, learned.X, most, lambda X: _check(self._comm, X))
        cuts = [np.append(each, np.float32(TOP)) for each in found]
        self._bins = max(map(len, cuts)) + 1
        codes = _codes(learned.X, found, self._bins - 1)
        self._watched = [_codes(rows.X, found, self._bins - 1) for rows in self._rows[1:]]
        leaves = said.get("max_leaves")
        growth = Growth(
            float(said["learning_rate"]),
            int(said["max_depth"]),
            int(leaves) if leaves else None,
            float(said["min_child_weight"]),
            float(said.get("reg_lambda", 0.0)),
            float(said.get("reg_alpha", 0.0)),
            float(said.get("gamma", 0.0)),
            max(1, min(view.width, int(float(said["colsample_bynode"]) * view.width))),
            plan.seed,
        )
        self._grove = Grove(self._comm, codes, self._bins, cuts, growth)
        self._base = self._base_scores()
        for rows in self._rows:
            rows.start(plan, self._base)
        self._trees: list[Nodes] = []
        self._losses: list[list[float]] = [[] for _ in self._rows]
        self._scores = np.zeros(0)

    def grown(self) -> Grown:
        """What has grown, in the end."""
        plan, done = self._plan, 0
        while done < plan.rounds:
            end = min(plan.rounds, done + (_AT_ONCE if plan.apart else 1))
            self._grow(range(done, end))
            done = end
            self._run.tell("round", done, plan.rounds, loss=self._note())
            if plan.stop is not None:
                self._scores = np.append(self._scores, -self._losses[-1][-1])
                if plan.stop.reached(self._scores):
                    break
        if plan.stop is not None and plan.stop.keep_best and len(self._scores):
            done = int(np.argmax(self._scores)) + 1
        trees = self._trees[: done * self._outputs]
        classes = plan.parameters.get("num_class")
        write = writer(plan.parameters["objective"], classes, self._width, done, plan.targets)
        sizes = np.array([len(tree.left) for tree in trees], dtype=np.int64)
        nodes = Nodes(*map(np.concatenate, zip(*trees, strict=True)))
        losses = [np.array(each) for each in self._losses]
        return Grown(
            write(nodes, sizes, self._base),
            done,
            nodes.gains(self._width),
            losses[0],
            losses[1] if len(losses) > 1 else np.zeros(0),
            zeros_absent=False,
            scores=self._scores,
        )

    def _base_scores(self) -> list[float]:
        """Where trees begin: what the plan says, or centred logarithms of the classes' shares."""
        plan, rows = self._plan, self._rows[0]
        if "base_score" in plan.parameters:
            return [float(plan.parameters["base_score"])] * self._outputs
        own = np.bincount(rows.y[:, 0].astype(np.intp), rows.weight, plan.outputs).astype(np.float64)
        totals = self._comm.allreduce(own)
        logs = np.log(totals / totals.sum() + _EPSILON)
        return (logs - logs.mean()).tolist()

    # ---- rounds ------------------------------------------------------------------------------------------

    def _grow(self, numbers: Sequence[int]) -> None:
        """A tree for each output of some rounds, which do not need each other."""
        each, derivatives = [], []
        for number in numbers:
            first, second = self._derivatives(number)
            for output in range(self._outputs):
                each.append(number * self._outputs + output)
                derivatives.append(np.stack([first[:, output], second[:, output]]))
        grown = self._grove.grow(each, derivatives)
        for number, tree in zip(each, grown, strict=True):
            self._trees.append(self._grove.written(tree))
            if not self._plan.apart:
                self._add(tree, number % self._outputs)

    def _derivatives(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Both derivatives of each row that a tree learns from, of shape (rows, outputs)."""
        rows, plan = self._rows[0], self._plan
        weight = rows.weight * self._drawn(number)
        if plan.apart:
            second = np.repeat(weight[:, None], self._outputs, axis=1)
            return -rows.y * second, second
        shape = (len(rows.y), self._outputs)
        sums = rows.sums if self._outputs > 1 else rows.sums[:, 0]
        if plan.gradients is not None:
            both = plan.gradients(rows.y[:, 0], sums, weight, self._comm)
            return tuple(np.asarray(part, np.float64).reshape(shape) for part in both)  # type: ignore[return-value]
        first, second = DERIVATIVES[plan.parameters["objective"]](rows.y[:, 0], sums)
        return first.reshape(shape) * weight[:, None], second.reshape(shape) * weight[:, None]

    def _drawn(self, number: int) -> np.ndarray:
        """How often each row is drawn for a tree, by chances of each rank, which the seed gives."""
        rows, draw = len(self._rows[0].y), self._plan.sample
        if draw is None:
            return np.ones(rows)
        chance = np.random.default_rng([self._plan.seed, self._comm.rank, number]).random(rows)
        if not draw.replacement:
            return (chance < draw.share).astype(np.float64)
        return np.searchsorted(poisson_bounds(draw.share), chance, side="right").astype(np.float64)

    def _add(self, tree: Sequence[Node], output: int) -> None:
        """Add what a tree answers to the sums of all rows."""
        sums = self._grove.answers(tree, None)
        self._rows[0].sums[:, output] += sums
        for rows, codes in zip(self._rows[1:], self._watched, strict=True):
            rows.sums[:, output] += self._grove.answers(tree, codes)

    def _note(self) -> float | None:
        """The losses after a round, where somebody wants them."""
        plan = self._plan
        if plan.loss is None or not (plan.follow or plan.stop is not None):
            return None
        for rows, noted in zip(self._rows, self._losses, strict=True):
            sums = rows.sums if self._outputs > 1 else rows.sums[:, 0]
            own = np.array([rows.weight @ plan.loss(rows.y[:, 0], sums), rows.weight.sum()])
            total = self._comm.allreduce(own)
            mean = float(total[0] / total[1]) if total[1] else math.nan
            rooted = plan.parameters["objective"] == "reg:squarederror" and plan.gradients is None
            noted.append(math.sqrt(mean) if rooted else mean)
        return self._losses[0][-1]


def _check(comm: Communicator, X: np.ndarray) -> None:
    """Refuse numbers that do not fit float32, on all ranks together."""
    if comm.allreduce(np.array([float(np.isinf(X).sum())]))[0]:
        raise DataError(TOO_LARGE)


def _codes(X: np.ndarray, cuts: Sequence[np.ndarray], missing: int) -> np.ndarray:
    """The bin of each value, of shape (width, rows)."""
    codes = np.empty((X.shape[1], len(X)), dtype=np.uint16)
    for column, ends, place in zip(X.T, cuts, codes, strict=True):
        place[:] = np.where(np.isnan(column), missing, np.searchsorted(ends, column, side="right"))
    return codes
