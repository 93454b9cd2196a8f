"""What users hand to `fit` and `predict`, opened as a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.utils.validation import check_consistent_length, validate_data

from outgrow.data.batch import is_numeric
from outgrow.data.frames import column_array, is_column
from outgrow.data.kind import Kind, as_json
from outgrow.data.matrix import is_sparse, numbers
from outgrow.data.names import TARGET, WEIGHT, check_names, numbered
from outgrow.data.objects import CodedSource, shared_values
from outgrow.data.pandas_frames import is_frame
from outgrow.data.scan import Scan, check_columns
from outgrow.data.schema import Conform, check_kinds, kinds_of
from outgrow.data.source import ArraySource, Source, TableSource, array_source
from outgrow.engine.dataset import Dataset, as_table
from outgrow.engine.local import Local
from outgrow.engine.open import dataset, is_spark, is_table
from outgrow.engine.reading import read_as
from outgrow.errors import DataError, ParameterError, SchemaError, ValueTypeError
from outgrow.ml.core.arrays import checked_values
from outgrow.ml.core.containers import check_container, unmasked
from outgrow.ml.core.refusals import own_errors
from outgrow.ml.core.targets import (
    LabelLists,
    Stack,
    are_lists,
    are_names,
    as_column,
    as_lists,
    check_single,
    labels_of,
    takes_several,
    target_arrays,
)
from outgrow.ml.core.task import Task


@dataclass(frozen=True)
class Training:
    """Rows to learn from, and which of their columns are the target and the weight.

    Attributes
    ----------
    hidden : columns that are no features.
    made : columns of arrays that came beside the rows.
    stack : what makes the target of several columns, where that is still to be done.
    named : whether the columns have names of their own, as those of tables have.
    type : NumPy's type of X where that is an array or a sparse matrix, else None.
    roles : the columns of what else a model learns from, by the name of the role.
    """

    dataset: Dataset
    target: str | None
    weight: str | None
    hidden: tuple[str, ...] = ()
    weighted_step: str | None = None
    made: tuple[str, ...] = ()
    stack: Stack | LabelLists | None = None
    named: bool = True
    type: Any = None
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns that are no features."""
        targets = (self.target,) if self.stack is None else self.stack.columns
        given = (*targets, self.weight, *self.roles.values())
        return (*(name for name in given if name is not None), *self.hidden)

    def task(self, columns: Iterable[str]) -> Task:
        """What a fit of these rows is about.

        Parameters
        ----------
        columns : to learn from.
        """
        return Task(
            *(self.target, self.weight, tuple(columns), self.weighted_step),
            named=self.named,
            roles=self.roles,
        )

    def in_type(self, learned: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """What was learned, some of it in the type of X; sums over rows were float64 whatever that is.

        Parameters
        ----------
        learned : learned attributes by name.
        names : those, arrays all, that become float32 where X was an array of float32.
        """
        if self.type != np.float32:
            return learned
        return {**learned, **{name: learned[name].astype(self.type) for name in names}}

    def stacked(self) -> Training:
        """The same with one column as target."""
        if self.stack is None:
            return self
        rows = Dataset(self.stack.applied(self.dataset.scan), self.dataset.engine)
        return replace(self, dataset=rows, stack=None)


def open_training(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    reset: bool = True,
    hidden: tuple[str, ...] = (),
    roles: Mapping[str, Any] | None = None,
) -> Training:
    """Check the input of `fit` and note on the estimator what it promises to later calls.

    Sets `columns_` (name to kind), `n_features_in_` and, where columns have names, `feature_names_in_`.

    Parameters
    ----------
    estimator : its tags say whether it needs y, several targets, text, sparse rows or missing values.
    X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
    y : the name of a column of X, several, or an array. Where none is needed, only names count: those columns
        are no features.
    sample_weight : the name of a column of X, an array of shape (rows,), or None.
    reset : whether this is a fit. If not, nothing is noted, and X must have the columns of the fit.
    hidden : further columns that stay in the dataset and are no features.
    roles : what else the estimator learns from, by the name of the role: the name of a column of X, or an
        array of shape (rows,).

    Raises
    ------
    ParameterError
        When y is needed and missing, names columns of an array, or is an array beside a lazy table.
    """
    check_container(estimator, X)
    needs_y = estimator.__sklearn_tags__().target_tags.required
    if needs_y and y is None:
        raise ParameterError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    rows = dataset(X) if is_table(X) else None
    if not needs_y and not isinstance(y, str) and not (rows is not None and _are_names(X, rows, y)):
        y = None
    if needs_y:
        y = as_lists(y, always=not reset and hasattr(estimator, "target_labels_"))
    roles = roles or {}
    opened = (
        _open_array(estimator, X, y, sample_weight, roles, reset)
        if rows is None
        else _open_table(estimator, X, rows, y, sample_weight, roles)
    )
    if needs_y:
        check_single(estimator, opened.dataset.schema, opened.target, opened.stack)
        opened = _with_labels(estimator, opened, reset=reset)
    check_columns(opened.dataset.schema, hidden)
    opened = replace(opened, hidden=hidden) if hidden else opened
    if reset:
        _promise(estimator, X, opened)
    elif rows is not None:
        opened = replace(opened, dataset=_as_promised(estimator, opened.dataset))
    return opened.stacked()


def _with_labels(estimator: Any, opened: Training, *, reset: bool) -> Training:
    """The rows with a target for each label where the target is lists of them."""
    name, schema = opened.target, opened.dataset.schema
    if name is None or opened.stack is not None or not are_lists(schema, name):
        return opened
    if not (is_classifier(estimator) and takes_several(estimator)):
        return opened
    known = None if reset else getattr(estimator, "target_labels_", None)
    labels = tuple(known) if known is not None else labels_of(opened.dataset, name)
    target = name if name in opened.made else numbered(TARGET, schema.names)
    return replace(opened, target=target, stack=LabelLists(name, target, labels))


def open_rows(estimator: Any, X: Any) -> Dataset:
    """Check the input of `predict` or `transform` against what `fit` saw.

    Parameters
    ----------
    estimator : a fitted one; `columns_` says which columns X must have, and of what kinds.
    X : dataset, Spark DataFrame, table, or array of shape (rows, columns). Further columns of a table stay in
        the dataset.
    """
    check_container(estimator, X)
    if not is_table(X):
        return array_rows(estimator, checked_array(estimator, X))
    rows = dataset(X)
    if is_frame(X) and not (hasattr(estimator, "target_column_") or estimator._columns_by_name):
        with own_errors():
            validate_data(estimator, X, reset=False, skip_check_array=True)
        if not hasattr(estimator, "feature_names_in_"):
            table = as_table(X).rename_columns(list(estimator.columns_))
            rows = Dataset(Scan(TableSource(table)), Local())
    return _as_promised(estimator, rows)


def checked_array(estimator: Any, X: Any) -> Any:
    """The values of an array as `fit` saw them: checked, sparse or dense as they were there.

    Parameters
    ----------
    estimator : a fitted one.
    X : array or sparse matrix of shape (rows, columns).
    """
    check_container(estimator, X)
    return _as_fitted(checked_values(estimator, X, reset=False), estimator.columns_)


def array_rows(estimator: Any, values: Any) -> Dataset:
    """The dataset of an array that is checked, with the names of the columns of the fit.

    Parameters
    ----------
    estimator : a fitted one.
    values : what `checked_array` gave.
    """
    return Dataset(Scan(_named(values, list(estimator.columns_))), Local())


def _as_promised(estimator: Any, rows: Dataset) -> Dataset:
    """Rows whose columns have the kinds that they had at fit."""
    columns = estimator.columns_
    rows = read_as(rows, columns)
    types = rows.schema
    check_kinds(columns, types, type(estimator).__name__)
    others = {name: kind for name, kind in columns.items() if Kind.of(types.field(name).type) != kind}
    return rows.map(Conform(others)) if others else rows


def first_row(estimator: Any, X: Any) -> dict[str, Any]:
    """The first row of X as JSON says it.

    Parameters
    ----------
    estimator : a fitted one; the row has its columns, in the order of the fit.
    X : the example that a user gives to `save`, in any form that `predict` takes.

    Raises
    ------
    DataError
        When there is no row.
    """
    rows = open_rows(estimator, X).select(list(estimator.columns_)).head(1).to_pylist()
    if not rows:
        raise DataError("The example has no row. Give one, or none at all.")
    return {name: as_json(value) for name, value in rows[0].items()}


def _are_names(X: Any, rows: Dataset, y: Any) -> bool:
    return are_names(y, rows.columns, lazy=isinstance(X, Dataset) or is_spark(X))


def _open_table(
    estimator: Any, X: Any, rows: Dataset, y: Any, sample_weight: Any, roles: Mapping[str, Any]
) -> Training:
    free = {name: numbered(name, rows.columns) for name in (TARGET, WEIGHT, *map(_role_column, roles))}
    arrays: dict[str, np.ndarray | pa.Array] = {}
    stack: Stack | None = None
    if _are_names(X, rows, y):
        check_names(y, "y")
        stack = Stack(tuple(y), free[TARGET], tuple(y), labels=is_classifier(estimator))
    elif y is not None and not isinstance(y, str):
        arrays, stack = _target_columns(estimator, y, free[TARGET])
    if sample_weight is not None and not isinstance(sample_weight, str):
        arrays[free[WEIGHT]] = as_column(sample_weight, what="sample_weight")
    named = {}
    for role, given in roles.items():
        named[role] = given if isinstance(given, str) else free[_role_column(role)]
        if not isinstance(given, str):
            arrays[named[role]] = as_column(given, what=role)
    rows = _with_arrays(X, rows, arrays)
    target = None if y is None else y if isinstance(y, str) else free[TARGET]
    weight = (
        None if sample_weight is None else sample_weight if isinstance(sample_weight, str) else free[WEIGHT]
    )
    opened = Training(rows, target, weight, made=tuple(arrays), stack=stack, roles=named)
    check_columns(rows.schema, opened.beside)
    return opened


def _target_columns(
    estimator: Any, y: Any, name: str
) -> tuple[dict[str, np.ndarray | pa.Array], Stack | None]:
    """The columns of a y that came as an array, and what makes one of them where there may be several."""
    values, names = target_arrays(estimator, y)
    if names is None:
        return {name: values[0]}, None
    arrays = {f"{name}{j}": column for j, column in enumerate(values)}
    return arrays, Stack(tuple(arrays), name, names, labels=is_classifier(estimator))


def _with_arrays(X: Any, rows: Dataset, arrays: Mapping[str, np.ndarray | pa.Array]) -> Dataset:
    """The rows with arrays as columns beside them."""
    if not arrays:
        return rows
    source = rows.scan.source
    if isinstance(X, Dataset) or not isinstance(source, TableSource):
        raise ParameterError(
            "With a dataset or a Spark DataFrame, y and sample_weight are names of its columns, not arrays."
        )
    table = source.table
    for name, column in arrays.items():
        if len(column) != table.num_rows:
            raise DataError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[table.num_rows, len(column)]}."
            )
        table = table.append_column(name, arrow_column(column, name))
    return Dataset(Scan(replace(source, table=table)), Local())


