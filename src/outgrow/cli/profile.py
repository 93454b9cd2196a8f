"""`outgrow profile`."""

from __future__ import annotations

from typing import Annotated

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
)
from outgrow.cli.screen import console, say


@app.command("profile")
def _profile(
    data: Annotated[
        str, typer.Argument(help="A file, folder or pattern of Parquet, CSV, JSON or Arrow files.")
    ],
    output: Annotated[str | None, typer.Option("-o", "--output", help="Write an HTML page here.")] = None,
    target: Annotated[
        str | None,
        typer.Option(help="A column that the others are seen beside: what goes with it, and leaks it."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Other files, whose columns are shown side by side with these.")
    ] = None,
    type_: Type = None,
    na_value: NaValue = None,
    encoding: Encoding = None,
    sep: Sep = None,
    decimal: Decimal = ".",
    engine: Engine = "local",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Say what the columns of some files hold."""
    from outgrow.engine.reading import read
    from outgrow.job.engines import open_engine
    from outgrow.job.screen import profile_findings, profile_table
    from outgrow.job.writing import write_text

    options = reading_options(type_, na_value, encoding, sep, decimal)
    rows = read(data, engine=open_engine(engine), **options)
    columns = rows.profile(target)
    other = None
    if compare is not None:
        other = compare, read(compare, engine=open_engine(engine), **options).profile()
    findings = columns.findings if other is None else (*columns.findings, *columns.compare(other[1]).findings)
    console().print(profile_table(columns), profile_findings(findings))
    if output is not None:
        from outgrow.job.report import profile_report

        page = profile_report(columns, data, rows.fingerprint(), other)
        write_text(output, page, overwrite=overwrite)
        say(f"Written: {output}")
