"""Where a job may run, and what it takes there: this machine, a cluster, sites that keep their rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from outgrow.data.yaml_files import YamlLoader
from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.planning.forecast import Estimate, Forecast
from outgrow.planning.network import Network
from outgrow.planning.probe import Size

EXECUTORS = (2, 4, 8, 16, 32)
PRICES = Path(__file__).parent / "prices.yaml"

_SESSION = 8.0
"""Seconds until a Spark session and its executors are there."""
_START, _LAUNCH = 0.3, 0.002
"""Of an empty fit, and of each task that the driver starts (docs/scaling.md)."""
_SPREAD = 0.05
"""Standard deviation of the ranks' times, as a share."""
_SLOWER = 1.15
"""What a stage takes more in Spark's tasks than on threads, measured on one machine."""
_STATE = 100_000
"""Floats in what ranks add up at the end of a pass, where nobody knows better."""
_LIBRARIES = 400 << 20
"""Bytes that a rank holds beside its rows."""


@dataclass(frozen=True)
class Machine:
    """What is to be had.

    Attributes
    ----------
    name : as it is shown.
    cores, memory_gib : of one.
    price : of an hour, in the currency of the file.
    """

    name: str
    cores: int
    memory_gib: float
    price: float


@dataclass(frozen=True)
class Accelerator(Machine):
    """A machine with an accelerator.

    Attributes
    ----------
    networks : pairs of the numbers that a network learns, and how many times the rows a second it then
        learns from that the cores of this machine do alone; empty where nobody measured.
    """

    networks: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Place:
    """What a job takes somewhere.

    Attributes
    ----------
    where : in words.
    seconds : in all.
    memory : bytes at the peak, of one process.
    spilled : bytes of rows that do not fit, and go to a file.
    sent : bytes over the network.
    price : None where there is none.
    """

    where: str
    seconds: Estimate
    memory: float
    spilled: float
    sent: float
    price: float | None


@dataclass(frozen=True)
class Prices:
    """What a file of prices says.

    Attributes
    ----------
    currency : of all prices.
    machines : with cores alone.
    accelerators : with an accelerator, too.
    """

    currency: str
    machines: Sequence[Machine]
    accelerators: Sequence[Accelerator] = ()


