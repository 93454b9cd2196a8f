"""How cost grows with rows, workers and the size of states: `python -m bench.scaling`.

Fits and scoring run on standalone clusters of one and of two workers, each with one core, here. What an
all-reduce costs is measured between processes that are joined as the ranks of a fit are. The results go to
bench/results/scaling/scaling.json, and docs/scaling.md draws on them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og
from bench.data import FEATURES, table_path
from bench.machine import machine
from outgrow.artifact import pack
from outgrow.engine.ranks.rendezvous import join
from outgrow.stats.state import to_tree
from outgrow.testing.clusters import LOOPBACK, PLAIN, standalone, wait_until

ROWS = 500_000
TURNS = 5
MEMORY = 320 << 20
"""What a rank may hold where data is to be four times that."""

GROUP = 50_000
STATES = (31, 1_000, 100_000, 1_000_000, 10_000_000)
RANKS = (2, 4, 8)
PORTS = (20_000, 30_000)
RESULTS = Path(__file__).parent / "results" / "scaling" / "scaling.json"


def main() -> None:
    """Measure everything and write it down."""
    found: dict[str, Any] = {"machine": machine(), "allreduce": allreduces()}
    print_allreduces(found["allreduce"])
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2):
            found[f"workers {workers}"] = on_cluster(workers, Path(folder))
        found["beyond memory"] = beyond_memory(Path(folder))
    found["efficiency"] = efficiency(found)
    print(json.dumps(found["efficiency"], indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


# ---- clusters --------------------------------------------------------------------------------------------


def on_cluster(workers: int, folder: Path) -> dict[str, Any]:
    """Seconds of each piece of work at 1x, 2x and 4x rows on so many workers; the median of some turns."""
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": LOOPBACK}
    with standalone(folder / str(workers), workers=workers, memory="2g") as cluster:
        session = _session(cluster.url)
        wait_until("the executors", lambda: len(cluster.executors()) == workers)
        time.sleep(2)
        try:
            return {name: _seconds(work, session, workers) for name, work in WORK.items()} | {
                "empty": _empty(session, workers)
            }
        finally:
            session.stop()


def _session(url: str) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(url).config("spark.executor.memory", "1g")
    for key, value in PLAIN.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def _seconds(work: Callable[[Any], None], session: Any, workers: int) -> dict[str, list[float]]:
    engine = og.Spark(session, ranks=workers)
    found = {}
    for times in (1, 2, 4):
        data = og.read(str(table_path("numbers", ROWS * times)), engine=engine)
        work(data)
        found[f"{times}x"] = _timed(lambda data=data: work(data))  # type: ignore[misc]
        print(f"{workers} worker(s), {times}x rows, {work.__name__}: {median(found[f'{times}x']):.2f} s")
    return found


def logistic(data: og.Dataset) -> None:
    og.Pipeline([og.StandardScaler(), og.LogisticRegression()]).fit(data, "label")


def kmeans(data: og.Dataset) -> None:
    og.KMeans(n_clusters=20, max_iter=20, tol=0, random_state=0).fit(data.select(FEATURES))


def scoring(data: og.Dataset) -> None:
    model = _scored_with()
    folder = tempfile.mkdtemp()
    try:
        og.write_parquet(model.predict(data), f"{folder}/scores")
    finally:
        shutil.rmtree(folder)


def _scored_with() -> Any:
    path = str(table_path("numbers", ROWS))
    return og.LinearRegression().fit(og.read(path).sample(0.01), "label")


WORK = {"logistic": logistic, "kmeans": kmeans, "scoring": scoring}


def _empty(session: Any, workers: int) -> dict[str, list[float]]:
    """A fit that does nothing, beside Spark's own barrier job that does nothing."""
    data = og.dataset(pa.table({"a": [1.0, 2.0]}), engine=og.Spark(session, ranks=workers))

    def fit() -> None:
        data.engine.fit(lambda shard: 0, data.scan)

    def barrier() -> None:
        session.range(0, workers, 1, workers).mapInArrow(_nothing, "id bigint", barrier=True).toArrow()

    fit(), barrier()
    return {"fit": _timed(fit, 3 * TURNS), "barrier job": _timed(barrier, 3 * TURNS)}


def _nothing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def _timed(work: Callable[[], None], turns: int = TURNS) -> list[float]:
    found = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        found.append(round(time.perf_counter() - began, 3))
    return found


