"""What the footers of Parquet files say of their layout, what it costs, and what to do about it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from outgrow._process import usable_cores
from outgrow.data.lake import delta_files, is_delta
from outgrow.data.paths import common_format, find, unreadable
from outgrow.engine.memory import describe_size
from outgrow.errors import DataError, ParameterError

TARGET_BYTES = 128 << 20
"""Of a file: large enough that opening it costs nothing, small enough that there is work for many."""
DECODED_BYTES_A_SECOND = 400e6
"""Of a core that decodes numbers and some text: a round number, as measured on a usual one."""
_SMALL_BYTES = 16 << 20
_HUGE_BYTES = 512 << 20
_FEW_ROWS = 8_192
_SKEW = 2.0
_TIMED = 24
_READERS = 8
_GROUP_SECONDS = 0.2e-3
"""To begin with a row group, beside opening its file, where no file is small enough to try."""
_TRIED_BYTES = 4 << 20
SIZES = (1 << 20, 16 << 20, 128 << 20, 512 << 20)
"""Bounds between the classes of sizes that a layout counts."""


@dataclass(frozen=True)
class Finding:
    """Something about a layout that costs time or memory.

    Attributes
    ----------
    what : 'small files', 'small row groups', 'huge row groups', 'few row groups' or 'skewed partitions'.
    text : the fact, with its numbers.
    advice : what to do.
    before, after : seconds of a pass over all rows, as they lie and if the advice is followed; None where
        it is memory that it costs.
    """

    what: str
    text: str
    advice: str
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Layout:
    """How the rows of some Parquet files lie.

    Attributes
    ----------
    path : what was looked at.
    files, rows, groups : how many; `groups` are row groups.
    stored, decoded : bytes of the files, and of their columns once they are decompressed.
    file_sizes, group_sizes : how many are of up to 1 MiB, 16 MiB, 128 MiB, 512 MiB, and more; of files the
        stored bytes count, of row groups the decoded ones.
    partitions : bytes of the files of each folder.
    open_seconds : to open a file and begin its rows, beside decoding them, measured: the median of some.
    cores : that share a pass.
    findings : what costs, the most expensive first.
    """

    path: str
    files: int
    rows: int
    groups: int
    stored: int
    decoded: int
    file_sizes: tuple[int, ...]
    group_sizes: tuple[int, ...]
    partitions: dict[str, int]
    open_seconds: float
    cores: int
    findings: tuple[Finding, ...]

    @property
    def seconds(self) -> float:
        """Of a pass over all rows: files x opening one + bytes / 400 MB/s / cores."""
        return pass_seconds(self.files, self.decoded, self.open_seconds, self.cores)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**vars(self), "seconds": self.seconds, "findings": [vars(item) for item in self.findings]}

    def __str__(self) -> str:
        sizes = [f"up to {describe_size(bound)}" for bound in SIZES] + ["more"]
        counts = "\n".join(
            f"  {name:>14}  {files:>9,} files  {groups:>9,} row groups"
            for name, files, groups in zip(sizes, self.file_sizes, self.group_sizes, strict=True)
        )
        lines = [
            f"{self.path}: {self.rows:,} rows in {self.files:,} files ({describe_size(self.stored)}) and "
            f"{self.groups:,} row groups ({describe_size(self.decoded)} decoded), "
            f"{len(self.partitions):,} folders",
            counts,
            f"A pass: about {self.seconds:.2g} s = {self.files:,} files x "
            f"{1000 * self.open_seconds:.2g} ms + "
            f"{self.decoded / 1e6:,.0f} MB / 400 MB/s / {self.cores} cores",
        ]
        lines += [f"{item.what}: {item.text}\n  {item.advice}" for item in self.findings]
        return "\n".join(lines if self.findings else [*lines, "Nothing to mend."])


@dataclass(frozen=True)
class Footer:
    """What is known of a file from its end.

    Attributes
    ----------
    path : on its file system.
    stored, rows : of the file.
    groups : rows and decoded bytes of each row group.
    schema : with its metadata.
    compression : of its first column.
    seconds : to open and read it.
    """

    path: str
    stored: int
    rows: int
    groups: tuple[tuple[int, int], ...]
    schema: pa.Schema
    compression: str
    seconds: float

    @property
    def decoded(self) -> int:
        """Bytes of all row groups, once decompressed."""
        return sum(size for _, size in self.groups)


def layout(path: str | os.PathLike[str], *, cores: int | None = None) -> Layout:
    """Look at the footers of the Parquet files of a path; of some small files the rows are read, to time it.

    Parameters
    ----------
    path : a file, folder, pattern, or the folder of a Delta table.
    cores : that would share a pass; those of this machine by default.

    Raises
    ------
    DataError
        When there are other files than Parquet, or a file is damaged.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq, outgrow as og
    >>> folder = tempfile.mkdtemp()
    >>> for number in range(40):
    ...     pq.write_table(pa.table({"a": [number]}), f"{folder}/{number}.parquet")
    >>> layout = og.layout(folder)
    >>> layout.files, layout.rows, layout.findings[0].what
    (40, 40, 'small files')
    """
    shared = cores or usable_cores()
    root, filesystem, footers = read_footers(path)
    groups = np.array([size for footer in footers for _, size in footer.groups], dtype=np.int64)
    stored = np.array([footer.stored for footer in footers], dtype=np.int64)
    partitions: dict[str, int] = {}
    for footer in footers:
        folder = str(PurePosixPath(footer.path).parent)
        partitions[folder] = partitions.get(folder, 0) + footer.stored
    opened = _open_seconds(filesystem, footers[:_TIMED])
    decoded = int(groups.sum())
    findings = [
        *_small_files(footers, decoded, opened, shared),
        *_groups(footers, shared),
        *_skew(partitions, decoded, shared),
    ]
    findings.sort(key=lambda item: -((item.before or 0) - (item.after or 0)))
    return Layout(
        root,
        len(footers),
        sum(footer.rows for footer in footers),
        len(groups),
        int(stored.sum()),
        decoded,
        _classes(stored),
        _classes(groups),
        partitions,
        opened,
        shared,
        tuple(findings),
    )


def pass_seconds(files: int, decoded: int, open_seconds: float, cores: int) -> float:
    """What a pass of one process takes, about: its threads decode side by side, and open files in turn.

    Parameters
    ----------
    files, decoded : how many files, and their bytes once decompressed.
    open_seconds : to open a file and begin its rows.
    cores : that share it.
    """
    return files * open_seconds + decoded / DECODED_BYTES_A_SECOND / cores


def read_footers(path: str | os.PathLike[str]) -> tuple[str, Any, list[Footer]]:
    """The footers of the Parquet files of a path, in the order in which their rows are read.

    Parameters
    ----------
    path : as of `layout`.

    Returns
    -------
    The path as it is shown, its file system, and the footers.
    """
    if not isinstance(path, str | os.PathLike):
        raise ParameterError(
            f"A {type(path).__name__} has no files: give the path of a file or folder, or a pattern. "
            "Rows in memory become files by og.write_parquet(...)."
        )
    text = os.fspath(path)
    names: Any = text
    if is_delta(text):
        names = delta_files(text)
        if not names:
            raise DataError(f"The Delta table {text} has no files: it has no rows.")
    filesystem, files = find(names)
    if (known := common_format(files, None)) != "parquet":
        raise DataError(
            f"{text} holds {known}; layouts are of Parquet. Write it as Parquet: og.write_parquet(...)."
        )
    with ThreadPoolExecutor(_READERS) as pool:
        first = [_footer(filesystem, name) for name in files[:_TIMED]]  # alone, as their time counts
        return text, filesystem, [*first, *pool.map(lambda name: _footer(filesystem, name), files[_TIMED:])]


def _footer(filesystem: Any, name: str) -> Footer:
    began = time.perf_counter()
    try:
        with filesystem.open_input_file(name) as file:
            metadata = pq.read_metadata(file)
            size = file.size()
        seconds = time.perf_counter() - began
        parts = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        codec = parts[0].column(0).compression if parts and metadata.num_columns else "SNAPPY"
        groups = tuple((part.num_rows, part.total_byte_size) for part in parts)
        schema = metadata.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        raise unreadable(name, error) from error
    return Footer(name, size, metadata.num_rows, groups, schema, codec, seconds)


def _open_seconds(filesystem: Any, footers: Sequence[Footer]) -> float:
    """What a file takes beside the decoding of its bytes: tried where files are small, as there it counts."""
    small = [footer for footer in footers if footer.decoded <= _TRIED_BYTES]
    if not small:
        return float(np.median([footer.seconds for footer in footers])) + _GROUP_SECONDS
    tried = [_read_seconds(filesystem, footer) - footer.decoded / DECODED_BYTES_A_SECOND for footer in small]
    return max(float(np.median(tried)), float(np.median([footer.seconds for footer in small])))


def _read_seconds(filesystem: Any, footer: Footer) -> float:
    """Of all rows of a file, on one thread."""
    began = time.perf_counter()
    try:
        with filesystem.open_input_file(footer.path) as file, pq.ParquetFile(file) as whole:
            for _ in whole.iter_batches(use_threads=False):
                pass
    except (OSError, pa.ArrowException) as error:
        raise unreadable(footer.path, error) from error
    return time.perf_counter() - began


def _classes(sizes: np.ndarray) -> tuple[int, ...]:
    where = np.searchsorted(np.array(SIZES), sizes, side="left")
    return tuple(int(count) for count in np.bincount(where, minlength=len(SIZES) + 1))


def _small_files(footers: Sequence[Footer], decoded: int, opened: float, cores: int) -> list[Finding]:
    small = [footer for footer in footers if footer.stored < _SMALL_BYTES]
    folders = {str(PurePosixPath(footer.path).parent) for footer in footers}
    stored = sum(footer.stored for footer in footers)
    better = max(len(folders), -(-stored // TARGET_BYTES))
    if len(small) < max(32, 4 * better):
        return []
    before = pass_seconds(len(footers), decoded, opened, cores)
    after = pass_seconds(len(footers) - len(small) + better, decoded, opened, cores)
    mean = describe_size(sum(footer.stored for footer in small) // len(small))
    return [
        Finding(
            "small files",
            f"{len(small):,} files of {mean} on average: a pass of {before:.2g} s would take "
            f"{after:.2g} s in "
            f"{better:,} files.",
            f"outgrow compact PATH -o OUT (on Spark: coalesce({max(better, cores)}), which moves no "
            "row between "
            "machines, before the write).",
            before,
            after,
        )
    ]


def _groups(footers: Sequence[Footer], cores: int) -> list[Finding]:
    groups = [group for footer in footers for group in footer.groups]
    decoded = sum(size for _, size in groups)
    findings = []
    huge = [size for _, size in groups if size > _HUGE_BYTES]
    if huge:
        findings.append(
            Finding(
                "huge row groups",
                f"{len(huge):,} row groups of up to {describe_size(max(huge))} decoded: each thread "
                "that reads one "
                f"may hold {describe_size(4 * max(huge))}.",
                "outgrow compact PATH -o OUT writes groups of at most a million rows and 32 MiB.",
            )
        )
    if len(groups) < cores and decoded > 4 * _SMALL_BYTES:
        before, after = (
            decoded / DECODED_BYTES_A_SECOND / max(1, len(groups)),
            decoded / DECODED_BYTES_A_SECOND / cores,
        )
        findings.append(
            Finding(
                "few row groups",
                f"{len(groups)} row groups for {cores} cores: the others wait. A pass of "
                f"{before:.2g} s would take "
                f"{after:.2g} s.",
                f"outgrow compact PATH -o OUT, or on Spark repartition({cores}), which moves the rows once.",
                before,
                after,
            )
        )
    per_file = len(groups) / len(footers)
    middle = float(np.median([rows for rows, _ in groups])) if groups else 0.0
    if per_file > 8 and middle < _FEW_ROWS:
        findings.append(
            Finding(
                "small row groups",
                f"{len(groups):,} row groups, half of them with less than {middle:,.0f} rows: each "
                "has its own footer "
                "entry, statistics and dictionaries.",
                "outgrow compact PATH -o OUT, or write with a larger row_group_size.",
            )
        )
    return findings


def _skew(partitions: dict[str, int], decoded: int, cores: int) -> list[Finding]:
    sizes = np.array(sorted(partitions.values()))
    if len(sizes) < 4:
        return []
    largest, middle = int(sizes[-1]), float(np.median(sizes))
    if largest <= _SKEW * max(middle, 1.0) or largest < _SMALL_BYTES:
        return []
    share = largest / sizes.sum()
    before = decoded * max(share, 1 / cores) / DECODED_BYTES_A_SECOND
    after = decoded / cores / DECODED_BYTES_A_SECOND
    name = max(partitions, key=lambda folder: partitions[folder])
    return [
        Finding(
            "skewed partitions",
            f"{name} has {describe_size(largest)}, {largest / max(middle, 1):.1f} times the middle "
            "folder: work by "
            f"folders waits for it, {before:.2g} s rather than {after:.2g} s.",
            f"On Spark repartition({cores}) by rows, not by that column; coalesce would keep the "
            "skew. For folders, "
            "choose a key of more even values, or one more.",
            before,
            after,
        )
    ]
