"""Make the pictures of docs/board.md: `python scripts/board_images.py` (needs Chromium)."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
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
    store = watch(path)
    with shown(path, store) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        take(
            browser,
            f"{address}/#runs?view=parallel&metric=metrics.log_loss&filter=kind+%3D+'fit'",
            "board",
            "light",
        )
        take(browser, f"{address}/#search?run={searched[:12]}", "board-search", "light")
        take(browser, f"{address}/#runs?run={running[:12]}", "board-run", "dark")
        take(browser, f"{address}/#drift?column=wind&start={last_window(address)}", "board-drift", "light")
        take(browser, f"{address}/#registry", "board-registry", "light")
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


def watch(path: Path) -> Path:
    """Two versions, of which the better is promoted, and a day of which the last hours drift; the store.

    Parameters
    ----------
    path : of the log.
    """
    log, folder = og.EventLog(path), path.parent
    store = og.ModelStore(folder / "late", log=log)
    learned = hours(np.arange(48), 0)
    for number, C in enumerate((0.001, 1.0), 1):
        model = og.LogisticRegression(C=C).fit(learned.select(["wind", "hour", "late"]), "late")
        model.save(folder / f"model-{number}", reference=learned)
        store.add(og.load(folder / f"model-{number}"), by="ada")
    store.promote(1, why="the first one", by="ada")
    store.set_alias("canary", 2, percent=5, why="agrees with the champion on 9 of 10 rows", by="grace")
    store.promote(2, why="log_loss is better by 0.012 (0.004 to 0.020)", by="grace")
    monitor = og.Monitor(folder / "model-2", log, window="1h", name="late")
    (folder / "asked").mkdir()
    for number, (span, shift) in enumerate(((np.arange(8, 20), 0.0), (np.arange(20, 24), 6.0)), 1):
        frame = hours(span, number, shift).drop_columns(["late"]).to_pandas()
        frame["prediction"], frame["model_version"] = og.load(folder / "model-2").predict(frame), "2"
        frame.to_parquet(folder / "asked" / f"{number}.parquet")
    monitor.fold_files(folder / "asked")
    monitor.judge(open_too=True)
    return folder / "late"


def hours(span: np.ndarray, seed: int, shift: float = 0.0) -> pa.Table:
    """Flights of some hours.

    Parameters
    ----------
    span : the hours.
    seed : of what is random.
    shift : by how much stronger the wind is.
    """
    random = np.random.default_rng(seed)
    hour = np.repeat(span, 300)
    wind = random.gamma(3.0, 4.0, len(hour)) + shift
    late = random.random(len(hour)) < 1 / (1 + np.exp(3 - 0.15 * wind))
    moment = np.datetime64("2026-03-02") + (hour * 3600 + random.integers(0, 3600, len(hour))).astype(
        "timedelta64[s]"
    )
    return pa.table({"time": moment, "wind": wind, "hour": (hour % 24).astype(float), "late": late})


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
def shown(path: Path, store: Path) -> Iterator[str]:
    """A board of a log and a store, at its address.

    Parameters
    ----------
    path, store : of them.
    """
    app = application(Sources(og.EventLog(path), (str(store),)))
    server = uvicorn.Server(uvicorn.Config(app, **options("127.0.0.1", 0)))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def last_window(address: str) -> float:
    """When the last window of the watched model began.

    Parameters
    ----------
    address : of the board.
    """
    begun: float = httpx.get(f"{address}/api/drift").json()["windows"][-1]["start"]
    return begun


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
