"""References, exact counts on their grids, distances, and what og.drift makes of them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.cli import main
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.reference import Reference
from outgrow.errors import ArtifactError, ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.monitor.compare import compare, conditional_difference
from outgrow.monitor.drift import Drift
from outgrow.monitor.findings import Finding
from outgrow.stats.discovery import q_values
from outgrow.stats.distances import Distances, distances, rate_difference
from outgrow.stats.grids import HEADS, NumberGrid, ValueGrid, equal_parts, number_grid, summed
from outgrow.stats.number_sample import NumberSample
from outgrow.stats.text_tally import TextTally
from outgrow.testing import EngineCase


def flights(rows: int, shift: float = 0.0, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    delay = random.normal(shift, 1, rows)
    return pa.table(
        {
            "delay": delay,
            "hour": random.integers(0, 24, rows),
            "carrier": random.choice(["AA", "UA", "DL"], rows, p=[0.5, 0.3, 0.2]),
            "late": np.where(random.random(rows) < 1 / (1 + np.exp(-2 * delay)), "late", "ok"),
        }
    )


def every_type(rows: int, seed: int = 0) -> pa.Table:
    """A column of each type that rows can have, with missing values."""
    random = np.random.default_rng(seed)
    gaps = random.random(rows) < 0.1
    day = datetime.date(2026, 1, 1)
    whole = random.integers(0, 40, rows)
    return pa.table(
        {
            "float": pa.array(random.normal(size=rows), mask=gaps),
            "nan": np.where(gaps, np.nan, random.standard_cauchy(rows)),
            "float32": pa.array(random.random(rows).astype(np.float32)),
            "int": pa.array(random.integers(-(2**40), 2**40, rows), mask=gaps),
            "few": whole,
            "bool": pa.array(random.random(rows) < 0.3, mask=gaps),
            "decimal": pa.array([Decimal(int(w)) / 4 for w in whole], pa.decimal128(9, 2)),
            "text": pa.array([f"w{w}" for w in whole], mask=gaps),
            "id": [f"id{i}" for i in range(rows)],
            "category": pa.array([f"c{w % 5}" for w in whole]).dictionary_encode(),
            "numbered": pa.array(whole % 7).dictionary_encode(),
            "day": [day + datetime.timedelta(int(w)) for w in whole],
            "moment": pa.array(random.integers(0, 10**15, rows)).cast(pa.timestamp("us", "UTC")),
            "clock": pa.array(random.integers(0, 86_400, rows).astype(np.int32)).cast(pa.time32("s")),
            "span": pa.array(random.integers(0, 10**9, rows)).cast(pa.duration("ms")),
            "words": [[f"w{i}" for i in range(w % 4)] for w in whole],
            "bytes": [b"x" * int(w) for w in whole],
            "vector": pa.array(random.random((rows, 2)).tolist(), pa.list_(pa.float64(), 2)),
            "record": [{"a": int(w)} for w in whole],
            "null": pa.nulls(rows),
        }
    )


def pieces(table: pa.Table, rows: int, engine: Any = None) -> Dataset:
    return Dataset(Scan(TableSource(table, rows)), engine or og.Local(threads=2))


def whole(reference: Reference) -> bytes:
    """All that a reference says."""
    counts = reference.counts
    arrays = counts.counts, counts.ends, counts.slices, counts.slice_rows, counts.joint
    texts = [(least.texts, least.counts.tolist()) for least in counts.novel]
    return (
        b"".join(map(np.ndarray.tobytes, arrays))
        + repr((reference.plan.digest, counts.schema, texts)).encode()
    )


def by_subject(findings: Any) -> dict[tuple[str, str], Finding]:
    return {(finding.what, finding.column): finding for finding in findings if not finding.slice}


def columns_apart(reference: Reference, table: pa.Table, name: str) -> Distances:
    """All distances of a column."""
    index = [entry.name for entry in reference.plan.entries].index(name)
    grid: Any = reference.plan.entries[index].grid
    window = reference.vector(reference.count(table), index)
    before = grid.shares(reference.vector(reference.counts, index))
    ordered = isinstance(grid, NumberGrid | ValueGrid)
    apart = distances(before, grid.shares(window), grid.positions(window) if ordered else None)
    assert apart is not None
    return apart


def test_the_same_bits_wherever_the_rows_are(engine: EngineCase) -> None:
    table = flights(6_000).append_column("number", pa.array(np.random.default_rng(1).random(6_000)))
    model = og.LinearRegression().fit(table.select(["delay", "hour", "number"]), "number")
    there, here = engine.open(table), og.dataset(table, engine=og.Local(threads=1))
    made = [Reference.of(rows, model, by="carrier", target="number") for rows in (there, here)]
    assert whole(made[0]) == whole(made[1])
    later = flights(500, 0.3, seed=5)
    counted = [made[0].count(rows, model) for rows in (engine.open(later), later)]
    assert counted[0].counts.tobytes() == counted[1].counts.tobytes()
    assert counted[0].slices.tobytes() == counted[1].slices.tobytes()


def test_every_type_of_column_counts_alike_in_any_order() -> None:
    table = every_type(6_000)
    order = np.random.default_rng(2).permutation(6_000)
    first = Reference.of(pieces(table, 10_000), by="few")
    shuffled = Reference.of(pieces(table.take(order), 701), by="few")
    assert whole(first) == whole(shuffled)
    names = {entry.name for entry in first.plan.entries}
    assert {"length of words", "items of words", "bytes of bytes", "vector_0", "record"} <= names
    window = first.count(pieces(every_type(900, seed=3), 100))
    parts = [first.count(every_type(900, seed=3).slice(start, 300)) for start in (0, 300, 600)]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.counts.tobytes() == window.counts.tobytes()
    assert compare(first, merged) == compare(first, window)
    unchanged = compare(first, first.count(table))
    assert {finding.verdict for finding in unchanged} <= {"ok", "cannot say"}


def test_few_many_and_no_different_numbers_have_grids_of_their_own() -> None:
    random = np.random.default_rng(0)
    few = number_grid(NumberSample.of(random.integers(0, 4_096, 50_000).astype(float)))
    many = number_grid(NumberSample.of(random.normal(size=50_000)))
    assert isinstance(few, ValueGrid)
    assert len(few.values) == 4_096
    assert isinstance(many, NumberGrid)
    assert 2_000 < many.size <= 4_096
    assert -3.9 < many.edges[0] < -3.0
    assert 3.0 < many.edges[-1] < 3.9
    assert number_grid(NumberSample.of(np.full(3, np.nan))).size == 1
    for value in (0.0, 5e-324, 1.7e308, 2.0**53):
        assert isinstance(number_grid(NumberSample.of(np.array([value, -value]))), ValueGrid)


@given(
    values=st.lists(
        st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=False), min_size=1, max_size=60
    ),
    known=st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=9),
    level=st.integers(-40, 40),
    first=st.integers(-50, 50),
)
@settings(max_examples=60)
def test_each_value_is_in_the_cell_that_holds_it(
    values: list[float], known: list[float], level: int, first: int
) -> None:
    X = np.array(values)
    present = X[~np.isnan(X)]
    grid = NumberGrid(level, float(first), 6)
    out = np.zeros(HEADS + grid.size, dtype=np.int64)
    grid.count(X, out)
    places = np.searchsorted(grid.edges, present, side="right") - 1
    assert out[0] == len(X) - len(present)
    assert out[1] == (places < 0).sum()
    assert out[2] == (places >= 6).sum()
    assert out[HEADS:].tolist() == np.bincount(places[(places >= 0) & (places < 6)], minlength=6).tolist()
    few = ValueGrid(np.unique(np.array(known) + 0.0))
    cells = few.cells(present)
    for value, cell in zip(present.tolist(), cells.tolist(), strict=True):
        at = near(few.values, value)
        assert cell == (2 * (few.values < value).sum() if at is None else 2 * at + 1)


def near(known: np.ndarray, value: float) -> int | None:
    """The number that a value is but for its rounding."""
    for at, number in enumerate(known.tolist()):
        beside = [abs(number - other) for other in known.tolist() if other != number]
        gap = min(beside, default=abs(number))
        if abs(value - number) <= max(min(gap, abs(number)), gap * 2.0**-20) * 2.0**-20:
            return at
    return None


def test_numbers_that_another_code_rounded_are_the_same_numbers() -> None:
    random = np.random.default_rng(4)
    prices = random.integers(1, 30, 20_000) / 10
    before = pa.table({"price": prices, "whole": prices * 10})
    for noise in (1e-9, -1e-9):
        after = pa.table({"price": prices + noise, "whole": prices * 10 + noise})
        assert {finding.verdict for finding in og.drift(before, after).findings} == {"ok"}
    single = pa.table({"price": prices.astype(np.float32).astype(float), "whole": prices * 10})
    assert {finding.verdict for finding in og.drift(before, single).findings} == {"ok"}
    moved = pa.table({"price": prices + 0.01, "whole": prices * 10})
    assert by_subject(og.drift(before, moved).findings)["values", "price"].verdict != "ok"


def test_whole_numbers_have_a_table_and_others_a_search() -> None:
    values = np.array([-2.0, 0.0, 0.25, 7.0])
    grid = ValueGrid(values)
    assert grid._table is not None
    assert ValueGrid(np.append(values, 1e9))._table is None
    X = np.concatenate([values, values + 1e-9, values - 0.1, [-1e300, 1e300, np.inf, -np.inf, 6.99]])
    assert grid.cells(X).tolist() == grid._searched(X).tolist()
    assert (grid.cells(values * (1 + 1e-9)) % 2).all()
    assert not (grid.cells(values + 1e-5) % 2).any()


def test_samples_of_numbers_do_not_depend_on_order() -> None:
    values = np.random.default_rng(0).normal(size=30_000)
    whole_sample = NumberSample.of(values)
    parts = [NumberSample.of(part) for part in np.array_split(values[::-1], 7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert not merged.complete
    assert merged.numbers.tobytes() == whole_sample.numbers.tobytes()
    assert set(merged.numbers) < set(values)
    low, high = np.quantile(values, [0.25, 0.75])
    assert abs(np.quantile(merged.numbers, 0.25) - low) < 0.06
    assert abs(np.quantile(merged.numbers, 0.75) - high) < 0.06


def test_frequent_texts_of_many_are_counted_exactly() -> None:
    random = np.random.default_rng(0)
    numbers = np.minimum(random.zipf(1.2, 60_000), 10**7)
    texts = pa.array([f"w{number}" for number in numbers])
    reference = Reference.of(pieces(pa.table({"t": texts}), 9_000))
    grid: Any = reference.entry("t").grid
    counts = pandas.Series(texts.to_pylist()).value_counts()
    frequent = counts[counts >= 60_000 / 2_048]
    assert not grid.complete
    assert set(grid.texts) == set(frequent.index)
    assert reference.vector(reference.counts, 0)[HEADS:-1].tolist() == [counts[text] for text in grid.texts]
    assert reference.vector(reference.counts, 0)[HEADS:].sum() == 60_000


def test_tallies_that_overflow_in_parts_or_at_once_are_the_same() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 40).astype(np.uint64)
    words = [str(value) for value in hashes]
    one = np.ones(40, dtype=np.int64)
    at_once = TextTally.of(hashes, one, words, most=30)
    left, right = (
        TextTally.of(hashes[:25], one[:25], words[:25], most=30),
        TextTally.of(hashes[20:], one[20:], words[20:], most=30),
    )
    in_parts = left.merge(right)
    assert at_once.buckets is not None
    assert in_parts.buckets is not None
    assert in_parts.buckets.sum() == at_once.buckets.sum() + 4 * 5
    assert at_once.full(0.0).holds(hashes).all()


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_distances_are_those_of_scipy(shift: float) -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=20_000), random.normal(shift, 1.1, 5_000)
    reference = Reference.of(pa.table({"x": a}))
    apart = columns_apart(reference, pa.table({"x": b}), "x")
    ks = scipy.stats.ks_2samp(a, b, method="asymp")
    assert apart.measures["ks"].value == pytest.approx(ks.statistic, abs=1e-3)
    assert apart.measures["ks"].value <= ks.statistic + 1e-12
    assert apart.measures["ks"].p == pytest.approx(ks.pvalue, rel=0.2)
    width = 2.0 ** reference.entry("x").grid.level  # type: ignore[union-attr]
    distance = scipy.stats.wasserstein_distance(a, b) / a.std()
    assert apart.measures["wasserstein"].value == pytest.approx(distance, abs=2 * width)
    index = reference.vector(reference.counts, 0)
    grid: Any = reference.entry("x").grid
    window = reference.vector(reference.count(pa.table({"x": b})), 0)
    parts = equal_parts(grid.shares(index), 20)
    p, q = (summed(grid.shares(v), parts) for v in (index, window))
    check_binned(apart, p, q)


def check_binned(apart: Distances, p: np.ndarray, q: np.ndarray) -> None:
    """The distances of bins beside SciPy's of the same ones."""
    a, b = p / p.sum(), q / q.sum()
    measures = apart.measures
    assert measures["js"].value == pytest.approx(scipy.spatial.distance.jensenshannon(a, b, base=2), abs=1e-9)
    assert measures["kl"].value == pytest.approx(scipy.stats.entropy(b, a), abs=1e-9)
    c = np.maximum(q, 0.5) / q.sum()  # half a value where there is none
    assert measures["psi"].value == pytest.approx(np.sum((a - c) * np.log(a / c)), abs=1e-9)
    test = scipy.stats.chi2_contingency(np.stack([p, q]), correction=False)
    assert measures["chi2"].value == pytest.approx(test.statistic)
    assert measures["chi2"].p == pytest.approx(test.pvalue)
    assert measures["l1"].value == pytest.approx(scipy.spatial.distance.cityblock(a, b))
    assert measures["tv"].value == pytest.approx(scipy.spatial.distance.cityblock(a, b) / 2)
    assert measures["linf"].value == pytest.approx(scipy.spatial.distance.chebyshev(a, b))


