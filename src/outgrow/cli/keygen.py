"""`outgrow keygen`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say


@app.command("keygen")
def _keygen(
    name: Annotated[str, typer.Argument(help="NAME.key and NAME.pub are made.")],
    debug: Debug = False,
) -> None:
    """Make a pair of keys with which models are signed and checked."""
    from outgrow.signing import generate

    key, public = generate(name)
    say(f"Written: {key} (keep it to yourself), {public} (for all who check: outgrow serve --public-key)")
