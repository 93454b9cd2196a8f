"""A trial as the code that is tried sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
import pyarrow as pa

Outcome = tuple[Any, dict[str, Any]]
"""What a trial gives: values, or metrics by name; and details to be noted."""


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

    Examples
    --------
    >>> from outgrow.tuning.trial import TrialContext
    >>> trial = TrialContext(0, {"x": 1.0}, None)
    >>> trial.report(0.5, step=1)
    >>> trial.parameters["x"]
    1.0
    """

    number: int
    parameters: Mapping[str, Any]
    data: pa.Table | None
    _tell: Callable[[float, int], bool] = field(repr=False, default=lambda value, step: False)

    def report(self, value: float, step: int) -> None:
        """Report how the trial does so far.

        Parameters
        ----------
        value : the metric.
        step : how far the trial is; later steps have larger numbers.

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
