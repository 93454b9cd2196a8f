"""What a file or a mapping of expectations says, checked as a whole before any row is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list, is_time
from outgrow.data.matrix import Column, Matrix
from outgrow.data.plain import plain_type
from outgrow.data.schema_file import arrow_type
from outgrow.data.spans import Span
from outgrow.errors import ParameterError
from outgrow.expectations.rules import Length, Matches, Range, Required, Rule, Values, value_type, whole

SET_ASIDE, STOP, WARN = "set_aside", "stop", "warn"
POLICIES = (SET_ASIDE, STOP, WARN)
"""What becomes of rows that fail: they leave, all ends, or all goes on with them."""
AT_MOST = 0.05
"""The share of rows that may be set aside, unless the file says another."""
KeyPath = tuple[str | int, ...]

_KEYS = ("columns", "rows", "unique", "others", "on_failure", "at_most")
_NESTED = ("struct<", "map<", "list<", "large_list<", "fixed_size_list<", "extension<", "list_view<")
_FAMILIES = {
    "boolean": pa.types.is_boolean,
    "integer": pa.types.is_integer,
    "number": lambda kind: (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ),
    "text": pa.types.is_string,
    "date": pa.types.is_date,
    "time": is_time,
    "binary": pa.types.is_binary,
    "list": is_list,
}
"""What a type may be called, besides `vector` and the names of Arrow's own types; the narrowest first."""


@dataclass(frozen=True)
class References:
    """The column of another table in which each value must be.

    Attributes
    ----------
    path : of the table's files, or a URI.
    column : its key.
    """

    path: str
    column: str


@dataclass(frozen=True)
class ColumnSpec:
    """What is expected of a column.

    Attributes
    ----------
    rules : of each row.
    type : the type by its name; None for any.
    optional : whether the column may be absent.
    missing : the largest share of rows without a value; None for any.
    unique : whether no value comes twice.
    newest : how old the newest time may be.
    references : where each value must be.
    at_most : the share of rows that may break a rule before the expectation is broken.
    on_failure : in place of that of the whole file; None for that.
    """

    rules: tuple[Rule, ...] = ()
    type: str | None = None
    optional: bool = False
    missing: float | None = None
    unique: bool = False
    newest: Span | None = None
    references: References | None = None
    at_most: float = 0.0
    on_failure: str | None = None


@dataclass(frozen=True)
class Spec:
    """All that is expected of rows.

    Attributes
    ----------
    columns : by name.
    rows : how many there are, at least and at most; None for no end.
    unique : columns that together are a key, each a tuple.
    others : whether further columns may be there.
    on_failure : what becomes of rows that fail, one of `POLICIES`.
    at_most : the share of rows that may be set aside.
    """

    columns: Mapping[str, ColumnSpec] = field(default_factory=dict)
    rows: tuple[int | None, int | None] = (None, None)
    unique: tuple[tuple[str, ...], ...] = ()
    others: bool = True
    on_failure: str = SET_ASIDE
    at_most: float = AT_MOST


class FaultsError(ParameterError):
    """Expectations that are written wrongly.

    Attributes
    ----------
    faults : where, as the path of keys, and what is wrong.
    """

    def __init__(self, faults: Sequence[tuple[KeyPath, str]]) -> None:
        self.faults = list(faults)
        lines = [f"  {'.'.join(map(str, path)) or 'expectations'}: {text}" for path, text in faults]
        super().__init__("These are no expectations:\n" + "\n".join(lines))


def read_spec(document: Any) -> Spec:
    """What a document says.

    Raises
    ------
    FaultsError
        With all that is wrong in it.
    """
    reader = _Reader()
    given = reader.mapping(document, _KEYS, ())
    columns = {} if given.get("columns") is None else given["columns"]
    if not isinstance(columns, Mapping):
        reader.fault(("columns",), "map names of columns to what is expected of them.")
        columns = {}
    spec = Spec(
        {str(name): reader.column(rules, ("columns", str(name))) for name, rules in columns.items()},
        reader.pair(given, "rows", (), whole_numbers=True),
        reader.keys(given.get("unique")),
        reader.choice(given, "others", ("allow", "refuse"), ()) != "refuse",
        reader.choice(given, "on_failure", POLICIES, ()) or SET_ASIDE,
        reader.share(given, "at_most", AT_MOST, ()),
    )
    if spec.on_failure != SET_ASIDE and "at_most" in given:
        reader.fault(("at_most",), f"is for rows that are set aside, and on_failure is {spec.on_failure}.")
    if reader.faults:
        raise FaultsError(reader.faults)
    return spec


