"""Results of all kinds print, show themselves in notebooks, and are saved, in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.errors import OutputExistsError, ParameterError
from outgrow.page.tabular import Tabular

ROWS = pa.table({"shop": ["a", "a", "b"], "y": [3.0, 5.0, 8.0], "p": [2.0, 5.0, 11.0]})


def scores() -> Any:
    X = np.arange(12.0).reshape(6, 2)
    return og.LinearRegression().fit(X, X[:, 0]).evaluate(X, X[:, 0])


def shap_values() -> Any:
    X = np.arange(12.0).reshape(6, 2)
    return og.shap_values(og.LinearRegression().fit(X, X[:, 0]), X)


RESULTS = {
    "report": lambda: og.metrics.regression_report(ROWS, "y", "p"),
    "report of groups": lambda: og.metrics.regression_report(ROWS, "y", "p", by="shop"),
    "statistic": lambda: og.stats.corr(ROWS, ["y", "p"]),
    "scores": scores,
    "shap": shap_values,
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_a_table_that_is_saved(name: str, tmp_path: Path) -> None:
    result = RESULTS[name]()
    assert isinstance(result, Tabular)
    table = result.to_arrow()
    pd.testing.assert_frame_equal(result.to_pandas(), table.to_pandas())
    for suffix in ("csv", "parquet", "json", "html"):
        result.save(tmp_path / f"made.{suffix}")
    pd.testing.assert_frame_equal(pq.read_table(tmp_path / "made.parquet").to_pandas(), table.to_pandas())
    assert pd.read_csv(tmp_path / "made.csv").shape == table.shape
    text = (tmp_path / "made.json").read_text()
    assert "NaN" not in text  # which is no JSON
    assert json.loads(text).keys() == result.to_dict().keys()
    page = (tmp_path / "made.html").read_text()
    assert result._repr_html_() in page
    assert "<table>" in page
    with pytest.raises(OutputExistsError):
        result.save(tmp_path / "made.json")
    result.save(tmp_path / "made.json", overwrite=True)
    with pytest.raises(ParameterError, match=r"ends in '.txt'"):
        result.save(tmp_path / "made.txt")


def test_metrics_are_a_dictionary_and_columns_of_groups_another() -> None:
    report = RESULTS["report"]()
    assert report.to_dict() == dict(report)
    assert scores().to_dict() == dict(scores())
    assert RESULTS["report of groups"]().to_dict()["shop"] == ["a", "b"]


def test_names_are_text_in_a_page() -> None:
    rows = pa.table({"<b>y</b>": [1.0, 2.0, 4.0], "p": [1.0, 3.0, 4.0]})
    page = og.stats.corr(rows, ["<b>y</b>", "p"]).to_html()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_long_results_say_what_is_left_out() -> None:
    rows = pa.table({"shop": np.arange(100), "y": np.arange(100.0), "p": np.ones(100)})
    report = og.metrics.regression_report(rows, "y", "p", by="shop")
    assert "... and 60 more" in repr(report)
    assert "... and 60 more" in report._repr_html_()
