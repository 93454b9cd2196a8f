"""A small world for loops: rows that land day by day with labels, a store, a job and a policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og
from outgrow.loop.run import Loop

DAY = 86_400.0
COLUMNS = ["a", "b", "place"]

JOB = """
name: late
data: {path: replaced.parquet, drop: [id, time]}
target: late
steps: [{OneHotEncoder: {columns: [place]}}]
model: LogisticRegression
output: out
"""

POLICY = """
model: store
log: ops.db
maturity: fly
rows: {path: rows, time: time}
watch:
  quality: {labels: labels, on: id, label: late, within: 1d, error: brier, false_alarms: 1/100000}
retrain: {job: job.yaml, rows: {last: 3d}, at_most: 1/2d}
gate:
  better: {metric: log_loss, by: 0, confidence: 0.95, least_rows: 300}
  slices: {by: [place], worse_by_at_most: 0.01, least_rows: 100}
  also: {baseline: true, schema: same}
rollback: {quality: worse, within: 2d}
"""


def rows_of(day: int, rows: int = 400, *, sign: float = 1.0) -> tuple[pa.Table, pa.Table]:
    """The rows of a day, and their labels; a negative sign turns what they mean around."""
    draws = np.random.default_rng(1_000 + day)
    x = draws.normal(size=(rows, 2))
    late = draws.random(rows) < 1 / (1 + np.exp(-sign * (x @ np.array([2.0, -1.0]))))
    ids = (1_000 + day) * 10_000 + np.arange(rows)
    time = day * DAY + np.sort(draws.random(rows)) * DAY
    place = np.where(x[:, 0] > 0, "north", "south")
    landed = pa.table({"id": ids, "time": time, "a": x[:, 0], "b": x[:, 1], "place": place})
    return landed, pa.table({"id": ids, "late": np.where(late, "yes", "no")})


def pipeline() -> Any:
    return og.Pipeline([og.OneHotEncoder(columns=["place"]), og.LogisticRegression()])


def fitted(day: int = -5, *, sign: float = 1.0) -> Any:
    landed, labels = rows_of(day, 2_000, sign=sign)
    return pipeline().fit(landed.select(COLUMNS).append_column("late", labels["late"]), "late")


@dataclass
class World:
    """A folder with all of that."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, policy: str = POLICY) -> World:
        world = cls(folder)
        for name in ("rows", "labels"):
            (folder / name).mkdir(parents=True)
        (folder / "job.yaml").write_text(JOB)
        (folder / "policy.yaml").write_text(policy)
        world.store.promote(world.store.add(fitted()))
        return world

    @property
    def store(self) -> og.ModelStore:
        return og.ModelStore(self.folder / "store")

    def land(self, day: int, *, sign: float = 1.0, labels: bool = True, rows: int = 400) -> None:
        landed, known = rows_of(day, rows, sign=sign)
        pq.write_table(landed, self.folder / "rows" / f"{day}.parquet")
        if labels:
            pq.write_table(known, self.folder / "labels" / f"{day}.parquet")

    def loop(self, **options: Any) -> Loop:
        return Loop(self.folder / "policy.yaml", train_here=True, **options)

    def look(self, day: int) -> list[str]:
        """What a look at the end of a day decides."""
        return [decision["action"] for decision in self.loop().once((day + 1) * DAY)]
