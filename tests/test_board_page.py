"""The board in a real browser: runs, curves while they grow, searches, plans; keys, phones, hostile names."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

import outgrow as og
from chromium import chromium, faint, overflow
from outgrow.board.app import application
from outgrow.board.server import options
from outgrow.board.sources import Sources

HOSTILE = "<img src=x onerror=alert(1)>"
random = np.random.default_rng(0)
X = random.normal(size=(200, 3))
Y = X @ [1.0, 2.0, 0.0] + random.normal(size=200)
FIT = """
import sys, time, numpy as np, outgrow as og
og.track.start(sys.argv[1], sample=0)
X = np.arange(400.0)[:, None]
with og.track.run("elsewhere") as run:
    og.Ridge().fit(X, X[:, 0])
    for step in range(100):
        run.log_metrics({"loss": 1 / (1 + step)}, step=step)
        time.sleep(0.05)
og.track.stop()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with fits, a search, and a plan that was met."""
    folder = tmp_path_factory.mktemp("board")
    log = og.track.start(folder / "ops.db", sample=0)
    for alpha in (0.1, 10.0, 1000.0):
        og.Ridge(alpha=alpha).fit(X, Y).evaluate(X, Y)
    with og.track.run(HOSTILE, **{"team": HOSTILE}) as run:
        run.log_params({"of": HOSTILE})
        for step in range(50):
            run.log_metrics({"loss": 1 / (1 + step)}, step=step)
    space = {"alpha": {"low": 1e-2, "high": 1e6, "log": True}, "fit_intercept": [True, False]}
    og.tune(og.Ridge(), X, Y, space=space, metric="rmse", trials=20, seed=1, workers=1, refit=False)
    og.track.stop()
    interval = {"value": 10.0, "low": 8.0, "high": 12.0}
    made = log.append(
        "plan.made", "late", {"job": "late.yaml", "seconds": interval, "advice": ["No cluster."]}
    )
    whole = {"seconds": 10.0, "memory": 1e9, "stages": {"fit": 8.0, "save": 2.0}}
    met = {"job": "late.yaml", "rows": 5, "run": None, "planned": whole, "took": {**whole, "seconds": 15.0}}
    log.append("plan.met", "late", met, cause=made.digest)
    log.close()
    return folder


@contextmanager
def shown(log: Path, port: int = 0) -> Iterator[str]:
    """A board of a log, at its address."""
    server = uvicorn.Server(
        uvicorn.Config(application(Sources(og.EventLog(log))), **options("127.0.0.1", port))
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[str]:
    with shown(folder / "ops.db") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, board: str) -> Iterator[Page]:
    """The list of runs in a window of its own; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    with browser.new_context(color_scheme="light", viewport={"width": 1400, "height": 900}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.goto(board)
        expect(page.get_by_role("table", name="Runs")).to_be_visible()
        yield page
    assert [text for text in complaints if "400" not in text] == []  # what a wrong filter is answered with


def rows(page: Page) -> list[str]:
    return page.locator("tbody tr").all_inner_texts()


def test_runs_are_listed_filtered_sorted_and_opened(page: Page, board: str) -> None:
    assert len(rows(page)) == 5
    page.get_by_label("Filter").fill("metrics.r2 > 0.5")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="r2").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("r2")
    assert "sort=-metrics.r2" in page.url
    assert "0.1" in rows(page)[0]
    page.get_by_label("Filter").fill("metrics.nothing > 0.5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No run has 'metrics.nothing'")
    page.goto(f"{board}/#runs?filter=state+%3D+'finished'&sort=began")  # what somebody was sent
    page.locator("tbody tr").first.click()
    expect(page.locator("h1")).to_have_text("Ridge")
    expect(page.get_by_text("Parameters")).to_be_visible()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(5)


def test_names_of_users_are_text(page: Page) -> None:
    page.get_by_text(HOSTILE).first.click()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("dd", has_text=HOSTILE)).to_have_count(2)
    with page.expect_download() as saved:
        page.get_by_role("button", name="SVG").first.click()
    drawing = Path(saved.value.path()).read_text()
    assert drawing.startswith("<svg")
    assert "var(" not in drawing
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").first.click()
    assert len(Path(saved.value.path()).read_text().splitlines()) == 51


