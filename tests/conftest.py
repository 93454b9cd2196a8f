"""Engines for tests: one body, every engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.testing import EngineCase, local_case, pieces_case

MODE = os.environ.get("OUTGROW_TEST_SPARK", "classic")
"""Which Spark the tests use: 'classic', or 'connect' for a Connect server in a process of its own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that uses Spark carries the marker."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        case = getattr(item, "callspec", None)
        engine = case.params.get("engine", "") if case else ""
        if "spark" in names or str(engine).startswith("spark"):
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A Spark session with two slots."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # functions of test modules reach the tasks by name
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    yield from _connect_session() if MODE == "connect" else _classic_session()


def _classic_session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for key, value in {"spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "2",
                       "spark.ui.showConsoleProgress": "false"}.items():  # fmt: skip
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def _connect_session() -> Iterator[Any]:
    import pyspark
    from pyspark.sql import SparkSession

    home = Path(pyspark.__file__).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    confs = {"spark.connect.grpc.binding.port": port, "spark.connect.grpc.binding.address": "127.0.0.1",
             "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false",
             "spark.sql.shuffle.partitions": "2"}  # fmt: skip
    command = [str(home / "bin" / "spark-submit"), "--master", "local[2]",
               "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]  # fmt: skip
    for key, value in confs.items():
        command += ["--conf", f"{key}={value}"]
    environment = {**os.environ, "SPARK_HOME": str(home)}
    server = subprocess.Popen([*command, "spark-internal"], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        _wait_for(port, server)
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        yield session
        session.stop()
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, "the Connect server ended early"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("the Connect server did not start")


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


LOCAL_ENGINES = ["local", "local-1-piece", "local-2-pieces", "local-3-pieces", "local-7-pieces"]
SPARK_ENGINES = ["spark-frame", "spark-path"]


@pytest.fixture(params=LOCAL_ENGINES + SPARK_ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> EngineCase:
    """Every way to hold rows."""
    name: str = request.param
    if name == "local":
        return local_case()
    if name.startswith("local"):
        return pieces_case(int(name.split("-")[1]))
    session = request.getfixturevalue("spark")
    return spark_frame_case(session) if name == "spark-frame" else spark_path_case(session, tmp_path)
