"""The board as an ASGI application: pages, answers, events, and who may do what."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from outgrow._optional import optional
from outgrow.board.api import ACTS, ANSWERS
from outgrow.board.document import document
from outgrow.board.events import Tail
from outgrow.board.sources import Sources
from outgrow.errors import LogError, OutgrowError
from outgrow.log.event_log import author
from outgrow.log.record import encode

optional("starlette", "serve")
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import Response, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

log = logging.getLogger("outgrow.board")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON = "application/json"
_MOST_BODY = 65_536
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Guard:
    """Answers only requests for a name of this host, and puts the headers of security on what is answered.

    A page of elsewhere whose name is made to lead to this address (DNS rebinding) asks for its own name.

    Parameters
    ----------
    app : what answers.
    any_host : whether every name will do, since others are meant to reach the board.
    """

    def __init__(self, app: Any, *, any_host: bool) -> None:
        self._app, self._any_host = app, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")

        async def send_on(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                extra = [(name, value) for name, value in _HEADERS.items() if name not in given]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if self._any_host or is_loopback(host_name(host)):
            await self._app(scope, receive, send_on)
            return
        refused = _json({"error": f"This board answers as localhost only, not as {host[:100]!r}."}, 421)
        await refused(scope, receive, send_on)


def host_name(host: str) -> str:
    """The name in a Host header, without its port.

    Examples
    --------
    >>> host_name("localhost:8100"), host_name("[::1]:8100"), host_name("127.0.0.1")
    ('localhost', '::1', '127.0.0.1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(name: str) -> bool:
    """Whether a name can only mean this machine."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Endpoints:
    """What answers at which path.

    Parameters
    ----------
    sources : what is looked at.
    token : lets its holder change things; None for nobody.
    """

    def __init__(self, sources: Sources, token: str | None) -> None:
        self.sources, self.token = sources, token
        self.tail = Tail(sources.log)

    async def page(self, request: Request) -> Response:
        page = document()
        headers = {"content-security-policy": page.policy, "vary": "accept-encoding"}
        body = page.html
        if "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["content-encoding"] = page.compressed, "gzip"
        return Response(body, headers=headers, media_type="text/html")

    async def about(self, _: Request) -> Response:
        return _json({"log": repr(self.sources.log), "may_write": self.token is not None})

    async def answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ANSWERS:
            return _json({"error": f"There is nothing at /api/{name[:100]}; there is {_known()}."}, 404)
        return await _tried(ANSWERS[name], self.sources, dict(request.query_params))

    async def act(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ACTS:
            return _json(
                {"error": f"Nothing can be done at /api/{name[:100]}."}, 404 if name not in ANSWERS else 405
            )
        refused = self._refused(request)
        if refused is not None:
            return refused
        body = await _body(request)
        if body is None:
            return _json({"error": "A JSON object of at most 64 KiB is needed."}, 400)
        return await _tried(ACTS[name], self.sources, body, str(body.get("by") or author()))

    def _refused(self, request: Request) -> Response | None:
        """Why somebody may not change things; None where they may."""
        if self.token is None:
            return _json(
                {"error": "This board is read-only. Start it with --token-file to change things."}, 403
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return _json({"error": f"Requests from {origin[:100]} change nothing here."}, 403)
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            body = {"error": "A bearer token is needed, or this is not the right one."}
            return _json(body, 401, {"www-authenticate": "Bearer"})
        return None

    async def events(self, request: Request) -> Response:
        word = request.headers.get("last-event-id") or request.query_params.get("since")
        if word is not None and not word.isdecimal():
            return _json({"error": f"since={word[:100]!r} is no position; give a whole number."}, 400)
        kinds = [kind for kind in request.query_params.get("kinds", "").split(",") if kind]
        messages = self.tail.listen(None if word is None else int(word), kinds)
        return StreamingResponse(
            messages, media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )


def application(sources: Sources, *, token: str | None = None, any_host: bool = False) -> Any:
    """The ASGI application.

    Parameters
    ----------
    sources : what is looked at.
    token : lets its holder change things; None for nobody.
    any_host : whether it answers under every name, not only under those of this machine alone.
    """
    endpoints = Endpoints(sources, token)
    app = Starlette(
        routes=[
            Route("/", endpoints.page, methods=["GET"]),
            Route("/api", endpoints.about, methods=["GET"]),
            Route("/api/events", endpoints.events, methods=["GET"]),
            Route("/api/{name}", endpoints.answer, methods=["GET"]),
            Route("/api/{name}", endpoints.act, methods=["POST"]),
        ],
        exception_handlers={404: _nothing, 405: _nothing, 500: _failed},
    )
    return Guard(app, any_host=any_host)


async def _tried(work: Callable[..., dict[str, Any]], *words: Any) -> Response:
    """What a function says, in a thread of its own; or whose mistake it was that it cannot."""
    try:
        return _json(await asyncio.to_thread(work, *words))
    except LogError as error:
        return _json({"error": str(error)}, 503)
    except (OutgrowError, OSError) as error:
        return _json({"error": str(error)}, 400)


async def _body(request: Request) -> Mapping[str, Any] | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY:
            return None
    try:
        entry = json.loads(bytes(body))
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(body), status, dict(headers or {}), JSON)


def _known() -> str:
    return ", ".join(f"/api/{name}" for name in ANSWERS)


async def _nothing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _json({"error": f"{request.method} {request.url.path[:100]}: nothing is there."}, status)


async def _failed(_: Request, error: Exception) -> Response:
    log.error("a page failed: %s: %s", type(error).__name__, error)
    return _json({"error": "The board failed; what it printed says why. Tell us, please."}, 500)
