"""A job run on growing samples of its rows, in another process: `python -m outgrow.planning.probe`.

What is asked comes as JSON from standard input, each answer is a line of JSON.

A process of its own, as memory is that of a process, and as what a probe compiles or loads must not make the
next one look quicker than the job will be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.base import clone

from outgrow.engine.dataset import Dataset, from_arrow
from outgrow.engine.events import Event, listen
from outgrow.engine.local import Local
from outgrow.engine.reading import read
from outgrow.errors import DataError, OutgrowError
from outgrow.job.load import LoadedJob, load_job
from outgrow.job.record import Outcome
from outgrow.job.run import run_within
from outgrow.job.split import hidden, split, without
from outgrow.job.tables import guard_of, open_data
from outgrow.ml.predictor import Predictor
from outgrow.planning.cheaper import Ring, metric_of
from outgrow.planning.strategies import training_of

FIRST_ROWS, GROWTH = 2_000, 4
_LEAST, _SHARE = 12.0, 0.05
"""Seconds that probes may take whatever the job takes, and the share of its time that they may."""
MOST_ROWS = 2_000_000
_TEST_ROWS = 20_000
_SEEDS = 3
_CALLS = 200
_CURVE_SIZES = 5
_FIRST_ANSWER = """
import sys
sys.path.append(sys.argv[2])
import outgrow as og
from outgrow.ml.core.task import promised_example
from outgrow.ml.predictor import Predictor
predictor = Predictor(og.load(sys.argv[1]))
predictor.scores(promised_example(predictor.columns), probabilities=False)
"""


@dataclass(frozen=True)
class Request:
    """What is to be probed.

    Attributes
    ----------
    job : the path of the job file.
    settings : values set in it.
    seconds : the time that all probes may take.
    threads : of the engine; None for all cores.
    """

    job: str
    settings: Sequence[str] = ()
    seconds: float = 30.0
    threads: int | None = None


@dataclass(frozen=True)
class Size:
    """How many rows a job has, and what is known of them without reading them.

    Attributes
    ----------
    rows : in all.
    nbytes : what they take in memory, decoded; None where nobody can tell.
    pieces : row groups or files.
    query_seconds : what the job's query took, which was run for this; None where there is none.
    import_seconds : until the libraries were loaded.
    """

    rows: int
    nbytes: int | None
    pieces: int
    query_seconds: float | None
    import_seconds: float


@dataclass(frozen=True)
class Probe:
    """A run of the job on a sample.

    Attributes
    ----------
    rows : of the sample, those it was tested on included.
    stages : seconds of each stage.
    memory : the most the process held, in bytes.
    passes : over the rows, of the fit.
    scores : of the rows held out.
    """

    rows: int
    stages: dict[str, float]
    memory: int
    passes: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Loss:
    """What models learned from so many rows lose on the same rows held out.

    Attributes
    ----------
    rows : learned from.
    losses : one for each sample.
    """

    rows: int
    losses: list[float]


@dataclass(frozen=True)
class Answers:
    """How quickly the model of the largest probe answers, and how large it is.

    Attributes
    ----------
    rows_a_second : in batches, on this machine.
    median_ms, p99_ms : of one row, in this process.
    nbytes : of the saved model.
    onnx : why it cannot be exported; empty where it can.
    cold_seconds : from the start of a process until the model has answered; None where that failed.
    """

    rows_a_second: float
    median_ms: float
    p99_ms: float
    nbytes: int
    onnx: str
    cold_seconds: float | None = None


class Prober:
    """A job, and samples of its rows.

    Parameters
    ----------
    request : what is to be probed, and for how long.
    tell : called with each thing that is known, as soon as it is.
    folder : for files that nobody needs afterwards.
    """

    def __init__(self, request: Request, tell: Callable[[Any], None], folder: Path) -> None:
        self.request, self.tell, self.folder = request, tell, folder
        self.loaded: LoadedJob = load_job(request.job, request.settings)
        self.engine = Local(threads=request.threads)
        self._report_seconds = 0.0
        self._held = 0
        """Bytes of the sample, which the job itself will not hold."""
        self._began = time.perf_counter()

    @property
    def left(self) -> float:
        """Seconds that probes may still take."""
        return self.request.seconds - (time.perf_counter() - self._began)

    def run(self) -> None:
        """Probe: size, times, then answers and losses in the time that is left."""
        rows = open_data(self.loaded, self.engine, checked=True)
        sample, size = self._sampled(rows)
        self.tell(size)
        sample = self._kept(sample)
        outcome = self._times(sample, size.rows)
        model = outcome.model
        fit = next(stage.seconds for stage in outcome.stages if stage.name == "fit")
        training = training_of(Predictor(model).model, fit, outcome.train_rows, outcome.rows)
        if training is not None:
            self.tell(training)
        self.tell(self._answers(model, sample))
        ring = self._ring(sample.slice(0, outcome.rows))
        for rival in ring.rivals(model, fit, lambda: self.left):
            self.tell(rival)
        for loss in self._losses(ring):
            self.tell(loss)

    # ---- rows --------------------------------------------------------------------------------------------

    def _sampled(self, rows: Dataset) -> tuple[pa.Table, Size]:
        """Rows in random order, of pieces from all over the data, and how many there are in all."""
        loaded = time.process_time()
        if self.loaded.query is not None or not rows.scan.source.has_pieces:
            began = time.perf_counter()
            table = rows.to_arrow()
            size = Size(table.num_rows, table.nbytes, 1, time.perf_counter() - began, loaded)
            return _shuffled(table), size
        pieces = rows.scan.pieces()
        known = [piece.known_rows for piece in pieces]
        total = rows.count() if None in known else sum(count or 0 for count in known)
        nbytes = sum(piece.nbytes for piece in pieces)
        size = Size(total, nbytes, len(pieces), None, loaded)
        sample = _shuffled(_some(pieces, rows, self.request.seconds / 10))
        self._held = sample.nbytes
        return sample, size

    def _kept(self, sample: pa.Table) -> pa.Table:
        """The rows of a sample that the job would not set aside."""
        if self.loaded.expectations is None:
            return sample
        guard = guard_of(self.loaded, from_arrow(sample, engine=self.engine), some=True)
        return guard.settle(guard.count()).to_arrow()

    def _times(self, sample: pa.Table, total: int) -> Outcome:
        """Run the job on more and more rows; the last run.

        It ends where the next run would take too much of the time, or of what the job itself will take.
        """
        rows = self._warmed(sample)
        outcome, took = self._time(sample.slice(0, rows))
        slope = 0.0
        while True:
            following = min(rows * GROWTH, sample.num_rows)
            expected = took + slope * (following - rows)
            whole = took + slope * (total - rows)
            spent = self.request.seconds - self.left
            allowed = max(_LEAST, _SHARE * whole) - spent if slope else self.left
            if following <= rows or expected > min(0.6 * self.left, allowed):
                return outcome
            before, earlier = took, rows
            outcome, took = self._time(sample.slice(0, following))
            rows = following
            slope = max(0.0, took - before) / (rows - earlier)

    def _warmed(self, sample: pa.Table) -> int:
        """Run the job once, so that all is loaded and compiled, which tells nothing of rows; on how many.

        A sample in which a class or a value is missing cannot be learned from; a larger one may be.
        """
        began, rows = time.perf_counter(), min(FIRST_ROWS, sample.num_rows)
        while True:
            try:
                self._time(sample.slice(0, rows), warm=True)
                break
            except DataError:
                if rows == sample.num_rows:
                    raise
                rows = min(rows * GROWTH, sample.num_rows)
        self._began += time.perf_counter() - began
        return rows

    def _time(self, sample: pa.Table, *, warm: bool = False) -> tuple[Outcome, float]:
        """A run of the job on a sample, written as a file where the job reads files."""
        rows = from_arrow(sample, engine=self.engine)
        if self.loaded.query is None:
            path = self.folder / "rows.parquet"
            pq.write_table(sample, path, row_group_size=max(2_000, len(sample) // 4))
            rows = read(path, engine=self.engine)
        loaded = replace(self.loaded, pipeline=clone(self.loaded.pipeline))
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        passes: list[Event] = []
        began = time.perf_counter()
        with listen(lambda event: passes.append(event) if event.unit in ("pass", "round") else None):
            outcome = run_within(loaded, self.engine, folder, rows, report=warm)
        took = time.perf_counter() - began
        stages = {stage.name: stage.seconds for stage in outcome.stages}
        if warm:
            self._report_seconds = stages["report"]
        else:
            stages["report"] = self._report_seconds
            memory = max(stage.memory for stage in outcome.stages) - self._held
            scores = {} if outcome.scores is None else dict(outcome.scores.items())
            self.tell(Probe(len(sample), stages, memory, len(passes), scores))
        return outcome, took

    # ---- answers -----------------------------------------------------------------------------------------

    def _answers(self, model: Any, sample: pa.Table) -> Answers:
        """How quickly the model answers."""
        gives = Predictor(model).gives("predict_proba")
        answer = model.predict_proba if gives else model.predict
        table = sample.slice(0, 50_000).drop_columns([self.loaded.job.target])
        began = time.perf_counter()
        answer(table)
        pace = len(table) / (time.perf_counter() - began)
        calls = []
        for row in range(_CALLS):
            one = table.slice(row % len(table), 1)
            began = time.perf_counter()
            answer(one)
            calls.append(1e3 * (time.perf_counter() - began))
        nbytes, onnx = self._weight(model)
        median, late = float(np.median(calls)), float(np.quantile(calls, 0.99))
        return Answers(pace, median, late, nbytes, onnx, self._cold())

    def _weight(self, model: Any) -> tuple[int, str]:
        """The bytes of the saved model, and why it has no form of ONNX."""
        path = self.folder / "model"
        model.save(path, overwrite=True)
        files = [file for file in path.rglob("*") if file.is_file()]
        try:
            model.to_onnx(self.folder / "model.onnx")
            onnx = ""
        except OutgrowError as error:
            onnx = str(error)
        return sum(file.stat().st_size for file in files), onnx

    def _cold(self) -> float | None:
        """Seconds from the start of a process until the saved model has answered."""
        here = str(Path(self.request.job).resolve().parent)
        command = [sys.executable, "-c", _FIRST_ANSWER, str(self.folder / "model"), here]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False)
        return None if done.returncode else time.perf_counter() - began

    # ---- losses ------------------------------------------------------------------------------------------

    def _ring(self, sample: pa.Table) -> Ring:
        """The rows of a sample that the job learns from, and some that it is tested on."""
        job = self.loaded.job
        train, test = split(from_arrow(sample, engine=self.engine), job)
        learn = without(train, hidden(job), job).to_arrow()
        held = test.to_arrow().slice(0, _TEST_ROWS)
        return Ring(self.loaded.pipeline, job.target, job.weight, learn, held)

    def _losses(self, ring: Ring) -> Iterator[Loss]:
        """What models of growing samples lose on the same rows, while there is time."""
        learn = ring.learn
        sizes = [learn.num_rows >> k for k in reversed(range(_CURVE_SIZES)) if learn.num_rows >> k >= 200]
        for rows in sizes:
            losses: list[float] = []
            for seed in range(_SEEDS):
                if self.left <= 0:
                    return
                part = learn.slice((seed * rows) % max(1, learn.num_rows - rows + 1), rows)
                try:
                    model = clone(ring.pipeline).fit(part, ring.target, sample_weight=ring.weight)
                except DataError:
                    losses = []  # a class is missing in so few rows
                    break
                losses.append(_loss(model, ring))
                if rows == learn.num_rows:
                    break
            if losses:
                yield Loss(rows, losses)


def _loss(model: Any, ring: Ring) -> float:
    """The mean loss of the rows held out."""
    scores = model.evaluate(ring.held, ring.target, sample_weight=ring.weight)
    metric = metric_of(model)
    return 1.0 - float(scores["accuracy"]) if metric == "error_rate" else float(scores[metric])


def _some(pieces: Sequence[Any], rows: Dataset, seconds: float) -> pa.Table:
    """Rows of pieces from all over the data, as many as can be read in the time, and at most `MOST_ROWS`."""
    stride = 0.6180339887498949  # the golden ratio: any beginning of the order is spread evenly
    order = np.argsort((np.arange(len(pieces)) * stride) % 1.0)
    began, tables, count = time.perf_counter(), [], 0
    for number in order:
        for batch in pieces[number].batches():
            tables.append(batch.to_arrow())
            count += batch.num_rows
        if count >= MOST_ROWS or (count and time.perf_counter() - began > seconds):
            break
    return pa.Table.from_batches(tables) if tables else rows.head(0)


def _shuffled(table: pa.Table) -> pa.Table:
    table = table.slice(0, MOST_ROWS) if table.num_rows > MOST_ROWS else table
    return table.take(np.random.default_rng(0).permutation(table.num_rows))


def main() -> None:
    """Read what is asked from standard input, and print each answer as a line of JSON."""
    request = Request(**json.load(sys.stdin))
    sys.path.append(str(Path(request.job).resolve().parent))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def tell(thing: Any) -> None:
        answers.write(json.dumps({type(thing).__name__: asdict(thing)}) + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory(prefix="outgrow-plan-") as folder:
        try:
            Prober(request, tell, Path(folder)).run()
        except OutgrowError as error:
            answers.write(json.dumps({"error": str(error)}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
