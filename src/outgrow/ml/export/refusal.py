"""What is not exported: said by name, with the next step."""

from __future__ import annotations

from typing import Any

from outgrow.errors import ExportError
from outgrow.ml.adapters import Foreign
from outgrow.ml.base import Estimator
from outgrow.ml.dummy import DummyClassifier


def refusal(step: Estimator | str, fact: str, advice: str) -> ExportError:
    """The error for a step that cannot be held exactly."""
    meant = step.estimator if isinstance(step, Foreign) else step
    name = meant if isinstance(meant, str) else type(meant).__name__
    return ExportError(f"{name} cannot be exported exactly: {fact} {advice}")


def unknown(step: Estimator, form: str) -> ExportError:
    """The error for a class that has no such form."""
    return refusal(step, f"it has no equal in {form}.", "Keep it with save(), and answer with outgrow.")


def check_certain(model: DummyClassifier) -> None:
    """Refuse a model whose answers follow from the hashes of rows, or are classes of several targets."""
    if model.target_names_ is not None:
        raise refusal(model, "it answers several targets.", "Fit one model for each target.")
    if model.draws:
        raise refusal(
            model, f"strategy={model.strategy!r} draws by the hashes of rows.", "Use 'prior' or 'constant'."
        )


def check_trees(step: Any) -> None:
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
