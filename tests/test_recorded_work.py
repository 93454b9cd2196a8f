"""What is recorded of scoring, streams, servers and federations."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.engine.handshake import listening
from outgrow.errors import DataError, RowError
from outgrow.federation.coordinate import coordinate
from outgrow.federation.site import Task, take_part
from outgrow.serve.http.server import serve
from outgrow.serve.http.state import Model, Settings
from outgrow.testing.clusters import free_port
from outgrow.track.details import RunDetails, details
from outgrow.track.runs import lives

ROWS = 60


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[og.EventLog]:
    monkeypatch.setenv("OUTGROW_CACHE", str(tmp_path / "cache"))
    yield og.track.start(tmp_path / "ops.db", sample=0)
    og.track.stop()


@pytest.fixture
def model(log: og.EventLog, tmp_path: Path) -> Any:
    """A saved model, whose fit is a run of the log."""
    table = rows()
    og.LinearRegression().fit(table.append_column("y", table["x"]), "y").save(tmp_path / "model")
    return og.load(tmp_path / "model")


def rows(first: float = 0.0) -> pa.Table:
    return pa.table({"x": np.arange(ROWS) + first})


def recorded(log: og.EventLog, kind: str) -> list[RunDetails]:
    """The runs of a kind, once all is written."""
    og.track.stop()
    table = og.runs(f"kind = '{kind}'", log=log, sort="began")
    return [details(run, log) for run in table["run"].to_pylist()]


def test_scoring_says_of_which_model_which_rows_and_where_they_went(
    log: og.EventLog, model: Any, tmp_path: Path
) -> None:
    og.score(model, rows(), tmp_path / "out")
    with pytest.raises(DataError):
        og.score(model, pa.table({"x": [np.nan]}), tmp_path / "bad")
    good, bad = recorded(log, "score")
    assert good.beginning["of"]["run"] == model.fit_record_.run
    assert good.beginning["output"] == str(tmp_path / "out")
    assert [(seen["role"], seen["rows"]) for seen in good.data] == [("scoring", ROWS)]
    assert (good.state, good.ending["rows"], good.metrics["refused"]) == ("finished", ROWS, 0)
    assert (bad.state, bad.ending["error"]["type"]) == ("failed", "RowError")


def test_a_stream_is_a_run_with_its_rows(log: og.EventLog, model: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        pq.write_table(rows(number), tmp_path / "in" / f"{number}.parquet")
    stream = og.score_stream(tmp_path / "model", tmp_path / "in", tmp_path / "out")
    assert stream.run_available() == 2 * ROWS
    pq.write_table(pa.table({"x": [np.nan]}), tmp_path / "in" / "2.parquet")
    with pytest.raises(RowError):
        stream.run_available()
    good, bad = recorded(log, "score")
    assert (good.state, good.ending["rows"]) == ("finished", 2 * ROWS)
    assert (good.beginning["stream"], good.beginning["output"]) == (
        str(tmp_path / "in"),
        str(tmp_path / "out"),
    )
    assert good.beginning["of"]["run"] == model.fit_record_.run
    assert bad.state == "failed"


def test_a_server_is_a_run_until_it_is_stopped(log: og.EventLog, model: Any, tmp_path: Path) -> None:
    port = free_port()
    asked: list[int] = []

    def ask_and_stop() -> None:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
                    asked.append(answer.status)
                    break
            except OSError:
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=ask_and_stop)
    thread.start()
    with suppress(KeyboardInterrupt):  # the web server hands it on, or not
        serve(Settings({"line": Model(str(tmp_path / "model"))}), port=port)
    thread.join()
    assert asked == [200]
    (run,) = recorded(log, "serve")
    assert (run.name, run.beginning["port"], run.beginning["workers"]) == ("line", port, 1)
    assert run.state in ("finished", "killed")


def test_a_federation_is_a_run_with_what_sites_report(log: og.EventLog) -> None:
    listener, secret = listening("127.0.0.1", 0), os.urandom(32)
    task, names = Task(og.LinearRegression(), "y"), ["north", "south"]

    def site(name: str, first: float) -> None:
        table = rows(first)
        here = og.dataset(table.append_column("y", table["x"]))
        take_part(task, here, name, listener.getsockname()[:2], secret)

    threads = [threading.Thread(target=site, args=(name, 7.0 * i)) for i, name in enumerate(names)]
    for thread in threads:
        thread.start()
    with listener:
        coordinate(task, names, listener, secret)
    for thread in threads:
        thread.join()
    (run,) = recorded(log, "federate")
    assert (run.beginning["sites"], run.beginning["secure"]) == (names, False)
    assert (run.state, run.ending["rows"]) == ("finished", 2 * ROWS)
    assert [run.ending["sites"][name]["rows"] for name in names] == [ROWS, ROWS]
    assert not run.ranks  # how much a site has done is its own affair


def test_a_run_is_lost_where_its_process_is_gone_or_another_has_its_number(log: og.EventLog) -> None:
    og.track.stop()
    host = {"host": socket.gethostname(), "pid": os.getpid()}
    elsewhere = {"host": "another", "pid": 1 << 30}
    for name, environment in (("here", host), ("gone", {**host, "pid": 1 << 30}), ("elsewhere", elsewhere)):
        log.append("run.began", name, {"kind": "fit", "name": name, "environment": environment})
    states = {run["name"]: run["state"] for run in og.runs(log=log).to_pylist()}
    assert states == {"here": "running", "gone": "lost", "elsewhere": "running"}
    assert lives(os.getpid(), time.time())
    assert not lives(os.getpid(), time.time() - 10 * 365 * 86_400)  # it began later: not that process


@pytest.mark.parametrize(("code", "state"), [(None, "finished"), (0, "finished"), (3, "failed")])
def test_a_script_that_leaves_well_is_done(log: og.EventLog, code: int | None, state: str) -> None:
    with pytest.raises(SystemExit), og.track.run("script"):
        raise SystemExit(code)
    (run,) = recorded(log, "run")
    assert run.state == state


def test_who_records_much_keeps_the_table_for_who_lists(log: og.EventLog, tmp_path: Path) -> None:
    for number in range(40):
        with og.track.run(f"run {number}"):
            pass
    og.track.stop()
    (kept,) = (tmp_path / "cache" / "runs").glob("*.arrow")
    with pa.memory_map(str(kept)) as source:
        names = pa.ipc.open_file(source).read_all()["name"].to_pylist()
    assert names == og.runs(log=log, sort="began")["name"].to_pylist()
    assert len(names) == 40
