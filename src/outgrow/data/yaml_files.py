"""How YAML is read that people write."""

from __future__ import annotations

import re

import yaml


class YamlLoader(yaml.SafeLoader):
    """YAML 1.1 that reads 1e-3 as a number, as YAML 1.2 and people do."""


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
