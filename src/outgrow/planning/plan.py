"""`og.plan`: what a job will take, where, and whether it needs all its rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from outgrow.engine.memory import available_bytes, describe_size
from outgrow.errors import DataError, OutgrowError
from outgrow.job.load import load_job
from outgrow.page import format as say
from outgrow.planning import history
from outgrow.planning.curve import Curve, curve_of
from outgrow.planning.deployment import Need, Way, ways
from outgrow.planning.forecast import Forecast, forecast
from outgrow.planning.places import PRICES, Network, Place, as_rows, federated, places, read_prices
from outgrow.planning.probe import Answers, Loss, Probe, Request, Size

_PATIENCE = 10.0
"""A probe may take so many times the time that was allowed before it is given up."""
_SHORT = 120.0
"""Seconds that nobody needs a cluster for."""


@dataclass(frozen=True)
class Plan:
    """What a job will take.

    Attributes
    ----------
    job : the path of the job file.
    size : how many rows it has.
    probes : runs of samples.
    forecast : what all rows take on this machine.
    places : where it may run, this machine first.
    curve : whether a sample is enough.
    answers : how quickly the model answers.
    ways : of putting it to work.
    currency : of prices.
    seconds : what planning took.
    losses : of models learned from samples.
    settings : values that were set in the job file.
    """

    job: str
    size: Size
    probes: Sequence[Probe]
    forecast: Forecast
    places: Sequence[Place]
    curve: Curve
    answers: Answers
    ways: Sequence[Way]
    currency: str
    seconds: float
    losses: Sequence[Loss] = ()
    settings: Sequence[str] = field(default=())

    @property
    def advice(self) -> list[str]:
        """What to do, in sentences, the most important first."""
        here = self.places[0]
        sentences = [self._where(here), str(self.curve)]
        fitting = [way.name for way in self.ways if way.fits]
        if fitting:
            sentences.append(f"Put it to work in: {', '.join(fitting)}.")
        return sentences

    def _where(self, here: Place) -> str:
        took = f"{say.seconds(here.seconds.value)} and {describe_size(int(here.memory))} here"
        best = min(self.places, key=lambda choice: choice.seconds.value)
        if here.spilled:
            return (
                f"It does not fit: {took}, with {describe_size(int(here.spilled))} of rows on disk. "
                f"{best.where} would take {say.seconds(best.seconds.value)}."
            )
        if best is here or here.seconds.value < _SHORT:
            return f"No cluster is needed: {took}."
        gain = here.seconds.value / best.seconds.value
        return (
            f"It fits: {took}. {best.where} would be {gain:.1f} times as fast, in "
            f"{say.seconds(best.seconds.value)}, if that is worth it."
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; every number with its formula."""
        return {
            "job": self.job,
            "settings": list(self.settings),
            "size": asdict(self.size),
            "probes": [asdict(probe) for probe in self.probes],
            "stages": {name: asdict(estimate) for name, estimate in self.forecast.stages.items()},
            "places": as_rows(self.places),
            "curve": asdict(self.curve),
            "answers": asdict(self.answers),
            "ways": [asdict(way) for way in self.ways],
            "advice": self.advice,
            "currency": self.currency,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{self.job}: {self.size.rows:,} rows, planned in {say.seconds(self.seconds)}", ""]
        heads = ("where", "time", "from", "to", "memory", "on disk", "sent", self.currency)
        cells = [heads, *(self._cells(choice) for choice in self.places)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
        for row in cells:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, "", *self.advice])

    def _cells(self, choice: Place) -> tuple[str, ...]:
        return (
            choice.where,
            say.seconds(choice.seconds.value),
            say.seconds(choice.seconds.low),
            say.seconds(choice.seconds.high),
            describe_size(int(choice.memory)),
            describe_size(int(choice.spilled)) if choice.spilled else "",
            describe_size(int(choice.sent)) if choice.sent else "",
            "" if choice.price is None else f"{choice.price:.3f}",
        )


