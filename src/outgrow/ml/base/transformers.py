"""Transformers: estimators that change the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from outgrow._version import __version__
from outgrow.artifact import pack
from outgrow.data.batch import Batch
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import ArtifactError, ParameterError
from outgrow.ml import persistence
from outgrow.ml.base.passing import fit_passing
from outgrow.ml.base.verbs import Verbs
from outgrow.ml.core.apart import Apart, TakenApart, apart_for
from outgrow.ml.core.columns import Columns, chosen, named
from outgrow.ml.core.inputs import open_rows, open_training
from outgrow.ml.core.outputs import all_columns, as_given, collect, in_form, own
from outgrow.ml.core.task import Task, column_names, names_after, promised_example
from outgrow.ml.steps import learned_from, with_rows_told_apart, without_numbers


class Transformer(TransformerMixin, Verbs):
    """Changes columns, row by row, in a way it learned.

    Hooks: `_fit(shard, names, task)` and `_transform_columns(batch, names)`; `names` are the columns it works
    on.
    """

    columns: Columns

    learns_nothing: ClassVar[bool] = False
    """Whether a fit looks at the columns only, so that it needs no rows and makes no pass over them."""

    looks_at_its_columns: ClassVar[bool] = False
    """Whether a fit looks at the columns it works on and at no others, so that steps of a pipeline which work
    on different columns learn in the same passes. What depends on other columns, such as free names for new
    ones, belongs in `_settle`."""

    takes_dictionaries: ClassVar[bool] = False
    """Whether `_transform_columns` also takes text as Arrow dictionaries; otherwise it is decoded before."""

    takes_lists: ClassVar[bool] = False
    """Whether a list of lists, such as labels or words of each row, is one column of them and no rows."""

    cross_fits: ClassVar[bool] = False
    """Whether the rows it learned from must be changed otherwise than new ones, as what it learned has the y
    of each of them. Then `_transform_training` changes them, and `task.row` names a column of numbers, by
    which it can choose of which rows it learns what it says of others."""

    apart_: Apart | None = None
    """The vectors of which single numbers are named in `columns`; None where there are none."""

    _output: str | None = None
    """The form of results, as `set_output` was told."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        """
        self.check_parameters()
        return self._fit_on_engine(open_training(self, X, y, None))

    def transform(self, X: Any) -> Any:
        """The rows of X, changed; in the form X has, or that `set_output` asks for."""
        check_is_fitted(self)
        rows = open_rows(self, X)
        if is_table(X):
            return as_given(rows.map(self._transform), X, self._output)
        count = getattr(X, "shape", (None,))[0]
        made = collect(
            rows,
            lambda batch: all_columns(self._transform(batch)),
            count,
            encoded=self.takes_dictionaries,
        )
        return in_form(self, own(made, X), X)

    def set_output(self, *, transform: Any = None) -> Self:
        """The form of results: 'default' for arrays, sparse ones too, or 'pandas', or 'polars'.

        Without it, results have the form of the rows: tables for tables, arrays for arrays.

        Parameters
        ----------
        transform : the form; None changes nothing.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sizes = pa.table({"size": ["small", "large", "small"]})
        >>> og.OneHotEncoder().set_output(transform="default").fit_transform(sizes).toarray().tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
        """
        super().set_output(transform=transform)
        self._output = transform or self._output
        return self

    def __sklearn_clone__(self) -> Self:
        made: Self = super().__sklearn_clone__()
        made._output = self._output
        return made

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives; `input_features` are those of an array's columns."""
        check_is_fitted(self)
        names = column_names(self._transform(promised_example(self.columns_)))
        return names if input_features is None else names_after(self, names, input_features)

    def lasting_name(self) -> str | None:
        """A hash of what was learned, the same in every session, under which changed rows may be kept.

        None where it does not say all: of classes outside this library, and of those that read files.
        """
        try:
            described = persistence.describe(self)
        except ArtifactError:
            return None
        known = all(name.startswith("outgrow.") for name in _values(described, "class"))
        reads = any(folder != {"value": None} for folder in _values(described, "folder"))
        if reads or not known:
            return None
        return f"{type(self).__name__} {sha256(pack({'version': __version__, **described})).hexdigest()}"

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        raise NotImplementedError

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        raise NotImplementedError

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        names = task.features(shard.example)
        self.apart_ = apart_for(named(self.columns, shard.example, names), shard.example, names) or None
        if self.apart_:
            shard = shard.transformed(TakenApart.of(self.apart_), encoded=True)
            names = task.features(shard.example)
        self.selected_ = chosen(self.columns, shard, names)
        self._fit(shard, self.selected_, task)

    def _settle(self, example: Batch, names: list[str]) -> None:
        """Look at the columns that stand beside those it works on, after a fit of these alone.

        Parameters
        ----------
        example : a batch without rows, as it reaches this step.
        names : the columns it works on.
        """

    def _transform(self, batch: Batch) -> Batch:
        return self._transform_columns(self._apart(batch), self.selected_) if self.selected_ else batch

    def _apart(self, batch: Batch) -> Batch:
        """The rows with a column for each number of a vector that it works on alone."""
        return TakenApart.of(self.apart_)(batch) if self.apart_ else batch

    def _transform_training(self, batch: Batch) -> Batch:
        """The rows of the fit as the steps behind this one learn from them."""
        return self._transform(batch)

    def _fit_transform_training(self, X: Any, y: Any) -> Any:
        """`fit_transform` where the rows of the fit are changed otherwise than new ones."""
        self.check_parameters()
        made = fit_passing(self, open_training(self, X, y, None), X, self._transform)
        return in_form(self, made, X)

    def _fit_passing(self, shard: Shard, task: Task) -> Shard:
        """Learn from the rows of a shard, and give them as steps behind this one would see them."""
        shard, task = with_rows_told_apart([self], shard, task)
        self._fit_shard(shard, task, last=False)
        return without_numbers(learned_from(self, shard), task)


def _values(tree: Any, key: str) -> Iterator[Any]:
    """What stands under a key, wherever in a tree."""
    if isinstance(tree, dict):
        if key in tree:
            yield tree[key]
        tree = list(tree.values())
    for part in tree if isinstance(tree, list | tuple) else ():
        yield from _values(part, key)


class WeightedTransformer(Transformer):
    """A transformer for which rows may count more or less."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        self.check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))


class SupervisedTransformer(Transformer):
    """A transformer that learns from y, too. Its `_fit` finds y in the column `task.target` of the batches.

    In a pipeline y is that of the model behind it; in cross-validation, that of the rows of the fold.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows and their y.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,).

        Raises
        ------
        ParameterError
            When there is no y.
        """
        return super().fit(X, y)

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        if task.target is None:
            raise ParameterError(f"{type(self).__name__} learns from y, and there is none. Give fit a y.")
        super()._fit_shard(shard, task, last=last)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class CrossFittedTransformer(SupervisedTransformer):
    """Says of a row of its fit only what it learned from others: rows are dealt to folds, and each fold is
    changed by what the other folds tell.

    Hook: `_transform_training(batch)`, where `task.row`, noted in `_fit`, names the column of numbers that
    tell the rows apart.
    """

    cross_fits: ClassVar[bool] = True

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn from rows; those rows, each changed by what was learned from rows of other folds.

        That is not what `fit(X, y).transform(X)` gives, which knows the y of every row.

        Parameters
        ----------
        X, y : as for `fit`. Rows on a cluster go through a fit only inside a pipeline.

        Raises
        ------
        ParameterError
            When the rows are on a cluster, or there is no y.
        """
        return self._fit_transform_training(X, y)
