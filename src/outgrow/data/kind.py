"""What a column holds to a model, and how that is written in Arrow, JSON, ONNX, MLflow and tensors.

A kind is what is left of a type when the ways to store the same values no longer count: whole numbers of
32 bits and fractions are both numbers, text in a dictionary and beside it are both categories. Categories of
whole numbers are not those of text: their kind says what their values are.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

import pyarrow as pa

from outgrow.data.batch import is_categorical, is_numeric, is_vector
from outgrow.data.plain import plain_type

_WRITTEN = re.compile(r"(number|category|time|vector|list)(?:\[(\w+(?:\[\w+\])?)\])?")
_ARROW_LIST = re.compile(r"(?:large_)?list<\w+: (\w+)>")
"""As models of before there were kinds of lists name them."""
_MOMENT = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$"
_WHOLE = r"^-?[0-9]{1,18}$"


@dataclass(frozen=True)
class Form:
    """How values of a kind are written elsewhere.

    Attributes
    ----------
    noun : what a value is, in messages.
    arrow : the type of a column of values that came without one, as from JSON; None where nothing is known.
    json : a JSON schema of one value, in the words of OpenAPI 3.1.
    example : a made-up value, as JSON says it.
    neutral : a value with which a model can be tried, as JSON says it.
    tensor : the datatype in the Open Inference Protocol.
    onnx : the inputs that ONNX has for it; None for none.
    mlflow : the name among MLflow's types.
    """

    noun: str
    arrow: pa.DataType | None
    json: dict[str, Any]
    example: Any
    neutral: Any = None
    tensor: str = "BYTES"
    onnx: Literal["number", "text"] | None = None
    mlflow: Literal["any", "string", "datetime", "array"] = "any"


class Kind(str):
    """The kind of a column: a text such as `number`, as artifacts store it, that knows what it means.

    Kinds are `number`, `category` (of text), `category[integer]`, `category[number]`, `category[boolean]`,
    `time`, `vector[n]` for vectors of n numbers, and `list[...]` for lists of any length of numbers or
    categories, such as `list[category]` for lists of words. Any other text is the name of an Arrow type that
    no model takes, but that transformers hand on.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from outgrow.data.kind import Kind
    >>> Kind.of(pa.int16()), Kind.of(pa.dictionary(pa.uint8(), pa.int64()))
    ('number', 'category[integer]')
    >>> Kind("vector[3]").width
    3
    """

    __slots__ = ()

    @classmethod
    @lru_cache(1024)
    def of(cls, type: pa.DataType) -> Kind:
        """The kind of columns of an Arrow type."""
        type = plain_type(type)
        if is_numeric(type):
            return NUMBER
        if is_categorical(type) or pa.types.is_null(type):
            return cls(_category(type.value_type) if pa.types.is_dictionary(type) else "category")
        if is_vector(type):
            return cls.vector(type.list_size)
        if is_list(type) and (inner := cls.of(type.value_type)).base in ("number", "category"):
            return cls(f"list[{inner}]")
        return TIME if is_time(type) else cls(type)

    @classmethod
    def vector(cls, width: int) -> Kind:
        """The kind of vectors of so many numbers."""
        return cls(f"vector[{width}]")

    @property
    def base(self) -> str:
        """What comes before the brackets: number, category, time, vector, or the name of an Arrow type."""
        return _parts(self)[0]

    @property
    def values(self) -> str | None:
        """What the values of a category are: None for text, integer, number, boolean."""
        return _parts(self)[1] if self.base == "category" else None

    @property
    def width(self) -> int | None:
        """How many numbers a vector has; None for all other kinds."""
        base, inner = _parts(self)
        return int(inner) if base == "vector" and inner is not None else None

    @property
    def items(self) -> Kind | None:
        """The kind of what lists hold; None for all other kinds."""
        base, inner = _parts(self)
        return Kind(inner) if base == "list" and inner is not None else None

    @property
    def nested(self) -> bool:
        """Whether a value is a list: of any length, or a vector."""
        return self.width is not None or self.items is not None

    @property
    def form(self) -> Form:
        """How values are written elsewhere."""
        return _form(self)


def read_kinds(columns: Mapping[str, str]) -> dict[str, Kind]:
    """Columns, name to kind, as JSON has them."""
    return {name: _read(kind) for name, kind in columns.items()}


def _read(kind: str) -> Kind:
    match = _ARROW_LIST.fullmatch(kind)
    return Kind(kind) if match is None else Kind.of(pa.list_(pa.type_for_alias(match[1])))


def as_json(value: Any) -> Any:
    """A value of a row, as JSON says it: moments as text of ISO 8601, what is no number as null.

    Examples
    --------
    >>> import datetime, decimal
    >>> [as_json(value) for value in (datetime.date(2026, 1, 31), decimal.Decimal("0.5"), float("nan"), "a")]
    ['2026-01-31', 0.5, None, 'a']
    """
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


NUMBER, CATEGORY, TIME = Kind("number"), Kind("category"), Kind("time")
BINARY = Kind("binary")
"""Bytes, such as encoded images: no model takes them, but transformers may."""


def is_list(type: pa.DataType) -> bool:
    """Whether values of this type are lists, of one length or of any."""
    types = pa.types
    fixed, views = types.is_fixed_size_list(type), types.is_list_view(type) or types.is_large_list_view(type)
    return bool(types.is_list(type) or types.is_large_list(type) or fixed or views)


def is_time(type: pa.DataType) -> bool:
    """Whether a column of this type is a time to an estimator."""
    return bool(pa.types.is_date(type) or pa.types.is_timestamp(type))


def _category(values: pa.DataType) -> str:
    if pa.types.is_integer(values):
        return "category[integer]"
    if pa.types.is_floating(values):
        return "category[number]"
    return "category[boolean]" if pa.types.is_boolean(values) else "category"


@cache
def _parts(kind: str) -> tuple[str, str | None]:
    match = _WRITTEN.fullmatch(kind)
    return (match[1], match[2]) if match else (str(kind), None)


@cache
def _form(kind: Kind) -> Form:
    if kind.items is not None:
        return _form_of_lists(kind.items.form)
    if kind.width is None:
        return _FORMS.get(kind, Form(str(kind), None, {}, None))
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": kind.width, "maxItems": kind.width}
    zeros = [0.0] * kind.width
    return Form(
        f"a list of {kind.width} numbers",
        pa.list_(pa.float64(), kind.width),
        numbers,
        zeros,
        zeros,
        tensor="FP64",
        onnx="number",
        mlflow="array",
    )


def _form_of_lists(item: Form) -> Form:
    """Lists have no tensor in ONNX or in the Open Inference Protocol, whose rows are of one shape."""
    return Form(
        f"a list, each item {item.noun}",
        pa.list_(item.arrow),
        {"type": ["array", "null"], "items": item.json},
        [item.example],
        [],
        tensor="",
        mlflow="array",
    )


_FORMS = {
    "number": Form(
        "a number",
        pa.float64(),
        {"type": ["number", "boolean", "null"]},
        1.0,
        0.0,
        tensor="FP64",
        onnx="number",
    ),
    "category": Form(
        "text", pa.string(), {"type": ["string", "null"]}, "a", "", onnx="text", mlflow="string"
    ),
    "category[integer]": Form(
        "a whole number",
        pa.int64(),
        {"type": ["integer", "string", "null"], "pattern": _WHOLE, "minimum": -(2**63), "maximum": 2**63 - 1},
        1,
        0,
        tensor="INT64",
        onnx="number",
    ),
    "category[number]": Form(
        "a number", pa.float64(), {"type": ["number", "null"]}, 1.0, 0.0, tensor="FP64", onnx="number"
    ),
    "category[boolean]": Form(
        "true or false", pa.bool_(), {"type": ["boolean", "null"]}, True, False, tensor="BOOL", onnx="number"
    ),
    "binary": Form(
        "bytes in base64",
        pa.binary(),
        {"type": ["string", "null"], "contentEncoding": "base64"},
        "aGVsbG8=",
    ),
    "time": Form(
        "a date or time in ISO 8601",
        pa.timestamp("us"),
        {"type": ["string", "null"], "format": "date-time", "pattern": _MOMENT},
        "2026-01-31T12:00:00",
        None,
        mlflow="datetime",
    ),
}
