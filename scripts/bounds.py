"""The lowest versions that pyproject.toml allows, as constraints for pip, for test_versions.sh."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
TOOLS = {"bench", "dev"}
"""Extras with tools for the tests, which may be of any version."""
OF_THEIR_TIME = ["SQLAlchemy<2.1"]
"""What the oldest need and do not say: MLflow before 3.9 cannot be imported with SQLAlchemy 2.1."""
BOUND = re.compile(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)")


def constraints() -> list[str]:
    """A line for each package with a lower bound: any patch of the version that the bound names."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    wanted = list(project["dependencies"])
    for extra, packages in project["optional-dependencies"].items():
        wanted += [] if extra in TOOLS else packages
    bounds = dict(found.groups() for found in map(BOUND.match, wanted) if found)
    for tool in project["optional-dependencies"]["dev"]:
        bounds.pop(tool.partition("==")[0], None)  # one version of it is there for all tests
    return [f"{name}=={_with_minor(version)}.*" for name, version in sorted(bounds.items())] + OF_THEIR_TIME


def _with_minor(version: str) -> str:
    return version if "." in version else f"{version}.0"


if __name__ == "__main__":
    print("\n".join(constraints()))
