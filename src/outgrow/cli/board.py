"""`outgrow board`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say


@app.command("board")
def _board(
    log: Annotated[
        str | None,
        typer.Option(
            "--log", help="The log: ops.db, postgresql://..., or a folder; OUTGROW_LOG if not given."
        ),
    ] = None,
    store: Annotated[
        list[str] | None, typer.Option(help="A folder of versions of a model; may be repeated.")
    ] = None,
    server: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A server of models to look at; may be repeated.")
    ] = None,
    states: Annotated[
        str | None, typer.Option(help="The folder of the counts of windows; beside the log if not given.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8100,
    token_file: Annotated[
        str | None, typer.Option(help="File with the token of those who may roll back; else nobody may.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show runs, searches, models, drift and servers on one live page."""
    from outgrow.board.server import serve
    from outgrow.serve.http.arguments import token_of

    serve(
        log,
        stores=store or (),
        servers=server or (),
        states=states,
        host=host,
        port=port,
        token=token_of(token_file),
        ready=lambda: say(f"Showing the board at http://{host}:{port} (Ctrl-C ends it)"),
    )
