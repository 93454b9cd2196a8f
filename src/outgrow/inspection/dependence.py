"""What a model answers on average when columns have given values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded
from outgrow.engine.checks import weight_column
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.inspection.columns import named
from outgrow.inspection.grid import Grid
from outgrow.inspection.least_table import LeastTable
from outgrow.ml.core.inputs import open_rows, open_training
from outgrow.ml.core.parameters import Integer, Share
from outgrow.ml.predictor import Predictor
from outgrow.statistics.results import Result
from outgrow.stats.moments import Moments
from outgrow.stats.state import from_tree, to_tree

_METHODS = ("predict_proba", "decision_function", "predict")
"""What is asked, of those that the model has the first."""
_SEED = 0x1CE
"""So that the rows that are shown have nothing to do with other choices by the hashes of rows."""


@dataclass(frozen=True, eq=False, repr=False)
class PartialDependence(Result):
    """What a model answers on average for each value of columns; see `partial_dependence`.

    Attributes
    ----------
    outputs : what the answers are: classes, targets, or `prediction`.
    grid_values : of each column the values that it was given.
    average : ndarray of shape (outputs, values of the first column[, of the second]).
    standard_error : of the same shape, of the averages as means over a sample of rows.
    individual : ndarray of shape (outputs, rows, values...) of some rows; None where none were asked for.
    """

    outputs: tuple[Any, ...]
    grid_values: tuple[np.ndarray, ...]
    average: np.ndarray
    standard_error: np.ndarray
    individual: np.ndarray | None

    def to_arrow(self) -> pa.Table:
        """A row for each value, or pair of values, and each of several outputs."""
        points = np.indices([len(values) for values in self.grid_values]).reshape(len(self.columns), -1)
        outputs, many = self.outputs, len(self.outputs)
        columns: dict[str, Any] = {
            name: pa.array(values).take(pa.array(np.tile(places, many)))  # moments stay moments
            for name, values, places in zip(self.columns, self.grid_values, points, strict=True)
        }
        if many > 1:
            columns["output"] = [str(output) for output in outputs for _ in points[0]]
        errors = self.standard_error.ravel()
        return pa.table({**columns, "average": self.average.ravel(), "standard_error": errors})


def partial_dependence(
    model: Any,
    X: Any,
    features: Any,
    *,
    grid_resolution: int = 100,
    percentiles: tuple[float, float] = (0.05, 0.95),
    custom_values: Mapping[Any, Sequence[Any]] | None = None,
    response_method: str = "auto",
    individual: int = 0,
    sample_weight: Any = None,
) -> Any:
    """What a fitted model answers on average when a column has each of some values (Friedman 2001).

    Parameters
    ----------
    model : a fitted regressor, classifier or detector of outliers, or a pipeline that ends in one.
    X : rows with the columns of the fit, in any form that `predict` takes.
    features : a column by its name, or its place from 0; or a list of columns and of pairs of them.
    grid_resolution : how many values a column of numbers gets; if it has fewer, those. Of other columns all.
    percentiles : between which quantiles of a column its values lie, at equal distances.
    custom_values : by column, the values to take instead.
    response_method : 'predict_proba', 'decision_function' or 'predict'; 'auto' for the first the model has.
    individual : of how many rows to give the answers one by one, as for plots of individual conditional
        expectation; they are chosen by the hashes of the rows.
    sample_weight : the name of a column of X, or an array of shape (rows,), by which rows count.

    Returns
    -------
    A `PartialDependence`; of a list a dictionary of them, by what was listed.

    Raises
    ------
    ColumnNotFoundError
        When a column is not one of the fit.
    ParameterError
        When a column cannot be given values, or the model's answers have no average.

    Notes
    -----
    Two scans find the values of the columns, with one to three more for quantiles; one serves all columns
    and values.

    Averages are over rows that may not be: where columns go together, the model is asked for rows far from
    any it has seen.

    Unlike scikit-learn: columns of text and booleans need not be named as categories; several columns take
    one scan; averages come with standard errors. The answers are always counted, as `method='brute'` does.

    Examples
    --------
    >>> import numpy as np, pandas as pd, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"size": random.normal(size=200), "town": random.choice(["A", "B"], 200)})
    >>> rows["price"] = 2 * rows["size"] + (rows["town"] == "B")
    >>> model = og.Pipeline([("towns", og.OneHotEncoder(columns=["town"])), ("ridge", og.Ridge(1e-6))])
    >>> found = og.inspection.partial_dependence(model.fit(rows, "price"), rows, "town")
    >>> found.grid_values[0].tolist(), float(np.diff(found.average[0])[0].round(4))
    (['A', 'B'], 1.0)
    """
    check_is_fitted(model)
    Integer(low=2).check("partial_dependence", "grid_resolution", grid_resolution)
    Integer(low=0).check("partial_dependence", "individual", individual)
    for end in percentiles:
        (Share(low=0, high=1) | 0 | 1).check("partial_dependence", "percentiles", end)
    if not percentiles[0] < percentiles[1]:
        raise ParameterError(f"percentiles={percentiles}: the first must be smaller than the second.")
    listed = features if isinstance(features, list) else [features]
    sets = [tuple(named(model, item if isinstance(item, tuple) else (item,))) for item in listed]
    if any(not 1 <= len(columns) <= 2 or len({*columns}) < len(columns) for columns in sets):
        raise ParameterError(f"features={features!r}: give columns, or pairs of two different ones.")
    answers = _Answers.of(model, response_method)
    given = {named(model, [name])[0]: list(values) for name, values in (custom_values or {}).items()}
    rows, weight = _opened(model, X, sample_weight)
    names = tuple(dict.fromkeys(name for columns in sets for name in columns))
    work = _Averages(
        answers, tuple(sets), Grid(names, given, grid_resolution, percentiles), weight, individual
    )
    done = rows.engine.fit(lambda shard: to_tree(work(shard)), rows.scan, stage="partial dependence")
    results = work.read(from_tree(done.result))
    return dict(zip(listed, results, strict=True)) if isinstance(features, list) else results[0]


def _opened(model: Any, X: Any, sample_weight: Any) -> Any:
    """The rows, and the column of their weights."""
    if sample_weight is None:
        return open_rows(model, X).select(list(model.columns_)), None
    opened = open_training(_NeedsNoTarget(model), X, None, sample_weight, reset=False)
    return opened.dataset.select([*model.columns_, *filter(None, [opened.weight])]), opened.weight


class _NeedsNoTarget:
    """A fitted model as what is opened without y."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __sklearn_tags__(self) -> Any:
        tags = self._model.__sklearn_tags__()
        tags.target_tags.required = False
        return tags


