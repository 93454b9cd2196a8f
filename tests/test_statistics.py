"""Hypothesis tests: as SciPy has them, on every engine, whatever the numbers."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyspark.ml.stat as ml_stat
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.statistics import kolmogorov
from outgrow.testing import EngineCase, pieces_case

NIST = Path(__file__).parent / "nist"
RNG = np.random.default_rng(0)
ROWS = 300
X = RNG.normal(size=ROWS) + RNG.integers(0, 2, ROWS)
TABLE = pa.table(
    {
        "x": pa.array(np.where(RNG.random(ROWS) < 0.1, np.nan, X), from_pandas=True),
        "far": X + 1e9,
        "k": RNG.integers(0, 5, ROWS),
        "two": pa.array([None if v == 2 else bool(v) for v in RNG.integers(0, 3, ROWS)]),
        "key": pa.array([None if v == 0 else f"k{v}" for v in RNG.integers(0, 5, ROWS)]),
    }
)
FRAME = TABLE.to_pandas().assign(far=X)
"""What peers get: they round numbers that are far from 0."""
VALUES = st.lists(st.sampled_from([np.nan, -1.5, 0.1, 0.1, 2.0, 3.0, 1e4]), min_size=3, max_size=15)


def samples(name: str, by: str) -> list[np.ndarray]:
    return [group[name].dropna().to_numpy(float) for _, group in FRAME.dropna(subset=[by]).groupby(by)]


def agree(got: Any, expected: Any, rtol: float = 1e-6) -> None:
    np.testing.assert_allclose(
        [got.statistic, got.pvalue], [expected.statistic, expected.pvalue], rtol=rtol, atol=1e-12
    )


def welch(*parts: np.ndarray, equal_var: bool) -> Any:
    """Welch's analysis of variance (1951); SciPy has it from 1.16 on."""
    assert not equal_var
    k, w = len(parts), np.array([len(part) / part.var(ddof=1) for part in parts])
    means, share = np.array([part.mean() for part in parts]), w / w.sum()
    rest = ((1 - share) ** 2 / np.array([len(part) - 1 for part in parts])).sum()
    between = (w * (means - share @ means) ** 2).sum() / (k - 1)
    f = between / (1 + 2 * (k - 2) / (k**2 - 1) * rest)
    return SimpleNamespace(statistic=f, pvalue=scipy.stats.f.sf(f, k - 1, (k**2 - 1) / (3 * rest)))