def has_type(column: Column, name: str) -> bool:
    """Whether a column has the type that a name means.

    Parameters
    ----------
    column : of some rows; one of nulls alone has every type.
    name : as `ColumnSpec.type`.
    """
    kind = value_type(column)
    if kind is None or name == "vector":
        return kind is None and name == "vector"
    if pa.types.is_null(kind):
        return True
    if name in _FAMILIES:
        return bool(_FAMILIES[name](kind))
    return bool(str(kind) == name or (not name.startswith(_NESTED) and kind == plain_type(arrow_type(name))))


def type_name(column: Column) -> str | None:
    """The name of a column's type as a file has it; None of nulls alone."""
    if isinstance(column, Matrix):
        return "vector"
    kind = value_type(column)
    if pa.types.is_null(kind):
        return None
    return next((name for name, check in _FAMILIES.items() if check(kind)), str(kind))


class _Reader:
    """Reads parts of a document, and collects what is wrong."""

    def __init__(self) -> None:
        self.faults: list[tuple[KeyPath, str]] = []

    def fault(self, path: KeyPath, text: str) -> None:
        self.faults.append((path, text))

    def mapping(self, given: Any, known: Sequence[str], path: KeyPath) -> Mapping[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self.fault(path, f"must be a mapping with {', '.join(known)}, not {given!r}.")
            return {}
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                self.fault((*path, str(key)), f"unknown key {key!r}{hint} Known here: {', '.join(known)}.")
        return given

    def column(self, given: Any, path: KeyPath) -> ColumnSpec:
        given = self.mapping(given, _COLUMN_KEYS, path)
        rules: list[Rule] = [Required()] if self.truth(given, "required", path) else []
        low, high = self.pair(given, "range", path)
        if (low, high) != (None, None):
            rules.append(Range(low, high))
        rules += self.values(given, path) + self.pattern(given, path)
        low, high = self.pair(given, "length", path, whole_numbers=True)
        if (low, high) != (None, None):
            rules.append(Length(low, high))
        return ColumnSpec(
            tuple(rules),
            self.type(given, path),
            self.truth(given, "optional", path),
            self.share(given, "missing", None, path),
            self.truth(given, "unique", path),
            self.span(given, path),
            self.references(given, path),
            self.share(given, "at_most", 0.0, path),
            self.choice(given, "on_failure", POLICIES, path),
        )

    def truth(self, given: Mapping[str, Any], key: str, path: KeyPath) -> bool:
        value = given.get(key, False)
        if not isinstance(value, bool):
            self.fault((*path, key), f"must be true or false, not {value!r}.")
        return bool(value)

    def choice(self, given: Mapping[str, Any], key: str, known: Sequence[str], path: KeyPath) -> str | None:
        value = given.get(key)
        if value is not None and value not in known:
            self.fault((*path, key), f"must be one of {', '.join(known)}, not {value!r}.")
            return None
        return value

    def share(self, given: Mapping[str, Any], key: str, default: Any, path: KeyPath) -> Any:
        value = given.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().endswith("%"):
            try:
                value = float(Decimal(value.strip()[:-1]) / 100)
            except ArithmeticError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.fault((*path, key), f"must be a share from 0 to 1, or like 5%, not {given[key]!r}.")
            return default
        return float(value)

    def pair(
        self, given: Mapping[str, Any], key: str, path: KeyPath, *, whole_numbers: bool = False
    ) -> tuple[Any, Any]:
        value = given.get(key)
        if value is None:
            return None, None
        if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) != 2:
            self.fault((*path, key), f"must be [least, largest], where null is no end, not {value!r}.")
            return None, None
        low, high = (_no_end(end, sign) for end, sign in zip(value, (-1, 1), strict=True))
        ends = [end for end in (low, high) if end is not None]
        if whole_numbers and not all(type(end) is int and end >= 0 for end in ends):
            self.fault((*path, key), f"must be whole numbers, not {value!r}.")
        elif any(isinstance(end, float) and not math.isfinite(end) for end in ends):
            self.fault((*path, key), f"no number can be in {value!r}.")
        elif any(isinstance(end, bool | Mapping | list) for end in ends):
            self.fault((*path, key), f"must be two numbers, times or texts, not {value!r}.")
        else:
            self._check_order(low, high, (*path, key))
            return low, high
        return None, None

    def _check_order(self, low: Any, high: Any, path: KeyPath) -> None:
        try:
            if low is not None and high is not None and low > high:
                self.fault(path, f"the least, {low}, is above the largest, {high}.")
        except TypeError:
            self.fault(path, f"{low!r} and {high!r} cannot be compared; give two of one type.")

    def values(self, given: Mapping[str, Any], path: KeyPath) -> list[Rule]:
        value = given.get("values")
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, Sequence) or not len(value):
            self.fault((*path, "values"), f"must be a list of values, not {value!r}.")
            return []
        wrong = [one for one in value if one is None or isinstance(one, Mapping | list)]
        if wrong:
            hint = "; whether values may be missing, missing and required say" if None in wrong else ""
            self.fault((*path, "values"), f"{wrong[0]!r} is no value{hint}.")
        return [Values(tuple(value))]

    def pattern(self, given: Mapping[str, Any], path: KeyPath) -> list[Rule]:
        pattern = given.get("matches")
        if pattern is None:
            return []
        try:
            pc.match_substring_regex(pa.array([""]), whole(pattern) if isinstance(pattern, str) else "(")
        except pa.ArrowInvalid as error:
            reason = str(error).splitlines()[0].removeprefix("Invalid regular expression: ")
            self.fault((*path, "matches"), f"{pattern!r} is no regular expression of RE2: {reason}.")
            return []
        return [Matches(pattern)]

    def type(self, given: Mapping[str, Any], path: KeyPath) -> str | None:
        name = given.get("type")
        known = [*_FAMILIES, "vector"]
        if name is None or name in known or str(name).startswith(_NESTED):
            return None if name is None else str(name)
        try:
            arrow_type(str(name))
        except ValueError:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            self.fault(
                (*path, "type"),
                f"unknown type {name!r}{hint} Known: {', '.join(known)}, and Arrow's like int32.",
            )
        return str(name)

    def span(self, given: Mapping[str, Any], path: KeyPath) -> Span | None:
        if given.get("newest") is None:
            return None
        try:
            return Span.of(given["newest"])
        except ParameterError as error:
            self.fault((*path, "newest"), str(error))
            return None

    def references(self, given: Mapping[str, Any], path: KeyPath) -> References | None:
        value = given.get("references")
        if value is None:
            return None
        value = self.mapping(value, ("path", "column"), (*path, "references"))
        if not isinstance(value.get("path"), str):
            self.fault((*path, "references"), "needs the path of the other table.")
            return None
        return References(value["path"], str(value.get("column", path[-1])))

    def keys(self, given: Any) -> tuple[tuple[str, ...], ...]:
        if given is None:
            return ()
        lists = given if isinstance(given, list) and all(isinstance(key, list) for key in given) else [given]
        if not all(isinstance(key, list) and key and all(isinstance(n, str) for n in key) for key in lists):
            self.fault(("unique",), f"must be a list of columns, or a list of such lists, not {given!r}.")
            return ()
        return tuple(tuple(key) for key in lists)


def _no_end(end: Any, sign: int) -> Any:
    """An end, where infinity is none."""
    return None if isinstance(end, float) and end == sign * math.inf else end


_COLUMN_KEYS = (
    *("type", "optional", "required", "missing", "unique", "range", "values", "matches", "length"),
    *("newest", "references", "at_most", "on_failure"),
)


def unknown_columns(names: Iterable[str], example: Batch) -> list[str]:
    """The names that are no columns of some rows.

    Parameters
    ----------
    names : of columns.
    example : a batch of the rows.
    """
    return [name for name in dict.fromkeys(names) if name not in example.columns]
