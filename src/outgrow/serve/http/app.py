"""The service: what is asked where, and what is answered when something is wrong.

The endpoints for predictions are plain ASGI: at thousands of requests a second, what a request costs beside
the model is what counts.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import itertools
import json
import logging
import math
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.errors import OutgrowError
from outgrow.serve.http import inference, invocations, plain
from outgrow.serve.http.batcher import Answers, BusyError, LateError, Served
from outgrow.serve.http.deployment import SHADOW, Deployment
from outgrow.serve.http.openapi import docs_page, openapi
from outgrow.serve.http.rows import RowsError, msgspec, table_batch
from outgrow.serve.http.state import Settings, State

optional("starlette", "serve")
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response  # noqa: E402
from starlette.routing import Route  # noqa: E402

log = logging.getLogger("outgrow.serve")
JSON = b"application/json"
_PROCESS = secrets.token_hex(8)
"""The beginning of the names of requests that bring none; numbers follow."""
_NUMBERS = itertools.count(1 << 32)
Scope = dict[str, Any]
"""What ASGI says of a request."""
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, message: str, headers: dict[bytes, bytes] | None = None, **details: Any):
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.details = details


class Asked:
    """A request for predictions: what the dialects need of it."""

    def __init__(self, scope: Scope, body: bytes, name: str) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body = body
        self.name = name
        self.id = self.headers.get(b"x-request-id", b"").decode("latin-1") or f"{_PROCESS}{next(_NUMBERS):x}"

    def header(self, name: str) -> str:
        return self.headers.get(name.encode(), b"").decode("latin-1")

    @property
    def kind(self) -> str:
        """The media type of the body."""
        return self.header("content-type").partition(";")[0].strip().lower()


Reply = tuple[bytes, bytes, dict[bytes, bytes]]
"""A body, its media type, and further headers."""


class Predict:
    """An endpoint for predictions in one dialect."""

    dialect = "plain"

    def __init__(self, state: State) -> None:
        self.state = state
        self._meters: dict[tuple[str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        path = scope.get("path_params") or {}
        name = path.get("name") or self.state.default or ""
        asked = None
        headers: dict[bytes, bytes] = {}
        try:
            asked = Asked(scope, await self._body(scope, receive), name)
            deployment = await self.state.deployment(name)
            if deployment is None or path.get("version", deployment.served.version.name) not in _versions(
                deployment
            ):
                raise RefusedError(
                    404, f"There is no model {name!r} of that version.", models=self.state.names
                )
            body, kind, headers = await self.reply(deployment, asked)
            status = 200
        except Exception as error:
            status, body, headers = _refusal(error)
            kind = JSON
        if asked is not None:
            headers[b"x-request-id"] = asked.id.encode("latin-1")
        await _send(send, status, body, kind, headers)
        self._note(name, status, time.perf_counter() - began, scope, asked)

    async def reply(self, deployment: Deployment, asked: Asked) -> Reply:
        """The answer; what goes wrong is raised."""
        role = deployment.role()
        served = deployment.lanes[role].served
        if asked.kind == plain.ARROW:
            batch = plain.read_arrow(served, asked.body)
            wanted = asked.header("x-probabilities").lower() in ("1", "true", "yes")
            answers = await self.ask(deployment, role, served, batch, asked)
            return plain.answer_arrow(answers, wanted), plain.ARROW.encode(), {}
        rows, wanted = plain.read(served, asked.body)
        answers = await self.ask(deployment, role, served, rows, asked)
        return plain.answer(answers, wanted), JSON, {}

    async def ask(
        self, deployment: Deployment, role: str, served: Served, rows: Any, asked: Asked
    ) -> Answers:
        """The answers for rows; the shadow is asked too, and what was answered is logged."""
        due = time.monotonic() + self._patience(asked)
        logged = self.state.log is not None and self.state.log.wants()
        if SHADOW in deployment.lanes:
            self._shadow(deployment, rows, asked, logged=logged)
        cache = self.state.cache
        answers = None if cache is None else cache.find(served, rows)
        if answers is None:
            answers = await deployment.submit(role, served, rows, due)
            if cache is not None:
                cache.keep(rows, answers)
        if logged:
            self._keep(deployment.name, role, asked.id, rows, answers)
        return answers

    def _shadow(self, deployment: Deployment, rows: Any, asked: Asked, *, logged: bool) -> None:
        lane = deployment.lanes[SHADOW]
        try:
            same = lane.served.reader.columns == deployment.served.reader.columns
            given = rows if same else _reread(lane.served, deployment.served, rows)
            future = deployment.submit(SHADOW, lane.served, given)
        except (BusyError, RowsError) as error:
            log.warning("the shadow of %s was not asked: %s", deployment.name, error)
            return

        def done(answered: asyncio.Future[Answers]) -> None:
            if answered.cancelled() or answered.exception() is not None:
                log.warning("the shadow of %s failed: %s", deployment.name, answered)
            elif logged:
                self._keep(deployment.name, SHADOW, asked.id, given, answered.result())

        future.add_done_callback(done)

    def _keep(self, name: str, role: str, request: str, rows: Any, answers: Answers) -> None:
        assert self.state.log is not None
        if self.state.log.add(name, role, request, rows, answers):
            asyncio.get_running_loop().run_in_executor(None, self.state.log.flush)

    def _patience(self, asked: Asked) -> float:
        """Seconds that a request may take, as its header says or the server's settings."""
        given = asked.header("x-request-timeout-ms")
        if not given:
            return self.state.settings.timeout
        try:
            seconds = float(given) / 1000
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise RefusedError(400, f"x-request-timeout-ms is {given!r}; milliseconds are needed.")
        return min(seconds, self.state.settings.timeout)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self.state.settings.max_body
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(499, "The client has gone.")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise RefusedError(
                    413, f"The body is larger than {limit} bytes. Send fewer rows.", {b"connection": b"close"}
                )
            if not message.get("more_body", False):
                return b"".join([*parts, part]) if parts else part
            parts.append(part)

    def _note(self, name: str, status: int, seconds: float, scope: Scope, asked: Asked | None) -> None:
        known = name if status != 404 else ""
        key = known, status
        if key not in self._meters:
            metrics = self.state.metrics
            counter = metrics.requests.labels(known, self.dialect, str(status))
            self._meters[key] = counter, metrics.seconds.labels(known)
        counter, histogram = self._meters[key]
        counter.inc()
        histogram.observe(seconds)
        if self.state.settings.access_log:
            line = {
                "time": round(time.time(), 6), "client": (scope.get("client") or [None])[0],
                "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(seconds * 1000, 3), "model": known,
                "request_id": None if asked is None else asked.id,
                "bytes": 0 if asked is None else len(asked.body),
            }  # fmt: skip
            sys.stdout.write(json.dumps(line) + "\n")


