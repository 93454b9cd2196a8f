"""A trial as the code that is tried sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
import pyarrow as pa


class Pruned(Exception):  # noqa: N818  it is no error
    """The trial does worse than others did at this point, and ends here."""


@dataclass
class TrialContext:
    """What a function that is tuned may ask of its trial.

    Attributes
    ----------
    number : of the trial.
    parameters : what was chosen.
    data : the rows that were given to the search, mapped into memory, or None.
    """

    number: int
    parameters: Mapping[str, Any]
    data: pa.Table | None
    _tell: Callable[[float, int], bool] = field(repr=False, default=lambda value, step: False)

    def report(self, value: float, step: int) -> None:
        """Say how the trial does so far.

        Raises
        ------
        Pruned
            When it should end.
        """
        if self._tell(float(value), int(step)):
            raise Pruned


def is_pruned(error: BaseException) -> bool:
    """Whether this says that a trial was pruned, by our exception or by Optuna's."""
    return isinstance(error, Pruned | optuna.TrialPruned)
