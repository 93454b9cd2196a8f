"""Generalized linear models beside statsmodels and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.linear_model as peers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_tweedie_score, mean_tweedie_deviance

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml.linear_model.deviance_scores import DevianceScoring
from outgrow.ml.solvers.families import NAMES, MeanLoss, family_of, is_newton
from outgrow.ml.solvers.links import LINKS
from outgrow.testing import pieces_case

K = np.arange(30)
X = np.column_stack([np.sin(K), K % 5])
COUNTS = ((7 * K + 3) % 11).astype(float)
Y = {"counts": COUNTS, "positive": 1 + COUNTS / 2 + X[:, 1], "binary": (COUNTS > 5).astype(float)}
OFFSET = np.cos(K) / 2

STATSMODELS: dict[tuple[str, str], Any] = {
    ("gaussian", "identity"): (
        "positive",
        [3.557525045, -0.2186123261, 1.009191116],
        [0.5263046166, 0.4361778614, 0.2144767227],
        [74.16003318, 136.8666667, 74.16003318],
    ),
    ("gaussian", "log"): (
        "positive",
        [1.33635696, -0.07621320743, 0.1754031931],
        [0.1204708253, 0.07645335836, 0.04052757181],
        [74.69920116, 136.8666667, 74.69920116],
    ),
    ("poisson", "log"): (
        "counts",
        [1.630508013, -0.08504362437, 0.003528996845],
        [0.1401090194, 0.1160489724, 0.0569352528],
        [69.80135701, 70.35127834, 58.13496431],
    ),
    ("poisson", "identity"): (
        "positive",
        [3.454777027, -0.01903466948, 1.056347112],
        [0.631464508, 0.599533998, 0.2967466155],
        [15.11043529, 26.92130258, 14.52110622],
    ),
    ("poisson", "sqrt"): (
        "positive",
        [1.89568776, -0.01921679684, 0.221706967],
        [0.1587830384, 0.1315923212, 0.06470637845],
        [15.36536012, 26.92130258, 14.72430341],
    ),
    ("binomial", "logit"): (
        "binary",
        [-0.390458005, -0.126072117, 0.1304469132],
        [0.6442742977, 0.5302431555, 0.261429732],
        [41.13026326, 41.45539856, 30.01475129],
    ),
    ("binomial", "probit"): (
        "binary",
        [-0.2434861377, -0.07736423334, 0.0817016992],
        [0.4012630784, 0.3312265006, 0.1631228499],
        [41.131785, 41.45539856, 30.01101089],
    ),
    ("binomial", "cloglog"): (
        "binary",
        [-0.6790110978, -0.147344796, 0.1082206622],
        [0.4955961149, 0.3917619265, 0.1931713834],
        [41.06268954, 41.45539856, 30.11720652],
    ),
    ("gamma", "inverse"): (
        "positive",
        [0.2580934404, 0.004811237479, -0.03319075014],
        [0.02494983241, 0.01574394403, 0.008279025854],
        [3.878242943, 5.91131785, 3.190809835],
    ),
    ("gamma", "log"): (
        "positive",
        [1.283587302, 0.008041966943, 0.1982695236],
        [0.1080377695, 0.08953689892, 0.04402694942],
        [3.731508724, 5.91131785, 3.124976639],
    ),
    ("gamma", "identity"): (
        "positive",
        [3.367284971, 0.1009034127, 1.10723179],
        [0.4062375942, 0.4378959429, 0.2314954756],
        [3.589342363, 5.91131785, 3.050394584],
    ),
    ("inverse_gaussian", "log"): (
        "positive",
        [1.248787973, 0.04202381973, 0.2169519712],
        [0.1013157478, 0.09608165336, 0.04839196625],
        [1.087633256, 1.53002484, 0.6962328019],
    ),
    ("inverse_gaussian", "inverse_squared"): (
        "positive",
        [0.06269007186, 0.001259707707, -0.01194427397],
        [0.01090920741, 0.005863849503, 0.003327670216],
        [1.165703795, 1.53002484, 0.7054669252],
    ),
    ("negative_binomial", "log"): (
        "counts",
        [1.64501791, -0.08275674848, -0.003727387569],
        [0.264377846, 0.2193609946, 0.1078092813],
        [25.28299454, 25.42892807, 16.37006569],
    ),
    ("tweedie", "log"): (
        "counts",
        [1.640363672, -0.08285896628, -0.001393753824],
        [0.2056392276, 0.1706285024, 0.08383078463],
        [41.45987755, 41.69198899, 25.74165319],
    ),
}
"""Of statsmodels 0.15.0 GLM(tol=1e-15): which y; coefficients and standard errors, the intercept first; then
deviance, null deviance and Pearson statistic. The negative binomial has alpha 0.5, Tweedie the power 1.5."""

WITH_OFFSET: dict[tuple[str, str], Any] = {
    ("poisson", "log"): (
        "counts",
        [1.489036889, -0.09253063867, 0.04757025261],
        [0.1393060809, 0.1178206028, 0.05644711343],
        [84.78690327, 86.20185619, 80.62684347],
    ),
    ("gamma", "identity"): (
        "positive",
        [3.559564057, 0.08301537444, 1.03990616],
        [0.4404118101, 0.4613963577, 0.2405255753],
        [3.995052812, 6.136937898, 3.219567811],
    ),
}
"""The same with an offset of cos(k) / 2."""


def model(family: str, link: str | None = None, **settings: Any) -> Any:
    return og.GeneralizedLinearRegression(family, link=link, overdispersion=0.5, **settings)


def check(fitted: Any, expected: Any) -> None:
    _, coef, std_error, (deviance, null, pearson) = expected
    summary = fitted.summary_
    np.testing.assert_allclose(summary.coef, coef, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(summary.std_error, std_error, rtol=1e-6)
    np.testing.assert_allclose(
        [summary.deviance, summary.null_deviance, summary.pearson], [deviance, null, pearson], rtol=1e-7
    )


@pytest.mark.parametrize(("family", "link"), STATSMODELS)
def test_what_statsmodels_finds(family: str, link: str) -> None:
    expected = STATSMODELS[family, link]
    check(model(family, link).fit(X, Y[expected[0]]), expected)


@pytest.mark.parametrize(("family", "link"), WITH_OFFSET)
def test_offsets(family: str, link: str) -> None:
    expected = WITH_OFFSET[family, link]
    check(model(family, link).fit(X, Y[expected[0]], offset=OFFSET), expected)


def test_exposure_is_the_offset_of_its_logarithm_and_a_weighted_rate() -> None:
    time = np.exp(OFFSET)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "n": COUNTS, "time": time})
    exposed = og.PoissonRegressor(alpha=0).fit(pieces_case(4).open(table), "n", exposure="time")
    check(model("poisson").fit(X, COUNTS, exposure=time), WITH_OFFSET["poisson", "log"])
    rates = og.PoissonRegressor(alpha=0).fit(X, COUNTS / time, sample_weight=time)
    np.testing.assert_allclose(exposed.coef_, rates.coef_, rtol=1e-9)
    np.testing.assert_allclose(exposed.intercept_, rates.intercept_, rtol=1e-9)
    assert exposed.features_ == ["a", "b"]


def test_summary_is_that_of_r() -> None:
    """The example of `?glm` in R (Dobson 1990), with the digits that R prints."""
    counts = np.array([18, 17, 15, 20, 10, 20, 25, 13, 12.0])
    outcome, treatment = np.tile([1, 2, 3], 3), np.repeat([1, 2, 3], 3)
    dummies = np.column_stack([outcome == 2, outcome == 3, treatment == 2, treatment == 3]).astype(float)
    summary = og.GeneralizedLinearRegression("poisson").fit(dummies, counts).summary_
    np.testing.assert_allclose(summary.coef[:3], [3.045, -0.4543, -0.2930], rtol=2e-4)
    np.testing.assert_allclose(summary.std_error, [0.1709, 0.2022, 0.1927, 0.2, 0.2], rtol=3e-4)
    np.testing.assert_allclose(summary.statistic[:3], [17.815, -2.247, -1.520], rtol=4e-4)
    np.testing.assert_allclose(summary.p_value[1:3], [0.0246, 0.1285], rtol=3e-3)
    assert (round(summary.deviance, 4), round(summary.null_deviance, 4)) == (5.1291, 10.5814)
    assert (round(summary.aic, 2), summary.df_residual, summary.df_null) == (56.76, 4, 8)
    assert summary.test == "z"
    assert all(words in repr(summary) for words in ("intercept", "P>|z|", "null_deviance"))
    low, high = summary.interval(0.9)[1]
    assert summary.coef[1] - low == pytest.approx(1.6448536 * summary.std_error[1])
    assert high > summary.coef[1]
    with pytest.raises(AttributeError, match="no 'bic'"):
        summary.bic  # noqa: B018


def test_gamma_summary_is_that_of_r() -> None:
    """The clotting times of `?glm` in R (McCullagh and Nelder 1989), with the digits that R prints."""
    u = np.array([5, 10, 15, 20, 30, 40, 60, 80, 100.0])
    lot = np.array([118, 58, 42, 35, 27, 25, 21, 19, 18.0])
    summary = og.GeneralizedLinearRegression("gamma").fit(np.log(u)[:, None], lot).summary_
    np.testing.assert_allclose(summary.coef, [-0.01655438, 0.01534311], rtol=1e-6)
    np.testing.assert_allclose(summary.std_error, [0.0009275, 0.0004150], rtol=2e-4)
    np.testing.assert_allclose(summary.dispersion, 0.002446059, rtol=2e-5)
    assert (round(summary.null_deviance, 5), round(summary.deviance, 5)) == (3.51283, 0.01673)
    assert (round(summary.aic, 2), summary.test) == (37.99, "t")


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("PoissonRegressor", {}), ("GammaRegressor", {}), ("TweedieRegressor", {"power": 1.7})],
)
def test_what_scikit_learn_finds(name: str, settings: dict[str, Any], alpha: float, intercept: bool) -> None:
    weight = (K % 3).astype(float)
    given = {"alpha": alpha, "fit_intercept": intercept, **settings}
    ours = getattr(og, name)(**given).fit(X, Y["positive"], sample_weight=weight)
    theirs = getattr(peers, name)(solver="newton-cholesky", tol=1e-12, **given)
    theirs.fit(X, Y["positive"], sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-8, atol=1e-10)
    assert ours.score(X, Y["positive"], weight) == pytest.approx(
        theirs.score(X, Y["positive"], sample_weight=weight), rel=1e-9
    )
    single = getattr(og, name)(**given).fit(X.astype(np.float32), Y["positive"].astype(np.float32))
    assert single.coef_.dtype == single.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0])
def test_metrics_are_those_of_scikit_learn(power: float) -> None:
    y, weight = Y["positive"], 1.0 + K % 4
    fitted = og.TweedieRegressor(power=power, link="log").fit(X, y)
    other = y[::-1] * 1.2  # whose mean is another one
    found, said = fitted.evaluate(X, other, weight), fitted.predict(X)
    given = {"sample_weight": weight, "power": power}
    assert found["d2"] == pytest.approx(d2_tweedie_score(other, said, **given), rel=1e-9)
    assert found["deviance"] == pytest.approx(mean_tweedie_deviance(other, said, **given), rel=1e-9)
    assert found["mse"] == pytest.approx(np.average((other - said) ** 2, weights=weight))


def test_settings_and_folds_share_passes_and_change_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    y = rng.poisson(np.exp(rows[:, 0])).astype(float)
    table = pa.table({**{f"x{j}": rows[:, j] for j in range(4)}, "y": y})
    search = og.tune(
        og.PoissonRegressor(), table, "y", space={"alpha": [0.01, 1.0, 100.0]}, sampler="grid", trials=3
    )
    assert search.best_parameters == {"alpha": 0.01}
    found = og.cross_validate(
        og.PoissonRegressor(alpha=0.01), pieces_case(3).open(table), "y", cv=og.KFold(3)
    )
    for fitted in found.estimators:
        assert fitted.coef_[0] == pytest.approx(1.0, abs=0.2)


def test_large_counts_and_far_columns() -> None:
    """Means of a million, and a column of years: no step leaves float64 ."""
    rng = np.random.default_rng(0)
    year = 2000.0 + np.arange(400) % 20
    y = rng.poisson(1e6 * np.exp(0.05 * (year - 2010))).astype(float)
    fitted = og.GeneralizedLinearRegression("poisson").fit(year[:, None], y)
    assert fitted.coef_[0] == pytest.approx(0.05, abs=1e-4)
    assert fitted.n_iter_ < 10
    centred = og.GeneralizedLinearRegression("poisson").fit(year[:, None] - 2010, y)
    np.testing.assert_allclose(fitted.summary_.std_error[1], centred.summary_.std_error[1], rtol=1e-6)
    np.testing.assert_allclose(fitted.coef_, centred.coef_, rtol=1e-9)


def test_many_columns_reach_the_same_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = og.PoissonRegressor(alpha=0.1).fit(X, COUNTS)
    for module in ("linear_model.penalised", "solvers.minimum"):
        monkeypatch.setattr(f"outgrow.ml.{module}.by_newton", lambda view, objective: False)
    found = og.PoissonRegressor(alpha=0.1).fit(X, COUNTS)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-4)


def test_reports_of_peers() -> None:
    """A column of thousands (scikit-learn #27016); a lasso of four rows, whose elastic net ended elsewhere
    (statsmodels #9428), with the intercept free (statsmodels #8510); a ridge of shifted columns
    (statsmodels #6431)."""
    rng = np.random.default_rng(0)
    holders = np.append(3000.0, np.round(rng.exponential(400, 60)))[:, None]
    counts = rng.poisson(np.exp(1 + holders[:, 0] / 1000))
    found, small = (og.PoissonRegressor(alpha=0).fit(holders / unit, counts).coef_ for unit in (1, 1000))
    np.testing.assert_allclose(found * 1000, small, rtol=1e-9)
    rows, y = np.array([[1, 4], [2, 1], [3, 3], [4, 2.0]]), np.array([0, 0, 1, 1.0])
    lasso = model("binomial", alpha=0.1, l1_ratio=1).fit(rows, y)
    score = rows @ lasso.coef_ + lasso.intercept_
    loss = np.mean(np.logaddexp(0, score) - y * score) + 0.1 * np.abs(lasso.coef_).sum()
    assert loss == pytest.approx(0.3804874930239791, rel=1e-12)  # by a search without derivatives
    time, wave = np.arange(50.0), np.sin(np.arange(50) / 8)
    share = 1 / (1 + np.exp(0.1 * time - 2 * wave - 2.3))
    near, far = (
        model("binomial", alpha=0.1).fit(np.column_stack([time + shift, wave]), share).coef_
        for shift in (0, 999)
    )
    np.testing.assert_allclose(far, near, rtol=1e-8)


ALPHA, SHARE = 0.1, 0.7


@pytest.mark.parametrize(
    ("family", "link"),
    [
        ("gaussian", None),
        ("binomial", None),
        ("binomial", "probit"),
        ("poisson", None),
        ("gamma", "log"),
        ("tweedie", None),
        ("negative_binomial", None),
        ("inverse_gaussian", "log"),
    ],
)
def test_elastic_net_of_every_family(family: str, link: str | None) -> None:
    """Where a coefficient is not 0 the slope of the mean deviance balances the penalty; else it is less."""
    wide = np.column_stack([X, np.cos(np.outer(K, [1, 2, 3, 4]))])
    y, weight, offset = COUNTS % 2 if family == "binomial" else COUNTS + 1, 1.0 + K % 3, np.sin(3 * K) / 5
    alpha = ALPHA / 100 if family == "inverse_gaussian" else ALPHA
    one = model(family, link, alpha=alpha, l1_ratio=SHARE).fit(wide, y, weight, offset=offset)
    score = wide @ one.coef_ + one.intercept_ + offset
    mean = one._link().inverse(score)
    pull = weight * (mean - y) / one._family().variance(mean) * one._link().slope(score, mean) / weight.sum()
    assert pull.sum() == pytest.approx(0, abs=1e-6)
    slope, coef = pull @ wide + alpha * (1 - SHARE) * one.coef_, one.coef_
    assert (coef == 0).any()
    assert (coef != 0).any()
    np.testing.assert_allclose(slope[coef != 0], -alpha * SHARE * np.sign(coef[coef != 0]), atol=1e-6)
    assert (np.abs(slope[coef == 0]) <= alpha * SHARE + 1e-9).all()


def test_elastic_net_as_in_scikit_learn() -> None:
    one = model("gaussian", alpha=0.3, l1_ratio=0.6).fit(X, COUNTS)
    peer = peers.ElasticNet(alpha=0.3, l1_ratio=0.6, tol=1e-13, max_iter=10**6).fit(X, COUNTS)
    np.testing.assert_allclose(one.coef_, peer.coef_, rtol=1e-8)
    assert one.intercept_ == pytest.approx(peer.intercept_)
    lasso = model("binomial", alpha=0.02, l1_ratio=1).fit(X, COUNTS % 2)
    ours = og.LogisticRegression(C=1 / (0.02 * len(K)), l1_ratio=1, tol=1e-12).fit(X, COUNTS % 2)
    np.testing.assert_allclose(lasso.coef_, ours.coef_[0], rtol=1e-6, atol=1e-9)
    with pytest.raises(ParameterError, match="summary_ needs alpha=0"):
        lasso.summary_  # noqa: B018
    with pytest.raises(ExportError, match=r"no absolute penalty, and l1_ratio is 0.5"):
        model("poisson", alpha=0.1, l1_ratio=0.5).fit(X, COUNTS).to_sklearn()


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_separation_names_the_column(family: str) -> None:
    y = np.where(X[:, 0] > 0, Y["binary"], 0.0)
    table = pa.table({"wave": X[:, 1], "above": (X[:, 0] > 0).astype(float), "y": y})
    with pytest.warns(ConvergenceWarning, match=r"Perfect separation: the coefficient\(s\) of \['above'"):
        model(family).fit(table, "y")


@pytest.mark.parametrize("shift", [0.0, 9.5])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_classes_that_a_line_parts(shift: float, link: str) -> None:
    """Means that round to 1 end no fit before its time."""
    x = np.arange(20.0) - shift
    y = (np.arange(20) > 9).astype(float)
    with pytest.warns(ConvergenceWarning, match=r"Perfect separation|Increase the number"):
        fitted = model("binomial", link).fit(np.column_stack([x, np.sin(x)]), y)
    assert fitted.fit_statistics_["deviance"] < 1e-3
    assert ((fitted.predict(np.column_stack([x, np.sin(x)])) > 0.5) == (y > 0)).all()


def test_roles_reach_the_model_at_the_end_of_a_pipeline() -> None:
    rng = np.random.default_rng(3)
    rows = pa.table({"age": rng.normal(size=200), "years": rng.uniform(0.1, 1, 200)})
    y = rng.poisson(2 * rows["years"].to_numpy())
    rows = rows.append_column("n", pa.array(y.astype(float)))
    alone = model("poisson").fit(rows, "n", exposure="years")
    for name in ("exposure", "generalizedlinearregression__exposure"):
        pipe = og.Pipeline([og.StandardScaler(with_mean=False, with_std=False), model("poisson")])
        pipe.fit(rows, "n", **{name: "years"})
        np.testing.assert_allclose(pipe.model.coef_, alone.coef_, rtol=1e-8)
    with pytest.raises(ParameterError, match="are the same"):
        pipe.fit(rows, "n", exposure="years", generalizedlinearregression__exposure="years")
    with pytest.raises(ParameterError, match=r"takes sample_weight, offset, exposure, or one of"):
        pipe.fit(rows, "n", expozure="years")


def test_metrics_count_offsets_and_exposures() -> None:
    """Of the rows of a fit, the deviance is that of its summary; a pipeline's score is its model's."""
    offset = np.cos(np.arange(len(COUNTS))) / 2
    fitted = model("poisson").fit(X, COUNTS, offset=offset)
    found = fitted.evaluate(X, COUNTS, offset=offset)
    assert found["deviance"] * len(COUNTS) == pytest.approx(fitted.summary_.deviance)
    assert fitted.evaluate(X, COUNTS, exposure=np.exp(offset))["mse"] == pytest.approx(found["mse"])
    assert fitted.evaluate(X, COUNTS)["deviance"] != pytest.approx(found["deviance"])
    assert fitted.score(X, COUNTS, offset=offset) == found["d2"]
    pipe = og.Pipeline([og.StandardScaler(), model("poisson")]).fit(X, COUNTS)
    assert pipe.score(X, COUNTS) == pytest.approx(model("poisson").fit(X, COUNTS).score(X, COUNTS))
    with pytest.raises(ParameterError, match=r"Pipeline.evaluate takes .*'offset', 'exposure'.*\['time'\]"):
        pipe.evaluate(X, COUNTS, time=offset)
    folds = og.cross_validate(model("poisson"), X, 3 * np.exp(offset), cv=3, params={"offset": offset})
    assert folds.mean()["d2"] == pytest.approx(1)  # a rate of 3 wherever it is held out


def test_the_same_column_twice_has_no_standard_error() -> None:
    twice = np.column_stack([X, X[:, 0]])
    summary = model("poisson").fit(twice, COUNTS).summary_
    assert np.isnan(summary.std_error).tolist() == [False, True, False, True]
    expected = STATSMODELS["poisson", "log"]
    np.testing.assert_allclose(summary.std_error[[0, 2]], np.array(expected[2])[[0, 2]], rtol=1e-6)
    assert summary.coef[1] + summary.coef[3] == pytest.approx(expected[1][1], rel=1e-6)


def test_a_model_of_a_constant() -> None:
    """No column says anything (SPARK-19400): the intercept is the link of the mean."""
    fitted = model("gamma", "log").fit(np.zeros((30, 1)), Y["positive"])
    assert fitted.intercept_ == pytest.approx(np.log(Y["positive"].mean()))
    assert fitted.summary_.deviance == pytest.approx(fitted.summary_.null_deviance)


def test_without_an_intercept_it_begins_where_means_can_be() -> None:
    columns = np.column_stack([np.ones(30), X])
    with_one = model("gamma", "identity").fit(X, Y["positive"])
    without = model("gamma", "identity", fit_intercept=False).fit(columns, Y["positive"])
    np.testing.assert_allclose(without.summary_.coef, with_one.summary_.coef, rtol=1e-6)
    np.testing.assert_allclose(without.summary_.std_error, with_one.summary_.std_error, rtol=1e-6)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(DataError, match=r"out of the valid range of the family 'poisson': 1 value.*-3"):
        og.PoissonRegressor().fit(X, np.where(K == 4, -3.0, 1.0))
    with pytest.raises(DataError, match="must be greater than 0"):
        og.GammaRegressor().fit(X, np.where(K == 4, 0.0, 1.0))
    with pytest.raises(DataError, match="2 row"):
        og.PoissonRegressor().fit(X, COUNTS, exposure=np.where(K < 2, 0.0, 1.0))
    with pytest.raises(ParameterError, match="needs link='log'"):
        model("gaussian").fit(X, COUNTS, exposure=np.ones(30))
    with pytest.raises(ParameterError, match="between 0 and 1"):
        model("poisson", "logit").fit(X, COUNTS)
    with pytest.raises(ParameterError, match="summary_ needs alpha=0"):
        model("poisson", alpha=1.0).fit(X, COUNTS).summary_  # noqa: B018
    with pytest.raises(DataError, match="family 'gamma'"):
        og.GammaRegressor().fit(X, Y["positive"]).evaluate(X, -Y["positive"])
    with pytest.raises(ExportError, match="no normal distribution"):
        model("binomial", "probit").fit(X, Y["binary"]).to_onnx("/nowhere")
    with pytest.warns(ConvergenceWarning, match="Increase the number of iterations"):
        model("poisson", max_iter=1).fit(X, COUNTS)


@given(
    st.sampled_from(NAMES),
    st.sampled_from(sorted(LINKS)),
    st.floats(-2, 2),
    st.floats(0.05, 0.95),
)
@example("inverse_gaussian", "sqrt", 2.5e-5, 0.5)  # beside a pole, where the third derivative is 1e34
@settings(max_examples=150, deadline=None)
def test_derivatives(family: str, link: str, score: float, y: float) -> None:
    """Of losses by differences; expected second derivatives are those at the mean."""
    kind, function = family_of(family), LINKS[link]
    loss = MeanLoss(kind, function)
    at = score + STEP * np.arange(-2, 3)[None, None, :]
    values, first, second = loss.derivatives(at.copy(), np.full(5, y))
    over_a_pole = link.startswith("inverse") and abs(score) <= 2 * STEP
    if over_a_pole or not np.isfinite(values).all():
        return
    slope, unsure = difference(values[0])
    assert abs(first[0, 0, 2] - slope) <= 1e-3 * abs(slope) + unsure + 1e-4 * max(1.0, abs(values[0, 2]))
    if is_newton(kind, function):
        bend, unsure = difference(first[0, 0])
        assert abs(second[0, 0, 2] - bend) <= 1e-3 * abs(bend) + unsure + 1e-4
    assert (second >= 0).all()


STEP = 5e-6


def difference(values: np.ndarray) -> tuple[float, float]:
    """The slope amid five values, and how wrong it may be: what it would be with twice the step differs so.

    The error goes with the square of the step, and near a pole faster: the bound is three times it or more.
    """
    narrow, wide = (values[3] - values[1]) / (2 * STEP), (values[4] - values[0]) / (4 * STEP)
    return narrow, abs(wide - narrow)


def test_scores_of_rows_apart_are_those_of_all() -> None:
    scoring = DevianceScoring(family_of("poisson"), 3.0)
    said = 1.0 + X[:, 1]
    (whole,) = scoring.states([None], [said], Block(X, COUNTS), None)
    parts = [
        scoring.states([None], [said[rows]], Block(X[rows], COUNTS[rows]), None)[0]
        for rows in (K < 9, K >= 9)
    ]
    assert scoring.metrics(parts[0].merge(parts[1])) == pytest.approx(scoring.metrics(whole))
