"""Proportional hazards beside lifelines and statsmodels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.engine.dataset import from_arrow
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.survival import cox_regression
from outgrow.ml.survival.concordance import concordance
from outgrow.testing import EngineCase, pieces_case

K = np.arange(40)
X = np.column_stack([np.sin(K), K % 5])
TIME = 1.0 + (7 * K + 3) % 11 + 2 * X[:, 1]
EVENT = (K % 4 != 0).astype(float)
WEIGHT = 1.0 + K % 3 / 2

PEERS: dict[str, Any] = {
    "efron": ([-0.01172290181, -0.664491785], [0.2993218186, 0.175298133], -75.6145974405),
    "breslow": ([-0.05852649787, -0.6200825365], [0.2967245911, 0.1711489079], -78.0779668123),
}
"""Of statsmodels 0.15.0's PHReg, and of lifelines 0.30.3 by Efron's method: coefficients, standard errors,
partial log likelihood."""
WEIGHTED = ([-0.1099547889, -0.7289431478], [0.2446152402, 0.1482237606], -129.164576591)
"""Of lifelines' CoxPHFitter with weights_col."""
PENALISED = [0.01895267933, -0.5345438177]
"""Of lifelines' CoxPHFitter(penalizer=0.1)."""


def _is(model: Any, expected: Any) -> None:
    coef, std_error, likelihood = expected
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-8)
    np.testing.assert_allclose(model.summary_.std_error, std_error, rtol=1e-7)
    assert model.summary_.log_likelihood == pytest.approx(likelihood, rel=1e-11)


@pytest.mark.parametrize("ties", PEERS)
def test_what_statsmodels_and_lifelines_find(ties: str) -> None:
    model = og.CoxRegression(ties=ties).fit(X, TIME, event=EVENT)
    _is(model, PEERS[ties])
    assert (model.summary_.events, model.summary_.rows, model.summary_.test) == (30, 40, "z")
    assert model.concordance(X, TIME, EVENT) == pytest.approx(0.7267857142857143, rel=1e-12)


def test_weights_and_penalties_as_in_lifelines() -> None:
    _is(og.CoxRegression().fit(X, TIME, event=EVENT, sample_weight=WEIGHT), WEIGHTED)
    deviation = X.std(axis=0, ddof=1)
    model = og.CoxRegression(alpha=0.1 * 40).fit(X / deviation, TIME, event=EVENT)
    np.testing.assert_allclose(model.coef_ / deviation, PENALISED, rtol=1e-8)


def test_what_follows_from_the_coefficients() -> None:
    """Risks, baseline, survival and the test of all coefficients, as lifelines gives them."""
    model = og.CoxRegression().fit(X, TIME, event=EVENT)
    np.testing.assert_allclose(
        model.predict(X[:3]), [3.778478862754265, 1.9250756095859192, 0.9897314225477801], rtol=1e-8
    )
    hazard = model.baseline_hazard_[np.searchsorted(model.event_times_, [5, 12])]
    np.testing.assert_allclose(hazard, [0.0775464571, 0.9259422886], rtol=1e-8)
    survival = model.predict_survival(X[:2], [0.5, 5])
    np.testing.assert_allclose(survival, [[1, 0.74601643438], [1, 0.86132550349]], rtol=1e-8)
    assert model.summary_.likelihood_ratio == pytest.approx(15.842934622183378, rel=1e-10)
    assert model.summary_.likelihood_ratio_p_value == pytest.approx(0.0003628694932423063, rel=1e-9)
    np.testing.assert_allclose(model.hazard_ratios_, np.exp(model.coef_))
    assert model.score(X, TIME) == model.concordance(X, TIME)


@pytest.mark.parametrize("ties", PEERS)
def test_on_every_engine(engine: EngineCase, ties: str) -> None:
    table = pa.table({"a": X[:, 0], "died": EVENT, "b": X[:, 1], "t": TIME, "w": 1.0 + K % 2})
    model = og.CoxRegression(ties=ties).fit(engine.open(table), "t", sample_weight="w", event="died")
    assert model.features_ == ["a", "b"]
    here = og.CoxRegression(ties=ties).fit(X, TIME, event=EVENT, sample_weight=1.0 + K % 2)
    np.testing.assert_allclose(model.coef_, here.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.baseline_hazard_, here.baseline_hazard_, rtol=1e-10)


