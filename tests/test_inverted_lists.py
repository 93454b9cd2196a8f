"""Nearest rows by inverted lists: nearly all of them, of which a fit says how many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.ml.neighbors import inverted
from outgrow.ml.neighbors.inverted import InvertedLists
from outgrow.testing import pieces_case


def points(count: int = 3000, width: int = 8) -> np.ndarray:
    random = np.random.default_rng(3)
    return random.normal(size=(20, width))[random.integers(0, 20, count)] * 2 + random.normal(
        size=(count, width)
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_as_many_are_found_as_is_said(metric: str) -> None:
    X, asked = points(), points(3400)[3000:]
    exact = og.NearestNeighbors(5, metric=metric).fit(X)
    near = og.NearestNeighbors(5, metric=metric, algorithm="ivf", recall=0.9).fit(X)
    assert exact.recall_ == 1.0
    assert 0.9 <= near.recall_ <= 1.0
    assert 0 < near.probes_ < len(near.centers_)
    (far, names), (known, expected) = near.kneighbors(asked), exact.kneighbors(asked)
    met = (names[:, :, None] == expected[:, None, :]).any(axis=2)
    assert met.mean() == pytest.approx(near.recall_, abs=0.06)
    assert (np.diff(far, axis=1) >= 0).all()
    same = met.all(axis=1)
    np.testing.assert_allclose(far[same], known[same], rtol=1e-12)
    assert all(row not in found for row, found in enumerate(near.kneighbors()[1].tolist()))
    within = [list(model.radius_neighbors(asked[:5], 0.4)[1]) for model in (near, exact)]
    assert [part.tolist() for part in within[0]] == [part.tolist() for part in within[1]]


def test_all_cells_find_all_rows_also_ties_and_few() -> None:
    X = points(300).round(0)
    for rows in (X, np.zeros((9, 2)), X[:1]):
        count = min(4, len(rows))
        exact = og.NearestNeighbors(count).fit(rows)
        near = og.NearestNeighbors(count, algorithm="ivf", recall=1.0).fit(rows)
        assert near.recall_ == 1.0
        whole = InvertedLists(near.rows_, near.centers_, near.cells_, len(near.centers_))
        distances, _ = whole.nearest(rows, count)
        expected, names = exact.kneighbors(rows)
        assert distances.tolist() == expected.tolist()
        if len(rows) < 10:
            assert near.kneighbors(rows)[1].shape == names.shape


def test_it_is_the_same_on_any_pieces_in_any_batch_and_saved(tmp_path: Path) -> None:
    X = points(800)
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(8)]).assign(y=np.where(X[:, 0] > 0, "up", "down"))
    models = [
        og.KNeighborsClassifier(3, algorithm="ivf").fit(
            pieces_case(pieces).open(pa.Table.from_pandas(frame, preserve_index=False)), "y"
        )
        for pieces in (1, 5)
    ]
    assert np.array_equal(models[0].cells_, models[1].cells_)
    features = frame.drop(columns="y")
    answers = models[0].predict_proba(features)
    assert np.array_equal(answers, models[1].predict_proba(features))
    assert np.array_equal(answers[7:8], models[0].predict_proba(features[7:8]))
    models[0].save(tmp_path / "model")
    assert np.array_equal(og.load(tmp_path / "model").predict_proba(features), answers)
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("near", og.KNeighborsRegressor(3, algorithm="ivf"))])
    pipe.fit(features, X[:, 1])
    assert pipe.score(features, X[:, 1]) > 0.5
    assert pipe.named_steps["near"].recall_ >= 0.95


def test_compiled_code_finds_what_numpy_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    X, asked = points(700), points(740)[700:]
    model = og.NearestNeighbors(6, algorithm="ivf").fit(np.vstack([X, X[:50]]))
    far, names = model.kneighbors(asked)
    monkeypatch.setattr(inverted, "compiled", lambda: False)
    again, expected = model.kneighbors(asked)
    np.testing.assert_allclose(far, again, rtol=1e-12)
    assert (names == expected).mean() > 0.99


@pytest.mark.parametrize("wrong", [{"metric": "manhattan"}, {"p": 3}])
def test_other_distances_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(
        ParameterError, match=r"cells are those of Euclidean distances\. Give metric='euclidean'"
    ):
        og.NearestNeighbors(2, algorithm="ivf", **wrong).fit(points(50))


@pytest.mark.parametrize("algorithm", ["auto", "ivf"])
def test_threads_find_what_one_finds(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = points(12_000, 3)
    model = og.NearestNeighbors(3, algorithm=algorithm).fit(X)
    found = []
    for threads in (1, 3):
        monkeypatch.setenv("OUTGROW_THREADS", str(threads))
        found += [*model.kneighbors(X[:1500] + 0.1), *model.kneighbors()]
    for one, several in zip(found[:4], found[4:], strict=True):
        np.testing.assert_array_equal(one, several)
