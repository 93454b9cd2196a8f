"""Target encoding: scikit-learn's numbers, and rows of the fit that are never told their own y."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import pipeline, preprocessing
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

import outgrow as og
from outgrow.engine.row_ids import Copies
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.testing import EngineCase

RNG = np.random.default_rng(3)
ROWS = 240
X = np.column_stack([np.zeros(ROWS), RNG.integers(0, 4, ROWS), RNG.integers(0, 40, ROWS)]).astype(float)
X[::17, 2] = np.nan
TARGETS = {
    "continuous": X[:, 1] + RNG.normal(size=ROWS),
    "binary": (X[:, 1] + RNG.normal(size=ROWS) > 1.5).astype(int),
    "multiclass": np.array(["no", "maybe", "yes"])[RNG.integers(0, 3, ROWS)],
}
SMOOTH: list[Any] = ["auto", 0, 2.5]


def _told_by_scikit_learn(encoder: Any, X: np.ndarray, y: np.ndarray, made: np.ndarray) -> np.ndarray:
    """What an encoder tells rows of the others, by the folds that `made` was made with.

    Those of a fold are told the same of the column that is constant. Before scikit-learn 1.9 its encoder
    takes no folds, so each is learnt by itself.
    """
    expected = np.empty_like(made)
    for train, test in PredefinedSplit(np.unique(made[:, 0], return_inverse=True)[1]).split():
        expected[test] = clone(encoder).fit(X[train], y[train]).transform(X[test])
    return expected


@pytest.mark.parametrize("smooth", SMOOTH)
@pytest.mark.parametrize("kind", TARGETS)
def test_numbers_of_scikit_learn(kind: str, smooth: Any, tmp_path: Path) -> None:
    y = TARGETS[kind]
    ours, theirs = og.TargetEncoder(smooth=smooth), preprocessing.TargetEncoder(smooth=smooth)
    made = ours.fit_transform(X, y)
    np.testing.assert_allclose(_told_by_scikit_learn(theirs, X, y, made), made, rtol=1e-9)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-9)
    np.testing.assert_allclose(ours.target_mean_, theirs.target_mean_)
    assert ours.target_type_ == theirs.target_type_
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    strange = np.array([[7.0, 1.0, np.nan]])
    np.testing.assert_allclose(ours.transform(strange), theirs.transform(strange), rtol=1e-9)
    np.testing.assert_allclose(ours.to_sklearn().transform(strange), theirs.transform(strange), rtol=1e-9)
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").transform(X), ours.transform(X))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=3, max_size=40))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_any_counts(rows: list[tuple[str, int]]) -> None:
    words, y = np.array([[word] for word, _ in rows], dtype=object), np.array([value for _, value in rows])
    for smooth in SMOOTH:
        ours = og.TargetEncoder(smooth=smooth, target_type="continuous").fit(words, y)
        theirs = preprocessing.TargetEncoder(smooth=smooth, target_type="continuous").fit(words, y)
        np.testing.assert_allclose(ours.transform(words), theirs.transform(words), rtol=1e-9, atol=1e-12)


def _table(distinct: bool) -> pa.Table:
    """Rows that all differ, or most of which equal others."""
    city = RNG.integers(0, 5, 600)
    columns = {"city": city.astype(str), "y": (RNG.random(600) < 0.1 + 0.2 * city).astype(int)}
    return pa.table({**columns, "x": RNG.normal(size=600)} if distinct else columns)


@pytest.mark.parametrize("distinct", [True, False])
def test_every_engine_deals_rows_alike(engine: EngineCase, distinct: bool) -> None:
    table = _table(distinct)
    found = [
        og.Pipeline([og.StandardScaler(og.matching("^x")), og.TargetEncoder("city"), og.LogisticRegression()])
        .fit(rows, "y")
        .model.coef_
        for rows in (table, engine.open(table))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_equal_rows_are_dealt_out() -> None:
    rows = pa.table({"word": ["a"] * 300 + ["b"] * 300, "y": [0, 1, 1] * 100 + [0, 0, 1] * 100})
    made = og.TargetEncoder().fit_transform(rows, "y")
    assert made.column_names == ["word", "y"]
    word = made["word"].to_numpy()
    assert 2 < len(np.unique(word[:300])) <= 5
    np.testing.assert_allclose(word[:300], 2 / 3, atol=0.06)
    np.testing.assert_allclose(word[300:], 1 / 3, atol=0.06)
    assert abs(np.corrcoef(word[:300], rows["y"].to_numpy()[:300])[0, 1]) < 0.3


NOISE = pa.table({"id": [f"u{i}" for i in range(1500)], "x": RNG.normal(size=1500)})
NOISE = NOISE.append_column("y", pa.array((NOISE["x"].to_numpy() + RNG.normal(size=1500) > 0).astype(int)))


def test_an_identifier_tells_nothing() -> None:
    """What an encoding that leaks costs: a model behind it trusts the identifier, and not x."""
    train, test = NOISE.slice(0, 1000), NOISE.slice(1000)
    before = [og.TargetEncoder("id"), og.StandardScaler()]
    pipe = og.Pipeline([*before, og.LogisticRegression()]).fit(train, "y")
    identifier, x = np.abs(pipe.model.coef_[0])
    assert identifier < 0.3 * x
    assert pipe.evaluate(test, "y")["accuracy"] > 0.7
    leaky = og.TargetEncoder("id").fit(train, "y").transform(train)
    model = og.LogisticRegression().fit(leaky, "y")
    assert model.coef_[0, 0] > 5 * np.abs(model.coef_[0, 1])


def test_cross_validation_and_search_encode_out_of_fold() -> None:
    pipe = og.Pipeline([og.TargetEncoder("id"), og.LogisticRegression()])
    plain = og.cross_validate(pipe[1:], NOISE.drop(["id"]), "y", cv=og.KFold(3)).mean()["accuracy"]
    found = og.cross_validate(pipe, NOISE, "y", cv=og.KFold(3)).mean()["accuracy"]
    assert abs(found - plain) < 0.05
    told = {"space": {"logisticregression__C": [0.1, 1.0]}, "metric": "accuracy", "validation": og.KFold(3)}
    tried = og.tune(pipe, NOISE, "y", **told, trials=2, workers=1)
    assert abs(tried.best_value - plain) < 0.05


def test_fit_transform_of_a_pipeline_is_that_of_its_steps() -> None:
    y = TARGETS["binary"]
    made = og.Pipeline([og.TargetEncoder(), og.StandardScaler()]).fit_transform(X, y)
    encoded = og.TargetEncoder().fit_transform(X, y)
    np.testing.assert_allclose(made, og.StandardScaler().fit_transform(encoded), rtol=1e-9)
    pipe = og.Pipeline([og.TargetEncoder(), og.StandardScaler()]).set_output(transform="pandas")
    np.testing.assert_array_equal(pipe.fit_transform(X, y)[["x0", "x1", "x2"]], made)
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"], index=np.arange(ROWS) + 5)
    found = og.TargetEncoder().fit_transform(frame, y)
    assert list(found.columns) == ["a", "b"]
    assert list(found.index) == list(frame.index)
    theirs = pipeline.make_pipeline(og.TargetEncoder(), LogisticRegression()).fit(X, y)
    assert theirs.score(X, y) > 0.6


def test_what_cannot_be_is_refused() -> None:
    words = pa.table({"a": ["x", "y", "z", "x"], "y": [1.5, None, 2.0, 1.0], "t": ["p", "q", "r", "q"]})
    with pytest.raises(DataError, match="Input y contains NaN"):
        og.TargetEncoder("a").fit(words, "y")
    with pytest.raises(SchemaError, match="target_type='continuous' needs numbers"):
        og.TargetEncoder("a", target_type="continuous").fit(words, "t")
    with pytest.raises(ParameterError, match="has 3 classes"):
        og.TargetEncoder("a", target_type="binary").fit(words, "t")
    with pytest.raises(DataError, match="has fractions"):
        og.TargetEncoder("a", target_type="multiclass").fit(pa.table({"a": ["x", "y"], "y": [0.5, 1.0]}), "y")
    with pytest.raises(DataError, match="target_type='continuous' where it is an amount"):
        og.TargetEncoder().fit(np.arange(2000.0)[:, None], np.arange(2000))
    with pytest.raises(DataError, match="fall into one fold"):
        og.TargetEncoder().fit_transform([["x"]], [1.5])
    with pytest.raises(ParameterError, match="requires y"):
        og.Pipeline([og.TargetEncoder(), og.KMeans(2)]).fit(X)


@pytest.mark.spark
def test_fit_transform_of_rows_on_a_cluster_says_what_to_do(spark: Any) -> None:
    rows = spark.createDataFrame(_table(True).to_pandas())
    with pytest.raises(ParameterError, match="in a Pipeline"):
        og.TargetEncoder("city").fit_transform(rows, "y")


def test_one_class_and_given_categories() -> None:
    words = np.array([["a"], ["b"], ["b"]], dtype=object)
    assert og.TargetEncoder().fit(words, ["x", "x", "x"]).transform(words).tolist() == [[0.0]] * 3
    ours = og.TargetEncoder(categories=[["a", "c"]]).fit(words, [1.0, 2.5, 3.0])
    mean = pytest.approx(6.5 / 3)
    assert ours.encodings_[0].tolist() == [1.0, mean]
    assert ours.transform(words)[:, 0].tolist() == [1.0, mean, mean]


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_copies_are_counted_over_ranks(ranks: list[list[int]]) -> None:
    parts = [Copies.of(np.array(each, dtype=np.uint64), rank) for rank, each in enumerate(ranks)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    for rank, each in enumerate(ranks):
        own = np.unique(np.array(each, dtype=np.uint64))
        expected = [sum(other.count(value) for other in ranks[:rank]) for value in own.tolist()]
        assert whole.before(own, rank).tolist() == expected


def test_parts_side_by_side_encode_out_of_fold(engine: EngineCase) -> None:
    table = _table(True)
    beside = og.ColumnTransformer(
        [
            ("target", og.Pipeline([og.TargetEncoder(), og.StandardScaler()]), ["city"]),
            ("x", "passthrough", ["x"]),
        ]
    )
    plain = [og.TargetEncoder("city"), og.StandardScaler("city")]
    found = [
        og.Pipeline([*steps, og.LogisticRegression()]).fit(rows, "y").model.coef_
        for steps, rows in (([beside], engine.open(table)), (plain, table))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    made = og.FeatureUnion([("t", og.TargetEncoder("city"))]).fit_transform(table, "y")
    np.testing.assert_allclose(made["t__city"], og.TargetEncoder("city").fit_transform(table, "y")["city"])


def _visits(rows: int = 400) -> pa.Table:
    random = np.random.default_rng(5)
    city = random.choice(["Oslo", "Rome", "Bonn"], rows)
    day = np.sort(random.integers(0, 60, rows))
    y = (city == "Rome") * 3.0 + day / 20 + random.normal(size=rows)
    return pa.table({"user": random.integers(0, 25, rows), "day": day, "city": city, "y": y})


def test_rows_of_a_user_tell_nothing_of_each_other(engine: EngineCase, tmp_path: Path) -> None:
    """Each user's rows are encoded by the rows of the users of other folds alone."""
    rows = _visits()
    encoder = og.TargetEncoder("city", smooth=0, cv=og.GroupKFold("user", 4))
    made = encoder.fit_transform(rows, "y").to_pandas()
    frame, users = rows.to_pandas(), made.user.unique()
    codes = {user: made[made.user == user].groupby("city").city.first() for user in users}
    frame["made"] = made["city"].astype(float)
    folds = frame.groupby("user").made.agg(lambda values: tuple(sorted(set(values))))
    for told in set(folds):
        own = frame.user.isin(folds.index[[each == told for each in folds]])
        known = frame[~own].groupby("city").y.mean()
        np.testing.assert_allclose(frame[own].made, known[frame[own].city], rtol=1e-9)
    assert len(codes) == 25
    pipe = og.Pipeline([("encode", encoder), ("model", og.Ridge())])
    there = pipe.fit(engine.open(rows), "y")
    np.testing.assert_allclose(there["encode"].encodings_[0], encoder.encodings_[0], rtol=1e-9)
    there.save(tmp_path / "model")
    assert og.load(tmp_path / "model")["encode"].cv == og.GroupKFold("user", 4)


