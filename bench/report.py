"""Results as JSON, as Markdown and in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cases import CASES
from bench.cases.names import LOCAL, SCAN
from bench.contest import Case, Record, Target

_FRAME = """reading, one shuffle and handing the rows to Python take most of the time whatever is fitted;
of the turns of a logistic fit all but the first find the rows written before"""
_PATH = "the target was set where MLlib took 21.6 s; here it takes less, and our fit 3 scans of the columns"
_IDLE = """Spark ends processes of Python that had nothing to do for a minute, as while MLlib's turn lasts,
and new ones load everything anew: the first turn, before any of MLlib's, took 4.3 s, a twelfth of MLlib's"""
_MLFLOW = "most of ours is what the same scoring takes without Spark; the rest is Spark's job"
REASONS = {
    ("scoring", "outgrow on Spark, path : mlflow spark_udf of scikit-learn"): _MLFLOW,
    ("linear", "outgrow on Spark, DataFrame : Spark MLlib, DataFrame"): " ".join(_FRAME.split()),
    ("logistic", "outgrow on Spark, path : Spark MLlib"): _PATH,
    ("kmeans", "outgrow on Spark, path : Spark MLlib"): " ".join(_IDLE.split()),
}
"""Why a target is missed, by case and by what is compared ('ours : peer')."""

INTRODUCTION = """
Written by `python -m bench`. Every contender goes from Parquet to a fitted model, in turns with the others
(A B C A B C), after an untimed run of each on 20,000 rows; the Spark session is shared and warm (one job
and one fit before all). Seconds are medians. "x outgrow" is the time as a multiple of outgrow's on this
machine; "scans" is it as a multiple of 1 scan, PyArrow reading the same columns. "others" is how many cores
other users of the machine had during each run; the benchmark waits for them, five minutes in all, and
repeats a disturbed run (more than 0.2 cores) once, the calmer one counting; MLlib is not repeated. Peak
memory is that of one run in a fresh process, libraries included: its high-water mark, or with Spark the
most that the JVM (which may take 8 GiB and gives little back) and the Python workers held together, which
the first case measures. A fit to a worse optimum counts as a missed target.
""".strip()

HEADER = ("contender", "median s", "runs", "others", "scans", "x outgrow", "quality", "peak MiB")
TARGET_HEADER = ("case", "compared", "target", "reached", "", "reason")


def write(
    folder: Path, case: Case, records: Sequence[Record], rows: int | None, facts: dict[str, str]
) -> None:
    """One case as JSON."""
    content = {
        "case": case.name,
        "rows": rows,
        "machine": facts,
        "contenders": [{**asdict(record), "median": record.median} for record in records],
        "targets": [
            _judged(case, target, {record.contender: record for record in records}) for target in case.targets
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{case.name}.json").write_text(json.dumps(content, indent=1) + "\n")


def summarise(folder: Path) -> None:
    """All results in the folder as README.md and in the terminal."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    results = [result for result in found if "case" in result]
    results.sort(key=lambda result: list(CASES).index(result["case"]))
    (folder / "README.md").write_text("\n".join(_page(results)) + "\n")
    console = Console()
    for result in results:
        _show(console, CASES[result["case"]].title, HEADER, _rows(result))
    _show(console, "Targets", TARGET_HEADER, [row for result in results for row in _target_rows(result)])
    console.print(f"Written: {folder}")


def _judged(case: Case, target: Target, records: dict[str, Record]) -> dict[str, Any]:
    ours, peer = records[target.ours], records[target.peer]
    ratio = target.ratio(ours.median, peer.median)
    worse = _worse(case, ours, peer)
    compared = f"{target.ours} : {target.peer}"
    return {
        "compared": compared,
        "aim": target.aim,
        "ratio": ratio,
        "met": target.met(ratio) and not worse,
        "worse": worse,
    }


def _worse(case: Case, ours: Record, peer: Record) -> bool:
    """Whether ours is a fit to a worse optimum."""
    if not ours.quality or not peer.quality:
        return False
    reached, theirs = (next(iter(record.quality.values())) for record in (ours, peer))
    return case.quality.worse(reached, theirs)


def _page(results: Sequence[dict[str, Any]]) -> Iterable[str]:
    yield "# Benchmarks"
    yield ""
    yield INTRODUCTION
    yield ""
    yield "## Targets"
    yield ""
    yield from _markdown(TARGET_HEADER, [row for result in results for row in _target_rows(result)])
    for result in results:
        case = CASES[result["case"]]
        yield ""
        yield f"## {case.title}"
        yield ""
        rows = f"{result['rows']:,} rows. " if result["rows"] else ""
        yield f"{rows}{case.notes}".strip()
        yield ""
        yield from _markdown(HEADER, _rows(result))
    yield ""
    yield "## Machine"
    yield ""
    yield from _machines(results)


def _machines(results: Sequence[dict[str, Any]]) -> Iterable[str]:
    told: list[dict[str, str]] = []
    for result in results:
        if result["machine"] not in told:
            told.append(result["machine"])
            names = [each["case"] for each in results if each["machine"] == result["machine"]]
            facts = "; ".join(f"{name} {value}" for name, value in result["machine"].items())
            yield f"- {', '.join(names)}: {facts}"


def _rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    medians = {each["contender"]: median(each["seconds"]) for each in result["contenders"]}
    return [_row(each, medians) for each in result["contenders"]]


def _row(each: dict[str, Any], medians: dict[str, float]) -> tuple[str, ...]:
    seconds = medians[each["contender"]]
    scans = f"{seconds / medians[SCAN]:.1f}" if SCAN in medians else ""
    peak = f"{each['peak_bytes'] / 2**20:,.0f}" if each["peak_bytes"] else "-"
    return (
        each["contender"],
        f"{seconds:.2f}",
        _list(each["seconds"], 2),
        _list(each["others"], 1),
        scans,
        f"{seconds / medians[LOCAL]:.2f}",
        _qualities(each["quality"]),
        peak,
    )


def _list(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def _qualities(quality: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.9g}" if abs(value) < 1 else f"{name} {value:,.7g}" for name, value in quality.items()
    )


def _target_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [_target_row(result["case"], each) for each in result["targets"]]


def _target_row(case: str, target: dict[str, Any]) -> tuple[str, ...]:
    reason = "" if target["met"] else REASONS.get((case, target["compared"]), "")
    if target["worse"]:
        reason = f"fits worse than the peer. {reason}".strip()
    verdict = "met" if target["met"] else "MISSED"
    return case, target["compared"], target["aim"], f"{target['ratio']:.2f}", verdict, reason


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _show(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(
            name, justify="right" if name in ("median s", "scans", "x outgrow", "peak MiB") else "left"
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)
