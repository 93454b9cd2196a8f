"""YAML and JSON as people write them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

HEAD = "# Written by `outgrow deploy`. It is yours to change.\n"


class _Dumper(yaml.SafeDumper):
    """No references to what came before, and lists set in."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def as_yaml(*documents: Any) -> str:
    """Documents of one file."""
    return HEAD + yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True, default_flow_style=False
    )


def as_json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_lines(lines: Iterable[str]) -> str:
    return HEAD + "\n".join(lines) + "\n"
