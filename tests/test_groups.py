"""One model for each key: the same as fitting each group by itself, on every engine."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression as SkLogisticRegression
from sklearn.linear_model import Ridge as SkRidge
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler as SkScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.validation import check_is_fitted

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.keys import key_codes, key_hash
from outgrow.engine.groups import Packing
from outgrow.errors import ArtifactError, ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.ml import foreign
from outgrow.registry.store import Follower
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.stats.grouped import Segments
from outgrow.testing import EngineCase

FEATURES = ["a", "b", "c"]
FEW_ENGINES = pytest.mark.parametrize(
    "engine", ["local-3-pieces", "spark-frame", "spark-path"], indirect=True
)
BY = ["shop", "day"]
DAYS = [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)]

AT_ONCE = [
    og.Ridge(alpha=0.5),
    og.Ridge(fit_intercept=False),
    og.LinearRegression(),
    og.DummyRegressor(),
    og.Pipeline([og.SimpleImputer(), og.StandardScaler(columns=["a", "c"]), og.Ridge()]),
]
ONE_BY_ONE = [
    og.ElasticNet(alpha=0.01),
    og.GradientBoostingRegressor(n_estimators=3),
    og.Pipeline([og.SimpleImputer(strategy="median"), og.Ridge()]),
]


def sales(rows: int = 900, *, missing: bool = False, seed: int = 0) -> pa.Table:
    """Rows of six groups of unlike sizes, each with a line of its own."""
    random = np.random.default_rng(seed)
    group = np.minimum(random.geometric(0.4, rows) - 1, 5)
    X = random.normal(size=(rows, 3)) * [1.0, 10.0, 0.1] + 5.0
    y = (X * (1 + group[:, None] % 3)).sum(axis=1) + 10 * group + 0.1 * random.normal(size=rows)
    if missing:
        X[random.random(X.shape) < 0.1] = np.nan
    columns = {name: pa.array(X[:, j], from_pandas=True) for j, name in enumerate(FEATURES)}
    shops, days = [f"shop {g // 2}" for g in group], [DAYS[g % 2] for g in group]
    return pa.table({"shop": shops, "day": days, **columns, "sold": y})


def of_group(table: pa.Table, shop: str, day: datetime.date) -> pa.Table:
    return table.filter((pc.field("shop") == shop) & (pc.field("day") == day))


def named(table: pa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of `groups_` by key."""
    return {(row["shop"], row["day"]): row for row in table.to_pylist()}


def by_row(table: pa.Table, column: str = "prediction") -> np.ndarray:
    """A column, rows in an order that does not depend on the engine."""
    ordered = table.sort_by([(name, "ascending") for name in ("shop", "day", "sold")])
    return ordered[column].to_numpy(zero_copy_only=False)


def kind(estimator: Any) -> str:
    steps = getattr(estimator, "steps", [estimator])
    return "-".join(type(step).__name__ for step in steps)


@pytest.mark.parametrize("estimator", AT_ONCE + ONE_BY_ONE, ids=kind)
def test_each_group_is_as_fitted_alone(estimator: Any) -> None:
    table = sales(missing="Pipeline" in type(estimator).__name__)
    model = og.PerGroup(estimator, by=BY).fit(table, "sold")
    for row in model.groups_.to_pylist():
        own = of_group(table, row["shop"], row["day"])
        alone = estimator.fit(own.drop(BY), "sold")
        expected = alone.predict(own.drop(BY))["prediction"].to_numpy()
        np.testing.assert_allclose(model.predict(own)["prediction"].to_numpy(), expected, rtol=1e-8)
        assert row["status"] == "ok"
        assert row["rows"] == own.num_rows
        scores = alone.evaluate(own.drop(BY), "sold")
        np.testing.assert_allclose(
            [row["rmse"], row["r2"]], [scores["rmse"], scores["r2"]], rtol=1e-5, atol=1e-9
        )
        single = model.model_of(row["shop"], row["day"])
        check_is_fitted(single)
        found = single.predict(own.drop([*BY, "sold"]))["prediction"].to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("estimator", [AT_ONCE[0], AT_ONCE[-1], ONE_BY_ONE[1], SkRidge()], ids=kind)
def test_same_on_every_engine(estimator: Any, engine: EngineCase) -> None:
    table = sales()
    expected = og.PerGroup(estimator, by=BY).fit(table, "sold")
    model = og.PerGroup(estimator, by=BY).fit(engine.open(table), "sold")
    assert model.groups_.drop(["seconds", "rmse", "r2"]) == expected.groups_.drop(["seconds", "rmse", "r2"])
    found = model.predict(engine.open(table)).to_arrow()
    np.testing.assert_allclose(by_row(found), by_row(expected.predict(table)), rtol=1e-9)


def test_classes_on_every_engine(engine: EngineCase) -> None:
    table = classified(sales())
    model = og.PerGroup(og.LogisticRegression(), by=BY, unseen="null").fit(engine.open(table), "label")
    shares = model.predict_proba(engine.open(table)).to_arrow()
    assert [name for name in shares.column_names if name.startswith("probability")] == [
        "probability_few",
        "probability_many",
        "probability_some",
    ]
    expected = og.PerGroup(og.LogisticRegression(), by=BY, unseen="null").fit(table, "label")
    np.testing.assert_allclose(
        by_row(shares, "probability_some"),
        by_row(expected.predict_proba(table), "probability_some"),
        rtol=1e-6,
    )


