"""What a trial does: fit and score a pipeline of ours or an estimator of scikit-learn, or call a function."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone, is_classifier

from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset
from outgrow.engine.validation_rows import MOMENTS
from outgrow.ml.evaluation import Scores, mean_scores, std_scores
from outgrow.ml.selection.cached import CachedCrossValidator
from outgrow.ml.selection.cross_validation import cross_validate
from outgrow.ml.steps import steps_of
from outgrow.stats.scores import ClassificationState, RegressionState
from outgrow.tuning.trial import Handle

_SEED = 811
PLACE, MATRIX = "__outgrow_place", "__outgrow_matrix"
"""The column of a row's fold, and of all features where they came as one array."""
Found = tuple[Any, dict[str, Any]]
"""Values, or metrics by name; and what is to be noted."""


@dataclass(frozen=True)
class EstimatorObjective:
    """What estimators are asked.

    Attributes
    ----------
    target, weight : columns.
    folds : how rows are held out.
    metric : what is reported of a trial under way.
    shares : parts of the work, by step, after which a trial is judged; the last is all.
    timed : whether the time of a fit is a metric, so that trials must not share work.
    """

    target: str
    weight: str | None
    folds: Any
    metric: str
    shares: Mapping[int, float]
    timed: bool = False


@dataclass
class Fit:
    """Cross-validate a pipeline or model of ours.

    A model that tells how it does while it learns is judged between its rounds, by where its score is going;
    others learn from parts of the rows first.
    """

    estimator: Any
    question: EstimatorObjective
    cores: int
    _rows: Dataset | None = field(default=None, init=False, repr=False)
    _benches: dict[float, CachedCrossValidator] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, handle: Handle) -> Found:
        if self._rows is None:
            self._rows = Dataset(dataset(handle.data).scan, Local(threads=self.cores))
        return self.on(self._rows, handle)

    def on(self, rows: Dataset, handle: Handle) -> Found:
        """The metrics over rows, wherever they are; they are the same rows at each call."""
        model = clone(self.estimator).set_params(**handle.parameters)
        if self._prunes and steps_of(model)[-1].tells_rounds and self._shares_work(model, rows):
            return self._between_rounds(model, rows, handle)
        return self._by_shares(model, rows, handle)

    @property
    def _prunes(self) -> bool:
        return len(self.question.shares) > 1

    def _shares_work(self, model: Any, rows: Dataset) -> bool:
        matrix = steps_of(model)[-1].learns_from_matrix
        return matrix and isinstance(rows.engine, Local) and not self.question.timed

    def _between_rounds(self, model: Any, rows: Dataset, handle: Handle) -> Found:
        outlook, metric = ScoreForecast(), self.question.metric

        def tell(share: float, scores: Mapping[str, float]) -> None:
            if metric in scores and (end := outlook.after(share, scores[metric])) is not None:
                handle.report(end, _step(share, max(self.question.shares)))

        began = time.perf_counter()
        scores = self._bench(rows, 1.0).scores(model, tell)
        return _described(scores, time.perf_counter() - began)

    def _by_shares(self, model: Any, rows: Dataset, handle: Handle) -> Found:
        for step, share in self.question.shares.items():
            began = time.perf_counter()
            scores = self._scores(model, rows, share)
            found = _described(scores, time.perf_counter() - began)
            _report(handle, self.question, found[0], step)
        return found

    def _scores(self, model: Any, rows: Dataset, share: float) -> list[Scores]:
        if self._shares_work(model, rows):
            return self._bench(rows, share).scores(model)
        question = self.question
        part = _part(rows, share)
        return cross_validate(model, part, question.target, question.weight, cv=question.folds).folds

    def _bench(self, rows: Dataset, share: float) -> CachedCrossValidator:
        question = self.question
        if share not in self._benches:
            self._benches[share] = CachedCrossValidator(
                _part(rows, share), question.target, question.weight, question.folds
            )
        return self._benches[share]


