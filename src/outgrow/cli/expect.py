"""`outgrow expect`."""

from __future__ import annotations

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
)
from outgrow.cli.screen import console, say

BROKEN = 3
"""The exit code that says that an expectation is broken."""


@app.command("expect")
def _expect(
    data: Annotated[str, typer.Argument(help="A file, folder or pattern of rows.")],
    against: Annotated[
        str | None, typer.Option(help="A file of expectations: check the rows, rather than learn from them.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Write what is learned here, like expect.yaml.")
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(help="With --against: write what came of it: .html, .json, .csv or .parquet."),
    ] = None,
    set_aside: Annotated[
        str | None, typer.Option(help="With --against: the folder for rows to set aside, with the reason.")
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
    """Learn what rows look like, or check that others look like it.

    With --against it ends with 0 where all expectations hold, 3 where one is broken, and 2 where the
    command is wrong.
    """
    from outgrow.engine.reading import read
    from outgrow.expectations.learning import learn
    from outgrow.job.engines import open_engine

    _check_options(against, output, {"--report": report, "--set-aside": set_aside})
    options = reading_options(type_, na_value, encoding, sep, decimal)
    rows = read(data, engine=open_engine(engine), **options)
    if against is not None:
        _check(rows, data, against, report, set_aside, overwrite)
        return
    head = f"Learned from {data}. Edit it freely; check rows with: outgrow expect ROWS --against FILE"
    learned = learn(rows)
    if output is None:
        say(learned.to_yaml(head))
        return
    learned.save(output, overwrite=overwrite, head=head)
    say(f"Written: {output} ({len(learned.spec.columns)} columns)")


def _check(
    rows: Any, data: str, against: str, report: str | None, set_aside: str | None, overwrite: bool
) -> None:
    from dataclasses import replace
    from pathlib import Path

    from outgrow.engine.write import write_parquet
    from outgrow.expectations.expectations import Expectations
    from outgrow.job.screen import expectations_table

    expectations = Expectations(against)
    checked = replace(expectations.check(rows), name=Path(data).name)
    console().print(expectations_table(checked))
    if report is not None:
        checked.save(report, overwrite=overwrite)
        say(f"Written: {report}")
    if set_aside is not None:
        count = write_parquet(expectations.split(rows)[1], set_aside, overwrite=overwrite)
        say(f"Written: {set_aside} ({count:,} rows to set aside)")
    if not checked.ok:
        raise typer.Exit(BROKEN)


def _check_options(against: str | None, output: str | None, checking: dict[str, str | None]) -> None:
    given = [name for name, value in checking.items() if value is not None]
    if against is None and given:
        raise typer.BadParameter("is for rows that are checked: give --against, too.", param_hint=given[0])
    if against is not None and output is not None:
        raise typer.BadParameter("is for what is learned; with --against give --report.", param_hint="-o")
