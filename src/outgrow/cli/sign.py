"""`outgrow sign`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say


@app.command("sign")
def _sign(
    model: Annotated[str, typer.Argument(help="A saved model, or a version of a store: late-store@3.")],
    key: Annotated[str, typer.Option(help="The file with the private key, as outgrow keygen made it.")],
    debug: Debug = False,
) -> None:
    """Sign a saved model: servers with the public key then take it."""
    from outgrow.artifact import sign

    say(f"Signed: {sign(model, key)}")
