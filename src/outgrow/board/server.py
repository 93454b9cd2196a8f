"""The process that shows a board."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from outgrow._optional import optional
from outgrow._ports import check_port
from outgrow.board.app import application, is_loopback
from outgrow.board.sources import Sources
from outgrow.track.runs import open_log
from outgrow.track.runs_view import RunsView

uvicorn = optional("uvicorn", "serve")


def serve(
    log: str | None = None,
    *,
    stores: Sequence[str] = (),
    servers: Sequence[str] = (),
    states: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8100,
    token: str | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Show a board until the process gets a signal to stop.

    Parameters
    ----------
    log : as of `og.runs`.
    stores, servers, states : as of `Sources`.
    host, port : the address to bind; the loopback one, by default.
    token : lets its holder change things; None for nobody.
    ready : called right before the port is listened on.

    Raises
    ------
    LogError
        When there is no log.
    ParameterError
        When the port cannot be listened on.
    """
    check_port(host, port, least=0)
    sources = Sources(open_log(log), tuple(stores), tuple(servers), states)
    threading.Thread(target=RunsView.of(sources.log).now, daemon=True).start()  # ready for who looks first
    app = application(sources, token=token, any_host=not is_loopback(host))
    ready()
    uvicorn.run(app, **options(host, port))


def options(host: str, port: int) -> dict[str, Any]:
    """How uvicorn runs a board.

    Parameters
    ----------
    host, port : the address to bind.
    """
    return {
        "host": host,
        "port": port,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "ws": "none",
        "timeout_graceful_shutdown": 1,  # streams of events would never end
    }
