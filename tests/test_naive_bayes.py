"""Naive Bayes beside scikit-learn's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import naive_bayes as peer

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml.selection.many import fit_many

NAMES = ["GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB"]
COUNTED = NAMES[1:4]
LEARNED = {
    "GaussianNB": ("theta_", "class_prior_", "class_count_"),
    "CategoricalNB": ("class_log_prior_", "class_count_", "n_categories_"),
    **dict.fromkeys(COUNTED, ("feature_count_", "feature_log_prob_", "class_log_prior_", "class_count_")),
}
METHODS = ("predict_joint_log_proba", "predict_log_proba", "predict_proba")
RNG = np.random.default_rng(0)


def rows_for(name: str, rng: np.random.Generator, rows: int = 60, width: int = 4) -> np.ndarray:
    """Rows that suit a class, and are not too easy."""
    if name == "GaussianNB":
        return rng.normal(size=(rows, width)) * [1.0, 20.0, 0.01, 3.0][:width] + 100.0
    if name == "CategoricalNB":
        return np.minimum(rng.poisson(1.0, (rows, width)), 3).astype(float)
    return (rng.poisson(1.5, (rows, width)) * (rng.random((rows, width)) < 0.6)).astype(float)


def both(name: str, **parameters: Any) -> tuple[Any, Any]:
    return getattr(og, name)(**parameters), getattr(peer, name)(**parameters)


def assert_alike(ours: Any, theirs: Any, X: Any) -> None:
    name = type(ours).__name__
    for attribute in LEARNED[name]:
        np.testing.assert_allclose(getattr(ours, attribute), getattr(theirs, attribute), rtol=1e-10)
    if name == "GaussianNB":
        pure = [model.var_ - model.epsilon_ for model in (ours, theirs)]
        np.testing.assert_allclose(*pure, rtol=1e-10, atol=1e-12 * ours.var_.max())
        theirs.var_ = pure[1] + ours.epsilon_  # where weights count for nothing
    for method in METHODS:
        given, expected = (getattr(model, method)(X) for model in (ours, theirs))
        np.testing.assert_allclose(given, expected, rtol=1e-8 if name == "GaussianNB" else 1e-10, atol=1e-10)
    assert ours.predict(X).tolist() == theirs.predict(X).tolist()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_it_learns_what_scikit_learn_does(name: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    classes = data.draw(st.integers(2, 5))
    X = rows_for(name, rng)
    y = np.append(np.arange(classes), rng.integers(0, classes, len(X) - classes))
    labels = data.draw(st.sampled_from([y, np.array(["a", "b", "c", "d", "e"])[y], y * 10 - 5]))
    weight = data.draw(st.sampled_from([None, rng.uniform(0.1, 3, len(X)), rng.integers(1, 4, len(X)) * 1.0]))
    priors = data.draw(
        st.sampled_from([None, np.full(classes, 1 / classes), (p := rng.random(classes)) / p.sum()])
    )
    if name == "GaussianNB":
        parameters = {"priors": priors, "var_smoothing": data.draw(st.sampled_from([1e-9, 0.0, 0.1]))}
    else:
        alphas = [1.0, 0.3, 1e-12] + [rng.random(4) + 0.1] * (name in ("MultinomialNB", "ComplementNB"))
        parameters = {
            "alpha": data.draw(st.sampled_from(alphas)),
            "fit_prior": data.draw(st.booleans()),
            "class_prior": priors,
        }
    if name == "ComplementNB":
        parameters["norm"] = data.draw(st.booleans())
    if name == "BernoulliNB":
        parameters["binarize"] = data.draw(st.sampled_from([0.0, 1.5]))
    if name == "CategoricalNB":
        parameters["min_categories"] = data.draw(st.sampled_from([None, 6, [4, 5, 4, 7]]))
    ours, theirs = both(name, **parameters)
    assert_alike(ours.fit(X, labels, weight), theirs.fit(X, labels, weight), X)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_counts(name: str, weighted: bool) -> None:
    X, y = rows_for(name, RNG, 300, 30), RNG.integers(0, 4, 300)
    weight = RNG.random(300) if weighted else None
    ours, theirs = both(name)
    X[:, 7] = 0.0
    assert_alike(ours.fit(sp.csr_array(X), y, weight), theirs.fit(X, y, weight), sp.csr_array(X))


def test_a_gaussian_of_sparse_rows() -> None:
    X, y, weight = rows_for("MultinomialNB", RNG, 300, 4), RNG.integers(0, 3, 300), RNG.random(300)
    twice = sp.csr_array(
        (np.repeat(X.ravel() / 2, 2), np.repeat(np.tile(np.arange(4), 300), 2), np.arange(301) * 8)
    )
    dense = og.GaussianNB().fit(X, y, weight)
    for rows in (sp.csr_array(X), twice):  # the latter says each number in two parts
        sparse = og.GaussianNB().fit(rows, y, weight)
        np.testing.assert_allclose(sparse.var_, dense.var_, rtol=1e-12)
        np.testing.assert_allclose(sparse.predict_proba(sp.csr_array(X)), dense.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_learned_as_the_whole(name: str, tmp_path: Path) -> None:
    X, y, weight = rows_for(name, RNG, 90), np.array(list("abc"))[np.arange(90) // 30], RNG.random(90)
    whole, grown = (getattr(og, name)() for _ in range(2))
    whole.fit(X, y, weight)
    order = np.r_[60:90, 0:60]  # whose first part has one class alone
    for part in np.split(order, [20, 21, 50]):
        grown.partial_fit(X[part], y[part], ["c", "a", "b"], weight[part])
        grown.save(tmp_path / "model", overwrite=True)
        grown = og.load(tmp_path / "model")
        assert grown.predict(X).shape == (90,)
    for attribute in LEARNED[name]:
        np.testing.assert_allclose(getattr(grown, attribute), getattr(whole, attribute), rtol=1e-10)
    np.testing.assert_allclose(grown.predict_proba(X), whole.predict_proba(X), rtol=1e-8, atol=1e-12)
    again = grown.fit(X, y)
    np.testing.assert_array_equal(again.class_count_, [30, 30, 30])


@pytest.mark.parametrize("name", NAMES)
def test_parts_with_other_classes_are_refused(name: str) -> None:
    X = rows_for(name, RNG, 10)
    model = getattr(og, name)()
    with pytest.raises(ParameterError, match="classes must be passed on the first call to partial_fit"):
        model.partial_fit(X, np.zeros(10))
    model.partial_fit(X, np.arange(10) % 2, [0, 1])
    before = model.class_count_.tolist()
    with pytest.raises(
        DataError, match=r"label\(s\) \[7\] in y do not exist in the initial classes \[0, 1\]"
    ):
        model.partial_fit(X, np.full(10, 7))
    with pytest.raises(ParameterError, match="is not the same as on last call"):
        model.partial_fit(X, np.arange(10) % 2, [0, 1, 2])
    assert model.class_count_.tolist() == before


@pytest.mark.parametrize("name", NAMES)
def test_one_class_and_classes_without_weight(name: str) -> None:
    X = rows_for(name, RNG, 30)
    X[0] = X.max(axis=0)  # all categories in a row that counts
    ours, theirs = both(name)
    assert_alike(ours.fit(X, np.ones(30)), theirs.fit(X, np.ones(30)), X)
    y, weight = np.arange(30) % 3, np.where(np.arange(30) % 3 == 1, 0.0, 1.0)
    model = getattr(og, name)().fit(X, y, weight)
    chances = model.predict_proba(X)
    assert np.isfinite(chances).all()
    assert 1 not in model.predict(X) or name == "ComplementNB"  # which counts what others have
    expected = getattr(og, name)().fit(X[weight > 0], y[weight > 0])
    if name != "ComplementNB":
        np.testing.assert_allclose(chances[:, [0, 2]], expected.predict_proba(X), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["MultinomialNB", "ComplementNB", "CategoricalNB"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_negative_numbers_are_refused(name: str, form: Any) -> None:
    X = rows_for(name, RNG, 30)
    X[3, 2] = -2.0
    with pytest.raises(
        DataError, match=rf"Negative values in data passed to {name} \(input X\).*-2.*(Use|Encode)"
    ):
        getattr(og, name)().fit(form(X), np.arange(30) % 2)


def test_categories_that_cannot_be() -> None:
    rows = pa.table({"kind": [0, 1, 2, 1], "size": [0, 0, 1, 1], "y": ["a", "b", "a", "b"]})
    model = og.CategoricalNB().fit(rows, "y")
    new = pa.table({"kind": [0, 5], "size": [1, 1]})
    with pytest.raises(
        DataError, match=r"column 'kind' holds the category 5, and the fit saw 0 to 2 alone. Fit"
    ):
        model.predict(new)
    assert og.CategoricalNB(min_categories=[6, 2]).fit(rows, "y").predict(new)["prediction"].to_pylist()
    halves = pa.table({"kind": [0.0, 1.5], "size": [0, 1], "y": ["a", "b"]})
    with pytest.raises(DataError, match=r"column 'kind' holds 1.5, and categories are whole numbers"):
        og.CategoricalNB().fit(halves, "y")
    with pytest.raises(DataError, match="holds 1e\\+12"):
        og.CategoricalNB().fit(np.array([[1e12], [0.0]]), [0, 1])
    for wrong, why in [([1.5, 2.0], "integral type"), ([3, 3, 3], "should have shape")]:
        with pytest.raises(ParameterError, match=why):
            og.CategoricalNB(min_categories=wrong).fit(rows, "y")


def test_wrong_priors_and_alphas() -> None:
    X, y = rows_for("MultinomialNB", RNG, 30), np.arange(30) % 3
    cases: list[tuple[Any, str]] = [
        (og.GaussianNB(priors=[0.5, 0.5]), "Number of priors must match number of classes"),
        (og.GaussianNB(priors=[0.5, 0.5, 0.5]), "sum of the priors should be 1"),
        (og.GaussianNB(priors=[-0.5, 1.0, 0.5]), "priors must be"),
        (og.MultinomialNB(class_prior=[1.0]), "Number of priors must match number of classes"),
        (og.MultinomialNB(alpha=[1.0, 2.0]), "Got 2 elements instead of 4"),
        (og.BernoulliNB(alpha=-1.0), "alpha must be"),
        (og.BernoulliNB(binarize=-1.0), "binarize must be"),
        (og.GaussianNB(var_smoothing=-1.0), "var_smoothing must be"),
    ]
    for model, why in cases:
        with pytest.raises(ParameterError, match=why):
            model.fit(X, y)
    with pytest.warns(UserWarning, match="alpha too small will result in numeric errors"):
        small = og.MultinomialNB(alpha=0.0, force_alpha=False).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = peer.MultinomialNB(alpha=0.0, force_alpha=False).fit(X, y)
    np.testing.assert_allclose(small.feature_log_prob_, expected.feature_log_prob_, rtol=1e-10)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_what_cannot_be_without_smoothing(form: Any) -> None:
    """Zero times the logarithm of zero is zero: scikit-learn answers NaN here."""
    X, y = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 2.0, 0.0]]), [0, 0, 1, 1]
    new = form(np.array([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    for name in ("MultinomialNB", "BernoulliNB"):
        chances = getattr(og, name)(alpha=0.0).fit(form(X), y).predict_proba(new)
        np.testing.assert_allclose(chances, [[1, 0], [0, 1], [0.5, 0.5]])
    complement = og.ComplementNB(alpha=0.0).fit(form(X), y)
    np.testing.assert_allclose(complement.predict_proba(new), [[1, 0], [0, 1], [0.5, 0.5]])
    assert np.isfinite(complement.predict_log_proba(new[[2]])).all()
    with pytest.raises(DataError, match="Raise alpha"):
        og.ComplementNB(alpha=0.0, norm=True).fit(X, y)
    for model in (og.ComplementNB(alpha=0.0).fit(X, y), og.BernoulliNB(alpha=0.0).fit(X, y)):
        for export in (model.to_sklearn, lambda m=model: m.to_onnx("never.onnx")):
            with pytest.raises(ExportError, match="larger alpha"):
                export()


def test_one_alpha_for_each_column_of_what_is_there_or_not() -> None:
    """scikit-learn adds them to the classes where there are as many, and fails where there are not."""
    X, y, alpha = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), [0, 0, 1], np.array([0.5, 2.0])
    model = og.BernoulliNB(alpha=alpha).fit(X, y)
    expected = [[2.5 / 3, 3 / 6], [0.5 / 2, 3 / 5]]
    np.testing.assert_allclose(np.exp(model.feature_log_prob_), expected)


def test_variances_of_zero_are_refused() -> None:
    flat = pa.table({"x": [1.0, 1.0, 2.0, 3.0], "y": ["a", "a", "b", "b"]})
    with pytest.raises(
        DataError, match=r"the first that of column 'x' in the class 'a'. Raise var_smoothing"
    ):
        og.GaussianNB(var_smoothing=0.0).fit(flat, "y")
    assert og.GaussianNB().fit(flat, "y").predict(flat)["prediction"].to_pylist() == ["a", "a", "b", "b"]
    with pytest.raises(DataError, match="overflow float64"):
        og.GaussianNB().fit(np.array([[1e200], [-1e200], [0.0]]), [0, 1, 1])
    begun = og.GaussianNB().partial_fit(np.array([[1.0]]), ["a"], ["a", "b"])
    with pytest.raises(DataError, match="variance"):
        begun.predict(np.array([[1.0]]))


def test_columns_far_from_zero_keep_their_digits() -> None:
    y = np.arange(400) % 2
    X = (RNG.normal(size=(400, 1)) + y[:, None] * 1e6) + 1e8
    ours, theirs = both("GaussianNB", var_smoothing=0.0)
    ours.fit(X, y), theirs.fit(X, y)
    np.testing.assert_allclose(ours.var_, theirs.var_, rtol=1e-7)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-7)


def test_numbers_that_are_no_shares_are_refused() -> None:
    with pytest.raises(DataError, match=r"lie between 0 and 3.*Set binarize"):
        og.BernoulliNB(binarize=None).fit(np.array([[0.0], [3.0]]), [0, 1])
    X, y = RNG.random((40, 3)), np.arange(40) % 2
    ours, theirs = both("BernoulliNB", binarize=None)
    assert_alike(ours.fit(X, y), theirs.fit(X, y), X)


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_folds_share_one_pass(name: str) -> None:
    X, y = rows_for(name, RNG, 200), np.array(["no", "yes"])[RNG.integers(0, 2, 200)]
    table = pa.table({f"x{j}": X[:, j] for j in range(4)} | {"y": y})
    frame = table.drop("y").to_pandas()
    parameter, values = ("var_smoothing", [1e-9, 0.1]) if name == "GaussianNB" else ("alpha", [0.1, 1.0])
    settings_ = [{parameter: value} for value in values]
    found = fit_many(getattr(og, name)(), table, "y", settings_, folds=og.KFold(3), refit=True)
    assert found.passes == 2  # one to learn, one to score
    for setting, trial in zip(settings_, found.trials, strict=True):
        assert trial.error is None
        alone = getattr(og, name)(**setting).fit(table, "y")
        np.testing.assert_allclose(trial.refitted.predict_proba(frame), alone.predict_proba(frame), rtol=1e-9)
        scores = og.cross_validate(getattr(og, name)(**setting), table, "y", cv=og.KFold(3))
        assert trial.mean()["log_loss"] == pytest.approx(scores.mean()["log_loss"])
    assert getattr(og, name)().fit(table, "y").fit_record_.passes == 1


def test_lazy_tables_get_the_joint_probabilities() -> None:
    X, y = rows_for("GaussianNB", RNG), np.array(["no", "yes"])[np.arange(60) % 2]
    model = og.GaussianNB().fit(X, y)
    table = og.dataset(pa.table({f"x{j}": X[:, j] for j in range(4)}))
    made = model.predict_joint_log_proba(table).to_arrow()
    expected = model.predict_joint_log_proba(X)
    np.testing.assert_allclose(made["joint_log_probability_yes"].to_numpy(), expected[:, 1])
