"""Strategies by which each rank holds a part of the network, over processes: torch has one group in each."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import outgrow as og
from outgrow.deep.perceptron import Perceptron
from outgrow.deep.strategies.pipeline_parallel import pieces_of
from outgrow.engine.ranks import processes
from outgrow.errors import ParameterError
from parted_ranks import tied
from test_strategies import PLAIN

RANKS = 2
NAMES = ("fsdp", "tensor_parallel", "pipeline_parallel")
PARAMETERS = sum(value.numel() for value in PLAIN.parameters())


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What two processes find of all of them (tests/parted_ranks.py)."""
    environment = {**os.environ, "RANKS_SECRET": secrets.token_hex(16)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parted_ranks", str(rank), str(RANKS)],
            env=environment, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=240)[0] for process in started]
    told: dict[str, Any] = json.loads(outputs[0].splitlines()[-1])
    return told


@pytest.mark.parametrize("name", NAMES)
def test_learns_what_one_process_does(name: str, found: dict[str, Any]) -> None:
    """Over uneven parts, with rows held out; the same bits again; with BatchNorm, and with tied weights."""
    assert found[name]["equal"]["off"] < 1e-6
    assert found[name]["equal"]["again"]
    assert found[name]["normed"] < 1e-5
    assert found[name]["tied"] < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_resumed_is_unbroken_to_the_bit(name: str, found: dict[str, Any]) -> None:
    assert found[name]["resumed"]


def test_each_rank_keeps_its_part_of_the_optimizer(found: dict[str, Any]) -> None:
    """With the last bias of two numbers at all ranks, where matrices are divided."""
    sizes = {name: found[name]["equal"]["sizes"] for name in NAMES}
    assert sizes["fsdp"] == [PARAMETERS / 2, PARAMETERS / 2]
    assert sizes["tensor_parallel"] == [PARAMETERS / 2 + 1, PARAMETERS / 2 + 1]
    assert sizes["pipeline_parallel"] == [80, PARAMETERS - 80]


@pytest.mark.parametrize("name", NAMES)
def test_no_port_is_open_while_they_train(name: str, found: dict[str, Any]) -> None:
    """What torch shards goes over the connections of the fit, whose both ends have proved who they are."""
    assert found[name]["equal"]["ports"] == [0] * RANKS


@pytest.mark.parametrize("name", NAMES)
def test_a_rank_that_fails_ends_the_others(name: str, found: dict[str, Any]) -> None:
    assert "Rank 1 on 127.0.0.1 failed: ValueError: the disk is full" in found[name]["failing"]


@pytest.mark.parametrize("name", ["fsdp", "tensor_parallel"])
def test_optimizers_of_whole_matrices_are_refused(name: str, found: dict[str, Any]) -> None:
    assert "Adafactor looks at whole matrices" in found[name]["refused"]
    assert found["pipeline_parallel"]["refused"] == ""  # its stages have whole ones