def test_distances_of_few_values_and_of_categories_are_exact() -> None:
    random = np.random.default_rng(4)
    a, b = random.integers(0, 12, 4_000), random.binomial(11, 0.5, 900)
    apart = columns_apart(Reference.of(pa.table({"x": a})), pa.table({"x": b}), "x")
    ks = scipy.stats.ks_2samp(a, b, method="asymp")
    assert (apart.measures["ks"].value, apart.measures["ks"].p) == pytest.approx((ks.statistic, ks.pvalue))
    distance = scipy.stats.wasserstein_distance(a, b) / a.std()
    assert apart.measures["wasserstein"].value == pytest.approx(distance)
    words = [pa.array([f"c{value}" for value in values]) for values in (a, b)]
    apart = columns_apart(Reference.of(pa.table({"x": words[0]})), pa.table({"x": words[1]}), "x")
    assert not {"ks", "wasserstein"} & set(apart.measures)
    share = (np.bincount(a, minlength=12) / 4_000 + np.bincount(b, minlength=12) / 900) * 900 / 2
    frequent = share >= 5
    counts = [
        np.append(c[frequent], c[~frequent].sum()) for c in (np.bincount(a), np.bincount(b, minlength=12))
    ]
    there = counts[0] + counts[1] > 0
    check_binned(apart, counts[0][there], counts[1][there])


