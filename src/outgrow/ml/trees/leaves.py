"""How small the leaves of trees may be: what scikit-learn says in rows, in the weights that XGBoost "
"counts."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from outgrow.errors import ParameterError
from outgrow.ml.core import parameters as check


def check_leaves(model: Any) -> None:
    """Check what a model says of the least sizes of leaves and of nodes that are split."""
    check_rows(model, "min_samples_leaf", 1)
    check_rows(model, "min_samples_split", 2)
    check.number(model, "min_weight_fraction_leaf", low=0, high=0.5)
    check.number(model, "ccp_alpha", low=0)
    if model.ccp_alpha:
        raise ParameterError(
            f"{type(model).__name__}(ccp_alpha={model.ccp_alpha!r}): trees are not pruned by their "
            "complexity. "
            "Leave it 0, and give min_impurity_decrease, which ends them as they grow."
        )
    split, leaf = model.min_samples_split, model.min_samples_leaf
    implied = split == 2 or (isinstance(split, Integral) == isinstance(leaf, Integral) and split <= 2 * leaf)
    if not implied:
        raise ParameterError(
            f"{type(model).__name__}(min_samples_split={split!r}): XGBoost counts rows of leaves only. Give "
            f"min_samples_leaf={split / 2 if split < 1 else -(-split // 2)}, so that no node with fewer than "
            f"{split} rows is split."
        )


def check_rows(model: Any, name: str, low: int) -> None:
    """Refuse a parameter that is neither a number of rows nor a share of them.

    Parameters
    ----------
    model : has the parameter as an attribute.
    name : of the parameter.
    low : the least number of rows; a share is above 0 and at most 1.

    Raises
    ------
    ParameterError
        When it is neither.
    """
    if isinstance(getattr(model, name), Integral):
        check.integer(model, name, low=low)
    else:
        check.number(model, name, above=0, high=1)


def _row_count(wish: float, rows: int) -> int:
    """A number of rows, or a share of them, as a number."""
    return int(wish) if isinstance(wish, Integral) else int(np.ceil(wish * rows))


def least_weight(model: Any, rows: int, weight: float) -> float:
    """The least weight of a leaf, as `min_samples_leaf` and `min_weight_fraction_leaf` of a model say.

    Parameters
    ----------
    model : may lack the latter.
    rows : how many there are to learn from.
    weight : what they weigh together.

    Returns
    -------
    0 where a row is enough.
    """
    least = _row_count(model.min_samples_leaf, rows)
    share = getattr(model, "min_weight_fraction_leaf", 0.0)
    return max(float(least) if least > 1 else 0.0, float(share) * weight)


def least_gain(decrease: float, weight: float, unit: float = 1.0) -> dict[str, float]:
    """XGBoost's parameter for what a split must gain; none for nothing.

    Parameters
    ----------
    decrease : of the impurity, for each weight.
    weight : of all rows together.
    unit : in which the trees learn y; the decrease is in its squares.
    """
    return {"gamma": decrease / unit / unit * weight} if decrease else {}
