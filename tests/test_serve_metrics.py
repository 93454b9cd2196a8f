"""What a server tells of itself: its processor, memory, queue, and what watchers say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import outgrow as og
from outgrow import _process
from outgrow.errors import ParameterError
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.metrics import Reading
from outgrow.serve.http.state import Settings


def distances(column: str = "age") -> Any:
    """A watcher, as the monitor makes one."""
    count = iter(range(1, 100))

    def watch() -> Iterator[Reading]:
        labels = {"model": "line", "column": column, "metric": "psi"}
        yield Reading("outgrow_drift", next(count) / 10, labels)
        yield Reading("outgrow_label_lag_seconds", 60.0, {"model": "line"})

    return watch


def broken() -> Any:
    def watch() -> Iterator[Reading]:
        yield Reading("outgrow_quality", 0.9, {"model": "line"})  # a version and a metric are missing

    return watch


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("metrics") / "line"
    og.LinearRegression().fit(np.arange(4.0).reshape(-1, 1), np.arange(4.0)).save(folder)
    return str(folder)


def pages(settings: Settings, *, looks: int = 1, between: float = 0.0) -> list[dict[str, float]]:
    """The metrics of a server by name and labels, after a request, at several looks."""

    async def look() -> list[dict[str, float]]:
        app, found = application(settings), []
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            assert (await client.post("/predict", json={"rows": [{"x0": 3.0}]})).status_code == 200
            for _ in range(looks):
                time.sleep(between)
                text = (await client.get("/metrics")).text
                lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
                found.append({name: float(value) for name, _, value in lines})
        return found

    return asyncio.run(look())


def test_processor_memory_queue_and_version(saved: str) -> None:
    first, second = pages(Settings({"line": Model(saved)}), looks=2)
    assert 0 < first["outgrow_process_cpu_seconds_total"] <= second["outgrow_process_cpu_seconds_total"]
    assert first["outgrow_process_cpu_seconds_total"] <= time.process_time()
    assert 20e6 < first["outgrow_process_resident_bytes"] < 20e9
    assert first['outgrow_queue_seconds_count{model="line"}'] == 1
    assert 0 < first['outgrow_queue_seconds_sum{model="line"}'] < 5
    assert first['outgrow_waiting_rows{model="line"}'] == 0
    (version,) = (name for name in first if name.startswith("outgrow_model_version"))
    assert 'role="primary"' in version
    assert first[version] == 1


def test_watchers_are_asked_at_each_look(saved: str) -> None:
    settings = Settings({"line": Model(saved)}, watchers={f"{__name__}:distances": {"column": "fare"}})
    assert Settings.from_dict(settings.to_dict()) == settings
    first, second = pages(settings, looks=2)
    name = 'outgrow_drift{column="fare",metric="psi",model="line"}'
    assert (first[name], second[name]) == (0.1, 0.2)
    assert second['outgrow_label_lag_seconds{model="line"}'] == 60
    assert not any(name.startswith("outgrow_quality") for name in second)


def test_a_watcher_that_fails_hides_nothing(saved: str, caplog: pytest.LogCaptureFixture) -> None:
    watchers: dict[str, Any] = {f"{__name__}:broken": {}, f"{__name__}:distances": {}}
    (found,) = pages(Settings({"line": Model(saved)}, watchers=watchers))
    assert 'outgrow_drift{column="age",metric="psi",model="line"}' in found
    assert "a watcher gives no metrics: ParameterError: outgrow_quality of ['model']" in caplog.text


@pytest.mark.parametrize("name", ["nowhere:function", "json:function", "json", "", f"{__name__}:"])
def test_a_watcher_that_is_not_there_is_named_before_anything_is_served(saved: str, name: str) -> None:
    with pytest.raises(ParameterError, match=r"cannot be used: .*Give module:function"):
        application(Settings({"line": Model(saved)}, watchers={name: {}}))


def test_gpus_are_there_when_their_library_finds_some(saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library with NVIDIA's names: this machine need not have a GPU."""
    library = types.ModuleType("pynvml")
    library.NVMLError = type("NVMLError", (Exception,), {})  # type: ignore[attr-defined]
    library.nvmlInit = lambda: None  # type: ignore[attr-defined]
    library.nvmlDeviceGetCount = lambda: 2  # type: ignore[attr-defined]
    library.nvmlDeviceGetHandleByIndex = lambda k: k  # type: ignore[attr-defined]
    rates = library.nvmlDeviceGetUtilizationRates = lambda k: types.SimpleNamespace(gpu=25 * (k + 1))  # type: ignore[attr-defined]
    library.nvmlDeviceGetMemoryInfo = lambda k: types.SimpleNamespace(used=1 << 30)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", library)
    _process._gpu_library.cache_clear()
    try:
        (found,) = pages(Settings({"line": Model(saved)}))
        assert rates(0).gpu / 100 == found['outgrow_gpu_utilization_ratio{gpu="0"}'] == 0.25
        assert found['outgrow_gpu_utilization_ratio{gpu="1"}'] == 0.5
        assert found['outgrow_gpu_memory_bytes{gpu="1"}'] == 1 << 30
    finally:
        _process._gpu_library.cache_clear()


def test_without_a_gpu_nothing_is_said_of_one(saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    _process._gpu_library.cache_clear()
    try:
        (found,) = pages(Settings({"line": Model(saved)}))
        assert not any("gpu" in name for name in found)
    finally:
        _process._gpu_library.cache_clear()


def test_usage_grows_with_what_is_done() -> None:
    before = _process.usage()
    held = np.ones(8_000_000)
    while time.process_time() < before.cpu_seconds + 0.02:
        held *= 1.0
    after = _process.usage()
    assert after.cpu_seconds - before.cpu_seconds >= 0.02
    assert after.resident_bytes - before.resident_bytes > 32e6


def test_processes_of_a_server_count_together_and_dead_ones_hold_nothing(tmp_path: Path) -> None:
    """A worker that was killed and replaced would else hold its memory and its rows for ever.

    prometheus/client_python #495.
    """
    script = f"""
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = {str(tmp_path)!r}
from outgrow.serve.http.metrics import Metrics
metrics = Metrics(shared=True)

def value(name):
    (line,) = (line for line in metrics.page()[0].decode().splitlines() if line.startswith(name + " "))
    return float(line.split()[1])

come, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    metrics.sample()
    metrics.rows.labels("line").inc(3)
    os.write(come[1], b".")
    os.read(go[0], 1)
    os._exit(0)
metrics.sample()
os.read(come[0], 1)
cpu, both = value("outgrow_process_cpu_seconds_total"), value("outgrow_process_resident_bytes")
os.write(go[1], b".")
os.waitpid(child, 0)
alone = value("outgrow_process_resident_bytes")
assert both > 1.5 * alone > 0, (both, alone)
assert value("outgrow_process_cpu_seconds_total") == cpu
assert 'outgrow_rows_total{{model="line"}} 3.0' in metrics.page()[0].decode()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
