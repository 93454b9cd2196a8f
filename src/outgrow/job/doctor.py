"""What is installed, what is missing, and the line that installs it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outgrow._optional import EXTRAS
from outgrow.engine.local import Local
from outgrow.engine.memory import available_bytes, describe_size
from outgrow.engine.spark.engine import Spark
from outgrow.errors import OutgrowError
from outgrow.job.engines import LOCAL, open_spark
from outgrow.track.environment import installed_version

EXECUTOR_LIBRARIES = ("outgrow", "numpy", "scipy", "pyarrow", "scikit-learn")
"""What executors must have in the driver's version: models are computed with them."""

CORE = ("outgrow", "numpy", "scipy", "pyarrow", "scikit-learn", "matplotlib", "rich")
MIN_JAVA = 17


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes
    ----------
    good : whether it is as needed; None for what is only reported.
    remedy : what to type where it is not.
    """

    subject: str
    observed: str
    good: bool | None = None
    remedy: str = ""


def examine(engine: str | None = None) -> list[Finding]:
    """Versions, Java, extras, and the engine if one is named."""
    extras = [_extra(extra, modules) for extra, modules in EXTRAS.items()]
    findings = [_machine(), *_versions(), *extras, _java()]
    return findings if engine is None else [*findings, *_engine(engine)]


def _machine() -> Finding:
    threads = Local().slots
    memory = describe_size(available_bytes())
    return Finding("this machine", f"{platform.platform()}, {threads} threads, {memory} of memory available")


def _versions() -> list[Finding]:
    python = Finding("Python", f"{platform.python_version()} ({sys.executable})")
    return [python, *(Finding(name, installed_version(name) or "?") for name in CORE)]


def _extra(extra: str, modules: tuple[str, ...]) -> Finding:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        install = f"pip install 'outgrow[{extra}]'"
        return Finding(f"extra {extra}", f"{', '.join(missing)} missing", False, install)
    versions = ", ".join(f"{name} {installed_version(name) or ''}".strip() for name in modules)
    return Finding(f"extra {extra}", versions, True)


def _java() -> Finding:
    remedy = f"install a Java runtime of version {MIN_JAVA} or later; only Spark on this machine needs it"
    program = shutil.which("java")
    if program is None:
        return Finding("Java", "not found", False, remedy)
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    version = answer.stderr.partition('"')[2].partition('"')[0]
    major = version.partition(".")[0]
    good = major.isdecimal() and int(major) >= MIN_JAVA
    return Finding("Java", f"{version or answer.stderr.strip()} ({program})", good, "" if good else remedy)


def _engine(name: str) -> list[Finding]:
    if name == LOCAL:
        return [Finding("engine local", "ready", True)]
    try:
        engine = open_spark(name)
        return [_reached(name, engine), *_executors(engine.look(EXECUTOR_LIBRARIES))]
    except OutgrowError as error:
        return [Finding(f"engine {name}", str(error), False, "see what it says; is the cluster up?")]


def _reached(name: str, engine: Spark) -> Finding:
    return Finding(f"engine {name}", f"Spark {engine.session.version}, {engine.slots} tasks at once", True)


def _executors(observations: Sequence[Any]) -> list[Finding]:
    """What the tasks of a barrier job saw, one on each slot."""
    hosts = ", ".join(sorted({observation.host for observation in observations}))
    memory = describe_size(min(observation.memory for observation in observations))
    tasks = f"{len(observations)} tasks started together on {hosts}, {memory} of memory available"
    return [
        Finding("executors", tasks, True),
        _executor_python(observations),
        *(_executor_package(package, observations) for package in observations[0].packages),
        _executor_ports(observations),
    ]


def _executor_python(observations: Sequence[Any]) -> Finding:
    versions = sorted({observation.python for observation in observations})
    here = platform.python_version_tuple()[:2]
    good = all(tuple(version.split(".")[:2]) == here for version in versions)
    remedy = "" if good else f"point PYSPARK_PYTHON at a Python {'.'.join(here)} before the session starts"
    return Finding("Python on executors", ", ".join(versions), good, remedy)


def _executor_package(package: str, observations: Sequence[Any]) -> Finding:
    here = installed_version(package)
    versions = sorted({observation.packages[package] or "missing" for observation in observations})
    good = versions == [here]
    remedy = "" if good else f"install {package}=={here} where the executors run Python"
    return Finding(f"{package} on executors", ", ".join(versions), good, remedy)


def _executor_ports(observations: Sequence[Any]) -> Finding:
    closed = [observation.unreachable for observation in observations if observation.unreachable]
    if not closed:
        return Finding("ports between executors", "all tasks reached each other", True)
    return Finding("ports between executors", closed[0], False, "open them, or choose others with ports=")
