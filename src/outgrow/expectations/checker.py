"""Expectations bound to a schema: which rows of a batch fail, why, and what a pass counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.exact import microseconds
from outgrow.data.keys import key_column, key_hash
from outgrow.data.kind import is_time
from outgrow.data.matrix import Column, Matrix
from outgrow.errors import OutgrowError
from outgrow.expectations.rules import KnownKeys, Rule, missing_values, negated, value_type
from outgrow.expectations.spec import SET_ASIDE, Spec
from outgrow.expectations.state import EXAMPLES, NEVER, CheckedRows, KeyHashes, RowsAside

REASON = "reason"
"""The column that says why a row is set aside."""
_TAKEN = "Why rows are set aside"
_RENAME = "Rename those first."


@dataclass(frozen=True)
class RowCheck:
    """A rule of a column.

    Attributes
    ----------
    column, rule : which.
    policy : what becomes of rows that break it.
    """

    column: str
    rule: Rule
    policy: str


@dataclass(frozen=True)
class RowChecker:
    """The rules that fit the columns that there are. It is a function of batches; so is what follows from it.

    Attributes
    ----------
    checks : in the order of the file.
    """

    checks: tuple[RowCheck, ...]

    def failures(self, batch: Batch) -> dict[int, np.ndarray]:
        """The rows that break each rule that any row breaks, by the rule's number."""
        failures = {}
        for number, check in enumerate(self.checks):
            failing = check.rule.failing(batch[check.column])
            if failing is not None and failing.any():
                failures[number] = failing
        return failures

    def aside(self, failures: Mapping[int, np.ndarray]) -> np.ndarray | None:
        """The rows that are set aside, boolean; None for none.

        Parameters
        ----------
        failures : as `failures` gives them.
        """
        masks = [mask for number, mask in failures.items() if self.checks[number].policy == SET_ASIDE]
        return np.logical_or.reduce(masks) if masks else None

    def reasons(self, failures: Mapping[int, np.ndarray], rows: np.ndarray) -> list[str]:
        """Why each of some rows is set aside.

        Parameters
        ----------
        failures : as `failures` gives them.
        rows : their numbers.
        """
        texts: list[list[str]] = [[] for _ in rows]
        for number, mask in failures.items():
            check = self.checks[number]
            if check.policy == SET_ASIDE:
                for position in np.flatnonzero(mask[rows]):
                    texts[position].append(f"{check.column} {negated(check.rule)}")
        return ["; ".join(text) for text in texts]

    def part(self, batch: Batch) -> tuple[Batch, Batch, list[str], dict[int, np.ndarray]]:
        """The rows that stay, those that are set aside, why, and all failures."""
        failures = self.failures(batch)
        aside = self.aside(failures)
        if aside is None:
            return batch, batch.slice(0, 0), [], failures
        reasons = self.reasons(failures, np.flatnonzero(aside))
        return batch.filter(~aside), batch.filter(aside), reasons, failures


@dataclass(frozen=True)
class Passing:
    """The rows that are not set aside, as a function of batches."""

    checker: RowChecker

    def __call__(self, batch: Batch) -> Batch:
        return self.checker.part(batch)[0]


@dataclass(frozen=True)
class Failing:
    """The rows that are set aside, each with its reasons, as a function of batches."""

    checker: RowChecker

    def __call__(self, batch: Batch) -> Batch:
        _, aside, reasons, _ = self.checker.part(batch)
        return with_reasons(aside, reasons)


def with_reasons(rows: Batch, reasons: list[str]) -> Batch:
    """Rows with the column that says why they are set aside.

    Parameters
    ----------
    rows : that are.
    reasons : one for each.
    """
    return rows.beside({REASON: pa.array(reasons, pa.string())}, _TAKEN, _RENAME)


@dataclass(frozen=True, eq=False)
class Counting:
    """The fold of a pass: a batch as the rows of it that stay, and what was counted of all.

    Attributes
    ----------
    checker : the rules.
    missing, newest : columns whose missing values, or newest times, are wanted.
    keys : columns of each key of which no row may repeat another.
    keep : the schema of rows set aside that are wanted themselves; None for none.
    """

    checker: RowChecker
    missing: tuple[str, ...]
    newest: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    keep: pa.Schema | None = None

    def __call__(self, batch: Batch) -> tuple[Batch, CheckedRows]:
        stay, aside, reasons, failures = self.checker.part(batch)
        checks = range(len(self.checker.checks))
        kept = None
        if self.keep is not None:
            kept = RowsAside.of(_plain(with_reasons(aside, reasons), self.keep))
        return stay, CheckedRows(
            batch.num_rows,
            aside.num_rows,
            np.array([np.count_nonzero(failures.get(number, 0)) for number in checks], np.int64),
            [self._examples(batch, number, failures.get(number)) for number in checks],
            np.array([_missing_count(batch[name]) for name in self.missing], np.int64),
            np.array([_newest(batch[name], name) for name in self.newest], np.int64),
            tuple(KeyHashes.of(hashes_of(batch, key)) for key in self.keys),
            kept,
        )

    def counted(self, batch: Batch) -> CheckedRows:
        """What is counted of a batch."""
        return self(batch)[1]

    @property
    def columns(self) -> list[str]:
        """The columns that it looks at."""
        names = [check.column for check in self.checker.checks]
        of_keys = (name for key in self.keys for name in key)
        return list(dict.fromkeys([*names, *self.missing, *self.newest, *of_keys]))

    def _examples(self, batch: Batch, number: int, failing: np.ndarray | None) -> list[str]:
        column = batch[self.checker.checks[number].column]
        if failing is None or isinstance(column, Matrix):
            return []
        return least_texts(column.filter(pa.array(failing)))


