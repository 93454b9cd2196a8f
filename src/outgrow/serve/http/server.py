"""Processes that serve: one, or several that share a port."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow._ports import check_port
from outgrow._process import end_with
from outgrow._scratch import temporary_folder
from outgrow.engine.activity import activity
from outgrow.errors import ParameterError
from outgrow.serve.http.app import application
from outgrow.serve.http.connection import Connection
from outgrow.serve.http.state import Settings

uvicorn = optional("uvicorn", "serve")
_SETTINGS_VARIABLE = "OUTGROW_SERVE_SETTINGS"
"""The path of the file with the settings of worker processes: child processes see the environment."""
_GRACE_SECONDS = 30
"""How long a server that is stopped goes on with what it accepted."""


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the process gets a signal to stop; then finish what was accepted.

    Parameters
    ----------
    host : the address to bind; the loopback one, by default.
    tls_cert, tls_key : files with the certificate and its key.
    ready : called when models are loaded, right before the port is listened on; of several processes each
        loads them itself, after it.

    Raises
    ------
    ParameterError
        When the port cannot be listened on, or the files for TLS cannot be used.
    ArtifactError
        When a model cannot be loaded; before anything listens.
    """
    check_port(host, port)
    _check_tls(tls_cert, tls_key)
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
        "timeout_graceful_shutdown": _GRACE_SECONDS,
        "workers": settings.workers,
    }
    with activity("serve", ", ".join(settings.models), host=host, port=port, workers=settings.workers):
        _run(settings, options, ready)


def _run(settings: Settings, options: dict[str, Any], ready: Callable[[], None]) -> None:
    if settings.workers == 1:
        app = application(settings)
        ready()
        uvicorn.run(app, **options)
        return
    ready()
    with temporary_folder("metrics") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        settings_file = Path(folder) / "settings.json"  # in a folder that only this user may enter
        settings_file.write_text(json.dumps({"parent": os.getpid(), "settings": settings.to_dict()}))
        os.environ[_SETTINGS_VARIABLE] = str(settings_file)
        uvicorn.run("outgrow.serve.http.server:worker", factory=True, **options)


def worker() -> Any:
    """The application of one of several processes, which ends when the one that started it is gone."""
    task = json.loads(Path(os.environ[_SETTINGS_VARIABLE]).read_text())
    end_with(task["parent"])
    return application(Settings.from_dict(task["settings"]))


def _check_tls(cert: str | None, key: str | None) -> None:
    if (cert is None) != (key is None):
        raise ParameterError("TLS needs both files: --tls-cert and --tls-key.")
    if cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"--tls-cert {cert}, --tls-key {key}: {error}.") from error
