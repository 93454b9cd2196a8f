"""Expectations of rows: written down, learned, checked in the pass that reads the rows anyway."""

from __future__ import annotations

import copy
import datetime
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.scan import Apply
from outgrow.engine.activity import activity, checked
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, SchemaError
from outgrow.expectations.checker import (
    Counting,
    Failing,
    Passing,
    RowChecker,
    bind,
    counting,
    schema_aside,
)
from outgrow.expectations.document import dump_document, read_document
from outgrow.expectations.evaluate import Evaluation
from outgrow.expectations.repeated import repeated_rows
from outgrow.expectations.report import ExpectationReport
from outgrow.expectations.rules import KnownKeys, key_hashes
from outgrow.expectations.spec import SET_ASIDE, read_spec
from outgrow.expectations.state import CheckedRows, KeyHashes
from outgrow.stats.state import from_tree, to_tree
from outgrow.storage import write_file

_OF_TABLES = ("newest", "unique")


class Expectations:
    """What rows are expected to be.

    Parameters
    ----------
    given : a mapping, or the path of a YAML file with one: `columns` (by name: `type`, `required`, `missing`,
        `unique`, `range`, `values`, `matches`, `length`, `newest`, `references`, `optional`, `at_most`,
        `on_failure`), `rows`, `unique`, `others`, `on_failure`, `at_most`.
    folder : where paths of `references` begin; that of the file, or the one this process is in.

    Raises
    ------
    ParameterError
        When it says what cannot be; all of it at once.
    InputNotFoundError
        When there is no such file.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> expect = og.Expectations({"columns": {"hour": {"type": "integer", "range": [0, 23]}}})
    >>> report = expect.check(pa.table({"hour": [5, 24, 99]}))
    >>> print(report)
    broken: 1 of 2 expectations broken in 3 rows; 2 rows to set aside
    <BLANKLINE>
    verdict  column  what   expected         observed
    broken   hour    range  is from 0 to 23  not in 2 of 3 rows (66.67%), such as 24, 99
    """

    def __init__(
        self,
        given: Mapping[str, Any] | str | os.PathLike[str],
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(given, Mapping):
            self.document, beside = dict(given), Path(".")
        else:
            self.document, beside = read_document(Path(given)), Path(given).parent
        self.spec = read_spec(self.document)
        self.folder = beside if folder is None else Path(folder)

    def check(self, rows: Any, *, now: datetime.datetime | None = None) -> ExpectationReport:
        """Check rows, in one pass over the columns of which something is expected.

        Parameters
        ----------
        rows : dataset, Spark DataFrame, table or array.
        now : from when the age of the newest times is counted; by default this moment.

        Returns
        -------
        ExpectationReport
            Each expectation with what was seen; the same on every engine and in any partitioning.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> expect = og.Expectations({"columns": {"id": {"unique": True}}, "rows": [1, None]})
        >>> expect.check(pa.table({"id": [1, 2, 2]})).ok
        False
        """
        data = dataset(rows)
        with activity("check", "expectations", data=data):
            checking = Checking.of(self, data)
            report = checking.report(checking.count(), now=now)
            checked(report)
        return report

    def split(self, rows: Any) -> tuple[Dataset, Dataset]:
        """The rows that pass, and those to be set aside with the column `reason`; nothing is read yet.

        A fit of the first checks each row as it reads it.

        Parameters
        ----------
        rows : dataset, Spark DataFrame, table or array.

        Raises
        ------
        ColumnNotFoundError
            When a column is not there.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> expect = og.Expectations({"columns": {"hour": {"range": [0, 23]}}})
        >>> good, bad = expect.split(pa.table({"hour": [5, 24]}))
        >>> good.to_arrow().to_pylist(), bad.to_arrow().to_pylist()
        ([{'hour': 5}], [{'hour': 24, 'reason': 'hour is not from 0 to 23'}])
        """
        data = dataset(rows)
        absent = [n for n, c in self.spec.columns.items() if n not in data.columns and not c.optional]
        if absent:
            raise ColumnNotFoundError(
                f"Of column {absent[0]!r} something is expected, and these rows have {data.columns}. "
                "Add it, or say that it is optional."
            )
        checking = Checking.of(self, data)
        return checking.passing(), checking.failing()

    def checker(self, rows: Dataset) -> RowChecker:
        """The rules of rows for some columns, all of which set rows aside.

        Parameters
        ----------
        rows : whose columns count; none are read.

        Raises
        ------
        SchemaError
            When a rule does not fit the type of its column.
        """
        checker, unfit = bind(self.spec, rows.scan.example(), self.references(rows.engine))
        wrong = [f"{name}: {key}: {reason}" for (name, key), reason in unfit.items() if key not in _OF_TABLES]
        if wrong:
            raise SchemaError(f"The rows are not as expected: {'; '.join(wrong)}. Correct one of both.")
        return RowChecker(tuple(replace(check, policy=SET_ASIDE) for check in checker.checks))

    def to_dict(self) -> dict[str, Any]:
        """What they were made of."""
        return dict(self.document)

    @property
    def columns(self) -> list[str]:
        """The columns of which something is expected."""
        return list(dict.fromkeys([*self.spec.columns, *(name for key in self.spec.unique for name in key)]))

    def of_sample(self) -> Expectations:
        """The same of a part of the rows, without how many there are."""
        return Expectations({k: v for k, v in self.document.items() if k != "rows"}, folder=self.folder)

    def absolute(self) -> Expectations:
        """The same with absolute paths, for files elsewhere."""
        document = copy.deepcopy(self.document)
        for name, column in self.spec.columns.items():
            if column.references is not None:
                document["columns"][name]["references"]["path"] = self._beside(column.references.path)
        return Expectations(document, folder=self.folder)

    def to_yaml(self, head: str = "") -> str:
        """The text of a file that says the same.

        Parameters
        ----------
        head : lines of comment above it.
        """
        return "".join(f"# {line}\n" for line in head.splitlines()) + dump_document(self.document)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, head: str = "") -> None:
        """Write a file that says the same.

        Parameters
        ----------
        path : of the file.
        overwrite : replace one that exists.
        head : lines of comment above it.

        Raises
        ------
        OutputExistsError
            When the path exists and `overwrite` is false.
        """
        write_file(path, self.to_yaml(head).encode(), overwrite=overwrite)

    def references(self, engine: Engine) -> dict[str, KnownKeys]:
        """The keys of other tables that columns are held against, read now.

        Parameters
        ----------
        engine : where those tables are read.
        """
        wanted = {name: c.references for name, c in self.spec.columns.items() if c.references is not None}
        return {name: self._known(one.path, one.column, engine) for name, one in wanted.items()}

    def _known(self, path: str, column: str, engine: Engine) -> KnownKeys:
        keys = read(self._beside(path), engine=engine).select(column)

        def fold(batch: Batch) -> KeyHashes:
            return KeyHashes.of(np.unique(key_hashes(batch[column])))

        def learn(shard: Shard) -> Any:
            return to_tree(shard.reduce(fold, encoded=True, empty=fold(shard.example)))

        state: KeyHashes = from_tree(engine.fit(learn, keys.scan, stage="check", keep=False).result)
        hashes = np.unique(state.in_order())
        return KnownKeys(path, column, hashlib.sha256(hashes.tobytes()).hexdigest()[:16], hashes)

    def _beside(self, path: str) -> str:
        return path if "://" in path else os.path.abspath(os.path.join(self.folder, path))

    def __repr__(self) -> str:
        return f"<Expectations of {', '.join(self.spec.columns) or 'rows'}>"


