"""Cox's proportional hazards: regression for censored times, whatever their distribution."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import chdtrc
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.engine.blocks import Block
from outgrow.engine.checks import is_label, label_numbers
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.ml.base import Regressor
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.parameters import Integer, Number, OneOf
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.base import GRAM_WIDTH
from outgrow.ml.linear_model.inference import Information, Summary
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.survival.concordance import Concordance, concordance
from outgrow.ml.survival.risk_sets import (
    Clock,
    EventTimes,
    Look,
    PartialLikelihood,
    events_of,
    weights_of,
)
from outgrow.stats.counts import ValueCounts
from outgrow.stats.moments import Moments
from outgrow.stats.number_sums import NumberSums

MOST_TIMES = 1_000_000
"""Different times of events."""
MOST_SUMS = 1 << 27
"""Numbers that are kept for them, one for each time and feature: a GiB."""
_HALVINGS = 30
_MANY = 15
"""Steps, after which a coefficient that still grows has no end."""
_RUNS = 1e-3
"""Of a coefficient, and of what it does over a standard deviation: a last step that is larger has no end."""
_MAIN = 0.1
"""Of the most that a coefficient does over a standard deviation: those that do less have not grown."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Where the likelihood is largest: `information` there, `start` that without any coefficient."""

    coef: np.ndarray
    look: Look
    null: float
    start: Information
    information: Information
    step: np.ndarray
    passes: int
    converged: bool


