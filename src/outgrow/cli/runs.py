"""`outgrow runs`: what was done, listed, shown and compared."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import console, say

runs = typer.Typer(help="Runs that were recorded: list, show, compare, verify.", invoke_without_command=True)
app.add_typer(runs, name="runs")
Log = Annotated[
    str | None,
    typer.Option("--log", help="The log: ops.db, postgresql://..., or a folder; OUTGROW_LOG if not given."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The first characters of its id, or: last.")]


@runs.callback()
def _runs(
    context: typer.Context,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", "-f", help="Like: metrics.log_loss < 0.4 and params.C = '1'."),
    ] = None,
    sort: Annotated[str, typer.Option(help="A column; with a minus before it, largest first.")] = "-began",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 30,
    columns: Annotated[str | None, typer.Option(help="Which, like: name,params.C,metrics.log_loss.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each run.")] = False,
    log: Log = None,
    debug: Debug = False,
) -> None:
    """Runs that were recorded: list, show, compare, verify."""
    if context.invoked_subcommand is not None:
        return
    from outgrow.track.runs import runs as list_runs
    from outgrow.track.screen import as_lines, runs_table

    names = [name.strip() for name in columns.split(",")] if columns else None
    table = list_runs(filter_, log=log, sort=sort.split(","), limit=limit, columns=names)
    if json:
        for line in as_lines(table):
            say(line)
        return
    screen = console()
    screen.print(runs_table(table, screen.width))


@runs.command("verify")
def _verify(log: Log = None, debug: Debug = False) -> None:
    """Check that no record of the log was changed, removed or put in since it was written."""
    from outgrow.track.runs import open_log

    opened = open_log(log)
    say(f"{opened.verify():,} records, none changed since it was written.")


@runs.command("tag")
def _tag(
    run: RunName,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Words to find it by.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What to know about it.")] = None,
    log: Log = None,
    debug: Debug = False,
) -> None:
    """Give a run tags or a description."""
    from outgrow.track.runs import tag_run

    pairs = [tag.partition("=") for tag in tags or ()]
    for key, sign, _ in pairs:
        if not key or not sign:
            raise typer.BadParameter("write tags like team=sales.", param_hint="KEY=VALUE")
    say(f"Tagged: {tag_run(run, {key: value for key, _, value in pairs}, description, log=log)}")


@runs.command("show")
def _show(run: RunName, log: Log = None, debug: Debug = False) -> None:
    """Show all that is known of a run."""
    from outgrow.track.details import details
    from outgrow.track.runs import find_run, open_log
    from outgrow.track.screen import show_run

    opened = open_log(log)
    screen = console()
    for part in show_run(details(find_run(run, opened), opened)):
        screen.print(part)


@runs.command("compare")
def _compare(
    first: RunName,
    second: RunName,
    output: Annotated[str | None, typer.Option("-o", "--output", help="An HTML page, with curves.")] = None,
    log: Log = None,
    debug: Debug = False,
) -> None:
    """Show in what two runs differ: parameters, metrics, data, environment, code."""
    from pathlib import Path

    from outgrow.storage import write_file
    from outgrow.track.compare import compare, differing
    from outgrow.track.details import details
    from outgrow.track.page import as_text, comparison_page
    from outgrow.track.runs import find_run, open_log
    from outgrow.track.screen import show_differences

    opened = open_log(log)
    one, other = (details(find_run(name, opened), opened) for name in (first, second))
    if output is not None:
        write_file(Path(output), comparison_page(one, other).encode(), overwrite=True)
        say(f"Written: {output}")
        return
    screen = console()
    for part in show_differences(one, other, as_text(differing(compare(one, other)))):
        screen.print(part)
