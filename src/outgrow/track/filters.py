"""Conditions on runs as MLflow writes them: metrics.log_loss < 0.4 and params.C = '1'."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import ParameterError

ALIASES = {
    "status": "state",
    "start_time": "began",
    "run_id": "run",
    "run_name": "name",
    "duration": "seconds",
    "user_id": "user",
    "parameters": "params",
    "parameter": "params",
    "param": "params",
    "metric": "metrics",
    "tag": "tags",
    "attribute": "attributes",
    "attr": "attributes",
}
"""MLflow's words for ours."""
GROUPS = ("params", "metrics", "tags")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
      | (?P<word>(?:[A-Za-z_][\w/-]*)(?:\.(?:[\w/.@%-]+|`[^`]+`|"[^"]+"))*)
    )""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_PLAIN: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def filtered(table: pa.Table, condition: str | None) -> pa.Table:
    """The runs for which a condition holds.

    Parameters
    ----------
    table : a row a run.
    condition : comparisons of columns with numbers and text, joined by and, or, not and brackets; None or
        empty for all. Comparisons are =, !=, <, <=, >, >=, LIKE, ILIKE (% and _ stand for any characters),
        IN ('a', 'b') and IS [NOT] NULL. Where a run has no such parameter or metric, none holds but IS NULL.

    Raises
    ------
    ParameterError
        When it is no condition, or names a column that no run has.
    """
    if condition is None or not condition.strip():
        return table
    return table.filter(_Parser(table, condition).parse())


def column_of(table: pa.Table, name: str) -> str:
    """The column that a word of a user means.

    Parameters
    ----------
    table : a row a run.
    name : such as metrics.log_loss, C, status.

    Raises
    ------
    ParameterError
        When there is none; it names the nearest.
    """
    group, dot, rest = name.partition(".")
    group = ALIASES.get(group.lower(), group)
    rest = rest.strip('`"')
    meant = f"{group}.{rest}" if dot else group
    if group == "attributes" and dot:
        meant = ALIASES.get(rest.lower(), rest)
    if meant in table.column_names:
        return meant
    short = [f"{known}.{name}" for known in GROUPS if f"{known}.{name}" in table.column_names]
    if len(short) == 1:
        return short[0]
    if len(short) > 1:
        raise ParameterError(f"{name!r} may be {' or '.join(short)}. Write one of them.")
    raise ParameterError(f"No run has {name!r}{_nearest(meant, table.column_names)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if not near:
        tails = {name.rpartition(".")[2]: name for name in names}
        near = [tails[tail] for tail in difflib.get_close_matches(word.rpartition(".")[2], tails, n=1)]
    some = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    return f"; did you mean {near[0]!r}?" if near else f". There are {some}."


class _Parser:
    """Reads a condition into a mask of the rows."""

    def __init__(self, table: pa.Table, text: str) -> None:
        self._table, self._text = table, text
        self._tokens = list(self._read())
        self._next = 0

    def parse(self) -> pa.ChunkedArray | pa.Array:
        """The mask."""
        mask = self._either()
        if self._next < len(self._tokens):
            raise self._wrong(self._tokens[self._next], "'and', 'or', or the end")
        return mask

    def _read(self) -> Any:
        at = 0
        while self._text[at:].strip():
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._wrong(_Token("", self._text[at:].split()[0], at), "a column, a number, or 'text'")
            kind = str(match.lastgroup)
            yield _Token(kind, match[kind], match.start(kind))
            at = match.end()

    def _either(self) -> Any:
        mask = self._both()
        while self._word("or"):
            mask = pc.or_(mask, self._both())
        return mask

    def _both(self) -> Any:
        mask = self._one()
        while self._word("and"):
            mask = pc.and_(mask, self._one())
        return mask

    def _one(self) -> Any:
        if self._word("not"):
            return pc.invert(self._one())
        if self._sign("("):
            mask = self._either()
            if not self._sign(")"):
                raise self._wrong(self._peek(), "')'")
            return mask
        return self._comparison()

    def _comparison(self) -> Any:
        token = self._take("word", "a column such as metrics.log_loss")
        name = column_of(self._table, token.text)
        values = self._table[name]
        if self._word("is"):
            absent = not self._word("not")
            if not self._word("null"):
                raise self._wrong(self._peek(), "'null'")
            missing = pc.is_null(values, nan_is_null=True)
            return missing if absent else pc.invert(missing)
        negated = self._word("not")
        for word in ("like", "ilike"):
            if self._word(word):
                pattern = self._value()
                mask = pc.match_like(_texts(values), str(pattern), ignore_case=word == "ilike")
                return pc.fill_null(pc.invert(mask) if negated else mask, False)
        if self._word("in"):
            mask = self._among(name, values)
            return pc.and_(pc.is_valid(values), pc.invert(mask)) if negated else mask
        sign = self._take("sign", "=, !=, <, <=, >, >=, LIKE, IN or IS").text
        sign = {"==": "=", "<>": "!="}.get(sign, sign)
        if sign not in _COMPARE or negated:
            raise self._wrong(self._tokens[self._next - 1], "a comparison")
        return _compared(name, values, sign, self._value())

    def _among(self, name: str, values: Any) -> Any:
        if not self._sign("("):
            raise self._wrong(self._peek(), "'('")
        mask = _compared(name, values, "=", self._value())
        while self._sign(","):
            mask = pc.or_(mask, _compared(name, values, "=", self._value()))
        if not self._sign(")"):
            raise self._wrong(self._peek(), "')'")
        return mask

    def _value(self) -> float | str:
        token = self._peek()
        if token is not None and token.kind in ("text", "number"):
            self._next += 1
            return float(token.text) if token.kind == "number" else re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token is not None and token.kind == "word" and token.text.lower() in ("true", "false"):
            self._next += 1
            return token.text
        raise self._wrong(token, "a number, or text in quotes")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, kind: str, wanted: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind:
            raise self._wrong(token, wanted)
        self._next += 1
        return token

    def _word(self, word: str) -> bool:
        token = self._peek()
        there = token is not None and token.kind == "word" and token.text.lower() == word
        self._next += there
        return there

    def _sign(self, sign: str) -> bool:
        token = self._peek()
        there = token is not None and token.kind == "sign" and token.text == sign
        self._next += there
        return there

    def _wrong(self, token: _Token | None, wanted: str) -> ParameterError:
        here = "its end" if token is None else f"{token.text!r} (character {token.at + 1})"
        return ParameterError(f"The filter {self._text!r} has {here} where {wanted} should be.")


def _compared(name: str, values: Any, sign: str, wanted: float | str) -> Any:
    """Which values compare so with what is wanted; those that are missing do not."""
    if pa.types.is_timestamp(values.type):
        return pc.fill_null(_COMPARE[sign](values, pa.scalar(_moment(name, wanted), values.type)), False)
    if pa.types.is_boolean(values.type):
        yes = str(wanted).lower() in ("true", "1", "1.0")
        return pc.fill_null(_COMPARE[sign](values, yes), False)
    if not pa.types.is_string(values.type):
        number = _number(wanted)
        if number is None:
            raise ParameterError(f"{name} is a number, and {wanted!r} is none.")
        return pc.fill_null(_COMPARE[sign](values, number), False)
    known = [value for value in values.unique().to_pylist() if value is not None]
    chosen = [value for value in known if _holds(value, sign, wanted, fold=name == "state")]
    return pc.is_in(values, pa.array(chosen, pa.string()))


def _holds(value: str, sign: str, wanted: float | str, *, fold: bool) -> bool:
    """Whether a text compares so: as a number where both are."""
    ours, theirs = _number(value), _number(wanted)
    if ours is not None and theirs is not None:
        return _PLAIN[sign](ours, theirs)
    text = str(wanted)
    return _PLAIN[sign](value.lower(), text.lower()) if fold else _PLAIN[sign](value, text)


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _moment(name: str, value: float | str) -> datetime:
    """A time as ISO writes it, or as milliseconds since 1970, as MLflow does."""
    number = _number(value)
    try:
        if number is not None:
            return datetime.fromtimestamp(number / 1000, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        raise ParameterError(
            f"{name} is a time, and {value!r} is none. Write it like '2026-11-27'."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _texts(values: Any) -> Any:
    return values if pa.types.is_string(values.type) else pc.cast(values, pa.string())
