"""What is installed, what is missing, and the line that installs it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass

from outgrow._optional import EXTRAS
from outgrow.engine.local import Local
from outgrow.engine.memory import available_bytes, describe_size
from outgrow.job.engines import LOCAL, open_engine
from outgrow.job.record import installed_version

CORE = ("outgrow", "numpy", "scipy", "pyarrow", "scikit-learn", "matplotlib", "rich")
JAVA_NEEDED = 17


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    good : whether it is as needed; None for what is only said.
    remedy : what to type where it is not.
    """

    subject: str
    found: str
    good: bool | None = None
    remedy: str = ""


def examine(engine: str | None = None) -> list[Finding]:
    """Versions, Java, extras, and the engine if one is named."""
    extras = [_extra(extra, modules) for extra, modules in EXTRAS.items()]
    found = [_machine(), *_versions(), *extras, _java()]
    return found if engine is None else [*found, *_engine(engine)]


def _machine() -> Finding:
    threads = Local()._threads()
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
    remedy = f"install a Java runtime of version {JAVA_NEEDED} or later; only Spark on this machine needs it"
    program = shutil.which("java")
    if program is None:
        return Finding("Java", "not found", False, remedy)
    said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    version = said.stderr.partition('"')[2].partition('"')[0]
    major = version.partition(".")[0]
    good = major.isdecimal() and int(major) >= JAVA_NEEDED
    return Finding("Java", f"{version or said.stderr.strip()} ({program})", good, "" if good else remedy)


def _engine(name: str) -> list[Finding]:
    if name == LOCAL:
        return [Finding("engine local", "ready", True)]
    try:
        engine = open_engine(name)
        session = engine.session  # type: ignore[attr-defined]
        rows = session.range(100, numPartitions=2).count()
        reached = Finding(f"engine {name}", f"Spark {session.version}, counted {rows} rows", True)
        return [reached, _executors(session)]
    except Exception as error:
        # whatever keeps Spark away is what the person wants to read here
        said = str(error).strip().splitlines() or [type(error).__name__]
        return [Finding(f"engine {name}", said[0], False, "check the address, and that the cluster is up")]


def _executors(session: object) -> Finding:
    """Whether the Python workers have outgrow, and the version there."""

    def look(batches):  # type: ignore[no-untyped-def]
        import pyarrow as pa

        try:
            from importlib.metadata import version

            found = version("outgrow")
        except ImportError:
            found = ""
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"found": [found]})

    rows = session.range(8, numPartitions=2).mapInArrow(look, "found string").collect()  # type: ignore[attr-defined]
    versions = sorted({row["found"] or "missing" for row in rows})
    good = versions == [installed_version("outgrow")]
    remedy = "" if good else "install the same version of outgrow where the executors run Python"
    return Finding("outgrow on executors", ", ".join(versions), good, remedy)
