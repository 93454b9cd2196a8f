"""Trees, naive Bayes, discriminants, neighbours, clusters and topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import sklearn.calibration
import sklearn.cluster
import sklearn.decomposition
import sklearn.discriminant_analysis
import sklearn.ensemble
import sklearn.isotonic
import sklearn.linear_model
import sklearn.mixture
import sklearn.naive_bayes
import sklearn.neighbors
import sklearn.tree
from sklearn.metrics import log_loss, mean_squared_error

import outgrow as og
from bench.grids.cell import Cell
from bench.models import rows
from bench.models.linear import beside
from bench.models.rows import Sample
from bench.shapes.others import Split, bent, grouped

TOPICS, DOCUMENTS, VOCABULARY = 20, 20_000, 5_000


def _loss(sample: Sample, model: Any) -> float:
    return float(log_loss(sample.y[:20_000], model.predict_proba(sample.X[:20_000])))


def _one_pass() -> Iterator[Cell]:
    naive, discriminant = sklearn.naive_bayes, sklearn.discriminant_analysis

    def shares() -> Sample:
        X, y = rows.classes(3)
        return Sample(np.floor(np.exp(X)), y)

    yield beside("Gaussian naive Bayes", rows.classes, og.GaussianNB, naive.GaussianNB, _loss)
    yield beside("multinomial naive Bayes", shares, og.MultinomialNB, naive.MultinomialNB, _loss)
    yield beside("Bernoulli naive Bayes", shares, og.BernoulliNB, naive.BernoulliNB, _loss)
    yield beside(
        "linear discriminants",
        rows.classes,
        og.LinearDiscriminantAnalysis,
        discriminant.LinearDiscriminantAnalysis,
        _loss,
        slack=1e-4,
    )
    yield beside(
        "quadratic discriminants",
        rows.classes,
        og.QuadraticDiscriminantAnalysis,
        discriminant.QuadraticDiscriminantAnalysis,
        _loss,
        slack=1e-4,
    )

    def steps(sample: Sample, model: Any) -> float:
        return float(mean_squared_error(sample.y, model.predict(sample.X)))

    def one_column() -> Sample:
        X, y = rows.heavy_tails()
        return Sample(X[:, :1], y + 3 * X[:, 0])

    yield beside(
        "isotonic regression",
        one_column,
        og.IsotonicRegression,
        lambda: sklearn.isotonic.IsotonicRegression(out_of_bounds="clip"),
        steps,
    )


def _trees() -> Iterator[Cell]:
    ensemble, tree = sklearn.ensemble, sklearn.tree

    def chances(part: Split, model: Any) -> float:
        return float(log_loss(part.unseen_y, np.clip(model.predict_proba(part.unseen), 1e-3, 1)))

    def errors(part: Split, model: Any) -> float:
        return float(mean_squared_error(part.unseen_y, model.predict(part.unseen)))

    for name, ours, theirs, many, judge in (
        ("decision tree, 10 deep", og.DecisionTreeClassifier, tree.DecisionTreeClassifier, 2, chances),
        ("regression tree, 10 deep", og.DecisionTreeRegressor, tree.DecisionTreeRegressor, 0, errors),
    ):
        yield beside(
            name,
            lambda many=many: bent(rows.ROWS * 5 // 4, rows.WIDTH, many),
            lambda ours=ours: ours(max_depth=10),
            lambda theirs=theirs: theirs(max_depth=10),
            judge,
            slack=0.02,
        )
    yield beside(
        "extra trees, 100,000 x 20, 2 classes",
        lambda: bent(125_000, 20, 2),
        lambda: og.ExtraTreesClassifier(random_state=0),
        lambda: ensemble.ExtraTreesClassifier(random_state=0, n_jobs=2),
        chances,
        slack=0.02,
    )
    yield Cell(
        "isolation forest",
        lambda: rows.features()[0],
        lambda X: og.IsolationForest(random_state=0).fit(X),
        lambda X: ensemble.IsolationForest(random_state=0, n_jobs=2).fit(X),
        lambda X, model: 0.0,
    )


def _calibrated() -> Iterator[Cell]:
    linear = sklearn.linear_model.LogisticRegression
    yield beside(
        "calibrated logistic regression, 5 folds",
        rows.classes,
        lambda: og.CalibratedClassifierCV(og.LogisticRegression()),
        lambda: sklearn.calibration.CalibratedClassifierCV(linear(), cv=5, n_jobs=2),
        _loss,
        slack=1e-3,
    )


def _neighbours() -> Iterator[Cell]:
    def split() -> Split:
        return bent(125_000, 20, 2)

    def wrong(part: Split, predicted: np.ndarray) -> float:
        return float((predicted != part.unseen_y[: len(predicted)]).mean())

    neighbors = sklearn.neighbors.KNeighborsClassifier
    yield Cell(
        "5 nearest neighbours, 5,000 of 100,000 x 20",
        split,
        lambda part: og.KNeighborsClassifier().fit(part.X, part.y).predict(part.unseen[:5_000]),
        lambda part: neighbors(n_jobs=2).fit(part.X, part.y).predict(part.unseen[:5_000]),
        wrong,
    )

    def planar() -> np.ndarray:
        return grouped(100_000, 2, 30)

    yield Cell(
        "DBSCAN, 100,000 x 2",
        planar,
        lambda X: og.DBSCAN(0.05, min_samples=10).fit(X).labels_.max(),
        lambda X: sklearn.cluster.DBSCAN(eps=0.05, min_samples=10, n_jobs=2).fit(X).labels_.max(),
        lambda X, found: -float(found),
    )


def _clusters() -> Iterator[Cell]:
    def make() -> np.ndarray:
        return grouped(200_000, 20, 20)

    def inertia(X: np.ndarray, found: float) -> float:
        return float(found)

    for name, ours, theirs in (
        ("bisecting k-means", og.BisectingKMeans, sklearn.cluster.BisectingKMeans),
        ("mini-batch k-means", og.MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans),
    ):
        yield Cell(
            f"{name}, 200,000 x 20, 20 clusters",
            make,
            lambda X, ours=ours: ours(20, random_state=0).fit(X).inertia_,
            lambda X, theirs=theirs: theirs(20, random_state=0).fit(X).inertia_,
            inertia,
            slack=0.05,
        )

    def bound(X: np.ndarray, model: Any) -> float:
        return -float(model.lower_bound_)

    mixture = sklearn.mixture.GaussianMixture
    start = {"n_components": 8, "random_state": 0, "max_iter": 20, "tol": 1e-6}
    yield Cell(
        "Gaussian mixture, 100,000 x 20, 8 components, 20 steps",
        lambda: grouped(100_000, 20, 8),
        lambda X: og.GaussianMixture(**start, means_init=X[:8]).fit(X),
        lambda X: mixture(**start, means_init=X[:8]).fit(X),
        bound,
        slack=0.05,
    )


def documents() -> Any:
    """Counts of words in documents of a few topics."""
    random = np.random.default_rng(0)
    topics = random.dirichlet(np.full(VOCABULARY, 0.02), TOPICS)
    shares = random.dirichlet(np.full(TOPICS, 0.1), DOCUMENTS)
    return sp.csr_array(np.stack([random.multinomial(60, share @ topics) for share in shares]))


def _topics() -> Iterator[Cell]:
    how = {"n_components": TOPICS, "max_iter": 5, "random_state": 0}
    theirs = sklearn.decomposition.LatentDirichletAllocation
    yield Cell(
        f"topics, {TOPICS} of {DOCUMENTS:,} documents, 5 passes",
        documents,
        lambda X: og.LatentDirichletAllocation(**how).fit(X),
        lambda X: theirs(**how, n_jobs=2).fit(X),
        lambda X, model: float(theirs.score(_fitted(theirs(**how), X, model.components_), X) / -X.sum()),
        slack=0.01,
    )


def _fitted(peer: Any, X: Any, components: np.ndarray) -> Any:
    """scikit-learn's model with the topics that one found, which judges both alike."""
    peer.set_params(max_iter=1).fit(X[:100])
    peer.components_ = components
    peer.exp_dirichlet_component_ = np.exp(
        sp_digamma(components) - sp_digamma(components.sum(axis=1, keepdims=True))
    )
    return peer


def sp_digamma(values: np.ndarray) -> np.ndarray:
    from scipy.special import digamma

    return digamma(values)


CELLS = (*_one_pass(), *_trees(), *_calibrated(), *_neighbours(), *_clusters(), *_topics())