def bind(
    spec: Spec, example: Batch, references: Mapping[str, KnownKeys]
) -> tuple[RowChecker, dict[tuple[str, str], str]]:
    """The rules that can be checked of some columns, and why others cannot be.

    Parameters
    ----------
    spec : what is expected.
    example : a batch of the rows.
    references : by column, the keys that its values must be among.

    Returns
    -------
    The rules, and by column and key of the file what keeps one from being checked.
    """
    checks, unfit = [], {}
    for name, column in spec.columns.items():
        if name not in example.columns:
            continue
        known = [references[name]] if name in references else []
        for rule in (*column.rules, *known):
            reason = rule.unfit(example[name])
            if reason is None:
                checks.append(RowCheck(name, rule, column.on_failure or spec.on_failure))
            else:
                unfit[name, rule.key] = reason
        if column.newest is not None and not _has_times(example[name]):
            unfit[name, "newest"] = f"a column of type {value_type(example[name])} holds no times"
    for key in keys_of(spec):
        for name in key:
            reason = _no_key(example, name)
            if reason is not None:
                unfit[", ".join(key), "unique"] = reason
    return RowChecker(tuple(checks)), unfit


def keys_of(spec: Spec) -> list[tuple[str, ...]]:
    """The keys of which no row may repeat another, of one column and of several."""
    return [*((name,) for name, column in spec.columns.items() if column.unique), *spec.unique]


def counting(spec: Spec, example: Batch, checker: RowChecker, unfit: Any, keep: pa.Schema | None) -> Counting:
    """What a pass counts.

    Parameters
    ----------
    spec : what is expected.
    example : a batch of the rows.
    checker, unfit : as `bind` gives them.
    keep : as of `Counting`.
    """
    there = {name: column for name, column in spec.columns.items() if name in example.columns}
    return Counting(
        checker,
        tuple(name for name, column in there.items() if column.missing is not None),
        tuple(n for n, column in there.items() if column.newest is not None and (n, "newest") not in unfit),
        tuple(key for key in keys_of(spec) if (", ".join(key), "unique") not in unfit),
        keep,
    )


def least_texts(values: pa.Array) -> list[str]:
    """The first of some values in the order of their texts."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    values = values.drop_null()
    try:
        texts = pc.unique(values).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return sorted({str(value) for value in values.to_pylist()})[:EXAMPLES]
    return [str(texts[at.as_py()]) for at in pc.bottom_k_unstable(texts, EXAMPLES)]


def hashes_of(batch: Batch, key: tuple[str, ...]) -> np.ndarray:
    """The hashes of the keys of a batch; rows with a part that is missing have no key.

    Parameters
    ----------
    batch : the rows.
    key : the columns.
    """
    rows = whole_keys(batch, key)
    return key_hash(rows, key)


def whole_keys(batch: Batch, key: tuple[str, ...]) -> Batch:
    """The key columns of the rows that have all of them; decimals with fractions as text, with all digits.

    Parameters
    ----------
    batch : the rows.
    key : the columns.
    """
    rows = Batch({name: _digits(batch[name]) for name in key}, batch.num_rows)
    missing = [mask for name in key if (mask := missing_values(rows[name])) is not None]
    return rows.filter(~np.logical_or.reduce(missing)) if missing else rows


def _digits(column: Column) -> Column:
    if isinstance(column, Matrix) or not pa.types.is_decimal(column.type) or column.type.scale == 0:
        return column
    return column.cast(pa.string())


def _no_key(example: Batch, name: str) -> str | None:
    if name not in example.columns:
        return f"there is no column {name!r}"
    try:
        key_column(example, name)
    except OutgrowError:
        return f"{name!r} holds no numbers, texts or times"
    return None


def _has_times(column: Column) -> bool:
    kind = value_type(column)
    return kind is not None and (is_time(kind) or pa.types.is_null(kind))


def _missing_count(column: Column) -> int:
    missing = missing_values(column)
    return 0 if missing is None else int(np.count_nonzero(missing))


def _newest(column: Column, name: str) -> int:
    assert not isinstance(column, Matrix)
    if pa.types.is_null(column.type):
        return int(NEVER)
    newest = pc.max(microseconds(column, name)).as_py()
    return int(NEVER) if newest is None else int(newest)


def _plain(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    return batch.to_arrow().cast(schema)


def schema_aside(example: Batch) -> pa.Schema:
    """The columns of rows that are set aside, dictionaries as what they hold."""
    schema = with_reasons(example, []).to_arrow().schema
    plain = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    return pa.schema(plain)
