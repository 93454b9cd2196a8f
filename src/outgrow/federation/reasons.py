"""What one end of a federation tells the others of an error, and what those raise then."""

from __future__ import annotations

from outgrow import errors
from outgrow.engine.peer import Cause
from outgrow.errors import EngineError, OutgrowError, PrivacyError


def raised_there(cause: Cause) -> OutgrowError:
    """The error that another end of the federation raised, as far as it told."""
    name, _, text = cause.reason.partition(": ")
    kind = getattr(errors, name, None)
    where = "(the coordinator)" if cause.rank == 0 else f"(site {cause.host!r})"
    if isinstance(kind, type) and issubclass(kind, OutgrowError):
        return kind(f"{text} {where}")
    return EngineError(f"{cause.reason} {where}")


def reason_of(error: BaseException) -> str:
    """What is told of an error: the text of ours, and of others only the kind, whose text may quote a row."""
    if isinstance(error, PrivacyError | EngineError):
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__}: it failed there; the log of that process says more"