def test_p_values_are_uniform_and_intervals_cover() -> None:
    random = np.random.default_rng(5)
    p_values: dict[str, list[float]] = {"psi": [], "js": [], "chi2": []}
    covered = 0
    shares = random.dirichlet(np.ones(12))
    other = random.dirichlet(np.ones(12) * 3)
    truth = 0.5 * np.abs(shares - other).sum()
    for _ in range(400):
        a, b, c = (random.multinomial(n, q) for n, q in ((3_000, shares), (800, shares), (800, other)))
        unchanged, changed = distances(a, b, None), distances(a, c, None)
        assert unchanged is not None
        assert changed is not None
        for name, values in p_values.items():
            values.append(unchanged.measures[name].p or 0.0)
        covered += changed.measures["tv"].low <= truth <= changed.measures["tv"].high
    for values in p_values.values():
        assert 0.02 < np.mean(np.array(values) < 0.05) < 0.09
    assert 0.9 < covered / 400 <= 1


def test_rates_are_those_of_scipy() -> None:
    rate = rate_difference(20, 1_000, 61, 1_200)
    test = scipy.stats.chi2_contingency([[20, 980], [61, 1_139]], correction=False)
    assert rate.p == pytest.approx(test.pvalue)
    few = rate_difference(0, 50, 3, 40)
    assert few.p == pytest.approx(scipy.stats.fisher_exact([[0, 50], [3, 37]]).pvalue)
    assert few.low < few.value == 0.075 < few.high
    p = np.random.default_rng(0).random(50)
    assert q_values(p) == pytest.approx(scipy.stats.false_discovery_control(p))


