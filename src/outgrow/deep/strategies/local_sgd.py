"""Ranks learn by themselves, and now and then become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.seldom import Seldom, check_every
from outgrow.deep.strategies.strategy import Running, Strategy, check_ways
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.robust import Merge

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica


@dataclass(frozen=True)
class LocalSGD(Strategy):
    """Each rank takes `every` steps by itself; then all go on from the mean of what they have learned (Stich
    2019), or of how it changed, where a codec writes that.

    Parameters
    ----------
    every : steps between two merges.
    codec : how changes are written on the way; None for as they are.
    merge : what becomes one of the ranks' changes where some may be wrong or lie, instead of their mean.
    warmup : so many steps at the beginning are each followed by a merge (post-local SGD, Lin et al. 2020).

    Raises
    ------
    ParameterError
        When `every` or `warmup` is no number of steps, or codec and merge are both given.

    Examples
    --------
    >>> import outgrow as og
    >>> og.LocalSGD(every=16, codec=og.Bfloat16())
    LocalSGD(every=16, codec=Bfloat16(), merge=None, warmup=0)
    """

    every: int = 32
    codec: Codec | None = None
    merge: Merge | None = None
    warmup: int = 0

    def __post_init__(self) -> None:
        check_every(self)
        check_ways(self)
        if not is_whole(self.warmup, 0):
            raise ParameterError(f"LocalSGD(warmup={self.warmup!r}): steps, from 0.")
        if self.codec is not None and self.merge is not None:
            raise ParameterError("LocalSGD takes a codec or a merge: a merge looks at changes as they are.")

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
        return _Running(replica, links, self.every, self.codec, self.merge, self.warmup)


class _Running(Seldom):
    def _go_on(self, change: np.ndarray) -> np.ndarray:
        return change
