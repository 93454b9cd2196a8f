"""A classifier whose threshold is where a metric is best on rows held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import ARRAY, FLAG, Integer, OneOf, Such, Unused
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.folds import FOLDS, answered, dealt, held_out, learn_folds
from outgrow.ml.meta.parts import NO_FOLDS, PREFIT
from outgrow.ml.meta.threshold_metrics import METRICS, Metric, at_thresholds, by_cost
from outgrow.ml.meta.thresholds import CHANCES, PARAMETERS, ThresholdClassifier
from outgrow.stats.scores import RankedScores


def _are_costs(value: Any) -> bool:
    try:
        costs = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        return False
    return costs.shape == (2, 2) and bool(np.isfinite(costs).all())


class TunedThresholdClassifierCV(ThresholdClassifier):
    """Take the threshold at which a metric, or a cost, is best on rows that were held out.

    The models of the folds and that of all rows learn side by side, in passes that they share; one pass asks
    for the scores of the rows held out, and of all thresholds that part them the best is taken.

    Parameters
    ----------
    estimator : the classifier.
    scoring : the metric: 'balanced_accuracy', 'accuracy', 'f1', 'precision', 'recall', 'jaccard' or
        'matthews_corrcoef'; or what errors cost, of shape (2, 2), by the true class (row) and the predicted
        one (column) with the positive class last, of which the mean is made small.
    response_method : 'predict_proba' or 'decision_function'; 'auto' for probabilities where there are any.
    thresholds : None for all that part rows; numbers to choose among. A whole number is accepted as
        scikit-learn has it, and means all.
    cv : how many folds, None for 5: the hash of a row decides which it belongs to, class by class. 'prefit'
        for an estimator that is fitted already: all rows judge it.
    refit : accepted as scikit-learn has it: the model that answers has learned from all rows.
    n_jobs, random_state : accepted as scikit-learn has them, without effect.
    store_cv_results : whether to keep `cv_results_`.
    pos_label : the positive class; None for the second.

    Attributes
    ----------
    classes_ : ndarray of the two classes.
    best_threshold_ : a row with this score or a higher one is of the positive class.
    best_score_ : the metric there, on the rows held out; of costs their mean, negated.
    cv_results_ : dictionary of two arrays, `thresholds` and `scores`; None unless they are stored.
    estimator_ : the classifier that learned from all rows.

    Notes
    -----
    Unlike scikit-learn: the scores of all folds are put together, and every threshold is tried, where
    scikit-learn averages over folds at 100 of them; thresholds lie between the scores of two rows; past five
    million rows scores are counted in bins; costs in place of functions as `scoring`; folds by the hashes of
    rows, and no fold objects; models of outgrow, and pipelines of them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(1000, 1))
    >>> y = (X[:, 0] + random.normal(size=1000) > 2).astype(int)
    >>> to_miss_costs = [[0, 1], [10, 0]]
    >>> model = og.TunedThresholdClassifierCV(og.LogisticRegression(), scoring=to_miss_costs).fit(X, y)
    >>> 0.03 < model.best_threshold_ < 0.2
    True
    """

    test_parameters = {"estimator": LogisticRegression(), "cv": 2, "thresholds": [0.5]}
    expected_failed_checks = NO_FOLDS
    parameters = {
        **PARAMETERS,
        "scoring": OneOf(*METRICS) | Such("costs of shape (2, 2)", _are_costs),
        "thresholds": Integer(low=1) | ARRAY | None,
        "cv": Integer(low=2) | OneOf(PREFIT, None),
        "refit": FLAG,
        "n_jobs": Unused(),
        "random_state": Unused(),
        "store_cv_results": FLAG,
    }
    best_threshold_: float
    best_score_: float
    cv_results_: dict[str, np.ndarray] | None

    def __init__(
        self,
        estimator: Any,
        *,
        scoring: Any = "balanced_accuracy",
        response_method: str = "auto",
        thresholds: Any = None,
        cv: int | str | None = None,
        refit: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        store_cv_results: bool = False,
        pos_label: Any = None,
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.response_method = response_method
        self.thresholds = thresholds
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.store_cv_results = store_cv_results
        self.pos_label = pos_label

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.refit and not self._prefit:
            raise ParameterError(
                "TunedThresholdClassifierCV(refit=False): several models learned, of which none "
                "answers. Leave refit as it is."
            )

    @property
    def _prefit(self) -> bool:
        return isinstance(self.cv, str)

    @property
    def _threshold(self) -> float:
        return self.best_threshold_

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        if self._prefit:
            part = self._ready
            answers = answered(view, part, self._columns, 1)
        else:
            folds = FOLDS if self.cv is None else int(self.cv)
            rows = dealt(view, folds, self._seed)
            models = [self._new_part() for _ in range(folds + 1)]
            answers = held_out(learn_folds(rows, models, whole=True), models, self._columns, 1)
            part = models[-1]
            rows.tiles.release()
        self._choose(answers.reduce(self._ranked))
        answers.tiles.release()
        self._keep([part])

    def _columns(self, model: Any, X: Any) -> np.ndarray:
        """Scores of shape (rows, 1), in [0, 1]."""
        scores = self._scores(model, X)[:, None]
        return scores if self._response == CHANCES else _within(scores)

    def _ranked(self, block: Block) -> RankedScores:
        return RankedScores.of(block.X[:, 0], np.asarray(block.y) == self._positive, block.weight)

    def _choose(self, ranked: RankedScores) -> None:
        """Take the lowest of the thresholds with the best score."""
        wanted = self._wanted()
        if self._response == CHANCES:
            thresholds, scores = at_thresholds(ranked, self._metric(), wanted)
        else:
            within = None if wanted is None else _within(wanted)
            thresholds, scores = at_thresholds(ranked, self._metric(), within)
            thresholds = _beyond(thresholds) if wanted is None else wanted
        best = int(np.argmax(scores))
        self.best_threshold_, self.best_score_ = float(thresholds[best]), float(scores[best])
        kept = {"thresholds": thresholds, "scores": scores}
        self.cv_results_ = kept if self.store_cv_results else None

    def _wanted(self) -> np.ndarray | None:
        """The thresholds that were given, ascending; None for all there are."""
        if self.thresholds is None or not np.ndim(self.thresholds):
            return None
        wanted = np.unique(np.asarray(self.thresholds, dtype=np.float64))
        if not len(wanted) or not np.isfinite(wanted).all():
            raise ParameterError(f"thresholds={self.thresholds!r}: give finite numbers, of shape (n,).")
        return wanted

    def _metric(self) -> Metric:
        return METRICS[self.scoring] if isinstance(self.scoring, str) else by_cost(np.asarray(self.scoring))


def _within(margins: np.ndarray) -> np.ndarray:
    """Any numbers as such between 0 and 1 in the same order."""
    return np.asarray(0.5 + 0.5 * margins / (1 + np.abs(margins)))


def _beyond(scores: np.ndarray) -> np.ndarray:
    """The margins that `_within` was given."""
    signed = np.clip(2 * scores - 1, -1 + 1e-15, 1 - 1e-15)
    return np.asarray(signed / (1 - np.abs(signed)))
