"""A small job and its rows, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml


def write_rows(folder: Path, rows: int = 400) -> Path:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    late = X[:, 0] + 0.5 * X[:, 1] + rng.normal(size=rows) > 0
    words = rng.choice(["blue", "red"], rows)
    table = pa.table(
        {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "word": words, "y": late, "z": X @ [1.0, 2.0, 3.0]}
    )
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def document(folder: Path, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "small",
        "data": {"path": "rows.parquet", "drop": ["word", "z"]},
        "target": "y",
        "split": {"test": 0.25, "seed": 1},
        "steps": [{"StandardScaler": {"columns": "numeric"}}],
        "model": {"LogisticRegression": {"C": 1.0}},
        "output": str(folder / "out"),
    }
    return {**base, **changes}


def write_job(folder: Path, **changes: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document(folder, **changes), sort_keys=False))
    return path
