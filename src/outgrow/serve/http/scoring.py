"""The answers of a model for the requests of one batch; whatever goes wrong, each request gets one.

A batch that fails is halved until the requests that made it fail are alone: a bad row costs its neighbours a
few more runs of the model, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.kind import Kind
from outgrow.data.schema import conformed
from outgrow.errors import OutgrowError
from outgrow.registry.store import Version
from outgrow.serve.http.refusal import MAX_ITEMS
from outgrow.serve.http.rows import Row, RowReader, RowsError

SLICE_ROWS = 16_384
"""Rows of one large request that are scored between two looks whether a client still waits for them."""


class FeatureJoin(Protocol):
    """What looks up columns of a model that requests do not bring.

    Attributes
    ----------
    columns : what requests bring instead: the keys, and the columns that are not looked up.
    """

    @property
    def columns(self) -> Mapping[str, Kind]: ...

    def __call__(self, batch: Batch) -> Batch:
        """The columns of the model, of those that requests bring; on a thread."""
        ...


FeatureSource = Callable[[Mapping[str, Kind]], FeatureJoin]
"""What makes a join for a model with these columns."""


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """A version of a model and what reads its rows.

    Attributes
    ----------
    version : the model.
    reader : of the rows of requests.
    features : looks up what requests do not bring; None where they bring all columns.
    """

    version: Version
    reader: RowReader
    features: FeatureJoin | None = None

    @classmethod
    def of(cls, version: Version, source: FeatureSource | None = None) -> LoadedVersion:
        """A version, ready for requests.

        Parameters
        ----------
        version : the model.
        source : where columns are looked up.
        """
        if source is None:
            return cls(version, RowReader(version.predictor.columns))
        join = source(version.predictor.columns)
        return cls(version, RowReader(join.columns), join)

    def whole(self, batch: Batch) -> Batch:
        """The columns of the model, of those that a request has brought."""
        if self.features is None:
            return batch
        return conformed(self.features(batch), self.version.predictor.columns)


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows that were scored together, and what the model gave for them.

    Attributes
    ----------
    batch : with the columns of the model.
    predictions : ndarray of shape (rows,), or (rows, targets).
    probabilities : ndarray of shape (rows, classes); None where the model has none.
    """

    batch: Batch
    predictions: np.ndarray
    probabilities: np.ndarray | None

    @classmethod
    def of(cls, served: LoadedVersion, batch: Batch) -> Scored:
        """Score a batch.

        Parameters
        ----------
        served : the version to ask.
        batch : as its reader read it.
        """
        predictor = served.version.predictor
        batch = served.whole(batch)
        if predictor.classes is None or not predictor.gives("predict_proba"):
            return cls(batch, predictor.answer(batch), None)
        return cls(batch, *predictor.with_probabilities(batch))

    def lists(self) -> tuple[list[Any], list[list[float]] | None]:
        """Predictions and probabilities as answers have them."""
        chances = None if self.probabilities is None else self.probabilities.tolist()
        return self.predictions.tolist(), chances


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers for the rows of a request.

    Attributes
    ----------
    predictions : one for each row; a list where there are several targets.
    probabilities : of each class for each row; None where the model has none.
    served : the version that made them.
    batch_rows : how many rows were in the batch.
    scored : the batches they are from: a part of one, or all of several; none where they were remembered.
    start : the first of their rows in the batch.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None
    served: LoadedVersion
    batch_rows: int
    scored: tuple[Scored, ...] = ()
    start: int = 0


class ScoringRequest(Protocol):
    """The rows of a request, read for a version of the model."""

    served: LoadedVersion
    rows: Sequence[Row] | Batch
    count: int

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        ...


def answer_all(requests: Sequence[ScoringRequest]) -> tuple[list[Answers | Exception], float]:
    """The answers for each request of a batch, and the seconds they took."""
    began = time.perf_counter()
    return _settled(requests), time.perf_counter() - began


def _settled(requests: Sequence[ScoringRequest]) -> list[Answers | Exception]:
    try:
        return list(_together(requests))
    except Exception as error:
        if len(requests) == 1:
            return [_reason(requests[0], error)]
    middle = len(requests) // 2
    return [*_settled(requests[:middle]), *_settled(requests[middle:])]


def _together(requests: Sequence[ScoringRequest]) -> list[Answers]:
    served, first = requests[0].served, requests[0].rows
    if isinstance(first, Batch):
        scored = tuple(_in_slices(requests[0], first))
    else:
        given = [row for request in requests if not isinstance(request.rows, Batch) for row in request.rows]
        scored = (Scored.of(served, served.reader.batch(given)),)
    predictions, probabilities = _lists(scored)
    rows = len(predictions)
    answers: list[Answers] = []
    start = 0
    for request in requests:
        end = start + request.count
        chosen = None if probabilities is None else probabilities[start:end]
        answers.append(Answers(predictions[start:end], chosen, served, rows, scored, start))
        start = end
    return answers


def _in_slices(request: ScoringRequest, batch: Batch) -> Iterator[Scored]:
    if batch.num_rows <= SLICE_ROWS:
        yield Scored.of(request.served, batch)
        return
    for start in range(0, batch.num_rows, SLICE_ROWS):
        if request.abandoned:
            raise TimeoutError
        yield Scored.of(request.served, batch.slice(start, min(SLICE_ROWS, batch.num_rows - start)))


def _lists(scored: Sequence[Scored]) -> tuple[list[Any], list[list[float]] | None]:
    """The predictions and probabilities of batches one after the other."""
    predictions, probabilities = scored[0].lists()
    for part in scored[1:]:
        more, chances = part.lists()
        predictions += more
        if probabilities is not None and chances is not None:
            probabilities += chances
    return predictions, probabilities


def _reason(request: ScoringRequest, error: Exception) -> Exception:
    """Why a request has no answer: which of its rows are bad, if that is why."""
    if request.abandoned or not isinstance(error, OutgrowError):
        return error
    try:
        batch = request.rows if isinstance(request.rows, Batch) else request.served.reader.batch(request.rows)
        reasons = request.served.version.predictor.score_rows(
            request.served.whole(batch), most=MAX_ITEMS
        ).reasons
    except Exception:
        reasons = {}
    if not reasons:
        return RowsError(str(error))
    row, reason = min(reasons.items())
    return RowsError(
        f"Row {row} cannot be scored: {reason}", rows={str(number): why for number, why in reasons.items()}
    )
