"""Counts, sums and means of the last hour or the last week, by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from outgrow.data.spans import Length, length_of, microseconds_of
from outgrow.errors import ParameterError, SchemaError

FUNCTIONS = ("count", "sum", "mean")


@dataclass(frozen=True)
class Aggregation:
    """What is made of the rows of a key in the last `time_window`.

    Parameters
    ----------
    function : 'count', 'sum' or 'mean'.
    time_window : how far it looks back: rows of later than the window's length before the moment, up to it.
    column : of what; rows where it is missing are passed over. A count without a column is of rows.
    name : of the feature; as `sum_price_7d` if not given.

    Raises
    ------
    ParameterError
        When there is no such function, or a sum or mean has no column.

    Examples
    --------
    >>> import outgrow as og
    >>> og.features.Aggregation("sum", "7d", "price").name
    'sum_price_7d'
    """

    function: str
    time_window: Length
    column: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ParameterError(f"function={self.function!r}: {', '.join(FUNCTIONS)} are taken.")
        if self.column is None and self.function != "count":
            raise ParameterError(f"A {self.function} needs a column. Name it: column='price'.")
        if not self.width:
            raise ParameterError("time_window is empty. Give a length such as '1h' or '7d'.")
        text = self.time_window if isinstance(self.time_window, str) else length_of(self.width)
        parts = [self.function, self.column, text.replace(" ", "")]
        object.__setattr__(self, "name", self.name or "_".join(part for part in parts if part))

    @property
    def width(self) -> int:
        """The length of the window in microseconds."""
        return microseconds_of(self.time_window, "time_window")

    def type_of(self, inputs: Mapping[str, pa.DataType]) -> pa.DataType:
        """The type of the feature.

        Parameters
        ----------
        inputs : the types of the columns.

        Raises
        ------
        SchemaError
            When the column holds no numbers.
        """
        if self.function == "count" or self.column is None:
            return pa.int64()
        kind = inputs[self.column]
        if not is_number(kind):
            raise SchemaError(
                f"{self.name!r} is a {self.function} of {self.column!r}, of type {kind}; numbers are needed."
            )
        return pa.int64() if self.function == "sum" and is_whole(kind) else pa.float64()


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type can be added up."""
    return bool(is_whole(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_whole(kind: pa.DataType) -> bool:
    """Whether sums of a type are whole numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))