@dataclass
class ScoreForecast:
    """Where the score of a fit under way will end, if it goes on as it did since half as many rounds.

    Scores are about linear in the logarithm of the rounds. What a fit scores in the middle says little: small
    learning rates are behind there, and ahead at the end. See Domhan, Springenberg and Hutter (2015) for
    predicting learning curves, of which this is the simplest.
    """

    _before: tuple[float, float] | None = None

    def after(self, share: float, score: float) -> float | None:
        """The score at the end, as it looks after a share of the rounds; None at the first time."""
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


def _described(folds: Sequence[Scores], seconds: float) -> Found:
    return mean_scores(folds), {"fit_seconds": seconds / len(folds), "std": std_scores(folds)}


@dataclass(frozen=True)
class ScikitLearn:
    """Cross-validate an estimator of scikit-learn's kind; folds were chosen when the rows were stored."""

    estimator: Any
    question: EstimatorObjective
    features: Sequence[str] | None

    def __call__(self, handle: Handle) -> Found:
        question, table = self.question, handle.data
        assert table is not None
        place = table[PLACE].to_numpy()
        for step, share in question.shares.items():
            part = np.random.default_rng(_SEED).random(len(place)) < share if share < 1 else None
            scores = [self._fold(table, place, part, k, handle) for k in range(question.folds.count)]
            mean = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
            _report(handle, question, mean, step)
        std = {name: float(np.std([score[name] for score in scores])) for name in scores[0]}
        return mean, {"fit_seconds": mean.pop("fit_seconds"), "std": std}

    def _fold(
        self, table: pa.Table, place: np.ndarray, part: np.ndarray | None, k: int, handle: Handle
    ) -> dict[str, float]:
        folds = self.question.folds
        learn, test = folds.train_places(k)[place], folds.test_places(k)[place]
        if part is not None:
            learn, test = learn & part, test & part
        X, y = self._features(table), table[self.question.target].to_numpy(zero_copy_only=False)
        weight = None if self.question.weight is None else table[self.question.weight].to_numpy()
        model = clone(self.estimator).set_params(**handle.parameters)
        began = time.perf_counter()
        weighted = {} if weight is None else {"sample_weight": weight[learn]}
        model.fit(X[learn], y[learn], **weighted)
        seconds = time.perf_counter() - began
        found = judged(model, X[test], y[test], None if weight is None else weight[test])
        return {**found, "fit_seconds": seconds}

    def _features(self, table: pa.Table) -> Any:
        if self.features is None:
            column = table[MATRIX].chunk(0)
            return column.flatten().to_numpy().reshape(len(column), -1)
        return table.select(list(self.features)).to_pandas(split_blocks=True)


@dataclass(frozen=True)
class Call:
    """Call a function with the parameters, and with the trial if it takes two arguments."""

    function: Callable[..., Any]

    def __call__(self, handle: Handle) -> Found:
        takes = len(inspect.signature(self.function).parameters)
        given = (dict(handle.parameters), handle)[:takes]
        found = self.function(*given)
        if isinstance(found, Mapping):
            return {name: float(value) for name, value in found.items()}, {}
        values = list(found) if isinstance(found, Sequence | np.ndarray) else [found]
        return [float(value) for value in values], {}


def judged(model: Any, X: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
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
    found = ClassificationState.of(truth, chances, weight).metrics()
    if hasattr(model, "decision_function") and len(classes) == 2:
        from outgrow.stats.scores import RankedScores

        ranks = np.argsort(np.argsort(model.decision_function(X))) / max(1, len(y))
        ranked = RankedScores.of(ranks, truth == 1, weight)
        found |= {"roc_auc": ranked.roc_auc(), "pr_auc": ranked.average_precision()}
    found.pop("log_loss")
    return found


def _report(handle: Handle, question: EstimatorObjective, scores: Mapping[str, float], step: int) -> None:
    """Say how it goes, unless this was the last."""
    if len(question.shares) > 1 and step != max(question.shares) and question.metric in scores:
        handle.report(scores[question.metric], step)
