"""The generated tables: the same rows for the same number of rows, on every machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "data"
GROUPS = 8
WIDTH = 30
FEATURES = [f"x{j}" for j in range(WIDTH)]
SCALES, MEANS = np.linspace(0.5, 2.0, WIDTH), np.linspace(-2.0, 2.0, WIDTH)
WORDS = {"city": 1000, "shop": 100, "kind": 10}
"""Columns of text, and how many words each has."""


def table_path(kind: str, rows: int) -> Path:
    """The Parquet file of a kind ('numbers', 'gaps' or 'words'), written if it is not there yet."""
    path = FOLDER / f"{kind}-{rows}.parquet"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        _write(unfinished, rows, _KINDS[kind])
        os.replace(unfinished, path)
    return path


def read_matrix(path: Path, columns: list[str] = FEATURES) -> np.ndarray:
    """The columns as a matrix in the order of rows, the way a careful user of scikit-learn reads them."""
    table = pq.read_table(path, columns=columns).combine_chunks()
    return table.to_batches()[0].to_tensor(null_to_nan=True, row_major=True).to_numpy()


def read_label(path: Path, name: str = "label") -> np.ndarray:
    return pq.read_table(path, columns=[name]).column(name).to_numpy()


def _write(path: Path, rows: int, make: Callable[[int, np.random.Generator], pa.Table]) -> None:
    sizes = [rows // GROUPS + (group < rows % GROUPS) for group in range(GROUPS)]
    tables = (make(size, np.random.default_rng([rows, group])) for group, size in enumerate(sizes))
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in (first, *tables):
            writer.write_table(table, row_group_size=max(sizes))


def _numbers(rows: int, random: np.random.Generator) -> pa.Table:
    X = _features(rows, random)
    own = (X - MEANS) / SCALES
    margin = 0.4 * own @ np.cos(np.arange(WIDTH)) - 0.7 + 0.3 * own[:, 0] * own[:, 1]
    label = (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    return pa.table({**{name: X[:, j] for j, name in enumerate(FEATURES)}, "label": label})


def _gaps(rows: int, random: np.random.Generator) -> pa.Table:
    X = _features(rows, random)
    gone = random.random((rows, WIDTH)) < np.linspace(0.01, 0.2, WIDTH)
    return pa.table({name: pa.array(X[:, j], mask=gone[:, j]) for j, name in enumerate(FEATURES)})


def _words(rows: int, random: np.random.Generator) -> pa.Table:
    columns = {}
    for name, count in WORDS.items():
        places = np.minimum(random.geometric(4 / count, rows) - 1, count - 1)
        columns[name] = pa.array([f"{name} {j:04}" for j in range(count)]).take(pa.array(places))
    return pa.table(columns)


def _features(rows: int, random: np.random.Generator) -> np.ndarray:
    """Normal columns of unlike means and scales, each leaning on its neighbours."""
    own = random.standard_normal((rows, WIDTH))
    shared = random.standard_normal((rows, 5)) @ np.random.default_rng(0).standard_normal((5, WIDTH))
    return (own + 0.4 * shared) * SCALES + MEANS


_KINDS = {"numbers": _numbers, "gaps": _gaps, "words": _words}
