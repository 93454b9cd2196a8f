"""Boosting where rows are few and fits many: our own kernels, and the booster XGBoost would have given."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.events import heard
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.trees.bins import refuse_vanishing, vanishing
from outgrow.ml.trees.document import Nodes, writer
from outgrow.ml.trees.plan import TOO_LARGE, Grown, Plan, weighted

_PENALTIES = ("min_child_weight", "reg_lambda", "reg_alpha")
_KNOWN = {
    *_PENALTIES,
    *("learning_rate", "seed", "seed_per_iteration", "max_depth", "max_bin", "max_cached_hist_node"),
    *("colsample_bynode", "objective", "base_score", "num_class"),
}
_OBJECTIVES = ("reg:squarederror", "binary:logistic", "multi:softprob")
ROWS_A_BIN = 8
"""XGBoost's summary of a feature keeps each of so many rows a bin; of more, its bins are not these."""
MOST_NODES = 1 << 22
"""Nodes for which memory may be taken at once, 33 bytes each."""
_EPSILON = 1e-6
"""What XGBoost adds to the share of each of several classes before it takes the logarithm."""


def suits(view: MatrixView, plan: Plan) -> bool:
    """Whether the kernels grow what XGBoost would, and are worth compiling: of many small fits on one rank.

    Parameters
    ----------
    view : the rows.
    plan : what to grow; what the kernels do not know of rules them out.
    """
    parameters, run = plan.parameters, view.run
    return (
        run.many
        and run.comm.size == 1
        and importlib.util.find_spec("numba") is not None
        and set(parameters) <= _KNOWN
        and parameters["colsample_bynode"] >= 1
        and plan.sample is None
        and plan.gradients is None
        and plan.lists is None
        and parameters["objective"] in _OBJECTIVES
        and not (plan.outputs > 1 and "base_score" in parameters)
        and not plan.apart
        and parameters["max_bin"] < 1 << 16
        and view.rows <= ROWS_A_BIN * parameters["max_bin"]
        and plan.rounds * plan.outputs * _most_nodes(view.rows, plan) <= MOST_NODES
        and not (plan.kinds or plan.told or plan.stop or plan.begun or heard())
        and not any(is_sparse(block.X) for block in view.tiles)
    )


def grow(view: MatrixView, plan: Plan) -> Grown:
    """Grow the trees in this process.

    Parameters
    ----------
    view : rows that `suits` has seen.
    plan : what to grow.

    Raises
    ------
    DataError
        When a value does not fit float32.
    """
    from outgrow.ml.trees import kernels

    block = weighted(Block.joined(list(view.blocks())), plan)
    parameters, rounds, trees = plan.parameters, plan.rounds, plan.rounds * plan.outputs
    X, y = _features(block), np.asarray(plan.label(block), dtype=np.float32)
    weight = np.ones(len(block)) if block.weight is None else block.weight
    base = _base_scores(plan, y, weight)
    margin = np.repeat(_margins(plan, base)[:, None], len(block), axis=1)
    growth = kernels.Growth(
        rounds,
        int(parameters["max_depth"]) or len(block),
        int(parameters["max_bin"]),
        np.float32(parameters["learning_rate"]),
        *(_single(parameters[name]) for name in _PENALTIES),
    )
    nodes, sizes = Nodes.room((trees, _most_nodes(len(block), plan))), np.empty(trees, np.int32)
    by_value = np.argsort(X, axis=1).astype(np.int32)
    objective = kernels.OBJECTIVES[parameters["objective"]]
    kernels.boost(X, y, weight.astype(np.float32), by_value, objective, margin, growth, nodes, sizes)
    write = writer(parameters["objective"], parameters.get("num_class"), view.width, rounds)
    nodes = nodes.part(np.arange(nodes.left.shape[1]) < sizes[:, None])
    gains = nodes.gains(view.width)
    nothing = np.zeros(0)
    return Grown(write(nodes, sizes, base), rounds, gains, nothing, nothing, zeros_absent=False)


def _single(value: Any) -> float:
    """A number as XGBoost keeps it."""
    return float(np.float32(value))


def _features(block: Block) -> np.ndarray:
    """The features as float32, of shape (width, rows)."""
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(block.X.T, dtype=np.float32)
    if np.isinf(X).any():
        raise DataError(TOO_LARGE)
    refuse_vanishing(vanishing(block.X))
    return X


def _base_scores(plan: Plan, y: np.ndarray, weight: np.ndarray) -> list[float]:
    """Where XGBoost begins: what it was told, or centred logarithms of the classes' shares."""
    if plan.outputs == 1:
        return [float(plan.parameters["base_score"])]
    totals = np.bincount(y.astype(np.intp), weight, plan.outputs)
    logs = np.log(totals / totals.sum() + _EPSILON)
    return (logs - logs.mean()).tolist()


def _margins(plan: Plan, base: list[float]) -> np.ndarray:
    """The base scores on the scale on which trees add up."""
    scores = np.array(base, dtype=np.float32)
    if plan.parameters["objective"] == "binary:logistic":
        return -np.log(np.float32(1) / scores - np.float32(1))
    return scores


def _most_nodes(rows: int, plan: Plan) -> int:
    """How many nodes a tree can have: every split adds two, and every leaf has a row."""
    depth = int(plan.parameters["max_depth"]) or rows
    return min(2 ** min(depth + 1, 32), 2 * rows) - 1
