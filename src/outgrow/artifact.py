"""A model on disk or on the wire: structure as JSON, arrays beside it, and never a pickle.

A *tree* is what can be stored: dictionaries, lists, strings, numbers, None, bytes and NumPy arrays, nested.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import mmap
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from outgrow import pointers, signing, storage
from outgrow.errors import ArtifactError, StorageError
from outgrow.storage import STRUCTURE

FORMAT = 2
"""What is written; all up to it are read. The first one named classes by their public names alone."""
ARRAYS = "arrays.safetensors"
SHARED_BYTES = 1 << 20
"""Arrays of this size and more are mapped from one file by all processes of a machine that have the model."""
_SHARED_FILE_SECONDS = 86_400.0

Tree = Any


def pack(tree: Tree) -> bytes:
    """One message that holds a tree: the length of its JSON, the JSON, the arrays."""
    structure, arrays = split(tree)
    text = json.dumps(structure, allow_nan=False).encode()
    return len(text).to_bytes(8, "little") + text + save_arrays(arrays)


def unpack(message: bytes | memoryview) -> Tree:
    """The tree that `pack` was given.

    Raises
    ------
    ArtifactError
        When it is damaged.
    """
    end = 8 + int.from_bytes(message[:8], "little")
    with no_tree("The message"):
        return join(json.loads(bytes(message[8:end])), load_arrays(bytes(message[end:])))


def unpack_shared(message: bytes | memoryview, name: str) -> Tree:
    """The tree that `pack` was given, large arrays mapped from a file that this machine's processes share.

    Parameters
    ----------
    name : the SHA-256 of the message, under which the file is found again.
    """
    end = 8 + int.from_bytes(message[:8], "little")
    if len(message) - end < SHARED_BYTES:
        return unpack(message)
    with no_tree("The message"):
        return join(
            json.loads(bytes(message[8:end])), _map_arrays(_contents(_shared_file(message[end:], name)))
        )


def write(
    path: str | os.PathLike[str],
    tree: dict[str, Tree],
    *,
    overwrite: bool = False,
    key: str | os.PathLike[str] | None = None,
) -> None:
    """Write a tree as a directory that appears whole or not at all.

    Parameters
    ----------
    path : the directory to write; folders above it are made.
    tree : what is stored, as the module says; numbers need not be finite.
    overwrite : replace a model that is there. What is no model of outgrow is never replaced.
    key : the file with a private key, with which the model is signed; None for no signature.

    Raises
    ------
    OutputExistsError
        When `path` exists and `overwrite` is false, or it is no model of outgrow.
    StorageError
        When the disk refuses; nothing is left behind.
    TypeError
        When the tree holds what cannot be stored.
    """
    with storage.new_directory(path, storage.MODEL, overwrite=overwrite, wait=storage.WAIT_SECONDS) as folder:
        structure, arrays = split(tree)
        payload = save_arrays(arrays)
        text = json.dumps(structure, indent=1, allow_nan=False)
        checksums = {ARRAYS: _sha256(payload), "content": _sha256(_canonical(structure))}
        body = f'{{"format": {FORMAT}, "sha256": {json.dumps(checksums)}, "content": {text}}}\n'
        storage.write_durably(folder / ARRAYS, payload)
        storage.write_durably(folder / STRUCTURE, body.encode())
        if key is not None:
            signed = signing.signature({"format": FORMAT, "sha256": checksums}, key)
            storage.write_durably(folder / signing.SIGNATURE, signed)


def sign(path: str | os.PathLike[str], key: str | os.PathLike[str]) -> Path:
    """Sign a model that was saved, after checking that it is whole; its folder.

    Parameters
    ----------
    path : of the model.
    key : the file with a private key.

    Raises
    ------
    ArtifactError
        When there is no model, or it is damaged.
    """
    folder = current_artifact(Path(path))
    document, _, _ = _checked(folder)
    storage.write_file(folder / signing.SIGNATURE, signing.signature(document, key), overwrite=True)
    return folder


def read(
    path: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
) -> dict[str, Tree]:
    """Read a directory that `write` made, checking that it is whole, unchanged and not newer than we are.

    Large arrays are mapped from the file: processes share them, and what is not used takes no memory.

    Parameters
    ----------
    path : of the directory.
    public_key : the file with the key that the model must be signed with; None for no such need.

    Raises
    ------
    ArtifactError
        When it is none of these; the message says which.
    """
    folder = current_artifact(Path(path))
    document, payload, signed = _checked(folder)
    if public_key is not None:
        signing.check(document, None if signed is None else bytes(signed), public_key, folder)
    with no_tree(str(folder)):
        large = len(payload) >= SHARED_BYTES
        arrays = _map_arrays(payload) if large else load_arrays(bytes(payload))
        return dict(join(document["content"], arrays))


def _checked(folder: Path) -> tuple[dict[str, Any], memoryview, memoryview | None]:
    """The structure, the arrays and the signature of a model, as they belong together."""
    try:
        text, payload, signed = _snapshot(folder)
        document = json.loads(bytes(text))
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "it is a file" if folder.is_file() else f"{error.filename} is missing"
        raise ArtifactError(
            f"{folder} is not a saved model: {what}. Give the folder that model.save() wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{folder / STRUCTURE} is damaged: {error}. Restore it from a copy.") from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise ArtifactError(f"{folder / STRUCTURE} is not a model's structure: it names no format.")
    if document["format"] > FORMAT:
        raise ArtifactError(
            f"{folder} has format {document['format']}; this outgrow reads up to {FORMAT}. "
            "Upgrade outgrow to load it."
        )
    expected = document.get("sha256")
    if not isinstance(expected, dict):
        raise ArtifactError(f"{folder / STRUCTURE} is not a model's structure: it has no checksums.")
    _check(folder / ARRAYS, payload, expected.get(ARRAYS))
    _check(folder / STRUCTURE, _canonical(document.get("content")), expected.get("content"))
    return document, payload, signed


@contextmanager
def no_tree(what: str) -> Iterator[None]:
    """Turn what bytes that hold no tree raise into an ArtifactError."""
    try:
        yield
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{what} is damaged: {type(error).__name__}: {error}. Restore it from a copy."
        ) from error


def current_artifact(path: Path) -> Path:
    """The artifact at a path: itself; in a folder of versions the champion, or what is named behind an @."""
    folder, wanted = pointers.divided(storage.recovered(path))
    known = pointers.read(storage.recovered(folder))
    if known is None and wanted is None:
        return folder
    return pointers.version_folder(folder, known, wanted)


def _shared_file(payload: bytes | memoryview, name: str) -> Path:
    """The file with these arrays in this user's own temporary folder; files that nobody used for a day go."""
    folder = Path(tempfile.gettempdir()) / f"outgrow-models-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise StorageError(
            errno.EACCES, f"{folder} belongs to somebody else, or others may write there. Remove it."
        )
    file = folder / name
    if not file.exists() or file.stat().st_size != len(payload):
        handle, draft = tempfile.mkstemp(dir=folder)
        with storage.disk_errors(file), os.fdopen(handle, "wb") as target:
            target.write(payload)
        Path(draft).replace(file)
    os.utime(file)
    for other in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - other.stat().st_mtime > _SHARED_FILE_SECONDS:
                other.unlink()  # a process that has it mapped keeps it
    return file


