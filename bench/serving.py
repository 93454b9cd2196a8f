"""`python -m bench serve`: requests a second of a server beside its peers, loaded by wrk on the same cores.

Every server gets the same row of 30 numbers for the same logistic regression, in turns; then outgrow alone
the flights pipeline; then a soak, in which its memory must stay flat.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

import outgrow as og
from bench.contest import LOUD
from bench.data import FEATURES, table_path
from bench.machine import machine
from bench.processes import wait_for_quiet
from outgrow.testing.clusters import free_port

RESULTS = Path(__file__).parent / "results" / "serving" / "serving.json"
PAGE = Path(__file__).parent.parent / "docs" / "serving.md"
CONNECTIONS, SECONDS, TURNS, SOAK_SECONDS = 32, 10, 3, 60
AIMS = {"FastAPI and orjson": 1.0, "mlflow models serve": 45.0}
_WRK = re.compile(r"Requests/sec:\s+([\d.]+)")
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}

FASTAPI = """
import sys
import numpy as np, orjson, uvicorn
from fastapi import FastAPI, Request, Response
coefficients, intercept, names = np.load(sys.argv[1]), float(sys.argv[2]), sys.argv[4].split(",")
app = FastAPI()

@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = orjson.loads(await request.body())["rows"]
    X = np.array([[row[name] for name in names] for row in rows])
    chances = 1 / (1 + np.exp(-(X @ coefficients + intercept)))
    answer = {"predictions": (chances > 0.5).astype(int).tolist(), "probabilities": chances.tolist()}
    return Response(orjson.dumps(answer), media_type="application/json")

