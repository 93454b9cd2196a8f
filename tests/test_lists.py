"""Columns of lists: made by a step, learned from, saved, served, refused where they have no form."""

from __future__ import annotations

import asyncio
import re
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.preprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.kind import Kind, read_kinds
from outgrow.engine.shard import Shard
from outgrow.errors import ExportError, ParameterError, SchemaError
from outgrow.ml.base import Regressor
from outgrow.ml.core.task import Task
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing import EngineCase

BUCKETS = 1 << 10


class WordMean(Regressor):
    """The mean of the targets of the rows that have the words of a row: what a list is to a model."""

    learns_from_matrix = False

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_ = task.features(shard.example)
        assert task.target is not None
        target = task.target

        def fold(batch: Batch) -> np.ndarray:
            y = batch[target].to_numpy(zero_copy_only=False)
            rows, words = _places(batch, self.features_)
            return np.stack([np.bincount(words, y[rows], BUCKETS), np.bincount(words, minlength=BUCKETS)])

        sums, counts = shard.reduce(fold)
        self.means_ = sums / np.maximum(counts, 1)

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        rows, words = _places(batch, self.features_)
        sums = np.bincount(rows, self.means_[words], batch.num_rows)
        return sums / np.maximum(np.bincount(rows, minlength=batch.num_rows), 1)


