"""Six years of a served model in minutes: four real ones without decay, then drift, poison, a bad turn.

python examples/loop/run.py [--out out/loop] [--picture docs/images/loop.svg]

The rows are people of the US Census (ACS, Massachusetts 2015-18) in the package nannyml, which is not
imported. The years 2019 and 2020 are people of the years before, with what happens to them made up here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from timeline import draw

import outgrow as og
from outgrow.testing.clusters import free_port

HERE = Path(__file__).parent
MONTH = 30 * 86_400.0
START = int(np.ceil(1_420_070_400 / MONTH)) * MONTH  # the first whole window of 2015
REAL, MONTHS, ROWS = 48, 72, 2_500
RECESSION, POISON, BOOM, BOOM_ENDS = 48, 55, 60, 64
"""Months in which something begins; poison is in the labels of one month only."""
REQUEST_ROWS, REQUESTS, REQUESTS_OF_SHADOWS = 250, 8, 45


def people() -> pa.Table:
    """All rows, by year."""
    spec = importlib.util.find_spec("nannyml")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("The rows are in the package nannyml. Install it with: pip install --no-deps nannyml")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    first = pq.read_table(folder / "employment_MA_reference.pq")
    later = pq.read_table(folder / "employment_MA_analysis.pq")
    later = later.join(pq.read_table(folder / "employment_MA_analysis_target.pq"), "id")
    parts = [plain(table.drop_columns(["prediction", "predicted_probability"])) for table in (first, later)]
    return pa.concat_tables([parts[0], parts[1].select(parts[0].schema.names)])


def plain(table: pa.Table) -> pa.Table:
    """Text as text."""
    columns = {name: table[name] for name in table.schema.names}
    return pa.table(
        {k: v.cast(pa.string()) if pa.types.is_dictionary(v.type) else v for k, v in columns.items()}
    )


def months(rows: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
    """By month, the rows that are scored and the labels that land after them."""
    draws = np.random.default_rng(0)
    for month in range(MONTHS):
        year = 2015 + month // 12
        of_year = rows.filter(pc.equal(rows["year"], year if month < REAL else 2017 + month % 2))
        taken = of_year.take(draws.permutation(of_year.num_rows)[:ROWS])
        ids = pa.array(month * 1_000_000 + np.arange(ROWS))
        moments = START + (month + np.sort(draws.random(ROWS))) * MONTH
        employed = happened(taken, month, draws)
        landed = taken.drop_columns(["id", "year", "employed"])
        yield (
            landed.append_column("id", ids).append_column("time", pa.array(moments)),
            pa.table({"id": ids, "employed": employed}),
        )


def happened(rows: pa.Table, month: int, draws: np.random.Generator) -> np.ndarray:
    """Who has work: as it was, and past the real years with what is made up."""
    employed = np.asarray(rows["employed"]).copy()
    school = np.asarray(rows["SCHL"].to_pylist(), dtype=object)
    age = np.asarray(rows["AGEP"])
    if month >= RECESSION:  # most of those without a degree lose their work, and it stays so
        short = np.array([not str(level).isdigit() or int(level) < 21 for level in school])
        employed[short & (draws.random(ROWS) < 0.7)] = 0
    if BOOM <= month < BOOM_ENDS:  # for some months, most people past 55 are called back
        employed[(age > 55) & (draws.random(ROWS) < 0.7)] = 1
    return 1 - employed if month == POISON else employed


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """A server of the store, with a log of what it answered."""
    words = ["serve", str(folder / "store"), "--port", str(port), "--log", str(folder / "predictions")]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "outgrow", *words], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


class Load:
    """Requests one after the other, of the rows of the month; and how they were answered."""

    def __init__(self, url: str) -> None:
        self.url, self.bodies, self.answers = url, [b""], Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def ask(self, rows: pa.Table, more: int) -> None:
        """Ask about these rows from now on; comes back after some more answers."""
        lists = rows.drop_columns(["id", "time"]).to_pylist()
        starts = range(0, len(lists), REQUEST_ROWS)
        self.bodies = [json.dumps({"rows": lists[k : k + REQUEST_ROWS]}).encode() for k in starts]
        if not self._thread.is_alive():
            self._thread.start()
        until = self.answers.total() + more
        while self.answers.total() < until:
            time.sleep(0.02)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            body = self.bodies[number % len(self.bodies)]
            request = urllib.request.Request(
                f"{self.url}/predict", body, {"content-type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    self.answers[answer.status, json.load(answer)["version"]] += 1
            except (OSError, ValueError) as error:
                self.answers[str(error), ""] += 1
            time.sleep(0.02)


def outgrow(*words: str) -> None:
    print("$ outgrow", *words, flush=True)
    subprocess.run([sys.executable, "-m", "outgrow", *words], check=True)


def say(kind: str, body: dict[str, Any]) -> None:
    """What people want to see of the log."""
    if kind == "decision" and body["action"] not in ("wait", "judge"):
        print(f"  {body['action']}: {body['because']}", flush=True)
    elif kind == "gate.judged" and body["verdict"] != "cannot say":
        print(f"  the gate says {body['verdict']}: {body['because']}", flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument(
        "--out", default="out/loop", help="a folder; what an earlier run left there is removed"
    )
    words.add_argument("--picture", help="where to draw the timeline; by default in the folder")
    options = words.parse_args()
    folder = Path(options.out).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("rows", "labels"):
        (folder / name).mkdir(parents=True)
    rows = people()
    of_2015 = rows.filter(pc.equal(rows["year"], 2015))
    first = of_2015.slice(0, 20_000).drop_columns(["year"])
    pq.write_table(first.append_column("time", pa.array(np.zeros(len(first)))), folder / "first.parquet")
    port = free_port()
    shutil.copy(HERE / "job.yaml", folder / "job.yaml")
    policy = (HERE / "policy.yaml").read_text().replace(":8000", f":{port}")
    (folder / "policy.yaml").write_text(policy)
    os.chdir(folder)
    outgrow("run", "job.yaml")
    outgrow("promote", "store", "first/model")
    live(folder, rows.filter(pc.invert(pc.is_in(rows["id"], first["id"]))), port)
    outgrow("loop", "policy.yaml", "--replay", "ops.db")
    picture = Path(HERE, options.picture) if options.picture else folder / "loop.svg"
    draw(folder, picture, real=REAL, start=START, month=MONTH)
    print(f"The timeline is in {picture}.")


def live(folder: Path, rows: pa.Table, port: int) -> None:
    """The months, one after the other, with a server under load all the time."""
    loop = og.Loop("policy.yaml")
    with server(folder, port) as url:
        load = Load(url)
        try:
            for month, (landed, labels) in enumerate(months(rows)):
                pq.write_table(landed, f"rows/{month:03d}.parquet")
                # the log of the server is written after 10,000 rows, which a shadow is judged by
                load.ask(landed, REQUESTS_OF_SHADOWS if "shadow" in loop.store.aliases else REQUESTS)
                pq.write_table(labels, f"labels/{month:03d}.parquet")
                print(f"{2015 + month // 12}-{month % 12 + 1:02d}", dict(load.answers), flush=True)
                loop.once(START + (month + 1) * MONTH + 3_601, listen=say)
        finally:
            load.end()
    answers = {f"{status} {version}": count for (status, version), count in sorted(load.answers.items())}
    failed = sum(count for (status, _), count in load.answers.items() if status != 200)
    Path("load.json").write_text(json.dumps({"answers": answers, "failed": failed}))
    print(f"{load.answers.total():,} requests, {failed} failed.")


if __name__ == "__main__":
    main()
