"""A real server follows the aliases of a store under load: no request fails, whatever moves or breaks."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
import web
from outgrow.registry.store import ModelStore
from outgrow.serve.http.arguments import settings_of
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.deployment import Deployment
from test_registry import model
from test_serve import server, wait_for

ROW = {"rows": [{"x0": 0.0}]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    store = ModelStore(tmp_path_factory.mktemp("following") / "late")
    for number in (1, 2, 3):
        store.add(model(number))
    store.promote(1)
    return store


@pytest.fixture(scope="module")
def address(store: ModelStore) -> Iterator[str]:
    with server(str(store.path), "--log", str(store.path.parent / "log")) as address:
        yield address


class Clients:
    """Clients that ask again and again; what came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.seen: Counter[tuple[int, str, str]] = Counter()
        self.done = threading.Event()

    def ask(self) -> None:
        with httpx.Client(base_url=self.address, timeout=web.SECONDS) as client:
            while not self.done.is_set():
                answer = client.post("/predict", json=ROW)
                version, role = answer.headers["x-model-version"], answer.headers["x-model-role"]
                assert answer.json() == {"version": version, "predictions": [float(version)]}
                self.seen[answer.status_code, role, version] += 1

    def next(self) -> tuple[str, str]:
        """Who answers now."""
        answer = web.post(f"{self.address}/predict", json=ROW)
        return answer.headers["x-model-role"], answer.headers["x-model-version"]


@contextmanager
def load(address: str) -> Iterator[Clients]:
    clients = Clients(address)
    threads = [threading.Thread(target=clients.ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.done.set()
        for thread in threads:
            thread.join()
    assert {status for status, *_ in clients.seen} == {200}


def takes(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    wait_for(condition)
    return time.monotonic() - began


def metrics(address: str, name: str) -> dict[tuple[str, str], float]:
    """By role and version."""
    page = web.get(f"{address}/metrics").text
    pattern = rf'{name}{{model="late",role="(\w+)",version="(\w+)"}} (\S+)'
    return {(role, version): float(value) for role, version, value in re.findall(pattern, page)}


def test_no_request_fails_while_aliases_move(store: ModelStore, address: str) -> None:
    with load(address) as clients:
        seconds = []
        for version in (2, 1, 3, 1):
            store.promote(version)
            seconds.append(takes(lambda v=version: clients.next() == ("primary", str(v))))
        store.set_alias("canary", 2, percent=100)
        seconds.append(takes(lambda: clients.next() == ("canary", "2")))
        store.set_alias("canary", 3, percent=100)
        seconds.append(takes(lambda: clients.next() == ("canary", "3")))
        store.set_alias("canary", 3, percent=0)
        seconds.append(takes(lambda: clients.next() == ("primary", "1")))
        store.set_alias("shadow", 2)
        wait_for(lambda: metrics(address, "outgrow_version_seconds_count").get(("shadow", "2"), 0) > 5)
        store.set_alias("canary", 3, percent=30)
        asked = clients.seen[200, "canary", "3"]
        wait_for(lambda: clients.seen[200, "canary", "3"] > asked)
        before = Counter(clients.seen)
        wait_for(lambda: sum((clients.seen - before).values()) > 400)
        store.delete_alias("canary")
        store.delete_alias("shadow")
        wait_for(lambda: metrics(address, "outgrow_model_version").get(("canary", "3")) == 0)
        rest = Counter(clients.seen)
        wait_for(lambda: sum((clients.seen - rest).values()) > 100)
    assert sorted(seconds)[len(seconds) // 2] < 1.5, seconds  # a second, on a machine that others use too
    tried = rest - before
    assert 0.1 < tried[200, "canary", "3"] / sum(tried.values()) < 0.5
    assert not [role for _, role, _ in clients.seen - rest if role == "canary"] or (
        (clients.seen - rest)[200, "canary", "3"] < 20  # those that had begun
    )
    told = metrics(address, "outgrow_version_seconds_count")
    assert told["primary", "1"] >= clients.seen[200, "primary", "1"]
    now = {key for key, value in metrics(address, "outgrow_model_version").items() if value}
    assert now == {("primary", "1")}


def test_what_cannot_be_loaded_is_said_and_the_others_go_on(store: ModelStore, address: str) -> None:
    def problems() -> dict[str, str]:
        return web.get(f"{address}/health").json().get("problems", {}).get("late", {})

    broken = store.add(model(4))
    with load(address) as clients:
        store.set_alias("canary", broken, percent=100)
        wait_for(lambda: clients.next() == ("canary", "4"))
        store.delete_alias("canary")
        wait_for(lambda: clients.next() == ("primary", "1"))
        (store.path / str(broken) / "arrays.safetensors").write_bytes(b"damaged")
        store.set_alias("canary", broken, percent=100)
        store.set_alias("shadow", 2)
        wait_for(lambda: "is damaged" in problems().get("canary", ""))
        store.promote(broken)
        wait_for(lambda: "is damaged" in problems().get("primary", ""))
        assert clients.next() == ("primary", "1")
        wait_for(lambda: metrics(address, "outgrow_model_version").get(("shadow", "2")) == 1)
        store.promote(2)
        store.delete_alias("canary")
        wait_for(lambda: not problems() and clients.next() == ("primary", "2"))
        shutil.rmtree(store.path / "2")
        wait_for(lambda: "no version 2 any more" in problems().get("primary", ""))
        assert clients.next() == ("primary", "2")
        store.promote(1)
        store.delete_alias("shadow")
        wait_for(lambda: not problems())


def test_one_alias_alone(store: ModelStore) -> None:
    """A path with an @ is that alias: neither the canary nor the shadow of the store is taken up."""
    store.set_alias("canary", 3, percent=100)
    words: Any = {"max_wait": "2ms", "max_body": "1MB", "timeout": "1s"}
    served = settings_of(f"{store.path}@champion", (), (), (), **words).models
    assert list(served) == ["late"]
    alone = Deployment.open("late", served["late"], lambda: Batcher(1, 0.0, 1))
    assert list(alone.variants) == ["primary"]
    whole = settings_of(str(store.path), (), (f"{store.path}@1@50",), (), **words).models["late"]
    given = Deployment.open("late", whole, lambda: Batcher(1, 0.0, 1))
    assert (given.variants["canary"].served.version.name, given.canary_percent) == ("1", 50)
    store.delete_alias("canary")


def test_a_stream_follows_an_alias(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = pa.table({"x0": [0.0, 1.0]})
    store.set_alias("challenger", 3)
    stream = og.score_stream(f"{store.path}@challenger", tmp_path / "in", tmp_path / "out")
    pq.write_table(rows, tmp_path / "in" / "a.parquet")
    stream.run_available()
    store.set_alias("challenger", 1)
    pq.write_table(rows, tmp_path / "in" / "b.parquet")
    stream.run_available()
    scored = og.read(str(tmp_path / "out")).to_pandas()
    assert sorted(set(zip(scored["model_version"], scored["prediction"], strict=True))) == [
        ("1", 1.0),
        ("3", 3.0),
    ]
