"""Arrays of Python strings whose objects come again are read object by object, and give what others give."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import outgrow as og
from outgrow.data.objects import CodedSource, shared_texts, shared_values
from outgrow.data.source import TableSource
from outgrow.stats.text_counts import TextCounts

ROWS = 10_000


def _shared(*words: object) -> np.ndarray:
    known = np.empty(len(words), dtype=object)
    known[:] = words
    return known[np.random.default_rng(0).integers(0, len(words), ROWS)]


def test_codes_give_the_texts_back() -> None:
    values = _shared("a", None, "bb", np.nan, "ü", "")
    coded = shared_texts(values)
    assert coded is not None
    assert coded.to_pylist() == pa.array(values.tolist(), from_pandas=True).to_pylist()


def test_equal_texts_of_several_objects_are_one_word() -> None:
    values = _shared("".join(["wo", "rd"]), "".join(["w", "ord"]), "other")
    coded = shared_texts(values)
    assert coded is not None
    assert sorted(coded.chunk(0).dictionary.to_pylist()) == ["other", "word"]
    assert coded.to_pylist() == values.tolist()


@pytest.mark.parametrize("step", [1, 3, -1])
def test_columns_of_a_wider_array_and_steps_through_one(step: int) -> None:
    X = np.column_stack([_shared("a", "b"), _shared("c", "d")])[::step]
    values = np.concatenate([X, X, X])[::step, 1] if step == 3 else X[:, 1]
    coded = shared_texts(values)
    assert (coded is None) == (len(values) < 4_096)
    assert coded is None or coded.to_pylist() == values.tolist()


def test_parts_without_values_are_missing_ones() -> None:
    values = np.concatenate([_shared("a", "b"), np.full(600_000, None)])
    coded = shared_texts(values)
    assert coded is not None
    assert coded.num_chunks == 3
    assert coded.null_count == 600_000


def test_words_of_all_parts_are_in_one_dictionary() -> None:
    values = np.concatenate([np.tile(_shared(f"first{i}", "always", f"last{i}"), 27) for i in range(3)])
    coded = shared_texts(values)
    assert coded is not None
    assert coded.num_chunks > 1
    assert len({str(part.dictionary) for part in coded.chunks}) == 1
    assert coded.to_pylist() == values.tolist()


def test_words_of_no_row_are_not_counted() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2, None]), pa.array(["c", "never", "a"]))
    few = TextCounts.of(words.slice(0, 1))
    assert few.values().tolist() == ["a"]
    assert few.merge(TextCounts.of(words)).counts == {"a": 3.0, "c": 1.0, None: 1.0}


@pytest.mark.parametrize("words", [("a", 1), (1.0, 2.0), (b"a", b"b"), (None, np.nan), ((1,), (2,))])
def test_other_objects_are_not_its_business(words: tuple[object, ...]) -> None:
    assert shared_texts(_shared(*words)) is None


@pytest.mark.parametrize("values", [(1, 2, None), (1, 2.5), (1, np.nan), (True, False), (2**40, -1)])
def test_numbers_are_read_as_if_each_row_were(values: tuple[object, ...]) -> None:
    rows = _shared(*values)
    plain = pa.array(rows.tolist(), from_pandas=True)
    found = shared_values(rows)
    assert found is not None
    assert found.combine_chunks().equals(plain)


def test_objects_that_do_not_come_again_are_read_as_they_are() -> None:
    assert shared_texts(np.array([f"word{i}" for i in range(ROWS)], dtype=object)) is None


def test_rows_are_those_of_plain_text() -> None:
    values = _shared("a", None, "b")
    source = CodedSource(pa.table({"x0": shared_texts(values), "y": np.arange(ROWS)}), 3_000)
    plain = TableSource(pa.table({"x0": values.tolist(), "y": np.arange(ROWS)}), 3_000)
    assert source.schema == plain.schema
    assert source.describe()["rows"] == plain.describe()["rows"]
    for encoded in (False, True):
        rows = [b for piece in source.pieces() for b in piece.batches(None, None, encoded=encoded)]
        assert [x for b in rows for x in b["x0"].to_pylist()] == values.tolist()
        assert pa.types.is_dictionary(rows[0]["x0"].type) is encoded


@pytest.mark.parametrize("encoder", [og.OrdinalEncoder(), og.OneHotEncoder(), og.OneHotEncoder("x1")])
def test_encoders_learn_and_give_the_same(encoder: Any) -> None:
    X = np.column_stack([_shared("a", "b", None), _shared("c", "d")])
    apart = np.array([[None if v is None else "".join(list(v)) for v in row] for row in X], dtype=object)
    apart = np.array([[v if v is None else str(v).encode().decode() for v in row] for row in apart], object)
    made, same = (encoder.fit(rows).transform(X) for rows in (X, apart))
    made, same = (m.toarray() if hasattr(m, "toarray") else m for m in (made, same))
    assert np.array_equal(np.asarray(made).astype(str), np.asarray(same).astype(str))
    assert [list(c) for c in encoder.categories_][-1] == ["c", "d"]


def test_other_transformers_meet_plain_text() -> None:
    X = _shared("a b", "c")[:, None]
    y = np.arange(ROWS) % 2
    whole = og.TargetEncoder().fit(X, y).transform(X)
    assert whole.shape == (ROWS, 1)
    filled = og.SimpleImputer(strategy="most_frequent").fit_transform(_shared("a", None)[:, None])
    assert set(filled[:, 0]) == {"a"}


def test_frames_of_shared_texts_are_those_of_other_texts() -> None:
    frame = pd.DataFrame({"word": _shared("a", None, "bb"), 7: np.arange(ROWS), "other": _shared("c", "d")})
    rows = og.dataset(frame)
    assert isinstance(rows.scan.source, CodedSource)
    plain = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    assert rows.to_arrow().equals(plain)
    assert rows.schema == plain.schema
    assert rows.where(pc.field("word") == "a").count() == (frame["word"] == "a").sum()


def test_frames_keep_their_categories() -> None:
    frame = pd.DataFrame({"word": _shared("a", "b"), "kind": pd.Categorical(_shared("c", "d"))})
    assert pa.types.is_dictionary(og.dataset(frame).schema.field("kind").type)
    assert og.dataset(frame).schema.field("word").type == pa.string()


def test_models_of_a_frame_of_shared_texts_with_y_beside_it() -> None:
    frame = pd.DataFrame({"word": _shared("a", "b"), "x": np.arange(ROWS) % 7})
    y = np.where(frame["word"] == "a", "yes", "no")
    model = og.Pipeline([("code", og.OneHotEncoder("word")), ("model", og.LogisticRegression())])
    assert model.fit(frame, y).score(frame, y) == 1.0
    assert list(model.predict(frame[:5])) == list(y[:5])
