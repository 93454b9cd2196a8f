"""The board's server: what it answers, to whom, and how the log becomes events."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.board import document as documents
from outgrow.board.api.search import importances
from outgrow.board.app import application
from outgrow.board.events import Tail
from outgrow.board.sources import Sources
from outgrow.board.thin import thinned
from outgrow.log.record import Fact

X = np.arange(12.0)[:, None]
Y = np.sqrt(X[:, 0])


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[og.EventLog]:
    """Two fits, a run by hand with curves, and a run that failed."""
    log = og.track.start(tmp_path_factory.mktemp("board") / "ops.db", sample=0)
    for alpha in (0.1, 10.0):
        og.Ridge(alpha=alpha).fit(X, Y).evaluate(X, Y)
    with og.track.run("<script>by hand</script>") as run:
        for step in range(30):
            run.log_metrics({"loss": 1 / (1 + step)}, step=step)
    with pytest.raises(ValueError, match="no more rows"), og.track.run("broken"):
        raise ValueError("no more rows")
    og.track.stop()
    yield log
    log.close()


def request(
    log: og.EventLog, method: str, path: str, token: str | None = None, **words: Any
) -> httpx.Response:
    any_host = words.pop("any_host", False)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application(Sources(log), token=token, any_host=any_host))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8100") as client:
            return await client.request(method, path, **words)

    return asyncio.run(send())


def get(log: og.EventLog, path: str, **words: Any) -> Any:
    response = request(log, "GET", path, **words)
    assert response.status_code == 200, response.text
    return response.json()


def test_runs_are_filtered_and_sorted(log: og.EventLog) -> None:
    every = get(log, "/api/runs")
    assert every["count"] == 4
    assert [run["state"] for run in every["runs"]] == ["failed", "finished", "finished", "finished"]
    assert {"metrics.r2", "params.alpha"} <= set(every["columns"])
    assert every["position"] == log.last()
    some = get(log, "/api/runs", params={"filter": "metrics.r2 > 0", "sort": "metrics.r2", "limit": "1"})
    assert some["count"] == 2
    assert [run["params.alpha"] for run in some["runs"]] == ["10.0"]
    assert get(log, "/api/runs", params={"skip": "3"})["runs"][0]["params.alpha"] == "0.1"


def test_a_run_says_all_of_itself(log: og.EventLog) -> None:
    names = {run["name"]: run["run"] for run in get(log, "/api/runs")["runs"]}
    run = get(log, "/api/run", params={"run": names["<script>by hand</script>"][:12]})
    (curve,) = run["curves"]
    assert (curve["metric"], curve["points"]) == ("loss", 30)
    assert curve["y"] == [1 / (1 + step) for step in range(30)]
    part = get(log, "/api/run", params={"run": run["run"], "curves": "1", "low": "10", "high": "12"})
    assert part["curves"][0]["x"] == [9, 10, 11, 12, 13]  # with a point beyond each end, to draw to
    failed = get(log, "/api/run", params={"run": "last"})
    assert (failed["state"], failed["ending"]["error"]["message"]) == ("failed", "no more rows")


def test_runs_are_compared_by_the_one_rule(log: og.EventLog) -> None:
    fits = [run["run"] for run in get(log, "/api/runs", params={"filter": "state = 'finished'"})["runs"]]
    answer = get(log, "/api/compare", params={"runs": ",".join(fits)})
    assert [run["run"] for run in answer["runs"]] == fits
    facts = {fact["name"]: fact for fact in answer["sections"]["parameters"]}
    assert facts["alpha"]["values"] == [None, 10.0, 0.1]
    assert not facts["alpha"]["same"]
    assert {"parameters", "metrics", "data", "environment", "code"} <= answer["sections"].keys()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/runs?filter=metrics.nothing>1", 400, "No run has"),
        ("/api/runs?sort=nothing", 400, "No run has"),
        ("/api/runs?limit=-1", 400, "is no number"),
        ("/api/run", 400, "Give run="),
        ("/api/run?run=zz", 400, "There is no run 'zz'"),
        ("/api/run?run=last&by=sun", 400, "by step or by time"),
        ("/api/run?run=last&low=x", 400, "is no number"),
        ("/api/compare?runs=last", 400, "cannot be compared"),
        ("/api/nothing", 404, "There is nothing"),
        ("/api/events?since=x", 400, "is no position"),
        ("/nothing", 404, "nothing is there"),
    ],
)
def test_mistakes_are_named(log: og.EventLog, path: str, status: int, words: str) -> None:
    response = request(log, "GET", path)
    assert (response.status_code, words in response.json()["error"]) == (status, True), response.text


def test_the_page_lets_nothing_else_in(log: og.EventLog) -> None:
    response = request(log, "GET", "/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-frame-options"] == "DENY"
    assert not re.search(r"""(?:src|href)=["']?https?:|@import|innerHTML|\beval\(""", response.text)
    assert len(response.content) <= 250_000
    assert request(log, "GET", "/", headers={"accept-encoding": "identity"}).text == response.text


