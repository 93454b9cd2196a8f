"""Files that DVC keeps: the notes in Git say which bytes a revision has, and DVC's cache holds them.

The notes (`NAME.dvc`, `dvc.lock`) and the cache are read as they are; DVC itself is not needed.
"""

from __future__ import annotations

import configparser
import difflib
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
    text : a path as in the working tree, and perhaps a commit, tag or branch of Git.

    Raises
    ------
    InputNotFoundError
        When DVC keeps nothing of that name, the revision is not there, or the cache lacks its bytes.
    """
    path, mark, name = text.partition("@")
    target = Path(os.path.abspath(path))
    root = _root(target)
    revision = _commit(root, name) if mark else None
    md5 = _md5(root, target, revision)
    cache, shown = _cache(root), text
    folder = root / ".dvc" / "tmp" / "outgrow" / md5
    if md5.endswith(_FOLDER):
        listed = json.loads(_cached(cache, md5, shown).read_text())
        for item in listed:
            _link(_cached(cache, item["md5"], shown), folder, item["relpath"])
        where = folder
    else:
        where = _link(_cached(cache, md5, shown), folder, target.name)
    uri = f"{DVC}://{target}" + ("" if revision is None else f"@{revision}")
    return DvcFiles(str(where), uri, revision)


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


def _md5(root: Path, target: Path, revision: str | None) -> str:
    """The digest that the notes have for a path."""
    for note, folder in _notes(target, root):
        tree = _note(root, note, revision)
        for output in _outputs(tree):
            if Path(os.path.abspath(folder / output.get("wdir", ".") / str(output.get("path")))) == target:
                if "md5" not in output:
                    raise DataError(f"{note} has no md5 for {target}: only outputs kept by MD5 are read.")
                return _checked(str(output["md5"]), note)
    at = "" if revision is None else f" at {revision[:12]}"
    raise InputNotFoundError(
        f"DVC keeps no {target}{at}: neither {target.name}.dvc nor a dvc.lock above names it. "
        "Check the path and the revision."
    )


def _checked(md5: str, note: Path) -> str:
    """A digest, which becomes part of a path."""
    if not md5.removesuffix(_FOLDER).isalnum():
        raise DataError(f"{note} holds {md5!r}, which is no digest. Restore it from a copy.")
    return md5


def _notes(target: Path, root: Path) -> Iterator[tuple[Path, Path]]:
    """The files that may say what is at a path, and the folders from which their paths are."""
    yield target.with_name(f"{target.name}.dvc"), target.parent
    for folder in target.parents:
        yield folder / "dvc.lock", folder
        if folder == root:
            return


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
