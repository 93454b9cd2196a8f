"""`outgrow versions`."""

from __future__ import annotations

from outgrow.cli.app import app
from outgrow.cli.options import AsJson, Debug, Store
from outgrow.cli.screen import say


@app.command("versions")
def _versions(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """The versions of a model: when they were added, their aliases, tags, metrics and descriptions."""
    from outgrow.registry.screen import json_lines, version_table
    from outgrow.registry.store import ModelStore

    infos = ModelStore.existing(store).infos()
    say(json_lines(infos) if as_json else version_table(infos))
