"""Recording switched on and off, and runs of a user's own."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Integral
from typing import Any

from outgrow.engine import activity as work
from outgrow.engine.activity import Activity
from outgrow.engine.events import listen
from outgrow.errors import LogWarning, OutgrowError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.writer import LogWriter
from outgrow.track.recorder import Recorder, Sink
from outgrow.track.runs_view import RunsView

VARIABLE = "OUTGROW_LOG"
"""The environment variable that names the log; empty for none."""
DEFAULT = "outgrow.db"
"""Where the log lies if nobody says."""


class _Recording:
    """What is switched on: a recorder, who writes for it, and what has to be closed at the end."""

    def __init__(self, log: EventLog, writer: LogWriter, recorder: Recorder, closing: ExitStack) -> None:
        self.log, self.writer, self.recorder, self.closing = log, writer, recorder, closing


_recording: _Recording | None = None
_lock = threading.Lock()


def default_log() -> str:
    """The log that is meant where none is named: what OUTGROW_LOG says, or outgrow.db in this folder."""
    return os.environ.get(VARIABLE) or DEFAULT


def start(
    log: str | os.PathLike[str] | EventLog | None = None,
    *,
    points: float = 20.0,
    sample: float = 5.0,
    tags: Mapping[str, str] | None = None,
) -> EventLog:
    """Record every fit, job, search, scoring, server and federation of this process from now on.

    Parameters
    ----------
    log : where: what `og.EventLog` takes, or one. By default what the environment variable OUTGROW_LOG names,
        or outgrow.db in this folder.
    points : most points a second that a run keeps of its curves, beyond the first hundred; the last is kept.
    sample : seconds between looks at processor, memory and GPUs; 0 for none.
    tags : of all runs.

    Returns
    -------
    EventLog
        To read from.

    Raises
    ------
    LogError
        When the log cannot be opened. Once it is, whatever becomes of it is a warning and ends no fit.
    ParameterError
        When something else is recorded already; call `stop` first.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> log = og.track.start(tempfile.mkdtemp())
    >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    >>> og.track.stop()
    >>> og.runs(log=log).select(["name", "state"]).to_pylist()
    [{'name': 'LinearRegression', 'state': 'finished'}]
    """
    global _recording
    opened = log if isinstance(log, EventLog) else EventLog(default_log() if log is None else log)
    with _lock:
        if _recording is not None:
            if _recording.log.uri == opened.uri:
                return _recording.log
            raise ParameterError(
                f"Runs are recorded in {_recording.log!r} already. Call og.track.stop() before another log."
            )
        with ExitStack() as stack:
            writer = stack.enter_context(opened.writer())
            recorder = begin(stack, [writer], points=points, sample=sample, tags=tags)
            _recording = _Recording(opened, writer, recorder, stack.pop_all())
    atexit.register(stop)
    return opened


def stop() -> None:
    """Record no more; what was recorded is in the log when this returns.

    Examples
    --------
    >>> import outgrow as og
    >>> og.track.stop()
    """
    global _recording
    with _lock:
        recording, _recording = _recording, None
    if recording is not None:
        atexit.unregister(stop)
        recording.closing.close()
        if not recording.writer.is_forked:
            RunsView.of(recording.log).keep()


def recording_log() -> EventLog | None:
    """The log that runs are recorded in now; None where they are not."""
    return None if _recording is None else _recording.log


def up_to_date(log: EventLog) -> EventLog:
    """The log, with all that this process has recorded and still holds back for it.

    Parameters
    ----------
    log : that is to be read.
    """
    recording = _recording
    if recording is not None and recording.log.uri == log.uri:
        recording.writer.flush()
    return log


@contextmanager
def run(name: str, **tags: str) -> Iterator[Run]:
    """Make all that is done inside the block one run: fits and evaluations are steps of it.

    Parameters
    ----------
    name : what to call it.
    **tags : words to find it by.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> log = og.track.start(tempfile.mkdtemp())
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    >>> with og.track.run("compare", team="sales") as run:
    ...     scores = [og.Ridge(alpha=a).fit(X, y).score(X, y) for a in (0.1, 1.0)]
    ...     run.log_metrics({"best": max(scores)})
    >>> og.track.stop()
    >>> og.runs(log=log)["metrics.best"].to_pylist() == [max(scores)]
    True
    """
    with work.activity("run", name, tags={key: str(value) for key, value in tags.items()}) as under_way:
        yield Run(under_way)


class Run:
    """A run under way; without a recorder, what it is told is forgotten."""

    def __init__(self, activity: Any) -> None:
        self._activity = activity

    @property
    def id(self) -> str | None:
        """The id in the log; None where nobody records."""
        name: str | None = self._activity.id
        return name

    def log_params(self, parameters: Mapping[str, Any]) -> None:
        """Note parameters; they are in the record of the run's end.

        Parameters
        ----------
        parameters : by name.
        """
        self._add("parameters", parameters)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Note metrics of the run, or with a step, points of curves.

        Parameters
        ----------
        metrics : numbers by name; one that is not finite is kept as it is.
        step : where on the curve, a whole number.

        Raises
        ------
        ParameterError
            When a metric is no number, a name no text, or the step no whole number.
        """
        metrics = {_checked_name(name): _number(name, value) for name, value in metrics.items()}
        if step is not None and (isinstance(step, bool) or not isinstance(step, Integral)):
            raise ParameterError(f"step={step!r} is no whole number. Count steps, epochs or rows.")
        if step is not None and _recording is not None:
            _recording.recorder.point(self._activity, metrics, step)
        self._add("metrics", metrics)

    def _add(self, name: str, values: Mapping[str, Any]) -> None:
        if isinstance(self._activity, Activity):
            self._activity.note(**{name: {**self._activity.facts.get(name, {}), **values}})


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ParameterError(f"{name!r} is no name of a metric. Give a text.")
    return name


def _number(name: str, value: Any) -> float:
    """A metric as a number: of Python, NumPy, Arrow or a tensor of one value; no text, and not None."""
    try:
        if not isinstance(value, str | bytes):
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise ParameterError(
        f"The metric {name!r} is {value!r:.80}, of type {type(value).__name__}. Give one number; "
        "what is none belongs into log_params."
    )


def start_from_environment() -> None:
    """Begin to record where OUTGROW_LOG says so, in a process that is nobody's worker; never raises."""
    if os.environ.get(VARIABLE) and _recording is None and not _is_worker():
        try:
            start()
        except OutgrowError as error:
            warnings.warn(f"Runs are not recorded: {error}", LogWarning, stacklevel=2)


def begin(stack: ExitStack, sinks: Sequence[Sink], **options: Any) -> Recorder:
    """A recorder that hears and observes everything until the stack is closed.

    Parameters
    ----------
    stack : what closes it.
    sinks, **options : as of `Recorder`.
    """
    recorder = Recorder(sinks, **options)
    stack.callback(recorder.close)
    stack.enter_context(listen(recorder))
    work.observe(recorder)
    stack.callback(work.leave, recorder)
    return recorder


def _is_worker() -> bool:
    """Whether this process works for another of ours or of Spark, which keeps the record."""
    module = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None) or ""
    rank = next(
        (os.environ[name] for name in ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK") if name in os.environ), "0"
    )
    return module.startswith(("pyspark.", "outgrow.tuning.", "outgrow.engine.")) or rank != "0"