def efficiency(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Strong: the same rows on twice the workers. Weak: twice the rows on twice the workers."""
    one, two = found["workers 1"], found["workers 2"]
    empty = {
        f"{n} worker(s)": median(each["empty"]["fit"]) - median(each["empty"]["barrier job"])
        for n, each in ((1, one), (2, two))
    }
    return {
        "strong (4x rows)": {
            name: round(median(one[name]["4x"]) / median(two[name]["4x"]) / 2, 2) for name in WORK
        },
        "weak (1x to 2x rows)": {
            name: round(median(one[name]["1x"]) / median(two[name]["2x"]), 2) for name in WORK
        },
        "weak (2x to 4x rows)": {
            name: round(median(one[name]["2x"]) / median(two[name]["4x"]), 2) for name in WORK
        },
        "an empty fit beyond an empty barrier job, s": {
            name: round(value, 3) for name, value in empty.items()
        },
    }


# ---- more data than memory -------------------------------------------------------------------------------


def beyond_memory(folder: Path) -> dict[str, Any]:
    """Seconds per million rows: for rows that stay in memory, and for four times what two ranks may hold."""
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": LOOPBACK}
    with standalone(folder / "beyond", workers=2, memory="2g") as cluster:
        session = _session(cluster.url)
        wait_until("the executors", lambda: len(cluster.executors()) == 2)
        time.sleep(2)
        try:
            large = _per_million(session, folder, 4 * 2 * MEMORY, MEMORY)
            small = _per_million(session, folder, 2 * MEMORY // 4, "2GiB")
        finally:
            session.stop()
    found: dict[str, Any] = {
        "rank may hold, MiB": MEMORY >> 20,
        "in memory": small,
        "four times the memory": large,
    }
    found["ratio"] = round(large["s per million rows"] / small["s per million rows"], 2)
    print(json.dumps(found, indent=1))
    return found


def _per_million(session: Any, folder: Path, nbytes: int, memory: int | str) -> dict[str, float]:
    rows = nbytes // (8 * len(FEATURES))
    path = _rows(folder, rows)
    data = og.read(str(path), engine=og.Spark(session, memory_per_rank=memory))
    model = og.Pipeline([og.StandardScaler(), og.LogisticRegression()])
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        model.fit(data, "label")
        seconds.append(time.perf_counter() - began)
    path.unlink()
    record = model.fit_record_
    return {
        "rows": rows,
        "s per million rows": round(min(seconds) / rows * 1e6, 3),
        "predicted peak, MiB": (record.predicted_peak or 0) >> 20,
        "measured peak, MiB": record.measured_peak >> 20,
        "spilled, MiB": record.spilled >> 20,
    }


def _rows(folder: Path, rows: int) -> Path:
    """Rows in small row groups: a rank that may hold little must not have to decode much at once."""
    path = folder / f"rows-{rows}.parquet"
    rng = np.random.default_rng(rows)
    slope = rng.normal(size=len(FEATURES))
    writer = None
    for start in range(0, rows, GROUP):
        X = rng.standard_normal((min(GROUP, rows - start), len(FEATURES)))
        label = (X @ slope + rng.logistic(size=len(X)) > 0).astype(np.int64)
        table = pa.table({**dict(zip(FEATURES, X.T, strict=True)), "label": label})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


# ---- all-reduce ------------------------------------------------------------------------------------------


def allreduces() -> list[dict[str, float]]:
    """Seconds of one all-reduce between processes, and the bytes that all ranks together send."""
    found = []
    for ranks in RANKS:
        for size in STATES:
            message = len(pack(to_tree(np.zeros(size))))
            seconds = _allreduce(ranks, size)
            found.append(
                {"ranks": ranks, "floats": size, "seconds": seconds, "bytes": 2 * (ranks - 1) * message}
            )
    return found


def _allreduce(ranks: int, size: int) -> float:
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    secret = os.urandom(32)
    processes = [
        spawn.Process(target=_rank, args=(rank, ranks, size, secret, answers)) for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    seconds = float(answers.get(timeout=120))
    for process in processes:
        process.join(60)
    return seconds


def _rank(rank: int, ranks: int, size: int, secret: bytes, answers: Any) -> None:
    comm = join(rank, [LOOPBACK] * ranks, secret, ports=PORTS, joining=60, deadline=60)
    turns = 200 if size <= 1_000 else 20 if size <= 100_000 else 3
    times = []
    for _ in range(turns + 1):
        state = np.zeros(size)
        comm.allreduce(None)  # all begin together
        began = time.perf_counter()
        comm.allreduce(state)
        times.append(time.perf_counter() - began)
    if rank == 0:
        answers.put(median(times[1:]))
    comm.close()


def print_allreduces(found: list[dict[str, float]]) -> None:
    for each in found:
        print(
            f"{each['ranks']:2d} ranks, {each['floats']:>10,} floats: {1000 * each['seconds']:9.2f} ms, "
            f"{each['bytes'] / 1e6:9.2f} MB sent"
        )


if __name__ == "__main__":
    main()
