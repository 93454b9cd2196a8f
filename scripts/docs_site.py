"""Hooks of `mkdocs build`: the reference from docstrings, tutorials as notebooks, pages from outside docs/.

Pages of docs/ link to files of the repository as its readers would: ../CONTRIBUTING.md. On the site those
files are pages, too.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
_BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLES = {
    "engine": "Data and engines",
    "core": "Columns",
    "groups": "One model for each key",
    "selection": "Cross-validation",
    "tuning": "Search",
    "serve": "Scoring and live quality",
    "registry": "Registry",
    "monitor": "Monitoring",
    "log": "Event log",
    "deep": "Networks and strategies",
    "stats": "Robust merges",
    "ml": "Other estimators",
    "fpm": "Frequent patterns",
    "svm": "Support vectors",
    "meta": "Around models",
    "data": "Expressions",
    "compose": "Composition",
}
"""Of pages of the reference; others are called as their folder."""


def on_files(files: Files, config: Any) -> Files:
    """Add what is made of the repository."""
    for name, text in {**reference(), **outside(), **notebooks()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    sections = {next(iter(item)): next(iter(item.values())) for item in config["nav"]}
    sections["Reference"][:0] = sorted(reference())
    sections["How it works"] += ["outside/CONTRIBUTING.md", "outside/CHANGELOG.md"]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to files of the repository lead to their pages, and offer the notebooks of tutorials."""
    here = page.file.src_uri
    up = "../" * here.count("/")

    def moved(link: re.Match[str]) -> str:
        target = link[1]
        return f"]({up}{page_of(target)}{link[2] or ''})" if (ROOT / target).is_file() else link[0]

    markdown = _OUTSIDE.sub(moved, markdown)
    if here.startswith("tutorials/"):
        name = Path(here).with_suffix(".ipynb").name
        title, _, rest = markdown.partition("\n")
        markdown = f"{title}\n\n[Download as a notebook]({name}){{ .md-button }}\n{rest}"
    return markdown


def page_of(target: str) -> str:
    """The page that shows a file of the repository."""
    return f"outside/{target}" if target.endswith(".md") else f"outside/{target}.md"


def outside() -> dict[str, str]:
    """The files of the repository that pages link to, by the names of their pages."""
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    for page in (ROOT / "docs").glob("*.md"):
        pages += [ROOT / link[1] for link in _OUTSIDE.finditer(page.read_text())]
    shown = {}
    for path in sorted({path for path in pages if path.is_file()}):
        target = str(path.relative_to(ROOT))
        text = path.read_text()
        if path.suffix != ".md":
            text = f"# {target}\n\n```{path.suffix[1:]}\n{text}\n```\n"
        shown[page_of(target)] = _plain_links(text, path)
    return shown


def _plain_links(text: str, path: Path) -> str:
    """Links to what is no page stay as words."""

    def replaced(link: re.Match[str]) -> str:
        target = link[2].partition("#")[0]
        if "://" in target or not target:
            return link[0]
        found = (path.parent / target).resolve()
        if found.suffix == ".md" and found.parent == ROOT / "docs":
            depth = str(path.relative_to(ROOT)).count("/") + 1
            return f"[{link[1]}]({'../' * depth}{found.name})"
        return link[1]

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", replaced, re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text))


def reference() -> dict[str, str]:
    """A page for each group of public names, whose docstrings mkdocstrings shows."""
    import outgrow

    groups: dict[str, list[str]] = defaultdict(list)
    for name in outgrow.__all__:
        thing = getattr(outgrow, name)
        if inspect.ismodule(thing) or name == "__version__":
            continue
        module = importlib.import_module(thing.__module__) if hasattr(thing, "__module__") else None
        if module is None or not module.__name__.startswith("outgrow."):
            continue
        parts = module.__name__.split(".")
        section = parts[2] if parts[1] == "ml" and len(parts) > 3 else parts[1]
        groups[section].append(f"{module.__name__}.{thing.__name__}")
    pages = {}
    for section, names in groups.items():
        title = _TITLES.get(section, section.replace("_", " ").capitalize())
        blocks = "\n\n".join(f"::: {name}" for name in sorted(set(names)))
        pages[f"api/{section}.md"] = f"# {title}\n\n{blocks}\n"
    return pages


def notebooks() -> dict[str, bytes]:
    """The tutorials as notebooks: text and code in turns."""
    return {
        f"tutorials/{page.stem}.ipynb": nbformat.writes(notebook(page)).encode()
        for page in sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    }


def notebook(page: Path) -> Any:
    """A page as a notebook.

    Parameters
    ----------
    page : of Markdown, whose blocks of Python are its cells of code.
    """
    made, text, end = nbformat.v4.new_notebook(), page.read_text(), 0
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, block in enumerate(_BLOCK.finditer(text)):
        words = text[end : block.start()].strip()
        if words:
            made.cells.append(nbformat.v4.new_markdown_cell(words, id=f"text-{number}"))
        made.cells.append(nbformat.v4.new_code_cell(block[1].strip(), id=f"code-{number}"))
        end = block.end()
    if text[end:].strip():
        made.cells.append(nbformat.v4.new_markdown_cell(text[end:].strip(), id="end"))
    return made
