"""Rollouts on a real server under load: shadow, canary, promotion, rollback; servers that do not follow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import outgrow as og
from loops import COLUMNS, DAY, POLICY, World, fitted, rows_of
from outgrow.loop.decide import decide
from outgrow.loop.load import load_policy
from outgrow.loop.servers import Answers, look, mismatch
from outgrow.loop.view import Candidate, View, Watched
from outgrow.registry.rollout import Rollout, read_rollout, write_rollout
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.deployment import Deployment, Model
from outgrow.testing.clusters import free_port
from test_serve import server

ROLLOUT = """
servers: {{urls: ["{url}"], log: predictions, answer_within: {within}}}
rollout: [{{shadow: 1d, agree: 0.05}}, {{canary: 50%, for: 1d}}]
rollback: {{errors: 5%, latency_p99: 50x, quality: worse, within: 4d}}
"""


def policy(url: str, within: str = "20s") -> str:
    whole = POLICY.replace("rollback: {quality: worse, within: 2d}", ROLLOUT.format(url=url, within=within))
    return whole.replace("within: 1d", "within: 1h", 1).replace("error: brier", "error: brier, window: 1d")


@contextmanager
def load(address: str) -> Iterator[Counter[Any]]:
    """Requests one after the other, and how each was answered: (status, version)."""
    answers: Counter[Any] = Counter()
    rows = rows_of(50, 250)[0].select(COLUMNS).to_pylist()
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                answer = client.post(f"{address}/predict", json={"rows": rows})
                answers[answer.status_code, answer.json().get("version")] += 1
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def until(answers: Counter[Any], version: str, more: int = 1) -> None:
    """Wait for some answers of a version from now on."""
    before, late = answers[200, version], time.monotonic() + 60
    while answers[200, version] < before + more:
        assert time.monotonic() < late, answers
        time.sleep(0.02)


def actions(world: World) -> list[str]:
    decisions = world.loop().log.since(0, kinds=("decision",))
    return [record.body["action"] for record in decisions if record.body["action"] not in ("wait", "judge")]


def test_from_shadow_to_champion_and_back_under_load(tmp_path: Path) -> None:
    world = World.made(tmp_path, policy("http://127.0.0.1:1"))
    for day in range(5):
        world.land(day, sign=1.0 if day < 2 else -1.0)
    with server(str(world.store.path), "--log", str(tmp_path / "predictions")) as address:
        (tmp_path / "policy.yaml").write_text(policy(address))
        with load(address) as answers:
            until(answers, "1")
            for day in (1, 2, 3, 4):
                world.look(day)
            assert actions(world) == ["retrain", "step"]
            assert read_rollout(world.store.path) == Rollout(shadow=2)
            until(answers, "1", 45)  # 10,000 rows, so that the server's log is written
            time.sleep(0.5)
            world.land(5, sign=-1.0)
            world.look(5)
            assert actions(world)[2:] == ["step"], list(world.loop().log.latest(3))
            until(answers, "2", 5)
            assert answers[200, "1"]
            world.land(6, sign=-1.0)
            world.look(6)
            assert actions(world)[3:] == ["promote"]
            until(answers, "2", 5)
            for day in (7, 8):
                world.land(day, sign=1.0)  # what rows mean turns back
                world.look(day)
            assert actions(world)[4:] == ["rollback"]
            until(answers, "1", 5)
        records = [record.body for record in world.loop().log.since(0, kinds=("rollout.stepped",))]
        assert all(body["verified"] for body in records)
        assert records[-1]["answers"] == {address: {"primary": ["1"]}}
        seen = look([address], "store")
    assert {status for status, _ in answers} == {200}, "no request failed"
    assert seen.answers["2"].answered > 5
    assert seen.answers["2"].failed == 0
    assert 0 < seen.answers["1"].quantile(0.5) <= seen.answers["1"].quantile(0.99)


def test_a_server_that_is_away_holds_the_rollout(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    world = World.made(tmp_path, policy(url, within="0.1s"))
    for day in range(7):
        world.land(day, sign=1.0 if day < 2 else -1.0)
    for day in (1, 3, 4, 5, 6):
        world.look(day)
    assert actions(world) == ["retrain", "step", "alert", "verify", "verify", "withdraw", "alert"]
    alert = next(record.body for record in world.loop().log.since(0, kinds=("alert",)))
    assert f"Servers do not follow: {url} is away" in alert["because"]
    assert world.store.current == 1


def rolling(**changes: Any) -> View:
    """A candidate that is canary since a day."""
    candidate = Candidate(version=2, made=0.0, until=0.0, verdict="pass", beside=1, step=1, since=DAY)
    view = View(now=2 * DAY, champion=1, candidate=candidate, tried=(2,), decisions=7)
    return replace(view, **changes)


def finding(about: str, verdict: str) -> dict[str, Any]:
    return {"key": f"{about}/2", "about": about, "verdict": verdict, "because": "it failed 9 of 10 requests."}


UNVERIFIED = {"roles": {"canary": 2}, "since": DAY, "because": "http://a is away."}


@pytest.mark.parametrize(
    ("view", "action", "says"),
    [
        (rolling(findings=(finding("step", "ok"),)), "promote", "It did well as canary of 0.5"),
        (rolling(findings=(finding("step", "cannot say"),)), "wait", "stays canary of 0.5"),
        (rolling(findings=(finding("step", "worse"),)), "withdraw", "it failed 9 of 10 requests"),
        # Flagger #1268, #1801: servers that do not follow must not keep a bad version from going back
        (rolling(findings=(finding("step", "worse"),), unverified=UNVERIFIED), "withdraw", "9 of 10"),
        (rolling(unverified=UNVERIFIED, findings=(finding("step", "ok"),)), "verify", "Not all servers"),
        # Flagger #9: a rollout that is stuck ends
        (
            rolling(unverified=UNVERIFIED, now=3 * DAY, done=frozenset(["verify"])),
            "withdraw",
            "did not follow",
        ),
        # Flagger #724: a person takes the canary back by its alias
        (rolling(tried=(), findings=(finding("step", "ok"),)), "withdraw", "somebody took it back"),
        (
            rolling(candidate=None, watched=Watched(2, 1, DAY), findings=(finding("live", "worse"),)),
            "rollback",
            "Version 2 is worse than 1",
        ),
        # a person promoted a third version meanwhile: the gate's verdict was about another champion
        (rolling(champion=3, findings=(finding("step", "ok"),)), "withdraw", "was judged beside 1, not 3"),
    ],
)
def test_decisions_of_a_rollout(view: View, action: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(policy("http://a"))
    decision = decide(load_policy(tmp_path / "policy.yaml").policy, view)
    assert decision["action"] == action
    assert says in decision["because"]


def test_a_rollout_that_cannot_be_loaded_leaves_the_server_as_it_is(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "late")
    store.promote(store.add(fitted()))
    deployment = Deployment.open("late", Model(str(store.path)), lambda: Batcher(1, 0.0, 1))
    store.add(fitted())
    write_rollout(store, Rollout(canary=2, share=0.5))
    (store.path / "2").rename(tmp_path / "elsewhere")
    assert asyncio.run(deployment.refresh()) == ([], ["canary"])
    assert (deployment.choose()[0], list(deployment.variants)) == ("primary", ["primary"])
    assert "no version 2 any more" in deployment.problems["canary"]
    assert asyncio.run(deployment.refresh()) == ([], [])  # said once
    (tmp_path / "elsewhere").rename(store.path / "2")
    write_rollout(store, Rollout(canary=2, share=1.0))
    assert asyncio.run(deployment.refresh()) == (["canary"], [])
    assert (deployment.choose()[0], deployment.problems, deployment.versions) == ("canary", {}, {"1", "2"})
    (store.path / "current").write_text("{")  # the log beside it says what it should
    assert asyncio.run(deployment.refresh()) == ([], [])
    assert deployment.versions == {"1", "2"}


def test_quantiles_are_read_from_buckets_as_prometheus_does() -> None:
    answers = Answers(100.0, 0.0, {0.1: 50.0, 0.2: 100.0, float("inf"): 100.0})
    assert answers.quantile(0.5) == pytest.approx(0.1)
    assert answers.quantile(0.75) == pytest.approx(0.15)
    later = Answers(150.0, 50.0, {0.1: 50.0, 0.2: 150.0, float("inf"): 150.0}).since(answers)
    assert (later.share_failed, later.quantile(0.5)) == (0.5, pytest.approx(0.15))
    assert Answers.of(later.body()).quantile(0.5) == pytest.approx(0.15)
    assert Answers(3.0).since(answers).answered == 3.0, "a server that began anew counts from 0"


def test_what_servers_answer_is_said() -> None:
    seen = look([], "late")
    seen.roles = {"http://a": {"primary": {"1", "2"}}, "http://b": {"primary": {"2"}, "canary": {"3"}}}
    problem = mismatch(seen, {"primary": 2, "canary": None})
    assert problem == (
        "http://a has version 1 and 2 as primary, not 2; http://b has version 3 as canary, not none."
    )
