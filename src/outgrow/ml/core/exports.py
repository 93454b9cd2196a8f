"""What is not exported: said by name, with the next step."""

from __future__ import annotations

from typing import Any

from outgrow.errors import ExportError


def refusal(step: Any, fact: str, advice: str) -> ExportError:
    """The error for what another form cannot hold exactly.

    Parameters
    ----------
    step : the estimator that the message names, or its name; an adapter stands for what is in it.
    fact : what is in the way, as the rest of a sentence with its full stop.
    advice : what to do instead, as a sentence.
    """
    name = step if isinstance(step, str) else type(getattr(step, "_exported", step)).__name__
    return ExportError(f"{name} cannot be exported exactly: {fact} {advice}")


def no_equal(step: Any, form: str) -> ExportError:
    """The error for a class that has no equal in a form.

    Parameters
    ----------
    step : the estimator that the message names.
    form : 'ONNX' or 'scikit-learn'.
    """
    reason = getattr(step, "no_exports", {}).get(form)
    fact = f"it has no equal in {form}" + (f": {reason}." if reason else ".")
    return refusal(step, fact, "Keep it with save(), and answer with outgrow.")


def check_has_equal(step: Any, hook: str, form: str) -> None:
    """Refuse a step that says why it has no equal, or that has changed what a hook of its base exports.

    Parameters
    ----------
    step : an estimator, or a step of a pipeline.
    hook : the method that exports, `_to_onnx` or `_to_sklearn`.
    form : what it exports to, for the message.

    Raises
    ------
    ExportError
        When its `no_exports` names the form, or when the class is not of this package and does not implement
        the hook itself. A step that works on no column is not refused for what it would do.
    """
    if form in getattr(step, "no_exports", {}) and getattr(step, "selected_", True):
        raise no_equal(step, form)
    kind = type(step)
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    if not ours and hook not in vars(kind):
        raise no_equal(step, form)
