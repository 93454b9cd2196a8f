"""What Spark says went wrong, in a sentence: the one place where its errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from outgrow.errors import EngineError


@contextmanager
def spark_explained() -> Iterator[None]:
    """Raise what PySpark raises inside as an EngineError that names the cause."""
    try:
        yield
    except Exception as error:
        if not from_spark(error):
            raise
        raise EngineError(explain(str(error))) from error


def from_spark(error: Exception) -> bool:
    """Whether PySpark, its gateway or its client raised this."""
    return type(error).__module__.partition(".")[0] in ("pyspark", "py4j", "grpc")


def explain(text: str) -> str:
    """The cause in what Spark says, without the trace of its Java half, and what to do about it."""
    if lacking := re.search(r"No module named '?([\w.]+)", text):
        return (
            f"The Python of the executors has no module {lacking[1]!r}. Install outgrow there, "
            "or point PYSPARK_PYTHON at a Python that has it before the session starts."
        )
    if ("pyspark.daemon" in text and "port number" in text) or "Cannot run program" in text:
        return (
            "Spark could not start the Python of its tasks, which is `python3` on the path of the executors "
            "unless PYSPARK_PYTHON says otherwise. Set PYSPARK_PYTHON before the session starts, in local "
            'mode with os.environ["PYSPARK_PYTHON"] = sys.executable.'
        )
    if "PYTHON_VERSION_MISMATCH" in text or "has different version" in text:
        versions = re.findall(r"\b3\.\d+\b", text)
        worker, driver = [*versions, "another", "this"][:2]
        return (
            f"The executors run Python {worker} and the driver {driver}; PySpark needs one minor version on "
            "both. Point PYSPARK_PYTHON at the driver's version before the session starts."
        )
    if "SPARK-24942" in text or "dynamic resource allocation" in text:
        return (
            "Spark runs no barrier job while it allocates executors dynamically. "
            "Start the session with spark.dynamicAllocation.enabled=false."
        )
    if "SPARK-24819" in text:
        return (
            "The cluster runs fewer tasks at once than the fit has ranks. "
            "Ask for fewer with og.Spark(session, ranks=...), or add executors."
        )
    if "ResourceProfile" in text or "resource profile" in text:
        return (
            "This cluster gives no resources to a stage alone: "
            f"{next(line for line in text.splitlines() if 'esource' in line).strip()[:300]} "
            "Leave out cpus_per_rank and gpus_per_rank, and start the session with spark.task.cpus or "
            "spark.task.resource.gpu.amount instead."
        )
    if "stopped SparkContext" in text or "SparkContext was shut down" in text or "SESSION_CLOSED" in text:
        return "The Spark session has been stopped. Start another, and give it to og.Spark."
    raised = _python_error(text)
    if raised is not None:
        return f"Spark could not run the job: {raised[:1000]}"
    lines = [line.strip().removeprefix(": ") for line in text.splitlines()]
    causes = [
        line for line in lines if line and not line.startswith(("at ", "File ", "Traceback", "^", "..."))
    ]
    named = [line for line in causes if "Error" in line or "Exception" in line]
    return f"Spark could not run the job: {' '.join((named or causes)[:3])[:1000]}"


def _python_error(text: str) -> str | None:
    """What Python raised in a task: the line after a trace that begins where the others are indented."""
    _, trace, after = text.rpartition("Traceback (most recent call last):")
    ends = (line for line in after.splitlines() if line and not line[0].isspace())
    return next(ends, None) if trace else None
