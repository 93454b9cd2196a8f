"""Frequent sets and rules: those of counting every set, on every engine."""

from __future__ import annotations

import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.dataset import Dataset
from outgrow.engine.memory import Memory
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.task import Task
from outgrow.ml.fpm import rules
from outgrow.ml.fpm.eclat import Miner
from outgrow.ml.fpm.placed import Room
from outgrow.stats.baskets import Baskets
from outgrow.testing import EngineCase
from ranks import ranks

FRUIT = [["a", "b", "c"], ["a", "b"], ["b", "a", "a"], [], None, ["c", None], ["d", "c", "b", "a"]]


def sets_of(model: Any) -> dict[tuple[Any, ...], int]:
    rows = model.itemsets().to_pylist()
    return {tuple(sorted(row["items"])): row["count"] for row in rows}


def counted(baskets: list[Any], least: float, longest: int | None = None) -> dict[tuple[Any, ...], int]:
    """Every set of items that is in enough baskets, found by trying all."""
    rows = [set(basket) - {None} for basket in baskets if basket is not None]
    items = sorted(set().union(*rows))
    found = {}
    for size in range(1, min(len(items), longest or len(items)) + 1):
        for chosen in combinations(items, size):
            count = sum(set(chosen) <= row for row in rows)
            if count >= max(least * len(rows), 1):
                found[chosen] = count
    return found


@given(
    st.lists(st.lists(st.integers(-3, 3), max_size=6), min_size=1, max_size=30),
    st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    st.sampled_from([None, 1, 2, 3]),
)
@settings(max_examples=30)
def test_all_sets_and_no_others(baskets: list[list[int]], least: float, longest: int | None) -> None:
    table = pa.table({"l": pa.array(baskets, pa.list_(pa.int64()))})
    model = og.FPGrowth(least, max_len=longest).fit(table)
    assert sets_of(model) == counted(baskets, least, longest)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=7), min_size=1, max_size=40),
    st.sampled_from([0.05, 0.2]),
    st.sampled_from([None, 2, 3]),
)
@settings(max_examples=15)
def test_baskets_past_the_memory(baskets: list[list[int]], least: float, longest: int | None) -> None:
    """Those that may not be held are placed by their items, and give the same sets."""
    table = pa.table({"l": pa.array(baskets, pa.list_(pa.int64()))})
    small = Dataset(Scan(TableSource(table, 7)), og.Local(memory=1, threads=2))
    model = og.FPGrowth(least, max_len=longest).fit(small)
    assert sets_of(model) == counted(baskets, least, longest)


def test_baskets_of_four_times_the_budget() -> None:
    random = np.random.default_rng(3)
    baskets = [sorted({*(random.zipf(1.4, 12) % 40).tolist()}) for _ in range(3000)]
    table = pa.table({"l": baskets})
    expected = og.FPGrowth(0.05).fit(table)
    budget = sum(map(len, baskets))  # of 4 bytes each
    model = og.FPGrowth(0.05).fit(og.dataset(table, engine=og.Local(memory=budget, threads=2)))
    assert model.itemsets().equals(expected.itemsets())
    assert model.fit_record_.spilled > budget
    assert Room(budget, 2, 4.0 * budget).groups(40, 2) == 40


def test_baskets_between_ranks() -> None:
    table = pa.table({"l": [sorted({n % 5, n % 3, n % 7}) for n in range(200)]})
    expected = sets_of(og.FPGrowth(0.02).fit(table))

    def work(comm: Tcp) -> Any:
        scan = og.dataset(table.slice(70 * comm.rank, 70)).scan
        shard = Shard.of(FitContext(comm, 1, Memory(1)), scan.pieces(), scan.example())
        model = og.FPGrowth(0.02)
        model._fit(shard, ["l"], Task(None, None, ("l",)))
        return sets_of(model)

    assert ranks(3, work) == [expected] * 3


def test_many_items_and_weighted_lists() -> None:
    """Lists that come often, as bits of several powers, and too many items for all pairs at once."""
    random = np.random.default_rng(0)
    baskets = [np.flatnonzero(random.random(24) < random.random(24)).tolist() for _ in range(300)] * 3
    baskets += baskets[:100] * 7
    model = og.FPGrowth(0.2).fit(pa.table({"l": baskets}))
    rows = [set(basket) for basket in baskets]
    found = sets_of(model)
    assert len(found) > 200
    for chosen, count in list(found.items())[::50]:
        assert count == sum(set(chosen) <= row for row in rows)
    third = {tuple(sorted((*chosen, item))) for chosen in found for item in range(24) if len(chosen) == 2}
    for chosen in sorted(third)[::40]:
        if len(set(chosen)) == 3 and chosen not in found:
            assert sum(set(chosen) <= row for row in rows) < 0.2 * len(rows)


def test_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    table = pa.table({"l": pa.array(FRUIT, pa.list_(pa.string())), "x": range(len(FRUIT))})
    model = og.FPGrowth(0.5, min_confidence=0.7).fit(engine.open(table))
    assert model.n_baskets_ == 6
    assert sets_of(model) == counted(FRUIT, 0.5)
    model.save(tmp_path / "model")
    made = og.load(tmp_path / "model").transform(table)
    assert made.column_names == ["l", "consequents", "x"]
    assert made["consequents"].to_pylist() == [[], [], [], [], [], [], []]


