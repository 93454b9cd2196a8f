"""Processes that serve: one, or several that share a port."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow._process import end_with
from outgrow._scratch import temporary_folder
from outgrow.errors import ParameterError
from outgrow.serve.http.state import Settings

_SETTINGS = "OUTGROW_SERVE_SETTINGS"
"""Where worker processes find what they are told: a file, for the environment is seen by their children."""
_GRACE = 30
"""Seconds for which a server that is stopped finishes what it accepted."""


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> None:
    """Serve until the process is told to stop; then finish what was accepted.

    Parameters
    ----------
    host : the address to bind; the loopback one, unless told otherwise.
    tls_cert, tls_key : files with the certificate and its key.

    Raises
    ------
    ParameterError
        When there is no such port, or the files for TLS cannot be used.
    ArtifactError
        When a model cannot be loaded; before anything listens.
    """
    uvicorn = optional("uvicorn", "serve")
    if not 1 <= port <= 65535:
        raise ParameterError(f"--port {port}: give a number from 1 to 65535.")
    _check_tls(tls_cert, tls_key)
    from outgrow.serve.http.connection import Connection

    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "ssl_certfile": tls_cert,
        "ssl_keyfile": tls_key,
        "lifespan": "on",
        "proxy_headers": False,
        "http": Connection,
        "ws": "none",
        "timeout_graceful_shutdown": _GRACE,
        "workers": settings.workers,
    }
    if settings.workers == 1:
        from outgrow.serve.http.app import application

        uvicorn.run(application(settings), **options)
        return
    with temporary_folder("metrics") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        told = Path(folder) / "settings.json"  # in a folder that only this user may enter
        told.write_text(json.dumps({"parent": os.getpid(), "settings": settings.to_dict()}))
        os.environ[_SETTINGS] = str(told)
        uvicorn.run("outgrow.serve.http.server:worker", factory=True, **options)


def worker() -> Any:
    """The application of one of several processes, which ends when the one that started it is gone."""
    from outgrow.serve.http.app import application

    told = json.loads(Path(os.environ[_SETTINGS]).read_text())
    end_with(told["parent"])
    return application(Settings.from_dict(told["settings"]))


def _check_tls(cert: str | None, key: str | None) -> None:
    if (cert is None) != (key is None):
        raise ParameterError("TLS needs both files: --tls-cert and --tls-key.")
    if cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"--tls-cert {cert}, --tls-key {key}: {error}.") from error