def classified(table: pa.Table) -> pa.Table:
    """Three classes, of which no group has seen all."""
    group = table["shop"].to_numpy(zero_copy_only=False)
    high = table["sold"].to_numpy() > 60
    label = np.where(high, np.where(group == "shop 0", "many", "some"), "few")
    return table.append_column("label", pa.array(label))


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    groups=st.integers(1, 20),
    alpha=st.floats(0.01, 5),
)
@settings(max_examples=25, deadline=None)
def test_small_groups(seed: int, rows: int, groups: int, alpha: float) -> None:
    random = np.random.default_rng(seed)
    key, X = random.integers(0, groups, rows), random.normal(size=(rows, 2))
    table = pa.table({"key": key, "a": X[:, 0], "b": X[:, 1], "y": random.normal(size=rows)})
    model = og.PerGroup(og.Ridge(alpha=alpha), by=["key"]).fit(table, "y")
    found = model.predict(table)["prediction"].to_numpy()
    for value in np.unique(key):
        own = table.filter(pc.field("key") == value)
        expected = SkRidge(alpha=alpha).fit(X[key == value], own["y"].to_numpy()).predict(X[key == value])
        np.testing.assert_allclose(found[key == value], expected, atol=1e-8)


def test_weights() -> None:
    table = sales()
    weight = pa.array(np.random.default_rng(1).integers(0, 3, table.num_rows))
    repeated = table.take(np.repeat(np.arange(table.num_rows), weight.to_numpy()))
    for estimator in (og.Ridge(), og.Pipeline([og.StandardScaler(), og.Ridge()]), og.ElasticNet(alpha=0.01)):
        weighed = og.PerGroup(estimator, by=BY).fit(table.append_column("w", weight), "sold", "w")
        plain = og.PerGroup(estimator, by=BY).fit(repeated, "sold")
        first, second = (model.predict(table)["prediction"].to_numpy() for model in (weighed, plain))
        np.testing.assert_allclose(first, second, rtol=1e-4)


def test_arrays_and_pandas() -> None:
    table = sales()
    frame = table.to_pandas()
    by_name = og.PerGroup(og.Ridge(), by=BY).fit(frame.drop(columns="sold"), frame["sold"])
    expected = og.PerGroup(og.Ridge(), by=BY).fit(table, "sold").predict(table)["prediction"].to_numpy()
    np.testing.assert_allclose(by_name.predict(frame.drop(columns="sold")), expected)
    X = np.column_stack([np.arange(20) % 2, np.arange(20.0)])
    model = og.PerGroup(og.LinearRegression(), by="x0").fit(X, X[:, 0] * X[:, 1])
    np.testing.assert_allclose(model.predict(X), X[:, 0] * X[:, 1], atol=1e-9)


# ---- keys ------------------------------------------------------------------------------------------------


def hashes(values: Any) -> np.ndarray:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return key_hash(Batch.from_arrow(pa.record_batch({"k": array})), ["k"])


def test_keys_hash_alike_in_any_type() -> None:
    whole = hashes([1, 0, None])
    for kind_ in (pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_()):
        np.testing.assert_array_equal(hashes(pa.array([1, 0, None]).cast(kind_)), whole)
    text = pa.array(["a", "", None, "longer than eight bytes", "é"])
    for kind_ in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        np.testing.assert_array_equal(hashes(text.cast(kind_)), hashes(text))
    np.testing.assert_array_equal(hashes(pa.array(DAYS)), hashes(pa.array(DAYS).cast(pa.timestamp("us"))))
    np.testing.assert_array_equal(hashes(text.slice(1, 3)), hashes(text)[1:4])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, min_size=1))
def test_large_identifiers_stay_apart(values: list[int]) -> None:
    assert len(set(hashes(values).tolist())) == len(values)


@given(st.lists(st.text(max_size=20), unique=True, min_size=1))
def test_texts_stay_apart(values: list[str]) -> None:
    assert len(set(hashes(pa.array(values, pa.string())).tolist())) == len(values)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=300), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_bins_are_even(sizes: list[int], slots: int) -> None:
    rows = np.array(sizes)
    packing = Packing.of(("k",), np.arange(len(rows), dtype=np.uint64), rows, slots=slots, row_bytes=8)
    loads = np.bincount(packing.bins, rows, packing.count)
    assert loads.max() <= rows.sum() / packing.count + rows.max()


def test_many_bins_are_even() -> None:
    rows = np.random.default_rng(0).geometric(0.02, 20_000)
    rows[5] = 100_000
    packing = Packing.of(("k",), np.arange(len(rows), dtype=np.uint64), rows, slots=4, row_bytes=8)
    loads = np.bincount(packing.bins, rows, packing.count)
    assert np.sort(loads)[-2] < 1.1 * np.median(loads)


