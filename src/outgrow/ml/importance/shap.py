"""What each column adds to single answers: SHAP values of trees and linear models, which are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import matrix_columns
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import is_table
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import array_rows, checked_array, open_rows
from outgrow.ml.core.outputs import as_given, collect, is_lazy
from outgrow.ml.core.task import column_names, promised_example
from outgrow.ml.predictor import Predictor
from outgrow.ml.trees.base import TreeModel
from outgrow.page.tabular import Tabular

METHOD = "contributions"
_SHOWN = 20


@dataclass(frozen=True, eq=False, repr=False)
class ShapValues(Tabular):
    """What each feature adds to the answers for rows, and where answers begin.

    Attributes
    ----------
    values : ndarray of shape (rows, features), or (rows, features, outputs) with several classes or targets.
    base : what answers are without features: a number, or one for each output. With all values of a row it
        adds up to the answer.
    features : their names, vectors spelt out.
    outputs : the classes or targets, where there are several; else None.
    """

    values: np.ndarray
    base: Any
    features: list[str]
    outputs: list[Any] | None = None

    @property
    def importances(self) -> dict[str, float]:
        """The mean size of the values of each feature, the largest first; of several outputs their sum."""
        sizes = np.abs(self.values).mean(axis=0)
        sizes = sizes if sizes.ndim == 1 else sizes.sum(axis=1)
        order = np.argsort(-sizes, kind="stable")
        return {self.features[j]: float(sizes[j]) for j in order}

    def to_arrow(self) -> pa.Table:
        """A row for each row, with the columns that lazy tables get, such as `shap_<feature>`."""
        flat = self.values if self.values.ndim == 3 else self.values[:, :, None]
        base = np.broadcast_to(np.atleast_1d(self.base), (len(flat), flat.shape[2]))
        every = np.concatenate([flat, base[:, None, :]], axis=1).transpose(0, 2, 1)
        names = _names(self.features, self.outputs)
        return pa.table(matrix_columns(np.ascontiguousarray(every.reshape(len(flat), -1)), names))

    def _printed(self) -> pa.Table:
        names = list(self.importances)
        return pa.table({"feature": names, "mean size": list(self.importances.values())})

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        shown = list(self.importances.items())[:_SHOWN]
        width = max([len("mean size of"), *(len(name) for name, _ in shown)])
        lines = [f"{name:<{width}}  {size:.4g}" for name, size in shown]
        more = [f"and {len(self.features) - _SHOWN} more"] if len(self.features) > _SHOWN else []
        return "\n".join([f"ShapValues of {len(self):,} rows", "mean size of", *lines, *more])


def shap_values(model: Any, X: Any, *, background: Any = None) -> Any:
    """What each feature adds to the answer for each row: exact SHAP values (Lundberg and Lee 2017).

    Of trees they follow the ways through the trees, weighed by the rows of the fit (Lundberg et al. 2020,
    `feature_perturbation="tree_path_dependent"`); of linear models they are coefficients times differences
    from the mean of the background. They are on the scale on which the model adds up: numbers of y for
    regressions and linear models; logarithms of odds for boosting and logistic regression; of the mean for
    losses and families with a logarithmic link; shares of classes for forests; scores for rankers.

    Parameters
    ----------
    model : a fitted model of trees or a linear one, or a pipeline that ends in one. Of a pipeline the
        features are those that reach the model.
    X : dataset, Spark DataFrame, table, or array of shape (rows, columns), with the columns of the fit.
    background : for linear models, rows whose mean features begin with nothing, such as those of the fit, in
        any form that X may have; None for X itself. Trees need none.

    Returns
    -------
    ShapValues; for datasets and Spark DataFrames their columns and `shap_<feature>`, and `shap_base`; with
    several classes or targets `shap_<class>_<feature>` and `shap_<class>_base`.

    Raises
    ------
    ParameterError
        When the model is none of those, a background is given for trees, or none for a single row.
    DataError
        When there are no rows.

    Notes
    -----
    Features that go together share what they tell by the ways of the trees, not by causes. Unlike the package
    shap: tables with names of columns, also ones that no memory holds; pipelines; nothing is sampled.

    Examples
    --------
    >>> import pandas as pd, outgrow as og
    >>> rows = pd.DataFrame({"size": [50.0, 80.0, 120.0, 70.0], "age": [3.0, 9.0, 1.0, 7.0]})
    >>> model = og.LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> found = og.shap_values(model, rows)
    >>> found.values.round(6).tolist()[0], round(found.base, 6)
    ([-60.0, 2.0], 155.0)
    >>> list(found.importances)
    ['size', 'age']
    """
    check_is_fitted(model)
    predictor = Predictor(model)
    last = predictor.model
    if not hasattr(last, f"_{METHOD}"):
        raise ParameterError(
            f"{type(last).__name__} is no sum of trees or of columns: shap_values takes models of trees and "
            "linear models. og.inspection.permutation_importance takes any."
        )
    trees = isinstance(last, TreeModel)
    if trees and background is not None:
        raise ParameterError(
            f"{type(last).__name__}: shap_values of trees goes by the rows of the fit that took each way, "
            "and takes no background. Leave it out."
        )
    features, outputs = _features(model, last), _outputs(last)
    rows = _opened(model, X)
    shape = (-1, len(outputs or [None]), len(features) + 1)
    centre = (
        None
        if trees
        else _centre(predictor, rows, None if background is None else _opened(model, background))
    )
    beside = _Beside(predictor, _names(features, outputs), centre)
    if is_lazy(X):
        return as_given(rows.map(beside), X)
    found = np.asarray(collect(rows, beside.values)).reshape(shape)
    several = outputs is not None
    values = found[:, :, :-1].transpose(0, 2, 1) if several else found[:, 0, :-1]
    base = found[0, :, -1] if len(found) else np.full(shape[1], np.nan)
    return ShapValues(np.ascontiguousarray(values), base if several else float(base[0]), features, outputs)


@dataclass(frozen=True)
class _Beside:
    """Puts SHAP values beside the columns of a batch.

    Attributes
    ----------
    centre : shape (outputs, features), the mean term of each feature, which belongs to the base; or None.
    """

    predictor: Predictor
    names: list[str]
    centre: np.ndarray | None

    def values(self, batch: Batch) -> np.ndarray:
        found = self.predictor.answer(batch, METHOD)
        if self.centre is not None:
            found[:, :, :-1] -= self.centre
            found[:, :, -1] += self.centre.sum(axis=1)
        return found.reshape(len(found), len(self.names))

    def __call__(self, batch: Batch) -> Batch:
        columns = matrix_columns(self.values(batch), self.names)
        return batch.beside(columns, "SHAP values", "Rename those, or leave them out.")


def _opened(model: Any, X: Any) -> Dataset:
    return open_rows(model, X) if is_table(X) else array_rows(model, checked_array(model, X))


def _centre(predictor: Predictor, rows: Dataset, background: Dataset | None) -> np.ndarray:
    """The mean of each term over the background, or else over the rows; one pass."""

    def fold(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        terms = predictor.answer(batch, METHOD)[:, :, :-1]
        return terms.sum(axis=0), np.array([float(len(terms))])

    over = rows if background is None else background
    total, count = over.engine.fit(
        lambda shard: shard.reduce(fold), over.scan, stage="shap_values", keep=False
    ).result
    if count[0] < 2 and background is None:
        raise ParameterError(
            f"shap_values of {type(predictor.model).__name__}: values are differences from the mean of X, "
            "and X has one row. Give background=, such as the rows of the fit."
        )
    mean: np.ndarray = total / count[0]
    return mean


def _features(fitted: Any, last: Any) -> list[str]:
    """The names of the features that reach the model."""
    example = promised_example(fitted.columns_)
    steps = getattr(fitted, "active_steps", None)
    for _, step in (steps or [])[:-1]:
        example = step._transform(example)
    return [str(name) for name in column_names(example.select(list(last.features_)))]


def _outputs(last: Any) -> list[Any] | None:
    """The classes or targets, where each has values of its own."""
    if last.target_names_ is not None:
        if hasattr(last, "classes_"):
            raise ParameterError(
                f"{type(last).__name__} predicts classes of several targets. Fit a model for each."
            )
        return list(last.target_names_)
    classes = getattr(last, "classes_", None)
    return None if classes is None or len(classes) < 3 else classes.tolist()


def _names(features: list[str], outputs: list[Any] | None) -> list[str]:
    stems = ["shap_"] if outputs is None else [f"shap_{output}_" for output in outputs]
    return [stem + name for stem in stems for name in (*features, "base")]
