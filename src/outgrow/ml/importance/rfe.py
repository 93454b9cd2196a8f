"""Recursive feature elimination."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer, Number
from outgrow.ml.core.task import Task
from outgrow.ml.importance.base import ModelSelection
from outgrow.ml.importance.elimination import STEP, VERBOSE, Elimination
from outgrow.ml.linear_model.ridge import Ridge


class RFE(Elimination):
    """Keep so many columns: recursive feature elimination (Guyon and others 2002).

    A model learns from all columns, those of which it makes least are left out, and so on. All models learn
    from one matrix that is held; least squares (`LinearRegression`, `Ridge`) from products that one pass
    makes, so that the number of rounds costs no passes.

    Parameters
    ----------
    estimator : the model, of outgrow or scikit-learn, with `coef_` or `feature_importances_` once it is
        fitted.
    n_features_to_select : how many columns are kept, or below 1 which share of them; None for half.
    step : how many columns are left out in a round, or below 1 which share of all columns.
    verbose : as scikit-learn has it; it changes nothing here.
    importance_getter : the attribute of the fitted model, through dots also of a part of it; 'auto' for
        `coef_`, or else `feature_importances_`.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Attributes
    ----------
    ranking_ : ndarray of int, of shape (n_columns,): 1 for those that are kept, 2 for those that were left
        out last, and so on.
    support_ : ndarray of bool, of shape (n_columns,): which columns are kept, vectors spelt out.
    n_features_ : how many these are.
    input_names_ : list of the names of all.
    estimator_ : the model that learned from the columns that are kept.

    Notes
    -----
    Unlike scikit-learn: a transformer alone; put a model behind it in a pipeline, or ask `estimator_`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> og.RFE(og.LinearRegression(), n_features_to_select=1).fit(X, X @ [0, 3, 2, 1]).ranking_.tolist()
    [4, 1, 2, 3]
    """

    test_parameters = {"estimator": Ridge()}
    parameters = {
        **ModelSelection.parameters,
        "n_features_to_select": Integer(low=1) | Number(above=0, high=1) | None,
        "step": STEP,
        "verbose": VERBOSE,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        n_features_to_select: float | None = None,
        step: float = 1,
        verbose: int = 0,
        importance_getter: str = "auto",
        columns: Columns = None,
    ) -> None:
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.step = step
        self.verbose = verbose
        self.importance_getter = importance_getter
        self.columns = columns

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        fits, width = self._fits(shard, names, task), len(self.input_names_)
        goal = self._goal(width)
        self.ranking_ = self._eliminate(fits, width, goal)
        self.learned_ = fits(np.flatnonzero(self.ranking_ == 1))._learned()

    def _goal(self, width: int) -> int:
        wanted = self.n_features_to_select
        if wanted is None:
            return max(1, width // 2)
        if isinstance(wanted, float):
            return max(1, int(width * wanted))
        if wanted > width:
            raise ParameterError(
                f"RFE(n_features_to_select={wanted}): there are {width} columns. Ask for fewer."
            )
        return int(wanted)
