"""A dataset of which an encoder made sparse columns has them for whoever names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import outgrow as og
from outgrow.errors import ColumnNotFoundError, ExportError
from outgrow.ml.export.onnx.run import feeds, run

ROWS = pa.table({"kind": ["x", "y", "x", "z"] * 5, "a": [1.0, 2.0, 3.0, 4.0] * 5, "y": [0, 1, 0, 1] * 5})
APPROXIMATE = ("predict", "profile", "summarize", "corr", "matching")
USES: dict[str, Callable[[Any], Any]] = {
    "select": lambda rows: rows.select("kind_y", "a").to_arrow(),
    "drop": lambda rows: rows.drop("kind_y").to_arrow(),
    "predict": lambda rows: og.Ridge().fit(rows, "y").predict(rows).to_arrow()["prediction"].to_pylist(),
    "where": lambda rows: rows.where(pc.field("kind_y") == 1).count(),
    "query": lambda rows: og.sql("SELECT sum(kind_y) AS s FROM r", {"r": rows}).to_arrow(),
    "split": lambda rows: [part.count() for part in rows.split(test=0.5, by="kind_x")],
    "profile": lambda rows: {name: found.mean for name, found in rows.profile().columns.items()},
    "summarize": lambda rows: og.stats.summarize(rows, ["kind_y", "a"]).mean.tolist(),
    "corr": lambda rows: og.stats.corr(rows, ["a", "kind_y"]).statistic.ravel().tolist(),
    "matching": lambda rows: og.stats.summarize(rows, og.matching("_[yz]$")).mean.tolist(),
    "target": lambda rows: og.LogisticRegression().fit(rows, "kind_x").classes_.tolist(),
}


@pytest.mark.parametrize("use", USES)
def test_columns_of_a_sparse_matrix_are_found_by_their_names(use: str) -> None:
    encoder = og.OneHotEncoder(columns=["kind"]).fit(ROWS)
    sparse, dense = encoder.transform(og.dataset(ROWS)), og.dataset(encoder.transform(ROWS))
    assert sparse.columns == dense.columns
    found, wanted = USES[use](sparse), USES[use](dense)
    assert found == pytest.approx(wanted, abs=1e-9) if use in APPROXIMATE else found == wanted


STEPS: dict[str, Callable[[Any], Any]] = {
    "scaler": lambda columns: og.StandardScaler(columns=columns),
    "bins": lambda columns: og.KBinsDiscretizer(2, columns=columns, strategy="uniform"),
    "powers": lambda columns: og.PolynomialFeatures(columns=columns, include_bias=False),
    "target": lambda columns: og.TargetEncoder(columns=columns, cv=2),
    "hot": lambda columns: og.OneHotEncoder(columns=columns),
}


@pytest.mark.parametrize("columns", [["kind_y"], ["a", "kind_z", "kind_x"], og.matching("_[xy]$")], ids=repr)
@pytest.mark.parametrize("step", STEPS)
def test_steps_find_columns_of_a_sparse_matrix_by_their_names(step: str, columns: Any) -> None:
    def fitted(*, sparse: bool) -> Any:
        first = og.OneHotEncoder(columns=["kind"], sparse_output=sparse)
        return og.Pipeline([first, STEPS[step](columns), og.Ridge()]).fit(ROWS, "y")

    sparse, dense = fitted(sparse=True), fitted(sparse=False)
    assert sparse[:-1].get_feature_names_out().tolist() == dense[:-1].get_feature_names_out().tolist()
    found, wanted = (np.asarray(made.predict(ROWS)["prediction"]) for made in (sparse, dense))
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_steps_of_numbers_of_a_sparse_matrix_are_saved_and_exported(tmp_path: Any) -> None:
    rows = ROWS.drop("y").append_column("b", ROWS["a"])
    steps = [og.OneHotEncoder(columns=["kind"]), og.StandardScaler(columns=["kind_y", "b"])]
    made = og.Pipeline(steps).fit(rows)
    wanted = made.transform(rows)
    assert wanted.column_names == ["kind_x", "kind_y", "kind_z", "a", "b"]
    made.save(tmp_path / "model")
    assert og.load(tmp_path / "model").transform(rows).equals(wanted)
    table = np.column_stack(list(map(np.asarray, wanted.columns)))
    made.to_onnx(tmp_path / "model.onnx")
    (tensor,) = run((tmp_path / "model.onnx").read_bytes(), feeds(rows, made.columns_)).values()
    np.testing.assert_allclose(tensor, table, atol=1e-12)
    with pytest.raises(ExportError, match="single numbers of the vectors"):
        made.to_sklearn()


def test_what_takes_vectors_whole_says_so() -> None:
    both = og.ColumnTransformer([("scaled", og.StandardScaler(), ["kind_y"])], remainder="passthrough")
    with pytest.raises(ColumnNotFoundError, match="'kind_y' is a number of the vectors 'onehot'"):
        og.Pipeline([og.OneHotEncoder(columns=["kind"]), both]).fit(ROWS.drop("y"))
