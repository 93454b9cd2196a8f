"""A real server: dialects, faults, new versions under load, canary and shadow, the log, the metrics."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import schemathesis
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import outgrow as og
import web
from outgrow.serve.http.app import application
from outgrow.serve.http.arguments import parse_seconds, settings_of
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing.clusters import free_port
from test_score import people

ARROW = "application/vnd.apache.arrow.stream"


def fitted(seed: int = 3) -> Any:
    steps = [og.StandardScaler(columns=["age"]), og.OneHotEncoder(columns=["place"]), og.LogisticRegression()]
    return og.Pipeline(steps).fit(people(seed=seed).drop_columns("id"), "late")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "late"
    fitted().save(path)
    return path


@contextmanager
def server(*words: str) -> Iterator[str]:
    """A server process on a port of its own, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "outgrow", "serve", *words, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"{'https' if '--tls-cert' in words else 'http'}://127.0.0.1:{port}"
    try:
        web.until_ready(process, f"{address}/v2/health/ready", verify=False)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def address(saved: Path) -> Iterator[str]:
    with server(str(saved), "--max-body", "1MB") as found:
        yield found


def questions(count: int = 50) -> list[dict[str, Any]]:
    return people(count, seed=11).select(["age", "place"]).to_pylist()


def expected(saved: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    return og.load(saved).predict_proba(pa.Table.from_pylist(rows).to_pandas())


# ---- dialects ----------------------------------------------------------------------------------------------


def test_plain(address: str, saved: Path) -> None:
    rows = questions()
    found = web.post(f"{address}/predict", json={"rows": rows, "probabilities": True}).json()
    assert found["classes"] == ["no", "yes"]
    assert np.array_equal(found["probabilities"], expected(saved, rows))
    assert found["predictions"] == og.load(saved).predict(pa.Table.from_pylist(rows).to_pandas()).tolist()
    again = web.post(f"{address}/models/late/predict", json={"rows": rows}).json()
    assert again == {"version": found["version"], "predictions": found["predictions"]}


def test_one_row_and_none(address: str, saved: Path) -> None:
    (row,) = questions(1)
    found = web.post(f"{address}/predict", json={"rows": [row], "probabilities": True}).json()
    np.testing.assert_allclose(found["probabilities"], expected(saved, [row]), rtol=1e-12)
    assert web.post(f"{address}/predict", json={"rows": []}).json()["predictions"] == []


@pytest.mark.parametrize("form", ["records", "split", "instances", "lists", "inputs", "csv"])
def test_mlflow(address: str, saved: Path, form: str) -> None:
    rows = questions()
    lists = [list(row.values()) for row in rows]
    bodies: dict[str, Any] = {
        "records": {"dataframe_records": rows},
        "split": {"dataframe_split": {"columns": ["place", "age"], "data": [row[::-1] for row in lists]}},
        "instances": {"instances": rows},
        "lists": {"instances": lists},
        "inputs": {"inputs": {name: [row[name] for row in rows] for name in ("age", "place")}},
    }
    if form == "csv":
        text = "age,place\n" + "\n".join(f"{row['age']},{row['place']}" for row in rows)
        answer = web.post(f"{address}/invocations", content=text, headers={"content-type": "text/csv"})
    else:
        answer = web.post(f"{address}/invocations", json=bodies[form])
    chances = expected(saved, rows)
    assert answer.json() == {"predictions": np.array(["no", "yes"])[chances.argmax(axis=1)].tolist()}
    if form != "csv":
        body = {**bodies[form], "params": {"method": "predict_proba"}}
        assert np.array_equal(web.post(f"{address}/invocations", json=body).json()["predictions"], chances)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16"])
def test_csv_in_another_charset(address: str, charset: str) -> None:
    (row,) = questions(1)
    text = f"age,place,note\n{row['age']},{row['place']},Zürich\n"
    header = {"content-type": f"text/csv; charset={charset}"}
    found = web.post(f"{address}/invocations", content=text.encode(charset), headers=header)
    plain = web.post(f"{address}/invocations", json={"dataframe_records": [row]})
    assert found.status_code == 200
    assert found.json() == plain.json()


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b"age,place\n30,Z\xfcrich\n", "text/csv", 422, "charset=cp1252"),
        (b"age,place\n30,here\n", "text/csv; charset=punycode", 415, "Send one of utf-8"),
        (b'{"dataframe_split": {"columns": ["age", "age"], "data": []}}', "application/json", 422, "age"),
    ],
)
def test_bodies_that_are_not_what_they_say(
    address: str, content: bytes, headers: str, status: int, says: str
) -> None:
    found = web.post(f"{address}/invocations", content=content, headers={"content-type": headers})
    assert found.status_code == status
    assert says in found.json()["error"]