def test_by_breslows_method_weights_are_rows() -> None:
    rows = np.repeat(K, K % 3)
    once = og.CoxRegression(ties="breslow").fit(X, TIME, event=EVENT, sample_weight=K % 3)
    many = og.CoxRegression(ties="breslow").fit(X[rows], TIME[rows], event=EVENT[rows])
    np.testing.assert_allclose(once.coef_, many.coef_, rtol=1e-9)
    np.testing.assert_allclose(once.covariance_, many.covariance_, rtol=1e-7)
    np.testing.assert_allclose(once.baseline_hazard_, many.baseline_hazard_, rtol=1e-9)


def test_far_columns_and_times() -> None:
    """Only the order of times counts, and what columns differ by."""
    plain = og.CoxRegression().fit(X, TIME, event=EVENT)
    moved = og.CoxRegression().fit(X * [1, 100] + [1e6, -1e8], np.log(TIME) - 50, event=EVENT)
    np.testing.assert_allclose(moved.coef_ * [1, 100], plain.coef_, rtol=1e-7)
    np.testing.assert_allclose(moved.baseline_hazard_, plain.baseline_hazard_, rtol=1e-6)
    np.testing.assert_allclose(moved.summary_.std_error * [1, 100], plain.summary_.std_error, rtol=1e-6)


def test_columns_that_say_nothing() -> None:
    """A constant column and a copy change nothing for others; nothing determines them."""
    constant = np.column_stack([X, np.full(40, 0.1)])
    model = og.CoxRegression().fit(constant, TIME, event=EVENT)
    np.testing.assert_allclose(model.coef_[:2], PEERS["efron"][0], rtol=1e-8)
    assert model.coef_[2] == 0
    assert np.isnan(model.summary_.std_error[2])
    twice = og.CoxRegression().fit(X[:, [0, 1, 1]], TIME, event=EVENT)
    assert twice.coef_[1] + twice.coef_[2] == pytest.approx(PEERS["efron"][0][1], rel=1e-8)
    assert np.isnan(twice.summary_.std_error).tolist() == [False, True, True]
    assert twice.summary_.log_likelihood == pytest.approx(PEERS["efron"][2])


def test_one_event() -> None:
    """Of one event among rows whose column balances, the maximum is known in closed form: odds of 1 : 3."""
    x, time = np.array([1.0, 0, 0, 1, 0, 0]), np.arange(1.0, 7)
    model = og.CoxRegression(alpha=0.1).fit(x[:, None], time, event=time == 1)
    coef = model.coef_[0]
    share = 2 * np.exp(coef) / (2 * np.exp(coef) + 4)
    assert 1 - share == pytest.approx(0.1 * coef, rel=1e-6)
    assert model.event_times_.tolist() == [1.0]
    last = og.CoxRegression().fit(x[:, None], time, event=time == 6)  # nobody else is at risk
    assert last.coef_[0] == 0
    assert last.summary_.log_likelihood == 0


ENTRY = TIME * (K % 3) / 4
SIDE = np.array(["north", "south"])[(K // 7) % 2]
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "t": TIME, "died": EVENT, "from": ENTRY, "side": SIDE})
LATE: dict[str, Any] = {
    "entry": ({"entry": "from"}, [0.020162504, -0.62576947], [0.3024548, 0.175817], -73.84384970547),
    "strata": ({"strata": "side"}, [-0.00154374, -0.64565512], [0.30301624, 0.17818411], -56.757724420507),
    "both": (
        {"entry": "from", "strata": "side"},
        [0.02821574, -0.60282247],
        [0.30627796, 0.17925582],
        -55.059633728418,
    ),
}
"""Coefficients, standard errors, and of lifelines 0.30.3 the partial log likelihood, to twelve digits; its
coefficients agree to six, as it ends earlier."""


def test_late_entry_and_strata_as_in_lifelines() -> None:
    for roles, coef, std_error, likelihood in LATE.values():
        table = FRAME.drop(columns={"from", "side"} - set(roles.values()))
        model = og.CoxRegression().fit(table, "t", event="died", **roles)
        np.testing.assert_allclose(model.coef_, coef, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.summary_.std_error, std_error, rtol=1e-6)
        assert model.summary_.log_likelihood == pytest.approx(likelihood, rel=1e-12)


def test_late_entry_and_strata_as_in_statsmodels() -> None:
    """Of PHReg, to which a row is at risk at its entry: there it enters an instant earlier."""
    early = FRAME.assign(**{"from": ENTRY - 1e-9})
    model = og.CoxRegression(ties="breslow").fit(early, "t", event="died", strata="side", entry="from")
    np.testing.assert_allclose(model.coef_, [-0.00113980547026684, -0.5712707386683035], rtol=1e-8)
    np.testing.assert_allclose(model.summary_.std_error, [0.3025218858905826, 0.17704931122893416], rtol=1e-8)
    assert model.summary_.log_likelihood == pytest.approx(-57.35684344291673, rel=1e-12)


