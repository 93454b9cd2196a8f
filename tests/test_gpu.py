"""Networks and loaders on a GPU: run where there is one, with the same results as here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import outgrow as og
from outgrow.deep import several
from outgrow.deep.criteria import criterion_of, losses_of
from outgrow.deep.gpus import apart
from outgrow.deep.loop import Rules
from outgrow.deep.minibatches import Rows
from outgrow.deep.replica import replica_of
from outgrow.deep.training import Plan, Training
from outgrow.engine.context import FitContext
from outgrow.engine.journal import Journal
from outgrow.engine.links import Links
from outgrow.engine.ranks.rendezvous import join

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

X = np.random.default_rng(0).normal(size=(2000, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
TABLE = pa.table({**{f"x{j}": X[:, j] for j in range(6)}, "y": Y})


def fitted(device: str, **settings: Any) -> Any:
    given = {"lr": 0.01, "max_epochs": 8, "batch_size": 100, "device": device, **settings}
    return og.TorchClassifier(**given).fit(X, Y)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"module__batch_norm": True, "early_stopping": True},
        {"ema": 0.9, "lr_schedule": "cosine", "gradient_clip": 1.0, "accumulate": 2},
        {"optimizer": "SGD", "optimizer__momentum": 0.9, "lr": 0.1},
    ],
)
def test_learns_what_the_processor_does(settings: dict[str, Any], tmp_path: Path) -> None:
    model, known = fitted("cuda", **settings), fitted("cpu", **settings)
    np.testing.assert_allclose(model.predict_proba(X), known.predict_proba(X), atol=0.03)
    np.testing.assert_allclose(model.train_loss_, known.train_loss_, rtol=0.03)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(
        og.load(tmp_path / "model").predict_proba(X), model.predict_proba(X), atol=1e-4
    )


def test_dropout_and_bfloat16() -> None:
    for settings in ({"module__dropout": 0.2}, {"precision": "bfloat16"}):
        first, second = (fitted("cuda", max_epochs=20, **settings) for _ in range(2))
        np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
        assert first.score(X, Y) > 0.93


def test_resumed_is_unbroken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "SNAPSHOT_SECONDS", 0.0)

    def make(journal: Journal) -> np.ndarray:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)).cuda()
        replica = replica_of(net, "AdamW", {}, lr=0.01)
        hashes = np.arange(len(X)).astype(np.uint64)
        rows = Rows(torch.tensor(X, dtype=torch.float32), torch.tensor(Y), None, hashes, (6,), "cuda")
        losses = losses_of(criterion_of("CrossEntropyLoss", {}))
        plan = Plan(Rules(0.01), 3, 200, average=0.9)
        Training(FitContext(journal=journal), rows, replica, losses, plan).run_to_the_end()
        learned: np.ndarray = replica.parameters.cpu().numpy()
        return learned

    entries: list[bytes] = []
    whole = make(Journal(keep=lambda number, entry: entries.append(entry)))
    assert (make(Journal(entries[:13])) == whole).all()


def test_rows_that_do_not_fit_are_brought_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    known = fitted("cuda", max_epochs=2).predict_proba(X)
    monkeypatch.setattr("outgrow.deep.minibatches._GPU_SHARE", 0.0)
    np.testing.assert_array_equal(fitted("cuda", max_epochs=2).predict_proba(X), known)


@pytest.mark.parametrize("pinned", [False, True])
def test_batches_reach_the_gpu_as_they_are(pinned: bool) -> None:
    """Copies run while buffers are filled anew: none may be overtaken."""
    table = pa.table({f"x{j}": np.random.default_rng(j).normal(size=200_000) for j in range(20)})
    columns = [f"x{j}" for j in range(20)]
    settings: dict[str, Any] = {"batch_size": 512, "shuffle": True, "seed": 1, "columns": {"X": columns}}
    here = [batch["X"].clone() for batch in og.Loader(og.dataset(table), **settings)]
    there = og.Loader(og.dataset(table), device="cuda", pin_memory=pinned, **settings)
    for expected, batch in zip(here, there, strict=True):
        assert batch["X"].is_cuda
        assert torch.equal(batch["X"].cpu(), expected)


def test_ranks_that_share_a_gpu_learn_what_one_process_does() -> None:
    """NCCL refuses two ranks on one GPU: they add up over their own connections."""
    how: dict[str, Any] = {"lr": 0.01, "max_epochs": 3, "batch_size": 100, "device": "cuda"}
    known = og.TorchClassifier(**how).fit(TABLE, "y").predict_proba(TABLE)
    many = og.TorchClassifier(strategy="ddp", **how).fit(og.dataset(TABLE, engine=og.Local(processes=2)), "y")
    np.testing.assert_allclose(many.predict_proba(TABLE), known, atol=1e-3)


def test_nccl_adds_up_gradients() -> None:
    """Over the one rank that has a GPU of its own here."""
    comm = join(0, ["127.0.0.1"], os.urandom(32), ports=(20_000, 30_000), joining=20, deadline=20)
    links, device = Links(comm), torch.device("cuda:0")
    try:
        assert apart(links, device)
        replica = replica_of(torch.nn.BatchNorm1d(3).cuda(), "SGD", {}, lr=0.1)
        running = og.DDP("nccl").start(FitContext(), replica, links, seed=0)
        replica.gradient.fill_(6.0)
        np.testing.assert_array_equal(running.gradients(np.array([1.5, 3.0, 2.0])), [1.5, 3.0, 2.0])
        assert (replica.gradient == 2.0).all()
        running.close()
    finally:
        comm.close()
