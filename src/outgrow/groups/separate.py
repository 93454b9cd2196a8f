"""Groups fitted one by one: what runs where their rows are, and what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.engine.groups import Groups
from outgrow.groups.group_estimator import GroupEstimator
from outgrow.groups.payload import squeezed
from outgrow.ml.core.task import Task
from outgrow.storage import write_file

OK, FAILED, TOO_FEW = "ok", "failed", "too few rows"
_CHUNK_GROUPS, _CHUNK_BYTES, _CHUNK_SECONDS = 2000, 16 << 20, 5.0
"""When what was fitted so far is sent on, and kept in the checkpoint."""


@dataclass
class Fits:
    """What became of groups: parallel lists, one entry a group."""

    hashes: list[int] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    metrics: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    classes: list[Any] = field(default_factory=list)

    def add(
        self, hash: int, error: str | None, metrics: Sequence[float], seconds: float, payload: bytes = b""
    ) -> None:
        """Note what became of a group.

        Parameters
        ----------
        hash : of the group's key.
        error : why it has no model; None when it has one.
        metrics : in the order of the fit's names of metrics; NaN for each where it failed.
        seconds : how long it took.
        payload : the fitted estimator as compressed bytes; none where it failed.
        """
        self.hashes.append(hash)
        self.errors.append(error)
        self.metrics.append(list(metrics))
        self.seconds.append(seconds)
        self.payloads.append(payload)

    def note_classes(self, classes: Any) -> None:
        """Note the classes of a group."""
        self.classes += [label for label in np.asarray(classes).tolist() if label not in self.classes]

    def extend(self, other: Fits) -> None:
        for name in ("hashes", "errors", "metrics", "seconds", "payloads"):
            getattr(self, name).extend(getattr(other, name))
        self.note_classes(other.classes)

    def succeeded(self) -> Fits:
        """Those that did not fail."""
        succeeded = Fits(classes=self.classes)
        for position, error in enumerate(self.errors):
            if error is None:
                succeeded.add(
                    self.hashes[position],
                    None,
                    self.metrics[position],
                    self.seconds[position],
                    self.payloads[position],
                )
        return succeeded

    def to_tree(self) -> dict[str, Any]:
        return {
            "hashes": np.array(self.hashes, dtype=np.uint64),
            "errors": self.errors,
            "metrics": np.array(self.metrics, dtype=np.float64),
            "seconds": np.array(self.seconds),
            "sizes": np.array(list(map(len, self.payloads)), dtype=np.int64),
            "payload": b"".join(self.payloads),
            "classes": self.classes,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Fits:
        ends = np.cumsum(tree["sizes"]).tolist()
        payload, starts = tree["payload"], [0, *ends[:-1]] if ends else []
        return cls(
            tree["hashes"].tolist(),
            tree["errors"],
            tree["metrics"].tolist(),
            tree["seconds"].tolist(),
            [payload[start:end] for start, end in zip(starts, ends, strict=True)],
            list(tree["classes"]),
        )


@dataclass(frozen=True)
class FitGroups:
    """Fits one group after the other; a failure is a group's own.

    Attributes
    ----------
    group_estimator : what fits one group.
    metrics : the names of its metrics.
    folder : where what was fitted is kept, or None.
    """

    group_estimator: GroupEstimator
    task: Task
    metrics: tuple[str, ...]
    folder: str | None

    def __call__(self, groups: Groups) -> Iterator[dict[str, Any]]:
        fits, size, began = Fits(), 0, time.perf_counter()
        for hash, batch in groups:
            self.fit(hash, batch, fits)
            size += len(fits.payloads[-1])
            late = time.perf_counter() - began > _CHUNK_SECONDS
            if late or size > _CHUNK_BYTES or len(fits.hashes) >= _CHUNK_GROUPS:
                yield self._sent(fits)
                fits, size, began = Fits(), 0, time.perf_counter()
        if fits.hashes:
            yield self._sent(fits)

    def fit(self, hash: int, batch: Batch, fits: Fits) -> None:
        """Fit a group, and note what became of it.

        Parameters
        ----------
        hash : of the group's key.
        batch : all its rows; the keys may be among the columns.
        fits : where the model is noted, or the error.
        """
        began = time.perf_counter()
        wanted = [*self.task.columns, *(name for name in (self.task.target, self.task.weight) if name)]
        rows = batch.select(wanted)
        try:
            fitted = self.group_estimator.fit(rows, self.task)
            metrics = self.group_estimator.measure(fitted, rows, self.task)
            payload = squeezed(self.group_estimator.dump(fitted))
        except Exception as error:  # whatever a group's rows do to its estimator, other groups go on
            message = f"{type(error).__name__}: {error}"
            fits.add(hash, message, [np.nan] * len(self.metrics), time.perf_counter() - began)
            return
        if hasattr(fitted, "classes_"):
            fits.note_classes(fitted.classes_)
        values = [metrics[name] for name in self.metrics]
        fits.add(hash, None, values, time.perf_counter() - began, payload)

    def _sent(self, fits: Fits) -> dict[str, Any]:
        if self.folder is not None:
            keep(self.folder, fits.succeeded())
        return fits.to_tree()


def checkpoint_folder(checkpoint: str | os.PathLike[str] | None, identity: Any) -> str | None:
    """The folder for this fit and no other, below the one that was given.

    Parameters
    ----------
    checkpoint : the folder that the user gave; None for no checkpoint.
    identity : what tells this fit from others: anything JSON can hold, bytes, or what has a telling `repr`.

    Returns
    -------
    Absolute path of the folder, which is there then; None where there is no checkpoint.
    """
    if checkpoint is None:
        return None
    text = json.dumps(identity, sort_keys=True, default=_as_text)
    folder = Path(checkpoint) / f"groups-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder.absolute())


def keep(folder: str, fits: Fits) -> None:
    """Write what was fitted as a file that appears whole or not at all.

    Parameters
    ----------
    folder : what `checkpoint_folder` gave.
    fits : of groups that have a model; nothing is written where there are none. The same groups make the same
        file, so a repeated task replaces its own.
    """
    if fits.hashes:
        name = hashlib.sha256(np.sort(np.array(fits.hashes, dtype=np.uint64)).tobytes()).hexdigest()[:24]
        write_file(Path(folder) / f"{name}.part", artifact.pack(fits.to_tree()), overwrite=True)


def kept(folder: str | None) -> Fits:
    """What earlier runs have fitted."""
    fits = Fits()
    for path in sorted(Path(folder).glob("*.part")) if folder is not None else ():
        fits.extend(Fits.from_tree(artifact.unpack(path.read_bytes())))
    return fits


def forget(folder: str | None) -> None:
    """Remove what was kept: the fit is whole."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # another process may be at the same fit


def _as_text(value: Any) -> str:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)
