"""What a trial of a function does: call it. A worker needs nothing for it that fits estimators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.tuning.trial import Outcome, TrialContext


@dataclass(frozen=True)
class FunctionObjective:
    """Call a function with the parameters, and with the trial if it takes two arguments."""

    function: Callable[..., Any]

    def __call__(self, trial: TrialContext) -> Outcome:
        takes = len(inspect.signature(self.function).parameters)
        given = (dict(trial.parameters), trial)[:takes]
        returned = self.function(*given)
        if isinstance(returned, Mapping):
            return {name: float(value) for name, value in returned.items()}, {}
        values = list(returned) if isinstance(returned, Sequence | np.ndarray) else [returned]
        return [float(value) for value in values], {}
