"""`python -m bench features-store [--feast PYTHON] [--rows N]`: the feature store beside Feast, same rows.

Feast's pins differ from ours, so it runs in a Python of its own: `python -m venv feast; feast/bin/pip install
'feast[duckdb]'`, and `--feast feast/bin/python`. Redis is Debian's `redis-server`, left out without it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og
from bench.machine import machine
from outgrow.features import Entity, Source, as_of_join
from outgrow.testing.clusters import free_port

RESULTS = Path(__file__).parent / "results"
KEYS, WIDTH, ROWS, TURNS = 10_000, 20, 100_000, 300
MANY_KEYS = 300_000
NAMES = [f"f{at}" for at in range(WIDTH)]
END = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
PEER = Path(__file__).parent / "features_store_feast.py"
Fetch = Callable[[list[int]], Any]


def moments(n: int, random: np.random.Generator) -> pa.Array:
    """Times in the month before `END`."""
    ticks = int(END.timestamp() * 1e6) - random.integers(1, 30 * 86_400 * 10**6, n)
    return pa.array(ticks).cast(pa.timestamp("us", "UTC"))


def write_rows(folder: Path, rows: int, keys: int) -> None:
    """Rows of features, each of a key and a time, and rows that ask."""
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=rows) for name in NAMES}
    at = moments(rows, random)
    table = pa.table({"key": random.integers(0, keys, rows), "at": at, "written": at, **columns})
    pq.write_table(table, folder / "rows.parquet")
    asked = {"key": random.integers(0, keys, rows), "event_timestamp": moments(rows, random)}
    pq.write_table(pa.table(asked), folder / "asked.parquet")


def view(folder: Path) -> og.FeatureView:
    source = Source(str(folder / "rows.parquet"), "at", created_timestamp_column="written")
    return og.FeatureView("v", [Entity("key")], source, NAMES)


def timed(fetch: Fetch, count: int) -> dict[str, float]:
    """Milliseconds of fetching so many keys, at the median and the 99th percentile."""
    random = np.random.default_rng(1)
    taken = []
    for _ in range(TURNS):
        keys = random.integers(0, KEYS, count).tolist()
        began = time.perf_counter()
        fetch(keys)
        taken.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(taken[TURNS // 10 :], [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def join_seconds(folder: Path) -> float:
    began = time.perf_counter()
    as_of_join(og.read(folder / "asked.parquet"), view(folder)).to_arrow()
    return time.perf_counter() - began


def ours(folder: Path, online: str | None, name: str) -> dict[str, Any]:
    """Joins, materialises and looks up, in process and through a server."""
    with og.FeatureStore(folder / name, online=online) as store:
        store.apply(view(folder))
        join_seconds(folder)
        found: dict[str, Any] = {"join": join_seconds(folder)}
        began = time.perf_counter()
        store.materialize_incremental(END)
        found["materialise"] = time.perf_counter() - began

        def fetch(keys: list[int]) -> Any:
            return store.get_online_features("v", {"key": keys})

        found |= {f"online {count}": timed(fetch, count) for count in (1, 50)}
        found["alike"] = _alike(store)
        with _server(folder, store) as url, httpx.Client() as client:

            def ask(keys: list[int]) -> None:
                client.post(url, json={"rows": [{"key": key} for key in keys]}).raise_for_status()

            found |= {f"http {count}": timed(ask, count) for count in (1, 50)}
    found["many"] = _goal_materialise(folder, name, online)
    return found


def _alike(store: og.FeatureStore) -> int:
    """Of how many keys a server sees what a training row of that moment gets, to the bit."""
    keys = pa.table({"key": range(KEYS)})
    asked = keys.append_column("event_timestamp", pa.array([END] * KEYS, pa.timestamp("us", "UTC")))
    trained = store.get_historical_features(asked, "v").to_arrow().select(NAMES)
    served = store.get_online_features("v", keys, now=END).select(NAMES)
    bits = [np.column_stack([table[name].to_numpy() for name in NAMES]) for table in (trained, served)]
    return int((bits[0].view(np.int64) == bits[1].view(np.int64)).all(axis=1).sum())


@contextmanager
def _server(folder: Path, store: og.FeatureStore) -> Iterator[str]:
    """A linear model whose columns are the features, behind HTTP."""
    rows = og.read(folder / "rows.parquet").select(NAMES).head(1_000)
    model = folder / "model"
    og.Pipeline([og.SimpleImputer(), og.LinearRegression()]).fit(
        rows.append_column("y", rows["f0"]), "y"
    ).save(model, overwrite=True)
    port = free_port()
    words = ["serve", str(model), "--features", str(store.path), "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "outgrow", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            process.terminate()


def _wait(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"Nothing answers at {url}.")


@contextmanager
def _redis(folder: Path) -> Iterator[str | None]:
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            time.sleep(1)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def _feast(folder: Path, python: str) -> dict[str, Any]:
    settings = {"folder": str(folder), "names": NAMES, "keys": KEYS, "turns": TURNS, "end": END.isoformat()}
    words = [python, str(PEER), json.dumps(settings)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _goal_join(folder: Path, rows: int) -> float:
    """Seconds of a join of so many rows with as many, of one feature."""
    random = np.random.default_rng(2)
    at = moments(rows, random)
    table = pa.table({"key": random.integers(0, rows // 10, rows), "at": at, "x": random.normal(size=rows)})
    asked = pa.table({"key": random.integers(0, rows // 10, rows), "event_timestamp": moments(rows, random)})
    narrow = og.FeatureView("v", [Entity("key")], Source(table, "at"))
    began = time.perf_counter()
    as_of_join(asked, narrow).to_arrow()
    return time.perf_counter() - began


def _goal_materialise(folder: Path, name: str, online: str | None) -> float:
    """Keys a second, of many keys with a row each."""
    random = np.random.default_rng(4)
    columns = {column: random.normal(size=MANY_KEYS) for column in NAMES}
    path = folder / "many.parquet"
    pq.write_table(pa.table({"key": range(MANY_KEYS), "at": moments(MANY_KEYS, random), **columns}), path)
    many = og.FeatureView("many", [Entity("key")], Source(str(path), "at"), NAMES)
    with og.FeatureStore(folder / f"{name}-many", online=online) as store:
        store.apply(many)
        began = time.perf_counter()
        store.materialize_incremental(END)
        return MANY_KEYS / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feast", help="a Python that has Feast")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the largest join")
    options = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, ROWS, KEYS)
        found = {"outgrow, SQLite": ours(folder, None, "sqlite")}
        with _redis(folder) as address:
            if address is not None:
                found["outgrow, Redis"] = ours(folder, address, "redis")
        if options.feast:
            found["Feast, SQLite"] = _feast(folder, options.feast)
        join = _goal_join(folder, options.rows)
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    page = _page(found, join, options.rows, facts)
    (RESULTS / "features-store.md").write_text(page)
    print(page)


def _page(found: dict[str, dict[str, Any]], join: float, rows: int, facts: dict[str, str]) -> str:
    lines = [
        "# The feature store beside Feast",
        "",
        "Written by `python -m bench features-store`; the same rows for all, in one run.",
        f"{ROWS:,} rows that ask, {ROWS:,} rows of {WIDTH} features of {KEYS:,} keys, on Parquet. Lookups of",
        "1 and of 50 keys: milliseconds at the median / at the 99th percentile; through HTTP by one client,",
        "with the prediction of a linear model.",
        "",
        "| | join, rows/s | materialise, keys/s | 1 key | 50 keys | HTTP, 1 key | HTTP, 50 keys |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        cells = [f"{ROWS / each['join']:,.0f}", f"{KEYS / each['materialise']:,.0f}"]
        for kind in ("online 1", "online 50", "http 1", "http 50"):
            times = each.get(kind)
            cells.append("" if times is None else f"{times['p50']:.2f} / {times['p99']:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| goal | wanted | measured |", "|---|---|---|"]
    lines.append(f"| join of {rows:,} rows with as many | 1.5 s | {join:.2f} s |")
    limits = {"outgrow, SQLite": 1.0, "outgrow, Redis": 2.0}
    for name, limit in limits.items():
        if name in found:
            each = found[name]
            p99 = each["online 50"]["p99"]
            lines.append(f"| {name}: 50 keys x {WIDTH}, p99 | {limit:.0f} ms | {p99:.2f} ms |")
            rate = f"{each['many']:,.0f}"
            lines.append(f"| {name}: materialise {MANY_KEYS:,} keys | 100,000 keys/s | {rate} |")
            lines.append(f"| {name}: offline = online to the bit | {KEYS:,} keys | {each['alike']:,} |")
    lines += ["", "; ".join(f"{name}: {fact}" for name, fact in facts.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
