"""The site of the documentation: all pages are in its navigation, and its tutorials run as notebooks."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import nbclient
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SITE = runpy.run_path(str(ROOT / "scripts" / "docs_site.py"))
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def in_navigation() -> set[str]:
    text = (ROOT / "mkdocs.yml").read_text()
    pages: set[str] = set()

    def walk(entry: Any) -> None:
        if isinstance(entry, str):
            pages.add(entry)
        elif isinstance(entry, dict):
            for inner in entry.values():
                walk(inner)
        else:
            for inner in entry:
                walk(inner)

    walk(yaml.safe_load(text)["nav"])
    return pages


def test_every_page_is_in_the_navigation() -> None:
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert in_navigation() == there


def test_every_public_name_is_in_the_reference() -> None:
    import outgrow as og

    told = "\n".join(SITE["reference"]().values()).split()
    names = {name.rpartition(".")[2] for name in told if name.startswith("outgrow.")}
    things = {name: getattr(og, name) for name in og.__all__}
    public = {
        thing.__name__
        for name, thing in things.items()
        if getattr(thing, "__module__", "").startswith("outgrow.")
    }
    assert public <= names


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials_run_as_notebooks(page: Path, tmp_path: Path) -> None:
    notebook = SITE["notebook"](page)
    assert sum(cell.cell_type == "code" for cell in notebook.cells) >= 4
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
