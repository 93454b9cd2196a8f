"""A dataset of which an encoder made sparse columns has them for whoever names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import outgrow as og

ROWS = pa.table({"kind": ["x", "y", "x", "z"] * 5, "a": [1.0, 2.0, 3.0, 4.0] * 5, "y": [0, 1, 0, 1] * 5})
USES: dict[str, Callable[[Any], Any]] = {
    "select": lambda rows: rows.select("kind_y", "a").to_arrow(),
    "drop": lambda rows: rows.drop("kind_y").to_arrow(),
    "predict": lambda rows: og.Ridge().fit(rows, "y").predict(rows).to_arrow()["prediction"].to_pylist(),
    "where": lambda rows: rows.where(pc.field("kind_y") == 1).count(),
    "query": lambda rows: og.sql("SELECT sum(kind_y) AS s FROM r", {"r": rows}).to_arrow(),
    "split": lambda rows: [part.count() for part in rows.split(test=0.5, by="kind_x")],
    "profile": lambda rows: {name: found.mean for name, found in rows.profile().columns.items()},
    "target": lambda rows: og.LogisticRegression().fit(rows, "kind_x").classes_.tolist(),
}


@pytest.mark.parametrize("use", USES)
def test_columns_of_a_sparse_matrix_are_found_by_their_names(use: str) -> None:
    encoder = og.OneHotEncoder(columns=["kind"]).fit(ROWS)
    sparse, dense = encoder.transform(og.dataset(ROWS)), og.dataset(encoder.transform(ROWS))
    assert sparse.columns == dense.columns
    found, wanted = USES[use](sparse), USES[use](dense)
    assert found == pytest.approx(wanted, abs=1e-9) if use in ("predict", "profile") else found == wanted
