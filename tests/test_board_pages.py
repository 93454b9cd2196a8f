"""Registry, drift, quality, serving, cluster and lineage on the board: what is answered and shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import outgrow as og
import web
from boards import HOSTILE, TOKEN, World
from chromium import chromium, faint, overflow
from outgrow.board.api import ANSWERS, cluster, drift, lineage, quality, registry, serving
from outgrow.board.servers import Look
from outgrow.board.sources import Sources
from outgrow.errors import ParameterError


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World.made(tmp_path_factory.mktemp("board"))
    yield made
    made.log.close()


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[str]:
    with world.served() as url:
        yield url


@pytest.fixture(scope="module")
def sources(world: World) -> Sources:
    return Sources(world.log, (str(world.folder / "late"),))


# ---- registry ----------------------------------------------------------------------------------------------


def test_moves_of_aliases_have_their_evidence(sources: Sources) -> None:
    answer = registry.answer(sources, {})
    (model,) = answer["models"]
    assert (model["name"], model["versions"], model["store"]) == ("late", 3, True)
    assert answer["aliases"]["canary"] == {"version": 2, "percent": 5}
    moves = {(move["alias"], move["version"]): move for move in answer["moves"]}
    promoted = moves["champion", 2]
    assert (promoted["before"], promoted["by"]) == (1, "grace")
    assert promoted["record"]["verdict"] == "pass"
    assert promoted["record"]["checks"][0]["because"] == "0.004 is above 0."
    assert moves["shadow", 2]["record"] is None
    versions = {version["version"]: version for version in answer["versions"]}
    assert versions[2]["aliases"] == ["canary", "champion", "shadow"]
    assert versions[2]["run"] != versions[1]["run"]
    assert versions[3]["description"] == "the old one again"


def test_a_log_alone_tells_of_models_and_moves_nothing(world: World) -> None:
    alone = Sources(world.log)
    answer = registry.answer(alone, {"model": "late"})
    assert (answer["store"], len(answer["moves"])) == (False, 4)
    with pytest.raises(ParameterError, match="--store FOLDER"):
        registry.rollback(alone, {"model": "late", "why": "worse"}, "ada")


def test_a_store_with_a_log_of_its_own_is_listed(world: World, tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "own")
    store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))), why="first")
    both = Sources(world.log, (str(store.path), str(world.folder / "late")))
    assert {model["name"] for model in registry.answer(both, {})["models"]} == {"own", "late"}
    assert [move["why"] for move in registry.answer(both, {"model": "own"})["moves"]] == ["first"]
    with pytest.raises(ParameterError, match="have one name"):
        Sources(world.log, (str(store.path), str(store.path)))


def test_a_rollback_is_recorded_with_who_and_why(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "mean")
    for value in (1.0, 2.0):
        store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.full(2, value))))
    sources = Sources(og.EventLog(tmp_path / "ops.db"), (str(store.path),))
    wish = {"model": "mean", "why": "  complaints ", "expected": 2}
    done = registry.rollback(sources, wish, "ada")
    assert (done["before"], done["version"], done["record"]["by"]) == (2, 1, "ada")
    last = store.history("champion")[-1]
    assert (last.version, last.by, last.why) == (1, "ada", "complaints")
    assert registry.answer(sources, {})["aliases"]["champion"]["version"] == 1
    assert registry.rollback(sources, {**wish, "to": "2", "expected": 1}, "ada")["version"] == 2


@pytest.mark.parametrize(
    ("wish", "by", "says"),
    [
        ({"why": " "}, "ada", "Say why and who"),
        ({"why": "worse"}, " ", "Say why and who"),
        ({"why": "w" * 3_000}, "ada", "Say why and who"),
        ({"why": "worse", "expected": 7}, "ada", "points to version 2 and not to version 7"),
        ({"why": "worse", "expected": "7"}, "ada", "is no version"),
        ({"why": "worse", "to": 99}, "ada", "has no version 99"),
        ({"why": "worse", "to": True}, "ada", "neither a version nor a time"),
        ({"why": "worse", "to": [1]}, "ada", "neither a version nor a time"),
        ({"why": "worse", "to": "yesterday"}, "ada", "is no time"),
        ({"why": "worse", "alias": "../x"}, "ada", "can be no alias"),
        ({"why": "worse", "model": "../late"}, "ada", "does not know where"),
    ],
)
def test_rollbacks_that_cannot_be(sources: Sources, wish: dict[str, Any], by: str, says: str) -> None:
    before = sources.log.last()
    with pytest.raises(ParameterError, match=says):
        registry.rollback(sources, {"model": "late"} | wish, by)
    assert sources.log.last() == before


def test_nobody_rolls_back_without_the_token(world: World) -> None:
    wish = {"model": "late", "why": "worse", "by": "ada"}
    before = world.log.last()
    with world.shown(token=None) as url:
        assert web.post(f"{url}/api/rollback", json=wish).status_code == 403
    with world.shown() as url:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        answers = [
            web.post(f"{url}/api/rollback", json=wish),
            web.post(f"{url}/api/rollback", json=wish, headers={"authorization": "Bearer let-me-ni"}),
            web.post(f"{url}/api/rollback", json=wish, headers={**bearer, "origin": "https://evil.example"}),
            web.get(f"{url}/api/rollback", headers=bearer),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 403, 404]
    assert world.log.last() == before


# ---- drift and quality -------------------------------------------------------------------------------------


def test_columns_by_windows(sources: Sources) -> None:
    answer = drift.answer(sources, {})
    assert (answer["models"], answer["model"], answer["windows_judged"]) == (["late"], "late", 12)
    assert "delay" in answer["columns"][:2]
    assert {"carrier", "wind", HOSTILE} < set(answer["columns"])
    row = answer["cells"][answer["columns"].index("delay")]
    assert [cell["verdict"] == "drift" for cell in row] == [False] * 8 + [True] * 4
    assert min(cell["distance"] for cell in row[8:]) > max(cell["distance"] for cell in row[:8])
    assert [window["rows"] for window in answer["windows"]] == [300] * 12
    assert answer["windows"][11]["end"] - answer["windows"][0]["start"] == 12 * 3600
    assert {alert["key"] for alert in answer["alerts"]} >= {"column:delay version 2"}


def test_more_windows_than_are_drawn_show_the_gravest(sources: Sources) -> None:
    answer = drift.answer(sources, {"width": "3"})
    row = answer["cells"][answer["columns"].index("delay")]
    assert [window["windows"] for window in answer["windows"]] == [4, 4, 4]
    assert [cell["verdict"] == "drift" for cell in row] == [False, False, True]
    single = drift.answer(sources, {})["cells"][answer["columns"].index("delay")]
    assert row[2] == max(single[8:], key=lambda cell: cell["distance"])


def test_a_cell_has_both_distributions(sources: Sources) -> None:
    whole = drift.answer(sources, {})
    last = whole["cells"][whole["columns"].index("delay")][-1]
    query = {"model": "late", "column": "delay", "start": str(last["start"]), "version": last["version"]}
    cell = drift.answer(sources, query)
    assert (cell["verdict"], cell["window"]["rows"], cell["reference_rows"]) == ("drift", 300, 24 * 300)
    both = cell["pair"]
    middles = (np.array(both["edges"])[1:] + np.array(both["edges"])[:-1]) / 2
    assert middles @ np.array(both["now"]) - middles @ np.array(both["before"]) == pytest.approx(2, abs=0.3)
    assert sum(both["before"]) == pytest.approx(1)
    assert cell["measures"]["js"] == pytest.approx(last["distance"])
    assert "mean went from" in cell["because"]
    assert [point["distance"] for point in cell["series"]][-1] == last["distance"]
    carrier = drift.answer(sources, {**query, "column": "carrier"})["pair"]
    assert set(carrier["labels"]) == {"AA", "DL", "UA"}
    assert carrier["edges"] is None
    assert drift.answer(sources, {**query, "column": HOSTILE})["pair"]["labels"]
    predicted = next(name for name in whole["columns"] if name not in ("delay", "wind", "carrier", HOSTILE))
    assert drift.answer(sources, {**query, "column": predicted})["pair"] is not None


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"model": "early"}, "There is no model 'early' here; there is late"),
        ({"column": "delay"}, "Give start="),
        ({"column": "delay", "start": "0"}, "No window of this model begins at 0"),
        ({"width": "many"}, "is no number"),
    ],
)
def test_windows_that_are_not_there(sources: Sources, query: dict[str, str], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        drift.answer(sources, query)


def test_quality_by_window_and_version(sources: Sources) -> None:
    answer = quality.answer(sources, {})
    assert answer["labels"]["labels"] == 3_000
    assert {"accuracy", "log_loss", "estimated_accuracy"} <= set(answer["metrics"])
    assert [line["labelled"] for line in answer["windows"]] == [300] * 10 + [0, 0]
    whole = answer["overall"][0]
    assert (whole["version"], whole["labelled"]) == ("2", 3_000)
    good = [line["accuracy"] for line in answer["windows"][:8]]
    assert max(line["accuracy"] for line in answer["windows"][8:10]) < min(good)
    assert quality.answer(sources, {"slice": "nowhere"})["windows"] == []


# ---- serving -----------------------------------------------------------------------------------------------


def test_servers_tell_of_their_versions_and_one_that_is_away_is_said_to_be(world: World, server: str) -> None:
    sources = Sources(world.log, servers=(server, f"{server}/", "http://127.0.0.1:9", "nonsense"))
    here, away, nonsense = serving.answer(sources, {})["servers"]
    assert (here["away"], away["heard"]) == (None, None)
    assert "refused" in away["away"]
    assert "nonsense" in nonsense["away"]
    (model,) = here["models"]
    assert (model["model"], model["requests"], model["waiting"]) == ("late", 20, 0)
    assert model["rows"] >= 100
    assert ("primary", "2", True) in {(v["role"], v["version"], v["answers"]) for v in model["versions"]}
    assert here["resident_bytes"] > 1e6


def test_rates_are_those_between_two_looks() -> None:
    def look(seconds: float, requests: int, slow: int) -> Look:
        text = f"""
