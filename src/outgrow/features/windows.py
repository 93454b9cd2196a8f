"""Counts, sums and means over windows in SQL, one text for DuckDB and Spark, and for servers in NumPy.

An event enters a window when it is known, and leaves it when its time lies a window's length back. Both are
changes of sums of whole numbers, which lose nothing when what was added is taken away again, in any order.
Numbers with fractions are added up as four whole numbers, in units of 2**32, 1, 2**-32 and 2**-64; so what a
training row got and what a server answers are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from outgrow.data.spans import microseconds_of
from outgrow.features.aggregation import Aggregation, is_number, is_whole
from outgrow.features.as_of import PREFIX, micros, own, quoted
from outgrow.features.definitions import FeatureView

AT = PREFIX + "at"
"""The column of the times of changes, in microseconds."""
LARGEST = 2.0**63
_UNITS = (2.0**32, 1.0, 2.0**-32, 2.0**-64)
_ROWS = "n"
_SUM = "_sum"
HIGH = "_high"
"""How the upper halves of sums of whole numbers are called, behind the name of the sum."""
_WIDE = "DECIMAL(38, 0)"
_MOST = 2**63 - 1


@dataclass(frozen=True)
class Windows:
    """The aggregations of a view, and the whole numbers that are added up for them.

    Parameters
    ----------
    view : with aggregations.
    inputs : the types of their columns.
    """

    view: FeatureView
    inputs: Mapping[str, pa.DataType]

    @property
    def longest(self) -> int:
        """The length of the longest window, in microseconds."""
        return max(aggregation.width for aggregation in self.view.aggregations)

    @property
    def fields(self) -> list[str]:
        """The names of the whole numbers of an event: of rows, and of each column."""
        return [_ROWS, *(name for at, _ in enumerate(self.inputs) for name in self.fields_of(at))]

    def fields_of(self, at: int) -> list[str]:
        """The whole numbers of a column: how many values, and of numbers their sum, or the parts of it.

        Parameters
        ----------
        at : the number of the column.
        """
        kind = list(self.inputs.values())[at]
        if is_whole(kind):
            names: tuple[str, ...] = ("n", "sum")
        else:
            names = ("n", "odd", *(f"part{p}" for p in range(len(_UNITS)))) if is_number(kind) else ("n",)
        return [f"c{at}_{name}" for name in names]

    @property
    def wide(self) -> list[str]:
        """The names of the sums that may go past 2**63."""
        return [name for name in self.fields if name.endswith(_SUM)]

    def events(self, columns: pa.Schema, now: int | None = None) -> str:
        """The SELECT of events from `rows`: keys, `bucket`, `known` and the whole numbers.

        Parameters
        ----------
        columns : of the rows.
        now : when rows were written of which that is missing; None: such rows are not used.
        """
        view, source = self.view, self.view.source
        event = micros(source.timestamp_field, columns.field(source.timestamp_field).type)
        created = source.created_timestamp_column
        known = event
        if created is not None and created in columns.names:
            known = micros(created, columns.field(created).type)
        if created is not None and now is not None:
            known = f"COALESCE({known}, {now})" if created in columns.names else f"CAST({now} AS BIGINT)"
        keys = ", ".join(map(quoted, view.keys))
        values = "".join(
            f", {f'CAST({quoted(name)} AS DOUBLE)' if _has_parts(kind) else quoted(name)} AS {own(f'x{at}')}"
            for at, (name, kind) in enumerate(self.inputs.items())
        )
        chosen = f"SELECT {keys}, {event} AS {own('event')}, {known} AS {own('written')}{values} FROM rows"
        there = [f"{name} IS NOT NULL" for name in [*map(quoted, view.keys), own("event"), own("written")]]
        delay = microseconds_of(source.delay, "delay")
        step = view.step
        back = f"(({own('event')} % {step}) + {step}) % {step}"
        bucket = own("event") if step == 1 else f"{own('event')} - {back}"
        numbers = "".join(
            f", {text} AS {own(name)}"
            for at in range(len(self.inputs))
            for name, text in zip(self.fields_of(at), self._numbers(at), strict=True)
        )
        later = own("event") if created is None else f"GREATEST({own('event')}, {own('written')})"
        return (
            f"SELECT {keys}, {bucket} AS {own('bucket')}, {later} + {delay} AS {own('known')}, "
            f"1 AS {own(_ROWS)}{numbers} FROM ({self._parts(chosen)} WHERE {' AND '.join(there)}) AS parts"
        )

    def _parts(self, chosen: str) -> str:
        """Numbers with fractions and what is left of them, part by part."""
        text = f"SELECT * FROM ({chosen}) AS chosen"
        for at, kind in enumerate(self.inputs.values()):
            if not _has_parts(kind):
                continue
            x = own(f"x{at}")
            size = f"CASE WHEN ABS({x}) < {LARGEST} THEN ABS({x}) ELSE 0 END"
            text = f"SELECT *, {size} AS {own(f'x{at}_0')} FROM ({text}) AS sized"
            for part, unit in enumerate(_UNITS[:-1]):
                left = own(f"x{at}_{part}")
                rest = f"{left} - CAST(FLOOR({left} / {unit!r}) AS DOUBLE) * {unit!r}"
                text = f"SELECT *, {rest} AS {own(f'x{at}_{part + 1}')} FROM ({text}) AS left_{part}"
        return f"SELECT * FROM ({text}) AS numbers"

    def _numbers(self, at: int) -> list[str]:
        x = own(f"x{at}")
        there = f"CASE WHEN {x} IS NULL THEN 0 ELSE 1 END"
        kind = list(self.inputs.values())[at]
        if is_whole(kind):
            return [there, f"COALESCE(CAST({x} AS BIGINT), 0)"]
        if not is_number(kind):
            return [there]
        odd = f"CASE WHEN {x} IS NULL OR ABS({x}) < {LARGEST} THEN 0 ELSE 1 END"
        sign = f"CASE WHEN {x} < 0 THEN -1 ELSE 1 END"
        parts = [
            f"CAST(FLOOR({own(f'x{at}_{part}')} / {unit!r}) AS BIGINT) * {sign}"
            for part, unit in enumerate(_UNITS)
        ]
        return [there, odd, *(f"COALESCE({part}, 0)" for part in parts)]

    def changes(self, columns: pa.Schema) -> str:
        """The SELECT of what holds from when on, from `rows`: keys, `AT` and the features.

        Parameters
        ----------
        columns : of the rows.
        """
        widths = sorted({aggregation.width for aggregation in self.view.aggregations})
        keys = ", ".join(map(quoted, self.view.keys))
        sums = [(at, field) for at, width in enumerate(widths) for field in self._used(width)]
        ends = [f"{own('bucket')} + {width}" for width in widths]

        def numbers(signs: Sequence[int]) -> str:
            return ", ".join(
                f"CASE WHEN {own('known')} < {ends[at]} THEN {_signed(field, signs[at])} ELSE 0 END "
                f"AS {own(f'w{at}_{field}')}"
                for at, field in sums
            )

        ones = [1] * len(widths)
        branches = [f"SELECT {keys}, {own('known')} AS {own('at')}, {numbers(ones)} FROM events"]
        for leaving, end in enumerate(ends):
            signs = [-1 if at == leaving else 0 for at in range(len(widths))]
            branches.append(
                f"SELECT {keys}, {end} AS {own('at')}, {numbers(signs)} FROM events "
                f"WHERE {own('known')} < {end}"
            )
        names = {own(f"w{at}_{field}"): _WIDE if field.endswith(_SUM) else "BIGINT" for at, field in sums}
        summed = ", ".join(f"CAST(SUM({name}) AS {kind}) AS {name}" for name, kind in names.items())
        within = (
            f"(PARTITION BY {keys} ORDER BY {own('at')} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        )
        running = ", ".join(
            f"CAST(SUM({name}) OVER {within} AS {kind}) AS {name}" for name, kind in names.items()
        )
        features = ", ".join(
            f"{self._value(wanted, f'w{widths.index(wanted.width)}_')} AS {quoted(wanted.name)}"
            for wanted in self.view.aggregations
        )
        return (
            f"WITH events AS ({self.events(columns)}), moves AS ({' UNION ALL '.join(branches)}), "
            f"changes AS (SELECT {keys}, {own('at')}, {summed} FROM moves GROUP BY {keys}, {own('at')}), "
            f"running AS (SELECT {keys}, {own('at')}, {running} FROM changes) "
            f"SELECT {keys}, {own('at')}, {features} FROM running"
        )

    def entries(self, columns: pa.Schema, since: int | None, end: int) -> str:
        """The SELECT of sums by key and bucket from `rows`, key by key; without a bucket, what has left.

        A sum that goes past 2**63 is missing.

        Parameters
        ----------
        columns : of the rows.
        since : keys of which nothing was known only later are left out; None: none are.
        end : microseconds since 1970, as `since`; what is known only later is left out.
        """
        keys = ", ".join(map(quoted, self.view.keys))
        bucket = f"CASE WHEN {own('bucket')} + {self.longest} > {end} THEN {own('bucket')} END"
        events = f"SELECT {keys}, {own('known')}, {bucket} AS {own('bucket')}, "
        events += f"{', '.join(map(own, self.fields))} FROM ({self.events(columns)}) AS events "
        events += f"WHERE {own('known')} <= {end}"
        sums = ", ".join(map(_grouped, self.fields))
        grouped = f"SELECT {keys}, {own('bucket')}, MAX({own('known')}) AS {own('known')}, {sums} "
        grouped += f"FROM ({events}) AS events GROUP BY {keys}, {own('bucket')}"
        if since is not None:
            newest = f"MAX({own('known')}) OVER (PARTITION BY {keys}) AS {own('newest')}"
            grouped = f"SELECT * FROM (SELECT *, {newest} FROM ({grouped}) AS grouped) AS grouped "
            grouped += f"WHERE {own('newest')} > {since}"
        return f"SELECT * FROM ({grouped}) AS entries ORDER BY {keys}"

    def pushed(self, columns: pa.Schema, now: int) -> str:
        """The SELECT of sums by key, bucket and moment of writing from `rows` that came just now, key by key.

        Parameters
        ----------
        columns : of the rows.
        now : when they came, where they do not say when they were written, in microseconds.
        """
        keys = ", ".join(map(quoted, self.view.keys))
        group = f"{keys}, {own('bucket')}, {own('known')}"
        sums = ", ".join(map(_grouped, self.fields))
        events = f"({self.events(columns, now)}) AS events"
        return f"SELECT {group}, {sums} FROM {events} GROUP BY {group} ORDER BY {keys}"

    def _used(self, width: int) -> list[str]:
        """The whole numbers that aggregations over one window need."""
        used = [aggregation for aggregation in self.view.aggregations if aggregation.width == width]
        columns = list(self.inputs)
        names = [_ROWS] if any(aggregation.column is None for aggregation in used) else []
        for at, column in enumerate(columns):
            of = [aggregation for aggregation in used if aggregation.column == column]
            if of:
                only_counts = all(aggregation.function == "count" for aggregation in of)
                names += self.fields_of(at)[: 1 if only_counts else None]
        return names

    def _value(self, aggregation: Aggregation, before: str) -> str:
        """A feature of running sums."""
        if aggregation.column is None:
            return own(before + _ROWS)
        count, *parts = [
            own(before + name) for name in self.fields_of(list(self.inputs).index(aggregation.column))
        ]
        if aggregation.function == "count":
            return count
        total = _within_range(parts[0])
        if len(parts) > 1:
            odd, *limbs = (f"CAST({part} AS DOUBLE)" for part in parts)
            a, b, c, d = (f"{limb} * {unit!r}" for limb, unit in zip(limbs, _UNITS, strict=True))
            total = f"CASE WHEN {odd} > 0 THEN CAST('NaN' AS DOUBLE) ELSE ({a} + {b}) + ({c} + {d}) END"
        if aggregation.function == "sum":
            return total
        return f"CASE WHEN {count} > 0 THEN CAST(({total}) AS DOUBLE) / CAST({count} AS DOUBLE) END"

    def values(self, aggregation: Aggregation, sums: Mapping[str, np.ndarray]) -> pa.Array:
        """A feature of sums, as `changes` computes it.

        Parameters
        ----------
        aggregation : the feature.
        sums : of whole numbers, by name, and the upper halves of those that are `wide`.
        """
        if aggregation.column is None:
            return pa.array(sums[_ROWS])
        names = self.fields_of(list(self.inputs).index(aggregation.column))
        count, *parts = (sums[name] for name in names)
        if aggregation.function == "count":
            return pa.array(count)
        total, past = parts[0], np.zeros(len(count), bool)
        if len(parts) == 1:
            past = _past_range(total, sums[names[1] + HIGH])
        else:
            odd, *limbs = parts
            a, b, c, d = (limb.astype(float) * unit for limb, unit in zip(limbs, _UNITS, strict=True))
            total = np.where(odd > 0, np.nan, (a + b) + (c + d))
        if aggregation.function == "sum":
            return pa.array(total, mask=past)
        return pa.array(total.astype(float) / np.maximum(count, 1), mask=past | (count == 0))


def _has_parts(kind: pa.DataType) -> bool:
    return is_number(kind) and not is_whole(kind)


def _signed(field: str, sign: int) -> str:
    number = f"CAST({own(field)} AS {_WIDE})" if field.endswith(_SUM) else own(field)
    return {1: number, 0: "0", -1: f"-{number}"}[sign]


def _grouped(field: str) -> str:
    if not field.endswith(_SUM):
        return f"CAST(SUM({own(field)}) AS BIGINT) AS {own(field)}"
    return f"{_within_range(f'SUM(CAST({own(field)} AS {_WIDE}))')} AS {own(field)}"


def _within_range(total: str) -> str:
    """A sum as a whole number of 64 bits; missing past those, but never wrong."""
    return f"CASE WHEN {total} BETWEEN -{_MOST} AND {_MOST} THEN CAST({total} AS BIGINT) END"


def _past_range(total: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which sums do not fit 64 bits.

    Parameters
    ----------
    total : the sums modulo 2**64.
    high : the sums of what is above the lowest 32 bits of each number.
    """
    carried = high + ((total - (high << 32)) >> 32)
    past: np.ndarray = (carried < -(2**31)) | (carried >= 2**31) | (total == -_MOST - 1)
    return past
