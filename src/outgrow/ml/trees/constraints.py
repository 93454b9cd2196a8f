"""What scikit-learn says of how features may act, in XGBoost's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from outgrow.errors import ParameterError

NO_ORDER_OF_CLASSES = (
    "monotonic constraints are not supported for multiclass classification: monotonic_cst says how "
    "the chance "
    "of the second of two classes may go, and there are {} classes. Leave it out."
)


def monotone(constraints: Any, features: Sequence[str], width: int, owner: str) -> dict[str, Any]:
    """XGBoost's parameter for `monotonic_cst`; none where nothing is constrained.

    Parameters
    ----------
    constraints : -1, 0 or 1 for each feature, or by the name of some; None for none.
    features : names of the columns; vectors are one.
    width : how many features there are, vectors spelt out.
    owner : the name of the class, for messages.

    Raises
    ------
    ParameterError
        When they are not one of -1, 0 and 1 for each feature.
    """
    signs = _directions(constraints, features, width, owner)
    return {"monotone_constraints": f"({','.join(str(int(sign)) for sign in signs)})"} if signs.any() else {}


def _directions(constraints: Any, features: Sequence[str], width: int, owner: str) -> np.ndarray:
    """-1, 0 or 1 for each feature."""
    if constraints is None:
        return np.zeros(width)
    if isinstance(constraints, Mapping):
        constraints = _by_name(constraints, features, width, owner)
    signs = np.asarray(constraints)
    if signs.shape != (width,):
        raise ParameterError(
            f"monotonic_cst has shape {signs.shape} but the input data X has {width} features: it is "
            "one of -1, "
            "0 and 1 for each."
        )
    if not np.isin(signs, (-1, 0, 1)).all():
        raise ParameterError(
            f"monotonic_cst must be an array-like of -1, 0 or 1. Observed values: "
            f"{np.unique(signs).tolist()}."
        )
    return signs


def _by_name(constraints: Mapping[Any, Any], features: Sequence[str], width: int, owner: str) -> list[Any]:
    unknown = sorted(str(name) for name in constraints if name not in features)
    if unknown and not any(name in features for name in constraints):
        raise ParameterError(
            f"{owner} was not fitted on data with feature names. Pass monotonic_cst as an integer "
            "array instead. "
            f"It names {unknown[:5]}; the columns are {list(features)[:20]}."
        )
    if unknown:
        shown = [*unknown[:5], "..."] if len(unknown) > 5 else unknown
        raise ParameterError(
            f"monotonic_cst contains {len(unknown)} unexpected feature names: {shown}. "
            f"The columns are {list(features)[:20]}."
        )
    if len(features) != width:
        raise ParameterError(
            f"monotonic_cst names columns, but there are vectors among {list(features)[:20]}. Give "
            "one of -1, 0 "
            f"and 1 for each of the {width} features."
        )
    for name, sign in constraints.items():
        if not (isinstance(sign, int | float | np.number) and sign in (-1, 0, 1)):
            raise ParameterError(f"monotonic_cst[{name!r}] must be either -1, 0 or 1. Got {sign!r}.")
    return [constraints.get(name, 0) for name in features]


def interactions(constraints: Any, features: Sequence[str], width: int) -> dict[str, Any]:
    """XGBoost's parameter for `interaction_cst`; none where nothing is constrained.

    Parameters
    ----------
    constraints : as for `interaction_groups`, also with names of columns.
    features : names of the columns; vectors are one.
    width : how many features there are.

    Raises
    ------
    ParameterError
        When they are not groups of features.
    """
    groups = interaction_groups(_numbered(constraints, features, width), width)
    return {} if groups is None else {"interaction_constraints": str([sorted(group) for group in groups])}


def _numbered(constraints: Any, features: Sequence[str], width: int) -> Any:
    """The groups with numbers in place of the names of columns."""
    if constraints is None or isinstance(constraints, str) or not isinstance(constraints, Iterable):
        return constraints
    groups = list(constraints)
    if strings := [group for group in groups if isinstance(group, str)]:
        raise ParameterError(
            f"interaction_cst has {strings[:5]} among its groups. A group is a list of features: "
            f"[[{strings[0]!r}, ...]]."
        )
    groups = [list(group) if isinstance(group, Iterable) else group for group in groups]
    named = {part for group in groups if isinstance(group, list) for part in group if isinstance(part, str)}
    if not named:
        return groups
    if unknown := sorted(named - set(features)):
        raise ParameterError(
            f"interaction_cst names {unknown[:5]}, which are no features. The columns are "
            f"{list(features)[:20]}."
        )
    if len(features) != width:
        raise ParameterError(
            f"interaction_cst names columns, but there are vectors among {list(features)[:20]}. Give numbers "
            f"from 0 to {width - 1}."
        )
    places = {name: place for place, name in enumerate(features)}
    return [
        [places.get(part, part) for part in group] if isinstance(group, list) else group for group in groups
    ]


def interaction_groups(constraints: Any, width: int) -> list[set[int]] | None:
    """The groups of features that may follow one another in a tree; those in none make one more.

    Parameters
    ----------
    constraints : groups of numbers of features, 'pairwise', 'no_interactions', or None.
    width : how many features there are.

    Returns
    -------
    None where nothing is constrained.

    Raises
    ------
    ParameterError
        When they are not groups of numbers of features.
    """
    if constraints is None:
        return None
    if isinstance(constraints, str):
        if constraints not in ("pairwise", "no_interactions"):
            raise ParameterError(
                f"interaction_cst={constraints!r}: give 'pairwise', 'no_interactions' or groups of features."
            )
        size = 2 if constraints == "pairwise" else 1
        constraints = list(combinations(range(width), min(size, width)))
    try:
        groups = [set(group) for group in constraints]
    except TypeError as error:
        raise ParameterError(
            "Interaction constraints must be a sequence of tuples or lists (or sets) of numbers of features, "
            f"got: interaction_cst={constraints!r}."
        ) from error
    named = {feature for group in groups for feature in group}
    whole = all(isinstance(feature, int | np.integer) for feature in named)
    if not whole or not named <= set(range(width)):
        raise ParameterError(
            f"Interaction constraints must consist of integer indices in [0, n_features - 1] = [0, "
            f"{width - 1}], "
            f"specifying the position of features, got: interaction_cst={constraints!r}."
        )
    rest = set(range(width)) - named
    return [{int(feature) for feature in group} for group in groups] + ([rest] if rest else [])
