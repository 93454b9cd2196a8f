"""The endpoints for predictions, one class a protocol.

They are plain ASGI: at thousands of requests a second, what a request costs beside the model is what counts.
One deadline holds around all that a request waits for: its own body, a model that is loaded, rows that are
read, the queue, the model.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.serve.http import inference, invocations, plain
from outgrow.serve.http.deployment import SHADOW, Deployment
from outgrow.serve.http.isolated import PARSERS
from outgrow.serve.http.refusal import Headers, RefusedError, refusal
from outgrow.serve.http.rows import Query, RowReader, arrow_batch, table_batch
from outgrow.serve.http.scoring import Answers, LoadedVersion
from outgrow.serve.http.state import BodyReservation, State

log = logging.getLogger("outgrow.serve")
JSON = b"application/json"
CSV = "text/csv"
_UTF_8 = ("utf-8", "utf8", "us-ascii")
_CHARSETS = (*_UTF_8, "iso-8859-1", "iso-8859-15", "latin-1", "latin1", "windows-1252", "cp1252", "utf-16")
"""Of CSV. Not all that Python knows: some take more than linear time."""
INLINE_BYTES = 64 << 10
"""Larger bodies are not read on the event loop."""
MAX_ARROW_EXPANSION = 8
"""How many bytes an Arrow stream may decode to, for each byte that a body may have."""
_ID_CHARACTERS = 200
_TIMEOUT_HEADER = b"x-request-timeout-ms"
_PROCESS = secrets.token_hex(8)
"""The beginning of the names of requests that bring none; numbers follow."""
_REQUEST_NUMBERS = itertools.count(1 << 32)
Scope = dict[str, Any]
"""What ASGI says of a request."""
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[bytes, bytes, Headers]
"""A body, its media type, and further headers."""


class PredictionRequest:
    """A request for predictions: what the protocols need of it."""

    def __init__(self, scope: Scope) -> None:
        self.headers: Headers = dict(scope["headers"])
        self.body = b""
        self.whole = True
        self.answering: tuple[str, str] | None = None
        """The role and the version that answer."""
        given = self.headers.get(b"x-request-id")
        self.id = (
            given.decode("latin-1")[:_ID_CHARACTERS] if given else f"{_PROCESS}{next(_REQUEST_NUMBERS):x}"
        )

    def header(self, name: str) -> str:
        return self.headers.get(name.encode(), b"").decode("latin-1")

    @property
    def kind(self) -> str:
        """The media type of the body."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The encoding of a body of text, as the media type names it."""
        named = self.header("content-type").lower().partition("charset=")[2]
        return named.partition(";")[0].strip(" \"'") or "utf-8"

    def check_encoding(self) -> None:
        """Refuse bodies that are compressed, and those not in UTF-8 but CSV that says so.

        Raises
        ------
        RefusedError
            With what is taken instead.
        """
        if b"content-encoding" not in self.headers and b"=" not in self.headers.get(b"content-type", b""):
            return
        encoding = self.header("content-encoding").strip().lower()
        if encoding not in ("", "identity"):
            raise RefusedError(
                415,
                f"Content-Encoding is {encoding!r}. Send the body as it is.",
                {b"accept-encoding": b"identity"},
            )
        taken = _CHARSETS if self.kind == CSV else _UTF_8
        if self.charset not in taken:
            raise RefusedError(415, f"The charset is {self.charset!r}. Send one of {', '.join(taken)}.")


