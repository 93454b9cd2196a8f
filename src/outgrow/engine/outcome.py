"""What a fold gave, or why it could give nothing: failures that all ranks learn of and survive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outgrow import errors
from outgrow.errors import OutgrowError
from outgrow.stats.state import State, merge


@dataclass(frozen=True, eq=False)
class Outcome(State):
    """The result of a fold; or the kind and the message of the error that ended it.

    Of several errors the first in the alphabet stays, so that every order of rows tells the same.
    """

    value: Any
    kind: str = ""
    message: str = ""

    @classmethod
    def failed(cls, error: OutgrowError) -> Outcome:
        return cls(None, type(error).__name__, str(error))

    def merge(self, other: Outcome) -> Outcome:
        failures = [each for each in (self, other) if each.kind]
        if failures:
            return min(failures, key=lambda each: (each.kind, each.message))
        return Outcome(merge(self.value, other.value))

    def get(self) -> Any:
        """The result; what ended the fold is raised."""
        error = self.error()
        if error is not None:
            raise error
        return self.value

    def error(self) -> OutgrowError | None:
        """The error, if there was one."""
        if not self.kind:
            return None
        kind: type[OutgrowError] = getattr(errors, self.kind, OutgrowError)
        return kind(self.message)


def guarded(fold: Callable[[Any], Any]) -> Callable[[Any], Outcome]:
    """The fold, with errors raised on purpose as outcomes."""

    def attempt(item: Any) -> Outcome:
        try:
            return Outcome(fold(item))
        except OutgrowError as error:
            return Outcome.failed(error)

    return attempt
