"""Which trees have an equal in other forms."""

from __future__ import annotations

from typing import Any

from outgrow.ml.core.exports import refusal


def check_exportable(step: Any) -> None:
    """Refuse trees that other forms do not know: of several targets, or with categories that are no text."""
    if step.target_names_ is not None:
        raise refusal(step, "it answers several targets.", "Fit one model for each target.")
    for name, values in step.categories_.items():
        if any(not isinstance(value, str) for value in values):
            raise refusal(
                step,
                f"the numbers of column {name!r} are categories.",
                "Fit it with the column as text, or keep it with save().",
            )