def test_rows_are_told_only_what_was_known_before() -> None:
    rows = _visits()
    made = og.TargetEncoder("city", smooth=0, cv=og.TimeFolds("day", 3)).fit_transform(rows, "y").to_pandas()
    frame, values = rows.to_pandas(), made["city"].astype(float).to_numpy()
    first = values == values[0]
    np.testing.assert_allclose(values[0], frame.y[first].mean())
    assert frame.day[first].max() < frame.day[~first].min()
    later = frame.assign(y=np.where(frame.day == frame.day.max(), 1e6, frame.y))
    again = og.TargetEncoder("city", smooth=0, cv=og.TimeFolds("day", 3)).fit_transform(
        pa.Table.from_pandas(later, preserve_index=False), "y"
    )
    np.testing.assert_allclose(again["city"].to_numpy(), values)


def test_folds_that_cannot_encode_are_refused() -> None:
    rows = _visits(50)
    with pytest.raises(ParameterError, match="held out once only"):
        og.TargetEncoder("city", cv=og.Holdout()).fit_transform(rows, "y")
    with pytest.raises(ColumnNotFoundError, match="shop"):
        og.TargetEncoder("city", cv=og.GroupKFold("shop")).fit_transform(rows, "y")
    with pytest.raises(ParameterError, match="folds such as"):
        og.TargetEncoder("city", cv=og.GroupKFold).fit(rows, "y")


@pytest.mark.parametrize(
    "cv", [og.KFold(3, seed=2), og.StratifiedKFold(3), og.TimeFolds("x", 2, feature=True)]
)
def test_folds_are_saved(cv: Any, tmp_path: Path) -> None:
    rows = pa.table({"x": np.arange(60), "c": ["a", "b", "c"] * 20, "y": [0, 1, 1, 0] * 15})
    encoder = og.TargetEncoder("c", cv=cv)
    assert encoder.fit_transform(rows, "y").num_rows == 60
    encoder.save(tmp_path / "model")
    assert og.load(tmp_path / "model").cv == cv
