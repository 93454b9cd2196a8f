"""`outgrow score`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from outgrow.cli.app import app
from outgrow.cli.options import (
    Debug,
    Decimal,
    Encoding,
    Engine,
    NaValue,
    Overwrite,
    Sep,
    Type,
    reading_options,
    refuse_options,
)
from outgrow.cli.screen import progress, say

_PIPE = (
    "is for rows in files. Standard input holds lines of JSON or a stream of Arrow, and is answered on "
    "standard output; leave it out."
)


@app.command("score")
def _score(
    model: Annotated[str, typer.Argument(help="A folder that a run or model.save() wrote.")],
    data: Annotated[
        str, typer.Argument(help="A file, folder or pattern of rows to predict; - for standard input.")
    ],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="The folder of Parquet files to write.")
    ] = None,
    engine: Engine = "local",
    keep: Annotated[
        list[str] | None, typer.Option(help="A column to keep beside the predictions; all if not given.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Write the probability of each class too.")] = False,
    errors: Annotated[
        str | None, typer.Option(help="A folder for rows that cannot be scored; else one ends the run.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option(help="A file of expectations; rows that break them go to --errors, too.")
    ] = None,
    partition_by: Annotated[
        list[str] | None, typer.Option(help="A column that becomes folders NAME=VALUE.")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Go on with files as they appear, until it is stopped.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="With --stream: end when the files that are there are done.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="With --stream on Spark: the folder for what was read.")
    ] = None,
    type_: Type = None,
    na_value: NaValue = None,
    encoding: Encoding = None,
    sep: Sep = None,
    decimal: Decimal = ".",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the predictions of a saved model for rows in files, or for rows as they come."""
    reading = reading_options(type_, na_value, encoding, sep, decimal)
    text_options: dict[str, Any] = {
        "--type": type_,
        "--na-value": na_value,
        "--encoding": encoding,
        "--sep": sep,
    }
    once_there: dict[str, Any] = {
        "--partition-by": partition_by,
        "--overwrite": overwrite,
        "--expect": expect,
    }
    streaming: dict[str, Any] = {"--once": once, "--checkpoint": checkpoint}
    if data == "-":
        written: dict[str, Any] = {"-o": output, "--keep": keep, "--errors": errors, "--stream": stream}
        text_options |= {"--decimal": decimal != ".", "--engine": engine != "local"}
        refuse_options({**written, **once_there, **streaming, **text_options}, _PIPE)
        from outgrow.serve.pipe import score_pipe

        score_pipe(model, sys.stdin.buffer, sys.stdout.buffer, probabilities=proba)
        return
    if output is None:
        raise typer.BadParameter("the folder to write is missing.", param_hint="-o")
    if stream:
        refuse_options(once_there, "is for files that are there; leave it out, or --stream.")
        from outgrow.job.streams import run_stream

        options = {"keep": keep, "probabilities": proba, "errors": errors, "read_options": reading}
        run_stream(model, data, output, engine, once=once, checkpoint=checkpoint, say=say, **options)
        return
    refuse_options(streaming, "is for files as they appear: give --stream, too.")
    if expect is not None and errors is None:
        raise typer.BadParameter("needs --errors, too.", param_hint="--expect")
    from outgrow.engine.reading import read
    from outgrow.job.engines import open_engine
    from outgrow.job.stages import Stages
    from outgrow.ml.persistence import load
    from outgrow.serve import batch

    fitted = load(model)
    rows = read(data, engine=open_engine(engine), **reading)
    with progress(), Stages()("score") as stage:
        done = batch.score(
            fitted,
            rows,
            output,
            keep=keep,
            probabilities=proba,
            errors=errors,
            partition_by=partition_by or (),
            expect=expect,
            overwrite=overwrite,
        )
        stage.rows = done.rows
    if done.resumed:
        say(f"Taken over from a run that was stopped: {done.resumed:,} pieces")
    say(f"Written: {output} ({done.rows:,} rows)")
    if errors is not None:
        say(f"Written: {errors} ({done.refused:,} rows that could not be scored)")