def test_scripts_share_no_names() -> None:
    """They are one script in the end: a name that two files give would be the last one's."""
    folder = Path(documents.__file__).parent / "static"
    names = Counter(
        name
        for path in folder.glob("*.js")
        for name in re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", path.read_text(), re.M)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8100", ""]
)
def test_names_of_elsewhere_are_refused(log: og.EventLog, host: str) -> None:
    assert request(log, "GET", "/api/runs", headers={"host": host}).status_code == 421
    assert request(log, "GET", "/api/runs", headers={"host": host}, any_host=True).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8100", "[::1]:8100"])
def test_names_of_this_machine_are_answered(log: og.EventLog, host: str) -> None:
    assert request(log, "GET", "/api/runs", headers={"host": host}).status_code == 200


def test_each_listener_gets_each_record_once(tmp_path: Path) -> None:
    """From where it left off, those of its kinds alone, and a word where it is too far behind."""
    log = og.EventLog(tmp_path / "ops.db")
    log.append("finding", "late", {"n": 0})

    async def listen() -> tuple[list[int], list[int], str]:
        tail = Tail(log)
        first, second = tail.listen(0), tail.listen(None, ["alert"])
        await anext(first), await anext(second)
        beyond = asyncio.create_task(anext(second))
        seen = numbers(await anext(first))
        for n in range(1, 4):
            log.append("alert" if n == 2 else "finding", "late", {"n": n})
            seen += numbers(await anext(first))
        kinds = numbers(await beyond)
        reset = tail.listen(99)
        await anext(reset)
        word = await anext(reset)
        for listener in (first, second, reset):
            await listener.aclose()  # type: ignore[attr-defined]
        return seen, kinds, word

    seen, kinds, word = asyncio.run(listen())
    assert seen == [0, 1, 2, 3]
    assert kinds == [2]
    assert word == "event: reset\nid: 4\ndata: {}\n\n"


def numbers(message: str) -> list[int]:
    """What the records of a message say."""
    event, position, data = message.strip().split("\n")
    records = json.loads(data.removeprefix("data: "))
    assert (event, position) == ("event: records", f"id: {records[-1]['position']}")
    return [record["body"]["n"] for record in records]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=400), st.integers(1, 20))
def test_thinned_curves_cover_the_same_pixels(values: list[float], width: int) -> None:
    y = np.array(values)
    x = np.cumsum(np.ones(len(y)))
    kept = thinned(x, y, width)
    assert len(kept) <= 4 * width
    assert np.all(np.diff(kept) > 0)
    there = y[np.isfinite(y)]
    assert np.all(np.isfinite(y[kept]))
    if len(there):
        assert (y[kept].min(), y[kept].max()) == (there.min(), there.max())
        assert (y[kept[0]], y[kept[-1]]) == (there[0], there[-1])


def test_a_stage_that_begins_again_is_drawn_as_it_went_then(tmp_path: Path) -> None:
    """Training that goes on from a checkpoint says some steps anew; what is no number is said, not drawn."""
    log = og.track.start(tmp_path, sample=0)
    with og.track.run("resumed", team="Ω") as run:
        for step, loss in [
            (0, 5.0),
            (1, 4.0),
            (2, 3.0),
            (1, 2.0),
            (2, np.nan),
            (3, 1.0),
            (3, 0.5),
            (4, np.inf),
        ]:
            run.log_metrics({"loss": loss, "worst": np.nan}, step=step)
    og.track.stop()
    curve, worst = get(log, "/api/run", params={"run": "last"})["curves"]
    assert (curve["x"], curve["y"], curve["metrics"]["last"]) == ([0, 1, 3], [5, 2, 0.5], "Infinity")
    assert (worst["x"], worst["metrics"]["last"]) == ([], "NaN")
    by_time = get(log, "/api/run", params={"run": "last", "by": "time"})["curves"][0]
    assert by_time["y"] == [5, 4, 3, 2, 1, 0.5]
    assert get(log, "/api/runs", params={"filter": "tags.team = 'Ω'"})["count"] == 1
    log.close()


def test_lines_of_json_are_read_from_the_midst(tmp_path: Path) -> None:
    """A reader that knows some records gets all others, wherever it stands and whoever wrote them."""
    writer = og.EventLog(tmp_path)
    writer.store.append([Fact.of(1.0, "finding", "late", {"n": n}, "ada", None) for n in range(2_500)])
    for reader in (writer, og.EventLog(tmp_path)):
        for after in (0, 1, 999, 1_000, 1_001, 2_000, 2_499, 2_500, 9_999):
            got = [record.body["n"] for record in reader.since(after)]
            assert got == list(range(after, 2_500))
    writer.append("finding", "late", {"n": 2_500})
    assert [record.body["n"] for record in reader.since(2_499)] == [2_499, 2_500]
    assert [record.position for record in reader.since(2_500)] == [2_501]


def test_what_matters_in_a_search(log: og.EventLog) -> None:
    """Trials are recorded as they end, with what they chose; few of them say nothing of what matters."""
    rows = [
        {"trial": n, "state": "complete", "a": n % 5, "b": str(n % 3), "c": None, "loss": float(n % 5)}
        for n in range(30)
    ]
    search = {
        "names": ["a", "b", "c"],
        "metrics": ["loss"],
        "trials": [*rows, {"trial": 30, "state": "pruned"}],
    }
    shares = importances(search)
    assert shares["a"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert "c" not in shares
    assert importances({**search, "trials": rows[:5]}) == {}
    assert importances({**search, "metrics": ["loss", "seconds"]}) == {}
