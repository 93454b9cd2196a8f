"""Ranks of one fit that are threads here, and talk as processes do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from outgrow.engine.collective import Tcp
from outgrow.engine.ranks.rendezvous import join


def ranks(size: int, work: Callable[[Tcp], Any]) -> list[Any]:
    """What `work` returns on each of some ranks."""
    found: list[Any] = [None] * size

    def rank(number: int) -> None:
        comm = join(number, ["127.0.0.1"] * size, secret, ports=(20_000, 30_000), joining=20, deadline=20)
        try:
            found[number] = work(comm)
        finally:
            comm.close()

    secret = os.urandom(32)
    threads = [threading.Thread(target=rank, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
