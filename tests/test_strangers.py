"""Requests of strangers: whatever is sent is answered, costs what it may, and spoils no other answer."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import outgrow as og
from broken import damaged
from outgrow.data.batch import Batch
from outgrow.ml.base import Transformer
from outgrow.serve.http.app import application
from outgrow.serve.http.arguments import settings_of
from outgrow.serve.http.connection import Connection
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.isolated import ReaderProcesses
from outgrow.serve.http.refusal import RefusedError
from outgrow.serve.http.rows import RowsError
from outgrow.serve.http.server import serve
from outgrow.serve.http.state import Settings
from outgrow.testing.clusters import free_port
from test_serve import fitted, listening, wait_for

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
GOOD: dict[str, dict[str, Any]] = {
    "words": {"age": 3.0, "place": "sea"},
    "vectors": {"v": [1.0, 2.0, 3.0], "x": 1.0},
    "times": {"when": "2024-01-01", "price": 1.0},
}
FUZZ = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of words, of vectors and of times."""
    path = tmp_path_factory.mktemp("strangers")
    rng = np.random.default_rng(0)
    fitted().save(path / "words")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=900)), 3)
    table = pa.table({"v": vectors, "x": rng.normal(size=300), "y": rng.choice(["a", "b"], 300)})
    og.LogisticRegression().fit(table, "y").save(path / "vectors")
    start = datetime.datetime(2024, 1, 1)
    when = pa.array([start + datetime.timedelta(days=k % 30) for k in range(300)], pa.timestamp("us"))
    table = pa.table({"when": when, "price": rng.normal(size=300), "y": rng.normal(size=300)})
    og.PerGroup(og.Ridge(), by=["when"], min_rows=1, unseen="null").fit(table, "y").save(path / "times")
    return path


@pytest.fixture(scope="module")
def app(folder: Path) -> Any:
    return application(Settings({name: Model(str(folder / name)) for name in GOOD}))


