"""What is not exported: said by name, with the next step."""

from __future__ import annotations

from typing import Any

from outgrow.errors import ExportError


def refusal(step: Any, fact: str, advice: str) -> ExportError:
    """The error for a step, or something of this name, that another form cannot hold exactly."""
    name = step if isinstance(step, str) else type(getattr(step, "_exported", step)).__name__
    return ExportError(f"{name} cannot be exported exactly: {fact} {advice}")


def no_equal(step: Any, form: str) -> ExportError:
    """The error for a class that has no equal in a form."""
    return refusal(step, f"it has no equal in {form}.", "Keep it with save(), and answer with outgrow.")


def check_inherits_nothing(step: Any, hook: str, form: str) -> None:
    """Refuse a class of users whose base has a hook of an export: what it changed would be lost.

    Raises
    ------
    ExportError
        When the class is not of this package and does not implement the hook itself.
    """
    kind = type(step)
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    if not ours and hook not in vars(kind):
        raise no_equal(step, form)
