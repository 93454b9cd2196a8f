"""Runs: what is recorded of fits, jobs and searches, and how they are found again."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.preprocessing import StandardScaler as SklearnScaler

import outgrow as og
from job_files import write_job, write_rows
from outgrow.cli import main
from outgrow.engine import activity
from outgrow.engine.events import Event, emit
from outgrow.errors import DataError, LogError, LogWarning, ParameterError
from outgrow.job.load import load_job
from outgrow.job.run import run_job
from outgrow.track.compare import compare
from outgrow.track.details import details
from outgrow.track.page import comparison_page
from outgrow.track.runs import find_run

ROWS = 300


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[og.EventLog]:
    """What this process records in."""
    monkeypatch.setenv("OUTGROW_CACHE", str(tmp_path / "cache"))
    yield og.track.start(tmp_path / "ops.db", sample=0)
    og.track.stop()


@pytest.fixture
def table() -> pa.Table:
    random = np.random.default_rng(0)
    x = random.normal(size=ROWS)
    late = np.where(x + random.normal(size=ROWS) > 0, "late", "on time")
    return pa.table({"x": x, "word": random.choice(["a", "b"], ROWS), "late": late})


def recorded(log: og.EventLog, kind: str) -> list[dict[str, Any]]:
    """The bodies of the records of a kind, once all are written."""
    og.track.stop()
    return [dict(record.body) for record in log.since(0, kinds=(kind,))]


def test_a_fit_says_what_it_was(log: og.EventLog, table: pa.Table) -> None:
    steps = [og.OneHotEncoder(columns=["word"]), og.LogisticRegression(C=0.5)]
    model = og.Pipeline(steps).fit(table.to_pandas(), "late")
    (began,), (seen,) = recorded(log, "run.began"), recorded(log, "data.seen")
    assert (began["kind"], began["name"]) == ("fit", "Pipeline of LogisticRegression")
    assert began["parameters"]["C"] == 0.5
    assert began["parameters"]["onehotencoder__columns"] == ["word"]
    assert began["target"] == "late"
    assert began["environment"]["libraries"]["numpy"] == np.__version__
    assert set(seen["schema"]) == {"x", "word", "late"}
    assert (seen["rows"], seen["role"]) == (ROWS, "training")
    (ended,) = recorded(log, "run.ended")
    assert (ended["state"], ended["rows"]) == ("finished", ROWS)
    assert ended["fit"]["passes"] == model.fit_record_.passes
    losses = [point["metrics"]["loss"] for point in recorded(log, "run.passed") if "metrics" in point]
    assert ended["metrics"]["loss"] == losses[-1] < losses[0]
    (run,) = og.runs(log=log)["run"].to_pylist()
    assert model.fit_record_.run == run
    assert log.verify() > 4


def test_rows_of_a_file_are_told_by_path_and_date(log: og.EventLog, tmp_path: Path) -> None:
    rows = og.read(str(write_rows(tmp_path)))
    og.LogisticRegression().fit(rows.select(["a", "b", "y"]), "y")
    (seen,) = recorded(log, "data.seen")
    assert seen["uri"] == str(tmp_path / "rows.parquet")
    assert seen["files"][0]["bytes"] == (tmp_path / "rows.parquet").stat().st_size
    assert (seen["rows"], seen["kind"]) == (400, "parquet")


def test_an_evaluation_belongs_to_the_fit(log: og.EventLog, table: pa.Table) -> None:
    model = og.LogisticRegression().fit(table.select(["x", "late"]), "late")
    scores = model.evaluate(table.select(["x", "late"]), "late")
    og.track.stop()
    listed = og.runs(log=log)
    assert listed["metrics.log_loss"].to_pylist() == [scores["log_loss"]]
    assert (
        og.runs(f"metrics.log_loss <= {scores['log_loss'] + 1e-9} and state = 'FINISHED'", log=log).num_rows
        == 1
    )


def test_work_inside_other_work_is_no_run(log: og.EventLog, table: pa.Table) -> None:
    rows = table.select(["x", "late"])
    og.cross_validate(og.LogisticRegression(), rows, "late", cv=3)
    og.PerGroup(og.LogisticRegression(), by=["word"]).fit(table, "late")
    og.tune(og.LogisticRegression(), rows, "late", space={"C": [0.1, 1.0]}, sampler="grid")
    scaled = og.Pipeline([SklearnScaler(), og.Ridge()])
    scaled.fit(np.arange(12.0).reshape(6, 2), np.arange(6.0))
    with og.track.run("mine", team="sales") as run:
        for alpha in (0.1, 1.0):
            og.Ridge(alpha=alpha).fit(np.arange(12.0).reshape(6, 2), np.arange(6.0))
        run.log_params({"alphas": [0.1, 1.0]})
        for step in range(3):
            run.log_metrics({"auc": step / 10}, step=step)
    og.track.stop()
    listed = og.runs(log=log, sort="began").to_pylist()
    assert [run["kind"] for run in listed] == ["cross_validate", "fit", "tune", "fit", "run"]
    assert listed[0]["metrics.log_loss"] > 0
    assert listed[2]["params.C"] in ("0.1", "1.0")
    assert (listed[4]["params.alphas"], listed[4]["metrics.auc"], listed[4]["tags.team"]) == (
        "[0.1, 1.0]",
        0.2,
        "sales",
    )
    (searched,) = [body for body in recorded(log, "run.ended") if "trials" in body]
    assert [trial["C"] for trial in searched["trials"]] == [0.1, 1.0]


def test_a_job_is_recorded_where_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    write_job(tmp_path, track={"log": "ops", "tags": {"team": "sales"}})
    outcome = run_job(load_job(tmp_path / "job.yaml"), og.Local())
    log = og.EventLog("ops")
    (run,) = og.runs("tags.team = 'sales'", log=log).to_pylist()
    assert (run["kind"], run["name"], run["rows"]) == ("run", "small", 400)
    assert run["metrics.log_loss"] == outcome.scores["log_loss"]
    (ended,) = log.since(0, kinds=("run.ended",))
    files = {file["path"]: file for file in ended.body["artifacts"]["files"]}
    assert len(files["model/arrays.safetensors"]["sha256"]) == 64
    assert ended.body["baseline"]["log_loss"] == outcome.baseline["log_loss"]


def test_an_error_ends_a_run(log: og.EventLog) -> None:
    with pytest.raises(DataError):
        og.LogisticRegression().fit(np.arange(4.0)[:, None], np.zeros(4))
    (ended,) = recorded(log, "run.ended")
    assert (ended["state"], ended["error"]["type"]) == ("failed", "DataError")
    assert "2 classes" in og.runs("state = 'failed'", log=log)["error"][0].as_py()


def test_curves_are_thinned_and_keep_their_ends(log: og.EventLog) -> None:
    with activity.activity("fit", "many"):
        for step in range(5_000):
            emit(Event("fit", "step", step, loss=float(step)))
    points = [body["metrics"]["loss"] for body in recorded(log, "run.passed")]
    assert (points[0], points[-1]) == (0.0, 4999.0)
    assert 100 <= len(points) < 1_000


def test_fits_side_by_side_keep_their_points(log: og.EventLog) -> None:
    barrier = threading.Barrier(3)

    def fit(number: int) -> None:
        with activity.activity("fit", f"fit {number}") as work:
            barrier.wait()
            emit(Event("fit", "step", 1, loss=float(number)))
            barrier.wait()
            work.note(metrics={"number": number})

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    og.track.stop()
    assert {(run["name"], run["metrics.loss"]) for run in og.runs(log=log).to_pylist()} == {
        (f"fit {number}", float(number)) for number in range(3)
    }


def test_usage_is_sampled(tmp_path: Path) -> None:
    log = og.track.start(tmp_path / "ops.db", sample=0.05)
    with activity.activity("fit", "busy"):
        until = time.monotonic() + 60.0
        while time.monotonic() < until and not any(log.since(0, kinds=("run.sampled",))):
            sum(range(100_000))
    samples = recorded(log, "run.sampled")
    assert max(sample["cpu"] for sample in samples) > 0.1
    assert all(sample["resident_bytes"] > 1 << 20 for sample in samples)


def test_nobody_records_without_being_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    og.Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
    assert not activity._observers
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LogError, match="There is no log at"):
        og.runs()


def run_script(folder: Path, text: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(textwrap.dedent(text))
    environment = {**os.environ, "OUTGROW_CACHE": str(folder), **environment}
    command = [sys.executable, "script.py"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_loses_at_most_a_second(tmp_path: Path) -> None:
    script = """
        import itertools, time
        import outgrow as og
        from outgrow.engine.activity import activity
        from outgrow.engine.events import Event, emit
        with activity("fit", "long"):
            for step in itertools.count():
                emit(Event("fit", "step", step, loss=time.time()))
                print(time.time(), flush=True)
                time.sleep(0.05)
    """
    process = run_script(tmp_path, script, OUTGROW_LOG="ops.db")
    assert process.stdout is not None
    last = 0.0
    for number, line in enumerate(process.stdout):
        last = float(line)
        if number == 40:
            process.send_signal(signal.SIGKILL)
    process.wait()
    log = og.EventLog(tmp_path / "ops.db")
    points = [record.body["metrics"]["loss"] for record in log.since(0, kinds=("run.passed",))]
    assert points[-1] > last - 1.0
    (run,) = og.runs(log=log).to_pylist()
    assert run["state"] == "lost"
    assert log.verify() > 10


def test_a_fork_leaves_the_log_to_its_parent(tmp_path: Path) -> None:
    script = """
        import os, sys, warnings
        import numpy as np
        import outgrow as og
        X, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
        og.Ridge(alpha=5.0).fit(X, y)
        if not (child := os.fork()):
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                og.Ridge(alpha=2.0).fit(X, y)
            print(*(warning.message for warning in seen), flush=True)
            og.track.stop()
            og.track.start("child.db")
            og.Ridge(alpha=3.0).fit(X, y)
            sys.exit(0)
        os.waitpid(child, 0)
        og.Ridge(alpha=4.0).fit(X, y)
    """
    process = run_script(tmp_path, script, OUTGROW_LOG="ops.db")
    assert "records nothing there. Call og.track.stop()" in process.communicate(timeout=60)[0]
    for name, fitted in [("ops.db", ["4.0", "5.0"]), ("child.db", ["3.0"])]:
        log = og.EventLog(tmp_path / name)
        log.verify()
        assert [run.get("params.alpha") for run in og.runs(log=log).to_pylist()] == fitted


def test_a_full_disk_ends_no_fit(tmp_path: Path) -> None:
    script = """
        import resource, signal, warnings
        import numpy as np, outgrow as og
        log = og.track.start("ops.db", sample=0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, 1 << 12))  # as on a disk that is full
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as heard:
            model = og.Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
            og.track.stop()
        print(model.coef_.round(1), {str(w.category.__name__) for w in heard})
    """
    process = run_script(tmp_path, script)
    assert process.communicate()[0].split(" ", 1) == ["[0.8]", "{'LogWarning'}\n"]


def test_a_log_that_cannot_be_opened_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    script = """
        import warnings, numpy as np, outgrow as og
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            og.Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
        print([str(w.message)[:22] for w in heard])
    """
    process = run_script(tmp_path, script, OUTGROW_LOG="file/ops.db")
    assert process.communicate()[0] == "['Runs are not recorded:']\n"


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (None, ["a", "b", "c", "d"]),
        ("metrics.log_loss < 0.4", ["a", "b"]),
        ("metrics.log_loss < 0.4 and params.C = '1'", ["a"]),
        ('params.C = "1.0" or metric.log_loss >= .5', ["a", "c"]),
        ("params.C != '1'", ["b", "c"]),
        ("not (params.C = '1')", ["b", "c", "d"]),
        ("attributes.status = 'FINISHED' AND tags.`team` like 'sal%'", ["a", "b", "c", "d"]),
        ("C in (1, '10')", ["a", "c"]),
        ("params.C NOT IN ('1')", ["b", "c"]),
        ("metrics.log_loss is null", ["d"]),
        ("metrics.log_loss is not null and name ilike 'B'", ["b"]),
        ("began > '2020-01-01' and seconds >= 0 and start_time < 9e12", ["a", "b", "c", "d"]),
    ],
)
def test_filters(log: og.EventLog, condition: str | None, names: list[str]) -> None:
    for name, C, loss in (("a", 1, 0.3), ("b", 0.5, 0.2), ("c", 10, 0.5), ("d", None, float("nan"))):
        with og.track.run(name, team="sales") as run:
            run.log_metrics({"log_loss": loss})
            run.log_params({} if C is None else {"C": C})
    og.track.stop()
    assert og.runs(condition, log=log, sort="name")["name"].to_pylist() == names


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("metrics.logloss < 1", "did you mean 'metrics.log_loss'"),
        ("metrics.log_loss <", "its end where a number"),
        ("metrics.log_loss < 'low'", "'low' is none"),
        ("metrics.log_loss 3", r"'3' \(character 18\)"),
        ("(metrics.log_loss < 3", r"its end where '\)'"),
        ("metrics.log_loss < 3 metrics.log_loss", "'and', 'or', or the end"),
        ("began > 'yesterday'", "'yesterday' is none"),
        ("name = ;", "';'"),
    ],
)
def test_filters_with_typing_errors(log: og.EventLog, condition: str, message: str) -> None:
    with og.track.run("a") as run:
        run.log_metrics({"log_loss": 1.0})
    og.track.stop()
    with pytest.raises(ParameterError, match=message):
        og.runs(condition, log=log)


def test_a_kept_table_is_what_the_log_says(log: og.EventLog, tmp_path: Path) -> None:
    """Also after other processes have written, and when another log took the place of the first."""
    from outgrow.track.runs_view import RunsView

    for number in range(40):
        with og.track.run(f"run {number}"):
            pass
    og.track.stop()
    first = og.runs(log=log)
    assert list((tmp_path / "cache" / "runs").iterdir())
    RunsView._views.clear()
    assert og.runs(log=log).equals(first)
    with og.EventLog(log.uri) as other:
        og.track.runs.tag_run(first["run"][3].as_py()[:12], {"team": "x"}, "best", log=other)
    assert og.runs("tags.team = 'x'", log=log)["description"].to_pylist() == ["best"]
    RunsView._views.clear()
    assert og.runs("tags.team = 'x'", log=log).num_rows == 1
    for path in tmp_path.glob("ops.db*"):
        path.unlink()
    assert og.runs(log=og.EventLog(log.uri)).num_rows == 0


def test_the_command_lists_runs(log: og.EventLog, capsys: pytest.CaptureFixture[str]) -> None:
    with og.track.run("compare") as run:
        run.log_metrics({"auc": 0.75})
    og.track.stop()
    lists = ["runs", "--log", log.uri]
    assert command(lists, capsys).out.split()[:4] == ["run", "name", "state", "began"]
    (line,) = command(
        [*lists, "--json", "-f", "metrics.auc > 0.7", "--columns", "name,auc"], capsys
    ).out.splitlines()
    assert json.loads(line) == {"name": "compare", "metrics.auc": 0.75}
    assert "none changed" in command(["runs", "verify", "--log", log.uri], capsys).out
    assert "Tagged" in command(["runs", "tag", "last", "team=sales", "--log", log.uri], capsys).out
    failed = command([*lists, "-f", "metrics.aux > 1"], capsys, code=2)
    assert "did you mean 'metrics.auc'" in failed.err
    assert (
        "There is no run 'zz'" in command(["runs", "tag", "zz", "a=b", "--log", log.uri], capsys, code=2).err
    )


def test_a_log_that_was_edited_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    og.track.start(tmp_path / "ops")
    with og.track.run("honest") as run:
        run.log_metrics({"auc": 0.75})
    og.track.stop()
    (file,) = (tmp_path / "ops").iterdir()
    file.write_text(file.read_text().replace("0.75", "0.95"))
    assert "was changed" in command(["runs", "verify", "--log", str(tmp_path / "ops")], capsys, code=2).err


def command(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """What a command prints."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in ((None, 0) if code == 0 else (code,))
    return capsys.readouterr()