def test_runs_are_compared_and_drawn_beside_each_other(page: Page) -> None:
    for row in (2, 3):
        page.locator("tbody tr").nth(row).get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare 2").click()
    expect(page.locator("h1")).to_have_text("2 runs compared")
    alpha = page.get_by_role("table", name="Parameters").locator("tr", has_text="alpha")
    assert alpha.locator("td").all_inner_texts() == ["alpha", "1,000", "10"]
    expect(page.get_by_role("table", name="Environment")).to_have_count(0)
    page.get_by_label("also what is the same").check()
    expect(page.get_by_role("table", name="Environment")).to_be_visible()
    page.get_by_role("link", name="All runs").click()
    page.get_by_role("button", name="Parallel coordinates").click()
    page.locator("figure path.curve").last.dispatch_event("pointermove", {"clientX": 300, "clientY": 300})
    expect(page.get_by_role("tooltip")).to_contain_text("Ridge")


def test_curves_grow_while_another_process_fits(page: Page, folder: Path) -> None:
    """The new run appears by itself; opened, its curve gets longer without a reload."""
    page.evaluate("window.stays = true")
    work = subprocess.Popen([sys.executable, "-c", FIT, str(folder / "ops.db")])
    try:
        page.locator("tbody tr", has_text="elsewhere").click(timeout=200_000)
        expect(page.locator(".dot.busy")).to_be_visible()
        curve = page.locator("figure[data-figure=loss] path.curve").last
        lengths = set()
        for _ in range(200):
            lengths.add(len((curve.get_attribute("d") or "").split("L")))
            if page.locator(".dot.busy").count() == 0:
                break
            page.wait_for_timeout(50)
        assert len(lengths) > 1
        expect(page.locator("h1 ~ span", has_text="finished")).to_be_visible(timeout=30_000)
        assert page.evaluate("window.stays")
    finally:
        assert work.wait(60) == 0


def test_trials_of_a_search(page: Page) -> None:
    page.keyboard.press("s")
    page.get_by_role("table", name="Searches").locator("tbody tr").click()
    expect(page.get_by_role("table", name="Trials").locator("tbody tr")).to_have_count(20)
    figure = page.locator("figure[data-figure='What matters']")
    expect(figure.locator("text.ink").first).to_have_text("alpha", timeout=30_000)
    expect(page.locator("figure[data-figure=History] circle")).to_have_count(20)
    expect(page.locator("figure[data-figure=Settings] path.curve")).to_have_count(20)


def test_plans_beside_what_was_taken(page: Page) -> None:
    page.get_by_role("link", name="Plan").click()
    row = page.get_by_role("table", name="Runs of planned jobs").locator("tbody tr")
    expect(row).to_contain_text("1.50")
    expect(page.get_by_text("0 of 1")).to_be_visible()
    expect(page.get_by_text("No cluster.")).to_be_visible()


def test_keys(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter")).to_be_focused()
    page.keyboard.type("state")  # letters in a field are letters
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("tr[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="All runs")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("table", name="Runs")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_on_a_phone_and_a_screen(browser: Browser, board: str, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800}) as context:  # type: ignore[arg-type]
        page = context.new_page()
        for name in ("runs?view=parallel", "runs?run=last", "search", "plan", "runs?filter=x"):
            page.goto(f"{board}/#{name}")
            page.reload()
            expect(page.locator("main h1")).to_be_visible()
            for width in (390, 1400):
                page.set_viewport_size({"width": width, "height": 800})
                assert overflow(page) == 0, (name, width)
                assert faint(page) == [], (name, width)


def test_a_board_that_was_away_goes_on(browser: Browser, tmp_path: Path) -> None:
    """What was recorded meanwhile appears without a reload."""
    log = og.EventLog(tmp_path / "ops.db")
    log.append("run.began", "a" * 32, {"kind": "fit", "name": "first"})
    with browser.new_context() as context:
        page = context.new_page()
        with shown(tmp_path / "ops.db") as address:
            page.goto(address)
            expect(page.locator("tbody tr")).to_have_count(1)
            expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("#live")).to_have_text("away")
        log.append("run.began", "b" * 32, {"kind": "fit", "name": "second"})
        with shown(tmp_path / "ops.db", int(address.rpartition(":")[2])):
            expect(page.locator("tbody tr")).to_have_count(2, timeout=20_000)
            expect(page.locator("#live")).to_have_text("live")
