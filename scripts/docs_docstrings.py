"""Our docstrings say `name : what it is`; numpydoc would read a type there, and mkdocstrings shows one."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"^(\*{0,2}[\w][\w., *]*) : (.*)$")


class Entries(griffe.Extension):
    """Puts what stands behind the colon below the name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change a docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = described(obj.docstring.value)


def described(text: str) -> str:
    """A docstring whose entries have their description in the lines below, one entry a name."""
    lines, changed, within = text.split("\n"), [], False
    names: list[str] = []
    words: list[str] = []
    for number, line in enumerate([*lines, ""]):
        rule = number + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[number + 1])
        entry = _ENTRY.match(line) if within else None
        if names and (entry or rule or number == len(lines)):
            changed += [row for name in names for row in (name, *words)]
            names, words = [], []
        if rule:
            within = line in ("Parameters", "Attributes")
        if entry:
            names, words = entry[1].split(", "), [f"    {entry[2]}"]
        elif names:
            words.append(line)
        else:
            changed.append(line)
    return "\n".join(changed)
