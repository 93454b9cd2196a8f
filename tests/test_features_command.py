"""`outgrow features`: from a file to what servers see."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pyarrow as pa
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.errors import ParameterError
from outgrow.features.definitions_file import read_definitions

FILE = """
entities: {user: [user_id]}
views:
  users:
    entities: [user]
    source: {data: rows.parquet, timestamp_field: at, query: "SELECT *, x * 2 AS twice FROM rows"}
    ttl: 7d
on_demand:
  more: {sources: ["users:x"], sql: x + 1 AS next, schema: [next]}
services: {model: [users, more]}
"""


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["features", *words])
    return int(ended.value.code or 0)


def test_a_file_becomes_what_servers_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    table = pa.table({"user_id": [7], "at": [now], "x": [1.5]})
    og.write_parquet(og.dataset(table), tmp_path / "rows.parquet")
    (tmp_path / "features.yaml").write_text(FILE)
    store = str(tmp_path / "store")
    assert run("apply", store, str(tmp_path / "features.yaml")) == 0
    assert run("materialize", store) == 0
    capsys.readouterr()
    assert run("get", store, "model", "--key", "user_id=7") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"user_id": 7, "users__x": 1.5, "users__twice": 3.0, "more__next": 2.5}
    assert run("show", store) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "users by user_id: materialised" in text
    assert "service model: users, more" in text
    assert run("get", store, "model", "--key", "user_id") == 2
    assert run("apply", store, str(tmp_path / "nope.yaml")) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("views: [a]", "views maps names"),
        ("view: {}", "a mapping with entities"),
        ("views: {v: {entities: [user], source: {data: x, timestamp_field: t}}}", "no entities"),
        ("entities: {user: [u]}\nviews: {v: {entities: [user]}}", r"views\.v: 'source'"),
        ("on_demand: {v: {sql: x}}", r"on_demand\.v: .*missing"),
        ("a: [", "is no YAML"),
    ],
)
def test_files_that_are_wrong_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "features.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=reason):
        read_definitions(str(path))