def _map_arrays(payload: memoryview) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, read only when they are used and shared with others who map it."""
    whole = np.frombuffer(payload, dtype=np.uint8)
    start = 8 + int.from_bytes(whole[:8].tobytes(), "little")
    header, room = json.loads(whole[8:start].tobytes()), whole[start:]
    return {key: _mapped(room, **entry) for key, entry in header.items() if key != "__metadata__"}


def _mapped(room: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    """One array in the bytes behind the header, whose type, shape and offsets agree."""
    begin, end = data_offsets
    size = np.dtype(_TYPES[dtype]).itemsize * math.prod(shape)
    if not 0 <= begin <= end <= len(room) or end - begin != size or min(shape, default=0) < 0:
        raise ValueError(f"an array of type {dtype} and shape {shape} cannot be at {data_offsets}")
    return room[begin:end].view(_TYPES[dtype]).reshape(shape)


_TYPES = {
    "BOOL": "?",
    "I8": "i1",
    "U8": "u1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


def _snapshot(folder: Path) -> tuple[memoryview, memoryview, memoryview | None]:
    """The files of a model, all of one and the same, even while another replaces it."""
    try:
        return _files(folder)
    except FileNotFoundError:
        with storage.unreplaced(folder) as still:
            return _files(still)


def _files(folder: Path) -> tuple[memoryview, memoryview, memoryview | None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        signed = None
        with suppress(FileNotFoundError):
            signed = _contents(signing.SIGNATURE, handle)
        return _contents(STRUCTURE, handle), _contents(ARRAYS, handle), signed
    finally:
        os.close(handle)


def _contents(path: str | Path, folder: int | None = None) -> memoryview:
    """What a file holds, mapped rather than copied; never a pipe or a device, which have no end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ArtifactError(f"{path} is no regular file. Give the folder that model.save() wrote.")
        if not os.fstat(handle).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(handle)


