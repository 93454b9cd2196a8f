"""`python -m bench loader`: rows of Parquet as batches of float32 tensors, beside what people use for that.

Each contender reads the same file for some epochs, in a process of its own. Images: JPEG bytes as resized
arrays. Peers that are not installed (extra `peers`) are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import machine
from bench.processes import kilobytes

RESULTS = Path(__file__).parent / "results"
ROWS, COLUMNS, BATCH, EPOCHS = 2_000_000, 30, 1024, 5
MEMORY_EPOCHS = 20
NAMES = [f"x{j}" for j in range(COLUMNS)]
IMAGES, SIDE, IMAGE_BATCH = 600, (400, 500), 32

INTRODUCTION = """
Written by `python -m bench loader`. {rows:,} rows of {columns} float64 columns in one Parquet file (row
groups of 250,000) become float32 batches of 1,024; the median of {epochs} epochs after a first one, in
millions of rows a second. First batch: seconds from asking a fresh loader in a warm process. Memory: resident
MiB after the second and after the last epoch. "outgrow / it" is how many times faster outgrow is in the same
kind of order.
""".strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench loader", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = Path(os.environ.get("OUTGROW_BENCH_DATA", "bench/data")) / "loader"
    path = _table(folder, asked.rows)
    if asked.one:
        print(json.dumps(_measured(asked.one, path, asked.rows)))
        return
    facts = machine()
    found = {
        name: _in_a_process(name, asked.rows) for name, (needs, _) in CONTENDERS.items() if find_spec(needs)
    }
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    images = _images()
    text = _report(found, images, facts, asked.rows)
    print(text)
    if asked.rows == ROWS:
        (RESULTS / "loader.md").write_text(text)
        record = {"machine": facts, "rows": asked.rows, "loaders": found, "images": images}
        (RESULTS / "loader.json").write_text(json.dumps(record, indent=1) + "\n")


def _table(folder: Path, rows: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{rows}.parquet"
    if not path.exists():
        random = np.random.default_rng(0)
        table = pa.table({name: random.normal(size=rows) for name in NAMES})
        pq.write_table(table, path, row_group_size=250_000)
    return path


# ---- contenders: each yields batches, with their number of rows


def _outgrow(path: Path, *, shuffle: bool) -> Callable[[], Iterator[int]]:
    import outgrow as og

    def epoch() -> Iterator[int]:
        loader = og.Loader(path, batch_size=BATCH, columns={"x": NAMES}, shuffle=shuffle)
        return (len(batch["x"]) for batch in loader)

    return epoch


def _dataloader(path: Path, *, workers: int) -> Callable[[], Iterator[int]]:
    """What PyTorch's documentation shows: rows of an IterableDataset, put together by the DataLoader."""
    import torch

    class Rows(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            info = torch.utils.data.get_worker_info()
            number, count = (info.id, info.num_workers) if info else (0, 1)
            file = pq.ParquetFile(path)
            for group in range(number, file.num_row_groups, count):
                for batch in file.iter_batches(65_536, row_groups=[group]):
                    yield from torch.from_numpy(np.column_stack(batch.columns).astype(np.float32))

    def epoch() -> Iterator[int]:
        return map(len, torch.utils.data.DataLoader(Rows(), batch_size=BATCH, num_workers=workers))

    return epoch


def _datasets(path: Path, *, shuffle: bool) -> Callable[[], Iterator[int]]:
    import datasets
    import torch

    rows = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    if shuffle:
        rows = rows.shuffle(seed=0, buffer_size=65_536)

    def epoch() -> Iterator[int]:
        for batch in rows.with_format("arrow").iter(BATCH):
            yield len(torch.from_numpy(np.column_stack(batch.columns).astype(np.float32)))

    return epoch


def _ray(path: Path, *, shuffle: bool) -> Callable[[], Iterator[int]]:
    import ray
    import torch

    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False, log_to_driver=False)
    rows = ray.data.read_parquet(str(path))
    mixed = {"local_shuffle_buffer_size": 65_536, "local_shuffle_seed": 0} if shuffle else {}

    def epoch() -> Iterator[int]:
        for batch in rows.iter_torch_batches(batch_size=BATCH, dtypes=torch.float32, **mixed):
            yield len(torch.stack(list(batch.values()), dim=1))

    return epoch


def _petastorm(path: Path) -> Callable[[], Iterator[int]]:
    from petastorm import make_batch_reader
    from petastorm.pytorch import BatchedDataLoader

    def epoch() -> Iterator[int]:
        with make_batch_reader(path.resolve().as_uri(), num_epochs=1, workers_count=2) as reader:
            yield from (
                len(next(iter(batch.values()))) for batch in BatchedDataLoader(reader, batch_size=BATCH)
            )

    return epoch


