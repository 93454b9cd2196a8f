"""The page in examples/browser, in a real browser: it says what outgrow says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = EXAMPLES / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHECK = """\
<!doctype html>
<script type="importmap">
  {"imports": {"onnxruntime-web": "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs"}}
</script>
<pre></pre>
<script type="module">
  import * as ort from "onnxruntime-web";
  import { open, probabilities } from "./flight.js";
  const rows = await (await fetch("rows.json")).json();
  const session = await open(ort, `model/${new URLSearchParams(location.search).get("model")}`);
  document.querySelector("pre").textContent = JSON.stringify(await probabilities(ort, session, rows));
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is here: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def runtime() -> Path:
    """The folder of onnxruntime-web, installed once."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here: apt-get install npm")
    if not (PAGE / "node_modules" / "onnxruntime-web").exists():
        subprocess.run([npm, "ci"], cwd=PAGE, check=True, capture_output=True, timeout=300)
    return PAGE / "node_modules"


@pytest.fixture(scope="module")
def site(runtime: Path, browser: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a model of some flights, and the flights it was not fitted on with outgrow's answers."""
    folder = tmp_path_factory.mktemp("site")
    out = folder / "job"
    job = EXAMPLES / "flights" / "job_linear.yaml"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(job), "--sample", "0.02", "--set", f"output={out}"])
    assert not stop.value.code
    for file in PAGE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(runtime)
    export(out / "model", folder / "model")
    (folder / "check.html").write_text(CHECK)
    (folder / "rows.json").write_text(json.dumps(scored(folder)))
    return folder


def export(model: Path, output: Path) -> None:
    script = EXAMPLES / "browser" / "export.py"
    names: dict[str, Any] = {"__name__": "export", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), names)
    names["main"]([str(model), "--output", str(output)])


def scored(site: Path) -> list[dict[str, Any]]:
    """The rows of the test split, with what outgrow said of them."""
    return pq.read_table(site / "job" / "scores").to_pylist()


def asked(browser: str, address: str, model: str, profile: Path) -> list[float]:
    """The probabilities of all rows, from one of the models."""
    page = shown(browser, f"{address}/check.html?model={model}", profile)
    found: list[float] = json.loads(re.findall(r"<pre>(.*)</pre>", page)[0])
    return found


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def shown(browser: str, url: str, profile: Path) -> str:
    """The page as it is after its scripts ran."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command = [browser, *flags, "--virtual-time-budget=30000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_browser_says_what_outgrow_says(browser: str, site: Path, address: str, tmp_path: Path) -> None:
    found = asked(browser, address, "late.onnx", tmp_path)
    expected = [row["probability_True"] for row in scored(site)]
    assert len(found) > 1000
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_browser_grows_no_other_trees(browser: str, site: Path, address: str, tmp_path: Path) -> None:
    """Text and missing numbers go into the trees as they are."""
    table = pq.read_table(site / "job" / "scores").drop(
        ["probability_False", "probability_True", "prediction"]
    )
    model = og.GradientBoostingClassifier(n_estimators=20).fit(table, "late")
    model.to_onnx(site / "model" / "trees.onnx")
    expected = model.predict_proba(table.drop(["late"]).to_pandas())[:, 1]
    found = asked(browser, address, "trees.onnx", tmp_path)
    np.testing.assert_allclose(found, expected, rtol=3e-7)


def test_the_browser_asks_a_network(browser: str, site: Path, address: str, tmp_path: Path) -> None:
    """Numbers on one scale, and embeddings of text, in float32."""
    table = pq.read_table(site / "job" / "scores").drop(
        ["probability_False", "probability_True", "prediction"]
    )
    steps = [og.SimpleImputer(columns=og.numeric()), og.TorchClassifier(max_epochs=1, lr=0.01)]
    model = og.Pipeline(steps).fit(table, "late")
    model.to_onnx(site / "model" / "network.onnx")
    expected = model.predict_proba(table.drop(["late"]).to_pandas())[:, 1]
    found = asked(browser, address, "network.onnx", tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_form_makes_the_row_of_a_flight(browser: str, site: Path, address: str, tmp_path: Path) -> None:
    words = json.loads((site / "model" / "choices.json").read_text())["words"]
    known = [row for row in scored(site) if all(row[n] is None or row[n] in words[n] for n in words)]
    some = [known[0], next(row for row in known if row["plane_type"] is None or row["wind_gust"] is None)]
    for row in some:
        page = shown(browser, f"{address}/index.html?{urlencode(typed(row))}", tmp_path)
        assert 'data-ready="yes"' in page
        assert float(re.findall(r'data-value="([^"]*)"', page)[0]) == pytest.approx(
            row["probability_True"], rel=1e-12
        )


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """What one would type to ask about a flight."""
    times = {name: f"{row[name] // 60:02}:{row[name] % 60:02}" for name in ("departs", "arrives")}
    made = ("late", "prediction", "month", "day_of_year", "weekday", "hour", "distance", "probability_False")
    kept = {name: value for name, value in row.items() if name not in (*made, "probability_True")}
    return {name: "" if value is None else value for name, value in (kept | times).items()}
