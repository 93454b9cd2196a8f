"""The endpoints for GET: health, models, metrics, descriptions."""

from __future__ import annotations

import asyncio
import logging

from outgrow._optional import optional
from outgrow._version import __version__
from outgrow.errors import OutgrowError
from outgrow.serve.http import inference
from outgrow.serve.http.deployment import Deployment
from outgrow.serve.http.openapi import docs_page, openapi
from outgrow.serve.http.refusal import shortened
from outgrow.serve.http.scoring import LoadedVersion
from outgrow.serve.http.state import State

optional("starlette", "serve")
from starlette.requests import Request  # noqa: E402
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response  # noqa: E402

log = logging.getLogger("outgrow.serve")


class Pages:
    """The pages of a server."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        health = self.state.health()
        return JSONResponse(health, 200 if health["ready"] else 503)

    async def version(self, _: Request) -> Response:
        return PlainTextResponse(__version__)

    async def server(self, _: Request) -> Response:
        return JSONResponse({"name": "outgrow", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def models(self, _: Request) -> Response:
        return JSONResponse({"models": self.state.names, "default": self.state.default})

    async def model(self, request: Request) -> Response:
        deployment = await self._deployment(request)
        if deployment is None:
            return self._unknown(request)
        return JSONResponse(
            inference.metadata(deployment.name, sorted(deployment.versions), deployment.served)
        )

    async def model_ready(self, request: Request) -> Response:
        deployment = await self._deployment(request)
        if deployment is None:
            return self._unknown(request)
        stuck = deployment.stuck(self.state.settings.timeout)
        return JSONResponse({"name": deployment.name, "ready": not stuck}, 503 if stuck else 200)

    async def metrics(self, _: Request) -> Response:
        self.state.sample()
        body, kind = await asyncio.to_thread(self.state.metrics.page)
        return Response(body, headers={"content-type": kind})

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(openapi(await self._served()))

    async def docs(self, _: Request) -> Response:
        return HTMLResponse(docs_page(await self._served()))

    async def _served(self) -> dict[str, LoadedVersion]:
        """The models that are described: those given by name."""
        deployments = {name: await self.state.deployment(name) for name in self.state.settings.models}
        return {name: deployment.served for name, deployment in deployments.items() if deployment is not None}

    async def _deployment(self, request: Request) -> Deployment | None:
        try:
            deployment = await self.state.deployment(request.path_params["name"])
        except OutgrowError as error:
            log.warning("a model cannot be loaded: %s", error)
            return None
        version = request.path_params.get("version")
        return deployment if deployment is None or version is None or version in deployment.versions else None

    def _unknown(self, request: Request) -> Response:
        name = shortened(request.path_params["name"])
        return JSONResponse({"error": f"There is no model {name!r} of that version."}, 404)


async def no_page(request: Request, _: Exception) -> Response:
    """What is answered where nothing is.

    Parameters
    ----------
    request : whose path is named.
    _ : what Starlette raised; it says no more.
    """
    path = shortened(request.scope["path"])
    return JSONResponse({"error": f"There is nothing at {path}; see /docs."}, 404)


async def no_method(request: Request, error: Exception) -> Response:
    """What is answered to another method.

    Parameters
    ----------
    request : whose path and method are named.
    error : what Starlette raised; its headers say which methods are taken.
    """
    body = {"error": f"{shortened(request.scope['path'])} does not take {request.method}."}
    return JSONResponse(body, 405, headers=getattr(error, "headers", None))


async def failed(_: Request, error: Exception) -> Response:
    """What is answered when a page cannot be made; the error is told to the log alone.

    Parameters
    ----------
    _ : the request.
    error : what was raised.
    """
    return JSONResponse({"error": "The server failed; its log says why."}, 500)
