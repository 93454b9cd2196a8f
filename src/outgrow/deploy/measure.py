"""What serving a model takes: a process like the one that will serve it is started, and looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from outgrow._optional import EXTRAS
from outgrow._version import __version__
from outgrow.deploy.plan import Needs
from outgrow.errors import ArtifactError

_READY = """
import json, re, sys, time
path, lean = sys.argv[1], sys.argv[2] == "lean"
from outgrow.serve import lean as small
if lean:
    model = small.load(path)
    model.warm_up()
else:
    from outgrow.serve.http.server import application
    from outgrow.serve.http.deployment import Model
    from outgrow.serve.http.state import Settings
    application(Settings({"model": Model(path)}))
status = open("/proc/self/status").read()
peak = int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) * 1024
facts = {"memory": peak, "seconds": time.process_time(), "modules": sorted(sys.modules)}
print("\\n" + json.dumps(facts))
"""
_ELSEWHERE = re.compile(r"==\s*['\"](Windows|win32|nt|cygwin)['\"]")
"""Marks of libraries that no container of Linux needs."""
_SERVE, _ALWAYS = "serve", "outgrow"


def measured(path: Path, *, lean: bool) -> Needs:
    """What a process took that loaded the model and answered a row.

    Parameters
    ----------
    path : of a saved model.
    lean : whether it is one that only predicts; else it is a server's.

    Raises
    ------
    ArtifactError
        When no process of its own can answer with it.
    """
    command = [sys.executable, "-c", _READY, os.fspath(path), "lean" if lean else "server"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise ArtifactError(f"A new process cannot serve {path}: {reason[0]}")
    facts = json.loads(done.stdout.splitlines()[-1])
    tops = {name.partition(".")[0] for name in facts["modules"]}
    used = {extra for extra, libraries in EXTRAS.items() if libraries[0] in tops and extra in _FOR_MODELS}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Needs(tuple(requirements(used | {_SERVE})), facts["memory"], facts["seconds"], version)


_FOR_MODELS = ("trees", "lightgbm", "fast", "groups", "images", "formula", "torch", "text")
"""Extras whose libraries models need to answer; what else was imported was only there."""


def requirements(extras: set[str]) -> Iterator[str]:
    """What pip must install, each library with the version that is installed here.

    Parameters
    ----------
    extras : of outgrow.
    """
    yield f"{_ALWAYS}[{','.join(sorted(extras))}]=={__version__}"
    pins: dict[str, str] = {}
    waiting = [*_required(_ALWAYS, extras)]
    while waiting:
        name, more = waiting.pop()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # for another system than this one
        if name not in pins:
            pins[name] = version
            waiting += _required(name, more)
    pins.pop(_ALWAYS, None)
    yield from (f"{name}=={pins[name]}" for name in sorted(pins))


def _required(name: str, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    """The libraries that one requires, each with its own extras."""
    for line in metadata.requires(name) or ():
        required, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if (extra is not None and extra[1] not in extras) or _ELSEWHERE.search(marker):
            continue
        library = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", required)
        if library is not None:
            more = {word.strip() for word in (library[2] or "").split(",") if word.strip()}
            yield (
                re.sub(r"[-_.]+", "-", library[1]).lower(),
                more | (extras if library[1] == _ALWAYS else set()),
            )
