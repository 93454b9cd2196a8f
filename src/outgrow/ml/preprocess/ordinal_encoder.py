"""Categories as numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from outgrow.data.batch import Batch, matrix_columns
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import Task, Transformer
from outgrow.ml.columns import Columns
from outgrow.ml.parameters import one_of
from outgrow.ml.preprocess.categories import (
    Coder,
    check_categories,
    learn_categories,
    missing_place,
    places_of,
    unknown_error,
)


class OrdinalEncoder(Transformer):
    """Replace each category by its number in the sorted order of the categories.

    Columns keep their names and become float64. Numbers compare by value: 1 and 1.0 are one category. Spark
    MLlib calls this `StringIndexer`; it numbers categories by falling frequency, this one (scikit-learn's) by
    their order. Every missing value becomes `encoded_missing_value`; scikit-learn does so for NaN only and
    numbers None as a category.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    categories : 'auto' for what the data has, or for each column a list of its categories in their order
        (numbers sorted, a missing value last).
    handle_unknown : what becomes of values that `fit` did not see: 'error', or 'use_encoded_value' for
        `unknown_value`.
    unknown_value : a whole number that is no code of a category, or NaN.
    encoded_missing_value : what missing values become, where `fit` saw some; elsewhere they are unknown.

    Attributes
    ----------
    categories_ : list of ndarray, the categories of each column; None or NaN last where values were missing.

    Raises
    ------
    DataError
        At `transform`, for unknown values with `handle_unknown='error'`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> sizes = pa.table({"size": ["small", "large", None, "small"]})
    >>> og.OrdinalEncoder(encoded_missing_value=-1).fit_transform(sizes)["size"].to_pylist()
    [1.0, 0.0, -1.0, 1.0]
    """

    takes_dictionaries = True

    def __init__(
        self,
        columns: Columns = None,
        *,
        categories: Any = "auto",
        handle_unknown: str = "error",
        unknown_value: float | None = None,
        encoded_missing_value: float = np.nan,
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.handle_unknown = handle_unknown
        self.unknown_value = unknown_value
        self.encoded_missing_value = encoded_missing_value

    def _check_parameters(self) -> None:
        check_categories(self)
        one_of(self, "handle_unknown", ("error", "use_encoded_value"))
        if self.handle_unknown == "error" and self.unknown_value is not None:
            raise ParameterError(
                f"unknown_value={self.unknown_value!r} is only used with handle_unknown='use_encoded_value'. "
                "Pass that, or leave it out."
            )
        if self.handle_unknown == "use_encoded_value" and not _is_code(self.unknown_value):
            raise ParameterError(
                f"unknown_value={self.unknown_value!r}: unknown_value should be an integer or np.nan when "
                "handle_unknown is 'use_encoded_value'."
            )
        if not _is_code(self.encoded_missing_value):
            raise ParameterError(
                f"encoded_missing_value={self.encoded_missing_value!r}: it must be a whole number or NaN."
            )

    def _learn(self, shard: Shard, names: list[str], task: Task) -> None:
        strict = self.handle_unknown == "error"
        self.categories_, _ = learn_categories(shard, names, self.categories, strict=strict)
        for name, categories in zip(names, self.categories_, strict=True):
            self._check_codes(name, categories)
        self._restored()

    def _restored(self) -> None:
        columns = zip(self.selected_, self.categories_, strict=True)
        self._coders = [Coder(name, places_of(each), self._codes(each)) for name, each in columns]

    def _change(self, batch: Batch, names: list[str]) -> Batch:
        out = np.empty((batch.num_rows, len(names)), order="F")
        for j, coder in enumerate(self._coders):
            out[:, j], unknown = coder.encode(batch[coder.name])
            if unknown and self.handle_unknown == "error":
                advice = "Fit on rows that have them, or pass handle_unknown='use_encoded_value'."
                raise unknown_error(coder.name, unknown, "transform", advice)
        return batch.with_columns(matrix_columns(out, names))

    def _codes(self, categories: np.ndarray) -> np.ndarray:
        """The code of each category, and of an unknown value."""
        unknown = np.nan if self.unknown_value is None else self.unknown_value
        codes = np.append(np.arange(len(categories), dtype=np.float64), unknown)
        missing = missing_place(categories)
        if missing is not None:
            codes[missing] = self.encoded_missing_value
        return codes

    def _check_codes(self, name: str, categories: np.ndarray) -> None:
        """Codes for unknown and missing values must not be codes of categories."""
        missing = missing_place(categories)
        used = {float(code) for code in range(len(categories)) if code != missing}
        special = {"unknown_value": self.unknown_value}
        if missing is not None:
            special["encoded_missing_value"] = self.encoded_missing_value
        for parameter, value in special.items():
            if value in used:
                raise ParameterError(
                    f"{parameter}={value!r} is already the code of a category of column {name!r}, which has "
                    f"{len(used)}. Choose a negative number or NaN."
                )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags


def _is_code(value: Any) -> bool:
    return isinstance(value, Integral) or (isinstance(value, float) and value != value)
