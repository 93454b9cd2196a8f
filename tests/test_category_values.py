"""Categories are the values of a column, however Arrow stores them and whatever type they are given in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og

TWICE = pa.table({"c": pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 2]), pa.array(["u", "u", "v"]))})
PLAIN = pa.table({"c": ["u", "u", "u", "v"]})


@pytest.mark.parametrize("encoder", [og.OneHotEncoder(), og.OrdinalEncoder(), og.TargetEncoder(cv=2)])
def test_a_word_that_a_dictionary_has_twice_is_one_category(encoder: og.OneHotEncoder) -> None:
    y = [0, 1, 1, 0]
    found, plain = (type(encoder)(**encoder.get_params()).fit(rows, y) for rows in (TWICE, PLAIN))
    assert list(map(list, found.categories_)) == list(map(list, plain.categories_))
    assert found.transform(TWICE).equals(plain.transform(PLAIN))


def test_times_within_a_microsecond_are_categories() -> None:
    moments = pd.to_datetime([1, 2, 1_001, 2_000, 0], unit="ns")
    frame = pd.DataFrame({"t": moments})
    encoder = og.OrdinalEncoder().fit(frame)
    assert encoder.transform(frame)["t"].tolist() == [1, 2, 3, 4, 0]
    coarse = pa.table({"t": pa.array([2, 0], pa.timestamp("us"))})
    assert encoder.transform(coarse)["t"].to_pylist() == [4, 0]  # the same moment in another unit


@pytest.mark.parametrize("given", [[1, 300], [1.5, 2], [1, np.inf]])
def test_given_categories_stay_what_they_are(given: list[float]) -> None:
    X = np.array([[1], [2]], "i1")
    encoder = og.OrdinalEncoder(categories=[given], handle_unknown="use_encoded_value", unknown_value=-1).fit(
        X
    )
    assert encoder.categories_[0].tolist() == given
    assert encoder.transform(X)[:, 0].tolist() == [
        given.index(value) if value in given else -1 for value in (1, 2)
    ]
