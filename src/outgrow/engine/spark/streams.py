"""Streaming DataFrames, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from outgrow.engine.spark.explain import spark_explained
from outgrow.engine.spark.supervise import is_connect
from outgrow.errors import ParameterError


def start_batches(
    frame: Any,
    take: Callable[[Any, int], Any],
    checkpoint: str | os.PathLike[str] | None,
    trigger: Mapping[str, Any] | None,
) -> Any:
    """Start a query of Spark that gives its batches to a function, those without rows left out.

    Parameters
    ----------
    frame : the streaming DataFrame.
    take : gets a DataFrame and its number; the same again after a fault.
    checkpoint : the folder for Spark's notes on what it has read.
    trigger : how Spark makes batches.

    Raises
    ------
    ParameterError
        When there is no checkpoint, the DataFrame is no stream, or the session is Connect's.
    """
    if not frame.isStreaming:
        raise ParameterError("The DataFrame is no stream. Read it with session.readStream.")
    if checkpoint is None:
        raise ParameterError("A Spark stream needs checkpoint=, a folder for what it has read.")
    if is_connect(frame.sparkSession):
        raise ParameterError(
            "A stream needs a Classic session: on Connect the work between batches would run on the server, "
            "where this process's files are not. Start the stream from a driver of the cluster."
        )

    def take_some(batch: Any, number: int) -> None:
        if not batch.isEmpty():
            take(batch, number)

    with spark_explained():
        writer = frame.writeStream.foreachBatch(take_some)
        writer = writer.option("checkpointLocation", os.fspath(checkpoint))
        return (writer if trigger is None else writer.trigger(**trigger)).start()
