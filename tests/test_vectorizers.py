"""Documents as vectors: what scikit-learn counts, hashes and weighs, and what Spark does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.feature_extraction as extraction
import sklearn.feature_extraction.text as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

import outgrow as og
from outgrow.data.names import VectorNames
from outgrow.errors import DataError, ExportError, ParameterError, SchemaError, ValueTypeError
from outgrow.ml.feature_extraction.words import least_length
from outgrow.stats.murmur import murmur3
from outgrow.stats.texts import Texts, run_codes
from outgrow.testing import EngineCase

FEW = settings(max_examples=25, deadline=None, derandomize=True)
LETTERS = (
    "abA \u00df\u00e9 \u0130I\u03a3\u03c3 \t\n.,'-_12\u00bd\u00b2\u0301\u00a0\u3000\u65e5\u672c\U0001d400"
)
DOCUMENTS = st.lists(st.text(LETTERS, max_size=25), min_size=1, max_size=6).map(
    lambda found: [*found, "ab ab"]
)
WORDS = [
    {},
    {"lowercase": False},
    {"strip_accents": "unicode"},
    {"strip_accents": "ascii"},
    {"ngram_range": (1, 3)},
    {"ngram_range": (2, 2), "stop_words": ["b", "the"]},
    {"token_pattern": r"\w+"},
    {"token_pattern": r"(?u)\b\w\w\w+\b", "vocabulary": ["aba", "ab ab"]},
    {"token_pattern": r"[a-z](\w)"},
    {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char_wb", "ngram_range": (2, 4)},
    {"analyzer": "char_wb", "ngram_range": (5, 6)},
    {"binary": True},
]


def same(ours: Any, expected: Any, documents: list[str]) -> None:
    """Refuse other terms, or other numbers."""
    try:
        wanted = expected.fit_transform(documents)
    except ValueError:
        with pytest.raises(DataError, match=r"empty vocabulary|no terms remain"):
            ours.fit(documents)
        return
    found = ours.fit_transform(documents)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.toarray(), wanted.toarray(), rtol=1e-14)
    if hasattr(expected, "vocabulary_"):
        assert ours.vocabulary_ == expected.vocabulary_


@pytest.mark.filterwarnings("ignore:Your stop_words may be inconsistent")
@pytest.mark.parametrize("given_", WORDS, ids=str)
@FEW
@given(documents=DOCUMENTS)
def test_counts_are_those_of_scikit_learn(given_: dict[str, Any], documents: list[str]) -> None:
    same(og.CountVectorizer(**given_), theirs.CountVectorizer(**given_), documents)
    other = {name: value for name, value in given_.items() if name != "vocabulary"}
    hashing = {**other, "n_features": 8}
    same(og.HashingVectorizer(**hashing), theirs.HashingVectorizer(**hashing), documents)


@pytest.mark.parametrize(
    "weighing",
    [
        {},
        {"norm": "l1"},
        {"norm": None, "smooth_idf": False},
        {"sublinear_tf": True},
        {"use_idf": False},
        {"min_df": 2},
        {"max_df": 0.5, "min_df": 0.1},
        {"vocabulary": {"ab": 1, "zz": 0}},
    ],
    ids=str,
)
@FEW
@given(documents=DOCUMENTS)
def test_weights_are_those_of_scikit_learn(weighing: dict[str, Any], documents: list[str]) -> None:
    same(og.TfidfVectorizer(**weighing), theirs.TfidfVectorizer(**weighing), documents)
    plain = {name: value for name, value in weighing.items() if not name.endswith("_df")}
    plain.pop("vocabulary", None)
    counts = theirs.CountVectorizer(analyzer="char").fit_transform(documents)
    expected = theirs.TfidfTransformer(**plain).fit_transform(counts).toarray()
    np.testing.assert_allclose(
        og.TfidfTransformer(**plain).fit_transform(counts).toarray(), expected, rtol=1e-14
    )
    dense = og.TfidfTransformer(**plain).fit_transform(counts.toarray())
    np.testing.assert_allclose(dense, expected, rtol=1e-14)


@FEW
@given(documents=DOCUMENTS, most=st.integers(1, 5), least=st.integers(1, 2))
def test_the_most_frequent_terms(documents: list[str], most: int, least: int) -> None:
    """Of equals those that come first in the alphabet, where scikit-learn takes any."""
    whole = theirs.CountVectorizer(analyzer="char", min_df=least)
    documents = [*documents, "ab"]
    counts = whole.fit_transform(documents).toarray().sum(axis=0)
    names = whole.get_feature_names_out()
    expected = sorted(names[sorted(range(len(names)), key=lambda j: (-counts[j], names[j]))[:most]])
    ours = og.CountVectorizer(analyzer="char", min_df=least, max_features=most).fit(documents)
    assert ours.terms_.tolist() == expected


@pytest.mark.parametrize(
    "letters", ["ab", "abcdefgh", "a\u00df\u65e5\U0001d400_-", "AbC_09\u0130\u0301"], ids=ascii
)
def test_many_long_words(letters: str) -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(letters), size)) for size in random.integers(1, 60, 700)]
    documents = [" ".join(random.choice(words, size)) for size in random.integers(0, 9, 1000)]
    documents += ["", letters * 100, letters[-1:] + "x" * 300]
    same(og.CountVectorizer(), theirs.CountVectorizer(), documents)
    few = {"n_features": 256}
    same(og.HashingVectorizer(**few), theirs.HashingVectorizer(**few), documents)


def test_names_of_very_many_columns() -> None:
    hasher = og.HashingVectorizer().fit(DOCS)
    names = hasher.get_feature_names_out()
    assert names[[0, 1, -1]].tolist() == [
        "hashingvectorizer_0",
        "hashingvectorizer_1",
        "hashingvectorizer_1048575",
    ]
    made = VectorNames("a", 3)
    spelt_out = ("a_0", "a_1", "a_2")
    assert tuple(made) == spelt_out
    assert made == spelt_out
    assert spelt_out == made
    assert made[1:] == spelt_out[1:]
    assert made == VectorNames("a", 3) != VectorNames("a", 4)
    assert len({made, spelt_out}) == 1
    with pytest.raises(IndexError):
        made[3]


@FEW
@given(
    words=st.lists(st.text(max_size=20) | st.text("ab", max_size=12), max_size=30),
    seed=st.sampled_from([0, 42]),
)
def test_hashes_and_codes_of_texts(words: list[str], seed: int) -> None:
    words = [word.encode("utf-8", "ignore").decode() for word in words]
    texts = Texts.of(pa.array(words, pa.large_string()))
    assert murmur3(texts, seed).tolist() == [murmurhash3_32(word.encode(), seed) for word in words]
    some = [word.replace("\0", "") for word in words]
    texts = Texts.of(pa.array(some, pa.large_string()))
    found, codes = run_codes(texts.letters, texts.ends[:-1], texts.ends[1:])
    assert [found.arrow.to_pylist()[code] for code in codes] == some
    assert len(found) == len(set(some))
    first, codes = texts.codes()
    assert [some[first[code]] for code in codes] == some


def test_patterns_that_need_no_regular_expression() -> None:
    found = [
        least_length(pattern) for pattern in (r"\w\w+", r"(?u)\b\w+\b", r"\b\w\w\w+\b", r"\b\w+", r"\w*")
    ]
    assert found == [2, 1, 3, None, None]


# ---- forms of documents ------------------------------------------------------------------------------------

DOCS = ["Rain and wind", "rain, rain or sun", "", "sun and sun"]


@pytest.mark.parametrize(
    "rows",
    [
        DOCS,
        np.array(DOCS, dtype=object),
        np.array(DOCS),
        pd.Series(DOCS),
        np.array(DOCS, dtype=object)[:, None],
        pa.table({"t": DOCS}),
        pa.table({"t": pa.array(DOCS).dictionary_encode()}),
        pa.table({"t": pa.array(DOCS, pa.large_string())}),
        pa.table(
            {
                "t": pa.array(
                    [
                        ["rain", "and", "wind"],
                        ["rain", "rain", "or", "sun"],
                        None,
                        ["sun", "and", "sun", None],
                    ]
                )
            }
        ),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_documents_in_every_form(rows: Any) -> None:
    ours = og.CountVectorizer().set_output(transform="default").fit(rows)
    expected = theirs.CountVectorizer().fit_transform(DOCS).toarray()
    assert ours.transform(rows).toarray().tolist() == expected.tolist()
    assert ours.get_feature_names_out().tolist() == ["and", "or", "rain", "sun", "wind"]


def test_parts_of_a_dictionary_and_missing_documents() -> None:
    words = pa.array(["sun", None, "rain", "sun", "wind and rain"]).dictionary_encode()
    table = pa.table({"t": pa.chunked_array([words.slice(1, 3)])})
    made = og.CountVectorizer(vocabulary=["rain", "sun", "wind"]).fit_transform(table)
    assert made.to_pylist() == [
        {"rain": 0, "sun": 0, "wind": 0},
        {"rain": 1, "sun": 0, "wind": 0},
        {"rain": 0, "sun": 1, "wind": 0},
    ]
    assert og.CountVectorizer().fit(table).terms_.tolist() == ["rain", "sun"]


def test_columns_beside_the_text() -> None:
    table = pa.table({"title": ["sun", "rain"], "rain": [1.0, 2.0], "body": ["more sun", "wind"]})
    both = og.CountVectorizer().fit_transform(table)
    assert both.column_names == ["more", "rain_2", "sun", "wind", "rain"]
    assert both["sun"].to_pylist() == [2, 0]
    apart = og.Pipeline(
        [("t", og.CountVectorizer(columns="title")), ("b", og.CountVectorizer(columns="body"))]
    )
    assert apart.fit_transform(table).column_names == ["rain_2", "sun", "rain", "more", "sun_2", "wind"]
    with pytest.raises(SchemaError, match=r"works on text or lists of words; \['rain'\] are not"):
        og.CountVectorizer(columns=["title", "rain"]).fit(table)
    with pytest.raises(DataError, match="has no columns of text"):
        og.TfidfVectorizer().fit(table.select(["rain"]))


def test_text_to_a_model_on_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    table = pa.table(
        {"t": [f"{word} day {i % 7}" for i, word in enumerate(["rain", "sun"] * 40)], "y": [0, 1] * 40}
    )
    chosen = og.Pipeline([og.TfidfVectorizer(), og.SelectKBest("chi2", k=3), og.LogisticRegression()])
    hashed = og.Pipeline([og.HashingVectorizer(ngram_range=(1, 2)), og.LinearSVC()])
    for number, pipe in enumerate((chosen, hashed)):
        pipe.fit(engine.open(table), "y")
        assert pipe.evaluate(engine.open(table), "y")["accuracy"] == 1.0
        pipe.save(tmp_path / str(number))
        assert og.load(tmp_path / str(number)).predict(table)["prediction"].to_pylist() == [0, 1] * 40


def test_a_pipeline_of_a_list_of_documents() -> None:
    documents, y = [f"{word} day" for word in ["rain", "sun"] * 20], np.array(["bad", "good"] * 20)
    pipe = og.Pipeline([og.TfidfVectorizer(), og.LinearSVC()]).fit(documents, y)
    assert pipe.predict(["sun", "rain"]).tolist() == ["good", "bad"]
    assert pipe.score(documents, y) == 1.0
    with pytest.raises(ParameterError, match="string object received"):
        pipe.predict("sun")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"ngram_range": (2, 1)}, "lower boundary"),
        ({"ngram_range": [1]}, "a pair of whole numbers"),
        ({"token_pattern": "("}, "must be a regular expression"),
        ({"token_pattern": r"(\w)(\w)"}, "more than 1 capturing group"),
        ({"stop_words": "german"}, "stop_words must be 'english'"),
        ({"vocabulary": ["a", "b", "a"]}, "duplicate term in vocabulary: 'a'"),
        ({"vocabulary": {"a": 0, "b": 2}}, "its columns are not 0, 1, 2"),
        ({"vocabulary": []}, "empty vocabulary passed to fit"),
        ({"max_df": 1, "min_df": 2}, "max_df corresponds to < documents"),
        ({"max_df": 1.5}, "max_df must be"),
    ],
)
def test_parameters_that_cannot_be(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        og.CountVectorizer(**given_).fit(DOCS)


def test_weights_of_negative_counts() -> None:
    counts = np.array([[1.0, -2.0]])
    with pytest.raises(DataError, match=r"one is -2.*without signs"):
        og.TfidfTransformer(sublinear_tf=True).fit_transform(counts)


# ---- Spark's formulas --------------------------------------------------------------------------------------


def test_formulas_of_spark() -> None:
    """Weights by the formula of Spark's `IDF`, and columns of an example of its `HashingTF`."""
    counts = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 0.0]])
    step = og.TfidfTransformer(norm=None, formula="spark").fit(counts)
    np.testing.assert_allclose(step.idf_, np.log(4 / np.array([2.0, 4.0, 2.0])))
    hasher = og.HashingVectorizer(n_features=10, hash="spark", norm=None, token_pattern=r"\S+")
    made = hasher.fit_transform(["a b c"]).toarray()[0]  # the example of pyspark's HashingTF
    assert made.tolist() == [0, 0, 0, 0, 0, 1, 0, 1, 1, 0]


