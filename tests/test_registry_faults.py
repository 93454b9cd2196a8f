"""What a store refuses before it makes a version, and where two rollbacks lead."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.registry.facts import MOVED, Facts, kept_versions

X = np.arange(20.0)[:, None]


def model(alpha: float = 1.0) -> Any:
    return og.Ridge(alpha=alpha).fit(X, 2 * X[:, 0])


@pytest.fixture
def store(tmp_path: Path) -> og.ModelStore:
    found = og.ModelStore(tmp_path / "store")
    for alpha in (1.0, 2.0, 3.0):
        found.promote(found.add(model(alpha)))
    return found


def test_two_rollbacks_go_back_twice(store: og.ModelStore) -> None:
    assert [store.rollback(), store.rollback()] == [2, 1]
    with pytest.raises(ParameterError, match="pointed to no other version before"):
        store.rollback()
    assert [move.rollback for move in store.history("champion")] == [False, False, False, True, True]
    store.promote(3)
    assert store.rollback() == 1, "version 2 was left by a rollback"


def test_a_rollback_to_a_version_leaves_those_after_it(store: og.ModelStore) -> None:
    assert store.rollback(to=np.int64(1)) == 1
    store.promote(store.add(model(4.0)))
    assert store.rollback() == 1
    assert store.rollback(to=3) == 3, "it may still be named"
    assert store.rollback() == 1


def test_a_rollback_after_an_alias_was_deleted_and_set(store: og.ModelStore) -> None:
    for version in (1, 2, 2):
        store.set_alias("canary", version, percent=5)
    store.delete_alias("canary")
    assert store.rollback("canary") == 2
    assert store.rollback("canary") == 1


def test_records_without_the_field_are_read(store: og.ModelStore) -> None:
    store.rollback()
    facts = Facts()
    for record in store.log.since(0, kinds=(MOVED,)):
        old = {key: value for key, value in record.body.items() if key != "rollback"}
        facts.take(type(record)(**{**{k: getattr(record, k) for k in record.__slots__}, "body": old}))
    assert [move.rollback for move in facts.moves] == [False] * 4
    assert kept_versions(facts.moves) == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ({"data": object()}, "A record holds what JSON cannot"),
        ({"metrics": {"r2": {1, 2}}}, "A record holds what JSON cannot"),
        ({"metrics": "r2"}, "metrics='r2': give a mapping"),
        ({"tags": "blue"}, "tags='blue': give a mapping"),
        ({"why": "\ud800"}, "hold what is no text"),
    ],
)
def test_a_version_whose_record_cannot_be_written_is_not_made(
    store: og.ModelStore, notes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ParameterError, match=says):
        store.add(model(9.0), **notes)
    assert store.versions == [1, 2, 3]
    assert store.number("latest") == 3


@pytest.mark.parametrize("given", ["store/1", None, Ridge().fit(X, X[:, 0])])
def test_only_estimators_are_versions(store: og.ModelStore, given: Any) -> None:
    with pytest.raises(ParameterError, match=r"is a fitted estimator of outgrow, not .*store.add\(og.load"):
        store.add(given)
    assert store.versions == [1, 2, 3]


def test_decimals_times_and_numbers_of_numpy_are_written(store: og.ModelStore) -> None:
    metrics = {"r2": Decimal("0.5"), "rows": Decimal(2**60), "mae": np.float32(0.25), "n": np.int64(7)}
    data = {
        "day": date(2026, 1, 1),
        "at": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "since": np.datetime64("2026-01-01T12"),
        "never": np.datetime64("NaT"),
        "parts": (Decimal("1.5"), np.bool_(True)),
    }
    info = store.info(store.add(model(9.0), metrics=metrics, data=data))
    assert info.metrics == {"r2": 0.5, "rows": 2**60, "mae": 0.25, "n": 7}
    assert info.data == {
        "day": "2026-01-01",
        "at": "2026-01-01T12:00:00+00:00",
        "since": "2026-01-01T12",
        "never": None,
        "parts": [1.5, True],
    }


def test_shares_of_a_canary(store: og.ModelStore) -> None:
    for wrong in ("5", float("nan"), -1, 101, True, Decimal("NaN")):
        with pytest.raises(ParameterError, match="a share from 0 to 100 is needed"):
            store.set_alias("canary", 2, percent=wrong)
    for given in (Decimal("2.5"), np.float32(2.5)):
        store.set_alias("canary", 2, percent=given)
        assert store.pointers()["canary"].percent == 2.5
    assert json.loads((store.path / "current").read_text())["aliases"]["canary"]["percent"] == 2.5


def test_numbers_of_versions_and_times(store: og.ModelStore) -> None:
    store.promote(np.int64(2))
    assert store.current == 2
    for wrong in (True, 2.0, "2", None):
        with pytest.raises(ParameterError, match=r"is no version\. Give its number"):
            store.promote(wrong)
    with pytest.raises(ParameterError, match="True is no version"):
        store.rollback(to=True)
    assert store.at(np.datetime64("2099-01-01")) == {"champion": 2}
    for when in (None, 1.7e9, np.datetime64("NaT")):
        with pytest.raises(ParameterError, match=r"is no time\. Give a date"):
            store.at(when)
