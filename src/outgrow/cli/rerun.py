"""`outgrow rerun`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite
from outgrow.cli.runs import Log, RunName
from outgrow.cli.screen import complain, progress, say


@app.command("rerun")
def _rerun(
    run: RunName,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="The folder to write; OUTPUT-rerun if not given.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Another engine than that of the run.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Run it although the rows have changed.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what differs from then.")] = False,
    overwrite: Overwrite = False,
    log: Log = None,
    debug: Debug = False,
) -> None:
    """Run a recorded job again, from the log alone, and say whether the same model came of it."""
    from outgrow.job.engines import open_engine
    from outgrow.job.rerun import output_of, plan_rerun, rerun
    from outgrow.job.run import check_output
    from outgrow.track.runs import open_log
    from outgrow.track.tracking import start, stop

    opened = open_log(log)
    plan = plan_rerun(run, opened, open_engine, output=output, engine=engine)
    for line in plan.changed:
        say(f"Differs: {line}")
    for line in plan.moved:
        say(f"Rows: {line}")
    if plan.moved and not anyway and not dry:
        complain("The rows are not those of then. Restore them, or run on those of now with --anyway.")
        raise typer.Exit(2)
    if dry:
        say("Nothing differs." if not plan.moved and not plan.changed else "Nothing was run.")
        return
    check_output(plan.loaded, overwrite=overwrite)
    start(opened)
    try:
        with progress():
            _, same = rerun(plan, open_engine(plan.engine), overwrite=overwrite)
    finally:
        stop()
    say(f"Written: {output_of(plan)}")
    if same is None:
        say("The run of then has no digest of its model to compare with.")
    else:
        say("The model is the same to the bit." if same else "The model is not the same.")
    if same is False:
        raise typer.Exit(1)
