"""Make the pictures of docs/board.md: `python scripts/board_images.py` (needs Chromium)."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import uvicorn
from playwright.sync_api import Browser, sync_playwright

import outgrow as og
from outgrow.board.app import application
from outgrow.board.server import options
from outgrow.board.sources import Sources

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    path = Path(tempfile.mkdtemp()) / "ops.db"
    running, searched = record(path)
    with shown(path) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        take(
            browser,
            f"{address}/#runs?view=parallel&metric=metrics.log_loss&filter=kind+%3D+'fit'",
            "board",
            "light",
        )
        take(browser, f"{address}/#search?run={searched[:12]}", "board-search", "light")
        take(browser, f"{address}/#runs?run={running[:12]}", "board-run", "dark")
        browser.close()


def record(path: Path) -> tuple[str, str]:
    """Fits, a search, and a run that goes on; the ids of the last two."""
    draw = np.random.default_rng(0)
    rows = 6_000
    wind, hour = draw.gamma(3.0, 4.0, rows), draw.integers(5, 24, rows).astype(float)
    late = draw.random(rows) < 1 / (1 + np.exp(-(0.15 * hour + 0.08 * wind - 4)))
    flights = pa.table({"wind": wind, "hour": hour, "late": late})
    og.track.start(path, sample=0.5)
    for depth in (2, 4, 6):
        for rate in (0.03, 0.1, 0.3):
            model = og.GradientBoostingClassifier(n_estimators=25, max_depth=depth, learning_rate=rate)
            model.fit(flights, "late").evaluate(flights, "late")
    space = {"learning_rate": {"low": 1e-2, "high": 1.0, "log": True}, "max_depth": {"low": 2, "high": 7}}
    search = {"metric": "log_loss", "trials": 24, "seed": 1, "workers": 1, "refit": False}
    og.tune(og.GradientBoostingClassifier(n_estimators=10), flights, "late", space=space, **search)
    with og.track.run("embeddings", team="flights") as run:
        network(run, draw)
        og.track.stop()  # the run does not end: it is shown as under way
    log = og.EventLog(path)
    (searched,) = og.runs("kind = 'tune'", log=log)["run"].to_pylist()
    return str(run.id), searched


def network(run: Any, draw: np.random.Generator) -> None:
    """What a training loop of one's own records.

    Parameters
    ----------
    run : under way.
    draw : of noise.
    """
    for step in range(80):
        loss = 0.35 + 0.6 * np.exp(-step / 18) + 0.012 * draw.normal()
        held = 0.41 + 0.55 * np.exp(-step / 16) + 0.008 * draw.normal()
        run.log_metrics(
            {"loss": loss, "valid_loss": held, "accuracy": 0.84 - 0.3 * np.exp(-step / 20)}, step=step
        )
        time.sleep(0.06)


@contextmanager
def shown(path: Path) -> Iterator[str]:
    """A board of a log, at its address."""
    server = uvicorn.Server(
        uvicorn.Config(application(Sources(og.EventLog(path))), **options("127.0.0.1", 0))
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def take(browser: Browser, url: str, name: str, scheme: str) -> None:
    """A picture of a page.

    Parameters
    ----------
    browser : that looks.
    url : of the page.
    name : of the file.
    scheme : 'light' or 'dark'.
    """
    with browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(url)
        page.locator("figure svg").first.wait_for()
        page.wait_for_timeout(6_000)  # what matters is computed after the rest is drawn
        page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
