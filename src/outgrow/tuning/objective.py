"""What a trial of an estimator does: fit and score it, one of outgrow or of scikit-learn."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone, is_classifier

from outgrow.data.frames import to_frame
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.matrix import MOMENTS
from outgrow.engine.open import dataset
from outgrow.ml.evaluation import Scores, mean_scores, std_scores
from outgrow.ml.selection.cached import CachedCrossValidator
from outgrow.ml.selection.cross_validation import cross_validate
from outgrow.ml.steps import steps_of
from outgrow.stats.scores import ClassificationState, RankedScores, RegressionState
from outgrow.tuning.trial import Outcome, TrialContext

_SEED = 811
FOLD_COLUMN, MATRIX_COLUMN = "__outgrow_fold", "__outgrow_matrix"
"""The column of the id of a row's fold, and of all features where they came as one array."""


@dataclass(frozen=True)
class EstimatorObjective:
    """How estimators are scored.

    Attributes
    ----------
    target, weight : columns; None where an estimator needs no y, or rows weigh the same.
    folds : how rows are held out.
    metric : what is reported of a trial under way.
    shares : parts of the work, by step, after which a trial may be pruned; the last is all.
    timed : whether the time of a fit is a metric, so that trials must not share work.
    roles : columns of what else estimators learn from, by the name of the role.
    """

    target: str | None
    weight: str | None
    folds: Any
    metric: str
    shares: Mapping[int, float]
    timed: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass
class OutgrowObjective:
    """Cross-validate a pipeline or model of outgrow.

    A model that reports its score while it learns is pruned between its rounds, by a forecast of that score;
    others learn from parts of the rows first.
    """

    estimator: Any
    question: EstimatorObjective
    cores: int
    _rows: Dataset | None = field(default=None, init=False, repr=False)
    _validators: dict[float, CachedCrossValidator] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, trial: TrialContext) -> Outcome:
        if self._rows is None:
            self._rows = Dataset(dataset(trial.data).scan, Local(threads=self.cores))
        return self.on(self._rows, trial)

    def on(self, rows: Dataset, trial: TrialContext) -> Outcome:
        """The metrics over some rows.

        Parameters
        ----------
        rows : wherever they are; the same rows at each call, as what is made of them is kept for the next.
        trial : its parameters are set on a copy of the estimator; it gets the reports.

        Returns
        -------
        Metrics by name, the means over the folds; and details: `fit_seconds`, also a mean, and `std`.
        """
        model = clone(self.estimator).set_params(**trial.parameters)
        if self._prunes and steps_of(model)[-1].tells_rounds and self._shares_work(model, rows):
            return self._between_rounds(model, rows, trial)
        return self._by_shares(model, rows, trial)

    @property
    def _prunes(self) -> bool:
        return len(self.question.shares) > 1

    def _shares_work(self, model: Any, rows: Dataset) -> bool:
        matrix = steps_of(model)[-1].learns_from_matrix
        return matrix and rows.engine.holds and not self.question.timed

    def _between_rounds(self, model: Any, rows: Dataset, trial: TrialContext) -> Outcome:
        outlook, metric = ScoreForecast(), self.question.metric

        def tell(share: float, scores: Mapping[str, float]) -> None:
            if metric in scores and (end := outlook.after(share, scores[metric])) is not None:
                trial.report(end, _step(share, max(self.question.shares)))

        began = time.perf_counter()
        scores = self._validator(rows, 1.0).scores(model, tell)
        return _described(scores, time.perf_counter() - began)

    def _by_shares(self, model: Any, rows: Dataset, trial: TrialContext) -> Outcome:
        for step, share in self.question.shares.items():
            began = time.perf_counter()
            scores = self._scores(model, rows, share)
            outcome = _described(scores, time.perf_counter() - began)
            _report(trial, self.question, outcome[0], step)
        return outcome

    def _scores(self, model: Any, rows: Dataset, share: float) -> list[Scores]:
        if self._shares_work(model, rows):
            return self._validator(rows, share).scores(model)
        question = self.question
        part = _part(rows, share)
        crossed = cross_validate(
            model, part, question.target, question.weight, cv=question.folds, params=dict(question.roles)
        )
        return crossed.folds

    def _validator(self, rows: Dataset, share: float) -> CachedCrossValidator:
        question = self.question
        if share not in self._validators:
            self._validators[share] = CachedCrossValidator(
                _part(rows, share), question.target, question.weight, question.folds, question.roles
            )
        return self._validators[share]


