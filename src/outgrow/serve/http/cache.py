"""Answers that are remembered by their rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from outgrow.data.batch import Batch
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers, LoadedVersion


class AnswerCache:
    """The latest answers; a version's are forgotten as others push them out, and never given for another.

    Parameters
    ----------
    size : how many rows.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._known: OrderedDict[Any, tuple[Any, list[float] | None]] = OrderedDict()

    def find(self, served: LoadedVersion, rows: Sequence[Row] | Batch) -> Answers | None:
        """The answers, when those for every row are known; else None.

        Parameters
        ----------
        served : the version whose answers are wanted.
        rows : as its reader read them; those of a `Batch`, or with vectors, are never known.
        """
        if isinstance(rows, Batch) or not _hashable(served):
            return None
        known = [self._known.get((served, row)) for row in rows]
        if any(answer is None for answer in known):
            return None
        for row in rows:
            self._known.move_to_end((served, row))
        predictions = [answer[0] for answer in known if answer is not None]
        chances = [answer[1] for answer in known if answer is not None and answer[1] is not None]
        return Answers(predictions, chances if served.version.predictor.classes else None, served, 0)

    def keep(self, rows: Sequence[Row] | Batch, answers: Answers) -> None:
        """Remember some answers; past `size` rows, those asked for least lately are forgotten.

        Parameters
        ----------
        rows : what was asked, in the order of the answers; a `Batch` is not remembered.
        answers : with the version that made them.
        """
        if isinstance(rows, Batch) or not _hashable(answers.served):
            return
        chances: Sequence[list[float] | None] = answers.probabilities or [None] * len(rows)
        for row, prediction, chance in zip(rows, answers.predictions, chances, strict=True):
            self._known[answers.served, row] = (prediction, chance)
        while len(self._known) > self.size:
            self._known.popitem(last=False)


def _hashable(served: LoadedVersion) -> bool:
    return not any(kind.nested for kind in served.reader.columns.values())