class Predict:
    """An endpoint for predictions in one protocol."""

    dialect = "plain"

    def __init__(self, state: State) -> None:
        self.state = state
        self._most = MAX_ARROW_EXPANSION * state.settings.max_body
        self._meters: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._of_versions: dict[tuple[str, str, str], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = PredictionRequest(scope)
        known = ""
        kind, headers = JSON, Headers()
        with self.state.reservation() as reservation:
            try:
                with self.state.deadlines.within(self._timeout(request)):
                    deployment = await self._deployment(scope)
                    known = deployment.name
                    request.whole = False
                    request.body = await self._body(receive, reservation)
                    request.whole = True
                    request.check_encoding()
                    body, kind, headers = await self.reply(deployment, request)
                status = 200
            except Exception as error:
                status, body, headers = refusal(error if request.whole else _broken_off(error))
            headers[b"x-request-id"] = request.id.encode("latin-1")
            if request.answering is not None:
                role, version = request.answering
                headers[b"x-model-version"] = version.encode("latin-1", "replace")
                headers[b"x-model-role"] = role.encode()
            await send_body(send, status, body, kind, headers)
        self._note(known, status, time.perf_counter() - began, scope, request)

    async def reply(self, deployment: Deployment, request: PredictionRequest) -> Reply:
        """The answer; what goes wrong is raised.

        Parameters
        ----------
        deployment : the model that is asked.
        request : with its whole body, and headers that say what the body is.

        Returns
        -------
        The body of the answer, its media type, and further headers.
        """
        role, served = deployment.choose()
        if request.kind == plain.ARROW:
            query = await self.read("arrow", served.reader, request.body, self._most, isolated=True)
            wanted = request.header("x-probabilities").lower() in ("1", "true", "yes")
            answers = await self.ask(deployment, role, served, query.rows, request)
            return plain.answer_arrow(answers, wanted), plain.ARROW.encode(), {}
        query = await self.read("plain", served.reader, request.body)
        answers = await self.ask(deployment, role, served, query.rows, request)
        return plain.answer(answers, query.probabilities), JSON, {}

    async def read(
        self, parser: str, reader: RowReader, body: bytes, *options: Any, isolated: bool = False
    ) -> Query:
        """The rows of a body: here where it is small, or else in a process that may die of it.

        Parameters
        ----------
        parser : a name in `PARSERS`.
        reader : of the version that will answer.
        body : the whole body; past `INLINE_BYTES` another process reads it.
        *options : further arguments of the parser; of types that JSON has.
        isolated : let another process read it, however small it is.

        Raises
        ------
        RowsError
            When the body is not what it should be.
        """
        if isolated or len(body) > INLINE_BYTES:
            return await self.state.readers.read(parser, reader.columns, body, options)
        return PARSERS[parser](reader, body, *options)

    async def ask(
        self, deployment: Deployment, role: str, served: LoadedVersion, rows: Any, request: PredictionRequest
    ) -> Answers:
        """The answers for rows, remembered or the model's; the shadow predicts too, and some are logged.

        Parameters
        ----------
        deployment : the model that is asked.
        role : of the variant that answers.
        served : the version for which the rows were read.
        rows : as its reader read them: a list of rows, or a `Batch`.
        request : whose id is logged.
        """
        request.answering = role, served.version.name
        logged = self.state.log is not None and self.state.log.wants()
        shadow = deployment.variants.get(SHADOW)
        if shadow is not None:
            self._shadow(deployment, shadow.served, served, rows, request, logged=logged)
        cache = self.state.cache
        answers = None if cache is None else cache.find(served, rows)
        if answers is None:
            answers = await deployment.answer(role, served, rows)
            if cache is not None:
                cache.keep(rows, answers)
        if logged:
            self._keep(deployment.name, role, request.id, rows, answers)
        for recorder in self.state.recorders:
            recorder.add(deployment.name, role, rows, answers)
        return answers

    def _shadow(
        self,
        deployment: Deployment,
        served: LoadedVersion,
        came: LoadedVersion,
        rows: Any,
        request: PredictionRequest,
        *,
        logged: bool,
    ) -> None:
        async def answered() -> None:
            began, status = time.perf_counter(), 200
            try:
                same = served.reader.columns == came.reader.columns
                given = rows if same else _reread(served, came, rows)
                with self.state.deadlines.within(self.state.settings.timeout):
                    answers = await deployment.answer(SHADOW, served, given)
                if logged:
                    self._keep(deployment.name, SHADOW, request.id, given, answers)
            except Exception as error:
                status = refusal(error)[0]
                log.warning("the shadow of %s has no answer: %r", deployment.name, error)
            version = SHADOW, served.version.name
            self._note_version(deployment.name, version, status, time.perf_counter() - began)

        self.state.begin(answered())

    def _keep(self, name: str, role: str, request_id: str, rows: Any, answers: Answers) -> None:
        assert self.state.log is not None
        if self.state.log.add(name, role, request_id, rows, answers):
            asyncio.get_running_loop().run_in_executor(None, self.state.log.flush)

    def _timeout(self, request: PredictionRequest) -> float:
        """Seconds that a request may take, as its header says or the server's settings."""
        if _TIMEOUT_HEADER not in request.headers:
            return self.state.settings.timeout
        given = request.headers[_TIMEOUT_HEADER].decode("latin-1")
        try:
            seconds = float(given) / 1000
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise RefusedError(400, f"x-request-timeout-ms is {given!r}; milliseconds are needed.")
        return min(seconds, self.state.settings.timeout)

    async def _deployment(self, scope: Scope) -> Deployment:
        path = scope.get("path_params") or {}
        name = path.get("name") or self.state.default or ""
        deployment = self.state.given.get(name) or await self.state.deployment(name)
        if deployment is None or ("version" in path and path["version"] not in deployment.versions):
            raise RefusedError(
                404,
                f"There is no model {name!r} of that version; see /models.",
                models=list(self.state.settings.models),
            )
        return deployment

    async def _body(self, receive: Receive, reservation: BodyReservation) -> bytes:
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
            reservation.take(len(part))
            if not message.get("more_body", False):
                return b"".join([*parts, part]) if parts else part
            parts.append(part)

    def _note(
        self, known: str, status: int, seconds: float, scope: Scope, request: PredictionRequest
    ) -> None:
        key = known, status
        if key not in self._meters:
            metrics = self.state.metrics
            counter = metrics.requests.labels(known, self.dialect, str(status))
            self._meters[key] = counter, metrics.seconds.labels(known)
        counter, histogram = self._meters[key]
        counter.inc()
        histogram.observe(seconds)
        if request.answering is not None:
            self._note_version(known, request.answering, status, seconds)
        if self.state.settings.access_log:
            entry = {
                "time": round(time.time(), 6),
                "client": (scope.get("client") or [None])[0],
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 3),
                "model": known,
                "request_id": request.id,
                "bytes": len(request.body),
            }
            sys.stdout.write(json.dumps(entry) + "\n")

    def _note_version(self, model: str, answering: tuple[str, str], status: int, seconds: float) -> None:
        key = model, *answering
        if key not in self._of_versions:
            metrics = self.state.metrics
            self._of_versions[key] = (
                metrics.version_seconds.labels(*key),
                metrics.version_failures.labels(*key),
            )
        histogram, failures = self._of_versions[key]
        if status == 200:
            histogram.observe(seconds)
        elif status >= 500:
            failures.inc()