# ---- FeatureHasher -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input_type", "row", "said"),
    [
        ("dict", {"a": None}, "Row 1: 'a' is None, which is neither"),
        ("dict", {"a": [1, 2]}, "Row 1: 'a' is .*1, 2.*, which is neither"),
        ("dict", ["a", "b"], "Row 1 is .*a dictionary of names and values"),
        ("pair", {"a": 1}, "Row 1 is .*a list of pairs"),
        ("pair", ["ab", 1], "Row 1 is .*a list of pairs"),
        ("string", 5, "Row 1 is 5.*a list of names"),
    ],
)
def test_rows_that_are_no_features(input_type: str, row: Any, said: str) -> None:
    good = {"dict": {"a": 1}, "pair": [("a", 1)], "string": ["a"]}[input_type]
    with pytest.raises(og.errors.ValueTypeError, match=said):
        og.FeatureHasher(input_type=input_type).transform([good, row])


FEATURES = st.dictionaries(
    st.text(max_size=4), st.text(max_size=3) | st.floats(-9, 9) | st.integers(-3, 3), max_size=4
)


@FEW
@given(rows=st.lists(FEATURES, min_size=1, max_size=5), signs=st.booleans())
def test_features_are_hashed_as_scikit_learn_does(rows: list[dict[str, Any]], signs: bool) -> None:
    given_ = {"n_features": 5, "alternate_sign": signs}
    expected = extraction.FeatureHasher(**given_).transform(rows).toarray()
    np.testing.assert_allclose(og.FeatureHasher(**given_).fit_transform(rows).toarray(), expected)
    pairs = [list(row.items()) for row in rows]
    made = og.FeatureHasher(input_type="pair", **given_).fit_transform(pairs)
    np.testing.assert_allclose(made.toarray(), expected)
    texts = [list(map(str, row)) for row in rows]
    expected = extraction.FeatureHasher(input_type="string", **given_).transform(texts).toarray()
    made = og.FeatureHasher(input_type="string", **given_).fit_transform(texts)
    np.testing.assert_allclose(made.toarray(), expected)


