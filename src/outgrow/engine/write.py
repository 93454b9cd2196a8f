"""Rows to Parquet files: written by whoever has them, seen by nobody before all are there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from outgrow.artifact import disk_errors, new_directory
from outgrow.data.scan import check_columns
from outgrow.engine.dataset import Dataset
from outgrow.engine.run import Unit
from outgrow.engine.shard import Shard


def write_parquet(
    rows: Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    partition_by: str | Sequence[str] = (),
) -> int:
    """Write a dataset as a folder of Parquet files that appears whole or not at all.

    On Spark every task writes its own files: the folder must be one that all executors reach. Within a file
    and over the files' names, rows keep their order.

    Parameters
    ----------
    partition_by : columns that become folders `name=value`.

    Returns
    -------
    How many rows were written.
    """
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    schema = rows.scan.example().to_arrow().schema
    check_columns(schema, keys)
    with new_directory(path, overwrite=overwrite) as draft:
        written = rows.engine.fit(
            lambda shard: _write_shard(shard, str(draft.absolute()), schema, keys),
            rows.scan,
            stage="write",
            keep=False,
        ).result
        if not written:
            ds.write_dataset(
                schema.empty_table(), draft, format="parquet", basename_template="part-{i}.parquet"
            )
    return int(written)


def _write_shard(shard: Shard, folder: str, schema: pa.Schema, keys: list[str]) -> int:
    rank = shard.run.comm.rank
    partitioning = (
        ds.partitioning(pa.schema([schema.field(key) for key in keys]), flavor="hive") if keys else None
    )

    def write(unit: tuple[int, Unit]) -> int:
        count = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for batch in unit[1]():
                count += batch.num_rows
                yield shard.rows.plain(batch).to_arrow()

        with disk_errors(Path(folder)):
            ds.write_dataset(
                counted(), folder, schema=schema, format="parquet",
                partitioning=partitioning, use_threads=False,
                basename_template=f"part-{rank:05d}-{unit[0]:06d}-{{i}}.parquet",
                existing_data_behavior="overwrite_or_ignore",
            )  # fmt: skip
        return count

    units = list(enumerate(shard.rows.units()))
    local = sum(shard.run.map(write, units))  # type: ignore[arg-type]
    total = shard.run.comm.allreduce(np.array([float(local)]))
    return int(total[0])