@dataclass
class ScoreForecast:
    """Where the score of a fit under way will end, if it goes on as it did since half as many rounds.

    Scores are about linear in the logarithm of the rounds. What a fit scores in the middle says little: small
    learning rates are behind there, and ahead at the end. See Domhan, Springenberg and Hutter (2015) for
    predicting learning curves, of which this is the simplest.
    """

    _before: tuple[float, float] | None = None

    def after(self, share: float, score: float) -> float | None:
        """The score at the end, as it looks now; None at the first time.

        Parameters
        ----------
        share : of the rounds that are done, above 0 and larger at each call.
        score : what the fit scores now.
        """
        before, self._before = self._before, (share, score)
        if before is None:
            return None
        return score + (score - before[1]) * math.log(1 / share) / math.log(share / before[0])


def _step(share: float, last: int) -> int:
    """The step of a report, where `last` is that of the end."""
    nominal = min(MOMENTS, key=lambda moment: abs(math.log(moment / share)))
    return max(1, int(nominal * last))


def _part(rows: Dataset, share: float) -> Dataset:
    return rows if share == 1 else rows.sample(share, seed=_SEED)


def _described(folds: Sequence[Scores], seconds: float) -> Outcome:
    return mean_scores(folds), {"fit_seconds": seconds / len(folds), "std": std_scores(folds)}


@dataclass(frozen=True)
class SklearnObjective:
    """Cross-validate an estimator of scikit-learn's kind; folds were chosen when the rows were stored."""

    estimator: Any
    question: EstimatorObjective
    features: Sequence[str] | None

    def __call__(self, trial: TrialContext) -> Outcome:
        question, table = self.question, trial.data
        assert table is not None
        fold_ids = table[FOLD_COLUMN].to_numpy()
        for step, share in question.shares.items():
            part = np.random.default_rng(_SEED).random(len(fold_ids)) < share if share < 1 else None
            scores = [self._fold(table, fold_ids, part, k, trial) for k in range(question.folds.count)]
            mean = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
            _report(trial, question, mean, step)
        std = {name: float(np.std([score[name] for score in scores])) for name in scores[0]}
        return mean, {"fit_seconds": mean.pop("fit_seconds"), "std": std}

    def _fold(
        self, table: pa.Table, fold_ids: np.ndarray, part: np.ndarray | None, k: int, trial: TrialContext
    ) -> dict[str, float]:
        folds = self.question.folds
        learn, test = folds.train_places(k)[fold_ids], folds.test_places(k)[fold_ids]
        if part is not None:
            learn, test = learn & part, test & part
        X, y = self._features(table), table[self.question.target].to_numpy(zero_copy_only=False)
        weight = None if self.question.weight is None else table[self.question.weight].to_numpy()
        model = clone(self.estimator).set_params(**trial.parameters)
        began = time.perf_counter()
        weighted = {} if weight is None else {"sample_weight": weight[learn]}
        model.fit(X[learn], y[learn], **weighted)
        seconds = time.perf_counter() - began
        metrics = _metrics_of(model, X[test], y[test], None if weight is None else weight[test])
        return {**metrics, "fit_seconds": seconds}

    def _features(self, table: pa.Table) -> Any:
        if self.features is None:
            column = table[MATRIX_COLUMN].chunk(0)
            return column.flatten().to_numpy().reshape(len(column), -1)
        return to_frame(table.select(list(self.features)))


def _metrics_of(model: Any, X: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
    """The metrics of a fitted estimator of scikit-learn's kind on rows it did not see."""
    if not is_classifier(model):
        return RegressionState.of(y.astype(np.float64), np.asarray(model.predict(X), float), weight).metrics()
    classes = model.classes_
    known = np.isin(y, classes)
    X, y, weight = (X[known], y[known], None if weight is None else weight[known])
    truth = np.searchsorted(classes, y)
    if hasattr(model, "predict_proba"):
        return ClassificationState.of(truth, model.predict_proba(X), weight).metrics()
    chances = np.eye(len(classes))[np.searchsorted(classes, model.predict(X))]
    metrics = ClassificationState.of(truth, chances, weight).metrics()
    if hasattr(model, "decision_function") and len(classes) == 2:
        ranks = np.argsort(np.argsort(model.decision_function(X))) / max(1, len(y))
        ranked = RankedScores.of(ranks, truth == 1, weight)
        metrics |= {"roc_auc": ranked.roc_auc(), "pr_auc": ranked.average_precision()}
    metrics.pop("log_loss")
    return metrics


def _report(
    trial: TrialContext, question: EstimatorObjective, scores: Mapping[str, float], step: int
) -> None:
    """Say how it goes, unless this was the last."""
    if len(question.shares) > 1 and step != max(question.shares) and question.metric in scores:
        trial.report(scores[question.metric], step)