def test_tables_are_hashed_as_their_rows() -> None:
    table = pa.table(
        {
            "n": [1.5, None, 0.0],
            "w": pa.array(["p", None, "q"]).dictionary_encode(),
            "b": [True, False, None],
            "l": [["u", "v"], None, ["u"]],
        }
    )
    rows = [{"n": 1.5, "w": "p", "b": 1, "l=u": 1, "l=v": 1}, {}, {"w": "q", "l=u": 1}]
    expected = extraction.FeatureHasher(16).transform(rows).toarray()
    made = og.FeatureHasher(16).set_output(transform="default").fit_transform(table)
    np.testing.assert_array_equal(made.toarray(), expected)
    with pytest.raises(SchemaError, match="FeatureHasher works on numbers, text and lists of words"):
        og.FeatureHasher().fit(table.append_column("t", pa.array([0, 1, 2], pa.timestamp("s"))))


def test_features_of_a_table_as_spark_hashes_them() -> None:
    """The example of `FeatureHasher` in Spark's documentation."""
    table = pa.table(
        {
            "real": [2.2, 3.3, 4.4, 5.5],
            "bool": [True, False, False, False],
            "stringNum": ["1", "2", "3", "4"],
            "string": ["foo", "bar", "baz", "foo"],
        }
    )
    made = og.FeatureHasher(2**18, hash="spark").set_output(transform="default").fit_transform(table)
    assert made.indices[:4].tolist() == [174475, 247670, 257907, 262126]
    assert made.data[:4].tolist() == [2.2, 1.0, 1.0, 1.0]


