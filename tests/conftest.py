"""Engines for tests: one body, every engine."""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

import outgrow as og
from java import set_java_options
from online_stores import online, redis_server
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.testing import EngineCase, local_case, pieces_case
from outgrow.testing.clusters import LOOPBACK, Standalone, connect_server, standalone, wait_until
from sessions import DAEMON, classic_session

# read when MLflow is imported, and by the processes it starts
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
settings.register_profile("same everywhere", deadline=None, derandomize=True)
settings.load_profile("same everywhere")
set_java_options()

__all__ = ["online", "redis_server"]

collect_ignore = ["peer"]
"""scikit-learn's tests have a command of their own, `python -m pytest -p swap`; see tests/peer."""

MODE = os.environ.get("OUTGROW_TEST_SPARK", "classic")
"""Which Spark the tests use: 'classic', a session in this process; 'cluster', a standalone master with two
workers; or 'connect', a Connect server. The last two have processes of their own."""


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Examples are in the package; to look for some in the tests takes as long as to import them."""
    collectors = yield
    return [collector for collector in collectors if type(collector) is pytest.Module]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that uses Spark carries the marker."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        case = getattr(item, "callspec", None)
        engine = case.params.get("engine", "") if case else ""
        if "spark" in names or str(engine).startswith("spark"):
            item.add_marker(pytest.mark.spark)


def pytest_collection_finish() -> None:
    """From here on collections of garbage pass by what is imported and collected."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """What is expected to fail shows no lines of code: to look them up takes longer than most tests."""
    if call.excinfo is not None and item.get_closest_marker("xfail") and not item.config.option.runxfail:
        call.excinfo.traceback = type(call.excinfo.traceback)([])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note how long each test took, with what its fixtures took, where somebody asks for it.

    Beside the seconds of the clock are those of processors, here and in processes that were waited for,
    which other tests beside this one do not change.
    """
    path = os.environ.get("OUTGROW_TEST_TIMES")
    before = os.times()
    outcome = yield
    if path:
        worked = sum(os.times()[:4]) - sum(before[:4])
        mode = "" if MODE == "classic" else f" on {MODE}"
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{os.times()[4] - before[4]:7.1f} s {worked:7.1f} s  {item.nodeid}{mode}\n")
    return outcome


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone | None]:
    """The standalone cluster the session runs on, where the mode says so."""
    _environment()
    if MODE != "cluster":
        yield None
        return
    with standalone(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """A standalone cluster for sessions that tests start themselves: two workers of one core each."""
    _environment()
    with standalone(tmp_path_factory.mktemp("cluster")) as found:
        yield found


INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""Queries of the Classic session run once, on few rows: Spark would compile each for longer than it runs. On
the cluster and on Connect they are compiled, as Spark does unless told otherwise."""


@pytest.fixture(scope="session")
def spark(cluster: Standalone | None) -> Iterator[Any]:
    """A Spark session with two slots."""
    with ExitStack() as stack:
        if MODE == "connect":
            from pyspark.sql import SparkSession

            session = SparkSession.builder.remote(stack.enter_context(connect_server(**DAEMON))).getOrCreate()
        elif cluster is not None:
            session = classic_session(cluster.url, **{"spark.executor.memory": "512m"})
            wait_until("two executors", lambda: session.sparkContext.defaultParallelism == 2)
            wait_until("two executors", lambda: len(cluster.executors()) == 2)
        else:
            session = classic_session("local[2]", **INTERPRETED)
        yield session
        session.stop()


def _environment() -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    here = str(Path(__file__).parent)  # functions of test modules reach the tasks by name
    given = os.environ.get("PYTHONPATH")  # may say which checkout is tested
    os.environ["PYTHONPATH"] = here if given is None else os.pathsep.join([here, given])
    os.environ["SPARK_LOCAL_IP"] = LOOPBACK


def spark_frame_case(session: Any) -> EngineCase:
    """A Spark DataFrame of three partitions and an empty one."""

    def open_frame(table: pa.Table) -> og.Dataset:
        frame = session.createDataFrame(table) if table.num_rows else _empty_frame(session, table)
        return og.dataset(frame.repartition(3).union(frame.limit(0)))

    return EngineCase("spark-frame", open_frame)


def spark_path_case(session: Any, folder: Path) -> EngineCase:
    """A Parquet file of small row groups, read by Spark's tasks."""

    def open_path(table: pa.Table) -> og.Dataset:
        path = folder / f"{uuid.uuid4().hex}.parquet"
        pq.write_table(table, path, row_group_size=max(1, table.num_rows // 5))
        return og.read(str(path), engine=og.Spark(session))

    return EngineCase("spark-path", open_path)


def _empty_frame(session: Any, table: pa.Table) -> Any:
    filler = pa.table({f.name: pa.array([None], f.type) for f in table.schema})
    return session.createDataFrame(filler).limit(0)


RANKS = os.environ.get("OUTGROW_TEST_RANKS", "")
"""'mpi' or 'ranks' where a launcher runs these tests in several processes at once, which fit together."""


@cache
def launched_engine() -> og.Ranks:
    """The processes that run the tests."""
    return og.MPI() if RANKS == "mpi" else og.Ranks()


def launched_case() -> EngineCase:
    return EngineCase("ranks", lambda table: og.Dataset(Scan(TableSource(table)), launched_engine()))


LOCAL_ENGINES = ["ranks"] if RANKS else ["local", "local-1-piece", "local-3-pieces", "local-7-pieces"]
SPARK_ENGINES = [] if RANKS else ["spark-frame", "spark-path"]


@pytest.fixture(params=LOCAL_ENGINES + SPARK_ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> EngineCase:
    """Every way to hold rows."""
    name: str = request.param
    if name == "local":
        return local_case()
    if name == "ranks":
        return launched_case()
    if name.startswith("local"):
        return pieces_case(int(name.split("-")[1]))
    session = request.getfixturevalue("spark")
    return spark_frame_case(session) if name == "spark-frame" else spark_path_case(session, tmp_path)
