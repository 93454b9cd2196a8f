"""What models of the first format call classes, which named ours by their public names alone."""

from __future__ import annotations

import json
from importlib.resources import files

CLASSES: dict[str, str] = json.loads(files(__package__).joinpath("format_1.json").read_text())
"""The present module and name of each class, by its name in that format."""
