"""Names and values of features as numbers in columns that hashes choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.kind import NUMBER, Kind
from outgrow.data.matrix import Matrix, numbers
from outgrow.data.names import VectorNames
from outgrow.data.schema import conformed
from outgrow.engine.checks import check_finite
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError, ValueTypeError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, NUMBER_TYPE, OneOf
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.feature_extraction.analyzer import WORDS, kind_of
from outgrow.ml.feature_extraction.hashing import HASHING, SPARK, hashed
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import free_stem
from outgrow.stats.texts import Texts

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The rows, columns and values of numbers."""

_ROWS = {
    "dict": "a dictionary of names and values",
    "pair": "a list of pairs of a name and a value",
    "string": "a list of names",
}

_Named = tuple[np.ndarray, list[str], np.ndarray]
"""Rows, names and values of features."""
_VALUES = (str, Real, Decimal, np.bool_)


class FeatureHasher(Transformer):
    """Put numbers and categories into one sparse vector, in columns that the hashes of their names choose.

    Of a table, a column of numbers adds its number where its name is hashed to; one of text adds 1 where
    `name=text` is, lists of words do so for each word. Missing values add nothing. Without a table it takes
    what scikit-learn's class does: rows of features as dictionaries, as pairs of name and value, or as text.
    It learns nothing.

    Parameters
    ----------
    n_features : how many columns there are.
    columns : which columns of tables, by name or selector; all by default. The vector takes their place.
    input_type : what rows are without a table: 'dict', 'pair' or 'string'.
    alternate_sign : turn the sign of half of the features, so that those which share a column cancel in the
        mean.
    hash : 'sklearn' for the columns that scikit-learn chooses; 'spark' for those of MLlib's class, which
        knows no signs, and for which true and false are text.
    dtype : the type of the numbers, for NumPy.

    Attributes
    ----------
    output_name_ : what the vector is called: 'featurehasher', where that is free.

    Raises
    ------
    SchemaError
        When a column of a table holds neither numbers nor text, as times do.
    ValueTypeError
        When the name of a feature is no text.

    Notes
    -----
    Unlike scikit-learn: it takes tables, as if each row were a dictionary without its missing values. Rows
    that are no tables it takes by itself, not in a pipeline.

    Unlike Spark MLlib's `FeatureHasher(numFeatures=262144)`: numbers are hashed as numbers always, as there
    are no `categoricalCols`: give them as text. `FeatureHasher(2**18, hash="spark")` gives the same vectors.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> og.FeatureHasher(8).fit_transform([{"dog": 1, "cat": 2}, {"dog": 2, "run": 5}]).toarray().tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 2.0], [-5.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0, 0.0]]
    >>> og.FeatureHasher(4).fit_transform(pa.table({"dog": [1.0, 2.0], "name": ["Rex", None]})).to_pylist()[1]
    {'featurehasher_0': 0.0, 'featurehasher_1': -2.0, 'featurehasher_2': 0.0, 'featurehasher_3': 0.0}
    """

    stem: ClassVar[str] = "featurehasher"
    learns_nothing = True
    takes_dictionaries = True
    test_parameters = {"n_features": 16}
    parameters = {
        **HASHING,
        "columns": COLUMNS,
        "input_type": OneOf("dict", "pair", "string"),
        "dtype": NUMBER_TYPE,
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "it has no such hash",
        "scikit-learn": "its class takes no tables",
    }

    def __init__(
        self,
        n_features: int = 2**20,
        *,
        columns: Columns = None,
        input_type: str = "dict",
        alternate_sign: bool = True,
        hash: str = "sklearn",
        dtype: Any = np.float64,
    ) -> None:
        self.n_features = n_features
        self.columns = columns
        self.input_type = input_type
        self.alternate_sign = alternate_sign
        self.hash = hash
        self.dtype = dtype

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Note the columns there are; nothing is learned.

        Parameters
        ----------
        X : a table, dataset or Spark DataFrame; or rows of features, which are not looked at.
        y : the name of a column of X to leave out; otherwise ignored.
        """
        if is_table(X):
            return super().fit(X, y)
        self.check_parameters()
        self.columns_, self.selected_, self.output_name_ = {}, [], self.stem
        self._restored()
        return self

    def transform(self, X: Any) -> Any:
        """The vectors of rows.

        Parameters
        ----------
        X : a table, dataset or Spark DataFrame; or rows of features as `input_type` says.

        Returns
        -------
        A CSR array of shape (rows, n_features) for rows of features; for tables one in the form they have.
        """
        if is_table(X):
            return super().transform(X)
        made = self._summed([self._cells(*_named_values(X, self.input_type))], len(X))
        return made.astype(self.dtype, copy=False)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """What `fit` and then `transform` give.

        Parameters
        ----------
        X, y : as `fit` takes them.
        """
        rows = X if is_table(X) or hasattr(X, "__len__") else list(X)
        return self.fit(rows, y).transform(rows)

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        if not names:
            raise DataError("FeatureHasher has no columns to work on. Name some that are there.")
        odd = {name: kind for name in names if not _is_feature(kind := kind_of(shard.example[name]))}
        if odd:
            raise SchemaError(
                f"FeatureHasher works on numbers, text and lists of words; {odd} are none. Choose other "
                "columns, or make numbers of these first."
            )
        self.output_name_ = free_stem(self.stem, column_names(shard.example.drop(names)).tolist())
        self._restored()

    def _restored(self) -> None:
        self._names = VectorNames(self.output_name_, self.n_features)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = self._summed([self._column(batch, name) for name in names], batch.num_rows)
        return batch.replace(names, {self.output_name_: Matrix(made, self._names)})

    def _summed(self, parts: list[Cells], rows: int) -> Any:
        """The vectors, numbers of one column added up."""
        at, places, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        made = sp.coo_array((values, (at, places)), shape=(rows, self.n_features)).tocsr()
        return sp.csr_array(made)

    def _column(self, batch: Batch, name: str) -> Cells:
        column = batch[name]
        if isinstance(column, Matrix):
            cells = sp.coo_array(column.values)
            names = Texts.of(pa.array(column.names, pa.large_string()))
            return self._cells(cells.coords[0], names, cells.coords[1], cells.data)
        if pa.types.is_boolean(column.type) and self.hash == SPARK:
            column = column.cast(pa.string())
        if is_numeric(column.type):
            return self._number(column, name)
        terms = _terms(batch, column, name)
        words = pc.binary_join_element_wise(
            pa.scalar(name, pa.large_string()), terms.texts.arrow, pa.scalar("=", pa.large_string())
        )
        return self._cells(terms.rows, Texts.of(words), terms.codes, np.ones(len(terms.codes)))

    def _number(self, column: pa.Array, name: str) -> Cells:
        values = numbers(column).astype(np.float64)
        check_finite(values, "X", missing=True)
        rows = np.flatnonzero((values != 0) & ~np.isnan(values))
        texts = Texts.of(pa.array([name], pa.large_string()))
        return self._cells(rows, texts, np.zeros(len(rows), np.intp), values[rows])

    def _cells(self, rows: np.ndarray, texts: Texts, codes: np.ndarray, values: np.ndarray) -> Cells:
        """Where values of features go.

        Parameters
        ----------
        rows : of the values.
        texts : names of features.
        codes : the place of the name of each value in `texts`.
        values : not yet signed.
        """
        places, signs = hashed(self, texts)
        return rows, places[codes], values if signs is None else values * signs[codes]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array, tags.input_tags.dict = False, True
        return tags


def _is_feature(kind: Kind | None) -> bool:
    return kind is None or kind in (NUMBER, WORDS) or kind.base == "category"


def _terms(batch: Batch, column: Any, name: str) -> Terms:
    """The categories of each row."""
    if kind_of(column) == WORDS:
        return Terms.of_lists(conformed(batch.select([name]), {name: WORDS})[name])
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    rows = np.flatnonzero(np.asarray(encoded.is_valid()))
    codes = encoded.indices.drop_null().to_numpy()
    return Terms(Texts.of(encoded.dictionary.cast(pa.large_string())), codes, rows, len(column))


def _named_values(X: Any, input_type: str) -> tuple[np.ndarray, Texts, np.ndarray, np.ndarray]:
    """Rows, names, which of them, and values of the features of rows."""
    if isinstance(X, str | Mapping):
        raise DataError(f"X is one {type(X).__name__}. Give a list of rows of features.")
    features = list(X)
    rows, names, values = _of_plain_rows(features, input_type) or _of_any_rows(features, input_type)
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    places = np.fromiter(map(codes.__getitem__, names), np.intp, len(names))
    there = values != 0
    if not there.all():
        rows, places, values = rows[there], places[there], values[there]
    return rows, Texts.of(pa.array(list(codes), pa.large_string())), places, values


def _of_plain_rows(X: list[Any], input_type: str) -> _Named | None:
    """Rows, names and values of dictionaries, or of lists of names, all at once; None where some are odd."""
    if input_type == "pair" or not {*map(type, X)} <= ({dict} if input_type == "dict" else {list, tuple}):
        return None
    names = list(chain.from_iterable(X))
    rows = np.repeat(np.arange(len(X)), np.fromiter(map(len, X), np.intp, len(X)))
    if {*map(type, names)} - {str}:
        return None
    if input_type == "string":
        return rows, names, np.ones(len(names))
    given = list(chain.from_iterable(map(dict.values, X)))
    kinds = {*map(type, given)}
    if not all(issubclass(kind, _VALUES) for kind in kinds):
        return None
    if any(issubclass(kind, str) for kind in kinds):
        texts = [isinstance(value, str) for value in given]
        joined = zip(names, given, texts, strict=True)
        names = [f"{name}={value}" if text else name for name, value, text in joined]
        given = [1.0 if text else value for value, text in zip(given, texts, strict=True)]
    return rows, names, np.array(given, dtype=np.float64)


def _of_any_rows(X: list[Any], input_type: str) -> _Named:
    """The same, one by one, with an error for what cannot be."""
    rows, names, values = list[int](), list[str](), list[float]()
    for row, features in enumerate(X):
        for name, value in _checked_pairs(features, input_type, row):
            if not isinstance(name, str):
                raise ValueTypeError(f"feature names must be strings, not {name!r}. Make text of them.")
            text = isinstance(value, str)
            rows.append(row)
            names.append(f"{name}={value}" if text else name)
            values.append(1.0 if text else float(value))
    return np.array(rows, dtype=np.intp), names, np.array(values, dtype=np.float64)


def _checked_pairs(features: Any, input_type: str, row: int) -> Iterator[tuple[str, Any]]:
    """The names and values of a row.

    Raises
    ------
    ValueTypeError
        When it is no row of this type, or a value neither a number nor text.
    """
    try:
        pairs = [(name, value) for name, value in _pairs(features, input_type)]
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise ValueTypeError(
            f"Row {row} is {features!r}, and not what input_type={input_type!r} says: {_ROWS[input_type]}."
        ) from None
    for name, value in pairs:
        if not isinstance(value, _VALUES):
            raise ValueTypeError(
                f"Row {row}: {name!r} is {value!r}, which is neither a number nor text. Leave out what is "
                "missing, and make numbers or text of the rest."
            )
        yield name, value


def _pairs(features: Any, input_type: str) -> Iterable[tuple[Any, Any]]:
    if input_type != "string":
        pairs: Iterable[tuple[Any, Any]] = features.items() if input_type == "dict" else features
        return pairs
    if isinstance(features, str):
        raise DataError(
            f"Samples can not be a single string, as {features!r} is. The input must be an iterable over "
            "iterables of strings."
        )
    return _ones(features)


def _ones(features: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    return ((name, 1.0) for name in features)
