"""What was asked and answered, as Parquet: for monitoring, and for labels that come later."""

from __future__ import annotations

import datetime
import os
import random
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from outgrow.data.batch import Batch
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers

FLUSH_ROWS = 10_000
FLUSH_SECONDS = 10.0


class PredictionLog:
    """Rows with their predictions, written to files in a folder for each model.

    The columns are `time`, `request_id`, `row` (its place in the request), `model`, `version`, `role` (who
    answered: primary, canary or shadow), the model's own columns, `prediction`, and `probability_<class>`.

    Parameters
    ----------
    folder : where.
    fraction : of the requests that are kept.
    """

    def __init__(self, folder: str | os.PathLike[str], fraction: float = 1.0) -> None:
        self.folder = Path(folder)
        self.fraction = fraction
        self._parts: dict[tuple[str, pa.Schema], list[pa.RecordBatch]] = {}
        self._rows = 0
        self._lock = threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)

    def wants(self) -> bool:
        """Whether the next request is kept."""
        return self.fraction >= 1.0 or random.random() < self.fraction

    def add(self, model: str, role: str, request: str, rows: Sequence[Row] | Batch, answers: Answers) -> bool:
        """Keep a request; whether so many wait that `flush` is due."""
        version = answers.served.version
        batch = rows if isinstance(rows, Batch) else answers.served.reader.batch(rows)
        count = batch.num_rows
        now = datetime.datetime.now(datetime.UTC)
        columns: dict[str, Any] = {
            "time": pa.array([now] * count, pa.timestamp("us", "UTC")),
            "request_id": pa.array([request] * count, pa.string()),
            "row": pa.array(range(count), pa.int64()),
            "model": pa.array([model] * count, pa.string()),
            "version": pa.array([version.name] * count, pa.string()),
            "role": pa.array([role] * count, pa.string()),
        }
        features = batch.to_arrow()
        columns |= dict(zip(features.schema.names, features.columns, strict=True))
        columns["prediction"] = pa.array(answers.predictions)
        if answers.probabilities is not None:
            names = version.predictor.names("predict_proba")
            by_class = zip(*answers.probabilities, strict=True)
            columns |= {name: pa.array(values) for name, values in zip(names, by_class, strict=True)}
        found = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        with self._lock:
            self._parts.setdefault((model, found.schema), []).append(found)
            self._rows += count
            return self._rows >= FLUSH_ROWS

    def flush(self) -> None:
        """Write what is there: whole files, which appear at once."""
        with self._lock:
            parts, self._parts, self._rows = self._parts, {}, 0
        for (model, schema), batches in parts.items():
            folder = self.folder / f"model={model}"
            folder.mkdir(exist_ok=True)
            now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
            name = f"{now}-{os.getpid()}-{secrets.token_hex(4)}.parquet"
            draft = folder / f".{name}"
            table = pa.Table.from_batches(batches, schema).drop_columns("model")
            pq.write_table(table, draft)
            draft.rename(folder / name)
