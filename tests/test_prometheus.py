"""Every query of dashboard, alerts and scaler, asked of a real Prometheus that scrapes a real server."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

import outgrow as og
import web
from outgrow.deploy.dashboards import dashboard, watching_files
from outgrow.deploy.kubernetes import scaled_object
from outgrow.deploy.plan import Choices, Needs, Plan
from outgrow.deploy.queries import panels, quoted, rules, waiting
from outgrow.testing.clusters import free_port

promql_parser = pytest.importorskip("promql_parser")
if shutil.which("prometheus") is None or shutil.which("promtool") is None:
    pytest.skip("prometheus is not installed (Debian's package of that name)", allow_module_level=True)

PLAN = Plan(
    'Späte "Flüge" \\ 1',
    "1",
    "Ridge",
    Needs((), 200 << 20, 1.0, "3.11"),
    Choices(replicas=2, most_replicas=6),
)
SERVER = """
import sys
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.server import serve
from outgrow.serve.http.state import Settings
name, path, log, port = sys.argv[1:]
watchers = {"seen:watcher": {"model": name}}
serve(Settings({name: Model(path)}, watchers=watchers, log=log, poll=0.3), port=int(port))
"""
WATCHER = """
from outgrow.serve.http.metrics import Reading

def watcher(model):
    return lambda: [
        Reading("outgrow_drift", 0.31, {"model": model, "column": "x0", "metric": "psi"}),
        Reading("outgrow_quality", 0.9, {"model": model, "version": "1", "metric": "accuracy"}),
        Reading("outgrow_label_lag_seconds", 3600.0, {"model": model}),
    ]
"""


@dataclass
class Watched:
    """A server, the Prometheus that scrapes it, and the store of its model."""

    server: str
    prometheus: str
    folder: Path
    store: og.ModelStore

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The values of a query now."""
        found = web.get(f"{self.prometheus}/api/v1/query", params={"query": query})
        assert found.status_code == 200, (query, found.text)
        result: list[dict[str, Any]] = found.json()["data"]["result"]
        return result


