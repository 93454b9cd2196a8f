"""Recursive feature elimination that is stopped where a model does best on rows held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.shard import Shard
from outgrow.engine.together import side_by_side
from outgrow.errors import DataError, ParameterError
from outgrow.ml.adapters import as_step
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import TEXT, Integer, Unused
from outgrow.ml.core.scoring import SMALLER_METRICS
from outgrow.ml.core.task import Task
from outgrow.ml.evaluation import scoring_of, split, states_of
from outgrow.ml.importance.base import ModelSelection, is_model_of_matrix
from outgrow.ml.importance.elimination import STEP, VERBOSE, Elimination, Fits
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.stats.scores import BINS, EXACT_ROWS
from outgrow.stats.state import merge

_FOLDS, _SEED = 5, 0
_USUAL = "accuracy"


@dataclass
class _Rounds:
    """The models of the rounds of a fold, from the most columns to the fewest, and the ranks of all."""

    models: list[Any]
    columns: list[np.ndarray]
    ranking: np.ndarray


class RFECV(Elimination):
    """Keep as many columns as a model needs to do best on rows held out: RFE with cross-validation.

    Recursive feature elimination runs on each fold and on all rows side by side, so that they share their
    passes; the models of all rounds and folds are scored in one pass. Of numbers of columns with equal scores
    the smallest is taken.

    Parameters
    ----------
    estimator : a model of outgrow with `coef_` or `feature_importances_` once it is fitted.
    step : how many columns are left out in a round, or below 1 which share of all columns.
    min_features_to_select : how many columns are kept at least.
    cv : how many folds; None for 5. The hash of a row decides which it belongs to.
    scoring : the metric, as `evaluate` names it; None for accuracy, or of numbers for r2.
    importance_getter : the attribute of the fitted model, through dots also of a part of it; 'auto' for
        `coef_`, or else `feature_importances_`.
    columns : which columns it looks at, by name or selector; all by default. Others stay.
    verbose, n_jobs : as scikit-learn has them; they change nothing here.

    Attributes
    ----------
    cv_results_ : dictionary of arrays with an entry for each number of columns: `n_features`,
        `mean_test_score`, `std_test_score`, and `split0_test_score` and so on.
    ranking_ : ndarray of int, of shape (n_columns,): 1 for those that are kept, 2 for those that were left
        out last, and so on.
    support_ : ndarray of bool, of shape (n_columns,): which columns are kept, vectors spelt out.
    n_features_ : how many these are.
    input_names_ : list of the names of all.
    estimator_ : the model that learned from the columns that are kept.

    Notes
    -----
    Unlike scikit-learn: folds by the hashes of rows, so equal rows are in one fold, and classes are not
    balanced; models of outgrow alone; a transformer alone, as `RFE`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(80, 4))
    >>> y = X @ [0, 3, 2, 0] + np.random.default_rng(1).normal(size=80)
    >>> og.RFECV(og.LinearRegression()).fit(X, y).get_support().tolist()
    [False, True, True, False]
    """

    test_parameters = {"estimator": Ridge(), "cv": 2}
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "cv is a number; folds that are given are not taken",
    )
    parameters = {
        **ModelSelection.parameters,
        "step": STEP,
        "min_features_to_select": Integer(low=1),
        "cv": Integer(low=2) | None,
        "scoring": TEXT | None,
        "verbose": VERBOSE,
        "n_jobs": Unused(),
    }
    cv_results_: dict[str, np.ndarray]

    def __init__(
        self,
        estimator: Any,
        *,
        step: float = 1,
        min_features_to_select: int = 1,
        cv: int | None = None,
        scoring: str | None = None,
        verbose: int = 0,
        n_jobs: int | None = None,
        importance_getter: str = "auto",
        columns: Columns = None,
    ) -> None:
        self.estimator = estimator
        self.step = step
        self.min_features_to_select = min_features_to_select
        self.cv = cv
        self.scoring = scoring
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.importance_getter = importance_getter
        self.columns = columns

    def _check_parameters(self) -> None:
        super()._check_parameters()
        model = as_step(self.estimator)
        if not is_model_of_matrix(model):
            raise ParameterError(
                f"RFECV holds rows out from models of outgrow; {type(self.estimator).__name__} is none. "
                "Choose one, or RFE with a number of columns."
            )
        names = scoring_of(model).names
        if self.scoring is not None and self.scoring not in names:
            raise ParameterError(
                f"RFECV(scoring={self.scoring!r}): {type(model).__name__} is scored by {list(names)}."
            )

    @property
    def _metric(self) -> str:
        names = scoring_of(self.estimator).names
        return self.scoring or (_USUAL if _USUAL in names else names[0])

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        width, folds = len(self.input_names_), self.cv or _FOLDS
        view = self._matrix_of(clone(self.estimator), shard, names, task, hashed=True)
        if view.rows < folds:
            raise DataError(
                f"RFECV(cv={folds}) needs as many rows for its folds; there is n_samples = {view.rows}. Give "
                "more rows, or fewer folds."
            )
        rows = FoldedView.of(view.dealt(folds, _SEED), ~np.eye(folds, dtype=bool))
        goal = min(self.min_features_to_select, width)

        def work(fold: int | None) -> Callable[[FitContext], _Rounds]:
            def run(context: FitContext) -> _Rounds:
                here = rows.on(context)
                view = here.view if fold is None else here.fold(fold)
                return self._rounds(
                    self._fits_of(view, replace(shard, run=context), names, task), width, goal
                )

            return run

        *each, whole = side_by_side(shard.run, [work(fold) for fold in (*range(folds), None)])
        scores = self._scores(rows, each)
        rows.view.tiles.release()
        best = self._choose(scores, whole)
        self.learned_ = whole.models[best]._learned()

    def _rounds(self, fits: Fits, width: int, goal: int) -> _Rounds:
        rounds = _Rounds([], [], np.zeros(0))

        def told(fitted: Any, columns: np.ndarray) -> None:
            rounds.models.append(fitted)
            rounds.columns.append(columns)

        rounds.ranking = self._eliminate(fits, width, goal, told)
        last = np.flatnonzero(rounds.ranking == 1)
        told(fits(last), last)
        return rounds

    def _scores(self, rows: FoldedView, each: list[_Rounds]) -> np.ndarray:
        """The score of each round of each fold on its rows held out, of shape (folds, rounds)."""
        count = len(each[0].models)
        bins = None if rows.view.rows * count <= EXACT_ROWS else BINS
        scoring = scoring_of(self.estimator)

        def fold(block: Block) -> tuple[Any, ...]:
            found: list[Any] = [None] * (len(each) * count)
            for place, part in rows.parts(block):
                for i, (model, columns) in enumerate(
                    zip(each[place].models, each[place].columns, strict=True)
                ):
                    narrow = replace(part, X=part.X[:, columns])
                    state = split(states_of([model], narrow, bins))[0]
                    found[place * count + i] = merge(found[place * count + i], state)
            return tuple(found)

        states = rows.reduce(fold)
        values = [scoring.metrics(state)[self._metric] for state in states]
        return np.array(values).reshape(len(each), count)

    def _choose(self, scores: np.ndarray, rounds: _Rounds) -> int:
        """Keep the number of columns with the best score; the round that had so many.

        Parameters
        ----------
        scores : of shape (folds, rounds).
        rounds : those of all rows.
        """
        mean = scores.mean(axis=0)
        better = -mean if self._metric in SMALLER_METRICS else mean
        later = int(np.argmax(better[::-1]))
        self.ranking_ = np.maximum(rounds.ranking - later, 1)
        counts, fewest_first = list(map(len, rounds.columns)), slice(None, None, -1)
        self.cv_results_ = {
            "n_features": np.array(counts)[fewest_first],
            "mean_test_score": mean[fewest_first],
            "std_test_score": scores.std(axis=0)[fewest_first],
            **{f"split{k}_test_score": own[fewest_first] for k, own in enumerate(scores)},
        }
        return len(mean) - 1 - later
