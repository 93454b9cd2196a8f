"""`outgrow layout` and `outgrow compact`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite
from outgrow.cli.screen import say

Data = Annotated[str, typer.Argument(help="A folder, pattern or file of Parquet, or a Delta table.")]


@app.command("layout")
def _layout(
    data: Data,
    cores: Annotated[
        int | None, typer.Option(help="That would share a pass; this machine's if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    debug: Debug = False,
) -> None:
    """Say how files lie, what that costs, and what to do: small files, skew, huge row groups."""
    from outgrow.compaction.survey import layout

    seen = layout(data, cores=cores)
    say(json.dumps(seen.to_dict(), indent=1) if as_json else str(seen))


@app.command("compact")
def _compact(
    data: Data,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="The folder to write; none for a Delta table.")
    ] = None,
    target: Annotated[str, typer.Option(help="About how large a file becomes.")] = "128MiB",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write small Parquet files as fewer large ones; rows keep their order, folders stay."""
    from outgrow.compaction.compact import compact, describe_compacted
    from outgrow.engine.memory import parse_size

    done = compact(data, output, target=parse_size(target), overwrite=overwrite)
    say(describe_compacted(done, output))
