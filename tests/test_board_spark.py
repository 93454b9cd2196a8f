"""The board while a fit goes on on Spark: the run appears, its ranks tell what they do, it ends finished."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from playwright.sync_api import expect

import outgrow as og
from boards import in_a_thread
from chromium import chromium
from outgrow.board.app import application
from outgrow.board.server import options
from outgrow.board.sources import Sources
from outgrow.engine.activity import Activity, leave, observe

SECONDS = 60
"""A page may take its time beside other tests."""


class Held:
    """No work ends before the page has shown it, however slow that is."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def began(self, activity: Activity) -> None:
        pass

    def noted(self, activity: Activity, facts: dict[str, Any]) -> None:
        pass

    def ended(self, activity: Activity, error: BaseException | None) -> None:
        self.seen.wait(2 * SECONDS)


def test_a_fit_on_spark_is_seen_while_it_goes_on(spark: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "rows"
    path.mkdir()
    for part in range(2):
        columns = {f"x{j}": random.normal(size=60_000) for j in range(12)}
        pq.write_table(pa.table(columns), path / f"{part}.parquet")
    held = Held()
    observe(held)
    log = og.track.start(tmp_path / "ops.db", sample=0)
    rows = og.read(path, engine=og.Spark(spark))
    model = og.KMeans(300, max_iter=300, tol=0.0, random_state=0)
    work = threading.Thread(target=model.fit, args=(rows,))
    app = application(Sources(og.EventLog(tmp_path / "ops.db")))
    try:
        with (
            in_a_thread(uvicorn.Config(app, **options("127.0.0.1", 0))) as url,
            chromium() as browser,
        ):
            page = browser.new_page()
            page.set_default_timeout(1_000 * SECONDS)
            page.goto(url)
            expect(page.locator("header, h1").first).to_be_visible()
            page.evaluate("window.stays = true")
            work.start()
            page.locator("tbody tr", has_text="KMeans").click()
            expect(page.locator(".dot.busy")).to_be_visible()
            page.locator("body").press("c")
            ranks = page.get_by_role("table", name="Ranks").locator("tbody tr")
            expect(ranks).to_have_count(2, timeout=1_000 * SECONDS)
            curve = page.locator("figure path.curve").first
            expect(curve).to_be_attached(timeout=1_000 * SECONDS)
            assert work.is_alive()  # they were told before the fit ended
            held.seen.set()
            work.join(SECONDS)
            assert not work.is_alive()
            assert page.evaluate("window.stays")
            page.locator("body").press("r")
            done = page.locator("tbody tr", has_text="KMeans")
            expect(done).to_contain_text("finished", timeout=1_000 * SECONDS)
    finally:
        held.seen.set()
        leave(held)
        if work.is_alive():
            work.join()
        og.track.stop()
    (record,) = [record for record in log.since(0, kinds=("run.began",)) if record.body["name"] == "KMeans"]
    told = [dict(one.body) for one in log.since(0, kinds=("run.ranks",), subject=record.subject)]
    assert [rank["rank"] for rank in told[-1]["ranks"]] == [0, 1]