class Invocations(Predict):
    """MLflow's protocol."""

    dialect = "mlflow"
    parsers: dict[str, str] = {"application/json": "mlflow", CSV: "csv"}

    async def reply(self, deployment: Deployment, request: PredictionRequest) -> Reply:
        """The answer to `/invocations`; what goes wrong is raised.

        Parameters
        ----------
        deployment : the model that is asked.
        request : of JSON, or CSV in the charset that it names.
        """
        role, served = deployment.choose()
        parser = self.parsers.get(request.kind)
        if parser is None:
            raise RefusedError(
                415, f"Content-Type is {request.kind!r}; application/json or text/csv is needed."
            )
        options = (request.charset,) if request.kind == CSV else ()
        query = await self.read(parser, served.reader, request.body, *options)
        answers = await self.ask(deployment, role, served, query.rows, request)
        return invocations.answer(answers, query.probabilities), JSON, {}


class Infer(Predict):
    """The Open Inference Protocol."""

    dialect = "v2"

    async def reply(self, deployment: Deployment, request: PredictionRequest) -> Reply:
        """The answer as tensors; what goes wrong is raised.

        Parameters
        ----------
        deployment : the model that is asked.
        request : of JSON, behind which tensors may follow; a header says where the JSON ends.
        """
        role, served = deployment.choose()
        length = request.header(inference.LENGTH) or None
        query = await self.read("v2", served.reader, request.body, length)
        answers = await self.ask(deployment, role, served, query.rows, request)
        body, head = inference.answer(deployment.name, query, answers)
        if head is None:
            return body, JSON, {}
        return body, b"application/octet-stream", {inference.LENGTH.encode(): str(head).encode()}


def _broken_off(error: Exception) -> Exception:
    """What went wrong while the body was awaited: the deadline means that the client is slow."""
    if not isinstance(error, TimeoutError):
        return error
    return RefusedError(408, "The body did not come in time.", {b"connection": b"close"})


def _reread(to: LoadedVersion, came: LoadedVersion, rows: Any) -> Any:
    """Rows read for one model as those of another."""
    batch = rows if isinstance(rows, Batch) else came.reader.batch(rows)
    return table_batch(to.reader, pa.Table.from_batches([arrow_batch(batch)]))


async def send_body(send: Send, status: int, body: bytes, kind: bytes, more: Headers) -> None:
    """Send an answer whose body is there.

    Parameters
    ----------
    send : where ASGI takes messages.
    status : of HTTP.
    body : whole; its length is sent along.
    kind : its media type.
    more : further headers.
    """
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
