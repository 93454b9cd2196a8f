"""Categories as columns of zeros and ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.names import distinct, numbered
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, ValueTypeError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import FLAG, FUNCTION, LIST, OneOf
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.categories import known, seen
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.categories import (
    CODED,
    INFREQUENT,
    Coder,
    as_codes,
    as_column,
    grouped,
    in_dtype,
    infrequent,
    learn_categories,
    places_of,
    shown_columns,
    side_by_side,
    unknown_error,
)
from outgrow.ml.preprocessing.onnx import codes_in_onnx

_NOWHERE = -1
_JOINING = ("infrequent_if_exist", "warn")


class OneHotEncoder(InvertibleTransformer):
    """Replace each column by one column of zeros and ones for each of its categories.

    The encoded columns become one sparse matrix column called `onehot`, where the first of them stood. Arrays
    become a CSR array. Of a table, which has no sparse columns, `transform` gives one dense column for each
    category up to 10,000 columns; past that, and after `set_output(transform="default")`, it gives the CSR
    array, too. A model behind the encoder in a pipeline always takes the matrix as it is.
    Numbers compare by value: 1 and 1.0 are one category. Missing values are a category of their own, the
    last: `a_None` for text, `a_nan` for numbers. Weights are not used, as in scikit-learn.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    categories : 'auto' for what the data has, sorted; 'frequency' for the same, the most frequent first and
        equals sorted; or for each column a list of its categories in their order (numbers sorted, a missing
        value last).
    drop : leave out a category: 'first' of every column, 'if_binary' the first of columns with two, a list
        with that of each column, or None.
    handle_unknown : what becomes of values that `fit` did not see: 'error'; 'ignore', zeros in all columns;
        'infrequent_if_exist', the infrequent category where there is one, else zeros; or 'warn', the same
        with a warning.
    min_frequency : categories with fewer rows are put together as `<column>_infrequent_sklearn`; a whole
        number of rows, or a share of them between 0 and 1.
    max_categories : at most so many output columns for each column, `infrequent_sklearn` among them; the
        most frequent categories stay, the later of equals.
    sparse_output : one sparse matrix column; otherwise dense columns.
    dtype : the type of the zeros and ones, for NumPy.
    feature_name_combiner : what makes the name of an output column: 'concat' for `<column>_<category>`, or a
        function of both. A model with a function cannot be saved.

    The output columns are called `<column>_<category>`; where that name is taken, by a column of the rows
    or by another category, the first free number follows: `a_None_2`.

    Attributes
    ----------
    categories_ : list of ndarray, the categories of each column; None or NaN last where values were missing.
    infrequent_categories_ : list of ndarray or None, those of them that were put together.
    output_name_ : the name of the sparse matrix column; `onehot2` and so on where `onehot` is taken.
    taken_names_ : list of the names that output columns would have had and that other columns have.
    drop_idx_ : ndarray of the place in `categories_` of what was left out, None for columns without; or None.

    Raises
    ------
    DataError
        At `transform`, for unknown values with `handle_unknown='error'`.

    Notes
    -----
    Unlike scikit-learn: tables get one sparse matrix column `onehot`; 1 and 1.0 are one category.

    Unlike Spark MLlib's `OneHotEncoder(dropLast=True)`: needs no `StringIndexer` before it, sorts the
    categories rather than ordering them by frequency, and drops none.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> encoder = og.OneHotEncoder(sparse_output=False).fit(np.array([["b"], ["a"]]))
    >>> encoder.get_feature_names_out().tolist()
    ['x0_a', 'x0_b']
    >>> encoder.transform(np.array([["b"], ["a"]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    parameters = {
        **CODED,
        "drop": OneOf("first", "if_binary", None) | LIST,
        "handle_unknown": OneOf("error", "ignore", *_JOINING),
        "sparse_output": FLAG,
        "feature_name_combiner": OneOf("concat") | FUNCTION,
    }
    takes_dictionaries = True
    taken_names_: list[str] = []  # of models that were saved before there was one

    def __init__(
        self,
        columns: Columns = None,
        *,
        categories: Any = "auto",
        drop: Any = None,
        handle_unknown: str = "error",
        min_frequency: float | None = None,
        max_categories: int | None = None,
        sparse_output: bool = True,
        dtype: Any = np.float64,
        feature_name_combiner: Any = "concat",
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.drop = drop
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.sparse_output = sparse_output
        self.dtype = dtype
        self.feature_name_combiner = feature_name_combiner

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        self.categories_, counts = learn_categories(self, shard, names)
        columns = zip(self.categories_, counts, strict=True)
        self.infrequent_categories_ = [infrequent(self, categories, each) for categories, each in columns]
        self.drop_idx_ = self._dropped()
        others = shard.example.drop(names)
        self.output_name_ = numbered("onehot", others.columns)
        taken, concat = {*others.columns, *column_names(others)}, self.feature_name_combiner == "concat"
        if concat:  # which makes no other names
            starts = tuple(f"{column}_" for column in names)
            taken = {name for name in taken if name.startswith(starts)}
        named = bool(taken) or not concat  # a function's mistakes are those of the fit
        self.taken_names_ = sorted(taken.intersection(self._natural_names())) if named else []
        self._restored()

    def _restored(self) -> None:
        self._made_coders: list[list[Coder]] = []
        self._made_labels: list[tuple[str, ...]] = []

    @property
    def _coders(self) -> list[Coder]:
        """Of each column; a fit alone does not make them."""
        if not self._made_coders:
            coders, width = list[Coder](), 0
            for j, (name, categories) in enumerate(zip(self.selected_, self.categories_, strict=True)):
                columns, own = self._columns_of(j)
                coders.append(Coder(name, categories, np.where(columns < 0, _NOWHERE, columns + width)))
                width += len(own)
            self._made_coders.append(coders)
        return self._made_coders[0]

    @property
    def _labels(self) -> tuple[str, ...]:
        """The names of the output columns; a fit that is not asked for them does not make them."""
        if not self._made_labels:
            self._made_labels.append(tuple(distinct(self._natural_names(), self.taken_names_)))
        return self._made_labels[0]

    def _natural_names(self) -> list[str]:
        """The names of the output columns, were all of them free."""
        combine = _concatenated if self.feature_name_combiner == "concat" else self._combined
        columns = enumerate(self.selected_)
        return [combine(name, word) for j, name in columns for word in self._columns_of(j)[1]]

    def _combined(self, name: str, word: Any) -> str:
        found = self.feature_name_combiner(name, word)
        if not isinstance(found, str):
            raise ValueTypeError(
                f"When `feature_name_combiner` is a callable, it should return a Python string. Got "
                f"{type(found)} instead."
            )
        return found

    def transform(self, X: Any) -> Any:
        """The rows of X with zeros and ones in the place of categories; in the form X has."""
        return in_dtype(self, super().transform(X))

    def inverse_transform(self, X: Any) -> Any:
        """The categories that `transform` would give as these columns; in the form X has.

        Rows of zeros become the category that was left out, or else None. What was put together becomes the
        text 'infrequent_sklearn'.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, columns), or a dataset, Spark DataFrame or table with the
            columns of `transform`.

        Raises
        ------
        DataError
            When X has another number of columns, or a row of zeros means no category.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> encoder = og.OneHotEncoder().fit(np.array([["b"], ["a"]]))
        >>> encoder.inverse_transform(np.array([[0.0, 1.0], [1.0, 0.0]])).tolist()
        [['b'], ['a']]
        """
        check_is_fitted(self)
        if is_table(X):
            return super().inverse_transform(X)
        return side_by_side(self._read_all(as_codes(X, self._labels)))

    def _revert(self, batch: Batch) -> Batch:
        made = [self.output_name_] if self.output_name_ in batch.columns else list(self._labels)
        found = self._read_all(batch.matrix(made))
        columns = zip(found, self.categories_, self.infrequent_categories_, strict=True)
        arrays = [as_column(*column) for column in columns]
        return batch.replace(made, dict(zip(self.selected_, arrays, strict=True)))

    def _read_all(self, codes: Any) -> list[np.ndarray]:
        """The categories of each row, column by column."""
        parts, at = [], 0
        for j in range(len(self.selected_)):
            words = self._columns_of(j)[1]
            parts.append(self._read(j, codes[:, at : at + len(words)], words))
            at += len(words)
        return parts

    def _read(self, j: int, hot: Any, words: list[Any]) -> np.ndarray:
        """The category of each row of the output columns of column j."""
        gone = None if self.drop_idx_ is None else self.drop_idx_[j]
        zeros = np.asarray(hot.sum(axis=1)).ravel() == 0
        lost = zeros.any() and gone is None
        if lost and self.handle_unknown == "error":
            raise DataError(
                f"Samples {np.flatnonzero(zeros)[:10]} can not be inverted when drop={self.drop!r} "
                "and handle_unknown='error' because they contain all zeros. Correct these rows."
            )
        odd = lost or INFREQUENT in words
        kind = object if odd or not words else self.categories_[j].dtype
        values = np.empty(len(words) + 1, dtype=kind)
        values[:-1] = words
        values[-1:] = [None if odd and gone is None else self.categories_[j][0 if gone is None else gone]]
        best = np.asarray(hot.argmax(axis=1)).ravel() if words else np.zeros(len(zeros), dtype=int)
        return values[np.where(zeros, len(words), best)]

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        hot = np.empty((batch.num_rows, len(names)), dtype=np.int32)
        unknown: dict[str, list[Any]] = {}
        for j, coder in enumerate(self._coders):
            hot[:, j], values = coder.encode(batch[coder.name])
            if values:
                unknown[coder.name] = values
        if unknown:
            self._meet_unknown(unknown)
        made = (_sparse if self.sparse_output else _dense)(hot, len(self._labels), self.dtype)
        return batch.replace_numbers(names, made, self._labels, self.output_name_)

    def _meet_unknown(self, unknown: dict[str, list[Any]]) -> None:
        columns = shown_columns(self, list(unknown))
        if self.handle_unknown == "error":
            advice = "Fit on rows that have them, or pass handle_unknown='ignore'."
            raise unknown_error(columns[0], next(iter(unknown.values())), "transform", advice)
        if self.drop is not None or self.handle_unknown == "warn":
            what = (
                "all zeros, which is also what a dropped category looks like."
                if self.handle_unknown == "ignore"
                else "the infrequent category. Where there is none, that is all zeros."
            )
            warnings.warn(
                f"Found unknown categories in columns {columns} during transform. These unknown categories "
                f"will be encoded as {what}",
                stacklevel=2,
            )

    def _groups(self, j: int) -> tuple[np.ndarray, list[Any]]:
        """The output column of each category of column j, were none dropped, and what each stands for."""
        few = self.infrequent_categories_[j]
        groups, frequent = grouped(self.categories_[j], few)
        words = list(self.categories_[j][frequent])
        return groups, words if few is None else [*words, INFREQUENT]

    def _drop_place(self, j: int) -> int | None:
        """The place in `categories_` of what is left out of column j."""
        groups, words = self._groups(j)
        if self.drop is None or (isinstance(self.drop, str) and self.drop == "if_binary" and len(words) != 2):
            return None
        if isinstance(self.drop, str):
            return int(np.argmax(groups == 0))
        return self._given_place(j, groups)

    def _given_place(self, j: int, groups: np.ndarray) -> int:
        """The place of the category that the user leaves out."""
        given = np.asarray(self.drop, dtype=object)
        if given.shape != (len(self.categories_),):
            raise ParameterError(
                f"`drop` should have length equal to the number of features ({len(self.categories_)}), got "
                f"{given.size}. Give one category for each column."
            )
        place = places_of(self.categories_[j]).get(given[j] if given[j] == given[j] else None)
        if place is None:
            raise ParameterError(
                "The following categories were supposed to be dropped, but were not found in the training "
                f"data: Category: {given[j]!r}, Feature: {j}."
            )
        few = self.infrequent_categories_[j]
        if few is not None and self.categories_[j][place] in few.tolist():
            raise ParameterError(
                f"Unable to drop category {given[j]!r} from feature {j} because it is infrequent."
            )
        return place

    def _dropped(self) -> np.ndarray | None:
        if self.drop is None:
            return None
        return np.array([self._drop_place(j) for j in range(len(self.categories_))], dtype=object)

    def _columns_of(self, j: int) -> tuple[np.ndarray, list[Any]]:
        """The output column of each category of column j and of an unknown value; what each stands for."""
        groups, words = self._groups(j)
        joins = self.infrequent_categories_[j] is not None and self.handle_unknown in _JOINING
        columns = np.append(groups, len(words) - 1 if joins else _NOWHERE)
        gone = None if self.drop_idx_ is None else self.drop_idx_[j]
        if gone is None:
            return columns, words
        group = groups[gone]
        left = np.where(columns == group, _NOWHERE, columns - (columns > group))
        return left, [*words[:group], *words[group + 1 :]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    def _to_onnx(self, table: Table) -> Table:
        graph, strict, start = table.graph, self.handle_unknown == "error", 0
        parts: list[str] = []
        spent: list[str] = []  # columns of one category, left out: only asked whether they know their values
        for j, coder in enumerate(self._coders):
            width = len(self._columns_of(j)[1])
            columns = np.arange(start, start + max(1, width), dtype=np.int64)
            codes = codes_in_onnx(self, table, coder, strict)
            hot = graph.node("Equal", codes, graph.constant(columns[None, :]))
            (parts if width else spent).append(graph.cast(hot, "number"))
            start += width
        if not parts:
            raise refusal(self, "it gives no columns.", "Leave it out, or pass drop=None.")
        for zeros in spent if strict else []:
            parts[0] = graph.node("Add", parts[0], zeros)
        return table.replace(self.selected_, self._columns_in_onnx(graph.join(parts), table))

    def _columns_in_onnx(self, X: str, table: Table) -> dict[str, OnnxColumn]:
        names = self._labels
        if self.sparse_output:
            return {self.output_name_: OnnxColumn(X, width=len(names))}
        parts = table.graph.split(X, [1] * len(names))
        return {name: OnnxColumn(part) for name, part in zip(names, parts, strict=True)}

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        frame = any(part.text for column, part in flow.columns.items() if column not in self.selected_)
        blocks, at = [], 0
        for j, column in enumerate(self.selected_):
            block = self._block(f"{name}_{column}", j, flow, sparse=self.sparse_output and not frame)
            count = len(self._columns_of(j)[1])
            made = [(label, 1) for label in self._labels[at : at + count]]
            block.makes = [(self.output_name_, count)] if self.sparse_output else made
            blocks.append(block)
            at += count
        return flow.then(name, flow.beside(self.selected_, blocks))

    def _block(self, name: str, j: int, flow: Flow, *, sparse: bool) -> Block:
        """scikit-learn's encoder of one column: it saw frequent categories twice, others once."""
        column, few = self.selected_[j], self.infrequent_categories_[j]
        block = flow.block([column], name)
        categories = known(self, column, self.categories_[j], text=block.text)
        block.transformer = twin(
            "preprocessing.OneHotEncoder",
            categories=[categories],
            drop=self.drop if self.drop is None or isinstance(self.drop, str) else [self.drop[j]],
            handle_unknown=self.handle_unknown,
            min_frequency=None if few is None else 2,
            sparse_output=sparse,
        ).fit(flow.tiny(block.labels, seen(categories, few)[:, None]))
        block.row, block.text = [categories[0]], False
        return block


def _concatenated(name: str, word: Any) -> str:
    return f"{name}_{word!s}"  # NumPy formats its floats of 32 bits as of 64


def _sparse(hot: np.ndarray, width: int, dtype: Any) -> Any:
    """A CSR array with a one in each row at each of the columns in `hot`; negative ones are nowhere."""
    rows, per_row = hot.shape
    there = hot >= 0
    if there.all():
        indices, starts = hot.ravel(), np.arange(rows + 1, dtype=np.int64) * per_row
    else:
        indices, starts = hot[there], np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    starts = starts.astype(np.int32 if len(indices) < 2**31 else np.int64)
    return sp.csr_array((np.ones(len(indices), dtype=dtype), indices, starts), shape=(rows, width))


def _dense(hot: np.ndarray, width: int, dtype: Any) -> np.ndarray:
    out = np.zeros((len(hot), width), order="F", dtype=dtype)
    rows, columns = np.nonzero(hot >= 0)
    out[rows, hot[rows, columns]] = 1
    return out
