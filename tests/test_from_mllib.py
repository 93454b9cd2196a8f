"""The port table has every class and member of pyspark.ml's models and tools."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from pyspark.ml.param import Param

import outgrow as og

PAGE = (Path(__file__).parents[1] / "docs" / "from-mllib-models.md").read_text()
SHARED = """clear copy explainParam explainParams extractParamMap getOrDefault getParam hasDefault hasParam
    isDefined isSet params read load save write uid fit fitMultiple transform"""
"""What all estimators and models have, as parameters, files and `fit`."""
MODULES = ["classification", "regression", "clustering", "recommendation", "fpm", "evaluation", "tuning"]


def members(kind: type) -> list[str]:
    """The public members that are no parameters, nor set or give one."""
    names = [
        name for name in dir(kind) if not name.startswith(("_", "set", "get")) and name not in SHARED.split()
    ]
    return [name for name in names if not isinstance(inspect.getattr_static(kind, name), Param)]


@pytest.mark.parametrize("module", MODULES)
def test_every_class_and_member_is_in_the_table(module: str) -> None:
    home = importlib.import_module(f"pyspark.ml.{module}")
    rows = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    known = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    classes = [getattr(home, name) for name in home.__all__]
    wanted = {kind.__name__ for kind in classes} | {name for kind in classes for name in members(kind)}
    assert len(wanted) > 2
    assert not wanted - known


def test_what_the_table_names_is_there() -> None:
    for name in set(re.findall(r"`og\.([\w.]+)", PAGE)):
        found = og
        for part in name.split("."):
            found = getattr(found, part)


@pytest.mark.parametrize("module", ["linalg", "linalg.distributed"])
def test_every_class_and_member_of_matrices_is_in_their_table(module: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "linalg.md").read_text()
    home = importlib.import_module(f"pyspark.mllib.{module}")
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    known = {
        name for row in rows for code in re.findall(r"`([^`]+)`", row) for name in re.findall(r"\w+", code)
    }
    classes = [getattr(home, name) for name in home.__all__]
    wanted = {kind.__name__ for kind in classes} | {
        name for kind in classes for name in vars(kind) if not name.startswith("_")
    }
    assert len(wanted) > 20
    assert not wanted - known


def test_every_class_of_features_has_a_twin_and_a_line() -> None:
    """The models of estimators apart, which are the fitted objects here."""
    home = importlib.import_module("pyspark.ml.feature")
    classes = {name for name in home.__all__ if not name.endswith("Model")}
    assert {"Bucketizer", "MinHashLSH", "VectorSizeHint"} < classes
    docs = Path(__file__).parents[1] / "docs"
    headings = [line for line in (docs / "from-mllib.md").read_text().splitlines() if line.startswith("### ")]
    lines = [
        line.split(" | ")[0] for line in (docs / "porting.md").read_text().splitlines() if line[:1] == "|"
    ]
    for kind, known in (("twin", headings), ("line of the port table", lines)):
        assert not {name for name in classes if not re.search(rf"\b{name}\b", " ".join(known))}, kind
