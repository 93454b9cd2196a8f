"""How parameters follow a gradient of a few rows: with momentum, or by Adam."""

from __future__ import annotations

from typing import Protocol

import numpy as np

LEAST_RATE = 1e-6
"""Of 'adaptive': a rate as small as this is not made smaller; the learning ends."""
_SMALLER = 5.0


class Update(Protocol):
    """Moves parameters."""

    def advance(self, w: np.ndarray, gradient: np.ndarray) -> None:
        """Change the parameters in place.

        Parameters
        ----------
        w : the parameters, of shape (size,).
        gradient : of the mean loss of the rows of the step, of the same shape.
        """

    def epoch_ends(self, rows: int) -> None:
        """Hear how many rows there have been, over all epochs."""

    def slower(self) -> bool:
        """Go on with smaller steps where nothing gets better; False where it cannot."""


class Momentum:
    """Gradient descent with momentum (Polyak 1964; Nesterov 1983).

    Parameters
    ----------
    size : how many parameters there are.
    rate : the learning rate at the beginning.
    schedule : 'constant'; 'invscaling', which divides the rate by the rows so far to the power `power`;
        'adaptive', which makes it smaller where nothing gets better.
    power : of 'invscaling'.
    momentum : the share of the last step that the next one keeps.
    nesterov : look ahead along it.
    """

    def __init__(
        self, size: int, rate: float, schedule: str, power: float, momentum: float, nesterov: bool
    ) -> None:
        self._first = self.rate = rate
        self._schedule, self._power, self._momentum, self._nesterov = schedule, power, momentum, nesterov
        self._velocity = np.zeros(size)

    def advance(self, w: np.ndarray, gradient: np.ndarray) -> None:
        """Take a step.

        Parameters
        ----------
        w, gradient : as for `Update`.
        """
        step = self.rate * gradient
        self._velocity *= self._momentum
        self._velocity -= step
        if self._nesterov:
            w += self._momentum * self._velocity
            w -= step
        else:
            w += self._velocity

    def epoch_ends(self, rows: int) -> None:
        if self._schedule == "invscaling":
            self.rate = self._first / (rows + 1) ** self._power

    def slower(self) -> bool:
        if self._schedule != "adaptive" or self.rate <= LEAST_RATE:
            return False
        self.rate /= _SMALLER
        return True


class Adam:
    """Steps of about one size for each parameter (Kingma and Ba 2015).

    Parameters
    ----------
    size : how many parameters there are.
    rate : the learning rate.
    beta_1, beta_2 : by what the means of gradients and of their squares keep their past.
    epsilon : is added to the root of the mean of squares.
    """

    def __init__(self, size: int, rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:
        self._rate, self._beta_1, self._beta_2, self._epsilon = rate, beta_1, beta_2, epsilon
        self._mean, self._squares, self._step = np.zeros(size), np.zeros(size), 0

    def advance(self, w: np.ndarray, gradient: np.ndarray) -> None:
        """Take a step.

        Parameters
        ----------
        w, gradient : as for `Update`.
        """
        self._step += 1
        self._mean *= self._beta_1
        self._mean += (1 - self._beta_1) * gradient
        gradient = gradient * gradient
        gradient *= 1 - self._beta_2
        self._squares *= self._beta_2
        self._squares += gradient
        rate = self._rate * np.sqrt(1 - self._beta_2**self._step) / (1 - self._beta_1**self._step)
        below = np.sqrt(self._squares, out=gradient)
        below += self._epsilon
        np.divide(self._mean, below, out=below)
        below *= rate
        w -= below

    def epoch_ends(self, rows: int) -> None:
        pass

    def slower(self) -> bool:
        return False
