"""Ranks learn by themselves for long, and an optimizer of its own takes their changes for a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outgrow._settings import is_real
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.seldom import Seldom, check_every
from outgrow.deep.strategies.strategy import Running, Strategy, check_ways
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica


@dataclass(frozen=True)
class DiLoCo(Strategy):
    """Each rank takes `every` steps by itself, with its optimizer's own state; how the ranks changed in the
    mean is then the gradient of an outer step with Nesterov's momentum (Douillard et al. 2023).

    Parameters
    ----------
    every : steps between two merges.
    outer_lr : learning rate of the outer step.
    outer_momentum : of the outer step.
    codec : how changes are written on the way; `og.TopK(0.01)` is SparseLoCo's way (Sarfi et al. 2025).

    Raises
    ------
    ParameterError
        When a number does not fit.

    Examples
    --------
    >>> import outgrow as og
    >>> og.DiLoCo(every=100, codec=og.TopK(0.01))
    DiLoCo(every=100, outer_lr=0.7, outer_momentum=0.9, codec=TopK(share=0.01))
    """

    every: int = 100
    outer_lr: float = 0.7
    outer_momentum: float = 0.9
    codec: Codec | None = None

    def __post_init__(self) -> None:
        check_every(self)
        check_ways(self)
        numbers = is_real(self.outer_lr) and is_real(self.outer_momentum)
        if not (numbers and self.outer_lr > 0 and 0 <= self.outer_momentum < 1):
            raise ParameterError(
                f"outer_lr={self.outer_lr!r}, outer_momentum={self.outer_momentum!r}: the first above 0, the "
                "second at least 0 and below 1."
            )

    @property
    def elastic(self) -> bool:  # type: ignore[override]
        return self.codec is None

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.
        """
        assert links is not None
        return _Running(self, replica, links)


class _Running(Seldom):
    def __init__(self, strategy: DiLoCo, replica: Replica, links: Links) -> None:
        super().__init__(replica, links, strategy.every, strategy.codec)
        self._strategy = strategy
        self.memory["momentum"] = np.zeros(len(replica.parameters), np.float32)

    def _go_on(self, change: np.ndarray) -> np.ndarray:
        momentum, outer = self.memory["momentum"], self._strategy
        size = len(momentum)
        momentum *= np.float32(outer.outer_momentum)
        momentum += change[:size]
        ahead = change[:size] + np.float32(outer.outer_momentum) * momentum
        return np.concatenate([np.float32(outer.outer_lr) * ahead, change[size:]])  # buffers: their mean