def test_one_false_discovery_in_a_hundred_at_most() -> None:
    """Of hundreds of unchanged columns none is drift, though one in twenty has p below 0.05."""
    random = np.random.default_rng(6)
    reference = Reference.of(random.normal(size=(3_000, 150)))
    wrong = 0
    for _ in range(4):
        findings = compare(reference, reference.count(random.normal(size=(400, 150))), effect={"js": 0.0})
        wrong += sum(finding.q <= 0.01 for finding in findings)
    assert wrong <= 1


def test_a_change_must_be_certain_and_large() -> None:
    before = flights(100_000)
    small = by_subject(og.drift(before, flights(100_000, 0.03, seed=1)).findings)["values", "delay"]
    assert small.verdict == "ok"
    assert small.q < 1e-4
    assert small.value < 0.05
    large = by_subject(og.drift(before, flights(50, 0.2, seed=3)).findings)["values", "delay"]
    assert large.verdict == "cannot say"
    assert large.q > 0.01
    assert "wait for more" in large.because
    both = by_subject(og.drift(before, flights(5_000, 0.5, seed=3)).findings)["values", "delay"]
    assert both.verdict == "drift"
    assert both.low <= both.value <= both.high
    watched = by_subject(og.drift(before, flights(20_000, 0.18, seed=3)).findings)["values", "delay"]
    assert watched.verdict == "watch"


