"""Everything outgrow raises on purpose: one tree, each also the built-in a Python user would expect.

A message states the fact, the offending values, and the next step.

Examples
--------
>>> import outgrow as og
>>> try:
...     og.Ridge(alpha=-1).fit([[1.0]], [1.0])
... except og.errors.ParameterError as error:
...     print(error, isinstance(error, ValueError))
Ridge(alpha=-1): alpha must be a number of at least 0 or an array of such numbers. True
"""

from __future__ import annotations


class OutgrowError(Exception):
    """Base of every error raised on purpose; `user_error` tells the command line whose mistake it is."""

    user_error = True

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)  # KeyError would print its argument quoted


class ParameterError(OutgrowError, ValueError):
    """A parameter of an estimator, an engine or a command has a value it cannot have."""


class DataError(OutgrowError, ValueError):
    """The data itself cannot be used: no rows, NaN, one class, a damaged file."""


class RowError(DataError):
    """A row cannot be scored; the message says which, and why."""


class SchemaError(OutgrowError, ValueError):
    """Column names or types are not what was promised at fit."""


class ValueTypeError(OutgrowError, TypeError):
    """A column holds Python objects that are neither text nor numbers."""


class ExpectationError(DataError):
    """Rows are not what was expected of them."""


class ColumnNotFoundError(OutgrowError, KeyError):
    """A named column does not exist."""


class InputNotFoundError(OutgrowError, FileNotFoundError):
    """A path or pattern matches no file."""


class OutputExistsError(OutgrowError, FileExistsError):
    """The output path exists already; nothing is overwritten unless asked."""


class OutputBusyError(OutgrowError, BlockingIOError):
    """Another process is writing the output path."""


class ArtifactError(OutgrowError, ValueError):
    """A saved model is damaged, newer than this library, or not a model."""


class ExportError(OutgrowError, ValueError):
    """A fitted model has no exact equal in the form asked for."""


class JobFileError(OutgrowError, ValueError):
    """A job file is not valid."""


class MissingExtraError(OutgrowError, ImportError):
    """An optional library is needed and not installed."""


class StorageError(OutgrowError, OSError):
    """The disk refused: full, read-only, gone."""


class LogError(OutgrowError, OSError):
    """A log of records cannot be written or read, or was changed after it was written."""


class StudyError(OutgrowError, ValueError):
    """A search cannot go on: its space changed, or another process works on it."""


class PrivacyError(OutgrowError, ValueError):
    """A site of a federation would have to send what may not leave it, such as rows; nothing was sent."""


class EngineError(OutgrowError, RuntimeError):
    """The engine could not run the work: too few slots, a lost rank, a deadline."""

    user_error = False


class TooFewSlotsError(EngineError):
    """The cluster does not run as many tasks at once as a fit needs."""


class RankLostError(EngineError):
    """A rank of a fit stopped answering: its process or its host is gone, or stands still.

    Attributes
    ----------
    rank, host : which one, and where it ran; -1 and '?' where nobody could tell.
    """

    def __init__(self, message: str, rank: int = -1, host: str = "?") -> None:
        super().__init__(message)
        self.rank = rank
        self.host = host


class RegroupError(EngineError):
    """All ranks of a fit part at the same point, to meet anew with one that waits to join."""


class RankLostWarning(UserWarning):
    """A rank of a fit was lost, and the fit goes on from the last pass that is known."""


class EncodingGuessedWarning(UserWarning):
    """Text is not UTF-8 and nobody named its encoding, so it is read in the most likely one."""


class TornJournalWarning(UserWarning):
    """The journal of a search ended in half a line, which is dropped; the search goes on."""


class DataChangedWarning(UserWarning):
    """Files were changed while they were read."""


class ExpectationWarning(UserWarning):
    """Rows are not what was expected of them, and work goes on with them."""


class LogWarning(UserWarning):
    """What should be recorded cannot be written to its log now, or is lost; the work itself goes on."""
