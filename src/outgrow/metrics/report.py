"""What a report is: metrics by name, of all rows or of each group, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from outgrow.errors import ParameterError
from outgrow.page.format import number
from outgrow.page.tabular import Tabular

_SIGNED = frozenset({"mean_error"})
"""Means that may be below 0."""
_SHARES = ("accuracy", "hamming_loss", "label_ranking_loss", "lrap", "_samples")
"""How the names of means end that are at most 1."""


@dataclass(frozen=True, eq=False, repr=False)
class Report(Tabular, Mapping[str, Any]):
    """Metrics by name: a number, or where there are groups an ndarray with a number for each.

    Attributes
    ----------
    rows : how many rows count, of each group where there are groups.
    missing : how many lack the truth or the prediction, and count for nothing.
    groups : the keys of the groups, in the order of the numbers; None where there are none.
    standard_errors : by name, of metrics that are means over rows.
    """

    values_: dict[str, np.ndarray]
    rows: Any
    missing: Any
    groups: pa.Table | None
    standard_errors: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> Any:
        values = self.values_[name]
        return values if self.groups is not None else float(values[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def interval(self, name: str, confidence_level: float = 0.95) -> tuple[Any, Any]:
        """Between which ends a mean over rows lies, by its standard error; none is past what it can be.

        Parameters
        ----------
        name : of the metric, one of `standard_errors`.
        confidence_level : the share of samples whose intervals hold the true one.

        Raises
        ------
        ParameterError
            When the metric is no mean.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"y": [3.0, 5.0, 8.0, 9.0], "p": [2.0, 5.0, 10.0, 8.0]})
        >>> [round(end, 3) for end in og.metrics.regression_report(rows, "y", "p").interval("mae")]
        [0.2, 1.8]
        """
        if name not in self.standard_errors:
            raise ParameterError(
                f"{name!r} has no standard error; these have: {sorted(self.standard_errors)}. For others see "
                "og.stats.bootstrap."
            )
        width = special.ndtri((1 + confidence_level) / 2) * self.standard_errors[name]
        least, most = -np.inf if name in _SIGNED else 0.0, 1.0 if name.endswith(_SHARES) else np.inf
        ends = (np.clip(self.values_[name] + side, least, most) for side in (-width, width))
        low, high = tuple(ends) if self.groups is not None else (float(end[0]) for end in ends)
        return low, high

    def to_arrow(self) -> pa.Table:
        """A row for each group; without groups a row for each metric."""
        if self.groups is not None:
            keys = {name: self.groups[name] for name in self.groups.column_names}
            errors = {f"{name}_se": values for name, values in self.standard_errors.items()}
            return pa.table({**keys, "rows": self.rows, **self.values_, **errors})
        errors = {name: values[0] for name, values in self.standard_errors.items()}
        return pa.table(
            {
                "metric": list(self.values_),
                "value": [float(values[0]) for values in self.values_.values()],
                "standard_error": pa.array([errors.get(name) for name in self.values_], pa.float64()),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Numbers by the name of the metric; of groups columns by name, the keys and the rows first."""
        return dict(self) if self.groups is None else super().to_dict()

    @property
    def _title(self) -> str:
        if self.groups is not None:
            return type(self).__name__
        missing = f", {self.missing:,} more lack a value" if self.missing else ""
        return f"{type(self).__name__} of {self.rows:,} rows{missing}"

    def _printed(self) -> pa.Table:
        if self.groups is not None:
            return self.to_arrow().select([*self.groups.column_names, "rows", *self.values_])
        lines = [self._line(name) for name in self.values_]
        heads = ("metric", "value", "95 % interval")
        return pa.table(dict(zip(heads, map(list, zip(*lines, strict=True)), strict=True)))

    def _line(self, name: str) -> tuple[str, str, str]:
        ends = self.interval(name) if name in self.standard_errors else ()
        return name, number(self[name]), " .. ".join(map(number, ends))


def beside_keys(groups: pa.Table | None, tables: list[pa.Table]) -> pa.Table:
    """The tables of all groups, one after the other, behind the keys.

    Parameters
    ----------
    groups : a row for each table; None where there is one table, of all rows.
    tables : with the same columns.
    """
    if groups is None:
        return tables[0]
    keyed = []
    for index, table in enumerate(tables):
        keys = groups.take(pa.array(np.full(table.num_rows, index)))
        columns = zip([*keys.column_names, *table.column_names], [*keys.columns, *table.columns], strict=True)
        keyed.append(pa.table(dict(columns)))
    return pa.concat_tables(keyed)
