"""Many settings on many folds: what ordinary fits find, from shared scans."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_blobs

import outgrow as og
from outgrow import errors
from outgrow.ml.selection.many import ManyFits, fit_many, fusable_groups
from outgrow.ml.solvers import cost
from outgrow.testing import EngineCase

ROWS, WIDTH = 900, 4


def data(kind: str, rows: int = ROWS) -> pa.Table:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(rows, WIDTH)) * [1, 3, 0.5, 1] + [0, 5, 0, -2]
    margin = X @ [1.0, -0.3, 0.7, 0.1] + 1.5
    noisy = margin + rng.logistic(size=rows)
    y = {
        "number": noisy,
        "binary": np.where(noisy > 0, "yes", "no"),
        "classes": np.digitize(noisy, [-1.0, 1.0]),
    }[kind]
    columns = {f"x{j}": X[:, j] for j in range(WIDTH)}
    return pa.table({**columns, "y": y, "w": rng.random(rows)})


CS = [0.01, 1.0, 100.0]
CASES: dict[str, tuple[Any, str, list[dict[str, Any]]]] = {
    "ridge": (og.Ridge(), "number", [{"alpha": alpha} for alpha in (0.0, 0.1, 1e3)]),
    "ridge-no-intercept": (og.Ridge(fit_intercept=False), "number", [{"alpha": 0.1}, {"alpha": 1e3}]),
    "linear": (og.LinearRegression(), "number", [{}]),
    "elastic-net": (
        og.ElasticNet(),
        "number",
        [{"alpha": alpha, "l1_ratio": share} for alpha in (1e-3, 0.1) for share in (0.0, 0.5, 1.0)],
    ),
    "logistic": (og.LogisticRegression(), "binary", [{"C": C} for C in [*CS, np.inf]]),
    "logistic-no-intercept": (og.LogisticRegression(fit_intercept=False), "binary", [{"C": C} for C in CS]),
    "logistic-l1": (og.LogisticRegression(l1_ratio=0.5), "binary", [{"C": C} for C in CS]),
    "logistic-mixed": (og.LogisticRegression(), "binary", [{"C": 0.1, "l1_ratio": s} for s in (0.0, 1.0)]),
    "logistic-balanced": (og.LogisticRegression(class_weight="balanced"), "binary", [{"C": C} for C in CS]),
    "multinomial": (og.LogisticRegression(class_weight={0: 2.0}), "classes", [{"C": C} for C in CS]),
}
"""Estimator, kind of y, settings."""


def same(
    found: ManyFits,
    estimator: Any,
    settings: list[dict[str, Any]],
    rows: Any,
    y: str | None,
    weight: str | None,
    cv: Any,
) -> None:
    """Each trial is what cross-validation finds with its setting."""
    for trial, setting in zip(found.trials, settings, strict=True):
        assert trial.error is None
        folds = og.KFold(cv) if isinstance(cv, int) else cv
        alone = og.cross_validate(clone(estimator).set_params(**setting), rows, y, weight, cv=folds)
        assert [fold.rows for fold in trial.folds] == [fold.rows for fold in alone.folds]
        for model, other in zip(trial.estimators, alone.estimators, strict=True):
            same_model(model, other)
        for name, value in alone.mean().items():
            assert trial.mean()[name] == pytest.approx(value, abs=2e-5), name


def same_model(model: Any, other: Any) -> None:
    model, other = getattr(model, "model", model), getattr(other, "model", other)
    if hasattr(other, "objective_"):
        assert model.objective_ == pytest.approx(other.objective_, rel=1e-9)
        assert model.classes_.tolist() == other.classes_.tolist()
    elif hasattr(other, "cluster_centers_"):
        np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-9, atol=1e-9)
        assert model.inertia_ == pytest.approx(other.inertia_, rel=1e-9)
    else:
        slack = 1e-9 * np.abs(other.coef_).max()
        np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-9, atol=slack)
        assert model.intercept_ == pytest.approx(other.intercept_, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("case", CASES)
def test_as_ordinary_fits(case: str, weight: str | None) -> None:
    estimator, kind, settings = CASES[case]
    rows = data(kind) if weight else data(kind).drop(["w"])
    found = fit_many(estimator, rows, "y", settings, weight, folds=og.KFold(3), models=True)
    same(found, estimator, settings, rows, "y", weight, 3)


@pytest.mark.parametrize("case", ["ridge", "elastic-net", "logistic", "logistic-l1", "multinomial"])
def test_on_every_engine(engine: EngineCase, case: str) -> None:
    estimator, kind, settings = CASES[case]
    found = fit_many(estimator, engine.open(data(kind)), "y", settings, "w", folds=og.KFold(3), models=True)
    same(found, estimator, settings, data(kind), "y", "w", 3)


@pytest.mark.parametrize(
    "folds", [og.Holdout(0.3), og.GroupKFold("w", folds=3), og.TimeFolds("w", folds=3)], ids=repr
)
@pytest.mark.parametrize("case", ["ridge", "logistic"])
def test_all_kinds_of_folds(case: str, folds: Any) -> None:
    estimator, kind, settings = CASES[case]
    found = fit_many(estimator, data(kind), "y", settings, folds=folds, models=True)
    same(found, estimator, settings, data(kind), "y", None, folds)


@pytest.mark.parametrize("weight", [None, "w"])
def test_k_means(engine: EngineCase, weight: str | None) -> None:
    X, _ = make_blobs(600, 3, centers=4, random_state=2)
    rows = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "w": np.linspace(0.5, 2, 600)})
    rows = rows if weight else rows.drop(["w"])
    settings: list[dict[str, Any]] = [
        *({"n_clusters": k, "random_state": seed} for k in (1, 4) for seed in (0, 1)),
        {"n_clusters": 2, "init": X[:2]},
        {"n_clusters": 3, "n_init": 3},
    ]
    assert fusable_groups(og.KMeans(), settings) == [[0, 1, 2, 3, 4, 5]]
    found = fit_many(
        og.KMeans(), engine.open(rows), None, settings, weight, folds=og.KFold(2), models=True, refit=True
    )
    for trial, setting in zip(found.trials, settings, strict=True):
        same_model(trial.refitted, og.KMeans(**setting).fit(rows, None, weight))
        assert trial.mean()["inertia"] > 0
    same(found, og.KMeans(), settings, rows, None, weight, 2)


# ---- passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalties", [1, 40])
@pytest.mark.parametrize("folds", [2, 7])
@pytest.mark.parametrize("estimator", [og.Ridge(), og.ElasticNet()], ids=repr)
def test_one_pass_learns_any_number(estimator: Any, penalties: int, folds: int) -> None:
    settings = [{"alpha": alpha} for alpha in np.logspace(-3, 3, penalties)]
    found = fit_many(estimator, data("number"), "y", settings, folds=og.KFold(folds), refit=True)
    assert found.passes == 2  # one to learn, one to score


def test_logistic_passes_do_not_grow_with_settings() -> None:
    few = fit_many(og.LogisticRegression(), data("binary"), "y", [{"C": 1.0}, {"C": 0.01}])
    many = fit_many(og.LogisticRegression(), data("binary"), "y", [{"C": C} for C in np.logspace(-2, 0, 30)])
    assert many.passes <= few.passes + 1


def test_groups_share_scans() -> None:
    settings = [{"alpha": a, "fit_intercept": i} for i in (True, False) for a in (0.1, 1.0)]
    assert fusable_groups(og.Ridge(), settings) == [[0, 1], [2, 3]]
    assert fit_many(og.Ridge(), data("number"), "y", settings).passes == 2


# ---- thinned rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["logistic", "logistic-l1", "multinomial"])
def test_from_thinned_rows_to_all(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "THIN_ROWS", 400)
    estimator, kind, settings = CASES[case]
    rows = data(kind, 8_000)
    found = fit_many(estimator, rows, "y", settings, "w", folds=og.KFold(3), models=True)
    same(found, estimator, settings, rows, "y", "w", 3)


def test_a_thinned_part_that_misleads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sixteenth row says the opposite of all others."""
    monkeypatch.setattr(cost, "THIN_ROWS", 100)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_400, 2))
    y = (X[:, 0] + rng.logistic(size=6_400) * 0.3 > 0).astype(int)
    y[::16] = 1 - y[::16]
    settings = [{"C": C} for C in (1e-3, 1.0, 1e4)]
    found = fit_many(og.LogisticRegression(), X, y, settings, folds=og.KFold(2), models=True)
    for trial, setting in zip(found.trials, settings, strict=True):
        alone = og.cross_validate(og.LogisticRegression(**setting), X, y, cv=og.KFold(2))
        for model, other in zip(trial.estimators, alone.estimators, strict=True):
            same_model(model, other)


