"""Rows and where they live: lazy, and the same methods on every engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.content import content_digest, row_sums
from outgrow.data.frames import named_columns, to_frame
from outgrow.data.matrix import Matrix
from outgrow.data.pandas_frames import frame_source, frame_table, is_frame
from outgrow.data.scan import Apply, HashSlice, Scan, Where, check_columns, check_condition
from outgrow.data.schema_file import write_types
from outgrow.data.source import TableSource
from outgrow.data.times import before
from outgrow.data.version import DatasetVersion
from outgrow.engine.cache import cached, forget
from outgrow.engine.local import Local
from outgrow.engine.memory import parse_size
from outgrow.engine.profile import Profile, profile
from outgrow.engine.protocol import Engine
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows that can be read again and again; nothing is read before it is needed.

    Made by `og.read`, `og.sql` and `og.dataset`. Methods that choose rows or columns return a new dataset.

    Parameters
    ----------
    scan : a source, and the steps its rows go through.
    engine : where the work is done.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> og.dataset(pa.table({"hour": [5, 9], "late": [0, 1]}))
    <Dataset on local: hour: int64, late: int64>
    """

    scan: Scan
    engine: Engine

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self.scan.schema

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    def write_types(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write names and types of the columns as JSON, for the `types` of `og.read`.

        Parameters
        ----------
        path : the file.
        overwrite : whether a file that is there already may be replaced.

        Raises
        ------
        OutputExistsError
            When the path exists and `overwrite` is false.

        Examples
        --------
        >>> import pathlib, tempfile, pyarrow as pa, outgrow as og
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> og.dataset(pa.table({"zip": ["01067"], "height": [113]})).write_types(folder / "types.json")
        >>> _ = (folder / "towns.csv").write_text("zip,height\\n01069,120\\n")
        >>> og.read(folder / "towns.csv", types=folder / "types.json").to_arrow().to_pylist()
        [{'zip': '01069', 'height': 120}]
        """
        write_types(self.schema, path, overwrite=overwrite)

    def select(self, *columns: str | Sequence[str]) -> Dataset:
        """Some columns, in the order given.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1], "b": [2], "c": [3]})).select("c", "a").columns
        ['c', 'a']
        """
        return self._with(self.scan.select(_names(columns)))

    def drop(self, *columns: str | Sequence[str]) -> Dataset:
        """All columns but these.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1], "b": [2], "c": [3]})).drop("b").columns
        ['a', 'c']
        """
        gone = _names(columns)
        check_columns(self.schema, gone)
        return self.select([name for name in self.columns if name not in gone])

    def where(self, condition: pc.Expression) -> Dataset:
        """The rows for which an Arrow expression is true.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2, 3]})).where(og.col("a") > 1).count()
        2
        """
        if not isinstance(condition, pc.Expression):
            raise ParameterError(f"where takes an expression like og.col('hour') > 6, not {condition!r}.")
        check_condition(self._out_schema(), condition)
        return self._with(self.scan.then(Where(condition)))

    def split(
        self,
        test: float | None = None,
        *,
        seed: int = 0,
        by: str | Sequence[str] | None = None,
        time: str | None = None,
        at: Any = None,
    ) -> tuple[Dataset, Dataset]:
        """Two datasets, to train and to test.

        By hash: a row belongs to the test part when the hash of its values (or of the columns `by`, so that
        rows of one key stay together) falls below `test`. The same rows on every engine, in any order; equal
        rows fall on the same side, so the share is met approximately.

        By time: `split(time="date", at=moment)` trains on rows before `at` and tests on the rest, to which
        rows without a time belong.

        Parameters
        ----------
        test : share of the test part, between 0 and 1.
        seed : another seed chooses other rows.
        by : the columns whose hash counts, one or several; rows without a key are those of one key.
        time : a column of numbers, times or text.
        at : a number, a moment (date, datetime, NumPy's or pandas', text in ISO 8601) or text, as the column
            holds. A moment without a time zone is one in that of the column.

        Raises
        ------
        ParameterError
            When `test` is no share, or `at` is of another kind than the column.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = og.dataset(pa.table({"day": ["2026-01-30", "2026-02-01", None], "x": [1, 2, 3]}))
        >>> [part.count() for part in rows.split(time="day", at="2026-02-01")]
        [1, 2]
        """
        if time is not None:
            return self._split_by_time(time, at)
        if test is None or not 0 < test < 1:
            raise ParameterError(
                f"test={test!r}: the share of the test part lies between 0 and 1. "
                "To split by time, give time= and at=."
            )
        keys = tuple(self.columns if by is None else [by] if isinstance(by, str) else by)
        check_columns(self.schema, keys)
        return self._slice(keys, seed, test, 1.0), self._slice(keys, seed, 0.0, test)

    def sample(self, fraction: float, *, seed: int = 0) -> Dataset:
        """About this share of the rows, chosen by the hash of their values: the same ones on every engine.

        Parameters
        ----------
        fraction : the share, above 0 and up to 1.
        seed : another seed chooses other rows.

        Raises
        ------
        ParameterError
            When `fraction` is no such share.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = og.dataset(pa.table({"a": range(10_000)}))
        >>> 900 < rows.sample(0.1).count() < 1100
        True
        """
        if not 0 < fraction <= 1:
            raise ParameterError(f"fraction={fraction!r}: it lies between 0 and 1.")
        return self if fraction == 1 else self._slice(tuple(self.columns), seed, 0.0, fraction)

    def map(self, function: Callable[[Batch], Batch]) -> Dataset:
        """The rows changed batch by batch with a function that treats each row by itself.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = og.dataset(pa.table({"a": [1, 2]}))
        >>> rows.map(lambda batch: batch.with_columns({"b": batch["a"]})).columns
        ['a', 'b']
        """
        schema = function(self.scan.example()).schema
        return self._with(self.scan.then(Apply(function, schema)))

    def count(self) -> int:
        """How many rows there are.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2, 3]})).count()
        3
        """
        return int(self.engine.fit(_count, self.scan, stage="count", keep=False).result)

    def head(self, rows: int = 5) -> pa.Table:
        """The first rows.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2, 3]})).head(2).to_pylist()
        [{'a': 1}, {'a': 2}]
        """
        if rows < 0:
            raise ParameterError(f"head({rows}): give a number of rows of at least 0.")
        found: list[pa.RecordBatch] = []
        for batch in self.engine.map(self.scan):
            found.append(batch.to_arrow().slice(0, rows))
            rows -= batch.num_rows
            if rows <= 0:
                break
        return pa.Table.from_batches(found, self._out_schema())

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow batches, one after the other.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> [batch.num_rows for batch in og.dataset(pa.table({"a": [1, 2, 3]})).to_batches()]
        [3]
        """
        return (batch.to_arrow() for batch in self.engine.map(self.scan))

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table in memory.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2]})).to_arrow().to_pydict()
        {'a': [1, 2]}
        """
        return pa.Table.from_batches(self.to_batches(), self._out_schema())

    def to_pandas(self) -> Any:
        """All rows as a pandas DataFrame; no whole number becomes another where others are missing.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2]})).to_pandas()["a"].sum()
        np.int64(3)
        """
        return to_frame(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = pa.RecordBatchReader.from_batches(self._out_schema(), self.to_batches())
        return reader.__arrow_c_stream__(requested_schema)

    def cache(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        keep: bool = False,
        max_bytes: int | str | None = None,
    ) -> Dataset:
        """The same rows, computed once and then read from files at the speed of a path.

        Worth it for the result of a query, and for a Spark DataFrame that is fitted, evaluated or scored more
        than once. The files belong to this process and go with it, or with `uncache` (`unpersist`). A second
        call for the same rows (plan, schema and inputs) finds them, and so do fits of the DataFrame itself.
        Files as they are stay what they are.

        Parameters
        ----------
        folder : where the files are, in a folder of their own; this process and all executors must reach it.
            By default where this machine, or Spark in local mode, has temporary files; else the
            `checkpoint` folder of the engine.
        keep : the files stay when the process ends, and another session that asks for the same rows (the same
            plan, schema, and input files with their dates) in the same folder finds them. It needs `folder`.
        max_bytes : the most that all kept rows in `folder` may take, in bytes or like '20GiB': rows that were
            not used for longest are removed, unless a process uses them.

        Raises
        ------
        ParameterError
            When there is no default, or nothing tells another session that the rows are the same.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = og.sql("SELECT range AS a FROM range(5)").cache()
        >>> rows.count()
        5
        >>> rows.uncache()
        """
        if keep and folder is None:
            raise ParameterError("cache(keep=True): say in which folder rows are kept.")
        if max_bytes is not None and not keep:
            raise ParameterError("cache(max_bytes=): the size is that of rows that are kept; say keep=True.")
        most = None if max_bytes is None else parse_size(max_bytes)
        return self._with(cached(self.engine, self.scan, folder, keep=keep, max_bytes=most))

    def uncache(self) -> None:
        """Remove the files that `cache` wrote for these rows; datasets made of them can be read no more.

        Examples
        --------
        >>> import outgrow as og
        >>> rows = og.sql("SELECT range AS a FROM range(5)")
        >>> rows.cache().count()
        5
        >>> rows.uncache()
        """
        forget(self.engine, self.scan)

    def unpersist(self) -> None:
        """The same as `uncache`, by the name that a Spark DataFrame has for it."""
        self.uncache()

    def profile(self, target: str | None = None) -> Profile:
        """What the columns hold, what to look at, and how they go with a target: a pass, or two beside one.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> profile = og.dataset(pa.table({"a": [1.0, 2.0, None]})).profile()
        >>> profile.rows, profile.columns["a"].missing, profile.columns["a"].mean
        (3, 1, 1.5)
        """
        held = self.scan.example().held
        sparse = any(isinstance(column, Matrix) and column.sparse for column in held.values())
        rows = self.map(Batch.spelt_out) if sparse else self
        return profile(self.engine, rows.scan, target)

    def fingerprint(self) -> dict[str, Any]:
        """What exactly is read: files with size and date, schema, conditions, and a digest of all that.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> og.dataset(pa.table({"a": [1, 2]})).select("a").fingerprint()["steps"]
        ["select ['a']"]
        """
        return self.scan.describe()

    def version(self, *, strong: bool = False) -> DatasetVersion:
        """Where the rows lie, in which version, and their fingerprint: enough to read them again.

        Parameters
        ----------
        strong : also add up the hashes of all rows, in one pass. No order, partitioning, engine or file
            format changes the sum.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> there = og.dataset(pa.table({"a": [1, 2, 3]})).version(strong=True)
        >>> back = og.dataset(pa.table({"a": [3, 1, 2]})).version(strong=True)
        >>> there.rows, there.strong == back.strong, there.fingerprint == back.fingerprint
        (3, True, False)
        """
        found = DatasetVersion.of(self.scan)
        if not strong:
            return found
        sums = self.engine.fit(_sums, self.scan, stage="fingerprint", keep=False).result
        return replace(found, rows=int(sums[0]), strong=content_digest(sums, self.columns))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field.name}: {field.type}" for field in self.schema)
        return f"<Dataset on {self.engine.name}: {fields}>"

    def _split_by_time(self, time: str, at: Any) -> tuple[Dataset, Dataset]:
        check_columns(self.schema, [time])
        early = before(time, self.schema.field(time).type, at)
        return self.where(early), self.where(~early | pc.field(time).is_null())

    def _slice(self, columns: tuple[str, ...], seed: int, low: float, high: float) -> Dataset:
        salted = seed + 1_000_003 * self.scan.salt  # a split of a split must not ask the same question again
        return self._with(self.scan.then(HashSlice(columns, salted, low, high)))

    def _with(self, scan: Scan) -> Dataset:
        return Dataset(scan, self.engine)

    def _out_schema(self) -> pa.Schema:
        return self.scan.example().to_arrow().schema


def from_arrow(table: Any, *, engine: Engine | None = None) -> Dataset:
    """A dataset of an object that speaks Arrow's C stream (PyArrow, pandas, Polars, DuckDB, ...).

    Parameters
    ----------
    table : such an object; it is read into an Arrow table now.
    engine : where the work is done; this machine by default.

    Raises
    ------
    DataError
        When it cannot become a table.
    """
    if not is_frame(table):
        return Dataset(Scan(TableSource(as_table(table))), engine or Local())
    try:
        return Dataset(Scan(frame_source(table)), engine or Local())
    except DataError as error:
        raise named_columns(table, error) from error.__cause__


def as_table(data: Any) -> pa.Table:
    """An Arrow table of anything table-like."""
    if isinstance(data, pa.Table):
        return data
    if is_frame(data):
        return frame_table(data)
    try:
        return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"A {type(data).__name__} cannot become a table: {error}") from error


def _names(columns: Sequence[str | Sequence[str]]) -> list[str]:
    """The names among what was given: names and lists of names."""
    names: list[str] = []
    for each in columns:
        listed = [each] if isinstance(each, str) or not isinstance(each, Iterable) else list(each)
        if strange := [name for name in listed if not isinstance(name, str)]:
            raise ParameterError(f"Columns have names, and {strange[0]!r} is none. Give rows.columns[...].")
        names += listed
    return names


def _sums(shard: Shard) -> np.ndarray:
    return shard.reduce(row_sums, encoded=True, empty=np.zeros(3, dtype=np.uint64))


def _count(shard: Shard) -> int:
    rows = shard.reduce(lambda batch: np.array([float(batch.num_rows)]), encoded=True, empty=np.zeros(1))
    return int(rows[0])
