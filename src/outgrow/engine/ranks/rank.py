"""One rank of a fit at work in an ordinary process."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from outgrow import errors
from outgrow.data.batch import Batch
from outgrow.engine.collective import Communicator
from outgrow.engine.context import FitContext, one_blas_thread
from outgrow.engine.journal import Journal
from outgrow.engine.memory import Memory, peak_bytes
from outgrow.engine.record import work_bytes
from outgrow.engine.shard import Readable, Shard
from outgrow.errors import EngineError, OutgrowError

FEW_BYTES = 2 << 20
"""Of rows whose products are over before BLAS could wake a second thread."""
_NOT_FOR_USERS = (ResourceWarning, DeprecationWarning, PendingDeprecationWarning)


@dataclass(frozen=True)
class RankWork:
    """One fit, as one rank gets it.

    Attributes
    ----------
    fit : the code of the fit; its result must be storable by an artifact.
    pieces : those of this rank.
    example : a batch without rows, as the scan yields them.
    keep : hold the rows between passes.
    known : the states of passes that were made before.
    memory, folder : the most this process may hold, and where rows beyond it lie.
    few : there are so few rows, over all ranks, that one thread of BLAS is enough.
    elastic : which fit it is, where ranks may leave and join; else empty.
    """

    fit: Callable[[Shard], Any]
    stage: str
    pieces: Sequence[Readable]
    example: Batch
    keep: bool
    known: list[bytes]
    threads: int
    memory: int
    folder: str | None
    few: bool
    elastic: str = ""

    def begin(self, comm: Communicator, keep_state: Callable[[int, bytes], None] | None) -> FitContext:
        """What the fit runs in.

        Parameters
        ----------
        comm : the other ranks.
        keep_state : takes the number and the content of each merged state; None where nobody wants them.
        """
        memory = Memory(self.memory, self.folder, work=self.threads * work_bytes(self.pieces))
        return FitContext(comm, self.threads, memory, self.stage, Journal(self.known, keep_state))

    def run(self, context: FitContext) -> tuple[Any, list[str]]:
        """What the fit returns, and the warnings for its user, as `warn_again` takes them."""
        with (
            warnings.catch_warnings(record=True) as caught,
            one_blas_thread() if self.few else nullcontext(),
        ):
            warnings.simplefilter("always")
            try:
                result = self.fit(Shard.of(context, self.pieces, self.example, keep=self.keep))
            finally:
                context.close()
        said = [item for item in caught if not issubclass(item.category, _NOT_FOR_USERS)]
        return result, [f"{item.category.__name__}: {item.message}" for item in said]


def facts(context: FitContext) -> dict[str, Any]:
    """What is recorded of a rank that is done."""
    return {
        "passes": context.passes,
        "peak": peak_bytes(),
        "spilled": context.memory.spilled,
        "pace": context.work.now(),
    }


def warn_again(said: Sequence[str], stacklevel: int) -> None:
    """Give the warnings of a rank in this process.

    Parameters
    ----------
    said : what `RankWork.run` returned.
    stacklevel : as that of `warnings.warn`, of the caller.
    """
    for text in said:
        category, _, message = text.partition(": ")
        warnings.warn(message, _kind(category), stacklevel=stacklevel + 1)


def _kind(category: str) -> type[Warning]:
    """A kind of warning by name; scikit-learn takes long to load, and many can do without."""
    home = import_module("sklearn.exceptions") if category == "ConvergenceWarning" else errors
    kind: type[Warning] = getattr(home, category, UserWarning)
    return kind


def cause_of(error: Exception, rank: int, context: FitContext | None) -> dict[str, Any]:
    """What a rank tells of its failure.

    Parameters
    ----------
    error : what it raised.
    rank : its number.
    context : of the fit, if that has begun.
    """
    return {
        "type": type(error).__name__,
        "message": str(error),
        "rank": rank,
        "passed": 0 if context is None else context.passes,
        "trace": traceback.format_exc(),
    }


def error_of(cause: dict[str, Any], where: str) -> OutgrowError:
    """What a rank told of its failure, as the error that it raised.

    Parameters
    ----------
    cause : as `cause_of` made it.
    where : which rank it was, for the message.
    """
    kind = getattr(errors, cause["type"], None)
    place = f"({where}, in pass {cause['passed'] + 1})"
    if isinstance(kind, type) and issubclass(kind, OutgrowError):
        error: OutgrowError = kind(f"{cause['message']} {place}")
    else:
        error = EngineError(f"{cause['type']}: {cause['message']} {place}")
    error.add_note("The rank's own trace:\n" + cause["trace"])
    return error
