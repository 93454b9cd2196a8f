"""The command that scores rows as they come, until a signal stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from outgrow.job.engines import open_spark
from outgrow.serve.stream import FolderStream, score_files, score_stream


def run_stream(
    model: str,
    folder: str,
    output: str,
    engine: str,
    *,
    once: bool,
    checkpoint: str | None,
    say: Callable[[str], None],
    **options: Any,
) -> None:
    """Score a folder's files as they appear; SIGINT and SIGTERM end it after the batch under way.

    Parameters
    ----------
    model : the folder of a saved model, or of versions of one.
    folder : where files appear.
    output : the folder for the scores.
    engine : `local`, or the address of a Spark.
    once : end when the files that are there are done.
    checkpoint : the folder for Spark's notes on what was read; None on this machine.
    say : called with what a person should read.
    **options : further arguments of `score_stream`: `keep`, `probabilities`, `errors`, `read_options`.
    """
    if engine == "local":
        _run_here(score_stream(model, folder, output, checkpoint=checkpoint, **options), once, say)
        return
    trigger = {"availableNow": True} if once else None
    query = score_files(
        model, folder, output, open_spark(engine), checkpoint=checkpoint, trigger=trigger, **options
    )
    say(f"Scoring {folder} on {engine} into {output}")
    _on_signals(query.stop)
    query.awaitTermination()


def _run_here(stream: FolderStream, once: bool, say: Callable[[str], None]) -> None:
    if not once:
        say(f"Scoring files as they appear in {stream.folder}. Ctrl-C ends it.")
        _on_signals(stream.stop)
    rows = stream.run_available() if once else stream.run()
    say(f"Scored: {rows:,} rows")


def _on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
