"""Transformers side by side: what scikit-learn's give, in the same passes, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.compose
import sklearn.decomposition
import sklearn.pipeline
import sklearn.preprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import outgrow as og
from outgrow.errors import ColumnNotFoundError, ParameterError, SchemaError, ValueTypeError
from outgrow.testing import EngineCase


def rows(count: int = 90) -> pa.Table:
    random = np.random.default_rng(3)
    numbers = random.normal(size=(count, 3)) * [1.0, 4.0, 0.1]
    words = np.array(["red", "green", "blue"])[random.integers(0, 3, count)]
    y = numbers @ [1.0, -0.3, 2.0] + (words == "red")
    columns = dict(zip("abc", numbers.T, strict=True))
    return pa.table({**columns, "w": words, "y": y})


def parts() -> list[tuple[str, Any, Any]]:
    return [
        ("words", og.OneHotEncoder(), ["w"]),
        ("scaled", og.Pipeline([og.SimpleImputer(), og.StandardScaler()]), ["a", "b"]),
        ("bins", og.KBinsDiscretizer(3, encode="ordinal"), ["a"]),
    ]


def peer() -> sklearn.compose.ColumnTransformer:
    S = sklearn.preprocessing
    return sklearn.compose.ColumnTransformer(
        [
            ("words", S.OneHotEncoder(sparse_output=False), ["w"]),
            ("scaled", S.StandardScaler(), ["a", "b"]),
            (
                "bins",
                S.KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
                ["a"],
            ),
        ],
        remainder="passthrough",
    )


def dense(table: Any) -> np.ndarray:
    if isinstance(table, pa.Table):
        return np.column_stack([column.to_numpy() for column in table.columns])
    return table.toarray() if sp.issparse(table) else np.asarray(table)


# ---- what scikit-learn gives -------------------------------------------------------------------------------


def test_columns_are_those_of_scikit_learn() -> None:
    table = rows().drop(["y"])
    ours = og.ColumnTransformer(parts(), remainder="passthrough")
    made, expected = ours.fit_transform(table), peer().fit(table.to_pandas())
    assert made.column_names == expected.get_feature_names_out().tolist()
    assert ours.get_feature_names_out().tolist() == made.column_names
    np.testing.assert_allclose(dense(made), expected.transform(table.to_pandas()), atol=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_choice_of_columns(data: st.DataObject) -> None:
    frame = rows().drop(["y", "w"]).to_pandas()
    choice = st.sampled_from(
        [["a"], ["b", "c"], "c", [0, 2], [-1], slice(0, 2), [True, False, True], [], slice(1, None)]
    )
    chosen = data.draw(st.lists(choice, min_size=1, max_size=3))
    kinds = [("StandardScaler", {}), ("MinMaxScaler", {}), ("passthrough", None), ("drop", None)]
    made = [data.draw(st.sampled_from(kinds)) for _ in chosen]
    rest, verbose = data.draw(st.sampled_from(["drop", "passthrough"])), data.draw(st.booleans())
    weights = data.draw(st.sampled_from([None, {"p0": 3.0}]))

    def built(module: Any, transformer: Any) -> Any:
        listed = []
        for place, ((name, _), columns) in enumerate(zip(made, chosen, strict=True)):
            columns = [columns] if isinstance(columns, str) else columns
            part = name if name in ("passthrough", "drop") else getattr(module, name)()
            listed.append((f"p{place}", part, columns))
        return transformer(
            listed, remainder=rest, verbose_feature_names_out=verbose, transformer_weights=weights
        )

    reference = built(sklearn.preprocessing, sklearn.compose.ColumnTransformer)
    ours = built(og, og.ColumnTransformer)
    try:
        expected = reference.set_output(transform="pandas").fit_transform(frame)
    except ValueError:  # names that are not unique
        with pytest.raises(ParameterError, match="not unique"):
            ours.fit(frame)
        return
    found = ours.fit(frame).transform(frame)
    assert list(found.columns) == list(expected.columns)
    if len(expected.columns):
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), atol=1e-12)


def test_selectors_of_both_kinds() -> None:
    frame = rows().drop(["y"]).to_pandas()
    selector = sklearn.compose.make_column_selector(dtype_include=np.number)
    for chosen in (selector, og.numeric(), lambda frame: ["a", "b", "c"]):
        made = og.ColumnTransformer([("n", og.StandardScaler(), chosen)]).fit_transform(frame)
        assert list(made.columns) == ["n__a", "n__b", "n__c"]


def test_arrays_and_sparse_rows() -> None:
    X = np.random.default_rng(0).normal(size=(30, 4))
    ours = og.ColumnTransformer([("s", og.StandardScaler(), [1, 3]), ("p", "passthrough", [0])])
    theirs = sklearn.compose.ColumnTransformer(
        [("s", sklearn.preprocessing.StandardScaler(), [1, 3]), ("p", "passthrough", [0])]
    )
    np.testing.assert_allclose(ours.fit_transform(X), theirs.fit_transform(X))
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    encoder = og.FeatureUnion([("one", og.OneHotEncoder()), ("two", og.OneHotEncoder(drop="first"))])
    words = np.array([["a"], ["b"], ["a"]], dtype=object)
    made = encoder.fit_transform(words)
    assert sp.issparse(made)
    assert made.toarray().tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_a_union_is_that_of_scikit_learn() -> None:
    frame = rows().drop(["y", "w"]).to_pandas()
    ours = og.FeatureUnion(
        [("pca", og.PCA(2)), ("s", og.StandardScaler()), ("no", "drop"), ("as", "passthrough")],
        transformer_weights={"pca": 0.5},
    )
    theirs = sklearn.pipeline.FeatureUnion(
        [
            ("pca", sklearn.decomposition.PCA(2)),
            ("s", sklearn.preprocessing.StandardScaler()),
            ("no", "drop"),
            ("as", "passthrough"),
        ],
        transformer_weights={"pca": 0.5},
    )
    np.testing.assert_allclose(ours.fit_transform(frame).to_numpy(), theirs.fit_transform(frame), atol=1e-12)
    assert ours["pca"] is ours.named_transformers.pca
    assert not hasattr(ours["s"], "mean_")
    assert ours.fitted_transformers_.s.mean_.shape == (3,)


def test_parts_of_a_union_with_columns_of_their_own() -> None:
    made = og.FeatureUnion([("w", og.OrdinalEncoder(columns=["w"])), ("n", og.StandardScaler(columns=["a"]))])
    assert made.fit(rows(), "y").transform(rows()).column_names == ["w__w", "n__a", "y"]


def test_columns_that_are_dropped_need_not_come_again(tmp_path: Path) -> None:
    frame = rows().to_pandas()
    pipe = og.Pipeline([og.ColumnTransformer(parts()[:2]), og.Ridge()]).fit(frame, "y")
    expected = pipe.predict(frame.drop(columns=["y"]))
    other = frame[["w", "b", "a"]].assign(more=1)
    np.testing.assert_array_equal(pipe.predict(other), expected)
    pipe.save(tmp_path / "pipe")
    loaded = og.load(tmp_path / "pipe")
    assert list(loaded.columns_) == ["a", "b", "w"]
    np.testing.assert_array_equal(loaded.predict(other), expected)
    with pytest.raises(SchemaError, match="a: number"):
        pipe.predict(other.drop(columns=["a"]))
    assert pipe[0]["scaled"][1].scale_.shape == (2,)


# ---- passes, engines, artifacts ----------------------------------------------------------------------------


def pipeline() -> og.Pipeline:
    return og.Pipeline([og.ColumnTransformer(parts(), remainder="passthrough"), og.Ridge()])


def test_a_pipeline_on_every_engine_and_saved(engine: EngineCase, tmp_path: Path) -> None:
    table = rows()
    pipe = pipeline().fit(engine.open(table), "y")
    reference = sklearn.pipeline.make_pipeline(peer(), sklearn.linear_model.Ridge())
    frame = table.drop(["y"]).to_pandas()
    expected = reference.fit(frame, table["y"].to_numpy()).predict(frame)
    np.testing.assert_allclose(pipe.predict(frame), expected, atol=1e-9)
    pipe.save(tmp_path / "pipe")
    loaded = og.load(tmp_path / "pipe")
    np.testing.assert_allclose(loaded.predict(frame), expected, atol=1e-9)
    lazy = loaded.predict(engine.open(table)).to_arrow()["prediction"].to_numpy()
    np.testing.assert_allclose(np.sort(lazy), np.sort(expected), atol=1e-9)
    assert [name for name, *_ in loaded[0].transformers_] == ["words", "scaled", "bins", "remainder"]


def test_parts_learn_in_the_same_passes() -> None:
    def passes(steps: list[Any]) -> int:
        heard: list[Any] = []
        with og.listen(heard.append):
            og.ColumnTransformer(steps).fit(rows(), "y")
        return sum(event.unit == "pass" for event in heard)

    one = passes([("a", og.StandardScaler(), ["a"])])
    many = passes([(name, og.StandardScaler(), [name]) for name in "abc"])
    assert one == many > 0


def test_exports_answer_alike(tmp_path: Path) -> None:
    table = rows()
    pipe = og.Pipeline([og.ColumnTransformer(parts()[:2], remainder="passthrough"), og.Ridge()]).fit(
        table, "y"
    )
    expected = pipe.predict(table)["prediction"].to_numpy()
    frame = table.drop(["y"]).to_pandas()
    np.testing.assert_allclose(pipe.to_sklearn().predict(frame), expected, atol=1e-9)
    pipe.to_onnx(tmp_path / "pipe.onnx")
    feeds = {name: table[name].to_numpy()[:, None] for name in frame.columns}
    feeds["w"] = feeds["w"].astype(object)
    session = onnxruntime.InferenceSession(tmp_path / "pipe.onnx")
    np.testing.assert_allclose(session.run(["prediction"], feeds)[0].ravel(), expected, atol=1e-9)


def test_a_column_transformer_within_another_and_steps_of_scikit_learn() -> None:
    inner = og.ColumnTransformer(
        [("s", sklearn.preprocessing.StandardScaler(), ["a", "b"])], remainder="passthrough"
    )
    outer = og.ColumnTransformer([("n", inner, ["a", "b", "c"]), ("w", og.OrdinalEncoder(), ["w"])])
    made = outer.fit(rows(), "y").transform(rows().drop(["y"]))
    assert made.column_names == ["n__s__a", "n__s__b", "n__remainder__c", "w__w"]
    scaled = sklearn.preprocessing.StandardScaler().fit_transform(rows().select(["a", "b"]).to_pandas())
    np.testing.assert_allclose(dense(made)[:, :2], scaled, atol=1e-12)


def test_supervised_parts_find_y() -> None:
    union = og.FeatureUnion([("best", og.SelectKBest("f_regression", k=1))])
    made = union.fit(rows().drop(["w"]), "y").transform(rows().drop(["w"]))
    assert len(made.column_names) == 2


def test_a_search_reaches_the_parts() -> None:
    pipe = pipeline()
    pipe.set_params(columntransformer__scaled__standardscaler__with_mean=False, ridge__alpha=3.0)
    assert pipe[0].transformers[1][1][1].with_mean is False
    assert clone(pipe).get_params()["columntransformer__bins__n_bins"] == 3
    pipe.set_params(columntransformer__bins="drop")
    names = pipe.fit(rows(), "y")[0].get_feature_names_out().tolist()
    assert not any(name.startswith("bins") for name in names)
    with pytest.raises(ParameterError, match=r"the steps are \['words', 'scaled', 'bins'\]"):
        pipe.set_params(columntransformer__other__n_bins=3)


def test_a_notebook_shows_the_parts_side_by_side() -> None:
    html = og.ColumnTransformer(parts())._repr_mimebundle_()["text/html"]
    assert "sk-parallel" in html
    assert "KBinsDiscretizer" in html


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "error", "reason"),
    [
        (og.ColumnTransformer([("a", og.StandardScaler(), ["q"])]), ColumnNotFoundError, "'q'"),
        (og.ColumnTransformer([("a", og.StandardScaler(), [9])]), ParameterError, "there are 4 feature"),
        (og.ColumnTransformer([("a", og.StandardScaler, ["a"])]), ValueTypeError, "should implement"),
        (og.ColumnTransformer([("a", og.Ridge(), ["a"])]), ValueTypeError, "should implement"),
        (og.ColumnTransformer([("a", og.Pipeline([og.Ridge()]), ["a"])]), ValueTypeError, "ends in a Ridge"),
        (og.ColumnTransformer([("a", og.StandardScaler())]), ParameterError, "name, transformer, columns"),
        (og.ColumnTransformer([("a__b", og.StandardScaler(), ["a"])]), ParameterError, "must not contain __"),
        (og.ColumnTransformer([("a", "drop", ["a"]), ("a", "drop", ["b"])]), ParameterError, "not unique"),
        (og.ColumnTransformer([("remainder", "drop", ["a"])]), ParameterError, "conflict"),
        (og.ColumnTransformer([], remainder="keep"), ValueTypeError, "'keep'"),
        (og.ColumnTransformer([("a", og.StandardScaler(), ["w"])]), SchemaError, "w"),
        (
            og.ColumnTransformer([("a", "drop", ["a"])], transformer_weights={"b": 2.0}),
            ParameterError,
            "transformer_weights",
        ),
        (og.FeatureUnion([("a", og.StandardScaler(columns=["a"]), 3)]), ParameterError, "name, transformer"),
    ],
)
def test_bad_parts_are_refused(made: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        made.fit(rows(), "y")


def test_two_parts_that_make_one_name() -> None:
    twice = [("x", og.StandardScaler(), ["a"]), ("z", "passthrough", ["a"])]
    with pytest.raises(ParameterError, match=r"\['a'\] are not unique"):
        og.ColumnTransformer(twice, verbose_feature_names_out=False).fit(rows(), "y")
    made = (
        og.ColumnTransformer(twice)
        .fit(rows(), "y")
        .transform(pd.DataFrame({"a": [0.0], "b": [1.0], "c": [1.0], "w": ["red"]}))
    )
    assert list(made.columns) == ["x__a", "z__a"]