@dataclass(frozen=True)
class _Answers:
    """What is asked of a model, and what its answers are called."""

    predictor: Predictor
    method: str
    outputs: tuple[Any, ...]

    @classmethod
    def of(cls, model: Any, method: str) -> _Answers:
        last = getattr(model, "model", model)
        if not (is_classifier(last) or is_regressor(last) or is_outlier_detector(last)):
            raise ParameterError(
                f"The answers of {type(last).__name__} have no average. Give a regressor or a classifier."
            )
        predictor = Predictor(model)
        known = [name for name in _METHODS if predictor.gives(name)]
        numbers = known if is_regressor(last) else [name for name in known if name != "predict"]
        if not numbers or method not in ("auto", *numbers):
            raise ParameterError(
                f"response_method={method!r}: {type(last).__name__} has {numbers or 'no answers in numbers'}."
            )
        method = numbers[0] if method == "auto" else method
        classes = predictor.classes
        if classes is None:
            names = predictor.names(method)
            return cls(predictor, method, tuple(name.removeprefix("prediction_") for name in names))
        return cls(predictor, method, tuple(classes[1:] if len(classes) == 2 else classes))

    def __call__(self, batch: Batch) -> np.ndarray:
        """The answers for rows, of shape (rows, outputs)."""
        values = np.asarray(self.predictor.answer(batch, self.method), dtype=np.float64)
        values = values.reshape(batch.num_rows, -1)
        return values[:, -len(self.outputs) :]


@dataclass(frozen=True)
class _Averages:
    """Averages the answers over rows, for each value of each column."""

    answers: _Answers
    sets: tuple[tuple[str, ...], ...]
    grid: Grid
    weight: str | None
    individual: int

    def __call__(self, shard: Shard) -> Any:
        """The moments of the answers at each point, the values of each column, and some rows."""
        values = self.grid.values(shard)
        some = self._some(shard) if self.individual else None

        def fold(batch: Batch) -> tuple[Moments, ...]:
            weight = None if self.weight is None else weight_column(batch, self.weight)
            changed = self._changed(batch, values)
            return tuple(Moments.of(np.asfortranarray(self.answers(rows)), weight) for rows in changed)

        return shard.reduce(fold), self.grid.packed(values), some

    def _some(self, shard: Shard) -> LeastTable:
        """The rows that are shown one by one."""
        columns = list(shard.example.columns)
        shard, number = shard.identified(columns)

        def fold(batch: Batch) -> LeastTable:
            keys = seeded(np.asarray(batch[number]), _SEED)
            return LeastTable.of(self.individual, batch.drop([number]), keys)

        return shard.reduce(fold)

    def _changed(self, batch: Batch, values: dict[str, pa.Array]) -> Iterator[Batch]:
        """The rows with the values of each point."""
        for columns in self.sets:
            for point in product(*(range(len(values[name])) for name in columns)):
                places = zip(columns, point, strict=True)
                yield batch.with_columns(
                    {name: values[name].take(pa.array(np.full(batch.num_rows, k))) for name, k in places}
                )

    def read(self, learned: Any) -> list[PartialDependence]:
        """The result of each set of columns.

        Parameters
        ----------
        learned : what the call gave.
        """
        moments, packed, some = learned
        if not moments[0].n.max(initial=0) > 0:
            raise DataError("There is nothing to average: no row counts. Give rows that do.")
        values = self.grid.unpacked(packed)
        alone = None if some is None else [self.answers(rows).T for rows in self._changed(some.batch, values)]
        results, start = [], 0
        for columns in self.sets:
            shape = tuple(len(values[name]) for name in columns)
            part = slice(start, start + int(np.prod(shape)))
            start = part.stop
            n = np.array([state.n for state in moments[part]])
            mean = np.array([state.mean for state in moments[part]]).T.reshape(-1, *shape)
            squares = np.array([state.m2 for state in moments[part]])
            error = np.sqrt(squares / np.maximum(n, 1)) / np.sqrt(np.maximum(n, 1))
            curves = None if alone is None else np.moveaxis(np.array(alone[part]), 0, -1)
            results.append(
                PartialDependence(
                    columns,
                    self.answers.outputs,
                    tuple(np.asarray(values[name].to_numpy(zero_copy_only=False)) for name in columns),
                    mean,
                    error.T.reshape(-1, *shape),
                    None if curves is None else curves.reshape(*curves.shape[:2], *shape),
                )
            )
        return results
