"""Steps of a pipeline that look at different columns of the same rows learn in the same passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import DataError

rng = np.random.default_rng(0)
ROWS = pa.table(
    {
        **{name: rng.normal(size=500) for name in "abcd"},
        "n": rng.poisson(3, size=500).astype(float),
        "y": rng.integers(0, 2, size=500),
    }
)


def passes(*steps: Any) -> int:
    return og.Pipeline(list(steps)).fit(ROWS, "y").fit_record_.passes


def quantile_steps() -> list[Any]:
    return [
        og.RobustScaler(columns=["a"]),
        og.KBinsDiscretizer(4, columns=["b", "n"], encode="ordinal"),
        og.QuantileTransformer(columns="c", n_quantiles=50),
    ]


def test_quantile_passes_are_shared() -> None:
    alone = [passes(step) for step in quantile_steps()]
    assert passes(*quantile_steps()) == max(alone) < sum(alone)
    scores = [og.SelectKBest(k=1, columns=["a", "b"]), og.VarianceThreshold(columns=["c", "d"])]
    assert passes(*scores, og.SelectKBest("chi2", k=1, columns=["n"])) == 1
    assert passes(*scores, og.GaussianNB()) == 2  # which learns of the columns that are kept
    power = og.PowerTransformer(columns=["d"])
    assert passes(*quantile_steps(), power) == max(*alone, passes(power))


def test_shared_passes_change_nothing() -> None:
    steps = [*quantile_steps(), og.PowerTransformer(columns=["d"])]
    whole = og.Pipeline(steps).fit(ROWS, "y").transform(ROWS)
    rows = ROWS.drop_columns("y")
    for step in [*quantile_steps(), og.PowerTransformer(columns=["d"])]:
        rows = step.fit(rows).transform(rows)
    assert whole.drop_columns("y").equals(rows) or whole.equals(rows)


def test_steps_that_see_what_others_make_wait_for_them() -> None:
    one_by_one = [og.RobustScaler(columns=["a"]), og.MinMaxScaler(columns=["a", "b"])]
    expected = og.MinMaxScaler(columns=["a", "b"]).fit(og.RobustScaler(columns=["a"]).fit_transform(ROWS))
    pipe = og.Pipeline(one_by_one).fit(ROWS)
    np.testing.assert_array_equal(pipe[1].scale_, expected.scale_)
    np.testing.assert_array_equal(pipe[1].min_, expected.min_)


def test_names_of_new_columns_stay_apart() -> None:
    """Each of these would choose the same names if it did not see the other's."""
    sketches = [og.RBFSampler(columns=[name], n_components=2, gamma="scale") for name in "ab"]
    made = og.Pipeline(sketches).fit(ROWS, "y").transform(ROWS)
    new = [name for name in made.column_names if name.startswith("rbf")]
    assert len(set(new)) == len(new) == 4
    bins = [og.KBinsDiscretizer(3, columns=[name]) for name in "ab"]
    model = og.Pipeline([*bins, og.LogisticRegression()]).fit(ROWS, "y")
    one = og.Pipeline([og.KBinsDiscretizer(3, columns=["a", "b"]), og.LogisticRegression()]).fit(ROWS, "y")
    np.testing.assert_allclose(model.predict_proba(ROWS), one.predict_proba(ROWS), rtol=1e-6)


def test_errors_of_one_of_them_are_told() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [np.inf, 1.0], "y": [0, 1]})
    steps = [og.RobustScaler(columns=["a"]), og.QuantileTransformer(columns=["b"], n_quantiles=2)]
    with pytest.raises(DataError, match="infinity"):
        og.Pipeline(steps).fit(frame, "y")


def test_shared_passes_within_folds_and_groups() -> None:
    """Folds and groups share passes, too: steps that learn side by side must get along with that."""
    model = og.Pipeline([*quantile_steps()[:2], og.LogisticRegression()])
    apart = og.Pipeline([*quantile_steps()[:2], og.MinMaxScaler(columns=["a", "b"]), og.LogisticRegression()])
    for pipe in (model, apart):
        scores = og.cross_validate(pipe, ROWS, "y", cv=og.KFold(3))
        again = og.cross_validate(pipe, ROWS, "y", cv=og.KFold(3))
        assert str(scores) == str(again)
    rows = ROWS.select(["a", "b", "n", "y"]).append_column("key", pa.array(["u", "v"] * 250))
    fitted = og.PerGroup(model, by=["key"]).fit(rows, "y")
    part = rows.filter(pa.array([True, False] * 250))
    alone = model.fit(part.drop_columns("key"), "y").predict_proba(part.drop_columns("key"))
    asked = fitted.predict_proba(part)
    for name in [name for name in alone.column_names if name.startswith("probability")]:
        np.testing.assert_allclose(asked[name].to_numpy(), alone[name].to_numpy(), rtol=1e-6)
