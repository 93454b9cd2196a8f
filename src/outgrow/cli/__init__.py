"""The command line: parses, then calls the Python API.

Each command imports what it runs when it is called: `outgrow --help` starts at once, and a command needs no
extra but its own.
"""

import importlib

from outgrow.cli.entry import main as main

COMMANDS = (
    *("plan", "run", "profile", "layout", "lineage", "score", "tune", "serve"),
    *("promote", "alias", "rollback", "history", "versions", "keygen", "sign"),
    *("expect", "drift", "watch", "loop", "features", "federate"),
    *("runs", "board", "rerun", "sync", "deploy", "doctor"),
)
"""A file for each command or group of commands, in the order in which `outgrow --help` shows them."""

for _name in COMMANDS:
    importlib.import_module(f"outgrow.cli.{_name}")
