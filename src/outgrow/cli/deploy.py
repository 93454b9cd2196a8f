"""`outgrow deploy`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite
from outgrow.cli.screen import say


@app.command("deploy")
def _deploy(
    model: Annotated[str, typer.Argument(help="A saved model, or a folder of its versions.")],
    to: Annotated[str, typer.Option(help="docker, compose, k8s, kserve or lambda.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The folder to write.")],
    name: Annotated[
        str | None, typer.Option(help="What it is served as; its folder's name if not given.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="The name of the container's image.")] = None,
    replicas: Annotated[int, typer.Option(help="How many serve at least.")] = 2,
    most_replicas: Annotated[int, typer.Option(help="How many serve at most.")] = 10,
    waiting_rows: Annotated[
        int, typer.Option(help="Rows that wait for each replica before more come.")
    ] = 128,
    canary: Annotated[
        int | None, typer.Option(help="KServe: percent of requests for a second version.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="KServe: where the model lies, like s3://models/late.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the files that put a model into service."""
    from outgrow.deploy.plan import Choices
    from outgrow.deploy.write import deploy

    choices = Choices(image, replicas, most_replicas, waiting_rows, canary, storage)
    plan = deploy(model, out, to=to, name=name, choices=choices, overwrite=overwrite)
    needs = plan.needs
    took = f"{needs.memory_bytes / 1e6:.0f} MB and {needs.start_seconds:.2f} s to its first answer"
    say(f"{out}: {plan.kind}, version {plan.version}, as {plan.name}. A process of its own took {took}.")
