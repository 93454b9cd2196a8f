"""What a record says of an estimator, of rows, of files and of errors, as JSON has it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.artifact import ARRAYS
from outgrow.data.version import DatasetVersion
from outgrow.storage import STRUCTURE

_LONGEST = 500
"""Most characters of a value."""
_HASHED_BYTES = 1 << 30
"""Up to so many bytes of a run's files are hashed; of others the record has the sizes."""
_COLUMNS = 1_000
_ERROR_LINES = 20


def name_of(what: Any) -> str:
    """What a run of this is called: the class of an estimator, of a pipeline that of its model."""
    if isinstance(what, str):
        return what
    model = _last(what)
    name = getattr(model, "__name__", None) or type(model).__name__
    return f"{type(what).__name__} of {name}" if model is not what else str(name)


def parameters_of(what: Any) -> dict[str, Any]:
    """The parameters that are not as they are by default.

    Those of the model at the end of a pipeline have their names, those of other steps `step__name`.
    """
    if not hasattr(what, "get_params"):
        return {}
    items = getattr(what, "step_items", None)
    if items is None:
        return dict(_changed(what))
    listed: dict[str, Any] = {"steps": [type(step).__name__ for _, step in items]}
    for name, step in items[:-1]:
        listed |= {f"{name}__{key}": value for key, value in _changed(step)}
    return listed | dict(_changed(items[-1][1]))


def data_facts(data: Any, fingerprint: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Which rows those of a `Dataset` are, as `DatasetVersion.to_dict` has it.

    Parameters
    ----------
    data : the dataset.
    fingerprint : what its `fingerprint()` gave, where somebody has asked for that before.
    """
    return DatasetVersion.of(data.scan, fingerprint).to_dict()


def files_of(folder: Path) -> list[dict[str, Any]]:
    """The files of a folder with their sizes and digests, and of a model what it has learned.

    Parameters
    ----------
    folder : which a run has written; what is not there is no files.
    """
    left = _HASHED_BYTES
    listed = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest = _digest(path) if size <= left else None
        left -= size if digest is not None else 0
        listed.append({"path": str(path.relative_to(folder)), "bytes": size, "sha256": digest})
    return listed


def learned_digest(folder: Path) -> str | None:
    """A digest of what a saved model has learned and with which parameters, whenever and wherever it did.

    Parameters
    ----------
    folder : of the model.

    Returns
    -------
    SHA-256 in hexadecimal; None where there is no model.
    """
    try:
        structure = json.loads((folder / STRUCTURE).read_text())
        arrays = (folder / ARRAYS).read_bytes() if (folder / ARRAYS).exists() else b""
    except (OSError, ValueError):
        return None
    tree = structure.get("content", {})
    text = json.dumps([tree.get("schema"), tree.get("estimator")], sort_keys=True)
    return hashlib.sha256(text.encode() + hashlib.sha256(arrays).digest()).hexdigest()


def error_facts(error: BaseException) -> dict[str, Any]:
    """What ended a run."""
    lines = str(error).splitlines()[:_ERROR_LINES]
    return {"type": type(error).__name__, "message": "\n".join(lines)}


def plain(value: Any) -> Any:
    """A value as JSON has it; of an object, what it prints."""
    if value is None or isinstance(value, bool | int | float | str):
        return value[:_LONGEST] if isinstance(value, str) else value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and len(value) <= _COLUMNS:
        return [plain(item) for item in value]
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, pa.Array | pa.ChunkedArray) or hasattr(value, "shape"):
        return f"{type(value).__name__} of shape {getattr(value, 'shape', None) or (len(value),)}"
    return " ".join(repr(value).split())[:_LONGEST]


def _last(what: Any) -> Any:
    items = getattr(what, "step_items", None)
    return items[-1][1] if items else what


def _changed(estimator: Any) -> Iterator[tuple[str, Any]]:
    known = inspect.signature(type(estimator).__init__).parameters
    for name, value in estimator.get_params(deep=False).items():
        default = known[name].default if name in known else inspect.Parameter.empty
        shown = plain(value)
        if default is inspect.Parameter.empty or shown != plain(default):
            yield name, shown


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
