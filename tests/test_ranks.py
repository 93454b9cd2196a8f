"""Ranks that a launcher starts: torchrun, mpirun where there is one, and processes with what those set."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.engine.frames import Message, send
from outgrow.engine.handshake import call
from outgrow.engine.ranks.launch import Launch, launched
from outgrow.engine.ranks.meeting import differences, meet, own_facts
from outgrow.engine.ranks.rendezvous import port_sequence
from outgrow.engine.ranks.secret import Secret
from outgrow.errors import DataError, EngineError, OutgrowError, ParameterError
from outgrow.testing.clusters import wait_until

PORTS = (32_000, 33_000)
TORCH, OPEN_MPI = ["RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"], "OMPI_COMM_WORLD_"


def on_ranks(count: int, work: Callable[[og.Ranks], Any], **settings: Any) -> list[Any]:
    """What `work` gives, or raises, on each of some ranks, which are threads here."""
    found: list[Any] = [None] * count

    def rank(number: int) -> None:
        try:
            found[number] = work(og.Ranks(number, count, threads=1, ports=PORTS, **settings))
        except OutgrowError as error:
            found[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def table(rows: int = 300) -> pa.Table:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 3))
    late = X[:, 0] + random.normal(size=rows) > 0
    return pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "late": late.astype(int)})


def test_all_ranks_get_one_model(tmp_path: Path) -> None:
    """Also where a rank has nothing to read; and after a fit that failed they go on."""
    pq.write_table(table(), tmp_path / "rows.parquet", row_group_size=150)

    def work(engine: og.Ranks) -> Any:
        rows = og.read(str(tmp_path / "rows.parquet"), engine=engine)
        model = og.LogisticRegression().fit(rows, "late")
        with pytest.raises(DataError, match="no rows"):
            og.StandardScaler().fit(rows.where(og.col("a") > 1e9))
        return model.coef_.tobytes(), model.fit_record_.ranks, rows.count(), str(model.evaluate(rows, "late"))

    first, *others = on_ranks(3, work)
    assert first[1:3] == (3, 300)
    assert others == [first, first]
    alone = og.LogisticRegression().fit(table(), "late")
    np.testing.assert_allclose(np.frombuffer(first[0]), alone.coef_.ravel(), rtol=1e-9)


def test_rows_of_their_own() -> None:
    def work(engine: og.Ranks) -> Any:
        part = table().slice(100 * engine.rank, 100 + 100 * engine.rank)
        return og.StandardScaler().fit(og.dataset(part, engine=engine)).mean_

    first, second = on_ranks(2, work, rows="own")
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, og.StandardScaler().fit(table()).mean_, rtol=1e-9)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (lambda engine: og.Ridge(alpha=1.0 + engine.rank), "Rank 1 and rank 0 have other settings"),
        (lambda engine: og.Lasso() if engine.rank else og.Ridge(), "do not do the same.*fit Lasso"),
    ],
)
def test_ranks_must_do_the_same(fit: Callable[[og.Ranks], Any], said: str) -> None:
    for error in on_ranks(2, lambda engine: fit(engine).fit(og.dataset(table(), engine=engine), "late")):
        with pytest.raises(ParameterError, match=said):
            raise error


def test_ranks_must_see_the_same_rows() -> None:
    def work(engine: og.Ranks) -> Any:
        other = table().take(np.random.default_rng(engine.rank).permutation(300))
        return og.StandardScaler().fit(og.dataset(other, engine=engine))

    for error in on_ranks(2, work):
        with pytest.raises(ParameterError, match="read other rows"):
            raise error


def test_an_error_of_one_rank_is_raised_on_all() -> None:
    def work(engine: og.Ranks) -> Any:
        def fold(batch: Any) -> np.ndarray:
            if engine.rank == 1:
                raise DataError("a bad row")
            return np.ones(1)

        rows = og.dataset(table(), engine=engine)
        return engine.fit(lambda shard: [shard.reduce(fold)], rows.scan)

    first, second = on_ranks(2, work)
    assert isinstance(first, DataError)
    assert str(first) == "a bad row (rank 1)"
    assert isinstance(second, DataError)


def test_who_does_not_come_is_named() -> None:
    scan = og.dataset(table()).scan
    for rank, said in ((0, r"Rank\(s\) 1 of 2 did not come"), (1, "Rank 1 of 2 did not reach rank 0")):
        engine = og.Ranks(rank, 2, joining=0.5, ports=PORTS)
        with pytest.raises(EngineError, match=said):
            engine.fit(lambda shard: None, scan)


def visited(visits: list[tuple[int, dict[str, Any]]], size: int = 2) -> EngineError:
    """What rank 0 raises after somebody has called as some rank and told something."""
    launch = Launch(0, size, size, None, os.urandom(4).hex(), "a test")
    secret = Secret(launch)
    found: list[Any] = []

    def host() -> None:
        try:
            found.append(meet(launch, secret, PORTS, 10))
        except EngineError as error:
            found.append(error)

    thread = threading.Thread(target=host)
    thread.start()
    known, lines = secret.now(), []
    assert known is not None
    for rank, told in visits:
        line = None
        while line is None:
            for port in port_sequence(known + b"meeting", 0, PORTS):
                line = line or call(("127.0.0.1", port), rank, known, 1.0)
        send(line, 0, Message.of({"size": size, "pid": 4711, "facts": own_facts(), **told}))
        lines.append(line)
    thread.join()
    for line in lines:
        line.close()
    assert isinstance(found[0], EngineError)
    return found[0]


def test_other_programs_are_refused() -> None:
    """Another torch, another number of ranks, and a process that an earlier run left behind."""
    other = {**own_facts(), "torch": "1.0"}
    assert "rank 1 has torch '1.0', rank 0 has" in str(visited([(1, {"facts": other})]))
    assert "rank 1 believes in 3 ranks, rank 0 in 2" in str(visited([(1, {"size": 3})]))
    assert "process 4711 is rank 1, too" in str(visited([(1, {}), (1, {})], size=3))
    assert differences({0: own_facts(), 1: own_facts()}) == ""


def test_strangers_and_taken_ports_do_not_matter() -> None:
    """All but the last of the ports that rank 0 may take are taken, by who says nothing."""
    launch = Launch(0, 2, 2, None, os.urandom(4).hex(), "a test")
    secret = Secret(launch)
    known = secret.now()
    assert known is not None
    taken = [socket.create_server(("127.0.0.1", p)) for p in port_sequence(known + b"meeting", 0, PORTS)[:-1]]
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(meet(launch, secret, PORTS, 20)))
    thread.start()
    other = Launch(1, 2, 2, None, launch.run, "a test")
    hosts, shared = meet(other, Secret(other), PORTS, 20)
    thread.join()
    for server in taken:
        server.close()
    assert found == [(hosts, shared)]


def test_what_launchers_say() -> None:
    torch = launched({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "n1"})
    assert (torch.rank, torch.size, torch.one_host, torch.first_host) == (1, 4, False, "n1")
    mpi = launched({OPEN_MPI + "RANK": "0", OPEN_MPI + "SIZE": "2", OPEN_MPI + "LOCAL_SIZE": "2"})
    assert mpi.one_host
    nodes = {"cpu[03-07,12],gpu1": "cpu03", "a-1,a-2": "a-1", "n[1-2]": "n1"}
    nodes |= {"tux[05,07-09]-ib,b1": "tux05-ib", "rack[0-3]node[1,5]": "rack0node1"}
    for listed, first in nodes.items():
        slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": listed}
        assert launched(slurm).first_host == first
        assert not launched(slurm).one_host
    assert launched({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}).one_host
    step = {
        "SLURM_PROCID": "1",
        "SLURM_NTASKS": "8",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
    }
    assert (launched(step).size, launched(step).one_host) == (2, True), "a step of a larger job"
    many = {"SLURM_PROCID": "6", "SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"}
    assert [launched(many | {"SLURM_NODEID": node}).local_size for node in "0123"] == [2, 2, 2, 1]
    assert launched(many).local_size == launched(many | {"SLURM_NODEID": "4"}).local_size == 1
    with pytest.raises(ParameterError, match="No launcher has started this process"):
        launched({})
    with pytest.raises(ParameterError, match="RANK='x' in the environment is no whole number"):
        launched({"RANK": "x", "WORLD_SIZE": "2"})
    with pytest.raises(ParameterError, match="counted from 0"):
        launched({"RANK": "2", "WORLD_SIZE": "2"})
    with pytest.raises(ParameterError, match="LOCAL_WORLD_SIZE=8 and WORLD_SIZE=2"):
        launched({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "8"})
    halves = {"SLURM_PROCID": "SLURM_NTASKS", "WORLD_SIZE": "RANK", OPEN_MPI + "RANK": OPEN_MPI + "SIZE"}
    for given, missing in halves.items():
        with pytest.raises(ParameterError, match=f"only half.*{given} without {missing}"):
            launched({given: "1"})


def test_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several hosts need one; a file that others could read, or that is a link, is none."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EngineError, match=r"several hosts.*export OUTGROW_SECRET="):
        Secret(Launch(0, 4, 2, "n1", "run", "Slurm"))
    first, second = Launch(0, 2, 2, None, "run", "a test"), Launch(1, 2, 2, None, "run", "a test")
    (tmp_path / f"outgrow-ranks-{os.getuid()}-run").write_text("that of a run that was killed")
    assert Secret(second).now() is None  # everybody could read it
    host, guest = Secret(first), Secret(second)
    assert guest.now() == host.now() != None  # noqa: E711
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    host.clear()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("OUTGROW_SECRET", "short")
    with pytest.raises(ParameterError, match="fewer than 16"):
        Secret(first)
    monkeypatch.setenv("OUTGROW_SECRET", "x" * 32)
    assert Secret(Launch(1, 4, 2, "n1", "run", "Slurm")).now() == b"x" * 32


def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_SECRET", "x" * 32)
    launch = Launch(1, 2, 1, "no-such-host.invalid", "run", "torchrun")
    with pytest.raises(EngineError, match=r"rank 0, 'no-such-host.invalid', has no address here"):
        meet(launch, Secret(launch), PORTS, 5)


def test_parameters() -> None:
    for settings, said in (
        ({"rows": "mine"}, "rows='mine'"),
        ({"ports": (1, 2)}, "ports="),
        ({"joining": 0}, "joining=0"),
        ({"joining": "3"}, "joining='3'"),
        ({"deadline": None}, "deadline=None"),
        ({"ports": "x"}, "ports='x'"),
        ({"rank": "0"}, "rank='0' of ranks=1"),
        ({"ranks": None}, "give both or none"),
    ):
        with pytest.raises(ParameterError, match=said):
            og.Ranks(**{"rank": 0, "ranks": 1, **settings})
    for processes in ("2", 2.5, True):
        with pytest.raises(ParameterError, match=f"processes={processes!r}"):
            og.Local(processes=processes)


TRAIN = """
import os, signal, sys, time
import numpy as np, pyarrow as pa
import outgrow as og

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it

