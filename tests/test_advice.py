"""The formula by which a strategy is advised, beside what was counted and measured."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.test_strategies import linked

from outgrow.deep.advice import CHOICES, IN_PARTS, Choice, advised
from outgrow.deep.codecs import Codec
from outgrow.deep.strategy_words import strategy_of
from outgrow.deep.topologies import TOPOLOGIES
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

RESULTS = Path(__file__).parents[1] / "bench" / "results" / "strategies.md"


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: str(choice.words))
def test_bytes_are_those_that_are_counted(choice: Choice) -> None:
    numbers = 300_000
    codec: Codec | None = getattr(strategy_of(choice.words), "codec", None)

    def work(links: Links) -> int:
        array = np.random.default_rng(links.rank).normal(size=numbers).astype(np.float32)
        if codec is None:
            TOPOLOGIES["mesh"](links, array)
        else:
            codec.sum(links, array, [(numbers,)], {})
        return links.sent_bytes

    for sent in linked(3, work):
        assert sent == pytest.approx(choice.bytes_sent(numbers, 3), rel=0.02)


def test_seconds_are_about_those_that_were_measured() -> None:
    """Of a hundred steps between four ranks at 100 Mbit/s and 25 ms; a step itself takes 0.1 s."""
    text = RESULTS.read_text()
    parameters = int(re.search(r"perceptron of ([\d,]+)", text)[1].replace(",", ""))  # type: ignore[index]
    rows = {cells[1].strip(): float(cells[2]) for cells in (line.split("|") for line in _rows(text))}
    measured = {
        "ddp, mesh": CHOICES[0],
        "ddp, bfloat16": CHOICES[1],
        "ddp, int8": CHOICES[2],
        "local SGD, 20": replace(CHOICES[3], every=20),
        "DiLoCo, 50": replace(CHOICES[4], every=50),
    }
    for name, choice in measured.items():
        seconds = 100 * choice.seconds(parameters, 4, megabits=100, milliseconds=25, step=0.1)
        assert seconds == pytest.approx(rows[name], rel=0.25)


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\| .* \| \d", line)]


def test_slower_networks_and_larger_models_merge_less() -> None:
    def place(parameters: int, megabits: float, milliseconds: float) -> int:
        return CHOICES.index(advised(parameters, 4, megabits=megabits, milliseconds=milliseconds, step=0.1))

    speeds = [place(1_000_000, megabits, 5) for megabits in (100_000, 1_000, 300, 100, 10, 1)]
    assert speeds == sorted(speeds)
    assert speeds[0] == 0
    assert speeds[-1] == len(CHOICES) - 1
    sizes = [place(parameters, 1_000, 5) for parameters in (10_000, 1_000_000, 100_000_000, 10_000_000_000)]
    assert sizes == sorted(sizes)
    assert place(1_000, 10_000, 200) > place(1_000, 10_000, 1)


def test_networks_without_room_go_in_parts() -> None:
    how = {"megabits": 1_000.0, "milliseconds": 1.0, "step": 0.1}
    assert advised(1_000_000, 4, memory=8e6, **how) is IN_PARTS
    assert strategy_of(IN_PARTS.words) == strategy_of("fsdp")
    with pytest.raises(ParameterError, match="more than 4 ranks of 1,000,000 bytes"):
        advised(1_000_000, 4, memory=1e6, **how)
    with pytest.raises(ParameterError, match="'ranks': 0"):
        advised(1_000_000, 0, **how)
