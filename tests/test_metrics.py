"""Judged predictions: as scikit-learn judges them, on every engine, of groups as of each group alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as peer

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.metrics import classification
from outgrow.stats import judged
from outgrow.testing import EngineCase, pieces_case

RNG = np.random.default_rng(2)
N = 600
SCORE = np.round(RNG.random(N), 2)
LATE = RNG.random(N) < SCORE
SHARES = RNG.dirichlet([1, 1, 1], N)
COLOUR = np.array(["blue", "green", "red"])[(SHARES.cumsum(axis=1) < RNG.random((N, 1))).sum(axis=1)]
Y = RNG.gamma(2.0, size=N)
ROWS = pa.table(
    {
        "y": Y,
        "p": Y * RNG.uniform(0.5, 1.6, N),
        "late": LATE,
        "score": SCORE,
        "colour": COLOUR,
        "told": np.where(RNG.random(N) < 0.7, COLOUR, "red"),
        **{f"share {name}": SHARES[:, k] for k, name in enumerate(("blue", "green", "red"))},
        "shop": RNG.choice(["north", "south", None], N),
        "weight": RNG.integers(0, 4, N).astype(np.float64),
    }
)
COLUMNS = {name: f"share {name}" for name in ("blue", "green", "red")}


def numbers(rows: pa.Table, weight: np.ndarray | None = None) -> dict[str, float]:
    y, p = rows["y"].to_numpy(), rows["p"].to_numpy()
    named = {
        "r2": peer.r2_score,
        "explained_variance": peer.explained_variance_score,
        "mse": peer.mean_squared_error,
        "rmse": peer.root_mean_squared_error,
        "mae": peer.mean_absolute_error,
        "mape": peer.mean_absolute_percentage_error,
        "msle": peer.mean_squared_log_error,
        "rmsle": peer.root_mean_squared_log_error,
        "mean_poisson_deviance": peer.mean_poisson_deviance,
        "mean_gamma_deviance": peer.mean_gamma_deviance,
        "mean_pinball_loss": partial(peer.mean_pinball_loss, alpha=0.3),
        "mean_tweedie_deviance": partial(peer.mean_tweedie_deviance, power=1.5),
        "d2_absolute_error": peer.d2_absolute_error_score,
        "d2_pinball": partial(peer.d2_pinball_score, alpha=0.3),
        "d2_poisson": partial(peer.d2_tweedie_score, power=1),
        "d2_gamma": partial(peer.d2_tweedie_score, power=2),
        "d2_tweedie": partial(peer.d2_tweedie_score, power=1.5),
    }
    found = {name: float(metric(y, p, sample_weight=weight)) for name, metric in named.items()}
    if weight is None:
        found |= {
            "median_absolute_error": float(peer.median_absolute_error(y, p)),
            "max_error": float(peer.max_error(y, p)),
            "mean_error": float((p - y).mean()),
        }
    return found


def two_classes(rows: pa.Table, weight: np.ndarray | None = None) -> dict[str, float]:
    y, score = rows["late"].to_numpy(zero_copy_only=False), rows["score"].to_numpy()
    p, how = score > 0.5, {"sample_weight": weight}
    false, true, _ = peer.roc_curve(y, score, **how)
    return {
        "accuracy": peer.accuracy_score(y, p, **how),
        "balanced_accuracy": peer.balanced_accuracy_score(y, p, **how),
        "precision": peer.precision_score(y, p, **how),
        "recall": peer.recall_score(y, p, **how),
        "f1": peer.f1_score(y, p, **how),
        "f1_weighted": peer.f1_score(y, p, average="weighted", **how),
        "mcc": peer.matthews_corrcoef(y, p, **how),
        "cohen_kappa": peer.cohen_kappa_score(y, p, **how),
        "log_loss": peer.log_loss(y, score, **how),
        "brier": peer.brier_score_loss(y, score, **how),
        "roc_auc": peer.roc_auc_score(y, score, **how),
        "pr_auc": peer.average_precision_score(y, score, **how),
        "ks": float(np.max(true - false)),
    }


def agree(report: Any, expected: dict[str, float], at: Any = ...) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(report[name])[at], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_numbers_on_every_engine(engine: EngineCase) -> None:
    report = og.metrics.regression_report(engine.open(ROWS), "y", "p", quantile=0.3, power=1.5, by="shop")
    shops = report.groups["shop"].to_pylist()
    assert shops == ["north", "south", None]
    for place, shop in enumerate(shops):
        part = ROWS.filter(pa.array([value == shop for value in ROWS["shop"].to_pylist()]))
        agree(report, numbers(part), place)
        assert report.rows[place] == part.num_rows


def test_two_classes_on_every_engine(engine: EngineCase) -> None:
    rows = engine.open(ROWS)
    report = og.metrics.classification_report(rows, "late", y_score="score", by="shop")
    for place, shop in enumerate(report.groups["shop"].to_pylist()):
        part = ROWS.filter(pa.array([value == shop for value in ROWS["shop"].to_pylist()]))
        agree(report, two_classes(part), place)
        alone = og.metrics.classification_report(part, "late", y_score="score")
        assert alone["ece"] == pytest.approx(report["ece"][place])
        assert report.confusion[place].tolist() == alone.confusion.tolist()


def test_weights() -> None:
    weight = ROWS["weight"].to_numpy()
    asked = {"quantile": 0.3, "power": 1.5}
    agree(
        og.metrics.regression_report(ROWS, "y", "p", **asked, sample_weight="weight"), numbers(ROWS, weight)
    )
    report = og.metrics.classification_report(ROWS, "late", y_score="score", sample_weight=weight)
    agree(report, two_classes(ROWS, weight))
    repeated = ROWS.take(pa.array(np.repeat(np.arange(N), weight.astype(int))))
    again = og.metrics.classification_report(repeated, "late", y_score="score")
    for name in ("ece", "ks", "roc_auc"):
        assert report[name] == pytest.approx(again[name])


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.3, 2.0, 3.0])
def test_deviances_of_any_power(power: float) -> None:
    y, p = ROWS["y"].to_numpy(), ROWS["p"].to_numpy()
    report = og.metrics.regression_report(ROWS, "y", "p", power=power)
    assert report["mean_tweedie_deviance"] == pytest.approx(peer.mean_tweedie_deviance(y, p, power=power))
    assert report["d2_tweedie"] == pytest.approx(peer.d2_tweedie_score(y, p, power=power))


def test_scores_beside_a_constant_where_there_is_none() -> None:
    rows = pa.table({"y": [0.0, 0.0, None, 2.0], "p": [0.0, 1.0, 2.0, 2.0], "g": ["a", "a", "b", "c"]})
    report = og.metrics.regression_report(rows, "y", "p", by="g")
    np.testing.assert_array_equal(report["d2_absolute_error"], [0, np.nan, 1])
    np.testing.assert_array_equal(report["d2_poisson"], [np.nan, np.nan, 1])
    for name, value in (("quantile", 1.5), ("power", 0.5)):
        with pytest.raises(ParameterError, match=name):
            og.metrics.regression_report(rows, "y", "p", **{name: value})


def test_several_classes() -> None:
    report = og.metrics.classification_report(ROWS, "colour", "told", y_score=COLUMNS)
    y, told = ROWS["colour"].to_numpy(zero_copy_only=False), ROWS["told"].to_numpy(zero_copy_only=False)
    agree(
        report,
        {
            "accuracy": peer.accuracy_score(y, told),
            "f1_macro": peer.f1_score(y, told, average="macro"),
            "f1_weighted": peer.f1_score(y, told, average="weighted"),
            "mcc": peer.matthews_corrcoef(y, told),
            "cohen_kappa": peer.cohen_kappa_score(y, told),
            "log_loss": peer.log_loss(y, SHARES, labels=["blue", "green", "red"]),
            "roc_auc_ovr": peer.roc_auc_score(y, SHARES, multi_class="ovr"),
            "roc_auc_ovr_weighted": peer.roc_auc_score(y, SHARES, multi_class="ovr", average="weighted"),
            "roc_auc_ovo": peer.roc_auc_score(y, SHARES, multi_class="ovo"),
            "roc_auc_ovo_weighted": peer.roc_auc_score(y, SHARES, multi_class="ovo", average="weighted"),
        },
    )
    members = y[:, None] == np.array(["blue", "green", "red"])
    assert report["brier"] == pytest.approx(((SHARES - members) ** 2).sum(axis=1).mean())
    by_class = peer.classification_report(y, told, output_dict=True)
    for row in report.by_class().to_pylist():
        assert row["f1"] == pytest.approx(by_class[row["class"]]["f1-score"])
        assert row["support"] == by_class[row["class"]]["support"]


def test_top_k_and_pairs_of_classes_on_every_engine(engine: EngineCase) -> None:
    shares = SHARES.round(1)  # of which many are alike
    rows = ROWS.drop_columns(list(COLUMNS.values()))
    for name, column in zip(COLUMNS.values(), shares.T, strict=True):
        rows = rows.append_column(name, pa.array(column))
    report = og.metrics.classification_report(
        engine.open(rows), "colour", y_score=COLUMNS, top_k=[1, 2, 3], by="shop", sample_weight="weight"
    )
    y, weight = rows["colour"].to_numpy(zero_copy_only=False), rows["weight"].to_numpy()
    for place, shop in enumerate(report.groups["shop"].to_pylist()):
        part = np.array([value == shop for value in rows["shop"].to_pylist()])
        assert report["top_3_accuracy"][place] == 1
        for k in (1, 2):
            expected = peer.top_k_accuracy_score(
                y[part], shares[part], k=k, sample_weight=weight[part], labels=list(COLUMNS)
            )
            assert report[f"top_{k}_accuracy"][place] == pytest.approx(expected)
        repeated = np.repeat(np.flatnonzero(part), weight[part].astype(int))
        for average in ("macro", "weighted"):
            name = f"roc_auc_ovo{'_weighted' if average == 'weighted' else ''}"
            chances = shares[repeated] / shares[repeated].sum(axis=1, keepdims=True)
            whole = og.metrics.classification_report(
                pa.table({"y": y[repeated], **dict(zip("bgr", chances.T, strict=True))}),
                "y",
                y_score={"blue": "b", "green": "g", "red": "r"},
            )
            expected = peer.roc_auc_score(y[repeated], chances, multi_class="ovo", average=average)
            assert whole[name] == pytest.approx(expected)
    assert "top_2_accuracy" in report.standard_errors


def test_classes_without_rows_and_two_classes_with_a_column_each() -> None:
    """scikit-learn #19721 and #20186."""
    shares = {name: SHARES[:, k] for k, name in enumerate("abc")}
    rows = pa.table({"y": np.where(np.arange(N) % 2 == 0, "a", "b"), **shares})
    report = og.metrics.classification_report(
        rows, "y", y_score=dict(zip("abc", "abc", strict=True)), top_k=2
    )
    expected = peer.top_k_accuracy_score(rows["y"].to_numpy(), SHARES, k=2, labels=["a", "b", "c"])
    assert report["top_2_accuracy"] == pytest.approx(expected)
    assert np.isnan(report["roc_auc_ovo"])
    two = og.metrics.classification_report(rows, "y", y_score={"a": "a", "b": "b"})
    assert 0 < two["roc_auc"] < 1


