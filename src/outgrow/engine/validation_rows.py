"""Rows that a fit does not learn from, on which it shows how well it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from outgrow.engine.matrix import MatrixView


MOMENTS = (1 / 12, 1 / 6, 1 / 3, 2 / 3)
"""After which share of its rounds a fit shows how it does: each has twice the rounds of the one before."""


@dataclass(eq=False)
class ValidationRows:
    """The rows at some places, as whoever judges a fit sees them.

    Attributes
    ----------
    keep : of shape (places,), whether the rows at a place are watched.
    tell : called at `MOMENTS` by fits that can, with the share of the rounds that is done and what the model
        then answers for the watched rows; what it raises ends the fit. None where nobody asks before the end.
    view : the watched rows as the model gets them; known once the model has asked for those it learns from.
    """

    keep: np.ndarray
    tell: Callable[[float, Any], None] | None = None
    view: MatrixView | None = None

    @property
    def rows(self) -> MatrixView:
        """The watched rows as the model gets them, for whoever comes after it has asked for its own."""
        assert self.view is not None
        return self.view
