"""Processes that end when the one that started them is gone, however it went."""

from __future__ import annotations

import os
import threading
import time
from functools import cache

_LOOK_SECONDS = 0.5
ORPHANED_EXIT = 76
"""The exit code of a process whose parent is gone."""


@cache
def end_with(parent: int) -> None:
    """End this process, at once and without a word, as soon as `parent`, which started it, is gone.

    The kernel could send a signal instead, but it does so when the *thread* ends that started the process.

    Parameters
    ----------
    parent : the number of the parent's process, as the parent itself knows it: one that is gone before this
        call is so noticed, too.

    Examples
    --------
    >>> import os, subprocess, sys
    >>> code = "import sys; from outgrow._process import end_with; end_with(int(sys.argv[1])); print('lives')"
    >>> subprocess.run([sys.executable, "-c", code, str(os.getpid())], capture_output=True).stdout
    b'lives\\n'
    """
    _look(parent)
    threading.Thread(target=_watch, args=(parent,), name="outgrow parent", daemon=True).start()


def _watch(parent: int) -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        _look(parent)


def _look(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(ORPHANED_EXIT)


os.register_at_fork(after_in_child=end_with.cache_clear)  # threads do not live on in a fork