def _open_array(
    estimator: Any, X: Any, y: Any, sample_weight: Any, roles: Mapping[str, Any], reset: bool
) -> Training:
    if any(isinstance(given, str) for given in (y, sample_weight, *roles.values())):
        raise ParameterError(
            f"{', '.join(['y', 'sample_weight', *roles])} may name columns, but X is an array without column "
            "names. Pass arrays."
        )
    values = checked_values(estimator, X, reset=reset)
    if not reset:
        values = _as_fitted(values, estimator.columns_)
    arrays, stack = ({}, None) if y is None else _target_columns(estimator, y, TARGET)
    with own_errors():
        check_consistent_length(values, *arrays.values(), *roles.values())
    beside = {name: arrow_column(column, "y") for name, column in arrays.items()}
    if sample_weight is not None:
        beside[WEIGHT] = arrow_column(_weight_array(sample_weight, values.shape[0]), "sample_weight")
    named = {role: _role_column(role) for role in roles}
    for role, name in named.items():
        beside[name] = arrow_column(as_column(roles[role], what=role), role)
    source = _named(values, None if reset else list(estimator.columns_), beside)
    return Training(
        Dataset(Scan(source), Local()),
        TARGET if y is not None else None,
        WEIGHT if sample_weight is not None else None,
        stack=stack,
        named=False,
        type=getattr(X, "dtype", None),
        roles=named,
    )


