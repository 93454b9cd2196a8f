"""`outgrow sync` and `outgrow export-mlproject`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite, let_import_beside
from outgrow.cli.runs import Log
from outgrow.cli.screen import say


@app.command("sync")
def _sync(
    to: Annotated[str, typer.Option(help="MLflow's server: http://host:5000, sqlite:///mlflow.db, ...")],
    experiment: Annotated[str, typer.Option(help="The name of the experiment there.")] = "outgrow",
    trials: Annotated[
        str, typer.Option(help="Child runs of a search: best, all, or table for none.")
    ] = "best",
    log: Log = None,
    debug: Debug = False,
) -> None:
    """Write recorded runs to MLflow; again only what is new."""
    from outgrow.track.autolog import sync

    done = sync(to, log=log, experiment=experiment, trials=trials)
    say(f"{done.written:,} runs written, {done.there:,} were there.")


@app.command("export-mlproject")
def _export_mlproject(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The folder to make.")],
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write a job as a project that `mlflow run` runs."""
    from outgrow.job.load import load_job
    from outgrow.job.mlproject import export_mlproject

    let_import_beside(job)
    names = export_mlproject(load_job(job), output, overwrite=overwrite)
    say(f"Written: {output}. Run it with: mlflow run {output} {' '.join(f'-P {name}=...' for name in names)}")