@dataclass(frozen=True, eq=False)
class Checking:
    """Expectations bound to rows, before any are read but those of references.

    Attributes
    ----------
    expectations : what is expected.
    rows : of which.
    counting : what a pass counts.
    unfit : why some of it cannot be, by column and key.
    """

    expectations: Expectations
    rows: Dataset
    counting: Counting
    unfit: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, expectations: Expectations, rows: Dataset, *, keep: bool = False) -> Checking:
        """Bind them.

        Parameters
        ----------
        expectations : what is expected.
        rows : of which.
        keep : the pass also keeps the rows that are set aside.
        """
        spec, example = expectations.spec, rows.scan.example()
        checker, unfit = bind(spec, example, expectations.references(rows.engine))
        schema = schema_aside(example) if keep else None
        return cls(expectations, rows, counting(spec, example, checker, unfit, schema), unfit)

    def count(self) -> CheckedRows:
        """One pass over the columns that count."""
        fold = self.counting.counted
        used = self.counting.columns

        def learn(shard: Shard) -> Any:
            return to_tree(shard.reduce(fold, encoded=True, empty=fold(shard.example)))

        rows = self.rows.select(used) if used and self.counting.keep is None else self.rows
        state: CheckedRows = from_tree(rows.engine.fit(learn, rows.scan, stage="check", keep=False).result)
        return state

    def report(self, state: CheckedRows, *, now: datetime.datetime | None = None) -> ExpectationReport:
        """What is broken.

        Parameters
        ----------
        state : what was counted, of one pass or of several that merged.
        now : from when the age of the newest times is counted; by default this moment.
        """
        moment = datetime.datetime.now(datetime.UTC) if now is None else _in_utc(now)
        pairs = zip(self.counting.keys, state.keys, strict=True)
        repeated = {key: repeated_rows(hashes, self.rows, key) for key, hashes in pairs}
        example = self.rows.scan.example()
        spec = self.expectations.spec
        return Evaluation(spec, example, self.counting, self.unfit, state, repeated, moment).report()

    def passing(self) -> Dataset:
        """The rows that are not set aside."""
        return self._applied(Passing(self.counting.checker))

    def failing(self) -> Dataset:
        """The rows that are set aside, with the column `reason`."""
        return self._applied(Failing(self.counting.checker))

    def _applied(self, function: Any) -> Dataset:
        schema = function(self.rows.scan.example()).schema
        return Dataset(self.rows.scan.then(Apply(function, schema)), self.rows.engine)


def _in_utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)
