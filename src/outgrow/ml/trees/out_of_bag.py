"""What the trees of a forest say of rows that they did not see (Breiman 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.trees.asking import answers
from outgrow.ml.trees.bagging import RowSample
from outgrow.ml.trees.plan import Plan, weighted
from outgrow.ml.trees.rows import Part, as_asked
from outgrow.stats.quantiles import Gathered


def out_of_bag(
    view: MatrixView, plan: Plan, booster: Any, zeros_absent: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The mean answer of the trees that did not see each row of this rank that weighs something.

    Of rows with the same features each tree sees a share; it counts by the share that it did not see, as if
    the rows had been drawn one by one.

    Parameters
    ----------
    view : the rows that the forest learned from.
    plan : what was grown; its `sample` says which rows each tree saw.
    booster : XGBoost's, with a tree for each of the plan's rounds.
    zeros_absent : as the trees learned; see `as_asked`.

    Returns
    -------
    means : ndarray of shape (rows, outputs); 0 for rows that every tree saw.
    unseen : ndarray of shape (rows,), how many trees did not see each.
    """
    assert plan.sample is not None
    part = Part(view, plan, zeros_absent)
    sample = RowSample.of(view.run.comm, part.hashes(), view.rows, plan.sample)
    blocks = [as_asked(block.X, zeros_absent, plan.numbers) for block in part.blocks()]
    rows = sum(block.shape[0] for block in blocks)
    total, unseen = np.zeros((rows, plan.targets)), np.zeros(rows)
    for tree in range(plan.rounds):
        out = sample.left_out(tree).astype(np.float64)
        said = [answers(booster, block, tree + 1, first=tree) for block in blocks if block.shape[0]]
        if said:
            total += out[:, None] * np.concatenate(said).reshape(rows, plan.targets)
        unseen += out
    trees = plan.rounds  # each answers its share of the mean
    return total * trees / np.where(unseen > 0, unseen, 1)[:, None], unseen


def beside(view: MatrixView, plan: Plan, means: np.ndarray) -> np.ndarray:
    """Answers in the order of all rows of this rank; NaN for those that weigh nothing.

    Parameters
    ----------
    view : the rows that the forest learned from.
    plan : its class weights decide too which rows weigh something.
    means : shape (rows, ...), of those that weigh something, as `out_of_bag` gives them.
    """
    found = np.full((sum(map(len, view.blocks())), *means.shape[1:]), np.nan)
    kept, start = [], 0
    for block in view.blocks():
        weight = np.ones(len(block)) if block.weight is None else block.weight
        if plan.factors is not None:
            weight = weight * plan.factors[block.y]
        kept.append(start + np.flatnonzero(weight > 0))
        start += len(block)
    found[np.concatenate(kept)] = means
    return found


def labels(view: MatrixView, plan: Plan) -> np.ndarray:
    """The y of the rows of this rank that weigh something.

    Parameters
    ----------
    view : the rows that the forest learned from.
    plan : its class weights decide too which rows weigh something.

    Returns
    -------
    Of shape (rows,) or (rows, targets), in the order of `out_of_bag`.
    """
    parts = [np.asarray(weighted(block, plan).y) for block in view.blocks()]
    return np.concatenate(parts) if parts else np.zeros((0, view.targets) if view.targets else 0)


def gathered(view: MatrixView, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """The columns of the rows of all ranks, one rank after the other."""
    run = view.run
    found: tuple[np.ndarray, ...] = run.call(lambda: run.combine(Gathered(columns))).values
    return found
