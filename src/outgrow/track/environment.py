"""Where a run took place: Python, libraries, the machine, and the version of the code."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from outgrow._process import usable_cores

LIBRARIES = ("outgrow", "numpy", "scipy", "pyarrow", "scikit-learn", "xgboost", "duckdb", "pyspark")
"""The libraries that every record names."""
FURTHER = (
    "numba",
    "lightgbm",
    "torch",
    "onnxruntime",
    "pandas",
    "polars",
    "optuna",
    "deltalake",
    "pyiceberg",
)
"""Those it names beside them where they are installed."""
_GIT_SECONDS = 2.0


def libraries() -> dict[str, str]:
    """The versions at work here; libraries that are not installed are left out."""
    return {"Python": platform.python_version(), **_installed(LIBRARIES)}


def installed_version(name: str) -> str | None:
    """The version of a library; None where it is missing. xgboost-cpu counts as xgboost."""
    for distribution in (name, f"{name}-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


@cache
def environment() -> dict[str, Any]:
    """What a run is computed with and on, as it is when this is first asked."""
    return {
        "python": platform.python_version(),
        "libraries": _installed((*LIBRARIES, *FURTHER)),
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": usable_cores(),
        "pid": os.getpid(),
    }


@cache
def code() -> dict[str, Any]:
    """The program that runs, and the commit it lies in, as they are when this is first asked.

    What was imported stays as it was then, whatever becomes of the files.
    """
    script = _script()
    folder = Path.cwd() if script is None else Path(script).parent
    return {"script": script, **_commit(folder)}


def _script() -> str | None:
    """The file that Python was started with; None in a notebook or a shell."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if main is None else os.path.abspath(main)


def _commit(folder: Path) -> dict[str, Any]:
    """The commit of the folder's repository, and whether files differ from it; empty outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "dirty": None if changed is None else bool(changed),
        "repository": _without_password(_git(folder, "config", "--get", "remote.origin.url") or "") or None,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
    }


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where it says nothing, is not installed or takes long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _without_password(address: str) -> str:
    """An address without what stands before its @: it may be a token."""
    scheme, mark, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if mark else address


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    versions = {name: installed_version(name) for name in names}
    return {name: version for name, version in versions.items() if version is not None}


os.register_at_fork(after_in_child=environment.cache_clear)
