"""Small shards of rows of several types; quick to import, for the processes that tests start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Memory
from outgrow.engine.shard import Shard

BUDGET = 1 << 62


def table(keys: list[int | None], seed: int = 0) -> pa.Table:
    """Rows of several types; some are equal."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "key": pa.array(keys, pa.int64()),
            "text": pa.array([f"t{n}" for n in random.integers(0, 3, len(keys))]).dictionary_encode(),
            "number": pa.array(
                random.integers(0, 4, len(keys)).astype(float), mask=random.random(len(keys)) < 0.2
            ),
            "list": pa.array(
                [[int(n)] * int(n) for n in random.integers(0, 3, len(keys))], pa.list_(pa.int32())
            ),
        }
    )


def shard_of(
    rows: pa.Table, comm: Any = None, *, piece: int = 7, budget: int = BUDGET, threads: int = 2
) -> Shard:
    """The rows of one rank, in small pieces."""
    run = FitContext(comm, threads, Memory(budget))
    scan = Scan(TableSource(rows, piece))
    return Shard.of(run, scan.pieces() if rows.num_rows else [], scan.example())