def test_baselines_of_strata_from_their_definition() -> None:
    """With those at risk alone: lifelines' takes rows for there that have not entered (lifelines #1416)."""
    model = og.CoxRegression().fit(FRAME, "t", event="died", strata="side", entry="from")
    assert model.strata_ == ["north", "south"]
    risk = np.exp((X - X.mean(axis=0)) @ model.coef_)
    for place, side in enumerate(model.strata_):
        own = model.event_strata_ == place
        total = 0.0
        for time, hazard in zip(model.event_times_[own], model.baseline_hazard_[own], strict=True):
            there = (side == SIDE) & (time > ENTRY) & (time <= TIME)
            total += ((time == TIME) & (EVENT == 1) & (side == SIDE)).sum() / risk[there].sum()
            assert hazard == pytest.approx(total, rel=1e-10)
        last = np.exp(-risk[:2] * total)
        np.testing.assert_allclose(model.predict_survival(FRAME[:2], [99], strata=side)[:, 0], last)
    assert (model.predict_survival(FRAME[:9], [1.0], strata=SIDE[:9]) == 1).all()


def test_rows_cut_at_any_moment_are_the_same_rows() -> None:
    """A row until its half and one from there on: late entry undoes the cut."""
    half = TIME / 2
    twice = np.concatenate([X, X])
    model = og.CoxRegression().fit(
        twice,
        np.concatenate([half, TIME]),
        event=np.concatenate([np.zeros(40), EVENT]),
        entry=np.concatenate([np.full(40, -1.0), half]),
    )
    whole = og.CoxRegression().fit(X, TIME, event=EVENT)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.covariance_, whole.covariance_, rtol=1e-8)
    np.testing.assert_allclose(
        model.predict_survival(X, [5, 9]), whole.predict_survival(X, [5, 9]), rtol=1e-9
    )


@pytest.mark.parametrize("pieces", [3, 40])
def test_strata_and_entry_of_rows_in_pieces(pieces: int) -> None:
    """Strata of text and of numbers; where rows lie does not count."""
    here = og.CoxRegression().fit(FRAME, "t", event="died", strata="side", entry="from")
    rows = pieces_case(pieces).open(pa.Table.from_pandas(FRAME))
    there = og.CoxRegression().fit(rows, "t", event="died", strata="side", entry="from")
    numbers = og.CoxRegression().fit(
        FRAME.assign(side=np.where(SIDE == "north", 7, -3)), "t", event="died", strata="side", entry="from"
    )
    assert numbers.strata_ == [-3, 7]
    for other in (there, numbers):
        np.testing.assert_allclose(other.coef_, here.coef_, rtol=1e-9)
    np.testing.assert_allclose(there.baseline_hazard_, here.baseline_hazard_, rtol=1e-9)


def test_censored_rows_are_known_to_the_metrics(tmp_path: Path) -> None:
    roles = {"event": "died", "strata": "side", "entry": "from"}
    model = og.CoxRegression().fit(FRAME, "t", **roles)
    found = model.evaluate(FRAME, "t", **roles)["concordance"]
    risk, pairs, right = model.predict(FRAME), 0, 0.0
    for i in np.flatnonzero(EVENT):
        later = (TIME[i] < TIME) | ((TIME[i] == TIME) & (EVENT == 0))
        beside = later & (SIDE[i] == SIDE) & (TIME[i] > ENTRY)
        pairs += beside.sum()
        right += (risk[beside] < risk[i]).sum() + (risk[beside] == risk[i]).sum() / 2
    assert found == pytest.approx(right / pairs)
    assert model.concordance(FRAME, TIME, EVENT, entry=ENTRY, strata=SIDE) == pytest.approx(found)
    assert model.score(FRAME, "t", **roles) == pytest.approx(found)
    model.save(tmp_path / "cox")
    again = og.load(tmp_path / "cox")
    assert again.evaluate(FRAME, "t", **roles)["concordance"] == pytest.approx(found)
    np.testing.assert_array_equal(
        again.predict_survival(FRAME, [5], strata="south"), model.predict_survival(FRAME, [5], strata="south")
    )
    pipe = og.Pipeline([og.StandardScaler(columns=["a", "b"]), og.CoxRegression()]).fit(
        FRAME.drop(columns=["side", "from"]), "t", event="died"
    )
    found = pipe.evaluate(FRAME, "t", event="died")["concordance"]
    assert found == pytest.approx(concordance(pipe.predict(FRAME), TIME, EVENT, np.ones(40)))
    assert pipe.score(FRAME, "t") == pytest.approx(pipe.evaluate(FRAME, "t")["concordance"])
    folds = og.cross_validate(og.CoxRegression(), FRAME, "t", cv=3, params=roles)
    assert 0 < folds.mean()["concordance"] < 1


