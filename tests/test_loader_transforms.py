"""og.Loader: what a transform makes becomes tensors or is refused; ranks that join late are obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import outgrow as og
from outgrow.errors import DataError, ParameterError

ROWS = pa.table({"a": np.arange(4.0), "id": range(4)})


def made(change: Any, **options: Any) -> Any:
    """What a transform of `a` becomes in the one batch."""
    loader = og.Loader(ROWS, batch_size=4, transform=lambda batch: {"x": change(batch["a"])}, **options)
    return next(iter(loader))["x"]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[::-1],
        lambda a: np.stack([a, a], axis=1)[:, ::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(">i8"),
        lambda a: np.broadcast_to(a, (3, 4)),
        lambda a: np.ma.masked_less(a, -1.0),
    ],
    ids=["turned", "columns turned", "other bytes", "other whole", "read only", "nothing masked"],
)
def test_arrays_that_lie_otherwise_are_tensors(change: Any) -> None:
    tensor = made(change)
    wanted = np.asarray(change(np.arange(4, dtype=np.float32)))
    np.testing.assert_array_equal(tensor.numpy(), wanted)
    assert tensor.dtype == (torch.int64 if wanted.dtype.kind == "i" else torch.float32)


def test_texts_of_a_fixed_width_are_a_list() -> None:
    assert made(lambda a: np.array(["even", "odd"])[a.astype(int) % 2]) == ["even", "odd", "even", "odd"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.astype("M8[D]"), r"'x': transform gave datetime64\[D\], which tensors have not"),
        (lambda a: a.astype(np.longdouble), "'x': transform gave float128"),
        (lambda a: np.zeros(4, dtype=[("q", "f4")]), "which tensors have not"),
        (lambda a: np.ma.masked_less(a, 2.0), "transform gave 2 masked values"),
    ],
)
def test_arrays_that_are_no_tensors_are_named(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(change)


def test_types_of_other_processors_and_of_no_tensor() -> None:
    batch = next(iter(og.Loader(ROWS, batch_size=4, dtype={"a": ">f8"})))
    assert batch["a"].dtype == torch.float64
    assert batch["a"].tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(ParameterError, match="dtype of 'a'"):
        og.Loader(ROWS, batch_size=4, dtype={"a": np.longdouble})


@pytest.mark.parametrize("name", ["shuffle", "drop_last"])
def test_flags_are_true_or_false(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name}='no': say True or False"):
        og.Loader(ROWS, batch_size=4, **{name: "no"})


def test_vectors_of_no_numbers() -> None:
    empty = pa.array([[], [], []], pa.list_(pa.float32(), 0))
    batch = next(iter(og.Loader(pa.table({"v": empty, "id": range(3)}), batch_size=4)))
    assert batch["v"].shape == (3, 0)
    assert batch["id"].tolist() == [0, 1, 2]


def test_conditions_that_differ_by_a_default_are_counted_apart() -> None:
    for rows in (3, 1):
        loader = og.Loader(og.dataset(ROWS).map(lambda batch, n=rows: batch.slice(0, n)), batch_size=4)
        assert loader.rows == rows
        assert next(iter(loader))["id"].tolist() == list(range(rows))


def ranks_of(rank: int, folder: str, loader: Any) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/met", rank=rank, world_size=2)
    first = [batch["id"].tolist() for batch in loader]
    torch.distributed.destroy_process_group()
    Path(folder, str(rank)).write_text(f"{first} {loader.rank} {loader.ranks}")


def test_ranks_that_join_after_the_loader_was_made(tmp_path: Path) -> None:
    """As Lightning's do, and those of torch.multiprocessing, whose environment says no rank."""
    loader = og.Loader(ROWS, batch_size=2, threads=1)
    torch.multiprocessing.start_processes(ranks_of, (str(tmp_path), loader), nprocs=2, start_method="fork")
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["[[0], [2]] 0 2", "[[1], [3]] 1 2"]