def test_top_k_of_what_has_no_probabilities_is_refused() -> None:
    with pytest.raises(ParameterError, match="needs probabilities"):
        og.metrics.classification_report(ROWS, "colour", "told", top_k=2)
    with pytest.raises(ParameterError, match="top_k"):
        og.metrics.classification_report(ROWS, "colour", y_score=COLUMNS, top_k=0)
    two = og.metrics.classification_report(ROWS, "late", y_score="score", top_k=2)
    assert two["top_2_accuracy"] == 1


def test_curves() -> None:
    report = og.metrics.classification_report(ROWS, "late", y_score="score")
    precision, recall, threshold = peer.precision_recall_curve(LATE, SCORE)
    curve = report.thresholds()
    np.testing.assert_allclose(curve["threshold"], threshold[::-1])
    np.testing.assert_allclose(curve["precision"], precision[:-1][::-1])
    np.testing.assert_allclose(curve["recall"], recall[:-1][::-1])
    order = np.argsort(-SCORE, kind="stable")
    half = report.lift(2)
    assert half["gain"].to_pylist() == pytest.approx([LATE[order[: N // 2]].sum() / LATE.sum(), 1], abs=0.01)
    assert half["lift"].to_pylist()[1] == 1
    bins = report.calibration(4)
    assert sum(bins["weight"].to_pylist()) == N
    assert np.abs(np.subtract(bins["share"], bins["probability"])).max() < 0.1
    other = report.thresholds(positive=False)
    np.testing.assert_allclose(other["threshold"].to_numpy()[0], 1 - SCORE.min())
    turned = og.metrics.classification_report(ROWS, "late", y_score="score", positive=False)
    assert turned["roc_auc"] == pytest.approx(1 - report["roc_auc"])


def test_missing_values_count_for_nothing() -> None:
    holes = ROWS.set_column(
        1, "p", pa.array([None if i < 9 else v for i, v in enumerate(ROWS["p"].to_pylist())])
    )
    late = pa.array([None if i % 50 == 0 else bool(v) for i, v in enumerate(LATE)])
    holes = holes.set_column(2, "late", late)
    report = og.metrics.regression_report(holes, "y", "p", quantile=0.3, power=1.5)
    agree(report, numbers(ROWS.slice(9)))
    assert (report.rows, report.missing) == (N - 9, 9)
    report = og.metrics.classification_report(holes, "late", y_score="score")
    agree(report, two_classes(ROWS.filter(late.is_valid())))
    assert report.missing == N // 50


def test_what_does_not_exist_is_nan() -> None:
    rows = pa.table(
        {"y": [-2.0, 3.0], "p": [1.0, 2.0], "one": ["a", "a"], "pa": [0.6, 0.7], "pb": [0.4, 0.3]}
    )
    report = og.metrics.regression_report(rows, "y", "p")
    assert np.isnan(
        [report[name] for name in ("rmsle", "mean_poisson_deviance", "mean_gamma_deviance")]
    ).all()
    assert report["mae"] == 2.0
    judged = og.metrics.classification_report(rows, "one", y_score={"a": "pa", "b": "pb"})
    assert judged["accuracy"] == 1.0
    assert np.isnan(judged["roc_auc"])


def test_rows_past_the_most_that_are_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = og.metrics.classification_report(ROWS, "late", y_score="score", by="shop")
    monkeypatch.setattr(judged, "EXACT_ROWS", 250)
    for pieces in (1, 7):
        rows = pieces_case(pieces).open(ROWS)
        counted = og.metrics.classification_report(rows, "late", y_score="score", by="shop")
        assert [one[0].rows > one[0].exact for one in counted.ranked_] == [
            count > 250 for count in counted.rows
        ]
        np.testing.assert_allclose(counted["roc_auc"], exact["roc_auc"], atol=1e-9)
        np.testing.assert_allclose(counted["pr_auc"], exact["pr_auc"], atol=0.02)


def test_many_groups_are_judged_as_each_alone() -> None:
    shop = pa.array(np.arange(N) % 150)
    rows = ROWS.drop_columns(["shop"]).append_column("shop", shop)
    report = og.metrics.classification_report(rows, "colour", "told", y_score=COLUMNS, by="shop")
    for place in (0, 75, 149):
        part = rows.filter(pa.array(np.asarray(shop) == place))
        alone = og.metrics.classification_report(part, "colour", "told", y_score=COLUMNS)
        for name in report:
            np.testing.assert_allclose(report[name][place], alone[name], rtol=1e-12, err_msg=name)


def test_tables_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "_MOST_CELLS", 26)
    with pytest.raises(DataError, match="3 groups of 3 classes have tables of 27 numbers"):
        og.metrics.classification_report(ROWS, "colour", "told", by="shop")


def test_intervals_hold_the_truth() -> None:
    held = 0
    for seed in range(200):
        error = np.random.default_rng(seed).exponential(1.0, 80)
        report = og.metrics.regression_report(pa.table({"y": np.zeros(80), "p": error}), "y", "p")
        low, high = report.interval("mae", 0.9)
        held += low < 1.0 < high
    assert 0.8 < held / 200 < 0.97
    with pytest.raises(ParameterError, match="no standard error"):
        report.interval("r2")


@pytest.mark.parametrize(
    ("error", "said", "arguments"),
    [
        (ParameterError, "Give y_pred", {"y_true": "late"}),
        (ColumnNotFoundError, "nowhere", {"y_true": "late", "y_pred": "nowhere"}),
        (SchemaError, "holds no classes", {"y_true": "y", "y_pred": "p"}),
        (DataError, "between 0 and 1", {"y_true": "late", "y_score": "p"}),
        (ParameterError, "has 3 classes", {"y_true": "colour", "y_score": "score"}),
        (
            DataError,
            "without a column",
            {"y_true": "colour", "y_score": {"blue": "share blue", "red": "score"}},
        ),
        (ParameterError, "is no class", {"y_true": "late", "y_score": "score", "positive": "yes"}),
    ],
)
def test_bad_input(error: Any, said: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=said):
        og.metrics.classification_report(ROWS, **arguments)


def test_no_rows() -> None:
    with pytest.raises(DataError, match="no rows"):
        og.metrics.regression_report(ROWS.slice(0, 0), "y", "p")
    with pytest.raises(DataError, match="no rows"):
        og.metrics.classification_report(ROWS.slice(0, 0), "colour", "told")
    empty = pa.table({"y": pa.nulls(3, pa.string()), "p": ["a", "b", "a"]})
    with pytest.raises(DataError, match="no row has all values"):
        og.metrics.classification_report(empty, "y", "p")


def test_reports_are_shown() -> None:
    text = repr(og.metrics.regression_report(ROWS, "y", "p"))
    assert text.startswith("RegressionReport of 600 rows\nmetric")
    table = og.metrics.classification_report(ROWS, "late", y_score="score", by="shop").to_arrow()
    assert table.column_names[:3] == ["shop", "rows", "accuracy"]
    assert "accuracy_se" in table.column_names


@pytest.mark.parametrize("scale", [1e-12, 0.01, 1.0, 1e12])
def test_regression_does_not_depend_on_the_scale_of_weights(scale: float) -> None:
    random = np.random.default_rng(0)
    y, predicted, w = random.normal(size=(3, 40))
    table = pa.table({"y": y, "p": y + predicted / 3, "w": w**2 * scale})
    found = og.metrics.regression_report(table, "y", "p", sample_weight="w")
    assert found["r2"] == pytest.approx(peer.r2_score(y, table["p"], sample_weight=w**2))
    theirs = peer.explained_variance_score(y, table["p"], sample_weight=w**2)
    assert found["explained_variance"] == pytest.approx(theirs)
    plain = table.drop("w").append_column("w", pa.array(w**2))
    plain = og.metrics.regression_report(plain, "y", "p", sample_weight="w")
    assert found.standard_errors["mse"] == pytest.approx(plain.standard_errors["mse"])
