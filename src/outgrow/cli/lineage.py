"""`outgrow lineage`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite
from outgrow.cli.screen import say


@app.command("lineage")
def _lineage(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A model, scores, data, store@alias or a run; everything in the log if not given."
        ),
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Where runs are recorded; OUTGROW_LOG if not given.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="text, json, openlineage or svg.")] = "text",
    output: Annotated[str | None, typer.Option("-o", "--output", help="Write it here.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Say what came of what: from rows to models, aliases and predictions, and back."""
    from outgrow.errors import ParameterError
    from outgrow.job.writing import write_text
    from outgrow.provenance.drawing import to_svg
    from outgrow.provenance.openlineage import to_openlineage
    from outgrow.provenance.records import lineage, log_here
    from outgrow.track.tracking import default_log

    forms: dict[str, Callable[[Any], str]] = {
        "text": str,
        "json": lambda graph: graph.to_json(),
        "openlineage": lambda graph: json.dumps(to_openlineage(graph), indent=1),
        "svg": to_svg,
    }
    if format_ not in forms:
        raise typer.BadParameter(f"{format_!r} is none of {', '.join(forms)}.", param_hint="--format")
    where = log or log_here()
    if where is None and what is None:
        raise ParameterError(
            f"There is no log at {default_log()}. Name one (--log, OUTGROW_LOG), or what came of something: "
            "a model, scores or rows."
        )
    text = forms[format_](lineage(what, log=where))
    if output is None:
        say(text)
        return
    write_text(output, text, overwrite=overwrite)
    say(f"Written: {output}")