def _role_column(role: str) -> str:
    """The column of a role that comes as an array, where that name is free."""
    return f"__{role}__"


def _as_fitted(values: Any, columns: Mapping[str, Kind]) -> Any:
    """Sparse or dense, as the matrix was that `fit` saw."""
    sparse = has_vectors(columns)
    if sparse and not is_sparse(values):
        return sp.csr_array(values)
    return values.toarray() if is_sparse(values) and not sparse else values


def has_vectors(columns: Mapping[str, Kind]) -> bool:
    """Whether some columns are vectors, as a sparse matrix is one."""
    return any(kind.width is not None for kind in columns.values())


def _named(values: Any, names: list[str] | None, beside: Mapping[str, pa.Array] | None = None) -> Source:
    """The source of an array under the names that the estimator was fitted with."""
    beside = dict(beside or {})
    if is_sparse(values):
        return ArraySource(array_source(values).values, array_source(values).names, beside)
    columns = tuple(names or (f"x{j}" for j in range(values.shape[1])))
    if values.dtype.kind in "biuf":
        if values.dtype.kind == "f" and values.itemsize not in (4, 8):  # of which Arrow has no keys, or none
            values = values.astype(np.float32 if values.itemsize < 4 else np.float64)
        return ArraySource(values, columns, beside)
    arrays = [_coded_column(values[:, j], columns[j]) for j in range(values.shape[1])]
    return CodedSource(pa.table({**dict(zip(columns, arrays, strict=True)), **beside}))


