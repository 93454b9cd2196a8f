"""Which rows boosting holds out, and what scores them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from outgrow.data.hashing import seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.trees.plan import Plan
from outgrow.ml.trees.rows import Part, key_hashes
from outgrow.stats.quantiles import Gathered, quantiles

_HELD_OUT = 101
"""What is added to the seed, so that this choice of rows depends on no other."""


def split(view: MatrixView, plan: Plan, zeros_absent: bool) -> list[Part]:
    """All rows to learn from; or those, and the ones held out by hashes that chose no bins.

    Parameters
    ----------
    view, plan : the rows, and what to grow of them.
    zeros_absent : whether zeros count as missing.

    Raises
    ------
    DataError
        When rows were to be held out and none are on one of the sides.
    """
    if not plan.held_out:
        return [Part(view, plan, zeros_absent)]
    held = _held_out(view, plan)
    rows = np.array([sum(int((~mask).sum()) for mask in held), sum(int(mask.sum()) for mask in held)])
    learned, watched = view.run.combine(rows.astype(np.float64)).astype(int).tolist()
    if not learned or not watched:
        roles = {role for block in view.blocks() for role in block.roles}
        why = ", as keys are held out whole" if plan.held_by in roles else ""
        why = ", as rows of one moment stay together" if plan.held_after in roles else why
        raise DataError(
            f"validation_fraction={plan.held_out} leaves {learned} row(s) to learn from and {watched} to "
            f"watch{why}. Give more rows, another fraction, or early_stopping=False."
        )
    return [Part(view, plan, zeros_absent, [~mask for mask in held]), Part(view, plan, zeros_absent, held)]


def _held_out(view: MatrixView, plan: Plan) -> list[np.ndarray]:
    """Which rows of each block only watch: by their hash, that of their key, or their moment."""
    blocks = list(view.blocks())
    timed = np.array([float(any(plan.held_after in block.roles for block in blocks))])
    if plan.held_after is None or not view.run.combine(timed)[0]:
        return [unit(_hashes(block, plan)) < plan.held_out for block in blocks]
    times = [block.roles[plan.held_after] for block in blocks]
    weighing = [
        part if block.weight is None else part[block.weight > 0]
        for part, block in zip(times, blocks, strict=True)
    ]
    own = np.concatenate([*weighing, np.zeros(0)])
    found, _ = quantiles(
        lambda fold: view.run.combine(fold(own[:, None])), 1, [1 - plan.held_out], "averaged_inverted_cdf"
    )
    border = found[0, 0]
    later = view.run.combine(np.array([np.count_nonzero(own > border)], dtype=np.float64))
    return [part > border if later[0] else part >= border for part in times]


def _hashes(block: Block, plan: Plan) -> np.ndarray:
    """By what rows are held out: the hash of each, or of its key."""
    if plan.held_by is None or plan.held_by not in block.roles:
        return block.hashes(plan.seed + _HELD_OUT)
    return seeded(key_hashes(block.roles[plan.held_by]), plan.seed + _HELD_OUT)


def judge_of(view: MatrixView, plan: Plan, zeros_absent: bool) -> Callable[[np.ndarray], float] | None:
    """What scores the answers for the watched rows of all ranks; None where the loss decides.

    Parameters
    ----------
    view, plan, zeros_absent : as for `split`.
    """
    if plan.stop is None or plan.stop.score is None:
        return None
    comm, score = view.run.comm, plan.stop.score
    part = split(view, plan, zeros_absent)[-1]
    own = Block.joined(list(part.blocks()) or [part.nothing()])
    X = own.X.toarray() if is_sparse(own.X) else own.X
    assert own.y is not None
    weight = np.zeros(0) if own.weight is None else own.weight
    features, y, weights = comm.allreduce(Gathered((X, own.y, weight))).values

    shape = (len(own), plan.outputs) if plan.outputs > 1 else (len(own),)

    def judge(answered: np.ndarray) -> float:
        (every,) = comm.allreduce(Gathered((answered.reshape(shape),))).values
        return score(features, y, weights if len(weights) == len(y) else None, every)

    return judge