class Invocations(Predict):
    """MLflow's dialect."""

    dialect = "mlflow"

    async def reply(self, deployment: Deployment, asked: Asked) -> Reply:
        role = deployment.role()
        served = deployment.lanes[role].served
        if asked.kind not in ("application/json", "text/csv"):
            raise RefusedError(
                415, f"Content-Type is {asked.kind!r}; application/json or text/csv is needed."
            )
        rows, wanted = invocations.read(served, asked.body, asked.kind)
        answers = await self.ask(deployment, role, served, rows, asked)
        return invocations.answer(answers, wanted), JSON, {}


class Infer(Predict):
    """The Open Inference Protocol."""

    dialect = "v2"

    async def reply(self, deployment: Deployment, asked: Asked) -> Reply:
        role = deployment.role()
        served = deployment.lanes[role].served
        question = inference.read(served, asked.body, asked.header(inference.LENGTH) or None)
        answers = await self.ask(deployment, role, served, question.rows, asked)
        body, length = inference.answer(deployment.name, question, answers)
        if length is None:
            return body, JSON, {}
        return body, b"application/octet-stream", {inference.LENGTH.encode(): str(length).encode()}


class Shortcut:
    """Takes requests for the default model to its endpoint without a look through all routes."""

    def __init__(self, app: Any, endpoints: dict[str, Any]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        await (endpoint or self.app)(scope, receive, send)


class Token:
    """Lets only those pass who bring the token; health and metrics are open."""

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        open_paths = ("/health", "/ping", "/v2/health/")
        if scope["type"] == "http" and not scope["path"].startswith(open_paths):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                body = msgspec.json.encode(
                    {"error": "A bearer token is needed, or this is not the right one."}
                )
                await _send(send, 401, body, JSON, {b"www-authenticate": b"Bearer"})
                return
        await self.app(scope, receive, send)


def application(settings: Settings) -> Any:
    """The ASGI application; models are loaded and warm when it is returned.

    Raises
    ------
    ArtifactError
        When a model cannot be loaded.
    """
    state = State(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        state.start()
        gc.collect()
        gc.freeze()  # libraries and models stay: looking through them again and again held requests up
        yield
        await state.stop()

    pages = _Pages(state)
    predict, invoke, infer = Predict(state), Invocations(state), Infer(state)
    post, get = ["POST"], ["GET"]
    app: Any = Starlette(
        routes=[
            Route("/predict", predict, methods=post),
            Route("/invocations", invoke, methods=post),
            Route("/models/{name}/predict", predict, methods=post),
            Route("/models/{name}/invocations", invoke, methods=post),
            Route("/v2/models/{name}/infer", infer, methods=post),
            Route("/v2/models/{name}/versions/{version}/infer", infer, methods=post),
            Route("/v2", pages.server, methods=get),
            Route("/v2/health/live", pages.live, methods=get),
            Route("/v2/health/ready", pages.ready, methods=get),
            Route("/v2/models/{name}", pages.model, methods=get),
            Route("/v2/models/{name}/ready", pages.model_ready, methods=get),
            Route("/v2/models/{name}/versions/{version}", pages.model, methods=get),
            Route("/v2/models/{name}/versions/{version}/ready", pages.model_ready, methods=get),
            Route("/health", pages.ready, methods=get),
            Route("/ping", pages.ready, methods=get),
            Route("/version", pages.version, methods=get),
            Route("/models", pages.models, methods=get),
            Route("/metrics", pages.metrics, methods=get),
            Route("/openapi.json", pages.openapi, methods=get),
            Route("/docs", pages.docs, methods=get),
            Route("/", pages.docs, methods=get),
        ],
        lifespan=lifespan,
        exception_handlers={404: _no_page, 405: _no_method},
    )
    found: Any = Shortcut(app, {"/predict": predict, "/invocations": invoke})
    return found if settings.token is None else Token(found, settings.token)


class _Pages:
    """What is asked with GET."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        return JSONResponse({"ready": self.state.ready}, 200 if self.state.ready else 503)

    async def version(self, _: Request) -> Response:
        return PlainTextResponse(optional("outgrow", "serve").__version__)

    async def server(self, _: Request) -> Response:
        version = optional("outgrow", "serve").__version__
        return JSONResponse({"name": "outgrow", "version": version, "extensions": ["binary_tensor_data"]})

    async def models(self, _: Request) -> Response:
        return JSONResponse({"models": self.state.names, "default": self.state.default})

    async def model(self, request: Request) -> Response:
        found = await self._found(request)
        if found is None:
            return self._unknown(request)
        return JSONResponse(inference.metadata(found.name, sorted(_versions(found)), found.served))

    async def model_ready(self, request: Request) -> Response:
        found = await self._found(request)
        return self._unknown(request) if found is None else JSONResponse({"name": found.name, "ready": True})

    async def metrics(self, _: Request) -> Response:
        self.state.waiting()
        body, kind = self.state.metrics.page()
        return Response(body, headers={"content-type": kind})

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(openapi(await self._served()))

    async def docs(self, _: Request) -> Response:
        return HTMLResponse(docs_page(await self._served()))

    async def _served(self) -> dict[str, Served]:
        """The models that are described: those given by name."""
        found = {name: await self.state.deployment(name) for name in self.state.settings.models}
        return {name: deployment.served for name, deployment in found.items() if deployment is not None}

    async def _found(self, request: Request) -> Deployment | None:
        try:
            found = await self.state.deployment(request.path_params["name"])
        except OutgrowError as error:
            log.warning("a model cannot be loaded: %s", error)
            return None
        version = request.path_params.get("version")
        return found if found is None or _has(found, version) else None

    def _unknown(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse({"error": f"There is no model {name!r} of that version."}, 404)


def _versions(deployment: Deployment) -> set[str]:
    return {lane.served.version.name for role, lane in deployment.lanes.items() if role != SHADOW}


def _has(deployment: Deployment, version: str | None) -> bool:
    return version is None or version in _versions(deployment)


def _reread(to: Served, came: Served, rows: Any) -> Any:
    """Rows read for one model as those of another."""
    if isinstance(rows, Batch):
        return table_batch(to.reader, rows.to_arrow())
    return to.reader.from_arrays(rows, came.reader.names)


def _refusal(error: Exception) -> tuple[int, bytes, dict[bytes, bytes]]:
    """Status, body and headers for what went wrong."""
    headers: dict[bytes, bytes] = {}
    details: dict[str, Any] = {}
    if isinstance(error, RefusedError):
        status, headers, details = error.status, dict(error.headers), error.details
    elif isinstance(error, RowsError):
        status, details = 422, error.details
    elif isinstance(error, BusyError):
        status, headers = 429, {b"retry-after": str(error.retry_after).encode()}
    elif isinstance(error, LateError | asyncio.TimeoutError):
        status = 504
    else:
        log.error("a request failed", exc_info=error)
        return 500, msgspec.json.encode({"error": "The server failed; its log says why."}), {}
    return status, msgspec.json.encode({"error": str(error), **details}), headers


async def _send(send: Send, status: int, body: bytes, kind: bytes, more: dict[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _no_page(request: Request, _: Exception) -> Response:
    return JSONResponse({"error": f"There is nothing at {request.url.path}; see /docs."}, 404)


async def _no_method(request: Request, error: Any) -> Response:
    said = {"error": f"{request.url.path} does not take {request.method}."}
    return JSONResponse(said, 405, headers=getattr(error, "headers", None))
