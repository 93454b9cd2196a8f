"""What the models share that scikit-learn learns by stochastic gradient descent."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, Integer, Number, OneOf, Unused

PARAMETERS = {
    "penalty": OneOf("l2", "l1", "elasticnet", None),
    "alpha": Number(low=0),
    "l1_ratio": Number(low=0, high=1),
    "fit_intercept": FLAG,
    "max_iter": Integer(low=1),
    "tol": Number(low=0),
    "shuffle": FLAG,
    "verbose": Unused(),
    "random_state": RANDOM_STATE,
    "learning_rate": OneOf("optimal", "invscaling", "constant", "adaptive"),
    "eta0": Number(low=0),
    "power_t": Number(low=0),
    "early_stopping": Unused(),
    "validation_fraction": Unused(),
    "n_iter_no_change": Unused(),
    "warm_start": Unused(),
    "average": FLAG | Integer(low=0),
}
"""Of the classifier and the regressor: what no step depends on is unused."""
TOLD = ("loss", "penalty", "alpha", "l1_ratio", "fit_intercept", "max_iter", "epsilon")
"""Parameters that scikit-learn's equal is told."""


def strength(model: Any, total: float) -> tuple[float, float]:
    """What the absolute and half the squared coefficients cost beside the summed loss.

    Parameters
    ----------
    model : with `penalty`, `alpha` and `l1_ratio`.
    total : the weight of its rows: the loss is their mean, but it is their sum that is minimised.
    """
    whole = 0.0 if model.penalty is None else float(model.alpha) * total
    share = {"l1": 1.0, "l2": 0.0}.get(str(model.penalty), float(model.l1_ratio))
    return whole * share, whole * (1 - share)


def warn_unfinished(model: Any) -> None:
    """Warn that the passes were too few.

    Parameters
    ----------
    model : with `max_iter`.
    """
    warnings.warn(
        "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve "
        f"the fit: {model.max_iter} were not enough. Raise max_iter of {type(model).__name__}, scale the "
        "columns, or penalise more (a larger alpha).",
        ConvergenceWarning,
        stacklevel=2,
    )
