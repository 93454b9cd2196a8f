"""Requests to real servers, which may take their time: a machine that runs several tests at once is slow."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import httpx

SECONDS = 60


def get(url: str, **options: Any) -> httpx.Response:
    """What the server answers to a GET."""
    return httpx.get(url, **{"timeout": SECONDS, **options})


def post(url: str, **options: Any) -> httpx.Response:
    """What the server answers to a POST."""
    return httpx.post(url, **{"timeout": SECONDS, **options})


def answers(url: str, **options: Any) -> bool:
    """Whether a server there answers with 200; a stranger that holds the port for a moment does not."""
    try:
        return get(url, **options).status_code == 200
    except httpx.TransportError:
        return False


def until_ready(process: subprocess.Popen[Any], url: str, **options: Any) -> None:
    """Wait until the server that the process is answers there, models loaded and warm."""
    until = time.monotonic() + 2 * SECONDS
    while not answers(url, **options):
        assert process.poll() is None, f"The server ended with {process.returncode}."
        assert time.monotonic() < until, f"{url} does not answer."
        time.sleep(0.05)
