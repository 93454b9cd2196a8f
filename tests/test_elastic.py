"""Ranks that leave and join while the others go on."""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests import test_strategies as kit
from tests.ranks import ranks

import outgrow as og
from outgrow.deep.replica import Replica
from outgrow.deep.strategies import Strategy
from outgrow.engine.collective import Alone
from outgrow.engine.context import FitContext
from outgrow.engine.ranks import processes
from outgrow.errors import EngineError, ParameterError, RegroupError

X = np.random.default_rng(0).normal(size=(800, 3))
ROWS = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": X[:, 0] * X[:, 1] > 0})


ELASTIC = [og.DDP(), og.LocalSGD(every=4), og.DiLoCo(every=4), og.EASGD(every=4), og.Gossip(every=2)]


def company(strategy: Strategy, between: list[dict[str, Any]], **how: Any) -> list[Any]:
    """What ranks learn together, which know what is between them and an earlier company.

    With `parts`, they part in their second epoch; with `fails`, the last one fails in it.
    """
    parts, fails = how.pop("parts", False), how.pop("fails", False)

    def work(comm: Any) -> Any:
        run = FitContext(comm)
        run.elastic, run.between = True, between[comm.rank]

        def before(replica: Replica, rank: int) -> None:
            run.regroups = lambda: parts and replica.step >= 16
            zero = replica.zero

            def fail() -> None:
                if fails and rank == comm.size - 1 and replica.step == 15:
                    raise ValueError("the disk is full")
                zero()

            replica.zero = fail  # type: ignore[method-assign]

        try:
            return kit.trained(comm, strategy, context=run, before=before, epochs=4, **how)
        except (EngineError, ValueError) as error:
            if isinstance(error, ValueError):
                comm.abort(str(error))
            return error

    return ranks(len(between), work)


@pytest.mark.parametrize("strategy", ELASTIC, ids=str)
@pytest.mark.parametrize("how", ["parts", "fails"])
def test_the_living_go_on_and_a_newcomer_copies_one(strategy: Strategy, how: str) -> None:
    """Three ranks part, or lose one; two of them go on, of whom one is lost; and four end it."""
    between: list[dict[str, Any]] = [{}, {}, {}]
    first = company(strategy, between, **{how: True})
    kind = RegroupError if how == "parts" else EngineError
    assert all(isinstance(error, kind) for error in first[:2])
    assert between[0]["training"].number >= 4 * 14
    learned, *others = company(strategy, [between[0], {}, between[1], {}])
    assert all((other == learned).all() for other in others)
    if isinstance(strategy, og.DDP):
        alone = kit.trained(Alone(), strategy, epochs=4)
        np.testing.assert_allclose(learned, alone, rtol=2e-5, atol=2e-6)
    assert kit.loss_of(learned) < 0.68


class Waiting(torch.nn.Module):
    """A network that waits in its hundredth step for a file, and then is slow until there is another."""

    def __init__(self, n_features: int, n_outputs: int, path: str) -> None:
        super().__init__()
        layers = torch.nn.Linear(n_features, 8), torch.nn.Tanh(), torch.nn.Linear(8, n_outputs)
        self.layers = torch.nn.Sequential(*layers)
        self.path, self.calls = path, 0

    def forward(self, inputs: Any) -> Any:
        self.calls += self.training
        if self.calls == 100:
            until = time.monotonic() + 60
            while not Path(self.path).exists() and time.monotonic() < until:
                time.sleep(0.02)
        if self.calls > 100 and not Path(f"{self.path}.joined").exists():
            time.sleep(0.1)
        return self.layers(inputs)


def test_a_process_is_killed_the_others_go_on_and_another_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed in the third epoch; the files that the others wait for come with another process."""
    groups: list[processes.RankProcesses] = []

    class Watched(processes.RankProcesses):
        def __init__(self, count: int, threads: int) -> None:
            super().__init__(count, threads)
            groups.append(self)

    monkeypatch.setattr(processes, "RankProcesses", Watched)
    processes.end_idle()
    path = tmp_path / "ready"
    heard: list[Any] = []

    def release(killed: int) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and (groups[0][1].pid == killed or not groups[0][1].ready):
            time.sleep(0.02)
        path.touch()

    def hear(event: Any) -> None:
        heard.append(event)
        if event.unit == "join":
            Path(f"{path}.joined").touch()
        if (event.unit, event.step) == ("epoch", 3) and not any(one.unit == "retry" for one in heard):
            os.kill(groups[0][1].pid, 9)
            threading.Thread(target=release, args=(groups[0][1].pid,), daemon=True).start()

    rows = og.dataset(ROWS, engine=og.Local(processes=3, threads=1, elastic=True))
    given: dict[str, Any] = {"max_epochs": 12, "batch_size": 50, "lr": 0.01, "random_state": 0}
    with og.listen(hear), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = og.TorchClassifier(Waiting, module__path=str(path), **given).fit(rows, "y")
    assert any("The others go on" in str(warning.message) for warning in told)
    units = [event.unit for event in heard if event.unit in ("epoch", "retry", "join")]
    assert units.index("retry") < units.index("join")
    assert "epoch" in units[units.index("retry") : units.index("join")]
    assert "epoch" in units[units.index("join") :]
    assert [event.step for event in heard if event.unit == "epoch"] == list(range(1, 13))
    alone = og.TorchClassifier(Waiting, module__path=str(path), **given).fit(ROWS, "y")
    np.testing.assert_allclose(model.train_loss_, alone.train_loss_, rtol=1e-4)
    for name, value in alone.weights_.items():
        np.testing.assert_allclose(model.weights_[name], value, atol=1e-4)


def test_one_rank_cannot_be_elastic() -> None:
    with pytest.raises(ParameterError, match="elastic=True is for several ranks"):
        og.Local(elastic=True)
