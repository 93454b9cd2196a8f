"""`outgrow tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Engine, let_import_beside
from outgrow.cli.screen import console

if TYPE_CHECKING:
    from outgrow.job.tuning_record import SearchOutcome


@app.command("tune")
def _tune(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job file with a section tune.")],
    engine: Engine = "local",
    trials: Annotated[int | None, typer.Option(help="End after so many trials in all.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so long.")] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, random, grid, cmaes, evolutionary.")] = None,
    pruner: Annotated[str | None, typer.Option(help="none, median, asha, hyperband.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many trials run at once.")] = None,
    within: Annotated[
        str, typer.Option(help="workers, fused, or engine: one trial at a time over the whole engine.")
    ] = "auto",
    sample: Annotated[float | None, typer.Option(help="Work on this share of the rows, like 0.01.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and forget the trials that were done.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Search for the settings with which a job does best; goes on where it was stopped."""
    from outgrow.job.engines import open_engine
    from outgrow.job.load import load_job
    from outgrow.job.tuning import tune_job
    from outgrow.job.tuning_screen import show_search

    given = {"trials": trials, "seconds": seconds, "sampler": sampler, "pruner": pruner, "workers": workers}
    settings = [
        *(set_ or []),
        *[f"tune.{name}={value}" for name, value in given.items() if value is not None],
    ]
    settings += [] if sample is None else [f"sample={sample}"]
    let_import_beside(job)
    loaded = load_job(job, settings)
    spec = loaded.job.tune
    with show_search(console(stderr=True), spec) as note:
        outcome = tune_job(loaded, open_engine(engine), within=within, overwrite=overwrite, callback=note)
    _show_search(outcome)


def _show_search(outcome: SearchOutcome) -> None:
    from outgrow.job.tuning_screen import next_steps, search_table, trial_table

    screen = console()
    screen.print(trial_table(outcome.result.study, outcome.result.metrics))
    screen.print(search_table(outcome))
    screen.print(next_steps(outcome), soft_wrap=True)