def ask(app: Any, *requests: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    """The answers to requests that are made at one moment."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=60) as client:
            return await asyncio.gather(*(client.post(path, **given) for path, given in requests))

    return asyncio.run(run())


def check(app: Any, model: str, path: str, **given: Any) -> httpx.Response:
    """What a stranger is told while good requests are made beside it, which must all be answered."""
    good = (f"/models/{model}/predict", {"json": {"rows": [GOOD[model]]}})
    *neighbours, answer = ask(app, good, good, (path, given))
    assert [each.status_code for each in neighbours] == [200, 200]
    assert answer.status_code < 500, answer.text
    assert len(answer.content) < 50_000
    return answer


# ---- broken grammars ---------------------------------------------------------------------------------------

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(
        [
            1e400,
            -0.0,
            2**53 + 1,
            "9999-12-31T23:59:59-14:00",
            "2024-13-45",
            "\x00",
            "2024-01-01",
            "0001-01-01T00:00:00+14:00",
            [],
            {},
            [1.0],
            [1.0, 2.0, 3.0],
            [None] * 3,
            "sea",
        ]
    ),
)
rows = st.lists(
    st.dictionaries(st.sampled_from(["age", "place", "v", "x", "when", "price"]), odd), max_size=3
)
models = st.sampled_from(sorted(GOOD))


@st.composite
def nearly_good(draw: Any, model: str) -> list[dict[str, Any]]:
    """Rows of a model of which some values are odd."""
    found = [dict(GOOD[model]) for _ in range(draw(st.integers(1, 3)))]
    for row in found:
        row[draw(st.sampled_from(sorted(row)))] = draw(odd)
    return found


@st.composite
def mangled(draw: Any, body: bytes) -> bytes:
    """A body with a part left out, doubled or replaced."""
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 12)))
    middle = draw(
        st.sampled_from([b"", body[start:end] * 2, b"\x00", b"\xff", b'"', b"[", b"{", b"1e999", b"\\ud800"])
    )
    return body[:start] + middle + body[end:]


@FUZZ
@given(
    data=st.data(),
    model=models,
    form=st.sampled_from(["plain", "records", "split", "instances", "inputs", "v2"]),
)
def test_broken_json(app: Any, data: st.DataObject, model: str, form: str) -> None:
    found = data.draw(st.one_of(rows, nearly_good(model)))
    names = list(GOOD[model])
    values = [[row.get(name) for name in names] for row in found]
    types = st.sampled_from(["FP64", "BYTES", "?"])
    tensors = [
        {
            "name": name,
            "shape": [len(found)],
            "datatype": data.draw(types),
            "data": [row[k] for row in values],
        }
        for k, name in enumerate(names)
    ]
    bodies = {
        "plain": ("predict", {"rows": found, "probabilities": data.draw(odd)}),
        "records": ("invocations", {"dataframe_records": found}),
        "split": ("invocations", {"dataframe_split": {"columns": names, "data": values}}),
        "instances": ("invocations", {"instances": values}),
        "inputs": ("invocations", {"inputs": dict(zip(names, zip(*values, strict=True), strict=False))}),
        "v2": ("infer", {"inputs": tensors, "outputs": data.draw(odd)}),
    }
    verb, body = bodies[form]
    path = f"/v2/models/{model}/infer" if verb == "infer" else f"/models/{model}/{verb}"
    text = json.dumps(body).encode()
    content = data.draw(st.one_of(st.just(text), mangled(text)))
    check(app, model, path, content=content, headers={"content-type": "application/json"})


@FUZZ
@given(
    data=st.data(),
    sizes=st.lists(st.sampled_from([0, 4, 8, 16, 2**31, -1, True, "8"]), min_size=2, max_size=2),
)
def test_broken_tensors_behind_json(app: Any, data: st.DataObject, sizes: list[Any]) -> None:
    text = struct.pack("<I", 3) + b"sea"
    binary = data.draw(mangled(struct.pack("<d", 1.0) + text))
    inputs = [
        {
            "name": name,
            "shape": [data.draw(st.sampled_from([1, 0, 2, 2**62]))],
            "datatype": kind,
            "parameters": {"binary_data_size": data.draw(st.sampled_from([size, good]))},
        }
        for name, kind, size, good in (("age", "FP64", sizes[0], 8), ("place", "BYTES", sizes[1], 7))
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    length = data.draw(
        st.sampled_from([str(len(head)), "0", "-1", "9" * 5000, "\u00b2", "1e2", str(len(head) + 2)])
    )
    headers = {"inference-header-content-length": length.encode("latin-1")}
    check(app, "words", "/v2/models/words/infer", content=head + binary, headers=headers)


@FUZZ
@given(data=st.data())
def test_broken_csv(app: Any, data: st.DataObject) -> None:
    good = b'age,place\n3.0,sea\n4.0,"sea"\n,\n'
    check(
        app,
        "words",
        "/models/words/invocations",
        content=data.draw(mangled(good)),
        headers={"content-type": "text/csv"},
    )


def stream(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as file:
        file.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("model", ["words", "vectors", "times"])
def test_damaged_arrow(app: Any, model: str) -> None:
    columns: dict[str, Any] = {
        "words": {"age": [1.0] * 50, "place": pa.array(["sea", "hill"] * 25).dictionary_encode()},
        "vectors": {"v": pa.array([[1.0, 2.0, 3.0]] * 50, pa.list_(pa.float64(), 3)), "x": [1.0] * 50},
        "times": {"when": pa.array([1] * 50, pa.timestamp("us")), "price": [1.0] * 50},
    }
    good = stream(pa.record_batch(columns[model]))
    path = f"/models/{model}/predict"
    answer = check(app, model, path, content=good, headers=ARROW)
    assert answer.status_code == 200, answer.text
    bodies = [damaged(good, seed) for seed in range(15)]
    answers = ask(app, *[(path, {"content": body, "headers": ARROW}) for body in bodies])
    assert {answer.status_code for answer in answers} <= {200, 422, 504}
    assert check(app, model, path, content=good, headers=ARROW).status_code == 200


# ---- what a body may become --------------------------------------------------------------------------------


def many_names(count: int) -> bytes:
    return ",".join(f"n{k}" for k in range(count)).encode() + b"\n"


def rows_of_nothing() -> bytes:
    """An Arrow stream of a few bytes that says it has 2^40 rows, all null."""
    few, many = (0xA0B0).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little")
    return stream(pa.record_batch({"age": pa.nulls(0xA0B0), "place": pa.nulls(0xA0B0)})).replace(few, many)


LARGE: dict[str, tuple[str, dict[str, Any], str]] = {
    "words that are repeated": (
        "predict",
        {
            "headers": ARROW,
            "content": stream(
                pa.record_batch(
                    {
                        "age": np.zeros(90_000),
                        "place": pa.DictionaryArray.from_arrays(
                            pa.array(np.zeros(90_000, "i4")), pa.array(["x" * 60_000])
                        ),
                    }
                ),
                "zstd",
            ),
        },
        "bytes; at most",
    ),
    "rows of nothing": ("predict", {"headers": ARROW, "content": rows_of_nothing()}, "bytes; at most"),
    "columns": (
        "invocations",
        {"headers": {"content-type": "text/csv"}, "content": many_names(100_000)},
        "100000 columns",
    ),
    "few columns too many": (
        "invocations",
        {"headers": {"content-type": "text/csv"}, "content": many_names(1_003)},
        "1003 columns",
    ),
    "names not used": (
        "predict",
        {"json": {"rows": [dict.fromkeys(map(str, range(50_000)), 1)]}},
        "age is missing",
    ),
    "a long name": ("predict", {"json": {"rows": [{"n" * 300_000: 1}]}}, "age is missing"),
    "many bad rows": ("predict", {"json": {"rows": [{"age": None, "place": "sea"}] * 20_000}}, "Row 0"),
    "many rows of other columns": ("predict", {"json": {"rows": [{}] * 100_000}}, "age is missing"),
    "a long word": ("predict", {"json": {"rows": [{"age": "x" * 200_000, "place": "sea"}]}}, "not a number"),
    "depth": ("predict", {"content": b'{"rows":' + b"[" * 100_000}, "not JSON"),
    "depth of objects": (
        "invocations",
        {"content": b'{"inputs":' * 50_000, "headers": {"content-type": "application/json"}},
        "not JSON",
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_bodies_are_refused_in_few_words(app: Any, case: str) -> None:
    verb, given, words = LARGE[case]
    before = psutil.Process().memory_info().rss
    answer = check(app, "words", f"/models/words/{verb}", **given)
    assert answer.status_code == 422
    assert re.search(words, answer.text), answer.text[:500]
    assert psutil.Process().memory_info().rss - before < 300 << 20


def test_what_reads_bodies_may_die(folder: Path) -> None:
    """Too little memory, a kill and a deadline each end one request, and the next one is read."""
    columns = {"age": "number", "place": "category"}
    body = json.dumps({"rows": [{"age": 1.0, "place": "sea"}] * 100_000}).encode()

    async def run() -> None:
        tight, readers = ReaderProcesses(1, memory=20 << 20), ReaderProcesses(1)
        with pytest.raises((RefusedError, RowsError), match="memory"):
            await tight.read("plain", columns, body, ())
        reading = asyncio.create_task(readers.read("plain", columns, body, ()))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        for child in psutil.Process().children():
            if "outgrow.serve.http.isolated" in " ".join(child.cmdline()):
                child.kill()
        rows = (await readers.read("plain", columns, body, ())).rows
        assert isinstance(rows, Batch)
        assert rows.num_rows == 100_000
        tight.close()
        readers.close()

    asyncio.run(run())


def test_a_reader_is_judged_by_what_it_holds_itself() -> None:
    """Linux lets a new process begin with the peak of the one that started it."""
    held = np.ones(40_000_000)
    body = stream(pa.record_batch({"age": [1.0] * 3}))

    async def run() -> None:
        readers, seen = ReaderProcesses(1), []
        for _ in range(2):
            await readers.read("arrow", {"age": "number"}, body, ())
            seen.append(max(child.pid for child in psutil.Process().children()))  # the youngest
        assert seen[0] == seen[1]
        readers.close()

    asyncio.run(run())
    assert held.nbytes > 256 << 20


# ---- headers and names -------------------------------------------------------------------------------------

HEADERS: dict[str, tuple[dict[str, Any], int]] = {
    "compressed": ({"content-encoding": "gzip"}, 415),
    "not compressed": ({"content-encoding": "identity"}, 200),
    "another charset": ({"content-type": "application/json; charset=utf-16"}, 415),
    "this charset": ({"content-type": "application/json; charset=UTF-8"}, 200),
    "no text": ({"x-request-id": b"\xff\xfe"}, 200),
    "a long id": ({"x-request-id": "x" * 10_000}, 200),
    "no number": ({"x-request-timeout-ms": b"\xb2"}, 400),
    "no time": ({"x-request-timeout-ms": "nan"}, 400),
    "much time": ({"x-request-timeout-ms": "1e300"}, 200),
    "a host of nowhere": ({"host": "["}, 200),
}


@pytest.mark.parametrize("case", HEADERS)
def test_odd_headers(app: Any, case: str) -> None:
    headers, status = HEADERS[case]
    given = {"content": json.dumps({"rows": [GOOD["words"]]}), "headers": headers}
    answer = check(app, "words", "/models/words/predict", **given)
    assert answer.status_code == status
    assert len(answer.headers["x-request-id"]) <= 200


@pytest.mark.parametrize("name", ["%00", "x" * 5000, "%ff", "%2e%2e%2fwords", "\u00e9" * 200, "CON"])
@pytest.mark.parametrize("path", ["/models/{}/predict", "/v2/models/{}/infer", "/v2/models/{}", "/{}"])
def test_odd_names(folder: Path, name: str, path: str) -> None:
    app = application(Settings({"words": Model(str(folder / "words"))}, folder=str(folder)))

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            where = path.format(name)
            headers = {"host": "["}
            return [await client.post(where, json={"rows": []}), await client.get(where, headers=headers)]

    for answer in asyncio.run(run()):
        assert answer.status_code in (404, 405)
        assert len(answer.content) < 5_000


def test_names_of_unknown_models_are_no_labels(app: Any) -> None:
    ask(app, *[(f"/models/unknown{k}/predict", {"json": {}}) for k in range(20)])

    async def gone() -> None:
        """A client that leaves while it sends its body."""

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(_: dict[str, Any]) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/models/left/predict",
            "headers": [],
            "raw_path": b"",
            "query_string": b"",
            "root_path": "",
        }
        await app(scope, receive, send)

    asyncio.run(gone())

    async def page() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return (await client.get("/metrics")).text

    found = set(re.findall(r'model="([^"]*)"', asyncio.run(page())))
    assert found <= {*GOOD, ""}


# ---- models that hang, are put out, or cannot be restored --------------------------------------------------

HANG = threading.Event()


class Hangs(Transformer):
    """Waits in the model where several rows come at once."""

    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    def _fit(self, shard: Any, names: Any, task: Any) -> None:
        pass

    def _transform_columns(self, batch: Any, names: Any) -> Any:
        if batch.num_rows > 1:
            HANG.wait(20)
        return batch


def test_a_model_that_hangs_holds_up_nobody_else(folder: Path, tmp_path: Path) -> None:
    from test_score import people

    steps = [Hangs(columns=["age"]), *fitted().steps]
    HANG.set()  # the fit need not wait
    og.Pipeline(steps).fit(people().drop_columns("id"), "late").save(tmp_path / "hangs")
    HANG.clear()
    models = {"hangs": Model(str(tmp_path / "hangs")), "words": Model(str(folder / "words"))}
    app = application(Settings(models, timeout=0.5))
    row = GOOD["words"]

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            many = [client.post("/models/hangs/predict", json={"rows": [row] * 1000}) for _ in range(3)]
            late = await asyncio.gather(*many, client.post("/models/words/predict", json={"rows": [row]}))
            assert [answer.status_code for answer in late] == [504, 504, 504, 200]
            await asyncio.sleep(0.3)  # the batch began after its requests did
            health = await client.get("/health")
            assert (health.status_code, list(health.json()["problems"])) == (503, ["hangs"])
            assert (await client.get("/v2/models/hangs/ready")).status_code == 503
            assert 'outgrow_waiting_rows{model="hangs"} 0.0' in (await client.get("/metrics")).text
            HANG.set()
            until = time.monotonic() + 20
            while (await client.get("/v2/models/hangs/ready")).status_code != 200:
                assert time.monotonic() < until
                await asyncio.sleep(0.02)
            assert (await client.post("/models/hangs/predict", json={"rows": [row]})).status_code == 200

    asyncio.run(run())


def test_models_that_are_put_out_answer_who_waits(folder: Path) -> None:
    app = application(Settings(folder=str(folder), loaded=1, max_queue=10**6))
    requests: list[tuple[str, dict[str, Any]]] = [
        (f"/models/{name}/predict", {"json": {"rows": [GOOD[name]] * count}})
        for count in (1, 1000)
        for name in GOOD
        for _ in range(4)
    ]
    assert {answer.status_code for answer in ask(app, *requests)} == {200}


def newer(source: Path, target: Path) -> None:
    """The model as another version of outgrow would write it, with one parameter more."""
    import hashlib
    import shutil

    shutil.copytree(source, target)
    whole = json.loads((target / "model.json").read_text())
    whole["content"]["estimator"]["parameters"]["yet_unknown"] = {"value": None}
    text = json.dumps(whole["content"], sort_keys=True, separators=(",", ":"))
    whole["sha256"]["content"] = hashlib.sha256(text.encode()).hexdigest()
    (target / "model.json").write_text(json.dumps(whole))


def test_the_watch_goes_on_past_a_version_that_cannot_be_restored(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "late")
    store.promote(store.add(fitted()))
    store.add(fitted(seed=8))
    newer(store.path / "2", store.path / "3")
    app = application(Settings({"late": Model(str(store.path))}, poll=0.05))
    transport = httpx.ASGITransport(app)

    async def run() -> None:
        async with (
            app.app.router.lifespan_context(app.app),
            httpx.AsyncClient(transport=transport, base_url="http://here") as client,
        ):

            async def version() -> str:
                answer = await client.post("/predict", json={"rows": [GOOD["words"]]})
                return answer.json()["version"]

            async def until(condition: Any) -> None:
                end = time.monotonic() + 20
                while not await condition():
                    assert time.monotonic() < end
                    await asyncio.sleep(0.02)

            async def told() -> bool:
                return "problems" in (await client.get("/health")).json()

            async def second() -> bool:
                return await version() == "2"

            store.promote(3)
            await until(told)
            health = (await client.get("/health")).json()
            assert health["ready"]
            assert "yet_unknown" in health["problems"]["late"]["primary"]
            assert await version() == "1"
            assert "outgrow_refused_versions_total" in (await client.get("/metrics")).text
            store.promote(2)
            await until(second)
            assert (await client.get("/health")).json() == {"ready": True}

    asyncio.run(run())


# ---- connections -------------------------------------------------------------------------------------------


@contextmanager
def in_a_thread(app: Any, **limits: Any) -> Iterator[int]:
    """A server with other limits of its connections, and its port."""
    port = free_port()
    protocol = type("Limited", (Connection,), limits)
    running = uvicorn.Server(uvicorn.Config(app, port=port, http=protocol, log_level="error", ws="none"))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_for(lambda: listening(port))
        yield port
    finally:
        running.should_exit = True
        thread.join()


def request(rows: list[Any], head: bytes = b"") -> bytes:
    body = json.dumps({"rows": rows}).encode()
    return b"POST /predict HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def all_of(line: socket.socket) -> bytes:
    parts = []
    try:
        while part := line.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_slow_clients_are_cut(folder: Path) -> None:
    app = application(Settings({"words": Model(str(folder / "words"))}, timeout=0.5))
    good = request([GOOD["words"]])
    with in_a_thread(app, header_seconds=0.5, write_seconds=0.5) as port:
        for start, answer in [
            (b"", b""),
            (b"POST /pre", b""),
            (good[:40], b""),
            (good[:-5], b"HTTP/1.1 408"),
        ]:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
                line.sendall(start)
                assert all_of(line).startswith(answer), start
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(good + good[:40])
            assert all_of(line).count(b"HTTP/1.1 200") == 1
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(b"GET / HTTP/1.1\r\n" + b"x: yyyyyyyyyyyyyy\r\n" * 20_000)
            assert b"431" in all_of(line)


# ---- processes and settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"max_body": "-5"}, "max_body=-5"),
        ({"max_body": "0"}, "max_body=0"),
        ({"max_body": "inf"}, "size"),
        ({"timeout": "0"}, "timeout=0"),
        ({"timeout": "-1s"}, "no time"),
        ({"max_wait": "2m"}, "max_wait"),
        ({"workers": -1}, "workers"),
        ({"max_queue": 0}, "max_queue"),
        ({"cached_rows": -1}, "cached_rows"),
        ({"log_fraction": 1.5}, "log_fraction"),
        ({"log_fraction": math.nan}, "log_fraction"),
    ],
)
def test_settings_that_cannot_be(words: dict[str, Any], said: str) -> None:
    given = {"max_wait": "2ms", "max_body": "1MiB", "timeout": "1m", **words}
    with pytest.raises(og.errors.ParameterError, match=said):
        settings_of("m", [], [], [], **given)


@pytest.mark.parametrize("port", [-1, 0, 70_000])
def test_ports_that_cannot_be(port: int) -> None:
    with pytest.raises(og.errors.ParameterError, match=f"--port {port}"):
        serve(Settings({"m": Model("m")}), port=port)


def test_certificates_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    with pytest.raises(og.errors.ParameterError, match="--tls-cert"):
        serve(Settings({"m": Model("m")}), tls_cert=str(tmp_path / "key"), tls_key=str(tmp_path / "key"))
