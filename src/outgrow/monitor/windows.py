"""Counts of windows of time: cut from rows, kept as files named by their digest, merged without rows."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from outgrow import artifact
from outgrow.data.spans import Span, as_times, microseconds
from outgrow.engine.dataset import Dataset
from outgrow.engine.reference import Reference
from outgrow.engine.reference_plan import Counting
from outgrow.errors import ArtifactError, DataError
from outgrow.monitor.labels import NO_TIME
from outgrow.monitor.pairs import EVERYTHING, Group, parted, texts_of
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.state import from_tree, merge, to_tree
from outgrow.storage import write_file

_WINDOW, _REFERENCE = "window", "reference"
"""How the names of files end."""


@dataclass(frozen=True)
class WindowFold:
    """Counts the rows of each version, role and window; a function that is sent to the rows.

    Attributes
    ----------
    counting : of the reference.
    window : the length of a window.
    time : the column of times; None where all rows belong to `start`.
    start : in microseconds since 1970, of rows without a column of times.
    version, role : columns; None where there is none.
    """

    counting: Counting
    window: Span
    time: str | None
    start: int
    version: str | None
    role: str | None

    def __call__(self, _: int, piece: Any) -> dict[str, Any]:
        """The counts of a piece by group, as an artifact can store them; rows without a time are counted."""
        states: dict[Group, GridCounts] = {}
        timeless = 0
        for batch in piece.batches():
            if batch.num_rows == 0:
                continue
            starts: Any = np.full(batch.num_rows, self.start)
            if self.time is not None:
                starts = microseconds(self.window.floor(as_times(_arrow(batch[self.time]), self.time)))
            keys = [texts_of(batch, self.version), texts_of(batch, self.role), starts]
            for (version, role, start), chosen in parted(keys, np.arange(batch.num_rows)):
                if start == NO_TIME:
                    timeless += len(chosen)
                    continue
                some = batch if len(chosen) == batch.num_rows else batch.take(chosen)
                group = Group(version or "", role or "", EVERYTHING, int(start))
                states[group] = merge(states.get(group), self.counting(iter([some])))
        trees = [to_tree(state) for state in states.values()]
        return {"groups": [list(group) for group in states], "states": trees, "timeless": timeless}


def fold_windows(data: Dataset, fold: WindowFold) -> tuple[dict[Group, GridCounts], int]:
    """The counts of rows by version, role and window, and how many rows have no time.

    Parameters
    ----------
    data : the rows; one pass.
    fold : how.
    """
    states: dict[Group, GridCounts] = {}
    timeless = 0
    for part in data.engine.each_piece(data.scan, fold, stage="windows"):
        timeless += part["timeless"]
        for group, tree in zip(part["groups"], part["states"], strict=True):
            key = Group(*group)
            states[key] = merge(states.get(key), from_tree(tree))
    return states, timeless


@dataclass(frozen=True)
class WindowFiles:
    """States as files named by their digest, in a folder; a log holds the names."""

    folder: Path

    def put(self, state: GridCounts) -> str:
        """Write a state; its digest."""
        return self._put(zlib.compress(_packed(state), 1), _WINDOW)

    def put_reference(self, reference: Reference) -> str:
        """Write what windows are held against, to look at them without the model; its digest."""
        return self._put(reference.to_bytes(), _REFERENCE)

    def get(self, digest: str) -> GridCounts:
        """The state with a digest.

        Raises
        ------
        ArtifactError
            When the file is gone, or holds something else.
        """
        return _unpacked(zlib.decompress(self._get(digest, _WINDOW)))

    def reference(self, digest: str) -> Reference:
        """The reference with a digest.

        Raises
        ------
        ArtifactError
            When the file is gone, or holds something else.
        """
        return Reference.from_bytes(self._get(digest, _REFERENCE))

    def merged(self, digests: Iterable[str]) -> GridCounts | None:
        """States together; None of none."""
        states = list(map(self.get, digests))
        return merge_all(states) if states else None

    def _put(self, payload: bytes, kind: str) -> str:
        digest = hashlib.sha256(payload).hexdigest()
        path = self._path(digest, kind)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, payload, overwrite=True, durable=False)
        return digest

    def _get(self, digest: str, kind: str) -> bytes:
        path = self._path(digest, kind)
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"The counts of a window are not at {path}, where the log says: {error.strerror}. Restore "
                "the folder, or give the one they lie in with states=...."
            ) from error
        if hashlib.sha256(payload).hexdigest() != digest:
            raise ArtifactError(f"{path} was changed since it was written. Restore it from a copy.")
        return payload

    def _path(self, digest: str, kind: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.{kind}"


def merge_all(states: Sequence[GridCounts]) -> GridCounts:
    """Many windows of one reference as one: the arrays are added at once, the rest is merged.

    Parameters
    ----------
    states : one or more.
    """
    first, *others = states
    if not others:
        return first
    grids = {state.grids for state in states}
    if len(grids) > 1:
        return first.merge(next(state for state in others if state.grids != first.grids))  # it says why not
    totals: dict[str, Any] = {}
    for name in ("counts", "slices", "slice_rows", "joint"):
        total = np.zeros(getattr(first, name).shape, np.int64)
        for state in states:
            total += getattr(state, name)
        totals[name] = total
    ends = np.stack(
        [
            np.min([state.ends[0] for state in states], axis=0),
            np.max([state.ends[1] for state in states], axis=0),
        ]
    )
    schema: dict[str, set[str]] = {}
    for state in states:
        for column, kinds in state.schema.items():
            schema.setdefault(column, set()).update(kinds)
    novel = first.novel
    for state in others:
        if any(len(texts.texts) for texts in state.novel):
            novel = tuple(a.merge(b) for a, b in zip(novel, state.novel, strict=True))
    return replace(
        first,
        rows=sum(state.rows for state in states),
        ends=ends,
        schema={column: sorted(kinds) for column, kinds in sorted(schema.items())},
        novel=novel,
        **totals,
    )


_ARRAYS = ("counts", "ends", "slices", "slice_rows", "joint")


def _packed(state: GridCounts) -> bytes:
    """A short head and raw arrays: a year of hours is read in a second or two."""
    small = "<i4" if state.rows < 2**31 else "<i8"
    types = {name: "<f8" if name == "ends" else small for name in _ARRAYS}
    arrays = [np.ascontiguousarray(getattr(state, name), types[name]) for name in _ARRAYS]
    novel = artifact.pack(to_tree(state.novel))
    head = {
        "format": 1,
        "grids": state.grids,
        "schema": state.schema,
        "arrays": [[types[n], list(a.shape)] for n, a in zip(_ARRAYS, arrays, strict=True)],
        "novel": len(novel),
    }
    text = json.dumps(head, sort_keys=True).encode()
    sizes = np.array([len(text), state.rows], "<i8").tobytes()
    return b"".join([sizes, text, novel, *(array.tobytes() for array in arrays)])


def _unpacked(data: bytes) -> GridCounts:
    size, rows = np.frombuffer(data, "<i8", 2).tolist()
    head = _head(data[16 : 16 + size])
    start = 16 + size + head["novel"]
    novel = _novel(data[16 + size : start])
    arrays = {}
    for name, (kind, shape) in zip(_ARRAYS, head["arrays"], strict=True):
        count = math.prod(shape)
        arrays[name] = np.frombuffer(data, kind, count, start).reshape(shape)
        start += arrays[name].nbytes
    return GridCounts(grids=head["grids"], rows=rows, schema=head["schema"], novel=novel, **arrays)


@lru_cache(maxsize=256)
def _head(text: bytes) -> dict[str, Any]:
    """Heads are alike from window to window."""
    head: dict[str, Any] = json.loads(text)
    return head


@lru_cache(maxsize=256)
def _novel(data: bytes) -> Any:
    return from_tree(artifact.unpack(data))


def _arrow(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def new_files(folder: str | os.PathLike[str], known: Container[str]) -> Iterator[tuple[str, Path]]:
    """The Parquet files of a folder and its sub-folders that are not known, by their names in it.

    Parameters
    ----------
    folder : such as the server's log; files that are being written begin with a dot.
    known : names.
    """
    base = Path(folder)
    if not base.is_dir():
        raise DataError(f"{folder} is no folder. Give the one that the predictions are written to.")
    for path in sorted(base.rglob("*.parquet")):
        name = path.relative_to(base).as_posix()
        if name not in known and not any(
            part.startswith((".", "_")) for part in path.relative_to(base).parts
        ):
            yield name, path


def by_schema(files: Mapping[str, Path]) -> tuple[list[dict[str, Path]], dict[str, str]]:
    """Files that can be read together, and why some cannot be read at all.

    Parameters
    ----------
    files : Parquet files by name.
    """
    alike: dict[str, dict[str, Path]] = {}
    unread: dict[str, str] = {}
    for name, path in files.items():
        try:
            schema = pq.read_schema(path).remove_metadata()
        except (OSError, pa.ArrowException) as error:
            unread[name] = f"{error}. It may be truncated or no Parquet; write it again."
        else:
            alike.setdefault(str(schema), {})[name] = path
    return list(alike.values()), unread


def reference_columns(reference: Reference, data: Dataset, beside: Iterable[str]) -> Dataset:
    """The columns that a reference knows, and some more; those of a log that are not of the model go.

    Parameters
    ----------
    reference : what is counted.
    data : rows.
    beside : columns that are needed for other reasons.
    """
    known = (
        {entry.measure.column for entry in reference.plan.entries} | set(reference.kinds) | set(reference.by)
    )
    wanted = known | set(beside)
    return data.select([name for name in data.columns if name in wanted])