def test_a_killed_rank_is_replaced_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that no rank holds whole; it is saved whole."""
    groups: list[processes.RankProcesses] = []

    class Watched(processes.RankProcesses):
        def __init__(self, count: int, threads: int) -> None:
            super().__init__(count, threads)
            groups.append(self)

    monkeypatch.setattr(processes, "RankProcesses", Watched)
    processes.end_idle()
    X = np.random.default_rng(0).normal(size=(1000, 3))
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": X[:, 0] * X[:, 1] > 0})
    rows = og.dataset(table, engine=og.Local(processes=2, threads=1))
    network = og.TorchClassifier(module__hidden=(8, 6), max_epochs=6, batch_size=100, strategy="fsdp")
    model = network.fit(rows, "y")
    killed: list[int] = []

    def kill(event: Any) -> None:
        if event.unit == "epoch" and event.step == 3 and not killed:
            killed.append(groups[0][1].pid)
            os.kill(killed[0], 9)

    with og.listen(kill), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = og.TorchClassifier(**network.get_params()).fit(rows, "y")
    assert killed
    assert any("rank 1" in str(warning.message) for warning in told)
    assert all((again.weights_[name] == value).all() for name, value in model.weights_.items())
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(table), model.predict_proba(table), atol=1e-5)


# ---- how networks are divided ----------------------------------------------------------------------------


def test_perceptrons_say_their_stages() -> None:
    for residual in (False, True):
        net = Perceptron(4, 2, hidden=(5, 5), residual=residual, categories=[(1, 3)]).eval()
        values = X = torch.tensor([[0.5, 1.0, 2.0, -1.0], [0.1, 2.0, 0.0, 1.0]])
        for stage in net.stages():
            values = stage(values)
        assert (values == net(X)).all()


def test_full_layers_that_follow_one_another_are_pairs() -> None:
    ways = og.TensorParallel().ways
    net = Perceptron(4, 2, hidden=(8, 6, 4))
    assert ways(net, 2) == {
        "layers.0.0": "column",
        "layers.1.0": "row",
        "layers.2.0": "column",
        "output": "row",
    }
    assert ways(PLAIN, 4) == {"0": "column", "2": "row"}
    normed = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    with pytest.raises(ParameterError, match="no two full layers"):
        ways(normed, 2)


def test_layers_with_the_same_weights_are_divided_together_or_not_at_all() -> None:
    """torch divides each layer by itself, so that the weights would no longer be the same."""
    net = tied()
    assert og.TensorParallel().ways(net, 2) == {"4": "column", "6": "row"}
    with pytest.raises(ParameterError, match=r"plan=\{'0': ...\}.*another layer has the same weights"):
        og.TensorParallel({"0": "column", "2": "row"}).ways(net, 2)
    assert list(og.FSDP().modules(net)) == [net[6], net[4]]
    twice = torch.nn.Sequential(net[4], torch.nn.Linear(8, 8), net[5], torch.nn.Linear(8, 4), net[5], net[4])
    assert og.TensorParallel().ways(twice, 2) == {"1": "column", "3": "row"}


def test_stages_are_about_as_large() -> None:
    pieces = pieces_of(
        torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(5)), torch.nn.Linear(4, 40))
    )
    assert [len(stage) for stage in og.PipelineParallel().cut(pieces, 3)] == [2, 3, 1]
    assert [len(stage) for stage in og.PipelineParallel(stages=(1, 2, 3)).cut(pieces, 3)] == [1, 2, 3]


class _Own(torch.nn.Module):
    def forward(self, values: Any) -> Any:
        return values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: og.PipelineParallel(microbatches=0), "microbatches=0.*from 1"),
        (lambda: og.PipelineParallel(stages=(2, 0)), "how many modules each rank takes"),
        (lambda: og.PipelineParallel(stages=(2, 1)).cut(list(PLAIN), 2), "2 ranks and 4 modules"),
        (lambda: og.PipelineParallel().cut(list(PLAIN), 5), "4 modules do not make 5 stages"),
        (lambda: pieces_of(_Own()), "_Own is no torch.nn.Sequential, and has no method stages"),
        (lambda: og.TensorParallel({}), "'column' or 'row'"),
        (lambda: og.TensorParallel({"0": "rows"}), "'0': 'rows'.*'column' or 'row'"),
        (lambda: og.TensorParallel({"9": "row"}).ways(PLAIN, 2), r"full layers are \['0', '2'\]"),
        (lambda: og.TensorParallel({"0": "column"}).ways(PLAIN, 3), "out_features=16, which 3 ranks do not"),
        *(
            (lambda plan=plan: og.TensorParallel(plan).ways(PLAIN, 2), "is not in such a pair")
            for plan in (
                {"0": "column"},
                {"2": "row"},
                {"0": "row", "2": "column"},
                {"0": "column", "2": "column"},
            )
        ),
        (lambda: list(og.FSDP("layer").modules(PLAIN)), "no submodule that learns, of"),
        (
            lambda: og.TorchClassifier(strategy={"name": "fsdp", "codec": "int8"}).fit(PLAIN, [0]),
            "no 'codec'",
        ),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_torch_distributed_has_four_files() -> None:
    """All others talk over the connections of the fit alone; one is for gradients between GPUs.

    Who only asks which rank this is imports nothing.
    """
    folder = Path(og.__file__).parent
    used = re.compile(r"(from|import|dist =) torch\.distributed")
    users = {path.name for path in folder.rglob("*.py") if used.search(path.read_text())}
    assert users == {"fsdp.py", "gpus.py", "process_group.py", "tensor_parallel.py"}


def test_a_group_of_torch_adds_up_gradients_too(found: dict[str, Any]) -> None:
    """Over gloo what NCCL does between GPUs: as one process, to the bit again, and who fails is named."""
    assert found["gloo"]["off"] < 1e-6
    assert found["gloo"]["again"]
    assert found["gloo"]["resumed"]
    assert "Rank 1 on 127.0.0.1 failed: ValueError: the disk is full" in found["gloo"]["failing"]
    assert not found["gloo"]["apart"]


def test_no_gpus_no_sums_between_them() -> None:
    rows = og.dataset(pa.table({"x": np.arange(40.0), "y": np.arange(40) % 2}), engine=og.Local(processes=2))
    with pytest.raises(ParameterError, match="topology='nccl': each rank must be a process with a GPU"):
        og.TorchClassifier(strategy=og.DDP("nccl"), max_epochs=1).fit(rows, "y")
