"""LatentDirichletAllocation beside scikit-learn's, which begins with the same topics."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, psi
from sklearn.decomposition import LatentDirichletAllocation

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml.decomposition import latent_dirichlet_allocation, topics
from outgrow.ml.decomposition.topics import Topics
from outgrow.testing import EngineCase

TIGHT = {"mean_change_tol": 1e-9, "max_doc_update_iter": 5000, "doc_topic_prior": 1.0}
"""Documents settle to the end, wherever they begin; with a small prior there are several ends."""


def documents(seed: int = 0, count: int = 120, words: int = 30) -> np.ndarray:
    """Counts drawn from three topics of words of their own."""
    random = np.random.default_rng(seed)
    of_words = random.dirichlet(np.full(words // 3, 0.5), size=3)
    shares = random.dirichlet(np.full(3, 0.2), size=count)
    rates = np.concatenate([shares[:, [k]] * of_words[k] for k in range(3)], axis=1)
    return np.stack([random.multinomial(40, row / row.sum()) for row in rates]).astype(float)


def test_batch_iterations_are_those_of_scikit_learn() -> None:
    """Once documents settle to the end, as theirs begin with random topics."""
    X = documents()
    ours = og.LatentDirichletAllocation(3, random_state=1, max_iter=4, **TIGHT).fit(X)
    theirs = LatentDirichletAllocation(3, random_state=1, max_iter=4, **TIGHT).fit(X)
    np.testing.assert_allclose(ours.components_, theirs.components_, rtol=1e-5)
    theirs.components_ = ours.components_
    theirs.exp_dirichlet_component_ = ours.exp_dirichlet_component_
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-6)
    np.testing.assert_allclose(
        ours.to_sklearn().transform(X), ours.transform(sp.csr_array(X)), rtol=1e-6, atol=1e-9
    )


def test_the_bound_is_scikit_learns_but_for_the_topics() -> None:
    X = documents(1)
    ours = og.LatentDirichletAllocation(3, random_state=0, max_iter=3, **TIGHT).fit(X)
    theirs = LatentDirichletAllocation(3, random_state=0, max_iter=3, **TIGHT).fit(X)
    theirs.components_ = ours.components_
    theirs.exp_dirichlet_component_ = ours.exp_dirichlet_component_
    made, eta = ours.components_, ours.topic_word_prior_
    of_topics = ((eta - made) * np.log(ours.exp_dirichlet_component_) + gammaln(made) - gammaln(eta)).sum()
    of_topics += (gammaln(30 * eta) - gammaln(made.sum(axis=1))).sum()
    np.testing.assert_allclose(ours.score(X) * X.sum(), theirs.score(X) - of_topics, rtol=1e-8)
    assert ours.perplexity(X) == pytest.approx(np.exp(-ours.score(X)))


def test_topics_of_words_are_found_and_the_bound_rises() -> None:
    X = documents(2, 300)
    names = [f"w{j}" for j in range(30)]
    bounds = [
        og.LatentDirichletAllocation(3, random_state=0, max_iter=steps).fit(X).bound_ for steps in (1, 5, 20)
    ]
    assert bounds == sorted(bounds)
    model = og.LatentDirichletAllocation(3, random_state=0, max_iter=20).fit(
        pa.table(dict(zip(names, X.T, strict=True)))
    )
    found = model.topics(5)
    assert found.num_rows == 15
    for k in range(3):
        words = found["word"].to_numpy()[found["topic"].to_numpy() == k]
        assert len({int(word[1:]) // 10 for word in words}) == 1
    online = og.LatentDirichletAllocation(3, random_state=0, max_iter=5, learning_method="online").fit(X)
    assert online.bound_ >= bounds[1] - 0.01
    stopped = og.LatentDirichletAllocation(3, random_state=0, max_iter=50, evaluate_every=1, perp_tol=0.5)
    assert stopped.fit(X).n_iter_ < 50


@settings(deadline=None, max_examples=10, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([1, 4]), st.sampled_from([0.01, 0.3, 5.0]))
def test_compiled_code_does_what_numpy_does(seed: int, count: int, prior: float) -> None:
    random = np.random.default_rng(seed)
    X = sp.csr_array(random.integers(0, 4, (12, 9)) * random.uniform(0, 2, (12, 9)).round())
    now = Topics.of(random.gamma(1.0, 1.0, (count, 9)) + 0.01, prior, 50, 1e-6)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "_WORTH", 0)
        for numba in (True, False):
            if not numba:
                patch.setitem(sys.modules, "numba", None)
                patch.setattr(topics, "_TOGETHER", 20)
            shares = now.shares(X)
            found.append((shares, *now.sums(X, shares)))
    for ours, plain in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


def test_engines_agree_and_lazy_rows_are_scored(engine: EngineCase) -> None:
    X = documents(3, 60, 6)
    table = pa.table({name: X[:, j] for j, name in enumerate("abcdef")})
    for method in ("batch", "online"):
        model = og.LatentDirichletAllocation(2, random_state=0, max_iter=3, learning_method=method)
        known = og.LatentDirichletAllocation(2, random_state=0, max_iter=3, learning_method=method).fit(table)
        model.fit(engine.open(table))
        np.testing.assert_allclose(model.components_, known.components_, rtol=1e-8)
        assert model.score(engine.open(table)) == pytest.approx(known.score(table))


def test_documents_without_words_have_the_prior() -> None:
    X = documents(4, 30, 6)
    X[3] = 0
    model = og.LatentDirichletAllocation(3, random_state=0).fit(X)
    np.testing.assert_allclose(model.transform(X[[3]]), 1 / 3)
    assert np.isnan(model.score(np.zeros((2, 6))))


def test_documents_past_the_memory() -> None:
    """Four times the budget: they wait in a file, and the topics are the same."""
    X = documents(3, 400)
    table = pa.table({f"w{j}": X[:, j] for j in range(30)})
    expected = og.LatentDirichletAllocation(3, random_state=0, max_iter=3).fit(table)
    small = og.dataset(table, engine=og.Local(memory=X.nbytes // 4, threads=2))
    model = og.LatentDirichletAllocation(3, random_state=0, max_iter=3).fit(small)
    assert model.fit_record_.spilled >= X.nbytes
    np.testing.assert_allclose(model.components_, expected.components_, rtol=1e-9)


def test_what_it_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="Negative values in data passed to LatentDirichletAllocation: -1"):
        og.LatentDirichletAllocation(2).fit(np.array([[1.0, -1.0]]))
    model = og.LatentDirichletAllocation(2, random_state=0).fit(np.eye(3))
    with pytest.raises(DataError, match="Negative values"):
        model.transform(-np.eye(3))
    with pytest.raises(ParameterError, match="n_words must be"):
        model.topics(0)
    monkeypatch.setattr(latent_dirichlet_allocation, "MOST_NUMBERS", 5)
    with pytest.raises(DataError, match="2 topics of 3 words are 6 numbers"):
        model.fit(np.eye(3))


def test_topics_are_as_good_as_those_of_scikit_learn() -> None:
    """From the same start; documents that went on from where the pass before left them would stay there."""
    random = np.random.default_rng(0)
    topics, shares = random.dirichlet(np.full(1000, 0.02), 12), random.dirichlet(np.full(12, 0.1), 1500)
    X = sp.csr_array(np.stack([random.multinomial(60, share @ topics) for share in shares]).astype(float))
    ours = og.LatentDirichletAllocation(12, max_iter=10, random_state=0).fit(X)
    peer = LatentDirichletAllocation(12, max_iter=10, random_state=0).fit(X)
    theirs = og.LatentDirichletAllocation(12, max_iter=1, random_state=0).fit(X)
    theirs.exp_dirichlet_component_ = peer.exp_dirichlet_component_
    assert ours.score(X) > theirs.score(X) - 0.05


# ---- priors, and parts of a stream ------------------------------------------------------------------------


def test_the_prior_of_topics_is_learned(engine: EngineCase) -> None:
    random = np.random.default_rng(0)
    words = random.dirichlet(np.full(60, 0.05), 3)
    shares = random.dirichlet([0.9, 0.3, 0.1], 300)
    X = np.stack([random.multinomial(60, share @ words) for share in shares]).astype(float)
    rows = engine.open(pa.table({f"w{j:02d}": X[:, j] for j in range(60)}))
    asked = {"n_components": 3, "random_state": 0, "max_iter": 12}
    model = og.LatentDirichletAllocation(doc_topic_prior="auto", **asked).fit(rows)
    largest_first = np.sort(model.doc_topic_prior_ / model.doc_topic_prior_.sum())[::-1]
    np.testing.assert_allclose(largest_first, np.array([0.9, 0.3, 0.1]) / 1.3, atol=0.05)
    assert model.bound_ > og.LatentDirichletAllocation(**asked).fit(X).bound_
    local = og.LatentDirichletAllocation(doc_topic_prior="auto", **asked).fit(X)
    np.testing.assert_allclose(model.doc_topic_prior_, local.doc_topic_prior_, rtol=1e-6)


def test_a_learned_prior_is_where_the_likelihood_is_largest() -> None:
    logs = np.log(np.random.default_rng(1).dirichlet([2.0, 0.5, 0.05], 4000)).clip(-600)
    prior = topics.learned_prior(np.full(3, 1 / 3), logs.sum(axis=0), len(logs))
    np.testing.assert_allclose(prior, [2.0, 0.5, 0.05], rtol=0.1)
    np.testing.assert_allclose(psi(prior.sum()) - psi(prior) + logs.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("count", [30, 3000])
def test_equal_priors_of_each_are_one_prior(count: int) -> None:
    X = documents(count=count)  # few numbers, and as many as are compiled
    one = og.LatentDirichletAllocation(3, doc_topic_prior=0.4, topic_word_prior=0.2, random_state=0).fit(X)
    each = og.LatentDirichletAllocation(
        3, doc_topic_prior=[0.4] * 3, topic_word_prior=np.full(30, 0.2), random_state=0
    ).fit(X)
    np.testing.assert_allclose(each.components_, one.components_, rtol=1e-12)
    assert each.score(X) == pytest.approx(one.score(X), rel=1e-12)
    with pytest.raises(ExportError, match="share one"):
        each.to_sklearn()


def test_models_with_priors_of_each_are_saved(tmp_path: Path) -> None:
    X = documents()
    model = og.LatentDirichletAllocation(3, doc_topic_prior=np.array([0.9, 0.3, 0.1]), random_state=0).fit(X)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    assert loaded.partial_fit(X).n_batch_iter_ == 2


@pytest.mark.parametrize(
    "given",
    [{"doc_topic_prior": [0.1, 0.2]}, {"topic_word_prior": [0.0] * 30}, {"doc_topic_prior": "learned"}],
)
def test_priors_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(given))):
        og.LatentDirichletAllocation(3, **given).fit(documents())


def test_steps_over_a_stream_are_those_of_scikit_learn() -> None:
    asked = {**TIGHT, "n_components": 3, "random_state": 1, "total_samples": 500, "learning_decay": 0.8}
    ours = og.LatentDirichletAllocation(**asked)
    theirs = LatentDirichletAllocation(**asked, batch_size=10**6)
    X = documents(count=300)
    for part in np.split(X, 3):
        ours.partial_fit(part)
        theirs.partial_fit(part)
        np.testing.assert_allclose(ours.components_, theirs.components_, rtol=1e-5)
    assert ours.n_batch_iter_ == theirs.n_batch_iter_ == 4
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-4)
    with pytest.raises(ValueError, match="30"):
        ours.partial_fit(X[:, :7])


def test_a_fit_begins_anew_after_parts_of_a_stream() -> None:
    X = documents()
    model = og.LatentDirichletAllocation(3, random_state=0)
    fresh = og.LatentDirichletAllocation(3, random_state=0).fit(X).components_
    np.testing.assert_array_equal(model.partial_fit(X[:50]).fit(X).components_, fresh)
