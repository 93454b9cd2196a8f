"""A plan for the terminal, as a page, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table

from outgrow.engine.memory import describe_size
from outgrow.errors import ParameterError
from outgrow.job.writing import write_text
from outgrow.page import format as say
from outgrow.page.plots import learning_curve
from outgrow.page.render import render
from outgrow.page.tabular import html_table
from outgrow.planning.history import Compared, earlier
from outgrow.planning.plan import Plan
from outgrow.track.environment import libraries

TEMPLATES = Path(__file__).parent / "templates"
_HEADS = ("where", "time", "from", "to", "memory", "on disk", "network")


def plan_tables(plan: Plan) -> Iterator[Any]:
    """What is printed: where it may run, how to put it to work, and what to do.

    Parameters
    ----------
    plan : what is shown.
    """
    title = f"{plan.job}: {plan.size.rows:,} rows, planned in {say.seconds(plan.seconds)}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for number, head in enumerate((*_HEADS, plan.currency)):
        table.add_column(head, justify="left" if number == 0 else "right")
    for number, row in enumerate(_places(plan)):
        table.add_row(*row.values(), style="bold" if number == 0 else "")
    yield table
    ways = Table(box=SIMPLE_HEAD)
    ways.add_column("")
    ways.add_column("to put it to work")
    ways.add_column("because")
    for way in plan.ways:
        ways.add_row("[green]✓[/]" if way.fits else "", way.name, way.because)
    yield ways
    yield "\n".join(plan.advice)


def compared_table(compared: Compared) -> Any:
    """What is printed after a run: seconds and memory beside the plan.

    Parameters
    ----------
    compared : the run and its plan.
    """
    table = Table(box=SIMPLE_HEAD)
    for number, head in enumerate(("", "planned", "took", "off")):
        table.add_column(head, justify="left" if number == 0 else "right")
    for row in _beside(compared):
        table.add_row(*row.values(), style="bold" if row["stage"] == "in all" else "")
    return table


def plan_page(plan: Plan) -> str:
    """A page of HTML that needs no network.

    Parameters
    ----------
    plan : what is shown.
    """
    stages = [
        {
            "stage": name,
            "seconds": say.seconds(e.value),
            "from": say.seconds(e.low),
            "to": say.seconds(e.high),
        }
        for name, e in plan.forecast.stages.items()
    ]
    return render(
        TEMPLATES,
        "plan.html.j2",
        title=f"Plan of {Path(plan.job).name}",
        plan=plan,
        here=plan.places[0],
        places=html_table([*_HEADS, plan.currency], list(_places(plan))),
        stages=html_table(["stage", "seconds", "from", "to"], stages),
        rivals=_table(_rivals(plan)),
        strategies=_table(_strategies(plan)),
        costs=_table(_costs(plan)),
        ways=_table(
            {"way": w.name, "fits": "yes" if w.fits else "", "because": w.because} for w in plan.ways
        ),
        formulas=_table(_formulas(plan)),
        figure=_figure(plan),
        runs=_table(_runs(plan)),
        libraries=libraries(),
        began=datetime.now(UTC),
    )


def write_plan(plan: Plan, path: str, *, overwrite: bool = False) -> None:
    """Write a page or JSON, as the path ends.

    Parameters
    ----------
    plan : what is written.
    path : ends in .html or .json.
    overwrite : replace a file that is there.
    """
    if path.endswith(".json"):
        text = json.dumps(plan.to_dict(), indent=1, default=float) + "\n"
    elif path.endswith(".html"):
        text = plan_page(plan)
    else:
        raise ParameterError(f"A plan is written as .html or .json, not as {path!r}.")
    write_text(path, text, overwrite=overwrite)


def _places(plan: Plan) -> Iterator[dict[str, str]]:
    for choice in plan.places:
        yield {
            "where": choice.where,
            "time": say.seconds(choice.seconds.value),
            "from": say.seconds(choice.seconds.low),
            "to": say.seconds(choice.seconds.high),
            "memory": describe_size(choice.memory),
            "on disk": describe_size(choice.spilled) if choice.spilled else "",
            "network": describe_size(choice.sent) if choice.sent else "",
            plan.currency: "" if choice.price is None else f"{choice.price:.3f}",
        }


def _figure(plan: Plan) -> Markup | None:
    """The learning curve, and where it leads."""
    curve = plan.curve
    if curve.refused or not plan.losses:
        return None
    sizes = np.geomspace(plan.losses[0].rows, curve.total, 200)
    dots = [(loss.rows, value) for loss in plan.losses for value in loss.losses]
    return Markup(learning_curve(dots, sizes, curve.at(sizes), (curve.low, curve.high), curve.enough))


def _beside(compared: Compared) -> Iterator[dict[str, str]]:
    """Planned, taken, and the difference as a share: of each stage, in all, and of memory."""
    planned, took = compared.planned, compared.took
    for stage, seconds in took.stages.items():
        if stage in planned.stages:
            yield _row(stage, planned.stages[stage], seconds, say.seconds)
    yield _row("in all", planned.seconds, took.seconds, say.seconds)
    yield _row("memory", planned.memory, took.memory, describe_size)


def _row(name: str, planned: float, took: float, shown: Callable[[Any], str]) -> dict[str, str]:
    off = f"{planned / took - 1:+.0%}" if took else ""
    return {"stage": name, "planned": shown(planned), "took": shown(took), "off": off}


def _table(rows: Iterable[dict[str, str]]) -> Markup | None:
    """None of no rows."""
    given = list(rows)
    return html_table(list(given[0]), given) if given else None


def _rivals(plan: Plan) -> Iterator[dict[str, str]]:
    for rival in plan.rivals:
        yield {
            "algorithm": rival.name,
            "fit": say.seconds(rival.seconds),
            "fit of the job's": say.seconds(rival.of_job),
            rival.metric: say.score(rival.loss),
            "of the job's": say.score(rival.job_loss),
            "more, from": f"{rival.low:+.4f}",
            "to": f"{rival.high:+.4f}",
        }


def _strategies(plan: Plan) -> Iterator[dict[str, str]]:
    for way in plan.strategies:
        yield {
            "ranks": str(way.ranks),
            "strategy": json.dumps(way.words),
            "advised": "yes" if way.advised else "",
            "a step": say.seconds(way.step),
            "training": say.seconds(way.seconds),
            "sent by a rank": describe_size(int(way.sent)),
            "learns": way.learns,
        }


def _costs(plan: Plan) -> Iterator[dict[str, str]]:
    for cost in plan.costs:
        yield {
            "hardware": cost.hardware,
            "times its cores": "" if cost.times is None else say.number(cost.times),
            "a million rows": "" if cost.seconds is None else say.seconds(cost.seconds),
            f"{plan.currency} a million rows": "" if cost.cost is None else say.number(cost.cost),
        }


def _formulas(plan: Plan) -> Iterator[dict[str, str]]:
    for name, estimate in plan.forecast.stages.items():
        yield {"number": f"{name}, s", "formula": estimate.formula}
    yield {"number": "memory, bytes", "formula": plan.forecast.memory.formula}
    for choice in plan.places:
        yield {"number": f"{choice.where}, s", "formula": choice.seconds.formula}
    for way in plan.strategies:
        yield {"number": f"{way.ranks} ranks, {way.words['name']}, s", "formula": way.formula}
    for cost in plan.costs:
        yield {"number": f"{cost.hardware}, {plan.currency} a million rows", "formula": cost.formula}
    if not plan.curve.refused:
        yield {"number": "loss of so many rows", "formula": plan.curve.formula}


def _runs(plan: Plan) -> Iterator[dict[str, str]]:
    """Earlier runs of the job on this machine, beside what was planned."""
    for compared in earlier(plan.job):
        *_, seconds, memory = _beside(compared)
        yield {
            "run": datetime.fromtimestamp(compared.time, UTC).isoformat(" ", "minutes"),
            "planned": seconds["planned"],
            "took": seconds["took"],
            "off": seconds["off"],
            "memory planned": memory["planned"],
            "held": memory["took"],
            "off by": memory["off"],
        }
