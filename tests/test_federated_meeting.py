"""How sites and coordinator meet: who is refused and why, who comes back, and what a site says of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

import outgrow as og
from outgrow import __version__
from outgrow.engine.frames import Message, send
from outgrow.engine.handshake import call, listening
from outgrow.errors import EngineError, OutgrowError, ParameterError, RankLostError
from outgrow.federation import meeting
from outgrow.federation.audit import AuditLog
from outgrow.federation.coordinate import coordinate
from outgrow.federation.site import Task, metrics_here, take_part
from outgrow.federation.tls import Tls
from outgrow.job.federate import Waits, join_federation, serve_federation
from outgrow.job.load import load_job
from test_federate_command import certificates, free_port, job, together

__all__ = ["job"]  # the fixture
SECRET = b"a secret that all of the sites know"
ADDRESS = tuple[str, int]


def rows(seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    X = random.normal(size=(60, 2))
    return pd.DataFrame({"hour": X[:, 0], "wind": X[:, 1], "delay": X @ [1.0, 2.0]})


def site(frame: Any, name: str, address: ADDRESS, joining: float = 30.0, **more: Any) -> Any:
    task = Task(og.LinearRegression(), "delay")
    return take_part(task, og.dataset(frame), name, address, SECRET, joining=joining, **more)


def meet(names: list[str], joining: float, *sites: Callable[[ADDRESS], Any]) -> list[Any]:
    """What comes of a coordinator and its sites, or their errors."""
    with closing(listening("127.0.0.1", 0)) as listener:
        address = listener.getsockname()[:2]
        task = Task(og.LinearRegression(), "delay")
        return together(
            lambda: coordinate(task, names, listener, SECRET, joining=joining, deadline=10.0),
            *(lambda each=each: each(address) for each in sites),
        )


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda frame: frame[["wind", "hour", "delay"]], r"come as \['wind', 'hour', 'delay'\] and not as"),
        (lambda frame: frame[["hour", "delay"]], r"it has no \['wind'\]"),
        (lambda frame: frame.assign(rain=1.0), r"it has \['rain'\] besides"),
        (
            lambda frame: frame.assign(wind=frame["wind"].round().astype(int)),
            "'wind' is int64 and not double",
        ),
    ],
    ids=["order", "missing", "besides", "type"],
)
def test_columns_that_differ_are_named_to_all(other: Callable[[Any], Any], words: str) -> None:
    came = threading.Event()

    def second(address: ADDRESS) -> Any:
        came.wait(30.0)
        return site(other(rows()), "south", address)

    def first(address: ADDRESS) -> Any:
        frame = rows()
        with closing(_introduced("north", address, og.dataset(frame).schema)) as line:
            came.set()
            return line.recv(1 << 16)

    led, told, refused = meet(["north", "south"], 30.0, first, second)
    with pytest.raises(EngineError, match=f"Site 'south'.*{words}"):
        raise led
    with pytest.raises(EngineError, match=words):
        raise refused
    assert b"Site 'south': its columns" in told, "who waits for the others learns why it is over"


def _introduced(name: str, address: ADDRESS, schema: pa.Schema) -> Any:
    line = call(address, 0, SECRET, 30.0)
    assert line is not None
    written = schema.remove_metadata().serialize().to_pybytes()
    send(line, 0, Message.of({"name": name, "version": __version__, "schema": written, "secure": False}))
    return line


def test_a_host_that_is_gone_without_a_word_keeps_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux closes a socket that is under repair without telling the other end, as a power cut does."""
    repair = 19
    with socket.socket() as line:
        try:
            line.setsockopt(socket.IPPROTO_TCP, repair, 1)
        except OSError as error:
            pytest.skip(f"this process may not put a socket under repair: {error}")
    monkeypatch.setattr(meeting, "_PROBES", {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 1})
    back = threading.Event()

    def north(address: ADDRESS) -> Any:
        line = _introduced("north", address, og.dataset(rows()).schema)
        time.sleep(0.3)  # what it said has arrived, and nothing more is on its way
        line.setsockopt(socket.IPPROTO_TCP, repair, 1)
        line.close()
        time.sleep(4.0)
        back.set()
        return site(rows(), "north", address, joining=30.0)

    def south(address: ADDRESS) -> Any:
        back.wait(30.0)
        time.sleep(0.3)
        return site(rows(1), "south", address, joining=30.0)

    led, first, second = meet(["north", "south"], 60.0, north, south)
    assert first.coef_.tolist() == second.coef_.tolist() == led.model.coef_.tolist()


@pytest.mark.parametrize("waited", [0.0, 0.5], ids=["at once", "while the coordinator waits for the others"])
def test_a_site_that_was_stopped_while_it_waited_comes_back(waited: float) -> None:
    gone = threading.Event()

    def north(address: ADDRESS) -> Any:
        with closing(_introduced("north", address, og.dataset(rows()).schema)):
            time.sleep(waited)
        gone.set()
        return site(rows(), "north", address, joining=30.0)

    def south(address: ADDRESS) -> Any:
        gone.wait(30.0)
        return site(rows(1), "south", address, joining=30.0)

    led, first, second = meet(["north", "south"], 30.0, north, south)
    assert not isinstance(led, Exception), f"{led}; {first}; {second}"
    assert led.model.coef_.tolist() == first.coef_.tolist() == second.coef_.tolist()


