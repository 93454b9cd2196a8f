"""What statistics answer: small frozen objects that print as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from outgrow.page.tabular import Tabular


@dataclass(frozen=True, eq=False, repr=False)
class Result(Tabular):
    """An answer with columns; `to_arrow` gives it as a table, and so it prints."""

    columns: tuple[str, ...]


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