def test_separable_classes() -> None:
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]] * 20)
    y = (X[:, 0] > 0).astype(int)
    settings = [{"C": 1.0}, {"C": 1e6}]
    found = fit_many(og.LogisticRegression(), X + np.arange(80)[:, None] * 1e-3, y, settings, refit=True)
    for trial, setting in zip(found.trials, settings, strict=True):
        alone = og.LogisticRegression(**setting).fit(X + np.arange(80)[:, None] * 1e-3, y)
        assert trial.refitted.objective_ == pytest.approx(alone.objective_, rel=1e-9)


# ---- pipelines -------------------------------------------------------------------------------------------


def gaps() -> pa.Table:
    rows = data("binary")
    x = rows["x0"].to_numpy().copy()
    x[::7] = np.nan
    words = pa.array(np.where(rows["x1"].to_numpy() > 5, "high", "low"))
    return rows.set_column(0, "x0", pa.array(x, from_pandas=True)).append_column("word", words)


def pipeline() -> og.Pipeline:
    return og.Pipeline(
        [
            og.SimpleImputer(columns=og.numeric()),
            og.StandardScaler(columns=og.numeric()),
            og.OneHotEncoder(columns=og.categorical()),
            og.LogisticRegression(),
        ]
    )


def test_a_pipeline_on_every_engine(engine: EngineCase) -> None:
    settings = [
        {"logisticregression__C": C, "simpleimputer__strategy": strategy}
        for strategy in ("mean", "median")
        for C in (0.1, 10.0)
    ]
    assert fusable_groups(pipeline(), settings) == [[0, 1], [2, 3]]
    rows = gaps()
    found = fit_many(pipeline(), engine.open(rows), "y", settings, "w", folds=og.KFold(3), models=True)
    same(found, pipeline(), settings, rows, "y", "w", 3)
    again = found.trials[0].estimators[0].predict(rows.drop(["y", "w"]))
    assert len(again) == ROWS