# ---- what goes wrong -------------------------------------------------------------------------------------

ESTIMATORS: list[Any] = [og.Ridge(), og.ElasticNet(alpha=0.01), SkRidge()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=kind)
def test_a_group_fails_alone(estimator: Any) -> None:
    table = sales()
    sick = (pc.field("shop") == "shop 0") & (pc.field("day") == DAYS[0])
    worst = table.filter(sick).num_rows
    y = np.where(
        (np.array(table["shop"].to_pylist()) == "shop 0") & (np.array(table["day"].to_pylist()) == DAYS[0]),
        np.inf,
        table["sold"].to_numpy(),
    )
    broken = table.set_column(table.schema.get_field_index("sold"), "sold", pa.array(y))
    model = og.PerGroup(estimator, by=BY, unseen="null").fit(broken, "sold")
    row = named(model.groups_)["shop 0", DAYS[0]]
    assert row["status"] == "failed"
    assert row["rows"] == worst
    assert "infinit" in row["error"]
    assert row["rmse"] is None
    assert pc.sum(pc.equal(model.groups_["status"], "ok")).as_py() == model.groups_.num_rows - 1
    answers = model.predict(broken)
    assert answers.filter(sick)["prediction"].to_numpy().size == worst
    assert np.isnan(answers.filter(sick)["prediction"].to_numpy()).all()
    assert np.isfinite(answers.filter(~sick)["prediction"].to_numpy()).all()
    assert model.evaluate(table, "sold")["r2"] > 0.9
    assert "1 failed" in repr(model.summary())


def test_one_class_in_a_group() -> None:
    table = classified(sales()).drop(["sold"])
    constant = pa.table(
        {
            **{name: [1.0, 2.0] for name in FEATURES},
            "shop": ["x", "x"],
            "day": DAYS[:1] * 2,
            "label": ["few", "few"],
        }
    )
    both = pa.concat_tables([table, constant.select(table.column_names)])
    model = og.PerGroup(og.LogisticRegression(), by=BY).fit(both, "label")
    row = named(model.groups_)["x", DAYS[0]]
    assert (row["status"], row["rows"]) == ("failed", 2)
    assert "only one class: 'few'" in row["error"]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=kind)
def test_too_few_rows(estimator: Any) -> None:
    table = sales()
    model = og.PerGroup(estimator, by=BY, min_rows=100).fit(table, "sold")
    for row in model.groups_.to_pylist():
        assert row["status"] == ("ok" if row["rows"] >= 100 else "too few rows")
    with pytest.raises(DataError, match=r"All have fewer than min_rows=10000 rows"):
        og.PerGroup(estimator, by=BY, min_rows=10_000).fit(table, "sold")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=kind)
def test_null_keys(estimator: Any) -> None:
    table = sales()
    shops = [None if place < 7 else shop for place, shop in enumerate(table["shop"].to_pylist())]
    table = table.set_column(0, "shop", pa.array(shops))
    model = og.PerGroup(estimator, by=BY, unseen="global").fit(table, "sold")
    nulls = [row for row in model.groups_.to_pylist() if row["shop"] is None]
    assert sum(row["rows"] for row in nulls) == 7
    assert {row["status"] for row in nulls} == {"failed"}
    assert "key is null" in nulls[0]["error"]
    assert model.predict(table)["prediction"].null_count == 0


def test_unseen_keys() -> None:
    table = sales()
    stranger = table.slice(0, 2).set_column(0, "shop", pa.array(["nowhere", "nowhere"]))
    with pytest.raises(DataError, match=r"2 row\(s\) have a key without a model: nowhere"):
        og.PerGroup(og.Ridge(), by=BY).fit(table, "sold").predict(stranger)
    null = og.PerGroup(og.Ridge(), by=BY, unseen="null").fit(table, "sold")
    assert np.isnan(null.predict(stranger)["prediction"].to_numpy()).all()
    whole = og.PerGroup(og.Ridge(), by=BY, unseen="global").fit(table, "sold")
    expected = og.Ridge().fit(table.drop(BY), "sold").predict(stranger.drop(BY))["prediction"].to_numpy()
    np.testing.assert_allclose(whole.predict(stranger)["prediction"].to_numpy(), expected)
    labels = og.PerGroup(og.LogisticRegression(), by=BY, unseen="null").fit(classified(table), "label")
    assert labels.predict(classified(stranger))["prediction"].to_pylist() == [None, None]
    with pytest.raises(DataError, match="no model for the key"):
        null.model_of("nowhere", DAYS[0])