def test_rules_of_mllibs_example() -> None:
    """The baskets of Spark's documentation, and the rules it shows."""
    table = pa.table({"items": [["1", "2", "5"], ["1", "2", "3", "5"], ["1", "2"]]})
    model = og.FPGrowth(0.5, min_confidence=0.6).fit(table)
    assert sets_of(model) == {
        ("1",): 3,
        ("2",): 3,
        ("5",): 2,
        ("1", "2"): 3,
        ("1", "5"): 2,
        ("2", "5"): 2,
        ("1", "2", "5"): 2,
    }
    made = model.association_rules("confidence", 0.6, max_consequent=1).to_pylist()
    found = {(tuple(sorted(r["antecedent"])), r["consequent"][0]): (r["confidence"], r["lift"]) for r in made}
    two = pytest.approx(2 / 3)
    assert found == {
        (("1",), "2"): (1.0, 1.0),
        (("1",), "5"): (two, 1.0),
        (("2",), "1"): (1.0, 1.0),
        (("2",), "5"): (two, 1.0),
        (("5",), "1"): (1.0, 1.0),
        (("5",), "2"): (1.0, 1.0),
        (("1", "2"), "5"): (two, 1.0),
        (("1", "5"), "2"): (1.0, 1.0),
        (("2", "5"), "1"): (1.0, 1.0),
    }
    assert model.transform(table)["consequents"].to_pylist() == [[], [], ["5"]]


def test_metrics_of_rules_by_their_definition() -> None:
    random = np.random.default_rng(1)
    baskets = [[item for item in "abcde" if random.random() < 0.6] for _ in range(200)]
    model = og.FPGrowth(0.05).fit(pa.table({"l": pa.array(baskets, pa.list_(pa.string()))}))
    made = model.association_rules("support", 0.0).to_pylist()
    assert len(made) == sum(2 ** len(chosen) - 2 for chosen in sets_of(model) if len(chosen) > 1)

    def share(items: list[str]) -> float:
        return float(np.mean([set(items) <= set(row) for row in baskets]))

    for rule in made[::7]:
        first, second = share(rule["antecedent"]), share(rule["consequent"])
        both = share(rule["antecedent"] + rule["consequent"])
        assert rule["support"] == pytest.approx(both)
        assert rule["confidence"] == pytest.approx(both / first)
        assert rule["lift"] == pytest.approx(both / first / second)
        assert rule["leverage"] == pytest.approx(both - first * second)
        assert rule["conviction"] == pytest.approx((1 - second) / (1 - both / first))
    lifts = model.association_rules("lift", 1.0, max_consequent=2)["lift"].to_pylist()
    assert lifts == sorted(lifts, reverse=True)
    assert min(lifts) >= 1.0


def test_what_follows_from_baskets() -> None:
    """As trying each rule on each basket says; unknown items do not matter."""
    random = np.random.default_rng(2)
    baskets = [[item for item in range(6) if random.random() < 0.5] for _ in range(80)]
    table = pa.table({"l": pa.array([*baskets, [99, 0], None], pa.list_(pa.int64()))})
    model = og.FPGrowth(0.1, min_confidence=0.5).fit(table)
    made = model.association_rules("confidence", 0.5).to_pylist()
    for basket, found in zip(
        table["l"].to_pylist(), model.transform(table)["consequents"].to_pylist(), strict=True
    ):
        met = [set(rule["consequent"]) for rule in made if set(rule["antecedent"]) <= set(basket or [])]
        assert set(found) == set().union(*met) - set(basket or [])
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "baskets",
    [
        [[True, False], [True], [False, True]],
        [[1.5, 2.0, float("nan")], [1.5], [2.0, 1.5]],
        [[datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)], [datetime.date(2026, 1, 1)], []],
    ],
)
def test_items_of_any_type(baskets: list[Any]) -> None:
    model = og.FPGrowth(0.3).fit(pa.table({"l": baskets}))
    first = baskets[1][0]
    named = str(first) if isinstance(first, datetime.date) else first
    assert model.itemsets()["items"].to_pylist()[0] == [named]


def test_one_basket_several_columns_and_arrays() -> None:
    """One transaction alone fails elsewhere (mlxtend #1049)."""
    assert sets_of(og.FPGrowth(1.0).fit(pa.table({"l": [["x", "y"]]}))) == {
        ("x",): 1,
        ("y",): 1,
        ("x", "y"): 1,
    }
    two = pa.table({"l": [["x"], ["x"]], "m": [["y", "x"], ["y"]], "n": [1, 2]})
    model = og.FPGrowth(1.0).fit(two)
    assert sets_of(model) == {("x",): 2, ("y",): 2, ("x", "y"): 2}
    assert model.transform(two).column_names == ["l", "m", "consequents", "n"]
    rows = np.empty((2, 1), dtype=object)
    rows[:, 0] = [["a", "b"], ["b"]]
    assert og.FPGrowth(0.5).fit(rows).itemsets().num_rows == 3


