"""From predictions back to the rows that made their model, with a log and without."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.engine.activity import activity
from outgrow.errors import InputNotFoundError
from outgrow.provenance.drawing import to_svg
from outgrow.provenance.graph import Lineage
from outgrow.provenance.openlineage import to_openlineage

TABLE = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "late": [2.0, 4.0, 6.0, 9.0]})


def as_delta(folder: Path) -> str:
    path = str(folder / "flights")
    deltalake.write_deltalake(path, TABLE)
    deltalake.write_deltalake(path, TABLE.slice(0, 1), mode="append")
    return path


def kinds(graph: Lineage) -> list[str]:
    return [node.kind for column in graph.layers() for node in column]


def test_scores_lead_back_to_the_rows_of_their_model_without_a_log(tmp_path: Path) -> None:
    path = as_delta(tmp_path)
    og.LinearRegression().fit(og.read(f"{path}@v0"), "late").save(tmp_path / "model")
    og.score(tmp_path / "model", og.read(path), tmp_path / "scores")
    graph = og.lineage(tmp_path / "scores")
    assert kinds(graph) == ["source", "data", "data", "model", "predictions"]
    made = json.loads((tmp_path / "scores" / ".outgrow").read_text())["made"]
    data = og.DatasetVersion.from_dict(made["model"]["data"])
    assert (data.version, made["input"]["version"]) == (0, 1)
    assert made["model"]["path"] == str(tmp_path / "model")
    again = og.LinearRegression().fit(og.read(data), "late")
    assert again.coef_.tobytes() == og.load(tmp_path / "model").coef_.tobytes()
    assert kinds(og.lineage(tmp_path / "model")) == ["source", "data", "model"]
    with pytest.raises(InputNotFoundError, match="says nothing of where it came from"):
        og.lineage(tmp_path)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, og.EventLog]:
    """A table, a run, a version, an alias and scores, all in a log."""
    path, log = as_delta(tmp_path), og.EventLog(tmp_path / "ops.db")
    og.track.start(log)
    try:
        model = og.LinearRegression().fit(og.read(f"{path}@v0"), "late")
        store = og.ModelStore(tmp_path / "late", log=log)
        store.promote(store.add(model))
        og.score(model, og.read(path), tmp_path / "scores")
    finally:
        og.track.stop()
    return tmp_path, log


def test_the_log_joins_all_of_it(
    recorded: tuple[Path, og.EventLog], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, log = recorded
    graph = og.lineage(log=log)
    assert {node.kind for node in graph.nodes.values()} == {
        "source", "data", "run", "model", "version", "alias", "predictions"
    }  # fmt: skip
    back = og.lineage("late@champion", log=log)
    assert [node.facts["version"] for node in back.nodes.values() if node.kind == "data"] == [0]
    forward = og.lineage(f"{folder}/flights@v0", log=log)
    assert f"predictions:{folder}/scores" in forward.nodes
    other = og.lineage(f"{folder}/flights@v1", log=log)
    assert "alias:late@champion" not in other.nodes
    assert f"predictions:{folder}/scores" in og.lineage(folder / "scores", log=log).nodes
    assert "alias:late@champion" in og.lineage(f"{folder}/flights", log=log).nodes
    with pytest.raises(InputNotFoundError, match="no record of it"):
        og.lineage("nothing", log=log)
    for form in ("text", "json", "openlineage", "svg"):
        with pytest.raises(SystemExit) as ended:
            main(["lineage", "late@champion", "--log", str(folder / "ops.db"), "--format", form])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "flights" in text
        if form in ("json", "openlineage"):
            json.loads(text)
        if form == "svg":
            ElementTree.fromstring(text)


def test_an_alias_that_moves_leaves_what_it_pointed_to(tmp_path: Path) -> None:
    log = og.EventLog(tmp_path / "ops.db")
    for version in (1, 2):
        log.append("model.added", "late", {"version": version})
        log.append("alias.moved", "late", {"alias": "champion", "to": version})
    assert og.lineage("late@champion", log=log).edges == [("version:late/2", "alias:late@champion", "")]
    log.append("alias.moved", "late", {"alias": "champion", "to": None})
    assert "alias:late@champion" not in og.lineage(log=log).nodes


def test_events_of_openlineage_have_what_the_spec_requires(recorded: tuple[Path, og.EventLog]) -> None:
    _, log = recorded
    events = to_openlineage(og.lineage(log=log))
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 2
    for event in events:
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= event.keys()
        assert event["schemaURL"].endswith("2-0-2/OpenLineage.json#/$defs/RunEvent")
        assert len(event["run"]["runId"]) == 36
        assert {"namespace", "name"} <= event["job"].keys()
    done = events[1]
    assert done["inputs"][0]["facets"]["version"]["datasetVersion"] == "0"
    assert done["inputs"][0]["facets"]["schema"]["fields"][0] == {"name": "late", "type": "double"}
    assert events[3]["outputs"][0]["name"].endswith("scores")


def test_drawings_escape_what_they_show() -> None:
    graph = Lineage()
    name = graph.add("source", "a", "<script>alert(1)</script>", {"x": "<b>"})
    graph.join(name, graph.add("data", "b", "b & c"), '"')
    graph.join("data:b", name)
    text = to_svg(graph)
    assert "<script>" not in text
    ElementTree.fromstring(text)


def test_a_job_and_its_parts_are_one_graph(tmp_path: Path, monkeypatch: Any) -> None:
    path = as_delta(tmp_path)
    job = {"name": "late", "data": {"path": path}, "target": "late", "split": {"test": 0.5, "seed": 4}}
    (tmp_path / "job.yaml").write_text(json.dumps(job | {"model": "LinearRegression", "output": "run"}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "job.yaml"])
    assert ended.value.code == 0
    graph = og.lineage("run")
    assert kinds(graph).count("model") == 1
    assert kinds(graph)[0] == "source"
    assert kinds(graph)[-1] == "predictions"


def test_a_run_that_failed_wrote_nothing(tmp_path: Path) -> None:
    log = og.EventLog(tmp_path / "ops.db")
    og.track.start(log)
    try:
        with pytest.raises(ZeroDivisionError), activity("score", "model", output=str(tmp_path / "scores")):
            raise ZeroDivisionError
        with activity("score", "model", output=str(tmp_path / "others")):
            pass
    finally:
        og.track.stop()
    graph = og.lineage(str(tmp_path / "others"), log=log)
    assert "predictions" in kinds(graph)
    with pytest.raises(InputNotFoundError, match="says nothing of where it came from"):
        og.lineage(str(tmp_path / "scores"), log=log)
