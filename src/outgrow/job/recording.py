"""Recording for as long as a job runs that asks for it, and facts about a job."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from outgrow.errors import LogWarning, OutgrowError
from outgrow.job.model import Job
from outgrow.log.event_log import EventLog
from outgrow.track.autolog import autolog
from outgrow.track.tracking import recording_log, start, start_from_environment, stop


@contextmanager
def recording(job: Job) -> Iterator[None]:
    """Record what is done inside the block in the log that the job names, if it names one.

    Where this process records already, it goes on as it does. A log that cannot be opened is a warning.
    """
    with ExitStack() as stack:
        if job.track is not None:
            try:
                if job.track.mlflow:
                    autolog(tags=job.track.tags)
                    stack.callback(autolog, disable=True)
                if job.track.log is not None and recording_log() is None:
                    start(job.track.log, tags=job.track.tags)
                    stack.callback(stop)
            except OutgrowError as error:
                warnings.warn(f"The job is not recorded: {error}", LogWarning, stacklevel=4)
        yield


def record(job: Job, kind: str, body: Mapping[str, Any], cause: str | None = None) -> str | None:
    """Write a fact about a job into the log of this process, or the one that the job names; its digest.

    Where there is none, nothing is written; where it cannot be written to, that is a warning.

    Parameters
    ----------
    job : what it is about, by its name.
    kind, body, cause : as of `EventLog.append`.
    """
    start_from_environment()
    log = recording_log()
    try:
        if log is not None:
            return log.append(kind, job.name, body, cause=cause).digest
        if job.track is not None and job.track.log is not None:
            with EventLog(job.track.log) as opened:
                return opened.append(kind, job.name, body, cause=cause).digest
    except OutgrowError as error:
        warnings.warn(f"The job is not recorded: {error}", LogWarning, stacklevel=4)
    return None
