"""Categories as numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import OneOf, Such
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.categories import known, seen
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.categories import (
    CODED,
    INFREQUENT,
    Coder,
    Counts,
    as_codes,
    as_column,
    grouped,
    in_dtype,
    infrequent,
    learn_categories,
    missing_place,
    places_of,
    shown_columns,
    side_by_side,
    unknown_error,
)
from outgrow.ml.preprocessing.onnx import codes_in_onnx

_NO_CODE = object()
_CODE = Such(
    "a whole number or NaN",
    lambda value: isinstance(value, Integral) or (isinstance(value, float) and value != value),
)


class OrdinalEncoder(InvertibleTransformer):
    """Replace each category by its number in the order of the categories.

    Columns keep their names and become `dtype`. Numbers compare by value: 1 and 1.0 are one category.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    categories : 'auto' for what the data has, sorted; 'frequency' for the same, the most frequent first and
        equals sorted; or for each column a list of its categories in their order (numbers sorted, a missing
        value last).
    dtype : the type of the codes, for NumPy.
    handle_unknown : what becomes of values that `fit` did not see: 'error', or 'use_encoded_value' for
        `unknown_value`.
    unknown_value : a whole number that is no code of a category, or NaN.
    encoded_missing_value : what missing values become, where `fit` saw some; elsewhere they are unknown.
    min_frequency : categories with fewer rows get one code together, behind the others; a whole number of
        rows, or a share of them between 0 and 1.
    max_categories : at most so many codes for each column, that of what is put together among them; missing
        and unknown values do not count.

    Attributes
    ----------
    categories_ : list of ndarray, the categories of each column; None or NaN last where values were missing.
    infrequent_categories_ : list of ndarray or None, those of them that have one code, the last.

    Raises
    ------
    DataError
        At `transform`, for unknown values with `handle_unknown='error'`.

    Notes
    -----
    Unlike scikit-learn: every missing value becomes `encoded_missing_value`, None too, which there is a
    category.

    Unlike Spark MLlib's `StringIndexer(stringOrderType="frequencyDesc", handleInvalid="error")`: numbers the
    categories by their order; `categories="frequency"` numbers them as Spark does, and
    `handle_unknown="use_encoded_value"` with the number of categories as `unknown_value` is
    `handleInvalid="keep"`. `IndexToString` is `inverse_transform`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> sizes = pa.table({"size": ["small", "large", None, "small"]})
    >>> og.OrdinalEncoder(encoded_missing_value=-1).fit_transform(sizes)["size"].to_pylist()
    [1.0, 0.0, -1.0, 1.0]
    """

    parameters = {
        **CODED,
        "handle_unknown": OneOf("error", "use_encoded_value"),
        "unknown_value": _CODE | None,
        "encoded_missing_value": _CODE,
    }
    takes_dictionaries = True
    infrequent_categories_: list[np.ndarray | None] | None = None

    def __init__(
        self,
        columns: Columns = None,
        *,
        categories: Any = "auto",
        dtype: Any = np.float64,
        handle_unknown: str = "error",
        unknown_value: float | None = None,
        encoded_missing_value: float = np.nan,
        min_frequency: float | None = None,
        max_categories: int | None = None,
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.dtype = dtype
        self.handle_unknown = handle_unknown
        self.unknown_value = unknown_value
        self.encoded_missing_value = encoded_missing_value
        self.min_frequency = min_frequency
        self.max_categories = max_categories

    def _check_parameters(self) -> None:
        if self.handle_unknown == "error" and self.unknown_value is not None:
            raise ParameterError(
                f"unknown_value={self.unknown_value!r} is only used with handle_unknown='use_encoded_value'. "
                "Pass that, or leave it out."
            )
        if self.handle_unknown == "use_encoded_value" and self.unknown_value is None:
            raise ParameterError(
                f"unknown_value={self.unknown_value!r}: unknown_value should be an integer or np.nan when "
                "handle_unknown is 'use_encoded_value'."
            )
        if self._whole and self.unknown_value is not None and self.unknown_value != self.unknown_value:
            raise ParameterError(
                "When unknown_value is np.nan, the dtype parameter should be a float dtype. Got "
                f"{self.dtype}. Give another unknown_value, or dtype='float64'."
            )

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        self.categories_, counts = learn_categories(self, shard, names)
        pairs = zip(self.categories_, counts, strict=True)
        self.infrequent_categories_ = [self._infrequent(each, counted) for each, counted in pairs]
        self._check_missing(names)
        for name, categories, few in zip(names, self.categories_, self.infrequent_categories_, strict=True):
            self._check_codes(name, categories, few)
        self._restored()

    def _restored(self) -> None:
        self._made_coders: list[list[Coder]] = []

    @property
    def _coders(self) -> list[Coder]:
        """Of each column; a fit alone does not make them."""
        if not self._made_coders:
            few = self.infrequent_categories_ or [None] * len(self.categories_)
            columns = zip(self.selected_, self.categories_, few, strict=True)
            self._made_coders.append(
                [Coder(name, each, self._codes(each, rare)) for name, each, rare in columns]
            )
        return self._made_coders[0]

    @property
    def _whole(self) -> bool:
        """Whether codes are whole numbers."""
        return np.dtype(self.dtype).kind != "f"

    def _infrequent(self, categories: np.ndarray, counts: Counts) -> np.ndarray | None:
        """What is put together; a missing value never is."""
        missing = missing_place(categories)
        present = categories if missing is None else np.delete(categories, missing)
        return infrequent(self, present, counts)

    def transform(self, X: Any) -> Any:
        """The rows of X with codes in the place of categories; in the form X has."""
        return in_dtype(self, super().transform(X))

    def inverse_transform(self, X: Any) -> Any:
        """The categories that have these codes; in the form X has.

        The code of unknown values becomes None, and that of what was put together the text
        'infrequent_sklearn'.

        Parameters
        ----------
        X : array of shape (rows, columns), or a dataset, Spark DataFrame or table with the encoded columns.

        Raises
        ------
        DataError
            When X has another number of columns, or a code is that of nothing.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> encoder = og.OrdinalEncoder().fit(np.array([["b"], ["a"]]))
        >>> encoder.inverse_transform(np.array([[1.0], [0.0]])).tolist()
        [['b'], ['a']]
        """
        check_is_fitted(self)
        if is_table(X):
            return super().inverse_transform(X)
        return side_by_side(self._read_all(np.asarray(as_codes(X, self.selected_), dtype=np.float64)))

    def _revert(self, batch: Batch) -> Batch:
        found = self._read_all(batch.matrix(self.selected_))
        few = self.infrequent_categories_ or [None] * len(found)
        arrays = [as_column(*column) for column in zip(found, self.categories_, few, strict=True)]
        return batch.with_columns(dict(zip(self.selected_, arrays, strict=True)))

    def _read_all(self, codes: np.ndarray) -> list[np.ndarray]:
        """The categories of each row, column by column."""
        return [self._read(j, codes[:, j]) for j in range(len(self.selected_))]

    def _read(self, j: int, codes: np.ndarray) -> np.ndarray:
        """The category of each code of column j."""
        categories, own = self.categories_[j], self._coders[j].values
        few = (self.infrequent_categories_ or [None] * (j + 1))[j]
        words = categories.tolist()
        if few is not None:
            rare = places_of(few)
            words = [INFREQUENT if word in rare else word for word in words]
        known = dict(zip(map(_code, own[:-1].tolist()), words, strict=True))
        strict = self.handle_unknown == "error"
        unknown = None if strict else _code(own[-1].item())
        if unknown not in known and not strict:
            known[unknown] = None
        found = [known.get(_code(code), _NO_CODE) for code in codes.tolist()]
        if any(value is _NO_CODE for value in found):
            shown = list(known)[:20]
            raise DataError(f"Column {self.selected_[j]!r} holds codes of no category. Known: {shown}.")
        plain = few is None and None not in found
        out = np.empty(len(found), dtype=categories.dtype if plain else object)
        out[:] = found
        return out

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        out = np.empty((batch.num_rows, len(names)), order="F", dtype=self.dtype)
        for j, coder in enumerate(self._coders):
            codes, unknown = coder.encode(batch[coder.name])
            if unknown and self.handle_unknown == "error":
                advice = "Fit on rows that have them, or pass handle_unknown='use_encoded_value'."
                raise unknown_error(shown_columns(self, [coder.name])[0], unknown, "transform", advice)
            out[:, j] = codes
        return batch.with_matrix(out, names)

    def _codes(self, categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
        """The code of each category, and of an unknown value."""
        unknown = np.nan if self.unknown_value is None else self.unknown_value
        codes = np.append(self._groups(categories, few).astype(np.float64), unknown)
        missing = missing_place(categories)
        if missing is not None:
            codes[missing] = self.encoded_missing_value
        return codes

    def _groups(self, categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
        """The code of each category, the missing value not regarded."""
        missing = missing_place(categories)
        if missing is None:
            return grouped(categories, few)[0]
        return np.append(grouped(np.delete(categories, missing), few)[0], missing)

    def _check_missing(self, names: list[str]) -> None:
        """Missing values have a code of the type of codes."""
        columns = zip(names, self.categories_, strict=True)
        missing = [name for name, each in columns if missing_place(each) is not None]
        if missing and self._whole and self.encoded_missing_value != self.encoded_missing_value:
            raise ParameterError(
                f"There are missing values in features {missing}. For OrdinalEncoder to encode missing "
                f"values with dtype: {self.dtype}, set encoded_missing_value to a non-nan value, or dtype "
                "to a float."
            )

    def _check_codes(self, name: str, categories: np.ndarray, few: np.ndarray | None) -> None:
        """Codes for unknown and missing values must not be codes of categories."""
        missing = missing_place(categories)
        if missing is None and self.unknown_value is None:
            return
        groups = self._groups(categories, few)
        used = set(groups.tolist()) if missing is None else set(np.delete(groups, missing).tolist())
        special = {"unknown_value": self.unknown_value}
        if missing is not None:
            special["encoded_missing_value"] = self.encoded_missing_value
        for parameter, value in special.items():
            if value in used:
                raise ParameterError(
                    f"{parameter} ({value!r}) is already used to encode a known category in features: "
                    f"[{name!r}], which has {len(used)}. Choose a negative number or NaN."
                )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    def _to_onnx(self, table: Table) -> Table:
        strict = self.handle_unknown == "error"
        new = {coder.name: Column(codes_in_onnx(self, table, coder, strict)) for coder in self._coders}
        return table.with_columns(new)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        blocks = [self._block(f"{name}_{column}", j, flow) for j, column in enumerate(self.selected_)]
        return flow.then(name, flow.beside(self.selected_, blocks), list(flow.columns))

    def _block(self, name: str, j: int, flow: Flow) -> Block:
        """scikit-learn's encoder of one column."""
        column = self.selected_[j]
        block = flow.block([column], name)
        categories = known(self, column, self.categories_[j], text=block.text)
        few = None if self.infrequent_categories_ is None else self.infrequent_categories_[j]
        block.transformer = twin(
            "preprocessing.OrdinalEncoder",
            categories=[categories],
            handle_unknown=self.handle_unknown,
            unknown_value=self.unknown_value,
            encoded_missing_value=self.encoded_missing_value,
            min_frequency=None if few is None else 2,
        ).fit(flow.tiny(block.labels, seen(categories, few)[:, None]))
        block.row, block.text = [categories[0]], False
        return block


def _code(value: float) -> float | None:
    """A code that equals itself."""
    return None if value != value else value
