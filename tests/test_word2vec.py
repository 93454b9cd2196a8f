"""Vectors of words: near where words stand among the same words, finite on any number of ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.engine.context import FitContext
from outgrow.errors import DataError, OutgrowError, ParameterError
from outgrow.ml.feature_extraction import word2vec
from outgrow.ml.feature_extraction.cooccurrences import cooccurrences, information, singular_vectors
from outgrow.ml.feature_extraction.documents import Documents
from outgrow.ml.feature_extraction.skip_gram import SkipGram, batched, parts
from outgrow.ml.feature_extraction.skip_gram_kernels import one_by_one
from outgrow.stats.quantiles import Gathered
from outgrow.testing import EngineCase
from outgrow.testing.engines import pieces_case
from ranks import ranks

PETS, STARS = ["cat", "dog", "paw", "fur", "bark"], ["sun", "moon", "star", "sky", "orbit"]
SKIP_GRAM = SkipGram(10, 3, 30, 5, 0.0, 0.05, 1e-4, 0.75, 0)


def two_topics(rows: int = 300) -> list[list[str]]:
    random = np.random.default_rng(0)
    return [random.choice(PETS if row % 2 else STARS, 8).tolist() for row in range(rows)]


def topics_are_apart(similarity: Any) -> None:
    """Every word is nearer to each of its topic than to any of the other."""
    for own, others in ((PETS, STARS), (STARS, PETS)):
        for word in own:
            near = min(similarity(word, other) for other in own if other != word)
            assert near > max(similarity(word, other) for other in others)


def means(model: og.Word2Vec, rows: pa.Table) -> np.ndarray:
    """The vectors of documents."""
    made = model.transform(rows).to_pydict()
    return np.array([made[f"word2vec_{j}"] for j in range(model.vector_size)]).T


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "pmi-svd", "negative": 1},
        {"epochs": 15, "sample": 0, "alpha": 0.05},
        {"epochs": 30, "sample": 0, "alpha": 0.05},  # compiled
    ],
    ids=["pmi-svd", "sgns", "sgns compiled"],
)
def test_words_of_a_topic_are_near(settings: dict[str, Any]) -> None:
    words = pa.table({"words": two_topics()})
    model = og.Word2Vec(**{"vector_size": 10, "window": 3, **settings}).fit(words)
    topics_are_apart(lambda a, b: cosine(model.get_vector(a), model.get_vector(b)))
    nearest = model.most_similar("cat", topn=4)
    assert {word for word, _ in nearest} == {*PETS} - {"cat"}
    assert [value for _, value in nearest] == sorted((value for _, value in nearest), reverse=True)
    documents = means(model, words)
    assert cosine(documents[0], documents[2]) > 0.8 > cosine(documents[0], documents[1])


def test_what_mllib_documents() -> None:
    """The example of pyspark.ml.feature.Word2Vec."""
    sentence = ("a b " * 100 + "a c " * 10).split()
    rows = pa.table({"sentence": [sentence, sentence]})
    for method in ("sgns", "pmi-svd"):
        model = og.Word2Vec(5, method=method, negative=1).fit(rows)
        assert model.terms_.tolist() == ["a", "b", "c"]
        assert model.counts_.tolist() == [220.0, 200.0, 20.0]
        assert model.vocabulary_ == {"a": 0, "b": 1, "c": 2}
        assert {word for word, _ in model.most_similar("a", topn=2)} == {"b", "c"}
        made = means(model, rows)
        assert made.shape == (2, 5)
        expected = model.counts_ @ np.asarray(model.vectors_, dtype=np.float64) / 440
        np.testing.assert_allclose(made, [expected, expected], rtol=1e-12)


def coded(rows: list[list[str]]) -> Documents:
    place = {word: code for code, word in enumerate([*PETS, *STARS])}
    codes = np.array([place[word] for row in rows for word in row], dtype=np.int32)
    return Documents(codes, np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows]))


SHARES = pytest.mark.parametrize(
    "shares", [(0, 0, 60), (50, 50, 50, 50)], ids=["ranks without rows", "equal"]
)


def learned_by(shares: tuple[int, ...], learn: Any) -> list[np.ndarray]:
    """What each rank gets that has its share of documents, one after the other."""
    rows, ends = two_topics(sum(shares)), np.cumsum((0, *shares))
    counts = np.bincount(coded(rows).codes, minlength=10).astype(float)
    return ranks(
        len(shares),
        lambda comm: learn(FitContext(comm), rows[ends[comm.rank] : ends[comm.rank + 1]], counts),
    )


@SHARES
def test_ranks_agree_on_vectors_that_stay_finite(shares: tuple[int, ...]) -> None:
    def learn(run: FitContext, rows: list[list[str]], counts: np.ndarray) -> np.ndarray:
        return SKIP_GRAM.of_ranks(run, parts(iter([coded(rows)]), run), counts)

    first, *others = learned_by(shares, learn)
    for other in (*others, *learned_by(shares, learn)):
        np.testing.assert_array_equal(other, first)
    (single,) = learned_by((sum(shares),), learn)
    assert np.abs(first).max() < 2 * np.abs(single).max()  # sums over ranks would grow with them
    place = {word: code for code, word in enumerate([*PETS, *STARS])}
    topics_are_apart(lambda a, b: cosine(first[place[a]], first[place[b]]))


@SHARES
def test_one_rank_learns_for_all(shares: tuple[int, ...]) -> None:
    def learn(run: FitContext, rows: list[list[str]], counts: np.ndarray) -> np.ndarray:
        own = coded(rows)
        every = Documents.of_lengths(*run.combine(Gathered((own.codes, own.lengths))).values)
        return replace(SKIP_GRAM, epochs=3).of_one_rank(run, every, counts)

    (alone,) = learned_by((sum(shares),), learn)
    for found in learned_by(shares, learn):
        np.testing.assert_array_equal(found, alone)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=12), st.randoms())
def test_the_order_of_documents_is_that_of_their_words(rows: list[list[int]], random: Any) -> None:
    def ordered(rows: list[list[int]]) -> list[list[int]]:
        codes = np.array([code for row in rows for code in row], dtype=np.int32)
        made = Documents.of_lengths(codes, np.array([len(row) for row in rows], dtype=np.int64)).ordered()
        return [part.tolist() for part in np.split(made.codes, made.starts)[1:]]

    shuffled = random.sample(rows, len(rows))
    assert ordered(shuffled) == ordered(rows)
    assert sorted(ordered(rows)) == sorted(rows)


def test_numpy_and_numba_take_the_same_steps() -> None:
    random = np.random.default_rng(0)
    vectors, contexts = random.normal(size=(2, 50, 7)).astype(np.float32)
    words = np.arange(16, dtype=np.int32)  # different ones, so that steps do not see each other
    targets = random.permutation(50).astype(np.int32)[:48].reshape(16, 3)
    targets[3, 2] = targets[3, 0]  # a negative sample that is the neighbour is none
    made = []
    for steps in (batched, one_by_one):
        own = vectors.copy(), contexts.copy()
        steps(words, targets[:, 0].copy(), targets[:, 1:].copy(), 0.1, *own)
        made.append(own)
    np.testing.assert_allclose(made[0][0], made[1][0], rtol=1e-5)
    np.testing.assert_allclose(made[0][1], made[1][1], rtol=1e-5)


def test_pairs_stay_within_documents() -> None:
    documents = Documents(np.array([0, 1, 2, 3, 4], np.int32), np.array([0, 0, 0, 1, 1], np.int32))
    found = zip(*documents.pairs(np.array([1, 2, 1, 2, 2])), strict=True)
    assert [(int(a), int(b)) for a, b in found] == [(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (4, 3)]
    assert [(int(a), int(b)) for a, b in zip(*documents.neighbours(2), strict=True)] == [(0, 2)]


def test_information_is_that_of_the_definition() -> None:
    """Of the counts, row by row."""
    documents, window, negative = coded(two_topics(20)), 2, 2
    counts = np.zeros((10, 10))
    for at, code in enumerate(documents.codes):
        for apart in range(1, window + 1):
            if at + apart < len(documents.codes) and documents.rows[at] == documents.rows[at + apart]:
                counts[code, documents.codes[at + apart]] += window + 1 - apart
    counts = counts + counts.T
    smooth = counts.sum(axis=0) ** 0.75
    expected = counts.sum(axis=1)[:, None] * (smooth / smooth.sum())
    with np.errstate(divide="ignore"):
        wanted = np.maximum(np.log(counts / expected) - np.log(negative), 0)
    cut = [documents.only(documents.rows % 2 == part) for part in (0, 1)]
    pairs = cooccurrences(cut[0], 10, window).merge(cooccurrences(cut[1], 10, window))
    found = information(pairs, 10, negative, 0.75)
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-12)
    vectors = singular_vectors(found, 12, 0)
    left, values, _ = np.linalg.svd(wanted)
    assert (vectors[:, 10:] == 0).all()
    np.testing.assert_allclose(
        np.abs(vectors[:, 0]), np.abs(left[:, 0] * np.sqrt(values[0])), rtol=1e-6, atol=1e-9
    )


def test_many_words_are_decomposed_as_few_are() -> None:
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(1100, 4)))[0] for _ in range(2))
    values = np.array([8.0, 4.0, 2.0, 1.0])
    found = singular_vectors(sp.csr_array(left * values @ right.T), 4, 0)
    np.testing.assert_allclose(np.abs(found), np.abs(left * np.sqrt(values)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["sgns", "pmi-svd"])
def test_the_same_on_every_engine_in_any_order(engine: EngineCase, method: str) -> None:
    texts = two_topics(90)
    expected = og.Word2Vec(8, method=method, min_count=1).fit(pa.table({"words": texts}))
    found = og.Word2Vec(8, method=method, min_count=1).fit(engine.open(pa.table({"words": texts[::-1]})))
    assert found.terms_.tolist() == expected.terms_.tolist()
    np.testing.assert_array_equal(found.counts_, expected.counts_)
    np.testing.assert_allclose(found.vectors_, expected.vectors_, rtol=0, atol=1e-12)


def test_each_rank_learns_where_words_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec, "OF_ONE_RANK", 100)
    model = og.Word2Vec(10, window=3, epochs=30, sample=0, alpha=0.05)
    model.fit(pieces_case(3).open(pa.table({"words": two_topics()})))
    topics_are_apart(lambda a, b: cosine(model.get_vector(a), model.get_vector(b)))


def test_the_seed_decides() -> None:
    rows = pa.table({"words": two_topics(60)})
    first, again, other = (og.Word2Vec(5, random_state=state).fit(rows).vectors_ for state in (None, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "settings", [{"method": "pmi-svd", "negative": 1}, {"epochs": 10, "alpha": 0.05, "sample": 0}]
)
def test_analogies(settings: dict[str, Any]) -> None:
    about = {"king": "RM", "queen": "RF", "man": "CM", "woman": "CF", "crown": "R", "street": "C"}
    random = np.random.default_rng(0)
    rows = [
        [word if place == 4 else f"{random.choice(list(kinds))}{random.integers(5)}" for place in range(9)]
        for word, kinds in about.items()
        for _ in range(200)
    ]
    model = og.Word2Vec(10, window=4, **settings).fit(pa.table({"words": rows}))
    known = [pair for pair in model.most_similar(["king", "woman"], "man", topn=40) if pair[0] in about]
    assert known[0][0] == "queen"
    assert {word for word, _ in known} == {"queen", "crown", "street"}


def test_vectors_are_compared_as_words_are() -> None:
    model = og.Word2Vec(10, epochs=2).fit(pa.table({"words": two_topics(60)}))
    (itself, value), *others = model.most_similar(model.get_vector("cat") * 3, topn=5)
    assert (itself, round(value, 6)) == ("cat", 1)
    assert [word for word, _ in others] == [word for word, _ in model.most_similar(["cat"], None, topn=4)]
    opposite = model.most_similar([], "cat", topn=20)
    np.testing.assert_allclose(
        [value for _, value in opposite][::-1], [-value for _, value in model.most_similar("cat", topn=20)]
    )
    for wrong in (np.ones(3), np.full(10, np.nan), [1, 2], [], [None], ["cat", "unseen"]):
        with pytest.raises(DataError, match=r"Word2Vec (compares|does not know)"):
            model.most_similar(wrong)


def test_vectors_are_a_table() -> None:
    model = og.Word2Vec(3, method="pmi-svd", negative=1, min_count=1).fit(
        ["Straße \U0001f600 naïve 東京", "東京 naïve"]
    )
    table = model.get_vectors()
    assert table.column_names == ["word", "count", "vector"]
    assert table["word"].to_pylist() == ["naïve", "東京", "straße"]
    assert table["count"].to_pylist() == [2, 2, 1]
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist()), model.vectors_)


def test_documents_without_known_words(tmp_path: Path) -> None:
    rows = pa.table({"words": [["a", "b", None], None, [], ["z"], ["b", "a", "b"]], "n": range(5)})
    model = og.Word2Vec(3, min_count=2).fit(rows)
    assert model.terms_.tolist() == ["b", "a"]
    made = means(model, rows)
    assert (made[1:4] == 0).all()
    np.testing.assert_allclose(made[0], (model.get_vector("a") + model.get_vector("b")) / 2)
    np.testing.assert_allclose(made[4], (model.get_vector("a") + 2 * model.get_vector("b")) / 3)
    model.save(tmp_path / "model")
    restored = og.load(tmp_path / "model")
    assert restored.transform(rows).equals(model.transform(rows))
    assert restored.most_similar("a") == model.most_similar("a")
    with pytest.raises(DataError, match="does not know 'z'"):
        model.get_vector("z")


def test_columns_of_a_row_are_one_document() -> None:
    """Text is cut as `CountVectorizer` cuts it, and words of two columns are neighbours."""
    texts = pa.table({"title": ["Red sky!", "Blue sea"], "body": ["over hills", "under boats"]})
    lists = pa.table({"words": [["red", "sky", "over", "hills"], ["blue", "sea", "under", "boats"]]})
    found, expected = (og.Word2Vec(4, min_count=1).fit(rows) for rows in (texts, lists))
    counted = og.CountVectorizer().fit(texts)
    assert found.terms_.tolist() == expected.terms_.tolist() == counted.terms_.tolist()
    np.testing.assert_array_equal(found.vectors_, expected.vectors_)


def test_long_documents_are_learned_to_their_end() -> None:
    """Where gensim stops at 10,000 words of a document, and MLlib cuts it at each 1,000."""
    early, late = (np.random.default_rng(0).choice(words, 9_000).tolist() for words in (PETS, STARS))
    model = og.Word2Vec(10, sample=0).fit(pa.table({"words": [[*early, *late]]}))
    topics_are_apart(lambda a, b: cosine(model.get_vector(a), model.get_vector(b)))


@pytest.mark.parametrize("method", ["sgns", "pmi-svd"])
@pytest.mark.parametrize("window", [1, 50])
def test_words_that_stand_alone_have_vectors(method: str, window: int) -> None:
    rows = pa.table({"words": [["a"], ["b", "a"], ["c"], [""]]})
    model = og.Word2Vec(1, method=method, window=window, min_count=0, negative=1).fit(rows)
    assert model.terms_.tolist() == ["a", "", "b", "c"]
    assert np.isfinite(model.vectors_).all()
    assert all(-1 <= value <= 1 for _, value in model.most_similar("c"))


def test_what_is_no_text_is_refused() -> None:
    for rows in ({"ids": [[1, 2], [3]]}, {"x": [1.0, 2.0]}, {"deep": [[["a"]], [["b"]]]}):
        with pytest.raises(OutgrowError, match=r"text|lists? of words"):
            og.Word2Vec(min_count=1).fit(pa.table(rows))


@pytest.mark.parametrize("wrong", [{"min_count": 9}, {"alpha": 1e38, "sample": 0, "min_count": 1}])
def test_refusals(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"min_count|alpha"):
        og.Word2Vec(5, **wrong).fit(["few words in this row", "words in this row"] * 3)


def test_parameters_are_checked() -> None:
    with pytest.raises(ParameterError, match="negative"):
        og.Word2Vec(negative=0).fit(["some words"])
