"""MLflow is told of every run, as it happens or later; nothing waits for it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.engine.activity import Activity
from outgrow.engine.local import Local
from outgrow.errors import LogError
from outgrow.log.event_log import EventLog
from outgrow.log.postgresql import without_password
from outgrow.log.writer import LogWriter
from outgrow.ml.persistence import load
from outgrow.track.facts import learned_digest
from outgrow.track.flavor import log_model
from outgrow.track.mirror import MODEL_NAME, RECORDS, Mirror
from outgrow.track.runs import open_log
from outgrow.track.runs_view import KINDS
from outgrow.track.tracking import begin

MODEL = "model"
"""The folder of the model in what a job writes."""
_EXAMPLE_ROWS = 5
_open: ExitStack | None = None
_lock = threading.Lock()


def autolog(
    uri: str | None = None,
    *,
    experiment: str | None = None,
    trials: str = "best",
    log_models: bool = True,
    log_datasets: bool = True,
    system_metrics: bool = True,
    points: float = 20.0,
    sample: float = 10.0,
    tags: Mapping[str, str] | None = None,
    disable: bool = False,
) -> None:
    """Log every fit, job, search and scoring of this process to MLflow from now on, in the background.

    A run gets its changed parameters, metrics by step and in the end, rows as inputs, system metrics, a job's
    document and report, and the model with its signature and an example. What MLflow raises is a warning, and
    is tried again. Inside `mlflow.start_run()` runs are children of that one; in `mlflow run`, the job's run
    is the project's.

    Parameters
    ----------
    uri : of the tracking server; that of `mlflow.set_tracking_uri` if not given.
    experiment : its name; that of `mlflow.set_experiment` if not given.
    trials : of a search: a child run for the 'best' trial or for 'all', or a 'table' alone, which is an
        artifact of each search.
    log_models, log_datasets, system_metrics : whether models, rows and the use of the machine are logged.
    points : most points a second of the curves of a run, beyond the first hundred.
    sample : seconds between looks at the machine.
    tags : of all runs.
    disable : log no more; what waits is written before this returns.

    Raises
    ------
    MissingExtraError
        When MLflow is not installed.
    ParameterError
        When there is no such choice of trials.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.track.autolog("sqlite:///mlflow.db", trials="all")  # doctest: +SKIP
    >>> og.Ridge().fit(np.array([[1.0], [2.0]]), [1.0, 2.0])  # doctest: +SKIP
    >>> og.track.autolog(disable=True)
    """
    global _open
    with _lock:
        previous, _open = _open, None
        if previous is not None:
            previous.close()
        if disable:
            return
        mlflow = optional("mlflow", "track")
        if uri is not None:
            mlflow.set_tracking_uri(uri)
        mirror = Mirror(uri, experiment, trials=trials, datasets=log_datasets, system_metrics=system_metrics)
        with ExitStack() as stack:
            writer = stack.enter_context(LogWriter(mirror, "MLflow"))  # type: ignore[arg-type]
            drafts = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            sink = _Sink(writer, mirror, mlflow)
            watchers = [_models(mirror, drafts)] if log_models else []
            stack.enter_context(_closing_first(writer))
            begin(
                stack,
                [sink],
                points=points,
                sample=sample if system_metrics else 0,
                tags=tags,
                watchers=watchers,
            )
            _open = stack.pop_all()


@dataclass(frozen=True)
class _Sink:
    """Hands records to the writer; notes which run of MLflow was active when a run began."""

    writer: LogWriter
    mirror: Mirror
    mlflow: Any

    def append(
        self, kind: str, subject: str, body: Mapping[str, Any], *, by: str, cause: str | None = None
    ) -> None:
        """Take a record.

        Parameters
        ----------
        kind, subject, body, by, cause : as of `EventLog.append`.
        """
        if kind == "run.began":
            active = self.mlflow.active_run()
            if active is not None:
                self.mirror.parents[subject] = active.info.run_id
        self.writer.append(kind, subject, body, by=by, cause=cause)


def _closing_first(writer: LogWriter) -> ExitStack:
    """Closes the writer before the drafts of models are gone."""
    stack = ExitStack()
    stack.callback(writer.close)
    return stack


def _models(mirror: Mirror, drafts: Path) -> Callable[[str, Activity], None]:
    """Saves the model of a run at once, before it learns something else; it is logged later."""

    def watch(run: str, activity: Activity) -> None:
        if activity.kind not in ("fit", "run", "tune"):
            return
        search, artifacts = activity.facts.get("search"), activity.facts.get("artifacts")
        model = activity.what if search is None else search.best_estimator
        if artifacts is not None and (artifacts / MODEL).is_dir():
            model, draft = load(artifacts / MODEL), artifacts / MODEL
        elif hasattr(model, "save") and hasattr(model, "columns_"):
            draft = drafts / run
            model.save(draft)
        else:
            return
        data, columns = activity.facts.get("data") or activity.data, list(model.columns_)

        def log(**where: str) -> None:
            local = data is not None and isinstance(data.engine, Local) and set(columns) <= set(data.columns)
            example = data.select(*columns).head(_EXAMPLE_ROWS) if local else None
            log_model(load(draft), name=MODEL_NAME, input_example=example, **where)

        mirror.models[run] = log

    return watch


@dataclass(frozen=True)
class Synced:
    """What `sync` did: runs that were written, and runs that were there already."""

    written: int
    there: int


def sync(
    to: str,
    *,
    log: str | os.PathLike[str] | EventLog | None = None,
    experiment: str = "outgrow",
    trials: str = "best",
) -> Synced:
    """Write the runs of a log to an MLflow tracking server; again only what is new.

    Each run of MLflow bears the id of ours in the tag `outgrow.id`.

    Parameters
    ----------
    to : the server: sqlite:///mlflow.db, postgresql+psycopg://..., http://...
    log : as of `og.runs`.
    experiment : the name of the experiment; made where it is not there.
    trials : as of `autolog`.

    Raises
    ------
    LogError
        When the server cannot be reached, or refuses; what was written stays, and the next call goes on.

    Examples
    --------
    >>> import outgrow as og
    >>> og.track.sync("http://localhost:5000", log="ops.db")  # doctest: +SKIP
    Synced(written=12, there=0)
    """
    opened = open_log(log)
    mirror = Mirror(to, experiment, trials=trials)
    wanted = (*KINDS, "run.passed", "run.sampled")
    counts = Counter(record.subject for record in opened.since(0, kinds=wanted))
    began = [record.subject for record in opened.since(0, kinds=("run.began",))]
    written = 0
    try:
        with _tracking(to):
            present = mirror.find(began)
            missing = [run for run in began if present.get(run, (None, 0))[1] != counts[run]]
            for run in missing:
                if run in present:
                    mirror.adopt(run, present[run][0])
                for record in opened.since(0, subject=run, kinds=wanted):
                    if record.kind == "run.ended" and run not in present:
                        _from_files(mirror, run, record.body)
                    mirror.take(record.kind, run, record.body, record.time, record.by)
                mirror.flush()
                mirror.note(run, {RECORDS: counts[run]})
                written += 1
    except Exception as error:  # whatever MLflow, its database or its HTTP raise
        raise LogError(
            f"MLflow at {without_password(to)} cannot be written to: {type(error).__name__}: {error}. "
            f"{written} runs were written; the same command goes on with the others."
        ) from error
    return Synced(written, len(began) - written)


@contextmanager
def _tracking(uri: str) -> Iterator[None]:
    """MLflow's functions that know no client speak to this server inside the block."""
    mlflow = optional("mlflow", "track")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _from_files(mirror: Mirror, run: str, body: Mapping[str, Any]) -> None:
    """Have the model of a run logged where its files are on this machine and unchanged."""
    folder = Path((body.get("artifacts") or {}).get("folder", "")) / MODEL
    if body.get("model") is not None and learned_digest(folder) == body["model"]:
        mirror.models[run] = lambda **where: log_model(load(folder), name=MODEL_NAME, **where)
