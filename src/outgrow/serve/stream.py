"""Rows that keep coming: a folder here, or a streaming DataFrame on Spark.

What comes is scored in batches; the output of each is a folder that appears whole, under a name that tells
the batch. A batch that is tried again after a fault finds its folder there and is left alone: no row is lost,
none is written twice. Between two batches the stream looks whether another version of the model was promoted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.fs as pafs

from outgrow import storage
from outgrow.data.paths import data_files, is_data, is_hidden, literal_path
from outgrow.data.text import TextOptions
from outgrow.engine.activity import activity
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset, is_spark
from outgrow.engine.reading import read, read_as
from outgrow.engine.spark.engine import Spark
from outgrow.engine.spark.streams import start_batches
from outgrow.errors import (
    ColumnNotFoundError,
    DataError,
    InputNotFoundError,
    OutputBusyError,
    ParameterError,
    SchemaError,
)
from outgrow.registry.store import Follower, ModelStore, Version
from outgrow.serve.batch import Scored, prepare, write_scores

UNREADABLE = "_unreadable"
"""The folder, among those of the rows that cannot be scored, for notes on files that cannot be read."""
_FILES = "path string, modificationTime timestamp, length bigint, content binary"
"""What Spark's source of whole files gives; the content is never asked for."""
_NAME_CHARACTERS = 200
_UNREAD = (DataError, SchemaError, ColumnNotFoundError)
"""What is raised for a file whose rows cannot be had, or are of other columns."""
_log = logging.getLogger("outgrow.serve")


@dataclass(frozen=True)
class Options:
    """How a stream is scored; see `score_stream`. `read` is its `read_options`."""

    output: Path
    keep: tuple[str, ...] | None = None
    probabilities: bool = False
    errors: Path | None = None
    read: Mapping[str, Any] = field(default_factory=dict)


class Scorer:
    """Scores batches with the current version of a model."""

    def __init__(self, path: str | os.PathLike[str], options: Options) -> None:
        self.options = options
        self._follower = Follower(path)
        self._version: Version | None = None
        for folder in filter(None, (options.output, options.errors)):
            storage.drop_locks(folder)

    def version(self) -> Version:
        """The version that is current now."""
        self._version = self._follower.look() or self._version
        assert self._version is not None
        return self._version

    def write(self, rows: Dataset, name: str) -> Scored | None:
        """Score a batch into a folder of the output, with the version that is current now.

        Parameters
        ----------
        rows : of the batch.
        name : of the folder, which tells the batch: the same rows always come under the same name.

        Returns
        -------
        What was written; None when the folder is there, or another process is at it.
        """
        options = self.options
        target = options.output / name
        if storage.recovered(target).exists():
            return None
        version = self.version()
        rows = read_as(rows, version.predictor.columns)
        scoring = prepare(
            version.predictor.fitted,
            rows,
            keep=options.keep,
            probabilities=options.probabilities,
            lenient=options.errors is not None,
        )
        errors = None if options.errors is None else options.errors / name
        try:
            # errors that are there come from a try whose scores are not
            return write_scores(
                replace(scoring, version=version.name), rows, target, errors=errors, overwrite=True
            )
        except OutputBusyError:
            return None

    def write_file(self, path: str, name: str, engine: Any = None) -> Scored | None:
        """Score a file into a folder of the output.

        A file that cannot be read is named beside the rows that cannot be scored; it is tried again when it
        has changed. Without a folder for errors, the error is raised.

        Parameters
        ----------
        path : of the file.
        name : of the folder, which tells the file.
        engine : where the file is read; None for this machine.

        Returns
        -------
        What was written; None when it had been, when the file was taken away, or when it cannot be read.
        """
        if (self.options.output / name).exists() or self._is_set_apart(path, name):
            return None
        try:
            return self.write(read(path, engine=engine, **self.options.read), name)
        except InputNotFoundError:
            return None  # taken away since the look into the folder
        except _UNREAD as error:
            if self.options.errors is None:
                if path in str(error):
                    raise
                raise type(error)(f"{path} cannot be scored: {error}") from error
            self._set_apart(path, name, error)
            return None

    def _is_set_apart(self, path: str, name: str) -> bool:
        note = self._note(name)
        return (
            note is not None and note.exists() and json.loads(note.read_text())["modified"] == _modified(path)
        )

    def _set_apart(self, path: str, name: str, error: Exception) -> None:
        note = self._note(name)
        assert note is not None
        _log.warning("%s is set apart: %s", path, error)
        for folder in (self.options.output, self.options.errors):
            if folder is not None:
                storage.drop_staged(folder / name)
        text = json.dumps({"file": path, "modified": _modified(path), "reason": str(error)})
        storage.write_file(note, text.encode(), overwrite=True)

    def _note(self, name: str) -> Path | None:
        errors = self.options.errors
        return None if errors is None else errors / UNREADABLE / f"{name.removeprefix('input=')}.json"