class CoxRegression(Regressor):
    """The hazard of an event is baseline(time) * exp((X - mean_) @ coef_), whatever the baseline (Cox 1972).

    `fit(..., event=)` takes 1 where what is waited for happened at that time, and 0 where nothing is known
    but that it had not happened by then; without it, all have happened. `entry=` takes the times from which
    rows are looked at: they are at risk for events after it (late entry, left truncation). `strata=` takes
    kinds of rows, as numbers or text, each of which has a baseline of its own. Newton's method on the partial
    likelihood takes two passes a step: sums over the rows at risk for each time of an event, and one weighted
    product of the features.

    Parameters
    ----------
    ties : 'efron' or 'breslow', what events at the same time count for. By Breslow's method a weight is so
        many equal rows; by Efron's, events of a time share the mean of their weights, as in R and lifelines.
    alpha : the penalty: ½ alpha times the squared coefficients is subtracted from the logarithm of the
        partial likelihood, which is a sum over events. The features are not scaled.
    max_iter : most steps.
    tol : share of the logarithm of the likelihood; it ends with the step that is expected to gain no more.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    mean_ : ndarray of shape (n_features,), of the features: the row whose risk is 1.
    n_iter_ : steps.
    covariance_ : ndarray of shape (n_features, n_features), of the coefficients; NaN where nothing determines
        them.
    summary_ : `Summary`: of each coefficient `std_error`, `statistic`, `p_value` and `interval()`; and
        `log_likelihood`, the partial one, that without features as `null_log_likelihood`, the test of one
        against the other as `likelihood_ratio` and `likelihood_ratio_p_value`, `events` and `rows`.
    hazard_ratios_ : ndarray of shape (n_features,), exp(coef_).
    event_times_ : ndarray of shape (n_times,), the different times of events, one stratum after the other.
    baseline_hazard_ : ndarray of shape (n_times,), the hazard of a row with the mean of all features, summed
        up to each of those times (Breslow's estimate, for either way with ties).
    strata_ : list of the strata, if any were given.
    event_strata_ : ndarray of shape (n_times,), the place in `strata_` of the stratum of each of the times.

    Notes
    -----
    `predict` gives the risk beside that of a row of means, exp((X - mean_) @ coef_), as lifelines'
    `predict_partial_hazard`; it rises as times fall. `evaluate` and `concordance` take `event`, `entry` and
    `strata`, too; without `event` they take all times for known ones. A row with features that
    change with time is given as a row for each span between changes, with its `entry` and end. It takes up to
    4,096 features and 1,000,000 different times of events.

    Unlike lifelines' `CoxPHFitter(penalizer=)`: `alpha` is its penalizer times the number of rows, for
    features of which the standard deviation is 1; survival stays as it is between events; the baseline and
    the concordance count late entry, too. Unlike statsmodels' `PHReg`: a row is not at risk at its entry.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0]])
    >>> time, event = np.array([9.0, 2.0, 6.0, 3.0, 4.0, 5.0]), np.array([0, 1, 1, 1, 1, 1])
    >>> model = og.CoxRegression().fit(X, time, event=event)
    >>> model.hazard_ratios_.round(2).tolist()
    [0.18]
    >>> model.predict_survival(X[:2], [2.5, 5.0]).round(2).tolist()
    [[0.95, 0.69], [0.75, 0.13]]
    """

    roles = {"event": False, "entry": False, "strata": False}
    role_labels = ("strata",)
    _scoring = Concordance()
    score_metric = "concordance"
    _follows_type = ("coef_",)
    no_exports = {"scikit-learn": "scikit-learn has no models of censored times"}
    test_parameters = {"ties": "breslow"}
    expected_failed_checks = {
        f"check_sample_weight_equivalence_on_{form}_data": "columns that put all rows in order have no "
        "most likely coefficients, and by Efron's method weights are no repetitions"
        for form in ("dense", "sparse")
    }
    parameters = {
        "ties": OneOf("efron", "breslow"),
        "alpha": Number(low=0),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
    }

    coef_: np.ndarray
    mean_: np.ndarray
    covariance_: np.ndarray
    event_times_: np.ndarray
    baseline_hazard_: np.ndarray
    strata_: list[Any] | None = None
    event_strata_: np.ndarray
    fit_statistics_: dict[str, float]

    def __init__(
        self, *, ties: str = "efron", alpha: float = 0.0, max_iter: int = 100, tol: float = 1e-12
    ) -> None:
        self.ties = ties
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # risks are no times
        return tags

    # ---- learn -------------------------------------------------------------------------------------------

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        name = task.roles.get("strata")
        self.strata_ = None if name is None else _values(shard, name)
        return shard

    def _fit(self, view: MatrixView) -> None:
        if view.width > GRAM_WIDTH:
            raise DataError(
                f"CoxRegression takes up to {GRAM_WIDTH} features; there are {view.width}. Choose some of "
                "them, or reduce them with PCA."
            )
        sums, strata, counts, moments = view.reduce(_opening)
        _check(counts)
        clock = Clock(sums.numbers, None if self.strata_ is None else strata.numbers)
        if clock.strata is None:
            sums = replace(sums, numbers=np.arange(1.0, len(sums.numbers) + 1))
        else:
            sums = view.reduce(lambda block: _event_sums(block, clock.codes(block, np.asarray(block.y))))
        _check_size(len(sums.numbers), view.width)
        offsets = Offsets.of(view, intercept=True)
        events = EventTimes.of(clock, sums, efron=self.ties == "efron")
        found = self._maximum(PartialLikelihood(offsets.apply(view), events))
        self.coef_, self.mean_ = found.coef, moments.mean
        self.n_iter_ = found.passes
        self.covariance_ = found.information.covariance(np.eye(view.width))
        self._infer(found, counts)
        look, beside = found.look, float((moments.mean - offsets.centre) @ found.coef)
        with np.errstate(over="ignore"):  # a hazard past all numbers is infinite
            hazard = events.summed(events.weight / look.at_risk, look.level) * np.exp(beside - look.level)
        self._take_baseline(events, hazard)
        self._warn(found, np.sqrt(moments.variance()))

    def _take_baseline(self, events: EventTimes, hazard: np.ndarray) -> None:
        """Keep the hazards of the strata, in the order of their names."""
        order = np.arange(len(hazard))
        if self.strata_ is not None:
            assert events.clock.strata is not None
            numbers = label_numbers(pa.array(self.strata_), "strata")
            places = np.argsort(numbers)[np.searchsorted(np.sort(numbers), events.clock.strata)]
            strata = places[events.strata]
            order = np.argsort(strata, kind="stable")
            self.event_strata_ = strata[order]
        self.event_times_, self.baseline_hazard_ = events.times[order], hazard[order]

    def _maximum(self, likelihood: PartialLikelihood) -> _Found:
        """Newton's method, with steps halved until the likelihood rises."""
        coef = np.zeros(likelihood.view.width)
        look = likelihood.look(coef)
        null, start = look.value, None
        for count in range(1, self.max_iter + 1):
            H = likelihood.information(coef, look) + self.alpha * np.eye(len(coef))
            information = Information.of(H)
            start = start or information
            slope = look.gradient - self.alpha * coef
            step = information.inverse @ slope
            gain = float(slope @ step) / 2
            converged = gain <= self.tol * max(1.0, abs(null))
            ahead = self._ahead(likelihood, coef, look, step)
            if ahead is None:  # no digits are left to gain
                return _Found(coef, look, null, start, information, step, count, converged)
            coef, look = ahead
            if converged:
                break
        assert start is not None
        return _Found(coef, look, null, start, information, step, count, converged)

    def _ahead(
        self, likelihood: PartialLikelihood, coef: np.ndarray, look: Look, step: np.ndarray
    ) -> tuple[np.ndarray, Look] | None:
        """The first of ever shorter steps after which the likelihood is no less; None if there is none."""
        least = self._penalised(coef, look.value)
        least -= 1e-13 * abs(least)
        for halving in range(_HALVINGS):
            there = coef + step * 0.5**halving
            seen = likelihood.look(there)
            value = self._penalised(there, seen.value)
            if seen.finite and np.isfinite(value) and value >= least:
                return there, seen
        return None

    def _penalised(self, coef: np.ndarray, value: float) -> float:
        return value - 0.5 * self.alpha * float(coef @ coef)

    def _infer(self, found: _Found, counts: np.ndarray) -> None:
        ratio = max(2 * (found.look.value - found.null), 0.0)
        rank = found.start.rank  # where coefficients grow without end, the last information is nearly none
        self.fit_statistics_ = {
            "log_likelihood": found.look.value,
            "null_log_likelihood": found.null,
            "likelihood_ratio": ratio,
            "likelihood_ratio_p_value": float(chdtrc(rank, ratio)) if rank else 1.0,
            "events": float(counts[5]),
            "rows": float(counts[6]),
        }

    def _warn(self, found: _Found, deviation: np.ndarray) -> None:
        size = np.abs(found.step)
        runs = (size * deviation > _RUNS) & (size > _RUNS * np.abs(found.coef))
        fallen = found.information.rank < found.start.rank
        if fallen:  # so far along that nothing bends, so there is no step
            pull = np.abs(found.coef) * deviation
            runs |= found.information.free
            runs &= pull >= _MAIN * (pull * found.information.free).max()
        if runs.any() and (found.converged or fallen or found.passes >= _MANY):
            names = [name for name, one in zip(self.features_, runs, strict=True) if one]
            warnings.warn(
                f"CoxRegression: the coefficients of {names} grow without end, for the likelihood rises with "
                "them: those columns tell who has an event first. Their standard errors and tests say "
                "nothing. Leave the columns out, or give alpha > 0.",
                ConvergenceWarning,
                stacklevel=2,
            )
        elif not found.converged:
            warnings.warn(
                f"CoxRegression failed to converge in {found.passes} steps. Raise max_iter or tol, or scale "
                "the columns.",
                ConvergenceWarning,
                stacklevel=2,
            )

    # ---- answer ------------------------------------------------------------------------------------------

    @property
    def hazard_ratios_(self) -> np.ndarray:
        """By what one more of each feature multiplies the hazard."""
        check_is_fitted(self)
        return np.exp(np.asarray(self.coef_, dtype=np.float64))

    @property
    def summary_(self) -> Summary:
        """Coefficients with their standard errors and tests, and the partial likelihood."""
        check_is_fitted(self)
        coef = np.asarray(self.coef_, dtype=np.float64)
        left = self.fit_statistics_["rows"] - len(coef)
        fit = {"ties": self.ties, **self.fit_statistics_}
        return Summary(list(self.features_), coef, np.sqrt(np.diag(self.covariance_)), "z", left, fit)

    def _predict(self, X: Any) -> np.ndarray:
        with np.errstate(over="ignore"):  # a risk past all numbers is infinite
            return np.asarray(np.exp(X @ self.coef_ - self._mean_score()))

    def _mean_score(self) -> float:
        return float(self.mean_ @ self.coef_)

    def predict_survival(self, X: Any, times: Any, strata: Any = None) -> np.ndarray:
        """How probable it is that nothing has happened by each time: an array of shape (rows, times).

        Before the first time of an event it is 1, after the last one it stays as it is.

        Parameters
        ----------
        X : a table or an array, in memory.
        times : numbers.
        strata : of a model of strata the stratum of all rows, or an array of shape (rows,).

        Raises
        ------
        DataError
            For a lazy table, and for strata that the fit has not seen.
        """
        risk = self._risks(X, "predict_survival")
        wanted = np.atleast_1d(np.asarray(times, dtype=np.float64))
        places, which = self._places(strata, len(risk))
        passed = np.array([self._passed(place, wanted) for place in places.tolist()])
        return _no_event(risk, passed[which])

    def _survival(self, risk: np.ndarray, times: np.ndarray) -> np.ndarray:
        """How probable it is that rows of these risks have no event by each time; without strata."""
        return _no_event(risk, self._passed(0, times))

    def _places(self, strata: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The different places of some strata, and which of those each row has."""
        if self.strata_ is None and strata is None:
            return np.zeros(1, np.intp), np.zeros(rows, np.intp)
        known = [] if self.strata_ is None else self.strata_
        given = [strata] * rows if np.ndim(strata) == 0 else np.asarray(strata).ravel().tolist()
        unseen = sorted({str(each) for each in given if each not in known})
        if unseen or len(given) != rows:
            said = (
                f"not {unseen[:5]}" if strata is not None and unseen else "one for all rows or one for each"
            )
            raise DataError(
                f"predict_survival: strata must be those of the fit, {known[:20]}, {said}; there are {rows} "
                "rows. A model without strata takes none."
            )
        places = [known.index(each) for each in set(given)]
        by_value = dict(zip(set(given), places, strict=True))
        found, which = np.unique([by_value[each] for each in given], return_inverse=True)
        return found, which

    def _passed(self, place: int, times: np.ndarray) -> np.ndarray:
        """The hazard of a stratum, summed up to some times."""
        own = slice(None) if self.strata_ is None else self.event_strata_ == place
        hazard = np.append(0.0, self.baseline_hazard_[own])
        return np.asarray(hazard[np.searchsorted(self.event_times_[own], times, side="right")])

    def concordance(
        self,
        X: Any,
        time: Any,
        event: Any = None,
        sample_weight: Any = None,
        entry: Any = None,
        strata: Any = None,
    ) -> float:
        """The share of pairs of which the row with the higher risk has its event first (Harrell 1982).

        Pairs are those of a stratum of which the other row has entered before that event.

        Parameters
        ----------
        X : a table or an array, in memory.
        time, event, sample_weight, entry, strata : arrays of shape (rows,); without `event` all have one.

        Raises
        ------
        DataError
            For a lazy table, and for arrays of other lengths.
        """
        risk = self._risks(X, "concordance")
        default = {"time": time, "event": 1.0, "sample_weight": 1.0, "entry": -np.inf, "strata": 0}
        asked = {"event": event, "sample_weight": sample_weight, "entry": entry, "strata": strata}
        given = default | {name: np.asarray(each) for name, each in asked.items() if each is not None}
        arrays = {
            name: np.full(len(risk), each) if np.isscalar(each) else np.asarray(each)
            for name, each in given.items()
        }
        if any(each.shape != risk.shape for each in arrays.values()):
            shapes = ", ".join(f"{name} {each.shape}" for name, each in arrays.items())
            raise DataError(
                f"concordance: X has {len(risk)} rows; the shapes are {shapes}. Give one number for each row."
            )
        numbers = np.unique(arrays.pop("strata"), return_inverse=True)[1]
        known = {name: each.astype(np.float64) for name, each in arrays.items()}
        weight = known.pop("sample_weight")
        return concordance(risk, **known, weight=weight, strata=numbers.astype(np.float64))

    def _risks(self, X: Any, method: str) -> np.ndarray:
        if is_lazy(X):
            raise DataError(
                f"CoxRegression.{method} takes rows in memory, not a lazy table. Collect some rows first, or "
                "make it of `predict`, `event_times_` and `baseline_hazard_`."
            )
        return np.asarray(self.predict(X), dtype=np.float64)

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        X = features(self.features_, table, type(self).__name__)
        product = graph.node("MatMul", X, graph.constant(self.coef_.astype(np.float64)[:, None]))
        score = graph.node("Sub", product, graph.constant(np.atleast_1d(self._mean_score())))
        return Answer(graph.node("Exp", graph.node("Squeeze", score, graph.constant([1], np.int64))))


def _no_event(risk: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """How probable it is that rows of these risks, which may be infinite, get through so much hazard."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(passed > 0, np.exp(-risk[:, None] * passed), 1.0)


def _values(shard: Shard, name: str) -> list[Any]:
    """The different values of a column, from one pass."""

    def fold(batch: Batch) -> ValueCounts:
        column = batch[name]
        if isinstance(column, Matrix) or not is_label(column.type):
            raise SchemaError(f"strata is {name!r}, which is no column of numbers or text.")
        return ValueCounts.of(column)

    counts: ValueCounts = shard.reduce(fold)
    return counts.values()


def _opening(block: Block) -> tuple[NumberSums, NumberSums, np.ndarray, Moments]:
    """Sums over the events of each time; the strata; counts; the moments of the features.

    Counts are those of events that cannot be, and their sum; of entries that are no earlier than the time,
    and the sums of both; weights of events and rows.
    """
    time, event, weight = np.asarray(block.y), events_of(block), weights_of(block)
    odd = (event != 0) & (event != 1)
    entry = block.roles.get("entry", np.full(len(block), -np.inf))
    late = entry >= time
    counts = [odd.sum(), event[odd].sum(), late.sum(), entry[late].sum(), time[late].sum()]
    counts += [weight @ event, weight.sum()]
    strata = block.roles.get("strata", np.zeros(len(block)))
    return (
        _event_sums(block, time),
        NumberSums.of(strata, weight[:, None]),
        np.array(counts, dtype=np.float64),
        Moments.of(block.X, block.weight),
    )


def _event_sums(block: Block, numbers: np.ndarray) -> NumberSums:
    """What events weigh and how many there are, by a number of each row."""
    weight = weights_of(block)
    seen = (events_of(block) == 1) & (weight > 0)
    return NumberSums.of(numbers[seen], np.column_stack([weight[seen], np.ones(seen.sum())]))


def _check(counts: np.ndarray) -> None:
    """Raise DataError for events that cannot be, or if there are none."""
    if counts[0]:
        raise DataError(
            f"event must be 0 or 1: {counts[0]:.0f} value(s) are neither, whose mean is "
            f"{counts[1] / counts[0]:.6g}. Give 1 where it happened, 0 where the time is censored."
        )
    if counts[2]:
        raise DataError(
            f"entry must be before the time: of {counts[2]:.0f} row(s) it is not; their mean entry is "
            f"{counts[3] / counts[2]:.6g}, their mean time {counts[4] / counts[2]:.6g}. Leave those rows out."
        )
    if not counts[5] > 0:
        raise DataError("No row has an event, so nothing tells who has one first. Give rows with event=1.")


def _check_size(times: int, width: int) -> None:
    most = min(MOST_TIMES, MOST_SUMS // (width + 1))
    if times > most:
        raise DataError(
            f"CoxRegression takes up to {most:,} different times of events with {width} features; there are "
            f"{times:,}. Round the times, such as to days."
        )
