"""Where the absolute loss beyond a tube is least, which has no curvature."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.kinks import Kinks, KinkSearch, check_search
from outgrow.ml.solvers.losses import SmoothedInsensitive
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets
from outgrow.stats.moments import Moments


def insensitive_minimum(
    rows: FoldedView, objective: Objective, y: Moments, epsilon: float, who: str
) -> tuple[np.ndarray, float, KinkSearch]:
    """Minimise how far residuals exceed a size, summed, plus a squared penalty.

    Parameters
    ----------
    rows : one fold.
    objective : of one candidate; its loss does not matter.
    y : of the target.
    epsilon : residuals up to this size cost nothing.
    who : the class that an error names.

    Returns
    -------
    Coefficients of shape (width,), the intercept, and the search that found them.

    Raises
    ------
    DataError, ParameterError
        When there are too many features, or another penalty.
    """
    check_search(objective, who)
    offsets = Offsets.of(rows.view, intercept=objective.intercept)

    def kinks(block: Block) -> Kinks:
        values = np.asarray(block.y)
        cost = np.ones(len(values)) if block.weight is None else block.weight
        sign = np.repeat([[1.0], [-1.0]], len(values), axis=1)
        return sign, sign * values - epsilon, np.stack([cost, cost])

    deviation, mean = float(np.sqrt(y.variance()[0])), float(y.mean[0])
    size = (deviation if objective.intercept else float(np.hypot(deviation, mean))) or 1.0
    shifted = replace(rows, view=offsets.apply(rows.view))
    search = KinkSearch(
        shifted, objective, partial(SmoothedInsensitive, epsilon), kinks, offsets.spread, size
    )
    coef, constants = objective.unpack(search.best(mean))
    intercept = float(offsets.restore(coef, constants)[0]) if objective.intercept else 0.0
    return coef[0], intercept, search
