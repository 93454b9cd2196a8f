"""How many threads XGBoost may take."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import threadpool_limits


class _OpenMP:
    """Whether the threads of OpenMP were started in this process, or in one that it was forked from."""

    started = False
    lost = False

    @classmethod
    def forked(cls) -> None:
        cls.lost = cls.started


os.register_at_fork(after_in_child=_OpenMP.forked)


def openmp_threads(wanted: int) -> int:
    """So many, but one in a forked child of a process that had them: they did not come along, and OpenMP
    would wait for them without end."""
    if _OpenMP.lost:
        return 1
    _OpenMP.started = True
    return wanted


def without_lost_threads() -> AbstractContextManager[object]:
    """Around calls of XGBoost that cannot be told how many threads to take, such as reading a model."""
    return threadpool_limits(1, user_api="openmp") if openmp_threads(2) == 1 else nullcontext()
