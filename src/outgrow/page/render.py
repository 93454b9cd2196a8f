"""One-file HTML pages from templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from outgrow.engine.memory import describe_size
from outgrow.page import format as say


@dataclass(frozen=True)
class Plot:
    """A figure with what it shows and how to read it."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False


def plot(title: str, caption: str, svg: str, *, wide: bool = False) -> Plot:
    """A figure with its texts.

    Parameters
    ----------
    title : the heading.
    caption : what is to be seen.
    svg : the drawing, put into the page as it is.
    wide : as wide as the page.
    """
    return Plot(title, caption, Markup(svg), wide)


def render(folder: Path, template: str, **context: Any) -> str:
    """The page of a template, which may build on the shared ones.

    Parameters
    ----------
    folder : holds the template.
    template : the name of its file there.
    context : what the template names.
    """
    return _environment(folder).get_template(template).render(**context)


@lru_cache(8)
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "count": say.count,
        "number": say.number,
        "share": say.share,
        "seconds": say.seconds,
        "rate": say.rate,
        "size": describe_size,
        "metric": say.metric_name,
    }
    environment.filters |= filters
    return environment
