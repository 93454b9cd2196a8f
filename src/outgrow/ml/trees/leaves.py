"""How small the leaves of trees may be: what scikit-learn says in rows, in the weights that XGBoost "
"counts."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import Integer, Number, Share, Such

SMALLEST_LEAVES = {
    "min_samples_split": Integer(low=2) | Share(above=0, high=1),
    "min_samples_leaf": Integer(low=1) | Share(above=0, high=1),
    "min_weight_fraction_leaf": Number(low=0, high=0.5),
    "min_impurity_decrease": Number(low=0),
    "ccp_alpha": Such(
        "0",
        lambda value: value in Number() and value == 0,
        "Trees are not pruned by their complexity: give min_impurity_decrease, which ends them as they grow.",
    ),
}
"""The parameters that say when trees stop growing."""


def check_split(model: Any) -> None:
    """Refuse a `min_samples_split` that `min_samples_leaf` does not imply."""
    split, leaf = model.min_samples_split, model.min_samples_leaf
    implied = split == 2 or (isinstance(split, Integral) == isinstance(leaf, Integral) and split <= 2 * leaf)
    if not implied:
        raise ParameterError(
            f"{type(model).__name__}(min_samples_split={split!r}): XGBoost counts rows of leaves only. Give "
            f"min_samples_leaf={split / 2 if split < 1 else -(-split // 2)}, so that no node with fewer than "
            f"{split} rows is split."
        )


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


def least_split(model: Any, rows: int) -> float:
    """The least weight of a node that is split, as `min_samples_split` of a model says.

    Parameters
    ----------
    model : may lack it.
    rows : how many there are to learn from.

    Returns
    -------
    0 where `min_samples_leaf` implies it.
    """
    least = _row_count(model.min_samples_split, rows)
    return float(least) if least > 2 * max(1, _row_count(model.min_samples_leaf, rows)) else 0.0


def least_gain(decrease: float, weight: float, unit: float = 1.0) -> dict[str, float]:
    """XGBoost's parameter for what a split must gain; none for nothing.

    Parameters
    ----------
    decrease : of the impurity, for each weight.
    weight : of all rows together.
    unit : in which the trees learn y; the decrease is in its squares.
    """
    return {"gamma": decrease / unit / unit * weight} if decrease else {}
