"""Options that would change nothing, full disks, terminals without colours, and faults of job files."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from job_files import write_job
from outgrow.cli import main
from outgrow.errors import JobFileError
from outgrow.job.load import load_job
from outgrow.testing.clusters import free_port

OUTGROW = [sys.executable, "-m", "outgrow"]


def call(*words: str | Path) -> int:
    """Run a command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-", "-o", "scores"], "-o: is for rows in files"),
        (["-", "--keep", "a"], "--keep: is for rows in files"),
        (["-", "--sep", ";"], "--sep: is for rows in files"),
        (["-", "--engine", "local[2]"], "--engine: is for rows in files"),
        (["rows.csv", "-o", "scores", "--once"], "--once: is for files as they appear"),
        (["rows.csv", "-o", "scores", "--checkpoint", "c"], "--checkpoint: is for files as they appear"),
        ([".", "-o", "scores", "--stream", "--partition-by", "a"], "--partition-by: is for files that are"),
        ([".", "-o", "scores", "--stream", "--overwrite"], "--overwrite: is for files that are there"),
    ],
)
def test_score_takes_no_option_that_changes_nothing(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pa.table({"a": np.arange(9.0), "y": np.arange(9.0)})
    og.LinearRegression().fit(rows, "y").save(tmp_path / "model")
    assert call("score", tmp_path / "model", *words) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_full_disk_is_no_fault_of_ours() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*OUTGROW, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: No space left on device: the output. Free space, or write somewhere else.\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("NO_COLOR", "")])
def test_colours_are_left_out_where_nobody_wants_them(name: str, value: str) -> None:
    wanted = not value
    ours, theirs = pty.openpty()
    plain = {key: text for key, text in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run([*OUTGROW, "run", "none.yaml"], stderr=theirs, env={**plain, "TERM": "xterm", name: value})
    os.close(theirs)
    said = os.read(ours, 1000).decode()
    os.close(ours)
    assert "No job file at none.yaml" in said
    assert ("\x1b[" in said) is wanted


def test_all_faults_of_a_job_are_told_at_once(tmp_path: Path) -> None:
    path = write_job(tmp_path)
    text = path.read_text().replace("target:", "traget:").replace("path:", "pth:") + "\nsample: 2\n"
    path.write_text(text)
    with pytest.raises(JobFileError) as caught:
        load_job(path)
    said = str(caught.value)
    assert "unknown key 'traget'; did you mean 'target'?" in said
    assert "unknown key 'pth'; did you mean 'path'?" in said
    assert "sample (line" in said
    assert "target: is missing" in said


@pytest.mark.parametrize("word", ["on", "2026", "2026-11-01"])
def test_a_word_that_yaml_takes_for_no_text(word: str, tmp_path: Path) -> None:
    path = write_job(tmp_path)
    lines = [
        f"target: {word}" if line.startswith("target:") else line for line in path.read_text().split("\n")
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(JobFileError, match=r"target \(line \d+\): .* write it in quotes, as in \"on\""):
        load_job(path)


def test_paths_of_a_job_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    loaded = load_job(write_job(tmp_path))
    assert loaded.beside("~/rows.csv") == str(tmp_path / "home" / "rows.csv")
    assert loaded.beside("rows.csv") == str(tmp_path / "rows.csv")


def test_lineage_of_no_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTGROW_LOG", raising=False)
    assert call("lineage") == 2
    assert "There is no log at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "nothere"], "nothere has neither a saved model"),
        (["serve", "model", "--port", "0"], "--port 0: give a number from 1 to 65535."),
        (["serve", "model", "--host", "no.such.host.invalid"], "--host no.such.host.invalid: "),
        (["serve", "model", "--host", "192.0.2.1"], "Nothing can listen on 192.0.2.1:"),
        (["board", "--log", "nothere.db"], "There is no log at nothere.db"),
        (
            ["board", "--log", "nothere.db", "--port", "70000"],
            "--port 70000: give a number from 1 to 65535, or 0",
        ),
    ],
)
def test_a_server_that_cannot_begin_does_not_say_that_it_does(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    og.LinearRegression().fit(np.eye(3), np.arange(3)).save("model")
    port = [] if "--port" in words else ["--port", str(free_port())]
    assert call(*words, *port) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


@pytest.mark.parametrize("command", [["serve", "model"], ["board", "--log", "ops.db"]])
def test_a_port_that_is_taken_is_named(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    og.LinearRegression().fit(np.eye(3), np.arange(3)).save("model")
    og.EventLog("ops.db").append("finding", "late")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert call(*command, "--port", str(port)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"Nothing can listen on 127.0.0.1:{port}: Address already in use. Give another --port" in said.err