def test_missing_values_new_categories_and_schema() -> None:
    before, after = flights(3_000), flights(1_000, seed=1)
    carrier = ["XX" if i % 10 == 0 else value for i, value in enumerate(after["carrier"].to_pylist())]
    delay = pa.array(after["delay"].to_pylist(), mask=np.arange(1_000) % 5 == 0)
    after = pa.table({"delay": delay, "carrier": carrier, "hour": ["x"] * 1_000, "gate": range(1_000)})
    result = og.drift(before, after)
    findings = by_subject(result.findings)
    assert findings["missing", "delay"].verdict == "drift"
    assert findings["missing", "delay"].value == 0.2
    assert findings["new categories", "carrier"].verdict == "drift"
    assert "'XX'" in findings["new categories", "carrier"].because
    schema = {f.column: (f.measure, f.verdict) for f in result.findings if f.what == "schema"}
    assert schema == {"hour": ("type", "drift"), "late": ("went", "drift"), "gate": ("came", "watch")}
    assert result.verdict == "drift"


def test_slices_and_shares_say_where_it_is() -> None:
    before, after = flights(9_000), flights(6_000, seed=1)
    broken = np.array(after["carrier"].to_pylist()) == "DL"
    delay = np.where(broken, after["delay"].to_numpy() + 2, after["delay"].to_numpy())
    after = after.set_column(0, "delay", pa.array(delay))
    result = og.drift(before, after, by="carrier")
    slices = {f.slice: f for f in result.findings if f.slice and f.column == "delay" and f.what == "values"}
    assert slices["carrier=DL"].verdict == "drift"
    assert slices["carrier=AA"].verdict == "ok"
    assert slices["carrier=DL"].share > 0.95
    assert by_subject(result.findings)["values", "delay"].share > 0.9
    assert result.drifted[0] == "delay"


def labelled(
    rows: int, seed: int, *, positive: float = 0.4, flipped: float = 0.0, shift: float = 0.0
) -> pa.Table:
    random = np.random.default_rng(seed)
    y = random.random(rows) < positive
    x = random.normal(np.where(y, 1.0, -1.0) + shift, 1.0)
    if shift:
        y = random.random(rows) < 1 / (1 + np.exp(-2 * x - np.log(positive / (1 - positive))))
    y ^= random.random(rows) < flipped
    return pa.table({"x": x, "z": random.normal(size=rows), "y": np.where(y, "yes", "no")})


def test_label_shift_concept_drift_and_covariate_shift_are_told_apart() -> None:
    before = labelled(20_000, 0)
    model = og.LogisticRegression().fit(before, "y")
    reference = Reference.of(before, model)
    assert reference.predictions == ("prediction", "probability_yes")
    cases = {
        None: labelled(4_000, 1),
        "label shift": labelled(4_000, 2, positive=0.75),
        "concept drift": labelled(4_000, 3, flipped=0.3),
        "covariate shift": labelled(8_000, 4, shift=0.8),
    }
    for shift, rows in cases.items():
        assert Drift.of(reference, reference.count(rows, model)).shift == shift
    assert Drift.of(reference, reference.count(cases[None].drop_columns(["y"]), model)).shift is None


def test_differences_within_groups_weigh_by_the_window() -> None:
    reference = np.array([[500, 500], [900, 100]])
    window = np.array([[100, 100], [500, 300]])
    difference = conditional_difference(reference, window)
    assert difference.value == pytest.approx(0.8 * (0.375 - 0.1))
    assert difference.p is not None
    assert difference.p < 1e-9
    assert conditional_difference(reference, reference).value == 0