engine = og.MPI() if "mpi" in sys.argv else og.Ranks()
rows = og.dataset(pa.table({"a": np.arange(100.0), "y": np.arange(100.0) * 2}), engine=engine)
seen = []
with og.listen(seen.append):
    model = og.LinearRegression().fit(rows, "y")
heard = "heard" if seen else "quiet"
line = f"{engine.rank} {engine.size} {model.coef_.tobytes().hex()} {heard}"
os.write(1, (line + chr(10)).encode())  # in one piece, as ranks share what they write to
if "slow" in sys.argv:
    def fold(batch):
        open(f"{sys.argv[-1]}/{engine.rank}", "w").write(str(os.getpid()))
        time.sleep(0.5)
        return np.ones(1)
    engine.fit(lambda shard: [shard.reduce(fold) for _ in range(100)], rows.scan)
"""


@pytest.fixture
def train(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path / "train.py"


def by_hand(command: list[str], count: int, names: list[str]) -> list[subprocess.Popen[str]]:
    """Processes with the variables that a launcher sets: the number, and how many there are and are here."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "SLURM_"))}
    return [
        subprocess.Popen(
            command,
            env={**base, names[0]: str(rank), **dict.fromkeys(names[1:], str(count))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(count)
    ]


def check_lines(said: str, count: int) -> None:
    lines = sorted(line.split() for line in said.splitlines() if line.endswith(("heard", "quiet")))
    assert [line[0] for line in lines] == [str(rank) for rank in range(count)]
    assert {line[1] for line in lines} == {str(count)}
    assert len({line[2] for line in lines}) == 1
    assert [line[3] for line in lines] == ["heard"] + ["quiet"] * (count - 1)


def test_torchrun(train: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(train)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check_lines(done.stdout, 2)


def test_mpirun(train: Path) -> None:
    """Open MPI's own launcher where there is one; else, as on machines for tests, the variables it sets."""
    launcher = shutil.which("mpirun")
    if launcher is not None:
        command = [launcher, "--allow-run-as-root", "--oversubscribe", "-n", "2", sys.executable]
        done = subprocess.run([*command, str(train), "mpi"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        check_lines(done.stdout, 2)
        return
    names = [OPEN_MPI + name for name in ("RANK", "SIZE", "LOCAL_SIZE")]
    processes = by_hand([sys.executable, str(train), "mpi"], 2, names)
    outputs = [process.communicate(timeout=300) for process in processes]
    check_lines("".join(out for out, _ in outputs), 2)


@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGINT])
def test_a_rank_that_dies_ends_the_fit_of_the_others(trouble: int, train: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    processes = by_hand([sys.executable, str(train), "slow", str(pids)], 3, TORCH)
    wait_until("all work", lambda: len([path for path in pids.iterdir() if path.read_text()]) == 3)
    processes[2].send_signal(trouble)
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert all(process.returncode for process in processes)
    for error in errors[:2]:
        assert ("RankLostError: Rank 2 on" if trouble == signal.SIGKILL else "KeyboardInterrupt") in error


JOB = """
name: late
data: {path: rows.parquet}
target: late
split: {test: 0.3}
model: {LogisticRegression: {}}
output: out
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pq.write_table(table(), "rows.parquet")
    Path("job.yaml").write_text(JOB)
    return tmp_path


def test_a_job_runs_on_all_ranks_and_writes_once(job: Path) -> None:
    command = [sys.executable, "-m", "outgrow", "run", "job.yaml", "--engine", "ranks"]
    outputs = [process.communicate(timeout=300) for process in by_hand(command, 2, TORCH)]
    assert (job / "out" / "model").is_dir(), outputs
    assert outputs[1] == ("", "")
    assert og.load(job / "out" / "model") is not None


def test_a_job_that_fails_ends_all_ranks(job: Path) -> None:
    Path("job.yaml").write_text(JOB.replace("target: late", "target: absent"))
    command = [sys.executable, "-m", "outgrow", "run", "job.yaml", "--engine", "mpi"]
    names = [OPEN_MPI + name for name in ("RANK", "SIZE", "LOCAL_SIZE")]
    processes = by_hand(command, 2, names)
    outputs = [process.communicate(timeout=300) for process in processes]
    assert processes[0].returncode == 2, outputs
    assert outputs[1] == ("", "")
