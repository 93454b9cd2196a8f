"""A Spark session from a URL."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.errors import EngineError, ParameterError

QUIET = Path(__file__).with_name("log4j2.properties")


def open_session(url: str) -> Any:
    """The session for `local[2]`, `spark://host:port`, `yarn`, `k8s://...` (Classic) or `sc://...` (Connect).

    Raises
    ------
    EngineError
        When there is no Java, or nobody answers there.
    """
    sql = optional("pyspark.sql", "spark")
    if not url.startswith(("local", "spark://", "yarn", "k8s://", "sc://")):
        raise ParameterError(
            f"{url!r} is no engine. Give local, local[N], spark://host:port, yarn, k8s://..., or sc://host:port."
        )
    builder = sql.SparkSession.builder.appName("outgrow")
    try:
        if url.startswith("sc://"):
            return builder.remote(url).getOrCreate()
        os.environ.setdefault(
            "PYSPARK_PYTHON", sys.executable
        )  # else tasks start whichever python3 is on the path
        builder = builder.master(url).config("spark.ui.showConsoleProgress", "false")
        if url.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            builder = (
                builder.config("spark.driver.host", "127.0.0.1")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={QUIET.as_uri()}")
            )
        with _started_whole():
            session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    except Exception as error:
        raise EngineError(
            f"No Spark session at {url}: {str(error).splitlines()[0]} "
            "Run `outgrow doctor` to see what is missing."
        ) from error
    return session


@contextmanager
def _started_whole() -> Iterator[None]:
    """Let Ctrl-C wait until Spark has started: a Java that is left alone before that never ends.

    It is to write where it listens into a folder that PySpark, when it is interrupted, has removed. A second
    Ctrl-C is obeyed at once.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    asked: list[int] = []

    def wait(number: int, frame: Any) -> None:
        if asked:
            before(number, frame)
        asked.append(number)
        print("Spark ends as soon as it has started. Ctrl-C again leaves it alone.", file=sys.stderr)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
