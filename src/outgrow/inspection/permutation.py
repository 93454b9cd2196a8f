"""How much worse a model gets when a column no longer tells anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, unit
from outgrow.engine.checks import weight_column
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.inspection.columns import named
from outgrow.inspection.least_table import LeastTable
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import Integer
from outgrow.ml.core.scoring import SMALLER_METRICS
from outgrow.ml.core.task import Task, width
from outgrow.ml.evaluation import as_scores, many_scorer, scoring_of, split
from outgrow.statistics.results import Result
from outgrow.stats.state import from_tree, to_tree

DONOR_ROWS, DONOR_CELLS = 1 << 16, 1 << 23
"""Rows, and their values, whose columns are dealt out: of more rows a sample."""
EXACT_SCORES = 1 << 22
"""Up to so many scores are kept as they are, for exact areas under curves; more are counted in bins."""
BINS = 4_000


@dataclass(frozen=True, eq=False, repr=False)
class PermutationImportance(Result):
    """How much worse a model is without what each column tells; see `permutation_importance`.

    Attributes
    ----------
    metric : in which it is measured.
    baseline : the metric of the rows as they are.
    importances : ndarray of shape (columns, repeats): how much worse the metric was, above 0 for a column
        that helps.
    scores : each metric of the model by name, of shape (1 + columns * repeats,): the rows as they are, then
        each column repeat by repeat.
    """

    metric: str
    baseline: float
    importances: np.ndarray
    scores: dict[str, np.ndarray]

    @property
    def importances_mean(self) -> np.ndarray:
        """The mean over repeats, of shape (columns,)."""
        return self.importances.mean(axis=1)

    @property
    def importances_std(self) -> np.ndarray:
        """The standard deviation over repeats, of shape (columns,)."""
        return self.importances.std(axis=1)

    @property
    def standard_error(self) -> np.ndarray:
        """How far the means may be off by the luck of the shuffles; NaN of one repeat.

        That the rows themselves are a sample it does not tell.
        """
        repeats = self.importances.shape[1]
        if repeats < 2:
            return np.full(len(self.columns), np.nan)
        return self.importances.std(axis=1, ddof=1) / np.sqrt(repeats)

    def of(self, metric: str) -> PermutationImportance:
        """The same in another metric, without another scan.

        Parameters
        ----------
        metric : one of those that `evaluate` gives for the model.

        Raises
        ------
        ParameterError
            When the model has no such metric.
        """
        return replace(self, **_in_metric(metric, self.scores, len(self.columns)))

    def to_arrow(self) -> pa.Table:
        """A row for each column, the most important first."""
        order = np.argsort(-self.importances_mean, kind="stable")
        return pa.table(
            {
                "column": [self.columns[j] for j in order],
                "importance": self.importances_mean[order],
                "standard_error": self.standard_error[order],
            }
        )

    def __repr__(self) -> str:
        title, _, table = super().__repr__().partition("\n")
        return f"{title}: {self.metric} is {self.baseline:.4g}\n{table}"


def permutation_importance(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    metric: str | None = None,
    n_repeats: int = 5,
    columns: Sequence[Any] | None = None,
    random_state: int = 0,
    sample_weight: Any = None,
) -> PermutationImportance:
    """How much worse a fitted model gets on rows when the values of a column are shuffled (Breiman 2001).

    Parameters
    ----------
    model : a fitted model, or a pipeline, whose columns are those before all steps.
    X : rows, best ones the model has not seen, in any form that `evaluate` takes.
    y : the name of a column of X, or an array of shape (rows,); as for `evaluate`.
    metric : one of those that `evaluate` gives; by default R2, accuracy, or the first there is.
    n_repeats : how often each column is shuffled.
    columns : names, or places from 0, of the columns to shuffle; by default all of the fit. A column of
        vectors is shuffled whole.
    random_state : another number shuffles otherwise.
    sample_weight : the name of a column of X, or an array of shape (rows,), by which rows count.

    Raises
    ------
    ParameterError
        When the model is not judged by such a metric.
    ColumnNotFoundError
        When a column is not one of the fit.

    Notes
    -----
    A scan tells rows apart, one takes the rows whose values are dealt out, and one serves all columns and
    repeats. Who gets whose value follows from the values of rows, so results are the same on every engine.
    Up to 65,536 rows it is a permutation; of more, each row gets the value of a row of a sample of so many.
    Past 4 million scores areas under curves are counted in 4,000 bins.

    Columns that tell the same share their importance: each alone seems to matter little.

    Unlike scikit-learn: all metrics come from one run (`result.of("roc_auc")`); `metric` takes the place of
    `scoring`.

    Examples
    --------
    >>> import numpy as np, pandas as pd, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"age": random.normal(size=300), "noise": random.normal(size=300)})
    >>> rows["late"] = np.where(rows["age"] > 0, "yes", "no")
    >>> model = og.LogisticRegression().fit(rows, "late")
    >>> found = og.inspection.permutation_importance(model, rows, "late")
    >>> found.to_arrow()["column"].to_pylist(), bool(found.importances_mean[0] > 0.3)
    (['age', 'noise'], True)
    """
    check_is_fitted(model)
    Integer(low=1).check("permutation_importance", "n_repeats", n_repeats)
    Integer(low=0).check("permutation_importance", "random_state", random_state)
    scoring_of(model)  # which says what cannot be judged
    names = named(model, list(model.columns_) if columns is None else columns)
    opened = open_training(model, X, y, sample_weight, reset=False)
    task = Task(opened.target, opened.weight, tuple(model.columns_))
    work = _Shuffled(model, task, tuple(names), n_repeats, random_state)
    engine, scan = opened.dataset.engine, opened.dataset.scan
    done = engine.fit(lambda shard: to_tree(work(shard)), scan, stage="permutation importance")
    (*groups, rows) = from_tree(done.result)
    states = [split(state)[0] for state in groups]
    every = [as_scores(model, state, int(rows[0]), getattr(model, "classes_", None)) for state in states]
    scores = {name: np.array([one[name] for one in every]) for name in every[0]}
    if metric is None:
        metric = next(name for name in ("r2", "accuracy", *scores) if name in scores)
    return PermutationImportance(tuple(names), scores=scores, **_in_metric(metric, scores, len(names)))


def _in_metric(metric: str, scores: dict[str, np.ndarray], columns: int) -> dict[str, Any]:
    """The fields of a result that depend on the metric."""
    if metric not in scores:
        raise ParameterError(f"metric={metric!r}: the model is judged by {list(scores)}. Name one of those.")
    baseline, shuffled = scores[metric][0], scores[metric][1:].reshape(-1, columns).T
    smaller = metric in SMALLER_METRICS or metric.split("_")[0] in SMALLER_METRICS
    return {
        "metric": metric,
        "baseline": float(baseline),
        "importances": shuffled - baseline if smaller else baseline - shuffled,
    }


@dataclass(frozen=True)
class _Shuffled:
    """Scores a model on rows as they are, and with each column shuffled."""

    model: Any
    task: Task
    names: tuple[str, ...]
    repeats: int
    seed: int

    def __call__(self, shard: Shard) -> Any:
        """The state of the metrics of each scoring, and how many rows there are."""
        shard, number = shard.identified(list(shard.example.columns))
        most = min(DONOR_ROWS, DONOR_CELLS // max(width(shard.example, self.names), 1))

        def donors(batch: Batch) -> tuple[LeastTable, np.ndarray]:
            keys = self._keys(batch, number)
            if self.task.weight is not None:
                counts = weight_column(batch, self.task.weight) > 0
                batch, keys = batch.filter(counts), keys[counts]
            return LeastTable.of(max(most, 1), batch.select(self.names), keys), np.array([batch.num_rows])

        sample, rows = shard.reduce(donors)
        dealt = _Dealt(sample.batch, sample.key, len(sample.key) == rows[0], self.repeats)
        scorings = 1 + self.repeats * len(self.names)
        score = self._scorer(None if rows[0] * scorings <= EXACT_SCORES else BINS)

        def fold(batch: Batch) -> Any:
            keys = self._keys(batch, number)
            rows = batch.drop([number])
            states = [score(rows)]
            for repeat in range(self.repeats):
                values = dealt.to(keys, repeat)
                states += [score(rows.with_columns({name: values[name]})) for name in self.names]
            return (*states, np.array([float(batch.num_rows)]))

        return shard.reduce(fold)

    def _keys(self, batch: Batch, number: str) -> np.ndarray:
        return seeded(np.asarray(batch[number]), self.seed)

    def _scorer(self, bins: int | None) -> Callable[[Batch], Any]:
        """The state of the metrics of the model on a batch."""
        last = getattr(self.model, "model", self.model)
        score = many_scorer([[last]], self.task, bins)
        if last is self.model:
            return lambda batch: score(batch)[0][0]
        return lambda batch: score(self.model._transform_all(batch))[0][0]


@dataclass(frozen=True)
class _Dealt:
    """Who gets whose values.

    Attributes
    ----------
    rows : those whose values are dealt out.
    keys : uint64 of shape (rows,), sorted.
    whole : whether these are all rows, so that each gets those of another.
    repeats : how often.
    """

    rows: Batch
    keys: np.ndarray
    whole: bool
    repeats: int

    def to(self, keys: np.ndarray, repeat: int) -> Batch:
        """The values that rows get.

        Parameters
        ----------
        keys : uint64 of shape (rows,), of the rows.
        repeat : from 0.
        """
        if not self.whole:
            chosen = (unit(seeded(keys, repeat + 1)) * len(self.keys)).astype(np.intp)
            return self.rows.take(chosen)
        known = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        return self.rows.take(self._orders[repeat][known])

    @cached_property
    def _orders(self) -> list[np.ndarray]:
        """A permutation for each repeat."""
        return [np.argsort(seeded(self.keys, repeat + 1), kind="stable") for repeat in range(self.repeats)]
