"""Conditions on rows."""

from __future__ import annotations

import pyarrow.compute as pc


def col(name: str) -> pc.Expression:
    """A column in a condition for `Dataset.where`: compare it, combine with `&`, `|`, `~`.

    Examples
    --------
    >>> import outgrow as og
    >>> (og.col("hour") > 6) & og.col("carrier").isin(["AA", "UA"])
    <pyarrow.compute.Expression ((hour > 6) and is_in(carrier, ...))>
    """
    return pc.field(name)