def test_features_that_cannot_be_hashed() -> None:
    with pytest.raises(ValueTypeError, match="feature names must be strings, not 1"):
        og.FeatureHasher().fit_transform([{1: 2.0}])
    with pytest.raises(DataError, match="can not be a single string"):
        og.FeatureHasher(input_type="string").fit_transform(["word"])
    with pytest.raises(DataError, match="X is one dict"):
        og.FeatureHasher().fit_transform({"a": 1})


# ---- lists of words ----------------------------------------------------------------------------------------


def test_lists_of_words_on_every_engine(engine: EngineCase) -> None:
    table = pa.table({"t": ["The rain and the wind", "sun", None]})
    pipe = og.Pipeline([og.RegexTokenizer(), og.StopWordsRemover(), og.NGram(2)])
    made = pipe.fit(engine.open(table)).transform(engine.open(table)).to_arrow()
    assert sorted(made["t"].to_pylist(), key=str) == [None, ["rain wind"], []]
    cased = og.StopWordsRemover(["The"], case_sensitive=True).fit_transform(
        og.RegexTokenizer(lowercase=False).fit_transform(table)
    )
    assert cased["t"].to_pylist() == [["rain", "and", "the", "wind"], ["sun"], None]
    with pytest.raises(ExportError, match="it has no columns of lists"):
        og.NGram().fit(og.RegexTokenizer().fit_transform(table)).to_sklearn()
    with pytest.raises(SchemaError, match=r"works on lists of words; \['t'\] are not"):
        og.NGram(columns="t").fit(table)
