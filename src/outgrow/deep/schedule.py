"""Learning rates over the steps of a training: pure functions, so that a resumed one needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from outgrow.errors import ParameterError


def _constant(share: float) -> float:
    return 1.0


def _linear(share: float) -> float:
    return 1.0 - share


def _cosine(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


SHAPES: dict[str, Callable[[float], float]] = {"constant": _constant, "linear": _linear, "cosine": _cosine}
"""By name, a factor of the share of the steps after the warm-up that are done."""

_WANTED = "Give a function of the step and of how many there are that returns a number of at least 0."


@dataclass(frozen=True)
class Schedule:
    """By what the learning rate is multiplied at each step.

    Parameters
    ----------
    shape : 'constant', 'linear' or 'cosine' (Loshchilov and Hutter 2017), down to zero; or a function of the
        step and of how many there are.
    warmup : the share of the steps in which the rate grows from zero to its full size, or, from 1 on, how
        many.

    Examples
    --------
    >>> from outgrow.deep.schedule import Schedule
    >>> [round(Schedule("cosine", warmup=2).factor(step, 6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """

    shape: str | Callable[[int, int], float] = "constant"
    warmup: float = 0

    def __post_init__(self) -> None:
        if not callable(self.shape) and self.shape not in SHAPES:
            raise ParameterError(f"lr_schedule={self.shape!r}: it is one of {list(SHAPES)}, or a function.")
        if not self.warmup >= 0:
            raise ParameterError(f"warmup={self.warmup!r}: a share of the steps, or how many.")

    def factor(self, step: int, steps: int) -> float:
        """The factor at a step.

        Parameters
        ----------
        step : counted from 0.
        steps : how many there are.

        Raises
        ------
        ParameterError
            When a function of the user's gives no number of at least 0.
        """
        if callable(self.shape):
            return self._asked(self.shape, step, steps)
        warm = round(self.warmup * steps) if self.warmup < 1 else int(self.warmup)
        if step < warm:
            return (step + 1) / warm
        return SHAPES[self.shape]((step - warm) / max(1, steps - warm))

    def _asked(self, shape: Callable[[int, int], float], step: int, steps: int) -> float:
        """What a function of the user's says."""
        try:
            answer = shape(step, steps)
            factor = float(answer)
        except TypeError as error:
            raise ParameterError(
                f"lr_schedule={shape!r} at step {step} of {steps}: {error}. {_WANTED}"
            ) from error
        if not 0 <= factor < math.inf:
            raise ParameterError(
                f"lr_schedule={shape!r} gave {answer!r} at step {step} of {steps}. {_WANTED}"
            )
        return factor
