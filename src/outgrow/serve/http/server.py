"""Processes that serve: one, or several that share a port."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ParameterError
from outgrow.serve.http.state import Settings

_SETTINGS = "OUTGROW_SERVE_SETTINGS"
_GRACE = 30
"""Seconds for which a server that is stopped finishes what it accepted."""


def serve(settings: Settings, *, host: str = "127.0.0.1", port: int = 8000, tls_cert: str | None = None,
          tls_key: str | None = None) -> None:  # fmt: skip
    """Serve until the process is told to stop; then finish what was accepted.

    Parameters
    ----------
    host : the address to bind; the loopback one, unless told otherwise.
    tls_cert, tls_key : files with the certificate and its key.

    Raises
    ------
    ArtifactError
        When a model cannot be loaded; before anything listens.
    """
    uvicorn = optional("uvicorn", "serve")
    if (tls_cert is None) != (tls_key is None):
        raise ParameterError("TLS needs both files: --tls-cert and --tls-key.")
    options: dict[str, Any] = {
        "host": host, "port": port, "log_level": "warning", "access_log": False, "server_header": False,
        "date_header": False, "ssl_certfile": tls_cert, "ssl_keyfile": tls_key, "lifespan": "on",
        "proxy_headers": False,
        "timeout_graceful_shutdown": _GRACE, "workers": settings.workers,
    }  # fmt: skip
    if settings.workers == 1:
        from outgrow.serve.http.app import application

        uvicorn.run(application(settings), **options)
        return
    with tempfile.TemporaryDirectory(prefix="outgrow-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ[_SETTINGS] = json.dumps(settings.to_dict())
        uvicorn.run("outgrow.serve.http.server:worker", factory=True, **options)


def worker() -> Any:
    """The application of one of several processes."""
    from outgrow.serve.http.app import application

    return application(Settings.from_dict(json.loads(os.environ[_SETTINGS])))
