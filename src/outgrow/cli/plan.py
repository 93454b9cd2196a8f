"""`outgrow plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite, let_import_beside
from outgrow.cli.screen import console, say


@app.command("plan")
def _plan(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Write the plan here: a page (.html) or .json.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long samples may be tried.")] = 30.0,
    tolerance: Annotated[float, typer.Option(help="The difference in loss that does not matter.")] = 0.001,
    latency: Annotated[float | None, typer.Option(help="Milliseconds until an answer must be there.")] = None,
    rate: Annotated[float | None, typer.Option(help="Rows a second that ask for an answer.")] = None,
    volume: Annotated[float | None, typer.Option(help="Rows a day that want an answer.")] = None,
    fresh: Annotated[float | None, typer.Option(help="Seconds after which an answer is too old.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="It must answer without a server.")] = False,
    executors: Annotated[str, typer.Option(help="Of a cluster, like 2,4,8,16.")] = "2,4,8,16",
    sites: Annotated[int | None, typer.Option(help="Of a federation.")] = None,
    megabits: Annotated[float, typer.Option(help="A second, between machines.")] = 1000.0,
    milliseconds: Annotated[float, typer.Option(help="Of delay, between machines.")] = 0.5,
    prices: Annotated[str | None, typer.Option(help="A file with the prices of machines.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, like model.C=0.1.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Say what a job will take, where to run it, and whether a sample is enough."""
    from outgrow.planning.deployment import Need
    from outgrow.planning.network import Network
    from outgrow.planning.page import plan_tables, write_plan
    from outgrow.planning.planner import plan

    let_import_beside(job)
    made = plan(
        job,
        settings=set_ or (),
        seconds=seconds,
        tolerance=tolerance,
        need=Need(latency, rate, fresh, offline, volume),
        network=Network(megabits, milliseconds),
        executors=_numbers(executors),
        sites=sites,
        prices=prices,
    )
    console().print(*plan_tables(made))
    if output is not None:
        write_plan(made, output, overwrite=overwrite)
        say(f"Written: {output}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not like 2,4,8.", param_hint="--executors") from error
