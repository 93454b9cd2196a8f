"""How the tests start Java: for seconds, so nothing is done that would pay off later alone.

`python tests/java.py` loads Spark's classes once and keeps them as Java has them in memory: each session of
the tests then takes a third of the processor time. Without that file all works the same, only slower.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ARCHIVE = Path(sys.prefix) / f"spark-{version('pyspark')}.jsa"
_SHORT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SESSION = """
import outgrow as og
from sessions import classic_session
session = classic_session("local[2]")
rows = session.range(0, 1000, 1, 4).selectExpr("double(id) AS x", "2.0 * id AS y", "string(id) AS word")
rows.repartition(3).write.format("noop").mode("overwrite").save()
og.LinearRegression().fit(rows.drop("word"), "y").predict(rows).count()
rows.groupBy("word").count().toArrow()
session.stop()
"""


def java_options() -> str:
    """The options of a Java that lives for seconds."""
    kept = f" -XX:SharedArchiveFile={ARCHIVE} -Xlog:disable" if ARCHIVE.exists() else ""
    return _SHORT + kept


def set_java_options() -> None:
    """Let every Spark that this process and its children start have them."""
    for name in ("SPARK_SUBMIT_OPTS", "SPARK_DAEMON_JAVA_OPTS"):
        os.environ[name] = java_options()


def make_archive() -> None:
    """Keep Spark's classes, where they are not kept already."""
    if ARCHIVE.exists():
        return
    with tempfile.TemporaryDirectory(dir=ARCHIVE.parent) as folder:
        made = Path(folder) / "spark.jsa"
        environment = {
            **os.environ,
            "SPARK_SUBMIT_OPTS": f"{_SHORT} -XX:ArchiveClassesAtExit={made} -Xlog:disable",
            "PYSPARK_PYTHON": sys.executable,
        }
        here = Path(__file__).parent
        subprocess.run([sys.executable, "-c", _SESSION], env=environment, cwd=here, check=True, timeout=300)
        _wait_for_writing(made)
        made.rename(ARCHIVE)


def _wait_for_writing(made: Path) -> None:
    """Java writes after the Python that started it has ended."""
    until, size = time.monotonic() + 120, -1
    while time.monotonic() < until:
        time.sleep(2)
        now = made.stat().st_size if made.exists() else -1
        if now > 0 and now == size:
            return
        size = now
    raise TimeoutError(f"Java wrote no {made}")


if __name__ == "__main__":
    make_archive()