def _coded_column(values: np.ndarray, name: str) -> pa.Array | pa.ChunkedArray:
    """A column as Arrow has it, text as codes where the same objects come again."""
    coded = shared_values(values)
    return arrow_column(values, name) if coded is None else coded


def arrow_column(values: np.ndarray | pa.Array, name: str) -> pa.Array:
    """A column of an array as Arrow has it; None and NaN among objects or text are missing.

    Parameters
    ----------
    values : ndarray of shape (rows,), of numbers, text or objects; one of Arrow stays as it is.
    name : the column, for the message.

    Raises
    ------
    ValueTypeError
        When the values have no common Arrow type.
    """
    if isinstance(values, pa.Array):
        return values
    given = values.dtype.kind in "OUS"
    try:
        return pa.array(values.tolist() if given else values, from_pandas=given)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueTypeError(
            f"Column {name!r}: argument must be a string or a number of at most 64 bits, and of one type in "
            f"a column: {error}."
        ) from error


def _weight_array(sample_weight: Any, rows: int) -> np.ndarray:
    if is_column(sample_weight) and is_numeric((column := column_array(sample_weight)).type):
        sample_weight = numbers(column)
    weight = np.asarray(unmasked(sample_weight, "sample_weight"), dtype=np.float64)
    if weight.ndim == 0:
        return np.full(rows, float(weight))
    if weight.ndim != 1:
        raise ParameterError(f"Sample weights must be 1D array or scalar, not of shape {weight.shape}.")
    if len(weight) != rows:
        raise ParameterError(f"sample_weight.shape == {weight.shape}, expected {(rows,)}!")
    return weight


def _promise(estimator: Any, X: Any, opened: Training) -> None:
    schema = opened.dataset.schema
    for stale in ("target_column_", "target_labels_", "input_example_", "_reference"):
        vars(estimator).pop(stale, None)
    if isinstance(opened.stack, LabelLists):
        estimator.target_labels_ = list(opened.stack.labels)
    others = opened.beside
    estimator.columns_ = {name: kind for name, kind in kinds_of(schema).items() if name not in others}
    if not is_table(X):
        return
    if not estimator.columns_:
        raise SchemaError(f"There are no feature columns beside {list(opened.beside)}.")
    names = np.array(list(estimator.columns_), dtype=object)
    beside = set(opened.beside) - set(opened.made)
    targets = beside & set((opened.target,) if opened.stack is None else opened.stack.columns)
    if targets:
        # tables with further columns, such as these, are expected
        estimator.target_column_ = opened.target if opened.stack is None else opened.stack.given
    if is_frame(X) and not beside:
        with own_errors():
            validate_data(estimator, X, reset=True, skip_check_array=True)
    else:
        estimator.n_features_in_ = len(names)
        estimator.feature_names_in_ = names
