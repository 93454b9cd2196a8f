"""The log of records: the same laws on SQLite, PostgreSQL and JSON lines."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.postgresql import PostgreSQL, postgresql

import outgrow as og
from outgrow.errors import LogError, LogWarning, MissingExtraError, ParameterError
from outgrow.log.postgresql import without_password
from outgrow.log.record import Record
from outgrow.log.view import View

KINDS = ("sqlite", "json lines", "postgresql")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    yield from postgresql()


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log that is not there yet would lie."""
    if request.param == "postgresql":
        return request.getfixturevalue("server").database()
    return str(tmp_path / ("ops.db" if request.param == "sqlite" else "ops"))


def test_records_are_read_as_they_were_written(uri: str) -> None:
    body = {"x": 0.1 + 0.2, "text": "Zürich \u2028 'q' \"", "list": [1, None], "nested": {"b": 1, "a": 2}}
    with og.EventLog(uri) as log:
        first = log.append("finding", "late", body, by="ada", cause="why")
        second = log.append("alert", "late", {"state": np.float32(0.5), "counts": np.arange(3)})
        third = log.append("finding", "other")
        assert (first.number, second.number, third.number) == (1, 2, 3)
        assert second.previous == first.digest
    with og.EventLog(uri) as again:
        assert list(again.since(0)) == [first, second, third]
        assert first.body == body
        assert second.body == {"state": 0.5, "counts": [0, 1, 2]}
        assert list(again.since(first.position)) == [second, third]
        assert list(again.since(0, kinds=("finding",), subject="late")) == [first]
        assert list(again.since(0, limit=2)) == [first, second]
        assert again.latest(2) == [second, third]
        assert again.latest(1, kinds=("alert",)) == [second]
        assert again.last() == third.position
        assert again.verify() == 3
        assert re.fullmatch(r"EventLog\('.*'\)", repr(again))


def test_numbers_that_json_has_not_are_null(uri: str) -> None:
    with og.EventLog(uri) as log:
        log.append("finding", "late", {"a": float("nan"), "b": [np.inf, 1.0], "c": np.array([np.nan])})
        (record,) = log.since(0)
        assert record.body == {"a": None, "b": [None, 1.0], "c": [None]}
        assert log.verify() == 1


def test_what_cannot_be_a_record_is_refused(uri: str) -> None:
    with og.EventLog(uri) as log:
        with pytest.raises(ParameterError, match=r"no record of kind 'run\.walked'; there are"):
            log.append("run.walked", "late")
        with pytest.raises(ParameterError, match="object is not JSON"):
            log.append("finding", "late", {"what": object()})
        assert log.last() == 0


def test_logs_merge_as_often_as_one_likes_in_any_order(uri: str, tmp_path: Path) -> None:
    parts = [og.EventLog(tmp_path / "one.db"), og.EventLog(tmp_path / "two")]
    for number in range(4):
        for part in parts:
            part.append("finding", f"n{number}")
    with og.EventLog(uri) as whole:
        own = whole.append("finding", "own")
        assert [whole.merge(part) for part in (*parts, parts[0])] == [4, 4, 0]
        parts[1].append("finding", "later")
        assert whole.merge(parts[1]) == 1
        assert whole.append("finding", "own again").previous == own.digest
        assert whole.verify() == 11
        assert [r.subject for r in whole.since(0) if r.origin == parts[1].origin] == [
            *("n0", "n1", "n2", "n3", "later")
        ]
        assert parts[0].merge(whole) == 7
        assert {r.digest for r in parts[0].since(0)} == {r.digest for r in whole.since(0)}
        assert parts[0].verify() == 11


