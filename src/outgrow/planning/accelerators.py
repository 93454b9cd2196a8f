"""Cores or an accelerator: what a network learns from a million rows for on each, and from where one pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outgrow.planning.places import Machine, Prices
from outgrow.planning.strategies import Training


@dataclass(frozen=True)
class Cost:
    """Of a million rows, each learned from as often as the job does.

    Attributes
    ----------
    hardware : the machine.
    times : how many times as fast as the machine's cores alone, as the prices state it; 1 for those, None
        where they state nothing.
    seconds, cost : of a million rows; None where nothing is stated.
    formula : of `cost`, or from how many times the accelerator pays.
    """

    hardware: str
    times: float | None
    seconds: float | None
    cost: float | None
    formula: str


def costs(training: Training, cores: int, prices: Prices) -> list[Cost]:
    """The cheapest machine of cores alone, and each with an accelerator; the cheapest first.

    Work is divided among cores evenly: what takes a second on `cores` here takes cores / others there.

    Parameters
    ----------
    training : of a sample, on this machine.
    cores : of this machine.
    prices : of the others.
    """
    million = training.step / training.batch_size * training.epochs * 1e6 * cores
    plain = min(prices.machines, key=lambda machine: machine.price / machine.cores)
    known, unknown = [_cost(plain, 1.0, million)], []
    for machine in prices.accelerators:
        if machine.networks:
            known.append(_cost(machine, times_of(machine.networks, training.parameters), million))
        else:
            unknown.append(_unstated(machine, plain))
    return sorted(known, key=lambda cost: cost.cost or 0.0) + unknown


def times_of(stated: Sequence[Sequence[float]], parameters: int) -> float:
    """How many times as fast, between two sizes by the logarithm of what is learned.

    Parameters
    ----------
    stated : pairs of numbers that are learned, and times.
    parameters : that the network learns.
    """
    sizes, times = np.array(sorted([float(size), float(times)] for size, times in stated)).T
    return float(np.exp(np.interp(np.log(parameters), np.log(sizes), np.log(times))))


def _cost(machine: Machine, times: float, million: float) -> Cost:
    seconds = million / machine.cores / times
    words = (
        f"{million:.3g} core seconds a million rows / {machine.cores} cores / {times:.3g} times "
        f"x {machine.price:g} an hour / 3600"
    )
    return Cost(machine.name, times, seconds, seconds * machine.price / 3600, words)


def _unstated(machine: Machine, plain: Machine) -> Cost:
    words = "nothing is stated"
    if plain.price:
        pays = machine.price / machine.cores / (plain.price / plain.cores)
        words += (
            f"; it pays from {pays:.3g} times its cores: "
            f"({machine.price:g} / {machine.cores} cores) / ({plain.price:g} / {plain.cores} cores)"
        )
    return Cost(machine.name, None, None, None, words)
