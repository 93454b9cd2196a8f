"""The service: which endpoint answers which path."""

from __future__ import annotations

import gc
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from outgrow._optional import optional
from outgrow.serve.http.endpoints import JSON, Infer, Invocations, Predict, Receive, Scope, Send, send_body
from outgrow.serve.http.pages import Pages, failed, no_method, no_page
from outgrow.serve.http.rows import msgspec
from outgrow.serve.http.state import Settings, State

optional("starlette", "serve")
from starlette.applications import Starlette  # noqa: E402
from starlette.routing import Route  # noqa: E402


class DefaultModelRoutes:
    """Routes requests for the default model at once, without a look through all routes."""

    def __init__(self, app: Any, endpoints: dict[str, Any]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        await (endpoint or self.app)(scope, receive, send)


class BearerAuthentication:
    """Lets only requests with the bearer token pass; health is open to all."""

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
                await send_body(send, 401, body, JSON, {b"www-authenticate": b"Bearer"})
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

    pages = Pages(state)
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
        exception_handlers={404: no_page, 405: no_method, 500: failed},
    )
    service: Any = DefaultModelRoutes(app, {"/predict": predict, "/invocations": invoke})
    return service if settings.token is None else BearerAuthentication(service, settings.token)
