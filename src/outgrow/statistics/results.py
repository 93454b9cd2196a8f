"""What statistics answer: small frozen objects that print as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from outgrow.page.format import number

_MOST_LINES = 40
"""Lines of a table that are printed."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """An answer with columns; `to_arrow` gives it as a table, and so it prints."""

    columns: tuple[str, ...]

    def to_arrow(self) -> pa.Table:
        """The answer as a table."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """The answer as a pandas DataFrame."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        table = self.to_arrow()
        text = text_table(table.column_names, table.slice(0, _MOST_LINES).to_pylist())
        more = table.num_rows - _MOST_LINES
        return f"{type(self).__name__}\n{text}" + (f"\n... and {more:,} more" if more > 0 else "")


@dataclass(frozen=True, eq=False, repr=False)
class TestResult(Result):
    """A test of each column; fields are numbers where one column was named, else arrays of shape (columns,).

    Attributes
    ----------
    statistic, pvalue : of the test, as SciPy calls them.
    """

    __test__: ClassVar[bool] = False  # pytest takes no name that begins with Test for granted
    statistic: Any
    pvalue: Any

    @property
    def _shown(self) -> Sequence[str]:
        """The fields that are printed."""
        return ("statistic", "pvalue")

    def to_arrow(self) -> pa.Table:
        """A row for each column."""
        fields: Mapping[str, Any] = {name: np.atleast_1d(getattr(self, name)) for name in self._shown}
        return pa.table({"column": list(self.columns), **fields})


def text_table(heads: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Lines of text, a column under each head.

    Parameters
    ----------
    heads : the names of the columns.
    rows : the values of each row by name.
    """
    lines = [list(heads), *([_shown(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _shown(value: Any) -> str:
    return number(value) if value is not None else "n/a"
