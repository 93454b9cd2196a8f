"""Lists of classes as columns of zeros and ones."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.exact import exact_type
from outgrow.data.kind import is_list
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.names import distinct, numbered
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, LIST
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.preprocessing.categories import Coder, counting, plain, sorted_values

_SHOWN = 5


class MultiLabelBinarizer(InvertibleTransformer):
    """Replace each column of lists by one column of zeros and ones for each class that is in them.

    A class counts once for each row, however often its list has it; empty and missing lists have none, and
    missing items are none. Classes that the fit did not see are left out, with a warning.

    Parameters
    ----------
    classes : for one column, a list of the classes in their order; by default those of the data, sorted.
    columns : which columns, by name or selector; all of lists by default.
    sparse_output : one sparse matrix column called `labels`; otherwise dense columns.

    Attributes
    ----------
    classes_ : list of ndarray, the classes of each column.
    output_names_ : list of str, the new columns: `<column>_<class>`.
    output_name_ : the name of the sparse matrix column.

    Raises
    ------
    ParameterError
        When classes are given for several columns, or one of them twice.

    Notes
    -----
    Unlike scikit-learn: it is a transformer of columns of lists, several at once, and `classes_` has an array
    for each. A list of the labels of each row is taken as one such column, and `inverse_transform` gives a
    column of lists where scikit-learn has a list of tuples.

    Unlike Spark MLlib's `CountVectorizer(binary=True)`: the columns have names, and order is that of the
    classes, not by falling frequency.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> films = pa.table({"genre": [["sci-fi", "thriller"], ["comedy"], []]})
    >>> encoder = og.MultiLabelBinarizer().fit(films)
    >>> encoder.transform(films).to_pylist()[0]
    {'genre_comedy': 0.0, 'genre_sci-fi': 1.0, 'genre_thriller': 1.0}
    >>> encoder.inverse_transform(encoder.transform(films))["genre"].to_pylist()
    [['sci-fi', 'thriller'], ['comedy'], []]
    >>> og.MultiLabelBinarizer().fit_transform([(1, 2), (3,)])
    array([[1., 1., 0.],
           [0., 0., 1.]])
    """

    takes_lists = True
    parameters = {"classes": LIST | None, "columns": COLUMNS, "sparse_output": FLAG}
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "lists of any length are no tensors",
        "scikit-learn": "it has no columns of lists",
    }

    def __init__(self, *, classes: Any = None, columns: Columns = None, sparse_output: bool = False) -> None:
        self.classes = classes
        self.columns = columns
        self.sparse_output = sparse_output

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        lists = [name for name in names if _is_list(shard.example[name])]
        if self.columns is not None and lists != names:
            raise SchemaError(
                f"MultiLabelBinarizer works on lists; {[n for n in names if n not in lists]} are none. "
                "Choose columns of lists, or OneHotEncoder for single categories."
            )
        self.selected_ = lists
        self.classes_ = self._given(lists) if self.classes is not None else _learned(shard, lists)
        others = shard.example.drop(lists)
        taken = {*others.columns, *column_names(others)}
        labels = [
            f"{name}_{word}"
            for name, classes in zip(lists, self.classes_, strict=True)
            for word in classes.tolist()
        ]
        self.output_names_ = distinct(labels, taken)
        self.output_name_ = numbered("labels", taken)
        self._restored()

    def _given(self, lists: list[str]) -> list[np.ndarray]:
        given = list(self.classes)
        if len(lists) != 1:
            raise ParameterError(
                f"classes are those of one column, and there are {lists}. Name one in columns."
            )
        if len(set(given)) < len(given):
            raise ParameterError(
                "The classes argument contains duplicate classes. Remove these duplicates before passing "
                "them to MultiLabelBinarizer."
            )
        words = np.array(given, dtype=None if all(isinstance(each, int) for each in given) else object)
        return [words]

    def _restored(self) -> None:
        pairs = zip(self.selected_, self.classes_, strict=True)
        self._coders = [Coder(name, each, np.append(np.arange(len(each)), -1)) for name, each in pairs]

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = sp.hstack([self._marks(batch[coder.name], coder) for coder in self._coders], format="csr")
        made = made if self.sparse_output else made.toarray(order="F")
        return batch.replace_numbers(names, made, self.output_names_, self.output_name_)

    def _marks(self, column: pa.Array, coder: Coder) -> Any:
        """The zeros and ones of a column, as a CSR array."""
        items, rows = column.flatten(), pc.list_parent_indices(column).to_numpy()
        present = np.asarray(plain(items, coder.name).is_valid())
        codes, unknown = coder.encode(items)
        strange = [word for word in unknown if word is not None]
        if strange:
            warnings.warn(
                f"unknown class(es) {strange[:_SHOWN]} will be ignored in column {coder.name!r}", stacklevel=2
            )
        used = present & (codes >= 0)
        shape = (len(column), len(coder.categories))
        marks = sp.coo_array((np.ones(int(used.sum())), (rows[used], codes[used])), shape=shape).tocsr()
        marks.data[:] = 1.0
        return marks

    def inverse_transform(self, X: Any) -> Any:
        """The lists of classes that `transform` would give as these columns.

        Parameters
        ----------
        X : dataset, Spark DataFrame or table with the columns of `transform`, or an array or sparse matrix of
            zeros and ones.

        Returns
        -------
        A table in the form X has; for an array an array of lists of shape (rows, columns).

        Raises
        ------
        DataError
            When there is another number than zero and one, or X has another number of columns.
        """
        check_is_fitted(self)
        if is_table(X):
            return super().inverse_transform(X)
        found = self._read(X if is_sparse(X) else np.asarray(X))
        out = np.empty((len(found[0]) if found else 0, len(found)), dtype=object)
        for j, column in enumerate(found):
            out[:, j] = np.fromiter(column.to_pylist(), dtype=object, count=len(column))
        return out

    def _revert(self, batch: Batch) -> Batch:
        made = [self.output_name_] if self.output_name_ in batch.columns else list(self.output_names_)
        return batch.replace(made, dict(zip(self.selected_, self._read(batch.matrix(made)), strict=True)))

    def _read(self, marks: Any) -> list[pa.Array]:
        """The lists of each column of which these are the zeros and ones."""
        if marks.ndim != 2 or marks.shape[1] != len(self.output_names_):
            raise DataError(
                f"Expected indicator for {len(self.output_names_)} classes, but got {marks.shape[1:]}."
            )
        marks = sp.csr_array(marks)
        if not np.isin(marks.data, [0, 1]).all():
            raise DataError("Expected only 0s and 1s in label indicator. Give what transform gave.")
        marks.eliminate_zeros()
        found, at = [], 0
        for classes in self.classes_:
            part = marks[:, at : at + len(classes)]
            part.sort_indices()
            at += len(classes)
            words = pa.array(classes[part.indices].tolist(), pa.array(classes.tolist()).type)
            found.append(pa.ListArray.from_arrays(pa.array(part.indptr, pa.int32()), words))
        return found

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
        words = np.array(["red", "green", "blue"])
        lists = {name: [words[random.random(3) < 0.4].tolist() for _ in range(rows)] for name in "ab"}
        return {**lists, "c": random.normal(size=rows)}  # the kit chooses rows by it, and lists have no order

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.allow_nan = True
        return tags


def _is_list(column: Any) -> bool:
    return not isinstance(column, Matrix) and is_list(column.type)


def _learned(shard: Shard, names: list[str]) -> list[np.ndarray]:
    """The classes in columns of lists, sorted, from one pass."""
    if not names:
        return []
    types = shard.example.arrow_types(names)
    kinds = [exact_type(types[name].value_type) for name in names]
    counts = [counting(kind, False) for kind in kinds]

    def fold(batch: Batch) -> tuple[Any, ...]:
        columns: list[Any] = [batch[name] for name in names]
        pairs = zip(columns, names, strict=True)
        items = [plain(column.flatten().drop_null(), name) for column, name in pairs]
        return tuple(count(each) for count, each in zip(counts, items, strict=True))

    found = shard.reduce(fold)
    classes = [sorted_values(each, kind) for each, kind in zip(found, kinds, strict=True)]
    empty = [name for name, own in zip(names, classes, strict=True) if not len(own)]
    if empty:
        raise DataError(f"The lists of {empty} hold no class. Leave those columns out, or give classes.")
    return classes