def test_steps_are_learnt_once_a_fold() -> None:
    def passes(settings: list[dict[str, Any]]) -> int:
        return fit_many(pipeline(), gaps(), "y", settings, "w", folds=og.KFold(3)).passes

    one = passes([{"logisticregression__C": 1.0}])
    many = passes([{"logisticregression__C": C} for C in np.linspace(0.9, 1.1, 20)])
    assert many <= one + 3  # each fold has a matrix of its own, and may need a step more


def test_sparse_rows() -> None:
    rng = np.random.default_rng(1)
    X = sp.random_array((800, 30), density=0.1, format="csr", rng=rng)
    y = (X @ rng.normal(size=30) + 0.3 * rng.logistic(size=800) > 0).astype(int)
    for estimator, settings in [
        (og.LogisticRegression(), [{"C": C} for C in (0.1, 10.0)]),
        (og.Ridge(), [{"alpha": alpha} for alpha in (0.1, 10.0)]),
        (og.KMeans(random_state=1), [{"n_clusters": k} for k in (2, 3)]),
    ]:
        target = None if isinstance(estimator, og.KMeans) else y
        found = fit_many(estimator, X, target, settings, folds=og.KFold(3), models=True)
        same(found, estimator, settings, X, target, None, 3)  # type: ignore[arg-type]


def test_models_that_are_not_fusable() -> None:
    settings = [{"n_estimators": 3, "max_depth": depth, "random_state": 1} for depth in (1, 3)]
    estimator = og.GradientBoostingClassifier()
    assert fusable_groups(estimator, settings) == [[0], [1]]
    folds = og.KFold(2)
    found = fit_many(estimator, data("binary"), "y", settings, folds=folds)
    for trial, setting in zip(found.trials, settings, strict=True):
        alone = og.cross_validate(og.GradientBoostingClassifier(**setting), data("binary"), "y", cv=folds)
        assert trial.mean()["log_loss"] == pytest.approx(alone.mean()["log_loss"], rel=1e-6)


# ---- failures --------------------------------------------------------------------------------------------


def test_one_bad_setting_does_not_end_the_others() -> None:
    settings = [{"C": 1.0}, {"C": -1.0}, {"C": 2.0}, {"nonsense": 3}]
    found = fit_many(og.LogisticRegression(), data("binary"), "y", settings)
    good, bad, also_good, unknown = found.trials
    assert good.error is None
    assert also_good.mean()["accuracy"] > 0.5
    assert isinstance(bad.error, errors.ParameterError)
    assert bad.folds == []
    assert bad.mean() == {}
    assert isinstance(unknown.error, ValueError)


def test_a_failure_while_learning(engine: EngineCase) -> None:
    settings = [{"n_clusters": 2}, {"n_clusters": 500}, {"n_clusters": 3}]
    rows = data("number", 300).drop(["y", "w"])
    found = fit_many(og.KMeans(random_state=0), engine.open(rows), None, settings, folds=og.KFold(2))
    assert [trial.error is None for trial in found.trials] == [True, False, True]
    assert "n_clusters=500" in str(found.trials[1].error)


def test_a_failure_of_the_rows_of_one_rank(engine: EngineCase) -> None:
    """A chain that cannot treat some rows fails on every rank; the others go on."""
    rows = gaps()
    settings = [{"onehotencoder__categories": [["low"]]}, {}]
    found = fit_many(pipeline(), engine.open(rows), "y", settings, "w", folds=og.KFold(2))
    assert isinstance(found.trials[0].error, errors.OutgrowError)
    assert found.trials[1].error is None
    assert found.trials[1].mean()["accuracy"] > 0.5


def test_a_fold_without_a_class() -> None:
    rows = pa.table({"x": np.arange(100.0), "t": np.arange(100.0), "y": [0] * 60 + [1] * 40})
    found = fit_many(og.LogisticRegression(), rows, "y", [{"C": 1.0}], folds=og.TimeFolds("t", folds=2))
    assert "lacks the class" in str(found.trials[0].error)


def test_no_model_at_the_end() -> None:
    found = fit_many(og.StandardScaler(), data("number"), "y", [{}])
    assert "nothing to score" in str(found.trials[0].error)


def test_a_candidate_that_does_not_converge_warns() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_many(og.LogisticRegression(max_iter=1), data("binary"), "y", [{"C": 1.0}], folds=og.KFold(2))
    assert any("failed to converge" in str(item.message) for item in caught)
