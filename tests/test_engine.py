"""Passes: shared scans, bounded memory, events, and what ranks say when they fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow import errors
from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.collective import Tcp
from outgrow.engine.handshake import HandshakeListener, call
from outgrow.engine.local import Local
from outgrow.engine.memory import Memory, Store, parse_size
from outgrow.engine.peer import PeerFailedError
from outgrow.engine.ranks.rendezvous import join
from outgrow.engine.shard import Shard
from outgrow.engine.spark.driver import DriverClient, DriverServer
from outgrow.engine.together import together
from outgrow.testing import EngineCase
from outgrow.testing.clusters import wait_until


def rows(n: int = 3000, width: int = 4) -> pa.Table:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, width))
    y = (X.sum(axis=1) + rng.logistic(size=n) > 0).astype(int)
    return pa.table({**{f"x{j}": X[:, j] for j in range(width)}, "y": y})


# ---- shared scans ----------------------------------------------------------------------------------------


def test_folds_share_scans() -> None:
    alone: list[og.Dataset] = []
    with og.listen(alone.append):  # type: ignore[arg-type]
        og.LogisticRegression().fit(rows(), "y")
    single = sum(event.unit == "pass" for event in alone)  # type: ignore[attr-defined]
    shared = og.cross_validate(og.LogisticRegression(), rows(), "y", cv=5).passes
    assert shared <= single + 4  # one to count the folds, one to score them, and no fold walks alone


def test_one_versus_rest_takes_one_pass() -> None:
    scan, passes = Scan(TableSource(rows(), 500)), []

    def fit(shard: Shard) -> list[float]:
        def count(label: int) -> Any:
            return lambda part: part.reduce(lambda b: np.array([float((b["y"].to_numpy() == label).sum())]))[
                0
            ]

        found = together(shard, [count(0), count(1), count(2)])
        passes.append(shard.run.passes)
        return [float(value) for value in found]

    found = Local(threads=2).fit(fit, scan).result
    assert found == [float((rows()["y"].to_numpy() == label).sum()) for label in (0, 1, 2)]
    assert passes == [1]


def test_fits_of_different_length_and_failing_ones() -> None:
    scan = Scan(TableSource(rows(), 500))

    def short(shard: Shard) -> float:
        return float(shard.reduce(_count)[0])

    def long(shard: Shard) -> float:
        return sum(float(shard.reduce(_count)[0]) for _ in range(3))

    def failing(shard: Shard) -> float:
        shard.reduce(_count)
        raise ValueError("this one fails")

    assert Local().fit(lambda shard: together(shard, [short, long]), scan).result == [3000.0, 9000.0]
    with pytest.raises(ValueError, match="this one fails"):
        Local().fit(lambda shard: together(shard, [short, failing, long]), scan)


def _count(batch: Batch) -> np.ndarray:
    return np.array([float(batch.num_rows)])


def test_cross_validation_on_every_engine(engine: EngineCase) -> None:
    pipe = og.Pipeline([og.StandardScaler(), og.LogisticRegression()])
    found = og.cross_validate(pipe, engine.open(rows(600)), "y", cv=3)
    expected = og.cross_validate(pipe, rows(600), "y", cv=3)
    for name, value in expected.mean().items():
        assert found.mean()[name] == pytest.approx(value, rel=1e-9)
    assert sum(fold.rows for fold in found.folds) == 600


# ---- memory ----------------------------------------------------------------------------------------------


def test_store_spills_and_gives_back_the_same_bits(tmp_path: Path) -> None:
    import scipy.sparse as sp

    csr = sp.random_array((50, 8), density=0.3, format="csr", rng=np.random.default_rng(0))
    batch = Batch(
        {
            "a": pa.array([1.5, None] * 25),
            "w": pa.array(["x", "y"] * 25),
            "m": Matrix(csr, tuple("abcdefgh")),
        },
        50,
    )
    store: Store[Batch] = Store(Memory(0, str(tmp_path)))
    store.extend([[store.hold(batch, 10**9)] for _ in range(3)])
    for i in range(3):
        found = store.get(i)
        assert found["a"].equals(batch["a"])  # type: ignore[arg-type]
        assert found["w"].equals(batch["w"])  # type: ignore[arg-type]
        assert (found["m"].values != csr).nnz == 0  # type: ignore[union-attr]


def test_spilled_fit_equals_resident_fit() -> None:
    table = rows(20_000)
    resident = og.LogisticRegression().fit(og.dataset(table), "y")
    spilled = og.LogisticRegression().fit(og.dataset(table, engine=og.Local(memory="1MiB")), "y")
    np.testing.assert_allclose(spilled.coef_, resident.coef_, rtol=1e-12)


BIG = """
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq
import outgrow as og
from outgrow.engine.memory import peak_bytes
path, budget = sys.argv[1], int(sys.argv[2])
engine = og.Local(memory=budget, threads=2)
model = og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(og.read(path, engine=engine), "y")
print(peak_bytes(), np.isfinite(model.model.coef_).all())
"""


def test_data_four_times_the_budget_trains_under_it(tmp_path: Path) -> None:
    """One file under many names: writing it many times would take longer than the fit."""
    budget, width, group, names = 352 << 20, 50, 10_000, 16
    X = np.random.default_rng(0).normal(size=(group, width))
    table = pa.table({**{f"x{j}": X[:, j] for j in range(width)}, "y": X.sum(axis=1)})
    first = tmp_path / "0.parquet"
    with pq.ParquetWriter(first, table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(-(-4 * budget // (names * table.nbytes))):
            writer.write_table(table)
    for number in range(1, names):
        os.link(first, tmp_path / f"{number}.parquet")
    assert names * first.stat().st_size > 4 * budget
    done = subprocess.run(
        [sys.executable, "-c", BIG, str(tmp_path), str(budget)],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, finite = done.stdout.split()
    assert finite == "True"
    assert int(peak) < budget, f"{int(peak) >> 20} MiB of {budget >> 20}"


def test_full_disk_while_spilling() -> None:
    with pytest.raises(errors.StorageError, match=r"Cannot write /dev/full"):
        _write_full()


def _write_full() -> None:
    from outgrow.storage import disk_errors

    with disk_errors(Path("/dev/full")), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.parametrize(("text", "size"), [("1KiB", 1024), ("2 GB", 2 * 10**9), ("1.5MiB", 3 << 19), (7, 7)])
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_bad_settings() -> None:
    with pytest.raises(errors.ParameterError, match="not a size"):
        og.Local(memory="plenty")
    with pytest.raises(errors.ParameterError, match="threads=0"):
        og.Local(threads=0)


# ---- events ----------------------------------------------------------------------------------------------


def test_events_tell_passes_and_loss(engine: EngineCase) -> None:
    seen: list[Any] = []
    with og.listen(seen.append):
        og.KMeans(n_clusters=2, random_state=0, max_iter=5).fit(engine.open(rows(400)).drop("y"))
    passes = [event for event in seen if event.unit == "pass"]
    steps = [event for event in seen if event.unit == "iteration"]
    assert [event.step for event in passes] == list(range(1, len(passes) + 1))
    assert passes[-1].rows == 400
    assert passes[-1].rows_per_second > 0
    assert steps[-1].loss is not None
    assert steps[0].total == 5
    assert seen[-1].stage == "fit KMeans"


# ---- ranks -----------------------------------------------------------------------------------------------


def run_ranks(size: int, work: Any, deadline: float = 5.0, secret: bytes = b"s" * 32) -> list[Any]:
    """`work(comm)` on threads that are joined by real sockets."""
    results: list[Any] = [None] * size

    def rank(number: int) -> None:
        try:
            hosts = ["127.0.0.1"] * size
            comm = join(number, hosts, secret, ports=(20_000, 30_000), joining=5, deadline=deadline)
            try:
                results[number] = work(comm)
            finally:
                comm.close()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_agree(size: int) -> None:
    def work(comm: Tcp) -> Any:
        total = comm.allreduce(np.array([1.0, comm.rank]))
        partial = comm.allreduce(None if comm.rank % 2 else (np.array([2.0]),))
        return (
            total.tolist(),
            partial[0].tolist(),
            comm.gather(bytes([comm.rank])),
            comm.broadcast(b"hello" if not comm.rank else None),
        )

    expected = (
        [size, sum(range(size))],
        [2.0 * (-(-size // 2))],
        [bytes([r]) for r in range(size)],
        b"hello",
    )
    assert run_ranks(size, work) == [expected] * size


def test_a_failing_rank_is_named_to_all() -> None:
    def work(comm: Tcp) -> Any:
        if comm.rank == 2:
            comm.abort("ValueError: the cause")
            raise ValueError("the cause")
        return comm.allreduce(np.ones(1))

    found = run_ranks(5, work)
    assert isinstance(found[2], ValueError)
    others = [found[rank] for rank in (0, 1, 3, 4)]
    assert all(isinstance(error, PeerFailedError) and error.rank == 2 for error in others), others
    assert "the cause" in str(others[0])


def test_a_silent_rank_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        other.connect(server.getsockname())
        own, _ = server.accept()
        comm = Tcp(0, 2, {1: own}, deadline=0.5)
        with pytest.raises(
            errors.RankLostError, match=r"Rank 1 on \S+ did not answer within 0\.5 s"
        ) as caught:
            comm.allreduce(np.ones(1))
        assert caught.value.rank == 1
        with pytest.raises(errors.RankLostError):  # and so does whatever is asked next
            comm.check()
        comm.close()


def test_a_slow_rank_is_waited_for() -> None:
    def work(comm: Tcp) -> Any:
        time.sleep(1.5 * comm.rank)
        return comm.allreduce(np.ones(1)).tolist()

    assert run_ranks(2, work, deadline=0.5) == [[2.0], [2.0]]


def test_large_states_cross_each_other() -> None:
    """Both children send more than any buffer holds while the parent still works."""

    def work(comm: Tcp) -> float:
        if comm.rank == 0:
            time.sleep(1.0)
        return float(comm.allreduce(np.ones(3_000_000)).sum())

    assert run_ranks(3, work, deadline=0.6) == [9e6] * 3


def test_a_missing_rank_is_named() -> None:
    with pytest.raises(errors.EngineError, match="Rank 1 did not reach rank 0"):
        join(1, ["127.0.0.1"] * 2, b"k" * 32, ports=(20_000, 30_000), joining=0.3, deadline=60)
    with pytest.raises(errors.EngineError, match=r"Rank\(s\) 1 on 127\.0\.0\.1"):
        join(0, ["127.0.0.1"] * 2, b"k" * 32, ports=(20_000, 30_000), joining=0.3, deadline=60)


def test_a_stranger_is_turned_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, HandshakeListener(server, b"right" * 8) as callers:
        address, wrong = server.getsockname()[:2], list[Any]()
        thread = threading.Thread(target=lambda: wrong.append(call(address, 0, b"wrong" * 8, timeout=2.0)))
        thread.start()
        with pytest.raises(TimeoutError):
            callers.next(time.monotonic() + 0.5)
        thread.join()
    assert wrong == [None]


@pytest.mark.parametrize("says", [b"", b"x", b"x" * 51])
def test_silent_strangers_keep_nobody_waiting(says: bytes) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        callers = stack.enter_context(HandshakeListener(server, b"k" * 32))
        address = server.getsockname()[:2]
        for _ in range(300):
            stranger = stack.enter_context(socket.create_connection(address))
            stranger.sendall(says)
            with suppress(TimeoutError):
                callers.next(0.0)
        lines = list[Any]()
        thread = threading.Thread(target=lambda: lines.append(call(address, 7, b"k" * 32, timeout=2.0)))
        thread.start()
        number, line = callers.next(time.monotonic() + 1.5)
        thread.join()
        assert number == 7
        line.sendall(b"welcome")
        assert lines[0].recv(7) == b"welcome"
        line.close()
        lines[0].close()


def test_a_hub_hears_its_ranks_among_strangers() -> None:
    with ExitStack() as stack:
        hub = stack.enter_context(DriverServer("127.0.0.1", b"k" * 32, []))
        assert hub.address is not None
        strangers = [stack.enter_context(socket.create_connection(hub.address)) for _ in range(40)]
        caller = DriverClient(hub.address, 0, hub.secret, beat=1.0)
        caller.state(0, b"merged")
        caller.close()
        wait_until("the state", lambda: hub.states() == [b"merged"])
        assert len(strangers) == 40


# ---- Spark -----------------------------------------------------------------------------------------------


def test_error_of_a_rank_is_the_users_error(spark: Any) -> None:
    frame = spark.createDataFrame([(1.0, float("nan")), (2.0, 3.0)], "a double, y double")
    with pytest.raises(errors.DataError, match=r"y contains NaN.*\(rank \d on "):
        og.LinearRegression().fit(frame, "y")


def test_failure_in_a_fit_names_rank_and_cause(spark: Any, tmp_path: Path) -> None:
    pq.write_table(rows(100), tmp_path / "rows.parquet", row_group_size=20)
    data = og.read(str(tmp_path / "rows.parquet"), engine=og.Spark(spark))

    def fail(shard: Shard) -> int:
        if shard.run.comm.rank == 1:
            raise RuntimeError("out of luck")
        return int(shard.reduce(_count)[0])

    with pytest.raises(errors.EngineError, match=r"RuntimeError: out of luck \(rank 1 on ") as caught:
        data.engine.fit(fail, data.scan)
    assert "out of luck" in caught.value.__notes__[0]


def test_too_many_ranks(spark: Any, tmp_path: Path) -> None:
    pq.write_table(rows(10), tmp_path / "rows.parquet")
    with pytest.raises(errors.EngineError, match="99 ranks were asked for, and the cluster runs 2"):
        og.read(str(tmp_path / "rows.parquet"), engine=og.Spark(spark, ranks=99)).count()


def test_predictions_stay_on_spark(spark: Any) -> None:
    table = rows(200)
    frame = spark.createDataFrame(table)
    model = og.LogisticRegression().fit(frame, "y")
    scored = model.predict(frame)
    assert scored.columns == [*table.column_names, "prediction"]
    assert scored.count() == 200
    shares = model.predict_proba(frame.drop("y")).toArrow()
    np.testing.assert_allclose(
        np.sort(shares["probability_1"].to_numpy()),
        np.sort(model.predict_proba(table)["probability_1"].to_numpy()),
    )


def test_warnings_of_ranks_are_heard(spark: Any) -> None:
    frame = spark.createDataFrame(rows(200))
    with pytest.warns(ConvergenceWarning, match="failed to converge"):
        og.LogisticRegression(max_iter=1).fit(frame, "y")


def test_nested_columns_are_named(spark: Any) -> None:
    frame = spark.sql("SELECT struct(1 AS a) AS nested, 1.0D AS x")
    with pytest.raises(errors.SchemaError, match=r"Nested columns cannot be used: nested"):
        og.dataset(frame)


def test_sql_on_spark_equals_sql_here(spark: Any) -> None:
    query = "SELECT r.x0, r.y, l.name FROM r JOIN l ON r.y = l.y WHERE r.x0 > 0"
    tables = {"r": rows(300), "l": pa.table({"y": [0, 1], "name": ["no", "yes"]})}
    here = og.sql(query, tables).to_arrow().sort_by("x0")
    there = og.sql(query, tables, engine=og.Spark(spark)).to_arrow().sort_by("x0")
    assert there.to_pydict() == here.to_pydict()


def test_write_is_whole_and_the_same(engine: EngineCase, tmp_path: Path) -> None:
    table = rows(500)
    assert og.write_parquet(engine.open(table), tmp_path / "out", partition_by="y") == 500
    back = og.read(str(tmp_path / "out")).to_arrow().select(table.column_names).sort_by("x0")
    assert back["x0"].to_pylist() == table.sort_by("x0")["x0"].to_pylist()
    with pytest.raises(errors.OutputExistsError, match="exists already"):
        og.write_parquet(engine.open(table), tmp_path / "out")
    assert [
        path.name for path in tmp_path.iterdir() if path.name != "out" and path.suffix != ".parquet"
    ] == []


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(batch: Batch) -> Batch:
        if batch.num_rows:
            raise ValueError("broken row")
        return batch

    with warnings.catch_warnings(), pytest.raises(ValueError, match="broken row"):
        og.write_parquet(og.dataset(rows(50)).map(fail), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_spec_of_text_is_refused() -> None:
    scan = Scan(TableSource(pa.table({"a": ["x"], "y": [1.0]})))
    with pytest.raises(errors.SchemaError, match=r"not numbers: a \(string\)"):
        Local().fit(lambda shard: shard.matrix(MatrixSpec(("a",), "y")), scan)


def test_a_plan_that_cannot_be_is_explained(spark: Any, tmp_path: Path) -> None:
    """On Connect what is wrong with a DataFrame shows only when its columns are asked for."""
    path = str(tmp_path / "rows.parquet")
    pq.write_table(pa.table({"x": [1.0]}), path)
    frame = spark.read.parquet(path)
    Path(path).unlink()
    with pytest.raises(errors.EngineError, match=r"Spark could not run the job|[Pp]ath|exist"):
        og.LinearRegression().fit(frame.withColumn("y", frame.x * 2), "y")


def test_little_address_space_is_told() -> None:
    code = """
import pathlib, resource, warnings
import outgrow as og
og.Local()
warnings.simplefilter("error")
og.Local()
taken = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 28), resource.RLIM_INFINITY))
try:
    og.Local()
except UserWarning as warning:
    print(warning)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "threads of native libraries may need 2.0 GiB" in done.stdout, done.stderr
