"""What a model learns from beside features, y and weights: which of it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.errors import ParameterError


def checked_roles(
    roles: Mapping[str, bool], given: Mapping[str, Any], verb: str, prefix: str = ""
) -> dict[str, Any]:
    """The roles that are given; None is none.

    Parameters
    ----------
    roles : those that there are, and whether they are needed.
    given : what each role is, by its name.
    verb : what was called, for the message.
    prefix : what stands before the names of the roles there.

    Raises
    ------
    ParameterError
        When there is no such role, or a needed one is not given.
    """
    found = {role: value for role, value in given.items() if value is not None}
    unknown = sorted(set(found) - set(roles))
    lacking = [role for role, needed in roles.items() if needed and role not in found]
    if unknown or lacking:
        wrong = f"does not accept the {unknown[0]} parameter" if unknown else f"needs {prefix}{lacking[0]}"
        taken = ", ".join(["sample_weight", *(f"{prefix}{role}" for role in roles)])
        raise ParameterError(f"{verb} {wrong}. It takes {taken}.")
    return found