def read_prices(path: str | Path = PRICES) -> Prices:
    """The machines with their prices.

    Parameters
    ----------
    path : of YAML with `currency` and `machines`, each with name, cores, memory_gib, price; and maybe
        `accelerators`, each with `networks` besides.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    ParameterError
        When it is not like that.
    """
    try:
        given = yaml.load(Path(path).read_text(), YamlLoader)
        prices = Prices(
            str(given["currency"]),
            [Machine(**machine) for machine in given["machines"]],
            [Accelerator(**machine) for machine in given.get("accelerators", ())],
        )
        _check_prices(prices)
    except OSError as error:
        raise InputNotFoundError(
            f"{path} cannot be read: {error.strerror}. Give a file of prices."
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ParameterError(
            f"{path} is no list of prices: {error}. Give `currency`, and `machines` with name, cores, "
            "memory_gib and price (of an hour) each."
        ) from error
    return prices


def _check_prices(prices: Prices) -> None:
    """Refuse what a machine cannot have; no price at all (one's own machines) is one."""
    if not prices.machines:
        raise ValueError("there are no machines")
    for machine in (*prices.machines, *prices.accelerators):
        if not (machine.cores >= 1 and machine.memory_gib > 0 and machine.price >= 0):
            raise ValueError(
                f"{machine.name} has {machine.cores} cores, {machine.memory_gib} GiB, price {machine.price}"
            )
    for accelerator in prices.accelerators:
        if not all(float(size) > 0 and float(times) > 0 for size, times in accelerator.networks):
            raise ValueError(f"networks of {accelerator.name} are pairs of numbers above 0")


def places(
    known: Forecast,
    size: Size,
    cores: int,
    memory: int,
    *,
    network: Network,
    prices: Prices,
    executors: Sequence[int] = EXECUTORS,
) -> list[Place]:
    """Where the job may run; this machine first.

    Parameters
    ----------
    known : what it takes here.
    size : how many rows there are.
    cores, memory : of this machine; bytes.
    network : between executors.
    prices : of the machines of which executors are; the cheapest that holds its share is taken.
    executors : how many of them.
    """
    held = min(known.memory.value, memory)
    choices = [Place("this machine", known.seconds, held, _over(known, memory), 0.0, None)]
    for count in executors:
        machine = _cheapest(prices.machines, known.memory.value / count)
        if machine is not None:
            choices.append(_cluster(known, size, cores, count, machine, network))
    return choices


def _over(known: Forecast, memory: float) -> float:
    """Bytes past what a process may hold."""
    return max(0.0, known.memory.value - 0.8 * memory)


def _cheapest(machines: Sequence[Machine], nbytes: float) -> Machine | None:
    fitting = [m for m in machines if m.memory_gib * 2**30 * 0.6 > nbytes + _LIBRARIES]
    return min(fitting or machines, key=lambda m: m.price / m.cores, default=None)


def _cluster(
    known: Forecast, size: Size, cores: int, count: int, machine: Machine, network: Network
) -> Place:
    """session + start + work / cores (1 + spread sqrt(2 ln N)) + passes x all-reduce (docs/scaling.md)."""
    ranks = count * machine.cores
    wait = 1 + _SPREAD * math.sqrt(2 * math.log(ranks))
    fixed = _SESSION + _START + _LAUNCH * ranks
    sending = known.passes * network.allreduce(ranks, _STATE)

    def seconds(work: float) -> float:
        return fixed + _SLOWER * work * cores / ranks * wait + sending

    words = (
        f"{fixed:.3g} s + {_SLOWER} x {known.seconds.value:.3g} s x {cores} / {ranks} cores x {wait:.3g} "
        f"+ {known.passes} passes x {network.allreduce(ranks, _STATE):.3g} s"
    )
    here = known.seconds
    took = Estimate(seconds(here.value), seconds(here.low), seconds(here.high), words)
    held = _LIBRARIES + (size.nbytes or 0) / ranks
    room = machine.memory_gib * 2**30 * 0.6 / machine.cores
    sent = 2.0 * (ranks - 1) * _STATE * 8 * known.passes
    price = took.value / 3600 * machine.price * (count + 1)
    return Place(
        f"Spark, {count} executors of {machine.cores} cores ({machine.name})",
        took,
        min(held, room),
        max(0.0, held - room) * ranks,
        sent,
        price,
    )


def federated(known: Forecast, cores: int, sites: int, network: Network) -> Place:
    """The same fit over sites that keep their rows, each a machine like this one.

    Parameters
    ----------
    known : what it takes here.
    cores : of this machine, and of each site.
    sites : how many.
    network : from the sites to the server; all rounds cross it.
    """
    fit = known.stages["fit"]
    crossing = known.passes * 2 * (1e-3 * network.milliseconds + 64e-6 * _STATE * sites / network.megabits)
    of_pass = crossing / max(1, known.passes)
    words = f"{fit.value:.3g} s of fit / {sites} sites + {known.passes} passes x {of_pass:.3g} s"
    value, low, high = (part / sites + crossing for part in (fit.value, fit.low, fit.high))
    took = Estimate(value, low, high, words)
    sent = 2.0 * sites * _STATE * 8 * known.passes
    return Place(f"federated, {sites} sites", took, known.memory.value / sites, 0.0, sent, None)


def as_rows(choices: Sequence[Place]) -> list[dict[str, Any]]:
    """As JSON has them."""
    return [
        {
            "where": choice.where,
            "seconds": choice.seconds.value,
            "low": choice.seconds.low,
            "high": choice.seconds.high,
            "memory": choice.memory,
            "spilled": choice.spilled,
            "sent": choice.sent,
            "price": choice.price,
            "formula": choice.seconds.formula,
        }
        for choice in choices
    ]
