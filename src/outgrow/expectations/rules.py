"""What may be expected of the values of a column, row by row: each rule finds the rows that break it.

A missing value (null or NaN) breaks `required` and no other rule. All rules are kernels of Arrow
over whole columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.keys import key_column, key_hash
from outgrow.data.kind import is_list, is_time
from outgrow.data.matrix import Column, Matrix
from outgrow.data.times import steps_between
from outgrow.errors import OutgrowError, ParameterError

_WIDE = Context(prec=120)
_SHOWN = 8
_KEY = "key"


class Rule(Protocol):
    """What each row of a column must satisfy.

    Attributes
    ----------
    key : what the rule is called in a file.
    """

    key: str

    def unfit(self, column: Column) -> str | None:
        """Why a column of this type cannot be checked; None where it can."""

    def failing(self, column: Column) -> np.ndarray | None:
        """Which rows break the rule, boolean of shape (rows,); None where none does."""


@dataclass(frozen=True)
class Required:
    """Each row has a value."""

    key = "required"

    def unfit(self, column: Column) -> str | None:
        """Any column can be checked."""
        return None

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        missing = missing_values(column)
        return None if missing is None or not missing.any() else missing

    def __str__(self) -> str:
        return "has a value"


@dataclass(frozen=True)
class Range:
    """Numbers, times or texts from low to high, both included; None for no end."""

    low: Any
    high: Any

    key = "range"

    def unfit(self, column: Column) -> str | None:
        """As of `Rule`."""
        kind = value_type(column)
        if kind is None or not _has_order(kind):
            return f"{_type_text(column)} has no order"
        try:
            _ends(kind, self.low, self.high)
        except (ParameterError, TypeError) as error:
            return str(error) if isinstance(error, ParameterError) else f"{kind} is not compared with {self}"
        return None

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        return _of_values(column, self._failing)

    def _failing(self, values: pa.Array) -> np.ndarray | None:
        if pa.types.is_null(values.type):
            return None
        low, high = _ends(values.type, self.low, self.high)
        values = values.cast(_steps(values.type))
        ends = pc.min_max(values)
        least, most = ends["min"].as_py(), ends["max"].as_py()
        if least is None or ((low is None or least >= low) and (high is None or most <= high)):
            return None
        below = _beyond(values, low, pc.less, 1)
        above = _beyond(values, high, pc.greater, -1)
        return below if above is None else above if below is None else below | above

    def __str__(self) -> str:
        if self.high is None:
            return f"is at least {self.low}"
        return f"is at most {self.high}" if self.low is None else f"is from {self.low} to {self.high}"


@dataclass(frozen=True)
class Values:
    """One of some values."""

    values: tuple[Any, ...]

    key = "values"

    def unfit(self, column: Column) -> str | None:
        """As of `Rule`."""
        kind = value_type(column)
        if kind is None or not (_has_order(kind) or pa.types.is_boolean(kind)):
            return f"{_type_text(column)} has no values that can be listed"
        wrong = [] if pa.types.is_null(kind) else [v for v in self.values if not _comparable(kind, v)]
        hint = "; text stands in quotes where YAML reads something else" if pa.types.is_string(kind) else ""
        return f"{wrong[0]!r} is no value of a column of type {kind}{hint}" if wrong else None

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        return _of_values(column, self._failing)

    def _failing(self, values: pa.Array) -> np.ndarray | None:
        if pa.types.is_null(values.type):
            return None
        known = pc.is_in(values, value_set=_members(values.type, self.values))
        if pc.all(known, min_count=0).as_py():
            return None
        return _true(pc.invert(known)) & ~_missing(values)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.values[:_SHOWN]))
        more = len(self.values) - _SHOWN
        return f"is one of {shown}{f' and {more} more' if more > 0 else ''}"


@dataclass(frozen=True)
class Matches:
    """Text that a regular expression (RE2) describes as a whole."""

    pattern: str

    key = "matches"

    def unfit(self, column: Column) -> str | None:
        """As of `Rule`."""
        kind = value_type(column)
        text = kind is not None and (pa.types.is_string(kind) or pa.types.is_null(kind))
        return None if text else f"{_type_text(column)} is no text"

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        return _of_values(column, self._failing)

    def _failing(self, values: pa.Array) -> np.ndarray | None:
        if pa.types.is_null(values.type):
            return None
        return _true(pc.invert(pc.match_substring_regex(values, whole(self.pattern))))

    def __str__(self) -> str:
        return f"matches {self.pattern}"


@dataclass(frozen=True)
class Length:
    """So many characters of a text, bytes, or items of a list; None for no end."""

    low: int | None
    high: int | None

    key = "length"

    def unfit(self, column: Column) -> str | None:
        """As of `Rule`."""
        kind = value_type(column)
        if kind is None or _measure(kind) is not None or pa.types.is_null(kind):
            return None
        return f"{kind} has no length"

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        if isinstance(column, Matrix):
            fits = (self.low or 0) <= column.width <= (math.inf if self.high is None else self.high)
            return None if fits else np.ones(len(column), dtype=bool)
        return _of_values(column, self._failing)

    def _failing(self, values: pa.Array) -> np.ndarray | None:
        measure = _measure(values.type)
        return None if measure is None else Range(self.low, self.high).failing(measure(values))

    def __str__(self) -> str:
        return f"is {self.low} long" if self.low == self.high else f"{Range(self.low, self.high)} long"


@dataclass(frozen=True, eq=False)
class KnownKeys:
    """Keys that another table has, by their hashes in order; a number of up to 64 bits has one of its own."""

    table: str
    column: str
    digest: str
    hashes: np.ndarray

    key = "references"

    def unfit(self, column: Column) -> str | None:
        """As of `Rule`."""
        try:
            key_column(Batch({_KEY: column}, len(column)), _KEY)
        except OutgrowError:
            return f"{_type_text(column)} is no key"
        return None

    def failing(self, column: Column) -> np.ndarray | None:
        """As of `Rule`."""
        return _of_values(column, self._failing)

    def _failing(self, values: pa.Array) -> np.ndarray | None:
        hashes = key_hashes(values)
        if not len(self.hashes):
            return ~_missing(values)
        near = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        failing: np.ndarray = (self.hashes[near] != hashes) & ~_missing(values)
        return failing if failing.any() else None

    def __repr__(self) -> str:
        return f"KnownKeys({self.table!r}, {self.column!r}, {self.digest})"

    def __str__(self) -> str:
        return f"is in {self.column} of {self.table}"


def negated(rule: Rule) -> str:
    """What a rule says of rows that break it."""
    text = str(rule)
    others = {"has a value": "has no value", "matches ": "does not match "}
    for begin, instead in others.items():
        if text.startswith(begin):
            return instead + text.removeprefix(begin)
    return text.replace("is ", "is not ", 1)


def key_hashes(values: pa.Array) -> np.ndarray:
    """One uint64 for each value of a key of one column, the same in every table."""
    return key_hash(Batch({_KEY: values}, len(values)), [_KEY])


def missing_values(column: Column) -> np.ndarray | None:
    """Which rows have no value, boolean of shape (rows,); None where all have one."""
    if isinstance(column, Matrix):
        return None
    if not column.null_count and not pa.types.is_floating(column.type):
        return None if not pa.types.is_dictionary(column.type) else _in_words(column, _missing)
    return _in_words(column, _missing) if pa.types.is_dictionary(column.type) else _missing(column)


def whole(pattern: str) -> str:
    """A regular expression that describes a text from its beginning to its end."""
    return rf"\A(?:{pattern})\z"


def value_type(column: Column) -> pa.DataType | None:
    """The Arrow type of the values of a column; None of vectors."""
    if isinstance(column, Matrix):
        return None
    kind = column.type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _type_text(column: Column) -> str:
    return "a column of vectors" if isinstance(column, Matrix) else f"a column of type {value_type(column)}"


def _of_values(column: Column, failing: Callable[[pa.Array], np.ndarray | None]) -> np.ndarray | None:
    """The rows that fail; of a dictionary each word is looked at once."""
    assert not isinstance(column, Matrix)
    if not pa.types.is_dictionary(column.type):
        return failing(column)
    words = failing(column.dictionary)
    if words is None or not words.any():
        return None
    return _taken(column, words, of_null=False)


def _in_words(column: pa.Array, of: Callable[[pa.Array], np.ndarray]) -> np.ndarray:
    return _taken(column, of(column.dictionary), of_null=True)


def _taken(column: pa.Array, of_word: np.ndarray, *, of_null: bool) -> np.ndarray:
    codes = column.indices.cast(pa.int64()).fill_null(len(of_word)).to_numpy(zero_copy_only=False)
    return np.asarray(np.append(of_word, of_null)[codes])


def _missing(values: pa.Array) -> np.ndarray:
    return np.asarray(values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))


def _true(truth: pa.Array) -> np.ndarray:
    """Where it is true; null is not."""
    return np.asarray(truth.fill_null(False).to_numpy(zero_copy_only=False))


def _has_order(kind: pa.DataType) -> bool:
    types = pa.types
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numbers or is_time(kind) or types.is_string(kind) or types.is_null(kind))


def _measure(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    """What counts the length of a value of this type."""
    if pa.types.is_string(kind):
        return pc.utf8_length
    if pa.types.is_binary(kind):
        return pc.binary_length
    return pc.list_value_length if is_list(kind) else None


def _ends(kind: pa.DataType, low: Any, high: Any) -> tuple[Any, Any]:
    """The ends of a range as values of a type; for times, in its steps since 1970.

    Raises
    ------
    ParameterError, TypeError
        When the type has no such values.
    """
    if pa.types.is_null(kind):
        return None, None
    if is_time(kind):
        return steps_between(low, high, kind)
    if pa.types.is_string(kind):
        return _checked(low, str), _checked(high, str)
    low, high = _checked(low, int, float, Decimal), _checked(high, int, float, Decimal)
    if pa.types.is_integer(kind):
        return None if low is None else math.ceil(low), None if high is None else math.floor(high)
    if pa.types.is_decimal(kind):
        return _rounded(low, kind, ROUND_CEILING), _rounded(high, kind, ROUND_FLOOR)
    as_type = np.dtype(kind.to_pandas_dtype()).type
    return tuple(None if end is None else float(as_type(float(end))) for end in (low, high))  # type: ignore[return-value]


def _checked(end: Any, *types: type) -> Any:
    if end is not None and (isinstance(end, bool) or not isinstance(end, types)):
        raise TypeError(end)
    return end


def _rounded(end: Any, kind: pa.DataType, rounding: str) -> Decimal | None:
    if end is None:
        return None
    step = Decimal(1).scaleb(-kind.scale)
    return _WIDE.create_decimal(str(end)).quantize(step, rounding=rounding, context=_WIDE)


def _beyond(
    values: pa.Array, end: Any, compare: Callable[[pa.Array, pa.Scalar], pa.Array], sign: int
) -> np.ndarray | None:
    """The rows beyond an end; one that the type cannot hold is beyond all of its values, or none."""
    if end is None:
        return None
    try:
        return _true(compare(values, pa.scalar(end, values.type)))
    except (pa.ArrowInvalid, OverflowError):
        return ~_missing(values) if end * sign > 0 else None


def _members(kind: pa.DataType, values: tuple[Any, ...]) -> pa.Array:
    """Those of some values that a column of a type can hold."""
    members = [member for value in values if (member := _member(kind, value)) is not None]
    return pa.array(members, _steps(kind)).cast(kind)


def _comparable(kind: pa.DataType, value: Any) -> bool:
    """Whether a value is of the sort that a column of a type holds, if perhaps too large for it."""
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    try:
        _ends(kind, value, value)
    except (ParameterError, TypeError):
        return False
    return True


def _member(kind: pa.DataType, value: Any) -> Any:
    """A value as a type has it, times in their steps; None where it has no such value."""
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    try:
        low, high = _ends(kind, value, value)
        pa.scalar(low, _steps(kind))
    except (ParameterError, TypeError, pa.ArrowInvalid, OverflowError):
        return None
    return low if low == high else None


def _steps(kind: pa.DataType) -> pa.DataType:
    """The type of the whole numbers of which times are made; other types are their own."""
    if not is_time(kind):
        return kind
    return pa.int32() if pa.types.is_date32(kind) else pa.int64()