def test_several_processes_write_at_once(uri: str) -> None:
    program = textwrap.dedent("""
        import sys, outgrow as og
        log = og.EventLog(sys.argv[1])
        with log.writer() as writer:
            for number in range(150):
                to = writer if number % 3 else log
                to.append("finding", sys.argv[2], {"number": number}, by="a")
    """)
    og.EventLog(uri).close()
    writers = [subprocess.Popen([sys.executable, "-c", program, uri, f"process {i}"]) for i in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    with og.EventLog(uri) as log:
        assert log.verify() == 600
        for i in range(4):
            numbers = [record.body["number"] for record in log.since(0, subject=f"process {i}")]
            assert sorted(numbers) == list(range(150))
            assert [n for n in numbers if n % 3] == [n for n in range(150) if n % 3]


def test_a_killed_writer_loses_at_most_a_second(uri: str) -> None:
    program = textwrap.dedent("""
        import sys, time, outgrow as og
        writer = og.EventLog(sys.argv[1]).writer()
        for number in range(10_000):
            writer.append("run.passed", "r", {"number": number}, by="a")
            print(number, flush=True)
            time.sleep(0.002)
    """)
    with subprocess.Popen([sys.executable, "-c", program, uri], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        shown: list[tuple[float, int]] = []
        for line in writer.stdout:
            shown.append((time.monotonic(), int(line)))
            if len(shown) == 700:
                break
        killed = time.monotonic()
        os.kill(writer.pid, signal.SIGKILL)
    with og.EventLog(uri) as log:
        numbers = [record.body["number"] for record in log.since(0)]
        assert numbers == list(range(len(numbers)))
        old_enough = sum(when < killed - 3.0 for when, _ in shown)  # a second, and what a busy machine adds
        assert len(numbers) >= old_enough
        assert log.append("finding", "next").number == len(numbers) + 1
        log.verify()


def test_a_log_that_is_away_ends_nothing_and_gets_all_when_it_is_back(tmp_path: Path) -> None:
    log = og.EventLog(tmp_path / "ops.db")
    blocker = sqlite3.connect(tmp_path / "ops.db", isolation_level=None)
    log.store._database.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
    blocker.execute("BEGIN IMMEDIATE")
    writer = log.writer()
    writer.append("finding", "late", by="a")
    with pytest.warns(LogWarning, match=r"locked.* What is to be recorded waits"):
        assert not writer.flush()
    blocker.execute("ROLLBACK")
    writer.append("finding", "later", by="a")
    writer.close()
    assert [record.subject for record in log.since(0)] == ["late", "later"]


def test_what_a_log_never_took_is_said_at_the_end(server: PostgreSQL) -> None:
    log = og.EventLog(server.database())
    writer = log.writer()
    server.stop()
    try:
        writer.append("finding", "late", by="a")
        with pytest.warns(LogWarning) as heard:
            writer.close()
        assert "1 records for EventLog" in str(heard[-1].message)
        assert "secret" not in str(heard[-1].message)
        with pytest.raises(LogError, match=r"The log at postgresql:///\w+.* cannot be used"):
            log.last()
    finally:
        server.start()
    assert log.append("finding", "back").number == 1


EDITS = {
    "2 of log .* was changed": ("UPDATE records SET body = '{\"n\":7}' WHERE number = 2", ('"n":1', '"n":7')),
    "3 of log .* follows record 1": ("DELETE FROM records WHERE number = 2", None),
    "2 of log .* was": ("UPDATE records SET time = time + 1 WHERE number = 2", ('"time":1', '"time":2')),
}


@pytest.mark.parametrize("kind", ["sqlite", "json lines"])
def test_an_edit_breaks_the_chain_and_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("ops.db" if kind == "sqlite" else "ops.jsonl")
    for fault, (statement, replaced) in EDITS.items():
        path.unlink(missing_ok=True)
        with og.EventLog(path) as log:
            for number in range(4):
                log.append("finding", "late", {"n": number})
        _edit(path, statement, replaced)
        with og.EventLog(path) as log, pytest.raises(LogError, match=fault):
            log.verify()


def _edit(path: Path, statement: str, replaced: tuple[str, str] | None) -> None:
    if path.suffix == ".db":
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()
        return
    lines = path.read_text().splitlines(keepends=True)
    lines[2:3] = [] if replaced is None else [lines[2].replace(*replaced)]
    path.write_text("".join(lines))


def test_a_line_that_was_not_ended_does_not_count_and_gives_way(tmp_path: Path) -> None:
    log = og.EventLog(tmp_path)
    log.append("finding", "one")
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"origin": "ab')
    assert [record.subject for record in log.since(0)] == ["one"]
    assert og.EventLog(tmp_path).append("finding", "two").number == 2
    assert [record.subject for record in log.since(0)] == ["one", "two"]
    assert log.verify() == 2


@pytest.mark.parametrize("name", ["no.db", "no.jsonl"])
def test_files_that_are_no_logs_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("what a poem\nthis is\n" * 100)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(LogError, match=f"{name}.*(not a database|no record of a log)"):
        og.EventLog(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["ops.db", "ops.jsonl"])
def test_a_full_disk_is_told_and_nothing_is_half_written(name: str) -> None:
    """/dev/shm of a namespace of its own, 256 KiB; where namespaces are not allowed, the test is skipped."""
    program = textwrap.dedent(f"""
        import json, outgrow as og
        log = og.EventLog("/mnt/{name}")
        written = 0
        try:
            while written < 1000:
                log.append("finding", "late", {{"text": "x" * 2000}})
                written += 1
        except og.errors.LogError as error:
            print(written, error)
        print(log.verify() == written)
    """)
    mount = "mount -t tmpfs -o size=256k tmpfs /mnt && exec "
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount} "$@"', "sh"]
    ran = subprocess.run(
        [*command, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no namespaces here: {ran.stderr.strip().splitlines()[-1]}")
    first, second = ran.stdout.splitlines()
    assert re.match(r"\d+ The log /mnt/\S+ cannot be used: .*(full|No space)", first), ran.stdout + ran.stderr
    assert second == "True"


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
BODIES = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=4)


@given(bodies=BODIES)
@settings(max_examples=30, deadline=None)
def test_any_json_comes_back_and_verifies(
    bodies: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    for log in (og.EventLog(folder / "a.db"), og.EventLog(folder / "b")):
        for body in bodies:
            log.append("finding", "late", body)
        assert [record.body for record in log.since(0)] == bodies
        assert log.verify() == len(bodies)
        log.close()
    shutil.rmtree(folder)


def test_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///a.db", f"sqlite:///{tmp_path}/b.sqlite", "c/d.sqlite3", "e.jsonl", "f"):
        og.EventLog(uri).append("finding", "late")
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"a.db", "b.sqlite", "c/d.sqlite3", "e.jsonl", "f/records.jsonl"} <= names
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[1])["kind"] == "finding"
    for wrong in ("mysql://host/db", "s3://bucket/log", ""):
        with pytest.raises(ParameterError, match="No log can be opened at"):
            og.EventLog(wrong)
    shown = without_password("postgresql:///db?host=h&password=secret&user=me")
    assert shown == "postgresql:///db?host=h&user=me"
    assert without_password("postgresql://ada:secret@host:5/db") == "postgresql://ada@host:5/db"


def test_postgresql_without_its_library_is_named() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None; import outgrow as og; og.EventLog('postgresql://h/d')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert MissingExtraError.__name__ in ran.stderr
    assert "outgrow[postgresql]" in ran.stderr


def test_a_view_kept_up_to_date_is_a_view_made_anew(uri: str) -> None:
    def count(sums: dict[str, int], record: Record) -> dict[str, int]:
        return sums | {record.subject: sums.get(record.subject, 0) + record.body["n"]}

    with og.EventLog(uri) as log, og.EventLog(uri) as other:
        kept = View(log, ("finding",), dict, count)
        assert kept.now() == {}
        for number in range(5):
            (log, other)[number % 2].append("finding", "ab"[number % 2], {"n": number})
            other.append("alert", "a", {"n": 100})
            assert kept.now() == View(other, ("finding",), dict, count).now()
        assert kept.now() == {"a": 6, "b": 4}


def test_metrics_that_are_not_finite_stay_what_they_are(uri: str) -> None:
    metrics = {
        "loss": float("nan"),
        "deviance": np.float32(np.inf),
        "r2": -np.inf,
        "mae": 1.0,
        "name": "NaN-ish",
    }
    with og.EventLog(uri) as log:
        log.append(
            "run.ended", "a", {"metrics": metrics, "best": {"metrics": {"auc": np.nan}}, "note": "NaN"}
        )
        (record,) = log.since(0)
        assert log.verify() == 1
    body = record.body
    assert math.isnan(body["metrics"].pop("loss"))
    assert math.isnan(body["best"]["metrics"]["auc"])
    assert body["metrics"] == {"deviance": np.inf, "r2": -np.inf, "mae": 1.0, "name": "NaN-ish"}
    assert body["note"] == "NaN"