def test_a_reference_travels_in_the_model(tmp_path: Path) -> None:
    before = flights(3_000)
    model = og.Pipeline(
        [
            ("numbers", og.StandardScaler(columns=["delay", "hour"])),
            ("text", og.OneHotEncoder(columns=["carrier"])),
            ("model", og.LogisticRegression()),
        ]
    ).fit(before, "late")
    model.save(tmp_path / "bare")
    assert og.load(tmp_path / "bare").reference_ is None
    with pytest.raises(ParameterError, match=r"model.save\(path, reference=rows\)"):
        og.drift(tmp_path / "bare", before)
    model.save(tmp_path / "model", reference=before)
    loaded = og.load(tmp_path / "model")
    assert whole(loaded.reference_) == whole(Reference.of(before, model))
    assert loaded.reference_.target == "late"
    assert loaded.predict(before).equals(model.predict(before))
    loaded.save(tmp_path / "again")
    result = og.drift(str(tmp_path / "again"), flights(2_000, 0.8, seed=2))
    assert by_subject(result.findings)["predictions", "prediction"].verdict == "drift"
    with pytest.raises(ParameterError, match="none by 'carrier'"):
        og.drift(loaded, before, by="carrier")
    loaded.fit(before, "late")
    assert loaded.reference_ is None


def test_rows_that_cannot_be_scored_have_no_prediction() -> None:
    before = flights(2_000).select(["delay", "hour"])
    model = og.LinearRegression().fit(before, "hour")
    reference = Reference.of(before, model)
    gaps = pa.table({"delay": pa.array([None, 1.0] * 100, pa.float64())})
    findings = by_subject(compare(reference, reference.count(gaps, model)))
    assert findings["missing", "prediction"].value == 0.5


def test_scored_rows_bring_their_predictions() -> None:
    before = flights(2_000).select(["delay", "hour"])
    model = og.LinearRegression().fit(before, "hour")
    reference = Reference.of(before, model)
    rows = flights(500, 1.0, seed=1).select(["delay"])
    scored = model.predict(rows)
    assert scored.column_names == ["delay", "prediction"]
    assert reference.count(scored).counts.tobytes() == reference.count(rows, model).counts.tobytes()


def test_references_and_windows_are_small() -> None:
    random = np.random.default_rng(0)
    columns = {f"x{i}": random.normal(size=20_000) for i in range(60)}
    columns |= {f"k{i}": random.integers(0, 2_000, 20_000) for i in range(20)}
    columns |= {f"t{i}": random.choice([f"word{j}" for j in range(300)], 20_000) for i in range(20)}
    reference = Reference.of(pa.table(columns))
    data = reference.to_bytes()
    assert len(data) < 2_000_000
    again = Reference.from_bytes(data)
    assert whole(again) == whole(reference)
    window = again.count(pa.table(columns).slice(0, 3_000))
    coarse = again.coarse(window)
    assert coarse.counts.nbytes <= 100 * (256 + HEADS) * 8
    fine, rough = (by_subject(compare(again, each)) for each in (window, coarse))
    assert fine.keys() == rough.keys()
    for name, finding in fine.items():
        if "ks" in finding.measures:
            low, high = rough[name].measures["ks"].value, finding.measures["ks"].value
            assert low <= high + 1e-12
            assert high - low < 1 / 256 + 1e-3
    both = again.coarse(window.merge(window))
    assert both.counts.tolist() == coarse.merge(coarse).counts.tolist()
    with pytest.raises(ArtifactError, match="damaged"):
        Reference.from_bytes(data[:-9])


def test_windows_of_other_references_are_refused() -> None:
    first, second = Reference.of(flights(300)), Reference.of(flights(300, seed=1))
    window = second.count(flights(50))
    with pytest.raises(ParameterError, match="different references"):
        first.count(flights(50)).merge(window)
    with pytest.raises(ParameterError, match="another reference"):
        compare(first, window)


def test_few_rows_none_and_wrong_ones(tmp_path: Path) -> None:
    before = flights(500)
    few = og.drift(before, before.slice(0, 12))
    assert few.verdict == "cannot say"
    assert "30 of each" in few.findings[1].because
    none = og.drift(before, before.slice(0, 0))
    assert none.verdict == "cannot say"
    assert len(none.findings) == 1
    with pytest.raises(DataError, match="no rows"):
        og.drift(before.slice(0, 0), before)
    with pytest.raises(ColumnNotFoundError, match="speed"):
        og.drift(before, before, columns=["speed"])
    with pytest.raises(ColumnNotFoundError, match="carrier"):
        og.drift(before, before.drop_columns(["carrier"]), by="carrier")
    with pytest.raises(ParameterError, match="no measure"):
        og.drift(before, before, effect={"psy": 1.0})
    with pytest.raises(ParameterError, match="between 0 and 1"):
        og.drift(before, before, fdr=5)
    with pytest.raises(SchemaError, match="no values to slice by"):
        Reference.of(every_type(50), by="record")
    pq.write_table(before, tmp_path / "before.parquet")
    before.to_pandas().to_csv(tmp_path / "after.csv", index=False)
    assert og.drift(tmp_path / "before.parquet", tmp_path / "after.csv").verdict == "ok"
    assert og.drift(before.to_pandas(), before.to_pandas()).verdict == "ok"


