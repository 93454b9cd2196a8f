"""The imputer and the encoders give what scikit-learn's give, however the rows are held and cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import impute, preprocessing

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.task import Task

NUMBERS = np.array(
    [[1.0, 7.0, 0.5], [np.nan, 7.0, -2.0], [3.0, np.nan, 8.0], [4.0, 2.0, np.nan], [4.0, 2.0, 8.0]]
)
WORDS = pa.table(
    {
        "a": ["x", "y", None, "x", "z", "y", "x"],
        "b": [1.5, None, 2.5, 2.5, 1.5, None, 0.0],
        "c": [3, 1, 2, 3, 3, 1, 1],
        "d": [True, False, True, True, True, False, False],
    }
)


def pieces(table: pa.Table, *sizes: int) -> pa.Table:
    """The same rows in chunks of these sizes, and one with the rest."""
    edges = [0, *np.cumsum(sizes).tolist(), table.num_rows]
    return pa.concat_tables([table.slice(a, b - a) for a, b in pairwise(edges)])


def objects(table: pa.Table) -> pd.DataFrame:
    """What scikit-learn gets: text as objects with None, numbers with NaN."""
    return table.to_pandas()


def dense(values: object) -> np.ndarray:
    return values.toarray() if sp.issparse(values) else np.asarray(values)


def same_categories(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    assert [list(map(str, each)) for each in ours] == [list(map(str, each)) for each in theirs]


def same_bits(left: pa.Table, right: pa.Table) -> bool:
    """Equal, NaN to NaN."""
    columns = zip(left.columns, right.columns, strict=True)
    return left.schema == right.schema and all(repr(a.to_pylist()) == repr(b.to_pylist()) for a, b in columns)


def reloaded(estimator: object, folder: object) -> object:
    estimator.save(f"{folder}/model")
    return og.load(f"{folder}/model")


# ---- imputer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("form", ["array", "arrow", "pandas", "chunks", "threads"])
def test_imputer_is_scikit_learns(strategy: str, form: str) -> None:
    theirs = impute.SimpleImputer(strategy=strategy).fit(NUMBERS)
    table = pa.Table.from_pandas(pd.DataFrame(NUMBERS, columns=["a", "b", "c"]))
    X = {
        "array": NUMBERS,
        "arrow": table,
        "pandas": table.to_pandas(),
        "chunks": og.dataset(pieces(table, 1, 3)),
        "threads": og.dataset(pieces(table, 2, 0, 2), engine=og.Local(threads=2)),
    }[form]
    ours = og.SimpleImputer(strategy=strategy).fit(X)
    np.testing.assert_allclose(ours.statistics_, theirs.statistics_.astype(float), rtol=1e-14)
    out = ours.transform(X)
    out = out.to_pandas() if hasattr(out, "to_pandas") else out
    np.testing.assert_allclose(out, theirs.transform(NUMBERS).astype(float), rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=40))
def test_imputer_statistics(values: list[float]) -> None:
    X = np.column_stack([np.append(values, 1.0), np.arange(len(values) + 1) % 3])
    for strategy in ("mean", "median", "most_frequent"):
        ours, theirs = (
            og.SimpleImputer(strategy=strategy).fit(X),
            impute.SimpleImputer(strategy=strategy).fit(X),
        )
        np.testing.assert_allclose(ours.statistics_, theirs.statistics_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
@pytest.mark.parametrize("form", ["array", "arrow", "pandas", "categorical"])
def test_imputer_of_text(strategy: str, form: str) -> None:
    table = WORDS.select(["a"]).append_column("e", pa.array([None, "q", "p", "p", "q", None, None]))
    frame = objects(table)
    X = {
        "array": frame.to_numpy(),
        "arrow": table,
        "pandas": frame,
        "categorical": frame.astype("category"),
    }[form]
    theirs = impute.SimpleImputer(strategy=strategy, missing_values=None).fit(frame.to_numpy())
    ours = og.SimpleImputer(strategy=strategy).fit(X)
    assert ours.statistics_.tolist() == theirs.statistics_.tolist()
    out = ours.transform(X)
    out = out.to_pandas() if isinstance(out, pa.Table) else out
    np.testing.assert_array_equal(out, theirs.transform(frame.to_numpy()))


def test_imputer_of_text_and_numbers_together() -> None:
    table = og.SimpleImputer(strategy="most_frequent").fit_transform(WORDS)
    assert table["a"].to_pylist() == ["x", "y", "x", "x", "z", "y", "x"]
    assert table["b"].to_pylist() == [1.5, 1.5, 2.5, 2.5, 1.5, 1.5, 0.0]
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "double", "double"]


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_imputer_of_empty_columns(strategy: str) -> None:
    X = np.column_stack([NUMBERS[:, 0], np.full(5, np.nan), NUMBERS[:, 2]])
    ours, theirs = og.SimpleImputer(strategy=strategy).fit(X), impute.SimpleImputer(strategy=strategy).fit(X)
    with pytest.warns(UserWarning, match="Skipping features without any observed values"):
        expected = theirs.transform(X)
    with pytest.warns(UserWarning, match=r"without any observed values: \['x1'\]"):
        np.testing.assert_allclose(ours.transform(X), expected.astype(float))
    assert ours.get_feature_names_out().tolist() == ["x0", "x2"]
    kept = og.SimpleImputer(strategy=strategy, keep_empty_features=True).fit_transform(X)
    expected = impute.SimpleImputer(strategy=strategy, keep_empty_features=True).fit_transform(X)
    np.testing.assert_allclose(kept, expected.astype(float))


def test_imputer_of_a_column_of_nulls() -> None:
    table = pa.table({"a": [1.0, None], "n": pa.nulls(2)})
    with pytest.warns(UserWarning, match=r"\['n'\]"):
        assert og.SimpleImputer().fit_transform(table).column_names == ["a"]
    filled = og.SimpleImputer(strategy="constant", fill_value=None, keep_empty_features=True).fit(table)
    assert filled.transform(table)["n"].to_pylist() == ["missing_value"] * 2


def test_imputer_ignores_weights() -> None:
    y, weight = np.arange(5.0), np.array([1.0, 1.0, 9.0, 1.0, 1.0])
    pipe = og.Pipeline([og.SimpleImputer(), og.LinearRegression()]).fit(NUMBERS, y, sample_weight=weight)
    assert pipe[0].statistics_.tolist() == og.SimpleImputer().fit(NUMBERS).statistics_.tolist()


def test_imputer_of_vectors() -> None:
    vectors = np.array([[1.0, np.nan, np.nan], [np.nan, np.nan, 4.0]])
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    table = pa.table({"v": column, "a": [None, 5.0]})
    with pytest.warns(UserWarning, match=r"v\[1\]"):
        out = og.SimpleImputer().fit_transform(table)
    assert out.to_pydict() == {"v_0": [1.0, 1.0], "v_2": [4.0, 4.0], "a": [5.0, 5.0]}


def test_imputer_refuses() -> None:
    with pytest.raises(SchemaError, match="non-numeric data"):
        og.SimpleImputer().fit(WORDS)
    with pytest.raises(ParameterError, match="fill_value='q'"):
        og.SimpleImputer(strategy="constant", fill_value="q").fit(WORDS)
    with pytest.raises(ParameterError, match="strategy"):
        og.SimpleImputer(strategy="mode").fit(NUMBERS)
    with pytest.raises(DataError, match="infinity"):
        og.SimpleImputer(strategy="median").fit(pa.table({"a": [1.0, np.inf]}))
    with pytest.raises(DataError, match="infinity"):
        og.SimpleImputer().fit(pa.table({"a": [1.0]})).transform(pa.table({"a": [np.inf]}))


# ---- encoders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("sizes", [(), (1, 3), (2, 0, 1, 1)])
def test_one_hot_is_scikit_learns(drop: str | None, sparse: bool, sizes: tuple[int, ...]) -> None:
    frame = objects(WORDS)
    theirs = preprocessing.OneHotEncoder(drop=drop).fit(frame)
    data = og.dataset(pieces(WORDS, *sizes), engine=og.Local(threads=2))
    ours = og.OneHotEncoder(drop=drop, sparse_output=sparse).fit(data)
    same_categories(ours.categories_, theirs.categories_)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert (ours.drop_idx_ is None) == (drop is None)
    assert drop is None or ours.drop_idx_.tolist() == theirs.drop_idx_.tolist()
    np.testing.assert_array_equal(ours.transform(data).to_pandas(), theirs.transform(frame).toarray())


@pytest.mark.parametrize(
    "X",
    [
        np.array([[3, 1], [1, 1], [2, 5]]),
        np.array([[0.5, np.nan], [1.0, 2.0], [0.5, 2.0]]),
        np.array([["u", "vw"], ["x", "u"], ["u", "vw"]]),
        np.array([["u", 1], [None, 2], ["x", 1]], dtype=object),
        np.array([[True], [False], [True]]),
        np.array([[0.1], [0.7]], dtype=np.float32),
    ],
    ids=["int", "float", "str", "object", "bool", "float32"],
)
def test_encoders_of_arrays(X: np.ndarray) -> None:
    hot, their_hot = og.OneHotEncoder().fit(X), preprocessing.OneHotEncoder().fit(X)
    same_categories(hot.categories_, their_hot.categories_)
    assert hot.get_feature_names_out().tolist() == their_hot.get_feature_names_out().tolist()
    out = hot.transform(X)
    assert sp.issparse(out)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out.toarray(), their_hot.transform(X).toarray())
    if not any(value is None for value in X.ravel().tolist()):
        theirs = preprocessing.OrdinalEncoder().fit_transform(X)
        np.testing.assert_array_equal(og.OrdinalEncoder().fit_transform(X), theirs)


rows = st.lists(st.sampled_from([*"abcdefgh", None]), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    rows,
    st.none() | st.integers(1, 6) | st.floats(0.01, 0.6),
    st.none() | st.integers(1, 6),
    st.sampled_from([None, "first", "if_binary"]),
    st.sampled_from(["error", "ignore", "infrequent_if_exist"]),
)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_infrequent_categories(
    words: list[str | None], least: float | None, most: int | None, drop: str | None, unknown: str
) -> None:
    settings = {"min_frequency": least, "max_categories": most, "drop": drop, "handle_unknown": unknown}
    X = np.array([words], dtype=object).T
    ours, theirs = og.OneHotEncoder(**settings).fit(X), preprocessing.OneHotEncoder(**settings).fit(X)
    same_categories(ours.categories_, theirs.categories_)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert drop is None or ours.drop_idx_.tolist() == theirs.drop_idx_.tolist()
    if (least, most) != (None, None):
        for mine, other in zip(ours.infrequent_categories_, theirs.infrequent_categories_, strict=True):
            assert (mine is None) == (other is None)
            assert mine is None or mine.tolist() == other.tolist()
    if unknown != "error":
        X = np.append(X, [["new"]], axis=0)
    np.testing.assert_array_equal(dense(ours.transform(X)), dense(theirs.transform(X)))


def test_infrequent_categories_of_numbers() -> None:
    X = np.random.default_rng(3).zipf(1.5, size=(3000, 2)) % 40
    settings = {"min_frequency": 0.02, "max_categories": 9}
    ours, theirs = og.OneHotEncoder(**settings).fit(X), preprocessing.OneHotEncoder(**settings).fit(X)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    np.testing.assert_array_equal(dense(ours.transform(X)), dense(theirs.transform(X)))


@pytest.mark.parametrize("encoder", [og.OneHotEncoder, og.OrdinalEncoder])
def test_an_unseen_category_is_an_error(encoder: type) -> None:
    fitted = encoder(columns=["a"]).fit(WORDS.slice(0, 4))
    with pytest.raises(
        DataError, match=r"categories \['z'\] in column 'a' during transform.*handle_unknown="
    ):
        fitted.transform(WORDS)
    with pytest.raises(DataError, match=r"'w0', 'w1', 'w2', 'w3', 'w4'\] and 2 more"):
        fitted.transform(
            pa.table({**dict(zip(WORDS.column_names, WORDS, strict=True)), "a": [f"w{i}" for i in range(7)]})
        )


def test_a_missing_value_is_unseen_where_fit_saw_none() -> None:
    with pytest.raises(DataError, match=r"\[None\] in column 'a'"):
        og.OneHotEncoder().fit(pa.table({"a": ["x"]})).transform(pa.table({"a": ["x", None]}))
    number = og.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    assert number.fit(np.array([[1.0]])).transform(np.array([[np.nan], [1.0]])).tolist() == [[-1.0], [0.0]]


def test_dropping_and_ignoring_warns() -> None:
    fitted = og.OneHotEncoder(drop="first", handle_unknown="ignore").fit(pa.table({"a": ["x", "y"]}))
    with pytest.warns(UserWarning, match=r"Found unknown categories in columns \['a'\]"):
        assert fitted.transform(pa.table({"a": ["q", "y"]}))["a_y"].to_pylist() == [0.0, 1.0]


@pytest.mark.parametrize("encoder", [og.OneHotEncoder, og.OrdinalEncoder])
def test_given_categories(encoder: type) -> None:
    theirs = getattr(preprocessing, encoder.__name__)
    X = np.array([["low", 1], ["high", 3], ["low", 2]], dtype=object)
    given = [["low", "mid", "high"], [1, 2, 3]]
    np.testing.assert_array_equal(
        dense(encoder(categories=given).fit_transform(X)), dense(theirs(categories=given).fit_transform(X))
    )
    for wrong, message in [
        ([["low"]], "Shape mismatch"),
        ([["low", "low"], [1, 2, 3]], "duplicate"),
        ([["low", "high"], [2, 1, 3]], "nsorted"),
        ([["low", "high"], [np.nan, 1, 2, 3]], "last element"),
        ([["low", "high"], ["1", "2", "3"]], "another type"),
    ]:
        with pytest.raises(ParameterError, match=message):
            encoder(categories=wrong).fit(X)
    with pytest.raises(DataError, match=r"\['high'\] in column 'x0' during fit"):
        encoder(categories=[["low", "mid"], [1, 2, 3]]).fit(X)


def test_ordinal_is_scikit_learns() -> None:
    frame = objects(WORDS).fillna({"a": np.nan})
    settings = {"handle_unknown": "use_encoded_value", "unknown_value": -2, "encoded_missing_value": -1}
    theirs = preprocessing.OrdinalEncoder(**settings).fit(frame[:4])
    ours = og.OrdinalEncoder(**settings).fit(og.dataset(pieces(WORDS.slice(0, 4), 1)))
    same = ours.transform(og.dataset(pieces(WORDS, 2, 3)))
    assert same.columns == WORDS.column_names
    np.testing.assert_array_equal(same.to_pandas(), theirs.transform(frame))


@pytest.mark.parametrize(
    "parameters",
    [
        {"unknown_value": 1},
        {"handle_unknown": "use_encoded_value"},
        {"handle_unknown": "use_encoded_value", "unknown_value": 1},
        {"encoded_missing_value": 0},
        {"encoded_missing_value": 0.5},
        {"categories": "none"},
    ],
)
def test_ordinal_refuses(parameters: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        og.OrdinalEncoder(**parameters).fit(WORDS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"drop": "last"},
        {"max_categories": 0},
        {"min_frequency": 1.0},
        {"min_frequency": 0},
        {"handle_unknown": "w"},
    ],
)
def test_one_hot_refuses(parameters: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        og.OneHotEncoder(**parameters).fit(WORDS)


@pytest.mark.parametrize("encoder", [og.OneHotEncoder, og.OrdinalEncoder])
def test_encoders_take_any_kind_of_text(encoder: type) -> None:
    text = pa.array(["b", None, "a", "b"])
    expected = encoder().fit_transform(pa.table({"a": text}))
    wide = pa.DictionaryArray.from_arrays(
        pa.array([1, None, 2, 1], pa.int8()),
        [f"unused{i}" if i not in (1, 2) else "?ba"[i] for i in range(128)],
    )
    for column in (text.cast(pa.large_string()), text.cast(pa.string_view()), text.dictionary_encode(), wide):
        table = pa.table({"a": column})
        assert same_bits(encoder().fit_transform(table), expected)
        assert same_bits(encoder().fit(pa.table({"a": text})).transform(table), expected)


def test_encoders_of_a_column_of_nulls() -> None:
    table = pa.table({"a": pa.nulls(3)})
    assert og.OneHotEncoder().fit_transform(table).to_pydict() == {"a_None": [1.0, 1.0, 1.0]}
    assert np.isnan(og.OrdinalEncoder().fit_transform(table)["a"].to_numpy()).all()
    assert og.OneHotEncoder().fit_transform(np.full((2, 1), np.nan)).toarray().tolist() == [[1.0], [1.0]]


def test_encoders_ignore_weights() -> None:
    table, weight = WORDS.select(["a"]), np.array([1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0])
    encoder = og.OneHotEncoder(max_categories=2)
    pipe = og.Pipeline([encoder, og.LinearRegression()]).fit(table, np.arange(7.0), sample_weight=weight)
    assert pipe.get_feature_names_out().tolist() == ["a_x", "a_infrequent_sklearn"]


def test_encoders_refuse_other_types() -> None:
    spans = pa.table({"span": pa.array([0], pa.duration("s"))})
    with pytest.raises(SchemaError, match="'span' is of type duration"):
        og.OneHotEncoder().fit(spans)
    with pytest.raises(SchemaError, match="vectors"):
        og.Pipeline([og.OneHotEncoder(columns=["a"]), og.OrdinalEncoder()]).fit(WORDS)


@pytest.mark.parametrize("sparse", [True, False])
def test_output_names_do_not_collide(sparse: bool) -> None:
    table = pa.table({"a": ["b_c", "z"], "a_b": ["c", "q"], "a_z": [7.0, 8.0]})
    encoder = og.OneHotEncoder(columns=["a", "a_b"], sparse_output=sparse).fit(table)
    found = encoder.transform(table).to_pydict()
    expected = {"a_b_c": [1, 0], "a_z_2": [0, 1], "a_b_c_2": [1, 0], "a_b_q": [0, 1], "a_z": [7, 8]}
    assert found == expected
    assert og.OneHotEncoder(columns=["a"]).fit(table).get_feature_names_out().tolist()[:2] == [
        "a_b_c",
        "a_z_2",
    ]


def test_none_and_the_word_none_are_two_columns() -> None:
    words = pa.table({"c": ["None", None, "x"]})
    encoder = og.OneHotEncoder(sparse_output=False).fit(words)
    assert encoder.transform(words).to_pydict() == {
        "c_None": [1, 0, 0],
        "c_x": [0, 0, 1],
        "c_None_2": [0, 1, 0],
    }


def test_the_rare_and_a_word_that_is_called_so() -> None:
    words = pa.table({"c": ["infrequent_sklearn"] * 3 + ["a", "b"]})
    names = og.OneHotEncoder(min_frequency=2).fit(words).get_feature_names_out().tolist()
    assert names == ["c_infrequent_sklearn", "c_infrequent_sklearn_2"]


def test_two_projections_share_no_names(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(200, 4))
    table = pa.table({**{name: X[:, j] for j, name in enumerate("abcd")}, "y": X @ [1.0, 2.0, 3.0, 4.0]})
    steps = [og.PCA(columns=["a", "b"]), og.PCA(columns=["c", "d"]), og.LinearRegression()]
    pipe = og.Pipeline(steps).fit(table, "y")
    assert pipe.score(table, "y") == pytest.approx(1.0)
    pipe.save(tmp_path / "pipe")
    names = og.load(tmp_path / "pipe").get_feature_names_out().tolist()
    assert names == ["pca0", "pca1", "pca2_0", "pca2_1"]


def test_a_column_that_comes_after_the_fit_keeps_its_values() -> None:
    table = pa.table({"a": ["x", "y"]})
    more = table.append_column("a_x", pa.array([5.0, 6.0]))
    for sparse in (True, False):
        encoder = og.OneHotEncoder(sparse_output=sparse).fit(table)
        with pytest.raises(SchemaError, match=r"'a_x'.*Rename"):
            encoder.transform(more)


def test_one_hot_stands_where_the_first_column_stood() -> None:
    table = WORDS.append_column("onehot", WORDS["c"])
    fitted = og.OneHotEncoder(columns=["b", "a"]).fit(table)
    out = fitted._transform(Batch.from_arrow(table.to_batches()[0]))
    assert list(out.columns) == ["onehot2", "c", "d", "onehot"]
    matrix = out["onehot2"]
    assert isinstance(matrix, Matrix)
    assert matrix.values.format == "csr"
    assert matrix.names[0] == "b_0.0"


def test_sparse_stays_sparse_in_a_pipeline() -> None:
    y = np.array([0, 1, 0, 1, 1, 0, 1])
    pipe = og.Pipeline(
        [og.SimpleImputer(columns=og.numeric()), og.OneHotEncoder(columns=["a"]), og.LogisticRegression()]
    ).fit(WORDS, y)
    reached = pipe._transform_all(Batch.from_arrow(WORDS.to_batches()[0]))
    assert sp.issparse(reached.matrix())
    assert pipe.get_feature_names_out().tolist() == ["a_x", "a_y", "a_z", "a_None", "b", "c", "d"]
    assert len(pipe.predict(WORDS)) == 7


@pytest.mark.filterwarnings("ignore:Skipping features")
@pytest.mark.parametrize(
    "estimator",
    [
        og.SimpleImputer(strategy="most_frequent"),
        og.SimpleImputer(strategy="median", columns=og.numeric()),
        og.OneHotEncoder(max_categories=2, drop="first"),
        og.OneHotEncoder(sparse_output=False),
        og.OneHotEncoder(columns=["c"], categories=[[1, 2, 3]]),
        og.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    ],
    ids=repr,
)
def test_saved_and_loaded(estimator: object, tmp_path: object) -> None:
    estimator.fit(WORDS)
    again = reloaded(estimator, tmp_path)
    assert same_bits(again.transform(WORDS), estimator.transform(WORDS))
    assert same_bits(again.transform(WORDS.slice(3, 1)), estimator.transform(WORDS.slice(3, 1)))
    assert again.get_feature_names_out().tolist() == estimator.get_feature_names_out().tolist()


def _shops(tmp_path: Path, rows: int = 400) -> str:
    """A file whose text lies in dictionaries; each has words that only some of its rows use."""
    words = np.array([f"shop {j}" for j in range(20)])[np.arange(rows) % 20]
    table = pa.table({"shop": pa.array(words), "sales": np.arange(rows, dtype=float), "late": words})
    path = tmp_path / "shops.parquet"
    pq.write_table(table, path, row_group_size=100)
    return str(path)


def test_words_that_only_other_rows_use_are_not_met(tmp_path: Path) -> None:
    data = og.read(_shops(tmp_path))
    few = data.split(test=0.9, by="shop", seed=3)[0]
    used = sorted(set(few.to_pandas()["shop"]))
    assert 0 < len(used) < 20
    pipeline = og.Pipeline([og.OneHotEncoder(columns=["shop"]), og.LogisticRegression()])
    model = pipeline.fit(few, "late")
    assert model.steps[-1].classes_.tolist() == used
    given = og.OrdinalEncoder(columns=["shop"], categories=[used]).fit(few)
    assert given.transform(few).to_pandas()["shop"].nunique() == len(used)


def test_transformers_of_users_meet_plain_text(tmp_path: Path) -> None:
    data = og.read(_shops(tmp_path)).select("shop", "sales")
    pipeline = og.Pipeline([Shout(), og.OneHotEncoder(columns=["shop"])]).fit(data)
    assert pipeline.steps[-1].categories_[0][0] == "SHOP 0"


def test_mapped_text_is_plain(tmp_path: Path) -> None:
    data = og.read(_shops(tmp_path))
    assert data.to_arrow().schema.field("shop").type == pa.string()
    og.write_parquet(data, str(tmp_path / "again"))
    assert og.read(str(tmp_path / "again")).to_arrow().equals(data.to_arrow())


class Shout(Transformer):
    """Text in capitals; Arrow has no such kernel for dictionaries."""

    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        def longest(batch: Batch) -> np.ndarray:
            return np.array([pc.utf8_length(pc.utf8_upper(batch["shop"])).to_numpy().max()], dtype=float)

        self.longest_ = shard.reduce(longest)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return batch.with_columns({"shop": pc.utf8_upper(batch["shop"])})


# ---- there and back ----------------------------------------------------------------------------------------

RARE = np.array(
    [["a", "x"], ["b", "x"], ["b", "y"], ["c", "y"], ["c", "y"], ["c", "z"], ["d", "z"]], dtype=object
)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"drop": "first"},
        {"drop": "if_binary"},
        {"drop": ["b", "z"]},
        {"handle_unknown": "ignore"},
        {"min_frequency": 2},
        {"max_categories": 2, "handle_unknown": "infrequent_if_exist"},
        {"min_frequency": 0.2, "drop": "first"},
        {"feature_name_combiner": lambda name, word: f"{word}@"},
    ],
    ids=repr,
)
def test_one_hot_there_and_back_as_scikit_learn(settings_: dict[str, Any], sparse: bool) -> None:
    for rows in (RARE, np.array([[1.0], [2.0], [2.0], [np.nan]]), np.array([[True], [False], [True]])):
        given = dict(settings_)
        if isinstance(given.get("drop"), list) and rows is not RARE:
            given["drop"] = [rows[1, 0]]
        ours = og.OneHotEncoder(sparse_output=sparse, **given).fit(rows)
        theirs = preprocessing.OneHotEncoder(sparse_output=sparse, **given).fit(rows)
        hot, expected = ours.transform(rows), theirs.transform(rows)
        np.testing.assert_array_equal(_dense(hot), _dense(expected))
        assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
        back, known = ours.inverse_transform(hot), theirs.inverse_transform(expected)
        assert back.dtype == known.dtype
        np.testing.assert_array_equal(back, known)


def _dense(values: Any) -> np.ndarray:
    return values.toarray() if sp.issparse(values) else values


def test_one_hot_back_of_nothing() -> None:
    zeros = np.zeros((1, 4))
    assert og.OneHotEncoder(columns=["a"], handle_unknown="ignore").fit(WORDS).inverse_transform(
        zeros
    ).tolist() == [[None]]
    strict = og.OneHotEncoder(columns=["a"]).fit(WORDS)
    with pytest.raises(DataError, match="all zeros"):
        strict.inverse_transform(zeros)
    with pytest.raises(DataError, match="Expected 4 columns, got 3"):
        strict.inverse_transform(zeros[:, :3])
    table = strict.transform(WORDS)
    assert strict.inverse_transform(table).to_pydict() == WORDS.to_pydict()
    with pytest.raises(ParameterError, match="length equal to the number of features"):
        og.OneHotEncoder(drop=["b"]).fit(RARE)
    with pytest.raises(ParameterError, match="not found in the training"):
        og.OneHotEncoder(drop=["nothing", "z"]).fit(RARE)
    with pytest.raises(ParameterError, match="because it is infrequent"):
        og.OneHotEncoder(drop=["a", "z"], min_frequency=2).fit(RARE)
    with pytest.raises(TypeError, match="Python string"):
        og.OneHotEncoder(feature_name_combiner=lambda name, word: 3).fit(RARE)
    with pytest.warns(UserWarning, match="unknown categories"):
        og.OneHotEncoder(handle_unknown="warn", min_frequency=2).fit(RARE).transform(RARE[:, ::-1])


@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"min_frequency": 2},
        {"max_categories": 2},
        {"min_frequency": 0.2},
        {"handle_unknown": "use_encoded_value", "unknown_value": -1, "max_categories": 3},
        {"handle_unknown": "use_encoded_value", "unknown_value": np.nan},
    ],
    ids=repr,
)
def test_codes_there_and_back_as_scikit_learn(settings_: dict[str, Any], tmp_path: Path) -> None:
    for rows in (RARE, np.array([[1.0], [2.0], [2.0], [np.nan]]), np.array([[3], [4], [4]])):
        ours = og.OrdinalEncoder(**settings_).fit(rows)
        theirs = preprocessing.OrdinalEncoder(**settings_).fit(rows)
        np.testing.assert_array_equal(ours.transform(rows), theirs.transform(rows))
        codes = ours.transform(rows)
        back = ours.inverse_transform(codes)
        for j, few in enumerate(ours.infrequent_categories_):
            rare = [] if few is None else few.tolist()
            expected = ["infrequent_sklearn" if value in rare else value for value in rows[:, j].tolist()]
            assert repr(back[:, j].tolist()) == repr(expected)
        if settings_.get("handle_unknown") and rows is RARE:
            strange = np.array([["?", "x"]], dtype=object)
            np.testing.assert_array_equal(ours.transform(strange), theirs.transform(strange))
            assert ours.inverse_transform(ours.transform(strange)).tolist()[0][0] is None
        ours.save(tmp_path / "encoder", overwrite=True)
        again = og.load(tmp_path / "encoder")
        np.testing.assert_array_equal(again.transform(rows), codes)
        assert repr(again.inverse_transform(codes)) == repr(back)


def test_codes_back_of_nothing() -> None:
    encoder = og.OrdinalEncoder().fit(RARE)
    with pytest.raises(DataError, match="codes of no category"):
        encoder.inverse_transform([[9.0, 0.0]])
    with pytest.raises(DataError, match="Expected 2 columns, got 1"):
        encoder.inverse_transform([[0.0]])


@pytest.mark.parametrize(
    "last",
    [
        og.Ridge(),
        og.LogisticRegression(),
        og.KMeans(2),
        og.PCA(),
        og.RandomForestClassifier(n_estimators=2),
        og.GradientBoostingClassifier(n_estimators=2),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Skipping features")
def test_nothing_is_learnt_where_all_columns_were_left_out(last: Any) -> None:
    table = pa.table({"a": [np.nan] * 6, "b": [np.nan] * 6, "y": [0, 1] * 3})
    with pytest.raises(DataError, match="no column"):
        og.Pipeline([og.SimpleImputer(), last]).fit(table, "y")
    frame = table.drop_columns("y").to_pandas()
    assert og.SimpleImputer().fit(frame).transform(frame).shape == (6, 0)
