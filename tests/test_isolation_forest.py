"""Isolation forests: against scikit-learn's, with weights, equal rows, exports, and damaged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.ensemble
from sklearn.metrics import roc_auc_score

import outgrow as og
from outgrow.errors import ArtifactError, DataError, ParameterError
from outgrow.ml.persistence import describe, restore
from outgrow.ml.trees.isolation_trees import mean_path

RANDOM = np.random.default_rng(0)
X = np.concatenate([RANDOM.normal(size=(1500, 4)), 3 * RANDOM.normal(size=(75, 4))])
UNUSUAL = np.arange(len(X)) >= 1500


@pytest.mark.parametrize(
    "settings", [{}, {"max_features": 2}, {"max_samples": 64}, {"max_samples": 0.5}], ids=str
)
def test_scores_are_distributed_as_scikit_learns(settings: dict[str, float]) -> None:
    ours = og.IsolationForest(random_state=0, **settings).fit(X)
    theirs = sklearn.ensemble.IsolationForest(random_state=0, **settings).fit(X)
    assert ours.max_samples_ == theirs.max_samples_
    own, other = ours.score_samples(X), theirs.score_samples(X)
    assert np.corrcoef(own, other)[0, 1] > 0.94
    np.testing.assert_allclose(own.mean(), other.mean(), atol=0.012)
    np.testing.assert_allclose(own.std(), other.std(), rtol=0.08)
    assert roc_auc_score(UNUSUAL, -own) == pytest.approx(roc_auc_score(UNUSUAL, -other), abs=0.02)


def test_contamination_is_the_exact_quantile_of_scores() -> None:
    model = og.IsolationForest(contamination=0.04, random_state=0).fit(X)
    assert model.offset_ == np.quantile(model.score_samples(X), 0.04)
    assert (model.predict(X) == -1).sum() == 63
    np.testing.assert_array_equal(model.predict(X) == -1, model.decision_function(X) < 0)
    scores = model.evaluate(X)
    assert scores["outlier_share"] == pytest.approx(63 / len(X))
    assert scores["mean_score"] == pytest.approx(model.score_samples(X).mean())


def test_scikit_learn_answers_alike_with_the_same_trees() -> None:
    model = og.IsolationForest(n_estimators=20, contamination=0.1, random_state=3)
    theirs = model.fit(X).to_sklearn()
    np.testing.assert_allclose(theirs.score_samples(X), model.score_samples(X), rtol=1e-6)
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))


def test_equal_rows_are_drawn_one_by_one() -> None:
    """Half of the rows are zero, as in counts: were they one row, most trees would not know them."""
    rows = np.concatenate([np.zeros((500, 3)), RANDOM.normal(size=(500, 3))])
    ours = og.IsolationForest(random_state=0).fit(rows).score_samples(rows[:1])
    theirs = sklearn.ensemble.IsolationForest(random_state=0).fit(rows).score_samples(rows[:1])
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    order = RANDOM.permutation(len(rows))
    again = og.IsolationForest(random_state=0).fit(rows[order])
    assert again.score_samples(rows[:1]) == ours


def test_weights_say_how_likely_rows_are_drawn() -> None:
    rows = np.arange(400.0)[:, None]
    weight = np.where(rows[:, 0] < 40, 9.0, 1.0)
    weight[rows[:, 0] >= 200] = 0
    model = og.IsolationForest(n_estimators=400, max_samples=20, random_state=0).fit(
        rows, sample_weight=weight
    )
    scores = model.score_samples(rows)
    assert scores[10:30].mean() > scores[60:190].mean() + 0.02
    beyond = scores[200:]
    assert (beyond == beyond[0]).all()  # no split lies beyond what any tree has seen


def test_sparse_rows_are_dense_ones() -> None:
    rows = X * (X > 0.5)
    dense = og.IsolationForest(n_estimators=10, random_state=0).fit(rows)
    sparse = og.IsolationForest(n_estimators=10, random_state=0).fit(sp.csr_array(rows))
    np.testing.assert_array_equal(dense.score_samples(rows), sparse.score_samples(sp.csr_array(rows)))


def test_constant_rows_and_a_single_one_are_usual() -> None:
    same = og.IsolationForest(random_state=0).fit(np.ones((30, 2)))
    assert (same.predict(np.ones((3, 2))) == 1).all()
    one = og.IsolationForest(random_state=0).fit(np.ones((1, 2)))
    assert one.score_samples(np.ones((1, 2))).tolist() == [-0.5]


def test_answers_beside_rows_have_names() -> None:
    table = pa.table({"a": X[:, 0], "b": X[:, 1]})
    model = og.IsolationForest(n_estimators=10, random_state=0).fit(table)
    lazy = og.dataset(table)
    assert model.predict(lazy).to_arrow().column_names == ["a", "b", "prediction"]
    assert model.score_samples(lazy).to_arrow().column_names == ["a", "b", "score"]
    assert model.decision_function(lazy).to_arrow().column_names == ["a", "b", "decision"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="hold more than"):
        og.IsolationForest(n_estimators=10**6, max_samples=1500).fit(X)
    with pytest.raises(DataError, match="float32"):
        og.IsolationForest().fit(np.array([[1e39], [1.0]]))
    with pytest.warns(UserWarning, match="greater than the total number of samples"):
        assert og.IsolationForest(max_samples=9000).fit(X).max_samples_ == len(X)


def test_damaged_nodes_are_refused_before_they_are_followed() -> None:
    model = og.IsolationForest(n_estimators=3, random_state=0).fit(X)
    np.testing.assert_array_equal(restore(describe(model)).predict(X), model.predict(X))
    for name, value in (
        ("left_", 10**6),
        ("left_", 0),
        ("feature_", 9),
        ("feature_", -4),
        ("starts_", 5),
        ("size_", 0),
    ):
        tree = describe(model)
        tree["learned"][name] = tree["learned"][name].copy()
        tree["learned"][name][0] = value
        with pytest.raises(ArtifactError, match="damaged"):
            restore(tree)


def test_mean_paths_are_those_of_the_paper() -> None:
    np.testing.assert_allclose(
        mean_path(np.array([0, 1, 2, 3, 256])), [0, 0, 1, 1.2073923579, 10.2447709], rtol=1e-6
    )
