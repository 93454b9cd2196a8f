"""`python -m bench board`: how fast the live page is: first paint, event to pixel, a million points, memory.

A log of 10,000 runs is shown by `outgrow board` in a process of its own, and looked at by Chromium.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

import outgrow as og
from bench.machine import machine
from outgrow.board.curves import Curve
from outgrow.log.record import Fact

RESULTS = Path(__file__).parent / "results"
RUNS, POINTS, EVENTS, LOADS, OPEN = 10_000, 1_000_000, 100, 7, 20_000
CHROMIUM = "/usr/bin/chromium"
WATCH = """() => {
  window.seen = {};
  const look = () => {
    const curve = document.querySelector("figure path.curve");
    const count = curve ? curve.getAttribute("d").split("L").length : 0;
    if (count && !(count in window.seen)) window.seen[count] = performance.timeOrigin + performance.now();
    requestAnimationFrame(look);
  };
  look();
}"""


def main() -> None:
    facts = machine()
    folder = Path(tempfile.mkdtemp())
    os.environ["OUTGROW_CACHE"] = str(folder / "cache")
    log = folder / "ops.db"
    _write_runs(log)
    with shown(log) as (address, process), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        rows = [*_paint(page, address), *_pixels(page, address, log), *_open(page, log, process)]
        browser.close()
    rows += _points()
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    text = _table(rows, facts)
    (RESULTS / "board.md").write_text(text)
    print(text)


def _write_runs(log: Path) -> None:
    """10,000 runs with six parameters and four metrics, as a recorder writes them."""
    draw = random.Random(0)
    with og.EventLog(log) as opened:
        for start in range(0, RUNS, 1_000):
            facts = []
            for number in range(start, start + 1_000):
                run, now = f"{number:032x}", time.time() - 60 * (RUNS - number)
                parameters = {f"p{k}": round(draw.random(), 3) for k in range(6)}
                began = {"kind": "fit", "name": "HistGradientBoostingClassifier", "parameters": parameters}
                metrics = {name: draw.random() for name in ("log_loss", "accuracy", "roc_auc", "f1")}
                ended = {
                    "state": "finished",
                    "seconds": 10 * draw.random(),
                    "rows": 100_000,
                    "metrics": metrics,
                }
                facts.append(Fact.of(now, "run.began", run, began, "ada@host", None))
                facts.append(Fact.of(now + 10, "run.ended", run, ended, "ada@host", None))
            opened.store.append(facts)


@contextmanager
def shown(log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`outgrow board` of a log: its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-m", "outgrow", "board", "--log", str(log), "--port", str(port)]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urlopen(f"{address}/api/runs?limit=1", timeout=60).read()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _paint(page: Page, address: str) -> Iterator[dict[str, Any]]:
    first, full = [], []
    for _ in range(LOADS):
        page.goto("about:blank")
        page.goto(address)
        page.locator("tbody tr").nth(99).wait_for()
        painted, drawn = page.evaluate(
            """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime,
                      performance.getEntriesByName("drawn runs")[0].startTime]"""
        )
        first.append(painted)
        full.append(drawn)
    yield {"what": "first paint, 10,000 runs", "unit": "ms", "value": median(first), "aim": "300"}
    yield {
        "what": "the newest 100 of 10,000 runs in their table",
        "unit": "ms",
        "value": median(full),
        "aim": "300",
    }
    asking = Request(address, headers={"accept-encoding": "gzip"})
    with urlopen(address) as plain, urlopen(asking) as small:
        sizes = len(plain.read()) / 1000, len(small.read()) / 1000
    yield {"what": "the page, all of it", "unit": "kB", "value": sizes[0], "aim": "250"}
    yield {"what": "the page as it is sent", "unit": "kB", "value": sizes[1], "aim": ""}


def _pixels(page: Page, address: str, log: Path) -> Iterator[dict[str, Any]]:
    """From a metric that is logged, or a record that is appended, to the frame that draws it."""
    draw = random.Random(1)
    og.track.start(log, sample=0)
    sent: dict[int, float] = {}
    with og.track.run("by hand") as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.log_metrics({"loss": 0.9}, step=1)
        time.sleep(1)
        page.goto(f"{address}/#runs?run={run.id}")
        page.reload()
        page.locator("figure path.curve").first.wait_for()
        page.evaluate(WATCH)
        for number in range(EVENTS):
            sent[number + 3] = time.time() * 1000
            run.log_metrics({"loss": draw.random()}, step=number + 2)
            time.sleep(draw.uniform(0.1, 0.5))
        time.sleep(2)
    og.track.stop()
    seen = {int(count): moment for count, moment in page.evaluate("window.seen").items()}
    delays = sorted(_first_seen(seen, count) - moment for count, moment in sent.items())
    yield {
        "what": "a metric that is logged, to its pixel: median",
        "unit": "ms",
        "value": median(delays),
        "aim": "",
    }
    p95 = delays[int(0.95 * len(delays))]
    yield {
        "what": "a metric that is logged, to its pixel: 95th percentile",
        "unit": "ms",
        "value": p95,
        "aim": "500",
    }


def _first_seen(seen: dict[int, float], count: int) -> float:
    return min(moment for shown_count, moment in seen.items() if shown_count >= count)


def _open(page: Page, log: Path, process: psutil.Process) -> Iterator[dict[str, Any]]:
    """Memory of the server and of the page while 20,000 events come."""
    session = page.context.new_cdp_session(page)

    def held() -> tuple[float, float]:
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")["usedSize"]
        return process.memory_info().rss / 2**20, heap / 2**20

    def send(start: int) -> None:
        with og.EventLog(log) as opened:
            for first in range(start, start + OPEN // 2, 200):
                bodies = (
                    {"stage": "s", "unit": "step", "step": step, "metrics": {"loss": 1 / (1 + step)}}
                    for step in range(first, first + 200)
                )
                opened.store.append(
                    [Fact.of(time.time(), "run.passed", "f" * 32, body, "ada", None) for body in bodies]
                )
                time.sleep(0.05)
        page.wait_for_timeout(1_500)

    with og.EventLog(log) as opened:
        opened.append("run.began", "f" * 32, {"kind": "fit", "name": "long"})
    page.evaluate("location.hash = '#runs?run=' + 'f'.repeat(32)")
    page.locator("h1", has_text="long").wait_for()
    send(0)
    before = held()
    send(OPEN // 2)
    after = held()
    for name, first, last in zip(("server", "page"), before, after, strict=True):
        yield {"what": f"memory of the {name} after 10,000 events", "unit": "MiB", "value": first, "aim": ""}
        yield {"what": f"memory of the {name} after 20,000", "unit": "MiB", "value": last, "aim": "as before"}


def _points() -> Iterator[dict[str, Any]]:
    curve = Curve("fit", "loss", "step")
    values = np.random.default_rng(0).normal(size=POINTS).cumsum()
    for step, value in enumerate(values.tolist()):
        curve.add(step, float(step), value)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        curve.drawn(800, "step", None, None)
        times.append(1000 * (time.perf_counter() - began))
    yield {
        "what": "a million points thinned to 800 pixels",
        "unit": "ms",
        "value": median(times),
        "aim": "100",
    }


def _table(rows: list[dict[str, Any]], facts: dict[str, str]) -> str:
    lines = [
        "# The live page",
        "",
        "Written by `python -m bench board`; medians where nothing else is said. Chromium on the same cores.",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before and "
        f"{facts['load after']} after.",
        "",
        "| what | unit | measured | aim |",
        "|---|---|---:|---:|",
        *(f"| {row['what']} | {row['unit']} | {row['value']:,.4g} | {row['aim']} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
