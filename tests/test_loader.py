"""og.Loader: what is in a batch, for every kind of column and source; resuming; errors."""

from __future__ import annotations

import gc
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import outgrow as og
from outgrow.deep.buffers import BufferReader
from outgrow.deep.timing import Timing
from outgrow.errors import ColumnNotFoundError, DataError, MissingExtraError, ParameterError, SchemaError

ROWS = 1000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "id": np.arange(ROWS),
            "a": random.normal(size=ROWS),
            "b": random.normal(size=ROWS).astype(np.float32),
            "flag": random.random(ROWS) < 0.5,
            "word": pa.array([f"w{i % 7}" for i in range(ROWS)]),
            "vector": pa.FixedSizeListArray.from_arrays(random.normal(size=ROWS * 4), 4),
            "list": pa.array([[i, i + 1, i + 2] for i in range(ROWS)]),
        }
    )


@pytest.fixture(scope="module")
def path(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of Parquet of several row groups, one of which is empty."""
    folder = tmp_path_factory.mktemp("loader")
    for number, (begin, end) in enumerate([(0, 410), (410, 410), (410, ROWS)]):
        pq.write_table(table.slice(begin, end - begin), folder / f"{number}.parquet", row_group_size=90)
    return folder


def ids(loader: Any) -> list[list[int]]:
    return [list(map(int, batch["id"])) for batch in loader]


def make(data: Any, **options: Any) -> og.Loader:
    return og.Loader(data, **{"batch_size": 32, "format": "numpy", **options})


# ---- what is in a batch ----------------------------------------------------------------------------------


def test_rows_stay_together(path: Path, table: pa.Table) -> None:
    for batch in make(path, shuffle=True, seed=3):
        rows = table.take(batch["id"])
        assert np.array_equal(batch["a"], rows["a"].to_numpy().astype(np.float32))
        assert np.array_equal(batch["b"], rows["b"].to_numpy())
        assert np.array_equal(batch["flag"], rows["flag"].to_numpy())
        assert batch["word"].tolist() == rows["word"].to_pylist()
        assert np.array_equal(batch["vector"], np.array(rows["vector"].to_pylist(), dtype=np.float32))
        assert np.array_equal(batch["list"], np.array(rows["list"].to_pylist()))


def test_types_are_those_that_pytorch_expects(path: Path) -> None:
    batch = next(iter(og.Loader(path, batch_size=8)))
    types = {name: getattr(values, "dtype", type(values)) for name, values in batch.items()}
    assert types == {
        "id": torch.int64,
        "a": torch.float32,
        "b": torch.float32,
        "flag": torch.bool,
        "word": list,
        "vector": torch.float32,
        "list": torch.int64,
    }
    assert batch["vector"].shape == (8, 4)
    assert batch["list"].shape == (8, 3)


def test_columns_side_by_side(path: Path, table: pa.Table) -> None:
    loader = make(path, columns={"x": ["a", "vector", "flag"], "y": "id"}, dtype={"x": "float64"})
    batch = next(iter(loader))
    numbers = next(iter(make(path, columns={"x": og.numeric()})))
    assert numbers["x"].shape == (32, 4)
    assert batch["x"].shape == (32, 6)
    assert np.array_equal(batch["x"][:, 0], table["a"].to_numpy()[:32])
    assert np.array_equal(batch["x"][:, 5], table["flag"].to_numpy()[:32])
    assert batch["y"].tolist() == list(range(32))


@pytest.mark.parametrize("dtype", ["float16", "float64", np.float32, torch.float64, "int32"])
def test_dtypes(table: pa.Table, dtype: Any) -> None:
    batch = next(iter(make(table, columns=["id"], dtype=dtype)))
    assert str(batch["id"].dtype) == str(dtype).removeprefix("torch.").removeprefix("<class 'numpy.").strip(
        "'>"
    )
    assert batch["id"].tolist() == list(range(32))


def test_tensors_of_arrow_keep_their_shape() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    rows = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)})
    (batch,) = make(rows)
    assert np.array_equal(batch["image"], pixels)


def test_missing_numbers_are_nan() -> None:
    (batch,) = make(pa.table({"a": [1.0, None], "n": [None, 5]}), dtype="float32")
    assert np.isnan(batch["a"]).tolist() == [False, True]
    assert np.isnan(batch["n"]).tolist() == [True, False]


# ---- where rows come from --------------------------------------------------------------------------------

SOURCES: dict[str, Callable[[pa.Table, Path], Any]] = {
    "path": lambda table, path: path,
    "paths": lambda table, path: sorted(path.iterdir()),
    "dataset": lambda table, path: og.read(path),
    "split": lambda table, path: og.read(path).split(0.3, by="id")[0],
    "where": lambda table, path: og.read(path).where(og.col("a") > 0),
    "transformed": lambda table, path: og.OneHotEncoder(columns=["word"]).fit(table).transform(og.read(path)),
    "map": lambda table, path: og.read(path).map(lambda batch: batch),
    "sql": lambda table, path: og.sql("SELECT id, a FROM t WHERE a > 0", {"t": path}),
    "cache": lambda table, path: og.sql("SELECT id, a FROM t ORDER BY id", {"t": path}).cache(),
    "arrow": lambda table, path: table,
    "pandas": lambda table, path: table.select(["id", "a"]).to_pandas(),
    "polars": lambda table, path: pl.from_arrow(table.select(["id", "a"])),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_each_row_comes_once_from_everywhere(kind: str, table: pa.Table, path: Path) -> None:
    data = SOURCES[kind](table, path)
    wanted = sorted(
        og.dataset(data if kind not in ("path", "paths") else og.read(data)).to_arrow()["id"].to_pylist()
    )
    loader = make(data, columns=["id"], shuffle=True, buffer_size=100)
    for _ in range(2):
        assert sorted(row for batch in ids(loader) for row in batch) == wanted
    assert loader.rows == len(wanted)


def test_an_array_has_its_columns() -> None:
    batch = next(iter(make(np.arange(64.0).reshape(32, 2))))
    assert list(batch) == ["x0", "x1"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.csv", lambda frame, path: frame.to_csv(path, index=False)),
        ("rows.jsonl", lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        ("rows.feather", lambda frame, path: frame.to_feather(path)),
        ("rows.orc", lambda frame, path: frame.to_orc(path)),
    ],
)
def test_other_formats(name: str, write: Callable[[pd.DataFrame, Path], None], tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(100), "a": np.arange(100) / 4})
    write(frame, tmp_path / name)
    (batch,) = make(tmp_path / name, batch_size=100)
    assert batch["a"].tolist() == frame["a"].tolist()


# ---- the order, and going on -----------------------------------------------------------------------------


def test_without_shuffle_the_order_is_that_of_the_rows(path: Path) -> None:
    assert [row for batch in ids(make(path)) for row in batch] == list(range(ROWS))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_and_threads_change_no_batch(path: Path, ranks: int, threads: int, shuffle: bool) -> None:
    options = {"shuffle": shuffle, "buffer_size": 200, "columns": ["id"]}
    whole = ids(make(path, **options))
    parts = [ids(make(path, rank=rank, ranks=ranks, threads=threads, **options)) for rank in range(ranks)]
    assert [list(chain(*shares)) for shares in zip(*parts, strict=True)] == whole


@settings(max_examples=25)
@given(
    stops=st.lists(st.integers(0, 31), min_size=2, max_size=2),
    ranks=st.lists(st.sampled_from([1, 2, 3, 4, 7]), min_size=3, max_size=3),
    shuffle=st.booleans(),
)
def test_a_state_goes_on_with_other_ranks(
    path: Path, stops: list[int], ranks: list[int], shuffle: bool
) -> None:
    """Stopped twice, with another number of ranks each time, no row is lost and none comes twice."""
    options = {"shuffle": shuffle, "buffer_size": 200, "columns": ["id"], "threads": 1}
    unbroken = ids(make(path, **options))
    state: dict[str, Any] = make(path, **options).state_dict()
    seen: list[list[int]] = []
    for stop, count in zip([*stops, 99], ranks, strict=True):
        loaders = [make(path, rank=rank, ranks=count, **options) for rank in range(count)]
        for loader in loaders:
            loader.load_state_dict(json.loads(json.dumps(state)))
        epoch = [iter(loader) for loader in loaders]
        while loaders[0].epoch == 0 and len(seen) < len(unbroken) and stop > 0:
            seen.append([int(row) for batches in epoch for row in next(batches)["id"]])
            stop -= 1
        state = loaders[-1].state_dict()
        assert len(json.dumps(state)) < 200
    assert seen == unbroken


def test_a_state_at_the_end_begins_the_next_epoch(path: Path) -> None:
    loader, other = make(path, shuffle=True), make(path, shuffle=True)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    other.load_state_dict(loader.state_dict())
    assert list(batches) == []
    assert other.epoch == loader.epoch == 1
    assert ids(other) == ids(loader)


def test_a_broken_loop_begins_the_epoch_anew(path: Path) -> None:
    loader = make(path, shuffle=True)
    first = next(iter(loader))["id"].tolist()
    assert next(iter(loader))["id"].tolist() == first
    assert len(ids(loader)) == len(loader)
    assert loader.epoch == 1
    loader.set_epoch(0)
    assert next(iter(loader))["id"].tolist() == first


def test_a_loop_that_counts_batches_goes_on_to_the_next_epoch(path: Path) -> None:
    """Lightning takes as many batches as there are, and asks for no more."""
    loader, other = make(path, shuffle=True), make(path, shuffle=True)
    made = []
    for _ in range(2):
        batches = iter(loader)
        made.append([next(batches)["id"].tolist() for _ in range(len(loader))])
    assert made == [ids(other), ids(other)]
    assert made[0] != made[1]


def test_a_state_of_other_rows_is_refused(path: Path, table: pa.Table) -> None:
    state = make(path).state_dict()
    with pytest.raises(DataError, match="batch_size=32, here 16"):
        make(path, batch_size=16).load_state_dict(state)
    with pytest.raises(DataError, match="rows=1000, here 999"):
        make(table.slice(1)).load_state_dict(state)


def test_resuming_reads_one_buffer_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = make(path, buffer_size=128, columns=["id"], threads=1)
    loader.load_state_dict({**loader.state_dict(), "step": 29})
    read: list[int] = []
    put = BufferReader._note

    def note(self: BufferReader, buffer: Any, rows: int) -> None:
        read.append(rows)
        put(self, buffer, rows)

    monkeypatch.setattr(BufferReader, "_note", note)
    rest = ids(loader)
    assert rest[0][0] == 29 * 32
    assert sum(read) <= sum(map(len, rest)) + 128


# ---- the transform ---------------------------------------------------------------------------------------


def test_a_function_changes_batches_in_threads(path: Path, table: pa.Table) -> None:
    loader = make(
        path, columns=["id", "a"], transform=lambda batch: {"id": batch["id"], "two": batch["a"] * 2}
    )
    made = {int(i): v for batch in loader for i, v in zip(batch["id"], batch["two"], strict=True)}
    wanted = table["a"].to_numpy().astype(np.float32) * 2
    assert np.array_equal([made[i] for i in range(ROWS)], wanted)
    assert loader.timing.transforming > 0


def test_a_fitted_pipeline_changes_batches(path: Path, table: pa.Table) -> None:
    steps = og.Pipeline([og.StandardScaler(columns=["a"]), og.OneHotEncoder(columns=["word"])])
    steps.fit(og.read(path).select("id", "a", "word"))
    words = [f"word_w{i}" for i in range(7)]
    loader = make(
        og.read(path).select("id", "a", "word"),
        transform=steps,
        columns={"x": ["a", *words], "id": "id"},
        shuffle=True,
    )
    wanted = steps.transform(table.select(["id", "a", "word"]))
    for batch in loader:
        rows = wanted.take(batch["id"])
        assert np.allclose(batch["x"], np.column_stack([rows[name] for name in ["a", *words]]), rtol=1e-6)


def test_images_of_a_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (9, 5, 4, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        folder = tmp_path / ("cat" if number % 2 else "dog")
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")

    def decode(batch: dict[str, Any]) -> dict[str, Any]:
        images = [np.asarray(Image.open(io.BytesIO(each))) for each in batch["image"]]
        return {"x": np.stack(images), "y": (batch["label"] == "cat").astype(np.int64), "path": batch["path"]}

    loader = make(og.read(tmp_path, format="images"), batch_size=4, transform=decode, shuffle=True)
    for batch in loader:
        numbers = [int(Path(each).stem) for each in batch["path"]]
        assert np.array_equal(batch["x"], pixels[numbers])
        assert np.array_equal(batch["y"], np.array(numbers) % 2)


def jpeg(color: str, size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "jpeg")
    return file.getvalue()


def test_images_come_in_one_size() -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((300, 200))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=95)
    rows = pa.table({"image": [file.getvalue(), jpeg("red")], "y": [0, 1]})
    exact = next(iter(make(rows, images={"image": og.DecodeImage((20, 30), scaled=False)})))
    wanted = Image.open(io.BytesIO(file.getvalue())).resize((30, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(exact["image"][0], np.asarray(wanted))
    scaled = next(iter(make(rows, images={"image": (20, 30)})))
    assert np.abs(scaled["image"].astype(int) - exact["image"]).mean() < 3
    gray = next(iter(make(rows, images={"image": og.DecodeImage((20, 30), mode="L")}, transform=dict)))
    assert gray["image"].shape == (2, 20, 30, 1)


def test_images_by_path_and_of_spark(tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(jpeg("red"))
    how = og.DecodeImage((20, 30), folder=tmp_path)
    exact = next(iter(make(pa.table({"image": [jpeg("red")]}), images={"image": (20, 30)})))["image"]
    rows = pa.table({"image": ["red.jpg", "../red.jpg", "blue.jpg"]})
    assert np.array_equal(next(iter(make(rows.slice(0, 1), images={"image": how})))["image"], exact)
    for row, reason in ((1, "leads out of the folder"), (2, "cannot be read")):
        with pytest.raises(DataError, match=reason):
            list(make(rows.slice(row, 1), images={"image": how}))
    with pytest.raises(DataError, match="Say folder="):
        list(make(rows, images={"image": (20, 30)}))
    pixels = np.asarray(Image.open(io.BytesIO(jpeg("red"))))
    size = {"height": pixels.shape[0], "width": pixels.shape[1], "nChannels": 3, "mode": 16}
    blue_first = {"origin": "red.jpg", **size, "data": pixels[..., ::-1].tobytes()}
    of_spark = next(iter(make(pa.table({"image": [blue_first]}), images={"image": (20, 30)})))["image"]
    assert np.array_equal(of_spark, exact)


def test_images_that_cannot_be_decoded_are_named() -> None:
    rows = pa.table({"image": [jpeg("red"), b"no image", None], "path": ["a.jpg", "b.jpg", "c.jpg"]})
    with pytest.raises(DataError, match=r"The image b\.jpg: 8 bytes") as caught:
        list(make(rows, images={"image": (4, 4)}))
    assert "missing" not in str(caught.value)  # which is what transformers take
    loader = make(rows, images={"image": og.DecodeImage((4, 4), errors="blank")})
    (batch,) = loader
    assert [bool(image.any()) for image in batch["image"]] == [True, False, False]
    assert [each.split(":")[0] for each in loader.set_aside] == ["b.jpg", "c.jpg"]


def test_a_function_that_fails_says_so(path: Path) -> None:
    def broken(batch: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("in the transform")

    with pytest.raises(ZeroDivisionError, match="in the transform"):
        list(make(path, transform=broken))
    with pytest.raises(DataError, match="must return a dict"):
        list(make(path, transform=lambda batch: None))


# ---- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ParameterError, "batch_size=0"),
        ({"batch_size": 2.5}, ParameterError, "batch_size=2.5"),
        ({"format": "jax"}, ParameterError, "'torch' or 'numpy'"),
        ({"columns": ["nope"]}, ColumnNotFoundError, "nope"),
        ({"columns": {"x": []}}, ParameterError, "at least one column"),
        ({"columns": {"x": ["a", "word"]}}, SchemaError, "OneHotEncoder"),
        ({"dtype": {"z": "float32"}}, ParameterError, r"\['z'\]"),
        ({"dtype": {"a": "text"}}, ParameterError, "type of numbers"),
        ({"rank": 2, "ranks": 2}, ParameterError, "rank=2"),
        ({"rank": 1}, ParameterError, "give both"),
        ({"ranks": 64, "rank": 0}, DataError, "cannot be shared by 64"),
        ({"batch_size": 2000, "drop_last": True}, DataError, "make no batch"),
        ({"device": "cuda"}, ParameterError, "format='torch'"),
        ({"images": {"a": (4, 4)}}, ParameterError, "may hold encoded images"),
        ({"images": {"word": (4,)}}, ParameterError, "height and width"),
    ],
)
def test_what_cannot_be_is_refused(path: Path, options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make(path, **options)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"n": [1, None]}, {}, "'n' has 1 missing values"),
        ({"n": [1, 2**24 + 1]}, {"dtype": "float32"}, "16777217, which float32 cannot hold"),
        ({"n": [1, 300]}, {"dtype": "uint8"}, "300, which uint8"),
        ({"a": [1.0, 1e300]}, {}, "too large for float32"),
        ({"list": [[1, 2], [3]]}, {}, "lists of 1 to 2 numbers"),
        ({"list": [[1, 2], None]}, {}, "1 missing ones"),
    ],
)
def test_values_that_do_not_fit_are_refused(rows: Any, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(make(pa.table(rows), **options))


def test_no_rows(path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        make(og.read(path).where(og.col("a") > 99))


def test_times_and_lists_of_text_say_what_to_do() -> None:
    with pytest.raises(SchemaError, match="DatetimeEncoder"):
        make(pa.table({"t": pa.array([0], pa.timestamp("us"))}))
    with pytest.raises(SchemaError, match="transform="):
        make(pa.table({"words": [["a"]]}))


def test_files_that_changed_are_noticed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(100)}), tmp_path / "rows.parquet")
    loader = make(og.read(tmp_path).where(og.col("id") >= 0))
    pq.write_table(pa.table({"id": range(50)}), tmp_path / "rows.parquet")
    with pytest.raises(DataError):
        list(loader)


def test_a_loop_that_ends_early_leaves_no_thread(path: Path) -> None:
    import threading

    before = set(threading.enumerate())
    batches = iter(make(path, buffer_size=64, transform=lambda batch: batch))
    next(batches)
    assert set(threading.enumerate()) - before
    batches.close()  # type: ignore[attr-defined]
    assert not set(threading.enumerate()) - before


# ---- beside PyTorch --------------------------------------------------------------------------------------


def test_a_dataloader_hands_batches_on(path: Path) -> None:
    class Rows(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(og.Loader(path, batch_size=32, columns=["id"]))

    assert ids(torch.utils.data.DataLoader(Rows(), batch_size=None)) == ids(make(path, columns=["id"]))
    with pytest.raises(ParameterError, match="num_workers=0"):
        list(torch.utils.data.DataLoader(Rows(), batch_size=None, num_workers=1))


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")])
def test_launchers_say_the_rank(path: Path, names: tuple[str, str]) -> None:
    code = (
        "import sys, outgrow as og; "
        "loader = og.Loader(sys.argv[1], batch_size=500, columns=['id'], format='numpy'); "
        "print([int(batch['id'][0]) for batch in loader])"
    )
    environment = {**os.environ, names[0]: "1", names[1]: "2"}
    ran = subprocess.run([sys.executable, "-c", code, path], env=environment, capture_output=True, text=True)
    assert ran.stdout == "[250, 750]\n", ran.stderr


def test_numpy_needs_no_torch(path: Path) -> None:
    code = (
        "import sys, outgrow as og; "
        "list(og.Loader(sys.argv[1], batch_size=500, format='numpy')); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


@pytest.mark.parametrize(
    ("waiting", "reading", "transforming", "bottleneck", "words"),
    [
        (0.1, 5.0, 0.0, "loop", "the bottleneck is the loop"),
        (6.0, 5.0, 1.0, "read", "the bottleneck is reading"),
        (6.0, 1.0, 9.0, "transform", "the bottleneck is the transform"),
    ],
)
def test_the_line_names_the_bottleneck(
    waiting: float, reading: float, transforming: float, bottleneck: str, words: str
) -> None:
    timing = Timing(2, waiting, 4.0, reading, transforming, rows=1000)
    assert timing.bottleneck == bottleneck
    assert words in str(timing)


def test_time_is_noted_where_it_goes(path: Path) -> None:
    loader = make(path, columns=["id"], transform=lambda batch: time.sleep(0.01) or batch)
    assert str(loader.timing) == "nothing was read yet"
    for _ in loader:
        time.sleep(0.005)
    assert loader.timing.transforming > len(loader) * 0.01
    assert loader.timing.loop > len(loader) * 0.005
    assert loader.timing.reading > 0
    assert "1,000 rows" in str(loader.timing)


@pytest.mark.spark
def test_a_dataframe_of_spark(spark: Any, path: Path, table: pa.Table) -> None:
    frame = spark.read.parquet(str(path)).select("id", "a").where("a > 0")
    wanted = sorted(table.filter(og.col("a") > 0)["id"].to_pylist())
    loader = make(frame, shuffle=True)
    for _ in range(2):
        assert sorted(row for batch in ids(loader) for row in batch) == wanted
    rows = og.read(path, engine=og.Spark(spark))
    assert ids(make(rows)) == ids(make(path))


def test_tensorflow_is_named_when_it_is_missing(path: Path) -> None:
    with pytest.raises(ParameterError, match="format='numpy'"):
        og.Loader(path, batch_size=8).to_tf()
    if importlib.util.find_spec("tensorflow") is None:
        with pytest.raises(MissingExtraError, match="pip install tensorflow"):
            make(path).to_tf()


def test_memory_stays_flat(path: Path) -> None:
    """Twenty epochs leave no more behind than two."""
    loader = make(path, columns=["a", "b", "vector"], shuffle=True, buffer_size=64)
    list(loader), list(loader)
    gc.collect()
    tracemalloc.start()
    list(loader)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(18):
        for _ in loader:
            pass
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 200_000


def test_a_slow_thread_waits_for_no_buffer_that_was_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank needs nothing of most pieces: a buffer may be full before all have looked at their piece."""
    pq.write_table(pa.table({"x": np.arange(600.0)}), tmp_path / "rows.parquet", row_group_size=7)
    read_piece, open_buffer = BufferReader._read, BufferReader._open
    ends: dict[int, int] = {}

    def read_noted(self: BufferReader, index: int) -> None:
        ends[threading.get_ident()] = int(self._ends[index])
        read_piece(self, index)

    def opened_late(self: BufferReader, number: int) -> Any:
        if ends[threading.get_ident()] > self._starts[number + 1]:
            time.sleep(0.02)  # the piece has rows of the next buffer, too
        return open_buffer(self, number)

    monkeypatch.setattr(BufferReader, "_read", read_noted)
    monkeypatch.setattr(BufferReader, "_open", opened_late)
    seen: list[int] = []

    def read(rank: int) -> None:
        options = {"batch_size": 16, "buffer_size": 64, "threads": 4, "format": "numpy"}
        loader = og.Loader(og.read(tmp_path), rank=rank, ranks=4, **options)
        seen.append(sum(len(batch["x"]) for batch in loader))

    readers = [threading.Thread(target=read, args=(rank,), daemon=True) for rank in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert sum(seen) == 600