WRONG: list[tuple[Callable[[pa.Table], Any], type[Exception], str]] = [
    (lambda t: og.PerGroup(og.Ridge(), by=["city"]).fit(t, "sold"), ColumnNotFoundError, "No column 'city'"),
    (lambda t: og.PerGroup(og.Ridge(), by=["shop", "shop"]).fit(t, "sold"), ParameterError, "each once"),
    (lambda t: og.PerGroup(og.Ridge(), by=[]).fit(t, "sold"), ParameterError, "names of key columns"),
    (lambda t: og.PerGroup(og.Ridge(), by=["sold"]).fit(t, "sold"), ParameterError, "as y and as a key"),
    (
        lambda t: og.PerGroup(og.Ridge(), by=["shop", "a"]).fit(t, "sold", "a"),
        ParameterError,
        "as sample_weight and as a key",
    ),
    (
        lambda t: og.PerGroup(og.Ridge(), by=[*BY, *FEATURES]).fit(t, "sold"),
        SchemaError,
        "no feature columns beside the keys",
    ),
    (
        lambda t: og.PerGroup(og.Pipeline([og.StandardScaler(columns=["shop"]), og.Ridge()]), by=BY).fit(
            t, "sold"
        ),
        ColumnNotFoundError,
        "No column 'shop' among",
    ),
    (lambda t: og.PerGroup(og.Ridge(), by=["a"]).fit(t, "shop"), SchemaError, "a regression needs numbers"),
    (lambda t: og.PerGroup("ridge", by=BY).fit(t, "sold"), ParameterError, "must be an estimator"),
    (lambda t: og.PerGroup(og.Ridge(alpha=-1), by=BY).fit(t, "sold"), ParameterError, "alpha"),
    (lambda t: og.PerGroup(og.Ridge(), by=BY, unseen="guess").fit(t, "sold"), ParameterError, "unseen"),
    (lambda t: og.PerGroup(og.Ridge(), by=BY, min_rows=0).fit(t, "sold"), ParameterError, "min_rows"),
    (
        lambda t: og.PerGroup(SkRidge(), by=BY, large_groups="parallel").fit(t, "sold"),
        ParameterError,
        "cannot be trained data-parallel",
    ),
    (lambda t: og.PerGroup(og.Ridge(), by=BY).fit(t.slice(0, 0), "sold"), DataError, "no rows"),
    (lambda t: og.PerGroup(SkRidge(), by=BY).fit(t.slice(0, 0), "sold"), DataError, "no rows"),
]


