"""Rows that keep coming: a folder here, or a streaming DataFrame on Spark.

What comes is scored in batches; the output of each is a folder that appears whole, under a name that tells
the batch. A batch that is tried again after a fault finds its folder there and is left alone: no row is lost,
none is written twice. Between two batches the stream looks whether another version of the model was promoted.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from outgrow.data.files import FilesSource
from outgrow.data.paths import is_data
from outgrow.engine.dataset import Dataset, read, read_as
from outgrow.engine.open import dataset, is_spark
from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.serve.batch import Scored, prepare, write_scores
from outgrow.serve.versions import Follower, ModelStore, Version


@dataclass(frozen=True)
class Options:
    """How a stream is scored; see `score_stream`."""

    output: Path
    keep: tuple[str, ...] | None = None
    probabilities: bool = False
    errors: Path | None = None


class Scorer:
    """Scores batches with the current version of a model."""

    def __init__(self, path: str | os.PathLike[str], options: Options) -> None:
        self.options = options
        self._follower = Follower(path)
        self._version: Version | None = None

    def version(self) -> Version:
        """The version that is current now."""
        self._version = self._follower.look() or self._version
        assert self._version is not None
        return self._version

    def write(self, rows: Dataset, name: str) -> Scored | None:
        """Score a batch into the folder `name` of the output; None when it is there already."""
        options = self.options
        target = options.output / name
        if target.exists():
            return None
        for draft in options.output.glob(f".{name}.*"):
            shutil.rmtree(draft)  # of a try that was killed
        version = self.version()
        rows = read_as(rows, version.predictor.columns)
        scoring = prepare(
            version.predictor.fitted, rows, keep=options.keep, probabilities=options.probabilities,
            lenient=options.errors is not None,
        )  # fmt: skip
        errors = None if options.errors is None else options.errors / name
        # errors that are there come from a try whose scores are not
        return write_scores(
            replace(scoring, version=version.name), rows, target, errors=errors, overwrite=True
        )


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
) -> Any:
    """Score rows as they come, each exactly once, always with the current version of the model.

    Parameters
    ----------
    model : the folder of a `ModelStore`, whose promoted version is taken up between two batches, or of a
        saved model.
    rows : a folder, in which files appear (put them there by renaming, as Spark's file source needs it, too);
        or a streaming Spark DataFrame (Classic) of any source.
    output : the folder that gets `input=<file>/` for each file, or `batch_id=<number>/` for each batch of
        Spark: Parquet with the columns to keep, `prediction`, and `model_version`. Each appears whole.
    checkpoint : the folder for Spark's own notes on what it has read; needed on Spark.
    keep, probabilities, errors : as those of `og.score`.
    trigger : how Spark makes batches: {"availableNow": True}, {"processingTime": "5 seconds"}, ...

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
    path = model.path if isinstance(model, ModelStore) else model
    options = Options(
        Path(output), None if keep is None else tuple(keep), probabilities,
        None if errors is None else Path(errors),
    )  # fmt: skip
    scorer = Scorer(path, options)
    scorer.version()
    if not is_spark(rows):
        if checkpoint is not None or trigger is not None:
            raise ParameterError("checkpoint and trigger are Spark's; a folder's stream needs neither.")
        return FolderStream(scorer, rows)
    if not rows.isStreaming:
        raise ParameterError("The DataFrame is no stream. Score it with og.score.")
    if checkpoint is None:
        raise ParameterError("A Spark stream needs checkpoint=, a folder for what it has read.")
    return _start(scorer, rows, os.fspath(checkpoint), trigger)


class FolderStream:
    """The files of a folder, one after the other, as they appear.

    Attributes
    ----------
    folder : where files appear; names that begin with a dot or an underscore are left alone.
    """

    def __init__(self, scorer: Scorer, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._scorer = scorer
        self._stopped = threading.Event()
        if not self.folder.is_dir():
            raise InputNotFoundError(f"{folder} is no folder. Give the folder in which files appear.")

    def run_available(self) -> int:
        """Score the files that are there and not done; how many rows they had."""
        return sum(done.rows for done in self._new())

    def run(self, *, poll: float = 1.0, seconds: float | None = None) -> int:
        """Score files as they appear, until `stop` is called or so many seconds have passed.

        Parameters
        ----------
        poll : seconds between looks.

        Returns
        -------
        How many rows were scored.
        """
        until = None if seconds is None else time.monotonic() + seconds
        rows = self.run_available()
        while not self._stopped.wait(poll) and (until is None or time.monotonic() < until):
            rows += self.run_available()
        return rows

    def stop(self) -> None:
        """End `run` when the file under way is done."""
        self._stopped.set()

    def _new(self) -> Iterator[Scored]:
        for file in sorted(self.folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            if self._stopped.is_set():
                return
            if file.name[0] in "._" or not file.is_file() or not is_data(file.name):
                continue
            done = self._scorer.write(read(str(file)), f"input={quote(file.name)}")
            if done is not None:
                yield done


def _start(scorer: Scorer, frame: Any, checkpoint: str, trigger: dict[str, Any] | None) -> Any:
    """Start Spark's query."""
    from outgrow.engine.spark.supervise import is_connect

    if is_connect(frame.sparkSession):
        raise ParameterError(
            "A stream needs a Classic session: on Connect the work between batches would run on the server, "
            "where this process's files are not. Start the stream from a driver of the cluster."
        )
    prepare(scorer.version().predictor.fitted, dataset(_empty(frame)), keep=scorer.options.keep)

    def write_batch(batch: Any, number: int) -> None:
        if not batch.isEmpty():
            scorer.write(dataset(batch), f"batch_id={number}")

    writer = frame.writeStream.foreachBatch(write_batch).option("checkpointLocation", checkpoint)
    return (writer if trigger is None else writer.trigger(**trigger)).start()


def stream_of_files(engine: Any, folder: str) -> Any:
    """A folder as a streaming DataFrame of an engine's session; the files there say what columns it has."""
    from outgrow.engine.spark.frames import spark_schema

    files = read(folder).scan.source
    assert isinstance(files, FilesSource)
    kind = {"ipc": "", "tsv": ""}.get(files.format, files.format)
    if not kind:
        raise ParameterError(f"Spark streams no {files.format} files. Give Parquet, CSV or JSON lines.")
    options = {"header": "true"} if kind == "csv" else {}
    ddl, _ = spark_schema(files.schema)
    return engine.session.readStream.format(kind).options(**options).schema(ddl).load(folder)


def _empty(frame: Any) -> Any:
    """A DataFrame that is no stream, with the same columns."""
    return frame.sparkSession.createDataFrame([], frame.schema)
