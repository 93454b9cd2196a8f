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
from outgrow.data.matrix import is_sparse
from outgrow.data.source import ArraySource, TableSource
from outgrow.storage import STRUCTURE

_LONGEST = 500
"""Most characters of a value."""
_WHOLE_BYTES = 16 << 20
"""Of rows in memory, up to so many bytes are hashed; of more, evenly spaced parts of so many in all."""
_PARTS = 64
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
    """Which rows those of a `Dataset` are.

    Parameters
    ----------
    data : the dataset.
    fingerprint : what its `fingerprint()` gave, where somebody has asked for that before.
    """
    scan = data.scan
    described = dict(fingerprint) if fingerprint is not None else _fingerprint(scan)
    source = described["source"]
    pieces = scan.pieces() if scan.source.has_pieces else []
    rows = [piece.known_rows for piece in pieces]
    known = sum(row for row in rows if row is not None) if rows and None not in rows else None
    schema = dict(list(described["schema"].items())[:_COLUMNS])
    return {
        "kind": source.get("kind"),
        "uri": _uri(source),
        "version": source.get("version", source.get("snapshot")),
        "fingerprint": described["sha256"],
        "sampled": source.get("sampled", False),
        "rows": source.get("rows", known),
        "columns": len(described["schema"]),
        "schema": schema,
        "steps": [step[:_LONGEST] for step in described["steps"]],
        "files": source.get("files", [])[:_COLUMNS],
    }


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


def _uri(source: Mapping[str, Any]) -> str | None:
    """The path of rows; of several files, the folder they lie in, or the first of them."""
    if "path" in source:
        return str(source["path"])
    files = source.get("files") or []
    paths = [str(file["path"]) for file in files if "path" in file]
    if len(paths) < 2:
        return paths[0] if paths else None
    shared = Path(paths[0]).parent
    return str(shared) if all(Path(path).is_relative_to(shared) for path in paths) else paths[0]


def _fingerprint(scan: Any) -> dict[str, Any]:
    """As `Scan.describe`, which reads all of what lies in memory."""
    source = scan.source
    whole = not isinstance(source, TableSource | ArraySource) or _bytes(source) <= _WHOLE_BYTES
    if whole:
        return dict(scan.describe())
    record = {
        "source": _sampled(source),
        "schema": {field.name: str(field.type) for field in scan.schema},
        "steps": [step.describe() for step in scan.steps],
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return {**record, "sha256": digest}


def _bytes(source: TableSource | ArraySource) -> int:
    if isinstance(source, TableSource):
        return int(source.table.nbytes)
    values = source.values
    return int(values.data.nbytes if is_sparse(values) else values.nbytes)


def _sampled(source: TableSource | ArraySource) -> dict[str, Any]:
    """A digest of parts of rows in memory, from the first to the last."""
    table = isinstance(source, TableSource)
    values = source.table if isinstance(source, TableSource) else source.values
    rows = values.num_rows if table else values.shape[0]
    length = max(1, rows * _WHOLE_BYTES // _bytes(source) // _PARTS)
    digest = hashlib.sha256()
    for start in np.unique(np.linspace(0, rows - length, _PARTS).astype(int)).tolist():
        if table:
            for batch in values.slice(start, length).combine_chunks().to_batches():
                digest.update(batch.serialize())
        else:
            part = values[start : start + length]
            digest.update(np.ascontiguousarray(part.data if is_sparse(part) else part).data)
    return {
        "kind": "table" if table else "array",
        "rows": rows,
        "sampled": True,
        "sha256": digest.hexdigest(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
