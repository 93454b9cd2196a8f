"""Losses of models that are no linear ones, with the derivatives by what these add up for each row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logsumexp, softmax, xlogy

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The loss of each row and its derivative by the last sums, from y and these, of shape (rows, outputs)."""


def half_square(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the squared error.

    Parameters
    ----------
    y, z : as `Loss` takes them.
    """
    rest = z - y
    return 0.5 * np.einsum("ij,ij->i", rest, rest), rest


def half_poisson(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the deviance of counts whose logarithms of means are the sums.

    Parameters
    ----------
    y, z : as `Loss` takes them.
    """
    mean = np.exp(z)
    return (xlogy(y, y) - y * z - y + mean).sum(axis=1), mean - y


def log_loss_of_two(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log loss of the second of two classes.

    Parameters
    ----------
    y, z : as `Loss` takes them, with one output.
    """
    return (np.logaddexp(0.0, z) - y * z)[:, 0], expit(z) - y


def log_loss_of_many(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log loss of several classes.

    Parameters
    ----------
    y, z : as `Loss` takes them, y with a one for the class.
    """
    return logsumexp(z, axis=1) - (y * z).sum(axis=1), softmax(z, axis=1) - y
