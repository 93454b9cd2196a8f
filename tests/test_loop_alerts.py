"""People are told what a loop decided; what lasts one window alone is no drift where a policy says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from loops import COLUMNS, World, fitted, rows_of
from outgrow.errors import EngineError, ParameterError
from outgrow.loop.run import Loop
from outgrow.loop.tell import Teller
from outgrow.loop.view import BY
from outgrow.monitor.channels import Call, channels_of

DATA_POLICY = """
model: store
log: ops.db
maturity: crawl
rows: {path: rows, time: time}
alerts: {webhook: [$LOOP_HOOK]}
watch:
  data: {window: 1d, effect: {js: 0.1}, lasting: 2}
"""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a webhook, and what was posted there."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret", posted
    server.shutdown()
    thread.join()
    server.server_close()


class Broken:
    """A channel that fails so often."""

    name = "broken"

    def __init__(self, times: int) -> None:
        self.times, self.taken = times, 0

    def send(self, alert: Mapping[str, Any]) -> None:
        if self.times:
            self.times -= 1
            raise EngineError("The mail server is away.")
        self.taken += 1


def decided(log: og.EventLog, *actions: str) -> None:
    for number, action in enumerate(actions):
        body = {"action": action, "key": f"{number}/{action}", "because": "It drifts.", "number": number}
        log.append("decision", "late", body, by=BY)


def test_each_channel_is_told_once_and_again_where_it_failed(tmp_path: Path) -> None:
    log = og.EventLog(tmp_path / "ops.db")
    decided(log, "wait", "alert", "retrain", "rollback")
    log.append("decision", "other", {"action": "alert", "key": "1/alert", "because": "No."}, by=BY)
    heard: list[Any] = []
    broken = Broken(times=2)
    teller = Teller(log, "late", [Call(heard.append), broken])
    teller.deliver()
    assert [alert["action"] for alert in heard] == ["alert", "rollback"]
    assert heard[0]["text"] == "[alert] late: It drifts."
    assert broken.taken == 0
    teller.deliver()
    Teller(log, "late", [Call(heard.append), broken]).deliver()  # another process knows it from the log
    assert (len(heard), broken.taken) == (2, 2)
    events = [record.body["event"] for record in log.since(0, kinds=("alert",))]
    assert (events.count("failed"), events.count("sent")) == (2, 4)
    assert log.verify() == 5 + 6


def test_decisions_of_long_ago_are_no_news(tmp_path: Path) -> None:
    log, heard = og.EventLog(tmp_path / "ops.db"), []
    decided(log, "alert")
    teller = Teller(log, "late", [Call(heard.append)], stale=0.0)
    teller.deliver()
    assert heard == []


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World.made(tmp_path, DATA_POLICY)
    landed, _ = rows_of(-5, 2_000)
    fitted().save(tmp_path / "model", reference=landed.select(COLUMNS))
    made.store.promote(made.store.add(og.load(tmp_path / "model")))
    return made


def test_one_window_alone_is_no_drift_and_two_are_posted(
    world: World, hook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, posted = hook
    monkeypatch.setenv("LOOP_HOOK", address)
    for day, moved in enumerate([0.0, 3.0, 0.0, 3.0, 3.0]):
        landed, _ = rows_of(day)
        rows = landed.set_column(2, "a", pa.array(np.asarray(landed["a"]) + moved))
        pq.write_table(rows, world.folder / "rows" / f"{day}.parquet")
        world.look(day)
    log = world.loop().log
    seen = [record.body for record in log.since(0, kinds=("finding",))]
    assert [body["verdict"] for body in seen] == ["ok", "ok", "ok", "ok", "drift"]
    assert seen[1]["kind"] == seen[3]["kind"] == "temporary"
    assert "lasts for 1 of 2 windows" in seen[1]["because"]
    (alert,) = posted
    assert (alert["action"], alert["model"]) == ("report", "store")
    assert "a: The mean went from" in alert["text"]
    assert "secret" not in json.dumps([dict(record.body) for record in log.since(0)])
    world.look(4)
    assert len(posted) == 1


def test_channels_that_are_none_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOP_HOOK", raising=False)
    with pytest.raises(ParameterError, match=r"'\$LOOP_HOOK' is no URL of a webhook"):
        Loop(world.folder / "policy.yaml")
    with pytest.raises(ParameterError, match="is no mail server"):
        channels_of((), ["ops@example.org"], "mail:smtp")
    (mail,) = channels_of((), ["ops@example.org"], "mail:2525")
    assert (mail.name, mail.port) == ("mail ops@example.org", 2525)