@pytest.mark.parametrize("binary", [True, False])
def test_open_inference_by_its_client(address: str, saved: Path, binary: bool) -> None:
    """Triton's client, which speaks the protocol and its extension for binary data."""
    rows = questions()
    client = triton.InferenceServerClient(address.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("late")
    described = client.get_model_metadata("late")
    assert [(each["name"], each["datatype"]) for each in described["inputs"]] == [
        ("age", "FP64"),
        ("place", "BYTES"),
    ]
    inputs = [triton.InferInput("age", [50], "FP64"), triton.InferInput("place", [50], "BYTES")]
    inputs[0].set_data_from_numpy(np.array([row["age"] for row in rows]), binary_data=binary)
    inputs[1].set_data_from_numpy(np.array([row["place"] for row in rows], dtype=object), binary_data=binary)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probabilities")
    ]
    found = client.infer("late", inputs, outputs=outputs, request_id="r1")
    assert found.get_response()["id"] == "r1"
    chances = expected(saved, rows)
    assert np.array_equal(found.as_numpy("probabilities"), chances)
    labels = [each.decode() if isinstance(each, bytes) else each for each in found.as_numpy("prediction")]
    assert labels == np.array(["no", "yes"])[chances.argmax(axis=1)].tolist()
    client.close()


def test_arrow(address: str, saved: Path) -> None:
    rows = questions(2000)
    table = pa.Table.from_pylist(rows).append_column("beside", pa.array(range(2000)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    headers = {"content-type": ARROW, "x-probabilities": "true"}
    answer = web.post(f"{address}/predict", content=sink.getvalue().to_pybytes(), headers=headers)
    assert answer.headers["content-type"] == ARROW
    found = pa.ipc.open_stream(answer.content).read_all()
    assert found.column_names == ["prediction", "probability_no", "probability_yes"]
    np.testing.assert_allclose(found["probability_yes"], expected(saved, rows)[:, 1], rtol=1e-12)


# ---- what goes wrong ---------------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no json": ("/predict", {"content": b"{"}, 422, "not JSON"),
    "a key twice": (
        "/predict",
        {"content": b'{"rows": [{"age": 30, "place": "here", "age": 31}]}'},
        422,
        "The key 'age' is there twice",
    ),
    "a key twice, escaped": (
        "/predict",
        {"content": b'{"rows": [{"age": 30, "place": "a:b", "\\u0061ge": 31}], "probabilities": false}'},
        422,
        "The key 'age' is there twice",
    ),
    "a key twice in records": (
        "/invocations",
        {
            "content": b'{"dataframe_records": [{"age": 1, "age": 2, "place": "x"}]}',
            "headers": {"content-type": "application/json"},
        },
        422,
        "The key 'age' is there twice",
    ),
    "no rows": ("/predict", {"json": {"row": []}}, 422, 'object with "rows"'),
    "no object": ("/predict", {"json": {"rows": [1]}}, 422, "Row 0 is no object"),
    "columns": ("/predict", {"json": {"rows": [{"age": "x"}]}}, 422, "place is missing; age is not a number"),
    "a bad row": (
        "/predict",
        {"json": {"rows": [{"age": 1, "place": "sea"}, {"age": None, "place": "sea"}]}},
        422,
        "Row 1 cannot be scored: .*NaN",
    ),
    "no arrow": ("/predict", {"content": b"x", "headers": {"content-type": ARROW}}, 422, "Arrow IPC stream"),
    "no form": ("/invocations", {"json": {"rows": []}}, 422, "exactly one of dataframe_split"),
    "media type": ("/invocations", {"content": b"x", "headers": {"content-type": "image/png"}}, 415, "csv"),
    "no inputs": ("/v2/models/late/infer", {"json": {"inputs": []}}, 422, "a list of tensors"),
    "mixed values": (
        "/v2/models/late/infer",
        {"json": {"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [[], 1.0]}]}},
        422,
        "mixes both",
    ),
    "a shape": (
        "/v2/models/late/infer",
        {"json": {"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [1]}]}},
        422,
        "has 1 values",
    ),
    "no model": ("/models/none/predict", {"json": {"rows": []}}, 404, "no model 'none'"),
    "no page": ("/nothing", {"json": {}}, 404, "nothing at /nothing"),
    "a large body": ("/predict", {"content": b" " * 1_100_000}, 413, "larger than 1000000 bytes"),
    "a deadline": (
        "/predict",
        {"json": {"rows": []}, "headers": {"x-request-timeout-ms": "0.0001"}},
        {408, 504},  # whether the body is there yet when it passes
        "in time|deadline",
    ),
    "no deadline": (
        "/predict",
        {"json": {"rows": []}, "headers": {"x-request-timeout-ms": "soon"}},
        400,
        "'soon'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests(address: str, case: str) -> None:
    path, body, status, words = WRONG[case]
    answer = web.post(f"{address}{path}", **body)
    assert answer.status_code in (status if isinstance(status, set) else {status}), answer.text
    assert re.search(words, answer.json()["error"]), answer.text


def test_wrong_columns_are_told_as_data(address: str) -> None:
    answer = web.post(f"{address}/predict", json={"rows": [{"age": "x", "more": 1}]}).json()
    assert answer["columns"]["missing"] == ["place"]
    assert answer["columns"]["wrong"]["age"] == {"expected": "a number", "found": "'x'", "row": 0}
    assert answer["columns"]["not_used"] == ["more"]


def ask(app: Any, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    """The answers to requests that are made at one moment."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await asyncio.gather(*(client.post("/predict", json=body) for body in requests))

    return asyncio.run(run())


def test_a_bad_row_does_not_spoil_its_neighbours(saved: Path) -> None:
    app = application(Settings({"late": Model(str(saved))}))
    rows = questions(20)
    requests: list[dict[str, Any]] = [{"rows": [row], "probabilities": True} for row in rows]
    requests[7] = {"rows": [rows[7], {"age": None, "place": "sea"}]}
    answers = ask(app, requests)
    assert [answer.status_code for answer in answers] == [200] * 7 + [422] + [200] * 12
    assert list(answers[7].json()["rows"]) == ["1"]
    good = [answer.json()["probabilities"][0] for place, answer in enumerate(answers) if place != 7]
    chances = np.delete(expected(saved, rows), 7, axis=0)
    np.testing.assert_allclose(good, chances, rtol=1e-12)


def test_past_capacity_the_answer_is_429(saved: Path) -> None:
    app = application(Settings({"late": Model(str(saved))}, max_queue=10))
    answers = ask(app, [{"rows": questions(4)}] * 40)
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(app, [{"rows": questions(4)}])[0].status_code == 200


cells = st.one_of(
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(max_size=3),
    st.booleans(),
    st.integers(-5, 5),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.one_of(cells, st.dictionaries(st.sampled_from(["age", "place", "x"]), cells)), max_size=4
    )
)
def test_no_rows_make_the_server_fail(saved: Path, rows: list[Any]) -> None:
    app = _application(str(saved))
    (answer,) = ask(app, [{"rows": rows}])
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert len(answer.json()["predictions"]) == len(rows)


_APPS: dict[str, Any] = {}


def _application(path: str) -> Any:
    return _APPS.setdefault(path, application(Settings({"late": Model(path)})))


def test_fuzz_from_the_openapi_description(saved: Path) -> None:
    """Whatever the description allows, and what it does not, is never answered with a fault of the server."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", _application(str(saved)))
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 15

    for operation, mode in itertools.product(operations, schemathesis.GenerationMode):
        if operation.method == "get" and mode is schemathesis.GenerationMode.NEGATIVE:
            continue  # nothing is sent that could be wrong

        @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text

        check()


# ---- versions ----------------------------------------------------------------------------------------------


def test_a_new_version_takes_over_under_load(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "late")
    store.promote(store.add(fitted()))
    second = store.add(fitted(seed=8))
    seen: Counter[tuple[int, str]] = Counter()
    done = threading.Event()
    rows = questions(1)

    def hammer(address: str) -> None:
        with httpx.Client(base_url=address, timeout=web.SECONDS) as client:
            while not done.is_set():
                answer = client.post("/predict", json={"rows": rows})
                seen[answer.status_code, answer.json().get("version", "")] += 1

    with server(str(store.path), "--workers", "2") as address:
        threads = [threading.Thread(target=hammer, args=(address,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: seen[200, "1"] > 50)
        store.promote(second)
        wait_for(lambda: seen[200, "2"] > 50)
        time.sleep(1.5)
        last = {web.post(f"{address}/predict", json={"rows": rows}).json()["version"] for _ in range(20)}
        done.set()
        for thread in threads:
            thread.join()
        page = web.get(f"{address}/metrics").text
    assert {status for status, _ in seen} == {200}
    assert last == {"2"}
    assert 'outgrow_model_version{model="late",role="primary",version="2"} 1.0' in page
    total = sum(seen.values()) + 20
    assert f'outgrow_requests_total{{dialect="plain",model="late",status="200"}} {total}.0' in page


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_store(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "late")
    assert (store.versions, store.current) == ([], None)
    with pytest.raises(og.errors.ParameterError, match="no version 1"):
        store.promote(1)
    store.promote(store.add(fitted()))
    assert store.add(fitted(seed=8)) == 2
    assert (store.versions, store.current) == ([1, 2], 1)
    rows = pa.Table.from_pylist(questions()).to_pandas()
    assert np.array_equal(og.load(store.path).predict_proba(rows), store.load(1).predict_proba(rows))
    assert not np.array_equal(store.load(2).predict_proba(rows), store.load().predict_proba(rows))


def test_canary_shadow_and_log(tmp_path: Path, saved: Path) -> None:
    fitted(seed=8).save(tmp_path / "new")
    fitted(seed=9).save(tmp_path / "other")
    words = [
        "--canary",
        f"{tmp_path}/new@30",
        "--shadow",
        f"{tmp_path}/other",
        "--log",
        str(tmp_path / "log"),
    ]
    rows = questions(300)
    with server(str(saved), *words) as address, httpx.Client(base_url=address, timeout=web.SECONDS) as client:
        answered = {}
        for place, row in enumerate(rows):
            answer = client.post("/predict", json={"rows": [row]}, headers={"x-request-id": f"r{place}"})
            assert answer.headers["x-request-id"] == f"r{place}"
            answered[f"r{place}"] = answer.json()
    kept = og.read(str(tmp_path / "log")).to_pandas()
    assert set(kept["model"]) == {"late"}
    roles = Counter(kept["role"])
    assert roles["shadow"] == 300
    assert roles["primary"] + roles["canary"] == 300
    assert 50 < roles["canary"] < 130
    names = {"primary": saved, "canary": tmp_path / "new", "shadow": tmp_path / "other"}
    for role, part in kept.groupby("role"):
        assert part["version"].nunique() == 1
        chances = og.load(names[str(role)]).predict_proba(part[["age", "place"]].reset_index(drop=True))
        np.testing.assert_allclose(part["probability_yes"], chances[:, 1], rtol=1e-12)
    live = kept[kept["role"] != "shadow"].set_index("request_id")
    assert {name: row["version"] for name, row in answered.items()} == live["version"].to_dict()


# ---- the server itself -------------------------------------------------------------------------------------


def test_models_of_a_folder_are_loaded_when_asked_for(tmp_path: Path) -> None:
    for place in range(5):
        fitted(seed=place).save(tmp_path / f"key{place}")
    app = application(Settings(folder=str(tmp_path), loaded=2))
    rows = questions()

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            for _ in range(2):
                for place in range(5):
                    path = f"/models/key{place}/predict"
                    found = (await client.post(path, json={"rows": rows, "probabilities": True})).json()
                    assert np.array_equal(found["probabilities"], expected(tmp_path / f"key{place}", rows))
            assert (await client.get("/models")).json()["models"] == [f"key{place}" for place in range(5)]
            for bad in ("..", "key9", "%2e%2e%2fkey1"):
                assert (await client.post(f"/models/{bad}/predict", json={"rows": rows})).status_code == 404

    asyncio.run(run())


def test_remembered_answers_are_the_same(saved: Path) -> None:
    app = application(Settings({"late": Model(str(saved))}, cached_rows=100))
    request = {"rows": questions(20), "probabilities": True}
    first, second = ask(app, [request])[0].json(), ask(app, [request])[0].json()
    assert first == second
    page = asyncio.run(_get(app, "/metrics"))
    assert 'outgrow_rows_total{model="late"} 20.0' in page


async def _get(app: Any, path: str) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        return (await client.get(path)).text


def test_the_pages_show_the_kept_row(tmp_path: Path) -> None:
    model = fitted()
    model.save(tmp_path / "late", input_example=people(seed=4))
    row = {name: people(seed=4)[name][0].as_py() for name in model.columns_}
    app = application(Settings({"late": Model(str(tmp_path / "late"))}))
    schemas = json.loads(asyncio.run(_get(app, "/openapi.json")))["components"]["schemas"]
    assert schemas["Row_late"]["example"] == row
    assert ask(app, [{"rows": [row]}])[0].status_code == 200


def test_pages(address: str) -> None:
    assert web.get(f"{address}/health").json() == {"ready": True}
    assert web.get(f"{address}/v2/health/live").json() == {"live": True}
    assert web.get(f"{address}/v2").json()["name"] == "outgrow"
    assert "POST /models/late/predict" in web.get(f"{address}/docs").text
    assert web.get(f"{address}/openapi.json").json()["openapi"].startswith("3.1")
    page = web.get(f"{address}/metrics").text
    for name in ("outgrow_requests_total", "outgrow_batch_rows_bucket", "outgrow_waiting_rows"):
        assert name in page


def test_token_and_tls(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    words = [
        "--token-file",
        f"{tmp_path}/token",
        "--tls-cert",
        f"{tmp_path}/cert.pem",
        "--tls-key",
        f"{tmp_path}/key.pem",
    ]
    with server(str(saved), *words) as address:
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        body = {"rows": questions(1)}
        with httpx.Client(verify=trust, timeout=web.SECONDS) as client:
            assert client.post(f"{address}/predict", json=body).status_code == 401
            assert client.get(f"{address}/metrics").status_code == 401
            assert client.get(f"{address}/health").status_code == 200
            given = {"authorization": "Bearer secret"}
            assert client.post(f"{address}/predict", json=body, headers=given).status_code == 200


SLOW = """
import sys, time
import outgrow as og
from outgrow.ml.base import Transformer
class Slow(Transformer):
    def __init__(self, columns=None):
        self.columns = columns
    def _fit(self, shard, names, task):
        pass
    def _transform_columns(self, batch, names):
        time.sleep(1.0 if batch.num_rows > 1 else 0)
        return batch
from outgrow.cli import main
from test_serve import fitted
if sys.argv[1] == "save":
    from test_score import people
    steps = [Slow(columns=["age"]), *fitted().steps]
    og.Pipeline(steps).fit(people().drop_columns("id"), "late").save(sys.argv[2])
else:
    main(["serve", sys.argv[2], "--port", sys.argv[3], "--access-log"])
"""


def test_a_server_that_is_stopped_finishes_what_it_accepted(tmp_path: Path) -> None:
    port = free_port()
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", SLOW, "save", str(tmp_path / "slow")], check=True, cwd=here)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "serve", str(tmp_path / "slow"), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    answers = []
    ask_once = lambda: answers.append(  # noqa: E731
        web.post(f"http://127.0.0.1:{port}/predict", json={"rows": questions(5)}, timeout=30)
    )
    try:
        wait_for(lambda: listening(port), 60)
        asking = threading.Thread(target=ask_once)
        asking.start()
        time.sleep(0.4)
        process.send_signal(signal.SIGTERM)
        asking.join()
        said = process.communicate(timeout=30)[0]
    finally:
        process.kill()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["predictions"]) == 5
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"]) for line in lines] == [("/predict", 200)]


def test_words_of_the_command_line(saved: Path) -> None:
    others = {"max_wait": "2ms", "max_body": "1MiB", "timeout": "1m"}
    found = settings_of(None, ["a=x", "b=y"], ["a=z@5%"], ["b=w"], **others)
    assert found.models == {"a": Model("x", "z", 5.0), "b": Model("y", shadow="w")}
    assert (found.max_wait, found.timeout, found.max_body) == (0.002, 60.0, 1 << 20)
    assert Settings.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    for words, said in [
        ((None, [], [], []), "No model to serve"),
        ((None, ["x"], [], []), "NAME=PATH is needed"),
        (("m", [], ["c"], []), "@PERCENT is needed"),
        (("m", [], ["c@120"], []), "no share of the requests"),
        ((None, ["a=x", "b=y"], ["c@5"], []), "say for which model"),
        (("m", [], [], ["b=w"]), "no model 'b'"),
    ]:
        with pytest.raises(og.errors.ParameterError, match=said):
            settings_of(*words, **others)  # type: ignore[arg-type]
    with pytest.raises(og.errors.ParameterError, match="'soon' is no time"):
        parse_seconds("soon")
    for path, said in [("nowhere", "neither a saved model nor a promoted version")]:
        with pytest.raises(og.errors.ArtifactError, match=said):
            application(Settings({"m": Model(path)}))