def test_one_log_at_a_time(log: og.EventLog, tmp_path: Path) -> None:
    assert og.track.start(tmp_path / "ops.db") is og.track.start(tmp_path / "ops.db")
    with pytest.raises(ParameterError, match="already"):
        og.track.start(tmp_path / "other.db")


def test_an_observer_that_fails_ends_nothing(log: og.EventLog) -> None:
    class Broken:
        def began(self, *_: Any) -> None:
            raise ValueError("broken")

        noted = ended = began

    broken = Broken()
    activity.observe(broken)  # type: ignore[arg-type]
    try:
        with pytest.warns(LogWarning, match="ValueError: broken"):
            og.Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
    finally:
        activity.leave(broken)  # type: ignore[arg-type]


def test_a_run_is_shown_and_compared(
    log: og.EventLog, table: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for C, rows in ((0.5, table), (2.0, table.drop(["word"]))):
        steps = [og.OneHotEncoder(columns=og.categorical()), og.LogisticRegression(C=C)]
        model = og.Pipeline(steps).fit(rows, "late")
        model.evaluate(rows, "late")
    og.track.stop()
    first, second = og.runs(log=log, sort="began")["run"].to_pylist()
    text = command(["runs", "show", "last", "--log", log.uri], capsys).out
    assert second in text
    assert "log_loss" in text
    text = command(["runs", "compare", first[:10], second[:10], "--log", log.uri], capsys).out
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert lines["C"] == ["0.5", "2.0"]
    assert lines["word"] == ["string", "none"]
    assert len(lines["Log"]) > 3
    assert "numpy" not in lines
    command(["runs", "compare", first, second, "--log", log.uri, "-o", str(tmp_path / "page.html")], capsys)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") >= 1
    assert "The same in both: " in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_prefix_that_several_runs_have(log: og.EventLog) -> None:
    for _ in range(17):  # two of them begin with the same digit
        with og.track.run("a"):
            pass
    og.track.stop()
    ids = og.runs(log=log)["run"].to_pylist()
    digit = next(first for first in "0123456789abcdef" if sum(run[0] == first for run in ids) > 1)
    with pytest.raises(ParameterError, match=f"runs begin with '{digit}'"):
        find_run(digit, log)
    assert find_run(ids[3][:12].upper(), log) == ids[3]


def test_a_job_is_run_again_from_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTGROW_CACHE", str(tmp_path / "cache"))
    rows = write_rows(tmp_path)
    write_job(tmp_path, track="ops.db", sample=0.8)
    run_job(load_job(tmp_path / "job.yaml"), og.Local())
    (tmp_path / "job.yaml").unlink()
    again = ["rerun", "last", "--log", "ops.db"]
    assert "Nothing differs." in command([*again, "--dry"], capsys).out
    first = find_run("last", og.EventLog("ops.db"))
    assert "same to the bit" in command(again, capsys).out
    runs = og.runs(log="ops.db", sort="began").to_pylist()
    assert [run["cause"] for run in runs] == [None, first]
    assert runs[0]["model"] == runs[1]["model"]
    os.utime(rows, (1, 1))
    moved = command(["rerun", first, "--log", "ops.db", "-o", "third"], capsys, code=2)
    assert "rows.parquet had" in moved.out
    assert "--anyway" in moved.err
    assert not Path("third").exists()
    text = pq.read_table(rows)
    pq.write_table(text.slice(0, 300), rows)
    anyway = ["rerun", first, "--log", "ops.db", "-o", "third", "--anyway"]
    assert "is not the same" in command(anyway, capsys, code=1).out
    rows.unlink()
    assert "are gone" in command(["rerun", first, "--log", "ops.db"], capsys, code=2).err


def test_fits_of_scripts_say_what_a_rerun_needs(log: og.EventLog, capsys: pytest.CaptureFixture[str]) -> None:
    og.Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
    og.track.stop()
    error = command(["rerun", "last", "--log", log.uri], capsys, code=2).err
    assert "rows were in memory" in error
    assert "job file" in error


def test_a_loss_that_diverged_is_seen_everywhere(log: og.EventLog) -> None:
    for name, loss in (("good", 0.5), ("diverged", float("nan")), ("too", float("nan")), ("far", math.inf)):
        with og.track.run(name) as run:
            run.log_metrics({"log_loss": loss})
    og.track.stop()
    table = og.runs(log=log, sort="-metrics.log_loss")
    assert table["metrics.log_loss"].to_pylist()[:2] == [math.inf, 0.5]
    assert all(map(math.isnan, table["metrics.log_loss"].to_pylist()[2:]))
    assert og.runs("metrics.log_loss is not null", log=log).num_rows == 2
    runs = dict(zip(*(table[name].to_pylist() for name in ("name", "run")), strict=True))
    good, diverged, too, far = (details(runs[name], log) for name in ("good", "diverged", "too", "far"))
    assert compare(diverged, too)["metrics"][0].same
    page = comparison_page(good, diverged)
    assert "nan" in page
    assert "inf" in comparison_page(good, far)


@pytest.mark.parametrize(
    "value", ["0.5", None, [1.0], np.array([1, 2]), 1j, 10**400, {"a": 1}, pa.scalar(None)]
)
def test_what_is_no_metric_is_refused(log: og.EventLog, value: Any) -> None:
    for step in (None, 3):
        with og.track.run("mine") as run, pytest.raises(ParameterError, match=r"'loss'.*type.*log_params"):
            run.log_metrics({"good": 1.0, "loss": value}, step=step)
    assert "metrics.good" not in og.runs(log=log).column_names


@pytest.mark.parametrize("value", [1, np.float32(1), np.array(1.0), pa.scalar(1), Decimal(1), True])
def test_one_number_of_any_library_is_a_metric(log: og.EventLog, value: Any) -> None:
    with og.track.run("mine") as run:
        run.log_metrics({"loss": value}, step=np.int64(2))
    assert og.runs(log=log)["metrics.loss"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("metrics", "step", "message"),
    [
        ({"a": 1}, 1.5, "step=1.5"),
        ({"a": 1}, True, "step=True"),
        ({1: 1}, 1, "1 is no name"),
        ({" ": 1}, 1, "' '"),
    ],
)
def test_steps_and_names_of_metrics_are_checked(
    log: og.EventLog, metrics: Any, step: Any, message: str
) -> None:
    with og.track.run("mine") as run, pytest.raises(ParameterError, match=message):
        run.log_metrics(metrics, step=step)
