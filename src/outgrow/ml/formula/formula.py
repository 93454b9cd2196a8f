"""The columns that a formula of R makes of others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_categorical
from outgrow.data.matrix import Column, Matrix, matrix_columns
from outgrow.data.names import distinct, numbered
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.base.expansion import MOST_COLUMNS
from outgrow.ml.core.columns import Columns, require_numeric
from outgrow.ml.core.parameters import COLUMNS, FLAG, TEXT, OneOf
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.formula.parsing import CATEGORY, FUNCTIONS, POWER, Factor, parse
from outgrow.ml.preprocessing.categories import Coder, learn_categories, places_of, unknown_error

_NOWHERE, _NO_LEVEL = -1, 1 << 40


@dataclass(frozen=True)
class _Counted:
    """What `learn_categories` asks an encoder: all categories, and how many rows each has."""

    categories = "auto"
    min_frequency = 1
    max_categories = None
    handle_unknown = "error"


class Formula(Transformer):
    """Make the columns that a formula of R describes: numbers, levels, functions of them, and products.

    The levels of text are learnt from all rows. One of them is left out where R leaves it out, so that
    columns do not depend on others: in every term whose other factors are a term of their own. No column of
    ones is made, as models have a constant; without one in the formula (`0 +`), the first column of levels
    has all.

    Parameters
    ----------
    formula : as R, formulaic and patsy write it, with `~ + - : * ^ / %in% . ()`, as in
        'late ~ distance + carrier:hour'. A column stands for its numbers, or the levels of its text; further
        there are C(column) for the levels of numbers, C(column, Treatment("level")) for those but a level,
        I(column ** 2), and abs, cos, exp, expm1, log, log10, log1p, log2, sin and sqrt of a column. What
        stands before ~ is no feature; it must be what `fit` is told as y, if that has a name.
    columns : which columns the formula sees, by name or selector; all by default. What it makes takes their
        place; those it does not name are left out.
    reference : the level that is left out: the 'first' by value, as in R, or the 'least_frequent', as in
        Spark, where levels stand in the order of their frequency.
    handle_unknown : what becomes of levels that `fit` did not see: 'error', or 'ignore' for zeros.
    sparse_output : one sparse vector `formula`; otherwise dense columns.

    Attributes
    ----------
    output_names_ : list of the names of what it makes: `<column>_<level>` for a level, `a:b` for products.
    output_name_ : the name of the sparse vector.
    levels_ : dictionary of the levels of columns, in their order; the first, or with 'least_frequent' the
        last, is left out unless the formula names another.

    Raises
    ------
    ParameterError
        At `fit`, when the formula is not understood.
    DataError
        At `transform`, for unknown levels with `handle_unknown='error'`.

    Notes
    -----
    Unlike Spark MLlib's `RFormula(formula, stringIndexerOrderType="frequencyDesc")`: `reference="first"` by
    default, as in R; columns beside the formula's own are left out; rows with missing values stay.

    It needs the extra `formula` to fit, and nothing further to transform.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"size": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"], "y": [1.0, 2.0, 3.0]})
    >>> og.Formula("y ~ size + kind + size:kind").fit(rows, "y").transform(rows.drop(["y"])).to_pydict()
    {'size': [1.0, 2.0, 3.0], 'kind_b': [0.0, 1.0, 0.0], 'size:kind_b': [0.0, 2.0, 0.0]}
    """

    takes_dictionaries = True
    test_parameters = {"formula": "~ ."}
    no_exports = {
        "ONNX": "products of levels are not made there; OneHotEncoder and PolynomialFeatures are",
        "scikit-learn": "it has no formulas",
    }
    parameters = {
        "formula": TEXT,
        "columns": COLUMNS,
        "reference": OneOf("first", "least_frequent"),
        "handle_unknown": OneOf("error", "ignore"),
        "sparse_output": FLAG,
    }
    terms_: list[list[dict[str, Any]]]
    levels_: dict[str, np.ndarray]
    response_: str | None
    output_names_: list[str]
    output_name_: str

    def __init__(
        self,
        formula: str,
        *,
        columns: Columns = None,
        reference: str = "first",
        handle_unknown: str = "error",
        sparse_output: bool = False,
    ) -> None:
        self.formula = formula
        self.columns = columns
        self.reference = reference
        self.handle_unknown = handle_unknown
        self.sparse_output = sparse_output

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        parsed = parse(self.formula, names)
        self._check_response(parsed.response, task)
        self.response_ = parsed.response
        factors = list(dict.fromkeys(itertools.chain.from_iterable(parsed.terms)))
        self._check_factors(factors, shard.example)
        leveled = [factor for factor in factors if _has_levels(factor, shard.example)]
        self._learn_levels(shard, list(dict.fromkeys(factor.column for factor in leveled)))
        full = _full(parsed.terms, set(leveled), intercept=parsed.intercept)
        self.terms_ = [
            [self._coded(factor, shard.example, full=(i, j) in full) for j, factor in enumerate(term)]
            for i, term in enumerate(parsed.terms)
        ]
        self._restored()
        kept = [name for name in names if name != self.response_]
        others = shard.example.drop(kept)
        taken = {*others.columns, *column_names(others)}
        self.output_names_ = distinct(list(self._labels()), taken)
        self.output_name_ = numbered("formula", taken)
        if len(self.output_names_) > MOST_COLUMNS and not self.sparse_output:
            raise ParameterError(
                f"Formula {self.formula!r} makes {len(self.output_names_)} columns; a table has up to "
                f"{MOST_COLUMNS}. Give sparse_output=True."
            )

    def _check_response(self, response: str | None, task: Task) -> None:
        if response is not None and task.target is not None and task.named and response != task.target:
            raise ParameterError(
                f"Formula {self.formula!r} explains {response!r}, and y is {task.target!r}. Give fit the "
                "same y, or leave out what stands before ~."
            )

    def _check_factors(self, factors: Sequence[Factor], example: Batch) -> None:
        if not factors:
            raise ParameterError(f"Formula {self.formula!r} has no columns on the right. Name some.")
        if self.response_ in [factor.column for factor in factors]:
            raise ParameterError(
                f"Formula {self.formula!r} has {self.response_!r} on both sides. Remove one."
            )
        numbers = [factor.column for factor in factors if not _has_levels(factor, example)]
        require_numeric(example, numbers, "Formula")
        for factor in factors:
            if factor.change and isinstance(example[factor.column], Matrix):
                raise SchemaError(
                    f"Formula {self.formula!r}: {factor.text!r} is of vectors. Name the column alone."
                )

    def _learn_levels(self, shard: Shard, columns: list[str]) -> None:
        levels, counts = learn_categories(_Counted(), shard, columns)
        self.levels_ = {}
        for column, values, seen in zip(columns, levels, counts, strict=True):
            if self.reference == "least_frequent":
                rows = np.array([seen.counts.get(word, 0.0) for word in places_of(values)])
                values = values[np.argsort(-rows, kind="stable")]
            self.levels_[column] = values

    def _coded(self, factor: Factor, example: Batch, *, full: bool) -> dict[str, Any]:
        """A factor as it is kept: with the place of the level that is left out, and its labels."""
        if not _has_levels(factor, example):
            column = example[factor.column]
            labels = list(column.names) if isinstance(column, Matrix) else [factor.text]
            return {**asdict(factor), "gone": None, "labels": labels}
        levels = self.levels_[factor.column]
        gone = None if full else self._left_out(factor, levels)
        words = [f"{factor.column}_{word}" for place, word in enumerate(levels.tolist()) if place != gone]
        return {**asdict(factor), "change": CATEGORY, "gone": gone, "labels": words}

    def _left_out(self, factor: Factor, levels: np.ndarray) -> int:
        if factor.value is None:
            return 0 if self.reference == "first" else len(levels) - 1
        places = places_of(levels)
        if factor.value not in places:
            raise ParameterError(
                f"Formula {self.formula!r}: {factor.value!r} is none of the levels {levels.tolist()[:5]} of "
                f"{factor.column!r}. Name one of them."
            )
        return places[factor.value]

    def _restored(self) -> None:
        self._coders = {
            name: Coder(name, levels, np.append(np.arange(len(levels)), _NOWHERE))
            for name, levels in self.levels_.items()
        }

    def _labels(self) -> Iterator[str]:
        """The names of the new columns; of products those of the first factor change first, as in R."""
        for term in self.terms_:
            for last_first in itertools.product(*(factor["labels"] for factor in reversed(term))):
                yield ":".join(reversed(last_first))

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        kept = [name for name in names if name != self.response_]
        return batch.replace(kept, self._new_columns(batch))

    def _new_columns(self, batch: Batch) -> Mapping[str, Column]:
        codes = {name: self._codes(batch, name) for name in self.levels_}
        rows, width, at = batch.num_rows, len(self.output_names_), 0
        dense = np.zeros((0 if self.sparse_output else rows, width), order="F")
        cells = list[tuple[np.ndarray, np.ndarray, np.ndarray]]()
        for term in self.terms_:
            for chosen, columns, values in _cells(term, batch, codes, at):
                if self.sparse_output:
                    where = np.arange(rows)[chosen]
                    cells.append((where, np.broadcast_to(columns, where.shape), values))
                else:
                    dense[chosen, columns] = values
            at += int(np.prod([len(factor["labels"]) for factor in term]))
        if not self.sparse_output:
            return matrix_columns(dense, self.output_names_)
        row, column, value = map(np.concatenate, zip(*cells, strict=True))
        made = sp.csr_array((value, (row, column)), shape=(rows, width))
        return {self.output_name_: Matrix(made, tuple(self.output_names_))}

    def _codes(self, batch: Batch, name: str) -> np.ndarray:
        codes, unknown = self._coders[name].encode(batch[name])
        if unknown and self.handle_unknown == "error":
            advice = "Fit on rows that have them, or pass handle_unknown='ignore'."
            raise unknown_error(name, unknown, "transform", advice)
        return codes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _has_levels(factor: Factor, example: Batch) -> bool:
    """Whether a factor is that of levels, as it says, or as its column is no number."""
    if factor.change:
        return factor.change == CATEGORY
    column = example[factor.column]
    return not isinstance(column, Matrix) and is_categorical(column.type)


def _full(
    terms: Sequence[tuple[Factor, ...]], leveled: set[Factor], *, intercept: bool
) -> set[tuple[int, int]]:
    """Where all levels have a column, as places of terms and of factors in them: R's rule.

    One is left out where the other factors of the term are a term, or there are none; without a constant the
    first of all has all.
    """
    known: set[frozenset[Factor]] = {frozenset(term) for term in terms} | {frozenset()}
    places = [(i, j) for i, term in enumerate(terms) for j, f in enumerate(term) if f in leveled]
    full = {(i, j) for i, j in places if frozenset(terms[i]) - {terms[i][j]} not in known}
    return full | set(places[:1] if not intercept else [])


def _cells(
    term: Sequence[Mapping[str, Any]], batch: Batch, codes: Mapping[str, np.ndarray], at: int
) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """The cells of the columns of a term that are not zero: rows, columns and values.

    Parameters
    ----------
    term : its factors.
    batch : the rows.
    codes : the level of each row, by column.
    at : the first of its columns.
    """
    column: Any = at
    rows: Any = slice(None)
    seen = np.ones(batch.num_rows, dtype=bool)
    numbers, stride = list[tuple[np.ndarray, int]](), 1
    for factor in term:
        if factor["change"] == CATEGORY:
            code = codes[factor["column"]]
            gone = _NO_LEVEL if factor["gone"] is None else factor["gone"]
            seen &= (code != _NOWHERE) & (code != gone)
            column = column + (code - (code > gone)) * stride
        else:
            numbers.append((_changed(factor, batch), stride))
        stride *= len(factor["labels"])
    if not isinstance(column, int):
        rows = np.flatnonzero(seen)
        column = column[rows]
    for chosen in itertools.product(*(range(X.shape[1]) for X, _ in numbers)):
        value = np.ones(batch.num_rows)
        step = 0
        for (X, width), j in zip(numbers, chosen, strict=True):
            value, step = value * X[:, j], step + j * width
        yield rows, column + step, value[rows]


def _changed(factor: Mapping[str, Any], batch: Batch) -> np.ndarray:
    """The numbers of a factor, of shape (rows, any)."""
    X: np.ndarray = batch.matrix([factor["column"]])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if factor["change"] == POWER:
            return np.asarray(X ** factor["value"])
        return FUNCTIONS[factor["change"]](X) if factor["change"] else X
