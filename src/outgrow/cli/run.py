"""`outgrow run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Engine, Overwrite, let_import_beside
from outgrow.cli.screen import console, progress

if TYPE_CHECKING:
    from outgrow.job.record import Outcome


@app.command("run")
def _run(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    engine: Engine = "local",
    sample: Annotated[float | None, typer.Option(help="Work on this share of the rows, like 0.01.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, like model.C=0.1.")
    ] = None,
    overwrite: Overwrite = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder from which a fit goes on when its run was killed.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train, evaluate, save and score as a job file says, and write a report."""
    from outgrow.job.engines import open_engine
    from outgrow.job.load import load_job
    from outgrow.job.run import check_output, run_job

    settings = [*(set_ or []), *([] if sample is None else [f"sample={sample}"])]
    let_import_beside(job)
    loaded = load_job(job, settings)
    check_output(loaded, overwrite=overwrite)
    with progress():
        outcome = run_job(loaded, open_engine(engine, checkpoint), overwrite=overwrite)
    _show_outcome(outcome)
    _show_planned(job, settings, outcome)


def _show_outcome(outcome: Outcome) -> None:
    from outgrow.job.screen import next_steps, score_table

    screen = console()
    screen.print(score_table(outcome))
    screen.print(next_steps(outcome), soft_wrap=True)


def _show_planned(job: str, settings: list[str], outcome: Outcome) -> None:
    """What the job took beside what was planned, if it was."""
    from outgrow.planning.page import compared_table
    from outgrow.planning.records import ran

    compared = ran(job, settings, outcome)
    if compared is not None:
        console().print(compared_table(compared))
