"""The log of predictions, as Parquet: for monitoring, and for labels that come later."""

from __future__ import annotations

import datetime
import logging
import os
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from outgrow.data.batch import Batch
from outgrow.data.names import distinct
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers

FLUSH_ROWS = 10_000
FLUSH_SECONDS = 10.0
WAITING_BYTES = 256 << 20
"""Of rows that wait while they cannot be written; past it, the oldest are given up."""
_LOG_COLUMNS = ("time", "request_id", "row", "model", "version", "role", "prediction")
log = logging.getLogger("outgrow.serve")
Key = tuple[str, pa.Schema]


class PredictionLog:
    """Rows with their predictions, written to files in a folder for each model.

    The columns are `time`, `request_id`, `row` (its number in the request), `model`, `version`, `role` (which
    variant answered: primary, canary or shadow), the model's own columns, `prediction`, and
    `probability_<class>`. A column of the model's that is called like one of the others gets a number:
    `time_2`.

    Rows that cannot be written, as on a full disk, wait for the next try; past `WAITING_BYTES`, the oldest
    are given up, which the process's log and `lost` say.

    Parameters
    ----------
    folder : where.
    fraction : of the requests that are kept.
    lost : called with how many rows were given up.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        fraction: float = 1.0,
        lost: Callable[[int], object] = lambda rows: None,
    ) -> None:
        self.folder = Path(folder)
        self.fraction = fraction
        self._lost = lost
        self._parts: deque[tuple[Key, pa.RecordBatch]] = deque()
        self._bytes = 0
        self._new = 0
        self._lock = threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)

    def wants(self) -> bool:
        """Whether the next request is kept."""
        return self.fraction >= 1.0 or random.random() < self.fraction

    def add(
        self, model: str, role: str, request_id: str, rows: Sequence[Row] | Batch, answers: Answers
    ) -> bool:
        """Keep a request; it is written by `flush`.

        Parameters
        ----------
        model : the name under which it is served, and the folder of its rows.
        role : which variant answered: primary, canary or shadow.
        request_id : of the request; rows with the same one are told apart by their numbers.
        rows : what was asked, as the reader of the version that answered read them.
        answers : to those rows, in their order.

        Returns
        -------
        Whether so many rows wait that `flush` is due.
        """
        version = answers.served.version
        batch = rows if isinstance(rows, Batch) else answers.served.reader.batch(rows)
        count = batch.num_rows
        now = datetime.datetime.now(datetime.UTC)
        columns: dict[str, Any] = {
            "time": pa.array([now] * count, pa.timestamp("us", "UTC")),
            "request_id": pa.array([request_id] * count, pa.string()),
            "row": pa.array(range(count), pa.int64()),
            "model": pa.array([model] * count, pa.string()),
            "version": pa.array([version.name] * count, pa.string()),
            "role": pa.array([role] * count, pa.string()),
        }
        chances: dict[str, Any] = {}
        if answers.probabilities is not None:
            names = version.predictor.names("predict_proba")
            by_class = zip(*answers.probabilities, strict=True)
            chances = {name: pa.array(values) for name, values in zip(names, by_class, strict=True)}
        features = batch.to_arrow()
        free = distinct(features.schema.names, [*_LOG_COLUMNS, *chances])
        columns |= dict(zip(free, features.columns, strict=True))
        columns["prediction"] = pa.array(answers.predictions)
        columns |= chances
        entries = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        with self._lock:
            self._keep((model, entries.schema), entries)
            self._new += count
            return self._new >= FLUSH_ROWS

    def flush(self) -> None:
        """Write what is there: whole files, which appear at once; what cannot be written waits."""
        with self._lock:
            waiting, self._parts, self._bytes, self._new = self._parts, deque(), 0, 0
        parts: dict[Key, list[pa.RecordBatch]] = {}
        for key, batch in waiting:
            parts.setdefault(key, []).append(batch)
        for key, batches in parts.items():
            try:
                self._write(*key, batches)
            except (OSError, pa.ArrowException) as error:
                rows = sum(batch.num_rows for batch in batches)
                log.error("%d rows of the prediction log wait, they cannot be written: %s", rows, error)
                with self._lock:
                    for batch in batches:
                        self._keep(key, batch)

    def _keep(self, key: Key, batch: pa.RecordBatch) -> None:
        """Let rows wait; the oldest are given up where too many do."""
        self._parts.append((key, batch))
        self._bytes += batch.nbytes
        given_up = 0
        while self._bytes > WAITING_BYTES and len(self._parts) > 1:
            _, oldest = self._parts.popleft()
            self._bytes -= oldest.nbytes
            given_up += oldest.num_rows
        if given_up:
            log.error("%d rows of the prediction log are given up: too many wait to be written", given_up)
            self._lost(given_up)

    def _write(self, model: str, schema: pa.Schema, batches: list[pa.RecordBatch]) -> None:
        folder = self.folder / f"model={quote(model, safe='')}"
        folder.mkdir(parents=True, exist_ok=True)  # whoever clears the log away may take the folder, too
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{now}-{os.getpid()}-{secrets.token_hex(4)}.parquet"
        draft = folder / f".{name}"
        table = pa.Table.from_batches(batches, schema).drop_columns("model")
        try:
            pq.write_table(table, draft, write_page_checksum=True)
            draft.rename(folder / name)
        finally:
            draft.unlink(missing_ok=True)
