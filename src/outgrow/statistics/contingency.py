"""Counts of categories: tables of two columns, and the chi-square tests of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.stats
from scipy import special

from outgrow.data.batch import Batch
from outgrow.data.exact import python_values
from outgrow.data.keys import in_order, key_codes, key_nulls, key_values
from outgrow.data.matrix import Matrix
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer
from outgrow.statistics.results import Result, TestResult
from outgrow.statistics.rows import Rows, open_rows
from outgrow.stats.contingency import Contingency
from outgrow.stats.dependence import cramers_v
from outgrow.stats.grouped import GroupedSums, Keys, Segments

_MOST_CELLS = 1 << 24


@dataclass(frozen=True, eq=False, repr=False)
class CrosstabResult(Result):
    """A table of counts.

    Attributes
    ----------
    elements : the values of each of the two columns, sorted.
    count : ndarray of shape (values of the first, values of the second).
    """

    elements: tuple[list[Any], list[Any]]
    count: np.ndarray

    def to_arrow(self) -> pa.Table:
        """A row for each value of the first column, a column for each of the second."""
        heads = [str(value) for value in self.elements[1]]
        return pa.table([pa.array(self.elements[0]), *self.count.T], names=[self.columns[0], *heads])


@dataclass(frozen=True, eq=False, repr=False)
class Chi2ContingencyResult(TestResult):
    """A test of independence for each column; fields are numbers and arrays where one column was named.

    Attributes
    ----------
    dof : degrees of freedom.
    cramers_v : how strongly the two go together, from 0 to 1.
    tables : the counts of each column, by its name.
    expected_freq : the counts that independent columns would have, by name.
    """

    dof: Any
    cramers_v: Any
    tables: Mapping[str, CrosstabResult]
    expected_freq: Mapping[str, np.ndarray]

    @property
    def _shown(self) -> tuple[str, ...]:
        return ("statistic", "pvalue", "dof", "cramers_v")

    @property
    def rare(self) -> list[str]:
        """Columns with expected counts below 5, for which the p-value is a rough one."""
        return [name for name, expected in self.expected_freq.items() if (expected < 5).any()]


@dataclass(frozen=True, eq=False, repr=False)
class ChisquareResult(TestResult):
    """A test of how a column's values are spread.

    Attributes
    ----------
    df : degrees of freedom.
    elements : the values.
    observed, expected : how often each occurs, and would.
    """

    df: float
    elements: list[Any]
    observed: np.ndarray
    expected: np.ndarray

    @property
    def _shown(self) -> tuple[str, ...]:
        return ("statistic", "pvalue", "df")


def crosstab(data: Any, a: str, b: str, *, weights: Any = None) -> CrosstabResult:
    """How often each value of a column occurs with each of another, as `scipy.stats.contingency.crosstab`.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table.
    a, b : the columns: numbers, text, booleans or times.
    weights : of the rows: a column's name, or an array of shape (rows,).

    Raises
    ------
    DataError
        When the table would have more than 16 million cells.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> og.stats.crosstab(pa.table({"sky": ["clear", "fog", "fog"], "late": [0, 0, 1]}), "sky", "late")
    CrosstabResult
    sky    0  1
    clear  1  0
    fog    1  1
    """
    rows = open_rows(data, a, by=b, weights=weights, numeric=False)
    return _tables(rows)[a]


def chi2_contingency(
    data: Any, columns: Columns, by: Any, *, correction: bool = True, weights: Any = None
) -> Chi2ContingencyResult:
    """Whether columns are independent of another one, as `scipy.stats.chi2_contingency`: one pass for all.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns) or (rows,).
    columns : names, or a selector; None for all but `by`. Each different value is a category.
    by : the other column, or an array of shape (rows,).
    correction : Yates' correction for tables of two rows and two columns.
    weights : of the rows: a column's name, or an array of shape (rows,).

    Raises
    ------
    DataError
        When a table would have more than 16 million cells: the column has too many different values.

    Notes
    -----
    Unlike SciPy's: it takes rows, and counts them. A table of counts is one for SciPy's.

    Unlike Spark MLlib's `ChiSquareTest.test(dataset, featuresCol, labelCol)`: `correction=False` gives its
    numbers; columns may be text, and are not limited to 10,000 different values.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"sky": ["clear", "fog"] * 8, "late": [0, 1, 0, 1, 0, 0, 1, 1] * 2})
    >>> result = og.stats.chi2_contingency(rows, "sky", by="late")
    >>> round(result.statistic, 4), round(result.pvalue, 4), result.dof
    (2.25, 0.1336, 1)
    """
    rows = open_rows(data, columns, by=by, weights=weights, numeric=False)
    tables = _tables(rows)
    results = [_independent(name, table, correction) for name, table in tables.items()]
    statistic, pvalue, dof, v = np.array([part[:4] for part in results], dtype=np.float64).reshape(-1, 4).T
    expected = {name: part[4] for name, part in zip(tables, results, strict=True)}
    fields = (rows.unwrapped(part) for part in (statistic, pvalue, dof.astype(np.int64), v))
    statistic, pvalue, dof, v = fields
    return Chi2ContingencyResult(tuple(rows.names), statistic, pvalue, dof, v, tables, expected)


def chisquare(
    data: Any, columns: str | None = None, f_exp: Mapping[Any, float] | None = None, *, ddof: int = 0
) -> ChisquareResult:
    """Whether the values of a column are spread as expected, as `scipy.stats.chisquare`.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows,).
    columns : the column; None where there is but one.
    f_exp : from each value to how often it is expected, in any unit. By default all as often.
    ddof : degrees of freedom that are lost beyond the first.

    Raises
    ------
    DataError
        When a value is there of which nothing is expected.

    Notes
    -----
    Unlike Spark MLlib's `Statistics.chiSqTest(observed, expected)`: it takes rows, and counts them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.chisquare(np.repeat(["head", "tail"], [60, 40]))
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (4.0, 0.0455)
    """
    Integer(low=0).check("chisquare", "ddof", ddof)
    rows = open_rows(data, columns, numeric=False)
    if len(rows.names) != 1:
        raise ParameterError(f"columns={columns!r}: name one of {rows.names}.")
    values, counts = _counted(rows)
    observed, expected, elements = _expected(values, counts, f_exp)
    statistic = ((observed - expected) ** 2 / expected).sum()
    df = len(observed) - 1 - ddof
    pvalue = special.chdtrc(df, statistic) if df > 0 else 1.0 if statistic == 0 else np.nan
    return ChisquareResult(
        tuple(rows.names), float(statistic), float(pvalue), float(df), elements, observed, expected
    )


def _counted(rows: Rows) -> tuple[list[Any], np.ndarray]:
    """The values of a column, sorted, and how often each occurs."""
    (state,) = rows.learn(partial(_learn, rows=rows))
    values, order = _values(state, rows.names)
    if not len(order):
        raise DataError(f"Column {rows.names[0]!r} has no values.")
    return _python(values[rows.names[0]]), state.counts[order]


def _expected(
    values: list[Any], counts: np.ndarray, f_exp: Mapping[Any, float] | None
) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """What is there, what was expected, and of which values."""
    if f_exp is None:
        return counts, np.full(len(counts), counts.mean()), values
    unknown = [value for value in values if not f_exp.get(value, 0) > 0]
    if unknown:
        raise DataError(
            f"Values of which f_exp expects nothing: {unknown[:5]}. Give a number above 0 for each."
        )
    wanted = [value for value, share in f_exp.items() if share > 0]
    shares = np.array([f_exp[value] for value in wanted], dtype=np.float64)
    seen = dict(zip(values, counts.tolist(), strict=True))
    observed = np.array([seen.get(value, 0.0) for value in wanted])
    return observed, shares / shares.sum() * observed.sum(), wanted


def _independent(
    name: str, table: CrosstabResult, correction: bool
) -> tuple[float, float, int, float, np.ndarray]:
    if table.count.size == 0:
        raise DataError(f"No row has values of both {table.columns[0]!r} and {table.columns[1]!r}.")
    result = scipy.stats.chi2_contingency(table.count, correction=correction)
    v = cramers_v(table.count)
    return float(result.statistic), float(result.pvalue), int(result.dof), v, result.expected_freq


def _tables(rows: Rows) -> dict[str, CrosstabResult]:
    """The table of each column and the one that makes groups."""
    states = rows.learn(partial(_learn, rows=rows))
    return {name: _table(state, name, rows.by) for name, state in zip(rows.names, states, strict=True)}


def _learn(shard: Shard, rows: Rows) -> Any:
    return shard.reduce(partial(_fold, rows=rows), encoded=True, large=True)


def _fold(batch: Batch, rows: Rows) -> tuple[Contingency, ...]:
    weight = rows.weights(batch)
    return tuple(_combinations(batch, [name, *rows.by], weight) for name in rows.names)


def _combinations(batch: Batch, names: list[str], weight: np.ndarray | None) -> Contingency:
    if isinstance(batch[names[0]], Matrix):
        raise SchemaError(f"Column {names[0]!r} holds vectors; count columns of numbers, text or times.")
    names = list(dict.fromkeys(names))
    segments = Segments.coded(*key_codes(batch, names))
    firsts = key_values(batch.select(names).take(segments.firsts), names)
    sums = (
        segments.counts[None].astype(float) if weight is None else segments.sums(weight[segments.order][None])
    )
    return Contingency(Keys.of(segments.hashes, firsts), GroupedSums(segments.hashes, sums.T.copy()))


def _values(state: Contingency, names: list[str]) -> tuple[pa.Table, np.ndarray]:
    """The combinations without missing values, in order, and the place of each in the state."""
    table = state.keys.table
    kept = np.flatnonzero(~key_nulls(table) & (state.counts > 0))
    columns = [table[name].take(pa.array(kept)) for name in names]
    ordered = in_order(pa.table([*columns, pa.array(kept)], names=[*names, "\0row"]), names)
    return ordered.drop_columns(["\0row"]), ordered["\0row"].to_numpy()


def _table(state: Contingency, name: str, by: tuple[str, ...]) -> CrosstabResult:
    names = list(dict.fromkeys([name, *by]))
    values, order = _values(state, names)
    counts = state.counts[order]
    other = values[by[0]] if len(by) == 1 else pa.chunked_array([values.select(list(by)).to_struct_array()])
    (first, i), (second, j) = (_coded(column) for column in (values[name], other))
    if len(first) * len(second) > _MOST_CELLS:
        raise DataError(
            f"{len(first):,} values of {name!r} and {len(second):,} of {by} make a table of "
            f"{len(first) * len(second):,} cells; at most {_MOST_CELLS:,} are counted. Make classes of them."
        )
    table = np.zeros((len(first), len(second)))
    table[i, j] = counts
    return CrosstabResult((name, ", ".join(by)), (first, second), table)


def _coded(column: pa.ChunkedArray) -> tuple[list[Any], np.ndarray]:
    """The different values of a column, sorted, and which each is."""
    encoded = column.combine_chunks()
    if pa.types.is_struct(encoded.type):
        rows = [tuple(row.values()) for row in encoded.to_pylist()]
        different = sorted(set(rows))
        codes = {value: code for code, value in enumerate(different)}
        return different, np.array([codes[row] for row in rows], dtype=np.intp)
    encoded = encoded.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), dtype=np.intp)
    rank[order.to_numpy()] = np.arange(len(order))
    return _python(encoded.dictionary.take(order)), rank[encoded.indices.to_numpy()]


def _python(column: Any) -> list[Any]:
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return list(python_values(values))