@pytest.mark.parametrize(("action", "error", "words"), WRONG)
def test_wrong_input(action: Callable[[pa.Table], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        action(sales())


# ---- large groups and interrupted runs -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "large_groups"),
    [
        *(("local-3-pieces", each) for each in ("parallel", "sample", "together")),
        ("spark-frame", "parallel"),
        ("spark-path", "sample"),
        ("spark-path", "together"),
    ],
    indirect=["engine"],
)
def test_large_groups(large_groups: str, engine: EngineCase) -> None:
    table = sales()
    model = og.PerGroup(og.ElasticNet(alpha=0.01), by=BY, large_groups=large_groups, large_group_rows=200)
    plan = model.plan(engine.open(table), "sold")
    assert [rows for _, rows in plan.large_groups] == sorted(
        (rows for _, rows in plan.large_groups), reverse=True
    )
    assert all(rows > 200 for _, rows in plan.large_groups)
    assert plan.large_groups
    assert plan.large_groups_are == large_groups
    assert "large groups of more than 200 rows" in repr(plan)
    model.fit(engine.open(table), "sold")
    assert set(model.groups_["status"].to_pylist()) == {"ok"}
    assert model.evaluate(engine.open(table), "sold")["r2"] > 0.99


def test_plan_is_told() -> None:
    seen: list[Any] = []
    with og.listen(seen.append):
        og.PerGroup(og.ElasticNet(alpha=0.01), by=BY).fit(sales(), "sold")
    notes = [event.note for event in seen if event.unit == "plan"]
    assert any("6 groups of 900 rows, fitted one by one" in note for note in notes)
    assert [event.step for event in seen if event.unit == "group"][-1] == 6


class Fussy(SkRidge):
    """A Ridge that counts its fits, and fails where a file says so."""

    def __init__(self, log: str = "", alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)
        self.log = log

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        with open(self.log, "a") as file:
            file.write(f"{len(y)}\n")
        if Path(self.log + ".bad").exists() and len(y) > 200:
            raise RuntimeError("too much to bear")
        return super().fit(X, y, sample_weight)


def test_checkpoint(tmp_path: Path) -> None:
    table, log = sales(), str(tmp_path / "log")
    Path(log + ".bad").touch()
    model = og.PerGroup(Fussy(log), by=BY, checkpoint=tmp_path / "kept")
    model.fit(table, "sold")
    failed = [row for row in model.groups_.to_pylist() if row["status"] == "failed"]
    assert failed
    assert failed[0]["error"] == "RuntimeError: too much to bear"
    first = len(Path(log).read_text().splitlines())
    Path(log + ".bad").unlink()
    model.fit(table, "sold")
    again = Path(log).read_text().splitlines()[first:]
    assert sorted(map(int, again)) == sorted(row["rows"] for row in failed)
    assert set(model.groups_["status"].to_pylist()) == {"ok"}
    assert not list((tmp_path / "kept").iterdir()), "a whole fit needs no checkpoint"


def test_spill(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = sales(20_000)
    pq.write_table(table, path, row_group_size=2000)
    tight = og.read(str(path), engine=og.Local(memory="1MiB", threads=1))
    model = og.PerGroup(og.ElasticNet(alpha=0.01), by=BY).fit(tight, "sold")
    plain = og.PerGroup(og.ElasticNet(alpha=0.01), by=BY).fit(table, "sold")
    np.testing.assert_array_equal(
        model.predict(table)["prediction"].to_numpy(), plain.predict(table)["prediction"].to_numpy()
    )


# ---- kept and served -------------------------------------------------------------------------------------


@pytest.mark.parametrize("unseen", ["error", "global"])
@pytest.mark.parametrize("estimator", [*AT_ONCE, *ONE_BY_ONE, SkRidge()], ids=kind)
def test_survives_saving(estimator: Any, unseen: str, tmp_path: Path) -> None:
    table = sales()
    model = og.PerGroup(estimator, by=BY, unseen=unseen).fit(table, "sold")
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert loaded.groups_ == model.groups_
    stranger = table.slice(0, 5).set_column(0, "shop", pa.array(["nowhere"] * 5))
    rows = table if unseen == "error" else pa.concat_tables([table, stranger])
    assert loaded.predict(rows) == model.predict(rows)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.json", "arrays.safetensors"}


def test_scikit_learn_is_saved_without_pickle(tmp_path: Path) -> None:
    table = classified(sales())
    model = og.PerGroup(SkLogisticRegression(), by=BY, unseen="null").fit(table.drop(["sold"]), "label")
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    first, second = (by_row(each.predict_proba(table), "probability_some") for each in (loaded, model))
    np.testing.assert_array_equal(first, second)


def test_unknown_types_are_not_loaded(tmp_path: Path) -> None:
    model = og.PerGroup(Fussy(str(tmp_path / "log")), by=BY).fit(sales(), "sold")
    with pytest.raises(ArtifactError, match=r"Fussy'\]. It was not saved"):
        model.save(tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"Fussy'\]. It was not loaded"):
        foreign.load(model._router.models.first())
    assert not (tmp_path / "model").exists()


def test_scikit_learn_trees_on_every_engine(engine: EngineCase) -> None:
    table = classified(sales())
    boosted = HistGradientBoostingClassifier(max_iter=3, random_state=0)
    model = og.PerGroup(boosted, by=BY).fit(engine.open(table), "label")
    expected = og.PerGroup(boosted, by=BY).fit(table, "label").predict(table)
    found = model.predict(engine.open(table)).to_arrow()
    assert by_row(found).tolist() == by_row(expected).tolist()


def test_no_probabilities() -> None:
    model = og.PerGroup(LinearSVC(), by=BY).fit(classified(sales()).drop(["sold"]), "label")
    assert not hasattr(model, "predict_proba")
    assert hasattr(og.PerGroup(SkLogisticRegression(), by=BY), "predict_proba")


def test_large_models_are_mapped(tmp_path: Path) -> None:
    keys = np.arange(30_000)
    table = pa.table(
        {
            "key": np.repeat(keys, 2),
            "a": np.tile([0.0, 1.0], len(keys)),
            "y": np.tile([0.0, 1.0], len(keys)) * np.repeat(keys, 2),
        }
    )
    og.PerGroup(og.LinearRegression(), by=["key"]).fit(table, "y").save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    coef = loaded._router.models.steps[0]["coef_"]
    assert not coef.flags.owndata
    assert not coef.flags.writeable
    np.testing.assert_allclose(
        loaded.predict(table)["prediction"].to_numpy(), table["y"].to_numpy(), atol=1e-6
    )


@pytest.mark.parametrize("estimator", [og.Ridge(), og.GradientBoostingRegressor(n_estimators=3)], ids=kind)
def test_server(estimator: Any, tmp_path: Path) -> None:
    table = sales()
    model = og.PerGroup(estimator, by=BY).fit(table, "sold")
    model.save(tmp_path / "model")
    rows = [{**row, "day": row["day"].isoformat()} for row in table.drop(["sold"]).slice(0, 20).to_pylist()]

    async def ask(rows: list[dict[str, Any]]) -> httpx.Response:
        app = application(Settings({"sales": Model(str(tmp_path / "model"))}))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post("/predict", json={"rows": rows})

    answer = asyncio.run(ask(rows))
    assert answer.status_code == 200, answer.text
    expected = model.predict(table.slice(0, 20))["prediction"].to_numpy()
    np.testing.assert_allclose(answer.json()["predictions"], expected)
    unknown = asyncio.run(ask([{**rows[0], "shop": "nowhere"}]))
    assert unknown.status_code == 422
    assert "key without a model: nowhere" in unknown.text


@pytest.mark.parametrize(
    "estimator",
    [og.GaussianNB(), og.FixedThresholdClassifier(og.GaussianNB(), threshold=0.2)],
    ids=kind,
)
def test_probabilities_are_served_beside_what_is_predicted(estimator: Any, tmp_path: Path) -> None:
    """What a threshold says need not be what is most probable; and loaded models take further columns."""
    table = sales()
    sold = np.where(table["sold"].to_numpy() > np.median(table["sold"].to_numpy()), "many", "few")
    table = table.drop(["sold"]).append_column("sells", pa.array(sold))
    model = og.PerGroup(estimator, by=BY).fit(table, "sells")
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    frame = table.to_pandas().assign(further=1)
    expected = model.predict(table)["prediction"].to_pylist()
    assert loaded.predict(frame).tolist() == expected
    og.score(loaded, table, tmp_path / "scored", probabilities=True)
    scored = og.read(tmp_path / "scored").to_arrow()
    assert sorted(scored["prediction"].to_pylist()) == sorted(expected)
    chances = model.predict_proba(table)["probability_many"].to_numpy()
    np.testing.assert_allclose(np.sort(scored["probability_many"].to_numpy()), np.sort(chances))


def test_batch_scoring_sets_unseen_keys_apart(tmp_path: Path) -> None:
    table = sales()
    model = og.PerGroup(og.Ridge(), by=BY).fit(table, "sold")
    stranger = table.slice(0, 3).set_column(0, "shop", pa.array(["nowhere"] * 3))
    rows = og.dataset(pa.concat_tables([table, stranger]))
    done = og.score(model, rows, tmp_path / "scored", errors=tmp_path / "errors")
    assert (done.rows, done.refused) == (table.num_rows, 3)
    model.save(tmp_path / "model")
    assert Follower(tmp_path / "model").look() is not None


# ---- how good --------------------------------------------------------------------------------------------


def test_metrics_of_groups(engine: EngineCase) -> None:
    table = sales()
    model = og.PerGroup(og.Ridge(), by=BY).fit(table, "sold")
    found = named(model.evaluate_groups(engine.open(table), "sold"))
    for key, row in named(model.groups_).items():
        np.testing.assert_allclose(
            [found[key][n] for n in ("rmse", "r2")], [row["rmse"], row["r2"]], rtol=1e-6
        )


def timed(rows: int = 900) -> pa.Table:
    moment = [datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=hour) for hour in range(rows)]
    return sales(rows).append_column("moment", pa.array(moment))


@pytest.mark.parametrize(
    ("engine", "estimator"),
    [
        ("local-3-pieces", og.Ridge()),
        ("local-3-pieces", og.ElasticNet(alpha=0.01)),
        ("spark-frame", og.ElasticNet(alpha=0.01)),
        ("spark-path", og.Ridge()),
    ],
    indirect=["engine"],
    ids=lambda value: value if isinstance(value, str) else kind(value),
)
def test_backtest(estimator: Any, engine: EngineCase) -> None:
    table = timed()
    found = og.PerGroup(estimator, by=BY).backtest(engine.open(table), "sold", time="moment", folds=2)
    folds = found.folds.to_pylist()
    assert [fold["train_rows"] for fold in folds] == [450, 675]
    assert [fold["rows"] for fold in folds] == [450 - 225, 225]
    assert "fold 2 from 2026-01-29" in repr(found)
    past, coming = table.slice(0, 675), table.slice(675)
    model = og.PerGroup(estimator, by=BY, unseen="null").fit(past.drop(["moment"]), "sold")
    expected = named(model.evaluate_groups(coming.drop(["moment"]), "sold"))
    last = named(found.groups.filter(pc.field("fold") == 2))
    assert set(last) == set(expected)
    for key, row in last.items():
        np.testing.assert_allclose(row["rmse"], expected[key]["rmse"], rtol=1e-6)


KEYS = {
    "whole": pa.array([3, 1, 3, 2, 1, 3]),
    "null": pa.array([3, None, 3, None, 1, 3]),
    "zeros": pa.array([0.0, -0.0, 1.5, 0.0, -0.0, 1.5]),
    "missing": pa.array([1.0, float("nan"), None, 1.0, float("nan"), 2.0]),
    "text": pa.array(["b", "a", None, "b", "c", "a"]),
    "words": pa.array(["b", "a", None, "b", "c", "a"]).dictionary_encode(),
    "unused words": pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 2, 2, 0]), ["a", "never", "c"]),
    "word that is null": pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 0, 1, 2]), ["a", None, "c"]),
    "small codes": pa.DictionaryArray.from_arrays(
        pa.array([0, 127, None, 0, 5, 127], pa.int8()), [f"word {number}" for number in range(128)]
    ),
    "days": pa.array([datetime.date(2026, 1, day) for day in (1, 2, 1, 3, 2, 1)]),
    "flags": pa.array([True, False, None, True, True, False]),
    "nothing": pa.nulls(6),
}


