"""Encoders of thousands of categories: found by hash and order, they are what scikit-learn finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import preprocessing
from sklearn.base import clone

import outgrow as og
from outgrow import errors
from outgrow.stats.number_counts import NumberIndex
from outgrow.stats.texts import TextIndex, Texts

MANY = 5_000
PICKED = np.random.default_rng(0).permutation(np.arange(3 * MANY) % MANY)


def _texts(form: str, picked: np.ndarray = PICKED) -> pa.Array:
    """Texts of some form, one for each number."""
    return pa.array([form.format(j, "é" * (j % 7), "-" * (j % 90)) for j in picked.tolist()])


COLUMNS: dict[str, Any] = {
    "words": _texts("word{0:08}"),
    "a-long-beginning": _texts("https://example.org/a/page/of/some/shop?item={0}"),
    "long-and-alike-at-both-ends": _texts("{2}{0}" + "/the/same/end" * 30),
    "many-letters": _texts("{1}{0}{1}"),
    "zeros-at-the-end": pa.array(["a" * (j // 70) + "\0" * (j % 70) for j in PICKED.tolist()]),
    "text-with-gaps": pa.array([None if j % 50 == 3 else f"w{j}" for j in PICKED.tolist()]),
    "dictionary": _texts("{0}").dictionary_encode(),
    "large-text": _texts("{0}").cast(pa.large_string()),
    "whole-numbers": pa.array(PICKED - 2_500),
    "whole-numbers-with-gaps": pa.array([None if j % 50 == 3 else j for j in PICKED.tolist()]),
    "small-whole-numbers": pa.array(PICKED.astype(np.uint16)),
    "large-whole-numbers": pa.array(PICKED + 2**60),
    "floats-with-gaps": pa.array([None if j % 50 == 3 else j / 7 for j in PICKED.tolist()]),
    "short-floats": pa.array((PICKED / 7).astype(np.float32)),
}


def _shown(categories: np.ndarray) -> list[Any]:
    """Categories, None for those that are missing."""
    return [None if value != value else value for value in categories.tolist()]


@pytest.mark.parametrize("name", COLUMNS)
def test_encoders_of_many_categories_equal_scikit_learns(name: str) -> None:
    table = pa.table({"a": COLUMNS[name]})
    frame = table.to_pandas().astype({"a": object} if name == "dictionary" else {})
    if frame["a"].dtype == object:  # whose encoders know NaN as missing, and None as a category
        frame["a"] = frame["a"].where(frame["a"].notna(), np.nan)
    ours = og.OrdinalEncoder(encoded_missing_value=-2).fit(table)
    theirs = preprocessing.OrdinalEncoder(encoded_missing_value=-2).fit(frame)
    assert _shown(ours.categories_[0]) == _shown(theirs.categories_[0])
    np.testing.assert_array_equal(ours.transform(table)["a"].to_numpy(), theirs.transform(frame)[:, 0])
    hot = og.OneHotEncoder(min_frequency=4).set_output(transform="default").fit_transform(table)
    assert abs(hot - preprocessing.OneHotEncoder(min_frequency=4).fit_transform(frame)).max() == 0


def test_counts_of_many_categories_are_those_of_their_rows() -> None:
    often = np.concatenate([PICKED, np.repeat(np.arange(0, MANY, 3), 4)])
    for column in (_texts("w{0}", often), pa.array(often)):
        encoder = og.OneHotEncoder(min_frequency=4).fit(pa.table({"a": column}))
        assert len(encoder.infrequent_categories_[0]) == MANY - len(range(0, MANY, 3))


@pytest.mark.parametrize("column", [_texts("w{0}"), pa.array(PICKED)], ids=["text", "numbers"])
def test_values_outside_many_categories_are_named(column: pa.Array) -> None:
    encoder = og.OrdinalEncoder().fit(pa.table({"a": column}))
    other: list[Any] = ["w1", "here", None, "w"] if pa.types.is_string(column.type) else [1, -7, None, 10**17]
    rows = pa.table({"a": pa.array(other * 10)})
    with pytest.raises(errors.DataError, match=rf"\[{other[1]!r}, None, {other[3]!r}\]"):
        encoder.transform(rows)
    lenient = og.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    lenient.fit(pa.table({"a": column}))
    assert lenient.transform(rows)["a"].to_pylist()[1:4] == [-1.0, -1.0, -1.0]


def test_numbers_compare_by_value_across_types() -> None:
    encoder = og.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoder.fit(pa.table({"a": pa.array(range(MANY))}))
    halves = pa.table({"a": pa.array(np.arange(40) / 2)})
    assert encoder.transform(halves)["a"].to_pylist()[:4] == [0.0, -1.0, 1.0, -1.0]


def test_long_whole_numbers_beside_missing_values_stay_apart() -> None:
    numbers = [2**60 + j for j in range(MANY)]
    rows = pa.table({"a": pa.array([*numbers, None])})
    encoder = og.OrdinalEncoder(encoded_missing_value=-2).fit(rows)
    assert encoder.categories_[0].tolist() == [*numbers, None]
    assert encoder.transform(rows)["a"].to_pylist() == [*range(MANY), -2.0]


def test_missing_values_among_given_categories_may_stand_anywhere() -> None:
    given = [None, *(f"w{j}" for j in range(MANY))]
    rows = pa.table({"a": ["w0", None, "w7"] * 10})
    encoder = og.OrdinalEncoder(categories=[given], encoded_missing_value=-2).fit(rows)
    assert encoder.transform(rows)["a"].to_pylist()[:3] == [1.0, -2.0, 8.0]


def test_texts_of_one_hash_are_told_apart() -> None:
    ends = [f"{'x' * 300}{j:04}{'y' * 8}" for j in range(50)]  # their hashes see 256 letters
    texts = Texts.of(pa.array(ends * 2))
    first, codes = texts.codes()
    assert first.tolist() == list(range(50))
    assert codes.tolist() == [*range(50), *range(50)]
    assert texts.take(texts.order()).arrow.to_pylist() == sorted(ends * 2)
    index = TextIndex(np.array(ends, dtype=object))
    assert index.places(pa.array([ends[7], None, "x" * 300, ends[0]])).tolist() == [7, -1, -1, 0]


@pytest.mark.parametrize("words", [[], [""], ["", "a"], ["b", "a", "\0", ""]])
def test_few_texts_have_an_order_and_a_place(words: list[str]) -> None:
    texts = Texts.of(pa.array(words, pa.string()))
    assert texts.take(texts.order()).arrow.to_pylist() == sorted(words)
    asked = ["a", "", "none"]
    found = TextIndex(np.array(words, dtype=object)).places(pa.array(asked))
    assert found.tolist() == [words.index(word) if word in words else -1 for word in asked]


@pytest.mark.parametrize("form", ["arrow", "pandas", "polars"])
def test_what_is_too_wide_for_a_table_is_a_sparse_array(form: str) -> None:
    table = pa.table({"a": [f"w{j}" for j in range(10_001)], "b": [0.5] * 10_001})
    rows = table if form == "arrow" else table.to_pandas()
    if form == "polars":
        rows = polars.from_arrow(table)
    encoder = og.OneHotEncoder(["a"], dtype=np.float32)
    hot = encoder.fit_transform(rows)
    assert sp.issparse(hot)
    assert hot.shape == (10_001, 10_002)
    assert hot[0].sum() == 1.5
    piped = og.Pipeline([encoder, og.StandardScaler(["b"])]).fit_transform(rows)
    assert sp.issparse(piped)
    assert piped.shape == hot.shape
    with pytest.raises(errors.SchemaError, match="Models in a Pipeline take it"):
        encoder.transform(og.dataset(rows)).to_arrow()
    with pytest.raises(errors.SchemaError, match="sparse array"):
        encoder.transform(table.append_column("c", pa.array(["text"] * 10_001)))


def test_tables_become_arrays_where_set_output_says_so() -> None:
    table = pa.table({"a": ["x", "y", "x"], "b": [0.5, 1.5, 2.5]})
    encoder = og.OneHotEncoder(["a"])
    assert isinstance(encoder.fit_transform(table), pa.Table)
    asked = clone(encoder.set_output(transform="default"))
    for rows in (table, table.to_pandas()):
        hot = asked.fit_transform(rows)
        assert sp.issparse(hot)
        np.testing.assert_array_equal(hot.toarray(), [[1, 0, 0.5], [0, 1, 1.5], [1, 0, 2.5]])
    assert isinstance(asked.transform(og.dataset(table)), og.Dataset)
    codes = og.OrdinalEncoder(["a"], dtype=np.int8).set_output(transform="default").fit_transform(table)
    np.testing.assert_array_equal(codes, [[0, 0.5], [1, 1.5], [0, 2.5]])
    pipe = og.Pipeline([og.OrdinalEncoder(["a"]), og.StandardScaler(["b"])]).set_output(transform="default")
    assert isinstance(pipe.fit_transform(table), np.ndarray)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16(), pa.uint64(), pa.float64()])
def test_numbers_are_found_by_table_and_by_search(kind: pa.DataType) -> None:
    """Numbers that lie close have a table; others, and columns of other types, are searched."""
    near, far = np.array([-3, 0, 1, 5, 7]), np.array([-3, 0, 1, 5, 10**12])
    values = [0, 1, 2, 5, 7, 9, None, 100] + (
        [-3, -128] if kind in (pa.int8(), pa.int64(), pa.float64()) else []
    )
    column = pa.array(values, kind)
    for known in (near, far):
        listed = known.tolist()
        expected = [listed.index(value) if value in listed else -1 for value in values]
        assert NumberIndex(known).places(column).tolist() == expected
    assert (
        NumberIndex(near.astype(np.float64)).places(column).tolist()
        == NumberIndex(near).places(column).tolist()
    )


def test_tables_that_memory_cannot_hold_are_refused() -> None:
    """The system would end the process without a word."""
    encoder = og.OneHotEncoder().fit(pa.table({"a": np.arange(9_000, dtype=np.int16)}))
    many = pa.table({"a": np.zeros(20_000_000, dtype=np.int16)})
    for rows in (many, many.to_pandas()):
        with pytest.raises(errors.DataError, match=r"9,000 sparse columns .* 1,440\.0 GB.*set_output"):
            encoder.transform(rows)
    assert encoder.transform(og.dataset(many)).columns[-1] == "a_8999"