def _places(batch: Batch, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The row and the bucket of each word of some columns."""
    pairs = [
        (row, zlib.crc32(str(word).encode()) % BUCKETS)
        for name in names
        for row, words in enumerate(batch[name].to_pylist())
        for word in words or ()
    ]
    return tuple(np.array(pairs, dtype=np.intp).reshape(-1, 2).T)  # type: ignore[return-value]


WORDS = ["rain", "wind", "snow", "Nebel", "Föhn"]


def texts(rows: int = 60) -> pa.Table:
    random = np.random.default_rng(0)
    chosen = [random.choice(WORDS, random.integers(0, 4)).tolist() for _ in range(rows)]
    y = [float(sum(map(len, words))) for words in chosen]
    return pa.table({"text": [" ".join(words) for words in chosen], "y": y})


def lists(rows: int = 60) -> pa.Table:
    return og.RegexTokenizer().fit_transform(texts(rows))


def test_a_step_makes_lists_for_a_model_on_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    table = texts()
    pipe = og.Pipeline([og.RegexTokenizer(), WordMean()]).fit(engine.open(table), "y")
    pipe.save(tmp_path / "words")
    expected = WordMean().fit(lists(), "y").predict(lists())["prediction"].to_numpy()
    loaded = og.load(tmp_path / "words")
    np.testing.assert_allclose(loaded.predict(table)["prediction"].to_numpy(), expected)
    lazy = loaded.predict(engine.open(table)).to_arrow()
    np.testing.assert_allclose(np.sort(lazy["prediction"].to_numpy()), np.sort(expected))


@pytest.mark.parametrize("step", [og.StandardScaler(), og.LogisticRegression(), og.KMeans(2)])
def test_embeddings_of_a_frame_say_how_they_become_vectors(step: Any) -> None:
    """pandas holds an array in each cell, of which nobody knows that all have one length."""
    rows = np.random.default_rng(0).normal(size=(20, 4))
    frame = pd.DataFrame({"words": list(rows), "y": [0, 1] * 10})
    with pytest.raises(SchemaError, match=r"as in \['words'\], become vectors .* column.cast"):
        step.fit(frame, "y")
    table = pa.Table.from_pandas(frame)
    cast = table.set_column(0, "words", table["words"].cast(pa.list_(pa.float64(), 4)))
    step.fit(cast, "y")


def test_a_model_learns_from_lists_on_every_engine(engine: EngineCase) -> None:
    table = lists()
    model = WordMean().fit(engine.open(table), "y")
    assert model.columns_ == {"text": "list[category]"}
    expected = WordMean().fit(table, "y").predict(table)["prediction"].to_numpy()
    lazy = model.predict(engine.open(table)).to_arrow()
    np.testing.assert_allclose(np.sort(lazy["prediction"].to_numpy()), np.sort(expected))
    assert lazy.schema.field("text").type == pa.list_(pa.string())
    assert model.evaluate(engine.open(table), "y")["r2"] > 0


@pytest.mark.parametrize(
    "type", [pa.large_list(pa.string()), pa.list_(pa.large_string()), pa.list_view(pa.string())]
)
def test_lists_come_as_others_lay_them_out(type: pa.DataType, tmp_path: Path) -> None:
    table = lists()
    model = WordMean().fit(table, "y")
    other = table.set_column(0, "text", pa.array(table["text"].to_pylist(), type))
    assert Kind.of(type) == "list[category]"
    assert model.predict(other)["prediction"] == model.predict(table)["prediction"]
    frames = [table.to_pandas(), polars.from_arrow(table)]
    pq.write_table(table, tmp_path / "rows.parquet")
    for rows in (*frames, og.read(str(tmp_path / "rows.parquet"))):
        answered = model.predict(rows)
        values = answered.to_arrow()["prediction"].to_numpy() if isinstance(rows, og.Dataset) else answered
        np.testing.assert_allclose(values, model.predict(table)["prediction"].to_numpy())


@pytest.mark.parametrize("items", [pa.int32(), pa.float64()])
def test_lists_of_numbers(items: pa.DataType) -> None:
    table = pa.table({"n": pa.array([[1, 2], [], None, [2]], pa.list_(items)), "y": [1.0, 2.0, 3.0, 4.0]})
    model = WordMean().fit(table, "y")
    assert model.columns_ == {"n": "list[number]"}
    assert model.predict(table)["prediction"].to_pylist()[1:3] == [0.0, 0.0]
    with pytest.raises(SchemaError, match=r"n: expected list\[number\], found list"):
        model.predict(pa.table({"n": [["a"]]}))


def test_models_of_before_there_were_kinds_of_lists() -> None:
    kinds = {
        "a": "list<item: string>",
        "b": "large_list<element: double>",
        "c": "list<item: struct<x: int8>>",
    }
    assert read_kinds(kinds) == {"a": "list[category]", "b": "list[number]", "c": kinds["c"]}
    assert Kind("list[category[integer]]").items == "category[integer]"


def test_the_server_takes_lists(tmp_path: Path) -> None:
    table = lists()
    model = WordMean().fit(table, "y")
    model.save(tmp_path / "words", input_example=table)
    expected = model.predict(table)["prediction"].to_pylist()
    app = application(Settings({"words": Model(str(tmp_path / "words"))}))

    async def ask(path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(path, json=body)

    rows = [{"text": words} for words in table["text"].to_pylist()]
    assert asyncio.run(ask("/predict", {"rows": rows})).json()["predictions"] == expected
    records = asyncio.run(ask("/invocations", {"dataframe_records": rows}))
    assert records.json()["predictions"] == expected
    refused = asyncio.run(ask("/predict", {"rows": [{"text": [1, 2]}]}))
    assert refused.status_code == 422
    assert "a list, each item text" in refused.text


def test_where_lists_have_no_form_it_is_said(tmp_path: Path) -> None:
    model = WordMean().fit(lists(), "y")
    with pytest.raises(ExportError, match="it has no equal in ONNX"):
        model.to_onnx(tmp_path / "words.onnx")
    with pytest.raises(ExportError, match="lists of any length are no tensors"):
        og.RegexTokenizer().fit(texts()).to_onnx(tmp_path / "words.onnx")
    (tmp_path / "rows.csv").write_text("text\nrain wind\n")
    with pytest.raises(SchemaError, match=r"text: expected list\[category\], found string"):
        model.predict(og.read(str(tmp_path / "rows.csv")))


# ---- RegexTokenizer ----------------------------------------------------------------------------------------

PATTERNS = [r"\s+", r"[,;]", r"\W+", r"(\s)|(-)"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    text=st.text(st.sampled_from("aÄß\u03a3 éI \u0130-,;\t\u00a0\u3000x1_"), max_size=12),
    pattern=st.sampled_from(PATTERNS),
    lowercase=st.booleans(),
    least=st.integers(0, 3),
)
def test_words_are_what_python_cuts(text: str, pattern: str, lowercase: bool, least: int) -> None:
    def cut(gaps: bool) -> list[str]:
        step = og.RegexTokenizer(pattern, gaps=gaps, lowercase=lowercase, min_token_length=least)
        return step.fit_transform(pa.table({"t": [text]}))["t"].to_pylist()[0]

    plain = text.lower() if lowercase else text
    bare = pattern.replace("(", "").replace(")", "")
    assert cut(True) == [word for word in re.split(bare, plain) if len(word) >= least]
    assert cut(False) == [word for word in re.findall(bare, plain) if len(word) >= least]


def test_columns_of_the_tokenizer() -> None:
    table = pa.table({"a": ["x y"], "n": [1.0], "b": pa.array(["U v"]).dictionary_encode()})
    made = og.RegexTokenizer().fit_transform(table)
    assert made.to_pylist() == [{"a": ["x", "y"], "n": 1.0, "b": ["u", "v"]}]
    array = og.RegexTokenizer().fit_transform(np.array([["x y", "z"], ["v", "w"]], dtype=object))
    assert array.tolist() == [[["x", "y"], ["z"]], [["v"], ["w"]]]
    with pytest.raises(SchemaError, match=r"\['n'\] are not"):
        og.RegexTokenizer(columns=["a", "n"]).fit(table)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing \\), unterminated subpattern at position 0"),
        (r"\p{L}+", r"bad escape \\p at position 0.* write \\w for letters"),
        (r"(?<word>\w+)", "unknown extension"),
        ("[a-z&&[^b]]+", "Possible set intersection at position 4"),
        ("[[:alpha:]]+", "Possible nested set at position 1"),
        (5, "pattern must be text"),
    ],
)
def test_patterns_that_mean_something_elsewhere(pattern: Any, reason: str) -> None:
    """Java's and those of POSIX: some are no patterns of Python's, others would match other text."""
    with pytest.raises(ParameterError, match=reason):
        og.RegexTokenizer(pattern).fit(texts())


BASKETS = [["milk", "bread"], ["milk", "eggs", "bread"], ["eggs"], []]
WAYS = {
    "lists": BASKETS,
    "tuples": [tuple(basket) for basket in BASKETS],
    "sets": [set(basket) for basket in BASKETS],
    "series": pd.Series(BASKETS),
    "array": pd.Series(BASKETS).to_numpy(),
    "arrays": [np.array(basket, dtype=object) for basket in BASKETS],
}


@pytest.mark.parametrize("way", WAYS)
def test_lists_without_a_table_are_one_column(way: str) -> None:
    """As scikit-learn's MultiLabelBinarizer, gensim's sentences and mlxtend's baskets come."""
    rows, table = WAYS[way], pa.table({"x0": BASKETS})
    binarizer = og.MultiLabelBinarizer().fit(rows)
    expected = sklearn.preprocessing.MultiLabelBinarizer().fit_transform(BASKETS)
    np.testing.assert_array_equal(binarizer.transform(rows), expected)
    counter = og.CountVectorizer().fit(rows)
    np.testing.assert_array_equal(counter.transform(rows).toarray(), expected)
    counts = og.FPGrowth(0.5).fit(rows).itemsets()
    assert counts["count"].to_pylist() == [2, 2, 2, 2]
    if way != "sets":  # which have no order
        pairs = og.NGram(2).fit_transform(rows)[:, 0].tolist()
        assert pairs == og.NGram(2).fit_transform(table)["x0"].to_pylist()
        settings = {"vector_size": 2, "min_count": 1, "random_state": 0}
        own, from_table = (og.Word2Vec(**settings).fit(each).get_vectors() for each in (rows, table))
        assert own.equals(from_table)


def test_lists_of_one_length_are_no_rows_of_columns() -> None:
    walks = [["a", "b"], ["b", "c"], ["c", "a"]]
    np.testing.assert_array_equal(
        og.MultiLabelBinarizer().fit_transform(walks), [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    )
    pipe = og.Pipeline([og.CountVectorizer(), og.LogisticRegression(C=100)]).fit(walks, [0, 1, 0])
    assert pipe[:-1].get_feature_names_out().tolist() == ["a", "b", "c"]
    assert pipe.predict(walks).tolist() == [0, 1, 0]
    rows = np.array([[None, "x"], [None, "y"]], dtype=object)  # of two columns, one of lists
    rows[:, 0] = [["a", "b"], ["c"]]
    made = og.MultiLabelBinarizer(columns=["x0"]).fit_transform(rows)
    assert made[:, :3].astype(float).tolist() == [[1, 1, 0], [0, 0, 1]]
