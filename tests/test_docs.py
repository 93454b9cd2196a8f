"""The documentation is code: its Python blocks run, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SPARK = [ROOT / "docs" / "mlflow.md", ROOT / "docs" / "spark.md"]
"""Pages whose blocks find a session called `spark`."""
NOT_RUN = 4
"""At most so many blocks need a cluster that tests have not."""

BLOCK = re.compile(r"^```python(?P<flag>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run(page: Path, names: dict[str, Any]) -> None:
    """The blocks of a page, one after the other in one namespace."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        if block["flag"].strip() == "no-run":
            continue
        above = "\n" * (text.count("\n", 0, block.start()) + 1)  # so that a trace names the line of the page
        exec(compile(above + block["code"], str(page), "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in SPARK], ids=name)
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, {"__name__": page.stem})


@pytest.mark.parametrize("page", SPARK, ids=name)
def test_spark_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, {"__name__": page.stem, "spark": spark})


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_tables_of_estimators_say_what_the_classes_say() -> None:
    """If not, run `python scripts/estimator_docs.py`. One table is of the scikit-learn that it names."""
    names = runpy.run_path(str(ROOT / "scripts" / "estimator_docs.py"))
    for page, text in names["pages"]():
        written = page.read_text()
        if f"Compared with scikit-learn {names['version']()}." not in written:
            text, written = (
                re.sub("<!-- scikit-learn:begin.*scikit-learn:end", "", t, flags=re.S)
                for t in (text, written)
            )
        assert written == text


def test_flags() -> None:
    flags = [block["flag"].strip() for page in PAGES for block in BLOCK.finditer(page.read_text())]
    assert set(flags) <= {"", "no-run"}
    assert flags.count("no-run") <= NOT_RUN
