"""`og.plan`: samples of a job are tried in another process, and what they tell is drawn further."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from outgrow._process import usable_cores
from outgrow.engine.memory import available_bytes
from outgrow.errors import DataError, OutgrowError, ParameterError
from outgrow.job.load import load_job
from outgrow.planning import history
from outgrow.planning.accelerators import costs
from outgrow.planning.cheaper import Rival
from outgrow.planning.curve import curve_of
from outgrow.planning.deployment import Need, ways
from outgrow.planning.forecast import forecast
from outgrow.planning.network import Network
from outgrow.planning.places import PRICES, federated, places, read_prices
from outgrow.planning.plan import Plan
from outgrow.planning.probe import Answers, Loss, Probe, Request, Size
from outgrow.planning.records import made
from outgrow.planning.strategies import Training, strategies

_PATIENCE = 10.0
"""A probe may take so many times the time that was allowed before it is given up."""
_TOLD = (Size, Probe, Answers, Loss, Rival, Training)


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
    ParameterError
        When a number is not above 0, or the file of prices is none.
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
    loaded = load_job(job, settings)  # mistakes in the file are said at once
    _check(need or Need(), network or Network(), executors, sites, seconds=seconds, tolerance=tolerance)
    given = read_prices(PRICES if prices is None else os.fspath(prices))
    tried = _probed(Request(os.fspath(job), list(settings), seconds))
    size, losses = tried.size, tried.losses
    constants = history.constants()
    known = forecast(tried.probes, size, constants)
    memory = available_bytes()
    cores = usable_cores()
    lines = network or Network()
    choices = places(known, size, cores, memory, network=lines, prices=given, executors=executors)
    if sites is not None:
        choices.append(federated(known, cores, sites, lines))
    learned = size.rows if not losses else round(size.rows * losses[-1].rows / tried.probes[-1].rows)
    training = tried.training
    result = Plan(
        os.fspath(job),
        size,
        tried.probes,
        known,
        choices,
        curve_of(losses, learned, tolerance),
        tried.answers,
        ways(tried.answers, need or Need()),
        given.currency,
        time.perf_counter() - began,
        losses,
        tuple(settings),
        tried.rivals,
        () if training is None else strategies(training, size.rows, lines, memory, executors),
        () if training is None else costs(training, cores, given),
    )
    made(result, loaded, constants)
    return result


def _check(
    need: Need, network: Network, executors: Sequence[int], sites: int | None, **above_0: float
) -> None:
    """Refuse numbers that nothing can have, before anything is tried."""
    wanted = {"latency_ms": need.latency_ms, "rate": need.rate, "volume": need.volume}
    wanted |= {"fresh_seconds": need.fresh_seconds, "megabits": network.megabits, **above_0}
    wrong: dict[str, Any] = {
        name: value for name, value in wanted.items() if value is not None and not value > 0
    }
    counts = {"executors": executors, "sites": [1 if sites is None else sites]}
    wrong |= {name: list(value) for name, value in counts.items() if not all(n >= 1 for n in value)}
    if wrong or network.milliseconds < 0:
        raise ParameterError(f"{wrong or {'milliseconds': network.milliseconds}}: numbers above 0.")


@dataclass
class _Tried:
    """What the process that tries samples has told."""

    size: Size
    probes: list[Probe]
    answers: Answers
    losses: list[Loss]
    rivals: list[Rival]
    training: Training | None


def _probed(request: Request) -> _Tried:
    """What a process of its own tells of the job."""
    done = _run(request)
    heard: dict[str, list[Any]] = {kind.__name__: [] for kind in _TOLD}
    kinds = {kind.__name__: kind for kind in _TOLD}
    for line in done.stdout.splitlines():
        for name, value in json.loads(line).items():
            if name == "error":
                raise DataError(f"{request.job} cannot be run on a sample of its rows: {value}")
            heard[name].append(kinds[name](**value))
    if not heard["Answers"]:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise OutgrowError(f"The process that tries {Path(request.job).name} ended early: {last}")
    return _Tried(
        heard["Size"][0],
        heard["Probe"],
        heard["Answers"][0],
        heard["Loss"],
        heard["Rival"],
        heard["Training"][0] if heard["Training"] else None,
    )


def _run(request: Request) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", "outgrow.planning.probe"],
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