def test_nothing_is_frequent() -> None:
    table = pa.table({"l": [["a"], ["b"], ["c"]]})
    model = og.FPGrowth(0.5).fit(table)
    assert model.itemsets().num_rows == model.association_rules().num_rows == 0
    assert model.transform(table)["consequents"].to_pylist() == [[], [], []]
    empty = pa.table({"l": pa.array([[], []], pa.list_(pa.int64()))})
    assert og.FPGrowth(0.5).fit(empty).transform(empty)["consequents"].to_pylist() == [[], []]


def test_refusals() -> None:
    table = pa.table({"l": [["a", "b"]], "n": [[1, 2]], "x": [1]})
    with pytest.raises(SchemaError, match="different types"):
        og.FPGrowth().fit(table)
    with pytest.raises(SchemaError, match=r"\['x'\] are none"):
        og.FPGrowth(columns=["x"]).fit(table)
    model = og.FPGrowth(columns="l").fit(table)
    with pytest.raises(ParameterError, match="metric must be"):
        model.association_rules("zhang")
    with pytest.raises(ParameterError, match="max_consequent"):
        model.association_rules(max_consequent=0)
    missing = pa.table({"l": pa.array([None, None], pa.list_(pa.string()))})
    with pytest.raises(DataError, match="all missing"):
        og.FPGrowth().fit(missing)
    lists = Baskets.of(np.tile(np.arange(20), 2), np.array([0, 20, 40]))
    with pytest.raises(DataError, match="Raise min_support"):
        Miner(lists, 1, None, most=100).mine(19)


def test_one_long_basket_is_refused_at_once() -> None:
    """All sets of its items are frequent; others mine for hours (mlxtend #1049)."""
    table = pa.table({"l": [list(range(28))]})
    with pytest.raises(DataError, match=r"28 frequent items .* 3,758,096,356 numbers"):
        og.FPGrowth(0.5).fit(table)
    assert og.FPGrowth(0.5, max_len=2).fit(table).itemsets().num_rows == 28 + 28 * 27 // 2
    pairs = Baskets.of(np.arange(20), np.arange(0, 21, 2))  # ten baskets of two items each
    miner = Miner(pairs, 1, None, most=10)
    with pytest.raises(DataError, match="More than 10 numbers"):  # of all items together, not of each
        _ = [miner.mine(item) for item in range(20)]


SHOPS: list[tuple[str, list[Any], float, dict[tuple[Any, ...], int]]] = [
    ("all baskets alike (fim)", [[1, 2, 3]] * 2, 1.0, {(1, 2, 3): 2, (1,): 2, (2, 3): 2}),
    (
        "a set whose items part again",
        [*map(list, ["adef", "adef", "ac", "acdef", "ac", "ac"])],
        0.3,
        {("a", "e", "f"): 3},
    ),
    ("single items beside pairs", [[7, 11], [11], [7, 11, 13], [7]], 0.25, {(7,): 3, (11,): 3, (7, 11): 2}),
    ("no basket holds anything", [[], []], 0.5, {}),
    ("nothing is frequent", [["a"], ["b"]], 1.0, {}),
]
"""Reports of other libraries: pyfpgrowth #6, python-fp-growth #7, mlxtend #496 and #843, elephant #139."""


@pytest.mark.parametrize(
    ("baskets", "least", "sets"), [row[1:] for row in SHOPS], ids=[row[0] for row in SHOPS]
)
def test_baskets_others_stumbled_over(
    baskets: list[Any], least: float, sets: dict[tuple[Any, ...], int]
) -> None:
    column = pa.array(baskets) if any(baskets) else pa.array(baskets, pa.list_(pa.string()))
    model = og.FPGrowth(least).fit(pa.table({"l": column}))
    found = sets_of(model)
    assert found == counted(baskets, least)
    assert sets.items() <= found.items()
    assert (model.association_rules("lift", 0.0).num_rows == 0) == all(len(each) == 1 for each in found)


def test_rules_that_never_fail() -> None:
    """A confidence of exactly 1 is at least 1 (fpgrowth_py #3)."""
    baskets = [["eggs", "bacon", "soup"], ["eggs", "bacon", "apple"], ["soup", "bacon", "banana"]]
    rules = og.FPGrowth(0.5).fit(pa.table({"l": baskets})).association_rules(min_threshold=1.0)
    pairs = zip(rules["antecedent"].to_pylist(), rules["consequent"].to_pylist(), strict=True)
    assert sorted(pairs) == [(["eggs"], ["bacon"]), (["soup"], ["bacon"])]


def test_too_many_rules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = og.FPGrowth(1.0).fit(pa.table({"l": [list(range(8))]}))
    assert len(sets_of(model)) == 2**8 - 1
    assert model.association_rules().num_rows == 3**8 - 2**9 + 1
    monkeypatch.setattr(rules, "MOST_RULES", 3**8 - 2**9)
    with pytest.raises(DataError, match="max_consequent=1"):
        model.association_rules()
    assert model.association_rules(max_consequent=1)["confidence"].to_pylist() == [1.0] * (8 * (2**7 - 1))
