"""Isotonic regression beside scikit-learn's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml import isotonic
from outgrow.ml.export.onnx.file import content
from outgrow.ml.export.onnx.run import run
from outgrow.ml.selection.many import fit_many

NUMBERS = st.integers(-8, 8).map(float) | st.floats(-3, 3).map(lambda x: round(x, 3))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=2, max_size=40
    ),
    increasing=st.sampled_from([True, False, "auto"]),
    limits=st.sampled_from([(None, None), (-1.0, None), (None, 1.0), (-1.0, 1.0)]),
    outside=st.sampled_from(["nan", "clip"]),
    weighted=st.booleans(),
)
def test_it_learns_what_scikit_learn_does(
    rows: list[Any], increasing: Any, limits: Any, outside: str, weighted: bool
) -> None:
    x, y, weight = np.array(rows).T
    weight[0] = 1.0
    if increasing == "auto" and (np.ptp(x) == 0 or np.ptp(y) == 0):
        return  # which has no correlation
    parameters = {"increasing": increasing, "y_min": limits[0], "y_max": limits[1], "out_of_bounds": outside}
    given_weight = weight if weighted else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = IsotonicRegression(**parameters).fit(x, y, given_weight)
        ours = og.IsotonicRegression(**parameters).fit(x, y, given_weight)
    assert ours.increasing_ == theirs.increasing_
    assert (ours.X_min_, ours.X_max_) == (theirs.X_min_, theirs.X_max_)
    new = np.linspace(-9, 9, 73)
    np.testing.assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.to_sklearn().predict(new), theirs.predict(new), rtol=1e-10, atol=1e-12)


def test_values_outside_of_the_fit() -> None:
    x, y, new = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.5, 9.0])
    np.testing.assert_array_equal(og.IsotonicRegression().fit(x, y).predict(new), [np.nan, 1.5, np.nan])
    clipped = og.IsotonicRegression(out_of_bounds="clip").fit(x, y)
    assert clipped.predict(new).tolist() == [1.0, 1.5, 4.0]
    with pytest.raises(
        DataError, match=r"2 value\(s\) lie outside of the numbers of the fit, 1 to 3; the first is 0"
    ):
        og.IsotonicRegression(out_of_bounds="raise").fit(x, y).predict(new)
    assert og.IsotonicRegression().fit([1.0, 1.0], [2.0, 4.0]).predict(new).tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("outside", ["nan", "clip", "raise"])
@pytest.mark.parametrize("many", [True, False])
def test_graphs_of_onnx(outside: str, many: bool) -> None:
    x = np.linspace(0, 1, 200) if many else np.ones(5)
    y = x**3 + np.sin(40 * x)
    model = og.IsotonicRegression(out_of_bounds=outside).fit(x, y)
    new = np.concatenate([x, x - 1e-4 * (x > 0.5)])
    (answered,) = run(content(model), {"x0": new[:, None]}).values()
    np.testing.assert_allclose(answered, model.predict(new), rtol=1e-12, atol=1e-13)
    beyond = {"x0": np.array([[-5.0], [7.0]])}
    if outside == "raise" and many:
        with pytest.raises(Exception, match="outside of the fit"):
            run(content(model), beyond)
        return
    (answered,) = run(content(model), beyond).values()
    np.testing.assert_array_equal(answered, model.predict(beyond["x0"][:, 0]))


def test_too_many_thresholds_are_not_exported() -> None:
    x = np.arange(isotonic.MOST_EXPORTED + 2.0)
    model = og.IsotonicRegression().fit(x, x**2)
    with pytest.raises(ExportError, match="10002 thresholds"):
        content(model)


def test_thresholds_very_near_each_other() -> None:
    x, y = np.array([0.0, 4.1e-320, 4.4e-314, 1.0]), np.array([0.42, 0.42, 0.44, 0.44])
    found = og.IsotonicRegression().fit(x, y).predict(np.array([0.0, 2.1e-319, 5.4e-316, 1e-10]))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


def test_one_of_several_columns() -> None:
    rows = pa.table({"a": [3.0, 1.0, 2.0], "b": [0.0, 1.0, 0.0], "y": [5.0, 1.0, 2.0]})
    with pytest.raises(DataError, match=r"2d array with 1 feature; there are 2. Give one column, or say"):
        og.IsotonicRegression().fit(rows, "y")
    with pytest.raises(ParameterError, match="counted from 0"):
        og.IsotonicRegression(feature_index=2).fit(rows, "y")
    model = og.IsotonicRegression(feature_index=0).fit(rows, "y")
    assert model.predict(rows)["prediction"].to_pylist() == [5.0, 1.0, 2.0]
    with pytest.raises(ParameterError, match="must not be above"):
        og.IsotonicRegression(y_min=2.0, y_max=1.0).fit(rows.select(["a", "y"]), "y")


def test_a_doubtful_direction_is_told() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=100), rng.normal(size=100)
    with pytest.warns(UserWarning, match="spans zero"):
        model = og.IsotonicRegression(increasing="auto").fit(x, y)
    with pytest.warns(UserWarning, match="spans zero"):
        assert model.increasing_ == IsotonicRegression(increasing="auto").fit(x, y).increasing_
    assert model.fit_record_.passes == 2
    assert og.IsotonicRegression().fit(x, y).fit_record_.passes == 1


def test_settings_and_folds_share_passes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    table = pa.table({"x": x, "y": x + rng.normal(size=300)})
    settings_ = [{"out_of_bounds": "clip"}, {"out_of_bounds": "clip", "y_max": 0.5}]
    found = fit_many(og.IsotonicRegression(), table, "y", settings_, folds=og.KFold(3), refit=True)
    assert found.passes == 2
    for setting, trial in zip(settings_, found.trials, strict=True):
        alone = og.IsotonicRegression(**setting).fit(table, "y")
        np.testing.assert_allclose(trial.refitted.y_thresholds_, alone.y_thresholds_, rtol=1e-12)
