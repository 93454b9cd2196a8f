"""Options that several commands have."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Engine = Annotated[
    str, typer.Option(help="local, processes[4], or a Spark: local[2], spark://host:7077, sc://host:15002.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Type = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="NAME=TYPE", help="Read a column of text as this, like zip=text."),
]
NaValue = Annotated[
    list[str] | None, typer.Option("--na-value", help="A cell of CSV that is missing, besides the empty one.")
]
Encoding = Annotated[str | None, typer.Option(help="Of text, like latin-1; UTF-8 if not given.")]
Sep = Annotated[str | None, typer.Option(help="What divides the cells of CSV.")]
Decimal = Annotated[str, typer.Option(help="What stands before fractions in CSV: . or ,")]
Store = Annotated[str, typer.Argument(help="A folder of versions of a model.")]
Why = Annotated[str | None, typer.Option(help="The reason, for people.")]
Run = Annotated[str | None, typer.Option(help="The run that made the model.")]
Evidence = Annotated[str | None, typer.Option(help="What led to it, such as the digest of a gate's record.")]
By = Annotated[str | None, typer.Option(help="Who does it; the user and host if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="A line of JSON for each, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]


def reading_options(
    types: list[str] | None,
    na_values: list[str] | None,
    encoding: str | None,
    sep: str | None,
    decimal: str,
) -> dict[str, Any]:
    """How text is read, as `og.read` takes it.

    Parameters
    ----------
    types : NAME=TYPE of columns.
    na_values : cells that are missing, besides the empty one.
    encoding, sep, decimal : of text; None where the reader decides.
    """
    for pair in types or ():
        if "=" not in pair:
            raise typer.BadParameter(f"{pair!r} is not like zip=text.", param_hint="--type")
    pairs = [pair.rpartition("=") for pair in types or ()]
    given = {name: kind for name, _, kind in pairs}
    read = {"encoding": encoding, "sep": sep, "decimal": decimal}
    return {"types": given, "na_values": na_values or (), **read}


def refuse_options(given: Mapping[str, Any], why: str) -> None:
    """Refuse options that mean nothing beside others, rather than leave them out of account.

    Parameters
    ----------
    given : values by the names of the options; those that are not given are empty.
    why : behind the name of the option: what it is for.
    """
    for name, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=name)


def let_import_beside(job: Any) -> None:
    """Let a job name classes of modules that lie beside its file, as `python` would find them."""
    sys.path.append(str(Path(job).resolve().parent))