@pytest.mark.parametrize("name", sorted(KEYS))
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_codes_of_keys_stand_for_their_hashes(name: str, beside: bool) -> None:
    columns = {"key": KEYS[name]} | ({"other": pa.array([1, 1, 2, 2, 1, 1])} if beside else {})
    batch = Batch(columns, 6)
    hashes = key_hash(batch, list(columns))
    found, codes = key_codes(batch, list(columns))
    np.testing.assert_array_equal(found[codes], hashes)
    coded, plain = Segments.coded(found, codes), Segments.of(hashes)
    for field in ("hashes", "order", "starts", "counts"):
        np.testing.assert_array_equal(getattr(coded, field), getattr(plain, field))


def test_weights_count_in_a_backtest() -> None:
    table = timed()
    weight = np.random.default_rng(0).integers(0, 3, table.num_rows)
    copies = table.take(np.repeat(np.arange(table.num_rows), weight))
    model = og.PerGroup(og.Ridge(), by=BY)
    weighted = model.backtest(
        table.append_column("weight", pa.array(weight)), "sold", "weight", time="moment", folds=1
    )
    start = weighted.folds["start"][0].as_py()
    past, coming = (copies.filter(keep) for keep in _sides(copies, start))
    fitted = og.PerGroup(og.Ridge(), by=BY, unseen="null").fit(past.drop(["moment"]), "sold")
    expected = named(fitted.evaluate_groups(coming.drop(["moment"]), "sold"))
    for key, row in named(weighted.groups).items():
        np.testing.assert_allclose(row["rmse"], expected[key]["rmse"], rtol=1e-6)
        assert row["rmse"] != pytest.approx(_plain_error(table, key), rel=1e-6)


