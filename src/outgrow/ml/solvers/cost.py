"""What a pass over rows costs, estimated alike on every rank, and which method is cheapest."""

from __future__ import annotations

from dataclasses import dataclass

from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.objective import Objective

_FLOPS = 2.5e10
"""Of matrix products, on one core."""
_NUMBER = 6e-10
"""Seconds to read one number of the rows."""
_STORED = 4e-9
"""Seconds to read one stored number of sparse rows and to add it where it belongs."""
_ROW, _SCORE = 1.5e-8, 5e-9
"""Seconds for the loss of a row, and for each of its scores, with first derivatives."""
_PAIR = 3e-9
"""Seconds for the second derivative of a pair of scores of a row."""
THIN, THIN_ROWS, THIN_SIZES = 16, 4_000, 8
"""One in how many rows is taken to tell where to begin, and how many must be left: so many, and so many times
the parameters."""
_MOMENT = 0.2
"""Seconds that nobody minds, where a method turns out to be slow."""
LARGEST = 4_096
"""Parameters of which a matrix of second derivatives is held at all."""
_STEPS, _PASSES, _PASSES_L1 = 6, 40, 300
"""Of Newton's method, of quasi-Newton methods, and of the latter with an absolute penalty."""


@dataclass(frozen=True)
class Cost:
    """What passes over some rows cost for some candidates.

    Attributes
    ----------
    gradient : seconds of a pass that gives losses and gradients.
    curvature : seconds that second derivatives add to it.
    factor : seconds to solve equations of all parameters.
    """

    gradient: float
    curvature: float
    factor: float

    @classmethod
    def of(cls, view: MatrixView, objective: Objective, share: float = 1.0) -> Cost:
        """What passes over a view, or a share of its rows, cost.

        Parameters
        ----------
        view : the rows; their number over all ranks, how dense they are, and the workers of its run count.
        objective : how many candidates, scores and parameters there are; their values do not matter.
        share : of the rows, in (0, 1], that a pass goes over.
        """
        return cls.of_stack(view, objective, len(objective.folds), share)

    @classmethod
    def of_stack(cls, view: MatrixView, objective: Objective, stack: int, share: float = 1.0) -> Cost:
        """The same for so many candidates like those of an objective.

        Parameters
        ----------
        view, objective, share : as for `of`.
        stack : how many.
        """
        rows, cells, scores = view.rows * share, view.cells * share, stack * objective.scores
        read = cells * (_STORED * scores if view.sparse else _NUMBER + 4 * scores / _FLOPS)
        pairs = stack * (1.0 if objective.scores == 1 else float(objective.scores * (objective.scores + 1)))
        bend = rows * pairs * (objective.side**2 / _FLOPS + _PAIR)
        workers = view.run.workers
        return cls(
            (read + rows * (stack * _ROW + scores * _SCORE)) / workers + view.run.pass_seconds,
            bend / workers,
            stack * objective.size**3 / 3 / _FLOPS,
        )


def thinning(rows: int, size: int) -> int:
    """One in how many rows is to be taken to tell where to begin; 1 where that does not pay.

    Parameters
    ----------
    rows : how many there are over all ranks.
    size : parameters of one candidate; no fewer than `THIN_SIZES` rows for each are left.
    """
    step = min(THIN, rows // max(THIN_ROWS, THIN_SIZES * size))
    return step if step >= 4 else 1


def by_newton(view: MatrixView, objective: Objective, *, near: bool = False) -> bool:
    """Whether second derivatives pay, rather than more passes; never past `LARGEST` parameters.

    Parameters
    ----------
    view : the rows that are fitted, of which the first steps may take a share.
    objective : the candidates, all of which take the same method; with an absolute penalty for any of them,
        more passes are expected of the other.
    near : the parameters to begin with are those of fewer features, and few digits are asked for: no share of
        the rows tells more, and other methods take a few passes, absolute penalty or not.
    """
    if objective.size > LARGEST:
        return False
    whole, step = Cost.of(view, objective), 1 if near else thinning(view.rows, objective.size)
    part = whole if step == 1 else Cost.of(view, objective, 1 / step)
    newton = _STEPS * (part.gradient + part.curvature + part.factor)
    if step > 1:
        newton += _STEPS * (whole.gradient + whole.factor)
    passes = _PASSES_L1 if objective.l1.any() and not near else _PASSES
    # without second derivatives, candidates are fitted one after the other
    alone = Cost.of_stack(view, objective, 1)
    return newton < passes * len(objective.folds) * alone.gradient


def shares_curvature(view: MatrixView, objective: Objective, steps: int = 0) -> bool:
    """Whether the products of the features, from some of the rows, pay for a quasi-Newton method.

    Parameters
    ----------
    view : the rows that are fitted.
    objective : with an absolute penalty, or more than `LARGEST` parameters of a score, they never do.
    steps : how many have been made without them. The first guess is of half of the usual passes; who has made
        many steps will make as many again, or wait for a moment.
    """
    if objective.side > LARGEST or objective.l1.any():
        return False
    rows = min(view.rows, max(THIN_ROWS, THIN_SIZES * objective.side))
    once = (rows / view.run.workers + objective.side / 3) * objective.side**2 / _FLOPS
    each = 2 * objective.scores * objective.side**2 / _FLOPS
    passes = max(steps, _PASSES // 2)
    spared = passes * (Cost.of(view, objective).gradient - each)
    return once < (spared + _MOMENT if steps else spared)