uvicorn.run(app, port=int(sys.argv[3]), log_level="warning", access_log=False)
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw of a server: requests a second, and latency in milliseconds."""

    server: str
    requests: float
    p50: float
    p99: float
    failed: int


@dataclass(frozen=True)
class Contender:
    """A server: the command that starts it at `{port}`, and what it is asked."""

    name: str
    command: list[str]
    path: str
    body: dict[str, Any]


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk makes the load, and is not installed. Install it with: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders = _contenders(folder)
        turns: dict[str, list[Load]] = {each.name: [] for each in contenders}
        for turn in range(TURNS):
            for contender in contenders:
                wait_for_quiet(LOUD)
                with _running(contender) as (port, _):
                    turns[contender.name].append(_load(contender, port, folder, 3 if turn else 6))
                    _say(str(turns[contender.name][-1]))
        flights = _flights(folder)
        with _running(flights) as (port, _):
            _load(flights, port, folder, 3)
            by_flights = _load(flights, port, folder, SECONDS)
        soak = _soak(contenders[0], folder)
    loads = {each: _middle(found) for each, found in turns.items()}
    _report(loads, by_flights, soak)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "machine": machine(),
                "seconds": SECONDS,
                "turns": TURNS,
                "connections": CONNECTIONS,
                "loads": [asdict(load) for load in [*loads.values(), by_flights]],
                "soak": soak,
            },
            indent=1,
        )
        + "\n"
    )
    _document([*loads.values(), by_flights], soak)


def _contenders(folder: Path) -> list[Contender]:
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    rows = og.read(str(table_path("numbers", 200_000)))
    names, target = FEATURES, "label"
    ours = og.LogisticRegression().fit(rows.select(*names, target), target)
    ours.save(folder / "model")
    frame = rows.sample(0.1).to_pandas()
    theirs = LogisticRegression().fit(frame[names], frame[target])
    mlflow.sklearn.save_model(theirs, str(folder / "mlflow"))
    np.save(folder / "coefficients.npy", np.ravel(ours.coef_))
    row = {name: float(value) for name, value in frame[names].iloc[0].items()}
    python, here = sys.executable, {"rows": [row], "probabilities": True}
    plain = [python, "-m", "outgrow", "serve", str(folder / "model"), "--port", "{port}"]
    intercept = str(float(np.ravel(ours.intercept_)[0]))
    bare = [python, "-c", FASTAPI, str(folder / "coefficients.npy"), intercept, "{port}", ",".join(names)]
    flow = [
        python,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(folder / "mlflow"),
        "-p",
        "{port}",
        "--env-manager",
        "local",
    ]
    return [
        Contender("outgrow", plain, "/predict", here),
        Contender("outgrow, --workers 2", [*plain, "--workers", "2"], "/predict", here),
        Contender("FastAPI and orjson", bare, "/predict", here),
        Contender("mlflow models serve", flow, "/invocations", {"dataframe_records": [row]}),
    ]


def _flights(folder: Path) -> Contender:
    """The pipeline of the flights job: impute, scale, one-hot, 300 trees."""
    from outgrow.job.engines import open_engine
    from outgrow.job.load import load_job
    from outgrow.job.run import run_job

    job = Path(__file__).parent.parent / "examples" / "flights" / "job.yaml"
    run_job(load_job(job, [f"output={folder / 'flights'}"]), open_engine("local"))
    model = og.load(folder / "flights" / "model")
    row = og.read(str(folder / "flights" / "scores")).select(list(model.columns_)).head(1).to_pylist()[0]
    command = [
        sys.executable,
        "-m",
        "outgrow",
        "serve",
        str(folder / "flights" / "model"),
        "--port",
        "{port}",
    ]
    return Contender("outgrow, flights pipeline", command, "/predict", {"rows": [row], "probabilities": True})


@contextmanager
def _running(contender: Contender) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    command = [word.replace("{port}", str(port)) for word in contender.command]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment
    )
    try:
        _first_answer(contender, port)
        yield port, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _first_answer(contender: Contender, port: int) -> None:
    until = time.monotonic() + 120
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{contender.path}",
        json.dumps(contender.body).encode(),
        {"content-type": "application/json"},
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _load(contender: Contender, port: int, folder: Path, warm: int) -> Load:
    body, script = folder / "body.json", folder / "post.lua"
    body.write_text(json.dumps(contender.body))
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.body = io.open("{body}"):read("*a")\n'
    )
    for seconds in (warm, SECONDS):
        found = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{CONNECTIONS}",
                f"-d{seconds}s",
                "--latency",
                "-s",
                str(script),
                f"http://127.0.0.1:{port}{contender.path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    rate = _WRK.search(found)
    assert rate is not None, found
    times = {which: float(value) * _MILLISECONDS[unit] for which, value, unit in _LATENCY.findall(found)}
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", found)
    return Load(contender.name, float(rate[1]), times["50"], times["99"], int(failed[1]) if failed else 0)


def _soak(contender: Contender, folder: Path) -> dict[str, Any]:
    """Memory of the server over a time of full load."""
    with _running(contender) as (port, process):
        _load(contender, port, folder, 5)
        sizes = [process.memory_info().rss]
        requests = 0.0
        for _ in range(SOAK_SECONDS // SECONDS):
            requests += _load(contender, port, folder, 1).requests * SECONDS
            sizes.append(process.memory_info().rss)
    return {"requests": round(requests), "rss_mib": [round(size / 2**20, 1) for size in sizes]}


def _middle(found: list[Load]) -> Load:
    return Load(
        found[0].server,
        median(each.requests for each in found),
        median(each.p50 for each in found),
        median(each.p99 for each in found),
        sum(each.failed for each in found),
    )


def _report(loads: dict[str, Load], flights: Load, soak: dict[str, Any]) -> None:
    ours = loads["outgrow"]
    print(f"\n{'server':28} {'req/s':>9} {'p50, ms':>9} {'p99, ms':>9} {'failed':>7}")
    for load in [*loads.values(), flights]:
        print(f"{load.server:28} {load.requests:9,.0f} {load.p50:9.2f} {load.p99:9.2f} {load.failed:7}")
    for peer, aim in AIMS.items():
        print(
            f"outgrow makes {ours.requests / loads[peer].requests:.1f}x the requests of {peer} (aim {aim:g}x)"
        )
    print(f"p99 {ours.p99:.1f} ms (aim 10); flights {flights.requests:,.0f} req/s (aim 3,000)")
    print(f"soak: {soak['requests']:,} requests, resident MiB {soak['rss_mib']}")


def _document(loads: list[Load], soak: dict[str, Any]) -> None:
    """Put the table into the documentation."""
    lines = ["| server | requests/s | p50, ms | p99, ms | outgrow makes |", "|---|---:|---:|---:|---:|"]
    for load in loads:
        ratio = f"{loads[0].requests / load.requests:.1f}x" if load.server in AIMS else ""
        lines.append(f"| {load.server} | {load.requests:,.0f} | {load.p50:.1f} | {load.p99:.1f} | {ratio} |")
    sizes = soak["rss_mib"]
    lines += [
        "",
        f"Under full load for {SOAK_SECONDS} s, {soak['requests']:,} requests, the server held "
        f"{sizes[0]:.0f} MiB at the beginning and {sizes[-1]:.0f} MiB at the end.",
    ]
    begin, end = "<!-- serving:begin -->", "<!-- serving:end -->"
    head, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text("\n".join([head + begin, *lines, end]) + rest.partition(end)[2])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