outgrow_request_seconds_bucket{{model="late",le="0.01"}} {requests - slow}
outgrow_request_seconds_bucket{{model="late",le="1.0"}} {requests}
outgrow_request_seconds_bucket{{model="late",le="+Inf"}} {requests}
outgrow_request_seconds_count{{model="late"}} {requests}
outgrow_rows_total{{model="late"}} {3 * requests}
outgrow_waiting_rows{{model="late"}} 7
outgrow_requests_total{{model="late",dialect="predict",status="500"}} {slow}
outgrow_version_seconds_count{{model="late",role="canary",version="2"}} {requests // 10}
outgrow_version_seconds_count{{model="late",role="primary",version="1"}} {requests - requests // 10}
outgrow_model_version{{model="late",role="primary",version="1"}} 1.0
outgrow_process_cpu_seconds_total {seconds / 2}
"""
        return Look.of(text, 1_000 + seconds)

    looks = [look(0, 100, 0), look(4, 200, 0), look(8, 600, 40)]
    server = serving._server("http://here", looks)
    (model,) = server["models"]
    assert (model["rate"], model["row_rate"], model["failed_rate"]) == (62.5, 187.5, 5.0)
    assert (model["requests"], model["failed"], model["waiting"], server["cpu"]) == (600, 40, 7, 0.5)
    assert model["p50"] < 0.01 < model["p99"] <= 1
    shares = {line["version"]: (line["role"], line["share"], line["answers"]) for line in model["versions"]}
    assert shares == {"1": ("primary", 0.9, True), "2": ("canary", 0.1, False)}
    assert model["series"]["rate"] == [25, 100]
    restarted = serving._server("http://here", [*looks, look(10, 5, 0)])["models"][0]
    assert restarted["rate"] == 0.5  # its counts began anew
    gone = serving._server("http://here", [*looks, Look(1_010, away="refused")])
    assert (gone["away"], gone["heard"], gone["models"]) == ("refused", 1_008, [])


# ---- cluster and lineage -----------------------------------------------------------------------------------


def test_ranks_and_who_is_slow(sources: Sources) -> None:
    answer = cluster.answer(sources, {})
    assert (answer["run"], answer["runs"][0]["ranked"], answer["runs"][0]["state"]) == (
        "f" * 32,
        True,
        "running",
    )
    (stage,) = answer["stages"]
    assert (stage["stragglers"], len(stage["ranks"])) == ([2], 4)
    assert stage["series"]["2"]["rows_per_second"] == [12_500.0] * 3
    assert stage["series"]["0"]["rows_per_second"] == [50_000.0] * 3
    with pytest.raises(ParameterError, match="There is no run 'zz'"):
        cluster.answer(sources, {"run": "zz"})


def test_lineage_leads_from_rows_to_the_champion(sources: Sources, world: World) -> None:
    answer = lineage.answer(sources, {"what": "late@champion"})
    kinds = {node["kind"] for node in answer["nodes"]}
    assert kinds >= {"source", "data", "run", "model", "version", "alias"}
    columns = {node["id"]: node["column"] for node in answer["nodes"]}
    assert all(columns[edge["from"]] < columns[edge["to"]] for edge in answer["edges"])
    assert len({(node["column"], node["row"]) for node in answer["nodes"]}) == len(answer["nodes"])
    assert lineage.answer(sources, {"limit": "2", "what": "late@champion"})["left_out"] == len(columns) - 2
    with pytest.raises(ParameterError, match="has no record of 'nothing'"):
        lineage.answer(sources, {"what": "nothing"})
    with pytest.raises(
        ParameterError, match="has no record"
    ):  # a folder that is there is no affair of the page
        lineage.answer(sources, {"what": str(world.folder / "asked")})


def test_an_empty_log_has_an_answer_to_everything(tmp_path: Path) -> None:
    sources = Sources(og.EventLog(tmp_path / "ops.db"))
    for name in ("registry", "drift", "quality", "serving", "cluster", "lineage"):
        answer = ANSWERS[name](sources, {})
        assert answer["position"] == 0
        assert not any(answer.get(key) for key in ("models", "servers", "runs", "nodes")), name


# ---- in a browser ------------------------------------------------------------------------------------------

PAGES = {"g": "Registry", "d": "Drift", "u": "Quality", "v": "Serving", "c": "Cluster", "l": "Lineage"}


@pytest.fixture(scope="module")
def board(world: World, server: str) -> Iterator[str]:
    with world.shown(server, "http://127.0.0.1:9") as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=60_000)  # beside other tests a page may take its time
    with chromium() as browser:
        yield browser


@contextmanager
def window(browser: Browser, address: str, theme: str = "light", width: int = 1400) -> Iterator[Page]:
    """A window of its own; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    with browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.goto(address)
        yield page
    assert [text for text in complaints if "401" not in text] == []  # what a wrong token is answered with


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
def test_each_page_is_reached_by_its_key_and_can_be_read(
    browser: Browser, board: str, theme: str, width: int
) -> None:
    with window(browser, board, theme, width) as page:
        for key, title in PAGES.items():
            page.locator("body").press(key)
            expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
            expect(page.locator("figure svg, section[data-server]").first).to_be_visible()
            assert overflow(page) == 0, title
            assert faint(page) == [], title
        page.goto(f"{board}/#drift")
        assert page.locator("img").count() == 0


def test_a_cell_of_the_map_opens_both_distributions_and_has_an_address(browser: Browser, board: str) -> None:
    with window(browser, f"{board}/#drift") as page:
        page.locator("g.cell[data-column=delay][data-verdict=drift]").last.click()
        cell = page.locator("section[data-cell=delay]")
        expect(cell).to_contain_text("The mean went from")
        expect(cell.locator("figure[data-figure=delay] path.was")).to_be_attached()
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        expect(cell).to_contain_text("reference, 7,200 rows")
        drawing = page.get_by_role("img", name="Columns by windows")
        drawing.focus()
        drawing.press("ArrowLeft")
        drawing.press("Enter")
        page.wait_for_url(lambda url: url != address)
        for word, ending in (("SVG", ".svg"), ("PNG", ".png"), ("CSV", ".csv")):
            with page.expect_download() as saved:
                page.locator("figure[data-figure='Columns by windows']").get_by_role(
                    "button", name=word
                ).click()
            assert saved.value.suggested_filename == f"outgrow-columns-by-windows{ending}"
            if word == "CSV":
                assert "delay,2026-03-02 11:00:00 UTC" in saved.value.path().read_text()
        page.get_by_role("button", name="Close").click()
        expect(cell).to_have_count(0)


def test_lineage_and_cluster_by_clicks(browser: Browser, board: str) -> None:
    with window(browser, f"{board}/#lineage") as page:
        page.locator("g.node[data-node='alias:late@champion']").click()
        expect(page.locator("[data-facts='alias:late@champion']")).to_contain_text(HOSTILE)
        expect(page.locator("g.node.far").first).to_be_attached()
        page.get_by_role("button", name="Its lineage").click()
        expect(page.locator("g.node[data-node='alias:late@shadow']")).to_have_count(0)
        expect(page.locator("g.node")).to_have_count(6)
        page.goto(f"{board}/#cluster")
        expect(page.locator("[data-slow='2']")).to_contain_text("rank 2 on node-1, does 12.5k rows a second")


def test_a_rollback_is_seen_by_whoever_looks_and_by_the_server(
    browser: Browser, board: str, world: World
) -> None:
    with window(browser, f"{board}/#registry") as page, window(browser, f"{board}/#registry") as other:
        page.get_by_role("row", name="better, says").click()
        expect(page.locator("[data-evidence]")).to_contain_text("0.004 is above 0.")
        page.get_by_role("button", name="Roll back").click()
        page.get_by_label("Why").fill(f"complaints {HOSTILE}")
        page.get_by_label("Who").fill("ada")
        page.get_by_role("button", name="Roll back", exact=True).click()
        for token in ("wrong", TOKEN):
            page.get_by_label("The token of this board").fill(token)
            page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("status").filter(has_text="Recorded")).to_contain_text(
            "champion went from version 2 to version 1. Recorded: record"
        )
        expect(other.get_by_role("table", name="Moves")).to_contain_text("complaints <img")
        move = world.store.history("champion")[-1]
        assert (move.before, move.version, move.by, move.why) == (2, 1, "ada", f"complaints {HOSTILE}")
        page.goto(f"{board}/#serving")
        expect(page.locator("[data-state=away]")).to_contain_text("Connection refused")
        row = page.get_by_role("table", name="Versions that answer").get_by_role("row", name="primary 1")
        expect(row.locator(".dot.good")).to_be_attached()
