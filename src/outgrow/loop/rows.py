"""The rows that a policy names: those of a span of time, with the labels that came for them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.sql import sql
from outgrow.errors import ColumnNotFoundError, DataError, InputNotFoundError, ParameterError, SchemaError
from outgrow.job.model import unknown
from outgrow.loop.load import LoadedPolicy
from outgrow.loop.policy import QualityWatch, RowsSpec

LABEL = "__outgrow_label"


@dataclass(frozen=True)
class LandedRows:
    """Rows and labels where they land.

    Attributes
    ----------
    loaded : the policy, which says where.
    engine : where they are read.
    """

    loaded: LoadedPolicy
    engine: Engine

    @classmethod
    def of(cls, loaded: LoadedPolicy, engine: Engine | None = None) -> LandedRows:
        """Of a policy.

        Parameters
        ----------
        loaded : the policy.
        engine : where rows are read; this machine by default.
        """
        return cls(loaded, engine or Local())

    def between(self, since: float | None, until: float) -> Dataset | None:
        """The rows of a span of time.

        Parameters
        ----------
        since, until : seconds since 1970; the end does not belong to it. None for from the beginning.

        Returns
        -------
        None where no rows have landed at all.
        """
        spec = self._spec()
        rows = self._opened(spec.path, spec.read.model_dump())
        if rows is None:
            return None
        condition = self._condition(rows, spec.time, since, until)
        return sql(f"SELECT * FROM landed AS r WHERE {condition}", {"landed": rows}, engine=self.engine)

    def labelled(self, since: float | None, until: float) -> Dataset | None:
        """The rows of a span of time for which a label has come, with it in the column of its name.

        A label that came twice counts once; rows whose labels contradict each other are left out, and so are
        labels of rows that are not there.

        Parameters
        ----------
        since, until : as for `between`.
        """
        spec, quality = self._spec(), self._quality()
        rows = self._opened(spec.path, spec.read.model_dump())
        labels = self._opened(quality.labels, {})
        if rows is None or labels is None:
            return None
        for table, what, names in (
            (rows, "rows", [quality.on]),
            (labels, "labels", [quality.on, quality.label]),
        ):
            for name in names:
                if name not in table.columns:
                    raise ColumnNotFoundError(
                        f"watch.quality: {what}: {unknown(name, table.columns, 'column')}"
                    )
        on, label = _quoted(quality.on), _quoted(quality.label)
        shown = ", ".join(f"r.{_quoted(name)}" for name in rows.columns if name != quality.label)
        query = f"""
            WITH known AS (
                SELECT {on} AS k, min({label}) AS y FROM labels WHERE {label} IS NOT NULL
                GROUP BY {on} HAVING count(DISTINCT {label}) = 1
            )
            SELECT {shown}, known.y AS {label} FROM landed AS r JOIN known ON r.{on} = known.k
            WHERE {self._condition(rows, spec.time, since, until)}
            ORDER BY r.{_quoted(spec.time)}, r.{on}
        """
        return sql(query, {"landed": rows, "labels": labels}, engine=self.engine)

    def _spec(self) -> RowsSpec:
        spec = self.loaded.policy.rows
        if spec is None:
            raise ParameterError(
                "The policy does not say where rows land. Give rows: {path: ..., time: ...}."
            )
        return spec

    def _quality(self) -> QualityWatch:
        quality = self.loaded.policy.watch.quality
        if quality is None:
            raise ParameterError("The policy does not say where labels land. Give watch.quality.")
        return quality

    def _opened(self, path: str, options: dict[str, Any]) -> Dataset | None:
        where = self.loaded.beside(path)
        if "://" not in where and Path(where).is_dir() and not any(Path(where).rglob("[!._]*.*")):
            return None  # nothing has landed yet
        try:
            return read(where, engine=self.engine, **options)
        except InputNotFoundError:
            return None

    def _condition(self, rows: Dataset, time: str, since: float | None, until: float) -> str:
        if time not in rows.columns:
            raise ColumnNotFoundError(f"rows.time: {unknown(time, rows.columns, 'column')}")
        kind = rows.schema.field(time).type
        column = f"r.{_quoted(time)}"
        parts = [] if since is None else [f"{column} >= {literal(since, kind)}"]
        return " AND ".join([*parts, f"{column} < {literal(until, kind)}"])


def literal(seconds: float, kind: pa.DataType) -> str:
    """A moment in SQL, as a column of a type is compared with it.

    Parameters
    ----------
    seconds : since 1970.
    kind : of the column.

    Raises
    ------
    SchemaError
        When the type is neither a time, a date, nor a number.
    """
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return repr(float(seconds))
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise SchemaError(f"rows.time is a {kind}. Name a column of times, dates, or seconds since 1970.")
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise DataError(f"{seconds!r} seconds since 1970 are no moment ({error}).") from error
    if pa.types.is_date(kind):
        return f"DATE '{moment:%Y-%m-%d}'"
    zone = "+00:00" if kind.tz is not None else ""
    return f"{'TIMESTAMPTZ' if zone else 'TIMESTAMP'} '{moment:%Y-%m-%d %H:%M:%S.%f}{zone}'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
