"""What scikit-learn says of how features may act, in XGBoost's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from outgrow.errors import ParameterError


def monotone(constraints: Any, features: Sequence[str], width: int) -> dict[str, Any]:
    """XGBoost's parameter for `monotonic_cst`.

    Raises
    ------
    ParameterError
        When they are not one of -1, 0 and 1 for each feature.
    """
    if constraints is None:
        return {}
    if isinstance(constraints, Mapping):
        unknown = [name for name in constraints if name not in features]
        if unknown or len(features) != width:
            raise ParameterError(
                f"monotonic_cst names {unknown or list(constraints)}; it names columns of single numbers "
                f"among {list(features)[:20]}. Or give one of -1, 0 and 1 for each of the {width} features."
            )
        constraints = [constraints.get(name, 0) for name in features]
    signs = np.asarray(constraints)
    if signs.shape != (width,) or not np.isin(signs, (-1, 0, 1)).all():
        raise ParameterError(
            f"monotonic_cst={constraints!r}: it is one of -1, 0 and 1 for each of the {width} features."
        )
    return {"monotone_constraints": f"({','.join(str(int(sign)) for sign in signs)})"} if signs.any() else {}


def interactions(constraints: Any, width: int) -> dict[str, Any]:
    """XGBoost's parameter for `interaction_cst`.

    Raises
    ------
    ParameterError
        When they are not groups of numbers of features.
    """
    if constraints is None:
        return {}
    if isinstance(constraints, str):
        if constraints not in ("pairwise", "no_interactions"):
            raise ParameterError(
                f"interaction_cst={constraints!r}: give 'pairwise', 'no_interactions' or groups of features."
            )
        size = 2 if constraints == "pairwise" else 1
        constraints = list(combinations(range(width), min(size, width)))
    try:
        groups = [sorted({int(feature) for feature in group}) for group in constraints]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"interaction_cst={constraints!r}: it is a sequence of groups of numbers of features."
        ) from error
    named = {feature for group in groups for feature in group}
    if not named <= set(range(width)):
        raise ParameterError(f"interaction_cst={constraints!r}: features are numbered from 0 to {width - 1}.")
    rest = [feature for feature in range(width) if feature not in named]
    return {"interaction_constraints": str([*groups, *([rest] if rest else [])])}
