"""What all results have in common: they are tables, print as such, and are written as such."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from markupsafe import Markup, escape

from outgrow.data.frames import to_frame
from outgrow.errors import ParameterError
from outgrow.page.format import NONE, number
from outgrow.storage import write_file

MOST_LINES = 40
"""Lines of a table that are shown."""
_SUFFIXES = (".csv", ".html", ".json", ".parquet")


class Tabular:
    """An answer that is a table: it prints, shows itself in notebooks, and is saved."""

    def to_arrow(self) -> pa.Table:
        """The answer as a table."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame."""
        return to_frame(self.to_arrow())

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain Python: metrics by name where it is a mapping of numbers, else columns by name.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"y": [3.0, 5.0], "p": [2.0, 5.0]})
        >>> og.metrics.regression_report(rows, "y", "p").to_dict()["mae"]
        0.5
        """
        columns: dict[str, Any] = self.to_arrow().to_pydict()
        return columns

    def to_html(self) -> str:
        """The answer as one HTML page that needs no network."""
        return _PAGE.format(title=escape(type(self).__name__), body=self._repr_html_())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the answer to a file, whose name says how: .html, .csv, .parquet, or .json.

        Parameters
        ----------
        path : the file.
        overwrite : replace one that exists.

        Raises
        ------
        ParameterError
            When the name ends otherwise.
        OutputExistsError
            When the file exists and may not be replaced.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in _SUFFIXES:
            raise ParameterError(
                f"{os.fspath(path)!r} ends in {suffix!r}: a {type(self).__name__} is written as one of "
                f"{list(_SUFFIXES)}. Give such a name."
            )
        write_file(path, self._content(suffix), overwrite=overwrite)

    def _content(self, suffix: str) -> bytes:
        if suffix == ".html":
            return self.to_html().encode()
        if suffix == ".json":
            return (json.dumps(_finite(self.to_dict()), indent=1, default=str) + "\n").encode()
        sink, table = pa.BufferOutputStream(), self.to_arrow()
        if suffix == ".csv":
            nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
            if nested:
                raise ParameterError(
                    f"CSV has no cells for {nested}, which hold several values each. Write .json or .parquet."
                )
            pa.csv.write_csv(table, sink)
        else:
            pq.write_table(table, sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    @property
    def _title(self) -> str:
        """The line above the table."""
        return type(self).__name__

    def _printed(self) -> pa.Table:
        """The table that is shown."""
        return self.to_arrow()

    def _repr_html_(self) -> str:
        table = self._printed()
        more = table.num_rows - MOST_LINES
        rows = table.slice(0, MOST_LINES).to_pylist()
        after = Markup("<p>... and {} more</p>").format(f"{more:,}") if more > 0 else ""
        return f"<p>{escape(self._title)}</p>{html_table(table.column_names, rows)}{after}"

    def __repr__(self) -> str:
        table = self._printed()
        text = text_table(table.column_names, table.slice(0, MOST_LINES).to_pylist())
        more = table.num_rows - MOST_LINES
        return f"{self._title}\n{text}" + (f"\n... and {more:,} more" if more > 0 else "")


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


def html_table(heads: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The same as a table of HTML.

    Parameters
    ----------
    heads : the names of the columns.
    rows : the values of each row by name.
    """
    first = rows[0] if rows else dict.fromkeys(heads)
    head = Markup("").join(Markup("<th{}>{}</th>").format(_aligned(first[name]), name) for name in heads)
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(_cell(row[head]) for head in heads)) for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table>").format(head, body)


def _cell(value: Any) -> Markup:
    return Markup("<td{}>{}</td>").format(_aligned(value), _shown(value))


def _aligned(value: Any) -> Markup:
    """Numbers stand at the right."""
    return Markup(' class="n"' if isinstance(value, int | float) and not isinstance(value, bool) else "")


def _finite(value: Any) -> Any:
    """Plain values without NaN and infinity, which JSON has not."""
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    return number(value) if value is not None else NONE


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 60rem; font: 15px/1.55 system-ui, sans-serif; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }}
th, td {{ padding: .4rem .8rem; text-align: left; border-bottom: 1px solid rgb(128 128 128 / .3); }}
thead th {{ font-weight: 500; opacity: .7; }}
.n {{ text-align: right; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