def test_matched_sets() -> None:
    """A stratum for each case with its control: logistic regression of differences (lifelines #529)."""
    rng = np.random.default_rng(0)
    cases, controls = rng.normal([0.7, 0.0], size=(60, 2)), rng.normal(size=(60, 2))
    model = og.CoxRegression().fit(
        np.concatenate([cases, controls]),
        np.ones(120),
        event=np.repeat([1, 0], 60),
        strata=np.tile(np.arange(60), 2),
    )
    apart = cases - controls
    logistic = og.GeneralizedLinearRegression("binomial", fit_intercept=False)
    logistic.fit(np.concatenate([apart, -apart]), np.repeat([1.0, 0.0], 60))
    np.testing.assert_allclose(model.coef_, logistic.coef_, rtol=1e-8)


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"from": TIME}, DataError, r"entry must be before the time: of 40 row\(s\) it is not"),
        ({"side": [None, *SIDE[1:]]}, DataError, r"strata lacks 1 value\(s\)"),
        ({"side": pd.Timestamp("2026-01-01")}, SchemaError, "strata is 'side', which is no"),
    ],
)
def test_entries_and_strata_that_cannot_be(changed: dict[str, Any], kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        og.CoxRegression().fit(FRAME.assign(**changed), "t", event="died", entry="from", strata="side")


def test_strata_that_are_not_known() -> None:
    model = og.CoxRegression().fit(FRAME, "t", event="died", strata="side", entry="from")
    for strata in (None, "west", SIDE[:3]):
        with pytest.raises(DataError, match=r"predict_survival: .*'north', 'south'"):
            model.predict_survival(FRAME, [1], strata=strata)
    with pytest.raises(ParameterError, match=r"CoxRegression.evaluate does not accept the exposure param"):
        model.evaluate(FRAME, "t", exposure="a")


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_scores_that_lie_thousands_apart(ties: str) -> None:
    """Where exp of a score, or of the distance between two, is no number: beside sums of logarithms."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 2))
    luck = np.log(-np.log(random.random(50)))
    time = np.argsort(np.argsort(luck - 300 * rows[:, 0])) + 1.0
    weight, alpha, entry = np.ones(50), 1e-6, np.where(np.arange(50) % 2, time - 30.5, 0.0)
    model = og.CoxRegression(alpha=alpha, ties=ties).fit(rows, time, weight)
    assert np.ptp(rows @ model.coef_) > 1_500
    late = np.argsort(-time)

    def lack(coef: np.ndarray) -> float:
        score = rows[late] @ coef
        return float((np.logaddexp.accumulate(score) - score).sum() + alpha * coef @ coef / 2)

    least = lack(model.coef_)
    value = model.summary_.fit["log_likelihood"]
    assert least - alpha * model.coef_ @ model.coef_ / 2 == pytest.approx(-value, rel=1e-9)
    for step in (1e-3, -1e-3):
        assert all(lack(model.coef_ * (1 + step * own)) > least for own in np.eye(2))
    assert np.isfinite(model.covariance_).all()
    assert (np.diff(model.baseline_hazard_) >= 0).all()
    strata = np.arange(50) % 3
    parted = og.CoxRegression(alpha=alpha, ties=ties).fit(rows, time, strata=strata)
    found = [-parted.summary_.fit["log_likelihood"]]
    for each in range(3):
        own = late[strata[late] == each]
        score = rows[own] @ parted.coef_
        found.append(-float((np.logaddexp.accumulate(score) - score).sum()))
    assert sum(found) == pytest.approx(0, abs=1e-8)
    entered = og.CoxRegression(alpha=1e-4, ties=ties).fit(rows, time, entry=entry)
    assert np.isfinite(entered.coef_).all()


def test_coefficients_without_end_are_named() -> None:
    table = pa.table({"good": X[:, 0], "telling": -np.sign(TIME - 8.5), "t": TIME, "died": EVENT})
    with pytest.warns(ConvergenceWarning, match=r"\['telling'\] grow without end.*alpha > 0"):
        model = og.CoxRegression().fit(table, "t", event="died")
    assert model.coef_[1] > 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = og.CoxRegression(alpha=1.0).fit(table, "t", event="died")
    assert 0 < kept.coef_[1] < 5


def test_columns_that_order_all_rows_are_told_from_none() -> None:
    """The likelihood ratio has the degrees of freedom of the columns, however little bends at its end."""
    time = np.arange(1.0, 41.0)
    table = {"order": -time, "other": X[:, 0], "t": time}
    for names in (["order"], ["order", "other"]):
        frame = pa.table({name: table[name] for name in [*names, "t"]})
        with pytest.warns(ConvergenceWarning, match=r"\['order'\] grow without end"):
            model = og.CoxRegression().fit(frame, "t")
        assert model.summary_.likelihood_ratio == pytest.approx(2 * np.log(time).sum(), rel=1e-6)
        assert model.summary_.likelihood_ratio_p_value < 1e-40


def test_coefficients_that_have_grown_until_nothing_bends() -> None:
    time = np.arange(1.0, 41.0)
    early = np.where(time < 20, 1.0, 0.0)
    frame = pa.table({"early": early, "again": early, "other": X[:, 0], "t": time})
    with pytest.warns(ConvergenceWarning, match=r"\['early', 'again'\] grow without end"):
        model = og.CoxRegression(tol=0.0).fit(frame, "t")
    ratio = model.summary_.likelihood_ratio
    assert model.summary_.likelihood_ratio_p_value == pytest.approx(np.exp(-ratio / 2), rel=1e-9)


def test_risks_whose_squares_are_past_all_numbers() -> None:
    k = np.arange(1000.0)
    feature, event = 3 * (k % 2) - k, (k % 3 > 0).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = og.CoxRegression().fit(feature[:, None], k + 1, event=event)
    risk = np.exp(model.coef_[0] * (feature - feature.mean()))
    ahead, beside, squares = (np.cumsum((risk * feature**p)[::-1])[::-1] for p in range(3))
    assert abs(event @ (feature - beside / ahead)) < 1e-4
    information = event @ (squares / ahead - (beside / ahead) ** 2)
    assert model.covariance_[0, 0] == pytest.approx(1 / information, rel=1e-4)


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = og.CoxRegression()
    with pytest.raises(DataError, match=r"event must be 0 or 1: 40 value.*mean is 2"):
        model.fit(X, TIME, event=np.full(40, 2.0))
    with pytest.raises(DataError, match="No row has an event"):
        model.fit(X, TIME, event=np.zeros(40))
    with pytest.warns(ConvergenceWarning, match="failed to converge in 1 steps"):
        og.CoxRegression(max_iter=1).fit(X, TIME, event=EVENT)
    model.fit(X, TIME, event=EVENT)
    with pytest.raises(DataError, match=r"X has 40 rows; the shapes are time \(3,\), event \(40,\)"):
        model.concordance(X, TIME[:3])
    with pytest.raises(DataError, match="not a lazy table"):
        model.predict_survival(from_arrow(pa.table({"x0": X[:, 0], "x1": X[:, 1]})), [1])
    monkeypatch.setattr(cox_regression, "MOST_TIMES", 3)
    with pytest.raises(DataError, match="up to 3 different times of events with 2 features; there are"):
        model.fit(X, TIME)
    monkeypatch.setattr(cox_regression, "GRAM_WIDTH", 1)
    with pytest.raises(DataError, match="up to 1 features; there are 2"):
        model.fit(X, TIME)


ROWS = st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 1), st.integers(1, 3))


@given(st.lists(ROWS, max_size=40))
@settings(max_examples=100, deadline=None)
def test_concordance_counts_pairs(rows: list[tuple[int, ...]]) -> None:
    risk, time, event, weight = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    found = pairs = 0.0
    for i in np.flatnonzero(event):
        later = (time > time[i]) | ((time == time[i]) & (event == 0))
        size = weight[i] * weight * later
        pairs += size.sum()
        found += size @ ((risk < risk[i]) + 0.5 * (risk == risk[i]))
    answer = concordance(risk, time, event, weight)
    assert answer == pytest.approx(found / pairs) if pairs else np.isnan(answer)


def test_risks_past_all_numbers() -> None:
    """lifelines' survival functions of such rows are missing before the first event (0 times infinity)."""
    model = og.CoxRegression().fit(X, TIME, event=EVENT)
    far = np.array([[0.0, -1e4], [0.0, 1e4]])
    assert model.predict(far).tolist() == [np.inf, 0.0]
    times = [model.event_times_[0] / 2, model.event_times_[-1]]
    assert model.predict_survival(far, times).tolist() == [[1.0, 0.0], [1.0, 1.0]]