@contextmanager
def running(*command: str, folder: Path) -> Iterator[None]:
    with (folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def until(met: Any, seconds: float) -> float:
    """Wait until something is so; for how long."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < seconds
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    store = og.ModelStore(folder / "store")
    X = np.random.default_rng(0).normal(size=(50, 1))
    store.promote(store.add(og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(X, X[:, 0])))
    (folder / "seen.py").write_text(WATCHER)
    ports = free_port(), free_port()
    settings = yaml.safe_load(watching_files(PLAN)["prometheus/prometheus.yml"])
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports[0]}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (folder / "rules.yaml").write_text(watching_files(PLAN)["prometheus/rules.yaml"])
    words = ("--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{ports[1]}", "--log.level=warn")
    server = (sys.executable, "-c", SERVER, PLAN.model, str(store.path), str(folder / "log"), str(ports[0]))
    found = Watched(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", folder, store)
    with (
        running(*server, folder=folder),
        running("prometheus", "--config.file=prometheus.yml", *words, folder=folder),
    ):
        until(
            lambda: web.answers(f"{found.server}/health") and web.answers(f"{found.prometheus}/-/ready"), 60
        )
        yield found


def body(rows: int) -> dict[str, Any]:
    return {"rows": [{"x0": 1.0}] * rows}


@contextmanager
def load(address: str, clients: int, rows: int) -> Iterator[None]:
    """Clients that ask all the time."""
    stop = threading.Event()
    content = httpx.Request("POST", address, json=body(rows)).read()

    def client() -> None:
        with httpx.Client(timeout=30) as connection:
            while not stop.is_set():
                found = connection.post(f"{address}/predict", content=content)
                assert found.status_code in (200, 429)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def selectors(node: Any) -> Iterator[Any]:
    """What of the metrics a query names."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        yield from selectors(getattr(node, name, None)) if hasattr(node, name) else ()
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


QUERIES = {
    **{f"{panel.title}: {name}": query for panel in panels(PLAN) for name, query in panel.queries.items()},
    **{rule.name: rule.query for rule in rules(PLAN)},
    "scaler": waiting(PLAN),
}


def as_asked(query: str) -> str:
    """A query as Grafana sends it."""
    return query.replace("$__rate_interval", "1m")


def test_scaling_is_wanted_within_seconds_of_a_flood(watched: Watched) -> None:
    """The loop that KEDA and Kubernetes run, on the metric as Prometheus has it."""
    spec = scaled_object(PLAN)["spec"]
    (trigger,) = spec["triggers"]
    low, high, each = spec["minReplicaCount"], spec["maxReplicaCount"], int(trigger["metadata"]["threshold"])

    def wanted() -> int:
        values = watched.ask(trigger["metadata"]["query"])
        total = float(values[0]["value"][1]) if values else 0.0
        return min(high, max(low, math.ceil(total / each)))

    assert wanted() == low
    with load(watched.server, clients=6, rows=1_000):
        assert until(lambda: wanted() > low, 15 - spec["pollingInterval"]) < 10


def test_every_query_names_what_the_server_has(watched: Watched) -> None:
    """Each metric with its labels is in Prometheus; of statuses, those that were answered."""
    assert web.post(f"{watched.server}/predict", json=body(3)).status_code == 200
    until(lambda: watched.ask(f'outgrow_requests_total{{status="200",job="{PLAN.name}"}}'), 10)
    seen = set()
    for name, query in QUERIES.items():
        for selector in selectors(promql_parser.parse(as_asked(query))):
            given = {label.name: label.value for label in selector.matchers.matchers}
            matchers = [f"{key}={quoted(value)}" for key, value in given.items() if key != "status"]
            seen.add(selector.name)
            there = watched.ask(f"{selector.name}{{{','.join(matchers)}}}")
            assert there or selector.name.startswith("outgrow_gpu_"), (name, str(selector))
    assert len(seen) >= 15
    without = {entry for entry in seen if entry.startswith("outgrow_gpu_")}
    assert without == {"outgrow_gpu_utilization_ratio", "outgrow_gpu_memory_bytes"}


def test_every_panel_shows_something(watched: Watched) -> None:
    """A rate needs two looks of Prometheus. Panels of GPUs are empty where there is none."""
    until(lambda: watched.ask(f'rate(outgrow_requests_total{{job="{PLAN.name}"}}[1m]) > 0'), 10)
    for panel in panels(PLAN):
        for name, query in panel.queries.items():
            values = watched.ask(as_asked(query))
            numbers = [float(entry["value"][1]) for entry in values]
            assert panel.title.startswith("GPU") or (numbers and all(map(math.isfinite, numbers))), (
                name,
                query,
            )
    drawn = [target["expr"] for part in dashboard(PLAN)["panels"] for target in part.get("targets", ())]
    assert drawn == [query for panel in panels(PLAN) for query in panel.queries.values()]


def test_panels_do_not_lie_on_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for part in dashboard(PLAN)["panels"]:
        at = part["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        cells |= taken
    numbers = [part["id"] for part in dashboard(PLAN)["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_files_pass_promtool_and_alerts_come(watched: Watched) -> None:
    """Of drift, waiting its hour; of a version that cannot be used, at once; and none that should not."""
    for words in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yaml"]):
        done = subprocess.run(["promtool", *words], cwd=watched.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    number = watched.store.add(watched.store.load())
    (watched.store.path / str(number) / "arrays.safetensors").write_bytes(b"damaged")
    watched.store.promote(number)

    def states() -> dict[str, str]:
        (group,) = web.get(f"{watched.prometheus}/api/v1/rules").json()["data"]["groups"]
        assert all(
            rule["health"] in ("ok", "unknown") and not rule.get("lastError") for rule in group["rules"]
        )
        return {rule["name"]: rule["state"] for rule in group["rules"]}

    until(lambda: states()["OutgrowVersionRefused"] == "firing", 20)
    assert set(states()) == {rule.name for rule in rules(PLAN)}
    assert states()["OutgrowDrift"] == "pending"
    assert {states()[name] for name in ("OutgrowGone", "OutgrowVersionSkew", "OutgrowLabelsLate")} == {
        "inactive"
    }
    alerts = web.get(f"{watched.prometheus}/api/v1/alerts").json()["data"]["alerts"]
    assert all(alert["annotations"]["summary"].startswith(PLAN.model) for alert in alerts)
    assert web.post(f"{watched.server}/predict", json=body(1)).status_code == 200
