"""Recording for as long as a job runs that asks for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from outgrow.errors import LogWarning, OutgrowError
from outgrow.job.model import Job
from outgrow.track.autolog import autolog
from outgrow.track.tracking import recording_log, start, stop


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
