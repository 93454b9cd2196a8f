"""`outgrow serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say


@app.command("serve")
def _serve(
    path: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A saved model, or a folder of its versions.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A model under a name; may be repeated.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Models loaded when first asked for, by folder name.")
    ] = None,
    loaded: Annotated[int, typer.Option(help="How many models of --models stay in memory.")] = 100,
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(help="How many processes serve.")] = 1,
    max_batch: Annotated[int, typer.Option(help="Most rows in a batch.")] = 256,
    max_wait: Annotated[str, typer.Option(help="How long a request waits for others at most.")] = "2ms",
    max_queue: Annotated[int, typer.Option(help="Most rows that may wait; past it, 429.")] = 4096,
    max_body: Annotated[str, typer.Option(help="Most bytes of a request; past it, 413.")] = "64MiB",
    timeout: Annotated[str, typer.Option(help="How long a request may take.")] = "30s",
    canary: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]PATH@PERCENT", help="Answers a share of the requests.")
    ] = None,
    shadow: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]PATH", help="Is asked as well, and never answers.")
    ] = None,
    log: Annotated[str | None, typer.Option(help="Folder for a log of rows and predictions.")] = None,
    log_fraction: Annotated[float, typer.Option(help="The share of requests that is logged.")] = 1.0,
    watch: Annotated[
        str | None, typer.Option(metavar="LOG", help="Count what is asked by window into this event log.")
    ] = None,
    window: Annotated[str, typer.Option(help="With --watch: the length of a window.")] = "1h",
    access_log: Annotated[bool, typer.Option("--access-log", help="Print each request as JSON.")] = False,
    token_file: Annotated[str | None, typer.Option(help="File with the bearer token to ask for.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="File with the certificate.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="File with its key.")] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="STORE[:SERVICE]", help="A feature store: columns are looked up by keys."),
    ] = None,
    public_key: Annotated[
        str | None, typer.Option(help="File with the key that every model must be signed with.")
    ] = None,
    cache: Annotated[int, typer.Option(help="Rows whose answers are remembered.")] = 0,
    debug: Debug = False,
) -> None:
    """Answer requests for predictions over HTTP."""
    from outgrow.features.serving import feature_settings
    from outgrow.serve.http.arguments import settings_of, token_of
    from outgrow.serve.http.server import serve as run_server

    settings = settings_of(
        path,
        model or (),
        canary or (),
        shadow or (),
        folder=models,
        loaded=loaded,
        workers=workers,
        max_batch=max_batch,
        max_wait=max_wait,
        max_queue=max_queue,
        max_body=max_body,
        timeout=timeout,
        log=log,
        log_fraction=log_fraction,
        access_log=access_log,
        token=token_of(token_file),
        public_key=public_key,
        cached_rows=cache,
        **feature_settings(features),
    )
    if watch is not None:
        paths = {name: served.path for name, served in settings.models.items()}
        words = {"models": paths, "log": watch, "window": window}
        settings = replace(settings, watchers={**settings.watchers, "outgrow.job.watching:recorder": words})
    scheme = "http" if tls_cert is None else "https"
    line = f"Serving {', '.join(settings.models) or models} at {scheme}://{host}:{port} (try it at /docs)"
    run_server(settings, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key, ready=lambda: say(line))