def _check(path: Path, payload: bytes | memoryview, expected: str | None) -> None:
    digest = _sha256(payload)
    if digest != expected:
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 is {digest}, the model says {expected}. Restore it from a copy."
        )


def _sha256(payload: bytes | memoryview) -> str:
    return hashlib.sha256(payload).hexdigest()


def _canonical(structure: Tree) -> bytes:
    return json.dumps(structure, sort_keys=True, separators=(",", ":")).encode()


def split(tree: Tree) -> tuple[Tree, dict[str, np.ndarray]]:
    """A tree as JSON that refers to arrays by number, and those arrays."""
    splitter = _Splitter()
    return splitter.top(tree), splitter.arrays


class _Splitter:
    """Takes arrays out of a tree.

    No functions within a function that call themselves: those would keep the arrays of each message until
    the collector of garbage comes by.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._keys: dict[int, str] = {}
        """By the identity of what the tree holds: a pipeline and its steps have the same arrays."""

    def top(self, node: Tree) -> Tree:
        if isinstance(node, dict) and all(isinstance(key, str) and key[:1] != "$" for key in node):
            return {key: self.top(value) for key, value in node.items()}
        return [self.top(item) for item in node] if isinstance(node, list) else self._walk(node)

    def _refer(self, held: Any, array: np.ndarray) -> str:
        key = self._keys.setdefault(id(held), str(len(self.arrays)))
        if key not in self.arrays:
            self.arrays[key] = np.ascontiguousarray(array).reshape(array.shape)  # it makes 1-d of 0-d
        return key

    def _walk(self, node: Tree) -> Tree:
        if node is None or isinstance(node, bool | str):
            return node
        if isinstance(node, np.ndarray):
            if node.dtype.kind in "biuf":
                return {"$array": self._refer(node, node)}
            # there are many
            items = [item if type(item) is str else self._walk(item) for item in node.tolist()]
            return {"$list": items, "dtype": node.dtype.kind}
        if isinstance(node, np.generic):
            return self._walk(node.item())
        if isinstance(node, int):
            return node
        if isinstance(node, float):
            return node if math.isfinite(node) else {"$float": str(node)}
        if isinstance(node, bytes | bytearray):
            return {"$bytes": self._refer(node, np.frombuffer(node, dtype=np.uint8))}
        if isinstance(node, dict):
            return {"$map": [[self._walk(key), self._walk(value)] for key, value in node.items()]}
        if isinstance(node, tuple):
            return {"$tuple": [self._walk(item) for item in node]}
        if isinstance(node, list):
            return [self._walk(item) for item in node]
        raise TypeError(f"a {type(node).__name__} cannot be stored in a model: {node!r}")


def join(node: Tree, arrays: dict[str, np.ndarray]) -> Tree:
    """The tree that `split` was given.

    Parameters
    ----------
    node : what `split` made of it, or a part of that.
    arrays : by the names that the node refers to.
    """
    if isinstance(node, list):
        return [item if type(item) is str else join(item, arrays) for item in node]  # there may be many
    if not isinstance(node, dict):
        return node
    if "$array" in node:
        return arrays[node["$array"]]
    if "$bytes" in node:
        return arrays[node["$bytes"]].tobytes()
    if "$float" in node:
        return float(node["$float"])
    if "$tuple" in node:
        return tuple(join(item, arrays) for item in node["$tuple"])
    if "$map" in node:
        return {join(key, arrays): join(value, arrays) for key, value in node["$map"]}
    if "$list" in node:
        items = [item if type(item) is str else join(item, arrays) for item in node["$list"]]
        return np.array(items, dtype=object if node["dtype"] == "O" else None)
    return {key: join(value, arrays) for key, value in node.items()}
