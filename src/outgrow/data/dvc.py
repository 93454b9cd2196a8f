"""Files that DVC keeps: the notes in Git say which bytes a revision has, and DVC's cache holds them.

The notes (`NAME.dvc`, `dvc.lock`) and the cache are read as they are; DVC itself is not needed.
"""

from __future__ import annotations

import configparser
import difflib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from outgrow.errors import DataError, InputNotFoundError

DVC = "dvc"
_FOLDER = ".dir"
_GIT_SECONDS = 60
_HASHED_BYTES = 64 << 20
"""Up to so many bytes are held against their digests, which takes a tenth of a second."""


@dataclass(frozen=True)
class DvcFiles:
    """What a revision has at a path.

    Attributes
    ----------
    path : that stands for it here: links of the files' names to what the cache holds.
    uri : with the revision in full.
    revision : a commit of Git; None for the notes as they lie in the working tree.
    """

    path: str
    uri: str
    revision: str | None


def find_dvc(text: str) -> DvcFiles:
    """The files of `path` or `path@revision`.

    Parameters
    ----------
    text : a path as in the working tree, also of a file or folder within a folder that DVC keeps; and perhaps
        a commit, tag or branch of Git, behind the last @.

    Raises
    ------
    InputNotFoundError
        When DVC keeps nothing of that name, the revision is not there, or the cache lacks its bytes.
    DataError
        When the bytes in the cache are not those that the notes name.
    """
    target, name = _parted(text)
    root = _root(target)
    revision = None if name is None else _commit(root, name)
    kept = _kept(root, target, revision)
    files = None if kept is None else _files(_cache(root), kept, target, text)
    if kept is None or not files:
        at = "" if revision is None else f" at {revision[:12]}"
        raise InputNotFoundError(
            f"DVC keeps no {target}{at}: neither {target.name}.dvc, nor a dvc.lock above, nor a folder that "
            "is kept names it. Check the path and the revision."
        )
    folder = root / ".dvc" / "tmp" / "outgrow" / kept.md5
    for below, cached in files.items():
        _link(cached, folder, below)
    where = folder / (target.relative_to(kept.path) if kept.is_folder else target.name)
    uri = f"{DVC}://{target}" + ("" if revision is None else f"@{revision}")
    return DvcFiles(str(where), uri, revision)


@dataclass(frozen=True)
class _Kept:
    """What the notes have of a file or folder: where it is in the working tree, its digest and its bytes."""

    path: Path
    md5: str
    size: int | None

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(_FOLDER)


def _parted(text: str) -> tuple[Path, str | None]:
    """A path and a revision; what is there under the whole name has its @ in that name."""
    whole = Path(os.path.abspath(text))
    if "@" not in text or whole.exists() or whole.with_name(f"{whole.name}.dvc").exists():
        return whole, None
    path, _, name = text.rpartition("@")
    return Path(os.path.abspath(path)), name


def _root(target: Path) -> Path:
    for folder in target.parents:
        if (folder / ".dvc").is_dir():
            return folder
    raise InputNotFoundError(
        f"No folder above {target} has a .dvc folder. Give a path in a repository of DVC."
    )


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where it refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(
            f"git cannot be run in {root}: {error}. Install git, or leave out the revision."
        ) from None
    return done.stdout if done.returncode == 0 else None


def _commit(root: Path, name: str) -> str:
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is not None:
        return commit.strip()
    known = (_git(root, "for-each-ref", "--format=%(refname:short)", "refs/tags", "refs/heads") or "").split()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f" The nearest is @{near[0]}." if near else ""
    raise InputNotFoundError(
        f"{root} has no revision {name!r}.{hint} There are {', '.join(known[:10]) or 'no tags or branches'}."
    )


def _kept(root: Path, target: Path, revision: str | None) -> _Kept | None:
    """What the notes have for a path, or for a folder above it; None where they name neither."""
    for note, folder in _notes(target, root):
        for output in _outputs(_note(root, note, revision)):
            path = Path(os.path.abspath(folder / output.get("wdir", ".") / str(output.get("path"))))
            above = str(output.get("md5", "")).endswith(_FOLDER) and target.is_relative_to(path)
            if path == target or above:
                if "md5" not in output:
                    raise DataError(f"{note} has no md5 for {target}: only outputs kept by MD5 are read.")
                size = output.get("size")
                return _Kept(
                    path, _checked(str(output["md5"]), note), size if isinstance(size, int) else None
                )
    return None


