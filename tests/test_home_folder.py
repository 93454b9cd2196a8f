"""Paths may begin with ~ wherever one is read or written: no folder of that name is made."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import outgrow as og

ROWS = pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; the process stands in another one."""
    home = tmp_path / "home"
    (tmp_path / "elsewhere").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def test_what_is_written_below_home_is_read_from_there(home: Path) -> None:
    og.write_parquet(og.dataset(ROWS), "~/rows")
    rows = og.read("~/rows")
    assert rows.count() == 3
    assert og.read("~/rows/*.parquet").count() == 3
    model = og.LinearRegression().fit(rows, "y")
    model.save("~/models/late")
    og.score("~/models/late", rows, "~/scores")
    assert og.read("~/scores").count() == 3
    store = og.ModelStore("~/store")
    store.promote(store.add(og.load("~/models/late")))
    assert og.load("~/store@champion").coef_.tolist() == model.coef_.tolist()
    with og.EventLog("~/ops.db") as log:
        log.append("run.tagged", "here", {"tags": {}})
    assert {path.name for path in home.iterdir() if not path.name.startswith(".")} == {
        "rows",
        "models",
        "scores",
        "store",
        "ops.db",
    }
    assert list(Path.cwd().iterdir()) == []