def score_stream(
    model: str | os.PathLike[str] | ModelStore,
    rows: Any,
    output: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    keep: Sequence[str] | None = None,
    probabilities: bool = False,
    errors: str | os.PathLike[str] | None = None,
    trigger: dict[str, Any] | None = None,
    read_options: Mapping[str, Any] | None = None,
) -> Any:
    """Score rows as they come, each exactly once, always with the current version of the model.

    Parameters
    ----------
    model : the folder of a `ModelStore`, whose promoted version is taken up between two batches, or of a
        saved model.
    rows : a folder, in which files appear (put them there by renaming, as Spark's file source needs it, too);
        or a streaming Spark DataFrame (Classic) of any source. Which files count is as in `og.read`.
    output : the folder that gets `input=<file>/` for each file, or `batch_id=<number>/` for each batch of
        Spark: Parquet with the columns to keep, `prediction`, and `model_version`. Each appears whole.
    checkpoint : the folder for Spark's own notes on what it has read; needed on Spark.
    keep, probabilities : as those of `og.score`.
    errors : as that of `og.score`. A file that cannot be read is named in `_unreadable/` in it, with the
        reason, and later files go on; it is tried again when it has changed. Without `errors`, such a file
        ends the stream with an error that names it.
    trigger : how Spark makes batches: {"availableNow": True}, {"processingTime": "5 seconds"}, ...
    read_options : how text in the folder is read: `types`, `na_values`, `encoding`, `sep`, `decimal` of
        `og.read`.

    Returns
    -------
    FolderStream or StreamingQuery
        A `FolderStream`, to be run; or Spark's query, which runs already.

    Examples
    --------
    >>> import tempfile, pathlib, pyarrow as pa, pyarrow.parquet as pq, outgrow as og
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> table = pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    >>> og.LinearRegression().fit(table, "y").save(folder / "model")
    >>> (folder / "in").mkdir()
    >>> pq.write_table(table.select(["x"]), folder / "in" / "first.parquet")
    >>> stream = og.score_stream(folder / "model", folder / "in", folder / "out")
    >>> stream.run_available()
    3
    >>> og.read(str(folder / "out")).columns
    ['x', 'prediction', 'model_version', 'input']
    """
    scorer = _scorer(model, output, keep, probabilities, errors, read_options)
    if not is_spark(rows):
        if checkpoint is not None or trigger is not None:
            raise ParameterError("checkpoint and trigger are Spark's; a folder's stream needs neither.")
        return FolderStream(scorer, rows)
    if not rows.isStreaming:
        raise ParameterError("The DataFrame is no stream. Score it with og.score.")
    if read_options:
        raise ParameterError("read_options say how files of a folder are read; Spark has read these rows.")
    prepare(scorer.version().predictor.fitted, dataset(_empty(rows)), keep=scorer.options.keep)
    return start_batches(
        rows, lambda batch, number: scorer.write(dataset(batch), f"batch_id={number}"), checkpoint, trigger
    )


def score_files(
    model: str | os.PathLike[str] | ModelStore,
    folder: str,
    output: str | os.PathLike[str],
    engine: Spark,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    keep: Sequence[str] | None = None,
    probabilities: bool = False,
    errors: str | os.PathLike[str] | None = None,
    trigger: dict[str, Any] | None = None,
    read_options: Mapping[str, Any] | None = None,
) -> Any:
    """`score_stream` for a folder on Spark: its file source says which files are new, its tasks read them.

    So they are read by the rules of `og.read`, and not by those of Spark's own readers.

    Parameters
    ----------
    model : the folder of a `ModelStore`, or of a saved model.
    folder : where files appear; those in folders of it count, too.
    output : gets `batch_id=<number>/`, or `input=<file>/` where files of a batch were read one by one.
    engine : a Spark.
    checkpoint : the folder for Spark's notes on what it has read.
    keep, probabilities, errors, trigger, read_options : as for `score_stream`.

    Returns
    -------
    Spark's query, which runs already.
    """
    scorer = _scorer(model, output, keep, probabilities, errors, read_options)
    files = (
        engine.session.readStream.format("binaryFile").schema(_FILES).option("recursiveFileLookup", "true")
    )
    rows = files.load(literal_path(folder)).select("path", "length")
    _check_apart(folder, scorer.options)

    def write_batch(batch: Any, number: int) -> None:
        files = [(_local(row.path), row.length) for row in batch.collect()]
        paths = sorted(path for path, length in files if length and is_data(path))
        _write_files(scorer, paths, {path: _folder_name(path, folder) for path in paths}, number, engine)

    return start_batches(rows, write_batch, checkpoint, trigger)