def _sides(table: pa.Table, start: Any) -> tuple[pc.Expression, pc.Expression]:
    return pc.field("moment") < start, pc.field("moment") >= start


def _plain_error(table: pa.Table, key: Any) -> float:
    found = og.PerGroup(og.Ridge(), by=BY).backtest(table, "sold", time="moment", folds=1)
    return named(found.groups)[key]["rmse"]


@pytest.mark.parametrize(
    ("given_", "error", "words"),
    [
        ({"time": "shop"}, ParameterError, "is a key, the target or the weight"),
        ({"time": "moment", "folds": 0}, ParameterError, "at least 1"),
        ({"time": "moment", "test": 1.0}, ParameterError, "between 0 and 1"),
        ({"time": "never"}, ColumnNotFoundError, "never"),
        ({"time": "name"}, SchemaError, "a column of times or numbers"),
    ],
)
def test_backtest_refuses(given_: dict[str, Any], error: type[Exception], words: str) -> None:
    table = timed().append_column("name", pa.array(["x"] * 900))
    with pytest.raises(error, match=words):
        og.PerGroup(og.Ridge(), by=BY).backtest(table, "sold", **given_)


def test_report(tmp_path: Path) -> None:
    table = timed()
    model = og.PerGroup(og.Ridge(), by=BY, min_rows=50).fit(table.drop(["moment"]), "sold")
    back = og.PerGroup(og.Ridge(), by=BY).backtest(table, "sold", time="moment")
    model.report(tmp_path / "fit.html")
    model.report(tmp_path / "back.html", backtest=back)
    page = (tmp_path / "fit.html").read_text()
    assert "shop 0" in page
    assert "Groups without a model" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "rows that came later" in (tmp_path / "back.html").read_text()
    with pytest.raises(og.errors.OutputExistsError):
        model.report(tmp_path / "fit.html")


def test_summary_names_the_worst() -> None:
    said = repr(og.PerGroup(og.Ridge(), by=BY).fit(sales(), "sold").summary())
    assert said.startswith("6 groups of 900 rows: 6 ok")
    assert "rmse" in said
    assert "shop" in said


SCALERS = [
    og.StandardScaler(),
    og.SimpleImputer(),
    og.Pipeline([og.SimpleImputer(), og.StandardScaler(columns=["a"])]),
]


@pytest.mark.parametrize("scaler", SCALERS, ids=["scaler", "imputer", "both"])
@FEW_ENGINES
def test_columns_are_changed_by_key(scaler: Any, engine: EngineCase) -> None:
    table = sales(missing=True)
    model = og.PerGroup(scaler, by=BY).fit(engine.open(table), "sold")
    assert model.groups_["status"].to_pylist() == ["ok"] * model.groups_.num_rows
    changed = model.transform(engine.open(table)).to_arrow()
    assert changed.column_names == table.column_names
    for shop, day in named(model.groups_):
        own = of_group(table, shop, day)
        expected = clone(scaler).fit(own.drop_columns([*BY, "sold"])).transform(own)
        found = of_group(changed, shop, day)
        for name in FEATURES:
            np.testing.assert_allclose(by_row(found, name), by_row(expected, name), rtol=1e-9, atol=1e-9)


def test_changed_columns_of_unseen_keys_and_after_saving(tmp_path: Path) -> None:
    table = sales().drop_columns("sold")
    strangers = table.slice(0, 3).set_column(table.column_names.index("shop"), "shop", pa.array(["new"] * 3))
    both = pa.concat_tables([table.slice(0, 3), strangers])
    with pytest.raises(DataError, match="new"):
        og.PerGroup(og.StandardScaler(), by=BY).fit(table).transform(both)
    empty = og.PerGroup(og.StandardScaler(), by=BY, unseen="null").fit(table).transform(both)
    assert np.isnan(empty["a"].to_numpy()).tolist() == [False] * 3 + [True] * 3
    model = og.PerGroup(og.StandardScaler(), by=BY, unseen="global").fit(table)
    whole = og.StandardScaler(columns=FEATURES).fit(table).transform(strangers)
    model.save(tmp_path / "scalers")
    for each in (model, og.load(tmp_path / "scalers")):
        found = each.transform(both)
        np.testing.assert_allclose(found["a"].to_numpy()[3:], whole["a"].to_numpy())
    with pytest.raises(AttributeError, match="predict"):
        _ = model.predict


