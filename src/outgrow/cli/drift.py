"""`outgrow drift`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Engine, Overwrite
from outgrow.cli.screen import console, say

DRIFTED = 3
"""The exit code that says that something drifted."""


@app.command("drift")
def _drift(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|DATA", help="A saved model with its reference, or the rows to compare with."
        ),
    ],
    rows: Annotated[str, typer.Argument(help="A file, folder or pattern of the rows that are looked at.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Write here: .html, .json, .csv or .parquet.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="A column whose values are also compared by themselves.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Only this column; may be given several times.")
    ] = None,
    fdr: Annotated[float, typer.Option(help="The share of false finds that is allowed.")] = 0.01,
    effect: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="From when a change is large, like psi=0.2."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The label, where the reference is data.")] = None,
    engine: Engine = "local",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Say what changed in rows since training, or since other rows.

    Ends with 0 where nothing drifted, 3 where something did, and 2 where the command is wrong.
    """
    from outgrow.job.engines import open_engine
    from outgrow.job.screen import drift_table
    from outgrow.monitor.drift import drift_of_paths

    result = drift_of_paths(
        reference,
        rows,
        open_engine(engine),
        by=by or (),
        fdr=fdr,
        effect=_effects(effect),
        columns=columns,
        target=target,
    )
    screen = console()
    screen.print(drift_table(result, screen.width))
    if output is not None:
        result.save(output, overwrite=overwrite)
        say(f"Written: {output}")
    if result.verdict == "drift":
        raise typer.Exit(DRIFTED)


def _effects(pairs: list[str] | None) -> dict[str, float]:
    effects = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            effects[name] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{pair!r} is not like psi=0.2.", param_hint="--effect") from None
    return effects
