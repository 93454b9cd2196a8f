"""Folds: every row in its place, on every engine, however the rows are cut."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
import sklearn.model_selection
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier

import outgrow as og
from outgrow import errors
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.local import Local
from outgrow.engine.shard import Shard
from outgrow.stats.quantiles import Gathered
from outgrow.testing import EngineCase

KINDS = [
    og.Holdout(0.3, seed=2),
    og.KFold(4, seed=1),
    og.GroupKFold("key", folds=3),
    og.GroupKFold(["key", "day"], folds=3, seed=5),
    og.TimeFolds("day", folds=3),
    og.StratifiedKFold(4, seed=3),
]


def table(n: int = 300, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 60, n)
    return pa.table(
        {
            "id": np.arange(n, dtype=np.float64),
            "key": pa.array([f"k{j}" for j in rng.integers(0, 25, n)]),
            "day": pa.array([datetime.date(2026, 1, 1) + datetime.timedelta(int(day)) for day in days]),
            "y": rng.normal(size=n),
        }
    )


def places(rows: og.Dataset, folds: Any) -> dict[float, int]:
    """The place of each row, by its id; the key is the target."""

    def fit(shard: Shard) -> dict[str, list[float]]:
        placing = folds.placing(shard, "key")
        found = shard.reduce(lambda batch: (_gathered(np.asarray(batch["id"])), _gathered(placing(batch))))
        return {"id": found[0].values[0].tolist(), "place": found[1].values[0].tolist()}

    found = rows.engine.fit(fit, rows.scan).result
    return dict(zip(found["id"], found["place"], strict=True))


def noted(fitted: Any) -> set[str]:
    """What it has learned, but for what `fit` itself adds."""
    return {name for name in vars(fitted) if name.endswith("_")} - {"fit_record_", "sparse_output_"}


def _gathered(values: np.ndarray) -> Gathered:
    return Gathered((values.astype(np.float64),))


@pytest.mark.parametrize("folds", KINDS, ids=repr)
def test_same_places_on_every_engine(engine: EngineCase, folds: Any) -> None:
    assert places(engine.open(table()), folds) == places(og.dataset(table()), folds)


@pytest.mark.parametrize("folds", KINDS, ids=repr)
def test_folds_learn_and_test_apart(folds: Any) -> None:
    for k in range(folds.count):
        assert not (folds.train_places(k) & folds.test_places(k)).any()
        assert folds.train_places(k).any()
        assert folds.test_places(k).any()


@given(seed=st.integers(0, 1000), count=st.integers(2, 9), n=st.integers(1, 200))
@settings(max_examples=25, deadline=None)
def test_k_folds_test_each_row_once(seed: int, count: int, n: int) -> None:
    folds = og.KFold(count, seed)
    found = places(og.dataset(table(n)), folds)
    tested = [[place for place in found.values() if folds.test_places(k)[int(place)]] for k in range(count)]
    assert sum(map(len, tested)) == n == len(found)


@given(seed=st.integers(0, 1000), count=st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_groups_are_never_parted(seed: int, count: int) -> None:
    rows = table(200, seed)
    found = places(og.dataset(rows), og.GroupKFold("key", folds=count, seed=seed))
    by_key: dict[str, set[float]] = {}
    for number, key in zip(rows["id"].to_pylist(), rows["key"].to_pylist(), strict=True):
        by_key.setdefault(key, set()).add(found[number])
    assert all(len(own) == 1 for own in by_key.values())


@given(days=st.lists(st.integers(-5, 40), min_size=1, max_size=150), count=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_time_folds_learn_from_the_past(days: list[int], count: int) -> None:
    rows = pa.table({"id": np.arange(len(days), dtype=float), "day": pa.array(days, pa.int64())})
    found = places(og.dataset(rows), og.TimeFolds("day", folds=count))
    place = np.array([found[float(i)] for i in range(len(days))], dtype=int)
    folds = og.TimeFolds("day", folds=count)
    for k in range(count):
        past = np.array(days)[folds.train_places(k)[place]]
        next_ = np.array(days)[folds.test_places(k)[place]]
        assert not len(past) or not len(next_) or past.max() < next_.min()
    if len(set(days)) == len(days) and len(days) % (count + 1) == 0:
        assert len(set(np.bincount(place, minlength=count + 1).tolist())) == 1


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    count=st.integers(2, 6),
    seed=st.integers(0, 99),
    pieces=st.integers(1, 60),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_each_class_is_in_as_many_folds_as_it_has_rows(
    sizes: list[int], count: int, seed: int, pieces: int
) -> None:
    key = pa.array([f"c{j}" for j, size in enumerate(sizes) for _ in range(size)])
    rows = pa.table({"id": np.arange(len(key), dtype=float), "key": key})
    folds = og.StratifiedKFold(count, seed)
    dataset = og.Dataset(Scan(TableSource(rows, pieces)), Local())
    if max(sizes) < count:
        with pytest.raises(errors.DataError, match=f"more than {max(sizes)} different rows"):
            places(dataset, folds)
        return
    found = places(dataset, folds)
    place = np.array([found[float(i)] for i in range(len(key))], dtype=int)
    for name, size in enumerate(sizes):
        shares = np.bincount(place[np.array(key.to_pylist()) == f"c{name}"], minlength=count)
        assert shares.max() - shares.min() <= 1
        assert np.count_nonzero(shares) == min(size, count)
    whole = np.bincount(place, minlength=count)
    assert whole.max() - whole.min() <= 1


@given(keys=st.integers(1, 12), count=st.integers(2, 8), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_few_keys_fill_the_folds_or_are_refused(keys: int, count: int, seed: int) -> None:
    rows = table(120)
    key = pa.array([None if j % keys == 0 else f"k{j % keys}" for j in range(120)])
    rows = rows.set_column(1, "key", key).drop(["day"])
    folds = og.GroupKFold("key", folds=count, seed=seed)
    if keys < count:
        with pytest.raises(errors.DataError, match=f"only {keys} different keys"):
            og.cross_validate(og.Ridge(), rows, "y", cv=folds)
        return
    found = og.cross_validate(og.Ridge(), rows, "y", cv=folds)
    assert sum(fold.rows for fold in found.folds) == 120
    assert min(fold.rows for fold in found.folds) > 0


def test_many_rows_of_a_class_fall_by_their_hash_alone() -> None:
    some = table(7000).set_column(1, "key", pa.array(["common"] * 6900 + ["rare"] * 100))
    found = places(og.dataset(some), og.StratifiedKFold(5))
    fewer = places(og.dataset(some.slice(0, 6900)), og.StratifiedKFold(5))
    assert all(found[number] == place for number, place in fewer.items())
    rare = np.bincount([int(found[float(i)]) for i in range(6900, 7000)])
    assert rare.tolist() == [20] * 5


def test_a_number_of_folds_is_stratified_for_classes() -> None:
    X, y = np.arange(60.0)[:, None], np.repeat(["often", "rare"], [54, 6])
    found = og.cross_validate(og.LogisticRegression(), X, y, cv=3)
    assert [fold.confusion[1].sum() for fold in found.folds] == [2, 2, 2]
    expected = og.cross_validate(og.LogisticRegression(), X, y, cv=og.StratifiedKFold(3))
    assert found.mean() == expected.mean()
    with pytest.raises(errors.DataError, match="no classes"):
        og.cross_validate(
            og.Ridge(), np.arange(20_002.0)[:, None], np.arange(20_002.0), cv=og.StratifiedKFold(2)
        )
    with pytest.raises(errors.ParameterError, match="classes of y"):
        og.cross_validate(og.KMeans(2), X, None, cv=og.StratifiedKFold(2))


def test_equal_rows_that_fill_no_fold_are_refused() -> None:
    rows = pa.table({"x": [0.0, 1.0, 2.0] * 9, "y": [0.0, 1.0, 1.0] * 9})
    with pytest.raises(errors.DataError, match="no rows"):
        og.cross_validate(og.Ridge(), rows, "y", cv=og.KFold(5))
    with pytest.raises(errors.DataError, match="no rows"):
        og.cross_validate(og.Ridge(), pa.table({"x": [1.0] * 9, "y": [1.0] * 9}), "y", cv=og.Holdout(0.5))
    same = pa.table({"x": [1.0, 2.0, 3.0] * 9, "day": [1] * 27, "y": [1.0, 2.0, 3.0] * 9})
    with pytest.raises(errors.DataError, match="no rows"):
        og.cross_validate(og.Ridge(), same, "y", cv=og.TimeFolds("day", folds=2))


@pytest.mark.parametrize("model", [og.Ridge(), og.DummyClassifier(), og.KMeans(2)], ids=repr)
def test_scores_need_rows_that_count(model: Any) -> None:
    X, y = np.arange(20.0)[:, None], np.repeat([0, 1], 10)
    fitted = model.fit(X, y)
    if not isinstance(model, og.KMeans):
        with pytest.raises(errors.DataError, match="weights are zero"):
            fitted.evaluate(X, y, np.zeros(20))
        none = pa.table({"x0": X[:0, 0], "y": y[:0]})
        with pytest.raises(errors.DataError, match="no rows"):
            fitted.evaluate(none, "y")


def test_time_windows_of_timestamps_are_those_of_dates() -> None:
    rows = table()
    moments = rows.set_column(2, "day", rows["day"].cast(pa.timestamp("ns")))
    folds = og.TimeFolds("day", folds=4)
    assert places(og.dataset(rows), folds) == places(og.dataset(moments), folds)


def test_a_part_of_a_split_can_be_held_out_again() -> None:
    rows = og.dataset(table(4000))
    train, _ = rows.split(test=0.2, seed=7)
    found = places(train, og.Holdout(0.2, seed=7))
    assert 0.15 < np.mean(list(found.values())) < 0.25


@pytest.mark.parametrize("folds", KINDS[:-1], ids=repr)
def test_cross_validation_with_each_kind(engine: EngineCase, folds: Any) -> None:
    rng = np.random.default_rng(3)
    rows = table(400).drop(["id"])
    hidden = [name for name in ("key", "day") if name not in folds.hidden]
    rows = rows.append_column("x", pa.array(rows["y"].to_numpy() * 2 + rng.normal(size=400)))
    rows = rows.drop(hidden)
    found = og.cross_validate(og.LinearRegression(), engine.open(rows), "y", cv=folds)
    expected = og.cross_validate(og.LinearRegression(), rows, "y", cv=folds)
    assert [fold.rows for fold in found.folds] == [fold.rows for fold in expected.folds]
    assert list(found.estimators[0].columns_) == ["x"]
    for name, value in expected.mean().items():
        assert found.mean()[name] == pytest.approx(value, rel=1e-9)


def test_folds_of_raw_batches_and_of_matrices_are_the_same_rows() -> None:
    X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200.0)
    bare = og.cross_validate(og.Ridge(), X, y, cv=og.KFold(3))
    piped = og.cross_validate(og.Pipeline([og.Ridge()]), X, y, cv=og.KFold(3))
    assert bare.mean() == piped.mean()
    sparse = og.cross_validate(og.Ridge(), sp.csr_array(X), y, cv=og.KFold(3))
    assert sum(fold.rows for fold in sparse.folds) == 200


@pytest.mark.parametrize(
    "model",
    [
        og.Ridge(),
        og.LogisticRegression(C=0.5),
        og.Pipeline([og.StandardScaler(), og.Ridge(alpha=3.0)]),
        og.DummyClassifier(),
    ],
    ids=repr,
)
def test_a_fold_learns_what_a_fit_on_its_rows_does(model: Any) -> None:
    some = table(200)
    folds = og.GroupKFold("key", folds=3)
    place = places(og.dataset(some), folds)
    X = np.column_stack([some["id"], np.random.default_rng(1).normal(size=(200, 2))])
    y = np.asarray(some["y"]) > 0 if is_classifier(model) else np.asarray(some["y"])
    rows = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "key": some["key"], "y": y})
    found = og.cross_validate(model, rows, "y", cv=folds)
    for k, learnt in enumerate(found.estimators):
        chosen = pa.array([bool(folds.train_places(k)[int(place[i])]) for i in X[:, 0].tolist()])
        alone = clone(model).fit(rows.drop_columns("key").filter(chosen), "y")
        others = rows.drop_columns("key").filter(pc.invert(chosen))
        ours, theirs = found.folds[k], alone.evaluate(others, "y")
        assert dict(ours) == pytest.approx(dict(theirs), rel=1e-6, nan_ok=True)
        np.testing.assert_allclose(learnt.predict(others), alone.predict(others), rtol=1e-6)
        assert learnt.target_column_ == "y"
        assert noted(learnt) == noted(alone)


def test_folds_of_arrays_learn_no_names() -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60.0)
    for learnt in og.cross_validate(og.Ridge(), X, y, cv=3).estimators:
        assert noted(learnt) == noted(og.Ridge().fit(X, y))
        assert learnt.predict(X).shape == (60,)


def test_a_key_may_be_a_feature() -> None:
    rows = pa.table({"key": [1, 1, 2, 2, 3, 3], "y": [2.0, 2.0, 4.0, 4.0, 6.0, 6.0]})
    folds = og.GroupKFold("key", folds=2, seed=1, feature=True)
    assert list(og.cross_validate(og.Ridge(), rows, "y", cv=folds).estimators[0].columns_) == ["key"]


def test_data_frames_hide_the_key() -> None:
    frame = pandas.DataFrame({"key": [1, 1, 2, 2, 3, 3], "x": [1.0, 2, 3, 4, 5, 6]})
    found = og.cross_validate(
        og.Ridge(), frame, frame["x"].to_numpy(), cv=og.GroupKFold("key", folds=2, seed=1)
    )
    assert found.estimators[0].feature_names_in_.tolist() == ["x"]


@pytest.mark.parametrize(
    ("folds", "says"),
    [
        (og.KFold(10_001), "2 to"),
        (og.GroupKFold(), "at least one column"),
        (og.GroupKFold([]), "at least one column"),
        (og.TimeFolds("day", folds=0), "1 to"),
        (og.Holdout(1.5), "between 0 and 1"),
        (1, "at least 2 folds"),
    ],
    ids=repr,
)
def test_bad_numbers_are_refused_at_once(folds: Any, says: str) -> None:
    with pytest.raises(errors.ParameterError, match=says):
        og.cross_validate(og.Ridge(), table(), "y", cv=folds)


def test_a_seed_beside_folds_is_refused() -> None:
    with pytest.raises(errors.ParameterError, match="no effect"):
        og.cross_validate(og.Ridge(), table(), "y", cv=og.KFold(3), seed=4)


def test_bad_columns_are_refused() -> None:
    rows = table().drop(["id"])
    with pytest.raises(errors.ColumnNotFoundError, match="nokey"):
        og.cross_validate(og.Ridge(), rows, "y", cv=og.GroupKFold("nokey"))
    with pytest.raises(errors.SchemaError, match="holds string"):
        og.cross_validate(og.Ridge(), rows, "y", cv=og.TimeFolds("key"))
    gaps = rows.append_column("when", pa.array([None] + [1.0] * 299))
    with pytest.raises(errors.DataError, match=r"1 row.* no value"):
        og.cross_validate(og.Ridge(), gaps, "y", cv=og.TimeFolds("when"))


def test_places_stay_beside_rows_in_many_pieces() -> None:
    scan = Scan(TableSource(table(), 37))

    def fit(shard: Shard) -> list[float]:
        folds = og.KFold(3)
        placed = shard.placed(folds.placing(shard), hidden=["key"])
        counts = [
            placed.subset(folds.test_places(k)).reduce(lambda batch: np.array([float(batch.num_rows)]))[0]
            for k in range(3)
        ]
        assert placed.count_places(3).tolist() == counts
        assert "key" not in placed.example.columns
        return [float(count) for count in counts]

    assert sum(Local(threads=2).fit(fit, scan).result) == 300


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", ["KFold", "StratifiedKFold", "GroupKFold"])
def test_over_arrays_folds_are_those_of_scikit_learn(name: str, shuffle: bool) -> None:
    X, y = np.arange(90.0).reshape(30, 3), np.array(["a", "b", "a", "c", "b"] * 6)
    keys = np.arange(30) % 7
    given: dict[str, Any] = {"n_splits": 3, "shuffle": shuffle, "random_state": 4 if shuffle else None}
    ours, theirs = getattr(og, name)(**given), getattr(sklearn.model_selection, name)(**given)
    assert ours.get_n_splits(X, y, keys) == 3
    assert repr(ours) == repr(theirs)
    groups = keys if name == "GroupKFold" else None
    pairs = zip(ours.split(X, y, groups), theirs.split(X, y, groups), strict=True)
    for mine, other in pairs:
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_array_equal(mine[1], other[1])
    search = sklearn.model_selection.GridSearchCV(og.LogisticRegression(), {"C": [0.1, 1.0]}, cv=ours)
    assert search.fit(X, y, groups=groups).cv_results_["split2_test_score"].shape == (2,)


def test_a_random_state_chooses_folds_by_hash_too() -> None:
    rows, chosen = og.dataset(table()), {"shuffle": True, "random_state": 3}
    assert places(rows, og.KFold(4, seed=3)) == places(rows, og.KFold(4, **chosen))
    assert places(rows, og.KFold(4)) != places(rows, og.KFold(4, **chosen))
    assert og.KFold(4, seed=3) == og.KFold(folds=4, seed=3) != og.KFold(4)


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (lambda: og.KFold(1), errors.ParameterError, "n_splits=2 or more"),
        (lambda: og.GroupKFold("key", folds=0), errors.ParameterError, "n_splits=2 or more"),
        (lambda: og.KFold(2.5), errors.ParameterError, "Integral"),
        (lambda: og.KFold(3, random_state=1), errors.ParameterError, "no effect"),
        (lambda: og.StratifiedKFold(shuffle=None), errors.ValueTypeError, "True or False"),
        (lambda: og.KFold(3, folds=4), errors.ParameterError, "one parameter"),
    ],
)
def test_folds_that_cannot_be(made: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        made()


def test_splitters_that_number_rows_are_refused() -> None:
    with pytest.raises(errors.ParameterError, match="scikit-learn's cross_validate"):
        og.cross_validate(og.Ridge(), table(), "y", cv=sklearn.model_selection.KFold(3))
