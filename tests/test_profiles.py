"""What a profile says to look at, beside a target and beside another dataset."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import outgrow as og
from outgrow.cli import main
from outgrow.errors import ColumnNotFoundError, SchemaError
from outgrow.job.report import profile_report
from outgrow.job.screen import profile_table
from outgrow.testing import EngineCase

RNG = np.random.default_rng(0)
ROWS = 600
Y = RNG.integers(0, 2, ROWS)
X = RNG.normal(size=ROWS)
GAP = RNG.random(ROWS) < 0.2
TABLE = pa.table(
    {
        "id": [f"row {i}" for i in range(ROWS)],
        "number": RNG.permutation(ROWS),
        "x": X,
        "copy": X,
        "shuffled": RNG.permutation(X),
        "one": ["a"] * ROWS,
        "none": pa.nulls(ROWS, pa.float64()),
        "word": np.array(["red", "green", "blue"])[RNG.integers(0, 3, ROWS)],
        "many": [f"w{v}" for v in RNG.integers(0, 400, ROWS)],
        "tail": np.exp(3 * RNG.normal(size=ROWS)),
        "gap": pa.array(np.where(GAP, np.nan, X + 1), from_pandas=True),
        "gap too": pa.array(
            [None if gone else "there" if x > 0 else "here" for gone, x in zip(GAP, X, strict=True)]
        ),
        "far": np.where(RNG.random(ROWS) < 0.01, np.inf, X),
        "leak": Y * 10.0 + RNG.normal(size=ROWS) / 50,
        "known": pa.array(np.where(Y == 1, X, np.nan), from_pandas=True),
        "late": Y.astype(bool),
    }
)
FRAME = TABLE.to_pandas()


def told(profile: Any) -> dict[str, set[tuple[str, ...]]]:
    kinds: dict[str, set[tuple[str, ...]]] = {}
    for finding in profile.findings:
        kinds.setdefault(finding.kind, set()).add(finding.columns)
    return kinds


def test_findings_on_every_engine(engine: EngineCase) -> None:
    profile = engine.open(TABLE).profile("late")
    assert told(profile) == {
        "constant": {("one",), ("none",)},
        "duplicate": {("x", "copy")},
        "identifier": {("id",), ("number",)},
        "high cardinality": {("many",)},
        "skewed": {("tail",)},
        "infinite": {("far",)},
        "leakage": {("leak",), ("known",)},
    }
    patterns = dict(profile.missing_patterns)
    both = int((GAP & (Y == 0)).sum())
    assert patterns[("none", "gap", "gap too", "known")] == both
    assert patterns[("none", "gap", "gap too")] == GAP.sum() - both
    assert sum(patterns.values()) == ROWS


def test_limits_that_give_the_class_are_told_first() -> None:
    """As a delay does beside whether it is a late one: no measure of association is near one."""
    delay = np.random.default_rng(3).exponential(20, 900)
    table = pa.table(
        {
            "skewed": np.exp(3 * delay / 20),
            "delay": pa.array(np.where(np.arange(900) % 9, delay, np.nan), from_pandas=True),
            "noise": np.random.default_rng(4).normal(size=900),
            "grade": np.array(["early", "fine", "late"])[np.digitize(delay, [5, 40])],
        }
    )
    profile = og.dataset(table).profile("grade")
    assert [(found.kind, found.columns[0]) for found in profile.findings] == [
        ("leakage", "delay"),
        ("leakage", "skewed"),
        ("skewed", "skewed"),
    ]
    assert "a range of values to itself" in profile.findings[0].text
    few = table.slice(0, 40).append_column("rare", pa.array(delay[:40] >= np.sort(delay[:40])[-4]))
    assert not [
        found for found in og.dataset(few.drop("grade")).profile("rare").findings if found.kind == "leakage"
    ]


def test_texts_are_no_names_of_rows() -> None:
    rng = np.random.default_rng(5)
    words = np.array(["the", "room", "was", "cold", "and\n", "very", "loud"])
    reviews = [" ".join(rng.permutation(words)) + f" {stars}" for stars in rng.integers(0, 5, 400)]
    profile = og.dataset(pa.table({"review": reviews, "name": [f"guest {i}" for i in range(400)]})).profile()
    assert told(profile) == {"text": {("review",)}, "identifier": {("name",)}}
    assert max(map(len, str(profile).splitlines())) < 160


def test_a_narrow_terminal_shows_the_names_of_columns() -> None:
    sizes = pa.array([1.5, None, 1e9])
    rows = pa.table({"review": ["a long text of words " * 9] * 3, "a name of [many] letters": sizes})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(profile_table(og.dataset(rows).profile()))
    lines = console.export_text().splitlines()
    assert any(line.strip().startswith("review") and "a long text" in line for line in lines)
    assert any(line.strip().startswith("a name of [many] letters") and "1.500 .." in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_columns_beside_classes(engine: EngineCase) -> None:
    beside = engine.open(TABLE).profile("late").target
    assert beside is not None
    assert beside.classes == FRAME["late"].astype(str).value_counts().to_dict()
    groups = FRAME.groupby("late")["gap"]
    for label, (_, group) in zip(("False", "True"), groups, strict=True):
        np.testing.assert_allclose(beside.columns["gap"].groups[label], [group.mean(), group.std()])
    values = FRAME["leak"]
    between = sum(len(g) * (g.mean() - values.mean()) ** 2 for _, g in values.groupby(FRAME["late"]))
    eta = np.sqrt(between / ((values - values.mean()) ** 2).sum())
    assert beside.columns["leak"].association == pytest.approx(eta)
    table = pa.table({"word": TABLE["word"], "late": TABLE["late"]})
    v = og.stats.chi2_contingency(table, "word", "late").cramers_v
    assert beside.columns["word"].association == pytest.approx(v)
    shares = pd.crosstab(FRAME["word"], FRAME["late"], normalize="index")
    order = list(beside.classes)
    for word, row in shares.iterrows():
        got = dict(zip(order, beside.columns["word"].groups[str(word)], strict=True))
        assert got["True"] == pytest.approx(row[True])
    assert beside.columns["known"].missing == pytest.approx(1)
    assert next(iter(beside.columns)) == "leak"


def test_columns_beside_a_number(engine: EngineCase) -> None:
    profile = engine.open(TABLE).profile("x")
    assert told(profile)["leakage"] == {("copy",), ("gap",), ("far",), ("known",)}
    beside = profile.target
    assert beside is not None
    assert beside.classes is None
    assert beside.columns["gap"].association == pytest.approx(1)
    leak = beside.columns["leak"]
    assert leak.association == pytest.approx(np.corrcoef(FRAME["x"], FRAME["leak"])[0, 1])
    mean, std = beside.columns["word"].groups["red"]
    red = FRAME["x"][FRAME["word"] == "red"]
    np.testing.assert_allclose([mean, std], [red.mean(), red.std()])
    assert beside.columns["gap too"].association > 0.5


def test_unusual_targets() -> None:
    with pytest.raises(ColumnNotFoundError):
        og.dataset(TABLE).profile("nope")
    with pytest.raises(SchemaError, match="no column of numbers or categories"):
        og.dataset(pa.table({"t": pa.array([0, 1], pa.timestamp("us")), "x": [1.0, 2.0]})).profile("t")
    few = pa.table({"y": [1, 2, None, 2], "x": [1.0, None, 5.0, 6.0]})
    beside = og.dataset(few).profile("y").target
    assert beside is not None
    assert beside.classes == {"2": 2, "1": 1, "(missing)": 1}
    assert set(beside.columns["x"].groups) == {"1", "2"}
    alone = og.dataset(few.select(["y"])).profile("y").target
    assert alone is not None
    assert alone.columns == {}
    same = og.dataset(pa.table({"y": [3.5] * 4, "x": [1.0, 2.0, 3.0, 4.0]})).profile("y").target
    assert same is not None
    assert np.isnan(same.columns["x"].association)


def test_equal_columns_of_any_type() -> None:
    words = pa.array(["a", "b", None, "a"])
    rows = pa.table(
        {
            "text": words,
            "codes": words.dictionary_encode(),
            "turned": pa.array(["b", "a", None, "a"]),
            "whole": [1, 2, 3, 1],
            "float": [1.0, 2.0, 3.0, 1.0],
            "day": pa.array([1, 2, None, 1], pa.date32()),
            "again": pa.array([1, 2, None, 1], pa.date32()),
        }
    )
    pairs = told(og.dataset(rows).profile())["duplicate"]
    assert pairs == {("text", "codes"), ("whole", "float"), ("day", "again")}


def test_two_datasets_side_by_side(engine: EngineCase) -> None:
    other = TABLE.drop_columns(["copy", "word", "x", "gap", "number"])
    other = other.append_column("word", pa.array(["red"] * ROWS)).append_column("fresh", pa.array(Y))
    other = other.append_column("x", pa.array(X + 1)).append_column("gap", pa.array(X + 1))
    other = other.append_column("number", pa.array([str(v) for v in range(ROWS)]))
    compared = og.dataset(TABLE).profile().compare(engine.open(other).profile())
    kinds = told(compared)
    assert kinds == {
        "gone": {("copy",)},
        "new": {("fresh",)},
        "shares": {("word",)},
        "moved": {("x",)},
        "missing": {("gap",)},
        "type": {("number",)},
    }
    assert compared.columns["x"].moved == pytest.approx(1 / X.std(ddof=1))
    assert compared.to_arrow().num_rows == len(compared.columns)
    assert "the mean went from" in str(compared)
    same = og.dataset(TABLE).profile().compare(engine.open(TABLE).profile())
    assert same.findings == ()


def test_the_page_of_a_thousand_columns_is_small() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(2 * rng.normal(size=(400, 1_000)))
    values[rng.random(values.shape) < 0.05] = np.nan
    names = [f"a measurement with a long name {j:04d}" for j in range(1_000)]
    table = pa.table({name: pa.array(values[:, j], from_pandas=True) for j, name in enumerate(names)})
    table = table.append_column("y", pa.array(rng.integers(0, 3, 400)))
    profile = og.dataset(table).profile("y")
    assert len(profile.columns) == 1_001
    page = profile_report(profile, "wide", {}, ("again", profile))
    assert len(page.encode()) < 2_000_000
    assert page.count(names[999]) >= 1


def test_the_command_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left, right, page = (tmp_path / name for name in ("left.parquet", "right.parquet", "page.html"))
    pq.write_table(TABLE, left)
    pq.write_table(TABLE.slice(0, 300).drop_columns(["copy"]), right)
    words = ["profile", str(left), "--target", "late", "--compare", str(right), "-o", str(page)]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "leakage" in printed
    assert "gone" in printed
    text = page.read_text()
    assert all(f'<h2 id="{part}">' in text for part in ("findings", "missing", "target", "comparison"))


def test_names_of_64_bits_are_told_apart() -> None:
    """Of 512 neighbours float64 keeps three, and the column would look like one value."""
    names = pa.array([2**62 + k for k in range(500)] + [None])
    profile = og.dataset(pa.table({"id": names, "few": pa.array([2**62, 2**62 + 1, None] * 167)})).profile()
    assert abs(profile["id"].distinct - 500) < 25
    assert profile["few"].distinct == 2
    assert "constant" not in {finding.kind for finding in profile.findings}