def _files(cache: Path, kept: _Kept, target: Path, shown: str) -> dict[str, Path]:
    """The files at a path by their names below what is kept, each where the cache has it.

    Raises
    ------
    DataError
        When they are not what the notes say, as far as that is looked at.
    """
    if not kept.is_folder:
        files = {target.name: kept.md5}
    else:
        listing = _cached(cache, kept.md5, shown)
        _check_digest(listing, kept.md5)
        listed = {item["relpath"]: item["md5"] for item in json.loads(listing.read_text())}
        files = {name: md5 for name, md5 in listed.items() if (kept.path / name).is_relative_to(target)}
    paths = {name: _cached(cache, md5, shown) for name, md5 in files.items()}
    size = sum(path.stat().st_size for path in paths.values())
    if size <= _HASHED_BYTES:
        for name, path in paths.items():
            _check_digest(path, files[name])
    elif target == kept.path and kept.size not in (None, size):
        raise DataError(
            f"The cache {cache} has {size:,} bytes of {DVC}://{shown}, and its notes say {kept.size:,}: "
            "it was changed. Remove what is wrong, and fetch it again: dvc fetch."
        )
    return paths


def _check_digest(path: Path, md5: str) -> None:
    """Refuse a file of the cache whose bytes are not those of its name."""
    data, wanted = path.read_bytes(), md5.removesuffix(_FOLDER)
    if wanted not in (_md5(data), _md5(data.replace(b"\r\n", b"\n"))):  # the second as DVC 2 had it
        raise DataError(
            f"{path} in DVC's cache has other bytes than its digest {wanted} says: it was changed. "
            "Remove it, and fetch it again: dvc fetch."
        )


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _checked(md5: str, note: Path) -> str:
    """A digest, which becomes part of a path."""
    if not md5.removesuffix(_FOLDER).isalnum():
        raise DataError(f"{note} holds {md5!r}, which is no digest. Restore it from a copy.")
    return md5


def _notes(target: Path, root: Path) -> Iterator[tuple[Path, Path]]:
    """The files that may say what is at a path or above it, and the folders from which their paths are."""
    yield target.with_name(f"{target.name}.dvc"), target.parent
    for folder in target.parents:
        yield folder / "dvc.lock", folder
        if folder == root:
            return
        yield folder.with_name(f"{folder.name}.dvc"), folder.parent


def _note(root: Path, path: Path, revision: str | None) -> Any:
    if revision is None:
        text = path.read_text() if path.exists() else None
    else:
        prefix = _git(root, "rev-parse", "--show-prefix") or ""
        inside = PurePosixPath(prefix.strip(), path.relative_to(root).as_posix())
        text = _git(root, "show", f"{revision}:{inside}")
    try:
        return yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {error}. Restore it from a copy.") from None


def _outputs(tree: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(tree, Mapping):
        return
    outputs = list(tree.get("outs") or ())
    stages = tree.get("stages")
    for stage in stages.values() if isinstance(stages, Mapping) else ():
        outputs += stage.get("outs") or () if isinstance(stage, Mapping) else ()
    wdir = tree.get("wdir", ".")
    yield from ({"wdir": wdir, **output} for output in outputs if isinstance(output, Mapping))


def _cache(root: Path) -> Path:
    """Where DVC keeps bytes: as its configuration says, or in .dvc/cache."""
    for name in ("config.local", "config"):
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(root / ".dvc" / name)
        except configparser.Error:
            continue
        given = config.get("cache", "dir", fallback=None)
        if given is not None:
            return (root / ".dvc" / given).resolve()
    return root / ".dvc" / "cache"


def _cached(cache: Path, md5: str, shown: str) -> Path:
    """The bytes of a digest, where DVC 3 or DVC 2 put them."""
    _checked(md5, cache)
    for folder in (cache / "files" / "md5", cache):
        path = folder / md5[:2] / md5[2:]
        if path.exists():
            return path
    raise InputNotFoundError(
        f"The cache {cache} has no {md5}, which {DVC}://{shown} needs. Fetch it: dvc fetch --all-commits, or "
        "dvc pull at that revision."
    )


def _link(cached: Path, folder: Path, name: str) -> Path:
    """A link of a file's own name, whose ending says its format."""
    link = Path(os.path.abspath(folder / name))
    if not link.is_relative_to(folder):
        raise DataError(
            f"DVC's notes name {name!r}, which lies outside its folder. Restore them from a copy."
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        draft = link.with_name(f".{link.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(cached.resolve())
        draft.replace(link)
    return link