CONTENDERS: dict[str, tuple[str, Callable[[Path], Callable[[], Iterator[int]]]]] = {
    "outgrow, in order": ("torch", lambda path: _outgrow(path, shuffle=False)),
    "outgrow, shuffled": ("torch", lambda path: _outgrow(path, shuffle=True)),
    "torch DataLoader, in order": ("torch", lambda path: _dataloader(path, workers=0)),
    "torch DataLoader, 2 workers, in order": ("torch", lambda path: _dataloader(path, workers=2)),
    "datasets, in order": ("datasets", lambda path: _datasets(path, shuffle=False)),
    "datasets, shuffled": ("datasets", lambda path: _datasets(path, shuffle=True)),
    "ray.data, in order": ("ray", lambda path: _ray(path, shuffle=False)),
    "ray.data, shuffled": ("ray", lambda path: _ray(path, shuffle=True)),
    "petastorm, shuffled": ("petastorm", _petastorm),
}
SLOW = ("torch DataLoader", "datasets", "petastorm")
"""They read fewer epochs."""


def _in_a_process(name: str, rows: int) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "bench", "loader", "--rows", str(rows), "--one", name]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        return {"error": ran.stderr.strip().splitlines()[-1][:200]}
    return dict(json.loads(ran.stdout.strip().splitlines()[-1]))


def _measured(name: str, path: Path, rows: int) -> dict[str, Any]:
    epoch = CONTENDERS[name][1](path)
    slow = name.startswith(SLOW)
    seconds, firsts, resident = [], [], []
    for _ in range(3 if slow else MEMORY_EPOCHS):
        began = time.perf_counter()
        batches = epoch()
        count = next(batches)
        firsts.append(time.perf_counter() - began)
        count += sum(batches)
        seconds.append(time.perf_counter() - began)
        assert count == rows, (name, count)
        resident.append(kilobytes(Path("/proc/self/status"), "VmRSS") >> 20)
    timed = seconds[1 : EPOCHS + 1]
    return {
        "rows_per_second": rows / median(timed),
        "first_batch": median(firsts[1:]),
        "memory": [resident[1], resident[-1]],
        "epochs": len(seconds),
    }


# ---- images


def _images() -> dict[str, float]:
    """Images a second: bytes to 224 x 224, by ours and by as many bare threads of Pillow."""
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    import outgrow as og

    random = np.random.default_rng(0)
    smooth = random.integers(0, 255, (IMAGES // 20, 20, 25, 3), dtype=np.uint8)
    files = []
    for image in smooth:
        buffer = io.BytesIO()
        Image.fromarray(image).resize(SIDE[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    files *= 20

    def bare(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224)))

    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bare, files))
    seconds = {"Pillow, 2 threads": time.perf_counter() - began}
    for scaled in (False, True):
        decode = {"image": og.DecodeImage((224, 224), scaled=scaled)}
        rows = pa.table({"image": files})
        loader = og.Loader(rows, batch_size=IMAGE_BATCH, images=decode, format="numpy", threads=2)
        began = time.perf_counter()
        assert sum(len(batch["image"]) for batch in loader) == len(files)
        seconds[f"outgrow{', scaled decoding' if scaled else ''}"] = time.perf_counter() - began
    return {name: len(files) / value for name, value in seconds.items()}


# ---- the report


def _report(found: dict[str, Any], images: dict[str, float], facts: dict[str, str], rows: int) -> str:
    lines = [
        "# Loaders of tensors",
        "",
        INTRODUCTION.format(rows=rows, columns=COLUMNS, epochs=EPOCHS),
        "",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before and "
        f"{facts['load after']} after.",
        "",
        "| loader | million rows/s | outgrow / it | first batch, s | memory, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, result in found.items():
        if "error" in result:
            lines.append(f"| {name} | {result['error']} | | | |")
            continue
        order = name.rpartition(", ")[2]
        ours = found[f"outgrow, {order}"]["rows_per_second"] / result["rows_per_second"]
        first, last = result["memory"]
        lines.append(
            f"| {name} | {result['rows_per_second'] / 1e6:.2f} | {ours:.1f} | {result['first_batch']:.2f} "
            f"| {first:,} → {last:,} after {result['epochs']} epochs |"
        )
    lines += ["", f"JPEG of {SIDE[1]} x {SIDE[0]} to 224 x 224, images a second on two threads:", ""]
    lines += [
        "| | images/s |",
        "|---|---:|",
        *(f"| {name} | {value:,.0f} |" for name, value in images.items()),
    ]
    return "\n".join(lines) + "\n"
