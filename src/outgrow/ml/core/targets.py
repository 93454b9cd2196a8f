"""Several targets: columns of numbers that become one column of vectors on their way to a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_array, column_or_1d

from outgrow.data.batch import Batch, Matrix, is_numeric, is_sparse, is_vector
from outgrow.data.names import check_names
from outgrow.data.scan import Apply, Scan
from outgrow.errors import ParameterError, SchemaError, ValueTypeError


@dataclass(frozen=True)
class Stack:
    """Columns of numbers as one column of vectors, as a function of batches.

    Attributes
    ----------
    columns : the columns, which it takes away.
    name : the column of vectors, which comes last.
    names : what the numbers of a vector are called.
    """

    columns: tuple[str, ...]
    name: str
    names: tuple[str, ...]

    def __call__(self, batch: Batch) -> Batch:
        values = np.ascontiguousarray(batch.matrix(self.columns))
        return batch.drop(self.columns).with_columns({self.name: Matrix(values, self.names)})

    def applied(self, scan: Scan) -> Scan:
        """The rows of a scan with the vectors.

        Raises
        ------
        SchemaError
            When a column does not hold numbers.
        """
        schema = scan.schema
        text = [name for name in self.columns if not is_numeric(schema.field(name).type)]
        if text:
            raise SchemaError(
                f"Several targets at once must be numbers; {text} are not. Learn one of them, or encode them."
            )
        kept = [field for field in schema if field.name not in self.columns]
        vectors = pa.field(self.name, pa.list_(pa.float64(), len(self.columns)))
        return scan.then(Apply(self, pa.schema([*kept, vectors])))


def are_names(y: Any, columns: Sequence[str], *, lazy: bool) -> bool:
    """Whether y is a list of names of columns; of a table in memory it may also be one of classes."""
    if not isinstance(y, list | tuple) or not y or not all(isinstance(name, str) for name in y):
        return False
    return lazy or (len(set(y)) == len(y) and set(y) <= set(columns))


def target_arrays(estimator: Any, y: Any) -> tuple[list[np.ndarray], tuple[str, ...] | None]:
    """The columns of a y that came as an array, and their names where several may be learnt at once.

    Raises
    ------
    ValueError
        When y has more than one column and the estimator takes one, or is no array of numbers or classes.
    """
    if is_sparse(y):
        raise ValueTypeError(
            "Sparse data was passed for y, but dense data is required. "
            "Use '.toarray()' to convert to a dense numpy array."
        )
    if not takes_several(estimator) or np.asarray(y).ndim < 2:
        return [column_or_1d(y, warn=True)], None
    values = check_array(y, dtype=None, ensure_all_finite=False, input_name="y", ensure_min_samples=0)
    names = tuple(str(name) for name in getattr(y, "columns", range(values.shape[1])))
    check_names(names, "y")
    return list(values.T), names


def takes_several(estimator: Any) -> bool:
    """Whether an estimator learns several targets at once."""
    return bool(estimator.__sklearn_tags__().target_tags.multi_output)


def check_single(estimator: Any, schema: pa.Schema, target: str | None, stack: Stack | None) -> None:
    """Refuse several targets where an estimator learns one.

    Raises
    ------
    ParameterError
        When y names several columns, or one of vectors.
    """
    if target is None or takes_several(estimator):
        return
    type_ = None if stack is not None or target not in schema.names else schema.field(target).type
    width = type_.list_size if type_ is not None and is_vector(type_) else None
    width = width if stack is None else len(stack.columns)
    if width is not None:
        raise ParameterError(
            f"y should be a 1d array, got an array of shape (n_samples, {width}) instead. "
            f"{type(estimator).__name__} learns one target: name one column of single numbers."
        )
