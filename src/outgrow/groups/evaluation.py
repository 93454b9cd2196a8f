"""How good the models of groups are: metrics, backtests, a summary and a page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from sklearn.base import is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.scan import Apply
from outgrow.engine.dataset import Dataset
from outgrow.engine.groups import OnlyGroups
from outgrow.groups.backtest import backtest
from outgrow.groups.routing import NULL, Router
from outgrow.groups.scores import score_groups
from outgrow.groups.summary import GroupSummary
from outgrow.ml.core.inputs import open_training
from outgrow.ml.evaluation import evaluate, scoring_of


def inner_has(method: str) -> Callable[[Callable[..., Any]], Any]:
    """Offer a method only where the estimator of each group has the one of this name."""
    return available_if(lambda self: hasattr(self.estimator, method))


class GroupEvaluation:
    """The verbs of `PerGroup` that say how good its models are."""

    estimator: Any
    by: Sequence[str]
    unseen: str
    groups_: pa.Table
    _router: Router

    @inner_has("predict")
    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The metrics of all predictions together; see `evaluate_groups` for those of each group.

        With unseen='null', rows whose key has no model are left out.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`.

        Returns
        -------
        Scores, a mapping of metric to value.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> round(model.evaluate(sales, "sold")["r2"], 6)
        1.0
        """
        if self.unseen != NULL:
            return evaluate(self, X, y, sample_weight)
        check_is_fitted(self)
        data = open_training(self, X, y, sample_weight, reset=False)
        known = Apply(OnlyGroups(self._keys, self._router.models.hashes), data.dataset.schema)
        return evaluate(
            self, Dataset(data.dataset.scan.then(known), data.dataset.engine), data.target, data.weight
        )

    @inner_has("predict")
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R2 of a regressor, mean logarithm of a density.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> round(model.score(sales, "sold"), 6)
        1.0
        """
        name = "accuracy" if self._is_classifier else scoring_of(self).names[0]
        return float(self.evaluate(X, y, sample_weight)[name])

    @inner_has("predict")
    def evaluate_groups(self, X: Any, y: Any, sample_weight: Any = None) -> pa.Table:
        """The metrics of each group on rows with known y, as a table; rows without a prediction are left out.

        For regressors `rmse`, `mae` and `r2`, for classifiers `accuracy`.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> model.evaluate_groups(sales, "sold").select(["shop", "rows"]).to_pylist()
        [{'shop': 'a', 'rows': 2}, {'shop': 'b', 'rows': 2}]
        """
        check_is_fitted(self)
        return score_groups(self, open_training(self, X, y, sample_weight, reset=False))

    @inner_has("predict")
    def backtest(
        self, X: Any, y: Any, sample_weight: Any = None, *, time: str, folds: int = 3, test: float = 0.5
    ) -> Any:
        """Fit on what was known at several moments, and score what came next.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`; the weights count in the metrics, too.
        time : the column that orders the rows. It is no feature here.
        folds : how many moments.
        test : the share of the rows, the latest ones, that is predicted; the folds share it.

        Returns
        -------
        Backtest, whose `groups` is a table with the metrics of each group in each fold.

        Examples
        --------
        >>> import numpy as np, pyarrow as pa, outgrow as og
        >>> day = np.arange(40)
        >>> sales = pa.table({"shop": np.where(day % 2, "a", "b"), "day": day, "price": day % 5.0,
        ...                   "sold": 2.0 * day})
        >>> model = og.PerGroup(og.Ridge(), by=["shop"])
        >>> model.backtest(sales, "sold", time="day", folds=2).folds["train_rows"].to_pylist()
        [20, 30]
        """
        return backtest(self, X, y, sample_weight, time=time, folds=folds, test=test)

    def summary(self) -> GroupSummary:
        """What became of the groups, to be printed.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> model.summary().counts
        {'ok': 2}
        """
        check_is_fitted(self)
        return GroupSummary(self.groups_, self._keys)

    def report(self, path: str | os.PathLike[str], *, backtest: Any = None, overwrite: bool = False) -> None:
        """Write a page about the groups: the metric over them, the worst twenty, and what failed.

        Parameters
        ----------
        path : the HTML file to write.
        backtest : what `backtest` gave; its metrics on rows that were not learned from are then shown.
        overwrite : replace a file that exists.

        Examples
        --------
        >>> import pathlib, tempfile, pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "groups.html"
        >>> model.report(path)
        >>> path.exists()
        True
        """
        from outgrow.groups.report import write_report  # matplotlib is slow to import

        check_is_fitted(self)
        write_report(self, path, backtest, overwrite=overwrite)

    @property
    def _keys(self) -> tuple[str, ...]:
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)

    @property
    def _is_classifier(self) -> bool:
        return is_classifier(self.estimator)
