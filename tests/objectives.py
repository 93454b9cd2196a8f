"""What workers try in tests: here and not beside the tests, because each worker imports what it is in."""

from __future__ import annotations

from typing import Any


def square(parameters: dict[str, Any]) -> float:
    return (parameters["x"] - 3) ** 2
