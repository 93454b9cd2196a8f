"""Fill the tables about estimators in docs/ from the classes: `python scripts/estimator_docs.py`.

Parameters, their defaults and their domains are those that the classes declare; their meanings stand in the
docstrings. What differs from scikit-learn is found by comparing signatures, and stands with what differs from
Spark MLlib in the docstring, under Notes: "Unlike scikit-learn: ...", "Unlike Spark MLlib's `PCA(k)`: ...".

A table lies between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. With `--check` nothing is written, and the
exit code is 1 when a table is not that of the classes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.utils import all_estimators

from outgrow.catalogue import ESTIMATORS, estimator_class
from outgrow.groups.per_group import PerGroup
from outgrow.ml.base import Transformer

DOCS = Path(__file__).parents[1] / "docs"
UNLIKE = re.compile(r"^Unlike (scikit-learn|Spark MLlib)(?:'s? (.+?))?:\s+")


def main() -> int:
    stale = [page for page, text in pages() if page.read_text() != text]
    if "--check" not in sys.argv[1:]:
        for page, text in pages():
            page.write_text(text)
        return 0
    for page in stale:
        print(f"{page} is not what the classes say. Run python scripts/estimator_docs.py.", file=sys.stderr)
    return int(bool(stale))


def pages() -> Iterable[tuple[Path, str]]:
    """Each page with generated tables, and what it should say."""
    for name, tables in PAGES.items():
        text = (DOCS / name).read_text()
        for table, lines in tables.items():
            text = filled(text, table, lines())
        yield DOCS / name, text


def filled(text: str, name: str, lines: Iterable[str]) -> str:
    """A page with a table between its marks.

    Parameters
    ----------
    text : the page.
    name : of the table.
    lines : of the table.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{begin} or {end} is missing. Put both where the table belongs.")
    return "\n".join([head + begin, *lines, end + tail])


# ---- what classes say ------------------------------------------------------------------------------------


def classes() -> list[Any]:
    return [estimator_class(name) for name in sorted(ESTIMATORS)]


@cache
def peers() -> dict[str, Any]:
    """scikit-learn's classes by name."""
    return dict(all_estimators())


def defaults(cls: Any) -> dict[str, Any]:
    known = inspect.signature(cls).parameters.items()
    return {name: parameter.default for name, parameter in known if parameter.kind != parameter.VAR_KEYWORD}


def shown(value: Any) -> str:
    """A default as one would write it."""
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, type):
        return f"numpy.{value.__name__}"
    if inspect.isfunction(value):
        return value.__name__
    return "numpy.nan" if isinstance(value, float) and np.isnan(value) else repr(value)


def setting(name: str, value: Any) -> str:
    return code(f"{name}={shown(value)}" if value is not inspect.Parameter.empty else name)


def code(text: str) -> str:
    return f"`{text}`"


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def unlike(cls: Any) -> dict[str, list[tuple[str, str]]]:
    """By library, the name of each class there, where it is said, and what is different here."""
    notes = inspect.getdoc(cls).partition("\nNotes\n-----\n")[2].partition("\nExamples\n----")[0]
    told: dict[str, list[tuple[str, str]]] = {"scikit-learn": [], "Spark MLlib": []}
    for match in map(UNLIKE.match, re.split(r"\n\s*\n", notes)):
        if match:
            told[match[1]].append((match[2] or "", " ".join(match.string[match.end() :].split())))
    return told


def meanings(cls: Any) -> dict[str, str]:
    """What the docstring says of each parameter."""
    section = inspect.getdoc(cls).partition("\nParameters\n----------\n")[2]
    section = re.split(r"\n\n?[A-Z][a-z]+\n---", section)[0]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=[\w*])", section):
        names, _, text = entry.partition(" : ")
        found |= {name.strip(): " ".join(text.split()) for name in names.split(",")}
    return found


def other_defaults(cls: Any) -> list[str]:
    """The parameters whose defaults are not those of scikit-learn's class, with both."""
    ours, theirs = defaults(cls), defaults(peers()[cls.__name__])
    both = [name for name in ours if name in theirs and cls.parameters[name].used]
    different = [name for name in both if shown(ours[name]) != shown(theirs[name])]
    return [f"{setting(name, ours[name])} (there {code(shown(theirs[name]))})" for name in different]


def unused(cls: Any) -> list[str]:
    return [code(name) for name, domain in cls.parameters.items() if not domain.used]


# ---- tables ----------------------------------------------------------------------------------------------


def estimators(wanted: Callable[[Any], bool]) -> Iterable[str]:
    """A line for each estimator of a kind."""
    yield row("estimator", "parameters", "unlike scikit-learn", "unlike Spark MLlib")
    yield row(*["---"] * 4)
    for cls in classes():
        if wanted(cls):
            told, given = unlike(cls), defaults(cls)
            yield row(
                f"[{code(cls.__name__)}](parameters.md#{cls.__name__.lower()})",
                ", ".join(
                    setting(name, value)
                    for name, value in given.items()
                    if cls.parameters[name].used and name != "columns"
                ),
                " ".join(text for _, text in told["scikit-learn"]),
                " ".join(f"{name}: {text}" if name else text for name, text in told["Spark MLlib"]),
            )


def porting_from_sklearn() -> Iterable[str]:
    yield f"Compared with scikit-learn {version()}."
    yield ""
    yield row("scikit-learn", "other defaults here", "only here", "not here", "accepted, and changes nothing")
    yield row(*["---"] * 5)
    for cls in classes():
        peer = peers().get(cls.__name__)
        if peer is not None:
            ours, theirs = defaults(cls), defaults(peer)
            module = peer.__module__.partition("._")[0].removeprefix("sklearn.")
            more = [name for name in ours if name not in theirs and cls.parameters[name].used]
            cells = (
                ", ".join(other_defaults(cls)),
                ", ".join(map(code, more)),
                ", ".join(code(name) for name in theirs if name not in ours),
                ", ".join(unused(cls)),
            )
            if any(cells):
                yield row(code(f"{module}.{cls.__name__}"), *cells)


def version() -> str:
    """scikit-learn's, as far as its parameters depend on it."""
    return ".".join(sklearn.__version__.split(".")[:2])


def porting_from_mllib() -> Iterable[str]:
    yield row("Spark MLlib", "outgrow", "what differs")
    yield row(*["---"] * 3)
    for cls in classes():
        for name, text in unlike(cls)["Spark MLlib"]:
            if name:
                yield row(name, code(cls.__name__), text)


def parameters() -> Iterable[str]:
    """A section for each class, with a line for each parameter."""
    for cls in [*classes(), PerGroup]:
        yield f"## {cls.__name__}"
        yield ""
        yield row("parameter", "default", "allowed", "meaning")
        yield row(*["---"] * 4)
        meaning = meanings(cls)
        for name, value in defaults(cls).items():
            domain = cls.parameters[name]
            default = "" if value is inspect.Parameter.empty else code(shown(value))
            allowed = str(domain) if domain.used else "changes nothing"
            yield row(code(name), default, allowed, meaning.get(name, ""))
        yield ""


PAGES: dict[str, dict[str, Callable[[], Iterable[str]]]] = {
    "estimators.md": {
        "transformers": lambda: estimators(lambda cls: issubclass(cls, Transformer)),
        "models": lambda: estimators(
            lambda cls: not issubclass(cls, Transformer) and cls.__name__ != "Pipeline"
        ),
    },
    "porting.md": {"scikit-learn": porting_from_sklearn, "mllib": porting_from_mllib},
    "parameters.md": {"parameters": parameters},
}


if __name__ == "__main__":
    sys.exit(main())