GROUPS = {
    "f_oneway": (og.stats.f_oneway, scipy.stats.f_oneway, {}),
    "welch": (og.stats.f_oneway, welch, {"equal_var": False}),
    "levene": (og.stats.levene, scipy.stats.levene, {"center": "mean"}),
    "brown-forsythe": (og.stats.levene, scipy.stats.levene, {}),
    "bartlett": (og.stats.bartlett, scipy.stats.bartlett, {}),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_on_every_engine(engine: EngineCase, name: str) -> None:
    ours, scipys, options = GROUPS[name]
    got = ours(engine.open(TABLE), columns=["x", "far"], by="key", **options)
    assert got.groups == ["k1", "k2", "k3", "k4"]
    for j, column in enumerate(("x", "far")):
        expected = scipys(*samples(column, "key"), **options)
        np.testing.assert_allclose(got.statistic[j], expected.statistic, rtol=1e-5)
        np.testing.assert_allclose(got.pvalue[j], expected.pvalue, rtol=1e-5)


@pytest.mark.parametrize("name", GROUPS)
def test_samples_apart(name: str) -> None:
    ours, scipys, options = GROUPS[name]
    parts = samples("x", "key")
    agree(ours(*parts, **options), scipys(*parts, **options))
    assert ours(*(pd.DataFrame({"x": part}) for part in parts), columns="x", **options).columns == ("x",)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("equal_var", [True, False])
def test_means_of_two(alternative: str, equal_var: bool) -> None:
    options: dict[str, Any] = {"equal_var": equal_var, "alternative": alternative}
    got = og.stats.ttest_ind(TABLE, columns="x", by="two", **options)
    expected = scipy.stats.ttest_ind(*samples("x", "two"), **options)
    agree(got, expected)
    assert got.df == pytest.approx(expected.df)
    np.testing.assert_allclose(got.confidence_interval(0.9), list(expected.confidence_interval(0.9)))
    far = og.stats.ttest_ind(TABLE, columns="far", by="two", **options)
    agree(far, scipy.stats.ttest_ind(*samples("far", "two"), **options), rtol=1e-5)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_means_of_one_and_of_pairs(alternative: str) -> None:
    x = FRAME["x"].dropna()
    got = og.stats.ttest_1samp(TABLE, 0.4, "x", alternative=alternative)
    expected = scipy.stats.ttest_1samp(x, 0.4, alternative=alternative)
    agree(got, expected)
    np.testing.assert_allclose(got.confidence_interval(), list(expected.confidence_interval()))
    agree(og.stats.ttest_1samp(TABLE, 1e9, "far"), scipy.stats.ttest_1samp(FRAME["far"], 0.0), rtol=1e-5)
    both = FRAME[["x", "k"]].dropna()
    expected = scipy.stats.ttest_rel(both["x"], both["k"], alternative=alternative)
    agree(og.stats.ttest_rel(TABLE, "x", "k", alternative=alternative), expected)
    agree(og.stats.ttest_rel(both["x"].to_numpy(), both["k"], alternative=alternative), expected)


def test_t_tests_on_every_engine(engine: EngineCase) -> None:
    rows = engine.open(TABLE)
    agree(og.stats.ttest_ind(rows, columns="x", by="two"), scipy.stats.ttest_ind(*samples("x", "two")))
    agree(og.stats.ttest_1samp(rows, 0.5, "x"), scipy.stats.ttest_1samp(FRAME["x"].dropna(), 0.5))
    both = FRAME[["x", "k"]].dropna()
    agree(og.stats.ttest_rel(rows, "x", "k"), scipy.stats.ttest_rel(both["x"], both["k"]))


@settings(max_examples=80)
@given(VALUES, VALUES, st.sampled_from(["ttest_ind", "f_oneway", "levene", "ks_2samp"]))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_samples_of_any_numbers(a: list[float], b: list[float], name: str) -> None:
    x, y = (np.array([v for v in part if v == v]) for part in (a, b))
    if min(len(x), len(y)) < 2:
        return
    got = getattr(og.stats, name)(a, b)
    expected = getattr(scipy.stats, name)(x, y)
    if name != "ks_2samp" and np.ptp(x) == np.ptp(y) == 0:
        assert np.isnan(got.statistic) if x[0] == y[0] else got.pvalue in (0.0, 1.0) or np.isnan(got.pvalue)
        return
    np.testing.assert_allclose(got.statistic, expected.statistic, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(got.pvalue, expected.pvalue, rtol=1e-6, atol=1e-9)


def test_variances_of_two() -> None:
    a, b = samples("x", "two")
    got = og.stats.var_test(TABLE, columns="x", by="two")
    ratio = scipy.stats.f(len(a) - 1, len(b) - 1)
    f = a.var(ddof=1) / b.var(ddof=1)
    np.testing.assert_allclose([got.statistic, got.pvalue], [f, 2 * min(ratio.cdf(f), ratio.sf(f))])
    less, greater = (og.stats.var_test(a, b, alternative=side).pvalue for side in ("less", "greater"))
    np.testing.assert_allclose([less, greater], [ratio.cdf(f), ratio.sf(f)])


@pytest.mark.parametrize(("name", "digits"), [("atmwtag", 8), ("sirstv", 12)])
def test_certified_analyses_of_variance(name: str, digits: int) -> None:
    certified = json.loads((NIST / "certified.json").read_text())["anova"][name]
    rows = og.read(NIST / f"{name}.csv", types={"group": "text"})
    got = og.stats.f_oneway(rows, columns="y", by="group").statistic
    assert got == pytest.approx(float(certified["statistic"]), rel=10.0**-digits)


@pytest.mark.parametrize("replicates", [21, 201, 2001])
@pytest.mark.parametrize("far", [1, 1_000_000, 1_000_000_000_000])
def test_certified_analyses_of_groups_that_differ_by_a_tenth(replicates: int, far: int) -> None:
    """NIST's SmLs01 to SmLs09, whose F is the number of replicates where decimals are exact.

    Of those far from 0, float64 keeps few digits, so the test is that of the numbers that it keeps.
    """
    tenths = [2, *([1, 3] * 1_000)]
    cells = [[far + (tenths[i] + tenths[j]) / 10 for j in range(replicates)] for i in range(9)]
    level, values = np.repeat(np.arange(9), replicates), np.ravel(cells)
    order = np.random.default_rng(0).permutation(len(values))
    got = og.stats.f_oneway(values[order], by=level[order]).statistic
    assert got == pytest.approx(exact_f(cells), rel=1e-9 if far < 1e12 else 1e-3)
    if far < 1e12:
        assert got == pytest.approx(replicates, rel=1e-12 * max(1, far))


def exact_f(cells: list[list[float]]) -> float:
    """F in rational arithmetic."""
    groups = [[Fraction(value) for value in cell] for cell in cells]
    count = sum(map(len, groups))
    means, mean = [sum(group) / len(group) for group in groups], sum(map(sum, groups)) / count
    between = sum(len(group) * (m - mean) ** 2 for group, m in zip(groups, means, strict=True))
    within = sum(
        len([*same]) * (value - m) ** 2
        for group, m in zip(groups, means, strict=True)
        for value, same in groupby(sorted(group))
    )
    return float(between / (len(groups) - 1) / (within / (count - len(groups))))


@pytest.mark.parametrize("correction", [True, False])
def test_independence_on_every_engine(engine: EngineCase, correction: bool) -> None:
    got = og.stats.chi2_contingency(engine.open(TABLE), ["k", "key", "two"], "two", correction=correction)
    for j, name in enumerate(("k", "key", "two")):
        both = FRAME[[name, "two"]] if name != "two" else FRAME[["two"]].assign(other=FRAME["two"])
        table = pd.crosstab(*(both[column] for column in both))
        expected = scipy.stats.chi2_contingency(table, correction=correction)
        np.testing.assert_array_equal(got.tables[name].count, table)
        np.testing.assert_allclose([got.statistic[j], got.pvalue[j]], list(expected[:2]), atol=1e-12)
        np.testing.assert_allclose(got.expected_freq[name], expected.expected_freq)
        assert got.dof[j] == expected.dof
        v = scipy.stats.contingency.association(table.to_numpy(), "cramer")
        assert got.cramers_v[j] == pytest.approx(v)


def test_associations_on_every_engine(engine: EngineCase) -> None:
    names = ["x", "k", "two", "key"]
    got = og.stats.association(engine.open(TABLE), names)
    assert got.categories == ("two", "key")
    at = {name: j for j, name in enumerate(names)}
    table = pd.crosstab(FRAME["key"], FRAME["two"]).to_numpy()
    v = scipy.stats.contingency.association(table, "cramer")
    assert got.statistic[at["key"], at["two"]] == pytest.approx(v)
    parts, whole = samples("x", "key"), np.concatenate(samples("x", "key"))
    between = sum(len(part) * (part.mean() - whole.mean()) ** 2 for part in parts)
    assert got.statistic[at["x"], at["key"]] == pytest.approx(np.sqrt(between / whole.var() / len(whole)))
    assert got.statistic[at["k"], at["x"]] == pytest.approx(FRAME[["x", "k"]].corr().iloc[0, 1])
    np.testing.assert_allclose(np.diag(got.statistic), 1)
    np.testing.assert_array_equal(got.statistic, got.statistic.T)
    few = og.stats.association(engine.open(TABLE), names, max_categories=2)
    assert 0 < few.statistic[at["x"], at["key"]] < got.statistic[at["x"], at["key"]]


def test_associations_of_what_does_not_vary() -> None:
    rows = pa.table(
        {"c": ["a", "a", None], "x": [1.0, 2.0, 3.0], "d": ["u", "v", "u"], "day": pa.nulls(3, pa.date32())}
    )
    got = og.stats.association(rows)
    assert got.columns == ("c", "x", "d")
    assert np.isnan(got.statistic[0]).all()
    with pytest.raises(SchemaError, match="neither numbers nor categories"):
        og.stats.association(rows, ["x", "day"])


def test_counts() -> None:
    got = og.stats.chisquare(TABLE, "k")
    counts = FRAME["k"].value_counts().sort_index()
    agree(got, scipy.stats.chisquare(counts))
    shares = {0: 1, 1: 1, 2: 2, 3: 1, 4: 1, 9: 1}
    expected = np.array(list(shares.values())) / 7 * ROWS
    agree(og.stats.chisquare(TABLE, "k", shares), scipy.stats.chisquare([*counts, 0], expected))
    with pytest.raises(DataError, match="of which f_exp expects nothing"):
        og.stats.chisquare(TABLE, "k", {0: 1, 1: 1, 2: 1, 3: 1})
    weighted = og.stats.crosstab(TABLE, "key", "two", weights=np.full(ROWS, 2.0))
    np.testing.assert_array_equal(weighted.count, 2 * pd.crosstab(FRAME["key"], FRAME["two"]))
    assert weighted.elements == (["k1", "k2", "k3", "k4"], [False, True])
    constant = og.stats.chi2_contingency(np.ones(4), None, by=[0, 1, 0, 1])
    assert (constant.statistic, constant.pvalue, constant.dof) == (0, 1, 0)
    with pytest.raises(DataError, match="cells"):
        og.stats.chi2_contingency(np.arange(5_000.0), None, by=np.arange(5_000))
    days = pa.array(["2026-01-01", "2026-01-02", "2026-01-01"]).cast(pa.date32())
    assert og.stats.chi2_contingency(pa.table({"d": days, "y": [1, 0, 1]}), "d", "y").dof == 1


def test_distributions_on_every_engine(engine: EngineCase) -> None:
    distributions_are_those_of_scipy(engine, "two-sided")


@pytest.mark.parametrize("alternative", ["less", "greater"])
def test_one_side_of_distributions(alternative: str) -> None:
    """Which side counts is chosen of what the passes give, whoever makes them."""
    distributions_are_those_of_scipy(pieces_case(3), alternative)


def distributions_are_those_of_scipy(engine: EngineCase, alternative: str) -> None:
    rows = engine.open(TABLE)
    x = FRAME["x"].dropna()
    got = og.stats.kstest(rows, "norm", "x", args=(0.5, 1.1), alternative=alternative)
    expected = scipy.stats.kstest(x, "norm", (0.5, 1.1), alternative=alternative)
    agree(got, expected)
    assert got.statistic_location == expected.statistic_location
    got = og.stats.ks_2samp(rows, columns=["x", "k"], by="two", alternative=alternative)
    for j, name in enumerate(("x", "k")):
        expected = scipy.stats.ks_2samp(*samples(name, "two"), alternative=alternative)
        np.testing.assert_allclose([got.statistic[j], got.pvalue[j]], list(expected), rtol=1e-9)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("digits", [0, 1, 9])
def test_distributions_in_bins(monkeypatch: pytest.MonkeyPatch, alternative: str, digits: int) -> None:
    for name, value in {"AT_ONCE": 100, "BINS": 16, "_EXACT": 100}.items():
        monkeypatch.setattr(kolmogorov, name, value)
    rng = np.random.default_rng(digits)
    a, b = np.round(rng.normal(size=3_000), digits), np.round(rng.normal(0.1, 1.1, 2_000), digits)
    got = og.stats.kstest(a, "norm", alternative=alternative)
    agree(got, scipy.stats.kstest(a, "norm", alternative=alternative), rtol=1e-9)
    got = og.stats.ks_2samp(a, b, alternative=alternative)
    agree(got, scipy.stats.ks_2samp(a, b, alternative=alternative, method="asymp"), rtol=1e-9)


def test_situations_of_bug_reports() -> None:
    """What SciPy's and profilers' users met: ties, very unequal samples, columns with no row in common."""
    left = np.repeat([2, 3, 4, 5, 6, 7], [4, 29, 34, 9, 21, 30])
    right = np.repeat([2, 3, 4, 5, 6, 7], [4, 8, 4, 8, 4, 3])
    agree(og.stats.ks_2samp(left, right), scipy.stats.ks_2samp(left, right))
    rng = np.random.default_rng(1)
    far = og.stats.ks_2samp(rng.normal(10, 1, 50_000), rng.normal(12, 1, 500))
    assert far.pvalue < 1e-100
    apart = pa.table({"a": ["1", "2", None, None], "b": [None, None, "8", "9"], "x": [1.0, 2.0, 3.0, 4.0]})
    assert np.isnan(og.stats.association(apart).statistic[0, 1])
    with pytest.raises(DataError, match="No row has values of both 'a' and 'b'"):
        og.stats.chi2_contingency(apart, "a", "b")
    gaps = np.array([[3.0, 3.0], [5.0, np.nan], [6.0, 6.0], [7.0, np.nan]])
    assert og.stats.corr(gaps, method="spearman").statistic[0, 1] == 1
    with pytest.raises(DataError, match="rows"):
        og.stats.ttest_ind(np.array([]), left)
    tiny = og.stats.ttest_ind(np.full(5, 1e-20), np.full(5, 1e-20))
    assert np.isnan(tiny.statistic)
    both = og.stats.f_oneway(np.full(7, 0.1), np.full(9, 0.1), np.full(3, 0.1))
    assert np.isnan(both.statistic)


def test_every_class_of_spark_has_a_line() -> None:
    page = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text()
    table = page.partition("## Coming from Spark MLlib")[2]
    classes = {
        name for name, kind in vars(ml_stat).items() if getattr(kind, "__module__", "") == ml_stat.__name__
    }
    metrics = {name for name in vars(ml_stat.Summarizer) if name[0] != "_"} - {"metrics"}
    names = {*classes, *metrics, "KernelDensity", "Statistics"}
    assert {"ChiSquareTest", "Summarizer", "normL1"} <= names
    assert {name for name in names if name[0] != "_" and not re.search(rf"\b{name}\b", table)} == set()


def test_no_state_hides_a_function() -> None:
    """A module of that name would stand in its place once it is imported."""
    assert not {path.stem for path in Path(og.stats.__file__).parent.glob("*.py")} & {*og.stats.__all__}


def test_refused() -> None:
    with pytest.raises(DataError, match="compares two samples; there are 4"):
        og.stats.ttest_ind(TABLE, columns="x", by="key")
    with pytest.raises(ParameterError, match="give several samples"):
        og.stats.f_oneway(TABLE, columns="x")
    with pytest.raises(ParameterError, match="alternative"):
        og.stats.ttest_1samp(TABLE, 0, "x", alternative="more")
    with pytest.raises(SchemaError, match="samples have columns"):
        og.stats.f_oneway(TABLE.select(["x", "k"]), TABLE.select(["x", "far"]))
    with pytest.raises(ParameterError, match="continuous distribution"):
        og.stats.kstest(TABLE, "normal", "x")
    with pytest.raises(ParameterError, match="no parameters"):
        og.stats.kstest(TABLE, "norm", "x", args=(1, 2, 3, 4))
    with pytest.raises(DataError, match="no values"):
        og.stats.kstest(np.array([np.nan]), "norm")
    with pytest.raises(DataError, match="Infinite values"):
        og.stats.ttest_1samp(np.array([1.0, np.inf]), 0)
    with pytest.raises(SchemaError, match="numbers"):
        og.stats.ttest_1samp(TABLE, 0, "key")


def test_results_print_as_tables() -> None:
    text = repr(og.stats.f_oneway(TABLE, columns=["x", "k"], by="key"))
    assert text.splitlines()[1].split() == ["column", "statistic", "pvalue", "df", "df_within"]
    assert og.stats.ttest_1samp(TABLE, 0, "x").to_pandas()["column"].tolist() == ["x"]