def _write_files(
    scorer: Scorer, paths: Sequence[str], names: Mapping[str, str], number: int, engine: Spark
) -> None:
    """Score the files of a batch in one go; one by one where one of them cannot be read."""
    output, lenient = scorer.options.output, scorer.options.errors is not None
    if paths and not any((output / name).exists() for name in names.values()):
        try:
            scorer.write(read(paths, engine=engine, **scorer.options.read), f"batch_id={number}")
        except _UNREAD:
            if not lenient:
                raise
        else:
            return
    for path in paths:
        scorer.write_file(path, names[path], engine)


def _scorer(
    model: str | os.PathLike[str] | ModelStore,
    output: str | os.PathLike[str],
    keep: Sequence[str] | None,
    probabilities: bool,
    errors: str | os.PathLike[str] | None,
    read_options: Mapping[str, Any] | None,
) -> Scorer:
    options = Options(
        Path(output),
        None if keep is None else tuple(keep),
        probabilities,
        None if errors is None else Path(errors),
        dict(read_options or {}),
    )
    TextOptions.of(**options.read)
    scorer = Scorer(model.path if isinstance(model, ModelStore) else model, options)
    scorer.version()
    return scorer


def _check_apart(folder: str | os.PathLike[str], options: Options) -> None:
    """What the stream writes is none of the rows that it reads.

    Raises
    ------
    ParameterError
        When an output lies in the folder, and not where files are left alone.
    """
    root = Path(folder).resolve()
    for output in filter(None, (options.output, options.errors)):
        path = output.resolve()
        if path.is_relative_to(root) and not is_hidden(str(path), str(root)):
            raise ParameterError(
                f"{output} lies in {folder}, so the stream would read what it writes. "
                "Choose a folder beside it."
            )


class FolderStream:
    """The files of a folder, one after the other, as they appear.

    Attributes
    ----------
    folder : where files appear; names that begin with a dot or an underscore are left alone.

    Examples
    --------
    >>> import pathlib, tempfile, pyarrow as pa, pyarrow.parquet as pq, outgrow as og
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> table = pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    >>> og.LinearRegression().fit(table, "y").save(folder / "model")
    >>> (folder / "in").mkdir()
    >>> stream = og.score_stream(folder / "model", folder / "in", folder / "out")
    >>> pq.write_table(table.select(["x"]), folder / "in" / "first.parquet")
    >>> stream.run(seconds=0), stream.run_available()
    (3, 0)
    """

    def __init__(self, scorer: Scorer, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._scorer = scorer
        self._stopped = threading.Event()
        if not self.folder.is_dir():
            raise InputNotFoundError(f"{folder} is no folder. Give the folder in which files appear.")
        _check_apart(folder, scorer.options)

    def run_available(self) -> int:
        """Score the files that are there and not done; how many rows they had."""
        with self._activity() as scoring:
            rows = self._drain()
            scoring.note(rows=rows)
        return rows

    def run(self, *, poll: float = 1.0, seconds: float | None = None) -> int:
        """Score files as they appear, until `stop` is called or so many seconds have passed.

        Parameters
        ----------
        poll : seconds between looks.
        seconds : after how long to end; None for not before `stop`.

        Returns
        -------
        How many rows were scored.
        """
        until = None if seconds is None else time.monotonic() + seconds
        with self._activity() as scoring:
            rows = self._drain()
            while not self._stopped.wait(poll) and (until is None or time.monotonic() < until):
                rows += self._drain()
            scoring.note(rows=rows)
        return rows

    def _activity(self) -> Any:
        fitted = self._scorer.version().predictor.fitted
        return activity("score", fitted, stream=str(self.folder), output=str(self._scorer.options.output))

    def _drain(self) -> int:
        return sum(done.rows for done in self._new())

    def stop(self) -> None:
        """End `run` when the file under way is done."""
        self._stopped.set()

    def _new(self) -> Iterator[Scored]:
        files = data_files(pafs.LocalFileSystem(), str(self.folder.absolute()))
        # an empty file is no rows, or not written yet
        for file in sorted(
            (file for file in files if file.size), key=lambda file: (file.mtime_ns, file.path)
        ):
            if self._stopped.is_set():
                return
            done = self._scorer.write_file(file.path, _folder_name(file.path, str(self.folder.absolute())))
            if done is not None:
                yield done


def _folder_name(path: str, folder: str) -> str:
    """The folder of the output for a file, which tells its path in the folder that is streamed."""
    name = quote(os.path.relpath(path, folder) if "://" not in path else path, safe="")
    if len(name) > _NAME_CHARACTERS:
        name = f"{name[:_NAME_CHARACTERS]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"input={name}"


def _modified(path: str) -> int:
    """When a file changed; 0 where the file system here does not know."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _local(path: str) -> str:
    """A path as Spark says it, as this process opens it."""
    return path.removeprefix("file://").removeprefix("file:") if path.startswith("file:") else path


def _empty(frame: Any) -> Any:
    """A DataFrame that is no stream, with the same columns."""
    return frame.sparkSession.createDataFrame([], frame.schema)