def test_results_are_tables() -> None:
    result = og.drift(flights(2_000), flights(500, 1.0, seed=1), columns=["delay", "carrier"])
    table = result.to_arrow()
    assert table.num_rows == len(result.findings)
    assert {"what", "value", "low", "high", "p", "q", "effect", "verdict", "because"} <= set(
        table.column_names
    )
    assert "drift: delay: The mean went from" in str(result)
    assert "delay" in repr(result)
    assert "<table>" in result._repr_html_()


def test_pages_are_small_and_show_what_changed() -> None:
    random = np.random.default_rng(0)
    before, after = (
        pa.table({f"x{i}": random.normal(shift, size=200) for i in range(1_000)}) for shift in (0, 1)
    )
    page = og.drift(before, after).to_html()
    assert page.count("<tr>") == 1_001
    assert page.count("<svg") == 1_012
    assert len(page.encode()) < 1_000_000
    moments = every_type(3_000)
    shown = og.drift(
        moments, every_type(400, seed=1).slice(0, 300), by="category", effect={"js": 0.0}
    ).to_html()
    assert "nan" not in shown.lower().replace(">nan<", "")
    hostile = pa.table({"<script>": ["<b>" if i % 2 else "b" for i in range(100)]})
    page = og.drift(hostile, pa.table({"<script>": ["<i>"] * 100})).to_html()
    assert "<script>" not in page
    assert "<i>" not in page.replace('<i style="width', "").replace("<i></i>", "")


def test_the_command_says_what_drifted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(flights(3_000), tmp_path / "before.parquet")
    pq.write_table(flights(800, 1.0, seed=1), tmp_path / "after.parquet")
    before, after = str(tmp_path / "before.parquet"), str(tmp_path / "after.parquet")

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["drift", *words])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, text = run(before, after, "-o", str(tmp_path / "report.html"), "--by", "carrier")
    assert code == 3
    assert "delay" in text
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert run(before, before)[0] == 0
    assert run(before, after, "--column", "hour")[0] == 0
    assert run(before, after, "--effect", "psi=50")[0] == 0
    assert run(before, after, "--effect", "psi")[0] == 2
    assert run(before, str(tmp_path / "nowhere.parquet"))[0] == 2
    model = og.Pipeline([("text", og.OneHotEncoder(columns=["carrier"])), ("model", og.LogisticRegression())])
    model.fit(og.read(before), "late").save(tmp_path / "model", reference=og.read(before))
    code, text = run(str(tmp_path / "model"), after)
    assert code == 3
    assert "probability_ok" in text


def test_values_beyond_the_known_ones_keep_their_mean() -> None:
    days = pa.array(np.arange(60).repeat(50)).cast(pa.int32()).cast(pa.date32())
    later = pa.array((np.arange(60) + 90).repeat(5)).cast(pa.int32()).cast(pa.date32())
    finding = by_subject(og.drift(pa.table({"day": days}), pa.table({"day": later})).findings)[
        "values", "day"
    ]
    assert "1970-04-30" in finding.because
    assert finding.measures["wasserstein"].value == pytest.approx(90 / np.arange(60).std(), rel=0.001)


def test_what_breaks_other_reports_is_said() -> None:
    """Columns without values (evidently #330, #1480), infinities (#187), new words (alibi-detect #193)."""
    random = np.random.default_rng(0)
    before = pandas.DataFrame(
        {
            "number": random.normal(size=900),
            "word": random.choice(["a", "b"], 900),
            "same": 1.0,
            "empty": np.nan,
            "huge": random.normal(size=900) * 1e300,
        }
    )
    after = pandas.DataFrame(
        {"number": [None] * 90, "word": ["z", None, "z"] * 30, "same": 2.0, "empty": 1.0}
    )
    after["huge"] = np.where(np.arange(90) % 3 == 0, np.inf, 1e300)
    findings = by_subject(og.drift(before, after).findings)
    assert findings["missing", "number"].value == 1
    assert findings["missing", "empty"].value == -1
    assert findings["new categories", "word"].value == 1
    assert findings["values", "word"].because == "What is new went from 0 % of the values to 100.0 %."
    assert findings["values", "same"].because == "The mean went from 1 to 2."
    assert findings["values", "huge"].because == "There are infinite values here."
    assert {findings["values", name].verdict for name in ("word", "same", "huge")} == {"drift"}
    assert og.drift(before, before, columns="huge").verdict == "ok"


