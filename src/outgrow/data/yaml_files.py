"""How YAML is read that people write."""

from __future__ import annotations

import re
from typing import Any

import yaml


class YamlLoader(yaml.SafeLoader):
    """YAML 1.1 that reads 1e-3 as a number, as YAML 1.2 and people do, and takes no key twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, before others are merged into it.

        Raises
        ------
        ConstructorError
            When a key is there twice: all but the last would be lost.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = key.tag, key.value
            if name in lines:
                text = f"{key.value!r} is there already, on line {lines[name]}; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            lines[name] = key.start_mark.line + 1
        return node


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