@pytest.mark.parametrize(
    "transformer", [og.PCA(n_components=1), og.SimpleImputer(strategy="median"), SkScaler()]
)
def test_transformers_that_would_change_columns_alike_are_refused(transformer: Any) -> None:
    with pytest.raises(ParameterError, match="cannot change the columns"):
        og.PerGroup(transformer, by=BY).fit(sales().drop_columns("sold"))


@pytest.mark.parametrize(
    "model", [og.LinearSVC(), LinearSVC(), og.Pipeline([og.StandardScaler(), og.LinearSVC()])]
)
def test_classifiers_without_probabilities_are_judged_by_their_margins(model: Any) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    y = np.where(x + 0.5 * random.normal(size=300) > 0, "yes", "no")
    table = pa.table({"key": random.choice(["a", "b"], 300), "x": x, "z": random.normal(size=300), "y": y})
    fitted = og.PerGroup(model, by="key").fit(table, "y")
    scores = fitted.evaluate(table, "y")
    right = np.mean(np.array(fitted.predict(table)["prediction"]) == y)
    assert scores["accuracy"] == pytest.approx(right)
    assert right > 0.7
    margins = fitted.decision_function(table)["decision"].to_numpy()
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(y, margins))
    assert "log_loss" not in scores
    assert fitted.score(table, "y") == pytest.approx(right)
    assert fitted.decision_function(table.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("unseen", ["error", "null", "global"])
@pytest.mark.parametrize("model", [og.LinearSVC(), LinearSVC()])
def test_margins_of_classes_that_a_group_does_not_know(model: Any, unseen: str) -> None:
    random = np.random.default_rng(1)
    key, x = np.repeat(["a", "b", "c"], 60), random.normal(size=180)
    y = np.array(["low", "mid", "high"])[np.digitize(x, [-0.5, 0.5])]
    kept = (key != "a") | (y != "high")
    table = pa.table({"key": key[kept], "x": x[kept], "y": y[kept]})
    fitted = og.PerGroup(model, by="key", unseen=unseen).fit(table, "y")
    names = ["decision_high", "decision_low", "decision_mid"]
    margins = fitted.decision_function(table).select(names)
    values = np.column_stack([column.to_numpy() for column in margins.columns])
    assert (np.isneginf(values) == ((table["key"].to_numpy() == "a")[:, None] & [True, False, False])).all()
    assert (fitted.classes_[values.argmax(axis=1)] == np.array(fitted.predict(table)["prediction"])).all()
    assert 0.5 < fitted.evaluate(table, "y")["roc_auc_ovr"] <= 1
    strangers = pa.table({"key": ["z", "a"], "x": [9.0, -9.0]})
    if unseen == "error":
        with pytest.raises(DataError, match="key without a model"):
            fitted.decision_function(strangers)
    else:
        assert np.isnan(fitted.decision_function(strangers)["decision_low"].to_numpy()[0]) == (
            unseen == "null"
        )


def test_margins_of_pairs_of_classes_are_refused() -> None:
    x = np.arange(90.0)
    table = pa.table({"key": ["a"] * 90, "x": x, "y": x // 23})
    fitted = og.PerGroup(SVC(decision_function_shape="ovo"), by="key").fit(table, "y")
    with pytest.raises(DataError, match=r"has shape \(90, 6\) for 4 classes"):
        fitted.decision_function(table)


@pytest.mark.parametrize("model", [og.GaussianMixture(random_state=0), GaussianMixture(random_state=0)])
def test_densities_of_each_key(model: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    key = np.arange(80) % 2
    table = pa.table({"key": key, "x": random.normal(size=80) + 9 * key, "z": random.normal(size=80)})
    fitted = og.PerGroup(model, by="key").fit(table)
    fitted.save(tmp_path / "densities")
    logs = og.load(tmp_path / "densities").score_samples(table)["log_density"].to_numpy()
    for group in (0, 1):
        X = np.column_stack([table["x"], table["z"]])[key == group]
        np.testing.assert_allclose(logs[key == group], clone(model).fit(X).score_samples(X), rtol=1e-6)
    assert fitted.evaluate(table)["log_likelihood"] == pytest.approx(logs.mean())
    assert fitted.score(table) == pytest.approx(logs.mean())
    assert not hasattr(fitted, "decision_function")


@pytest.mark.parametrize(
    "model", [og.KMeans(2, random_state=0), og.GaussianMixture(2, random_state=0), KMeans(2)]
)
def test_clusters_of_each_key_are_whole_numbers(model: Any) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)) + np.where(np.arange(60) % 2, 9.0, 0.0)[:, None]
    table = pa.table({"key": np.arange(60) // 30, "x": x[:, 0], "z": x[:, 1]})
    found = og.PerGroup(model, by="key").fit(table).predict(table)["prediction"]
    assert pa.types.is_integer(found.type)
    for group in (found.to_numpy()[:30], found.to_numpy()[30:]):
        assert len(set(group[::2])) == len(set(group[1::2])) == 1
        assert group[0] != group[1]