def plan(
    job: str | os.PathLike[str],
    *,
    settings: Sequence[str] = (),
    seconds: float = 30.0,
    tolerance: float = 0.001,
    need: Need | None = None,
    network: Network | None = None,
    executors: Sequence[int] = (2, 4, 8, 16),
    sites: int | None = None,
    prices: str | os.PathLike[str] | None = None,
) -> Plan:
    """Say what a job will take, where, and whether it needs all its rows, before it runs.

    Samples of the job's rows, read from all over its data, go through the whole job in another process.

    Parameters
    ----------
    job : the path of the job file.
    settings : values to set in it, each like 'model.C=0.1'.
    seconds : how long samples may be tried; a job's query is run besides.
    tolerance : the difference in loss that does not matter, when a sample is compared with all rows.
    need : what is asked of the model.
    network : between the executors of a cluster.
    executors : numbers of them to show.
    sites : of a federation to show.
    prices : a file with the prices of machines; `outgrow/planning/prices.yaml` has examples.

    Raises
    ------
    DataError
        When the job cannot be run on a sample; the message is the job's.

    Notes
    -----
    Time is extrapolated stage by stage as a + b rows, as Ernest does (Venkataraman et al., NSDI 2016); a
    cluster is that work divided among its cores, the wait for the slowest rank, and all-reduces
    (docs/scaling.md).

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, pyarrow as pa, pyarrow.parquet as pq, outgrow as og
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> x = np.random.default_rng(0).normal(size=3000)
    >>> pq.write_table(pa.table({"x": x, "y": x + 1}), folder / "rows.parquet")
    >>> job = "name: one\\ndata: {path: rows.parquet}\\ntarget: y\\nmodel: Ridge\\noutput: out\\n"
    >>> _ = (folder / "job.yaml").write_text(job)
    >>> og.plan(folder / "job.yaml", seconds=3).size.rows
    3000
    """
    began = time.perf_counter()
    load_job(job, settings)  # mistakes in the file are said at once
    currency, machines = read_prices(PRICES if prices is None else os.fspath(prices))
    size, probes, answers, losses = _probed(Request(os.fspath(job), list(settings), seconds))
    correction = history.factor()
    known = forecast(probes, size, correction)
    memory = available_bytes()
    history.note(os.fspath(job), settings, known.seconds.value, known.memory.value, correction)
    cores = os.cpu_count() or 1
    lines = network or Network()
    choices = places(known, size, cores, memory, network=lines, machines=machines, executors=executors)
    if sites is not None:
        choices.append(federated(known, cores, sites, lines))
    learned = size.rows if not losses else round(size.rows * losses[-1].rows / probes[-1].rows)
    return Plan(
        os.fspath(job),
        size,
        probes,
        known,
        choices,
        curve_of(losses, learned, tolerance),
        answers,
        ways(answers, need or Need()),
        currency,
        time.perf_counter() - began,
        tuple(losses),
        tuple(settings),
    )


def _probed(request: Request) -> tuple[Size, list[Probe], Answers, list[Loss]]:
    """What a process of its own tells of the job."""
    command = [sys.executable, "-m", "outgrow.planning.probe"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(asdict(request)),
            capture_output=True,
            text=True,
            timeout=_PATIENCE * request.seconds + 600,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{request.job} could not be tried within {error.timeout:.0f} s. Plan it on fewer rows: "
            "--set sample=0.01."
        ) from error
    heard: dict[str, list[Any]] = {"Size": [], "Probe": [], "Answers": [], "Loss": []}
    kinds = {"Size": Size, "Probe": Probe, "Answers": Answers, "Loss": Loss}
    for line in done.stdout.splitlines():
        for name, value in json.loads(line).items():
            if name == "error":
                raise DataError(f"{request.job} cannot be run on a sample of its rows: {value}")
            heard[name].append(kinds[name](**value))
    if not heard["Answers"]:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise OutgrowError(f"The process that tries {Path(request.job).name} ended early: {last}")
    return heard["Size"][0], heard["Probe"], heard["Answers"][0], heard["Loss"]
