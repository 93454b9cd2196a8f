"""A small world for boards: a model that is fitted, promoted, watched until it drifts, and served."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

import outgrow as og
import web
from outgrow.board.app import application
from outgrow.board.server import options
from outgrow.board.sources import Sources
from outgrow.monitor.alerts import Alerts
from outgrow.monitor.look import Labels, labelled
from outgrow.monitor.telling import raise_alerts
from outgrow.serve.http.app import application as serving
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings

START = np.datetime64("2026-03-02T00:00:00")
COLUMNS = ["delay", "wind", "carrier"]
HOSTILE = "<img src=x onerror=alert(1)>"
"""The name of a column, which no page may take for more than text."""
TOKEN = "let-me-in"


def flights(hours: np.ndarray, shift: float = 0.0, *, per_hour: int = 300, seed: int = 0) -> pa.Table:
    """Flights of some hours; the delays are longer by a shift, and what is late stays the same."""
    random = np.random.default_rng(seed)
    hour = np.repeat(hours, per_hour)
    rows = len(hour)
    delay, wind = random.normal(shift, 1, rows), random.gamma(3.0, 2.0, rows)
    late = random.random(rows) < 1 / (1 + np.exp(-2 * (delay - shift)))
    return pa.table(
        {
            "id": np.arange(rows) + seed * 1_000_000,
            "time": START + (hour * 3600 + random.integers(0, 3600, rows)).astype("timedelta64[s]"),
            "delay": delay,
            "wind": wind,
            "carrier": random.choice(
                ["AA", "DL", "UA"], rows, p=[0.5, 0.3, 0.2] if shift < 1 else [0.2, 0.2, 0.6]
            ),
            "late": np.where(late, "yes", "no"),
            HOSTILE: random.normal(0, 1, rows),
        }
    )


@dataclass
class World:
    """A folder with a log, a store and what was asked."""

    folder: Path
    log: og.EventLog

    @property
    def store(self) -> og.ModelStore:
        return og.ModelStore(self.folder / "late")

    @classmethod
    def made(cls, folder: Path) -> World:
        world = cls(folder, og.EventLog(folder / "ops.db"))
        pq.write_table(
            flights(np.arange(24), seed=9).drop_columns(["id", "time"]), folder / "flights.parquet"
        )
        world._register()
        world._watch()
        world._rank()
        return world

    def _register(self) -> None:
        """Two versions, of which the second is promoted on the evidence of a gate, and a canary."""
        store = og.ModelStore(self.folder / "late", log=self.log)
        rows = og.read(self.folder / "flights.parquet")
        og.track.start(self.log, sample=0)
        for C, by in ((0.01, "ada"), (1.0, "grace")):
            columns = [*COLUMNS, HOSTILE]
            pipe = og.Pipeline([og.OneHotEncoder(columns=["carrier"]), og.LogisticRegression(C=C)])
            model = pipe.fit(rows.select(*columns, "late"), "late")
            model.evaluate(rows, "late")
            model.save(self.folder / f"model-{by}", reference=rows)
            number = store.add(og.load(self.folder / f"model-{by}"), by=by)
            if number == 1:
                store.promote(number, why="the first one", by=by)
        og.track.stop()
        body = {
            "candidate": 2,
            "champion": 1,
            "verdict": "pass",
            "because": "log_loss is better by 0.012 (0.004 to 0.020) on 2,400 rows.",
            "checks": [{"name": "better", "verdict": "pass", "because": "0.004 is above 0."}],
        }
        gate = self.log.append("gate.judged", "late", body, by="outgrow loop")
        store.set_alias("shadow", 2, why="looks well", by="grace")
        store.set_alias("canary", 2, percent=5, why="agrees with the champion", by="grace")
        store.promote(2, why=f"better, says {HOSTILE}", by="grace", evidence=gate.digest)
        store.add(og.load(self.folder / "model-ada"), by="ada", description="the old one again")

    def _watch(self) -> None:
        """Twelve hours of which the last four drift, with alerts, and labels of most of it."""
        monitor = og.Monitor(self.folder / "model-grace", self.log, window="1h", name="late")
        asked = pa.concat_tables([flights(np.arange(8), seed=1), flights(np.arange(8, 12), 2.0, seed=2)])
        model, frame = og.load(self.folder / "model-grace"), asked.to_pandas()
        frame["prediction"], frame["model_version"] = model.predict(frame), "2"
        frame[["probability_no", "probability_yes"]] = np.asarray(model.predict_proba(frame))
        predictions = self.folder / "asked"
        predictions.mkdir()
        frame.drop(columns="late").to_parquet(predictions / "0.parquet")
        monitor.fold_files(predictions)
        monitor.judge(open_too=True)
        labels = self.folder / "labels.parquet"
        pq.write_table(asked.select(["id", "late"]).slice(0, 3_000), labels)
        quality = labelled(monitor, predictions, Labels(labels, ("id",), "late", baseline=0.15), "time")
        raise_alerts(Alerts(self.log, "late"), monitor.view, monitor.kinds(), quality)

    def _rank(self) -> None:
        """A fit on four ranks, of which one is slow."""
        run = "f" * 32
        began = {"kind": "fit", "name": "KMeans", "engine": {"name": "processes[4]"}, "estimator": "KMeans"}
        self.log.append("run.began", run, began)
        for turn in (1, 2, 3):
            ranks = [
                {
                    "rank": rank,
                    "host": f"node-{rank // 2}",
                    "rows": turn * 50_000,
                    "seconds": turn * (4.0 if rank == 2 else 1.0),
                    "rows_per_second": 12_500.0 if rank == 2 else 50_000.0,
                    "memory": (200 + 10 * rank) * 2**20,
                }
                for rank in range(4)
            ]
            self.log.append("run.ranks", run, {"stage": "fit KMeans", "ranks": ranks, "stragglers": [2]})
        self.log.append("run.sampled", run, {"cpu": 1.5, "resident_bytes": 2**28, "machine_cpu": 0.8})

    @contextmanager
    def served(self) -> Iterator[str]:
        """A real server of the store, which was asked some; its address."""
        app = serving(Settings({"late": Model(str(self.folder / "late"))}))
        with in_a_thread(uvicorn.Config(app, port=0, log_level="error", ws="none")) as url:
            rows = flights(np.arange(1), per_hour=5).select([*COLUMNS, HOSTILE]).to_pylist()
            for _ in range(20):
                assert web.post(f"{url}/predict", json={"rows": rows}).status_code == 200
            yield url

    @contextmanager
    def shown(self, *servers: str, token: str | None = TOKEN) -> Iterator[str]:
        """A real board; its address."""
        sources = Sources(self.log, (str(self.folder / "late"),), servers)
        app = application(sources, token=token)
        with in_a_thread(uvicorn.Config(app, **options("127.0.0.1", 0))) as url:
            yield url


@contextmanager
def in_a_thread(config: Any) -> Iterator[str]:
    """A server of ASGI on a free port; its address."""
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join()
