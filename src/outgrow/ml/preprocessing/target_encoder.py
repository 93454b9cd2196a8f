"""Categories as what y is among their rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.names import distinct
from outgrow.engine.shard import Shard
from outgrow.ml.base import CrossFittedTransformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import (
    COLUMNS,
    LIST,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Such,
    Unused,
    seed,
)
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.categories import known
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.categories import Coder, learn_categories
from outgrow.ml.preprocessing.onnx import codes_in_onnx
from outgrow.ml.preprocessing.target_folds import dealing
from outgrow.ml.preprocessing.target_statistics import learn_sums, learn_target


def _are_folds(value: Any) -> bool:
    return hasattr(value, "placing") and not isinstance(value, type)


class TargetEncoder(CrossFittedTransformer):
    """Replace each category by the mean of y among its rows, drawn towards the mean of all rows.

    `transform` gives the encoding that all rows of the fit tell. The rows of the fit themselves must not be
    given that: it holds their own y, and a model behind would trust it too much. `fit_transform`, and any
    pipeline that is fitted, give each of them what the rows of other folds tell.

    Columns of numbers and two classes keep their names; with more classes there is a column
    `<column>_<class>` for each class. Missing values are a category of their own, and unknown values become
    the mean of y.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    categories : 'auto' for what the data has, or for each column a list of its categories in their order
        (numbers sorted, a missing value last).
    target_type : 'continuous' for a mean, 'binary' for the share of the second class, 'multiclass' for the
        share of each; 'auto' takes whole numbers, text and booleans for classes.
    smooth : how many rows of mean y each category gets; 'auto' draws a category the more towards the mean the
        more y varies within it and the fewer rows it has, an empirical Bayes estimate.
    cv : into how many folds the rows of the fit are dealt, or folds such as `og.GroupKFold("user")`, whose
        rows tell nothing of other rows of their user, and `og.TimeFolds("day")`, by which rows are told
        only what was known before. Their columns must reach this step; name the others in `columns`.
    shuffle : changes nothing: rows are dealt to folds by hash.
    random_state : another number deals the rows otherwise.

    Attributes
    ----------
    categories_ : list of ndarray, the categories of each column; None or NaN last where values were missing.
    encodings_ : list of ndarray, what each category becomes; with several classes one for each class of the
        first column, then of the next.
    target_mean_ : float, or ndarray of shape (classes,), the mean of y, or the share of each class.
    target_type_ : str, what y is.
    classes_ : ndarray of shape (classes,), or None where y is a number.

    Raises
    ------
    DataError
        When y has missing values, or where rows of the fit are encoded out of fold and all fall into one.

    Notes
    -----
    Unlike scikit-learn: folds follow from the values of a row, not from its position, so they are the same on
    every engine; those of a number are not stratified. Equal rows are dealt out one by one. Rows of the first
    window of `TimeFolds` become the mean of y in it. Pipelines encode the rows they learn from out of fold on
    every engine.

    Unlike Spark MLlib's `TargetEncoder(smoothing=0.0, targetType="binary", handleInvalid="error")`: encodes
    the rows of the fit out of fold, smooths by default, and gives unknown values the mean.

    References
    ----------
    Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and
    prediction problems", SIGKDD Explorations 3 (2001).

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"city": ["Rome", "Rome", "Oslo", "Oslo"], "price": [10.0, 30.0, 50.0, 70.5]})
    >>> encoder = og.TargetEncoder(smooth=0).fit(rows, "price")
    >>> encoder.transform(rows)["city"].to_pylist()
    [20.0, 20.0, 60.25, 60.25]
    >>> encoder.transform(pa.table({"city": ["Bonn"]}))["city"].to_pylist()
    [40.125]
    """

    parameters = {
        "columns": COLUMNS,
        "categories": OneOf("auto") | LIST,
        "target_type": OneOf("auto", "binary", "continuous", "multiclass"),
        "smooth": OneOf("auto") | Number(low=0, below=np.inf),
        "cv": Integer(low=2, high=100) | Such("folds such as og.GroupKFold or og.TimeFolds", _are_folds),
        "shuffle": Unused(),
        "random_state": RANDOM_STATE,
    }
    takes_dictionaries = True
    handle_unknown = "ignore"  # of categories that are given
    min_frequency = max_categories = None

    def __init__(
        self,
        columns: Columns = None,
        *,
        categories: Any = "auto",
        target_type: str = "auto",
        smooth: float | str = "auto",
        cv: Any = 5,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.target_type = target_type
        self.smooth = smooth
        self.cv = cv
        self.shuffle = shuffle
        self.random_state = random_state

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        assert task.target is not None
        self.categories_, _ = learn_categories(self, shard, names)
        target = learn_target(shard, task.target, self.target_type)
        self.target_type_, self.classes_ = target.kind, target.classes
        dealt = dealing(self.cv, seed(self.random_state), shard, task)
        places = [
            Coder(name, each, np.arange(len(each) + 1))
            for name, each in zip(names, self.categories_, strict=True)
        ]
        sums = learn_sums(shard, places, target, dealt.place, dealt.places) if names else []
        made = [each.encodings(self.smooth, target.mean) for each in sums]
        self.encodings_ = [column for table, _ in made for column in table[:-1].T.copy()]
        mean = made[0][1] if made else np.zeros(0)
        self.target_mean_ = mean if target.kind == "multiclass" else float(mean[0]) if made else np.nan
        others = shard.example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_names_ = distinct(self._natural_names(), taken) if self._several else list(names)
        several = sums if dealt.places > 1 else []
        for each in several[:1]:
            dealt.check(each.rows.sum(axis=1), self)
        self._of_folds = [dealt.encodings(each, self.smooth, target.mean) for each in several]
        self._places, self._dealt = places, dealt
        self._restored()

    def _restored(self) -> None:
        width = len(self._means)
        tables = [
            np.column_stack([*self.encodings_[j * width : (j + 1) * width]])
            for j in range(len(self.selected_))
        ]
        self._coders = [
            Coder(name, each, np.vstack([table, self._means]))
            for name, each, table in zip(self.selected_, self.categories_, tables, strict=True)
        ]

    @property
    def _several(self) -> bool:
        return bool(self.target_type_ == "multiclass")

    @property
    def _means(self) -> np.ndarray:
        return np.atleast_1d(self.target_mean_)

    def _natural_names(self) -> list[str]:
        assert self.classes_ is not None
        return [f"{name}_{label}" for name in self.selected_ for label in self.classes_.tolist()]

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return self._replaced(batch, [coder.encode(batch[coder.name])[0] for coder in self._coders])

    def _transform_training(self, batch: Batch) -> Batch:
        if not self.selected_:
            return batch
        batch = self._apart(batch)
        fold = self._dealt.place(batch)
        pairs = zip(self._places, self._of_folds, strict=True)
        return self._replaced(
            batch, [table[fold, coder.encode(batch[coder.name])[0]] for coder, table in pairs]
        )

    def _replaced(self, batch: Batch, parts: list[np.ndarray]) -> Batch:
        values = np.empty((batch.num_rows, len(self.output_names_)), order="F")
        np.concatenate(parts, axis=1, out=values)
        if not self._several:
            return batch.with_matrix(values, self.selected_)
        return batch.replace_numbers(self.selected_, values, self.output_names_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    def _to_onnx(self, table: Table) -> Table:
        columns = [
            OnnxColumn(codes_in_onnx(self, table, Coder(coder.name, coder.categories, values), False))
            for coder in self._coders
            for values in coder.values.T
        ]
        new = dict(zip(self.output_names_, columns, strict=True))
        return table.replace(self.selected_, new) if self._several else table.with_columns(new)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        blocks = [self._block(f"{name}_{column}", j, flow) for j, column in enumerate(self.selected_)]
        made = flow.beside(self.selected_, blocks)
        return flow.then(name, made) if self._several else flow.then(name, made, list(flow.columns))

    def _block(self, name: str, j: int, flow: Flow) -> Block:
        """scikit-learn's encoder of one column."""
        column, width = self.selected_[j], len(self._means)
        block = flow.block([column], name)
        categories = known(self, column, self.categories_[j], text=block.text)
        rows = np.resize(categories, max(3, len(categories)))[:, None]
        encoder = twin("preprocessing.TargetEncoder", categories=[categories], target_type="continuous")
        encoder.fit(flow.tiny(block.labels, rows), np.arange(len(rows), dtype=np.float64))
        encoder.target_type_, encoder.classes_ = self.target_type_, self.classes_
        encoder.encodings_ = self.encodings_[j * width : (j + 1) * width]
        encoder.target_mean_ = self.target_mean_
        block.transformer, block.row, block.text = encoder, [categories[0]], False
        if self._several:
            block.makes = [(label, 1) for label in self.output_names_[j * width : (j + 1) * width]]
        return block