def test_who_was_seen_and_did_not_stay_is_told() -> None:
    led, *_ = meet(
        ["north", "south"],
        4.0,
        lambda address: _introduced("north", address, og.dataset(rows()).schema).close(),
        lambda address: site(rows(), "soth", address),
    )
    with pytest.raises(RankLostError, match=r"'south'\] did not come.*'north' came and left again"):
        raise led
    assert "no site called 'soth' is expected" in str(led)


def test_a_site_says_why_it_reached_nobody() -> None:
    def stranger(address: ADDRESS) -> Any:
        task = Task(og.LinearRegression(), "delay")
        return take_part(task, og.dataset(rows()), "north", address, b"another secret", joining=0.2)

    _, told = meet(["north"], 2.5, stranger)
    with pytest.raises(RankLostError, match="who does not know the secret of this site"):
        raise told
    with pytest.raises(RankLostError, match=r"refused\. Has it begun"):
        site(rows(), "north", ("127.0.0.1", free_port()), joining=0.2)


def test_certificates_are_looked_at_before_anybody_is_waited_for(job: Path) -> None:
    tls = certificates(job.parent, ["north", "south"])
    (job.parent / "south" / "key.pem").write_bytes((job.parent / "north" / "key.pem").read_bytes())
    for folder, words in [(str(job.parent), "No such file"), (tls["south"], "(?i)key.values.mismatch")]:
        with pytest.raises(ParameterError, match=words):
            serve_federation(load_job(job), ["north"], f"127.0.0.1:{free_port()}", tls=folder)
        with pytest.raises(ParameterError, match=words):
            site(rows(), "north", ("127.0.0.1", free_port()), tls=Tls.of(folder))


def test_a_certificate_that_is_not_accepted_is_told_at_both_ends(job: Path) -> None:
    """A server of TLS 1.3 refuses a caller's certificate after that believes to be connected."""
    (job.parent / "other").mkdir()
    tls, others = certificates(job.parent, ["server"]), certificates(job.parent / "other", ["north"])
    (Path(others["north"]) / "ca.pem").write_bytes((Path(tls["server"]) / "ca.pem").read_bytes())
    port, waits, path = free_port(), Waits(joining=2.0), str(job.parent / "north.parquet")
    led, refused = together(
        lambda: serve_federation(
            load_job(job), ["north"], f"localhost:{port}", tls=tls["server"], waits=waits
        ),
        lambda: join_federation(
            load_job(job), "north", f"localhost:{port}", data=path, tls=others["north"], waits=waits
        ),
    )
    with pytest.raises(RankLostError, match=r"turned away: .*certificate verify failed"):
        raise led
    with pytest.raises(OutgrowError, match="does not take a site with this certificate"):
        raise refused


def test_the_audit_log_begins_with_the_first_message(tmp_path: Path) -> None:
    """The names of columns leave before anything is merged."""
    log = tmp_path / "north.jsonl"
    led, model = meet(["north"], 5.0, lambda address: site(rows(), "north", address, audit=log))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["kind"] for line in lines][:2] == ["introduction", "agree"]
    assert lines[0]["parts"][0]["name"] == "names and types of columns"
    assert sum(line["bytes"] for line in lines[1:]) == led.sites["north"]["sent_bytes"]
    assert model.coef_.round(6).tolist() == [1.0, 2.0]


def test_an_audit_log_that_cannot_be_written_ends_it_before_anything_leaves(tmp_path: Path) -> None:
    for path in (tmp_path / "no folder" / "north.jsonl", tmp_path):
        with pytest.raises(ParameterError, match="a file in a folder that is there"):
            site(rows(), "north", ("127.0.0.1", free_port()), audit=path)
    assert AuditLog(None).sent == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"joining": 0}, "joining=0: seconds"),
        ({"deadline": -1}, "deadline=-1: seconds"),
        ({"patience": "3"}, "patience='3': seconds"),
        ({"quorum": "1"}, "quorum='1'"),
        ({"least_rows": 1.5}, "least_rows=1.5"),
        ({"allow_values": None}, "allow_values=None"),
        ({"model": LinearRegression()}, "an estimator or a pipeline of outgrow"),
        ({"model": og.LinearRegression}, "an estimator or a pipeline of outgrow"),
        ({"sites": {"../north": rows()}}, "has a file for each name"),
        ({"audit": __file__}, "is no folder"),
    ],
    ids=str,
)
def test_wrong_settings_are_named_before_a_process_is_started(
    wrong: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given = {"model": og.LinearRegression(), "sites": {"north": rows()}, "audit": tmp_path / "audit", **wrong}
    with pytest.raises(ParameterError, match=words):
        og.federated(target="delay", **given)
    assert not (tmp_path / "audit").exists()


def test_a_site_whose_rows_tell_nothing_of_the_model_loses_none(tmp_path: Path) -> None:
    """No row of its own is held out: its metrics alone are missing, and it is told why."""
    nothing = og.dataset(rows()[:0])
    result, north, south = meet(
        ["north", "south"],
        10.0,
        lambda address: site(rows(), "north", address, judged=nothing),
        lambda address: site(rows(1), "south", address),
    )
    assert north.coef_.tolist() == south.coef_.tolist() == result.model.coef_.tolist()
    assert result.sites["north"]["metrics"] == {}
    assert result.to_arrow()["r2"].to_pylist() == [None, 1.0]
    result.save(tmp_path / "sites.json")
    assert json.loads((tmp_path / "sites.json").read_text())["r2"] == [None, 1.0]
    with pytest.warns(
        UserWarning, match="could not be evaluated on the rows of this site: There are no rows"
    ):
        assert metrics_here(Task(north, "delay"), nothing) == {}