def test_compiled_code_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    random = np.random.default_rng(0)
    x = random.normal(size=9_000)
    x[::97], x[5], x[6] = np.nan, np.inf, -np.inf
    whole_numbers = pa.array(random.integers(0, 10**6, 9_000), mask=random.random(9_000) < 0.1)
    table = pa.table({"x": x, "small": random.random(9_000).astype(np.float32), "whole": whole_numbers})
    reference = Reference.of(table)
    for few in (200, 1):
        monkeypatch.setattr("outgrow.engine.reference_plan.MANY_VALUES", 0)
        monkeypatch.setattr("outgrow.engine.reference_plan.MANY_COLUMNS", few)
        window = reference.count(pieces(table, 2_000))
        assert window.counts.tobytes() == reference.counts.counts.tobytes()
        assert window.ends.tobytes() == reference.counts.ends.tobytes()


_ROWS = 2_000
_ZIP = [f"{number:05d}" for number in range(5_000)]
_LARGE = 2**60 + np.arange(_ROWS) % 100


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([{"a": 1.0}] * _ROWS, [{"a": 9.0}] * _ROWS, "the values of a struct"),
        (
            pa.array([[("a", 1.0)]] * _ROWS, pa.map_(pa.string(), pa.float64())),
            pa.array([[("b", 7.0)]] * _ROWS, pa.map_(pa.string(), pa.float64())),
            "the values of a map",
        ),
        (_ZIP * 4, [f"X{number:05d}" for number in range(4_000)], "it has too many different ones"),
        (_LARGE, 2**60 + 50 + np.arange(_ROWS) % 50, "whole numbers near 1.15e+18 share one float64"),
        (np.full(_ROWS, np.nan), np.full(_ROWS, np.nan), "the reference has only missing values"),
        (pa.nulls(_ROWS), pa.nulls(_ROWS), "Too few values to say"),
    ],
)
def test_what_was_not_compared_is_not_ok(before: Any, after: Any, why: str) -> None:
    table, rows = pa.table({"c": before}), pa.table({"c": after})
    found = og.drift(table, rows)
    assert found.verdict == "cannot say"
    (finding,) = [f for f in found.findings if f.column == "c" and f.what in ("values", "not counted")]
    assert finding.verdict == "cannot say"
    assert why in finding.because
    assert "cannot say" in found.to_html()


def test_values_that_are_hardly_told_apart_and_differ_all_the_same_are_drift() -> None:
    found = og.drift(pa.table({"c": _LARGE}), pa.table({"c": 2**61 + np.arange(_ROWS) % 50}))
    assert found.verdict == "drift"
    assert og.drift(pa.table({"c": [1] * _ROWS}), pa.table({"c": [1] * _ROWS})).verdict == "ok"
    struct = [{"a": 1.0}] * _ROWS
    assert (
        og.drift(pa.table({"c": struct}), pa.table({"c": [*struct[:900], *[None] * 900]})).verdict == "drift"
    )


def test_each_expected_column_has_a_finding() -> None:
    before = pa.table({"l": [[1.0, 2.0]] * 100, "s": [{"a": 1}] * 100, "x": np.arange(100.0)})
    after = pa.table(
        {"l": pa.array([[]] * 100, pa.list_(pa.float64())), "s": [{"a": 1}] * 100, "x": np.arange(100.0)}
    )
    found = og.drift(before, after)
    about = {f.column: f.verdict for f in found.findings if f.what in ("values", "not counted")}
    assert about == {"length of l": "drift", "items of l": "cannot say", "s": "cannot say", "x": "ok"}


def test_rows_without_columns_are_refused() -> None:
    nothing, some = pandas.DataFrame(index=range(5)), pandas.DataFrame({"x": np.arange(90.0)})
    for before, after in ((nothing, nothing), (some, nothing)):
        with pytest.raises(DataError, match="The rows have no columns"):
            og.drift(before, after)


@pytest.mark.parametrize("rate", ["1%", True, None, np.nan])
def test_a_rate_of_false_discoveries_that_is_none_is_refused(rate: Any) -> None:
    rows = pa.table({"x": np.arange(90.0)})
    with pytest.raises(ParameterError, match="the rate of false discoveries lies between 0 and 1"):
        og.drift(rows, rows, fdr=rate)
    assert og.drift(rows, rows, fdr=np.float32(0.01)).verdict == "ok"
