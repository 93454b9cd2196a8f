"""Targets that are lists of labels, learned directly, beside the columns that scikit-learn needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor, RadiusNeighborsRegressor

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash
from outgrow.errors import DataError, ExportError, SchemaError
from outgrow.ml.export.onnx.file import content
from outgrow.testing import EngineCase

X = np.random.default_rng(0).normal(size=(120, 3))
MARKS = (X > 0.3).astype(int)
WORDS = ("comedy", "drama", "war")
LISTS = [[word for word, mark in zip(WORDS, row, strict=True) if mark] for row in MARKS]
FILMS = pa.table({**{name: X[:, j] for j, name in enumerate("abc")}, "genres": LISTS})


def test_lists_are_learned_on_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    model = og.OneVsRestClassifier(og.LinearSVC()).fit(engine.open(FILMS), "genres")
    assert (model.target_names_, model.multilabel_, model.n_classes_) == ([*WORDS], True, 3)
    model.save(tmp_path / "model")
    known = og.load(tmp_path / "model")
    answers = known.predict(engine.open(FILMS).select([*"abc"]))
    assert answers.columns[3:] == [f"prediction_{word}" for word in WORDS]
    columns = og.OneVsRestClassifier(og.LinearSVC()).fit(X, MARKS)
    np.testing.assert_allclose(
        model.decision_function(FILMS)["decision_war"], columns.decision_function(X)[:, 2]
    )
    scores = known.evaluate(engine.open(FILMS), "genres")
    assert scores["accuracy"] == pytest.approx(columns.score(X, MARKS))
    assert {"hamming_loss", "f1_war"} <= {*scores}
    assert "log_loss_war" not in scores


@pytest.mark.parametrize(
    "model",
    [
        og.MultiOutputClassifier(og.GaussianNB()),
        og.ClassifierChain(og.LogisticRegression()),
        og.KNeighborsClassifier(3),
        og.RandomForestClassifier(5, max_depth=3),
    ],
    ids=repr,
)
def test_lists_are_as_good_as_columns(model: og.KNeighborsClassifier) -> None:
    frame = FILMS.to_pandas()
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("model", model)])
    wanted = pipe.fit(X, MARKS).predict(X)
    np.testing.assert_array_equal(pipe.fit(frame, "genres").predict(frame), wanted)
    np.testing.assert_array_equal(pipe.fit(X, LISTS).predict(X), wanted)
    assert pipe.fit(frame[[*"abc"]], frame["genres"]).score(frame[[*"abc"]], frame["genres"]) > 0.6
    assert og.cross_validate(pipe, frame, "genres", cv=2).mean()["hamming_loss"] < 0.3


def test_labels_are_as_scikit_learn_has_them() -> None:
    ours = og.OneVsRestClassifier(og.LogisticRegression()).fit(X, MARKS)
    theirs = OneVsRestClassifier(LogisticRegression(tol=1e-10, max_iter=1000)).fit(X, MARKS)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)
    np.testing.assert_allclose(ours.to_sklearn().predict_proba(X), ours.predict_proba(X), atol=1e-12)
    with pytest.raises(ExportError, match="several targets"):
        content(ours)


def test_what_cannot_be_is_refused() -> None:
    model = og.OneVsRestClassifier(og.LogisticRegression())
    with pytest.raises(DataError, match="'0' has 3 classes"):
        model.fit(X, np.digitize(X[:, :2], [-1, 1]))
    with pytest.raises(DataError, match=r"misses 1 list\(s\) or label\(s\)"):
        model.fit(X, pd.Series([None, *LISTS[1:]]))
    none = pa.array([[]] * len(X), pa.list_(pa.string()))
    with pytest.raises(DataError, match="have 0 different labels"):
        model.fit(FILMS.set_column(3, "genres", none), "genres")
    with pytest.raises(DataError, match=r"labels that were not there at fit: \['western'\]"):
        model.fit(X, LISTS).evaluate(X[:2], [["war", "western"], []])
    with pytest.raises(SchemaError, match="Lists of labels are learned by OneVsRestClassifier"):
        og.LogisticRegression().fit(FILMS, "genres")


def test_neighbours_predict_several_numbers() -> None:
    Y, asked = X @ np.random.default_rng(1).normal(size=(3, 2)), X[:40] + 0.01
    for ours, theirs in (
        (og.KNeighborsRegressor(4, weights="distance"), KNeighborsRegressor(4, weights="distance")),
        (og.RadiusNeighborsRegressor(3.0), RadiusNeighborsRegressor(3.0)),
    ):
        made = ours.fit(X, Y).predict(asked)
        np.testing.assert_allclose(made, theirs.fit(X, Y).predict(asked))
        np.testing.assert_allclose(ours.to_sklearn().predict(asked), made)
        assert ours.fit(X, Y[:, 0]).predict(asked).shape == (40,)


def test_rows_with_lists_are_split_and_folded(engine: EngineCase) -> None:
    rows = pa.table({"id": np.arange(120), "genres": LISTS})
    train, test = (part.to_arrow() for part in engine.open(rows).split(test=0.3, seed=3))
    assert sorted([*train["id"].to_pylist(), *test["id"].to_pylist()]) == [*range(120)]
    assert sorted(test["id"].to_pylist()) == sorted(
        og.dataset(rows).split(test=0.3, seed=3)[1].to_arrow()["id"].to_pylist()
    )
    lists = pa.table(
        {"words": [["a", "b"], ["b", "a"], [], None, ["ab"], ["a", None]] * 20, "y": [0, 1] * 60}
    )
    batch = Batch.from_arrow(lists.to_batches()[0])
    hashes = row_hash(batch, ["words"]).tolist()
    assert (len({*hashes[:6]}), hashes[6:12]) == (6, hashes[:6])
    assert row_hash(batch.slice(2, 5), ["words"]).tolist() == hashes[2:7]
    words = [[*row, f"w{k}"] for k, row in enumerate(LISTS)]
    known = pa.table({"words": words, "y": MARKS[:, 2]})
    pipe = og.Pipeline([("count", og.CountVectorizer(columns=["words"])), ("model", og.MultinomialNB())])
    assert og.cross_validate(pipe, known, "y", cv=2).mean()["accuracy"] > 0.7
