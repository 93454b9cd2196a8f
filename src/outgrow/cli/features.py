"""`outgrow features`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say

commands = typer.Typer(
    help="Features by key and time: define, write for servers, look up.", no_args_is_help=True
)
app.add_typer(commands, name="features")
StoreFolder = Annotated[str, typer.Argument(metavar="STORE", help="The folder of the feature store.")]


@commands.command("apply")
def _apply(
    store: StoreFolder,
    file: Annotated[str, typer.Argument(metavar="FILE.yaml", help="Entities, views and services.")],
    online: Annotated[
        str | None, typer.Option(help="Where servers look: redis://host:port/0, or a file of SQLite.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Add the views and services of a file, or replace those of the same name."""
    from outgrow.features.definitions_file import read_definitions
    from outgrow.features.store import FeatureStore

    with FeatureStore(store, online=online) as opened:
        opened.apply(read_definitions(file))
        definitions = opened.definitions
        say(f"{store}: {len(definitions.views)} views, {len(definitions.services)} services")


@commands.command("materialize")
def _materialize(
    store: StoreFolder,
    end: Annotated[
        str | None, typer.Option(help="Up to which moment, in ISO 8601; now if not given.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="From when; else what is new since the last time.")
    ] = None,
    view: Annotated[list[str] | None, typer.Option(help="Only this view; may be repeated.")] = None,
    debug: Debug = False,
) -> None:
    """Write the newest row of each key for servers."""
    import datetime

    from outgrow.features.store import FeatureStore

    until = end or datetime.datetime.now(datetime.UTC).isoformat()
    with FeatureStore(store) as opened:
        if start is None:
            counts = opened.materialize_incremental(until, views=view)
        else:
            counts = opened.materialize(start, until, views=view)
    for name, count in counts.items():
        say(f"{name}: {count:,} keys")


@commands.command("get")
def _get(
    store: StoreFolder,
    features: Annotated[list[str], typer.Argument(help="view:feature, a view, or a service.")],
    key: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="A part of the key; may be repeated.")],
    debug: Debug = False,
) -> None:
    """Show what servers see of a key, as JSON."""
    from outgrow.errors import ParameterError
    from outgrow.features.store import FeatureStore

    row: dict[str, str | int] = {}
    with FeatureStore(store) as opened:
        kinds = opened.lookup(features, full_feature_names=True).keys
        for text in key:
            name, separator, value = text.partition("=")
            if not separator:
                raise ParameterError(f"--key {text}: NAME=VALUE is needed.")
            row[name] = int(value) if str(kinds.get(name)).startswith(("int", "uint")) else value
        (row_of_key,) = opened.get_online_features(features, [row], full_feature_names=True).to_pylist()
    typer.echo(json.dumps(row_of_key, default=str, ensure_ascii=False, indent=2))


@commands.command("show")
def _show(store: StoreFolder, debug: Debug = False) -> None:
    """List views, features and services, and how long ago views were materialised."""
    from outgrow.features.store import FeatureStore

    with FeatureStore(store) as opened:
        ages = opened.freshness()
        for name, applied in opened.definitions.views.items():
            age = ages[name]
            when = "never materialised" if age is None else f"materialised {age:,.0f} s ago"
            say(f"{name} by {', '.join(applied.keys)}: {when}")
            for feature, kind in applied.features.items():
                say(f"  {feature}: {kind}")
        for name, view in opened.definitions.on_demand.items():
            say(f"{name} on demand: {', '.join(view.schema)}")
        for name, service in opened.definitions.services.items():
            say(f"service {name}: {', '.join(service.features)}")
