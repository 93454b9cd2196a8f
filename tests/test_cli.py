"""The command line: exit codes, messages, files, and how little it loads."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from job_files import write_job, write_rows
from outgrow.cli import main

HEAVY = {
    "numpy",
    "pandas",
    "pyarrow",
    "pyspark",
    "xgboost",
    "sklearn",
    "duckdb",
    "scipy",
    "matplotlib",
    "pydantic",
}
COMMANDS = ["run", "profile", "score", "doctor", "federate"]


def call(*words: str | Path) -> int:
    """Run a command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom outgrow.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(command in said for command in COMMANDS)
    assert not HEAVY & set(said.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("command", [*COMMANDS[:4], "federate server", "federate site"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*command.split(), "--help") == 0
    assert "--debug" in capsys.readouterr().out


def test_a_table_that_another_command_reads_is_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    sides = [tmp_path / "before.parquet", tmp_path / "after.parquet"]
    for shift, path in enumerate(sides):
        pq.write_table(pa.table({"minutes to the gate": np.arange(9_000.0) + 5_000 * shift}), path)
    assert call("drift", *sides) == 3
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "The mean went" in line]
    assert "minutes to the gate" in line
    assert line.rstrip().endswith("standard deviations.")


def test_ctrl_c_is_said(tmp_path: Path) -> None:
    rows = pa.table({"a": np.arange(1_000.0), "y": np.arange(1_000) % 2})
    pq.write_table(rows, tmp_path / "rows.parquet")
    text = (
        "name: long\ndata: {path: rows.parquet}\ntarget: y\noutput: out\n"
        "model: {GradientBoostingClassifier: {n_estimators: 100000}}\n"
    )
    (tmp_path / "job.yaml").write_text(text)
    command = [sys.executable, "-m", "outgrow", "run", tmp_path / "job.yaml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        for line in job.stderr:
            if "read and join" in line:  # it works on the fit from here on
                break
        job.send_signal(signal.SIGINT)
        assert job.stderr.read().splitlines()[-1] == "Error: Stopped."
    assert job.returncode == 130
    assert not (tmp_path / "out").exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"outgrow {og.__version__}\n"


def test_run_ends_with_scores_paths_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path)
    assert call("run", write_job(tmp_path), "--set", "model.C=0.5", "--sample", "0.9") == 0
    said = capsys.readouterr()
    assert "ROC AUC" in said.out
    assert "baseline" in said.out
    assert f"outgrow score {tmp_path / 'out' / 'model'}" in said.out
    assert [line.split()[0] for line in said.err.splitlines()][:4] == ["read", "profile", "split", "fit"]


def test_score_round_trip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, job = write_rows(tmp_path), write_job(tmp_path)
    model, out = tmp_path / "out" / "model", tmp_path / "predictions"
    call("run", job)
    assert call("score", model, rows, "-o", out, "--proba", "--keep", "word", "--keep", "a") == 0
    table = pq.read_table(out)
    assert table.column_names == ["word", "a", "prediction", "probability_False", "probability_True"]
    expected = og.load(model).predict_proba(pq.read_table(rows, columns=["a", "b", "c"]).to_pandas())
    assert np.array_equal(table["probability_True"].to_numpy(), expected[:, 1])
    assert call("score", model, rows, "-o", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert call("score", model, rows, "-o", out, "--overwrite") == 0
    assert pq.read_table(out).column_names[-1] == "prediction"


def test_profile_prints_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, page = write_rows(tmp_path), tmp_path / "profile.html"
    assert call("profile", rows, "-o", page) == 0
    assert "400 rows" in capsys.readouterr().out
    text = page.read_text()
    assert all(f'<h2 id="{part}">' in text for part in ("data", "correlation", "fingerprint", "versions"))
    assert call("profile", rows, "-o", page) == 2
    assert call("profile", rows, "-o", page, "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "none.yaml"], "No job file"),
        (["run"], "Missing argument"),
        (["run", "job.yaml", "--sampel", "1"], "--sample"),
        (["nothing"], "No such command"),
        (["profile", "none.parquet"], "No data file"),
        (["score", "none", "rows.parquet", "-o", "x"], "not a saved model"),
        (["profile", "rows.parquet", "--engine", "duck"], "it is no engine"),
    ],
)
def test_mistakes_of_the_user_end_with_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    write_job(tmp_path)
    assert call(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_our_mistake_ends_with_1_and_debug_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from outgrow.cli import entry

    assert entry.report(ZeroDivisionError("division by zero")) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "--debug" in error
    with pytest.raises(og.errors.InputNotFoundError):
        main(["run", str(tmp_path / "none.yaml"), "--debug"])


def test_bad_key_is_one_readable_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", write_job(tmp_path, outptu="x")) == 2
    assert "unknown key 'outptu'; did you mean 'output'?" in capsys.readouterr().err


def test_output_below_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path)
    assert call("run", write_job(tmp_path, output=str(rows / "out"))) == 2
    assert "rows.parquet" in capsys.readouterr().err


def test_doctor_names_every_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor") == 0
    said = capsys.readouterr().out
    assert all(
        f"extra {name}" in said for name in ("spark", "trees", "sql", "serve", "track", "onnx", "examples")
    )


def test_doctor_says_when_spark_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor", "--engine", "duck") == 2
    assert "it is no engine" in capsys.readouterr().out.replace("\n", " ")


def test_shells_can_complete_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_OUTGROW_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "outgrow pro")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out.split() == ["profile", "promote"]
